"""The engine `extract`: its token rule, its answers, and the tools that it calls."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.local.engines import EngineEvent, EnginePrompt, Finish, RenderedBlock, TextPiece, ToolCall
from pointsman.local.extract import MESSAGE_MARKUP_TOKENS, NOTHING_FOUND, ExtractEngine, count_tokens
from pointsman.local.instances import instance_of

GUIDE = (
    "Amazon Textract reads text from scanned pages. Amazon Transcribe turns speech into text. "
    "AWS Trainium trains large models. AWS Inferentia serves them at low cost. The weather is not covered here."
)


def unheard(processed: int, total: int) -> None:
    """Nobody listens."""


def block(text: str, *, role: str = "user", kind: str = "text", message: int = 0) -> RenderedBlock:
    return RenderedBlock(section="messages", kind=kind, text=text, role=role, message=message)


def events(prompt: EnginePrompt) -> list[EngineEvent]:
    return list(ExtractEngine().generate(prompt, progress=unheard))


def answer(*blocks: RenderedBlock, **members: Any) -> str:
    prompt = EnginePrompt(model_id="m", blocks=blocks, **members)
    return "".join(event.text for event in events(prompt) if isinstance(event, TextPiece))


def calls(*blocks: RenderedBlock, tools: Sequence[dict[str, Any]], **members: Any) -> list[tuple[str, Any]]:
    prompt = EnginePrompt(model_id="m", blocks=blocks, tools=tuple(tools), **members)
    return [(event.name, event.input) for event in events(prompt) if isinstance(event, ToolCall)]


def tool(name: str, description: str = "", **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": description, "inputSchema": {"json": schema}}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("hello world", 2),
        ("Hello, world!", 4),
        ("incomprehensibilities", 4),
        ("1234567", 3),
        ("snake_case", 3),
        ("  \n\t ", 0),
        ("多い", 1),
    ],
)
def test_the_token_rule(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_a_token_has_about_four_characters_of_english() -> None:
    assert 3.5 < len(GUIDE) / count_tokens(GUIDE) < 5


@given(st.lists(st.text(max_size=400), min_size=1, max_size=8))
def test_a_block_counts_the_same_whatever_follows(texts: list[str]) -> None:
    engine = ExtractEngine()
    blocks = [block(text, message=index // 2) for index, text in enumerate(texts)]
    counts = engine.count(blocks, model_id="m")
    for end in range(len(blocks)):
        assert engine.count(blocks[:end], model_id="m") == counts[:end]
    assert counts[0] == count_tokens(texts[0]) + MESSAGE_MARKUP_TOKENS
    assert all(counts[index] == count_tokens(texts[index]) for index in range(1, len(texts), 2))


def test_it_answers_with_the_sentences_that_match_best() -> None:
    said = answer(block(GUIDE, kind="pdf"), block("Compare Amazon Textract and Amazon Transcribe in 20 words or less."))
    assert said == "Amazon Textract reads text from scanned pages. Amazon Transcribe turns speech into text."


def test_one_long_text_may_hold_context_and_question() -> None:
    assert "Inferentia serves" in answer(block(f"Context:\n{GUIDE * 4}\n\nQuestion: What does AWS Inferentia do?"))


def test_earlier_questions_are_no_answers() -> None:
    blocks = [
        block(GUIDE, kind="pdf"),
        block("Compare Textract and Transcribe."),
        block("They read.", role="assistant", message=1),
        block("Compare Trainium and Inferentia.", message=2),
    ]
    assert answer(*blocks) == "AWS Trainium trains large models. AWS Inferentia serves them at low cost."


def test_it_says_so_where_the_prompt_holds_nothing() -> None:
    assert answer(block("Alice has N brothers. How many sisters?")) == NOTHING_FOUND


def test_it_is_the_same_in_every_process() -> None:
    code = (
        "from pointsman.local.engines import *; from pointsman.local.extract import ExtractEngine;"
        "b = lambda t, k: RenderedBlock(section='messages', kind=k, text=t, role='user', message=0);"
        f"guide = b({GUIDE!r}, 'pdf'); question = b('Which reads, turns, trains, serves?', 'text');"
        "p = EnginePrompt(model_id='m', blocks=(guide, question));"
        "print(list(ExtractEngine().generate(p, progress=lambda a, b: None)))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


@pytest.mark.parametrize("most", [1, 7, 8, 9, 13, 14, 100])
def test_pieces_are_whole_and_tokens_are_counted(most: int) -> None:
    prompt = EnginePrompt(model_id="m", blocks=(block("Sing."),), max_tokens=most)
    *pieces, finish = events(prompt)
    said = "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))
    whole = count_tokens(NOTHING_FOUND)
    assert NOTHING_FOUND.startswith(said)
    assert finish == Finish(reason="max_tokens" if most < whole else "end_turn", output_tokens=min(most, whole))
    assert count_tokens(said) == min(most, whole)


WEATHER = tool("get_weather", "Looks up the current weather", city={"type": "string"})
SEARCH = tool("searchFlights", "Finds flights between airports", start={"type": "string"}, seats={"type": "integer"})


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Tell me the weather in Oslo please", [("get_weather", {"city": "Oslo"})]),
        ("Hello", []),
        ("Get me a list of it", []),
        ('Search flights from "OSL" for 3', [("searchFlights", {"start": "OSL", "seats": 3})]),
        (
            "Search flights to Oslo for 2, and tell the weather there",
            [("get_weather", {"city": "Oslo"}), ("searchFlights", {"start": "Oslo", "seats": 2})],
        ),
        ("Which airports have flights?", [("searchFlights", {"start": "unknown", "seats": 1})]),
    ],
)
def test_tools_are_called_where_they_are_plainly_asked_for(question: str, expected: Any) -> None:
    assert calls(block(question), tools=[WEATHER, SEARCH]) == expected


def test_no_tool_is_called_once_its_result_has_come() -> None:
    blocks = [
        block("What is the weather in Oslo?"),
        block('{"name": "get_weather"}', role="assistant", kind="tool_use", message=1),
        block("The weather in Oslo is cold.", kind="tool_result", message=2),
    ]
    assert calls(*blocks, tools=[WEATHER]) == []
    assert answer(*blocks, tools=(WEATHER,)) == "The weather in Oslo is cold."
    again = [*blocks, block("It is cold.", role="assistant", message=3), block("And the weather now?", message=4)]
    assert [name for name, _ in calls(*again, tools=[WEATHER])] == ["get_weather"]


def test_any_tool_means_at_least_one() -> None:
    assert [name for name, _ in calls(block("Hi"), tools=[WEATHER, SEARCH], tool_choice={"any": {}})] == ["get_weather"]
    assert [name for name, _ in calls(block("Search flights"), tools=[WEATHER, SEARCH], tool_choice={"any": {}})] == [
        "searchFlights"
    ]


SCHEMAS: list[tuple[dict[str, Any], Any]] = [
    ({"type": "string"}, "x"),
    ({"type": "integer"}, 7),
    ({"type": "number", "maximum": 3}, 3),
    ({"type": "integer", "minimum": 9}, 9),
    ({"type": ["null", "boolean"]}, True),
    ({"type": "null"}, None),
    ({"const": 4}, 4),
    ({"enum": ["green", "blue"]}, "blue"),
    ({"enum": ["green", "red"]}, "green"),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [7, 7]),
    ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 7),
    ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "integer"}}}, 7),
    ({"allOf": [{"type": "integer"}, {"minimum": 8}]}, 8),
    ({"type": "string", "format": "date"}, "2026-01-01"),
    ({"type": "string", "minLength": 3, "maxLength": 4}, "xxx"),
    (
        {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]},
        {"a": 7, "b": "x"},
    ),
]


@pytest.mark.parametrize(("schema", "expected"), SCHEMAS)
def test_an_instance_has_what_the_text_tells(schema: dict[str, Any], expected: Any) -> None:
    assert instance_of(schema, "seven is 7, and blue", filler="x") == expected


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    tree = {"type": "object", "properties": {"child": {"$ref": "#"}, "name": {"type": "string"}}, "required": ["name"]}
    filled = instance_of(tree, "")
    assert json.dumps(filled).count("child") < 20
    assert instance_of({"$ref": "#"}, "") == "unknown"


def test_close_forgets_all_readings() -> None:
    engine = ExtractEngine()
    list(engine.generate(EnginePrompt(model_id="m", blocks=(block(GUIDE * 5),)), progress=unheard))
    assert engine._readings
    engine.close()
    assert not engine._readings
