"""Keep-alive: prefixes that are read again before their TTL ends, where somebody is expected to come back to them.

Holds the text of requests, in memory and for as long as they are kept, which is why it has to be asked for. Keeps the
budget, and drives a thread; what is worth a ping is decided in `pointsman.cache.keeping`.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NamedTuple

from pointsman.bedrock import read_failure, read_reply
from pointsman.cache.keeping import MOST_PINGS, Ping, worth_a_ping
from pointsman.cache.ledger import owner_of
from pointsman.cache.placement import Placement
from pointsman.catalog import Model
from pointsman.context import Context
from pointsman.errors import InvalidRequestError
from pointsman.outline import CachePoint, Outline, Prefix
from pointsman.ping import ping_request, tokens_besides, why_not
from pointsman.pricing import cost_of
from pointsman.prompt import Prompt
from pointsman.telemetry import observe
from pointsman.trace import Attempt, Trace
from pointsman.usage import Usage

_log = logging.getLogger("pointsman")

# Estimated and counted tokens of one prefix differ by some per cent.
_TOLERANCE = 1.1


class Line(NamedTuple):
    """What pings of a client need: the boto3 client, what ours knows, its clock, and who is told of their traces."""

    boto3_client: Any
    context: Context
    clock: Callable[[], float]
    tell: Callable[[Trace], object]


@dataclass(slots=True, kw_only=True, eq=False)
class Kept:
    """A conversation that is waited for: its last request, the next ping, and how many there were since.

    `cold_at` is when it would have gone cold without any; `told` is the trace of the request.
    """

    key: tuple[Any, ...]
    request: Mapping[str, Any]
    told: Trace
    line: Line
    ping: Ping
    cold_at: float
    pings: int = 0
    busy: bool = False

    @property
    def points(self) -> tuple[CachePoint, ...]:
        """The cache points that the request had."""
        return self.told.placement.points

    @property
    def candidates(self) -> Sequence[CachePoint]:
        """Those that the next ping may be for: once there was one, that one."""
        return [point for point in self.points if not self.pings or point.after == self.ping.after]


class KeepAlive:
    """Re-sends prefixes with one output token before their TTL ends, as long as that is expected to pay. Thread-safe.

    ```python
    with pointsman.KeepAlive(budget=Decimal("0.50")) as keep_alive:
        client = pointsman.Client(boto3.client("bedrock-runtime"), keep_alive=keep_alive)
    ```

    While it is on, the last request of each conversation that is worth a ping is held in memory; `stop()` lets go of
    all. Each ping has a `Trace`, with `keep_alive` set, that is handed to the client's `on_trace`.

    Args:
        budget: USD that pings may cost in all. What does not fit in is not sent, and that is the end of it.
        most_pings: how many may be made in a row, if nobody comes back.
        most_conversations: how many are waited for at once; the ones that gain least are let go.
        thread: whether a thread of its own, a daemon, sends what is due; otherwise you call `due`.

    Raises:
        InvalidRequestError: the budget is not above 0.
    """

    def __init__(
        self,
        *,
        budget: Decimal,
        most_pings: int = MOST_PINGS,
        most_conversations: int = 64,
        thread: bool = True,
    ) -> None:
        self.budget = Decimal(str(budget))
        if not self.budget > 0:
            raise InvalidRequestError(f"keep-alive has a budget of {budget} USD. Give it more than 0, or leave it out.")
        self._most_pings = most_pings
        self._most_conversations = most_conversations
        self._threaded = thread
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._kept: dict[tuple[Any, ...], Kept] = {}
        self.spent = Decimal(0)
        """USD that pings have cost."""
        self.saved_estimate = Decimal(0)
        """USD that writing anew would have cost more than the reads that pings made possible."""
        self.pings = 0
        """How many were answered."""
        self.failures = 0
        """How many were not."""
        self.stopped: str | None = None
        """Why no ping is sent any more; None as long as they are."""
        self.left_out: Counter[str] = Counter()
        """Why requests were not waited for."""

    @property
    def conversations(self) -> int:
        """How many are waited for, and so how many requests are held in memory."""
        return len(self._kept)

    def stop(self, why: str = "stopped") -> None:
        """Send nothing any more, and let go of all requests. A ping that is under way is still accounted for."""
        with self._changed:
            self.stopped = self.stopped or why
            self._kept.clear()
            self._changed.notify_all()

    def __enter__(self) -> KeepAlive:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; money in decimal strings."""
        return {
            "budget": str(self.budget),
            "spent": str(self.spent),
            "saved_estimate": str(self.saved_estimate),
            "pings": self.pings,
            "failures": self.failures,
            "conversations": self.conversations,
            "left_out": dict(self.left_out),
            "stopped": self.stopped,
        }

    def release(self, model: Model, outline: Outline) -> Kept | None:
        """A request to that model goes out: nothing is sent for its conversation until `keep`. What was waited for."""
        with self._changed:
            return self._kept.pop(_key(model, outline), None)

    def keep(self, line: Line, request: Mapping[str, Any], trace: Trace, *, before: Kept | None = None) -> None:
        """Wait for the conversation to go on, if that is worth it. `before` is what `release` gave for this request."""
        if trace.outline is None or trace.usage is None or trace.at is None or self.stopped:
            return
        if before is not None:
            self._count_saving(before, trace)
        reason = why_not(request) or (None if _is_priced(trace.model) else "the price is not known")
        # What a ping is billed for besides is looked at when it is due: here, the user waits.
        ping = None if reason else self._worth(line, trace, trace.placement.points, trace.at)
        with self._changed:
            if ping is None:
                self.left_out[reason or "no ping would pay"] += 1
                return
            key = _key(trace.model, trace.outline)
            self._put(Kept(key=key, request=request, told=trace, line=line, ping=ping, cold_at=ping.expires))

    def due(self, now: float) -> int:
        """Send the pings that are due by that time, one after another; how many were sent.

        Its thread does so; without one, call it at least every ten seconds.
        """
        sent = 0
        with self._sending:
            while (kept := self._take_due(now)) is not None:
                sent += self._serve(kept)
        return sent

    def _take_due(self, now: float) -> Kept | None:
        with self._changed:
            kept = self._first()
            if kept is None or kept.ping.at > now:
                return None
            kept.busy = True
            return kept

    def _first(self) -> Kept | None:
        return min((one for one in self._kept.values() if not one.busy), key=lambda one: one.ping.at, default=None)

    def _serve(self, kept: Kept) -> bool:
        """Ping, and wait on, or let go; whether a request was sent."""
        sent_before = self.pings + self.failures
        ping = None
        try:
            ping = self._next(kept)
        except Exception:  # noqa: BLE001 - the user did not ask for this very request, and must not hear of it
            _log.warning("keep-alive lets go of a conversation", exc_info=True, extra={"pointsman": self.to_dict()})
        with self._changed:
            # It may have gone on meanwhile, or all been stopped.
            if self._kept.get(kept.key) is kept:
                del self._kept[kept.key]
                if ping is not None:
                    kept.ping, kept.busy = ping, False
                    self._put(kept)
        return self.pings + self.failures > sent_before

    def _next(self, kept: Kept) -> Ping | None:
        """Send what is due for a conversation, if it still pays; the next ping, or None where none is to follow."""
        line, told, now = kept.line, kept.told, kept.line.clock()
        line.context.ledger.sync(now)
        ping = self._worth(line, told, kept.candidates, now, request=kept.request, pings=kept.pings)
        if ping is None or ping.at > now:
            return ping  # Nobody is expected any more, or another request has kept it warm.
        request = ping_request(kept.request, kept.points, ping.after)
        outline = Prompt(request).outline(line.context.counter, key=line.context.ledger.key)
        trace = _trace(told, line.context.corrected(outline, told.model), ping, now)
        if trace is None:
            self.left_out["it is another prefix by now"] += 1
            return None
        expected = _expected_cost(trace)
        if expected is None or self.spent + expected > self.budget:
            facts = {"pointsman": self.to_dict()}
            _log.warning("keep-alive ends: %s of %s USD are spent", self.spent, self.budget, extra=facts)
            self.stop("the budget is spent")
            return None
        kept.ping = ping
        if not self._send(line, trace, request, expected):
            return None
        kept.pings += 1
        following = self._worth(line, told, kept.candidates, now, request=kept.request, pings=kept.pings)
        # Where the ledger does not believe it renewed, the next ping would follow at once.
        return following if following is not None and following.at > now else None

    def _send(self, line: Line, trace: Trace, request: Mapping[str, Any], expected: Decimal) -> bool:
        """Make the call and account for it; whether it has read what it should keep warm."""
        outline, read, at = trace.outline, trace.expected_read, trace.at
        assert outline is not None and read is not None and at is not None
        observer = observe(line.boto3_client, request, keep_alive=True)
        try:
            reply = read_reply(observer.within(line.boto3_client.converse)(**request), at=line.clock())
        except Exception as exc:  # noqa: BLE001 - as in `_serve`
            failure = read_failure(exc, request, at=line.clock())
            self.failures += 1
            facts = {"pointsman": {"model": trace.model.id, "error": failure.code}}
            _log.warning("a ping of keep-alive failed: %s", failure.code, extra=facts)
            trace = replace(trace, status="failed", attempts=(Attempt(trace.model.invoke_id, failure.code),))
            observer.end(trace, failure)
            line.tell(trace)
            return False
        trace = replace(trace, usage=reply.usage)
        observer.end(trace, reply)
        cost = trace.cost.total if trace.cost else None
        self.pings += 1
        self.spent += expected if cost is None else cost
        line.tell(trace)
        if reply.usage is None:
            return False
        line.context.ledger.refreshed(outline, trace.model, trace.placement.points, reply.usage, at)
        return reply.usage.cache_read_tokens * _TOLERANCE >= read.tokens

    def _worth(
        self,
        line: Line,
        told: Trace,
        points: Sequence[CachePoint],
        now: float,
        *,
        request: Mapping[str, Any] | None = None,
        pings: int = 0,
    ) -> Ping | None:
        outline = told.outline
        assert outline is not None

        def rest(after: int) -> int:
            return 0 if request is None else tokens_besides(request, outline, after)

        return worth_a_ping(
            outline, told.model, points, line.context.ledger, now, pings=pings, rest=rest, most=self._most_pings
        )

    def _put(self, kept: Kept) -> None:
        """With the lock held."""
        if self.stopped:
            return
        self._kept[kept.key] = kept
        if len(self._kept) > self._most_conversations:
            least = min(self._kept.values(), key=lambda one: one.ping.gain)
            del self._kept[least.key]
        if self._threaded and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._run, name="pointsman-keep-alive", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                kept = self._first()
                if kept is None:
                    self._thread = None
                    return
                now = kept.line.clock()
                if kept.ping.at > now:
                    self._changed.wait(kept.ping.at - now)
                    continue
            self.due(now)

    def _count_saving(self, before: Kept, trace: Trace) -> None:
        """What the last pings have saved, if the conversation came back when it would have been cold."""
        usage, price, at = trace.usage, trace.model.price, trace.at
        if not before.pings or usage is None or price is None or at is None or at <= before.cold_at:
            return
        price = price.at(usage.input_tokens)
        write = price.cache_write.get("5m")
        if usage.cache_read_tokens * _TOLERANCE < before.ping.tokens or write is None or price.cache_read is None:
            return
        with self._changed:
            self.saved_estimate += ((write - price.cache_read) * before.ping.tokens).scaleb(-6)


