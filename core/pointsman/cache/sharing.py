"""A ledger's end of a store that it shares: what waits to be handed over, when to exchange, and what if that fails.

Knows the store as a protocol; what a record means is left to the ledger. An exchange never raises, one thread at a
time makes it, and the others don't wait for it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Protocol

import orjson

from pointsman.cache.stores.store import Booked, LedgerStore

_log = logging.getLogger("pointsman")

_SECONDS_BETWEEN = 1.0
# A server that hangs costs one call in half a minute a tenth of a second.
_SECONDS_AFTER_FAILURE = 30.0
_MOST_WAITING = 16_384
# A server takes 20 µs for each on a slow day, and has 100 ms (measured, see docs/caching.md).
_MOST_AT_ONCE = 500
# A statistic moves slowly; each delta is a record of its own, and stays for a process that starts within the hour.
_SECONDS_BETWEEN_DELTAS = 60.0
_SECONDS_DELTAS_LIVE = 3_600.0


class Statistic(Protocol):
    """What is counted in each process and adds up: counts go round as deltas, JSON objects without any text."""

    def take_delta(self) -> Mapping[str, Any] | None:
        """What was counted here since this was last called; None if nothing was."""
        ...

    def add(self, delta: Mapping[str, Any]) -> None:
        """Add what was counted elsewhere; no later `take_delta` tells of it."""
        ...


class Sharing:
    """What one ledger books, on its way to a store, and the times at which it goes there. Thread-safe.

    `guard` is held where a statistic's methods are called.
    """

    def __init__(self, store: LedgerStore, *, guard: threading.Lock) -> None:
        self._store = store
        self._guard = guard
        self._statistics: dict[str, Statistic] = {}
        self._waiting: OrderedDict[tuple[str, str, str, bytes], Booked] = OrderedDict()
        self._since = ""
        self._due = self._deltas_due = float("-inf")
        self._lost = False
        self._process, self._origin, self._deltas = 0, b"", 0
        self._lock = threading.Lock()
        self._exchanging = threading.Lock()

    def book(self, record: Booked) -> None:
        """Keep a record for the next exchange. Beyond 16,384 of them the oldest is let go."""
        with self._lock:
            before = self._waiting.get(record.subject)
            if before is None or before.until < record.until:
                self._waiting[record.subject] = record
                if len(self._waiting) > _MOST_WAITING:
                    self._waiting.popitem(last=False)

    def add(self, name: str, statistic: Statistic) -> None:
        """Let the counts of a statistic go round under this name."""
        self._statistics[name] = statistic

    def exchange(self, now: float, take: Callable[[Booked], None]) -> None:
        """Hand over what waits, and pass what others booked to `take`; nothing, if the last time was just now."""
        if not self._is_due(now) or not self._exchanging.acquire(blocking=False):
            return
        try:
            if self._is_due(now):  # Another thread may have been here in the meantime.
                self._due = now + _SECONDS_BETWEEN
                self._take_deltas(now)
                for record in self._exchange(now):
                    self._pass_on(record, take)
        except Exception as exc:  # noqa: BLE001 - a user's store may raise anything, and the call goes on without it
            self._due = now + _SECONDS_AFTER_FAILURE
            if not self._lost:
                facts = {"pointsman": {"store": type(self._store).__name__, "error": type(exc).__name__}}
                _log.warning("the ledger goes on alone, its store fails: %s: %s", type(exc).__name__, exc, extra=facts)
            self._lost = True
        finally:
            self._exchanging.release()

    def _is_due(self, now: float) -> bool:
        # A clock that was set back doesn't put off the next exchange for long.
        return not 0 < self._due - now <= _SECONDS_AFTER_FAILURE

    def _exchange(self, now: float) -> Iterable[Booked]:
        with self._lock:
            booked = [*islice(self._waiting.values(), _MOST_AT_ONCE)]
        taken, self._since = self._store.exchange(booked=booked, since=self._since, now=now)
        with self._lock:
            for record in booked:
                # What was booked again in the meantime still waits.
                if self._waiting.get(record.subject) is record:
                    del self._waiting[record.subject]
        if self._lost:
            _log.info("the ledger's store is back", extra={"pointsman": {"store": type(self._store).__name__}})
        self._lost = False
        return taken

    def _pass_on(self, record: Booked, take: Callable[[Booked], None]) -> None:
        statistic = self._statistics.get(record.kind)
        try:
            if statistic is None:
                take(record)
            elif not record.about.startswith(self._origin):
                with self._guard:
                    statistic.add(orjson.loads(record.detail))
        except (ValueError, LookupError, TypeError) as exc:
            # As another version of this package may write it.
            facts = {"pointsman": {"kind": record.kind, "error": type(exc).__name__}}
            _log.debug("a record of the kind %r is left alone: %s", record.kind, exc, extra=facts)

    def _take_deltas(self, now: float) -> None:
        if self._process != os.getpid():  # A forked process counts for itself.
            self._process, self._origin = os.getpid(), os.urandom(8)
        if 0 < self._deltas_due - now <= _SECONDS_BETWEEN_DELTAS:
            return
        self._deltas_due = now + _SECONDS_BETWEEN_DELTAS
        with self._lock:
            waiting = {record.kind for record in self._waiting.values()} if self._lost else set()
        for name, statistic in self._statistics.items():
            # While the store is gone a statistic keeps its counts together.
            with self._guard:
                delta = None if name in waiting else statistic.take_delta()
            if delta:
                self._deltas += 1
                about = self._origin + self._deltas.to_bytes(8)
                self.book(Booked(name, "", "", about, now + _SECONDS_DELTAS_LIVE, orjson.dumps(delta).decode()))
