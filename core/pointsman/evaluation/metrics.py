"""The figures by which routing between two models is judged. Knows arrays; knows no model, prompt or router.

Everywhere `score` says how much a prompt needs the strong model (higher: more), `weak` and `strong` are the qualities
of the two answers, and a row in which any of the three is NaN is left out. A figure that can't be had (no rows, or a
strong model that isn't stronger) is NaN.

APGR and CPT are RouteLLM's (arXiv 2406.18665; lm-sys/RouteLLM, `routellm/evals`), with two things settled that its
code leaves to chance. **Ties**: prompts of equal score are taken in random order, and what is given is the
expectation over all such orders, so that a constant score has an APGR of exactly 0.5 and nothing depends on a seed.
**Curves that fall**: CPT is the first share of calls at which the quality is reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_ONE_SIDED_95 = 1.6448536269514722
_ROUNDING = 1e-12


# --- the curve of quality over calls ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Mean quality over the share of calls that go to the strong model, both rising from 0 to 1 by share.

    `strong_share` and `quality` have one value per threshold; `weak` and `strong` are the means of the two models.
    """

    strong_share: Floats
    quality: Floats
    weak: float
    strong: float

    @property
    def apgr(self) -> float:
        """Average performance gap recovered: 0 as the weak model, 1 as the strong one at every share of calls.

        The area under the curve by the trapezoid rule, less `weak`, over `strong - weak`. An oracle exceeds 1.
        """
        if not self.strong > self.weak:
            return math.nan
        steps = np.diff(self.strong_share)
        area = float(np.sum(steps * (self.quality[1:] + self.quality[:-1]) / 2))
        return (area - self.weak) / (self.strong - self.weak)

    def calls_to_recover(self, x: float) -> float:
        """CPT(100 x): per cent of calls to the strong model that recover `x` of the gap, interpolated linearly."""
        if not self.strong > self.weak:
            return math.nan
        reached = self.quality >= self.weak + x * (self.strong - self.weak) - _ROUNDING
        if not reached.any():
            return math.nan
        right = int(np.argmax(reached))
        if right == 0:
            return 100 * float(self.strong_share[0])
        below, above = self.quality[right - 1], self.quality[right]
        part = (self.weak + x * (self.strong - self.weak) - below) / (above - below)
        left_share, right_share = self.strong_share[right - 1], self.strong_share[right]
        return 100 * float(left_share + min(max(part, 0.0), 1.0) * (right_share - left_share))


