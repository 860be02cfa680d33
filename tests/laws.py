"""The laws of the design as checks over whole Converse requests, and the strategies that make such requests.

`tests/test_laws.py` runs each law on a thousand examples, `benchmarks/laws.py` on a hundred thousand. The witness of
where a cache point is taken is the local endpoint's own reading of the request, not the core's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator
from hypothesis import assume
from hypothesis import strategies as st

from pointsman import CachePoint, Catalog, Client, Ledger, NoEligibleModelError, Outline, Prompt, Router, place
from pointsman.catalog import Model
from pointsman.local.blocks import parse_json, read_request
from pointsman.local.rules import check_cache_points
from pointsman.local.shapes import reader
from pointsman.routing import RouterRegistry, RoutingCriteria
from pointsman.tokens import EstimatedTokens
from pointsman.usage import Usage

Request = dict[str, Any]
Drawn = Callable[[st.SearchStrategy[Any]], Any]

KEY: Final = b"the key of the laws"
CLAUDE: Final = (
    "anthropic.claude-haiku-5-5",
    "us.anthropic.claude-sonnet-5-5",
    "eu.anthropic.claude-opus-4-5-20251101-v1:0",
    "arn:aws:bedrock:us-west-2::foundation-model/anthropic.claude-3-7-sonnet-20250219-v1:0",
    "arn:aws:bedrock:eu-west-1:123412341234:inference-profile/eu.anthropic.claude-sonnet-4-6",
)
NOVA: Final = ("amazon.nova-micro-v1:0", "us.amazon.nova-pro-v1:0", "us.amazon.nova-2-lite-v1:0")
WITHOUT_CACHE: Final = ("meta.llama3-1-8b-instruct-v1:0", "anthropic.claude-3-haiku-20240307-v1:0")
UNKNOWN: Final = (
    "someone.something-v9:0",
    "arn:aws:bedrock:us-east-1:123412341234:application-inference-profile/a1b2c3",
    "arn:aws:bedrock:us-east-1:123412341234:prompt-router/unknown-to-us",
)
MIXED: Final = "mixed families"
_DEFAULT: Final = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/"
ROUTERS: Final = (f"{_DEFAULT}anthropic.claude:1", f"{_DEFAULT}amazon.nova:1", f"{_DEFAULT}meta.llama:1", MIXED)
KNOWN: Final = CLAUDE + NOVA + WITHOUT_CACHE

CATALOG: Final = Catalog.default()
REGISTRY: Final = RouterRegistry(
    [
        Router(
            name=MIXED,
            models=("amazon.nova-lite-v1:0", "meta.llama3-1-70b-instruct-v1:0", "us.anthropic.claude-haiku-5-5"),
            fallback_model="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            criteria=RoutingCriteria(response_quality_difference=0.1),
        )
    ],
    catalog=CATALOG,
)

_SERVICE: Final = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")
_CONVERSE: Final = _SERVICE.operation_model("Converse")
_SERIALIZER: Final = create_serializer("rest-json")

# --- strategies -------------------------------------------------------------------------------------------------
# All of them are made once: Hypothesis examines each new one, which costs more than drawing from it.

_words = st.sampled_from(["track", "train", "signal", "points", "lever", "section", "brake", "driver", "guard"])
# Around the minimums of 512 to 4,096 tokens, and around the 20,000 that Nova caches at most.
_repeats = st.sampled_from([1, 1, 2, 40, 400, 900, 1700, 5000, 9000])
_texts = st.builds(lambda word, times: " ".join([word] * times), _words, _repeats)
_points = st.sampled_from([{"cachePoint": {"type": "default", **ttl}} for ttl in ({}, {"ttl": "5m"}, {"ttl": "1h"})])
_flags = st.booleans()
_places = st.integers(0, 3)


def _document(name: str, kind: str, text: str) -> Request:
    source = {"text": text} if kind == "txt" else {"bytes": text.encode()}
    return {"document": {"format": kind, "name": name, "source": source}}


def _reasoning_text(text: str, signed: bool) -> Request:
    signature = {"signature": "c2lnbmVk"} if signed else {}
    return {"reasoningContent": {"reasoningText": {"text": text, **signature}}}


def _tool(name: str, description: str) -> Request:
    schema = {"type": "object", "properties": {name: {"type": "string"}}}
    return {"toolSpec": {"name": name, "description": description, "inputSchema": {"json": schema}}}


def _use(use_id: str, argument: str) -> Request:
    return {"toolUse": {"toolUseId": use_id, "name": "look_up", "input": {"argument": argument}}}


_text_blocks = st.builds(lambda text: {"text": text}, _texts)
_images = st.builds(lambda word: {"image": {"format": "png", "source": {"bytes": word.encode()}}}, _words)
_documents = st.builds(_document, _words, st.sampled_from(["pdf", "txt", "md", "docx"]), _texts)
_reasoning = st.one_of(
    st.builds(_reasoning_text, _texts, _flags),
    st.builds(lambda word: {"reasoningContent": {"redactedContent": word.encode()}}, _words),
)
_json = st.builds(lambda late, by: {"json": {"late": late, "by": by, "share": by / 7}}, _flags, _places)
_asked = st.lists(st.one_of(_text_blocks, _text_blocks, _images, _documents), min_size=1, max_size=3)
_answered = st.lists(st.one_of(_text_blocks, _reasoning), min_size=1, max_size=2)
_calls = st.tuples(st.lists(_reasoning, max_size=1), st.lists(st.builds(_use, _words, _words), min_size=1, max_size=2))
_results = st.lists(st.one_of(_text_blocks, _json, _images, _documents), min_size=1, max_size=2)
_trailing = st.lists(_text_blocks, max_size=1)
_callers_points = st.lists(st.tuples(_places, _points), max_size=2)
_marked = st.sampled_from([False, False, True])


@st.composite
def _message_pairs(draw: Drawn) -> list[tuple[str, list[Request]]]:
    """A user message and the answer to it, with a tool call and its result between them or not."""
    messages = [("user", draw(_asked))]
    if draw(_flags):
        reasoning, uses = draw(_calls)
        content = draw(_results)
        results = [{"toolResult": {"toolUseId": use["toolUse"]["toolUseId"], "content": content}} for use in uses]
        messages.append(("assistant", [*reasoning, *uses]))
        messages.append(("user", [*results, *draw(_trailing)]))
    return [*messages, ("assistant", draw(_answered))]


_pairs = st.lists(_message_pairs(), min_size=1, max_size=3)
_systems = st.lists(_text_blocks, max_size=2)
_tools = st.lists(st.builds(_tool, _words, _texts), max_size=3)
_choices = st.sampled_from(
    [{}, {"toolChoice": {"auto": {}}}, {"toolChoice": {"any": {}}}, {"toolChoice": {"tool": {"name": "it"}}}]
)
_OUTPUT_SCHEMA: Final = {"type": "json_schema", "structure": {"jsonSchema": {"name": "answer", "schema": "{}"}}}
_settings = st.sampled_from(
    [
        {},
        {},
        {"inferenceConfig": {"maxTokens": 5_000, "temperature": 0.0, "stopSequences": ["END"]}},
        {"inferenceConfig": {"maxTokens": 90_000, "topP": 0.5}},
        {"additionalModelRequestFields": {"thinking": {"type": "adaptive"}}},
        {"additionalModelRequestFields": {"top_k": 5}},
        {"additionalModelRequestFields": {"reasoning_config": {"type": "enabled"}, "top_k": 5}},
        {"outputConfig": {"effort": "low"}},
        {"outputConfig": {"textFormat": _OUTPUT_SCHEMA}},
    ]
)


@st.composite
def requests(draw: Drawn) -> Request:
    """A whole Converse request without `modelId`.

    The caller's cache points stand anywhere in it, first in a list and doubled ones too.
    """

    def marked(blocks: list[Request]) -> list[Request]:
        if not draw(_marked):
            return blocks
        for place_of, point in draw(_callers_points):
            blocks.insert(min(place_of, len(blocks)), point)
        return blocks

    request: Request = {}
    if tools := draw(_tools):
        request["toolConfig"] = {"tools": marked(tools), **draw(_choices)}
    if system := draw(_systems):
        request["system"] = marked(system)
    messages = [message for pair in draw(_pairs) for message in pair]
    # It ends with the user's word, a tool's result, or the beginning of an answer.
    ended = messages if draw(_marked) else messages[:-1]
    request["messages"] = [{"role": role, "content": marked(list(content))} for role, content in ended]
    return {**request, **draw(_settings)}


raw_usages = st.builds(
    lambda uncached, read, written, output, share: {
        "inputTokens": uncached,
        "cacheReadInputTokens": read,
        "cacheWriteInputTokens": written,
        "outputTokens": output,
        "totalTokens": uncached + read + written + output,
        "cacheDetails": [
            {"ttl": "1h", "inputTokens": written * share // 4},
            {"ttl": "5m", "inputTokens": written - written * share // 4},
        ],
    },
    *[st.integers(0, 120_000)] * 3,
    st.integers(0, 4_000),
    st.integers(0, 4),
)

# --- driving ----------------------------------------------------------------------------------------------------


@dataclass
class RecordingBedrock:
    """Stands where a boto3 client would: keeps what it is sent, and answers with the usages that it was given."""

    usages: Sequence[Mapping[str, Any]]
    sent: list[Request] = field(default_factory=list)

    def converse(self, **request: Any) -> Request:
        """As boto3's."""
        usage = self.usages[len(self.sent) % len(self.usages)]
        self.sent.append(request)
        return {"output": {}, "stopReason": "end_turn", "usage": usage}


