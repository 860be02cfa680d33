"""Miss reasons through a real client over HTTP: each of them, from the request that brings it about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from botocore.config import Config
from pdfs import pdf

from pointsman import Catalog, Client
from pointsman.cache.misses import (
    AboveMaximum,
    BelowMinimum,
    Evicted,
    FirstRequest,
    LookbackExceeded,
    MissReason,
    ModelSwitched,
    NoPoint,
    NotWritten,
    PointsIgnored,
    PrefixChanged,
    RefusedPoint,
    TTLPassed,
    Unsupported,
    WrittenConcurrently,
)
from pointsman.local import LocalEndpoint

HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"
NOVA, LLAMA = "amazon.nova-pro-v1:0", "meta.llama3-1-70b-instruct-v1:0"
LONG = " ".join(f"Signal {number} protects section {number}." for number in range(700))
POINT = {"cachePoint": {"type": "default"}}

Request = dict[str, Any]


def user(*texts: str) -> Request:
    return {"role": "user", "content": [{"text": text} for text in texts]}


def assistant(text: str) -> Request:
    return {"role": "assistant", "content": [{"text": text}]}


def tool(name: str) -> Request:
    schema = {"type": "object", "properties": {"station": {"type": "string"}}}
    return {"toolSpec": {"name": name, "description": f"All {name} of a station", "inputSchema": {"json": schema}}}


def chat(turns: int, *, system: str = LONG, **request: Any) -> Request:
    """A conversation of so many questions, each with what was answered."""
    messages = [user("What protects section 9?")]
    for turn in range(1, turns):
        messages += [assistant(f"Signal {turn}."), user(f"And section {turn}?")]
    return {"modelId": HAIKU, "system": [{"text": system}], "messages": messages, **request}


def pointed(request: Request) -> Request:
    """The request with the caller's own points behind system prompt and messages: what gets written is his choice."""
    *history, last = request["messages"]
    messages = [*history, {**last, "content": [*last["content"], POINT]}]
    return {**request, "system": [*request["system"], POINT] if request.get("system") else [], "messages": messages}


def miss(client: Client, request: Request) -> dict[str, Any] | None:
    """The miss reason in the reply's trace, less its sentence."""
    if "cachePoint" not in json.dumps(request):
        request = pointed(request)
    trace = client.converse(**request)["pointsman"]
    assert not trace["advice_failures"]
    reason: dict[str, Any] | None = trace["miss"]
    if reason is not None:
        assert reason.pop("explanation")
    return reason


def kind(reason: dict[str, Any] | None) -> str | None:
    return reason["kind"] if reason else None


# --- nothing missed ---------------------------------------------------------------------------------------------


def test_a_conversation_that_grows_misses_nothing_after_its_first_request(client: Client) -> None:
    """The first request has nothing to read; each one after it reads what the one before has written."""
    assert [kind(miss(client, chat(turns))) for turns in (1, 2, 3)] == ["first request", None, None]


def test_a_new_conversation_under_a_known_system_prompt_misses_nothing(client: Client) -> None:
    """It reads the system prompt, and has no history that could have been read."""
    miss(client, chat(1))
    assert miss(client, {**chat(1), "messages": [user("Who are you?")]}) is None


def test_a_question_asked_anew_is_no_change(client: Client) -> None:
    """A turn that is edited and sent again, and a branch of the history, are what users do."""
    miss(client, chat(3))
    edited = chat(3)
    edited["messages"][-1] = user("Never mind. And section 77?")
    assert miss(client, edited) is None


# --- one test for each reason -----------------------------------------------------------------------------------


def test_a_first_request_is_told(client: Client) -> None:
    """There is nothing to read yet; another conversation about something else is one more."""
    assert miss(client, chat(1)) == {"kind": "first request", "tokens": None}
    other = chat(2, system=LONG.replace("Signal", "Lever"))
    other["messages"][0] = user("What does lever 9 move?")
    assert kind(miss(client, other)) == "first request"


def test_a_short_prompt_is_below_the_minimum(client: Client) -> None:
    """With the tokens that it has, as counted by Bedrock, and those that it needs."""
    reply = client.converse(modelId=HAIKU, messages=[user("Who are you?")])
    reason = reply["pointsman"]["miss"]
    assert (reason["kind"], reason["have"], reason["need"]) == ("below minimum", reply["usage"]["inputTokens"], 512)


