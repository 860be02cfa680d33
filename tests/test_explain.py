"""Why a request is cached as it is, and what broke a conversation's cache: ten of them, each found and each healed."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from broken_conversations import (
    HAIKU,
    POINT,
    RULES,
    SONNET,
    TEN,
    Broken,
    Request,
    assistant,
    messages,
    request,
    tool,
    user,
)

from pointsman import Catalog, Client, TraceLog, Usage
from pointsman.cache import Ledger, place
from pointsman.cache.misses import RefusedPoint
from pointsman.cache.placement import weighed
from pointsman.cache.returns import SPANS, Returns
from pointsman.cache.reuse import Reuse
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.asked import in_order, read_log, read_requests
from pointsman.evaluation.causes import causes_of
from pointsman.evaluation.difference import difference
from pointsman.evaluation.explanation import Annotated, annotate
from pointsman.evaluation.findings import Told
from pointsman.evaluation.parting import Parting
from pointsman.local import LocalEndpoint
from pointsman.prompt import Prompt
from pointsman.tokens import EstimatedTokens

HAIKU_4_5 = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
HOUR = {"cachePoint": {"type": "default", "ttl": "1h"}}
NOVA, LLAMA = "amazon.nova-pro-v1:0", "meta.llama3-1-70b-instruct-v1:0"
CATALOG = Catalog.default()


def explained(tmp_path: Path, *requests: Request, model: str | None = None) -> Told:
    """The conversation of these requests, as a file would hold them."""
    path = tmp_path / "requests.json"
    path.write_text(json.dumps(requests))
    found = read_requests(path)
    assert found is not None
    told = causes_of(in_order(found), model=CATALOG.resolve(model) if model else None, one_conversation=True)
    (conversation,) = told.conversations
    return conversation


def annotated(one: Request, model: str = HAIKU, **options: Any) -> Annotated:
    return annotate(one, CATALOG.resolve(model), **options)


# --- the ten ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", TEN, ids=lambda broken: broken.name)
def test_what_broke_the_cache_is_named_first(tmp_path: Path, broken: Broken) -> None:
    """The cause, its place, the first request that it broke, and nothing else; it cost something, if it was billed."""
    told = explained(tmp_path, *broken.requests(True))
    assert told.broken
    first = told.findings[0]
    assert (first.cause.what, first.cause.where, first.requests[0]) == (broken.what, broken.where, broken.first)
    if broken.what == "refused point":
        assert (first.lost_tokens, first.lost) == (0, None)
    else:
        assert first.lost_tokens > 250
        assert first.lost is not None and first.lost > 0
    assert len(told.findings) == 1
    assert first.cause.advice.endswith(".")


@pytest.mark.parametrize("broken", TEN, ids=lambda broken: broken.name)
def test_the_same_conversation_without_the_fault_is_unbroken(tmp_path: Path, broken: Broken) -> None:
    """Each request but the first reads something, and no cause is named."""
    told = explained(tmp_path, *broken.requests(False))
    assert not told.broken
    assert all(one.usage.cache_read_tokens for one in told.passed[1:])


def test_ten_are_told_apart() -> None:
    """By ten causes."""
    assert len({broken.what for broken in TEN}) == len(TEN) == 10


def test_what_is_declared_one_conversation_needs_no_evidence(tmp_path: Path) -> None:
    """Another system prompt and a short question: in a log it is another application."""
    requests = [{"system": [{"text": text}], "messages": [user("Why?")]} for text in (RULES, RULES[::-1] * 2)]
    (finding,) = explained(tmp_path, *requests, model=HAIKU).findings
    assert (finding.cause.what, finding.cause.where) == ("another text", "block 0 of system")
    log = read_log(_lines(tmp_path / "log.jsonl", *requests), skipped=Counter())
    assert not any(one.broken for one in causes_of(log, model=CATALOG.resolve(HAIKU)).conversations)


def test_what_is_read_all_the_same_is_not_lost(tmp_path: Path) -> None:
    """The system prompt is read; what was written behind it is lost."""
    (fan_out,) = [broken for broken in TEN if broken.what == "look-back exceeded"]
    first, second = (told := explained(tmp_path, *fan_out.requests(True))).passed
    assert second.usage.cache_read_tokens > 0
    assert told.findings[0].lost_tokens == first.usage.cache_write_tokens - second.usage.cache_read_tokens


def test_what_bedrock_refuses_comes_before_what_is_dearer(tmp_path: Path) -> None:
    """Such a request isn't answered at all."""
    requests = [
        request(turn, system=[{"text": f"Now: 9:1{turn}. {RULES}"}, POINT], messages=messages(turn + 1))
        for turn in range(5)
    ]
    document = {"document": {"format": "txt", "name": "a", "source": {"text": "All trains."}}}
    requests[4]["messages"][-1]["content"] = [document, POINT, {"text": "Why?"}]
    found = explained(tmp_path, *requests).findings
    assert [one.cause.what for one in found] == ["refused point", "a timestamp"]
    assert found[0].lost_tokens < found[1].lost_tokens


