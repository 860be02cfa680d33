"""Fits Pointsman's own predictor to a part of a pair's prompts and asks it for the rest. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from routing_figures import (
    DATA_SET,
    DIFFERENCES,
    HEAD,
    LENGTH,
    PRIOR,
    WHOLE,
    Figure,
    Held,
    PairFigures,
    Rows,
    apgrs,
    figure,
    figures_of,
    known_kinds,
)
from routing_sets import Floats, Judged, Pair, judged, other_sets

from pointsman.evaluation import metrics
from pointsman.routing import Outcomes
from pointsman.routing.complexity import complexity
from pointsman.routing.fitting import Texts, chances_of, fold_of
from pointsman.routing.trained import TrainedPredictor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What a predictor said of n prompts: the gap as used, by the head alone, and as a router takes it; see `Held`."""

    whole: Floats
    head: Floats
    decided: Floats
    expected: Floats
    flagged: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class FewLabels:
    """Figures of fits to few labels, each the mean over draws. `worst` is the lowest APGR of a draw."""

    name: str
    labels: int
    draws: int
    apgr: Figure
    head: Figure
    cpt50: Figure
    cpt80: Figure
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Figures on one data set of a predictor that was fitted to `labels` prompts of others."""

    name: str
    left_out: str
    prompts: int
    labels: int
    flagged: float
    weak: float
    strong: float
    apgr: dict[str, Figure]
    losses: tuple[metrics.Loss, ...]


Result = PairFigures | FewLabels | Elsewhere


def across_folds(data: Path, pair: Pair) -> PairFigures:
    """Five folds by question: fitted to four, asked for the fifth."""
    found = judged(data, pair)
    folds = folds_of(found.outcomes)
    parts = {}
    for fold in np.unique(folds):
        held_out = folds == fold
        parts[fold] = ask(fit(found.rows(~held_out)), found.rows(held_out))
    return figures_of(pair.name, _held(found, _joined(folds, parts), folds))


def from_few(data: Path, pair: Pair, labels: int, draws: int) -> FewLabels:
    """Fitted to some prompts drawn at random, asked for all others; several draws."""
    found = judged(data, pair)
    n = len(found.kinds)
    scores = np.full((draws, 2, n), np.nan)
    for draw in range(draws):
        taken = np.random.default_rng(draw).permutation(n)[:labels]
        rest = np.setdiff1d(np.arange(n), taken)
        told = ask(fit(found.rows(taken)), found.rows(rest))
        scores[draw, 0, rest], scores[draw, 1, rest] = told.whole, told.head
    weak, strong = found.qualities

    def mean(of: Callable[..., float], head: int = 0) -> Figure:
        def over_draws(rows: Rows) -> float:
            return float(np.mean([of(scores[draw, head, rows], weak[rows], strong[rows]) for draw in range(draws)]))

        return figure(over_draws, n)

    return FewLabels(
        name=pair.name,
        labels=labels,
        draws=draws,
        apgr=mean(metrics.apgr),
        head=mean(metrics.apgr, 1),
        cpt50=mean(lambda *rows: metrics.calls_to_recover(0.5, *rows)),
        cpt80=mean(lambda *rows: metrics.calls_to_recover(0.8, *rows)),
        worst=min(metrics.apgr(score[0], weak, strong) for score in scores),
    )


def left_out(data: Path, pair: Pair, kind: str) -> Elsewhere:
    """Fitted to all data sets of a pair but one, asked for that one."""
    found = judged(data, pair)
    inside = found.kinds == kind
    return _elsewhere(found.rows(inside), fit(found.rows(~inside)), int(np.sum(~inside)), kind)


def from_other_sets(data: Path, pair: Pair) -> Elsewhere:
    """Fitted to whatever the other files tell of a pair's models, asked for its own."""
    others = other_sets(data, pair)
    predictor = TrainedPredictor.fit(others.prompts, others.qualities, models=pair.models)
    return _elsewhere(judged(data, pair), predictor, len(others), " and ".join(pair.files))


def fit(found: Judged) -> TrainedPredictor:
    """As a user does: all outcomes that are to be had, the pair's models to predict."""
    return TrainedPredictor.fit(found.outcomes.prompts, found.outcomes.qualities, models=found.pair.models)


def ask(predictor: TrainedPredictor, found: Judged) -> Asked:
    """What a predictor says of some prompts."""
    weak, strong = found.pair.models
    prediction = predictor.predict(found.outcomes.prompts)
    gap = np.asarray(prediction[strong] - prediction[weak])
    chances = chances_of(predictor.heads, Texts.of(found.outcomes.prompts))
    head = predictor.calibration(chances[:, : len(predictor.models)])
    places = [predictor.models.index(model) for model in found.pair.models]
    return Asked(
        whole=gap,
        head=head[:, places[1]] - head[:, places[0]],
        decided=np.where(np.abs(np.round(gap, 9)) < np.array(prediction.resolution), 0.0, gap),
        expected=head[:, places],
        flagged=np.array([basis != "trained" for basis in prediction.basis]),
    )


def folds_of(outcomes: Outcomes) -> Rows:
    """The fold of each prompt, by its whole text."""
    return np.array([fold_of(str(prompt)) for prompt in outcomes.prompts])


def _elsewhere(found: Judged, predictor: TrainedPredictor, labels: int, kind: str) -> Elsewhere:
    folds = folds_of(found.outcomes)
    held = _held(found, ask(predictor, found), folds)
    scores = {name: score for name, score in held.scores.items() if name != DATA_SET}
    return Elsewhere(
        name=found.pair.name,
        left_out=kind,
        prompts=len(held.weak),
        labels=labels,
        flagged=float(held.flagged.mean()),
        weak=float(held.weak.mean()),
        strong=float(held.strong.mean()),
        apgr=apgrs(replace(held, scores=scores)),
        losses=tuple(metrics.loss_at(d, held.decided, held.gap) for d in DIFFERENCES),
    )


def _held(found: Judged, asked: Asked, folds: Rows) -> Held:
    weak, strong = found.qualities
    texts = [str(prompt) for prompt in found.outcomes.prompts]
    scores = {
        WHOLE: asked.whole,
        HEAD: asked.head,
        PRIOR: np.array([complexity(text) for text in texts]),
        LENGTH: np.array([float(len(text)) for text in texts]),
    }
    if len(np.unique(found.kinds)) > 1:
        scores[DATA_SET] = known_kinds(found.kinds, strong - weak, folds)
    return Held(
        weak=weak,
        strong=strong,
        scores=scores,
        decided=asked.decided,
        expected=asked.expected,
        flagged=asked.flagged,
        folds=folds,
        costs=found.costs(),
    )


def _joined(folds: Rows, parts: dict[int, Asked]) -> Asked:
    """What each fold's predictor said, in the order of the prompts."""

    def column(name: str) -> npt.NDArray[Any]:
        first = getattr(next(iter(parts.values())), name)
        joined = np.empty((len(folds), *first.shape[1:]), first.dtype)
        for fold, part in parts.items():
            joined[folds == fold] = getattr(part, name)
        return joined

    return Asked(**{name: column(name) for name in Asked.__slots__})
