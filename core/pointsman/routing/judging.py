"""The figures on a predictor's card: made on prompts that its heads and calibration were not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from pointsman.evaluation import metrics
from pointsman.routing.card import PairFigures
from pointsman.routing.heads import Floats

_MOST_PAIRS = 10
_DRAWS = 200


def figures(
    models: Sequence[str], predicted: Floats, labels: Floats, lengths: Floats
) -> tuple[tuple[PairFigures, ...], tuple[str, ...]]:
    """Figures per pair of models, and the warnings that follow from them.

    `predicted` and `labels` are (n, m), `lengths` (n,) the prompts' lengths. Pairs whose models were not asked the same
    prompts have no figures.
    """
    with np.errstate(invalid="ignore"):
        means = np.nanmean(labels, axis=0)
    pairs: list[PairFigures] = []
    warnings: list[str] = []
    for places in _pairs(means):
        both = ~np.isnan(labels[:, places]).any(axis=1)
        if both.sum() < 2:
            continue
        weak, strong = sorted(places, key=lambda place: float(labels[both, place].mean()))
        if labels[both, weak].mean() == labels[both, strong].mean():
            warnings.append(f"{models[weak]} and {models[strong]} are equally good on these prompts")
            continue
        order = [weak, strong]
        named = models[weak], models[strong]
        pair, warning = _judged(named, predicted[both][:, order], labels[both][:, order], lengths[both])
        pairs.append(pair)
        warnings += warning
    if not pairs and not warnings:
        warnings.append("no two models were asked the same prompts, so that nothing tells how good this is")
    return tuple(pairs), tuple(warnings)


def _pairs(means: Floats) -> list[list[int]]:
    """All pairs, or, of many models, each with the best."""
    every = [list(pair) for pair in combinations(range(len(means)), 2)]
    best = int(np.argmax(means))
    return every if len(every) <= _MOST_PAIRS else [pair for pair in every if best in pair]


def _judged(
    models: tuple[str, str], predicted: Floats, labels: Floats, lengths: Floats
) -> tuple[PairFigures, list[str]]:
    weak, strong = models
    gap, observed = predicted[:, 1] - predicted[:, 0], labels[:, 1] - labels[:, 0]

    def apgr_of(rows: npt.NDArray[np.intp]) -> float:
        return metrics.apgr(gap[rows], labels[rows, 0], labels[rows, 1])

    interval = metrics.bootstrap(apgr_of, len(gap), draws=_DRAWS)
    figures = PairFigures(
        weak=weak,
        strong=strong,
        prompts=len(gap),
        weak_quality=float(labels[:, 0].mean()),
        strong_quality=float(labels[:, 1].mean()),
        apgr=metrics.apgr(gap, labels[:, 0], labels[:, 1]),
        low=interval.low,
        high=interval.high,
        length_apgr=metrics.apgr(lengths, labels[:, 0], labels[:, 1]),
        calibration_error=metrics.calibration_error(gap, observed),
        sampling_floor=metrics.sampling_floor(gap, observed),
    )
    warnings = []
    if not figures.low > 0.5:
        warnings.append(f"between {weak} and {strong} it can't be told from chance: label more prompts")
    if figures.length_apgr > figures.apgr:
        warnings.append(f"between {weak} and {strong} it loses to the prompt's length: label more prompts")
    return figures, warnings
