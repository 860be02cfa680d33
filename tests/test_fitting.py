"""Fitting, on planted data: what was planted is found, what wasn't isn't, and what is held out teaches nothing."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("sklearn")

from pointsman.evaluation import metrics
from pointsman.routing import fitting
from pointsman.routing.features import features_of
from pointsman.routing.fitting import (
    Texts,
    calibrated,
    chances_of,
    fit_heads,
    fold_of,
    out_of_fold,
    smoothed,
)
from pointsman.routing.heads import Floats, logistic
from pointsman.routing.task import Task

N = 240
THINGS = ("train", "signal", "bridge", "ledger", "tunnel", "points", "platform", "whistle")
EASY, HARD = "What is a {}, in a word? Number {}.", "Prove that no {} of {} can be late, however many wait."
# Every other prompt is hard.
IS_HARD = np.arange(N) % 2 == 1
PROMPTS = [(HARD if hard else EASY).format(THINGS[i // 2 % 8], i) for i, hard in enumerate(IS_HARD)]
ONES = np.ones(N)
PLANTED = np.where(IS_HARD, 0.2, 0.9)


@pytest.fixture(scope="module")
def texts() -> Texts:
    return Texts.of(PROMPTS)


def chances(texts: Texts, labels: Floats, weights: Floats = ONES, strength: float = 0.6) -> Floats:
    """One head's chances of the texts that it was fitted to."""
    return chances_of(fit_heads(texts, {"small": labels}, weights, strength=strength), texts)[:, 0]


def drawn(quality: Floats, seed: int = 0) -> Floats:
    """An answer is good with this chance."""
    return (np.random.default_rng(seed).random(quality.shape) < quality).astype(float)


# --- texts --------------------------------------------------------------------------------------------------------


def test_texts_are_their_features(texts: Texts) -> None:
    """Row by row: the n-grams' values, and the measures."""
    one = features_of(PROMPTS[7])
    row = texts.ngrams[7]
    assert row.indices.tolist() == one.columns.tolist()
    assert np.sqrt((row.data**2).sum()) == pytest.approx(1)
    assert texts.surface[7].tolist() == one.measures.tolist()


def test_a_text_is_in_one_fold_wherever_it_stands(texts: Texts) -> None:
    """The fold goes by the whole text, whatever it holds, and is pinned; each fold has its share."""
    assert [fold_of(text) for text in ("When does it leave?", "when does it leave?", "\ud800")] == [0, 4, 1]
    assert Texts.of(PROMPTS[::-1]).folds.tolist() == texts.folds.tolist()[::-1]
    assert (np.bincount(texts.folds, minlength=5) > N / 10).all()


def test_some_of_the_texts_are_those(texts: Texts) -> None:
    """By a mask."""
    some = texts.rows(IS_HARD)
    assert some.texts == tuple(PROMPTS[1::2])
    assert (some.ngrams != texts.ngrams[1::2]).nnz == 0
    assert some.folds.tolist() == texts.folds[1::2].tolist()


# --- heads --------------------------------------------------------------------------------------------------------


def test_a_planted_signal_is_found(texts: Texts) -> None:
    """In prompts that the heads were not fitted to; a model that is always good has nothing to find."""
    task = Task.of(PROMPTS, {"small": drawn(PLANTED), "large": ONES})
    found = out_of_fold(texts, task)
    assert found[IS_HARD, 0].mean() < 0.4 < 0.7 < found[~IS_HARD, 0].mean()
    assert metrics.apgr(-found[:, 0], PLANTED, ONES) > 0.65
    assert (found[:, 1] > 0.9).all()


def test_noise_is_not_found(texts: Texts) -> None:
    """Labels that follow nothing: what is said of held-out prompts ranks them by chance."""
    task = Task.of(PROMPTS, {"small": drawn(ONES / 2, seed=4), "large": ONES})
    found = out_of_fold(texts, task)[:, 0]
    assert abs(np.corrcoef(found, task.outcomes["small"])[0, 1]) < 0.2


def test_labels_may_be_shares(texts: Texts) -> None:
    """A quality of .2 is neither right nor wrong: the chance comes out near it."""
    found = chances(texts, PLANTED, strength=20)
    assert found == pytest.approx(PLANTED, abs=0.1)