@dataclass(frozen=True)
class Exchange:
    """One request of a conversation: what was asked, what was sent for it, and the reply."""

    asked: Request
    sent: Request
    reply: Request

    @property
    def model(self) -> Model:
        """The model that was invoked."""
        return CATALOG.resolve(self.sent["modelId"])


def converse(request: Request, model_id: str, usages: Sequence[Mapping[str, Any]]) -> list[Exchange]:
    """The conversation that leads to the request, turn by turn, through a client of its own.

    A turn that no model of the router could serve is left out.
    """
    now = 1_800_000_000.0
    bedrock = RecordingBedrock(usages)
    client = Client(bedrock, routers=REGISTRY, ledger=Ledger(key=KEY), clock=lambda: now)
    exchanges = []
    for asked in _turns(request):
        asked["modelId"] = model_id
        try:
            reply = client.converse(**asked)
        except NoEligibleModelError:
            continue
        exchanges.append(Exchange(asked, bedrock.sent[-1], reply))
        now += 60.0
    return exchanges


def _turns(request: Request) -> Iterator[Request]:
    messages = request["messages"]
    ends = [end for end in range(1, len(messages)) if messages[end - 1]["role"] == "user"]
    for end in [*ends, len(messages)]:
        yield {**request, "messages": messages[:end]}


