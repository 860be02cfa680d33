"""The endpoint as a server: bounds, its own paths, starting and stopping."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from botocore.config import Config

from pointsman.errors import InvalidRequestError
from pointsman.local import LocalEndpoint, Settings, create_app

HAIKU = "us.anthropic.claude-haiku-5-5"
MESSAGES = [{"role": "user", "content": [{"text": "What is it?"}]}]


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_its_extra_the_import_names_it(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from pointsman.local import LocalEndpoint"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    told = "pointsman.errors.MissingExtraError: pointsman.local needs packages that are not installed: pip install"
    assert done.stderr.splitlines()[-1] == f'{told} "pointsman[local]"'


def test_a_body_beyond_the_bound_is_refused() -> None:
    with LocalEndpoint(max_body_bytes=1_000) as endpoint:
        url = f"{endpoint.url}/model/{HAIKU}/converse"
        large = {"messages": [{"role": "user", "content": [{"text": "x" * 1_000}]}]}
        reply = httpx.post(url, json=large)
        assert (reply.status_code, reply.headers["x-amzn-errortype"]) == (413, "ValidationException")
        chunked = httpx.post(url, content=iter([b"x" * 600] * 2))
        assert chunked.status_code == 413
        assert httpx.post(url, json={"messages": MESSAGES}).status_code == 200
        with pytest.raises(endpoint.client().exceptions.ValidationException, match="larger than 1000 bytes"):
            endpoint.client().converse(modelId=HAIKU, **large)


def test_too_many_requests_at_once_are_told_to_come_again() -> None:
    with LocalEndpoint(max_in_flight=2, latency_ms=300) as endpoint, httpx.Client() as http:
        url = f"{endpoint.url}/model/{HAIKU}/converse"
        with ThreadPoolExecutor(6) as threads:
            replies = list(threads.map(lambda _: http.post(url, json={"messages": MESSAGES}), range(6)))
        assert sorted(reply.status_code for reply in replies) == [200, 200, 503, 503, 503, 503]
        assert endpoint.account()["errors"] == {"ServiceUnavailableException": 4}
        assert http.post(url, json={"messages": MESSAGES}).status_code == 200


def test_a_stream_is_in_flight_until_its_end() -> None:
    with LocalEndpoint(max_in_flight=1, pace_ms=100) as endpoint:
        client = endpoint.client(config=Config(retries={"total_max_attempts": 1}))
        for _ in range(2):
            stream = client.converse_stream(modelId=HAIKU, messages=MESSAGES)["stream"]
            with pytest.raises(client.exceptions.ServiceUnavailableException):
                client.converse(modelId=HAIKU, messages=MESSAGES)
            assert [name for event in stream for name in event][-1] == "metadata"
            client.converse(modelId=HAIKU, messages=MESSAGES)


def test_the_clock_can_be_moved_over_http(endpoint: LocalEndpoint) -> None:
    before = httpx.post(f"{endpoint.url}/_local/clock", json={"advance": 0}).json()["now"]
    assert httpx.post(f"{endpoint.url}/_local/clock", json={"advance": 300}).json()["now"] >= before + 300
    for body in ({"advance": -1}, {"advance": "soon"}, {"advance": True}, {}):
        assert httpx.post(f"{endpoint.url}/_local/clock", json=body).status_code == 400


def test_a_clock_of_ones_own_cannot_be_moved() -> None:
    with LocalEndpoint(clock=time.time) as endpoint:
        assert httpx.post(f"{endpoint.url}/_local/clock", json={"advance": 1}).status_code == 400
        with pytest.raises(InvalidRequestError, match="can't be moved"):
            endpoint.advance(1)


def test_it_tells_its_engine(endpoint: LocalEndpoint) -> None:
    assert httpx.get(f"{endpoint.url}/_local/health").json() == {"engine": "extract"}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("PUT", "/prompt-routers"), ("GET", f"/model/{HAIKU}/converse")]
)
def test_unknown_operations_are_told(method: str, path: str, endpoint: LocalEndpoint) -> None:
    reply = httpx.request(method, endpoint.url + path)
    assert (reply.status_code, reply.headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


def test_it_can_be_started_and_stopped_again() -> None:
    endpoint = LocalEndpoint()
    with pytest.raises(InvalidRequestError, match="not running"):
        _ = endpoint.url
    for _ in range(2):
        with endpoint:
            endpoint.start()
            url = endpoint.url
            assert httpx.get(f"{url}/_local/health").status_code == 200
        endpoint.stop()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/_local/health")


def test_a_port_that_is_taken_is_told_before_the_engine_starts(endpoint: LocalEndpoint) -> None:
    port = int(endpoint.url.rpartition(":")[2])
    with pytest.raises(OSError, match="Address already in use"):
        LocalEndpoint(engine="no such engine", port=port).start()


def test_stopping_does_not_wait_for_open_streams() -> None:
    endpoint = LocalEndpoint(latency_ms=60_000)
    endpoint.start()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{endpoint.url}/model/{HAIKU}/converse", json={"messages": MESSAGES}, timeout=0.1)
    started = time.monotonic()
    endpoint.stop()
    assert time.monotonic() - started < 5


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="Known: extract, llama"):
        create_app(Settings(engine="oracle"))


def test_serve_blocks_until_it_is_interrupted() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from pointsman.local import Settings, serve; serve(Settings(), port={port})"
    process = subprocess.Popen([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)})
    try:
        assert health(port) == {"engine": "extract"}
    finally:
        process.terminate()
        process.wait(timeout=10)
    assert process.poll() is not None


def health(port: int) -> Any:
    for _ in range(200):
        try:
            return httpx.get(f"http://127.0.0.1:{port}/_local/health").json()
        except httpx.ConnectError:
            time.sleep(0.05)
    raise AssertionError("it did not start")
