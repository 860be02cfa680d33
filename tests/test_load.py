"""640 requests, 64 at a time, a fifth of them throttled once per model: none is lost, every token accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config

from pointsman import AsyncClient, Client, Router, RoutingCriteria, Usage
from pointsman.local import LocalEndpoint

REQUESTS, AT_ONCE = 640, 64
# Each model may throttle a prompt once, so that with three of them a request is always served by the third try.
ROUTER = Router(
    name="loaded",
    models=["amazon.nova-lite-v1:0", "us.anthropic.claude-haiku-5-5"],
    fallback_model="us.anthropic.claude-sonnet-5-5",
    criteria=RoutingCriteria(response_quality_difference=0.5),
)
HANDBOOK = "A signal protects its section. " * 300
CONFIG = Config(max_pool_connections=AT_ONCE, retries={"total_max_attempts": 1}, read_timeout=60)


@pytest.fixture
def throttling() -> Iterator[LocalEndpoint]:
    """An endpoint that throttles a fifth of all prompts, each once per model."""
    with LocalEndpoint(engine="extract", faults={"throttle": 0.2}) as endpoint:
        yield endpoint


def _request(number: int) -> dict[str, Any]:
    system = [{"text": f"Handbook {number % 8}. {HANDBOOK}"}] if number % 2 else []
    question = f"Describe the purpose of lever {number} in one line."
    return {"modelId": "loaded", "system": system, "messages": [{"role": "user", "content": [{"text": question}]}]}


def _check(replies: Sequence[dict[str, Any]], endpoint: LocalEndpoint) -> None:
    account = endpoint.account()
    totals = account["totals"]
    usage = sum((Usage(**reply["pointsman"]["usage"]) for reply in replies), Usage())
    attempts = [attempt for reply in replies for attempt in reply["pointsman"]["attempts"]]
    assert len(replies) == totals["requests"] == REQUESTS
    assert account["errors"] == {"ThrottlingException": len(attempts)}
    assert len(attempts) > REQUESTS * 0.15
    assert usage.uncached_tokens == totals["uncached_input_tokens"]
    assert usage.cache_read_tokens == totals["cache_read_tokens"] > 0
    assert usage.cache_write_5m_tokens == totals["cache_write_5m_tokens"] > 0
    assert usage.cache_write_1h_tokens == totals["cache_write_1h_tokens"]
    assert usage.output_tokens == totals["output_tokens"]


def test_sync_requests_are_all_served_and_accounted_for(throttling: LocalEndpoint) -> None:
    """Sixty-four threads share one client."""
    client = Client(throttling.client(config=CONFIG), routers=[ROUTER], clock=throttling.settings.clock)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        replies = list(threads.map(lambda number: client.converse(**_request(number)), range(REQUESTS)))
    _check(replies, throttling)


async def test_async_requests_are_all_served_and_accounted_for(throttling: LocalEndpoint) -> None:
    """Sixty-four tasks share one async client."""
    bound = asyncio.Semaphore(AT_ONCE)
    boto3_client = throttling.client(config=CONFIG)

    async with AsyncClient(boto3_client, routers=[ROUTER], clock=throttling.settings.clock) as client:

        async def converse(number: int) -> dict[str, Any]:
            async with bound:
                return await client.converse(**_request(number))

        replies = await asyncio.gather(*[converse(number) for number in range(REQUESTS)])
    _check(replies, throttling)