def test_an_unknown_label_is_no_label(texts: Texts) -> None:
    """The kinds are told apart by the labels that there are, and another model's head does not see the holes."""
    holes = np.where(np.arange(N) % 4 < 2, PLANTED, np.nan)
    assert chances(texts, holes, strength=20) == pytest.approx(PLANTED, abs=0.15)
    with_holes = fit_heads(texts, {"small": holes, "large": PLANTED}, ONES)
    without = fit_heads(texts, {"small": PLANTED, "large": PLANTED}, ONES)
    assert np.array_equal(with_holes.ngrams[:, 1], without.ngrams[:, 1])
    assert with_holes.bias[1] == without.bias[1]


def test_weights_count(texts: Texts) -> None:
    """Where labels contradict each other the heavier ones are believed; a weight of 0 is no label."""
    half = np.arange(N) // 16 % 2 == 0
    contradicted = np.where(half, PLANTED, 1.1 - PLANTED)
    believed = chances(texts, contradicted, np.where(half, 1.9, 0.1), strength=20)
    assert np.corrcoef(believed, PLANTED)[0, 1] > 0.9
    ignored = chances(texts, contradicted, np.where(half, 1.0, 0.0))
    assert ignored == pytest.approx(chances(texts, np.where(half, PLANTED, np.nan)), abs=1e-3)


@pytest.mark.parametrize("label", [0.0, 0.3, 1.0])
def test_constant_labels_are_said_of_every_prompt(texts: Texts, label: float) -> None:
    """Without a warning of numpy's."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = chances(texts, np.full(N, label))
    assert found == pytest.approx(np.full(N, label), abs=0.01)


def test_a_fit_is_the_same_each_time(texts: Texts) -> None:
    """To the last bit."""
    labels = {"small": drawn(PLANTED), "large": drawn(ONES / 2)}
    one, other = (fit_heads(texts, labels, ONES, lengths={"small": 10 + 90 * PLANTED}) for _ in range(2))
    for name, array in one.to_arrays().items():
        assert array.tobytes() == other.to_arrays()[name].tobytes()


def test_texts_without_a_common_word_can_be_fitted() -> None:
    """No n-gram is seen twice: the surface and the bias are left."""
    lone = Texts.of([chr(0x4E00 + i) for i in range(20)])
    heads = fit_heads(lone, {"small": np.full(20, 0.25)}, np.ones(20))
    assert not heads.ngrams.any()
    assert chances_of(heads, lone)[:, 0] == pytest.approx(np.full(20, 0.25), abs=0.01)


def test_many_texts_at_once_are_as_one_by_one(texts: Texts) -> None:
    """A fit reads its heads as a prediction will."""
    heads = fit_heads(texts, {"small": PLANTED, "large": 1 - PLANTED}, ONES)
    one_by_one = np.array([logistic(heads(features_of(prompt))) for prompt in PROMPTS])
    assert chances_of(heads, texts) == pytest.approx(one_by_one, abs=1e-5)


def test_lengths_have_the_right_mean(texts: Texts) -> None:
    """Logarithms are fitted, and the mean of what they stand for comes out right nevertheless (Duan, 1983)."""
    draw = np.random.default_rng(0)
    tokens = np.where(IS_HARD, 600, 60) * np.exp(draw.normal(0, 0.7, N))
    tokens[:20] = np.nan
    heads = fit_heads(texts, {}, ONES, lengths={"small": tokens})
    expected = np.exp([heads(features_of(prompt))[0] for prompt in PROMPTS])
    assert expected[20:].mean() == pytest.approx(np.nanmean(tokens), rel=0.15)
    assert expected[IS_HARD].mean() > 3 * expected[~IS_HARD].mean()


# --- labels smoothed by other models' -----------------------------------------------------------------------------


def several(models: int = 6) -> dict[str, Floats]:
    """Models of one skill: how hard a prompt is decides for all of them, but for chance."""
    latent = np.clip(PLANTED + np.random.default_rng(1).normal(0, 0.15, N), 0, 1)
    return {f"model {place}": drawn(latent, seed=10 + place) for place in range(models)}


def test_smoothed_labels_are_nearer_to_the_chance_behind_them() -> None:
    """One answer says little; those of other models to the same prompt say more."""
    raw = several()
    told, _ = smoothed(raw, ["model 0"])
    assert np.mean((told["model 0"] - PLANTED) ** 2) < 0.6 * np.mean((raw["model 0"] - PLANTED) ** 2)


def test_few_models_are_not_smoothed() -> None:
    """Fewer than four others tell too little: the labels stay as they are."""
    raw = several(4)
    told, _ = smoothed(raw, ["model 0", "model 1"])
    assert list(told) == ["model 0", "model 1"]
    assert told["model 0"] is raw["model 0"]


def test_smoothing_makes_up_no_label() -> None:
    """Where a model was not asked it has none afterwards, and none is outside 0 to 1."""
    raw = several()
    raw["model 0"][::3] = np.nan
    raw["model 1"][::2] = np.nan
    told, _ = smoothed(raw, list(raw))
    for model, labels in raw.items():
        assert np.array_equal(np.isnan(told[model]), np.isnan(labels))
        assert ((told[model] >= 0) & (told[model] <= 1))[~np.isnan(labels)].all()


def with_the_fold_turned(task: Task, held_out: npt.NDArray[np.bool_]) -> Task:
    """The same with every label of that fold turned into its opposite, of every model."""
    return replace(
        task, outcomes={model: np.where(held_out, 1 - labels, labels) for model, labels in task.outcomes.items()}
    )


def test_what_is_said_of_a_fold_does_not_hang_on_its_labels(texts: Texts) -> None:
    """Neither through the heads nor through the smoothing, though what is said of the others does."""
    task, held_out = Task.of(PROMPTS, several(), models=["model 0", "model 1"]), texts.folds == 2
    one, other = out_of_fold(texts, task), out_of_fold(texts, with_the_fold_turned(task, held_out))
    assert np.array_equal(one[held_out], other[held_out])
    assert (one[~held_out] != other[~held_out]).any(axis=1).all()


def test_a_smoothing_that_peeks_would_be_found_out(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test before this one can fail: labels smoothed with the held-out ones too change what is said of these."""
    task, held_out = Task.of(PROMPTS, several(), models=["model 0", "model 1"]), texts.folds == 2

    def said(given: Task) -> Floats:
        folds = iter(np.unique(texts.folds))

        def peeking(_: dict[str, Floats], models: list[str]) -> tuple[dict[str, Floats], float]:
            (labels, strength), rest = smoothed(given.outcomes, models), texts.folds != next(folds)
            return {model: values[rest] for model, values in labels.items()}, strength

        monkeypatch.setattr(fitting, "smoothed", peeking)
        return out_of_fold(texts, given)

    one, other = said(task), said(with_the_fold_turned(task, held_out))
    assert not np.array_equal(one[held_out], other[held_out])