def test_a_system_prompt_just_under_the_minimum_is_below_it(client: Client) -> None:
    """The requests as a whole reach the minimum, and what they have in common does not."""
    request = chat(1, system=LONG[:1_600])
    miss(client, {**request, "messages": [user(LONG)]})
    reason = miss(client, {**request, "messages": [user(LONG.replace("Signal", "Lever"))]})
    assert reason is not None and reason["kind"] == "below minimum"
    assert 256 <= reason["have"] < reason["need"] == 512


@pytest.mark.parametrize(
    ("first", "second", "looks_like"),
    [
        ("Current time: 2026-11-24 09:15.", "Current time: 2026-11-24 09:16.", "a timestamp"),
        ("It is 1795511111 now.", "It is 1795511171 now.", "a timestamp"),
        ("Session id: a81f3", "Session id: 77c0e", "an id"),
        ("0b54c1a2-1d6e-4f5e-9f5d-2a3b4c5d6e7f", "5d6e7f0b-1d6e-4f5e-9f5d-2a3b54c1a24c", "an id"),
        ("You are kind.", "You are stern.", None),
    ],
)
def test_a_system_prompt_that_changes_is_told_with_what_it_looks_like(
    client: Client, first: str, second: str, looks_like: str | None
) -> None:
    """The change stands before a long text that stays the same, in a conversation that goes on."""
    miss(client, chat(1, system=f"{first}\n{LONG}"))
    reason = miss(client, chat(2, system=f"{second}\n{LONG}"))
    assert reason is not None and reason["tokens"] > 512
    del reason["tokens"]
    assert reason == {"kind": "prefix changed", "section": "system", "block": 0, "looks_like": looks_like}


def test_a_timestamp_is_told_though_every_conversation_has_one_question_only(client: Client) -> None:
    """Nothing of the conversation comes back, but the system prompt is as long as before and holds a time."""
    miss(client, chat(1, system=f"Now: 2026-11-24 09:15.\n{LONG}"))
    other = {**chat(1, system=f"Now: 2026-11-24 09:17.\n{LONG}"), "messages": [user("Who are you?")]}
    reason = miss(client, other)
    assert reason is not None and (reason["kind"], reason["looks_like"]) == ("prefix changed", "a timestamp")


def test_the_block_that_changed_is_told_exactly(client: Client) -> None:
    """The third of four system blocks, whatever stands around it."""
    system = [{"text": LONG}, {"text": "Be brief."}, {"text": "Today is 24 November, 9:15"}, {"text": LONG}]
    miss(client, {**chat(1), "system": system})
    system[2] = {"text": "Today is 24 November, 9:16"}
    reason = miss(client, {**chat(2), "system": system})
    assert reason is not None
    assert (reason["kind"], reason["section"], reason["block"]) == ("prefix changed", "system", 2)
    assert reason["looks_like"] == "a timestamp"


def test_history_that_is_rewritten_is_told(client: Client) -> None:
    """Documents that stood in the last message are gone from it once it is history."""
    before = chat(1)
    before["messages"] = [user(f"{LONG}\n\nWhat protects section 9?")]
    miss(client, {**before, "system": []})
    after = {**chat(2), "system": []}
    after["messages"] = [user("What protects section 9?"), assistant("Signal 9."), user(LONG)]
    assert kind(miss(client, after)) == "first request"
    # The second turn loses the documents of its own, and now the conversation is known by its first message.
    third = [*after["messages"][:2], user("And now?"), assistant("Signal 10."), user(f"{LONG} And then?")]
    reason = miss(client, {**after, "messages": third})
    assert reason is not None
    assert (reason["kind"], reason["section"], reason["block"]) == ("prefix changed", "messages", 2)


def test_reordered_tools_are_told(client: Client) -> None:
    """The same tools in another order are another prefix."""
    request = chat(2, toolConfig={"tools": [tool("departures"), tool("arrivals"), tool("platforms")]})
    miss(client, chat(1, toolConfig=request["toolConfig"]))
    reordered = {"tools": [tool("departures"), tool("platforms"), tool("arrivals")]}
    reason = miss(client, {**request, "toolConfig": reordered})
    assert reason is not None
    del reason["tokens"]
    assert reason == {"kind": "prefix changed", "section": "tools", "block": 1, "looks_like": "a reordered tool"}


@pytest.mark.parametrize(
    ("change", "section", "looks_like"),
    [
        (
            {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}},
            "tools",
            "thinking",
        ),
        ({"toolConfig": {"tools": [tool("departures")], "toolChoice": {"any": {}}}}, "messages", "the tool choice"),
    ],
)
def test_a_setting_that_drops_the_cache_is_told(client: Client, change: Request, section: str, looks_like: str) -> None:
    """Every block is the same, and Bedrock drops them for what stands beside them."""
    tools = {"toolConfig": {"tools": [tool("departures")]}}
    long_chat = [user(LONG), assistant("I see.")]
    miss(client, {**chat(1), **tools, "messages": [user(LONG)]})
    reason = miss(client, {**chat(1), **tools, **change, "messages": [*long_chat, user("Go on.")]})
    assert reason is not None
    assert (reason["kind"], reason["section"], reason["block"]) == ("prefix changed", section, 0)
    assert reason["looks_like"].startswith(looks_like)


