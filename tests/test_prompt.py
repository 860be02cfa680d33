"""Prompts and outlines: which blocks there are, what their digests depend on, and how cache points are laid on them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from pointsman import Block, CachePoint, InvalidRequestError, Outline, Prompt
from pointsman.outline import Prefix, block_kind
from pointsman.tokens import EstimatedTokens
from pointsman.tokens.content import WIDTH

KEY = b"a key of the tests"
IMAGE = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
POINT = {"cachePoint": {"type": "default"}}
HOUR = {"cachePoint": {"type": "default", "ttl": "1h"}}
Request = dict[str, Any]


def request() -> Request:
    """A request with two tools, two system blocks and three messages: eight blocks."""
    return {
        "modelId": "m",
        "toolConfig": {
            "tools": [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in ("a", "b")]
        },
        "system": [{"text": "Be brief."}, {"text": "Be kind."}],
        "messages": [
            {"role": "user", "content": [{"text": "What is a lever?"}, {"text": "In one line."}]},
            {"role": "assistant", "content": [{"text": "It moves the points."}]},
            {"role": "user", "content": [{"text": "And a signal?"}]},
        ],
    }


def outline(of: Request, *, key: bytes = KEY) -> Outline:
    return Prompt(of).outline(EstimatedTokens(), key=key)


def digests(of: Request, *, key: bytes = KEY) -> list[bytes]:
    return [block.digest for block in outline(of, key=key).blocks]


def unchanged(before: Request, after: Request) -> int:
    """How many blocks at the start keep their digests."""
    pairs = list(zip(digests(before), digests(after), strict=False))
    return next((index for index, (old, new) in enumerate(pairs) if old != new), len(pairs))


# --- blocks -----------------------------------------------------------------------------------------------------


def test_blocks_stand_in_the_order_of_the_cache() -> None:
    """Tools, then system, then messages, whatever the order of the dict; points are no blocks."""
    given = request()
    given["system"].append(POINT)
    shuffled = dict(reversed(given.items()))
    blocks = outline(shuffled).blocks
    assert [(block.section, block.role, block.kind) for block in blocks] == [
        ("tools", None, "tool"),
        ("tools", None, "tool"),
        ("system", None, "text"),
        ("system", None, "text"),
        ("messages", "user", "text"),
        ("messages", "user", "text"),
        ("messages", "assistant", "text"),
        ("messages", "user", "text"),
    ]
    assert digests(shuffled) == digests(given)


@pytest.mark.parametrize(
    ("block", "kind", "counted"),
    [
        ({"text": "Hi"}, "text", True),
        ({"toolSpec": {"name": "a", "inputSchema": {"json": {}}}}, "tool", True),
        ({"toolUse": {"toolUseId": "1", "name": "a", "input": {}}}, "tool_use", True),
        ({"toolResult": {"toolUseId": "1", "content": [{"text": "x"}]}}, "tool_result", True),
        ({"toolResult": {"toolUseId": "1", "content": [{"text": "x"}, IMAGE]}}, "tool_result", False),
        ({"toolResult": {"toolUseId": "1", "content": []}}, "tool_result", True),
        (IMAGE, "image", False),
        ({"video": {"format": "mp4", "source": {"bytes": b""}}}, "video", False),
        ({"document": {"format": "pdf", "name": "a", "source": {"bytes": b"%PDF"}}}, "pdf", False),
        ({"document": {"format": "txt", "name": "a", "source": {"bytes": b"plain text"}}}, "document", True),
        ({"document": {"format": "md", "name": "a", "source": {"text": "# Title"}}}, "document", True),
        ({"document": {"name": "a", "source": {"text": "no format"}}}, "document", True),
        ({"document": {"format": "docx", "name": "a", "source": {"bytes": b"PK"}}}, "document", False),
        (
            {"document": {"format": "txt", "name": "a", "source": {"s3Location": {"uri": "s3://b/k"}}}},
            "document",
            False,
        ),
        ({"reasoningContent": {"reasoningText": {"text": "Hm"}}}, "reasoning", True),
        ({"guardContent": {"text": {"text": "Hi"}}}, "guard", True),
        ({"citationsContent": {"content": [{"text": "x"}]}}, "citations", True),
        ({"searchResult": {"title": "t", "source": "s", "content": [{"text": "x"}]}}, "search_result", True),
        ({"somethingNew": {"text": "x"}}, "other", True),
    ],
)
def test_kinds_of_block(block: Request, kind: str, counted: bool) -> None:
    """Each member of Converse's union has its kind; what bytes can't tell has no token count."""
    found = outline({"messages": [{"role": "user", "content": [block]}]}).blocks[0]
    assert found.kind == block_kind(block) == kind
    assert (found.tokens is not None) == counted


def test_kinds_inside_tool_results_are_seen() -> None:
    """An image in a tool result is an image that the model must take."""
    result = {"toolResult": {"toolUseId": "1", "content": [IMAGE]}}
    assert outline({"messages": [{"role": "user", "content": [result]}]}).kinds == {"tool_result", "image"}


def test_the_tokens_of_a_text_document_are_those_of_its_text() -> None:
    """A document's bytes are counted as text, not as the JSON that carries them."""
    text = "A signal protects its section. " * 100
    document = {"document": {"format": "txt", "name": "a", "source": {"bytes": text.encode()}}}
    both = outline({"messages": [{"role": "user", "content": [document, {"text": text}]}]}).blocks
    assert both[0].tokens == pytest.approx(both[1].tokens, rel=0.02)


