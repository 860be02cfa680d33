"""Converse, ConverseStream and CountTokens over HTTP: when a call runs, what is sent when, what is accounted.

Small prompts of an instant engine are prepared and answered on the event loop, since a thread would cost more; all
others in threads. A client that goes away cancels its generation; what was generated till then is accounted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pointsman.local.account import Account
from pointsman.local.answers import Answer, StreamEvent
from pointsman.local.calls import Call, Calls
from pointsman.local.engines import Engine, EngineEvent, RenderedBlock
from pointsman.local.eventstream import CONTENT_TYPE, encode_event, encode_exception
from pointsman.local.faults import FAULT_HEADER, LATENCY_HEADER
from pointsman.local.generation import Generations
from pointsman.local.refusals import Refusal, invalid
from pointsman.local.replies import json_response, refusal_of, request_id
from pointsman.local.settings import Settings

_INLINE_BODY_BYTES: Final = 32_768
_DELTAS_BEFORE_BREAK: Final = 2
Result = TypeVar("Result")
StreamEvents = AsyncGenerator[StreamEvent, None]


class Runtime:
    """Serves the operations of `bedrock-runtime`."""

    def __init__(self, settings: Settings, *, engine: Engine, calls: Calls) -> None:
        self.generations = Generations(engine, threads=settings.max_in_flight)
        self._settings = settings
        self._engine = engine
        self._calls = calls
        self._preparing = ThreadPoolExecutor(4, thread_name_prefix="pointsman-prompt")

    def close(self) -> None:
        """Ends all threads; what still runs is cancelled by its request's end."""
        self.generations.close()
        self._preparing.shutdown(wait=False, cancel_futures=True)

    async def converse(self, model_id: str, body: bytes, headers: Mapping[str, str], receive: Receive) -> Response:
        """Converse: the whole reply at once."""
        return await _unless_gone(self._whole_reply(model_id, body, headers), receive)

    async def converse_stream(
        self, model_id: str, body: bytes, headers: Mapping[str, str], receive: Receive
    ) -> Response:
        """ConverseStream: the reply begins with the first token, so that errors before it have an HTTP status."""
        return await _unless_gone(self._begun_stream(model_id, body, headers), receive)

    async def count_tokens(self, model_id: str, body: bytes) -> Response:
        """CountTokens."""
        counted = await self._prepared(body, lambda: self._calls.count_tokens(model_id, body))
        return json_response({"inputTokens": counted})

    async def _whole_reply(self, model_id: str, body: bytes, headers: Mapping[str, str]) -> Response:
        started = time.perf_counter()
        call = await self._call(model_id, body, headers, streamed=False)
        answer = Answer(call)
        events = self._events(call, answer, headers, inline=self._is_quick(body), started=started)
        async with aclosing(events):
            async for _ in events:
                pass
        return json_response(answer.reply(_milliseconds(started)))

    async def _begun_stream(self, model_id: str, body: bytes, headers: Mapping[str, str]) -> Response:
        started = time.perf_counter()
        call = await self._call(model_id, body, headers, streamed=True)
        events = self._events(call, Answer(call), headers, inline=self._is_quick(body), started=started)
        try:
            first = await anext(events)
        except BaseException:  # a cancelled request too must end its generation
            await events.aclose()
            raise
        return EventStreamResponse(first, events, account=self._calls.account)

    async def _call(self, model_id: str, body: bytes, headers: Mapping[str, str], *, streamed: bool) -> Call:
        fault = headers.get(FAULT_HEADER)
        return await self._prepared(body, lambda: self._calls.prepare(model_id, body, streamed=streamed, fault=fault))

    async def _prepared(self, body: bytes, prepare: Callable[[], Result]) -> Result:
        if self._is_quick(body):
            return prepare()
        return await asyncio.get_running_loop().run_in_executor(self._preparing, prepare)

    def _is_quick(self, body: bytes) -> bool:
        """Whether it takes so little time that the event loop may wait for it: short, and nothing to parse."""
        return self._engine.instant and len(body) <= _INLINE_BODY_BYTES and b'"document"' not in body

    async def _events(
        self, call: Call, answer: Answer, headers: Mapping[str, str], *, inline: bool, started: float
    ) -> StreamEvents:
        """All events of a stream. The call is accounted before the last one, or when the client has gone."""
        await asyncio.sleep(self._latency_ms(headers) / 1000)
        try:
            async with aclosing(self._generation(call, inline=inline)) as generation:
                async for event in generation:
                    for stream_event in answer.take(event):
                        yield stream_event
                        if call.breaks:
                            _break_off(stream_event, answer)
        except (GeneratorExit, asyncio.CancelledError):
            if answer.begun:
                self._account_part(call, answer)
            raise
        self._calls.account.served(call.target.owner, call.plan, answer.output_tokens)
        yield "metadata", answer.metadata(_milliseconds(started))

    async def _generation(self, call: Call, *, inline: bool) -> AsyncGenerator[EngineEvent, None]:
        """The engine's events at the endpoint's pace; with the first, what the call writes can be read."""
        begun = False
        async with aclosing(self.generations.run(call.prompt, inline=inline)) as events:
            async for event in events:
                if not begun:
                    begun = True
                    self._calls.first_token(call)
                elif self._settings.pace_ms:
                    await asyncio.sleep(self._settings.pace_ms / 1000)
                yield event

    def _account_part(self, call: Call, answer: Answer) -> None:
        """The client has gone: Bedrock bills what was generated till then, and so does the account."""
        said = RenderedBlock(section="messages", kind="text", text=answer.text(), role="assistant")
        (output_tokens,) = self._engine.count([said], model_id=call.target.owner)
        self._calls.account.served(call.target.owner, call.plan, output_tokens)

    def _latency_ms(self, headers: Mapping[str, str]) -> float:
        given = headers.get(LATENCY_HEADER)
        if given is None:
            return self._settings.latency_ms
        try:
            return float(given)
        except ValueError as exc:
            raise invalid(f"{LATENCY_HEADER} is {given!r}; it must be a number of milliseconds.") from exc


