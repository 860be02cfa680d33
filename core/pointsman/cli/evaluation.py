"""`pointsman evaluate`: its options. How it is carried out is in `evaluating`, which needs more than options do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pointsman.ask.connection import KEY_VARIABLE
from pointsman.cli.completing import router_names
from pointsman.cli.prices import is_amount
from pointsman.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What is to be evaluated, on what, against what, and how it is shown. `prices` are (model id, in, out)."""

    file: Path
    router: str | None = None
    models: tuple[str, ...] = ()
    fallback: str | None = None
    difference: float | None = None
    predictor: Path | None = None
    against: str | None = None
    prices: tuple[tuple[str, str, str], ...] = ()
    live: bool = False
    judge: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    max_tokens: int | None = None
    concurrency: int = 4
    limit: int | None = None
    seed: int = 0
    reports: tuple[Path, ...] = ()
    as_json: bool = False

    def __post_init__(self) -> None:
        if self.router is not None and self.models:
            raise InvalidRequestError("both --router and --models were given. Choose one: --models makes a router.")
        if self.fallback is not None and not self.models:
            raise InvalidRequestError("--fallback goes with --models: a router has its own.")
        if self.live and self.judge is None:
            raise InvalidRequestError("--live needs a judge: --judge module:function.")
        given = {"--judge": self.judge, "--endpoint-url": self.endpoint_url, "--max-tokens": self.max_tokens}
        if not self.live and (lone := [name for name, value in given.items() if value is not None]):
            raise InvalidRequestError(f"{lone[0]} goes with --live: otherwise no call is made.")


def evaluate(
    # Hidden: the help would name its Python type. The text below tells of it.
    file: Annotated[Path, typer.Argument(metavar="FILE", hidden=True)],
    router: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|ARN",
            help="The prompt router to evaluate.",
            show_default=False,
            autocompletion=router_names,
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Or a router made of these models. Default: the file's two.", show_default=False
        ),
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Its fallback model. Default: the dearest.", show_default=False),
    ] = None,
    difference: Annotated[
        float | None,
        typer.Option(
            metavar="D", help="Response quality difference, 0 to 1. Default: the router's; 0.", show_default=False
        ),
    ] = None,
    predictor: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A fitted predictor to decide by. Default: ours.", show_default=False),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL|NAME|ARN",
            help="A model or another router. Default: the best model alone.",
            show_default=False,
        ),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=IN,OUT", help="A model's USD per million tokens; may be repeated.", show_default=False
        ),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Ask the prompts, and have the answers judged.")] = False,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Takes the request and the reply, gives the answer's quality, 0 to 1.",
            show_default=False,
        ),
    ] = None,
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            "--endpoint-url",
            metavar="URL",
            help=f"Another endpoint than AWS's (its key: {KEY_VARIABLE}).",
            show_default=False,
        ),
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="REGION", help="The AWS Region to call.", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The longest answer, in tokens.", show_default=False)
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Prompts asked at a time.")] = 4,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="So many of the prompts, drawn at random.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of what is drawn at random.")] = 0,
    report: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Write it to out.md or out.html too; may be repeated.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Hold a router against a model, another router, and the baselines that it must beat.

    FILE (jsonl, csv or parquet) holds labelled prompts: a column `prompt`, for each model a column of qualities from 0
    to 1, and if known a `category` and `<model>__output_tokens`. No call is made. With --live the prompts are asked.

        pointsman evaluate outcomes.parquet --models A,B --price A=0.25,1.25 --price B=3,15 --report out.html
    """
    from pointsman.cli.evaluating import carry_out

    carry_out(
        Evaluation(
            file=file,
            router=router,
            models=tuple(filter(None, (one.strip() for one in (models or "").split(",")))),
            fallback=fallback,
            difference=difference,
            predictor=predictor,
            against=against,
            prices=tuple(map(_price, price or ())),
            live=live,
            judge=judge,
            endpoint_url=endpoint_url,
            region=region,
            max_tokens=max_tokens,
            concurrency=concurrency,
            limit=limit,
            seed=seed,
            reports=tuple(report or ()),
            as_json=as_json,
        )
    )


def _price(text: str) -> tuple[str, str, str]:
    model, _, prices = text.rpartition("=")
    both = prices.split(",")
    if not model or len(both) != 2 or not all(is_amount(one) for one in both):
        raise InvalidRequestError(f"--price {text!r} is not of the form ID=IN,OUT, such as my-model=0.25,1.25.")
    return model, both[0], both[1]
