"""What a pair's predictions amount to: figures with 95 % intervals. Knows arrays and figures; fits nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from routing_sets import Floats

from pointsman.evaluation import metrics

DIFFERENCES = (0.02, 0.05, 0.1, 0.26)
LOSSES = (0.01, 0.05)
DRAWS = 200
WHOLE, HEAD, LENGTH, DATA_SET, PRIOR, RANDOM, ORACLE = (
    "as used",
    "head alone",
    "prompt length",
    "data set known",
    "complexity prior",
    "random",
    "oracle",
)

Rows = npt.NDArray[np.intp]


class Figure(NamedTuple):
    """A value and where it lies with 95 % confidence."""

    value: float
    low: float
    high: float


class Savings(NamedTuple):
    """What is saved of always-strong's cost, and lost of its quality, at each of `LOSSES`."""

    saved: tuple[Figure, ...]
    lost: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """n held-out prompts of a pair. `scores` are predicted gaps or whatever ranks prompts, (n,) each, by name.

    `decided` is the predicted gap as a router takes it: 0 where it lies below what the prediction resolves.
    `expected` are the qualities (n, 2) by the head alone; `flagged` (n,) tells where the prior spoke.
    """

    weak: Floats
    strong: Floats
    scores: Mapping[str, Floats]
    decided: Floats
    expected: Floats
    flagged: npt.NDArray[np.bool_]
    folds: Rows
    costs: tuple[Floats, Floats] | None

    @property
    def gap(self) -> Floats:
        return self.strong - self.weak


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFigures:
    """All that is told of a pair. Mappings go by the names of scores; `beside` holds APGR less that of another."""

    name: str
    prompts: int
    weak: float
    strong: float
    flagged: float
    apgr: Mapping[str, Figure]
    beside: Mapping[str, Figure]
    cpt50: Figure
    cpt80: Figure
    savings: Mapping[str, Savings]
    calibration: Mapping[str, tuple[float, float]]
    model_calibration: tuple[tuple[float, float], ...]
    losses: tuple[metrics.Loss, ...]
    bins: tuple[metrics.Bin, ...]


def figures_of(name: str, held: Held) -> PairFigures:
    """Everything about one pair."""
    apgr = apgrs(held)
    cpt50, cpt80 = (figure(_recovering(held, part), len(held.weak)) for part in (0.5, 0.8))
    return PairFigures(
        name=name,
        prompts=len(held.weak),
        weak=float(held.weak.mean()),
        strong=float(held.strong.mean()),
        flagged=float(held.flagged.mean()),
        apgr=apgr,
        beside={other: difference(held, other) for other in (LENGTH, DATA_SET) if other in held.scores},
        cpt50=cpt50,
        cpt80=cpt80,
        savings=_savings(held),
        calibration={
            score: _above_floor(held.scores[score], held.gap) for score in (WHOLE, HEAD) if score in held.scores
        },
        model_calibration=tuple(
            _above_floor(held.expected[:, place], observed) for place, observed in enumerate((held.weak, held.strong))
        ),
        losses=tuple(metrics.loss_at(d, held.decided, held.gap) for d in DIFFERENCES),
        bins=metrics.reliability(held.scores[WHOLE], held.gap),
    )


def apgrs(held: Held) -> dict[str, Figure]:
    """APGR by each score."""
    return {name: figure(_ranking(held, score), len(held.weak)) for name, score in held.scores.items()}


def figure(statistic: Callable[[Rows], float], n: int) -> Figure:
    """A statistic of n rows, with its bootstrap interval."""
    interval = metrics.bootstrap(statistic, n, draws=DRAWS)
    return Figure(statistic(np.arange(n)), interval.low, interval.high)


def difference(held: Held, other: str) -> Figure:
    """By how much the predictor's APGR exceeds another score's, on the same draws."""
    own, theirs = (_ranking(held, held.scores[name]) for name in (WHOLE, other))
    return figure(lambda rows: own(rows) - theirs(rows), len(held.weak))


def known_kinds(kinds: npt.NDArray[np.str_], gap: Floats, folds: Rows) -> Floats:
    """The mean gap of each prompt's data set on the other folds: what knowing the data set tells."""
    _, kind = np.unique(kinds, return_inverse=True)
    found = np.zeros(len(gap))
    for fold in np.unique(folds):
        inside = folds == fold
        counts = np.bincount(kind[~inside], minlength=kind.max() + 1)
        sums = np.bincount(kind[~inside], gap[~inside], minlength=kind.max() + 1)
        found[inside] = np.where(counts > 0, sums / np.maximum(counts, 1), gap[~inside].mean())[kind[inside]]
    return found


def _ranking(held: Held, score: Floats) -> Callable[[Rows], float]:
    return lambda rows: metrics.apgr(score[rows], held.weak[rows], held.strong[rows])


def _recovering(held: Held, part: float) -> Callable[[Rows], float]:
    score = held.scores[WHOLE]
    return lambda rows: metrics.calls_to_recover(part, score[rows], held.weak[rows], held.strong[rows])


def _above_floor(predicted: Floats, observed: Floats) -> tuple[float, float]:
    return metrics.calibration_error(predicted, observed), metrics.sampling_floor(predicted, observed)


def _savings(held: Held) -> dict[str, Savings]:
    if held.costs is None:
        return {}
    told = {RANDOM: np.zeros(len(held.weak)), **held.scores, ORACLE: held.gap}
    return {name: _saving(held, held.costs, score) for name, score in told.items() if name not in (HEAD, PRIOR)}


def _saving(held: Held, costs: tuple[Floats, Floats], score: Floats) -> Savings:
    order = np.argsort(-score, kind="stable")  # Drawn rows need not be sorted anew by each figure.
    pair = metrics.Scored.of(score[order], held.weak[order], held.strong[order], *(cost[order] for cost in costs))
    folds = held.folds[order]

    def told(rows: Rows) -> list[float]:
        rows = np.sort(rows)
        both = metrics.saved_across_folds(LOSSES, pair.take(rows), folds[rows])
        return [one.saved for one in both] + [one.loss for one in both]

    values = told(np.arange(len(order)))
    intervals = metrics.bootstrap_all(told, len(order), draws=DRAWS)
    found = [Figure(value, one.low, one.high) for value, one in zip(values, intervals, strict=True)]
    return Savings(tuple(found[: len(LOSSES)]), tuple(found[len(LOSSES) :]))