def test_a_refused_request_is_neither_billed_nor_cached(tmp_path: Path) -> None:
    """What is sent after it has nothing to read; and a request that was billed was not refused."""
    content = [POINT, *messages(1)[0]["content"]]
    requests = [request(0, messages=[{"role": "user", "content": content}]), request(1)]
    first, second = explained(tmp_path, *requests).passed
    assert first.cause is not None and isinstance(first.cause.reason, RefusedPoint)
    assert (first.usage, second.usage.cache_read_tokens, second.cause) == (Usage(), 0, None)
    billed = read_log(_lines(tmp_path / "log.jsonl", *requests), skipped=Counter())
    billed[0] = billed[0]._replace(recorded=billed[0].recorded._replace(usage=Usage(input_tokens=3_000)))
    (told,) = causes_of(billed[:1]).conversations
    assert not told.broken


def _document_then_point() -> Request:
    document = {"document": {"format": "txt", "name": "a", "source": {"text": RULES}}}
    return {"messages": [{"role": "user", "content": [document, POINT, {"text": "Why?"}]}]}


@pytest.mark.parametrize(
    ("changed", "model", "where", "says"),
    [
        ({"system": [POINT, {"text": RULES}]}, HAIKU, "", "right behind a block, and one only"),
        ({"system": [{"text": RULES}, POINT, POINT]}, HAIKU, "", "right behind a block, and one only"),
        (_document_then_point(), HAIKU, "messages", "Put it behind a text"),
        ({"system": [{"text": RULES}, POINT] * 5}, HAIKU, "system", "Leave out those between"),
        ({"system": [{"text": RULES}, POINT, {"text": RULES}, HOUR]}, HAIKU, "system", "no point a longer TTL"),
        ({"system": [{"text": RULES}, HOUR]}, NOVA, "system", "no point a longer TTL"),
        ({"toolConfig": {"tools": [tool("fares"), POINT]}}, NOVA, "tools", "at the end of the system prompt, or of"),
    ],
)
def test_what_is_advised_fits_the_refusal(tmp_path: Path, changed: Request, model: str, where: str, says: str) -> None:
    """Each of Bedrock's rules has a remedy of its own."""
    (finding,) = explained(tmp_path, request(0, **changed), request(1), model=model).findings
    assert (finding.cause.what, finding.cause.where, finding.requests) == ("refused point", where, (0,))
    assert "refused (400)" in finding.cause.advice and says in finding.cause.advice
    assert "became" not in finding.cause.advice


def long_chat(turn: int) -> list[Request]:
    """A history of which each turn alone is worth a cache point."""
    return [one for n in range(turn) for one in (user(f"{n}? {RULES}"), assistant(f"{n}. {RULES}"))] + [user("Why?")]


@pytest.mark.parametrize(
    ("pointed", "what", "first"),
    [(range(9), "not written", 2), ((0,), "no point", 1)],
    ids=["system only", "once only"],
)
def test_a_history_that_no_point_caches_is_told(tmp_path: Path, pointed: Iterable[int], what: str, first: int) -> None:
    """The caller's points stand behind the system prompt only: what grows behind it is paid for in full each time."""
    requests = [
        request(turn, system=[{"text": RULES}, *[POINT] * (turn in pointed)], messages=long_chat(turn))
        for turn in range(9)
    ]
    (finding,) = explained(tmp_path, *requests).findings
    assert (finding.cause.what, finding.requests[0]) == (what, first)
    assert finding.cause.advice.endswith("Put a cache point at the end of the last message.")
    assert finding.requests == tuple(range(first, 9))


def test_short_chats_are_not_broken(tmp_path: Path) -> None:
    """There is nothing to cache in them, nor would there be with a little more."""
    chats = [request(turn, toolConfig={}, system=[], messages=[user(f"Hello {turn}")]) for turn in range(3)]
    assert not explained(tmp_path, *chats).broken
    log = read_log(_lines(tmp_path / "log.jsonl", *chats), skipped=Counter())
    assert not any(one.broken for one in causes_of(log).conversations)


