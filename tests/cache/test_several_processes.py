"""Clients that share a store, over HTTP against the local endpoint: other processes, killed servers, no text."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pointsman import AsyncClient, Client, Ledger, LedgerStore, SQLiteStore, ValkeyStore
from pointsman.cache import MemoryStore
from pointsman.local import LocalEndpoint

HAIKU = "us.anthropic.claude-haiku-5-5"
KEY = b"the same in every process"
HANDBOOK = "The pointsman of Kandersteg sets the switchblade before the train arrives. " * 100
WORDS = (b"Kandersteg", b"switchblade", b"kandersteg", b"Whistle", b"arrives")


def request(question: str = "Whistle when?", system: str = HANDBOOK) -> dict[str, Any]:
    """A request whose handbook is worth caching."""
    messages = [{"role": "user", "content": [{"text": question}]}]
    return {"modelId": HAIKU, "system": [{"text": system}], "messages": messages}


class Process:
    """What one process has of its own: a client, its ledger, and its connection to the store."""

    def __init__(self, boto3_client: Any, endpoint: LocalEndpoint, store: LedgerStore) -> None:
        self.ledger = Ledger(key=KEY, store=store)
        self.client = Client(boto3_client, ledger=self.ledger, clock=endpoint.settings.clock)

    def ask(self, question: str = "Whistle when?", system: str = HANDBOOK) -> dict[str, Any]:
        """The trace of one request."""
        return dict(self.client.converse(**request(question, system))["pointsman"])


def test_what_one_client_wrote_another_expects(boto3_client: Any, endpoint: LocalEndpoint, open_store: Any) -> None:
    """And it is billed so; a client with a ledger of its own expects nothing."""
    one, other = (Process(boto3_client, endpoint, open_store()) for _ in range(2))
    written = one.ask()["usage"]["cache_write_tokens"]
    endpoint.advance(2)
    one.ask()
    trace = other.ask()
    assert written > 0
    assert trace["expected_read_tokens"] > 0
    assert trace["usage"]["cache_read_tokens"] == trace["expected_read_tokens"]
    alone = Client(boto3_client, clock=endpoint.settings.clock)
    assert alone.converse(**request())["pointsman"]["expected_read_tokens"] == 0


def test_what_one_client_learnt_of_tokens_another_knows(boto3_client: Any, endpoint: LocalEndpoint) -> None:
    """Estimates are corrected for all by the usage that came to any of them."""
    store = MemoryStore()
    one, other = (Process(boto3_client, endpoint, store) for _ in range(2))
    one.ask()
    endpoint.advance(61)
    one.ask()
    for process in (one, other):
        process.ledger.sync(endpoint.settings.clock() + 61)
    learnt = one.client.context.counter.to_dict()
    assert learnt["models"]
    assert other.client.context.counter.to_dict().keys() == learnt.keys()
    assert other.client.context.counter.to_dict()["models"].keys() == learnt["models"].keys()


_ONE_PROCESS = """
import json, sys, boto3, pointsman
url, path = sys.argv[1:]
boto3_client = boto3.client("bedrock-runtime", endpoint_url=url, region_name="us-east-1",
                            aws_access_key_id="local", aws_secret_access_key="local")
ledger = pointsman.Ledger(key=b"the same in every process", store=pointsman.SQLiteStore(path, timeout=5.0))
client = pointsman.Client(boto3_client, ledger=ledger)
for line in sys.stdin:
    print(json.dumps(client.converse(**json.loads(line))["pointsman"]), flush=True)
"""


def test_two_processes_on_one_file(tmp_path: Path) -> None:
    """The second reads what the first wrote, and each goes on from the other's turns."""
    with LocalEndpoint(engine="extract", clock=time.time) as endpoint:
        command = [sys.executable, "-c", _ONE_PROCESS, endpoint.url, str(tmp_path / "ledger.db")]
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        traces = []
        for turn in range(3):
            told = json.dumps(request(f"Whistle {turn}?"))
            traces.append(_answer(processes[turn % 2], told))
            time.sleep(1.1)
            # What is booked goes to the store with the next request.
            _answer(processes[turn % 2], json.dumps(request(f"Another {turn}?")))
        for process in processes:
            process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    assert traces[0]["expected_read_tokens"] == 0
    assert all(trace["expected_read_tokens"] > 0 for trace in traces[1:])
    assert all(trace["usage"]["cache_read_tokens"] > 0 for trace in traces[1:])


def _answer(process: subprocess.Popen[str], line: str) -> dict[str, Any]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return dict(json.loads(process.stdout.readline()))


