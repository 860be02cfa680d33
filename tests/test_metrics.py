"""The figures that routing is judged by: against values worked out by hand, and against a plain reimplementation."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.evaluation.metrics import (
    Interval,
    Saving,
    Scored,
    apgr,
    bootstrap,
    calibration_error,
    calls_to_recover,
    cost_curve,
    curve,
    loss_at,
    reliability,
    sampling_floor,
    saved_across_folds,
    saved_at,
    saved_elsewhere,
)

NAN = math.nan


# --- the same once more, as plainly as it can be said -------------------------------------------------------------


def plain_curve(score: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> list[tuple[float, float]]:
    """RouteLLM's points (share, quality) for scores without ties: thresholds at interpolated deciles."""
    ordered, n = sorted(score), len(score)
    points = []
    for i in range(11):
        position = i * (n - 1) / 10
        low = min(int(position), n - 1)
        high = min(low + 1, n - 1)
        threshold = ordered[low] + (position - low) * (ordered[high] - ordered[low])
        goes = [one > threshold if i == 10 else one >= threshold for one in score]
        quality = sum(s if sent else w for sent, w, s in zip(goes, weak, strong, strict=True)) / n
        points.append((sum(goes) / n, quality))
    return sorted(points)


def plain_apgr(score: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> float:
    points = plain_curve(score, weak, strong)
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))
    low, high = sum(weak) / len(weak), sum(strong) / len(strong)
    return (area - low) / (high - low)


def plain_cpt(x: float, score: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> float:
    low, high = sum(weak) / len(weak), sum(strong) / len(strong)
    target = low + x * (high - low)
    points = plain_curve(score, weak, strong)
    for (share, quality), (next_share, next_quality) in pairwise(points):
        if quality <= target <= next_quality and next_quality > quality:
            return 100 * (share + (target - quality) / (next_quality - quality) * (next_share - share))
    raise AssertionError("the curve ends at the strong model")


def plain_saved(
    loss: float,
    score: Sequence[float],
    weak: Sequence[float],
    strong: Sequence[float],
    weak_cost: Sequence[float],
    strong_cost: Sequence[float],
) -> float:
    n, best = len(score), 0.0
    for threshold in [*score, math.inf]:
        goes = [one >= threshold for one in score]
        quality = sum(s if sent else w for sent, w, s in zip(goes, weak, strong, strict=True))
        cost = sum(s if sent else w for sent, w, s in zip(goes, weak_cost, strong_cost, strict=True))
        if quality / n >= (1 - loss) * sum(strong) / n - 1e-12:
            best = max(best, 1 - cost / sum(strong_cost))
    return best


def drawn(n: int, seed: int) -> tuple[list[float], list[float], list[float]]:
    """Distinct scores that know something, a weak model, and a stronger one."""
    source = random.Random(seed)
    score = [source.random() for _ in range(n)]
    weak = [float(source.random() > 0.3 + 0.5 * one) for one in score]
    strong = [float(source.random() > 0.15) for _ in score]
    return score, weak, strong


# --- the curve ----------------------------------------------------------------------------------------------------

# Ten prompts, of which the weak model fails four; the strong one fails none.
WEAK = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
STRONG = [1.0] * 10
PERFECT = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_a_curve_by_hand() -> None:
    """Each of the first four calls to the strong model wins a tenth of quality, the others nothing."""
    found = curve(PERFECT, WEAK, STRONG)
    # Row i (n - 1) / 10, rounded up: two thresholds never fall on one row here but for the first call.
    assert found.strong_share.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0][: len(found.quality)]
    assert found.quality == pytest.approx([0.6, 0.7, 0.8, 0.9, 1, 1, 1, 1, 1, 1, 1])
    assert (found.weak, found.strong) == (0.6, 1.0)


