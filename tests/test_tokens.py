"""Token estimates: by what a block is made of, corrected by what Bedrock counted."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman import Outline, Prompt
from pointsman.tokens import EstimatedTokens
from pointsman.tokens.content import COLUMNS, WIDTH, Contents, amounts_of, joined, sample
from pointsman.tokens.correction import sums_with

Tokenizer = Callable[[str], int]

WORDS = ("the", "signal", "protects", "a", "section", "of", "track", "and", "no", "train", "enters", "while", "held")


def prose(random: Random, words: int = 300) -> str:
    """Sentences of some eight words."""
    return " ".join(random.choice(WORDS) + (". So" if random.random() < 0.12 else "") for _ in range(words))


def code(random: Random, lines: int = 60) -> str:
    """Indented lines with calls and comparisons."""
    return "\n".join(
        f"{'    ' * random.randint(1, 3)}if {random.choice(WORDS)}_{random.choice(WORDS)}[{random.randint(0, 9)}] != x:"
        for _ in range(lines)
    )


def data(random: Random, rows: int = 25) -> str:
    """JSON of ids, names and numbers."""
    return json.dumps([{"id": random.randint(0, 10**6), "name": random.choice(WORDS)} for _ in range(rows)])


def prompt(random: Random) -> Prompt:
    """Some prose, code and JSON, in any mixture."""
    texts = [random.choice((prose, code, data))(random, random.randint(5, 120)) for _ in range(random.randint(2, 12))]
    return Prompt({"messages": [{"role": "user", "content": [{"text": text} for text in texts]}]})


def tokens_of(of: Prompt, tokenizer: Tokenizer) -> int:
    """All its tokens, as that tokenizer counts, and four for the message."""
    return 4 + sum(tokenizer(block["text"]) for block in of.messages[0]["content"])


def fine(text: str) -> int:
    """A tokenizer: pieces of words, each digit, each mark, runs of spaces."""
    return len(re.findall(r" ?[A-Za-z]{1,7}|\d|[^\sA-Za-z\d]|\s+(?!\S)", text))


def coarse(text: str) -> int:
    """A tokenizer of another kind: whole words, numbers, and marks in pairs."""
    return len(re.findall(r" ?[A-Za-z_]+|\d{1,3}|[^\s\w]{1,2}|\s{2,}", text))


def dearer(text: str) -> int:
    """A tokenizer that takes 30 % more of everything."""
    return round(1.3 * fine(text))


def learnt(counter: EstimatedTokens, tokenizer: Tokenizer, calls: int, *, seed: int = 1) -> EstimatedTokens:
    """The counter after so many calls of model "a"."""
    random = Random(seed)
    for _ in range(calls):
        teach(counter, prompt(random), tokenizer)
    return counter


def teach(counter: EstimatedTokens, of: Prompt, tokenizer: Tokenizer, model: str = "a") -> None:
    """One reply."""
    outline = of.outline(counter)
    counter.learn(model, contents=outline.contents, counted=[(len(outline.blocks) - 1, tokens_of(of, tokenizer))])


def error(counter: EstimatedTokens, tokenizer: Tokenizer, *, seed: int = 99) -> float:
    """Mean absolute error of model "a" on 100 prompts that nothing was learnt from."""
    random = Random(seed)
    return float(np.mean([abs(told(counter, of) / tokens_of(of, tokenizer) - 1) for of in _some(random, 100)]))


def told(counter: EstimatedTokens, of: Prompt, model: str = "a") -> int:
    """The tokens of a prompt, as corrected for a model."""
    return of.outline(counter).corrected(counter.weights(model)).tokens


def _some(random: Random, count: int) -> list[Prompt]:
    return [prompt(random) for _ in range(count)]


def count(text: str) -> int:
    """The tokens of one text by the prior."""
    return Prompt.of_text(text).outline(EstimatedTokens()).tokens


def row(text: str, kind: str = "text") -> dict[str, float]:
    """What is known of one block."""
    block = text.encode()
    return dict(zip(COLUMNS, amounts_of([(b"", kind, len(block), sample(block))])[0].tolist(), strict=True))


# --- what a block is made of ------------------------------------------------------------------------------------


def test_what_a_block_is_made_of_is_counted() -> None:
    """Byte by byte where the block is short; an é is two bytes of another script."""
    counted = row("Hello  World, 12\n   foo(Bar)[x]; é a_b-c9.\t }")
    expected = {"bytes": 46, "upper": 3, "digits": 3, "spaces": 9, "newlines": 2, "punctuation": 10, "other": 2}
    assert {name: counted[name] for name in expected} == expected
    assert (counted["indents"], counted["word_ends"], counted["blocks"], counted["tool"]) == (5, 6, 1, 0)


def test_blocks_are_counted_one_by_one() -> None:
    """Neither a neighbour nor the order changes what a block is made of."""
    texts = ["", " ", "a", ".", "\n\n", "Ünï 9.", "x" * 5_000, "{}"]
    news = [(b"", "text", len(text.encode()), sample(text.encode())) for text in texts]
    together = amounts_of(news)
    assert together.tolist() == [amounts_of([one])[0].tolist() for one in news]
    assert together[::-1].tolist() == amounts_of(news[::-1]).tolist()


def test_a_long_block_is_judged_by_samples_from_its_start_to_its_end() -> None:
    """Half prose, half digits: the halves are told to within a tenth, though an eighth of it is looked at."""
    counted = row("a" * 8_000 + "7" * 8_000)
    assert counted["bytes"] == 16_000
    assert counted["digits"] == pytest.approx(8_000, rel=0.1)
    assert len(sample(b"x" * 16_000)) <= 2_048


def test_tool_blocks_are_known_for_what_they_are() -> None:
    """A model is shown them in a form of its own."""
    assert row("{}", "tool_use") == {**row("{}"), "tool_use": 1, "tool_use_bytes": 2}


def test_what_is_known_of_blocks_is_bounded() -> None:
    """The oldest go; a prompt's own are told though they don't all fit."""
    contents = Contents(most=10)
    rows = contents.learn([(bytes([index]), "text", index, b"x" * index) for index in range(40)])
    assert len(rows) == 40
    assert [contents.get(bytes([index])) is not None for index in (0, 34, 35, 39)] == [False, False, True, True]


def test_a_block_that_cannot_be_counted_has_no_content() -> None:
    """It adds nothing to what an equation is made of; the tools are marked where they begin."""
    rows = [np.full(WIDTH, 3, np.float32).tobytes()] * 3
    told = np.frombuffer(joined(rows, [1], tools=True), np.float32).reshape(3, WIDTH)
    assert told.sum(axis=1).tolist() == [3 * WIDTH - 2, 0, 3 * WIDTH]
    assert told[0, COLUMNS.index("tools")] == 1


def test_a_prompt_is_told_the_same_whether_its_blocks_are_known_or_not() -> None:
    """What an earlier prompt left behind changes no estimate."""
    of = prompt(Random(4711))
    first = of.outline(EstimatedTokens(), key=b"key")
    assert of.outline(EstimatedTokens(), key=b"key") == first
    assert first.contents


def test_contents_can_be_left_out() -> None:
    """Where nothing can be cached: the digests are the same, the tokens are told by size."""
    of = Prompt.of_text("1 + 1 = 2, " * 500)
    whole, plain = (of.outline(EstimatedTokens(), key=b"key", contents=contents) for contents in (True, False))
    assert (plain.contents, plain.tokens) == (b"", round(5_500 / 4.3) + 3)
    assert plain.blocks[0].digest == whole.blocks[0].digest
    assert plain.tokens < whole.tokens


# --- before anything is known -------------------------------------------------------------------------------------


def test_prose_has_about_a_token_for_four_bytes() -> None:
    """English prose of 4,000 bytes is taken for some 900 tokens; code, JSON and other scripts for more."""
    random = Random(1)
    assert count(prose(random, 2_000)[:4_000]) == pytest.approx(900, rel=0.15)
    for text in (code(random, 200), data(random, 200), "Сигнал " * 1_000, "信号機は区間を守る" * 300):
        assert count(text.encode()[:4_000].decode(errors="ignore")) > 1_000


@pytest.mark.parametrize("text", ["", " " * 10_000, "a" * 10_000, "7" * 10_000, "\x00" * 10_000, "\n" * 10_000])
def test_no_block_is_free_and_none_has_more_tokens_than_bytes(text: str) -> None:
    """Even an empty block costs its markup, however odd it is."""
    assert 3 <= count(text) <= len(text) + 20


def test_sizes_alone_will_do() -> None:
    """As many counts as blocks, each the same as alone; JSON has more tokens than text of the same size."""
    counter = EstimatedTokens()
    kinds, sizes = ["text", "tool_result", "tool"], [4_000] * 3
    together = list(counter.count(kinds=kinds, sizes=sizes))
    assert together == [counter.count(kinds=[kind], sizes=[4_000])[0] for kind in kinds]
    assert sorted(together) == together and together[0] == pytest.approx(950, rel=0.1)


# --- what is learnt -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", [fine, coarse, dearer])
def test_estimates_come_close_after_some_calls(tokenizer: Tokenizer) -> None:
    """On prompts that nothing was learnt from: within 4 % after 50 calls and 2 % after 200."""
    counter = EstimatedTokens()
    assert error(counter, tokenizer) > 0.05
    assert error(learnt(counter, tokenizer, 50), tokenizer) < 0.04
    assert error(learnt(counter, tokenizer, 150, seed=2), tokenizer) < 0.02


def test_each_kind_of_content_is_corrected_by_itself() -> None:
    """Prompts of all kinds teach what prose takes and what JSON takes: one factor could not serve both."""
    counter = learnt(EstimatedTokens(), coarse, 100)
    random = Random(5)
    for text in (prose(random), data(random)):
        assert told(counter, Prompt.of_text(text)) == pytest.approx(tokens_of(Prompt.of_text(text), coarse), rel=0.1)
    factors = [told(counter, Prompt.of_text(text)) / count(text) for text in (prose(random), data(random))]
    assert abs(factors[0] / factors[1] - 1) > 0.1


def test_each_model_has_its_own_correction() -> None:
    """What one model counts says nothing of another, and without a reply there is nothing to correct."""
    counter = learnt(EstimatedTokens(), fine, 5)
    assert counter.weights("b") is None
    outline = prompt(Random(3)).outline(counter)
    assert outline.corrected(None) == outline


def test_one_reply_already_helps() -> None:
    """A conversation's second request is told better than its first, if the tokenizer takes more of everything."""
    counter = learnt(EstimatedTokens(), dearer, 1)
    assert error(counter, dearer) < 0.5 * error(EstimatedTokens(), dearer)


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_one_odd_reply_does_not_overturn_many(factor: float) -> None:
    """A reply that counts what no other did moves the estimates by a percent or so."""
    counter = learnt(EstimatedTokens(), fine, 30)
    before = error(counter, fine)
    teach(counter, prompt(Random(7)), lambda text: round(factor * fine(text)))
    assert error(counter, fine) < before + 0.015


