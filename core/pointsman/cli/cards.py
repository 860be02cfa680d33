"""A predictor's card as a terminal shows it, and as JSON: what it was fitted to, how good it is, and what to do next.

Knows figures and what they mean; there is no text of any prompt in a card.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointsman.ask.report import printable
from pointsman.catalog import Catalog
from pointsman.evaluation.trial import resolved
from pointsman.routing import RouterRegistry
from pointsman.routing.card import Card, PairFigures

UNKNOWN = "unknown"
_CHANCE = 0.5
_PIPED_WIDTH = 160
# Two lines, as each row has two.
_PAIR_HEADER = ("weaker\nstronger", "prompts", "APGR\ninterval", "random\nlength", "error\nfloor")
_NOTE = (
    "On prompts held out of the fit. APGR: the quality gap between the two that is recovered, on average over all "
    "shares of calls to the stronger one, with its 95 % interval; beside it what drawing lots (random) and the "
    "prompt's length alone reach, which it must beat to be worth something. The calibration error is of the expected "
    "gap in quality, in ten bins; a perfect predictor would show the floor on as many prompts."
)


def print_card(card: Card, path: Path) -> None:
    """The card in tables, its warnings, and how its predictor is put to use."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPED_WIDTH)
    told = f"{printable(card.name) or path.name}: fitted on {card.date} to {card.prompts:,} prompts."
    console.print(Text(f"{told} Licence of the data: {printable(card.licence)}." if card.licence else told))
    console.print(_table(("model", "mean quality"), [(one, _decimal(value)) for one, value in card.qualities.items()]))
    if card.pairs:
        console.print(Text("Does it tell when the stronger model is needed?", style="bold"))
        console.print(_table(_PAIR_HEADER, [_row(pair) for pair in card.pairs]))
        console.print(Text(_NOTE, style="dim"))
    for warning in card.warnings:
        console.print(Text(f"\nBeware: {_sentence(warning)}", style="yellow"))
    for note in card.notes:
        console.print(Text(f"\n{_sentence(note)}", style="dim"))
    console.print(Text(f"\nWritten to {path}. Hold it against prompts that it was not fitted to, then use it:\n"))
    console.print(Text(next_steps(card, path)), soft_wrap=True)


def next_steps(card: Card, path: Path) -> str:
    """What to run and to write, with the file that was written: a default router, if it has heads for one."""
    served = _default_router(frozenset(card.qualities))
    loaded = f"TrainedPredictor.load({str(path)!r})"
    if served is None:
        lines = [_evaluate(card, path, "--models", ",".join(card.qualities)), "", f"Router(..., predictor={loaded})"]
    else:
        ask = shlex.join(("pointsman", "ask", "-q", "...", "--router", served, "--predictor", str(path)))
        lines = [_evaluate(card, path, "--router", served), ask, "", f"RouterRegistry(predictor={loaded})"]
    return "".join(f"    {line}".rstrip() + "\n" for line in lines)


def _evaluate(card: Card, path: Path, *router: str) -> str:
    """The command, with a place for each price that isn't known."""
    catalog = Catalog.default()
    unpriced = [model for model in card.qualities if resolved(model, catalog).price is None]
    prices = [word for model in unpriced for word in ("--price", f"{model}=IN,OUT")]
    return shlex.join(("pointsman", "evaluate", "held-out.jsonl", *router, "--predictor", str(path), *prices))


def _default_router(models: frozenset[str]) -> str | None:
    """The name of a default router whose models are all among these."""
    registry = RouterRegistry()
    for record in registry.records():
        named = (*record.models, record.fallback_model)
        if {registry.catalog.resolve(model).id for model in named} <= models:
            return record.name
    return None


def to_json(card: Card, path: Path) -> dict[str, Any]:
    """The card and where its predictor was written, as plain JSON; a figure that can't be told is null."""
    told: dict[str, Any] = _without_nan({"output": str(path), "card": card.to_dict()})
    return told


def _row(pair: PairFigures) -> tuple[str, ...]:
    interval = UNKNOWN if math.isnan(pair.low) else f"{_decimal(pair.low)} to {_decimal(pair.high)}"
    return (
        f"{pair.weak}\n{pair.strong}",
        f"{pair.prompts:,}",
        f"{_decimal(pair.apgr)}\n{interval}",
        f"{_decimal(_CHANCE)}\n{_decimal(pair.length_apgr)}",
        f"{_decimal(pair.calibration_error)}\n{_decimal(pair.sampling_floor)}",
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _sentence(text: str) -> str:
    return printable(text).rstrip(".") + "."


def _decimal(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.3f}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