def test_a_first_request_loses_nothing(tmp_path: Path) -> None:
    """Nothing could have written what it might have read; a later one loses what was sent before, and no more."""
    told = explained(tmp_path, *[request(turn) for turn in range(3)], model=HAIKU_4_5)
    (finding,) = told.findings
    assert (finding.cause.what, finding.requests) == ("below minimum", (1, 2))
    assert finding.lost_tokens == sum(one.usage.input_tokens for one in told.passed[:2])


def test_a_change_beside_a_switch_or_a_passed_ttl_is_told_too(tmp_path: Path) -> None:
    """Each would have been enough; in a log it stays one conversation."""
    stamped = TEN[0].requests(True)
    late = [{**one, "at": one["at"] + 7200.0 * (turn >= 3)} for turn, one in enumerate(stamped)]
    switched = [{**one, "modelId": SONNET if turn == 3 else HAIKU} for turn, one in enumerate(stamped)]
    for requests, what in ((late, "TTL passed"), (switched, "model switched")):
        found = {one.cause.what: one for one in explained(tmp_path, *requests).findings}
        assert set(found) == {what, "a timestamp"}
        assert found[what].requests == (3,) and found["a timestamp"].requests == (1, 2, 4)
        assert "Besides, block 1 of system differs: a timestamp." in found[what].cause.advice
    (told,) = causes_of(read_log(_lines(tmp_path / "log.jsonl", *late), skipped=Counter())).conversations
    assert len(told.passed) == 5


def test_requests_of_one_moment_have_not_waited_for_each_other(tmp_path: Path) -> None:
    """A log tells when they came, and all of them wrote."""
    requests = [request(0, system=[{"text": RULES}, POINT], messages=[user(f"And {n}?")]) for n in range(3)]
    log = read_log(_lines(tmp_path / "log.jsonl", *requests), skipped=Counter())
    usage = Usage(input_tokens=3_200, cache_write_tokens=3_189)
    log = [one._replace(recorded=one.recorded._replace(usage=usage)) for one in log]
    found = [finding for one in causes_of(log).conversations for finding in one.findings]
    assert [one.cause.what for one in found] == ["written concurrently"] * 2


def _with_ids(turn: int) -> list[Request]:
    """Tool results whose ids are made anew with each request."""
    told = messages(turn + 1)
    for number, one in enumerate(told[2::2]):
        one["content"] = [{"text": f"Request {UUID(int=7**40 * (turn * 9 + number))}. {RULES[:2_000]}"}]
    return told


def _shortened(turn: int) -> list[Request]:
    told = messages(turn + 1)
    if turn >= 3:
        told[1] = assistant("(shortened)")
    return told


@pytest.mark.parametrize(
    ("history", "what", "requests"), [(_with_ids, "an id", (2, 3, 4)), (_shortened, "a rewritten history", (3,))]
)
def test_a_history_that_breaks_is_one_conversation_in_a_log_too(
    tmp_path: Path, history: Callable[[int], list[Request]], what: str, requests: tuple[int, ...]
) -> None:
    """Found by its texts, as where it is declared to be one."""
    path = _lines(tmp_path / "log.jsonl", *[request(turn, messages=history(turn)) for turn in range(5)])
    (told,) = causes_of(read_log(path, skipped=Counter())).conversations
    assert [(one.cause.what, one.requests) for one in told.findings] == [(what, requests)]


# --- where two requests part --------------------------------------------------------------------------------------


def part(tmp_path: Path, before: Request, after: Request) -> Parting:
    """Where the second request parts from the first."""
    found = explained(tmp_path, before, after).passed[1].parting
    assert found is not None
    return found


def test_the_first_byte_is_counted_in_the_block(tmp_path: Path) -> None:
    """As UTF-8 beside the characters; what stands around it only where it is asked for."""
    before, after = (
        request(0, system=[{"text": RULES}, {"text": f"Grüezi. Now: {time}"}]) for time in ("9:15", "9:16")
    )
    found = part(tmp_path, before, after)
    assert found.found is not None
    assert (found.section, found.block, found.message) == ("system", 1, None)
    assert (found.found.byte, found.found.character) == (17, 16)
    assert found.what == "a timestamp"
    assert "excerpts" not in found.to_dict()
    assert found.to_dict(show_text=True)["excerpts"] == ["Grüezi. Now: 9:15", "Grüezi. Now: 9:16"]
    outline = Prompt(before).outline(EstimatedTokens())
    assert found.common_tokens == outline.tokens_to(3)