def test_a_lasting_change_is_learnt() -> None:
    """Another tokenizer under the same id: after as many calls as a new model takes."""
    counter = learnt(learnt(EstimatedTokens(), fine, 200), dearer, 60, seed=3)
    assert error(counter, dearer) < 0.04


@pytest.mark.parametrize("counted", [0, -5, 1, 10_000_000])
def test_what_teaches_nothing_is_passed_over(counted: int) -> None:
    """A count that can't be of this prompt is no count."""
    counter = learnt(EstimatedTokens(), fine, 1)
    before = counter.to_dict()
    outline = prompt(Random(1)).outline(counter)
    counter.learn("a", contents=outline.contents, counted=[(len(outline.blocks) - 1, counted)])
    counter.learn("a", contents=b"", counted=[(0, 100)])
    assert counter.to_dict() == before


def test_a_part_of_a_prompt_teaches_too() -> None:
    """The tokens up to a cache point, where what follows can't be counted."""
    random, counter = Random(1), EstimatedTokens()
    for of in _some(random, 50):
        longer = Prompt(
            {"messages": [{"role": "user", "content": [*of.messages[0]["content"], {"text": "x" * 9_999}]}]}
        )
        outline = longer.outline(counter)
        counter.learn("a", contents=outline.contents, counted=[(len(outline.blocks) - 2, tokens_of(of, fine))])
    assert error(counter, fine) < 0.04


