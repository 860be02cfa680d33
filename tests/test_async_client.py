"""The async client: boto3 in threads of its own, as many as its pool has connections."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from pointsman import AsyncClient, NoEligibleModelError
from pointsman.local import LocalEndpoint
from pointsman.trace import Trace

ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
HAIKU = "us.anthropic.claude-haiku-5-5"
HELLO = [{"role": "user", "content": [{"text": "Describe the purpose of a 'hello world' program in one line."}]}]
PROSE = [{"role": "user", "content": [{"text": "A signal protects its section. " * 40 + "What protects a section?"}]}]


@pytest.fixture
def traces() -> list[Trace]:
    """What the client's listener was told."""
    return []


@pytest.fixture
def async_client(boto3_client: Any, endpoint: LocalEndpoint, traces: list[Trace]) -> AsyncClient:
    """Pointsman's async client of the endpoint."""
    return AsyncClient(boto3_client, clock=endpoint.settings.clock, on_trace=traces.append)


async def test_it_routes_like_the_sync_one(async_client: AsyncClient) -> None:
    """A router's reply names the invoked model."""
    async with async_client as client:
        reply = await client.converse(modelId=ROUTER, messages=HELLO)
    assert reply["pointsman"]["invoked_model_id"].endswith(HAIKU)


async def test_errors_are_raised_where_they_are_awaited(async_client: AsyncClient, endpoint: LocalEndpoint) -> None:
    """botocore's error with the trace on it; ours as it is."""
    endpoint.faults.inject("throttle")
    image = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
    async with async_client as client:
        with pytest.raises(ClientError) as caught:
            await client.converse(modelId=HAIKU, messages=HELLO)
        with pytest.raises(NoEligibleModelError):
            await client.converse(
                modelId=ROUTER.replace("anthropic.claude", "meta.llama"),
                messages=[{"role": "user", "content": [image, {"text": "What is it?"}]}],
            )
    assert caught.value.pointsman["status"] == "failed"  # type: ignore[attr-defined]  # ours


async def test_tokens_are_counted(async_client: AsyncClient) -> None:
    """count_tokens is async too."""
    async with async_client as client:
        assert (await client.count_tokens(modelId=ROUTER, input={"converse": {"messages": HELLO}}))["inputTokens"] > 0


async def test_as_many_requests_as_the_pool_has_connections_are_in_flight(endpoint: LocalEndpoint) -> None:
    """Forty requests of 200 ms take about 200 ms, where the loop's default executor would take many rounds."""
    boto3_client = endpoint.client(config=Config(max_pool_connections=40, retries={"total_max_attempts": 1}))
    boto3_client.meta.events.register("before-sign.bedrock-runtime", _slow)
    async with AsyncClient(boto3_client) as client:
        started = time.perf_counter()
        await asyncio.gather(*[client.converse(modelId=HAIKU, messages=HELLO) for _ in range(40)])
        took = time.perf_counter() - started
    assert took < 5 * 0.2


def _slow(request: Any, **_: Any) -> None:
    request.headers["x-local-latency-ms"] = "200"


async def test_context_variables_reach_the_thread() -> None:
    """What the caller's task has set, a boto3 event hook or a listener can read."""
    tenant = contextvars.ContextVar("tenant", default="none")

    class Own:
        def converse(self, **_: Any) -> dict[str, Any]:
            return {"tenant": tenant.get(), "thread": threading.current_thread().name}

    tenant.set("a")
    async with AsyncClient(Own()) as client:
        reply = await client.converse(modelId=HAIKU, messages=HELLO)
    assert reply["tenant"] == "a"
    assert reply["thread"].startswith("pointsman")


async def test_a_stream_gives_events_as_they_come(async_client: AsyncClient) -> None:
    """The same events as boto3's, with the trace in the metadata."""
    async with async_client as client:
        reply = await client.converse_stream(modelId=ROUTER, messages=HELLO)
        events = [event async for event in reply["stream"]]
    assert next(iter(events[0])) == "messageStart"
    assert events[-1]["metadata"]["trace"]["promptRouter"]["invokedModelId"].endswith(HAIKU)
    assert reply["stream"].trace.status == "complete"


@pytest.mark.parametrize("events_read", [0, 1, 2])
async def test_a_stream_that_is_left_is_accounted_for(
    events_read: int, async_client: AsyncClient, traces: list[Trace]
) -> None:
    """After `close()` the trace says "closed early", however much had been read; closing twice is harmless."""
    async with async_client as client:
        reply = await client.converse_stream(modelId=HAIKU, messages=PROSE)
        stream = reply["stream"]
        for _ in range(events_read):
            await anext(aiter(stream))
        await stream.close()
        await stream.close()
    assert stream.trace is not None
    assert [trace.status for trace in traces] == [stream.trace.status]
    if not events_read:
        assert stream.trace.status == "closed early"


async def test_a_stream_can_be_closed_by_another_task(async_client: AsyncClient) -> None:
    """A web server closes the stream of a client that went away while the answer is being awaited."""

    async def consume(stream: Any) -> int:
        return len([event async for event in stream])

    async with async_client as client:
        client.meta.events.register("before-sign.bedrock-runtime", _slow)
        reply = await client.converse_stream(modelId=HAIKU, messages=PROSE)
        consuming = asyncio.create_task(consume(reply["stream"]))
        await asyncio.sleep(0)
        await reply["stream"].close()
        await asyncio.wait_for(consuming, timeout=5)
    assert reply["stream"].trace is not None


async def test_a_stream_that_breaks_raises_where_it_is_read(
    async_client: AsyncClient, endpoint: LocalEndpoint, traces: list[Trace]
) -> None:
    """A fault after the first event is raised to the reader, and told once as failed."""
    endpoint.faults.inject("broken-stream")
    async with async_client as client:
        reply = await client.converse_stream(modelId=ROUTER, messages=PROSE)
        with pytest.raises(ClientError):
            [event async for event in reply["stream"]]
        await reply["stream"].close()
    assert [trace.status for trace in traces] == ["failed"]


async def test_what_is_not_listed_is_forwarded(async_client: AsyncClient, boto3_client: Any) -> None:
    """`meta` and the like are the boto3 client's; what it lacks is missing."""
    assert async_client.meta is boto3_client.meta
    with pytest.raises(AttributeError):
        _ = async_client.no_such_operation
    async_client.close()
