"""The baseline of expected quality: what it reads of a question, and how models differ by it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from pointsman import Catalog, Price, Prompt
from pointsman.routing import SurfacePredictor
from pointsman.routing.quality import difficulty

CATALOG = Catalog.default()
HAIKU, SONNET, OPUS = (CATALOG.resolve(f"anthropic.claude-{name}-5-5") for name in ("haiku", "sonnet", "opus"))
SISTERS = "Alice has N brothers and she also has M sisters. How many sisters does Alice's brothers have?"
HELLO = "Describe the purpose of a 'hello world' program in one line."


@pytest.mark.parametrize(
    ("easier", "harder"),
    [
        (HELLO, SISTERS),
        ("What is the capital of Peru?", "Prove that the square root of two is irrational."),
        ("Say hello.", "Compare the trade-offs of optimistic and pessimistic locking, step by step."),
        ("Who was Ada Lovelace?", "Why does this fail?\n```python\ndef f(x):\n    return x[0]\n```"),
        ("List three colours.", "Plan a trip that must cost at most 500, without flights, in exactly 4 days."),
    ],
)
def test_what_asks_for_thought_looks_harder(easier: str, harder: str) -> None:
    """Counting, proving, weighing, code and conditions are hard; definitions and one-liners easy."""
    assert difficulty(easier) + 0.1 < difficulty(harder)


@pytest.mark.parametrize(
    "question",
    ["¿Cuál es la capital de Perú y cuántos habitantes tiene?", "ペルーの首都はどこですか", "12 34 56", "🚂🚃🚃"],
)
def test_what_it_cannot_read_counts_as_hard(question: str) -> None:
    """Cues are English: another language is sent to the larger model rather than misjudged."""
    assert difficulty(question) >= 0.7


@pytest.mark.parametrize("question", ["", " ", "\n"])
def test_nothing_asked_is_nothing_hard(question: str) -> None:
    """And no error."""
    assert 0 <= difficulty(question) < 0.5


def test_difficulty_is_a_share() -> None:
    """From nought to one, however many cues there are."""
    assert 0 < difficulty("Prove and derive why each N must not exceed M unless x = 3. " * 50) <= 1


def test_a_long_paste_takes_no_long_time() -> None:
    """A megabyte is judged by its ends, in a few milliseconds."""
    started = time.perf_counter()
    difficulty("Explain why N must be 3; " * 50_000)
    assert time.perf_counter() - started < 0.25


def test_the_dearer_model_is_expected_to_be_better() -> None:
    """The more so the harder the question; in order of list prices."""
    predicted = SurfacePredictor().predict(
        [Prompt.of_text(HELLO), Prompt.of_text(SISTERS)], models=[HAIKU, OPUS, SONNET]
    )
    easy, hard = ([predicted[model.id][index] for model in (HAIKU, SONNET, OPUS)] for index in (0, 1))
    assert easy == sorted(easy)
    assert hard == sorted(hard)
    assert hard[2] - hard[0] > easy[2] - easy[0]
    assert all(0 <= quality <= 1 for quality in (*easy, *hard))


def test_quality_depends_on_no_other_prompt() -> None:
    """A prompt's figure is the same alone and among others."""
    prompts = [Prompt.of_text(text) for text in (HELLO, SISTERS)]
    together = SurfacePredictor().predict(prompts, models=[HAIKU, SONNET])
    for index, prompt in enumerate(prompts):
        alone = SurfacePredictor().predict([prompt], models=[HAIKU, SONNET])
        assert [alone[model.id][0] for model in (HAIKU, SONNET)] == [
            together[model.id][index] for model in (HAIKU, SONNET)
        ]


def test_models_of_one_price_or_of_none_are_expected_to_be_alike() -> None:
    """Without a difference in price there is nothing to tell them apart by."""
    same = [replace(model, price=Price(input=1, output=1)) for model in (HAIKU, SONNET)]
    unknown = [replace(model, price=None) for model in (HAIKU, SONNET)]
    for models in (same, unknown):
        predicted = SurfacePredictor().predict([Prompt.of_text(SISTERS)], models=models)
        assert predicted[HAIKU.id][0] == predicted[SONNET.id][0]


def test_documents_are_not_the_question() -> None:
    """The words of a pasted handbook make no question harder."""
    pasted = {"role": "user", "content": [{"text": SISTERS * 50}, {"text": "What is the capital of Peru?"}]}
    predicted = SurfacePredictor().predict(
        [Prompt({"messages": [pasted]}), Prompt.of_text("What is the capital of Peru?")], models=[HAIKU, SONNET]
    )
    assert predicted[HAIKU.id][0] == predicted[HAIKU.id][1]
