"""A trace log holds who sent what when, in little space and without a word of it; and is read back as it was."""

from __future__ import annotations

import json
import stat
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pointsman
from pointsman import Catalog, Client, InvalidRequestError, Ledger, Router, RoutingCriteria, Trace, TraceLog
from pointsman.evaluation.causes import Sent, causes_of
from pointsman.evaluation.traffic import RecordedRequest, read_traffic
from pointsman.local import LocalEndpoint

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
SECRET = "The merger with Vandelay closes on Friday. "
SYSTEM = [{"text": SECRET * 300}]
HELLO = [{"role": "user", "content": [{"text": "Hello"}]}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is to be."""
    return tmp_path / "traffic.jsonl"


def converse(client: Client, endpoint: LocalEndpoint, turns: int, *, first: str = "Why?", model: str = SONNET) -> None:
    """A conversation, ten seconds between its turns."""
    messages: list[dict[str, Any]] = []
    for turn in range(turns):
        messages.append({"role": "user", "content": [{"text": f"{first} {turn}"}]})
        reply = client.converse(modelId=model, system=SYSTEM, messages=messages)
        messages.append(reply["output"]["message"])
        endpoint.advance(10.0)


def read(path: Path) -> list[RecordedRequest]:
    """All that is in it, nothing passed over."""
    skipped: Counter[str] = Counter()
    requests = list(read_traffic(path, skipped=skipped))
    assert not skipped
    return requests


class TestWriting:
    def test_what_was_sent_comes_back(self, path: Path, endpoint: LocalEndpoint, boto3_client: Any) -> None:
        """Over HTTP: blocks, points, usage, time, model, and that it was one conversation."""
        seen: list[Trace] = []
        log = TraceLog(path)
        client = Client(
            boto3_client, clock=endpoint.settings.clock, on_trace=lambda trace: (log(trace), seen.append(trace))
        )
        converse(client, endpoint, 4)
        requests = read(path)
        assert {one.session for one in requests} == {"1"}
        for one, trace in zip(requests, seen, strict=True):
            assert trace.outline is not None
            assert (one.model, one.at, one.usage) == (SONNET, trace.at, trace.usage)
            assert one.points == trace.placement.points
            assert [block[:3] for block in one.outline.blocks] == [block[:3] for block in trace.outline.blocks]
            assert one.outline.sums == trace.outline.sums
        assert requests[1].at == pytest.approx(requests[0].at + 10.0, abs=5.0)
        assert {one.digest for one in requests[0].outline.blocks} < {one.digest for one in requests[1].outline.blocks}

    def test_no_text_is_in_it(self, path: Path, endpoint: LocalEndpoint, boto3_client: Any) -> None:
        """Nor is the log open to others, nor would another key give the same digests."""
        for key in (b"one", b"two"):
            client = Client(boto3_client, ledger=Ledger(key=key), on_trace=TraceLog(path))
            converse(client, endpoint, 2)
        text = path.read_text()
        assert "Vandelay" not in text
        assert "Why" not in text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        one, _, other, _ = read(path)
        assert not {block.digest for block in one.outline.blocks} & {block.digest for block in other.outline.blocks}

    def test_a_long_session_stays_small(self, path: Path, endpoint: LocalEndpoint, boto3_client: Any) -> None:
        """A line holds what is new: the twentieth is as short as the third."""
        converse(Client(boto3_client, on_trace=TraceLog(path)), endpoint, 20)
        lines = path.read_bytes().splitlines()
        assert [len(json.loads(line)["blocks"]) for line in lines] == [2, *[2] * 19]
        assert len(lines[19]) < 1.1 * len(lines[2])
        assert len(read(path)[19].outline.blocks) == 40

    def test_expected_quality_is_kept_where_a_router_decided(
        self, path: Path, endpoint: LocalEndpoint, boto3_client: Any
    ) -> None:
        """By catalogue id, so that another routing can be tried on it."""
        router = Router(
            name="mine",
            models=[HAIKU],
            fallback_model=SONNET,
            criteria=RoutingCriteria(response_quality_difference=0.1),
        )
        converse(Client(boto3_client, routers=[router], on_trace=TraceLog(path)), endpoint, 1, model="mine")
        (request,) = read(path)
        assert request.expected_quality is not None
        assert set(request.expected_quality) == {HAIKU.removeprefix("us."), SONNET.removeprefix("us.")}

    def test_a_prompt_too_short_to_be_outlined_counts_all_the_same(self, path: Path, boto3_client: Any) -> None:
        """As many tokens as were billed, in one block."""
        client = Client(boto3_client, on_trace=TraceLog(path))
        client.converse(modelId=SONNET, messages=[{"role": "user", "content": [{"text": "Hello"}]}])
        (request,) = read(path)
        assert request.usage is not None
        assert request.outline.tokens == request.usage.input_tokens > 0

    def test_a_session_is_one_by_its_name_and_its_scope(self, path: Path, boto3_client: Any) -> None:
        """Whatever its prompts look like; neither is in the log."""
        client = Client(boto3_client, on_trace=TraceLog(path))
        for tenant, question in (("acme", "Why?"), ("acme", "Who?"), ("bolt", "When?")):
            with pointsman.session("thread-7", scope=tenant):
                client.converse(modelId=SONNET, messages=[{"role": "user", "content": [{"text": question}]}])
        first, second, other = read(path)
        assert first.session == second.session != other.session
        assert "thread-7" not in path.read_text() and "acme" not in path.read_text()

    def test_threads_and_writers_may_share_a_file(self, path: Path, endpoint: LocalEndpoint, boto3_client: Any) -> None:
        """Each line names only lines of its own writer."""
        clients = [Client(boto3_client, ledger=Ledger(key=b"same"), on_trace=TraceLog(path)) for _ in range(2)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: converse(clients[n % 2], endpoint, 3, first=f"Why {n}?"), range(8)))
        assert len(read(path)) == 24
        assert len({one.session for one in read(path)}) == 8

    def test_a_file_that_was_moved_away_is_begun_anew(
        self, path: Path, endpoint: LocalEndpoint, boto3_client: Any
    ) -> None:
        """Nothing in the new one hangs in the air."""
        client = Client(boto3_client, on_trace=TraceLog(path))
        converse(client, endpoint, 2)
        path.rename(path.with_suffix(".1"))
        converse(client, endpoint, 2)
        assert [len(one.outline.blocks) for one in read(path)] == [2, 4]

    def test_what_could_never_be_written_is_refused_at_once(self, tmp_path: Path) -> None:
        """A folder that isn't there, and one in the file's place; nothing is made."""
        with pytest.raises(InvalidRequestError, match=r"absent: no such folder for the log x\.jsonl"):
            TraceLog(tmp_path / "absent" / "x.jsonl")
        with pytest.raises(InvalidRequestError, match=r"is a folder\. Name a file"):
            TraceLog(tmp_path)
        assert not list(tmp_path.iterdir())


class TestReading:
    def _lines(self, path: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text().splitlines()]

    @pytest.fixture
    def written(self, path: Path, endpoint: LocalEndpoint, boto3_client: Any) -> Path:
        """A log of three turns."""
        converse(Client(boto3_client, on_trace=TraceLog(path)), endpoint, 3)
        return path

    def test_a_line_whose_start_is_missing_is_passed_over(self, written: Path) -> None:
        """And counted."""
        written.write_text("\n".join(written.read_text().splitlines()[1:]))
        skipped: Counter[str] = Counter()
        assert list(read_traffic(written, skipped=skipped)) == []
        assert skipped == {"they extend a line that is in another file, or was deleted": 2}

    def test_failed_requests_are_passed_over(self, path: Path) -> None:
        """They cost nothing; a trace that knows no time gets the log's."""
        log = TraceLog(path, clock=lambda: 7.0)
        trace = Trace(asked=SONNET, model=Catalog.default().resolve(SONNET), invoked_model_id="x", status="x")
        log(replace(trace, status="failed"))
        log(replace(trace, status="closed early"))
        skipped: Counter[str] = Counter()
        assert [one.at for one in read_traffic(path, skipped=skipped)] == [7.0]
        assert skipped == {"they failed": 1}

    def test_another_version_is_refused(self, written: Path) -> None:
        """With the line's number."""
        told = self._lines(written)
        told[1]["pointsman_trace"] = 2
        written.write_text("\n".join(map(json.dumps, told)))
        with pytest.raises(InvalidRequestError, match="line 2: it is of version 2; this Pointsman reads 1"):
            list(read_traffic(written))

    @pytest.mark.parametrize(("key", "broken"), [(None, 0), (b"same", 1)])
    def test_digests_of_other_keys_tell_of_no_change(
        self, key: bytes | None, broken: int, path: Path, boto3_client: Any
    ) -> None:
        """The same prompt of another process looks changed throughout; with the same key, a change is one."""
        for minute in (15, 16 if key else 15):
            client = Client(boto3_client, ledger=Ledger(key=key), on_trace=TraceLog(path))
            system = [{"text": "Be kind."}, {"text": f"It is 9:{minute}."}, *SYSTEM]
            client.converse(modelId=SONNET, system=system, messages=HELLO)
        told = causes_of([Sent(request) for request in read(path)])
        assert sum(one.broken for one in told.conversations) == broken

    def test_a_conversation_goes_on_in_the_next_file(self, written: Path) -> None:
        """A log that was cut in two in the middle is read as one."""
        lines = written.read_text().splitlines(keepends=True)
        whole = read(written)
        first, second = written.with_suffix(".1"), written.with_suffix(".2")
        first.write_text("".join(lines[:1]))
        second.write_text("".join(lines[1:]))
        assert list(read_traffic(first, second)) == whole
