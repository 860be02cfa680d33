"""`ChatPointsman` over HTTP: who is asked, what he is told, and what the messages tell of it."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from langchain.agents import create_agent
from langchain_aws import ChatBedrockConverse
from langchain_aws.middleware import BedrockPromptCachingMiddleware
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from pydantic import BaseModel, ValidationError
from talks import text_of

import pointsman
from langchain_pointsman import ChatPointsman
from pointsman import Client, InvalidRequestError, Model, Prompt, Router, RoutingCriteria
from pointsman.errors import RouterNotFoundError
from pointsman.local import LocalEndpoint

CLAUDE = "us.anthropic.claude-sonnet-4-6"
NOVA = "us.amazon.nova-pro-v1:0"
LLAMA = "us.meta.llama3-1-8b-instruct-v1:0"
DEFAULT = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/"
CLAUDES, LLAMAS = DEFAULT + "anthropic.claude:1", DEFAULT + "meta.llama:1"
HELLO = "Describe the purpose of a 'hello world' program in one line."
RULES = "Trains from Bern to Spiez leave at seven, and in heavy snow every hour only. " * 150
FORECAST = "What is the weather in Paris?"
WAYS = pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])


class Expected:
    """Expects the best answers of one model, whatever is asked."""

    def __init__(self, best: str) -> None:
        self.best = best

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Mapping[str, Any]:
        """1 for that model, 0 for the others."""
        return {model.id: np.full(len(prompts), float(model.invoke_id == self.best)) for model in models}


def preferring(best: str, other: str, *, fallback: str | None = None, difference: float = 0.0) -> Router:
    """A router named "pair" that chooses the first of two models while that answers."""
    return Router(
        name="pair",
        models=(best, other),
        fallback_model=fallback or other,
        criteria=RoutingCriteria(response_quality_difference=difference),
        predictor=Expected(best),
    )


def get_weather(location: str) -> str:
    """Get the weather at a location."""
    return f"Sunny in {location}."


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


async def ask(llm: Any, prompt: Any, way: str = "invoke", **kwargs: Any) -> AIMessage:
    """The answer to a prompt, of a stream the sum of its chunks."""
    match way:
        case "ainvoke":
            return await llm.ainvoke(prompt, **kwargs)
        case "stream":
            return reduce(add, llm.stream(prompt, **kwargs))
        case "astream":
            return reduce(add, [chunk async for chunk in llm.astream(prompt, **kwargs)])
    return llm.invoke(prompt, **kwargs)


def model_of(message: BaseMessage) -> Any:
    """The model that answered."""
    return message.response_metadata["model_name"]


def trace_of(message: BaseMessage) -> Any:
    """The story of the request."""
    return message.response_metadata["pointsman"]


def input_of(message: AIMessage) -> tuple[int, Any]:
    """Tokens of the prompt, and their details."""
    assert message.usage_metadata is not None
    return message.usage_metadata["input_tokens"], message.usage_metadata["input_token_details"]


@pytest.fixture
def chat(boto3_client: Any) -> Callable[..., ChatPointsman]:
    """Makes chat models that ask the endpoint."""

    def make(model: str = CLAUDE, **fields: Any) -> ChatPointsman:
        return ChatPointsman(model=model, **{"client": boto3_client, "bedrock_client": boto3_client, **fields})

    return make


@pytest.fixture
def sent(boto3_client: Any) -> list[dict[str, Any]]:
    """The requests that went to boto3."""
    requests: list[dict[str, Any]] = []
    boto3_client.meta.events.register(
        "provide-client-params.bedrock-runtime", lambda params, **_: requests.append(dict(params))
    )
    return requests


@pytest.fixture
def llm_cache() -> Iterator[None]:
    """LangChain's own cache of answers, switched on."""
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