def test_a_switch_of_models_is_told(client: Client) -> None:
    """With the model where the prefix is warm."""
    miss(client, chat(1))
    reason = miss(client, {**chat(2), "modelId": SONNET})
    assert reason is not None
    assert (reason["kind"], reason["previous"]) == ("model switched", HAIKU)
    assert miss(client, chat(3)) is None


def test_a_passed_ttl_is_told(client: Client, endpoint: LocalEndpoint) -> None:
    """With the seconds since the prefix was last used."""
    miss(client, chat(1))
    endpoint.advance(400)
    reason = miss(client, chat(2))
    assert reason is not None
    # A placement may have chosen the longer TTL.
    if reason["ttl"] == "1h":
        endpoint.advance(3_700)
        reason = miss(client, chat(3))
    assert reason is not None and reason["kind"] == "TTL passed"
    assert 400 <= reason["idle_seconds"] < 4_000


def test_a_prefix_out_of_sight_is_told(client: Client) -> None:
    """The caller takes all four points and places none near what is warm."""
    blocks = [{"text": f"{LONG[:400]} {number}"} for number in range(60)]

    def asked(*after: int) -> Request:
        content = [one for index, block in enumerate(blocks) for one in ([block, POINT] if index in after else [block])]
        return {"modelId": HAIKU, "messages": [{"role": "user", "content": content}]}

    client.converse(**asked(20, 21, 22, 23))
    reason = miss(client, asked(50, 51, 52, 53))
    assert reason is not None
    del reason["tokens"]
    assert reason == {"kind": "look-back exceeded", "blocks": 27, "lookback_blocks": 20}


@pytest.mark.parametrize(("model", "known"), [(LLAMA, True), ("someone.something-v9:0", False)])
@pytest.mark.filterwarnings("ignore::pointsman.PointsmanWarning")
def test_a_model_that_does_not_cache_is_told(model: str, known: bool) -> None:
    """And one of which nobody knows whether it does."""
    reason = miss(Client(_Canned()), {"modelId": model, "messages": [user(LONG)]})
    assert reason == {"kind": "unsupported", "model": model, "known": known, "tokens": None}


class _Canned:
    """A client whose every reply has the same usage, whatever was cached."""

    def __init__(self, **usage: int) -> None:
        self.usage = {"inputTokens": 9_000, "outputTokens": 1, "totalTokens": 9_001, **usage}

    def converse(self, **_: Any) -> Request:
        return {"output": {"message": assistant("Yes.")}, "usage": self.usage}


@pytest.fixture
def slow() -> Iterator[tuple[LocalEndpoint, Client]]:
    """An endpoint whose first token takes its time."""
    with LocalEndpoint(engine="extract", latency_ms=400) as endpoint:
        boto3_client = endpoint.client("bedrock-runtime", config=Config(retries={"total_max_attempts": 1}))
        yield endpoint, Client(boto3_client, clock=endpoint.settings.clock)


def test_a_prefix_that_another_request_is_writing_is_told(slow: tuple[LocalEndpoint, Client]) -> None:
    """Two conversations under one system prompt begin at once: neither can read what the other writes."""
    _, client = slow
    sent, send = Event(), client._client.converse

    def told(**request: Any) -> Any:
        sent.set()
        return send(**request)

    client._client.converse = told
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(miss, client, chat(1))
        assert sent.wait(10)
        second = threads.submit(miss, client, {**chat(1), "messages": [user("Who are you?")]})
        assert kind(second.result()) == "written concurrently"
        # Where the second one is answered first, the same holds for the first one.
        assert kind(first.result()) in ("first request", "written concurrently")
    assert kind(miss(client, chat(2))) is None


def test_a_point_that_the_model_takes_nowhere_is_refused() -> None:
    """The caller's point behind a document of a model that takes none there."""
    catalog = Catalog.default()
    nova = catalog.resolve(NOVA)
    catalog = catalog.with_model(replace(nova, cache=replace(nova.cache, sections=frozenset({"system"}))))
    request = {"modelId": NOVA, "messages": [{"role": "user", "content": [{"text": LONG}, POINT, {"text": "Why?"}]}]}
    reason = miss(Client(_Canned(), catalog=catalog), request)
    assert reason is not None
    assert (reason["kind"], reason["section"]) == ("refused point", "messages")
    assert "takes no cache point in messages" in reason["why"]