def test_apgr_and_cpt_by_hand() -> None:
    """Area: .32 under the rise and .6 after it are .92; (.92 - .6) / .4 is .8. Half the gap takes two calls of ten."""
    assert apgr(PERFECT, WEAK, STRONG) == pytest.approx(0.8)
    assert calls_to_recover(0.5, PERFECT, WEAK, STRONG) == pytest.approx(20)
    assert calls_to_recover(0.8, PERFECT, WEAK, STRONG) == pytest.approx(32)
    assert calls_to_recover(0.0, PERFECT, WEAK, STRONG) == 0
    assert calls_to_recover(1.0, PERFECT, WEAK, STRONG) == pytest.approx(40)


def test_the_wrong_way_round() -> None:
    """Sending the strong model what needs it least recovers a fifth where the right order recovers four."""
    backwards = [-one for one in PERFECT]
    assert apgr(backwards, WEAK, STRONG) == pytest.approx(0.2)
    assert calls_to_recover(0.5, backwards, WEAK, STRONG) == pytest.approx(80)


def test_an_oracle_exceeds_one() -> None:
    """Where the weak model beats the strong one here and there, the best mixture beats the strong one."""
    weak, strong = [1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]
    # Quality .5, .75, 1, 1, .75: an area of .84375, of which .25 is the gap.
    assert apgr(np.subtract(strong, weak), weak, strong) == pytest.approx(1.375)


@pytest.mark.parametrize("n", [11, 57, 100, 1003])
@pytest.mark.parametrize("seed", range(3))
def test_apgr_and_cpt_as_routellm_has_them(n: int, seed: int) -> None:
    """Without ties the figures are those of RouteLLM's own steps."""
    score, weak, strong = drawn(n, seed)
    if sum(strong) <= sum(weak):
        pytest.skip("the strong model of this draw isn't stronger")
    assert apgr(score, weak, strong) == pytest.approx(plain_apgr(score, weak, strong))
    for x in (0.2, 0.5, 0.8):
        assert calls_to_recover(x, score, weak, strong) == pytest.approx(plain_cpt(x, score, weak, strong))


@pytest.mark.parametrize("n", [1, 2, 3, 10, 11, 997])
def test_a_score_that_knows_nothing(n: int) -> None:
    """All prompts tied: exactly the straight line from the weak model to the strong one."""
    _, weak, strong = drawn(n, 1)
    strong = [one + 1 for one in strong]
    assert apgr([0.3] * n, weak, strong) == pytest.approx(0.5)
    assert calls_to_recover(0.5, [0.3] * n, weak, strong) == pytest.approx(50)
    assert calls_to_recover(0.8, [0.3] * n, weak, strong) == pytest.approx(80)


def test_ties_are_the_mean_over_random_orders() -> None:
    """What a random order among equal scores gives on average, given at once and without a seed."""
    source = random.Random(5)
    _, weak, strong = drawn(200, 5)
    coarse = [round(source.random() * 3) + 0.5 * one for one in weak]
    orders = [apgr([one + 1e-9 * source.random() for one in coarse], weak, strong) for _ in range(400)]
    assert apgr(coarse, weak, strong) == pytest.approx(sum(orders) / len(orders), abs=0.004)


def test_the_order_of_the_rows_does_not_matter() -> None:
    """Also among ties."""
    _, weak, strong = drawn(120, 2)
    score = [float(i % 4) for i in range(120)]
    rows = random.Random(0).sample(range(120), 120)
    shuffled = [[column[row] for row in rows] for column in (score, weak, strong)]
    assert apgr(*shuffled) == pytest.approx(apgr(score, weak, strong), abs=1e-12)


def test_a_curve_that_falls_counts_where_it_first_arrives() -> None:
    """Quality 1/3, 4/3, 1/3, 1 over shares 0, 1/3, 2/3, 1: half of the gap, 2/3, is first reached at a ninth."""
    assert calls_to_recover(0.5, [3, 2, 1], [0, 1, 0], [3, -2, 2]) == pytest.approx(100 / 9)


@pytest.mark.parametrize("strong", [[0.5, 0.5], [0.2, 0.2]], ids=["as good", "weaker"])
def test_no_gap_no_figure(strong: list[float]) -> None:
    """There is nothing to recover."""
    assert math.isnan(apgr([1, 2], [0.5, 0.5], strong))
    assert math.isnan(calls_to_recover(0.5, [1, 2], [0.5, 0.5], strong))