# --- digests ----------------------------------------------------------------------------------------------------


def _other_tool(of: Request) -> None:
    of["toolConfig"]["tools"][1]["toolSpec"]["description"] = "New."


def _other_system(of: Request) -> None:
    of["system"][1]["text"] += " "


def _other_message(of: Request) -> None:
    of["messages"][0]["content"][1]["text"] = "In two lines."


def _other_end(of: Request) -> None:
    of["messages"][2]["content"][0]["text"] = "And a brake?"


def _longer(of: Request) -> None:
    of["messages"].append({"role": "assistant", "content": [{"text": "It shows."}]})


def _forced(of: Request) -> None:
    of["toolConfig"]["toolChoice"] = {"any": {}}


def _named_tool(of: Request) -> None:
    of["toolConfig"]["toolChoice"] = {"tool": {"name": "a"}}


def _not_forced(of: Request) -> None:
    of["toolConfig"]["toolChoice"] = {"auto": {}}


def _image_at_the_end(of: Request) -> None:
    of["messages"][2]["content"].append(IMAGE)


def _image_in_a_result(of: Request) -> None:
    of["messages"][2]["content"].append({"toolResult": {"toolUseId": "1", "content": [IMAGE]}})


def _thinking(of: Request) -> None:
    of["additionalModelRequestFields"] = {"thinking": {"type": "adaptive"}}


def _reasoning(of: Request) -> None:
    of["additionalModelRequestFields"] = {"reasoning_config": {"type": "enabled"}}


def _top_k(of: Request) -> None:
    of["additionalModelRequestFields"] = {"top_k": 3}


def _temperature(of: Request) -> None:
    of["inferenceConfig"] = {"temperature": 0.5, "maxTokens": 10}


def _schema(of: Request) -> None:
    structure = {"jsonSchema": {"name": "x", "schema": "{}"}}
    of["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}


def _effort(of: Request) -> None:
    of["outputConfig"] = {"effort": "low"}


def _split(of: Request) -> None:
    first = of["messages"][0]
    of["system"].append(first["content"].pop(0))


def _points(of: Request) -> None:
    of["system"].append(POINT)
    of["messages"][0]["content"].append(HOUR)


def _model(of: Request) -> None:
    of["modelId"] = "another"


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (_other_tool, 1),
        (_other_system, 3),
        (_other_message, 5),
        (_other_end, 7),
        (_longer, 8),
        (_forced, 4),
        (_named_tool, 4),
        (_not_forced, 8),
        (_image_at_the_end, 4),
        (_image_in_a_result, 4),
        (_thinking, 0),
        (_reasoning, 0),
        (_schema, 0),
        (_effort, 0),
        (_top_k, 8),
        (_temperature, 8),
        (_split, 4),
        (_points, 8),
        (_model, 8),
    ],
    ids=lambda change: change.__name__.strip("_") if callable(change) else "",
)
def test_what_a_prefix_depends_on(change: Callable[[Request], None], kept: int) -> None:
    """A change leaves the prefixes before it and no other; some change all messages, some everything."""
    before, after = request(), request()
    change(after)
    assert unchanged(before, after) == kept


