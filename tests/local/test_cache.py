"""The endpoint's prompt cache: reads, writes, TTLs, look-back, and what makes a prefix another one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.catalog import CacheRules
from pointsman.local import LocalEndpoint
from pointsman.local.blocks import CachePoint
from pointsman.local.cache import PrefixCache

HAIKU = "us.anthropic.claude-haiku-5-5"
SONNET_46 = "us.anthropic.claude-sonnet-4-6"
NOVA = "us.amazon.nova-lite-v1:0"
POINT = {"cachePoint": {"type": "default"}}
POINT_1H = {"cachePoint": {"type": "default", "ttl": "1h"}}
QUESTION = {"text": "What is it?"}
Usage = dict[str, Any]
Ask = Callable[..., Usage]
CLAUDE_RULES = CacheRules(
    minimum_tokens=10,
    max_points=4,
    sections=frozenset({"tools", "system", "messages"}),
    ttls=("5m", "1h"),
    lookback_blocks=20,
    with_tool_results=True,
)


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def assistant(*content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def tool(description: str) -> dict[str, Any]:
    return {"toolSpec": {"name": "look", "description": description, "inputSchema": {"json": {"type": "object"}}}}


@pytest.fixture
def ask(runtime: Any) -> Ask:
    """ask(*content, ...) sends one user message, or `messages`, and gives back the usage."""

    def send(*content: dict[str, Any], model: str = HAIKU, **members: Any) -> Usage:
        members.setdefault("messages", [user(*content)])
        usage: Usage = runtime.converse(modelId=model, **members)["usage"]
        return usage

    return send


def read(usage: Usage) -> int:
    return int(usage["cacheReadInputTokens"])


def written(usage: Usage) -> int:
    return int(usage["cacheWriteInputTokens"])


def test_the_first_request_writes_and_the_second_reads(ask: Ask, text: Callable[..., str]) -> None:
    first = ask({"text": text(596)}, POINT, QUESTION)
    assert first["inputTokens"] == 4
    assert (read(first), written(first)) == (0, 600)
    assert first["cacheDetails"] == [{"ttl": "5m", "inputTokens": 600}]
    assert first["totalTokens"] == 604 + first["outputTokens"]
    second = ask({"text": text(596)}, POINT, {"text": "And now?"})
    assert (read(second), written(second), second["inputTokens"]) == (600, 0, 3)
    assert "cacheDetails" not in second
    assert second["totalTokens"] == 603 + second["outputTokens"]


def test_each_point_that_is_reached_gets_an_entry(ask: Ask, text: Callable[..., str]) -> None:
    first = ask({"text": text(696)}, POINT, {"text": text(100, "dolor")}, POINT, QUESTION)
    assert written(first) == 800
    shorter = ask({"text": text(696)}, POINT, QUESTION)
    assert (read(shorter), written(shorter)) == (700, 0)
    longer = ask({"text": text(696)}, {"text": text(100, "dolor")}, {"text": text(50, "sit")}, POINT, QUESTION)
    assert (read(longer), written(longer)) == (800, 50)


def test_tools_system_and_messages_are_one_prefix_in_this_order(ask: Ask, text: Callable[..., str]) -> None:
    request = {
        "toolConfig": {"tools": [tool(text(600)), POINT]},
        "system": [{"text": text(100)}, POINT],
        "messages": [user({"text": text(96)}, POINT, QUESTION)],
    }
    first = ask(**request)
    assert written(ask(**{**request, "system": [{"text": text(100, "other")}, POINT]})) == 200
    tools = written(first) - 200
    assert tools > 600
    assert read(ask(**request)) == written(first)
    assert read(ask(QUESTION, toolConfig=request["toolConfig"])) == tools
    changed = ask(**{**request, "toolConfig": {"tools": [tool(text(601)), POINT]}})
    assert read(changed) == 0


def test_each_model_and_each_profile_has_a_cache_of_its_own(ask: Ask, text: Callable[..., str]) -> None:
    content = ({"text": text(2996)}, POINT, QUESTION)
    models = [HAIKU, "global.anthropic.claude-haiku-5-5", "anthropic.claude-haiku-5-5", SONNET_46, NOVA]
    assert [read(ask(*content, model=model)) for model in models] == [0] * 5
    assert [read(ask(*content, model=model)) for model in models] == [3000] * 5
    arn = f"arn:aws:bedrock:us-east-1:123412341234:inference-profile/{HAIKU}"
    assert read(ask(*content, model=arn)) == 3000


def test_an_application_profile_has_a_cache_of_its_own(text: Callable[..., str]) -> None:
    arn = "arn:aws:bedrock:us-east-1:123412341234:application-inference-profile/abc123"
    with LocalEndpoint(application_profiles={arn: HAIKU}) as endpoint:
        runtime = endpoint.client()
        messages = [user({"text": text(596)}, POINT, QUESTION)]

        def read_by(model: str) -> int:
            return read(runtime.converse(modelId=model, messages=messages)["usage"])

        assert [read_by(HAIKU), read_by(arn), read_by(HAIKU), read_by(arn)] == [0, 0, 600, 600]


@pytest.mark.parametrize(("point", "ttl"), [(POINT, 300), (POINT_1H, 3600)])
def test_an_entry_lives_until_its_ttl_has_passed_since_its_last_read(
    point: dict[str, Any], ttl: int, endpoint: LocalEndpoint, ask: Ask, text: Callable[..., str]
) -> None:
    content = ({"text": text(596)}, point, QUESTION)
    ask(*content)
    for _ in range(3):
        endpoint.advance(ttl - 5)
        assert read(ask(*content)) == 600
    endpoint.advance(ttl + 1)
    late = ask(*content)
    assert (read(late), written(late)) == (0, 600)


def test_writes_are_told_apart_by_ttl(ask: Ask, text: Callable[..., str]) -> None:
    usage = ask(
        system=[{"text": text(600)}, POINT_1H],
        messages=[user({"text": text(96)}, POINT, QUESTION)],
    )
    assert written(usage) == 700
    assert usage["cacheDetails"] == [{"ttl": "1h", "inputTokens": 600}, {"ttl": "5m", "inputTokens": 100}]


def test_what_was_written_for_an_hour_outlives_what_was_written_for_minutes(
    endpoint: LocalEndpoint, ask: Ask, text: Callable[..., str]
) -> None:
    request = {
        "system": [{"text": text(600)}, POINT_1H],
        "messages": [user({"text": text(96)}, POINT, QUESTION)],
    }
    ask(**request)
    endpoint.advance(301)
    later = ask(**request)
    assert (read(later), written(later)) == (600, 100)
    assert later["cacheDetails"] == [{"ttl": "5m", "inputTokens": 100}]


@pytest.mark.parametrize(("added", "hits"), [(0, True), (1, True), (20, True), (21, True), (22, False), (40, False)])
def test_claude_looks_back_twenty_blocks(added: int, hits: bool, ask: Ask, text: Callable[..., str]) -> None:
    ask({"text": text(596)}, POINT, QUESTION)
    more = [{"text": f"line {number}"} for number in range(added)]
    assert read(ask({"text": text(596)}, *more, POINT, QUESTION)) == (600 if hits else 0)


def test_an_earlier_point_brings_back_what_the_lookback_would_miss(ask: Ask, text: Callable[..., str]) -> None:
    ask({"text": text(596)}, POINT, QUESTION)
    more = [{"text": f"line {number}"} for number in range(30)]
    assert read(ask({"text": text(596)}, POINT, *more, POINT, QUESTION)) == 600


def test_nova_reads_only_where_a_point_stands(ask: Ask, text: Callable[..., str]) -> None:
    ask({"text": text(1596)}, POINT, QUESTION, model=NOVA)
    assert read(ask({"text": text(1596)}, {"text": "more"}, POINT, QUESTION, model=NOVA)) == 0
    assert read(ask({"text": text(1596)}, POINT, {"text": "other"}, POINT, QUESTION, model=NOVA)) == 1600


def test_a_prefix_is_matched_byte_for_byte(ask: Ask, text: Callable[..., str]) -> None:
    ask({"text": text(596)}, POINT, QUESTION)
    assert read(ask({"text": text(596) + " "}, POINT, QUESTION)) == 0
    assert read(ask({"text": text(595)}, {"text": "lorem"}, POINT, QUESTION)) == 0


def test_a_conversation_reads_all_that_came_before(runtime: Any, text: Callable[..., str]) -> None:
    messages = [user({"text": text(596)}, POINT)]
    reached, reach = 0, 600
    for _ in range(4):
        reply = runtime.converse(modelId=HAIKU, messages=messages)
        assert (read(reply["usage"]), written(reply["usage"])) == (reached, reach - reached)
        messages[-1]["content"].remove(POINT)
        messages += [reply["output"]["message"], user({"text": text(50)}, POINT)]
        reached, reach = reach, reach + 4 + reply["usage"]["outputTokens"] + 54


INVALIDATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "all"),
    "temperature": ({"inferenceConfig": {"temperature": 0.1, "maxTokens": 9}}, "all"),
    "tool choice auto": ({"toolChoice": {"auto": {}}}, "all"),
    "tool choice forced": ({"toolChoice": {"any": {}}}, "system"),
    "an image behind the point": ({"image": True}, "system"),
    "thinking": (
        {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}},
        "nothing",
    ),
    "effort": ({"additionalModelRequestFields": {"effort": "low"}}, "nothing"),
    "another field": ({"additionalModelRequestFields": {"top_k": 5}}, "all"),
    "an output schema": (
        {
            "outputConfig": {
                "textFormat": {
                    "type": "json_schema",
                    "structure": {"jsonSchema": {"schema": '{"type": "object"}', "name": "any"}},
                }
            }
        },
        "nothing",
    ),
}


@pytest.mark.parametrize("change", INVALIDATIONS)
def test_what_invalidates_messages_and_what_invalidates_all(change: str, ask: Ask, text: Callable[..., str]) -> None:
    """Sonnet 4.6 takes all of these; its tool is called only where it is forced."""
    members, still_read = INVALIDATIONS[change]

    def send(*, image: bool = False, toolChoice: dict[str, Any] | None = None, **others: Any) -> Usage:
        picture = [{"image": {"format": "png", "source": {"bytes": b"png"}}}] if image else []
        choice = {"toolChoice": toolChoice} if toolChoice else {}
        return ask(
            model=SONNET_46,
            system=[{"text": text(2400)}, POINT],
            messages=[user({"text": text(596)}, POINT, *picture, QUESTION)],
            toolConfig={"tools": [tool("zzz")], **choice},
            **others,
        )

    everything = written(send())
    assert read(send(**members)) == {"all": everything, "system": everything - 600, "nothing": 0}[still_read]


def test_what_is_in_flight_cannot_be_read_yet(text: Callable[..., str]) -> None:
    with LocalEndpoint(latency_ms=300) as endpoint:
        runtime = endpoint.client(config=Config(max_pool_connections=8))
        together = threading.Barrier(4)

        def send(_: int) -> Usage:
            together.wait()
            usage: Usage = runtime.converse(modelId=HAIKU, messages=[user({"text": text(596)}, POINT, QUESTION)])[
                "usage"
            ]
            return usage

        with ThreadPoolExecutor(4) as threads:
            usages = list(threads.map(send, range(4)))
        assert [written(usage) for usage in usages] == [600] * 4
        together = threading.Barrier(1)
        assert read(send(0)) == 600


def points(*after: tuple[int, str]) -> list[CachePoint]:
    return [
        CachePoint(after=end, ttl=ttl, section="messages", position=end, pointer="", message=0) for end, ttl in after
    ]


def test_the_cache_is_bounded_and_says_what_it_dropped() -> None:
    cache = PrefixCache(max_entries=2)
    dropped = []
    for number in range(4):
        chain = [b"root", bytes([number])]
        plan = cache.plan(chain=chain, tokens=[10], points=points((1, "5m")), rules=CLAUDE_RULES, now=0)
        dropped += cache.commit(plan, now=0)
    assert len(cache) == 2
    assert dropped == ["00", "01"]


def test_expired_entries_are_named_once() -> None:
    cache = PrefixCache()
    chain = [b"root", b"a", b"b"]
    plan = cache.plan(chain=chain, tokens=[10, 10], points=points((1, "1h"), (2, "5m")), rules=CLAUDE_RULES, now=0)
    cache.commit(plan, now=0)
    assert cache.expire(now=299) == []
    assert cache.expire(now=300) == [b"b".hex()]
    assert cache.expire(now=3600) == [b"a".hex()]
    assert cache.expire(now=9999) == []


@settings(max_examples=500)
@given(
    tokens=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    conversation=st.lists(st.tuples(st.integers(1, 40), st.sets(st.integers(1, 40), max_size=4)), max_size=12),
)
def test_reads_writes_and_the_rest_add_up(tokens: list[int], conversation: list[tuple[int, set[int]]]) -> None:
    cache = PrefixCache()
    for now, (length, ends) in enumerate(conversation):
        length = min(length, len(tokens))
        chain = [bytes([index]) for index in range(length + 1)]
        marks = points(*((end, "5m") for end in sorted(ends) if end <= length))
        plan = cache.plan(chain=chain, tokens=tokens[:length], points=marks, rules=CLAUDE_RULES, now=now)
        assert plan.uncached_tokens + plan.read_tokens + plan.write_tokens == sum(tokens[:length])
        assert min(plan.uncached_tokens, plan.read_tokens, plan.write_tokens) >= 0
        assert (plan.read is None) == (plan.read_tokens == 0) or plan.read_tokens == 0
        again = cache.plan(chain=chain, tokens=tokens[:length], points=marks, rules=CLAUDE_RULES, now=now)
        assert again == plan
        cache.commit(plan, now=now)
        warm = cache.plan(chain=chain, tokens=tokens[:length], points=marks, rules=CLAUDE_RULES, now=now)
        assert warm.write_tokens == 0
        assert warm.read_tokens == plan.read_tokens + plan.write_tokens
