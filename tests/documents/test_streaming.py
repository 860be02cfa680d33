"""Sessions where contexts get lost: streams, threads, asyncio, and a web server that opens one for each request."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from talks import CLAUDE, INSTRUCTIONS, document, in_message, in_system, said, text_of

import pointsman
from pointsman import AsyncClient, Client
from pointsman.documents.sessions import current_session
from pointsman.local import LocalEndpoint
from pointsman.trace import Trace

SCOPE = "a tenant of these tests"


@pytest.fixture
def traces() -> list[Trace]:
    """What the client's listener was told."""
    return []


@pytest.fixture
def client(boto3_client: Any, endpoint: LocalEndpoint, traces: list[Trace]) -> Client:
    """A client of the endpoint."""
    return Client(boto3_client, clock=endpoint.settings.clock, on_trace=traces.append)


@pytest.fixture
def async_client(boto3_client: Any, endpoint: LocalEndpoint, traces: list[Trace]) -> Iterator[AsyncClient]:
    """The same for asyncio."""
    client = AsyncClient(boto3_client, clock=endpoint.settings.clock, on_trace=traces.append)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def no_sessions_left() -> Iterator[None]:
    """Each test begins and ends without a current session, and without the sessions of others."""
    assert current_session() is None
    yield
    assert current_session() is None
    for name in ("one", "other"):
        pointsman.session(name, scope=SCOPE).close()