class TestRouting:
    """Which model is asked, and what is told of it."""

    @pytest.mark.parametrize("model", ["pair", CLAUDES, "Anthropic Prompt Router", CLAUDE])
    def test_a_router_needs_no_more_than_its_name_and_streams(
        self, model: str, chat: Callable[..., ChatPointsman], endpoint: LocalEndpoint
    ) -> None:
        """Neither provider nor base model, for an ARN neither; what is streamed is streamed by Bedrock."""
        llm = chat(model, routers=[preferring(NOVA, CLAUDE)])
        assert len(list(llm.stream(HELLO))) > 3
        assert endpoint.account()["operations"] == {"ConverseStream": 1}
        assert llm.invoke(HELLO).text
        assert endpoint.account()["operations"] == {"Converse": 1, "ConverseStream": 1}

    @WAYS
    async def test_the_model_that_answered_is_named(self, way: str, chat: Callable[..., ChatPointsman]) -> None:
        """`model_name` is what was invoked, not the router; "pointsman" has the trace, "trace" what AWS would tell."""
        message = await ask(chat("pair", routers=[preferring(NOVA, CLAUDE)]), HELLO, way)
        assert model_of(message) == NOVA
        assert trace_of(message)["router"] == "pair"
        assert trace_of(message)["status"] == "complete"
        assert message.response_metadata["trace"]["promptRouter"]["invokedModelId"].endswith(NOVA)

    @WAYS
    async def test_the_model_that_took_over_is_named(
        self, way: str, chat: Callable[..., ChatPointsman], endpoint: LocalEndpoint
    ) -> None:
        """Where the chosen model is throttled and another answers, it is the other."""
        endpoint.faults.inject("throttle", model=NOVA)
        message = await ask(chat("pair", routers=[preferring(NOVA, CLAUDE)]), HELLO, way)
        assert model_of(message) == CLAUDE
        assert trace_of(message)["attempts"] == [{"model": NOVA, "error": "ThrottlingException"}]

    def test_usage_is_counted_for_the_model_that_answered(self, chat: Callable[..., ChatPointsman]) -> None:
        """LangChain's callback adds tokens up by `model_name`."""
        llm = chat("pair", routers=[preferring(NOVA, CLAUDE)])
        with get_usage_metadata_callback() as counted:
            llm.invoke(HELLO)
            llm.invoke(HELLO, model=CLAUDE)
        assert counted.usage_metadata.keys() == {NOVA, CLAUDE}

    @WAYS
    async def test_a_call_may_name_another_model(self, way: str, chat: Callable[..., ChatPointsman]) -> None:
        """`model=` is a model or a router, for one call or bound; the chat model's own stays what it is."""
        llm = chat(routers=[preferring(NOVA, CLAUDE)])
        assert model_of(await ask(llm, HELLO, way, model="pair")) == NOVA
        assert model_of(await ask(llm.bind(model=NOVA), HELLO, way)) == NOVA
        assert model_of(await ask(llm.bind(model=LLAMA), HELLO, way, model=NOVA)) == NOVA
        assert model_of(await ask(llm, HELLO, way)) == CLAUDE

    def test_a_call_to_another_model_keeps_the_settings(
        self, chat: Callable[..., ChatPointsman], sent: list[dict[str, Any]]
    ) -> None:
        """They are those of the chat model; no other client is made for it."""
        llm = chat(temperature=0.2, max_tokens=77)
        llm.invoke(HELLO, model=NOVA)
        assert sent[0]["modelId"] == NOVA
        assert sent[0]["inferenceConfig"] == {"temperature": 0.2, "maxTokens": 77}

    def test_settings_may_change_between_calls(
        self, chat: Callable[..., ChatPointsman], sent: list[dict[str, Any]]
    ) -> None:
        """As langchain-aws reads them when it is called."""
        llm = chat(temperature=0.2)
        llm.invoke(HELLO, model=NOVA)
        llm.temperature = 0.7
        llm.invoke(HELLO, model=NOVA)
        assert [request["inferenceConfig"] for request in sent] == [{"temperature": 0.2}, {"temperature": 0.7}]

    def test_headers_go_with_every_call(
        self, chat: Callable[..., ChatPointsman], boto3_client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """langchain-aws hangs them on the client when the chat model is made, and no call hangs them there again."""
        events, headers, hung = boto3_client.meta.events, [], []
        events.register_last("before-send", lambda request, **_: headers.append(request.headers["x-team"]))
        llm = chat(default_headers={"x-team": "points"})
        monkeypatch.setattr(events, "register", lambda *hook, **_: hung.append(hook))
        llm.invoke(HELLO)
        llm.invoke(HELLO, model=NOVA)
        assert headers == ["points", "points"]
        assert not hung

    def test_calls_share_what_was_learnt(self, chat: Callable[..., ChatPointsman]) -> None:
        """A prompt written by one call is read by one that names the same model another way."""
        prompt = [("system", RULES), ("human", "When do trains leave?")]
        llm = chat(NOVA)
        llm.invoke(prompt, model=CLAUDE)
        assert trace_of(llm.invoke(prompt, model=CLAUDE))["expected_read_tokens"] > 2000
        assert trace_of(chat(client=llm.client).invoke(prompt))["expected_read_tokens"] > 2000


class TestUsage:
    """What `usage_metadata` counts, held against the endpoint's own account."""

    @WAYS
    @pytest.mark.parametrize("ttl", ["5m", "1h", None])
    async def test_every_token_is_counted_once(
        self, ttl: str | None, way: str, chat: Callable[..., ChatPointsman], endpoint: LocalEndpoint
    ) -> None:
        """`input_tokens` is the whole prompt, `cache_creation` all that was written, whichever the TTL and whoever
        laid the cache point."""
        points = [{"cachePoint": {"type": "default", "ttl": ttl}}] if ttl else []
        content = [{"type": "text", "text": RULES}, *points, {"type": "text", "text": "When do trains leave?"}]
        llm, answers, bills = chat(), [], []
        for _ in range(2):
            endpoint.reset_account()
            answers.append(await ask(llm, [HumanMessage(content)], way))
            bills.append(endpoint.account()["models"][CLAUDE])
        for answer, bill in zip(answers, bills, strict=True):
            written = bill["cache_write_5m_tokens"] + bill["cache_write_1h_tokens"]
            details = {"cache_read": bill["cache_read_tokens"], "cache_creation": written}
            assert input_of(answer) == (bill["uncached_input_tokens"] + sum(details.values()), details)
            assert trace_of(answer)["usage"]["cache_write_1h_tokens"] == bill["cache_write_1h_tokens"]
        assert bills[0][f"cache_write_{ttl or '5m'}_tokens"] > 2000
        assert bills[1]["cache_read_tokens"] > 2000


class TestSession:
    """The conversation that a call belongs to."""

    @WAYS
    @pytest.mark.parametrize("how", ["session", "id", "thread", "context"])
    async def test_a_call_finds_its_session(self, way: str, how: str, chat: Callable[..., ChatPointsman]) -> None:
        """Given as itself or by its id, named by the run's thread, or the current one: its documents are looked for."""
        session, another = (pointsman.session(f"{name} {way} {how}", scope="default") for name in ("mine", "another"))
        for one in (session, another):
            one.register([pointsman.Document(id=one.id, text=text_of(1))])
        named: dict[str, Any] = {
            "session": {"session": session},
            "id": {"session": session.id},
            "thread": {"config": {"configurable": {"thread_id": session.id}}},
            "context": {},
        }
        with session if how == "context" else another:
            message = await ask(chat(), HELLO, way, **named[how])
        assert trace_of(message)["documents"]["not_found"] == [session.id]
        session.close()
        another.close()

    @WAYS
    async def test_there_may_be_none(self, way: str, chat: Callable[..., ChatPointsman]) -> None:
        """Nothing is looked for."""
        assert trace_of(await ask(chat(), HELLO, way))["documents"] is None


class TestShaping:
    """Requests to a router are shaped for all that its models might take."""

    @pytest.mark.parametrize("choice", ["any", "get_weather"])
    def test_a_tool_may_be_forced_on_a_router(self, choice: str, chat: Callable[..., ChatPointsman]) -> None:
        """Where none of its models can be forced the core weakens it, and says so."""
        message = chat(LLAMAS).bind_tools([get_weather], tool_choice=choice).invoke(FORECAST)
        assert [call["name"] for call in message.tool_calls] == ["get_weather"]
        (change,) = trace_of(message)["changes"]
        assert change["field"] == "toolConfig.toolChoice"
        assert "weakened to auto" in change["done"]

    def test_a_forced_tool_goes_to_a_model_that_can_be_forced(self, chat: Callable[..., ChatPointsman]) -> None:
        """Its fallback model can't, another can."""
        llm = chat("pair", routers=[preferring(LLAMA, NOVA, fallback=LLAMA)])
        message = llm.bind_tools([get_weather], tool_choice="any").invoke("Hello!")
        assert model_of(message) == NOVA
        assert message.tool_calls

    @WAYS
    async def test_a_temperature_that_no_model_takes_is_left_out_by_name(
        self, way: str, chat: Callable[..., ChatPointsman]
    ) -> None:
        """langchain-aws would leave it out with a warning, for the fallback model's sake."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            message = await ask(chat(CLAUDES, temperature=0.2), HELLO, way)
        (change,) = trace_of(message)["changes"]
        assert change["field"] == "inferenceConfig.temperature"

    def test_a_temperature_goes_to_a_model_that_takes_it(
        self, chat: Callable[..., ChatPointsman], sent: list[dict[str, Any]]
    ) -> None:
        """Also where the fallback model takes none."""
        sonnet = "us.anthropic.claude-sonnet-5-5"
        chat("pair", routers=[preferring(NOVA, sonnet)], temperature=0.2).invoke(HELLO)
        assert sent[0]["modelId"] == NOVA
        assert sent[0]["inferenceConfig"]["temperature"] == 0.2

    def test_a_router_s_profile_is_what_may_be_asked_of_it(self, chat: Callable[..., ChatPointsman]) -> None:
        """The window that each of its models has, and what one of them can do at least."""
        profile = chat("pair", routers=[preferring(NOVA, LLAMA)]).profile or {}
        own = [chat(model).profile or {} for model in (NOVA, LLAMA)]
        assert profile["max_input_tokens"] == min(one["max_input_tokens"] for one in own) == 128_000
        assert [profile["image_inputs"], *(one["image_inputs"] for one in own)] == [True, True, False]

    def test_structured_output_on_a_router(self, chat: Callable[..., ChatPointsman]) -> None:
        """By a tool from any of its models; by a JSON schema from one that has such output."""
        llm = chat("pair", routers=[preferring(NOVA, CLAUDE)])
        by_tool = llm.with_structured_output(Joke, include_raw=True).invoke("Tell me a joke about cats.")
        by_schema = llm.with_structured_output(Joke, include_raw=True, method="json_schema").invoke("Tell a joke.")
        assert [isinstance(one["parsed"], Joke) for one in (by_tool, by_schema)] == [True, True]
        assert [model_of(one["raw"]) for one in (by_tool, by_schema)] == [NOVA, CLAUDE]
        assert trace_of(by_schema["raw"])["decision"]["set_aside"] == {NOVA: "gives no structured output"}


SIGNED = {"text": "Let me think.", "signature": "c2lnbmVk"}
BY_CONVERSE = {"model_provider": "bedrock_converse", "model_name": CLAUDE}
THOUGHTS = {
    "Converse": ({"type": "reasoning_content", "reasoning_content": SIGNED}, BY_CONVERSE),
    "Converse, redacted": ({"type": "reasoning_content", "reasoning_content": {"redacted_content": b"x"}}, BY_CONVERSE),
    "InvokeModel": (
        {"type": "thinking", "thinking": SIGNED["text"], "signature": SIGNED["signature"]},
        {"model_provider": "bedrock", "model_name": CLAUDE},
    ),
    "standard": (
        {"type": "reasoning", "reasoning": SIGNED["text"], "extras": {"signature": SIGNED["signature"]}},
        {**BY_CONVERSE, "output_version": "v1"},
    ),
    "standard, redacted": (
        {"type": "reasoning", "extras": {"redacted_content": b"x"}},
        {**BY_CONVERSE, "output_version": "v1"},
    ),
}


@pytest.mark.parametrize("kind", THOUGHTS)
class TestReasoning:
    """Reasoning of a Claude in the history of a router, in each form that LangChain knows."""

    def history(self, kind: str) -> list[BaseMessage]:
        """An answer with a thought, and the next question."""
        block, metadata = THOUGHTS[kind]
        answer = AIMessage([block, {"type": "text", "text": "At seven."}], response_metadata=metadata)
        return [HumanMessage("When do trains leave?"), answer, HumanMessage("And when it snows?")]

    def test_it_goes_to_a_claude_whatever_the_fallback_model(
        self, kind: str, chat: Callable[..., ChatPointsman], sent: list[dict[str, Any]]
    ) -> None:
        """As langchain-aws sends it to a Claude; for a Nova it would leave it out."""
        chat("pair", routers=[preferring(CLAUDE, NOVA)]).invoke(self.history(kind))
        chat().invoke(self.history(kind))
        routed, named = [request["messages"] for request in sent]
        assert routed == named
        assert "reasoningContent" in routed[1]["content"][0]

    def test_it_is_left_out_for_a_nova_by_name(
        self, kind: str, chat: Callable[..., ChatPointsman], sent: list[dict[str, Any]]
    ) -> None:
        """By the core, which tells of it."""
        message = chat("pair", routers=[preferring(NOVA, CLAUDE)]).invoke(self.history(kind))
        assert sent[0]["messages"][1]["content"] == [{"text": "At seven."}]
        assert [change["field"] for change in trace_of(message)["changes"]] == ["messages"]


class TestCacheControl:
    """langchain-aws's own way to have prompts cached."""

    @WAYS
    async def test_it_is_taken_and_changes_nothing(
        self, way: str, chat: Callable[..., ChatPointsman], sent: list[dict[str, Any]]
    ) -> None:
        """Prompts are cached in any case, where it pays."""
        prompt = [("system", RULES), ("human", "When do trains leave?")]
        await ask(chat(), prompt, way, cache_control={"type": "ephemeral", "ttl": "1h"})
        await ask(chat(), prompt, way)
        assert sent[0] == sent[1]

    @pytest.mark.parametrize("model", [CLAUDE, CLAUDES, "pair"])
    def test_its_middleware_knows_the_model(self, model: str, chat: Callable[..., ChatPointsman]) -> None:
        """It warns of a chat model that it doesn't know."""
        llm = chat(model, routers=[preferring(NOVA, CLAUDE)])
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            agent: Any = create_agent(llm, [], middleware=[BedrockPromptCachingMiddleware()])
            assert agent.invoke({"messages": [HELLO]})["messages"][-1].text


@pytest.mark.usefixtures("llm_cache")
class TestLangChainsCache:
    """LangChain's own cache gives an answer again where the same is asked of the same."""

    def asked(self, endpoint: LocalEndpoint, *models: tuple[ChatPointsman, dict[str, Any]]) -> int:
        """How many requests it takes to ask them all the same."""
        for llm, kwargs in models:
            llm.invoke(HELLO, **kwargs)
        return int(endpoint.account()["requests"])

    def test_the_same_is_asked_once(self, chat: Callable[..., ChatPointsman], endpoint: LocalEndpoint) -> None:
        """Whatever doesn't shape the answer: another chat model of the same settings, a session, tags."""
        router, same = preferring(NOVA, CLAUDE), preferring(NOVA, CLAUDE)
        one, other = chat("pair", routers=[router]), chat("pair", routers=[same], tags=["another"], metadata={"a": 1})
        assert self.asked(endpoint, (one, {}), (other, {}), (one, {"session": "talk"})) == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"temperature": 1.0},
            {"max_tokens": 7},
            {"system": ["Be brief."]},
            {"model": CLAUDE},
            {"routers": [preferring(CLAUDE, NOVA, fallback=CLAUDE)]},
            {"routers": [preferring(NOVA, CLAUDE, fallback=NOVA)]},
            {"routers": [preferring(NOVA, LLAMA)]},
            {"routers": [preferring(NOVA, CLAUDE, difference=0.5)]},
        ],
    )
    def test_what_shapes_an_answer_tells_it_apart(
        self, other: dict[str, Any], chat: Callable[..., ChatPointsman], endpoint: LocalEndpoint
    ) -> None:
        """Settings, and what a router of the same name consists of."""
        settings = {"model": "pair", "routers": [preferring(NOVA, CLAUDE)], "temperature": 0.0}
        assert self.asked(endpoint, (chat(**settings), {}), (chat(**{**settings, **other}), {})) == 2

    def test_so_does_what_a_call_names(self, chat: Callable[..., ChatPointsman], endpoint: LocalEndpoint) -> None:
        """Another model, and a router whose fallback model was changed since."""
        one, other = chat(routers=[preferring(NOVA, CLAUDE)]), chat(routers=[preferring(NOVA, CLAUDE, fallback=NOVA)])
        calls = [(one, {}), (one, {"model": NOVA}), (one, {"model": "pair"}), (other, {"model": "pair"})]
        assert self.asked(endpoint, *calls) == 4


