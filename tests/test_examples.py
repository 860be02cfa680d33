"""The examples run as they are, against the local endpoint, and what they print is what they promise."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import NamedTuple

import pytest

import pointsman

ROOT = Path(__file__).parent.parent
EXTRAS = {"langchain": "langchain", "llama_index": "llama-index"}
"""What an example of a framework needs."""
EXAMPLES = sorted(path for framework in EXTRAS for path in (ROOT / "examples" / framework).glob("*.py"))
MOST_LINES = 59
READ = re.compile(r"([\d,]+) of ([\d,]+) tokens read")
MONEY = re.compile(r"\$(\d+\.\d+)")
MINIMUM_TOKENS = 512
"""Of a prefix that the newest Claude cache, and so of the house rules."""


def name_of(path: Path) -> str:
    """An example's name, with its framework's."""
    return f"{path.parent.name}/{path.stem}"


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
    """Runs the `main` of an example, such as `langchain/routed_batch`; what it printed."""

    def run_main(name: str) -> str:
        spec = spec_from_file_location(f"examples_{name.replace('/', '_')}", ROOT / "examples" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        module.main()
        return capsys.readouterr().out

    return run_main


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_is_short_and_tells_how_to_run_it(path: Path) -> None:
    """It fits on a screen, begins with what it shows and its command, and names the line that AWS takes."""
    source = path.read_text("utf-8")
    told = ast.get_docstring(ast.parse(source)) or ""
    assert len(source.splitlines()) <= MOST_LINES
    assert f"python {path.relative_to(ROOT)}" in told
    assert f'pip install "pointsman[{EXTRAS[path.parent.name]},local]"' in told
    assert "  # on AWS: " in source and "boto3.client" in source


def test_every_example_is_run_here() -> None:
    """A new example needs a test below."""
    source = Path(__file__).read_text("utf-8")
    assert {path.parent.name for path in EXAMPLES} == EXTRAS.keys()
    assert {name_of(path) for path in EXAMPLES} == set(re.findall(r'run\("(\w+/\w+)"\)', source))


def test_a_conversation_reads_what_its_earlier_turns_wrote(run: Callable[[str], str]) -> None:
    """LCEL and the classic chain, with the passages in the system prompt: all but a model's first turn are cheaper."""
    check_conversations(run("langchain/rag_with_history"))


def check_conversations(printed: str) -> None:
    """Two conversations of three turns: each model's first turn writes, all others read."""
    turns = calls(printed)
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
    check_agent(run("langchain/agent_with_tools"))


def check_agent(printed: str) -> None:
    """What both agents print: a question, then two lines for each of its calls."""
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
    printed = run("langchain/streaming_server")
    answers = printed.split("\n\n")
    assert "Provisioned throughput reserves capacity" in answers[1] and "Micro is the cheapest" in answers[1]
    assert all(call.read >= MINIMUM_TOKENS for call in calls(answers[1])) and len(calls(answers[1])) == 2


def test_a_batch_is_spread_over_models_and_costs_less_than_the_fallback_model(run: Callable[[str], str]) -> None:
    """Each model has its share; the sums are those of the rows; what the fallback model answered costs the same."""
    heading, *rows, total = (line.split() for line in run("langchain/routed_batch").splitlines())
    assert heading[0] == "model" and total[0] == "total"
    counts = {model: int(answers) for model, answers, *_ in rows}
    assert len(counts) == 3 and sum(counts.values()) == int(total[1]) == 10
    for column in (2, 3):
        assert sum(map(dollars, (row[column] for row in rows))) == pytest.approx(dollars(total[column]), abs=3e-6)
    for model, _, cost, at_fallback in rows:
        assert dollars(cost) == dollars(at_fallback) if "sonnet" in model else dollars(cost) < dollars(at_fallback)


def test_a_chat_engine_reads_what_the_turns_before_wrote(run: Callable[[str], str]) -> None:
    """Passages in front of the system prompt: all but a model's first turn are cheaper; condensing holds no documents,
    and comes before each turn but a conversation's first."""
    printed = run("llama_index/chat_engine")
    check_conversations(printed)
    assert printed.count("(the question in other words, by ") == 4
    assert all(pointsman.session(f"conversation-{number}", scope="tenant-a").snapshot() for number in (1, 2))


def test_a_query_engines_questions_are_routed_and_read_their_common_beginning(run: Callable[[str], str]) -> None:
    """What is looked up goes to Haiku, what is compared or worked out to Sonnet; each reads the rules from its second
    question on, and no more: the passages are another question's."""
    asked = calls(run("llama_index/query_engine"))
    assert [call.model.split()[1] for call in asked] == ["Haiku", "Haiku", "Sonnet", "Haiku", "Sonnet"]
    assert [call.read > 0 for call in asked] == [False, True, False, True, True]
    for call in asked:
        assert call.read == 0 or (MINIMUM_TOKENS <= call.read < call.tokens / 2 and call.money[0] < call.money[1])


def test_an_agent_of_llama_index_stays_on_its_model_and_reads_all_of_its_last_call(run: Callable[[str], str]) -> None:
    """As LangChain's: two calls for each question, with tools between them; a later question may go elsewhere."""
    check_agent(run("llama_index/agent_with_tools"))
    assert pointsman.session("conversation-3", scope="tenant-a").snapshot()


def dollars(amount: str) -> float:
    """An amount of money without its sign."""
    return float(amount.removeprefix("$"))
