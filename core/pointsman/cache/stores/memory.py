"""A store in memory, for several ledgers of one process. Bounded: the oldest record goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import takewhile

from pointsman.cache.stores.store import MOST_AT_ONCE, Booked

_SECONDS_BETWEEN_CLEANINGS = 60.0


class MemoryStore:
    """For ledgers that share one process, as those of clients with different routers do. Thread-safe.

    Args:
        bound: records kept.
    """

    def __init__(self, *, bound: int = 65_536) -> None:
        self._bound = bound
        self._records: OrderedDict[tuple[str, str, str, bytes], tuple[int, Booked]] = OrderedDict()
        self._sequence = 0
        self._cleaned = 0.0
        self._lock = threading.Lock()

    def exchange(self, *, booked: Sequence[Booked], since: str, now: float) -> tuple[Sequence[Booked], str]:
        """As `LedgerStore.exchange`."""
        with self._lock:
            after = int(since or 0)
            newest_first = takewhile(lambda one: one[0] > after, reversed(self._records.values()))
            taken = [*newest_first][::-1][:MOST_AT_ONCE]
            for record in booked:
                self._keep(record)
            self._clean(now)
            # Its own records are behind the end only if all before them were taken.
            end = taken[-1][0] if len(taken) == MOST_AT_ONCE else self._sequence
            return [record for _, record in taken], str(end)

    def _keep(self, record: Booked) -> None:
        before = self._records.get(record.subject)
        if before is not None and before[1].until >= record.until:
            return
        self._sequence += 1
        self._records[record.subject] = self._sequence, record
        self._records.move_to_end(record.subject)
        if len(self._records) > self._bound:
            self._records.popitem(last=False)

    def _clean(self, now: float) -> None:
        if 0 <= now - self._cleaned < _SECONDS_BETWEEN_CLEANINGS:
            return
        self._cleaned = now
        for subject in [subject for subject, (_, record) in self._records.items() if record.until < now]:
            del self._records[subject]
