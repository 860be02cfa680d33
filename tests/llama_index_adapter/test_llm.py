"""`Pointsman` over HTTP: who is asked, what he is told, and what the responses tell of it."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from inspect import isawaitable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    ContentBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.tools import FunctionTool
from talks import text_of
from wire import Wire

import pointsman
from llama_index.llms.pointsman import Pointsman
from pointsman import Catalog, Client, InvalidRequestError, Model, Prompt, Router, RouterRegistry, RoutingCriteria
from pointsman.errors import PointsmanWarning, RouterNotFoundError
from pointsman.local import LocalEndpoint

CLAUDE = "us.anthropic.claude-sonnet-4-6"
SONNET = "us.anthropic.claude-sonnet-5-5"
NOVA = "us.amazon.nova-pro-v1:0"
LLAMA = "us.meta.llama3-1-8b-instruct-v1:0"
DEFAULT = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/"
CLAUDES, LLAMAS = DEFAULT + "anthropic.claude:1", DEFAULT + "meta.llama:1"
HELLO = "Describe the purpose of a 'hello world' program in one line."
RULES = "Trains from Bern to Spiez leave at seven, and in heavy snow every hour only. " * 150
PROSE = "A signal protects its section. " * 40 + "What protects a section?"
AT_ONCE = 30
LONG_ENOUGH = 30.0
"""Seconds after which a test has failed that waits for what should come at once."""
WAYS = pytest.mark.parametrize("way", ["chat", "achat", "stream_chat", "astream_chat"])
COMPLETIONS = pytest.mark.parametrize("way", ["complete", "acomplete", "stream_complete", "astream_complete"])


class Expected:
    """Expects the best answers of one model, whatever is asked."""

    def __init__(self, best: str) -> None:
        self.best = best

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Mapping[str, Any]:
        """1 for that model, 0 for the others."""
        return {model.id: np.full(len(prompts), float(model.invoke_id == self.best)) for model in models}


def preferring(best: str, other: str, *, fallback: str | None = None, name: str = "pair") -> Router:
    """A router that chooses the first of two models while that answers."""
    criteria = RoutingCriteria(response_quality_difference=0.0)
    return Router(
        name=name,
        models=(best, other),
        fallback_model=fallback or other,
        criteria=criteria,
        predictor=Expected(best),
    )


def get_weather(location: str) -> str:
    """Get the weather at a location."""
    return f"Sunny in {location}."


WEATHER = FunctionTool.from_defaults(get_weather)


def said(*blocks: ContentBlock | str, role: str = "user", **more: Any) -> ChatMessage:
    """A message of texts and cache points."""
    made = [TextBlock(text=one) if isinstance(one, str) else one for one in blocks]
    return ChatMessage(role=MessageRole(role), blocks=made, additional_kwargs=more)


def point(ttl: str = "5m") -> CachePoint:
    """A cache point of LlamaIndex."""
    return CachePoint(cache_control=CacheControl(type="default", ttl=ttl))


async def ask(llm: Any, prompt: Any = HELLO, way: str = "chat", **kwargs: Any) -> Any:
    """The response to a prompt, of a stream its last chunk."""
    if isinstance(prompt, str) and "chat" in way:
        prompt = [said(prompt)]
    given = getattr(llm, way)(prompt, **kwargs)
    if isawaitable(given):
        given = await given
    if isinstance(given, AsyncIterator):
        given = [one async for one in given]
    elif isinstance(given, Iterator):
        given = list(given)
    return given[-1] if isinstance(given, list) else given


def trace_of(response: Any) -> Any:
    """The story of the request."""
    return response.raw["pointsman"]


@pytest.fixture
def wire(endpoint: LocalEndpoint, boto3_client: Any) -> Wire:
    """What goes out over HTTP."""
    return Wire(endpoint, boto3_client)


@pytest.fixture
def made(wire: Wire) -> Callable[..., Pointsman]:
    """Makes LLMs that ask the endpoint."""

    def make(model: str = CLAUDE, **kwargs: Any) -> Pointsman:
        return Pointsman(model, **{"client": wire.boto3_client, "max_retries": 1, **kwargs})

    return make


class Bedrock:
    """In boto3's place: answers at once, or when so many ask at the same time; keeps what it was asked."""

    def __init__(self, at_once: int = 1, connections: int = 64) -> None:
        self.meta = SimpleNamespace(config=Config(max_pool_connections=connections), region_name="us-east-1")
        names = ("Throttling", "InternalServer", "ServiceUnavailable", "ModelTimeout")
        self.exceptions = SimpleNamespace(**{f"{name}Exception": type(name, (Exception,), {}) for name in names})
        self.requests: list[dict[str, Any]] = []
        self.threads: set[str] = set()
        self._barrier = threading.Barrier(at_once)

    def converse(self, **request: Any) -> dict[str, Any]:
        """A short answer."""
        self.requests.append(request)
        self._barrier.wait(LONG_ENOUGH)
        message = {"role": "assistant", "content": [{"text": "Yes."}]}
        return {"output": {"message": message}, "usage": {"inputTokens": 9, "outputTokens": 2, "totalTokens": 11}}

    def converse_stream(self, **request: Any) -> dict[str, Any]:
        """The same, a letter at a time."""
        self.requests.append(request)
        return {"stream": self}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for letter in "Yes indeed.":
            self.threads.add(threading.current_thread().name)
            yield {"contentBlockDelta": {"delta": {"text": letter}, "contentBlockIndex": 0}}
        yield {"messageStop": {"stopReason": "end_turn"}}
        yield {"metadata": {"usage": {"inputTokens": 9, "outputTokens": 2, "totalTokens": 11}}}

    def close(self) -> None:
        """As an event stream's."""