weights = st.lists(st.floats(-1e3, 1e3, width=32), min_size=WIDTH, max_size=WIDTH)


@given(weights, st.lists(st.text(max_size=60), min_size=1, max_size=6))
def test_no_correction_makes_a_block_free_or_endless(weights: Sequence[float], texts: Sequence[str]) -> None:
    """Whatever was learnt, sums grow from block to block, and a block has a quarter to four times what it had."""
    outline = Prompt({"messages": [{"role": "user", "content": [{"text": text} for text in texts]}]}).outline(
        EstimatedTokens()
    )
    sums = sums_with(outline.contents, np.array(weights, np.float32))
    assert len(sums) == len(texts)
    before = 0
    for block, end in zip(outline.blocks, sums, strict=True):
        assert block.tokens is not None
        assert block.tokens // 4 - 1 <= end - before <= 4 * (block.tokens + 1) + 1
        before = end


# --- kept and shared ----------------------------------------------------------------------------------------------


def test_what_was_learnt_can_be_kept() -> None:
    """Through JSON and back: the same estimates, and learning goes on as if nothing had happened."""
    counter = learnt(EstimatedTokens(), fine, 20)
    kept = EstimatedTokens.from_dict(json.loads(json.dumps(counter.to_dict())))
    assert np.allclose(kept.weights("a"), counter.weights("a"), rtol=1e-4)
    assert kept.to_dict() == counter.to_dict()
    learnt(kept, dearer, 5, seed=8)
    learnt(counter, dearer, 5, seed=8)
    assert error(kept, dearer) == pytest.approx(error(counter, dearer), abs=1e-3)