def test_rows_with_a_nan_are_left_out() -> None:
    """A model that was not run on a prompt says nothing of it."""
    score, weak, strong = [*PERFECT, 5.0, 6.0, NAN], [*WEAK, NAN, 0.0, 0.0], [*STRONG, 1.0, NAN, 1.0]
    assert apgr(score, weak, strong) == apgr(PERFECT, WEAK, STRONG)
    assert math.isnan(apgr([NAN], [0.0], [1.0]))
    assert math.isnan(calls_to_recover(0.5, [], [], []))


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0])), min_size=1
    )
)
def test_laws_of_the_curve(rows: list[tuple[int, float, float]]) -> None:
    """It begins at the weak model and ends at the strong one; no score beats the oracle."""
    score, weak, strong = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    found = curve(score, weak, strong)
    assert found.strong_share[0] == 0
    assert found.strong_share[-1] == 1
    assert found.quality[0] == pytest.approx(weak.mean())
    assert found.quality[-1] == pytest.approx(strong.mean())
    if strong.mean() > weak.mean():
        assert found.apgr <= apgr(strong - weak, weak, strong) + 1e-9
        assert 0 <= found.calls_to_recover(0.5) <= found.calls_to_recover(0.8) <= 100


# --- money --------------------------------------------------------------------------------------------------------


def test_saved_by_hand() -> None:
    """Ten prompts at 10 and at 1: without a loss six may go to the weak model, at a tenth's loss seven."""
    assert saved_at(0.0, PERFECT, WEAK, STRONG, 1, 10) == pytest.approx(0.54)
    assert saved_at(0.1, PERFECT, WEAK, STRONG, 1, 10) == pytest.approx(0.63)
    assert saved_at(0.4, PERFECT, WEAK, STRONG, 1, 10) == pytest.approx(0.9)


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_saved_as_a_plain_search_finds_it(loss: float, seed: int) -> None:
    """Costs that differ from prompt to prompt, thresholds at every score."""
    score, weak, strong = drawn(83, seed)
    source = random.Random(seed)
    cheap = [source.random() for _ in score]
    dear = [5 * one + source.random() for one in cheap]
    found = saved_at(loss, score, weak, strong, cheap, dear)
    assert found == pytest.approx(plain_saved(loss, score, weak, strong, cheap, dear))


def test_nothing_is_saved_by_a_dearer_weak_model() -> None:
    """Always-strong is a threshold too, and the cheapest here."""
    assert saved_at(0.5, PERFECT, WEAK, STRONG, 11, 10) == 0
    assert math.isnan(saved_at(0.01, [], [], [], 1, 10))


def test_a_cost_curve_runs_from_all_weak_to_all_strong() -> None:
    """One point more than there are prompts."""
    cost, quality = cost_curve(Scored.of([2, 1], [0.0, 1.0], [1.0, 1.0], [1, 2], [10, 20]))
    assert cost.tolist() == [1.5, 6.0, 15.0]
    assert quality.tolist() == [0.5, 1.0, 1.0]


def test_a_threshold_from_elsewhere() -> None:
    """The calibration set allows all above .55 to be strong; on the test set that saves 3 of 4 and loses one answer."""
    calibration = Scored.of(PERFECT, WEAK, STRONG, 1, 10)
    test = Scored.of([0.1, 0.2, 0.55, 0.9], [1, 0, 1, 0], [1, 1, 1, 1], 1, 10)
    found = saved_elsewhere(0.0, calibration, test)
    assert found == Saving(saved=pytest.approx(1 - 13 / 40), loss=pytest.approx(0.25))