class EventStreamResponse(Response):
    """Sends stream events as frames until they end, fail, or the client goes away; then calls `on_end`."""

    media_type = CONTENT_TYPE

    def __init__(self, first: StreamEvent, rest: StreamEvents, *, account: Account) -> None:
        super().__init__(headers={"x-amzn-requestid": request_id()})
        self._first = first
        self._rest = rest
        self._account = account
        self.on_end: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        try:
            await self._send_stream(receive, send)
        finally:
            self.on_end()

    async def _send_stream(self, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        async with aclosing(self._rest):
            try:
                await _unless_gone(self._send_all(send), receive)
            except ClientDisconnect:
                self._account.closed_early()
                return
        await send({"type": "http.response.body", "body": b""})

    async def _send_all(self, send: Send) -> None:
        await _send_frame(send, encode_event(*self._first))
        try:
            async for event in self._rest:
                await _send_frame(send, encode_event(*event))
        except Exception as exc:  # noqa: BLE001 - the status is sent: what fails now can only be told in the stream
            refusal = refusal_of(exc)
            code = refusal.code.replace("ModelErrorException", "ModelStreamErrorException")
            self._account.refused(code)
            await _send_frame(send, encode_exception(code[0].lower() + code[1:], {"message": refusal.message}))


def _break_off(event: StreamEvent, answer: Answer) -> None:
    """Ends a stream that is to break, after some text or at the latest with its first block."""
    if answer.deltas == _DELTAS_BEFORE_BREAK or event[0] == "contentBlockStop":
        raise Refusal("ModelStreamErrorException", "The model's stream broke off.")


async def _send_frame(send: Send, frame: bytes) -> None:
    await send({"type": "http.response.body", "body": frame, "more_body": True})


async def _unless_gone(work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
    """The work's result; cancels it and raises ClientDisconnect if the client goes away before."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _milliseconds(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
