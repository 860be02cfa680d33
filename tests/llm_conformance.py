"""A conformance suite for LLMs of LlamaIndex, which has none of its own. Knows the framework only, no integration.

```python
class TestMine(LLMConformance):
    images = True

    @pytest.fixture
    def llm(self):
        return MyLLM(model="mine", temperature=0.1, max_tokens=300)
```

What `LLM` and `FunctionCallingLLM` promise is asked in each of their ways: at once or streamed, waited for or awaited.
Questions are put so that any model answers them alike. Runs with pytest and pytest-asyncio in its mode `auto`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from inspect import isawaitable
from typing import Any

import pytest
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    ChatResponse,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMChatStartEvent
from llama_index.core.instrumentation.span import BaseSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import BaseTool, FunctionTool
from pydantic import BaseModel, PrivateAttr

AT_ONCE, STREAMED = ("chat", "achat"), ("stream_chat", "astream_chat")
WAYS = pytest.mark.parametrize("way", [*AT_ONCE, *STREAMED])
# A red square.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAKUlEQVR4nO3NMQEAAAjDMMC/52ECvlRA00nqs3m9AwAAAAAAAAAAAMBhC7kNAT8v4kbqAAAAAElFTkSuQmCC"
)
FACTS = (
    "Trains from Bern to Spiez leave at seven and at thirty-seven minutes past each hour. "
    "In heavy snow the points are heated, and trains from Bern to Spiez go every hour only."
)
QUESTION = "When do trains from Bern to Spiez leave in heavy snow?"
HELLO = "Describe the purpose of a 'hello world' program in one line."


class Person(BaseModel):
    """A person."""

    name: str
    age: int
    nickname: str | None = None


PORTRAIT = PromptTemplate("Give the person {name}, who is {age} years old.")
PORTRAYED: dict[str, Any] = {"name": "'Ada'", "age": 36}


def get_weather(location: str) -> str:
    """Get the weather at a location."""
    return f"Sunny in {location}."


def get_population(city: str) -> str:
    """Get the population of a city."""
    return f"Many live in {city}."


def ring_bell() -> str:
    """Rings it."""
    return "It rang."


def fail_over(track: str) -> str:
    """Fails."""
    raise RuntimeError(f"no way over {track}")


def tools(*functions: Callable[..., str]) -> list[BaseTool]:
    """Functions as tools."""
    return [FunctionTool.from_defaults(function) for function in functions]


def user(*texts: str) -> ChatMessage:
    """A message of the user."""
    return ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text=text) for text in texts])


def system(text: str) -> ChatMessage:
    """A system message."""
    return ChatMessage(role=MessageRole.SYSTEM, content=text)


def assistant(text: str) -> ChatMessage:
    """An answer."""
    return ChatMessage(role=MessageRole.ASSISTANT, content=text)


def called(*results: ChatMessage) -> list[ChatMessage]:
    """A question, a tool's call, and its result."""
    call = ToolCallBlock(tool_name="get_weather", tool_kwargs={"location": "Paris"}, tool_call_id="call_1")
    asked = ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text="I look it up."), call])
    return [user("What is the weather in Paris?"), asked, *results]


def result(*texts: str, **more: Any) -> ChatMessage:
    """What a tool gave: one text as content, several as blocks."""
    said: dict[str, Any] = (
        {"blocks": [TextBlock(text=text) for text in texts]} if len(texts) > 1 else {"content": texts[0]}
    )
    return ChatMessage(role=MessageRole.TOOL, **said, additional_kwargs={"tool_call_id": "call_1", **more})


