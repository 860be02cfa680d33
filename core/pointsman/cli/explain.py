"""`pointsman explain`: its options. How it is carried out is in `explaining`, which needs more than options do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.prices import NamedPrice, Prices, named_prices
from pointsman.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Explaining:
    """What is to be explained, for which model, and how it is shown."""

    files: tuple[Path, ...]
    model: str | None = None
    diff: bool = False
    prices: tuple[NamedPrice, ...] = ()
    show_text: bool = False
    as_json: bool = False

    def __post_init__(self) -> None:
        if not self.files:
            raise InvalidRequestError("name a FILE to explain: a request as JSON, or a log of requests.")


def explain(
    # Hidden: the help would name its Python type. The text below tells of it.
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE", hidden=True)] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="The model of all requests. Default: the modelId that each names.", show_default=False
        ),
    ] = None,
    diff: Annotated[
        bool,
        typer.Option("--diff", help="The files hold requests of one conversation: where each parts from the earlier."),
    ] = False,
    price: Prices = None,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Show some characters of the texts; without this, none is shown.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Explain what is cached of a request and why, or what broke the cache of a conversation. No call is made.

    Of a FILE with one request: each block, its tokens, where cache points go, and for each place without one the
    reason. Of two with --diff, or of a list of requests in one FILE: the first byte at which they part, and what it
    costs. Of a log of several, or of several FILEs or a folder: the bill of no caching, the usual placements and ours,
    and what broke each conversation's cache.

    A request is one as Converse takes it; those of InvokeModel, OpenAI and LangChain are not read. A log is what
    pointsman.TraceLog or `--log` wrote, Bedrock's model-invocation logs, or a request on each line, perhaps as
    {"request": ..., "response": ...}, with `timestamp` and `session` beside it.

    Requests that hold cache points are judged with these; those that hold none, with what Pointsman would lay.

        pointsman explain --diff before.json after.json
    """
    from pointsman.cli.explaining import carry_out

    carry_out(
        Explaining(
            files=tuple(files or ()),
            model=model,
            diff=diff,
            prices=named_prices(price),
            show_text=show_text,
            as_json=as_json,
        )
    )