def test_points_that_are_ignored_are_told() -> None:
    """Something on the way takes them out, or the minimum is higher than ours."""
    reason = miss(Client(_Canned()), chat(1))
    assert reason is not None
    assert (reason["kind"], reason["need"]) == ("points ignored", 512)
    assert reason["have"] > 512


def test_a_prefix_above_the_maximum_is_told(endpoint: LocalEndpoint) -> None:
    """Documents that can't be counted, of more tokens than Nova caches: with the first request, and from then on."""
    client = Client(endpoint.client("bedrock-runtime"), clock=endpoint.settings.clock)
    messages = [{"role": "user", "content": [pdf("signals", rules=2_500), {"text": "Why?"}]}]
    for _ in range(2):
        reply = client.converse(modelId=NOVA, messages=messages)
        reason = reply["pointsman"]["miss"]
        assert (reason["kind"], reason["most"]) == ("above maximum", 20_000)
        assert reason["have"] == pytest.approx(reply["usage"]["inputTokens"], rel=0.01)
        messages = [*messages, reply["output"]["message"], {"role": "user", "content": [{"text": "And then?"}]}]


def test_a_prefix_that_bedrock_lets_go_is_told() -> None:
    """An endpoint that keeps one entry: another conversation drives the first one out."""
    with LocalEndpoint(engine="extract", max_cache_entries=1) as endpoint:
        client = Client(endpoint.client("bedrock-runtime"), clock=endpoint.settings.clock)
        miss(client, chat(1))
        endpoint.advance(20)
        miss(client, chat(1, system=LONG.replace("Signal", "Lever")))
        reason = miss(client, chat(2))
    assert reason is not None and reason["kind"] == "evicted"
    assert reason["tokens"] > 512
    assert 20 <= reason["idle_seconds"] < 30


# --- what a reason says -----------------------------------------------------------------------------------------

REASONS = [
    FirstRequest(),
    BelowMinimum(have=900, need=1_024, tokens=900),
    PrefixChanged(section="system", block=0, looks_like="a timestamp", tokens=4_000),
    PrefixChanged(section="tools", block=3, looks_like="a reordered tool", tokens=4_000),
    PrefixChanged(section="messages", block=9, looks_like="an image", tokens=4_000),
    PrefixChanged(section="messages", block=9, tokens=4_000),
    ModelSwitched(previous=HAIKU, tokens=4_000),
    TTLPassed(idle_seconds=612.4, ttl="5m", tokens=4_000),
    TTLPassed(idle_seconds=612.4, ttl="5m", longest_ttl="5m", tokens=4_000),
    LookbackExceeded(blocks=27, lookback_blocks=20, tokens=4_000),
    Unsupported(model=LLAMA),
    Unsupported(model="someone.something-v9:0", known=False),
    WrittenConcurrently(tokens=4_000),
    RefusedPoint(section="tools", why=f"{NOVA} takes no cache point in tools"),
    NotWritten(tokens=4_000),
    NoPoint(tokens=4_000),
    AboveMaximum(have=32_213, most=20_000, tokens=32_213),
    PointsIgnored(have=1_500, need=1_024),
    PointsIgnored(have=1_500, need=None),
    Evicted(tokens=4_000, idle_seconds=12.0),
    Evicted(tokens=4_000),
]


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.kind)
def test_a_reason_is_plain_json_with_a_sentence(reason: MissReason) -> None:
    """Its kind, its facts, and what `str` says."""
    told = reason.to_dict()
    assert json.loads(json.dumps(told)) == told
    assert told["kind"] == reason.kind
    assert told["explanation"] == str(reason)
    assert str(reason)[0].isupper() or str(reason).startswith(("meta.", "someone."))
    assert str(reason).endswith(".") and "None" not in str(reason)


def test_a_longer_ttl_is_advised_only_where_the_model_has_one() -> None:
    """Else a keep-alive is what helps."""
    passed = TTLPassed(idle_seconds=612.4, ttl="5m")
    assert "TTL 1h pays" in str(passed)
    assert "keep-alive" in str(replace(passed, longest_ttl="5m")) and "1h" not in str(replace(passed, longest_ttl="5m"))


def test_every_kind_is_tried_here() -> None:
    """A reason that is added needs its sentence looked at."""
    kinds = {one.kind for one in MissReason.__subclasses__()}
    assert {reason.kind for reason in REASONS} == kinds