def test_a_threshold_among_ties_sends_their_share() -> None:
    """Half of the tied prompts had to go to the strong model in the one set, so half of them go in the other."""
    calibration = Scored.of([1.0] * 4, [0.0] * 4, [1.0] * 4, 0, 1)
    test = Scored.of([1.0, 1.0, 2.0, 0.0], [0.0] * 4, [1.0] * 4, 0, 1)
    # Strong: the one above in full, the tied two by half, the one below not at all.
    assert saved_elsewhere(0.5, calibration, test) == Saving(saved=pytest.approx(0.5), loss=pytest.approx(0.5))


def test_across_folds_each_is_judged_by_the_others() -> None:
    """The sum over folds of `saved_elsewhere`, weighted by their costs."""
    score, weak, strong = drawn(600, 3)
    pair = Scored.of(score, weak, strong, 1, 10)
    folds = np.arange(600) % 3
    (found,) = saved_across_folds((0.02,), pair, folds)
    apart = [saved_elsewhere(0.02, pair.take(folds != fold), pair.take(folds == fold)) for fold in range(3)]
    assert found.saved == pytest.approx(np.mean([one.saved for one in apart]))
    kept = sum((1 - one.loss) * pair.take(folds == fold).strong.sum() for fold, one in enumerate(apart))
    assert found.loss == pytest.approx(1 - kept / pair.strong.sum())


def test_without_another_fold_there_is_no_promise() -> None:
    """One fold has nothing to take its threshold from."""
    pair = Scored.of(PERFECT, WEAK, STRONG, 1, 10)
    assert math.isnan(saved_across_folds((0.01,), pair, np.zeros(10))[0].saved)
    assert math.isnan(saved_elsewhere(0.01, pair, pair.take([False] * 10)).loss)


# --- calibration --------------------------------------------------------------------------------------------------


def test_calibration_error_by_hand() -> None:
    """Two bins of two: |.15 - .5| and |.35 - 0|, each half of the prompts."""
    assert calibration_error([0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0], bins=2) == pytest.approx(0.35)
    low, high = reliability([0.3, 0.1, 0.4, 0.2], [0, 1, 0, 0], bins=2)
    assert (low.count, low.predicted, low.observed) == (2, pytest.approx(0.15), 0.5)
    assert (high.count, high.predicted, high.observed) == (2, pytest.approx(0.35), 0.0)