class TestMetadata:
    """What engines ask before they ask anything."""

    def test_of_every_model(self) -> None:
        """By the catalogue, for a bare id and each of its profiles."""
        bedrock = Bedrock()
        for model in Catalog.default().models:
            for name in (model.id, *(f"{geo}.{model.id}" for geo in model.profiles if geo)):
                told = Pointsman(name, client=bedrock).metadata
                assert told.model_name == name
                assert told.context_window == (model.context_window or 3900)
                assert told.is_function_calling_model is model.capabilities.tools
                assert (told.is_chat_model, told.num_output) == (True, 512)

    @pytest.mark.parametrize("named", [CLAUDES, LLAMAS, "Anthropic Prompt Router", "pair"])
    def test_of_a_router(self, named: str) -> None:
        """Its shortest window; tools, if any of its models has them."""
        registry = RouterRegistry([preferring(NOVA, LLAMA)])
        router = registry.router(named)
        assert router is not None
        models = [registry.catalog.resolve(one) for one in router.model_ids]
        told = Pointsman(named, client=Bedrock(), routers=[preferring(NOVA, LLAMA)]).metadata
        assert told.context_window == min(model.context_window or 0 for model in models) > 0
        assert told.is_function_calling_model is True
        assert told.model_name == named

    def test_of_an_unknown_model(self) -> None:
        """LlamaIndex's own guess, and no refusal: plain BedrockConverse raises."""
        with pytest.warns(PointsmanWarning):
            told = Pointsman("somebody.else-v1:0", client=Bedrock()).metadata
        assert (told.context_window, told.is_function_calling_model) == (3900, True)

    def test_forced_tool_choice_by_the_catalogue(self) -> None:
        """Of a model that can't be forced, LlamaIndex is told so; a router is left to the core."""
        for name, forced in ((SONNET, False), (CLAUDE, True), (LLAMA, False), (CLAUDES, True), (LLAMAS, True)):
            assert Pointsman(name, client=Bedrock()).supports_forced_tool_calls is forced
        assert (
            Pointsman(CLAUDES, client=Bedrock(), supports_forced_tool_calls=False).supports_forced_tool_calls is False
        )


