"""The complexity prior: what it takes for hard and easy, how steady it is, and what it makes of models' prices."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman import Catalog, Ledger, Price, Prompt
from pointsman.routing import ComplexityPredictor, RouterRegistry
from pointsman.routing.complexity import EASE, UNREADABLE, WORK, complexity, is_foreign, read
from pointsman.routing.cue_words import KINDS, PHRASES
from pointsman.routing.features import features_of
from pointsman.tokens import EstimatedTokens

CATALOG = Catalog.default()
HAIKU, SONNET, OPUS = (CATALOG.resolve(f"anthropic.claude-{name}-5-5") for name in ("haiku", "sonnet", "opus"))
SISTERS = "Alice has N brothers and she also has M sisters. How many sisters does Alice's brothers have?"
HELLO = "Describe the purpose of a 'hello world' program in one line."
EVERYDAY_FILE = Path(__file__).parent.parent / "training" / "everyday.jsonl"
EVERYDAY = [json.loads(line) for line in EVERYDAY_FILE.read_text("utf-8").splitlines() if '"split": "dev"' in line]


def is_hard(text: str) -> bool:
    return complexity(text) > 0.5


# --- hard and easy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("easier", "harder"),
    [
        (HELLO, SISTERS),
        ("What is the capital of Peru?", "Prove that the square root of two is irrational."),
        ("Say hello.", "Compare the trade-offs of optimistic and pessimistic locking, step by step."),
        ("Who was Ada Lovelace?", "Why does this fail?\n```python\ndef f(x):\n    return x[0]\n```"),
        ("List three colours.", "Plan a trip that must cost at most 500, without flights, in exactly 4 days."),
        ("What is a nickel?", "I have two coins that make 30 cents; one is not a nickel. What are they?"),
        ("Translate: the door is open.", "The door is open. Who was there, if neither of them has a key?"),
    ],
)
def test_what_must_be_worked_out_is_hard(easier: str, harder: str) -> None:
    """Counting, proving, weighing, code, conditions and riddles; not definitions, facts and small changes to a text."""
    assert not is_hard(easier)
    assert is_hard(harder)


@pytest.mark.parametrize(("hard", "least"), [(1, 0.96), (0, 0.94)])
def test_everyday_prompts_fall_on_their_side(hard: int, least: float) -> None:
    """Riddles and work that takes thought above one half, definitions and small chores below: most of either kind."""
    found = [is_hard(row["prompt"]) == bool(hard) for row in EVERYDAY if row["hard"] == hard]
    assert sum(found) / len(found) >= least


def test_a_long_story_around_a_definition_leaves_it_easy() -> None:
    """What is told around an easy question doesn't make it hard."""
    story = (
        "I was talking with my grandmother about her garden, the tomatoes, and the neighbours, who never water theirs. "
    )
    assert not is_hard(f"{story}Could you tell me in one line what photosynthesis is?")
    assert is_hard(f"{story}Had she twice as many plants as they have, and together 36, how many would she have?")


@pytest.mark.parametrize(
    "limit", ["in 20 words or less", "in at most 15 words", "within 3 sentences", "in two short sentences"]
)
def test_a_limit_on_the_answer_is_no_quantity_to_work_with(limit: str) -> None:
    """It asks for brevity, whatever number it names."""
    assert read(f"Compare Rome and Paris {limit}.").links == 0
    assert complexity(f"Compare Rome and Paris {limit}.") < complexity("Compare Rome and Paris.")


@pytest.mark.parametrize(
    "question",
    [
        "¿Cuál es la capital de Perú y cuántos habitantes tiene?",
        "Was ist der Unterschied zwischen Wetter und Klima?",
        "ペルーの首都はどこですか",
        "什么是光合作用",
        "Что такое фотосинтез?",
        "Explícame en una línea qué es un API",
        "12 34 56",
        "🚂🚃🚃",
    ],
)
def test_what_it_cannot_read_counts_as_hard(question: str) -> None:
    """Cues are English: another language is sent to the larger model rather than misjudged."""
    assert complexity(question) >= UNREADABLE


