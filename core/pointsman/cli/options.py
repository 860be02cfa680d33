"""The options that `pointsman ask` and `pointsman chat` share, and what they mean together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pointsman.ask.connection import KEY_VARIABLE
from pointsman.cli.completing import model_ids, router_names
from pointsman.cli.endpoints import Engine
from pointsman.errors import InvalidRequestError

Questions = Annotated[
    list[str] | None,
    typer.Option(
        "--question", "-q", metavar="TEXT", help="A question; may be given several times.", show_default=False
    ),
]
RouterName = Annotated[
    str | None,
    typer.Option(
        "--router",
        metavar="NAME|ARN",
        help="The prompt router to ask. Default: the one for Claude.",
        show_default=False,
        autocompletion=router_names,
    ),
]
ModelId = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="ID",
        help="A model or inference profile to ask, instead of a router.",
        show_default=False,
        autocompletion=model_ids,
    ),
]
PredictorFile = Annotated[
    Path | None,
    typer.Option(
        "--predictor",
        metavar="FILE",
        help="What `pointsman fit` wrote, for the router to decide by.",
        show_default=False,
    ),
]
Region = Annotated[
    str | None, typer.Option("--region", metavar="REGION", help="The AWS Region to call.", show_default=False)
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        metavar="URL",
        help=f"Another endpoint than AWS's, such as a running `pointsman local` (its key: {KEY_VARIABLE}).",
        show_default=False,
    ),
]
Local = Annotated[bool, typer.Option("--local", help="Start a local endpoint for this conversation.")]
OwnEngine = Annotated[
    Engine | None,
    typer.Option(
        "--engine",
        help="What answers there, which is started then: a small model, or sentences of the prompt. Default: llama.",
        show_default=False,
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="Add what was sent to this log, without its text, for `pointsman explain` and `replay`.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, metavar="N", help="The longest answer, in tokens.")]


def own_engine(*, local: bool, engine: Engine | None, endpoint_url: str | None) -> Engine | None:
    """The engine of the endpoint that is to be started for a conversation; None if there is one, or AWS.

    Raises:
        InvalidRequestError: another endpoint was named too.
    """
    if endpoint_url is not None and local:
        raise InvalidRequestError("--local starts an endpoint of its own: leave out --endpoint-url.")
    if endpoint_url is not None and engine is not None:
        raise InvalidRequestError("--engine goes with --local: a running endpoint has its engine.")
    return engine or ("llama" if local else None)