def test_what_is_lost_costs_a_write_instead_of_a_read(tmp_path: Path) -> None:
    """Tokens that were written for five minutes, at the difference of the two prices."""
    before, after = (
        request(turn, system=[{"text": f"{RULES} Version {turn}."}, POINT], messages=messages(turn + 1))
        for turn in range(2)
    )
    told = explained(tmp_path, before, after)
    (finding,) = told.findings
    price = CATALOG.resolve(HAIKU).price
    assert price is not None and price.cache_read is not None
    assert finding.lost_tokens == told.passed[0].usage.cache_write_tokens > 0
    assert finding.lost == (price.cache_write["5m"] - price.cache_read) * finding.lost_tokens / Decimal(1_000_000)


@pytest.mark.parametrize(
    ("before", "after", "what", "field"),
    [
        ("It is 2026-11-24 09:15:01.", "It is 2026-11-24 09:15:02.", "a timestamp", None),
        ("Today: 24 November", "Today: 25 November", "a timestamp", None),
        ("Date 2026-11-24.", "Date 2026-12-24.", "a timestamp", None),
        ("At 1795511111 sharp", "At 1795511171 sharp", "a timestamp", None),
        ("ts=1795511111.123;", "ts=1795511171.123;", "a timestamp", None),
        ("As of 2026/11/24.", "As of 2026/11/25.", "a timestamp", None),
        ("Today is Monday.", "Today is Tuesday.", "a timestamp", None),
        ("Stamp 20261124T091000Z", "Stamp 20261124T091100Z", "a timestamp", None),
        ("現在は2026年11月24日です", "現在は2026年11月25日です", "a timestamp", None),
        ("Heute ist der 3. März 2026", "Heute ist der 4. März 2026", "a timestamp", None),
        ("It is 1 o'clock PM.", "It is 2 o'clock PM.", "a timestamp", None),
        ("nonce ab12", "nonce cd34", "an id", None),
        ("You have 2 decisions left", "You have 3 decisions left", "a number", None),
        ("Track 2 is free until 9:15", "Track 3 is free until 9:15", "a number", None),
        ("You may go on Monday", "You may go on foot", None, None),
        ("Session id: a81f3", "Session id: 77c0e", "an id", None),
        ("Trace req_8f3kQ2x91b.", "Trace req_7a0pL4y88c.", "an id", None),
        ("Call 17 of many", "Call 18 of many", "a number", None),
        ("Be brief.  Be kind.", "Be brief. Be kind.", "whitespace", None),
        ("Trains: A, B, C", "Trains: C, A, B", "the same words in another order", None),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', "another order of keys", None),
        ("On 2026-11-24 09:15 for Ann.", "On 2026-11-24 09:15 for Bea.", None, None),
        ("You are kind.", "You are stern.", None, None),
    ],
)
def test_what_differs_in_a_text_is_told_by_its_class(before: str, after: str, what: str | None, field: None) -> None:
    """By what stands where the two begin to differ; a time that is the same in both is no reason."""
    found = difference({"text": before}, {"text": after})
    assert found is not None
    assert (found.what, found.field) == (what, field)


def _use(**changed: Any) -> Request:
    return {"toolUse": {"toolUseId": "t1", "name": "arrivals", "input": {"a": 1, "b": 2}, **changed}}


@pytest.mark.parametrize(
    ("before", "after", "what", "field"),
    [
        (_use(), _use(toolUseId="t2"), "an id", "toolUse.toolUseId"),
        (_use(), _use(input={"b": 2, "a": 1}), "another order of keys", None),
        (_use(), _use(input={"secret": 2}), None, "toolUse.input"),
        (tool("arrivals"), tool("arrivals", track={}), "a changed schema", "toolSpec.inputSchema.json"),
    ],
)
def test_what_differs_in_other_blocks_is_told_by_field(
    before: Request, after: Request, what: str | None, field: str | None
) -> None:
    """By Converse's names; the caller's own are not told."""
    found = difference(before, after)
    assert found is not None and found.what == what
    assert field is None or found.field == field


