"""Keep-alive: what is pinged for and when, what that costs, and that it ends. Over HTTP, on the endpoint's clock."""

from __future__ import annotations

import copy
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import reduce
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointsman import AsyncClient, Catalog, Client, InvalidRequestError, KeepAlive, Ledger, Placement, TraceLog, Usage
from pointsman.cache import MemoryStore
from pointsman.cache.keeping import MARGIN_SECONDS
from pointsman.cache.returns import SPANS, Hazards, Returns, away
from pointsman.cache.reuse import Reuse
from pointsman.local import LocalEndpoint
from pointsman.ping import ping_request, why_not
from pointsman.pricing import cost_of
from pointsman.prompt import Prompt
from pointsman.tokens import EstimatedTokens
from pointsman.trace import Trace

HAIKU = "us.anthropic.claude-haiku-5-5"
SONNET, NOVA = "us.anthropic.claude-sonnet-5-5", "amazon.nova-pro-v1:0"
ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
RULES = "A signal protects its section of the line. " * 300
POINT = {"cachePoint": {"type": "default"}}
OFTEN: Hazards = (0.5,) * len(SPANS)
SELDOM: Hazards = (0.01,) * len(SPANS)
ALMOST = 300 - MARGIN_SECONDS + 1


def request(*texts: str, model: str = HAIKU, **fields: Any) -> dict[str, Any]:
    """A conversation whose first message is long, with a cache point behind its last one."""
    texts = texts or ("What does it protect?",)
    roles = [("user", "assistant")[index % 2] for index in range(len(texts))]
    messages = [{"role": role, "content": [{"text": text}]} for role, text in zip(roles, texts, strict=True)]
    messages[0]["content"].insert(0, {"text": RULES})
    messages[-1]["content"].append(POINT)
    return {"modelId": model, "messages": messages, **fields}


def ledger_of(hazards: Hazards = OFTEN, **options: Any) -> Ledger:
    """A ledger that expects prompts to come back so often."""
    return Ledger(reuse=Reuse(Returns(lambda _: hazards)), **options)


def catalog(*, ttls: tuple[str, ...] = ("5m",)) -> Catalog:
    """Models whose prefixes live for five minutes."""
    models = [Catalog.default().resolve(name) for name in (HAIKU, SONNET, NOVA)]
    of_five = [replace(one, cache=replace(one.cache, ttls=ttls), region=None) for one in models]
    return reduce(Catalog.with_model, [replace(one, invoke_id=one.id) for one in of_five], Catalog.default())


class Station:
    """A client with keep-alive, the traces that it tells, and the endpoint's clock."""

    def __init__(
        self,
        endpoint: LocalEndpoint,
        boto3_client: Any,
        hazards: Hazards = OFTEN,
        *,
        behind: float = 0,
        models: Catalog | None = None,
        ledger: Ledger | None = None,
        **options: Any,
    ) -> None:
        self.endpoint = endpoint
        self.behind = behind
        self.traces: list[Trace] = []
        self.keep_alive = KeepAlive(**{"budget": Decimal(1), "thread": False, **options})
        self.client = Client(
            boto3_client,
            catalog=models or catalog(),
            clock=self.clock,
            ledger=ledger or ledger_of(hazards),
            keep_alive=self.keep_alive,
            on_trace=self.traces.append,
        )

    def clock(self) -> float:
        """The endpoint's time, or so many seconds less."""
        return self.endpoint.settings.clock() - self.behind

    def wait(self, seconds: float = ALMOST) -> int:
        """Let time pass, and send what is due then."""
        self.endpoint.advance(seconds)
        return self.keep_alive.due(self.clock())

    @property
    def pings(self) -> list[Trace]:
        """The traces of pings."""
        return [trace for trace in self.traces if trace.keep_alive]


@pytest.fixture
def station(endpoint: LocalEndpoint, boto3_client: Any) -> Station:
    """Where people come back often, and pings are sent by hand."""
    return Station(endpoint, boto3_client)


# --- when -------------------------------------------------------------------------------------------------------


def test_a_ping_keeps_the_prefix_warm(station: Station) -> None:
    """Ten minutes later it is read, where it would have been cold after five."""
    station.client.converse(**request())
    assert station.wait() == 1
    assert station.wait() == 1
    usage = station.client.converse(**request())["usage"]
    assert usage["cacheReadInputTokens"] > 3000
    assert usage["cacheWriteInputTokens"] == 0


