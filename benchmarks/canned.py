"""A loopback HTTP server in a process of its own that answers every Converse call at once with the same reply.

It does next to nothing, so that what is measured is the client.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import orjson
from botocore.config import Config

_USAGE = {"inputTokens": 20, "outputTokens": 60, "totalTokens": 80, "cacheReadInputTokens": 0}
_REPLY = {
    "output": {
        "message": {"role": "assistant", "content": [{"text": "The signalman tells him, by block bells. " * 6}]}
    },
    "stopReason": "end_turn",
    "usage": _USAGE,
    "metrics": {"latencyMs": 1},
}


@contextmanager
def canned_endpoint(*, delay: float = 0.0) -> Iterator[str]:
    """The URL of a server that lives as long as the context."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(sender, delay), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{receiver.recv()}"
    finally:
        process.terminate()
        process.join()


def client(url: str, *, pool: int = 10) -> Any:
    """A boto3 client of that server: one try a request, like a service behind its own retry policy."""
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(max_pool_connections=pool, retries={"total_max_attempts": 1}),
    )


def _run(sender: Any, delay: float) -> None:
    asyncio.run(_serve(sender, delay))


async def _serve(sender: Any, delay: float) -> None:
    replies = {b"/converse": _plain(), b"/converse-stream": _streamed()}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                if b"expect: 100-continue" in head.lower():
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await reader.readexactly(length)
                await asyncio.sleep(delay)
                path = head.split(b" ", 2)[1]
                writer.write(replies[b"/" + path.rsplit(b"/", 1)[1]])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20, backlog=1024)
    sender.send(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


def _plain() -> bytes:
    return _http(orjson.dumps(_REPLY), "application/json")


def _streamed() -> bytes:
    delta = {"contentBlockIndex": 0, "delta": {"text": "The signalman tells him. "}}
    frames = [
        _frame("messageStart", {"role": "assistant"}),
        *(_frame("contentBlockDelta", delta) for _ in range(20)),
        _frame("contentBlockStop", {"contentBlockIndex": 0}),
        _frame("messageStop", {"stopReason": "end_turn"}),
        _frame("metadata", {"usage": _USAGE, "metrics": {"latencyMs": 1}}),
    ]
    return _http(b"".join(frames), "application/vnd.amazon.eventstream")


def _http(body: bytes, content_type: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _frame(event: str, payload: object) -> bytes:
    headers = b"".join(
        struct.pack(f"!B{len(name)}sBH{len(value)}s", len(name), name, 7, len(value), value)
        for name, value in (
            (b":event-type", event.encode()),
            (b":content-type", b"application/json"),
            (b":message-type", b"event"),
        )
    )
    body = orjson.dumps(payload)
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack("!I", zlib.crc32(message))
