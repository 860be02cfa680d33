"""The simulator of Bedrock's billing agrees to the token with the local endpoint, which is written apart from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

import orjson
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.catalog import CacheRules, Catalog, Model
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.billing import BillingSimulator
from pointsman.local import LocalEndpoint
from pointsman.local.blocks import CachePoint as EndpointPoint
from pointsman.local.blocks import parse_json, read_request
from pointsman.local.cache import PrefixCache
from pointsman.local.clock import MovableClock
from pointsman.local.documents import DocumentReader
from pointsman.local.extract import ExtractEngine
from pointsman.local.rendering import render
from pointsman.local.shapes import reader
from pointsman.outline import Block, CachePoint, Outline
from pointsman.usage import Usage

Request = dict[str, Any]

SONNET: Final = "us.anthropic.claude-sonnet-4-6"
OPUS: Final = "anthropic.claude-opus-4-1-20250805-v1:0"
LITE: Final = "us.amazon.nova-lite-v1:0"
LLAMA: Final = "us.meta.llama3-1-8b-instruct-v1:0"
# Smaller than the real limits, so that a thousand short conversations cross each of them often.
SMALL: Final = {
    SONNET: {"minimum_tokens": 60},
    OPUS: {"minimum_tokens": 30, "lookback_blocks": 2},
    LITE: {"minimum_tokens": 40, "maximum_tokens": 250},
}
GAPS: Final = (0, 0, 1, 30, 299, 300, 301, 1000, 3599, 3600, 3601, 9000)
CONVERSATIONS: Final = 1000


def small_catalog() -> Catalog:
    catalog = Catalog.default()
    for model_id, limits in SMALL.items():
        model = catalog.resolve(model_id)
        catalog = catalog.with_model(replace(model, cache=replace(model.cache, **limits)))
    return catalog


@dataclass
class Conversation:
    """Random requests: a history that grows, is cut back, and whose tools and system change under it."""

    random: Random
    model: str = SONNET
    tools: list[Request] = field(default_factory=list)
    system: list[Request] = field(default_factory=list)
    messages: list[Request] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = self.random.choice([SONNET, SONNET, OPUS, LITE, LITE])
        self.tools = [
            self._tool(name) for name in self.random.sample(["look", "find", "sum"], self.random.randint(0, 2))
        ]
        self.system = [self._text() for _ in range(self.random.randint(0, 2))]

    def requests(self) -> Iterator[tuple[int, Request]]:
        """The seconds that pass before each request, and the request, with points."""
        for _ in range(self.random.randint(2, 6)):
            self._go_on()
            request = {"modelId": self.model, "messages": deepcopy(self.messages)}
            request |= {"system": list(self.system)} if self.system else {}
            request |= {"toolConfig": {"tools": list(self.tools)}} if self.tools else {}
            self._lay_points(request)
            yield self.random.choice(GAPS), request

    def _go_on(self) -> None:
        chance = self.random.random()
        if chance < 0.1 and self.messages:
            return  # the same request again
        if chance < 0.25:
            kept = 2 * self.random.randint(0, len(self.messages) // 2)
            self.messages = self.messages[:kept]
            if not kept:
                self.asked = []
        elif chance < 0.32:
            self.system = [*self.system[:-1], self._text()]
        elif chance < 0.36 and self.tools:
            self.tools = [*self.tools[:-1], self._tool("other")]
        elif chance < 0.4:
            self.model = self.random.choice([*SMALL, LLAMA])
        if self.messages and self.messages[-1]["role"] == "user":
            self.messages.append({"role": "assistant", "content": self._answer()})
        self.messages.append({"role": "user", "content": self._question()})

    def _answer(self) -> list[Request]:
        content = [self._text() for _ in range(self.random.randint(1, 2))]
        if self.random.random() < 0.15:
            content.insert(0, {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2lnbmVk"}}})
        if self.tools and self.random.random() < 0.4:
            name = self.tools[0]["toolSpec"]["name"]
            use = {"toolUseId": f"use{self.random.randint(0, 999)}", "name": name, "input": {"n": 1}}
            content.append({"toolUse": use})
        return content

    def _question(self) -> list[Request]:
        used = [
            block["toolUse"]["toolUseId"] for block in (self.messages or [{"content": []}])[-1]["content"]
            if "toolUse" in block
        ]  # fmt: skip
        results = [{"toolResult": {"toolUseId": use, "content": [self._text()]}} for use in used]
        many = self.random.choice([1, 1, 1, 2, 3, 24])
        return [*results, *(self._text() for _ in range(many))]

    def _text(self) -> Request:
        # Few different texts: conversations share prefixes with others.
        word = self.random.choice(["signal", "lever", "points"])
        return {"text": " ".join([word] * self.random.choice([1, 3, 30, 80]))}

    def _tool(self, name: str) -> Request:
        described = self.random.choice(["short", "long " * 30])
        return {"toolSpec": {"name": name, "description": described, "inputSchema": {"json": {"type": "object"}}}}

    def _lay_points(self, request: Request) -> None:
        """Up to five points, behind any block: most are legal, some are refused."""
        lists = [(items, place) for items in self._lists(request) for place in range(1, len(items) + 1)]
        chosen = sorted(
            self.random.sample(range(len(lists)), min(self.random.choice([0, 1, 2, 2, 3, 4, 5]), len(lists)))
        )
        ttls = ["5m"] * len(chosen)
        if self.model not in (OPUS, LITE) or self.random.random() < 0.02:
            ttls = [self.random.choice(["5m", "1h"]) for _ in chosen]
        if self.random.random() < 0.95:
            ttls.sort()  # "1h" comes before "5m"
        for at, ttl in reversed(list(zip(chosen, ttls, strict=True))):
            items, place = lists[at]
            legal = self.random.random() < 0.03 or self._takes(items, place)
            if legal:
                items.insert(place, {"cachePoint": {"type": "default", "ttl": ttl}})

    def _lists(self, request: Request) -> list[list[Request]]:
        tools = [request["toolConfig"]["tools"]] if self.tools else []
        system = [request["system"]] if self.system else []
        return [*tools, *system, *(one["content"] for one in request["messages"])]

    def _takes(self, items: Sequence[Request], place: int) -> bool:
        before = items[place - 1]
        if self.model != LITE:
            return "reasoningContent" not in before
        with_result = any("toolResult" in item for item in items)
        return not with_result and not {"toolSpec", "toolUse", "reasoningContent"} & set(before)


class Witnesses:
    """The endpoint over HTTP, and the simulator fed with the endpoint's own blocks, digests and token counts."""

    def __init__(self, endpoint: LocalEndpoint, runtime: Any) -> None:
        self.endpoint = endpoint
        self._runtime = runtime
        self._simulator = BillingSimulator()
        self._engine = ExtractEngine()
        self._documents = DocumentReader()
        self.tokens: Counter[str] = Counter()
        self.refused = 0

    def bill_both(self, request: Request) -> tuple[Usage | None, Usage | None]:
        """What each of them bills; None where it refuses."""
        outline, points, model = self._outlined(request)
        try:
            simulated = self._simulator.bill(outline, points, model, self.endpoint.settings.clock())
        except InvalidRequestError:
            simulated = None
        return self._converse(request), simulated

    def _converse(self, request: Request) -> Usage | None:
        try:
            usage = self._runtime.converse(**request, inferenceConfig={"maxTokens": 1})["usage"]
        except ClientError:
            self.refused += 1
            return None
        details = {detail["ttl"]: detail["inputTokens"] for detail in usage.get("cacheDetails", ())}
        self.tokens.update(plain=usage["inputTokens"], read=usage["cacheReadInputTokens"], **details)
        assert sum(details.values()) == usage["cacheWriteInputTokens"]
        return Usage(
            input_tokens=usage["inputTokens"] + usage["cacheReadInputTokens"] + usage["cacheWriteInputTokens"],
            cache_read_tokens=usage["cacheReadInputTokens"],
            cache_write_tokens=usage["cacheWriteInputTokens"],
            cache_write_1h_tokens=details.get("1h", 0),
        )

    def _outlined(self, request: Request) -> tuple[Outline, list[CachePoint], Model]:
        body = {name: value for name, value in request.items() if name != "modelId"}
        read = read_request(parse_json(orjson.dumps(body)), reader("Converse"))
        counts = self._engine.count(render(read.blocks, self._documents), model_id=request["modelId"])
        digests = read.chain(request["modelId"])[1:]
        blocks = [
            Block(block.section, block.role, block.kind, digest, count)
            for block, digest, count in zip(read.blocks, digests, counts, strict=True)
        ]
        points = [CachePoint(point.after - 1, point.ttl) for point in read.points]
        return Outline.of_blocks(blocks), points, self.endpoint.settings.catalog.resolve(request["modelId"])