# --- calibration --------------------------------------------------------------------------------------------------

MANY = 20_000


def overconfident(seed: int = 0, models: int = 3) -> tuple[Floats, Floats]:
    """Chances of some models' heads, and labels whose true chances differ half as much as they say."""
    draw = np.random.default_rng(seed)
    said = np.clip(0.6 + draw.normal(0, 0.15, (MANY, 1)) + draw.normal(0, 0.15, (MANY, models)), 0, 1)
    true = 0.5 * (said - 0.6) + 0.6 + np.linspace(0, 0.1, models)
    return said, (draw.random(true.shape) < true).astype(float)


def test_the_slopes_are_those_of_least_squares() -> None:
    """Of what the labels share on what the heads say in common, and of what parts them on what is said apart."""
    said, labels = overconfident()
    found = calibrated(said, labels, np.ones(MANY))
    common, told = said.mean(axis=1), labels.mean(axis=1)
    level = np.polyfit(common, told, 1)[0]
    apart, parted = ((x - x.mean(axis=1, keepdims=True)) for x in (said, labels))
    slope = np.polyfit((apart - apart.mean(axis=0)).ravel(), (parted - parted.mean(axis=0)).ravel(), 1)[0]
    assert (found.level, found.apart) == pytest.approx((level, slope), rel=0.01)
    assert (found.level, found.apart) == pytest.approx((0.5, 0.5), abs=0.06)


