"""The figures on a card: true on planted data, and each warning seen where it is due, and only there."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from pointsman.evaluation import metrics
from pointsman.routing.card import PairFigures
from pointsman.routing.judging import figures

Floats = npt.NDArray[np.float64]

N = 600
CHANCE, LENGTH, ALONE = "can't be told from chance", "loses to the prompt's length", "no two models"


def planted(need: Floats) -> Floats:
    """Labels of a weak model that fails where it is needed, by chance, and of a strong one that mostly doesn't."""
    draw = np.random.default_rng(5)
    return np.stack([draw.random(N) > need, draw.random(N) < 0.95], axis=1).astype(float)


def judged(
    predicted: Floats, labels: Floats, lengths: Floats, models: tuple[str, ...] = ("small", "large")
) -> tuple[tuple[PairFigures, ...], tuple[str, ...]]:
    return figures(models, predicted, labels, lengths)


NEED = np.random.default_rng(1).random(N)
NOISE = np.random.default_rng(2).random(N)
KNOWING = np.stack([1 - NEED, np.full(N, 0.95)], axis=1)
IGNORANT = np.stack([0.4 + 0.1 * NOISE, np.full(N, 0.95)], axis=1)


def test_a_good_predictor_has_no_warning() -> None:
    """Its figures are those of the metrics, weak and strong named by their mean quality."""
    labels = planted(NEED)
    (pair,), warnings = judged(KNOWING[:, ::-1], labels[:, ::-1], NOISE, models=("large", "small"))
    assert warnings == ()
    assert (pair.weak, pair.strong, pair.prompts) == ("small", "large", N)
    assert (pair.weak_quality, pair.strong_quality) == pytest.approx(tuple(labels.mean(axis=0)))
    gap, observed = KNOWING[:, 1] - KNOWING[:, 0], labels[:, 1] - labels[:, 0]
    assert pair.apgr == pytest.approx(metrics.apgr(gap, labels[:, 0], labels[:, 1]))
    assert pair.length_apgr == pytest.approx(metrics.apgr(NOISE, labels[:, 0], labels[:, 1]))
    assert pair.calibration_error == pytest.approx(metrics.calibration_error(gap, observed))
    assert 0.5 < pair.low < pair.apgr < pair.high
    assert pair.calibration_error < 2 * pair.sampling_floor


def test_a_predictor_that_knows_nothing_is_told_from_no_chance() -> None:
    """Labels that follow nothing that was predicted: the interval reaches one half."""
    (pair,), warnings = judged(IGNORANT, planted(NEED), np.zeros(N))
    assert pair.low <= 0.5
    assert len([warning for warning in warnings if CHANCE in warning]) == 1
    assert all("small and large" in warning for warning in warnings)


def test_a_predictor_that_length_alone_beats_is_told() -> None:
    """Labels that follow the length, which the prediction makes too little of."""
    lengths, some_of_it = np.log1p(NEED), KNOWING.copy()
    some_of_it[:, 0] = 1 - np.where(NOISE < 0.5, NEED, NOISE)
    (pair,), warnings = judged(some_of_it, planted(NEED), lengths)
    assert pair.low > 0.5
    assert pair.apgr < pair.length_apgr
    assert [LENGTH in warning for warning in warnings] == [True]


def test_a_predictor_at_one_half_in_all_warns_of_both() -> None:
    """Nothing known, and length would have told."""
    _, warnings = judged(IGNORANT, planted(NEED), NEED)
    assert [CHANCE in warnings[0], LENGTH in warnings[1], len(warnings)] == [True, True, 2]


def test_models_that_shared_no_prompt_are_not_compared() -> None:
    """There are no figures, and the warning says so."""
    labels = planted(NEED)
    labels[::2, 0], labels[1::2, 1] = math.nan, math.nan
    assert judged(KNOWING, labels, NOISE)[0] == ()
    (warning,) = judged(KNOWING, labels, NOISE)[1]
    assert ALONE in warning


def test_only_shared_prompts_count() -> None:
    """What one model alone was asked tells nothing of the pair."""
    labels = planted(NEED)
    labels[:200, 0] = math.nan
    (pair,), _ = judged(KNOWING, labels, NOISE)
    (alone,), _ = judged(KNOWING[200:], labels[200:], NOISE[200:])
    assert pair == alone
    assert pair.prompts == N - 200


def test_equals_are_not_a_pair() -> None:
    """Where neither model is better there is nothing to recover, and the warning says that."""
    labels = np.repeat(planted(NEED)[:, :1], 2, axis=1)
    assert judged(KNOWING, labels, NOISE) == ((), ("small and large are equally good on these prompts",))


def test_the_stronger_is_the_better_one_on_the_shared_prompts() -> None:
    """Whatever it made of easier ones that the other was not asked."""
    shared = np.arange(N) < N // 2
    labels = np.stack([np.where(shared, 0.5, 1), np.where(shared, 0.6, math.nan)], axis=1)
    (pair,), _ = judged(KNOWING, labels, NOISE)
    assert (pair.weak, pair.strong, pair.weak_quality) == ("small", "large", 0.5)


@pytest.mark.parametrize(("models", "pairs"), [(3, 3), (5, 10), (6, 5), (8, 7)])
def test_many_models_are_compared_with_the_best(models: int, pairs: int) -> None:
    """All pairs of up to five; of more, each with the best."""
    draw = np.random.default_rng(3)
    labels = (draw.random((200, models)) < np.linspace(0.2, 0.9, models)).astype(float)
    names = tuple(f"model {place}" for place in range(models))
    found, _ = figures(names, draw.random((200, models)), labels, draw.random(200))
    assert len(found) == pairs
    if models > 5:
        assert {pair.strong for pair in found} == {names[-1]}


def test_the_figures_are_the_same_each_time() -> None:
    """The interval's draws are seeded."""
    assert judged(KNOWING, planted(NEED), NOISE) == judged(KNOWING, planted(NEED), NOISE)
