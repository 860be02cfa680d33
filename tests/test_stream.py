"""Streamed replies: every event as it came, the trace in the metadata, faults before and after the first event."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from pointsman import Client
from pointsman.local import LocalEndpoint
from pointsman.trace import Trace

ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"
HELLO = [{"role": "user", "content": [{"text": "Describe the purpose of a 'hello world' program in one line."}]}]
PROSE = [{"role": "user", "content": [{"text": "A signal protects its section. " * 300 + "What protects a section?"}]}]


def test_events_are_passed_on_untouched(client: Client, boto3_client: Any) -> None:
    """All events but the metadata are the very ones that boto3 gives; the metadata only gains keys."""
    plain = list(boto3_client.converse_stream(modelId=HAIKU, messages=HELLO)["stream"])
    ours = list(client.converse_stream(modelId=ROUTER, messages=HELLO)["stream"])
    assert ours[:-1] == plain[:-1]
    metadata = ours[-1]["metadata"]
    assert metadata.keys() - plain[-1]["metadata"].keys() == {"trace", "pointsman"}
    assert metadata["usage"] == plain[-1]["metadata"]["usage"]


def test_the_reply_around_the_stream_is_boto3s(client: Client) -> None:
    """`ResponseMetadata` is there before the stream is read, and the stream has botocore's own members."""
    reply = client.converse_stream(modelId=HAIKU, messages=HELLO)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert callable(reply["stream"].get_initial_response)
    reply["stream"].close()


def test_what_a_stream_wrote_is_read_by_the_next_request(client: Client) -> None:
    """A stream's usage is booked like any other."""
    list(client.converse_stream(modelId=HAIKU, messages=PROSE)["stream"])
    reply = client.converse(modelId=HAIKU, messages=PROSE)
    assert reply["usage"]["cacheReadInputTokens"] > 0
    assert reply["pointsman"]["expected_read_tokens"] == reply["usage"]["cacheReadInputTokens"]


@pytest.fixture
def traces() -> list[Trace]:
    """What the listener was told."""
    return []


@pytest.fixture
def listened(boto3_client: Any, endpoint: LocalEndpoint, traces: list[Trace]) -> Client:
    """A client with that listener."""
    return Client(boto3_client, on_trace=traces.append, clock=endpoint.settings.clock)


@pytest.mark.parametrize("events_read", [0, 1, 3])
def test_a_stream_closed_early_is_accounted_for_as_such(
    events_read: int, listened: Client, traces: list[Trace]
) -> None:
    """However much was read: one trace, without usage, and no prefix is believed warm by it."""
    stream = listened.converse_stream(modelId=HAIKU, messages=PROSE)["stream"]
    events = iter(stream)
    for _ in range(events_read):
        next(events)
    stream.close()
    stream.close()
    assert [(trace.status, trace.usage) for trace in traces] == [("closed early", None)]
    assert stream.trace is traces[0]
    assert traces[0].to_dict()["cost"] is None


def test_closing_a_stream_that_ended_tells_nothing_more(listened: Client, traces: list[Trace]) -> None:
    """After the metadata event the request is accounted for; `close()` only frees the connection."""
    stream = listened.converse_stream(modelId=HAIKU, messages=HELLO)["stream"]
    list(stream)
    stream.close()
    assert [trace.status for trace in traces] == ["complete"]


def test_a_stream_that_is_dropped_is_accounted_for(listened: Client, traces: list[Trace]) -> None:
    """Whoever breaks off the loop and forgets the stream has left it."""
    for _ in listened.converse_stream(modelId=HAIKU, messages=PROSE)["stream"]:
        break
    gc.collect()
    assert [trace.status for trace in traces] == ["closed early"]


