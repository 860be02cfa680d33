"""What policies amount to, beside each other and beside the baselines that a router must beat.

Knows trials and figures; asks no model and writes no report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from pointsman.catalog import Catalog
from pointsman.evaluation.comparison import SAME_SHARES, Comparison, Figure, Pair, Point, Promise, Ranking, Standing
from pointsman.evaluation.labelled import try_on
from pointsman.evaluation.metrics import (
    Floats,
    Rows,
    Scored,
    bootstrap_all,
    calibration_error,
    cost_curve,
    curve,
    loss_of,
    neediest,
    sampling_floor,
    saved_across_folds,
)
from pointsman.evaluation.trial import DATASET, LENGTH, ORACLE, RANDOM, Policy, Progress, Run, Trial
from pointsman.pricing import Price
from pointsman.routing import Outcomes

FOLDS = 5
_POINTS = 101


def compare(
    outcomes: Outcomes,
    policies: Sequence[Policy],
    *,
    catalog: Catalog | None = None,
    seed: int = 0,
    draws: int = 200,
    on_progress: Progress = lambda *_: None,
) -> Comparison:
    """Policies on labelled prompts, beside always each model, the baselines and the oracle; see `summed_up`.

    Raises:
        InvalidRequestError: as `labelled.try_on`.
    """
    trial = try_on(outcomes, policies, catalog=catalog, on_progress=on_progress)
    return summed_up(trial, seed=seed, draws=draws, on_progress=on_progress)


def summed_up(trial: Trial, *, seed: int = 0, draws: int = 200, on_progress: Progress = lambda *_: None) -> Comparison:
    """The figures of a trial, with intervals from `draws` bootstrap draws of its questions.

    The policies are held against the last one, where there are several, else against the best model alone. A pair's
    figures are made for each router of two models, and for the two models in play where there is no router.
    """
    pairs = _pairs(trial)
    resampling = _Resampling(trial, seed, draws, on_progress, rounds=1 + len(pairs))
    played = [*_runs(trial), *_always(trial), *_baselines(trial, resampling.folds)]
    return Comparison(
        prompts=len(trial.quality),
        prices={model.id: _price(model.price) for model in trial.models},
        reference=played[_reference(trial, played)].name,
        standings=_standings(played, _reference(trial, played), resampling),
        pairs=tuple(_pair(trial, weak, strong, resampling) for weak, strong in pairs),
        left_out=trial.left_out,
        failures=trial.failures,
        notes=trial.notes,
        seed=seed,
        draws=draws,
    )


class _Resampling:
    """The bootstrap of one trial: questions are drawn, since several prompts may be one question; and its folds."""

    def __init__(self, trial: Trial, seed: int, draws: int, on_progress: Progress, *, rounds: int) -> None:
        self._questions = trial.questions
        self._seed, self._draws, self._on_progress = seed, draws, on_progress
        self._done, self._rounds = 0, rounds
        shuffled = np.random.default_rng(seed).permutation(int(trial.questions.max()) + 1)
        self.folds: Rows = shuffled[trial.questions] % FOLDS

    def figures(self, statistics: Callable[[Rows], Floats]) -> list[Figure]:
        """The statistics of all prompts, each with its interval."""
        n, done = len(self._questions), self._done
        self._done += self._draws
        repeated = len(np.unique(self._questions)) < n
        intervals = bootstrap_all(
            statistics,
            n,
            draws=self._draws,
            seed=self._seed,
            groups=self._questions if repeated else None,
            on_draw=lambda draw: self._on_progress("resampling", done + draw, self._draws * self._rounds),
        )
        values = statistics(np.arange(n))
        return [Figure(float(value), one.low, one.high) for value, one in zip(values, intervals, strict=True)]


# --- every policy and baseline on its own -------------------------------------------------------------------------


class _Played(NamedTuple):
    """Quality and cost of each prompt under one policy, and the share of requests that each model got."""

    name: str
    kind: Literal["router", "model", "baseline"]
    quality: Floats
    cost: Floats
    shares: dict[str, float]


def _runs(trial: Trial) -> Iterator[_Played]:
    for run in trial.runs:
        ids, counts = np.unique(run.invoked, return_counts=True)
        shares = {str(model): float(count) / len(run.invoked) for model, count in zip(ids, counts, strict=True)}
        name = f"always {run.models[0]}" if run.kind == "model" else run.name
        yield _Played(name, run.kind, run.quality, run.cost, shares)


def _always(trial: Trial) -> Iterator[_Played]:
    """Each model by itself, but for those that are policies already."""
    told = {run.models[0] for run in trial.runs if run.kind == "model"}
    for column, model in enumerate(trial.models):
        if model.id not in told:
            yield _mixed(trial, f"always {model.id}", np.eye(len(trial.models))[[column] * len(trial.quality)])


def _baselines(trial: Trial, folds: Rows) -> Iterator[_Played]:
    """What knows nothing, or little, at the first router's share of calls to each model; and what knows all."""
    router = next((run for run in trial.runs if run.kind == "router" and run.models), None)
    if router is not None:
        called = np.array([np.mean(router.invoked == model.id) for model in trial.models])
        yield _mixed(trial, RANDOM + SAME_SHARES, np.tile(called, (len(trial.quality), 1)))
        if len(router.models) == 2:
            weak, strong = _by_strength(trial, router.models)
            calls = int(np.sum(router.invoked == trial.models[strong].id))
            for name, score in _simple_scores(trial, weak, strong, folds).items():
                to_strong = neediest(score, calls)
                given = np.zeros_like(trial.quality)
                given[:, weak], given[:, strong] = 1 - to_strong, to_strong
                yield _mixed(trial, name + SAME_SHARES, given)
    best = trial.quality == trial.quality.max(axis=1, keepdims=True)
    cheapest = np.argmin(np.where(best, np.nan_to_num(trial.cost), np.inf), axis=1)
    yield _mixed(trial, ORACLE, np.eye(len(trial.models))[cheapest])