@pytest.fixture(scope="module")
def witnesses() -> Iterator[Witnesses]:
    """Both, on one clock that stands still between the requests."""
    clock = MovableClock(base=lambda: 0.0)
    with LocalEndpoint(engine="extract", clock=clock, catalog=small_catalog(), max_cache_entries=1_000_000) as endpoint:
        yield Witnesses(endpoint, endpoint.client(config=Config(retries={"total_max_attempts": 1})))


def test_it_agrees_to_the_token_on_a_thousand_random_conversations(witnesses: Witnesses) -> None:
    """The same is billed, and the same points are refused."""
    for seed in range(CONVERSATIONS):
        for number, (seconds, request) in enumerate(Conversation(Random(seed)).requests()):
            witnesses.endpoint.advance(seconds)
            billed, simulated = witnesses.bill_both(request)
            assert simulated == billed, f"request {number} of conversation {seed}"
    # The agreement is not one about nothing: each bucket had its part.
    assert min(witnesses.tokens.values()) > 30_000
    assert 20 < witnesses.refused < 800


RULES: Final = CacheRules(
    minimum_tokens=150,
    max_points=4,
    sections=frozenset({"messages"}),
    ttls=("5m", "1h"),
    with_tool_results=True,
)
_prefixes = st.lists(st.sampled_from("ab"), min_size=1, max_size=5)
_delays = st.sampled_from([0.0, 0.0, 1.0, 250.0, 400.0])
_exchanges = st.lists(
    st.tuples(_prefixes, st.lists(st.sampled_from(["5m", "1h"]), max_size=3), st.sampled_from(GAPS), _delays),
    max_size=9,
)


