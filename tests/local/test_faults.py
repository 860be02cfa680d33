"""Faults on demand: by header, by a share of prompts, from within a test; and added latency."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from pointsman.errors import InvalidRequestError
from pointsman.local import LocalEndpoint
from pointsman.local.faults import FAULTS, Faults

HAIKU = "us.anthropic.claude-haiku-5-5"
SONNET = "us.anthropic.claude-sonnet-5-5"
ONCE = Config(retries={"total_max_attempts": 1}, max_pool_connections=64)
EXPECTED = {
    "throttle": ("ThrottlingException", 429),
    "unavailable": ("ServiceUnavailableException", 503),
    "not-ready": ("ModelNotReadyException", 429),
    "timeout": ("ModelTimeoutException", 408),
    "internal": ("InternalServerException", 500),
    "broken-stream": ("ModelErrorException", 424),
}


def ask(text: str = "What is it?") -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def test_every_fault_is_expected() -> None:
    assert set(EXPECTED) == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_injected_fault_has_bedrocks_code_and_is_met_once(
    fault: str, endpoint: LocalEndpoint, runtime: Any, refused: Callable[..., Any]
) -> None:
    endpoint.faults.inject(fault)
    code, status, _ = refused(lambda: runtime.converse(modelId=HAIKU, messages=ask()))
    assert (code, status) == EXPECTED[fault]
    assert isinstance(getattr(runtime.exceptions, code), type)
    assert runtime.converse(modelId=HAIKU, messages=ask())["stopReason"] == "end_turn"
    assert endpoint.account()["errors"] == {code: 1}
    assert endpoint.account()["totals"]["requests"] == 1


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "broken-stream"])
def test_before_a_stream_begins_a_fault_is_an_http_error(
    fault: str, endpoint: LocalEndpoint, runtime: Any, refused: Callable[..., Any]
) -> None:
    endpoint.faults.inject(fault)
    code, status, _ = refused(lambda: runtime.converse_stream(modelId=HAIKU, messages=ask()))
    assert (code, status) == EXPECTED[fault]


def test_a_broken_stream_breaks_off_after_some_text(endpoint: LocalEndpoint, runtime: Any) -> None:
    endpoint.faults.inject("broken-stream")
    seen = []
    with pytest.raises(EventStreamError, match="modelStreamErrorException"):
        seen.extend(runtime.converse_stream(modelId=HAIKU, messages=ask())["stream"])
        for event in runtime.converse_stream(modelId=HAIKU, messages=ask())["stream"]:
            seen.append(event)
    assert endpoint.account()["errors"] == {"ModelStreamErrorException": 1}


def test_a_fault_may_wait_for_one_model(endpoint: LocalEndpoint, runtime: Any) -> None:
    endpoint.faults.inject("throttle", times=2, model=SONNET)
    runtime.converse(modelId=HAIKU, messages=ask())
    for _ in range(2):
        with pytest.raises(runtime.exceptions.ThrottlingException):
            runtime.converse(modelId=SONNET, messages=ask())
    runtime.converse(modelId=SONNET, messages=ask())
    endpoint.faults.inject("throttle")
    endpoint.faults.clear()
    runtime.converse(modelId=SONNET, messages=ask())


def test_a_header_asks_for_a_fault_or_for_latency(endpoint: LocalEndpoint) -> None:
    url, body = f"{endpoint.url}/model/{HAIKU}/converse", {"messages": ask()}
    assert httpx.post(url, json=body, headers={"x-local-fault": "timeout"}).status_code == 408
    assert httpx.post(url, json=body, headers={"x-local-fault": "gremlin"}).status_code == 400
    started = time.perf_counter()
    reply = httpx.post(url, json=body, headers={"x-local-latency-ms": "150"})
    assert time.perf_counter() - started >= 0.15
    assert reply.json()["metrics"]["latencyMs"] >= 150
    assert httpx.post(url, json=body, headers={"x-local-latency-ms": "soon"}).status_code == 400


def test_a_share_of_prompts_is_refused_once_per_model_and_none_is_lost() -> None:
    """640 prompts, 64 at a time; the account holds what the clients were told, to the token."""
    with LocalEndpoint(faults={"throttle": 0.2}) as endpoint:
        runtime = endpoint.client(config=ONCE)

        def send(number: int) -> tuple[int, dict[str, Any]]:
            for throttled in range(3):
                try:
                    return throttled, runtime.converse(modelId=HAIKU, messages=ask(f"Is it {number}?"))["usage"]
                except ClientError as exc:
                    assert exc.response["Error"]["Code"] == "ThrottlingException"
            raise AssertionError("it was throttled three times")

        with ThreadPoolExecutor(64) as threads:
            results = list(threads.map(send, range(640)))
        refusals = [throttled for throttled, _ in results]
        assert set(refusals) == {0, 1}
        assert 90 <= sum(refusals) <= 166
        account = endpoint.account()
        assert account["errors"] == {"ThrottlingException": sum(refusals)}
        assert account["totals"]["requests"] == 640
        assert account["totals"]["uncached_input_tokens"] == sum(usage["inputTokens"] for _, usage in results)
        assert account["totals"]["output_tokens"] == sum(usage["outputTokens"] for _, usage in results)


def test_a_share_does_not_see_cache_points() -> None:
    """A client that lays a cache point for one model and none for the other meets the same fault on both."""
    with LocalEndpoint(faults={"throttle": 0.5}) as endpoint:
        runtime = endpoint.client(config=ONCE)

        def is_refused(model: str, number: int, *points: dict[str, Any]) -> bool:
            content = [{"text": f"Is it {number}?"}, *points]
            try:
                runtime.converse(modelId=model, messages=[{"role": "user", "content": content}])
            except ClientError:
                return True
            return False

        plain = [is_refused(HAIKU, number) for number in range(40)]
        marked = [is_refused(SONNET, number, {"cachePoint": {"type": "default"}}) for number in range(40)]
        assert plain == marked
        assert any(plain)
        assert not all(plain)
        assert not any(is_refused(HAIKU, number) for number in range(40))


def test_shares_are_kept_over_many_prompts() -> None:
    faults = Faults({"throttle": 0.2, "internal": 0.1})
    met = [faults.meet("m", hashlib.blake2b(bytes([n % 256, n // 256])).digest()) for n in range(5_000)]
    assert 0.17 < met.count("throttle") / 5_000 < 0.23
    assert 0.08 < met.count("internal") / 5_000 < 0.12


@pytest.mark.parametrize("shares", [{"gremlin": 0.1}, {"throttle": -0.1}, {"throttle": 0.6, "internal": 0.6}])
def test_wrong_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(InvalidRequestError):
        Faults(shares)


def test_latency_passes_before_the_first_token_of_many_at_once() -> None:
    with LocalEndpoint(latency_ms=200) as endpoint:
        runtime = endpoint.client(config=ONCE)
        with ThreadPoolExecutor(64) as threads:
            list(threads.map(lambda _: runtime.converse(modelId=HAIKU, messages=ask()), range(64)))
            started = time.perf_counter()
            replies = list(threads.map(lambda _: runtime.converse(modelId=HAIKU, messages=ask()), range(128)))
            elapsed = time.perf_counter() - started
        assert all(reply["metrics"]["latencyMs"] >= 200 for reply in replies)
        # 0.4 s if the endpoint adds nothing; one at a time would take 25.6 s.
        assert elapsed < 4
