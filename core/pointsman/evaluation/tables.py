"""A comparison as tables that a terminal, Markdown and HTML can all show, and the words that explain them.

Knows figures and how they are written; knows no format. There is no text of any prompt in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from pointsman.evaluation.comparison import SAME_SHARES, Comparison, Figure, Pair, Promise, Ranking, Standing

UNKNOWN = "unknown"
SHARES = "requests to"


class Cell(NamedTuple):
    """What stands in a table, and the interval that belongs to it."""

    text: str
    interval: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A titled table; the first column names the rows, the others hold figures. `note` says how it is to be read."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def tables_of(comparison: Comparison) -> tuple[Table, ...]:
    """The policies, then for each pair of models what ranks the prompts and what routers promised."""
    pairs = [table for pair in comparison.pairs for table in (_rankings(pair), _promises(pair)) if table.rows]
    return (_policies(comparison), *pairs)


def curve_of(pair: Pair) -> Table:
    """Mean quality at each tenth of calls to the strong model, for where the curve can't be drawn."""
    return Table(
        title=f"Quality by the share of calls to {pair.strong}, the rest to {pair.weak}",
        note="",
        header=("calls", *(ranking.name for ranking in pair.rankings)),
        rows=tuple(
            (
                Cell(f"{tenth * 10} %"),
                *(Cell(percent(_quality_at(ranking, tenth / 10))) for ranking in pair.rankings),
            )
            for tenth in range(11)
        ),
    )


def remarks_of(comparison: Comparison) -> tuple[str, ...]:
    """What was assumed, left out, and went wrong; and the prices, without which a cost says nothing."""
    prices = [f"{model} {_price(in_)} in, {_price(out)} out" for model, (in_, out) in comparison.prices.items()]
    fitted = any(standing.kind == "router" for standing in comparison.standings)
    return (
        f"Prices, USD per million tokens: {'; '.join(prices)}.",
        *comparison.notes,
        *(("A predictor that was fitted to some of these prompts looks better here than it is.",) if fitted else ()),
        *(f"Left out: {_prompts(count)}, {why}." for why, count in comparison.left_out.items()),
        *(f"Failed: {what}, {_times(count)}." for what, count in comparison.failures.items()),
        f"Intervals are of 95 %, from {comparison.draws} bootstrap draws of the questions, seed {comparison.seed}.",
    )


def percent(value: float, digits: int = 1) -> str:
    """A share as per cent."""
    return UNKNOWN if math.isnan(value) else f"{100 * value:.{digits}f} %"


def _policies(comparison: Comparison) -> Table:
    return Table(
        title="Policies",
        note=(
            f"Quality lost and cost saved are against {comparison.reference!r}. A baseline with the same shares sends "
            "as many requests to each model as the router does. The oracle takes the cheapest of the best models for "
            "each prompt, with hindsight."
        ),
        header=("policy", "quality", "USD per 1,000 requests", "quality lost", "cost saved", SHARES),
        rows=tuple(_policy(one, comparison.reference) for one in comparison.standings),
    )


def _policy(standing: Standing, reference: str) -> tuple[Cell, ...]:
    itself = standing.name == reference
    return (
        Cell(standing.name),
        _share(standing.quality),
        _cell(standing.cost, money),
        Cell("") if itself else _share(standing.lost),
        Cell("") if itself else _share(standing.saved),
        Cell(_shares(standing)),
    )


def _rankings(pair: Pair) -> Table:
    return Table(
        title=f"When is {pair.strong} needed, and when does {pair.weak} do?",
        note=(
            "APGR: the gap between the two that is recovered, on average over all shares of calls; .5 knows nothing. "
            "CPT(50): per cent of calls to the strong model that recover half of the gap (both as RouteLLM has them). "
            "Saved: share of always-strong's cost, by the threshold that was chosen on four fifths of the questions "
            "for a loss of 1 or 5 % of its quality; lost: what that lost on the other fifth."
        ),
        header=("by", "APGR", "CPT(50)", "CPT(80)", "saved at 1 %", "lost", "saved at 5 %", "lost"),
        rows=tuple(_ranking(one) for one in pair.rankings),
    )


def _ranking(ranking: Ranking) -> tuple[Cell, ...]:
    return (
        Cell(ranking.name),
        _cell(ranking.apgr, _decimal),
        _cell(ranking.cpt_50, _number),
        _cell(ranking.cpt_80, _number),
        _share(ranking.saved_1),
        _share(ranking.lost_1, 2),
        _share(ranking.saved_5),
        _share(ranking.lost_5, 2),
    )


def _promises(pair: Pair) -> Table:
    return Table(
        title="Does the response quality difference mean what it says?",
        note=(
            "Requests that went to the weak model, and what they lost by it on average, which should be at most the "
            "difference. The calibration error is of the expected gap, in ten bins; a perfect predictor would show the "
            "sampling floor."
        ),
        header=("router", "predictor", "difference", "sent", "mean loss", "above it?", "calibration error", "floor"),
        rows=tuple(_promise(one) for one in pair.promises),
    )


def _promise(promise: Promise) -> tuple[Cell, ...]:
    loss = promise.loss
    error = "" if math.isnan(loss.standard_error) else f"standard error {loss.standard_error:.3f}"
    return (
        Cell(promise.router),
        Cell(promise.predictor or UNKNOWN),
        Cell(f"{promise.difference:g}"),
        Cell(f"{loss.sent:,}"),
        Cell(UNKNOWN if math.isnan(loss.mean) else f"{loss.mean:.3f}", error),
        Cell("yes, significantly" if loss.exceeds else "not significantly" if loss.mean > promise.difference else "no"),
        Cell(_decimal(promise.calibration_error)),
        Cell(_decimal(promise.sampling_floor)),
    )


def _quality_at(ranking: Ranking, calls: float) -> float:
    return min(ranking.points, key=lambda point: abs(point.calls - calls)).quality


def _cell(figure: Figure, written: Callable[[float], str]) -> Cell:
    value, low, high = (written(one) for one in figure)
    told = value == UNKNOWN or low == UNKNOWN or low == high == value
    return Cell(value) if told else Cell(value, f"{low.removesuffix(' %')} to {high.removesuffix(' %')}")


def _share(figure: Figure, digits: int = 1) -> Cell:
    return _cell(figure, lambda value: percent(value, digits))


def money(value: float) -> str:
    """USD, with as many digits as tell something."""
    digits = 2 if value >= 1 else 4 if value >= 0.01 or value == 0 else 6
    return UNKNOWN if math.isnan(value) else f"{value:,.{digits}f}"


def _decimal(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.3f}"


def _number(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.1f}"


def _price(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:g}"


def _shares(standing: Standing) -> str:
    """Where the requests went; nothing where the name tells it."""
    alone = standing.kind != "router" and len(standing.shares) == 1
    if alone or standing.name.endswith(SAME_SHARES):
        return ""
    ordered = sorted(standing.shares.items(), key=lambda one: -one[1])
    return ", ".join(f"{model} {percent(share)}" for model, share in ordered)


def _prompts(count: int) -> str:
    return "1 prompt" if count == 1 else f"{count:,} prompts"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
