"""Heads and their calibration as arithmetic: what they make of a text, and that they survive being saved."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pointsman import Prompt
from pointsman.routing.features import COLUMNS, MOST_BYTES, SETTING, SURFACE, features_of
from pointsman.routing.heads import Calibration, Heads, logistic, ngram_values, standardised

Floats = npt.NDArray[np.float64]

MEASURES = len(SURFACE) + len(SETTING)
H = 3
TEXTS = ("", "Which train is late?", "Set the points, " * 400, "." * 9000)


@pytest.fixture(scope="module")
def weights() -> Floats:
    """Weights of n-grams, some of them nothing but 0."""
    return np.random.default_rng(0).normal(size=(COLUMNS, H)) * (np.arange(COLUMNS) % 3 > 0)[:, None]


@pytest.fixture(scope="module")
def heads(weights: Floats) -> Heads:
    draw = np.random.default_rng(1)
    surface, mean, deviation = draw.normal(size=(MEASURES, H)), draw.normal(size=MEASURES), draw.random(MEASURES) + 0.1
    return Heads.of(weights, surface, mean, deviation, bias=draw.normal(size=H))


# --- heads --------------------------------------------------------------------------------------------------------


def test_eight_bits_are_off_by_half_a_step_at_most(weights: Floats, heads: Heads) -> None:
    """127 steps reach the largest weight of each output, and 0 stays 0."""
    restored = heads.ngrams * heads.step
    assert heads.ngrams.dtype == np.int8
    assert (np.abs(restored - weights) <= heads.step / 2 * (1 + 1e-12)).all()
    assert np.abs(heads.ngrams).max(axis=0).tolist() == [127] * H
    assert not restored[weights == 0].any()


def test_a_head_without_weights_is_its_bias() -> None:
    """No division by a step of 0."""
    nothing, ones = np.zeros(MEASURES), np.ones(MEASURES)
    blank = Heads.of(np.zeros((COLUMNS, H)), np.zeros((MEASURES, H)), nothing, ones, bias=np.arange(H, dtype=float))
    assert blank(features_of("Which train is late?")).tolist() == [0, 1, 2]


@pytest.mark.parametrize("text", TEXTS)
def test_outputs_are_what_they_are_said_to_be(heads: Heads, text: str) -> None:
    """The n-grams' values by their weights, the measures in deviations by theirs, and the bias."""
    found = features_of(text, Prompt.of_text(text))
    values = 1 + np.log(found.counts)
    values /= max(np.linalg.norm(values), 1)
    z = np.clip((np.concatenate((found.surface, found.setting)) - heads.mean) / heads.deviation, -3, 3)
    expected = values @ (heads.ngrams[found.columns] * heads.step) + z @ heads.surface + heads.bias
    assert heads(found) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_heads_survive_their_arrays(heads: Heads) -> None:
    """To the last bit of what they say."""
    again = Heads.of_arrays(heads.to_arrays())
    for text in TEXTS:
        assert again(features_of(text)).tobytes() == heads(features_of(text)).tobytes()


@pytest.mark.parametrize("name", ["ngrams", "step", "surface", "mean", "deviation"])
def test_arrays_of_another_shape_are_refused(heads: Heads, name: str) -> None:
    """By name: they are of another version, or of something else."""
    told = heads.to_arrays()
    with pytest.raises(ValueError, match=name):
        Heads.of_arrays({**told, name: told[name][:-1]})


def test_arrays_for_another_number_of_outputs_are_refused(heads: Heads) -> None:
    """The bias says how many there are."""
    told = heads.to_arrays()
    with pytest.raises(ValueError, match="ngrams"):
        Heads.of_arrays({**told, "bias": told["bias"][:-1]})


def test_a_missing_array_is_missed(heads: Heads) -> None:
    """By its name."""
    told = heads.to_arrays()
    del told["mean"]
    with pytest.raises(KeyError, match="mean"):
        Heads.of_arrays(told)


@given(arrays(np.int64, st.integers(1, 50), elements=st.integers(1, MOST_BYTES + 1)))
def test_ngrams_of_a_text_have_length_one(counts: npt.NDArray[np.int64]) -> None:
    """And are to each other as one and the logarithms of their counts."""
    values = ngram_values(counts)
    assert values.dtype == np.float32
    assert values @ values == pytest.approx(1, rel=1e-5)
    assert values * (1 + np.log(counts[0])) == pytest.approx(values[0] * (1 + np.log(counts)), rel=1e-5)


def test_measures_count_up_to_three_deviations() -> None:
    """Either way, and for many texts at once."""
    surfaces = np.array([[-9.0, 0, 9], [1, 2, 3]])
    z = standardised(surfaces, np.zeros(3), np.array([1.0, 2, 1]))
    assert z.tolist() == [[-3, 0, 3], [1, 1, 3]]


def test_the_logistic_does_not_overflow() -> None:
    """Neither far below 0 nor far above."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert logistic(np.array([-1e4, -1.0, 0, 1, 1e4])) == pytest.approx(
            [0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1]
        )


# --- calibration --------------------------------------------------------------------------------------------------

CHANCES = arrays(np.float64, (5, H), elements=st.floats(0, 1))
CALIBRATION = Calibration(level=0.8, apart=0.6, offsets=np.array([0.05, 0.1, -0.02]), means=np.array([0.5, 0, 1]))


@given(CHANCES)
def test_the_gap_of_any_two_models_is_linear(chances: Floats) -> None:
    """In the gap of their chances, wherever no quality is at the bottom of the scale."""
    qualities = CALIBRATION(chances)
    inside = (qualities > 0).all(axis=1)
    gaps = CALIBRATION.apart * (chances[:, 0] - chances[:, 1]) + CALIBRATION.offsets[0] - CALIBRATION.offsets[1]
    assert (qualities[:, 0] - qualities[:, 1])[inside] == pytest.approx(gaps[inside])


@given(CHANCES, st.floats(0, 3), st.floats(0, 3))
def test_qualities_are_from_zero_to_one(chances: Floats, level: float, apart: float) -> None:
    """Whatever the slopes."""
    calibration = Calibration(level=level, apart=apart, offsets=CALIBRATION.offsets, means=CALIBRATION.means)
    qualities = calibration(chances)
    assert ((qualities >= 0) & (qualities <= 1 + 1e-12)).all()


def test_gaps_are_kept_where_a_quality_would_exceed_one() -> None:
    """All are moved down together: a cut would make two models look alike."""
    calibration = Calibration(level=1, apart=1, offsets=np.array([0.3, 0.3, 0.3]), means=np.zeros(3))
    assert calibration(np.array([0.9, 0.8, 0.5])) == pytest.approx([1, 0.9, 0.6])


@given(CHANCES)
def test_one_prompt_is_calibrated_as_among_many(chances: Floats) -> None:
    """Row by row the same as all at once."""
    assert CALIBRATION(chances) == pytest.approx(np.array([CALIBRATION(row) for row in chances]), abs=1e-15)


def test_a_calibration_survives_its_arrays() -> None:
    """As it was."""
    again = Calibration.of_arrays(CALIBRATION.to_arrays())
    chances = np.random.default_rng(0).random((20, H))
    assert again(chances).tobytes() == CALIBRATION(chances).tobytes()
    assert again.means.tolist() == CALIBRATION.means.tolist()


def test_a_calibration_with_a_part_missing_is_missed() -> None:
    """By its name."""
    told = CALIBRATION.to_arrays()
    del told["apart"]
    with pytest.raises(KeyError, match="apart"):
        Calibration.of_arrays(told)