def endpoint_point(point: CachePoint) -> EndpointPoint:
    return EndpointPoint(after=point.after + 1, ttl=point.ttl, section="messages", position=1, pointer="")


@settings(max_examples=300, deadline=None)
@given(exchanges=_exchanges, lookback=st.integers(0, 2), random=st.randoms(use_true_random=False))
def test_requests_in_flight_read_and_write_as_at_the_endpoint(
    exchanges: list[tuple[list[str], list[str], int, float]], lookback: int, random: Random
) -> None:
    """The endpoint's cache, committed to when each first token is out, gives the same buckets."""
    model = Model(id="any", invoke_id="any", name="Any", cache=replace(RULES, lookback_blocks=lookback))
    simulator, cache, now = BillingSimulator(), PrefixCache(), 0.0
    coming: list[tuple[float, int, Any]] = []
    for number, (names, ttls, gap, delay) in enumerate(exchanges):
        now += gap
        for begins, _, plan in sorted(one for one in coming if one[0] <= now):
            cache.expire(now=begins)
            cache.commit(plan, now=begins)
        coming = [one for one in coming if one[0] > now]
        chain = ["/".join(names[: end + 1]).encode() for end in range(len(names))]
        prompt = Outline.of_blocks(Block("messages", "user", "text", digest, 100) for digest in chain)
        at = sorted(random.sample(range(len(names)), min(len(ttls), len(names))))
        points = [CachePoint(after, ttl) for after, ttl in zip(at, sorted(ttls), strict=False)]
        usage = simulator.bill(prompt, points, model, now, first_token_after=delay)
        cache.expire(now=now)
        plan = cache.plan(
            chain=[b"", *chain],
            tokens=[100] * len(names),
            points=[endpoint_point(point) for point in points],
            rules=model.cache,
            now=now,
        )
        coming.append((now + delay, number, plan))
        if not delay:
            cache.commit(coming.pop()[2], now=now)
        assert (usage.uncached_tokens, usage.cache_read_tokens) == (plan.uncached_tokens, plan.read_tokens)
        assert usage.cache_write_5m_tokens == plan.write_5m_tokens
        assert usage.cache_write_1h_tokens == plan.write_1h_tokens
