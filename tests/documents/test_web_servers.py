"""Sessions behind Starlette: who hangs up in the middle, contexts lost between steps, requests side by side."""

from __future__ import annotations

import asyncio
import gc
import queue
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from talks import CLAUDE, document, in_message, in_system, said, text_of, times
from wire import Wire, plain, up_to_the_last_point

import pointsman
from pointsman import AsyncClient, Client, Trace
from pointsman.documents.sessions import current_session
from pointsman.local import LocalEndpoint

SCOPE = "a tenant of these web servers"
NAMES = ("one", "other", "third")
_TEXTS_BEFORE_THE_GATE = 2
_LONGEST_WAIT_SECONDS = 20.0

Talked = dict[str, Any]


class Gated:
    """A boto3 client whose streams wait behind their second text until the gate is open."""

    def __init__(self, boto3_client: Any) -> None:
        self._client = boto3_client
        self.gate = threading.Event()
        self.gate.set()

    def converse_stream(self, **request: Any) -> Any:
        reply = self._client.converse_stream(**request)
        return {**reply, "stream": _GatedStream(reply["stream"], self.gate)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class _GatedStream:
    def __init__(self, events: Any, gate: threading.Event) -> None:
        self._events = events
        self._gate = gate

    def __iter__(self) -> Iterator[Any]:
        texts = 0
        for event in self._events:
            if texts >= _TEXTS_BEFORE_THE_GATE:
                assert self._gate.wait(_LONGEST_WAIT_SECONDS)
            texts += "contentBlockDelta" in event
            yield event

    def close(self) -> None:
        self._events.close()


class Server:
    """A web server, its clients, what it sent, and the traces that it was told."""

    def __init__(self, endpoint: LocalEndpoint, boto3_client: Any) -> None:
        self.wire = Wire(endpoint, boto3_client)
        self.gated = Gated(boto3_client)
        self.told: queue.Queue[Trace] = queue.Queue()
        self.histories: dict[str, list[Talked]] = {name: [] for name in NAMES}
        options = {"clock": endpoint.settings.clock, "on_trace": self.told.put}
        self.client = Client(self.gated, **options)
        self.async_client = AsyncClient(self.gated, **options)
        self.app = Starlette(
            routes=[
                Route("/current", lambda _: PlainTextResponse(str(current_session()))),
                Route("/{how}/{name}/{number:int}", self.answer),
            ]
        )

    def answer(self, request: Request) -> StreamingResponse:
        """A sync endpoint, which Starlette calls on a thread of its pool."""
        assert current_session() is None
        how = {
            "sync": self.sync_answer,
            "async": self.async_answer,
            "sync late": self.late_answer,
            "sync late, given": self.late_answer_with_session,
            "async late": self.async_late_answer,
        }[request.path_params["how"]]
        return StreamingResponse(how(request.path_params["name"], request.path_params["number"]))

    @staticmethod
    def own(name: str, number: int) -> int:
        """The document that only this session is given, for this question."""
        return 100 * (1 + NAMES.index(name)) + number

    def begun(self, session: pointsman.Session, number: int) -> Talked:
        """The request for a question whose documents are 0 and 1, and the session's own."""
        found = session.register([document(0), document(1), document(self.own(session.id, number))])
        shaped = in_system(f"What about post {number}?", [one.text for one in found])
        messages = [*self.histories[session.id], shaped["asked"]]
        return {"modelId": CLAUDE, "system": shaped["system"], "messages": messages}

    def ended(self, name: str, number: int, texts: Sequence[str]) -> None:
        """Remember the turn, once its answer is whole."""
        self.histories[name] += [said("user", f"What about post {number}?"), said("assistant", "".join(texts))]

    def sync_answer(self, name: str, number: int) -> Iterator[str]:
        with pointsman.session(name, scope=SCOPE) as session:
            texts = []
            for text in texts_of(self.client.converse_stream(**self.begun(session, number))["stream"]):
                texts.append(text)
                yield text
            self.ended(name, number, texts)

    async def async_answer(self, name: str, number: int) -> AsyncIterator[str]:
        with pointsman.session(name, scope=SCOPE) as session:
            texts = []
            reply = await self.async_client.converse_stream(**self.begun(session, number))
            async for event in reply["stream"]:
                for text in texts_of([event]):
                    texts.append(text)
                    yield text
            self.ended(name, number, texts)

    def late_answer(self, name: str, number: int) -> Iterator[str]:
        with pointsman.session(name, scope=SCOPE) as session:
            yield "Searching ... "
            yield from texts_of(self.client.converse_stream(**self.begun(session, number))["stream"])

    def late_answer_with_session(self, name: str, number: int) -> Iterator[str]:
        with pointsman.session(name, scope=SCOPE) as session:
            yield "Searching ... "
            request = self.begun(session, number)
            yield from texts_of(self.client.converse_stream(**request, session=session)["stream"])

    async def async_late_answer(self, name: str, number: int) -> AsyncIterator[str]:
        with pointsman.session(name, scope=SCOPE) as session:
            yield "Searching ... "
            reply = await self.async_client.converse_stream(**self.begun(session, number))
            async for event in reply["stream"]:
                for text in texts_of([event]):
                    yield text

    def browser(self) -> httpx.AsyncClient:
        """Who asks it."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://server")

    async def hang_up(self, how: str, name: str, number: int) -> None:
        """Ask, and go once something has been seen; the server notices while the answer goes on."""
        seen = asyncio.Event()

        async def receive() -> Talked:
            await seen.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message.get("body"):
                seen.set()

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "GET",
            "path": f"/{how}/{name}/{number}",
            "headers": [],
            "query_string": b"",
        }
        # As servers do: each request in a task of its own.
        await asyncio.create_task(self.app(scope, receive, send))
        # anyio's cancellation leaves the sync generator in the frames of a traceback, until they are collected.
        gc.collect()


def texts_of(events: Any) -> Iterator[str]:
    """The pieces of text among the events."""
    for event in events:
        if text := event.get("contentBlockDelta", {}).get("delta", {}).get("text"):
            yield text


@pytest.fixture
def server(endpoint: LocalEndpoint, boto3_client: Any) -> Iterator[Server]:
    """A server whose sessions end with the test."""
    assert current_session() is None
    server = Server(endpoint, boto3_client)
    yield server
    server.gated.gate.set()
    server.async_client.close()
    for name in NAMES:
        pointsman.session(name, scope=SCOPE).close()
    assert current_session() is None


def told(server: Server) -> Trace:
    """The next trace; a stream that was left is told of by whichever thread reads it."""
    return server.told.get(timeout=_LONGEST_WAIT_SECONDS)


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_after_a_client_has_gone_the_same_question_is_laid_as_if_it_had_not_been(
    how: str, server: Server
) -> None:
    """In the middle of a conversation: the same bytes as for the one who went, and no turn more on the shelf."""
    async with server.browser() as browser:
        for number in range(1, 6):
            assert (await browser.get(f"/{how}/one/{number}")).text
            server.wire.endpoint.advance(30.0)
            assert told(server).status == "complete"
        settled = server.wire.requests[-1]
        session = pointsman.session("one", scope=SCOPE)
        shelves = session._sessions.known_stock_of(session)._shelves
        before = len(shelves)
        if how == "async":  # A thread reads ahead of the generator; a sync one reads no further than it is asked.
            server.gated.gate.clear()
        await server.hang_up(how, "one", 9)
        server.gated.gate.set()
        left = told(server)
        assert left.status == "closed early"
        assert left.documents is not None
        assert left.documents.stay >= 2
        assert len(shelves) == before
        assert (await browser.get("/current")).text == "None"
        assert (await browser.get(f"/{how}/one/9")).text
        again, gone = server.wire.requests[-1], server.wire.requests[-2]
        assert plain(again) == plain(gone)
        assert plain(again).startswith(up_to_the_last_point(settled))
        assert told(server).documents == left.documents
    assert len(server.histories["one"]) == 2 * 6


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_another_question_after_a_client_has_gone_goes_on_from_the_turn_before(how: str, server: Server) -> None:
    """What the cancelled turn would have kept is not held against the next one."""
    async with server.browser() as browser:
        for number in range(1, 6):
            assert (await browser.get(f"/{how}/one/{number}")).text
            server.wire.endpoint.advance(30.0)
        settled = server.wire.requests[-1]
        if how == "async":
            server.gated.gate.clear()
        await server.hang_up(how, "one", 9)
        server.gated.gate.set()
        assert (await browser.get(f"/{how}/one/10")).text
    sent = server.wire.requests[-1]
    assert plain(sent).startswith(up_to_the_last_point(settled))
    assert [times(number, sent) for number in (0, 1, Server.own("one", 9), Server.own("one", 10))] == [1, 1, 0, 1]


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_conversations_side_by_side_hold_their_own_documents(how: str, server: Server) -> None:
    """Three at once, over several turns: each is found again by its id, and none has a document of another."""
    async with server.browser() as browser:
        for number in range(1, 6):
            answers = [browser.get(f"/{how}/{name}/{number}") for name in NAMES]
            assert all(answer.text for answer in await asyncio.gather(*answers))
            server.wire.endpoint.advance(30.0)
        assert [(await browser.get("/current")).text for _ in range(20)] == ["None"] * 20
    assert len(server.wire.requests) == 15
    for request in server.wire.requests:
        own = {name: sum(times(Server.own(name, number), request) for number in range(1, 6)) for name in NAMES}
        assert sorted(own.values()) == [0, 0, 1]
        assert times(0, request) == 1
    traces = [told(server) for _ in range(15)]
    assert all(trace.documents is not None and trace.documents.as_written is None for trace in traces)
    assert all(trace.documents.stay >= 2 for trace in traces[-3:] if trace.documents)


@pytest.mark.parametrize(("how", "laid"), [("sync late", False), ("sync late, given", True), ("async late", True)])
async def test_a_sync_generator_that_has_yielded_before_it_asks_gives_the_session(
    how: str, laid: bool, server: Server
) -> None:
    """Starlette takes each step of it in a fresh context: the session of its `with` is the current one no more."""
    async with server.browser() as browser:
        assert (await browser.get(f"/{how}/one/1")).text.startswith("Searching ... ")
        assert (await browser.get("/current")).text == "None"
    documents = told(server).documents
    assert (documents is not None and documents.loose == 3) == laid


@pytest.mark.parametrize("stream", [False, True])
async def test_the_session_may_be_an_argument_of_every_call(stream: bool, server: Server) -> None:
    """On both clients; it comes before the current one."""
    given = pointsman.session("one", scope=SCOPE)
    given.register([document(1)])
    shaped = in_message("What about post 1?", [text_of(1)])
    request = {"modelId": CLAUDE, "system": in_system("", [])["system"], "messages": [shaped["asked"]]}
    with pointsman.session("other", scope=SCOPE):
        if stream:
            list(server.client.converse_stream(**request, session=given)["stream"])
            reply = await server.async_client.converse_stream(**request, session=given)
            assert [event async for event in reply["stream"]]
        else:
            server.client.converse(**request, session=given)
            await server.async_client.converse(**request, session=given)
    assert current_session() is None
    for trace in (told(server), told(server)):
        assert trace.documents is not None
        assert trace.documents.loose == 1


@pytest.mark.parametrize("leave", [list, next, lambda answer: (next(answer), answer.close())])
def test_a_worker_that_serves_one_request_after_another_carries_no_session_over(leave: Any, server: Server) -> None:
    """One thread and one context, as WSGI servers have: the answer is read to its end, dropped, or closed."""

    def serve() -> Any:
        leave(server.sync_answer("one", 1))
        assert current_session() is None
        found = [text_of(0), text_of(Server.own("one", 1))]
        shaped = in_system("What about post 1?", found)
        reply = server.client.converse(modelId=CLAUDE, system=shaped["system"], messages=[shaped["asked"]])
        return reply["pointsman"]["documents"]

    with ThreadPoolExecutor(1) as worker:
        assert [worker.submit(serve).result(_LONGEST_WAIT_SECONDS) for _ in range(2)] == [None, None]


async def test_what_a_handler_raises_within_a_session_is_what_is_raised() -> None:
    """Leaving the `with` neither hides the error nor adds one, wherever the generator is when it is closed."""

    def failing() -> Iterator[str]:
        with pointsman.session("one", scope=SCOPE):
            yield "begun"
            raise LookupError("the answer is lost")

    async def answer(_: Request) -> StreamingResponse:
        return StreamingResponse(failing())

    transport = httpx.ASGITransport(Starlette(routes=[Route("/", answer)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as browser:
        with pytest.raises(LookupError, match="the answer is lost"):
            await browser.get("/")
    assert current_session() is None