def curve(score: ArrayLike, weak: ArrayLike, strong: ArrayLike, *, steps: int = 10) -> Curve:
    """The quality of routing by score, at eleven thresholds for ten steps.

    As RouteLLM takes them: the strong model where the score is at or above a quantile of all scores
    (`pandas.qcut(score, 10)`), and at the last threshold only above it, that is nowhere.
    """
    score, weak, strong = _complete(score, weak, strong)
    n = len(score)
    if n == 0:
        return Curve(strong_share=np.empty(0), quality=np.empty(0), weak=math.nan, strong=math.nan)
    gains = np.concatenate(([0.0], np.cumsum(_by_need(score, strong - weak)[0]))) / n
    # The i-th quantile stands at row i (n - 1) / steps of the ascending scores; whoever is at or above it goes.
    counts = np.array([0, *(n - -(-i * (n - 1) // steps) for i in range(steps - 1, -1, -1))])
    mean = float(np.mean(weak))
    return Curve(strong_share=counts / n, quality=mean + gains[counts], weak=mean, strong=float(np.mean(strong)))


def apgr(score: ArrayLike, weak: ArrayLike, strong: ArrayLike) -> float:
    """Average performance gap recovered (see `Curve.apgr`); about 0.5 for a score that knows nothing."""
    return curve(score, weak, strong).apgr


def calls_to_recover(x: float, score: ArrayLike, weak: ArrayLike, strong: ArrayLike) -> float:
    """CPT(100 x), in per cent of calls: `calls_to_recover(0.5, ...)` is CPT(50). See `Curve.calls_to_recover`."""
    return curve(score, weak, strong).calls_to_recover(x)


# --- money --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """One pair of models on the same prompts, one value per prompt in each array. Costs are in any one unit."""

    score: Floats
    weak: Floats
    strong: Floats
    weak_cost: Floats
    strong_cost: Floats

    @classmethod
    def of(
        cls, score: ArrayLike, weak: ArrayLike, strong: ArrayLike, weak_cost: ArrayLike, strong_cost: ArrayLike
    ) -> Scored:
        """From anything that numpy takes; a cost may be one number for all. Rows with a NaN are left out."""
        columns = _complete(score, weak, strong, weak_cost, strong_cost)
        return cls(**dict(zip(cls.__slots__, columns, strict=True)))

    def take(self, rows: ArrayLike) -> Scored:
        """The same of some rows: indices, or a mask."""
        chosen = np.asarray(rows)
        return Scored(**{name: getattr(self, name)[chosen] for name in self.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What routing saves of always-strong's cost, and loses of its quality. Both are shares; a gain is negative."""

    saved: float
    loss: float


_NOTHING_SAVED = Saving(saved=math.nan, loss=math.nan)


def cost_curve(pair: Scored) -> tuple[Floats, Floats]:
    """Mean cost and mean quality per prompt when the k neediest go to the strong model, for k from 0 to n."""
    n = len(pair.score)
    if n == 0:
        return np.empty(0), np.empty(0)
    gain, extra = _by_need(pair.score, pair.strong - pair.weak, pair.strong_cost - pair.weak_cost)
    cost = np.mean(pair.weak_cost) + np.concatenate(([0.0], np.cumsum(extra))) / n
    quality = np.mean(pair.weak) + np.concatenate(([0.0], np.cumsum(gain))) / n
    return cost, quality


def saved_at(
    loss: float,
    score: ArrayLike,
    weak: ArrayLike,
    strong: ArrayLike,
    weak_cost: ArrayLike,
    strong_cost: ArrayLike,
) -> float:
    """The largest share of always-strong's cost that can be saved while its mean quality is kept but for `loss`.

    Over all thresholds on these very prompts, with hindsight: `saved_elsewhere` is what can be promised. `loss` is a
    share of always-strong's quality, so that 0.01 keeps 99 % of it.
    """
    pair = Scored.of(score, weak, strong, weak_cost, strong_cost)
    if not len(pair.score):
        return math.nan
    cost, quality = cost_curve(pair)
    cut = _cheapest_cut(loss, pair, cost, quality)
    return _saving(pair, float(cost[cut]), float(quality[cut])).saved


def saved_elsewhere(loss: float, calibration: Scored, test: Scored) -> Saving:
    """What is saved and lost on `test` by the threshold that saves most on `calibration` at that loss.

    A threshold among equal scores sends the same share of them to the strong model on both sets.
    """
    if not len(calibration.score) or not len(test.score):
        return _NOTHING_SAVED
    (strong_share,) = _strong_shares((loss,), calibration, test)
    return _saving(test, *_bill_and_quality(test, strong_share))


def saved_across_folds(losses: Sequence[float], pair: Scored, folds: ArrayLike) -> tuple[Saving, ...]:
    """For each loss, as `saved_elsewhere`: each fold tested with the threshold of all the others, and added up.

    `folds` names each prompt's fold. The scores should be made out of these folds too.
    """
    names = np.asarray(folds)
    strong_shares = np.zeros((len(losses), len(pair.score)))
    for name in np.unique(names):
        inside = names == name
        if inside.all():
            return (_NOTHING_SAVED,) * len(losses)
        strong_shares[:, inside] = _strong_shares(losses, pair.take(~inside), pair.take(inside))
    if not len(names):
        return (_NOTHING_SAVED,) * len(losses)
    return tuple(_saving(pair, *_bill_and_quality(pair, share)) for share in strong_shares)


def neediest(score: ArrayLike, calls: int) -> Floats:
    """Per prompt, the share in which it goes to the strong model when `calls` of them do: 1, 0, or a part of a tie."""
    scores = np.asarray(score, dtype=np.float64)
    return _above(np.sort(scores), calls, scores)


def _strong_shares(losses: Sequence[float], calibration: Scored, test: Scored) -> list[Floats]:
    """Per prompt of `test`, the share in which the best threshold of `calibration` sends it to the strong model."""
    cost, quality = cost_curve(calibration)
    ascending = np.sort(calibration.score)
    return [_above(ascending, _cheapest_cut(loss, calibration, cost, quality), test.score) for loss in losses]


def _above(ascending: Floats, cut: int, score: Floats) -> Floats:
    """Per score, the share in which it is among what the `cut` highest of the others are: 1, 0, or a part of a tie."""
    n = len(ascending)
    if cut in (0, n):
        return np.full(len(score), float(cut > 0))
    threshold = ascending[n - cut]
    below, up_to = np.searchsorted(ascending, threshold, "left"), np.searchsorted(ascending, threshold, "right")
    tied_share = (cut - (n - up_to)) / (up_to - below)
    share: Floats = np.where(score > threshold, 1.0, np.where(score == threshold, tied_share, 0.0))
    return share


def _cheapest_cut(loss: float, pair: Scored, cost: Floats, quality: Floats) -> int:
    kept = quality >= (1 - loss) * np.mean(pair.strong) - _ROUNDING
    kept[-1] = True  # Always-strong loses nothing, whatever the sums were rounded to.
    return int(np.argmin(np.where(kept, cost, np.inf)))


def _bill_and_quality(pair: Scored, strong_share: Floats) -> tuple[float, float]:
    cost = np.mean(pair.weak_cost + strong_share * (pair.strong_cost - pair.weak_cost))
    return float(cost), float(np.mean(pair.weak + strong_share * (pair.strong - pair.weak)))


def _saving(pair: Scored, cost: float, quality: float) -> Saving:
    strong_cost, strong = float(np.mean(pair.strong_cost)), float(np.mean(pair.strong))
    return Saving(
        saved=1 - cost / strong_cost if strong_cost else math.nan,
        loss=1 - quality / strong if strong else math.nan,
    )


# --- calibration --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Prompts of like predicted gap: how many, the mean prediction, the mean outcome, and the outcome's error.

    `standard_error` is that of the mean difference between the two; NaN for a single prompt.
    """

    count: int
    predicted: float
    observed: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the requests that go to the cheaper model lose against the dearer one, on average.

    `exceeds`: the mean is above the difference that was allowed, significantly (one-sided 95 %, normal
    approximation, which means little under some thirty requests).
    """

    sent: int
    mean: float
    standard_error: float
    exceeds: bool


def reliability(predicted_gap: ArrayLike, gap: ArrayLike, *, bins: int = 10) -> tuple[Bin, ...]:
    """Predicted against observed gap in bins of equal mass, from the lowest prediction to the highest.

    Equal predictions share a bin, so that there may be fewer bins than asked for.
    """
    predicted, observed = _complete(predicted_gap, gap)
    n = len(predicted)
    if n == 0:
        return ()
    order = np.argsort(predicted, kind="stable")
    predicted, observed = predicted[order], observed[order]
    bin_of_rank = np.arange(n) * bins // n
    starts = _starts(predicted)
    bin_of_row = np.repeat(bin_of_rank[starts], np.diff(np.append(starts, n)))
    edges = np.append(np.flatnonzero(np.diff(bin_of_row, prepend=-1)), n)
    return tuple(_bin(predicted[a:b], observed[a:b]) for a, b in pairwise(edges))


def calibration_error(predicted_gap: ArrayLike, gap: ArrayLike, bins: int = 10) -> float:
    """Mean |predicted - observed| gap over bins of equal mass, weighted by their prompts.

    The expected calibration error of Naeini, Cooper and Hauskrecht (AAAI 2015), for a gap in place of a probability
    and with the adaptive bins of Nguyen and O'Connor (EMNLP 2015). Even a perfect predictor's is above 0
    on a sample: see `sampling_floor`.
    """
    found = reliability(predicted_gap, gap, bins=bins)
    total = sum(one.count for one in found)
    return sum(one.count * abs(one.predicted - one.observed) for one in found) / total if total else math.nan


def sampling_floor(predicted_gap: ArrayLike, gap: ArrayLike, bins: int = 10) -> float:
    """The calibration error to expect of a perfectly calibrated predictor on as many prompts.

    In a bin of n prompts the mean of their residuals is then about normal around 0 with standard error s / sqrt(n),
    and the expectation of its absolute value is sqrt(2 / pi) of that (the mean of the half-normal distribution).
    NaN where a bin holds a single prompt.
    """
    found = reliability(predicted_gap, gap, bins=bins)
    total = sum(one.count for one in found)
    weighted = sum(one.count * one.standard_error for one in found)
    return math.sqrt(2 / math.pi) * weighted / total if total else math.nan


def loss_at(d: float, predicted_gap: ArrayLike, gap: ArrayLike) -> Loss:
    """The mean of `gap` over the requests whose predicted gap is at most `d`, which go to the cheaper model.

    Gaps are the dearer model's quality less the cheaper one's.
    """
    predicted, observed = _complete(predicted_gap, gap)
    # Rounded as the router rounds it, so that 0.8 against 0.7 is a gap of 0.1.
    return loss_of(observed[np.round(predicted, 9) <= d], d)


def loss_of(lost: ArrayLike, d: float) -> Loss:
    """The same, given what each request lost that did go to the cheaper model."""
    (each,) = _complete(lost)
    if not len(each):
        return Loss(sent=0, mean=math.nan, standard_error=math.nan, exceeds=False)
    mean, error = float(np.mean(each)), _standard_error(each)
    return Loss(sent=len(each), mean=mean, standard_error=error, exceeds=mean - _ONE_SIDED_95 * error > d)


def _bin(predicted: Floats, observed: Floats) -> Bin:
    return Bin(
        count=len(predicted),
        predicted=float(np.mean(predicted)),
        observed=float(np.mean(observed)),
        standard_error=_standard_error(observed - predicted),
    )


def _standard_error(values: Floats) -> float:
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


# --- intervals ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where a figure lies with 95 % confidence."""

    low: float
    high: float


def bootstrap(
    statistic: Callable[[Rows], float],
    n: int,
    *,
    draws: int = 200,
    seed: int = 0,
    groups: ArrayLike | None = None,
) -> Interval:
    """The percentile bootstrap's 95 % interval (Efron, 1979) of a statistic of `n` rows.

    `statistic` takes the indices of the rows that were drawn, some of them several times. With `groups`, one name per
    row, whole groups are drawn: for rows that belong together, such as several answers to one question. Draws whose
    statistic is NaN are left out.
    """
    if n == 0:
        return Interval(low=math.nan, high=math.nan)
    (interval,) = bootstrap_all(lambda rows: (statistic(rows),), n, draws=draws, seed=seed, groups=groups)
    return interval


def bootstrap_all(
    statistics: Callable[[Rows], Sequence[float] | Floats],
    n: int,
    *,
    draws: int = 200,
    seed: int = 0,
    groups: ArrayLike | None = None,
    on_draw: Callable[[int], object] = lambda _: None,
) -> tuple[Interval, ...]:
    """`bootstrap` of several statistics on the same draws, for `n` of at least one.

    `on_draw` is told how many draws are done.
    """
    random = np.random.default_rng(seed)
    members = None if groups is None else _members(groups)
    found = []
    for draw in range(draws):
        found.append(np.asarray(statistics(_drawn(random, n, members)), dtype=np.float64))
        on_draw(draw + 1)
    return tuple(_percentiles(column) for column in np.array(found).T)


def _percentiles(drawn: Floats) -> Interval:
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return Interval(low=math.nan, high=math.nan)
    low, high = np.percentile(known, (2.5, 97.5))
    return Interval(low=float(low), high=float(high))


def _members(groups: ArrayLike) -> list[Rows]:
    _, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(group_of_row, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group_of_row[order])) + 1)


def _drawn(random: np.random.Generator, n: int, members: list[Rows] | None) -> Rows:
    if members is None:
        return random.integers(0, n, n)
    return np.concatenate([members[i] for i in random.integers(0, len(members), len(members))])


# --- what they share ----------------------------------------------------------------------------------------------


def _complete(*columns: ArrayLike) -> tuple[Floats, ...]:
    """The columns as arrays of one length, without the rows in which one of them is NaN."""
    arrays = np.broadcast_arrays(*(np.atleast_1d(np.asarray(column, dtype=np.float64)) for column in columns))
    known = ~np.isnan(arrays).any(axis=0)
    return tuple(array[known] for array in arrays)


def _starts(ordered: Floats) -> Rows:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))


def _by_need(score: Floats, *columns: Floats) -> tuple[Floats, ...]:
    """The columns by descending score, each the mean of its ties: what a random order among them gives on average."""
    order = np.argsort(-score, kind="stable")
    starts = _starts(score[order])
    if len(starts) == len(score):
        return tuple(column[order] for column in columns)
    counts = np.diff(np.append(starts, len(score)))
    return tuple(np.repeat(np.add.reduceat(column[order], starts) / counts, counts) for column in columns)
