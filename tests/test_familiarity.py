"""Which prompts count as familiar, which don't, and what is said of them."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.errors import InvalidRequestError
from pointsman.routing import familiarity_fitting
from pointsman.routing.familiarity import (
    FALSE_ALARMS,
    UNKNOWN,
    Familiarity,
    mean_weight,
    packaged,
    word_steps,
    word_table,
)
from pointsman.routing.familiarity_fitting import LEAST_TEXTS, Others, fitted, mistyped, varied
from pointsman.routing.features import SURFACE, features_of

TRAINING = Path(__file__).parent.parent / "training"


def lines(name: str) -> list[dict[str, str]]:
    found = [json.loads(line) for line in (TRAINING / name).read_text(encoding="utf-8").splitlines()]
    return [line for line in found if line["split"] == "dev"]


FOREIGN = [line["prompt"] for line in lines("languages.jsonl") if line["language"] != "English"]
CONTROL = [line["prompt"] for line in lines("languages.jsonl") if line["language"] == "English"]

THINGS = ("apples", "marbles", "stamps", "tickets", "cookies", "shells")
NAMES = ("Ann", "Ben", "Carla", "Dev", "Emma", "Farid")


def word_problem(seed: int) -> str:
    """One of a narrow training set: a word problem in a few sentences."""
    draw = random.Random(seed)
    one, other = draw.sample(NAMES, 2)
    thing, count, given_away = draw.choice(THINGS), draw.randint(20, 90), draw.randint(2, 19)
    story = (
        f"{one} has {count} {thing}.",
        draw.choice((f"{one} gives {given_away} of them to {other}.", f"{other} takes {given_away} of the {thing}.")),
        draw.choice(("", f"Then {other} buys {draw.randint(3, 40)} more {thing} at ${draw.randint(1, 9)} each.")),
        draw.choice((f"How many {thing} does {one} have left?", f"How many {thing} do they have in total?")),
    )
    return " ".join(sentence for sentence in story if sentence)


PROBLEMS = [word_problem(seed) for seed in range(200)]
HELD_OUT = [problem for seed in range(1_000, 1_200) if (problem := word_problem(seed)) not in PROBLEMS]


@pytest.fixture(scope="module")
def trained() -> Familiarity:
    return Familiarity.fit(PROBLEMS)


def unfamiliar_share(familiarity: Familiarity, texts: list[str]) -> float:
    return float(np.mean([not familiarity(features_of(text)).is_familiar for text in texts]))


# --- what is familiar --------------------------------------------------------------------------------------------


def test_what_is_like_the_training_prompts_is_familiar(trained: Familiarity) -> None:
    """Of prompts of the same kind that were held out, few alarm."""
    assert unfamiliar_share(trained, HELD_OUT) <= 2 * FALSE_ALARMS


def test_another_language_is_unfamiliar(trained: Familiarity) -> None:
    """Whatever the kind of task, and nearly always told by the words."""
    found = [trained(features_of(text)) for text in FOREIGN]
    assert np.mean([not likeness.is_familiar for likeness in found]) >= 0.99
    assert np.mean([likeness.reason.startswith("another language") for likeness in found]) >= 0.95
    assert all(likeness.share < FALSE_ALARMS for likeness in found if not likeness.is_familiar)


def test_the_same_task_in_another_language_is_unfamiliar(trained: Familiarity) -> None:
    """A word problem with English names is not English by that."""
    likeness = trained(features_of("Ann hat 40 Murmeln. Sie gibt Ben 12 davon. Wie viele Murmeln hat Ann noch?"))
    assert re.fullmatch(r"another language or vocabulary: \d\d% of its words are unknown", likeness.reason)


@pytest.mark.parametrize(
    "text",
    ["澳大利亚的首都是哪里?", "下列哪个是质数?\nA. 21\nB. 27", "เมืองหลวงของออสเตรเลียคือเมืองอะไร"],
    ids=["Chinese", "Chinese with options", "Thai"],
)
def test_a_script_that_does_not_part_its_words_is_another_language(trained: Familiarity, text: str) -> None:
    """Though the whole sentence is one word."""
    assert trained(features_of(text)).reason == "another language or vocabulary: 100% of its words are unknown"


def test_english_is_never_called_another_language(trained: Familiarity) -> None:
    """Everyday prompts with foreign names and words in them included."""
    reasons = {text: trained(features_of(text)).reason for text in CONTROL}
    assert [text for text, reason in reasons.items() if reason.startswith("another language")] == []


def test_everyday_prompts_are_unfamiliar_to_a_narrow_training_set(trained: Familiarity) -> None:
    """A mail to a landlord is no word problem."""
    assert unfamiliar_share(trained, CONTROL) >= 0.9
    mail = trained(features_of("Write me a mail to my landlord, the heating hasn't worked since Monday."))
    assert mail.reason == "another kind of task"


def test_another_form_is_named_by_what_is_unusual_in_it(trained: Familiarity) -> None:
    """The reason names a measure of the surface."""
    reason = trained(features_of(HELD_OUT[0] + " =" * 300)).reason
    assert reason.startswith("another form of prompt: unusual in ")
    assert reason.rpartition(" in ")[2] in SURFACE


@pytest.mark.parametrize(
    "rewrite",
    [
        str.upper,
        lambda text: f"Hello! Could you please help me with this? {text}",
        lambda text: f"{text} Thanks so much for your help!",
        lambda text: "\n " + text.replace(" ", "  ") + "\n\n",
        lambda text: mistyped(text, 0.02, random.Random(len(text))),
    ],
    ids=["upper case", "preamble", "thanks", "white space", "typing errors"],
)
def test_noise_leaves_a_prompt_familiar(trained: Familiarity, rewrite) -> None:  # type: ignore[no-untyped-def]  # A table.
    """Who writes in another manner still asks the same."""
    assert unfamiliar_share(trained, [rewrite(text) for text in HELD_OUT]) <= 5 * FALSE_ALARMS


def test_a_training_set_in_another_language_is_familiar_to_itself() -> None:
    """The cut on known words is set by the training prompts; English is then the strange one."""
    draw = random.Random(3)
    foreign = draw.sample(FOREIGN, len(FOREIGN))
    familiarity = Familiarity.fit(foreign[:160])
    assert unfamiliar_share(familiarity, foreign[160:]) <= 0.15
    assert unfamiliar_share(familiarity, PROBLEMS) >= 0.9


@pytest.mark.parametrize("text", ["", " \n", "?!", "42", "\ud800", "。" * 10_000])
def test_any_text_gets_an_answer(trained: Familiarity, text: str) -> None:
    """Nothing to read is no reason to raise."""
    assert 0 <= trained(features_of(text)).share <= 1


# --- likeness ----------------------------------------------------------------------------------------------------


def test_shares_of_held_out_prompts_are_even(trained: Familiarity) -> None:
    """A share of s means that s of the training prompts, as written or rewritten, are at most as familiar."""
    written = [varied(text, random.Random(text)) if i % 2 else text for i, text in enumerate(HELD_OUT)]
    shares = [trained(features_of(text)).share for text in written]
    assert 0.25 <= float(np.median(shares)) <= 0.75


# --- words -------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.dictionaries(st.integers(0, 2**64 - 1), st.floats(-2, 2), min_size=1, max_size=200))
def test_a_word_in_the_table_has_at_least_its_weight(weights: dict[int, float]) -> None:
    """Two words that meet in one place take the higher weight; none is lost."""
    words = np.array(list(weights), np.uint64)
    table = word_table(words, np.array(list(weights.values())))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pointsman.routing.familiarity.english", lambda: table)
        found = word_steps(words) / 8
    assert (found >= np.array(list(weights.values())) - 1 / 16).all()


def test_marks_and_numbers_speak_for_no_language() -> None:
    """Words of English speak for it, unknown ones against it."""
    assert word_steps(features_of("( 12 + 305 ) / 7 = ?").words).tolist() == [0] * 9
    assert (word_steps(features_of("explain why the answer").words) > 0).all()
    assert word_steps(features_of("fotosyntesi fényképezőgép").words).tolist() == [UNKNOWN] * 2
    assert mean_weight(word_steps(features_of("").words)) == 1.75


# --- files and fits ----------------------------------------------------------------------------------------------


def test_saved_and_read_it_says_the_same(trained: Familiarity, tmp_path: Path) -> None:
    """One file of arrays, no pickle, below 60 KB."""
    path = tmp_path / "familiarity.npz"
    np.savez_compressed(path, **trained.to_arrays())  # type: ignore[arg-type]  # numpy's stub has no mapping of arrays.
    with np.load(path) as arrays:
        read = Familiarity.of_arrays(dict(arrays))
    assert path.stat().st_size < 60_000
    for text in (*HELD_OUT[:20], *CONTROL[:20], *FOREIGN[:20]):
        assert read(features_of(text)) == trained(features_of(text))


def test_arrays_of_another_version_are_refused(trained: Familiarity) -> None:
    """By their shape, with both shapes named; a missing one by its name."""
    arrays = trained.to_arrays()
    with pytest.raises(ValueError, match=r"mean has the shape \(3,\), not \(\d+,\)"):
        Familiarity.of_arrays({**arrays, "mean": np.zeros(3)})
    with pytest.raises(KeyError, match="lexicon"):
        Familiarity.of_arrays({name: array for name, array in arrays.items() if name != "lexicon"})


def test_the_order_of_the_prompts_does_not_matter(trained: Familiarity) -> None:
    """The same prompts, turned round and repeated, give the same numbers."""
    again = Familiarity.fit([*reversed(PROBLEMS), *PROBLEMS[:20]]).to_arrays()
    for name, array in trained.to_arrays().items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)


def test_too_few_prompts_are_refused() -> None:
    """A handful shows no bounds."""
    with pytest.raises(InvalidRequestError, match="19 different prompts"):
        Familiarity.fit(PROBLEMS[: LEAST_TEXTS - 1] * 2)
    fitted(PROBLEMS[:LEAST_TEXTS])


def test_other_prompts_of_another_version_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They must have been made with the same measures of the surface."""
    arrays = {**packaged(), "names": np.array(["characters"])}
    monkeypatch.setattr(familiarity_fitting, "packaged", lambda: arrays)
    with pytest.raises(ValueError, match=r"training/familiarity\.py"):
        Others.shipped()


def test_packed_prompts_come_out_as_they_went_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for half precision, and for the empty prompt's lack of words."""
    features = [features_of(text) for text in ("", *CONTROL[:5])]
    monkeypatch.setattr(familiarity_fitting, "packaged", lambda: Others.packed(features))
    others = Others.shipped()
    assert others.words.shape == (6, 8192)
    np.testing.assert_allclose(others.surface, [one.surface for one in features], rtol=1e-3)
    lengths = np.sqrt(np.asarray(others.words.multiply(others.words).sum(axis=1))).ravel()
    np.testing.assert_allclose(lengths, [0, 1, 1, 1, 1, 1], atol=1e-9)


def test_a_varied_prompt_is_the_same_for_the_same_draw() -> None:
    """And keeps most of its letters."""
    text = CONTROL[0]
    assert varied(text, random.Random(7)) == varied(text, random.Random(7))
    assert mistyped(text, 0.0, random.Random(7)) == text