@pytest.mark.parametrize(
    "question",
    ["Where do pandas live?", "Is a tomato a fruit?", "Waht is yoga?", "Who aws Marie Curie?", "hi", "Photosynthesis?"],
)
def test_few_or_misspelt_words_are_still_english(question: str) -> None:
    """No short word of a list has to be among them."""
    assert complexity(question) < 0.5


def test_foreign_languages_are_told_and_english_is_not() -> None:
    """Of the prompts in fifty languages nearly all; of the everyday prompts none."""
    rows = [json.loads(line) for line in (EVERYDAY_FILE.with_name("languages.jsonl")).read_text("utf-8").splitlines()]
    others = [row["prompt"] for row in rows if row["split"] == "dev" and row["language"] != "English"]
    assert sum(complexity(text) >= UNREADABLE for text in others) >= 0.98 * len(others)
    assert not any(is_foreign(row["prompt"]) for row in EVERYDAY)


def test_who_knows_the_language_can_tell_it() -> None:
    """A caller's word, or its hashes of the words, stand for a look at the text."""
    assert complexity("What is yoga?", foreign=True) == UNREADABLE
    assert complexity("Was ist Yoga?", foreign=False) < UNREADABLE
    other = features_of("¿Cuál es la capital de Perú y cuántos habitantes tiene?").words
    assert complexity("Name three colours.", words=other) == UNREADABLE


GIVEN = '"On Monday 12 of the 30 members, who had come although it rained, voted against the budget, and 3 left."'


@pytest.mark.parametrize(
    ("easy", "hard"),
    [
        ("Translate this into Dutch: {}", "Prove from this text that nobody voted twice: {}"),
        ("Is this message friendly or angry? One word. {}", "Is this argument valid or invalid? One word. {}"),
        ("Make this sound more polite: {} Change nothing else.", "Make a plan that would have passed it: {}"),
        ("According to this note, what day was it? {}", "According to this note, how many voted for it? {}"),
        ("Put these names in alphabetical order: Mo, Al, Zed, Bo, Cy", "Sort these by age: Mo is older than Al or Zed"),
        ("Which of these is a fruit: leek, pear, kale?", "Which of these weighs most, if a leek weighs two pears?"),
    ],
)
def test_a_given_text_is_load_only_where_it_is_to_be_thought_about(easy: str, hard: str) -> None:
    """Labels, details, changes of wording are easy whatever the text; conclusions from it are not."""
    assert not is_hard(easy.format(GIVEN))
    assert is_hard(hard.format(GIVEN))


@pytest.mark.parametrize("question", ["", " ", "\n"])
def test_nothing_asked_is_nothing_hard(question: str) -> None:
    """And no error."""
    assert complexity(question) == 0


@given(st.text(max_size=300))
def test_complexity_is_a_share(text: str) -> None:
    """From nought to one, the same each time, whatever is written."""
    assert 0 <= complexity(text) <= 1
    assert complexity(text) == complexity(text)


def test_each_word_is_of_one_kind_and_each_cue_is_looked_for() -> None:
    """A word listed twice would count for the later list alone; a phrase of an unknown cue would count for none."""
    words = [word for listed in KINDS.values() for word in listed.split()]
    assert sorted({word for word in words if words.count(word) > 1}) == []
    assert set(PHRASES) - {"chore phrase"} <= {*WORK, *EASE}


# --- steady -------------------------------------------------------------------------------------------------------


def _with_typos(text: str, chance: random.Random) -> str:
    words = text.split(" ")
    for index, word in enumerate(words):
        if len(word) > 3 and chance.random() < 0.1:
            at = chance.randrange(len(word) - 1)
            words[index] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


def _spaced(text: str, chance: random.Random) -> str:
    return "\n" + "".join(chance.choice((" ", "  ", "\n", " ")) if mark == " " else mark for mark in text) + "  \n"