SETTINGS: dict[str, Any] = {
    "temperature": 0.2,
    "max_tokens": 77,
    "top_p": 0.9,
    "stop_sequences": ["Over"],
    "system": ["Be brief."],
    "request_metadata": {"team": "points"},
    "tags": ["mine"],
    "metadata": {"a": 1},
}


class TestOver:
    """`ChatPointsman.over`: a chat model of langchain-aws as one of Pointsman's."""

    def plain(self, client: Any, model: str = CLAUDE, **fields: Any) -> ChatBedrockConverse:
        """One of langchain-aws's own."""
        return ChatBedrockConverse(model=model, client=client, bedrock_client=client, **{**SETTINGS, **fields})

    def test_it_asks_the_same_by_the_same_client(self, boto3_client: Any, sent: list[dict[str, Any]]) -> None:
        """Every setting is kept."""
        plain = self.plain(boto3_client, additional_model_request_fields={"top_k": 5})
        ours = ChatPointsman.over(plain)
        plain.invoke(HELLO)
        ours.invoke(HELLO)
        assert sent[0] == sent[1]
        assert (ours.tags, ours.metadata) == (["mine"], plain.metadata)
        assert ours.bedrock_client is plain.bedrock_client

    def test_another_model_stands_for_its_own(self, boto3_client: Any, endpoint: LocalEndpoint) -> None:
        """A router too; what held for the one model only is found anew."""
        plain = self.plain(boto3_client, model=LLAMA)
        ours = ChatPointsman.over(plain, model="pair", routers=[preferring(NOVA, CLAUDE)], temperature=0.5)
        message = reduce(add, ours.bind_tools([get_weather], tool_choice="any").stream(FORECAST))
        assert model_of(message) == NOVA
        assert endpoint.account()["operations"] == {"ConverseStream": 1}
        assert (ours.temperature, ours.max_tokens, ours.system) == (0.5, 77, ["Be brief."])

    def test_an_effort_is_put_in_the_words_of_the_other_model(self, boto3_client: Any) -> None:
        """What langchain-aws made of it for the one model stays behind; what the user gave himself doesn't."""
        plain = self.plain(
            boto3_client,
            "us.anthropic.claude-opus-4-6-v1",
            reasoning_effort="high",
            additional_model_request_fields={"top_k": 5},
        )
        assert plain.additional_model_request_fields is not None
        assert plain.additional_model_request_fields.keys() > {"top_k"}
        with pytest.warns(UserWarning, match="reasoning_effort is not supported"):
            ours = ChatPointsman.over(plain, model=NOVA)
        assert ours.additional_model_request_fields == {"top_k": 5}