def test_digests_depend_on_the_key() -> None:
    """Without the secret nobody can tell which prompt a digest stands for; nor can two processes by default."""
    assert not set(digests(request())) & set(digests(request(), key=b"another"))
    assert digests(request()) == digests(request())
    default = Prompt(request()).outline(EstimatedTokens())
    assert default == Prompt(request()).outline(EstimatedTokens())
    assert not {block.digest for block in default.blocks} & set(digests(request()))


def test_a_long_key_is_taken() -> None:
    """blake2b's keys end at 64 bytes; longer ones are cut, not refused."""
    assert digests(request(), key=b"x" * 100) == digests(request(), key=b"x" * 64)


def test_messages_mutated_in_place_are_seen() -> None:
    """A prompt is read anew each time: no digest is kept by the identity of a message."""
    given = request()
    prompt = Prompt(given)
    before = prompt.outline(EstimatedTokens(), key=KEY)
    given["messages"][0]["content"][0]["text"] = "What is a brake?"
    assert prompt.outline(EstimatedTokens(), key=KEY).blocks[4].digest != before.blocks[4].digest
    given["messages"][0]["content"][0]["text"] = "What is a lever?"
    assert prompt.outline(EstimatedTokens(), key=KEY) == before


def test_bytes_and_decimals_stand_in_digests() -> None:
    """Values that JSON doesn't have are told apart by their content."""
    tool_result = {"toolUseId": "1", "content": [{"json": {"price": Decimal("1.10")}}]}

    def of(image: bytes | bytearray | memoryview, price: str) -> bytes:
        tool_result["content"] = [{"json": {"price": Decimal(price)}}]
        content = [{"image": {"format": "png", "source": {"bytes": image}}}, {"toolResult": tool_result}]
        return digests({"messages": [{"role": "user", "content": content}]})[-1]

    assert of(b"one", "1.10") == of(bytearray(b"one"), "1.10") == of(memoryview(b"one"), "1.10")
    assert len({of(b"one", "1.10"), of(b"two", "1.10"), of(b"one", "1.1")}) == 3


@pytest.mark.parametrize(
    "content",
    [[{"text": object()}], [{"toolResult": {"toolUseId": "1", "content": [{"json": object()}]}}], [{}], None],
)
def test_what_is_not_of_converses_shape_is_not_guessed_at(content: Any) -> None:
    """An object that JSON doesn't have, an empty block, no list: an error that the flow expects."""
    with pytest.raises((LookupError, TypeError, AttributeError, StopIteration)):
        outline({"messages": [{"role": "user", "content": content}]})


# --- outlines ---------------------------------------------------------------------------------------------------


def test_an_outline_sums_tokens() -> None:
    """Tokens are cumulative; where only the tokens of the blocks are known, there is nothing to correct them by."""
    blocks = [Block("system", None, "text", bytes([index]), 100) for index in range(3)]
    plain = Outline.of_blocks(blocks)
    assert [plain.tokens_to(index) for index in (-1, 0, 1, 2)] == [0, 100, 200, 300]
    assert plain.corrected(np.full(WIDTH, 9.0, np.float32)) == plain
    assert plain.prefix(1) == Prefix(1, b"\x01", 200)
    assert plain.counted


