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

    @property
    def watch(self) -> Callable[[Mapping[str, Any]], None] | None:
        """Who wants to be told of each event, if anybody does."""
        ...

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
        # The iterator refers to the reading and not to this object: there is no cycle, and a stream that is forgotten
        # is closed at once, before the flow that has to account for it.
        self._reading = _Reading(events, drive, clock)
        self._iterator = self._reading.iterate()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._iterator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reading.events, name)

    @property
    def trace(self) -> Trace | None:
        """The request's trace, once the stream has ended or was closed."""
        return self._reading.drive.trace

    def close(self) -> None:
        """Close the connection; a stream left before its end is accounted for as such."""
        self._reading.events.close()
        self._iterator.close()
        self._reading.settle_unfinished()


class _Reading:
    """The events of one reply as they come, and what they tell its drive."""

    def __init__(self, events: Any, drive: StreamDrive, clock: Callable[[], float]) -> None:
        self.events = events
        self.drive = drive
        self._clock = clock
        self._stop_reason: str | None = None

    def iterate(self) -> Generator[dict[str, Any], None, None]:
        """Every event, untouched but for the metadata."""
        started = False
        source = iter(self.events)
        try:
            while True:
                try:
                    event = next(source, None)
                except Exception as exc:  # noqa: BLE001 - the flow raises it again, unless another model may serve
                    if started:
                        self._fail_midway(exc)
                    if not self.drive.settle(self.drive.failure(exc)):
                        self.events = self.drive.open()
                        source = iter(self.events)
                    continue
                if event is None:
                    return
                started = True
                yield self._seen(event)
        finally:
            self.settle_unfinished()

    def settle_unfinished(self) -> None:
        """Account for a reply that was not read to its end."""
        if self.drive.trace is None:
            self.drive.settle(Reply(usage=None, at=self._clock(), complete=False))

    def _seen(self, event: dict[str, Any]) -> dict[str, Any]:
        if (watch := self.drive.watch) is not None:
            watch(event)
        if "messageStop" in event:
            self._stop_reason = event["messageStop"].get("stopReason")
        if "metadata" not in event or self.drive.trace is not None:
            return event
        metadata = event["metadata"]
        reply = read_reply({**metadata, "stopReason": self._stop_reason}, at=self._clock())
        self.drive.settle(reply)
        return {**event, "metadata": self.drive.decorate(metadata)}

    def _fail_midway(self, error: Exception) -> None:
        """What has been shown can't be taken back: no other model may go on with it."""
        failure = self.drive.failure(error)
        self.drive.settle(Failure(error=error, code=failure.code, at=failure.at))
