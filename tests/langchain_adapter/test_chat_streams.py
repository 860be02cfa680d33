"""Streams and asyncio of `ChatPointsman`, over HTTP: threads, callbacks, and readers who leave."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import add
from typing import Any

import pytest
from botocore.exceptions import ClientError
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler

from langchain_pointsman import ChatPointsman
from pointsman import Client
from pointsman.local import LocalEndpoint
from pointsman.trace import Trace

CLAUDE = "us.anthropic.claude-sonnet-4-6"
LLAMA = "us.meta.llama3-1-8b-instruct-v1:0"
LLAMAS = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/meta.llama:1"
PROSE = "A signal protects its section. " * 40 + "What protects a section?"
FORECAST = "What is the weather in Paris?"
AT_ONCE = 30
LONG_ENOUGH = 30.0
"""Seconds after which a test has failed that waits for what should come at once."""


def get_weather(location: str) -> str:
    """Get the weather at a location."""
    return f"Sunny in {location}."


class Watched:
    """A boto3 client that notes which thread reads each event of a stream."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.threads: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def converse_stream(self, **request: Any) -> dict[str, Any]:
        """As boto3's."""
        reply = self._client.converse_stream(**request)
        return {**reply, "stream": WatchedStream(reply["stream"], self.threads)}


class WatchedStream:
    """botocore's event stream."""

    def __init__(self, events: Any, threads: list[str]) -> None:
        self._events = events
        self._threads = threads

    def __iter__(self) -> Iterator[Any]:
        for event in self._events:
            self._threads.append(threading.current_thread().name)
            yield event

    def close(self) -> None:
        """As botocore's."""
        self._events.close()


class Listener(BaseCallbackHandler):
    """Notes what LangChain's callbacks tell."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.models: set[str] = set()
        self.errors: list[BaseException] = []

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:  # noqa: ARG002 - as content
        """A piece of the answer, in the chunk that holds it."""
        self.tokens.append(chunk.message.text)
        self.models |= {chunk.message.response_metadata.get("model_name")} - {None}

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        """What the call failed with."""
        self.errors.append(error)


class AsyncListener(AsyncCallbackHandler):
    """The same for asyncio."""

    def __init__(self) -> None:
        self.heard = Listener()

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        """A piece of the answer, in the chunk that holds it."""
        self.heard.on_llm_new_token(token, chunk=chunk)


@pytest.fixture
def traces() -> list[Trace]:
    """What the client's listener was told."""
    return []


@pytest.fixture
def chat(boto3_client: Any, traces: list[Trace]) -> Callable[..., ChatPointsman]:
    """Makes chat models that ask the endpoint, or another client."""

    def make(model: str = CLAUDE, client: Any = None, **fields: Any) -> ChatPointsman:
        told = Client(client or boto3_client, on_trace=traces.append)
        return ChatPointsman(model=model, client=told, bedrock_client=boto3_client, **fields)

    return make


@pytest.fixture
def slow(traces: list[Trace]) -> Iterator[tuple[ChatPointsman, LocalEndpoint]]:
    """A chat model that takes seconds for its answer, and its endpoint."""
    with LocalEndpoint(pace_ms=100) as endpoint:
        client = Client(endpoint.client(), on_trace=traces.append)
        yield ChatPointsman(model=CLAUDE, client=client, bedrock_client=endpoint.client("bedrock")), endpoint


async def until(happened: Callable[[], Any]) -> Any:
    """What a condition gives, once it holds."""
    deadline = time.monotonic() + LONG_ENOUGH
    while not (found := happened()) and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    return found