@pytest.mark.parametrize(
    ("changed", "section", "block", "what"),
    [
        ({"toolConfig": {"tools": [tool("departures"), tool("arrivals")]}}, "system", 0, "a tool removed"),
        ({"toolConfig": {"tools": [tool("departures"), tool("platforms")]}}, "tools", 1, "a tool removed"),
        ({"toolConfig": {"tools": [tool("fares"), *request(0)["toolConfig"]["tools"]]}}, "tools", 0, "a tool added"),
        ({"toolConfig": {"tools": [*request(0)["toolConfig"]["tools"], tool("fares")]}}, "tools", 3, "a tool added"),
        ({"toolConfig": {"tools": [tool("fares")]}}, "tools", 0, "another tool"),
        ({"toolConfig": {**request(0)["toolConfig"], "toolChoice": {"any": {}}}}, "messages", 0, "the tool choice"),
        (
            {"additionalModelRequestFields": {"thinking": {"type": "enabled"}}},
            "tools",
            0,
            "thinking, effort or the output schema",
        ),
        ({"system": [{"text": "Be kind."}, *request(0)["system"]]}, "system", 0, "a block added"),
        ({"system": request(0)["system"][1:]}, "system", 0, "a block removed"),
        ({"system": request(0)["system"][::-1]}, "system", 0, "blocks in another order"),
        ({"system": [{"text": RULES}, {"text": "Answer at length."}]}, "system", 1, "another text"),
        ({"messages": [*messages(3)[:4], user("Another one?")]}, "messages", 4, "another question"),
        ({"messages": [*messages(3)[:4], user("Another?"), *messages(4)[5:]]}, "messages", 4, "a rewritten history"),
        ({"messages": [user("Shortened."), *messages(4)[1:]]}, "messages", 0, "a rewritten history"),
        ({"messages": [user("What was said so far."), *messages(4)[3:]]}, "messages", 0, "a trimmed history"),
        ({"messages": [user("Hello."), assistant("Yes?"), *messages(4)]}, "messages", 0, "a block added"),
    ],
)
def test_what_was_done_to_the_items_is_told(
    tmp_path: Path, changed: Request, section: str, block: int, what: str
) -> None:
    """Added, removed, reordered, or changed in place; and what stands beside all blocks."""
    found = part(tmp_path, request(2), request(2, **changed))
    assert (found.section, found.block, found.what) == (section, block, what)
    assert found.advice.endswith(".")


def test_two_causes_are_both_told(tmp_path: Path) -> None:
    """The first breaks the cache; once it is mended, the next one would."""
    before, after = (
        request(
            turn,
            toolConfig={"tools": [tool(name) for name in ("departures", *others)]},
            system=[{"text": f"Request {UUID(int=7**40 + turn)}. {RULES}"}, {"text": f"Now: 9:1{turn}"}],
            messages=[user(f"In {word}."), *messages(2)[1:]],
        )
        for turn, others, word in ((1, ("arrivals", "fares"), "brief"), (2, ("fares", "arrivals"), "short"))
    )
    found = part(tmp_path, before, after)
    assert (found.what, found.where) == ("a reordered tool", "block 1 of tools")
    assert [(one.where, one.what) for one in found.further] == [
        ("block 0 of system", "an id"),
        ("block 1 of system", "a timestamp"),
        ("block 0 of messages (message 0)", "a rewritten history"),
    ]
    assert found.behind.startswith("Behind it, block 0 of system differs too: an id; block 1 of system")
    assert len(found.to_dict()["further"]) == 3
    assert explained(tmp_path, before, after).findings[0].cause.advice.endswith(found.behind)
    assert part(tmp_path, request(1), request(1, messages=[user("Hi."), *messages(2)[1:]])).behind == ""


@pytest.mark.parametrize("kind", ["image", "document"])
def test_other_bytes_are_told_as_such(tmp_path: Path, kind: str) -> None:
    """Not as the hash that stands for them, nor where in it."""
    before, after = (
        {kind: {"format": "png", "name": "a", "source": {"bytes": b64encode(f"PNG {n}".encode()).decode()}}}
        for n in range(2)
    )
    requests = [
        request(
            turn, messages=[{"role": "user", "content": [one, *messages(1)[0]["content"]]}, *messages(turn + 1)[1:]]
        )
        for turn, one in enumerate((before, after))
    ]
    found = part(tmp_path, *requests)
    assert (found.what, found.found) == (f"another {kind}", None)
    assert "same bytes" in found.advice
    assert "excerpts" not in found.to_dict(show_text=True)