def test_leaving_a_stream_closes_its_connection() -> None:
    """The server sees that its reader has gone: nothing is read to its end behind the caller's back."""
    with LocalEndpoint(pace_ms=100) as endpoint:
        stream = Client(endpoint.client()).converse_stream(modelId=HAIKU, messages=PROSE)["stream"]
        next(iter(stream))
        stream.close()
        deadline = time.monotonic() + 5
        while not endpoint.account()["early_closed"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert endpoint.account()["early_closed"] == 1


def test_a_fault_after_the_first_event_raises(listened: Client, endpoint: LocalEndpoint, traces: list[Trace]) -> None:
    """What has been shown can't be taken back: no other model goes on, and the error bears the trace."""
    endpoint.faults.inject("broken-stream")
    seen = []
    with pytest.raises(ClientError) as caught:
        for event in listened.converse_stream(modelId=ROUTER, messages=PROSE)["stream"]:
            seen.append(event)
    assert any("contentBlockDelta" in event for event in seen)
    assert caught.value.pointsman["status"] == "failed"  # type: ignore[attr-defined]  # ours
    assert [trace.status for trace in traces] == ["failed"]
    assert endpoint.account()["operations"] == {"ConverseStream": 1}


# --- faults as the stream's first event: the local endpoint answers those by HTTP, so a stand-in gives them ------


class Events:
    """An event stream that gives some events and then breaks, as botocore's does."""

    def __init__(self, events: Sequence[dict[str, Any]], error: Exception | None = None) -> None:
        self.events, self.error, self.closed = events, error, False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self.events
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed = True


class Streaming:
    """A boto3 client that hands out these streams, one per request."""

    def __init__(self, *streams: Events) -> None:
        self.streams = list(streams)
        self.asked: list[str] = []

    def converse_stream(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request["modelId"])
        return {"stream": self.streams[len(self.asked) - 1]}


def _broken(code: str = "throttlingException") -> EventStreamError:
    return EventStreamError({"Error": {"Code": code, "Message": "no"}}, "ConverseStream")


WHOLE = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"delta": {"text": "Hello."}, "contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 9, "outputTokens": 2, "totalTokens": 11}, "metrics": {"latencyMs": 1}}},
]


def test_a_fault_before_the_first_event_falls_back() -> None:
    """The reader sees one whole stream, of the next model; the trace tells of both."""
    bedrock = Streaming(Events([], _broken()), Events(WHOLE))
    events = list(Client(bedrock).converse_stream(modelId=ROUTER, messages=HELLO)["stream"])
    assert events[:3] == WHOLE[:3]
    assert bedrock.asked == [HAIKU, SONNET]
    assert events[-1]["metadata"]["pointsman"]["attempts"] == [{"model": HAIKU, "error": "throttlingException"}]
    assert events[-1]["metadata"]["trace"]["promptRouter"]["invokedModelId"].endswith(SONNET)


def test_a_throttled_stream_that_has_begun_is_not_begun_again() -> None:
    """Not even for an error that another model could help: half an answer of one model is not half of another's."""
    bedrock = Streaming(Events(WHOLE[:2], _broken()), Events(WHOLE))
    with pytest.raises(EventStreamError):
        list(Client(bedrock).converse_stream(modelId=ROUTER, messages=HELLO)["stream"])
    assert bedrock.asked == [HAIKU]


def test_the_last_models_fault_is_raised(traces: list[Trace]) -> None:
    """Where no model is left the reader gets the error, once, and the listener one failed trace."""
    bedrock = Streaming(*[Events([], _broken())] * 3)
    stream = Client(bedrock, on_trace=traces.append).converse_stream(modelId=ROUTER, messages=HELLO)["stream"]
    with pytest.raises(EventStreamError):
        list(stream)
    stream.close()
    assert bedrock.asked == [HAIKU, SONNET, SONNET]
    assert [trace.status for trace in traces] == ["failed"]


def test_a_fault_before_the_first_event_that_no_model_helps_is_raised() -> None:
    """A validation error in the stream's first frame is the caller's to see."""
    bedrock = Streaming(Events([], _broken("validationException")))
    with pytest.raises(EventStreamError):
        list(Client(bedrock).converse_stream(modelId=ROUTER, messages=HELLO)["stream"])
    assert bedrock.asked == [HAIKU]


def test_a_stream_without_metadata_is_told_as_incomplete(traces: list[Trace]) -> None:
    """A connection that ends without an error and without usage has no usage, not one of zero."""
    client = Client(Streaming(Events(WHOLE[:2])), on_trace=traces.append)
    assert list(client.converse_stream(modelId=HAIKU, messages=HELLO)["stream"]) == WHOLE[:2]
    assert [(trace.status, trace.usage) for trace in traces] == [("closed early", None)]


def test_closing_closes_the_stream_that_is_read_now() -> None:
    """After a fallback it is the second model's connection that `close()` frees."""
    first, second = Events([], _broken()), Events(WHOLE)
    stream = Client(Streaming(first, second)).converse_stream(modelId=ROUTER, messages=HELLO)["stream"]
    next(iter(stream))
    stream.close()
    assert second.closed