def test_a_ping_asks_for_one_token_and_reads_only(station: Station) -> None:
    """All of the prefix is read, nothing is written."""
    station.client.converse(**request())
    station.wait()
    (ping,) = station.pings
    assert ping.usage is not None
    assert (ping.usage.output_tokens, ping.usage.cache_write_tokens) == (1, 0)
    assert ping.usage.cache_read_tokens == ping.usage.input_tokens
    assert ping.to_dict()["keep_alive"] is True


def test_nothing_is_sent_before_it_is_due(station: Station) -> None:
    """A margin before the TTL ends, and not sooner."""
    station.client.converse(**request())
    assert station.wait(ALMOST - 2) == 0
    assert station.wait(2) == 1


def test_what_is_cold_already_is_not_pinged_for(station: Station) -> None:
    """A process that slept writes nothing anew on waking."""
    station.client.converse(**request())
    assert station.wait(301) == 0
    assert station.keep_alive.conversations == 0


def test_where_nobody_comes_back_nothing_is_kept(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """The chance is too small for what a read costs, and no text is held."""
    station = Station(endpoint, boto3_client, SELDOM)
    station.client.converse(**request())
    assert station.keep_alive.conversations == 0
    assert station.keep_alive.left_out == {"no ping would pay": 1}


def test_pings_end_after_an_hour(station: Station) -> None:
    """Of who comes back later than that nothing is known."""
    station.client.converse(**request())
    assert [station.wait() for _ in range(14)] == [1] * 11 + [0] * 3


def test_pings_in_a_row_are_bounded(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """By what was asked for."""
    station = Station(endpoint, boto3_client, most_pings=2)
    station.client.converse(**request())
    assert [station.wait() for _ in range(4)] == [1, 1, 0, 0]


def test_what_lives_for_an_hour_is_left_alone(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """It needs no ping every five minutes; nor does a short stretch behind it that lives for five."""
    station = Station(endpoint, boto3_client, models=catalog(ttls=("5m", "1h")))
    for asked in (request(), request()):
        asked["messages"][-1]["content"][1:1] = [{"cachePoint": {"type": "default", "ttl": "1h"}}]
        points = station.client.converse(**asked)["pointsman"]["placement"]["points"]
        assert [(point["after"], point["ttl"]) for point in points] == [(0, "1h"), (1, "5m")]
    assert station.keep_alive.conversations == 0
    assert station.keep_alive.left_out == {"no ping would pay": 2}


def test_the_next_request_cancels_the_ping(station: Station) -> None:
    """Its own TTL counts from then on."""
    station.client.converse(**request())
    station.endpoint.advance(200)
    station.client.converse(**request("What does it protect?", "Its section.", "And a distant signal?"))
    assert station.keep_alive.conversations == 1
    assert station.wait(100) == 0
    assert station.wait(181) == 1


def test_nothing_is_pinged_for_while_a_request_is_under_way(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """It reads the prefix itself, however long its answer takes."""
    station = Station(endpoint, boto3_client)
    station.client.converse(**request())
    raw = station.client.converse_stream(**request())
    assert station.wait() == 0
    list(raw["stream"])
    assert station.keep_alive.conversations == 1


def test_another_conversation_does_not_cancel_it(station: Station) -> None:
    """Conversations are told apart by how they begin."""
    station.client.converse(**request())
    other = request()
    other["messages"][0]["content"][0] = {"text": "Points lead from one track to another. " * 300}
    station.client.converse(**other)
    assert station.keep_alive.conversations == 2
    assert station.wait() == 2


def test_a_streamed_request_is_kept_too(station: Station) -> None:
    """Its prefix is the same; the ping is not streamed."""
    list(station.client.converse_stream(**request())["stream"])
    station.wait()
    assert station.endpoint.account()["operations"] == {"ConverseStream": 1, "Converse": 1}
    assert station.pings[0].usage is not None and station.pings[0].usage.cache_read_tokens > 3000


def test_a_ping_goes_to_the_model_that_holds_the_prefix(station: Station) -> None:
    """A router isn't asked again."""
    reply = station.client.converse(**request(model=ROUTER))
    station.wait()
    (ping,) = station.pings
    assert ping.model.invoke_id in reply["pointsman"]["invoked_model_id"]
    assert ping.decision is None and ping.router is None
    assert len(station.endpoint.account()["models"]) == 1


# --- what is not pinged for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}, "thinking"),
        ({"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled"}}}, "thinking"),
        ({"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}, "guardrail"),
        ({"promptVariables": {"name": {"text": "x"}}}, "Bedrock"),
    ],
)
def test_what_cannot_be_sent_again_with_one_token_is_left_out(fields: dict[str, Any], reason: str) -> None:
    """With the reason."""
    assert reason in (why_not({**request(), **fields}) or "")


@pytest.mark.parametrize("fields", [{}, {"additionalModelRequestFields": {"thinking": {"type": "disabled"}}}])
def test_other_requests_can_be_sent_again(fields: dict[str, Any]) -> None:
    """Thinking that is off needs no token."""
    assert why_not({**request(), **fields}) is None


def test_a_thinking_request_is_not_held(station: Station) -> None:
    """Neither a ping nor its text."""
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    config = {"maxTokens": 2000}
    station.client.converse(**request(additionalModelRequestFields=thinking, inferenceConfig=config))
    assert station.keep_alive.conversations == 0
    assert "thinking" in next(iter(station.keep_alive.left_out))


def test_a_request_that_was_changed_in_place_is_let_go(station: Station) -> None:
    """Its prefix is another by now: to send it would write it."""
    asked = request()
    station.client.converse(**asked)
    asked["messages"][0]["content"][0]["text"] = "Something else. " * 1000
    assert station.wait() == 0
    assert station.keep_alive.conversations == 0
    assert station.endpoint.account()["requests"] == 1


# --- budget, stop, faults -----------------------------------------------------------------------------------------


def test_the_budget_ends_it(endpoint: LocalEndpoint, boto3_client: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What does not fit in is not sent; one line in the log, and no text is held."""
    station = Station(endpoint, boto3_client, budget=Decimal("0.00008"))
    station.client.converse(**request())
    with caplog.at_level(logging.WARNING, "pointsman"):
        assert [station.wait() for _ in range(4)] == [1, 1, 0, 0]
    assert station.keep_alive.stopped == "the budget is spent"
    assert station.keep_alive.spent <= Decimal("0.00008")
    assert len([one for one in caplog.records if "keep-alive ends" in one.message]) == 1
    station.client.converse(**request())
    assert station.keep_alive.conversations == 0


@pytest.mark.parametrize("budget", [Decimal(0), Decimal(-1), Decimal("NaN")])
def test_a_budget_is_needed(budget: Decimal) -> None:
    """Nothing is no budget."""
    with pytest.raises((InvalidRequestError, ArithmeticError)):
        KeepAlive(budget=budget)


def test_stop_lets_go_of_all_text(station: Station) -> None:
    """Nothing of a request is reachable any more, and nothing is sent."""

    class Text(str):
        """A text that can be watched."""

    asked = request()
    asked["messages"][0]["content"][0]["text"] = text = Text(RULES)
    seen = weakref.ref(text)
    station.client.converse(**asked)
    del asked, text
    gc.collect()
    assert seen() is not None
    station.keep_alive.stop()
    gc.collect()
    assert seen() is None
    assert station.wait() == 0
    assert station.keep_alive.stopped == "stopped"


def test_leaving_the_context_stops(station: Station) -> None:
    """As `stop` does."""
    with station.keep_alive:
        station.client.converse(**request())
        assert station.keep_alive.conversations == 1
    assert station.keep_alive.conversations == 0


def test_a_failed_ping_never_reaches_the_user(station: Station) -> None:
    """It is counted and told, its conversation is let go, and the next request goes out as ever."""
    station.client.converse(**request())
    station.endpoint.faults.inject("throttle")
    assert station.wait() == 1
    assert (station.keep_alive.failures, station.keep_alive.pings, station.keep_alive.conversations) == (1, 0, 0)
    assert [(ping.status, ping.attempts[0].error) for ping in station.pings] == [("failed", "ThrottlingException")]
    assert station.client.converse(**request())["usage"]["outputTokens"]


def test_a_prefix_that_is_gone_is_given_up(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """A ping that read nothing is paid for once, and no other follows."""
    station = Station(endpoint, boto3_client, behind=100)
    station.client.converse(**request())
    endpoint.advance(100)  # The client's clock does not see that.
    station.behind += 100
    assert station.wait() == 1
    (ping,) = station.pings
    assert ping.usage is not None and ping.usage.cache_write_tokens > 3000
    assert station.keep_alive.conversations == 0
    assert ping.cost is not None and station.keep_alive.spent == ping.cost.total


def test_conversations_are_bounded(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """Those that gain least are let go."""
    station = Station(endpoint, boto3_client, most_conversations=2)
    for number in range(4):
        asked = request()
        asked["messages"][0]["content"][0]["text"] = f"{number}. " + RULES * (number + 1)
        station.client.converse(**asked)
    assert station.keep_alive.conversations == 2
    station.wait()
    assert all(ping.usage is not None and ping.usage.input_tokens > 9000 for ping in station.pings)


# --- the account ----------------------------------------------------------------------------------------------------


def test_the_endpoints_account_is_the_sum_of_the_traces(station: Station) -> None:
    """Pings included; and what they cost is what is spent."""
    station.client.converse(**request())
    station.wait()
    station.wait()
    station.client.converse(**request("What does it protect?", "Its section.", "And a distant signal?"))
    station.wait()
    totals = station.endpoint.account()["totals"]
    usages = [trace.usage for trace in station.traces if trace.usage is not None]
    assert totals["requests"] == len(usages) == 5
    assert totals["cache_read_tokens"] == sum(usage.cache_read_tokens for usage in usages)
    assert totals["output_tokens"] == sum(usage.output_tokens for usage in usages)
    assert totals["uncached_input_tokens"] == sum(usage.uncached_tokens for usage in usages)
    costs = [trace.cost.total for trace in station.pings if trace.cost is not None]
    assert station.keep_alive.spent == sum(cost for cost in costs if cost is not None)


def test_what_was_saved_is_estimated(station: Station) -> None:
    """Once somebody has come back who would have found it cold: a write less a read of the prefix."""
    station.client.converse(**request())
    station.wait()
    station.client.converse(**request())
    assert station.keep_alive.saved_estimate == 0  # It would still have been warm.
    station.wait()
    station.wait(100)
    station.client.converse(**request())
    (usage,) = {trace.usage for trace in station.pings}
    price = station.pings[0].model.price
    assert usage is not None and price is not None and price.cache_read is not None
    saved = (price.cache_write["5m"] - price.cache_read) * usage.cache_read_tokens / 1_000_000
    assert station.keep_alive.saved_estimate == saved
    assert station.keep_alive.to_dict()["saved_estimate"] == str(station.keep_alive.saved_estimate)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    budget=st.integers(1, 400),
    conversations=st.integers(1, 4),
    waits=st.integers(1, 6),
    evicted_before=st.integers(0, 6),
)
def test_pings_cost_no_more_than_the_budget_and_one_ping(
    endpoint: LocalEndpoint, boto3_client: Any, budget: int, conversations: int, waits: int, evicted_before: int
) -> None:
    """Not even that, as long as they read what they should; only one that writes, as all is gone, may go beyond it."""
    station = Station(endpoint, boto3_client, budget=Decimal(budget) / 1_000_000)
    endpoint.advance(4000)
    for number in range(conversations):
        asked = request()
        asked["messages"][0]["content"][0]["text"] = f"{number}. " + RULES
        station.client.converse(**asked)
    for number in range(waits):
        if number == evicted_before:
            endpoint.advance(100)  # The client's clock does not see that.
            station.behind += 100
        station.wait()
    costs = [trace.cost.total for trace in station.pings if trace.cost is not None]
    assert station.keep_alive.spent == sum(cost for cost in costs if cost is not None)
    over = station.keep_alive.spent - station.keep_alive.budget
    assert over <= max([cost for cost in costs if cost is not None], default=0)
    assert over <= 0 or station.pings[-1].usage.cache_write_tokens  # type: ignore[union-attr]  # it was answered


def test_a_ping_is_no_return(station: Station) -> None:
    """What is learnt of who comes back is learnt from people only."""
    station.client.converse(**request())
    for _ in range(12):
        station.wait()
    station.endpoint.advance(3600)
    returns = station.client.context.ledger.reuse.returns
    returns.pass_time(station.clock())
    counted = returns.to_dict().values()
    assert len(station.pings) == 11
    assert counted and not any(sum(returned) for returned, _ in counted)


@pytest.mark.parametrize("kept", [True, False])
def test_a_ping_is_no_return_for_other_processes_either(kept: bool) -> None:
    """They learn that the prefix is warm, and nothing else; of a request they learn that somebody came back."""
    store, key = MemoryStore(), bytes(16)
    theirs, ours = (ledger_of(key=key, store=store) for _ in range(2))
    outline, model = Prompt(request()).outline(EstimatedTokens(), key=key), catalog().resolve(HAIKU)
    tokens, placement = outline.tokens, Placement(points=outline.points)
    written = Usage(input_tokens=tokens, cache_write_tokens=tokens)
    read = Usage(input_tokens=tokens, cache_read_tokens=tokens)
    theirs.record(outline, model, placement, written, 0)
    theirs.sync(1)
    ours.sync(2)
    if kept:
        ours.refreshed(outline, model, placement.points, read, 280)
    else:
        ours.record(outline, model, placement, read, 280)
    ours.sync(281)
    theirs.sync(282)
    assert theirs.warm_prefix(outline, model, 570) is not None
    assert theirs.warm_prefix(outline, model, 581) is None
    returns = theirs.reuse.returns
    returns.pass_time(300)
    assert any(returned[SPANS.index(300)] for returned, _ in returns.to_dict().values()) is not kept


def test_pings_are_no_traffic(endpoint: LocalEndpoint, boto3_client: Any, tmp_path: Any) -> None:
    """A log of traces, made to be replayed, holds none."""
    log = TraceLog(tmp_path / "traffic.jsonl")
    keep_alive = KeepAlive(budget=Decimal(1), thread=False)
    clock = endpoint.settings.clock
    options = {"clock": clock, "ledger": ledger_of(), "catalog": catalog(), "keep_alive": keep_alive}
    client = Client(boto3_client, on_trace=log, **options)
    client.converse(**request())
    endpoint.advance(ALMOST)
    assert keep_alive.due(clock()) == 1
    assert len(log.path.read_text().splitlines()) == 1


# --- the thread -----------------------------------------------------------------------------------------------------


@pytest.fixture
def threaded(endpoint: LocalEndpoint, boto3_client: Any) -> Iterator[Station]:
    """The same with a thread."""
    station = Station(endpoint, boto3_client, thread=True)
    yield station
    station.keep_alive.stop()


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether it comes to hold within so many seconds of the wall clock."""
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    return holds()


def threads() -> list[threading.Thread]:
    """Those of keep-alive."""
    return [thread for thread in threading.enumerate() if thread.name == "pointsman-keep-alive"]


def test_a_thread_sends_what_is_due(threaded: Station) -> None:
    """It looks at the clock when another conversation comes, or when its wait is over."""
    threaded.client.converse(**request())
    threaded.endpoint.advance(ALMOST)
    other = request()
    other["messages"][0]["content"][0] = {"text": "Points lead from one track to another. " * 300}
    threaded.client.converse(**other)
    assert eventually(lambda: threaded.keep_alive.pings == 1)


def test_the_thread_wakes_by_itself(threaded: Station) -> None:
    """When the first ping is due, without anything else happening."""
    threaded.client.converse(**request())
    (kept,) = threaded.keep_alive._kept.values()
    threaded.keep_alive.stop()
    assert eventually(lambda: not threads())
    threaded.endpoint.advance(ALMOST - 1.5)
    threaded.keep_alive.stopped = None
    with threaded.keep_alive._changed:
        threaded.keep_alive._put(kept)
    assert eventually(lambda: threaded.keep_alive.pings == 1)


def test_the_thread_ends_with_the_last_conversation(threaded: Station) -> None:
    """It is a daemon, begins with the first one, and no idle thread stays."""
    assert eventually(lambda: not threads())
    threaded.client.converse(**request())
    (thread,) = threads()
    assert thread.daemon
    threaded.keep_alive.stop()
    assert eventually(lambda: not threads())


async def test_the_async_client_takes_it(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """The same object, the same thread."""
    keep_alive = KeepAlive(budget=Decimal(1), thread=False)
    clock = endpoint.settings.clock
    async with AsyncClient(
        boto3_client, clock=clock, ledger=ledger_of(), catalog=catalog(), keep_alive=keep_alive
    ) as client:
        await client.converse(**request())
        endpoint.advance(ALMOST)
        assert keep_alive.due(clock()) == 1


# --- the request of a ping --------------------------------------------------------------------------------------------

TOOL = {"toolSpec": {"name": "timetable", "inputSchema": {"json": {"type": "object"}}}}
CALL = {"toolUse": {"toolUseId": "1", "name": "timetable", "input": {}}}
RESULT = {"toolResult": {"toolUseId": "1", "content": [{"text": RULES}]}}
PDF = {"document": {"format": "txt", "name": "rules", "source": {"bytes": RULES.encode()}}}


def said(role: str, *blocks: Any) -> dict[str, Any]:
    """A message."""
    return {"role": role, "content": [{"text": one} if isinstance(one, str) else one for one in blocks]}


SHAPES = {
    "within the last message": ([said("user", RULES, "Why?")], 2, [said("user", RULES)]),
    "at its end": ([said("user", RULES, "Why?")], 3, [said("user", RULES, "Why?")]),
    "behind the system prompt": ([said("user", RULES, "Why?")], 1, [said("user", ".")]),
    "behind the tools": ([said("user", RULES, "Why?")], 0, [said("user", ".")]),
    "behind an answer": (
        [said("user", RULES), said("assistant", "So."), said("user", "Why?")],
        3,
        [said("user", RULES), said("assistant", "So."), said("user", ".")],
    ),
    "behind a call": (
        [said("user", RULES), said("assistant", CALL), said("user", RESULT), said("assistant", "So.")],
        3,
        [said("user", RULES), said("assistant", CALL), said("user", RESULT)],
    ),
    "before a result": (
        [said("user", RULES), said("assistant", CALL), said("user", "Here:", RESULT)],
        4,
        [said("user", RULES), said("assistant", CALL), said("user", "Here:", RESULT)],
    ),
    "behind a document": ([said("user", PDF, "Why?")], 2, [said("user", PDF, "Why?")]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_ping_is_cut_as_short_as_converse_takes_it(name: str, boto3_client: Any) -> None:
    """It ends with a user's message, answers every call, and has a text beside a document; the endpoint takes it."""
    messages, after, left = SHAPES[name]
    whole = {
        "modelId": HAIKU,
        "toolConfig": {"tools": [TOOL]},
        "system": [{"text": RULES}],
        "messages": messages,
        "inferenceConfig": {"stopSequences": ["END"]},
    }
    before = copy.deepcopy(whole)
    ping = ping_request(whole, (), after)
    assert ping["messages"] == left
    assert ping["inferenceConfig"] == {"stopSequences": ["END"], "maxTokens": 1}
    assert ("system" in ping) is (after > 0)
    assert whole == before
    counter = EstimatedTokens()
    digests = [Prompt(one).outline(counter, key=b"k").blocks[after].digest for one in (whole, ping)]
    assert digests[0] == digests[1]
    assert boto3_client.converse(**ping)["usage"]["outputTokens"] == 1


def test_the_documents_of_a_last_message_are_not_sent_again(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """What stands behind the point is volatile, and would be billed in full."""
    reuse = Reuse(Returns(lambda kind: OFTEN if "message" in kind else SELDOM))
    station = Station(endpoint, boto3_client, ledger=Ledger(reuse=reuse))
    asked = request()
    volatile = {"text": "Passage: trains run on rails. " * 500}
    asked["messages"][-1]["content"] = [{"text": RULES}, POINT, volatile, {"text": "What runs?"}]
    usage = station.client.converse(**asked)["usage"]
    assert usage["inputTokens"] > 2000
    assert station.wait() == 1
    (ping,) = station.pings
    assert ping.usage is not None
    assert ping.usage.uncached_tokens == 0
    assert ping.usage.cache_read_tokens == usage["cacheWriteInputTokens"]


# --- chances ----------------------------------------------------------------------------------------------------


@given(
    hazards=st.lists(st.floats(0, 1), min_size=len(SPANS), max_size=len(SPANS)),
    times=st.lists(st.floats(0, 5000), min_size=2, max_size=2).map(sorted),
)
def test_the_longer_the_likelier_somebody_came_back(hazards: list[float], times: list[float]) -> None:
    """From 1 downwards; at the end of the spans it is what the chances add up to."""
    sooner, later = (away(tuple(hazards), seconds) for seconds in times)
    assert 1 >= sooner >= later >= 0
    chances = Returns(lambda _: tuple(hazards)).chances(("tools",))
    assert away(tuple(hazards), SPANS[-1]) == pytest.approx(chances.never, abs=1e-9)
    assert away(tuple(hazards), 0) == 1


def test_a_dear_read_is_not_worth_a_small_chance(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """Each ping has to earn its read: the cheaper that is, the longer pings go on."""
    hazards = (0.3, 0.2, 0.15, 0.12, 0.12, 0.1, 0.08, 0.05)
    sent = {}
    for model in (NOVA, HAIKU, SONNET):
        station = Station(endpoint, boto3_client, hazards)
        endpoint.advance(4000)
        station.client.converse(**request(model=model))
        sent[model] = sum(station.wait() for _ in range(13))
        price = station.traces[0].model.price
        assert cost_of(station.traces[0].usage, price).total  # type: ignore[arg-type]  # it was answered
    assert list(sent.values()) == sorted(sent.values())
    assert sent[NOVA] < sent[SONNET]