def test_one_cause_is_listed_once(tmp_path: Path) -> None:
    """By the place where requests part, though what was lost stood elsewhere."""
    names = ("departures", "arrivals", "platforms")
    requests = [
        request(
            turn,
            toolConfig={"tools": [tool(name) for name in names[turn % 3 :] + names[: turn % 3]]},
            system=[{"text": f"Now 9:1{turn}. {RULES}"}],
        )
        for turn in range(5)
    ]
    told = explained(tmp_path, *requests).findings
    assert {(one.cause.what, one.requests) for one in told} == {("a reordered tool", (1, 2)), ("a timestamp", (3, 4))}


def test_blocks_that_are_split_into_other_messages_are_no_setting(tmp_path: Path) -> None:
    """All blocks are the same, and so is what stands beside them."""
    split = [*messages(3)[:2], user(""), *messages(3)[2:]]
    together = [*messages(3)[:2], {"role": "user", "content": [{"text": ""}, *messages(3)[2]["content"]]}]
    found = part(tmp_path, request(2, messages=split), request(2, messages=[*together, *messages(3)[3:]]))
    assert (found.what, found.block) == ("the same blocks in other messages", 3)


@pytest.mark.parametrize(
    ("before", "after"),
    [("And section 1?", "Another one?"), ("And section 1?", "And section 2?"), ("Is it 9:15?", "Is it 9:16?")],
)
def test_another_question_breaks_nothing(tmp_path: Path, before: str, after: str) -> None:
    """It is told where the two part all the same; a number or a time in a question is no fault of it."""
    requests = [request(1, messages=[*messages(2)[:2], user(text)]) for text in (before, after)]
    told = explained(tmp_path, *requests)
    assert not told.broken
    assert told.passed[1].parting is not None and told.passed[1].parting.what == "another question"
    assert told.passed[1].usage.cache_read_tokens > 0


def test_another_question_with_the_same_words_behind_it_breaks_nothing(tmp_path: Path) -> None:
    """One picture after another, each with the same long instruction."""
    images = [{"image": {"format": "png", "source": {"bytes": b64encode(f"PNG {n}".encode()).decode()}}} for n in "ab"]
    content = [[image, {"text": f"Describe it. {RULES}"}] for image in images]
    requests = [request(turn, messages=[{"role": "user", "content": content[turn]}]) for turn in range(2)]
    assert not explained(tmp_path, *requests).broken
    log = read_log(_lines(tmp_path / "log.jsonl", *requests), skipped=Counter())
    assert not any(one.broken for one in causes_of(log).conversations)


# --- the annotated outline ----------------------------------------------------------------------------------------


def test_the_outline_has_the_points_that_place_lays() -> None:
    """Those, with their TTL, and no others; each block has a reason."""
    one, model, ledger = request(2), CATALOG.resolve(HAIKU), Ledger()
    told = annotate(one, model, ledger=ledger)
    outline = Prompt(one).outline(EstimatedTokens(), key=ledger.key)
    placed = place(outline, model, Ledger(key=ledger.key), 0.0).points
    assert placed
    assert tuple(row.point for row in told.rows if row.point is not None) == placed
    assert [row.tokens for row in told.rows] == [block.tokens for block in outline.blocks]
    assert told.rows[-1].prefix_tokens == told.tokens == outline.tokens
    assert all(row.why for row in told.rows)


def test_to_weigh_changes_no_decision() -> None:
    """A ledger that was asked lays the same points as one that wasn't."""
    model, asked, other = CATALOG.resolve(HAIKU), Ledger(key=b"k" * 32), Ledger(key=b"k" * 32)
    for turn in range(3):
        outline = Prompt(request(turn)).outline(EstimatedTokens(), key=asked.key)
        assert weighed(outline, model, asked, 60.0 * turn)
        assert place(outline, model, asked, 60.0 * turn) == place(outline, model, other, 60.0 * turn)


def _why(told: Annotated, section: str, block: int = 0) -> str:
    return [row for row in told.rows if row.section == section][block].why