def test_every_gap_is_calibrated() -> None:
    """For each pair the observed gap rises by one where the expected one does, on fresh prompts."""
    found = calibrated(*overconfident(), np.ones(MANY))
    said, labels = overconfident(seed=1)
    expected = found(said)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        gap, observed = expected[:, one] - expected[:, other], labels[:, one] - labels[:, other]
        slope, offset = np.polyfit(gap, observed, 1)
        assert slope == pytest.approx(1, abs=0.15)
        assert offset == pytest.approx(0, abs=0.03)
        assert metrics.calibration_error(gap, observed) < 2 * metrics.sampling_floor(gap, observed)


@pytest.mark.parametrize("d", [0.02, 0.05, 0.1, 0.26])
def test_no_more_is_lost_than_was_allowed(d: float) -> None:
    """Of fresh requests whose expected loss is at most d, the mean loss is, by more than chance explains."""
    found = calibrated(*overconfident(), np.ones(MANY))
    said, labels = overconfident(seed=2)
    expected = found(said)
    loss = metrics.loss_at(d, expected[:, 2] - expected[:, 0], labels[:, 2] - labels[:, 0])
    assert loss.sent > 100
    assert not loss.exceeds


def test_each_model_has_its_mean() -> None:
    """On the prompts that it was calibrated on, by weight."""
    said, labels = overconfident()
    weights = np.random.default_rng(3).random(MANY)
    labels[::3, 0] = np.nan
    expected = calibrated(said, labels, weights)(said)
    for place in range(3):
        known = ~np.isnan(labels[:, place])
        mean = np.average(labels[known, place], weights=weights[known])
        assert np.average(expected[known, place], weights=weights[known]) == pytest.approx(mean, abs=2e-3)


def test_the_means_are_those_of_the_labels() -> None:
    """Model by model."""
    labels = np.repeat([[0.9, 0.5, 0.1]], 100, axis=0)
    assert calibrated(np.full((100, 3), 0.5), labels, np.ones(100)).means == pytest.approx([0.9, 0.5, 0.1])


def test_heads_that_know_nothing_are_not_believed() -> None:
    """Noise gets a slope near 0: every prompt has its model's mean."""
    draw = np.random.default_rng(4)
    labels = (draw.random((MANY, 2)) < (0.5, 0.8)).astype(float)
    found = calibrated(draw.random((MANY, 2)), labels, np.ones(MANY))
    assert found.level == pytest.approx(0, abs=0.05)
    assert found.apart == pytest.approx(0, abs=0.05)
    assert found(draw.random((50, 2))).mean(axis=0) == pytest.approx(labels.mean(axis=0), abs=0.03)


def test_heads_that_say_the_opposite_are_not_turned_round() -> None:
    """A slope is never below 0: what ranks prompts wrongly ranks them no longer."""
    said, labels = overconfident()
    found = calibrated(1 - said, labels, np.ones(MANY))
    assert (found.level, found.apart) == (0, 0)


def test_prompts_of_one_model_tell_nothing_of_a_gap() -> None:
    """Models that shared no prompt: the slope of what they have in common stands for both."""
    said, labels = overconfident(models=2)
    labels[::2, 0], labels[1::2, 1] = np.nan, np.nan
    found = calibrated(said, labels, np.ones(MANY))
    assert found.apart == found.level > 0


def test_a_prompt_without_weight_is_not_calibrated_on() -> None:
    """As if it were not there."""
    said, labels = overconfident()
    counted = np.arange(MANY) % 2 == 0
    labels[~counted] = 1 - labels[~counted]
    found, alone = (
        calibrated(said, labels, counted.astype(float)),
        calibrated(said[counted], labels[counted], np.ones(MANY // 2)),
    )
    assert (found.level, found.apart) == pytest.approx((alone.level, alone.apart))
    assert found.offsets == pytest.approx(alone.offsets)


def test_constant_chances_are_calibrated_to_the_means() -> None:
    """Nothing to divide by, and nothing is."""
    labels = np.repeat([[0.25, 0.75]], 40, axis=0)
    found = calibrated(np.full((40, 2), 0.5), labels, np.ones(40))
    assert found(np.array([0.5, 0.5])) == pytest.approx([0.25, 0.75])