# --- laws -------------------------------------------------------------------------------------------------------


def request_is_not_mutated(request: Request, model_id: str, usages: Sequence[Mapping[str, Any]]) -> None:
    """The caller's request is not mutated."""
    before = deepcopy(request)
    converse(request, model_id, usages)
    assert request == before


def stripping_gives_back_the_request(request: Request, model_id: str, usages: Sequence[Mapping[str, Any]]) -> None:
    """Without cache points, what was sent is what the caller wrote without his; traced adaptations aside."""
    for exchange in converse(request, model_id, usages):
        changed = {change["field"].partition(".")[0] for change in exchange.reply["pointsman"]["changes"]}
        if exchange.reply["pointsman"]["router"] is not None:
            changed.add("modelId")
        sent, asked = stripped(exchange.sent), stripped(exchange.asked)
        assert {name for name in sent.keys() | asked.keys() if sent.get(name) != asked.get(name)} <= changed


def botocore_accepts_it(request: Request, model_id: str, usages: Sequence[Mapping[str, Any]]) -> None:
    """botocore's own validator accepts what was sent."""
    for exchange in converse(request, model_id, usages):
        report = ParamValidator().validate(exchange.sent, _CONVERSE.input_shape)
        assert not report.has_errors(), report.generate_report()


def points_are_taken(request: Request, model_id: str, usages: Sequence[Mapping[str, Any]]) -> None:
    """Never more cache points than the model allows, never one where it would be refused, TTLs never rising.

    For a model that nobody knows, exactly the caller's points.
    """
    for exchange in converse(request, model_id, usages):
        model = exchange.model
        if not model.known:
            assert exchange.sent == exchange.asked
            continue
        laid = points_of(exchange.sent)
        assert len(laid) <= model.cache.max_points
        ttls = [point.get("ttl", "5m") for point in laid]
        assert ttls == sorted(ttls), "1h stands before 5m"
        check_cache_points(read_request(parse_json(on_the_wire(exchange.sent)), reader("Converse")), model)


def same_input_gives_the_same(request: Request, model_id: str, usages: Sequence[Mapping[str, Any]]) -> None:
    """The same conversation gives the same decisions and placements."""
    first, second = (converse(deepcopy(request), model_id, usages) for _ in range(2))
    assert [exchange.sent for exchange in first] == [exchange.sent for exchange in second]
    assert [exchange.reply for exchange in first] == [exchange.reply for exchange in second]