def test_each_reason_is_told() -> None:
    """The model's rules first, then what it is worth."""
    one = request(0)
    assert _why(annotated(one), "tools").startswith("below the minimum: ")
    assert "takes no cache point in tools" in _why(annotated(one, NOVA), "tools")
    assert "does not cache" in _why(annotated(one, LLAMA), "system")
    assert "not needed" in _why(annotated(one), "system")
    assert "later prompts may part" in _why(annotated(one), "system", 1)
    assert _why(annotated(one), "messages").startswith("pays: back with ")
    document = {"document": {"format": "txt", "name": "rules", "source": {"text": RULES}}}
    shown = annotated(request(0, messages=[{"role": "user", "content": [document, POINT, {"text": "Why?"}]}]))
    assert "the caller's point can't stand here" in _why(shown, "messages")
    assert "after a document block" in _why(shown, "messages")
    assert any("takes no cache point after a document block" in remark for remark in shown.remarks)
    mine = annotated(request(0, system=[{"text": RULES}, POINT, {"text": "Be brief."}]))
    assert _why(mine, "system") == "placed by the caller"
    assert any(row.by_caller and row.point is not None for row in mine.rows)
    long = annotated({"messages": [user(RULES * 12)]}, NOVA)
    assert _why(long, "messages").startswith("above the maximum: ")


def test_what_does_not_pay_is_told_with_chances_and_costs() -> None:
    """A ledger in which nothing ever comes back: nothing is laid, and that is why."""
    never = Ledger(reuse=Reuse(Returns(lambda _: (0.0,) * len(SPANS))))
    why = _why(annotated(request(0), ledger=never), "messages")
    assert why.startswith("doesn't pay: back with 0% in 5m, 0% in 1h; a token costs plain 1.00, 5m 1.25")


def test_the_callers_four_points_leave_none() -> None:
    """Ours have no place any more, and that is told."""
    system = [one for n in range(5) for one in ({"text": f"{n} {RULES}"}, POINT)][:8]
    told = annotated(request(0, system=system))
    assert _why(told, "messages") == "the model takes 4 points, and the caller has placed all of them"


def test_no_text_is_told_unless_asked_for() -> None:
    """Labels tell nothing of a content but that two are the same."""
    one = request(0, system=[{"text": f"SECRET {RULES}"}, {"text": f"SECRET {RULES}"}, {"text": "Now: 9:15"}])
    told = annotated(one)
    assert "SECRET" not in json.dumps(told.to_dict())
    labels = [row.label for row in told.rows if row.section == "system"]
    assert labels[0] == labels[1] != labels[2]
    assert "SECRET" in json.dumps(annotated(one, show_text=True).to_dict())
    assert any("a timestamp" in remark for remark in told.remarks)


def test_what_stands_just_below_the_minimum_is_remarked() -> None:
    """With both numbers."""
    told = annotated({"system": [{"text": RULES[:1500]}], "messages": [user("Why?")]})
    assert any("caches none below 512" in remark for remark in told.remarks)


# --- files --------------------------------------------------------------------------------------------------------


def _lines(path: Path, *told: Request) -> Path:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in told))
    return path


def test_conversations_of_a_log_are_told_apart(tmp_path: Path) -> None:
    """One that is broken by a timestamp in its system prompt, and another application's, which is not."""
    other = [
        json.loads(json.dumps(request(turn, at=60.0 * turn + 7)).replace("Signal", "Lever").replace("section", "bolt"))
        for turn in range(4)
    ]
    stamped = TEN[0].requests(True)
    path = _lines(tmp_path / "log.jsonl", *sorted([*other, *stamped], key=lambda one: one["at"]))
    told = causes_of(read_log(path, skipped=Counter()))
    assert [(one.broken, len(one.passed)) for one in told.conversations] == [(True, 5), (False, 4)]
    (finding,) = told.conversations[0].findings
    assert (finding.cause.what, finding.cause.where) == ("a timestamp", "block 1 of system")


def test_bedrocks_own_logs_are_read_with_their_texts(tmp_path: Path) -> None:
    """So that what differs can be told; what failed is counted."""
    lines = [
        {
            "schemaType": "ModelInvocationLog",
            "schemaVersion": "1.0",
            "timestamp": f"2026-11-24T09:{turn:02}:00Z",
            "operation": "Converse",
            "modelId": HAIKU,
            "input": {"inputBodyJson": {name: one[name] for name in ("toolConfig", "system", "messages")}},
            "output": {},
        }
        for turn, one in enumerate(TEN[2].requests(True))
    ]
    skipped: Counter[str] = Counter()
    path = _lines(tmp_path / "log.jsonl", *lines, {**lines[0], "errorCode": "ThrottlingException"})
    (told,) = causes_of(read_log(path, skipped=skipped)).conversations
    assert told.findings[0].cause.what == "a changed schema"
    assert skipped == {"they failed": 1}