def _mixed(trial: Trial, name: str, given: Floats) -> _Played:
    """A policy that gives each prompt to the models in these shares: what comes of it on average."""
    shares = {model.id: float(share) for model, share in zip(trial.models, given.mean(axis=0), strict=True) if share}
    quality, cost = (given * trial.quality).sum(axis=1), (given * trial.cost).sum(axis=1)
    return _Played(name, "baseline", quality, cost, shares)


def _reference(trial: Trial, played: Sequence[_Played]) -> int:
    if len(trial.runs) > 1:
        return len(trial.runs) - 1
    strongest = f"always {trial.models[int(np.argmax(trial.quality.mean(axis=0)))].id}"
    return next(index for index, one in enumerate(played) if one.name == strongest)


def _standings(played: Sequence[_Played], reference: int, resampling: _Resampling) -> tuple[Standing, ...]:
    count = len(played)
    columns = np.column_stack([*(one.quality for one in played), *(one.cost for one in played)])

    def statistics(rows: Rows) -> Floats:
        means = columns[rows].mean(axis=0)
        quality, cost = means[:count], means[count:]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.concatenate([quality, 1000 * cost, 1 - quality / quality[reference], 1 - cost / cost[reference]])

    figures = resampling.figures(statistics)
    return tuple(
        Standing(
            name=one.name,
            kind=one.kind,
            quality=figures[index],
            cost=figures[count + index],
            lost=figures[2 * count + index],
            saved=figures[3 * count + index],
            shares=one.shares,
        )
        for index, one in enumerate(played)
    )


# --- pairs of models ----------------------------------------------------------------------------------------------


def _pairs(trial: Trial) -> list[tuple[int, int]]:
    """The columns (weak, strong) of each pair of models that is routed between."""
    routers = [run for run in trial.runs if run.kind == "router"]
    named = [run.models for run in routers] or [tuple(model.id for model in trial.models)]
    return list(dict.fromkeys(_by_strength(trial, models) for models in named if len(models) == 2))


def _by_strength(trial: Trial, models: Sequence[str]) -> tuple[int, int]:
    columns = [column for column, model in enumerate(trial.models) if model.id in models]
    weak, strong = sorted(columns, key=lambda column: (trial.quality[:, column].mean(), trial.cost[:, column].mean()))
    return weak, strong


def _simple_scores(trial: Trial, weak: int, strong: int, folds: Rows) -> dict[str, Floats]:
    """What needs no router: how long the prompt is, and which kind it is, if kinds are known."""
    scores = {LENGTH: trial.tokens}
    if trial.categories is not None and len(np.unique(trial.categories)) > 1:
        scores[DATASET] = _category_gaps(trial, trial.quality[:, strong] - trial.quality[:, weak], folds)
    return scores


def _category_gaps(trial: Trial, gap: Floats, folds: Rows) -> Floats:
    """The mean gap of each prompt's category on the other folds; of all prompts there, where it has none."""
    assert trial.categories is not None
    _, category = np.unique(trial.categories, return_inverse=True)
    found = np.zeros(len(gap))
    for fold in np.unique(folds):
        inside = folds == fold
        if inside.all():
            return found
        counts = np.bincount(category[~inside], minlength=category.max() + 1)
        sums = np.bincount(category[~inside], gap[~inside], minlength=category.max() + 1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), gap[~inside].mean())
        found[inside] = means[category[inside]]
    return found