def test_what_another_version_has_learnt_is_left() -> None:
    """Where it sees other contents, its numbers mean something else."""
    told = {**learnt(EstimatedTokens(), fine, 3).to_dict(), "columns": ["bytes"]}
    assert EstimatedTokens.from_dict(told).weights("a") is None
    counter = EstimatedTokens()
    counter.add(told)
    assert counter.weights("a") is None


@pytest.mark.parametrize("broken", [{}, {"columns": list(COLUMNS), "models": {"a": {"squares": [float("nan")]}}}])
def test_what_is_no_state_is_refused(broken: dict[str, object]) -> None:
    """An error that its readers expect."""
    with pytest.raises((ValueError, LookupError, TypeError)):
        EstimatedTokens.from_dict(broken)


def test_what_two_processes_learnt_adds_up() -> None:
    """Each takes in what the other has learnt, and both know what one would have that saw all replies."""
    both = learnt(learnt(EstimatedTokens(), fine, 20, seed=1), fine, 20, seed=2)
    one, other = learnt(EstimatedTokens(), fine, 20, seed=1), learnt(EstimatedTokens(), fine, 20, seed=2)
    of_one, of_other = one.take_delta(), other.take_delta()
    assert of_one is not None and of_other is not None
    one.add(json.loads(json.dumps(of_other)))
    other.add(json.loads(json.dumps(of_one)))
    expected = np.array([told(both, of) for of in _some(Random(6), 20)])
    for counter in (one, other):
        assert np.allclose([told(counter, of) for of in _some(Random(6), 20)], expected, rtol=0.01)


def test_a_delta_is_given_once() -> None:
    """And what came from elsewhere isn't given on."""
    one, other = learnt(EstimatedTokens(), fine, 3), EstimatedTokens()
    delta = one.take_delta()
    assert delta is not None and one.take_delta() is None
    other.add(delta)
    assert other.weights("a") is not None and other.take_delta() is None


def test_models_are_bounded() -> None:
    """A service with an ARN for each tenant forgets those it heard of first."""
    counter, of = EstimatedTokens(), prompt(Random(1))
    for index in range(600):
        teach(counter, of, fine, f"model {index}")
    assert (counter.weights("model 0"), len(counter.to_dict()["models"])) == (None, 512)
    assert counter.weights("model 599") is not None


def test_threads_may_learn_at_once() -> None:
    """No reply is lost."""
    counter, of = EstimatedTokens(), prompt(Random(1))
    threads = [threading.Thread(target=lambda: [teach(counter, of, fine) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.to_dict()["models"]["a"]["equations"] == 200


def test_an_outline_without_contents_stays_as_it_is() -> None:
    """One made of recorded blocks has tokens and nothing to correct them by."""
    assert Outline.of_blocks([]).corrected(np.ones(WIDTH, np.float32)) == Outline.of_blocks([])