def test_what_cannot_be_counted_reaches_any_minimum() -> None:
    """A prefix with a PDF or an image counts as above the minimum; one before it does not."""
    kinds = [("text", 10), ("pdf", None), ("text", 10)]
    mixed = Outline.of_blocks(Block("messages", "user", kind, kind.encode(), tokens) for kind, tokens in kinds)
    assert [mixed.reaches(index, 1_024) for index in range(3)] == [False, True, True]
    assert mixed.reaches(0, None)
    assert not mixed.counted
    assert mixed.tokens == 20


def test_an_outline_of_nothing() -> None:
    """A request without content has an outline without blocks."""
    empty = outline({"modelId": "m"})
    assert empty.blocks == ()
    assert (empty.tokens, empty.counted, empty.in_tool_loop) == (0, True, False)


def test_the_turn_stays_the_same_through_a_tool_loop() -> None:
    """Its name depends on what was asked and on what came before, not on the calls and results since.

    Where there are no tools there is no loop, and nothing is named.
    """
    asked = {"messages": [{"role": "user", "content": [{"text": "Which trains?"}]}]}
    call = {"role": "assistant", "content": [{"toolUse": {"toolUseId": "1", "name": "a", "input": {}}}]}
    result = {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"text": "07:12"}]}}]}
    looping = {"messages": [*asked["messages"], call, result]}
    again = {"messages": [*looping["messages"], call, result]}
    answered = {"messages": [*looping["messages"], {"role": "assistant", "content": [{"text": "07:12."}]}]}
    next_turn = {"messages": [*answered["messages"], {"role": "user", "content": [{"text": "Thanks."}]}]}
    tools = {"toolConfig": {"tools": [{"toolSpec": {"name": "a", "inputSchema": {"json": {}}}}]}}
    turns = [outline({**one, **tools}).turn for one in (asked, looping, again, next_turn)]
    loops = [outline({**one, **tools}).in_tool_loop for one in (asked, looping, again, next_turn)]
    assert turns[0] == turns[1] == turns[2] != turns[3]
    assert loops == [False, True, True, False]
    assert outline(asked).turn is None


def test_the_question_is_the_turns_last_text() -> None:
    """Texts before it are mostly pasted; a last text of next to nothing leaves them in."""

    def question(*texts: str) -> str:
        return Prompt({"messages": [{"role": "user", "content": [{"text": text} for text in texts]}]}).question()

    assert question("A long handbook.", "What protects a section?") == "What protects a section?"
    assert question("What protects a section?", "Thanks!") == "What protects a section?\nThanks!"
    assert Prompt({"messages": []}).question() == ""
    assert Prompt.of_text("Hi").question() == "Hi"


# --- cache points -----------------------------------------------------------------------------------------------


def test_the_callers_points_are_found() -> None:
    """Each behind the block that it follows; without `ttl` it is one of five minutes."""
    given = request()
    given["toolConfig"]["tools"].append(POINT)
    given["system"].insert(1, HOUR)
    given["messages"][0]["content"].append({"cachePoint": {"type": "default", "ttl": "5m"}})
    found = outline(given)
    assert found.points == (CachePoint(1, "5m"), CachePoint(2, "1h"), CachePoint(5, "5m"))
    assert not found.misplaced


@pytest.mark.parametrize(
    ("system", "content", "points"),
    [
        ([], [POINT, {"text": "Hi"}], ()),
        ([{"text": "Be brief."}], [POINT, {"text": "Hi"}], (CachePoint(0, "5m"),)),
        ([{"text": "Be brief."}, POINT], [HOUR, {"text": "Hi"}], (CachePoint(0, "1h"),)),
        ([], [{"text": "Hi"}, HOUR, POINT], (CachePoint(0, "1h"),)),
    ],
    ids=["first of all", "first in messages", "on either side", "doubled"],
)
def test_misplaced_points_mark_the_prefix_that_they_meant(
    system: list[Request], content: list[Request], points: tuple[CachePoint, ...]
) -> None:
    """First in its list a point means the end of the list before; of two in one place the longer TTL holds."""
    found = outline({"system": system, "messages": [{"role": "user", "content": content}]})
    assert found.points == points
    assert found.misplaced


