"""`pointsman route`: its options. How it is carried out is in `deciding`, which needs more than options do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.completing import model_ids, router_names
from pointsman.cli.options import AsJson, PredictorFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """What is to be routed, by which router, and how it is shown. `warm`: models taken to hold the prompt already."""

    what: str
    router: str | None = None
    region: str | None = None
    predictor: Path | None = None
    warm: tuple[str, ...] = ()
    as_json: bool = False


def route(
    # Hidden: the help would name its Python type. The text below tells of it.
    what: Annotated[str, typer.Argument(metavar="PROMPT", hidden=True)],
    router: Annotated[
        str | None,
        typer.Option(
            "--router",
            metavar="NAME|ARN",
            help="The prompt router. Default: the request's, or the one for Claude.",
            show_default=False,
            autocompletion=router_names,
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            metavar="REGION",
            help="Where models would be called from. Default: AWS_REGION, or us-east-1.",
            show_default=False,
        ),
    ] = None,
    predictor: PredictorFile = None,
    warm: Annotated[
        list[str] | None,
        typer.Option(
            "--warm",
            metavar="ID",
            help="Decide as if the prompt had just been sent to this model; may be repeated.",
            show_default=False,
            autocompletion=model_ids,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which model a router would choose for a prompt, and why. Nothing is sent.

    PROMPT is a text, - for a text from stdin, or a .json file that holds a request as Converse takes it. For every
    candidate: whether it can serve it, its expected quality, its expected bill, what of the prompt is warm there.

        pointsman route "What is a mutex?" --router "Nova Prompt Router"
    """
    from pointsman.cli.deciding import carry_out

    carry_out(
        Routing(
            what=what,
            router=router,
            region=region,
            predictor=predictor,
            warm=tuple(warm or ()),
            as_json=as_json,
        )
    )