@pytest.mark.parametrize("broken", TEN, ids=lambda broken: broken.name)
def test_each_of_the_ten_is_found_in_a_log_too(tmp_path: Path, broken: Broken) -> None:
    """Where nobody says what is one conversation."""
    told = causes_of(read_log(_lines(tmp_path / "log.jsonl", *broken.requests(True)), skipped=Counter()))
    found = [finding for one in told.conversations for finding in one.findings]
    assert {(one.cause.what, one.cause.where) for one in found} == {(broken.what, broken.where)}
    healed = causes_of(read_log(_lines(tmp_path / "log.jsonl", *broken.requests(False)), skipped=Counter()))
    assert not any(one.broken for one in healed.conversations)


def test_requests_without_times_come_one_after_another(tmp_path: Path) -> None:
    """In the order in which they stand; those with times in that of time."""
    untimed = [{name: value for name, value in request(turn).items() if name != "at"} for turn in range(3)]
    assert [one.at for one in explained(tmp_path, *untimed).passed] == [0.0, 1.0, 2.0]
    assert [one.at for one in explained(tmp_path, request(2), request(0)).passed] == [0.0, 120.0]


def _traced(path: Path, endpoint: LocalEndpoint, boto3_client: Any, *, faulty: bool) -> list[Told]:
    client = Client(boto3_client, clock=endpoint.settings.clock, on_trace=TraceLog(path))
    for one in TEN[0].requests(faulty):
        client.converse(**{name: value for name, value in one.items() if name != "at"})
        endpoint.advance(20)
    return list(causes_of(read_log(path, skipped=Counter())).conversations)


@pytest.mark.parametrize("faulty", [True, False])
def test_our_own_traces_tell_where_without_any_text(
    tmp_path: Path, endpoint: LocalEndpoint, boto3_client: Any, faulty: bool
) -> None:
    """By the sizes of the blocks: the block is known, and not what differs in it."""
    (told,) = _traced(tmp_path / "traffic.jsonl", endpoint, boto3_client, faulty=faulty)
    assert told.broken is faulty
    if faulty:
        assert (told.findings[0].cause.what, told.findings[0].cause.where) == ("prefix changed", "block 1 of system")
        assert len(told.findings[0].requests) == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "it is no JSON"),
        ("[]", "there is no request in it"),
        ("[7]", "it is no request of Converse's shape"),
        ('{"model": "x"}', "it is no request of Converse's shape: it has no messages"),
        ('{"messages": [{"role": "user"}]}', "it has no 'content'"),
        ('{"messages": [{"role": "user", "content": "Hi"}]}', "messages[0].content is no list of blocks"),
        ('{"messages": [{"role": "user", "content": [{}]}]}', "messages[0].content is no list of blocks"),
        ('{"messages": [{"role": "me", "content": []}]}', "a message has the role 'me'"),
        ('{"messages": [{"role": "user", "content": [{"cachePoint": {"ttl": "2h"}}]}]}', "the ttl '2h'"),
        ('{"at": "soon", "messages": []}', "at is no time"),
    ],
)
def test_what_is_no_request_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """With the file's name."""
    path = tmp_path / "request.json"
    path.write_text(text)
    with pytest.raises(InvalidRequestError) as raised:
        read_requests(path)
    assert says in str(raised.value) and "request.json" in str(raised.value)


def test_bytes_are_counted_as_what_they_are(tmp_path: Path) -> None:
    """JSON has them in base64, a third longer."""
    path = tmp_path / "request.json"
    document = {"format": "txt", "name": "a", "source": {"bytes": b64encode(RULES.encode()).decode()}}
    path.write_text(json.dumps({"messages": [{"role": "user", "content": [{"document": document}]}]}))
    found = read_requests(path)
    assert found is not None
    document = {**document, "source": {"bytes": RULES.encode()}}
    outline = Prompt({"messages": [{"role": "user", "content": [{"document": document}]}]}).outline(EstimatedTokens())
    assert found[0].recorded.outline.tokens == outline.tokens


def test_a_switch_back_reads_what_is_warm(tmp_path: Path) -> None:
    """Each model has a cache of its own, and the first one's is still there."""
    requests = [request(turn, modelId=SONNET if turn == 1 else HAIKU) for turn in range(3)]
    told = explained(tmp_path, *requests)
    assert [one.cause.what if one.cause else None for one in told.passed] == [None, "model switched", None]