async def ask(call: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
    """What a call gives, of a stream its chunks; whether it is to be awaited or not."""
    given = call(*args, **kwargs)
    if isawaitable(given):
        given = await given
    if isinstance(given, AsyncIterator):
        return [one async for one in given]
    return list(given) if isinstance(given, Iterator) else [given]


def calls_in(response: ChatResponse) -> list[ToolCallBlock]:
    """The tools that a response calls."""
    return [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]


class Events(BaseEventHandler):
    """Keeps all events."""

    _seen: list[Any] = PrivateAttr(default_factory=list)

    def handle(self, event: Any, **_: Any) -> None:
        """Keep it."""
        self._seen.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        """Those of a kind."""
        return [event for event in self._seen if isinstance(event, kind)]


class Spans(BaseSpanHandler[BaseSpan]):
    """Keeps the ids of all spans: those that were opened, and those that have ended."""

    _opened: list[str] = PrivateAttr(default_factory=list)
    _ended: list[str] = PrivateAttr(default_factory=list)

    def new_span(self, id_: str, *_: Any, **__: Any) -> BaseSpan:
        """One was opened."""
        self._opened.append(id_)
        return BaseSpan(id_=id_)

    def prepare_to_exit_span(self, id_: str, *_: Any, **__: Any) -> BaseSpan:
        """It has ended."""
        self._ended.append(id_)
        return self.open_spans[id_]

    prepare_to_drop_span = prepare_to_exit_span


class LLMConformance:
    """What a subclass says of its LLM: the fixture `llm`, and the flags that don't hold as they are here."""

    has_tools = True
    has_forced_tools = True
    has_parallel_tools = True
    images = False
    documents = False
    cache_points = False
    rebuilt_with: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    """What the constructor must be told beside the serialized form, such as an address."""
    secrets: Sequence[str] = ()
    """What the LLM was made with and serialized form must not hold."""

    @pytest.fixture
    def llm(self) -> Any:
        """The LLM, with a temperature of 0.1 and 300 tokens to answer, if it takes them."""
        raise NotImplementedError

    @pytest.fixture
    def closed_streams(self) -> Callable[[], int] | None:
        """Tells how many of the provider's streams were closed so far; None if there is no telling."""
        return None

    @pytest.fixture
    def events(self) -> Iterator[Events]:
        """The events of all LlamaIndex."""
        root, handler = get_dispatcher("root"), Events()
        root.event_handlers.append(handler)
        yield handler
        root.event_handlers.remove(handler)

    @pytest.fixture
    def spans(self) -> Iterator[Spans]:
        """The spans of all LlamaIndex."""
        root, handler = get_dispatcher("root"), Spans()
        root.span_handlers.append(handler)
        yield handler
        root.span_handlers.remove(handler)

    # What it is.

    def test_what_it_descends_from(self, llm: Any) -> None:
        """An LLM, one that calls functions if it has tools; with a name of its own."""
        names = [one.__name__ for one in type(llm).__mro__]
        assert isinstance(llm, BaseLLM) and isinstance(llm, LLM)
        assert {"BaseLLM", "LLM"} <= set(names)
        assert isinstance(llm, FunctionCallingLLM) or not self.has_tools
        assert llm.class_name() not in (
            "",
            "base_component",
            "custom_llm",
            *(one.class_name() for one in (LLM, BaseLLM)),
        )

    def test_metadata(self, llm: Any) -> None:
        """What engines and agents ask for."""
        told = llm.metadata
        assert isinstance(told.context_window, int) and told.context_window > 0
        assert isinstance(told.num_output, int) and told.num_output > 0
        assert told.is_chat_model is True
        assert told.model_name and isinstance(told.model_name, str)
        assert told.is_function_calling_model is self.has_tools

    # Asking.

    @pytest.mark.parametrize("way", AT_ONCE)
    async def test_chat(self, llm: Any, way: str) -> None:
        """An answer of the assistant."""
        (response,) = await ask(getattr(llm, way), [user(HELLO)])
        assert response.message.role == MessageRole.ASSISTANT
        assert isinstance(response.message.content, str) and response.message.content
        assert response.raw is not None

    @pytest.mark.parametrize("way", STREAMED)
    async def test_stream_chat(self, llm: Any, way: str) -> None:
        """Each chunk has all that was said so far, and what is new of it."""
        chunks = await ask(getattr(llm, way), [system(FACTS), user(QUESTION)])
        assert len(chunks) >= 2
        said = ""
        for chunk in chunks:
            said += chunk.delta or ""
            assert (chunk.message.content or "") == said
            assert chunk.message.role == MessageRole.ASSISTANT
        assert said

    @pytest.mark.parametrize("way", ["complete", "acomplete"])
    async def test_complete(self, llm: Any, way: str) -> None:
        """The text of an answer."""
        (response,) = await ask(getattr(llm, way), HELLO)
        assert isinstance(response.text, str) and response.text
        assert str(response) == response.text

    @pytest.mark.parametrize("way", ["stream_complete", "astream_complete"])
    async def test_stream_complete(self, llm: Any, way: str) -> None:
        """As `stream_chat`."""
        chunks = await ask(getattr(llm, way), f"{FACTS}\n{QUESTION}")
        assert len(chunks) >= 2
        said = ""
        for chunk in chunks:
            said += chunk.delta or ""
            assert chunk.text == said
        assert said

    @WAYS
    async def test_conversation(self, llm: Any, way: str) -> None:
        """Earlier turns go along, and are not changed."""
        turns = [user("Hello, I am Ada."), assistant("Hello, Ada."), user("Do you know who I am?")]
        before = [turn.model_copy(deep=True) for turn in turns]
        *_, last = await ask(getattr(llm, way), turns)
        assert last.message.content
        assert turns == before

    @WAYS
    async def test_double_user_messages(self, llm: Any, way: str) -> None:
        """Two of the user's messages may stand together, and a message may have several texts."""
        *_, last = await ask(getattr(llm, way), [user(FACTS), user("Listen:", QUESTION)])
        assert last.message.content

    @WAYS
    async def test_system_message(self, llm: Any, way: str) -> None:
        """It is heard."""
        *_, last = await ask(getattr(llm, way), [system(FACTS), user(QUESTION)])
        assert "hour" in last.message.content

    @WAYS
    async def test_unicode(self, llm: Any, way: str) -> None:
        """In both directions."""
        told = "Der Zug nach Zürich fährt um 7 Uhr ab, 東京行きは八時です 🚆."
        *_, last = await ask(getattr(llm, way), [system(f"Answer with this: {told}"), user("Wann fährt der Zug?")])
        assert all(one in last.message.content for one in ("Zürich", "東京", "🚆"))

    @WAYS
    async def test_usage(self, llm: Any, way: str) -> None:
        """Tokens by LlamaIndex's names, in the response or the last chunk."""
        *_, last = await ask(getattr(llm, way), [user(HELLO)])
        counted = [last.additional_kwargs[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
        assert all(type(one) is int and one > 0 for one in counted)
        assert counted[2] >= counted[0] + counted[1]

    @pytest.mark.parametrize("way", ["complete", "acomplete", "stream_complete", "astream_complete"])
    async def test_usage_of_a_completion(self, llm: Any, way: str) -> None:
        """It is not lost on the way."""
        *_, last = await ask(getattr(llm, way), HELLO)
        assert last.additional_kwargs["prompt_tokens"] > 0 and last.additional_kwargs["completion_tokens"] > 0

    # Tools.

    def _needs(self, flag: str) -> None:
        if not getattr(self, flag):
            pytest.skip(f"not {flag}")

    @WAYS
    async def test_a_tool_is_called(self, llm: Any, way: str) -> None:
        """With its arguments and an id."""
        self._needs("has_tools")
        chat = getattr(llm, f"{way}_with_tools")
        *_, last = await ask(chat, tools(get_weather), "What is the weather in Paris?")
        (call,) = calls_in(last)
        assert (call.tool_name, call.tool_call_id != "") == ("get_weather", True)
        (selected,) = llm.get_tool_calls_from_response(last)
        assert selected.tool_kwargs.keys() == {"location"}
        assert selected.tool_id == call.tool_call_id

    @WAYS
    async def test_no_tool_is_called(self, llm: Any, way: str) -> None:
        """Where none is needed."""
        self._needs("has_tools")
        chat = getattr(llm, f"{way}_with_tools")
        *_, last = await ask(chat, tools(get_weather), user("Hello!"))
        assert llm.get_tool_calls_from_response(last, error_on_no_tool_call=False) == []
        assert last.message.content
        with pytest.raises(ValueError):
            llm.get_tool_calls_from_response(last)

    @WAYS
    async def test_tools_in_parallel(self, llm: Any, way: str) -> None:
        """Both are called, where that is allowed."""
        self._needs("has_parallel_tools")
        chat = getattr(llm, f"{way}_with_tools")
        asked = "What is the weather in Paris, and what is the population of that city?"
        *_, last = await ask(chat, tools(get_weather, get_population), asked, allow_parallel_tool_calls=True)
        assert [call.tool_name for call in calls_in(last)] == ["get_weather", "get_population"]
        assert len({call.tool_call_id for call in calls_in(last)}) == 2

    @pytest.mark.parametrize("way", AT_ONCE)
    async def test_one_tool_at_a_time(self, llm: Any, way: str) -> None:
        """Of two only one is called, unless more are allowed. LlamaIndex leaves streams unchecked."""
        self._needs("has_parallel_tools")
        chat = getattr(llm, f"{way}_with_tools")
        asked = "What is the weather in Paris, and what is the population of that city?"
        *_, last = await ask(chat, tools(get_weather, get_population), asked)
        assert len(calls_in(last)) == 1

    @WAYS
    async def test_a_tool_is_required(self, llm: Any, way: str) -> None:
        """It is called, whatever was said; a model that can't be forced answers."""
        self._needs("has_tools")
        chat = getattr(llm, f"{way}_with_tools")
        *_, last = await ask(chat, tools(get_weather), "Hello!", tool_required=True)
        assert [call.tool_name for call in calls_in(last)] == ["get_weather"] * self.has_forced_tools
        assert self.has_forced_tools or last.message.content

    @WAYS
    async def test_a_tool_without_arguments(self, llm: Any, way: str) -> None:
        """Its arguments are an empty dict."""
        self._needs("has_tools")
        chat = getattr(llm, f"{way}_with_tools")
        *_, last = await ask(chat, tools(ring_bell), "Ring the bell, please.")
        (selected,) = llm.get_tool_calls_from_response(last)
        assert (selected.tool_name, selected.tool_kwargs) == ("ring_bell", {})

    @WAYS
    @pytest.mark.parametrize("texts", [("Sunny in Paris.",), ("Sunny in Paris.", "Windy in Paris.")])
    async def test_what_a_tool_gave(self, llm: Any, way: str, texts: tuple[str, ...]) -> None:
        """As a string or as blocks, it is told to the model."""
        self._needs("has_tools")
        chat = getattr(llm, f"{way}_with_tools")
        *_, last = await ask(chat, tools(get_weather), chat_history=called(result(*texts)))
        assert "Sunny" in last.message.content

    @WAYS
    async def test_a_call_in_a_response_may_be_answered(self, llm: Any, way: str) -> None:
        """The response's own message goes into the history as it is."""
        self._needs("has_tools")
        chat = getattr(llm, f"{way}_with_tools")
        asked = user("What is the weather in Paris?")
        *_, last = await ask(chat, tools(get_weather), asked)
        (call,) = calls_in(last)
        told = ChatMessage(role="tool", content="Sunny.", additional_kwargs={"tool_call_id": call.tool_call_id})
        *_, answer = await ask(chat, tools(get_weather), chat_history=[asked, last.message, told])
        assert answer.message.content and not calls_in(answer)

    @WAYS
    async def test_a_tool_that_failed(self, llm: Any, way: str) -> None:
        """What it says is told to the model."""
        self._needs("has_tools")
        chat = getattr(llm, f"{way}_with_tools")
        failed = result("The weather in Paris is unknown.", status="error")
        *_, last = await ask(chat, tools(get_weather), chat_history=called(failed))
        assert last.message.content

    @WAYS
    async def test_a_callers_history_stays_his(self, llm: Any, way: str) -> None:
        """The list that he gave is not added to."""
        self._needs("has_tools")
        history = [user("Hello."), assistant("Hello.")]
        await ask(getattr(llm, f"{way}_with_tools"), tools(get_weather), "Hello!", chat_history=history)
        assert len(history) == 2

    @pytest.mark.parametrize("way", ["predict_and_call", "apredict_and_call"])
    async def test_predict_and_call(self, llm: Any, way: str) -> None:
        """The tool is called, and its result given; several are, where that is allowed."""
        self._needs("has_tools")
        (one,) = await ask(getattr(llm, way), tools(get_weather), "What is the weather in 'Paris'?")
        assert one.response == "Sunny in Paris."
        assert [source.tool_name for source in one.sources] == ["get_weather"]
        if self.has_parallel_tools:
            asked = "What is the weather in 'Paris', and what is the population of that city?"
            both = tools(get_weather, get_population)
            (given,) = await ask(getattr(llm, way), both, asked, allow_parallel_tool_calls=True)
            assert [source.tool_name for source in given.sources] == ["get_weather", "get_population"]

    @pytest.mark.parametrize("way", ["predict_and_call", "apredict_and_call"])
    async def test_predict_and_call_a_tool_that_fails(self, llm: Any, way: str) -> None:
        """Its error is its result, or raised."""
        self._needs("has_tools")
        asked = "Fail over the track 'North'."
        (one,) = await ask(getattr(llm, way), tools(fail_over), asked)
        assert [source.is_error for source in one.sources] == [True]
        with pytest.raises(ValueError, match="no way over North"):
            await ask(getattr(llm, way), tools(fail_over), asked, error_on_tool_error=True)

    # Structured prediction.

    @pytest.mark.parametrize("way", ["structured_predict", "astructured_predict"])
    async def test_structured_predict(self, llm: Any, way: str) -> None:
        """An instance; what may be left out may be left out."""
        self._needs("has_tools")
        (found,) = await ask(getattr(llm, way), Person, PORTRAIT, **PORTRAYED)
        assert isinstance(found, Person)
        assert (found.name, found.age) == ("Ada", 36)

    @pytest.mark.parametrize("way", ["stream_structured_predict", "astream_structured_predict"])
    async def test_stream_structured_predict(self, llm: Any, way: str) -> None:
        """Ever more of an instance."""
        self._needs("has_tools")
        *_, last = await ask(getattr(llm, way), Person, PORTRAIT, **PORTRAYED)
        assert isinstance(last, Person)
        assert (last.name, last.age) == ("Ada", 36)

    @WAYS
    async def test_as_structured_llm(self, llm: Any, way: str) -> None:
        """The instance is in `raw`, and its JSON in the message."""
        self._needs("has_tools")
        asked = [user(PORTRAIT.format(**PORTRAYED))]
        *_, last = await ask(getattr(llm.as_structured_llm(Person), way), asked)
        assert isinstance(last.raw, Person)
        assert Person.model_validate_json(last.message.content) == last.raw

    # Pictures and documents.

    @WAYS
    async def test_a_picture(self, llm: Any, way: str) -> None:
        """In the user's message."""
        self._needs("images")
        shown = ImageBlock(image=PICTURE, image_mimetype="image/png")
        message = ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="What colour is this?"), shown])
        *_, last = await ask(getattr(llm, way), [message])
        assert last.message.content

    @WAYS
    async def test_a_document(self, llm: Any, way: str) -> None:
        """In the user's message; what it says is heard."""
        self._needs("documents")
        given = DocumentBlock(data=FACTS.encode(), title="Notices", document_mimetype="text/plain")
        message = ChatMessage(role=MessageRole.USER, blocks=[given, TextBlock(text=QUESTION)])
        *_, last = await ask(getattr(llm, way), [message])
        assert "hour" in last.message.content

    @pytest.mark.parametrize("way", ["chat", "astream_chat"])
    @pytest.mark.parametrize("where", ["system", "user", "assistant", "tool"])
    async def test_a_cache_point(self, llm: Any, way: str, where: str) -> None:
        """Behind the text of a message of any kind."""
        self._needs("cache_points")
        messages = [system(FACTS), *called(result("Sunny in Paris."))]
        marked = next(message for message in reversed(messages) if message.role == where)
        marked.blocks.append(CachePoint(cache_control=CacheControl(type="default")))
        *_, last = await ask(getattr(llm, f"{way}_with_tools"), tools(get_weather), chat_history=messages)
        assert last.message.content

    # What others see of it.

    def test_serialized_form(self, llm: Any) -> None:
        """Another is made of it that has the same settings; it is JSON, and tells no secrets."""
        told = json.loads(llm.to_json())
        assert told["class_name"] == llm.class_name()
        again = type(llm).from_dict(told, **self.rebuilt_with)
        for name in ("model", "temperature", "max_tokens"):
            assert getattr(again, name) == getattr(llm, name)
        assert again.metadata == llm.metadata
        assert not any(secret in llm.to_json() for secret in self.secrets)
        assert not any(secret in json.dumps(llm.to_payload(), default=str) for secret in self.secrets)

    @WAYS
    async def test_events(self, llm: Any, way: str, events: Events) -> None:
        """A call begins once and ends once, and its events hold what was asked and answered."""
        asked = [user(HELLO)]
        *_, last = await ask(getattr(llm, way), asked)
        (started,), (ended,) = events.of(LLMChatStartEvent), events.of(LLMChatEndEvent)
        assert started.messages == ended.messages == asked
        assert ended.response.message.content == last.message.content
        assert started.span_id == ended.span_id
        assert not any(secret in str(started.model_dict) for secret in self.secrets)

    @WAYS
    async def test_spans(self, llm: Any, way: str, spans: Spans, events: Events) -> None:
        """A call has one span of its name, which ends; its events belong to a span."""
        await ask(getattr(llm, way), [user(HELLO)])
        named = [one for one in spans._opened if one.startswith(f"{type(llm).__name__}.{way}-")]
        assert len(named) == 1
        assert sorted(spans._opened) == sorted(spans._ended)
        assert events.of(LLMChatStartEvent)[0].span_id in spans._opened

    @WAYS
    async def test_callbacks(self, llm: Any, way: str) -> None:
        """The callback manager's handlers hear of each call once, and count its tokens."""
        debug, counter = LlamaDebugHandler(print_trace_on_end=False), TokenCountingHandler(tokenizer=str.split)
        llm.callback_manager = CallbackManager([debug, counter])
        await ask(getattr(llm, way), [user(HELLO)])
        assert len(debug.get_event_pairs(CBEventType.LLM)) == 1
        assert len(debug.get_llm_inputs_outputs()) == 1
        assert len(counter.llm_token_counts) == 1
        assert counter.prompt_llm_token_count > 0 and counter.completion_llm_token_count > 0

    @pytest.mark.parametrize("way", STREAMED)
    async def test_a_stream_that_is_left(self, llm: Any, way: str, closed_streams: Callable[[], int] | None) -> None:
        """The provider's is closed, and the LLM goes on."""
        before = closed_streams() if closed_streams else 0
        if way == "stream_chat":
            stream = llm.stream_chat([system(FACTS), user(QUESTION)])
            next(stream)
            stream.close()
        else:
            stream = await llm.astream_chat([system(FACTS), user(QUESTION)])
            await anext(stream)
            await stream.aclose()
        if closed_streams:
            for _ in range(100):
                if closed_streams() > before:
                    break
                await asyncio.sleep(0.01)
            assert closed_streams() == before + 1
        assert llm.chat([user(HELLO)]).message.content