class TestErrors:
    """The caller's mistakes are told before anything is sent."""

    @WAYS
    async def test_a_mistyped_router_is_told_with_those_there_are(
        self, way: str, chat: Callable[..., ChatPointsman], endpoint: LocalEndpoint
    ) -> None:
        """When it is made, and by the call that names it."""
        routers, told = [preferring(NOVA, CLAUDE)], "no router 'pear'.*Known routers: .*Nova Prompt Router, pair"
        with pytest.raises(RouterNotFoundError, match=told):
            chat("pear", routers=routers)
        with pytest.raises(RouterNotFoundError, match=told):
            await ask(chat(routers=routers), HELLO, way, model="pear")
        assert endpoint.account()["requests"] == 0

    @WAYS
    @pytest.mark.parametrize(
        ("wrong", "told"), [({"model": 7}, "the model is 7"), ({"session": 3.5}, r"the session is 3\.5")]
    )
    async def test_arguments_of_a_call(
        self, wrong: dict[str, Any], told: str, way: str, chat: Callable[..., ChatPointsman], endpoint: LocalEndpoint
    ) -> None:
        """What is neither a model nor a router, or no session."""
        with pytest.raises(InvalidRequestError, match=told):
            await ask(chat(), HELLO, way, **wrong)
        assert endpoint.account()["requests"] == 0

    def test_arguments_of_the_constructor(self, chat: Callable[..., ChatPointsman], boto3_client: Any) -> None:
        """pydantic tells of all that is wrong with the fields."""
        with pytest.raises(ValidationError, match="the model is 7"):
            chat(7)
        with pytest.raises(ValidationError, match=r"beside a pointsman\.Client"):
            chat(client=Client(boto3_client), routers=[])
        with pytest.raises(ValidationError, match="Either model_id or model must be specified"):
            ChatPointsman(client=boto3_client)

    def test_without_langchain_aws_it_says_what_to_install(self) -> None:
        """In a process where it can't be imported."""
        code = (
            "import sys\nsys.modules['langchain_aws'] = None\nimport pointsman\n"
            "try:\n    import langchain_pointsman\nexcept pointsman.errors.MissingExtraError as exc:\n    print(exc)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert 'pip install "pointsman[langchain]"' in done.stdout