class TestRouting:
    """Which model is asked, and what is told of it."""

    @WAYS
    @pytest.mark.parametrize("model", ["pair", CLAUDES, "Anthropic Prompt Router", CLAUDE])
    async def test_the_model_that_answered_is_named(
        self, model: str, way: str, made: Callable[..., Pointsman], wire: Wire
    ) -> None:
        """`raw["pointsman"]` has the trace, of a stream in its last chunk."""
        response = await ask(made(model, routers=[preferring(NOVA, CLAUDE)]), HELLO, way)
        trace = trace_of(response)
        assert trace["status"] == "complete"
        assert trace["invoked_model_id"].endswith(wire.requests[0]["modelId"])
        assert (trace["router"] is None) is (model == CLAUDE)
        told = response.raw.get("trace") or response.raw.get("metadata", {}).get("trace") or {}
        assert ("promptRouter" in told) is (model != CLAUDE)

    @COMPLETIONS
    async def test_completions_name_it_too(self, way: str, made: Callable[..., Pointsman]) -> None:
        """`raw` is not lost on the way."""
        response = await ask(made("pair", routers=[preferring(NOVA, CLAUDE)]), HELLO, way)
        assert trace_of(response)["invoked_model_id"] == NOVA

    @WAYS
    async def test_the_model_that_took_over_is_named(
        self, way: str, made: Callable[..., Pointsman], endpoint: LocalEndpoint
    ) -> None:
        """Where the chosen model is throttled and another answers, it is the other."""
        endpoint.faults.inject("throttle", model=NOVA)
        response = await ask(made("pair", routers=[preferring(NOVA, CLAUDE)]), HELLO, way)
        assert trace_of(response)["invoked_model_id"] == CLAUDE
        assert trace_of(response)["attempts"] == [{"model": NOVA, "error": "ThrottlingException"}]

    @WAYS
    async def test_a_call_may_name_another_model(self, way: str, made: Callable[..., Pointsman]) -> None:
        """A model or a router; the LLM's own stays what it is."""
        llm = made(routers=[preferring(NOVA, CLAUDE)])
        for named, invoked in (("pair", NOVA), (NOVA, NOVA), (LLAMA, LLAMA), (None, CLAUDE)):
            response = await ask(llm, HELLO, way, **({"model": named} if named else {}))
            assert trace_of(response)["invoked_model_id"] == invoked

    @COMPLETIONS
    async def test_so_may_a_completion(self, way: str, made: Callable[..., Pointsman]) -> None:
        """And `chat_with_tools`."""
        assert trace_of(await ask(made(), HELLO, way, model=NOVA))["invoked_model_id"] == NOVA
        response = made().chat_with_tools([WEATHER], "What is the weather in Paris?", model=NOVA)
        assert trace_of(response)["invoked_model_id"] == NOVA

    async def test_calls_share_what_was_learnt(self, made: Callable[..., Pointsman], boto3_client: Any) -> None:
        """Of a `pointsman.Client` that several LLMs are given."""
        client = Client(boto3_client)
        prompt = [said(RULES, role="system"), said("When do trains leave?")]
        await ask(made(client=client), prompt)
        assert trace_of(await ask(made(client=client), prompt, "achat"))["expected_read_tokens"] > 2000
        assert trace_of(await ask(made(), prompt))["expected_read_tokens"] == 0