def _pair(trial: Trial, weak: int, strong: int, resampling: _Resampling) -> Pair:
    pair = {trial.models[weak].id, trial.models[strong].id}
    routers = [run for run in trial.runs if run.kind == "router" and set(run.models) == pair]
    gap = trial.quality[:, strong] - trial.quality[:, weak]
    scores = {run.name: _score_of(run, trial, weak, strong) for run in routers}
    scores |= {RANDOM: np.zeros(len(gap))} | _simple_scores(trial, weak, strong, resampling.folds) | {ORACLE: gap}
    return Pair(
        weak=trial.models[weak].id,
        strong=trial.models[strong].id,
        rankings=_rankings(trial, weak, strong, scores, resampling),
        promises=tuple(_promise(run, trial, weak, strong) for run in routers),
    )


def _score_of(run: Run, trial: Trial, weak: int, strong: int) -> Floats:
    """The gap that a router expects; where it expected nothing, what it did."""
    expected = run.expected[trial.models[strong].id] - run.expected[trial.models[weak].id]
    went = np.where(run.invoked == trial.models[strong].id, np.inf, -np.inf)
    return np.where(np.isnan(expected), went, expected)


def _rankings(
    trial: Trial, weak: int, strong: int, scores: dict[str, Floats], resampling: _Resampling
) -> tuple[Ranking, ...]:
    orders = [np.argsort(-score, kind="stable") for score in scores.values()]
    pairs = [_scored(trial, weak, strong, score, order) for score, order in zip(scores.values(), orders, strict=True)]
    places = [np.argsort(order) for order in orders]
    folds = [resampling.folds[order] for order in orders]

    def statistics(rows: Rows) -> Floats:
        # In the order of the scores, a draw need not be sorted again and again by each figure.
        drawn = [np.sort(place[rows]) for place in places]
        return np.concatenate([_figures(pairs[i].take(one), folds[i][one]) for i, one in enumerate(drawn)])

    figures = resampling.figures(statistics)
    width = len(_FIGURES)
    return tuple(
        Ranking(
            name=name,
            points=_points(pair),
            **dict(zip(_FIGURES, figures[i * width : (i + 1) * width], strict=True)),
        )
        for i, (name, pair) in enumerate(zip(scores, pairs, strict=True))
    )


# In the order in which `_figures` gives them.
_FIGURES = ("apgr", "cpt_50", "cpt_80", "saved_1", "lost_1", "saved_5", "lost_5")


def _scored(trial: Trial, weak: int, strong: int, score: Floats, order: Rows) -> Scored:
    quality, cost = trial.quality[order], trial.cost[order]
    return Scored(
        score=score[order],
        weak=quality[:, weak],
        strong=quality[:, strong],
        weak_cost=cost[:, weak],
        strong_cost=cost[:, strong],
    )


def _figures(pair: Scored, folds: Rows) -> Floats:
    found = curve(pair.score, pair.weak, pair.strong)
    at_1, at_5 = saved_across_folds((0.01, 0.05), pair, folds)
    money = (at_1.saved, at_1.loss, at_5.saved, at_5.loss)
    return np.array([found.apgr, found.calls_to_recover(0.5), found.calls_to_recover(0.8), *money])


def _points(pair: Scored) -> tuple[Point, ...]:
    cost, quality = cost_curve(pair)
    n = len(pair.score)
    return tuple(
        Point(float(cut / n), float(quality[cut]), float(1000 * cost[cut]))
        for cut in np.unique(np.linspace(0, n, _POINTS).round().astype(int))
    )


def _promise(run: Run, trial: Trial, weak: int, strong: int) -> Promise:
    gap = trial.quality[:, strong] - trial.quality[:, weak]
    expected = run.expected[trial.models[strong].id] - run.expected[trial.models[weak].id]
    difference = run.difference or 0.0
    return Promise(
        router=run.name,
        predictor=run.predictor,
        difference=difference,
        loss=loss_of(gap[run.invoked == trial.models[weak].id], difference),
        calibration_error=calibration_error(expected, gap),
        sampling_floor=sampling_floor(expected, gap),
    )


def _price(price: Price | None) -> tuple[float | None, float | None]:
    told = (None, None) if price is None else (price.input, price.output)
    in_, out = (None if one is None else float(one) for one in told)
    return in_, out