def test_a_ttl_that_there_is_not_is_refused() -> None:
    """The error names the TTL and those that there are."""
    given = {"system": [{"text": "x"}, {"cachePoint": {"type": "default", "ttl": "1d"}}]}
    with pytest.raises(InvalidRequestError, match=r"'1d'.*5m, 1h"):
        outline(given)


def test_points_are_laid_and_taken_out_again() -> None:
    """with_cache_points replaces all points; without_cache_points gives back what there was without any."""
    given = request()
    plain = copy.deepcopy(given)
    given["system"].append(HOUR)
    laid = Prompt(given).with_cache_points([CachePoint(1, "1h"), CachePoint(3), CachePoint(7)])
    assert laid["toolConfig"]["tools"][2] == HOUR
    assert laid["system"][2] == POINT
    assert laid["messages"][2]["content"][1] == POINT
    assert outline(laid).points == (CachePoint(1, "1h"), CachePoint(3), CachePoint(7))
    assert Prompt(laid).without_cache_points() == Prompt(given).without_cache_points() == plain


def test_laying_points_leaves_the_callers_request_alone() -> None:
    """The new request shares what doesn't change, and nothing that does."""
    given = request()
    before = copy.deepcopy(given)
    laid = Prompt(given).with_cache_points([CachePoint(3), CachePoint(5)])
    assert given == before
    assert laid["toolConfig"] is given["toolConfig"]
    assert laid["messages"][2] is given["messages"][2]
    assert laid["messages"][0] is not given["messages"][0]


def test_tuples_are_as_good_as_lists() -> None:
    """botocore takes tuples, and so do we."""
    given = request()
    as_tuples = {
        **given,
        "system": tuple(given["system"]),
        "messages": tuple({**message, "content": tuple(message["content"])} for message in given["messages"]),
    }
    assert digests(as_tuples) == digests(given)
    laid = Prompt(as_tuples).with_cache_points([CachePoint(3), CachePoint(7)])
    assert list(laid["system"]) == [*given["system"], POINT]


# --- check ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"inferenceConfig": {"temperature": 1.01}},
        {"inferenceConfig": {"temperature": float("nan")}},
        {"inferenceConfig": {"topP": -1}},
    ],
)
def test_values_that_bedrock_would_not_take_are_refused(wrong: Request) -> None:
    """Ranges, which botocore does not look at."""
    with pytest.raises(InvalidRequestError):
        Prompt(wrong).check()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"inferenceConfig": {"temperature": 0, "topP": 1.0}},
        {"inferenceConfig": {"temperature": "warm"}},
        {"inferenceConfig": None, "messages": None},
        {"messages": "text"},
        {"messages": [{"content": []}]},
    ],
)
def test_wrong_types_are_left_to_botocore(given: Request) -> None:
    """What botocore refuses better than we could passes the check."""
    Prompt(given).check()


@pytest.mark.parametrize(
    ("volatile_at", "expected"), [(None, None), ((0, 0), 4), ((0, 1), 5), ((2, 0), 7), ((2, 1), 8)]
)
def test_what_is_volatile_is_told_in_blocks(volatile_at: tuple[int, int] | None, expected: int | None) -> None:
    """Counted from the beginning of the prompt, tools and system first; digests and tokens stay what they were."""
    of = request()
    volatile = Prompt(of, volatile_at).outline(EstimatedTokens(), key=KEY)
    assert volatile.volatile_from == expected
    assert volatile._replace(volatile_from=None) == outline(of)


def test_cache_points_are_no_blocks_where_what_is_volatile_is_counted() -> None:
    """A caller's point before it doesn't move it."""
    of = request()
    of["system"].append(POINT)
    of["messages"][0]["content"].append(POINT)
    assert Prompt(of, (2, 0)).outline(EstimatedTokens(), key=KEY).volatile_from == 7