class TestShaping:
    """Requests are shaped for the model, those to a router for all that its models might take."""

    @pytest.mark.parametrize(("model", "taken"), [(CLAUDE, True), (SONNET, False), (NOVA, True)])
    async def test_temperature_of_a_model(
        self, model: str, taken: bool, made: Callable[..., Pointsman], wire: Wire
    ) -> None:
        """Left out silently where the model takes none."""
        response = await ask(made(model, temperature=0.3))
        assert ("temperature" in wire.requests[0]["inferenceConfig"]) is taken
        assert trace_of(response)["changes"] == []

    @WAYS
    async def test_temperature_of_a_router(self, way: str, made: Callable[..., Pointsman], wire: Wire) -> None:
        """The core leaves it out, by name, for a model that takes none; nothing is warned of."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            llm = made("pair", routers=[preferring(SONNET, NOVA)], temperature=0.3)
            response = await ask(llm, HELLO, way)
            (change,) = trace_of(response)["changes"]
            assert change["field"] == "inferenceConfig.temperature"
            other = made("pair", routers=[preferring(NOVA, SONNET)], temperature=0.3)
            assert trace_of(await ask(other, HELLO, way))["changes"] == []
        assert [request["inferenceConfig"].get("temperature") for request in wire.requests] == [None, 0.3]

    async def test_settings_go_with_the_call(self, made: Callable[..., Pointsman], wire: Wire) -> None:
        """`max_tokens` and `additional_kwargs` are upstream's own."""
        fields = {"additionalModelRequestFields": {"top_k": 5}}
        await ask(made(max_tokens=77, additional_kwargs=fields))
        assert wire.requests[0]["inferenceConfig"] == {"maxTokens": 77, "temperature": 0.1}
        assert wire.requests[0]["additionalModelRequestFields"] == {"top_k": 5}

    @pytest.mark.parametrize(("best", "forced"), [(NOVA, True), (CLAUDE, True)])
    async def test_a_tool_may_be_required_of_a_router(
        self, best: str, forced: bool, made: Callable[..., Pointsman], wire: Wire
    ) -> None:
        """Also where its fallback model can't be forced."""
        llm = made("pair", routers=[preferring(best, LLAMA)])
        response = llm.chat_with_tools([WEATHER], "Hello!", tool_required=True)
        assert wire.requests[-1]["toolConfig"]["toolChoice"] == {"any": {}}
        assert [one.tool_name for one in llm.get_tool_calls_from_response(response)] == ["get_weather"] * forced

    async def test_the_core_weakens_a_choice_that_none_can_be_forced_to(self, made: Callable[..., Pointsman]) -> None:
        """And says so."""
        response = made(LLAMAS).chat_with_tools([WEATHER], "What is the weather in Paris?", tool_required=True)
        (change,) = [one for one in trace_of(response)["changes"] if one["field"] == "toolConfig.toolChoice"]
        assert "weakened to auto" in change["done"]

    @pytest.mark.parametrize("way", ["stream_chat", "astream_chat"])
    async def test_a_streamed_call_stands_once_in_the_history(
        self, way: str, made: Callable[..., Pointsman], wire: Wire
    ) -> None:
        """Though its message names it twice, in a block and where LlamaIndex's structured streams look for it."""
        llm = made()
        tools = llm._prepare_chat_with_tools([WEATHER])["tools"]
        last = await ask(llm, asked := [said("What is the weather in Paris?")], way, tools=tools)
        (named,) = last.message.additional_kwargs["tool_calls"]
        told = said("Sunny.", role="tool", tool_call_id=named["toolUseId"])
        await ask(llm, [*asked, last.message, told], way, tools=tools)
        called = [
            block["toolUse"]
            for message in wire.requests[-1]["messages"]
            for block in message["content"]
            if "toolUse" in block
        ]
        assert [call["input"] for call in called] == [named["input"]]

    @pytest.mark.parametrize(("best", "changed"), [(CLAUDE, []), (NOVA, ["additionalModelRequestFields"])])
    async def test_thinking_on_a_router(
        self, best: str, changed: list[str], made: Callable[..., Pointsman], wire: Wire
    ) -> None:
        """Goes to a model that takes it, and is left out by name for another; nothing is warned of."""
        thinking = {"type": "enabled", "budget_tokens": 1024}
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            router = preferring(best, "us.anthropic.claude-opus-4-5-20251101-v1:0")
            llm = made("pair", routers=[router], thinking=thinking, max_tokens=2000, temperature=1.0)
        response = await ask(llm)
        fields = wire.requests[0].get("additionalModelRequestFields")
        assert fields == (None if changed else {"thinking": thinking})
        assert [change["field"] for change in trace_of(response)["changes"]] == changed

    @pytest.mark.filterwarnings("error::UserWarning")
    def test_upstream_still_warns_of_one_model(self, made: Callable[..., Pointsman]) -> None:
        """What it says of a model that was named is true."""
        with pytest.raises(UserWarning, match="non-reasoning"):
            made(NOVA, thinking={"type": "enabled", "budget_tokens": 1024})