@pytest.mark.parametrize("n", [5, 10, 37, 400])
def test_calibration_error_as_plain_bins_have_it(n: int) -> None:
    """Without ties: ranks cut into ten parts."""
    predicted, weak, strong = drawn(n, 9)
    rows = sorted(zip(predicted, np.subtract(strong, weak), strict=True))
    bins: dict[int, list[tuple[float, float]]] = {}
    for rank, row in enumerate(rows):
        bins.setdefault(rank * 10 // n, []).append(row)
    expected = sum(abs(sum(p for p, _ in rows) - sum(o for _, o in rows)) for rows in bins.values()) / n
    assert calibration_error(predicted, np.subtract(strong, weak)) == pytest.approx(expected)


def test_equal_predictions_share_a_bin() -> None:
    """A constant prediction is one bin, however the rows are ordered."""
    assert calibration_error([0.25] * 40, [0.0] * 30 + [1.0] * 10) == pytest.approx(0)
    assert len(reliability([0.25] * 40, [0.0] * 40)) == 1
    assert [one.count for one in reliability([0, 0, 0, 1, 2, 3], [0] * 6, bins=3)] == [3, 1, 2]


def test_the_floor_is_what_a_perfect_predictor_shows() -> None:
    """Within a few per cent of the mean over many draws of outcomes that follow the prediction exactly."""
    random_ = np.random.default_rng(4)
    probability = random_.random(2000)
    shown, floors = [], []
    for _ in range(60):
        outcome = (random_.random(2000) < probability).astype(float)
        shown.append(calibration_error(probability, outcome))
        floors.append(sampling_floor(probability, outcome))
    assert np.mean(floors) == pytest.approx(np.mean(shown), rel=0.06)


def test_calibration_without_enough() -> None:
    """No rows, no error; one row in a bin, no floor."""
    assert math.isnan(calibration_error([], []))
    assert calibration_error([0.2], [1.0]) == pytest.approx(0.8)
    assert math.isnan(sampling_floor([0.2], [1.0]))
    assert calibration_error([0.2, NAN], [1.0, 1.0]) == pytest.approx(0.8)


def test_loss_by_hand() -> None:
    """Three of four are sent; they lose 1, 0 and 0."""
    found = loss_at(0.1, [0.8 - 0.7, 0.0, -0.2, 0.3], [1.0, 0.0, 0.0, 1.0])
    assert (found.sent, found.mean) == (3, pytest.approx(1 / 3))
    assert found.standard_error == pytest.approx(math.sqrt(1 / 3) / math.sqrt(3))
    assert not found.exceeds


@pytest.mark.parametrize(("lost", "exceeds"), [(12, False), (16, False), (17, True), (30, True)])
def test_a_loss_exceeds_when_chance_does_not_explain_it(lost: int, exceeds: bool) -> None:
    """Of 100 at d = .1: mean less 1.645 standard errors is .0994 for 16 lost answers and .1079 for 17."""
    assert loss_at(0.1, [0.0] * 100, [1.0] * lost + [0.0] * (100 - lost)).exceeds is exceeds


def test_nothing_sent_nothing_lost() -> None:
    """And one request proves nothing."""
    assert loss_at(0.1, [0.5], [1.0]).sent == 0
    assert math.isnan(loss_at(0.1, [0.5], [1.0]).mean)
    assert not loss_at(0.1, [0.0], [1.0]).exceeds


# --- intervals ----------------------------------------------------------------------------------------------------


def test_the_interval_of_a_mean() -> None:
    """As the normal approximation has it: .5 +- 1.96 * .5 / sqrt(1,000)."""
    values = np.arange(1000) % 2
    found = bootstrap(lambda rows: float(values[rows].mean()), 1000, draws=2000)
    assert found.low == pytest.approx(0.469, abs=0.004)
    assert found.high == pytest.approx(0.531, abs=0.004)


def test_the_same_seed_draws_the_same_rows() -> None:
    """Two figures under one seed may be compared draw by draw."""

    def statistic(rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> float:
        return float(rows.mean())

    assert bootstrap(statistic, 50, seed=3) == bootstrap(statistic, 50, seed=3)
    assert bootstrap(statistic, 50, seed=3) != bootstrap(statistic, 50, seed=4)


def test_groups_are_drawn_whole() -> None:
    """Ten copies of each of twenty questions are twenty questions, not two hundred."""
    groups = np.repeat([f"q{i}" for i in range(20)], 10)
    values = np.repeat(np.arange(20) % 2, 10)
    by_row = bootstrap(lambda rows: float(values[rows].mean()), 200)
    by_group = bootstrap(lambda rows: float(values[rows].mean()), 200, groups=groups)
    assert by_group.high - by_group.low > 2 * (by_row.high - by_row.low)


@pytest.mark.parametrize("statistic", [lambda _: NAN, lambda rows: 1 / 0 if len(rows) == 0 else NAN])
def test_no_figure_no_interval(statistic: Callable[..., float]) -> None:
    """NaN in, NaN out."""
    for n in (0, 3):
        found = bootstrap(statistic, n)
        assert math.isnan(found.low)
        assert math.isnan(found.high)


def test_draws_without_a_figure_are_left_out() -> None:
    """A draw in which the strong model happens not to be stronger has no APGR."""
    found = bootstrap(lambda rows: NAN if rows[0] else 1.0, 4)
    assert found == Interval(low=1.0, high=1.0)


def test_two_hundred_draws_of_eleven_thousand_rows_take_seconds() -> None:
    """Vectorised: a second or two, with room for a loaded machine."""
    source = np.random.default_rng(0)
    score, weak, strong = source.random(11_000), source.random(11_000), source.random(11_000) + 0.2
    before = time.perf_counter()
    bootstrap(lambda rows: apgr(score[rows], weak[rows], strong[rows]), 11_000)
    assert time.perf_counter() - before < 20