class TestAtOnce:
    """Calls run beside each other, not one after the other."""

    @pytest.mark.parametrize("way", ["ainvoke", "astream"])
    async def test_as_many_calls_as_are_awaited_at_once(self, way: str, endpoint: LocalEndpoint) -> None:
        """All of them meet at a barrier before they are sent: with fewer threads or connections it would never open."""
        llm = ChatPointsman(
            model=CLAUDE,
            endpoint_url=endpoint.url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        barrier = threading.Barrier(AT_ONCE, timeout=LONG_ENOUGH)

        def meet(**_: Any) -> None:
            barrier.wait()

        llm.client.meta.events.register("before-send.bedrock-runtime", meet)

        async def ask() -> Any:
            return await llm.ainvoke(PROSE) if way == "ainvoke" else [chunk async for chunk in llm.astream(PROSE)]

        assert all(await asyncio.gather(*(ask() for _ in range(AT_ONCE))))
        assert endpoint.account()["requests"] == AT_ONCE

    async def test_the_loop_goes_on_meanwhile(self, chat: Callable[..., ChatPointsman], boto3_client: Any) -> None:
        """A call that waits for what another task does gets it."""
        done = threading.Event()

        def wait(**_: Any) -> None:
            assert done.wait(LONG_ENOUGH)

        boto3_client.meta.events.register("before-send.bedrock-runtime", wait)
        asking = asyncio.create_task(chat().ainvoke(PROSE))
        await asyncio.sleep(0)
        done.set()
        assert (await asking).text


class TestStream:
    """Chunks as they come."""

    async def test_one_thread_reads_all_of_it(
        self, chat: Callable[..., ChatPointsman], boto3_client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is handed to an executor but the stream as a whole: not each chunk for itself."""
        watched, handed = Watched(boto3_client), []
        submit = ThreadPoolExecutor.submit

        def noted(self: ThreadPoolExecutor, *args: Any, **kwargs: Any) -> Any:
            handed.append(args)
            return submit(self, *args, **kwargs)

        monkeypatch.setattr(ThreadPoolExecutor, "submit", noted)
        chunks = [chunk async for chunk in chat(client=watched).astream(PROSE)]
        assert len(chunks) > 5
        assert len(handed) == 1
        assert len(set(watched.threads)) == 1
        assert watched.threads[0].startswith("pointsman")

    async def test_it_says_the_same_sync_and_async(self, chat: Callable[..., ChatPointsman]) -> None:
        """Chunk by chunk."""
        one = [chunk.text for chunk in chat().stream(PROSE)]
        other = [chunk.text async for chunk in chat().astream(PROSE)]
        assert one == other
        assert "".join(one) == chat().invoke(PROSE).text

    async def test_callbacks_are_told_each_token(self, chat: Callable[..., ChatPointsman]) -> None:
        """Sync and async ones, by sync and async streams, and the last chunk with the model that answered."""
        sync, by_loop, by_task = Listener(), Listener(), AsyncListener()
        text = reduce(add, chat().stream(PROSE, config={"callbacks": [sync]})).text
        config: Any = {"callbacks": [by_loop, by_task]}
        assert [chunk async for chunk in chat().astream(PROSE, config=config)]
        for listener in (sync, by_loop, by_task.heard):
            assert "".join(listener.tokens) == text
            assert listener.models == {CLAUDE}

    @pytest.mark.parametrize("way", ["stream", "astream"])
    async def test_one_that_breaks_raises_and_is_told(
        self, way: str, chat: Callable[..., ChatPointsman], endpoint: LocalEndpoint, traces: list[Trace]
    ) -> None:
        """The reader and his callbacks get the error after what had come, and the trace says that it failed."""
        endpoint.faults.inject("broken-stream")
        listener, read = Listener(), []
        config: Any = {"callbacks": [listener]}
        with pytest.raises(ClientError):
            if way == "stream":
                for chunk in chat().stream(PROSE, config=config):
                    read.append(chunk)
            else:
                async for chunk in chat().astream(PROSE, config=config):
                    read.append(chunk)
        assert read
        assert len(listener.errors) == 1
        assert [trace.status for trace in traces] == ["failed"]


class TestLeaving:
    """A reader who goes before the end: the connection is closed, and the trace says so."""

    async def test_a_loop_that_breaks_off(self, slow: tuple[ChatPointsman, LocalEndpoint], traces: list[Trace]) -> None:
        """The stream is forgotten, or closed."""
        llm, endpoint = slow
        for _ in llm.stream(PROSE):
            break
        assert await until(lambda: endpoint.account()["early_closed"]) == 1
        assert [trace.status for trace in traces] == ["closed early"]

    async def test_an_async_loop_that_breaks_off(
        self, slow: tuple[ChatPointsman, LocalEndpoint], traces: list[Trace]
    ) -> None:
        """The same, with nobody who closes it by hand."""
        llm, endpoint = slow
        async for _ in llm.astream(PROSE):
            break
        assert await until(lambda: endpoint.account()["early_closed"]) == 1
        assert [trace.status for trace in traces] == ["closed early"]

    async def test_a_task_that_is_cancelled(
        self, slow: tuple[ChatPointsman, LocalEndpoint], traces: list[Trace]
    ) -> None:
        """A web server cancels the task whose client went away."""
        llm, endpoint = slow
        started = asyncio.Event()

        async def read() -> None:
            async for _ in llm.astream(PROSE):
                started.set()

        reading = asyncio.create_task(read())
        await asyncio.wait_for(started.wait(), LONG_ENOUGH)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await until(lambda: endpoint.account()["early_closed"]) == 1
        assert [trace.status for trace in traces] == ["closed early"]


class TestTools:
    """Some models take no tools in streams: what would be streamed is asked for as a whole, as langchain-aws does."""

    @pytest.mark.parametrize("model", [LLAMAS, LLAMA])
    def test_of_a_router_whose_models_take_none(
        self, model: str, chat: Callable[..., ChatPointsman], endpoint: LocalEndpoint
    ) -> None:
        """As of such a model; without tools it streams."""
        message = reduce(add, chat(model).bind_tools([get_weather]).stream(FORECAST))
        assert [call["name"] for call in message.tool_calls] == ["get_weather"]
        assert endpoint.account()["operations"] == {"Converse": 1}
        assert len(list(chat(model).stream(PROSE))) > 1
        assert endpoint.account()["operations"] == {"Converse": 1, "ConverseStream": 1}

    @pytest.mark.parametrize(
        ("own", "named", "operation"), [(CLAUDE, LLAMA, "Converse"), (LLAMA, CLAUDE, "ConverseStream")]
    )
    def test_of_the_model_that_a_call_names(
        self, own: str, named: str, operation: str, chat: Callable[..., ChatPointsman], endpoint: LocalEndpoint
    ) -> None:
        """Whatever the chat model's own does."""
        message = reduce(add, chat(own).bind_tools([get_weather]).stream(FORECAST, model=named))
        assert [call["name"] for call in message.tool_calls] == ["get_weather"]
        assert endpoint.account()["operations"] == {operation: 1}