class TestCachePoints:
    """Cache points of one's own arrive with their TTLs, whoever answers."""

    @WAYS
    @pytest.mark.parametrize("model", [CLAUDE, CLAUDES, "pair"])
    async def test_in_the_system_prompt(self, model: str, way: str, made: Callable[..., Pointsman], wire: Wire) -> None:
        """Between its texts; of two, the longer TTL first."""
        system = said(RULES, point("1h"), f"Really. {RULES}", point(), "Be brief.", role="system")
        await ask(made(model, routers=[preferring(CLAUDE, NOVA)]), [system, said(HELLO)], way)
        told = wire.requests[0]["system"]
        # Behind them stands one of the core's.
        assert [block.get("text", "")[:5] for block in told[:5]] == ["Train", "", "Reall", "", "Be br"]
        points = [block["cachePoint"] for block in told[:5] if "cachePoint" in block]
        assert [one.get("ttl") for one in points] in (["1h", None], ["1h", "5m"])

    @WAYS
    @pytest.mark.parametrize("model", [CLAUDE, CLAUDES, "pair"])
    async def test_in_the_users_message(self, model: str, way: str, made: Callable[..., Pointsman], wire: Wire) -> None:
        """Where it stood."""
        asked = [said(RULES, point("1h"), "When do trains leave?")]
        response = await ask(made(model, routers=[preferring(CLAUDE, NOVA)]), asked, way)
        (message,) = wire.requests[0]["messages"]
        assert message["content"][:2] == [{"text": RULES}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
        assert trace_of(response)["usage"]["cache_write_1h_tokens"] > 2000
        assert [block.block_type for block in asked[0].blocks] == ["text", "cache", "text"]

    @WAYS
    @pytest.mark.parametrize("model", [CLAUDE, CLAUDES])
    async def test_behind_what_a_tool_gave(
        self, model: str, way: str, made: Callable[..., Pointsman], wire: Wire
    ) -> None:
        """Bedrock takes none within."""
        call = ToolCallBlock(tool_name="get_weather", tool_kwargs={"location": "Paris"}, tool_call_id="call_1")
        history = [
            said("What is the weather in Paris?"),
            said(call, role="assistant"),
            said(RULES, point("1h"), role="tool", tool_call_id="call_1", status="error"),
        ]
        llm = made(model)
        await ask(llm, history, way, tools=llm._prepare_chat_with_tools([WEATHER])["tools"])
        *_, last = wire.requests[0]["messages"]
        result, marked = last["content"][:2]
        assert result["toolResult"]["content"] == [{"text": RULES}]
        assert result["toolResult"]["status"] == "error"
        assert marked == {"cachePoint": {"type": "default", "ttl": "1h"}}

    async def test_no_mark_is_left(self, made: Callable[..., Pointsman], wire: Wire) -> None:
        """Wherever they stand, even many: Bedrock gets cache points, or none, and no text for them."""
        messages = [
            said(point(), "You answer.", point("1h"), role="system"),
            said(point(), "One.", point(), "Two.", point("1h")),
            said("Yes.", point(), role="assistant"),
            said("And?", point()),
        ]
        for model in (CLAUDE, NOVA, LLAMA, CLAUDES):
            await ask(made(model), messages)
            assert "cache point" not in wire.bodies[-1].decode()
            assert [len(one["content"]) > 0 for one in wire.requests[-1]["messages"]] == [True] * 3

    async def test_text_that_looks_like_a_mark_stays_text(self, made: Callable[..., Pointsman], wire: Wire) -> None:
        """Marks can't be guessed."""
        await ask(made(), [said("See [cache point 0123456789abcdef ttl=1h].", point())])
        assert wire.requests[0]["messages"][0]["content"][0]["text"] == "See [cache point 0123456789abcdef ttl=1h]."

    @pytest.mark.parametrize("way", ["chat_with_tools", "achat_with_tools"])
    async def test_tool_caching(self, way: str, made: Callable[..., Pointsman], wire: Wire) -> None:
        """A point behind the tools, as upstream has it with aioboto3 only; of a call, if it says so."""
        rules = FunctionTool.from_defaults(get_weather, description=RULES)
        for llm, more in ((made(tool_caching=True), {}), (made(), {"tool_caching": True})):
            given = getattr(llm, way)([rules], "What is the weather in Paris?", **more)
            _ = await given if isawaitable(given) else given
            assert "cachePoint" in wire.requests[-1]["toolConfig"]["tools"][-1]
            assert [part for part in wire.requests[-1]["toolConfig"]["tools"] if "cachePoint" in part] == [
                {"cachePoint": {"type": "default"}}
            ]

    @WAYS
    async def test_system_prompt_caching(self, way: str, made: Callable[..., Pointsman], wire: Wire) -> None:
        """A point behind the system prompt; where one stands already, no second one."""
        llm = made(system_prompt_caching=True)
        for points in ((), (point("1h"),)):
            await ask(llm, [said(RULES, *points, role="system"), said(HELLO)], way)
            assert [next(iter(block)) for block in wire.requests[-1]["system"]] == ["text", "cachePoint"]
            assert wire.requests[-1]["system"][-1]["cachePoint"].get("ttl") in (("1h",) if points else (None, "5m"))


class TestSession:
    """The conversation that a call belongs to."""

    @WAYS
    @pytest.mark.parametrize("how", ["session", "id", "tag", "context", "constructor"])
    async def test_a_call_finds_its_session(self, way: str, how: str, made: Callable[..., Pointsman]) -> None:
        """Given as itself or by its id, by a tag, the current one, or the LLM's own: its documents are looked for."""
        mine, another = (pointsman.session(f"{name} {way} {how}", scope="default") for name in ("mine", "another"))
        for one in (mine, another):
            one.register([pointsman.Document(id=one.id, text=text_of(1))])
        named = {"session": {"session": mine}, "id": {"session": mine.id}}.get(how, {})
        llm = made(session=mine.id) if how == "constructor" else made()
        tags = {"pointsman_session": mine} if how == "tag" else {}
        with mine if how == "context" else another, instrument_tags(tags):
            response = await ask(llm, HELLO, way, **named)
        assert trace_of(response)["documents"]["not_found"] == [mine.id]
        mine.close()
        another.close()

    @COMPLETIONS
    async def test_so_does_a_completion(self, way: str, made: Callable[..., Pointsman]) -> None:
        """By its id."""
        with pointsman.session(f"mine {way}", scope="default") as mine:
            mine.register([pointsman.Document(id="1", text=text_of(1))])
        assert trace_of(await ask(made(), HELLO, way, session=mine.id))["documents"]["not_found"] == ["1"]
        mine.close()

    async def test_the_constructors_id_is_one_conversation_in_each_scope(self, made: Callable[..., Pointsman]) -> None:
        """As a retriever's: the scope is that of the call."""
        llm = made(session="talk")
        for scope in ("a", "b"):
            session = pointsman.session("talk", scope=scope)
            session.register([pointsman.Document(id=scope, text=text_of(1))])
            with instrument_tags({"pointsman_scope": scope}):
                assert trace_of(await ask(llm))["documents"]["not_found"] == [scope]
            session.close()

    @WAYS
    async def test_there_may_be_none(self, way: str, made: Callable[..., Pointsman]) -> None:
        """Nothing is looked for."""
        assert trace_of(await ask(made(), HELLO, way))["documents"] is None

    async def test_it_is_looked_up_before_the_first_chunk(self, made: Callable[..., Pointsman]) -> None:
        """A stream that is read elsewhere later belongs to whom it was begun for."""
        llm = made()
        with pointsman.session("begun", scope="default") as session:
            session.register([pointsman.Document(id="1", text=text_of(1))])
            waiting, awaiting = llm.stream_chat([said(HELLO)]), await llm.astream_chat([said(HELLO)])
        last = contextvars.Context().run(list, waiting)[-1]
        assert trace_of(last)["documents"]["not_found"] == ["1"]
        *_, last = [chunk async for chunk in awaiting]
        assert trace_of(last)["documents"]["not_found"] == ["1"]
        session.close()


class TestErrors:
    """The caller's mistakes are told before anything is sent."""

    async def test_a_mistyped_router_is_told_with_those_there_are(
        self, made: Callable[..., Pointsman], endpoint: LocalEndpoint
    ) -> None:
        """When it is made, and by the call that names it."""
        known = "Known routers: .*Nova Prompt Router, everyday"
        routers = [preferring(NOVA, CLAUDE, name="everyday")]
        with pytest.raises(RouterNotFoundError, match=f"there is no router 'everday'.*{known}"):
            made("everday", routers=routers)
        for way in ("chat", "astream_chat", "complete"):
            with pytest.raises(RouterNotFoundError, match=f"there is no router 'everday'.*{known}"):
                await ask(made(routers=routers), HELLO, way, model="everday")
        assert endpoint.account()["requests"] == 0

    @WAYS
    @pytest.mark.parametrize(
        ("wrong", "told"), [({"model": 7}, "the model is 7"), ({"session": 3.5}, r"the session is 3\.5")]
    )
    async def test_arguments_of_a_call(
        self, wrong: dict[str, Any], told: str, way: str, made: Callable[..., Pointsman], endpoint: LocalEndpoint
    ) -> None:
        """What is neither a model nor a router, or no session."""
        with pytest.raises(InvalidRequestError, match=told):
            await ask(made(), HELLO, way, **wrong)
        assert endpoint.account()["requests"] == 0

    def test_arguments_of_the_constructor(self, made: Callable[..., Pointsman], boto3_client: Any) -> None:
        """A model that is none, a session that is none, routers beside a client that has its own."""
        with pytest.raises(InvalidRequestError, match="the model is 7"):
            made(7)
        with pytest.raises(InvalidRequestError, match=r"the session is 3\.5"):
            made(session=3.5)
        with pytest.raises(InvalidRequestError, match=r"beside a pointsman\.Client"):
            made(client=Client(boto3_client), routers=[])

    @WAYS
    async def test_bedrocks_last_word(self, way: str, made: Callable[..., Pointsman], endpoint: LocalEndpoint) -> None:
        """Is raised as it is, with the trace on it."""
        endpoint.faults.inject("throttle", times=9)
        with pytest.raises(ClientError) as caught:
            await ask(made(), HELLO, way)
        assert caught.value.pointsman["status"] == "failed"  # type: ignore[attr-defined]  # ours

    def test_without_bedrock_converse_it_says_what_to_install(self) -> None:
        """In a process where it can't be imported, from each of the three packages."""
        code = (
            "import sys\nsys.modules['llama_index.llms.bedrock_converse'] = None\nimport pointsman\n"
            "try:\n    import llama_index.llms.pointsman\n"
            "except pointsman.errors.MissingExtraError as exc:\n    print(exc)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert 'pip install "pointsman[llama-index]"' in done.stdout

    @pytest.mark.parametrize("package", ["llms", "retrievers", "postprocessor"])
    def test_without_llama_index_it_says_what_to_install(self, package: str) -> None:
        """The same where LlamaIndex itself is missing."""
        code = (
            "import sys\nsys.modules['llama_index.core'] = None\nimport pointsman\n"
            f"try:\n    import llama_index.{package}.pointsman\n"
            "except pointsman.errors.MissingExtraError as exc:\n    print(exc)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert 'pip install "pointsman[llama-index]"' in done.stdout


class TestClient:
    """Whom it asks through."""

    async def test_a_boto3_client_that_was_given_is_used(self, made: Callable[..., Pointsman], wire: Wire) -> None:
        """In each way."""
        for way in ("chat", "achat", "stream_chat", "astream_chat", "complete", "acomplete"):
            await ask(made(), HELLO, way)
        assert len(wire.requests) == 6

    @pytest.mark.parametrize(
        ("given", "connections"),
        [
            ({}, 64),
            ({"botocore_config": Config(max_pool_connections=7)}, 7),
            ({"botocore_config": Config(read_timeout=9)}, 64),
        ],
    )
    def test_one_of_its_own_has_a_pool_for_many(self, given: dict[str, Any], connections: int) -> None:
        """Unless the user's config says otherwise; what else that says holds, and upstream's own defaults do."""
        llm = Pointsman(CLAUDE, region_name="us-east-1", timeout=33.0, max_retries=2, **given)
        config = llm._client.meta.config
        assert config.max_pool_connections == connections
        assert llm._threads.most == connections
        if given:
            assert config.read_timeout == (given["botocore_config"].read_timeout or 60)
        else:
            assert (config.read_timeout, config.connect_timeout) == (33.0, 33.0)
            assert "x-client-framework:llama_index" in config.user_agent_extra
            assert config.retries["mode"] == "standard"

    async def test_many_are_asked_at_once(self) -> None:
        """None of them is answered before all have come."""
        llm = Pointsman(CLAUDE, client=Bedrock(AT_ONCE))
        responses = await asyncio.gather(*(ask(llm, HELLO, "achat") for _ in range(AT_ONCE)))
        assert [response.message.content for response in responses] == ["Yes."] * AT_ONCE

    async def test_one_thread_reads_a_stream(self) -> None:
        """No hop between threads per event."""
        bedrock = Bedrock()
        llm = Pointsman(CLAUDE, client=bedrock)
        chunks = [chunk async for chunk in await llm.astream_chat([said(HELLO)])]
        assert "".join(chunk.delta or "" for chunk in chunks) == "Yes indeed."
        assert len(bedrock.threads) == 1
        assert bedrock.threads != {threading.current_thread().name}

    def test_what_is_not_converse_is_boto3s(self, made: Callable[..., Pointsman], boto3_client: Any) -> None:
        """The client that upstream sees has all that boto3's has."""
        assert made()._client.exceptions is boto3_client.exceptions
        assert made()._client.meta is boto3_client.meta

    def test_aioboto3_changes_nothing(self, endpoint: LocalEndpoint) -> None:
        """Where it is installed upstream would open clients of its own for what is awaited."""
        code = f"""
import asyncio, sys, types
sys.modules["aioboto3"] = fake = types.ModuleType("aioboto3")
class Session:
    def __init__(self, **kwargs): pass
    def client(self, *args, **kwargs): raise AssertionError("upstream's own client")
fake.Session = Session
from llama_index.llms.bedrock_converse import utils
from llama_index.core.llms import ChatMessage
from llama_index.llms.pointsman import Pointsman
assert utils.HAS_AIOBOTO3
llm = Pointsman("{CLAUDE}", endpoint_url="{endpoint.url}", region_name="us-east-1", aws_access_key_id="k",
                aws_secret_access_key="s")
async def main():
    hello = [ChatMessage(content="Hello.")]
    print((await llm.achat(hello)).raw["pointsman"]["status"])
    *_, last = [chunk async for chunk in await llm.astream_chat(hello)]
    print(last.raw["pointsman"]["status"])
    print((await llm.acomplete("Hello.")).raw["pointsman"]["status"])
    *_, last = [chunk async for chunk in await llm.astream_complete("Hello.")]
    print(last.raw["pointsman"]["status"])
asyncio.run(main())
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["complete"] * 4, done.stderr


class TestSerialization:
    """What is kept of it."""

    def test_a_router_by_name(self, made: Callable[..., Pointsman], boto3_client: Any) -> None:
        """The name is kept; the router is given again."""
        routers = [preferring(NOVA, CLAUDE)]
        thinking = {"type": "enabled", "budget_tokens": 1024}
        llm = made("pair", routers=routers, temperature=0.3, max_tokens=77, thinking=thinking, tool_caching=True)
        again = Pointsman.from_json(llm.to_json(), client=boto3_client, routers=routers)
        assert again.to_dict() == llm.to_dict()
        assert (again.model, again.temperature, again.max_tokens, again.thinking) == ("pair", 0.3, 77, thinking)
        assert again.metadata == llm.metadata
        assert llm.to_dict()["class_name"] == "Pointsman"

    def test_an_arn_needs_nothing_more(self, made: Callable[..., Pointsman], boto3_client: Any) -> None:
        """Nor does a model."""
        for model in (CLAUDES, CLAUDE):
            again = Pointsman.from_dict(made(model).to_dict(), client=boto3_client)
            assert again.complete(HELLO).text


class TestApplicationProfile:
    """An application inference profile is invoked in the model's place."""

    ARN = "arn:aws:bedrock:us-east-1:123412341234:application-inference-profile/points"

    @WAYS
    async def test_it_is_cached_by_the_rules_of_the_model_behind_it(self, way: str) -> None:
        """Which the ARN's text hides, and `model` tells."""
        prompt = [said(RULES, role="system"), said("When do trains leave?")]
        with LocalEndpoint(application_profiles={self.ARN: CLAUDE}) as endpoint:
            wire = Wire(endpoint, endpoint.client("bedrock-runtime"))
            llm = Pointsman(CLAUDE, client=wire.boto3_client, application_inference_profile_arn=self.ARN)
            await ask(llm, prompt, way)
            response = await ask(llm, prompt, way)
        assert [request["modelId"] for request in wire.requests] == [self.ARN] * 2
        assert trace_of(response)["usage"]["cache_read_tokens"] > 2000
        assert llm.metadata.context_window == Catalog.default().resolve(CLAUDE).context_window


class TestShapes:
    """What a call sends goes by the model that it names."""

    @pytest.mark.parametrize("asked", ["us.anthropic.claude-haiku-5-5", "us.amazon.nova-lite-v1:0"])
    def test_a_call_sends_a_temperature_to_models_that_take_one(
        self, asked: str, endpoint: LocalEndpoint, boto3_client: Any
    ) -> None:
        """Of an LLM for Nova, to Nova; to the newest Claude none, which would be refused."""
        wire = Wire(endpoint, boto3_client)
        llm = Pointsman("us.amazon.nova-pro-v1:0", client=boto3_client)
        llm.chat([ChatMessage(role="user", content="Hello.")], model=asked)
        assert ("temperature" in wire.requests[-1]["inferenceConfig"]) is ("nova" in asked)

    def test_an_unknown_model_has_the_window_that_it_is_given(self, boto3_client: Any) -> None:
        """Also one whose id begins with a Geo prefix, which upstream refuses to make."""
        with pytest.warns(PointsmanWarning, match="not in the catalogue"):
            llm = Pointsman("us.anthropic.claude-nosuch-9", client=boto3_client, context_window=123_456)
        assert llm.metadata.context_window == 123_456
