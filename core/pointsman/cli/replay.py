"""`pointsman replay`: its options. How it is carried out is in `replaying`, which needs more than options do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.completing import model_ids, router_names
from pointsman.cli.prices import NamedPrice, Prices, named_prices
from pointsman.errors import InvalidRequestError

OURS = "pointsman"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaying:
    """What is to be replayed, under which policies, and how it is shown."""

    logs: tuple[Path, ...]
    model: str | None = None
    placements: tuple[str, ...] = (OURS,)
    router: str | None = None
    candidates: tuple[str, ...] = ()
    compare: bool = False
    interleave: bool = False
    seed: int = 0
    prices: tuple[NamedPrice, ...] = ()
    plots: tuple[Path, ...] = ()
    as_json: bool = False

    def __post_init__(self) -> None:
        if not self.logs:
            raise InvalidRequestError("name at least one LOG to replay.")
        if self.router is not None and self.model is not None:
            raise InvalidRequestError("both --router and --model were given. Choose one.")
        if self.candidates and self.router is None:
            raise InvalidRequestError("--models goes with --router: it chooses among them.")


def replay(
    # Hidden: the help would name its Python type. The text below tells of it.
    logs: Annotated[list[Path] | None, typer.Argument(metavar="LOG", hidden=True)] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The model of all requests. Default: what the log names.",
            show_default=False,
            autocompletion=model_ids,
        ),
    ] = None,
    placement: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|MODULE:FUNCTION",
            help="none, end-5m, tools-system-end-5m, everywhere-1h, pointsman, or one's own; may be repeated. "
            "Default: pointsman.",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="All placements that have a name, beside each other.")] = (
        False
    ),
    router: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|MODULE:FUNCTION",
            help="What chooses the model of each request: a prompt router, on the expected quality that the log tells; "
            "or one's own.",
            show_default=False,
            autocompletion=router_names,
        ),
    ] = None,
    models: Annotated[
        str | None, typer.Option(metavar="A,B", help="What a router of one's own chooses among.", show_default=False)
    ] = None,
    price: Prices = None,
    interleave: Annotated[
        bool,
        typer.Option("--interleave", help="Sessions without a common clock start side by side, over a day."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of what is drawn at random.")] = 0,
    plot: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Draw the bills to out.svg or out.png; may be repeated.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Bill a log of requests as it would have been with another placement of cache points, or another router.

    Each LOG is a file or a folder: what pointsman.TraceLog wrote, Bedrock's model-invocation logs, or a public trace
    (coding sessions of kv-cache-tester, Mooncake, MTRAG, tau-bench); plain or gzip. No call is made.

        pointsman replay traffic.jsonl --compare --plot bills.svg
    """
    from pointsman.cli.replaying import carry_out

    carry_out(
        Replaying(
            logs=tuple(logs or ()),
            model=model,
            placements=tuple(placement or (OURS,)),
            router=router,
            candidates=tuple(filter(None, (one.strip() for one in (models or "").split(",")))),
            compare=compare,
            interleave=interleave,
            seed=seed,
            prices=named_prices(price),
            plots=tuple(plot or ()),
            as_json=as_json,
        )
    )