@pytest.mark.parametrize(
    "noise",
    [
        _with_typos,
        _spaced,
        lambda text, _: text.upper(),
        lambda text, _: text.title(),
        lambda text, _: f"Hello! Could you please help me with this? {text}",
        lambda text, _: f"Hi there, I hope you are well. I have a quick question: {text} Thank you so much!",
    ],
    ids=["typos", "white space", "capitals", "title case", "preamble", "preamble and thanks"],
)
def test_noise_turns_few_decisions(noise: Callable[[str, random.Random], str]) -> None:
    """At most one in twenty."""
    chance = random.Random(3)
    turned = [is_hard(row["prompt"]) != is_hard(noise(row["prompt"], chance)) for row in EVERYDAY]
    assert sum(turned) <= 0.05 * len(turned)


def test_a_long_paste_takes_no_long_time() -> None:
    """A megabyte is judged by its ends, in a millisecond or so."""
    started = time.perf_counter()
    complexity("Explain why N must be 3; " * 50_000)
    assert time.perf_counter() - started < 0.1


# --- models -------------------------------------------------------------------------------------------------------


def test_the_dearer_model_is_expected_to_be_better() -> None:
    """The more so the harder the question; in order of list prices."""
    predicted = ComplexityPredictor().predict(
        [Prompt.of_text(HELLO), Prompt.of_text(SISTERS)], models=[HAIKU, OPUS, SONNET]
    )
    easy, hard = ([predicted[model.id][index] for model in (HAIKU, SONNET, OPUS)] for index in (0, 1))
    assert easy == sorted(easy)
    assert hard == sorted(hard)
    assert hard[2] - hard[0] > easy[2] - easy[0]
    assert all(0 <= quality <= 1 for quality in (*easy, *hard))
    assert predicted.basis == ("complexity prior",) * 2


@pytest.mark.parametrize(("question", "larger"), [(HELLO, False), (SISTERS, True)])
@pytest.mark.parametrize("router", ["anthropic.claude:1", "amazon.nova:1", "meta.llama:1"])
def test_the_default_routers_part_the_announcements_two_prompts(router: str, question: str, larger: bool) -> None:
    """Whatever their response quality difference, from 0.0 to 0.26: the riddle to the larger model, the line not."""
    found = RouterRegistry().router(f"arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/{router}")
    assert found is not None
    prompt = Prompt.of_text(question)
    models = [CATALOG.resolve(model) for model in found.model_ids]
    candidates = [(model, prompt.outline(EstimatedTokens())) for model in models]
    decision = found.decide(prompt, candidates, ledger=Ledger(), now=0.0)
    assert (decision.model.invoke_id == found.fallback_model) == larger


def test_quality_depends_on_no_other_prompt() -> None:
    """A prompt's figure is the same alone and among others."""
    prompts = [Prompt.of_text(text) for text in (HELLO, SISTERS)]
    together = ComplexityPredictor().predict(prompts, models=[HAIKU, SONNET])
    for index, prompt in enumerate(prompts):
        alone = ComplexityPredictor().predict([prompt], models=[HAIKU, SONNET])
        assert [alone[model.id][0] for model in (HAIKU, SONNET)] == [
            together[model.id][index] for model in (HAIKU, SONNET)
        ]


def test_models_of_one_price_or_of_none_are_expected_to_be_alike() -> None:
    """Without a difference in price there is nothing to tell them apart by."""
    same = [replace(model, price=Price(input=Decimal(1), output=Decimal(1))) for model in (HAIKU, SONNET)]
    unknown = [replace(model, price=None) for model in (HAIKU, SONNET)]
    for models in (same, unknown):
        predicted = ComplexityPredictor().predict([Prompt.of_text(SISTERS)], models=models)
        assert predicted[HAIKU.id][0] == predicted[SONNET.id][0]


def test_documents_are_not_the_question() -> None:
    """The words of a pasted handbook make no question harder."""
    pasted = {"role": "user", "content": [{"text": SISTERS * 50}, {"text": "What is the capital of Peru?"}]}
    predicted = ComplexityPredictor().predict(
        [Prompt({"messages": [pasted]}), Prompt.of_text("What is the capital of Peru?")], models=[HAIKU, SONNET]
    )
    assert predicted[HAIKU.id][0] == predicted[HAIKU.id][1]