def usage_adds_up(request: Request, model_id: str, usages: Sequence[Mapping[str, Any]]) -> None:
    """The trace's buckets add up to Bedrock's counters, and so does the cost to its buckets."""
    total = Usage()
    for exchange in converse(request, model_id, usages):
        raw, told = exchange.reply["usage"], exchange.reply["pointsman"]
        usage = Usage(**told["usage"])
        parts = usage.uncached_tokens, usage.cache_read_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens
        assert min(parts) >= 0
        assert sum(parts) == usage.input_tokens
        assert usage.uncached_tokens == raw["inputTokens"]
        assert usage.input_tokens + usage.output_tokens == raw["totalTokens"]
        total += usage
    assert total.input_tokens == total.uncached_tokens + total.cache_read_tokens + total.cache_write_tokens


def prefix_is_known_by_its_own(request: Request, at: int) -> None:
    """A prefix's digest depends on every block in it and on nothing behind it."""
    whole = outline_of(request)
    cut = at % len(whole.blocks)
    until, altered = _cut_behind(request, cut), _altered(request, cut)
    assume(_has_image(until) == _has_image(request) == _has_image(altered))
    digests = [block.digest for block in whole.blocks]
    assert [block.digest for block in outline_of(until).blocks] == digests[: cut + 1]
    others = [block.digest for block in outline_of(altered).blocks]
    assert others[:cut] == digests[:cut]
    assert not set(others[cut:]) & set(digests)
    assert len(set(digests)) == len(digests)


def recorded_outline_is_placed_alike(request: Request, model_id: str) -> None:
    """An outline made of recorded blocks gets the placement of the prompt that it was recorded from."""
    outline, model = outline_of(request), CATALOG.resolve(model_id)
    recorded = Outline.of_blocks(outline.blocks, points=outline.points)
    assert place(recorded, model, Ledger(), 0.0) == place(outline, model, Ledger(), 0.0)


def cache_points_round_trip(request: Request, ends: Sequence[int]) -> None:
    """The points that are laid on a prompt are those that its outline shows, and can be taken out again."""
    last = len(outline_of(request).blocks)
    chosen = [CachePoint(after, "5m") for after in sorted({end % last for end in ends})]
    laid = Prompt(request).with_cache_points(chosen)
    assert list(outline_of(laid).points) == chosen
    assert stripped(laid) == stripped(request) == Prompt(laid).without_cache_points()


# --- reading requests, apart from the core's own way ------------------------------------------------------------


def outline_of(request: Request) -> Outline:
    """The request's outline with the laws' key."""
    return Prompt(request).outline(EstimatedTokens(), key=KEY)


def block_lists(request: Request) -> Iterator[list[Request]]:
    """The three kinds of list that a cache point can stand in, in Bedrock's order."""
    if "toolConfig" in request:
        yield request["toolConfig"]["tools"]
    if "system" in request:
        yield request["system"]
    for message in request["messages"]:
        yield message["content"]


def stripped(request: Request) -> Request:
    """A copy without any cache point."""
    copy = deepcopy(request)
    for blocks in block_lists(copy):
        blocks[:] = [block for block in blocks if "cachePoint" not in block]
    return copy


def points_of(request: Request) -> list[Request]:
    """The cache points of a request, in order."""
    return [block["cachePoint"] for blocks in block_lists(request) for block in blocks if "cachePoint" in block]


def on_the_wire(request: Request) -> bytes:
    """The body that botocore sends for a request."""
    body = _SERIALIZER.serialize_to_request(request, _CONVERSE)["body"]
    return body if isinstance(body, bytes) else bytes(body, "utf-8")


def _cut_behind(request: Request, at: int) -> Request:
    copy = stripped(request)
    left = at + 1
    for blocks in block_lists(copy):
        del blocks[left:]
        left -= len(blocks)
    copy["messages"] = [message for message in copy["messages"] if message["content"]]
    return copy


def _altered(request: Request, at: int) -> Request:
    copy = stripped(request)
    for blocks in block_lists(copy):
        if at < len(blocks):
            block = blocks[at]
            blocks[at] = {**block, **_other_content(block)}
            return copy
        at -= len(blocks)
    raise AssertionError("the block to alter is not in the request")


def _other_content(block: Request) -> Request:
    (name, content), *_ = block.items()
    if isinstance(content, str):
        return {name: content + "."}
    return {name: {**content, "name": "another"}}


def _has_image(request: Request) -> bool:
    contents = [block for message in request["messages"] for block in message["content"]]
    nested = [one for block in contents for one in block.get("toolResult", {}).get("content", ())]
    return any("image" in block for block in (*contents, *nested))


CONVERSATION_LAWS: Final = (
    request_is_not_mutated,
    stripping_gives_back_the_request,
    botocore_accepts_it,
    points_are_taken,
    same_input_gives_the_same,
    usage_adds_up,
)
