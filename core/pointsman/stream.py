"""ConverseStream events, passed on as they come; the metadata event is given the trace.

Knows the order of events; knows nothing of routing or caching, and opens no stream itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Protocol

from pointsman.bedrock import read_reply
from pointsman.flow import Failure, Reply
from pointsman.trace import Trace


class StreamDrive(Protocol):
    """What a stream needs of the client that opened it."""

    trace: Trace | None

    def settle(self, outcome: Reply | Failure) -> bool:
        """Hand the flow what came of the call; False if it wants another call."""
        ...

    def open(self) -> Any:
        """Make the call that the flow wants; its event stream."""
        ...

    def failure(self, error: Exception) -> Failure:
        """The error as the flow takes it."""
        ...

    def decorate(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata event's content with the trace."""
        ...


class ReplyStream:
    """The event stream of a reply, as botocore's `EventStream` is used: iterate it, or `close()` it early."""

    def __init__(self, events: Any, drive: StreamDrive, clock: Callable[[], float]) -> None:
        self._events = events
        self._drive = drive
        self._clock = clock
        self._stop_reason: str | None = None
        self._iterator = self._iterate()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._iterator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)

    @property
    def trace(self) -> Trace | None:
        """The request's trace, once the stream has ended or was closed."""
        return self._drive.trace

    def close(self) -> None:
        """Close the connection; a stream left before its end is accounted for as such."""
        self._events.close()
        self._iterator.close()
        self._settle_unfinished()

    def _iterate(self) -> Generator[dict[str, Any], None, None]:
        started = False
        source = iter(self._events)
        try:
            while True:
                try:
                    event = next(source, None)
                except Exception as exc:  # noqa: BLE001 - the flow raises it again, unless another model may serve
                    if started:
                        self._fail_midway(exc)
                    if not self._drive.settle(self._drive.failure(exc)):
                        self._events = self._drive.open()
                        source = iter(self._events)
                    continue
                if event is None:
                    return
                started = True
                yield self._seen(event)
        finally:
            self._settle_unfinished()

    def _seen(self, event: dict[str, Any]) -> dict[str, Any]:
        if "messageStop" in event:
            self._stop_reason = event["messageStop"].get("stopReason")
        if "metadata" not in event or self._drive.trace is not None:
            return event
        metadata = event["metadata"]
        reply = read_reply({**metadata, "stopReason": self._stop_reason}, at=self._clock())
        self._drive.settle(reply)
        return {**event, "metadata": self._drive.decorate(metadata)}

    def _fail_midway(self, error: Exception) -> None:
        """What has been shown can't be taken back: no other model may go on with it."""
        failure = self._drive.failure(error)
        self._drive.settle(Failure(error=error, code=failure.code, at=failure.at))

    def _settle_unfinished(self) -> None:
        if self._drive.trace is None:
            self._drive.settle(Reply(usage=None, at=self._clock(), complete=False))
