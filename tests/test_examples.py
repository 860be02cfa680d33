"""The examples run as they are, against the local endpoint, and what they print is what they promise."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples" / "langchain").glob("*.py"))
MOST_LINES = 59
READ = re.compile(r"([\d,]+) of ([\d,]+) tokens read")
MONEY = re.compile(r"\$(\d+\.\d+)")
MINIMUM_TOKENS = 512
"""Of a prefix that the newest Claude cache, and so of the house rules."""


class Call(NamedTuple):
    """One line that an example printed of a call: the model before the colon, the tokens, the amounts of money."""

    model: str
    read: int
    tokens: int
    money: list[float]


def calls(printed: str) -> list[Call]:
    """All calls that were printed."""
    return [
        Call(
            line.partition(":")[0].strip(),
            *(int(number.replace(",", "")) for number in found.groups()),
            [float(amount) for amount in MONEY.findall(line)],
        )
        for line in printed.splitlines()
        if (found := READ.search(line))
    ]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Runs an example's `main`; what it printed."""

    def run_main(name: str) -> str:
        spec = spec_from_file_location(f"examples_{name}", ROOT / "examples" / "langchain" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        module.main()
        return capsys.readouterr().out

    return run_main


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_tells_how_to_run_it(path: Path) -> None:
    """It fits on a screen, begins with what it shows and its command, and names the line that AWS takes."""
    source = path.read_text("utf-8")
    told = ast.get_docstring(ast.parse(source)) or ""
    assert len(source.splitlines()) <= MOST_LINES
    assert f"python {path.relative_to(ROOT)}" in told and 'pip install "pointsman[langchain,local]"' in told
    assert "  # on AWS: " in source and "boto3.client" in source


def test_every_example_is_run_here() -> None:
    """A new example needs a test below."""
    source = Path(__file__).read_text("utf-8")
    assert EXAMPLES
    assert {path.stem for path in EXAMPLES} == set(re.findall(r'run\("(\w+)"\)', source))


def test_a_conversation_reads_what_its_earlier_turns_wrote(run: Callable[[str], str]) -> None:
    """LCEL and the classic chain, with the passages in the system prompt: all but a model's first turn are cheaper."""
    turns = calls(run("rag_with_history"))
    first = {turn.model: turns.index(turn) for turn in reversed(turns)}
    assert set(first) == {"Claude Haiku 5.5", "Claude Sonnet 5.5"} and len(turns) == 6
    for number, turn in enumerate(turns):
        cost, without_cache = turn.money
        if number == first[turn.model]:
            assert turn.read == 0 and cost > without_cache
        else:
            assert turn.read >= MINIMUM_TOKENS and cost < without_cache


def test_an_agents_turn_stays_on_its_model_and_reads_all_of_its_last_call(run: Callable[[str], str]) -> None:
    """Each question takes two calls, with tools between them; a later question may go to another model."""
    printed = run("agent_with_tools")
    made = calls(printed)
    assert [line.strip() for line in printed.splitlines()[2::5]] == [
        "search_guides",
        "search_guides",
        "estimate, on_call",
    ]
    for before, after in zip(made[::2], made[1::2], strict=True):
        assert after.model == before.model and after.read == before.tokens
    assert [call.model.partition("claude-")[2] for call in made[::2]] == ["haiku-5-5", "sonnet-5-5", "sonnet-5-5"]
    assert made[4].read == made[3].tokens
    # What the second search found once more is there as a name.
    assert made[3].tokens - made[2].tokens < (made[1].tokens - made[0].tokens) / 4


def test_streams_of_two_conversations_read_from_the_cache(run: Callable[[str], str]) -> None:
    """The answers of both tenants come, each to its question; at the second one what the first one wrote is read."""
    printed = run("streaming_server")
    answers = printed.split("\n\n")
    assert "Provisioned throughput reserves capacity" in answers[1] and "Micro is the cheapest" in answers[1]
    assert all(call.read >= MINIMUM_TOKENS for call in calls(answers[1])) and len(calls(answers[1])) == 2


def test_a_batch_is_spread_over_models_and_costs_less_than_the_fallback_model(run: Callable[[str], str]) -> None:
    """Each model has its share; the sums are those of the rows; what the fallback model answered costs the same."""
    heading, *rows, total = (line.split() for line in run("routed_batch").splitlines())
    assert heading[0] == "model" and total[0] == "total"
    counts = {model: int(answers) for model, answers, *_ in rows}
    assert len(counts) == 3 and sum(counts.values()) == int(total[1]) == 10
    for column in (2, 3):
        assert sum(map(dollars, (row[column] for row in rows))) == pytest.approx(dollars(total[column]), abs=3e-6)
    for model, _, cost, at_fallback in rows:
        assert dollars(cost) == dollars(at_fallback) if "sonnet" in model else dollars(cost) < dollars(at_fallback)


def dollars(amount: str) -> float:
    """An amount of money without its sign."""
    return float(amount.removeprefix("$"))