def request(number: int, history: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A question with its document in the system prompt."""
    shaped = in_system(f"What about post {number}?", [text_of(number)])
    return {"modelId": CLAUDE, "system": shaped["system"], "messages": [*(history or ()), shaped["asked"]]}


def test_the_innermost_session_is_the_current_one() -> None:
    """Leaving it makes the one around it the current one again; one handle may be entered twice."""
    one, other = pointsman.session("one", scope=SCOPE), pointsman.session("other", scope=SCOPE)
    with one:
        with other, one:
            assert current_session() is one
        assert current_session() is one
        with other:
            assert current_session() is other
        assert current_session() is one


def test_leaving_a_session_detaches_it_and_no_more(client: Client) -> None:
    """The next block of the same id and scope finds what it held."""
    with pointsman.session("one", scope=SCOPE) as session:
        session.register([document(1)])
    with pointsman.session("one", scope=SCOPE):
        assert client.converse(**request(1))["pointsman"]["documents"]["loose"] == 1
    pointsman.session("one", scope=SCOPE).close()
    with pointsman.session("one", scope=SCOPE):
        assert client.converse(**request(1))["pointsman"]["documents"] is None


def test_a_session_may_be_given_as_an_argument(client: Client) -> None:
    """It comes before the current one; without any, nothing is laid."""
    session = pointsman.session("one", scope=SCOPE)
    session.register([document(1)])
    with pointsman.session("other", scope=SCOPE):
        assert client.converse(**request(1))["pointsman"]["documents"] is None
        assert client.converse(**request(1), session=session)["pointsman"]["documents"]["loose"] == 1
    assert client.converse(**request(1))["pointsman"]["documents"] is None


async def test_asyncio_takes_the_session_of_who_awaits(async_client: AsyncClient) -> None:
    """Each task has its own."""

    async def ask(name: str, number: int) -> Any:
        with pointsman.session(name, scope=SCOPE) as session:
            session.register([document(number)])
            await asyncio.sleep(0)
            reply = await async_client.converse(**request(number))
            assert current_session() is session
            return reply["pointsman"]["documents"]["loose"]

    assert await asyncio.gather(ask("one", 1), ask("other", 2)) == [1, 1]
    session = pointsman.session("one", scope=SCOPE)
    assert (await async_client.converse(**request(1), session=session))["pointsman"]["documents"]["loose"] == 1


def test_one_handle_on_two_threads_is_left_where_it_was_entered() -> None:
    """Leaving it on one does not detach it on the other."""
    session = pointsman.session("one", scope=SCOPE)
    with session, ThreadPoolExecutor(1) as thread:
        assert thread.submit(_enter_and_leave, session).result() is None
        assert current_session() is session


def _enter_and_leave(session: pointsman.Session) -> pointsman.Session | None:
    with session:
        assert current_session() is session
    return current_session()


def test_a_generator_that_is_closed_in_another_context_leaves_its_session() -> None:
    """`__exit__` does not raise, and the context it was begun in has no session left."""

    def stream() -> Iterator[str]:
        with pointsman.session("one", scope=SCOPE):
            yield "begun"

    begun_in = contextvars.copy_context()
    events = stream()
    assert begun_in.run(next, events) == "begun"
    assert begun_in.run(current_session) is not None
    contextvars.copy_context().run(events.close)  # type: ignore[attr-defined]  # it is a generator
    assert begun_in.run(current_session) is None


def test_a_stream_that_is_left_does_not_advance_the_shelf(client: Client) -> None:
    """What it laid is laid anew by the next request, as if it had not been."""
    with pointsman.session("one", scope=SCOPE) as session:
        session.register([document(1)])
        stream = client.converse_stream(**request(1))["stream"]
        next(iter(stream))
        stream.close()
        assert len(session._sessions.known_stock_of(session)._shelves) == 0
        for _ in client.converse_stream(**request(1))["stream"]:
            pass
        assert len(session._sessions.known_stock_of(session)._shelves) == 1


def test_the_session_is_looked_up_before_the_first_event(client: Client) -> None:
    """A stream that is read outside of the block is of the session all the same."""
    with pointsman.session("one", scope=SCOPE) as session:
        session.register([document(1)])
        stream = client.converse_stream(**request(1))["stream"]
    events = list(stream)
    assert events[-1]["metadata"]["pointsman"]["documents"]["loose"] == 1
    assert len(session._sessions.known_stock_of(session)._shelves) == 1


# --- web servers --------------------------------------------------------------------------------------------------

History = dict[str, list[dict[str, Any]]]


def served(client: Client, async_client: AsyncClient, histories: History) -> Starlette:
    """A server that streams answers by a sync and an async generator, a session for each request."""

    def begun(session: pointsman.Session, number: int) -> dict[str, Any]:
        found = session.register([document(0), document(number)])
        shaped = in_message(f"What about post {number}?", [one.text for one in found])
        history = histories.setdefault(session.id, [])
        return {"modelId": CLAUDE, "system": [{"text": INSTRUCTIONS}], "messages": [*history, shaped["asked"]]}

    def ended(session: pointsman.Session, number: int, text: str) -> None:
        histories[session.id] += [said("user", f"What about post {number}?"), said("assistant", text)]

    def sync_answer(name: str, number: int) -> Iterator[str]:
        with pointsman.session(name, scope=SCOPE) as session:
            pieces = []
            for event in client.converse_stream(**begun(session, number))["stream"]:
                if text := event.get("contentBlockDelta", {}).get("delta", {}).get("text"):
                    pieces.append(text)
                    yield text
            ended(session, number, "".join(pieces))

    async def async_answer(name: str, number: int) -> AsyncIterator[str]:
        with pointsman.session(name, scope=SCOPE) as session:
            pieces = []
            stream = (await async_client.converse_stream(**begun(session, number)))["stream"]
            async for event in stream:
                if text := event.get("contentBlockDelta", {}).get("delta", {}).get("text"):
                    pieces.append(text)
                    yield text
            ended(session, number, "".join(pieces))

    async def answer(request: Request) -> StreamingResponse:
        answering = sync_answer if request.path_params["how"] == "sync" else async_answer
        assert current_session() is None
        return StreamingResponse(answering(request.path_params["name"], int(request.path_params["number"])))

    return Starlette(routes=[Route("/{how}/{name}/{number}", answer)])


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_under_a_web_server_the_next_request_goes_on(
    how: str, client: Client, async_client: AsyncClient, endpoint: LocalEndpoint, traces: list[Trace]
) -> None:
    """Contexts are lost between the steps of a generator; the conversation is found again by its id."""
    histories: History = {}
    app = served(client, async_client, histories)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as browser:
        for number in range(1, 6):
            for name in ("one", "other"):
                answered = await browser.get(f"/{how}/{name}/{number}")
                assert answered.text
            endpoint.advance(30.0)
    assert [trace.documents.as_written for trace in traces if trace.documents] == [None] * 10
    assert traces[-1].documents is not None
    assert traces[-1].documents.stay >= 1
    assert traces[-1].usage is not None
    assert traces[-1].usage.cache_read_tokens > 1_500
    assert len(histories["one"]) == len(histories["other"]) == 10


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_who_hangs_up_leaves_nothing_behind(
    how: str, client: Client, async_client: AsyncClient, traces: list[Trace]
) -> None:
    """The generator is closed in the middle, wherever that happens; the worker's next request has no session of it."""
    histories: History = {}
    app = served(client, async_client, histories)

    async def hang_up() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            raise OSError("the client has hung up")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "path": f"/{how}/one/1",
        "headers": [],
        "query_string": b"",
    }
    # As servers do: each request in a task of its own.
    (failed,) = await asyncio.gather(asyncio.create_task(app(scope, hang_up, send)), return_exceptions=True)
    assert failed is not None
    assert current_session() is None
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as browser:
        assert (await browser.get(f"/{how}/one/1")).text
    assert traces[-1].documents is not None
    assert traces[-1].documents.as_written is None
    assert len(histories["one"]) == 2