def test_a_server_is_killed_and_comes_back(
    boto3_client: Any, endpoint: LocalEndpoint, own_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Every request is answered; what was booked meanwhile is there for others when the server is back, empty."""
    one = Process(boto3_client, endpoint, ValkeyStore(own_server.url, timeout=1.0))
    one.ask()
    own_server.kill()
    with caplog.at_level(logging.INFO, logger="pointsman"):
        for turn in range(3):
            endpoint.advance(2)
            trace = one.ask(f"Whistle {turn}?", "While it was away. " + HANDBOOK)
            assert (trace["expected_read_tokens"] > 0) == (turn > 0)
        own_server.start()
        endpoint.advance(31)
        one.ask("Back?")
    messages = [entry.getMessage() for entry in caplog.records]
    assert len(messages) == 2
    assert messages[0].startswith("the ledger goes on alone")
    assert messages[1] == "the ledger's store is back"
    other = Process(boto3_client, endpoint, ValkeyStore(own_server.url, timeout=1.0))
    trace = other.ask("And I?", "While it was away. " + HANDBOOK)
    assert trace["usage"]["cache_read_tokens"] == trace["expected_read_tokens"] > 0


def test_a_server_that_hangs_holds_one_call_for_a_moment(
    boto3_client: Any, endpoint: LocalEndpoint, own_server: Any
) -> None:
    """It takes the connection and never answers: a tenth of a second for the first call, nothing for those after it."""
    one = Process(boto3_client, endpoint, ValkeyStore(own_server.url))
    one.ledger.sync(endpoint.settings.clock())
    own_server.pause()
    took = []
    for _ in range(10):
        endpoint.advance(2)
        started = time.perf_counter()
        one.ledger.sync(endpoint.settings.clock())
        took.append(time.perf_counter() - started)
    assert 0.09 < took[0] < 1.0
    assert sum(took[1:]) < 0.05
    assert one.ask()["status"] == "complete"


def test_no_word_of_a_prompt_is_in_the_file(boto3_client: Any, endpoint: LocalEndpoint, tmp_path: Path) -> None:
    """Neither in the file nor in those that SQLite writes beside it; models are."""
    process = Process(boto3_client, endpoint, SQLiteStore(tmp_path / "ledger.db", timeout=5.0))
    _talk(process, endpoint)
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"claude-haiku-5-5" in held
    assert not [word for word in WORDS if word in held]
    assert KEY not in held


def test_no_word_of_a_prompt_is_on_the_server(boto3_client: Any, endpoint: LocalEndpoint, server: Any) -> None:
    """In all that it holds, key by key."""
    _talk(Process(boto3_client, endpoint, ValkeyStore(server.url, timeout=5.0)), endpoint)
    client = server.client()
    # Read rather than dumped: a dump may be compressed.
    held = repr([client.hgetall(b"{pointsman}:value"), client.zrange(b"{pointsman}:order", 0, -1), client.keys()])
    held += repr(client.zrange(b"{pointsman}:until", 0, -1))
    assert len(client.keys()) == 4
    assert "claude-haiku-5-5" in held
    assert not [word for word in WORDS if word.decode() in held]
    assert KEY.decode() not in held


def _talk(process: Process, endpoint: LocalEndpoint) -> None:
    """Writes, reads, an eviction, learning and a refusal: all that a ledger tells."""
    for minute in range(5):
        process.ask(f"Whistle {minute}?")
        endpoint.advance(62)
    endpoint.advance(400)
    process.ask("Whistle late?")
    endpoint.advance(4_000)
    process.ask("Whistle very late?")
    endpoint.advance(2)
    process.ask("Whistle at last?")


async def test_the_async_client_shares_too(boto3_client: Any, endpoint: LocalEndpoint, open_store: Any) -> None:
    """Many requests at once: none fails, and the other client expects what they wrote."""
    clients = [
        AsyncClient(boto3_client, ledger=Ledger(key=KEY, store=open_store()), clock=endpoint.settings.clock)
        for _ in range(2)
    ]
    await asyncio.gather(*[clients[0].converse(**request(f"Whistle {number}?")) for number in range(20)])
    endpoint.advance(2)
    await clients[0].converse(**request())
    reply = await clients[1].converse(**request("And I?"))
    for client in clients:
        client.close()
    assert reply["usage"]["cacheReadInputTokens"] == reply["pointsman"]["expected_read_tokens"] > 0


async def test_the_event_loop_does_not_wait_for_a_store(
    boto3_client: Any, endpoint: LocalEndpoint, own_server: Any
) -> None:
    """Its server hangs, and other tasks go on."""
    ledger = Ledger(key=KEY, store=ValkeyStore(own_server.url, timeout=0.5))
    ledger.sync(0.0)
    own_server.pause()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async with AsyncClient(boto3_client, ledger=ledger, clock=endpoint.settings.clock) as client:
        ticking = asyncio.create_task(tick())
        await client.converse(**request())
        ticking.cancel()
    assert ticks > 20