def _key(model: Model, outline: Outline) -> tuple[Any, ...]:
    """A conversation on one model: what begins with the same block of messages is taken for one."""
    return owner_of(model), next((block.digest for block in outline.blocks if block.section == "messages"), None)


def _is_priced(model: Model) -> bool:
    usage = Usage(input_tokens=3, cache_read_tokens=1, cache_write_tokens=1, output_tokens=1)
    return cost_of(usage, model.price).total is not None


def _trace(told: Trace, outline: Outline, ping: Ping, now: float) -> Trace | None:
    """The trace of a ping to be sent; None if what it would read is not what is warm."""
    assert told.outline is not None
    digest = told.outline.blocks[ping.after].digest
    if len(outline.blocks) <= ping.after or outline.blocks[ping.after].digest != digest:
        return None
    return Trace(
        asked=told.asked,
        model=told.model,
        invoked_model_id=told.invoked_model_id,
        status="complete",
        placement=Placement(tuple(point for point in told.placement.points if point.after <= ping.after)),
        outline=outline,
        expected_read=Prefix(ping.after, digest, ping.tokens),
        at=now,
        keep_alive=True,
    )


def _expected_cost(trace: Trace) -> Decimal | None:
    """What a ping costs that reads what it should."""
    outline, read = trace.outline, trace.expected_read
    assert outline is not None and read is not None
    rest = outline.tokens - outline.tokens_to(read.after)
    usage = Usage(input_tokens=read.tokens + rest, cache_read_tokens=read.tokens, output_tokens=1)
    return cost_of(usage, trace.model.price).total
