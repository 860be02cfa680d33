"""What the requests of a process add up to, by what they are told apart: the counters of telemetry.

To add to them costs a tenth of what a measurement costs that is handed to OpenTelemetry's SDK, which reads them when it
collects. Knows usage and traces; knows nothing of OpenTelemetry but its names.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from pointsman.trace import Trace

TOLD_APART_BY = (
    "gen_ai.request.model",
    "gen_ai.response.model",
    "pointsman.router",
    "error.type",
    "pointsman.keep_alive",
)

# Name, unit, what is told, where it is counted, and its own label.
COUNTERS = (
    ("pointsman.requests", "{request}", "Requests that are over.", "statuses", "pointsman.status"),
    ("pointsman.tokens", "{token}", "Tokens, by how they are billed.", "tokens", "pointsman.token.kind"),
    ("pointsman.expected_read", "{token}", "Tokens believed warm before the call.", "expected", None),
    ("pointsman.cost", "{USD}", "USD, of requests whose price is known.", "cost", None),
    (
        "pointsman.misses",
        "{request}",
        "Requests that read less than they could have.",
        "misses",
        "pointsman.miss.reason",
    ),
    ("pointsman.decision.time", "s", "Time from the request to the call that is sent.", "decision_seconds", None),
    ("pointsman.drift_alarms", "{alarm}", "Alarms that reads have drifted.", "alarms", None),
)


class _Totals:
    """What requests that are told apart by nothing but their status add up to."""

    __slots__ = ("alarms", "cost", "decision_seconds", "expected", "misses", "statuses", "tokens")

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.misses: Counter[str] = Counter()
        self.decision_seconds = self.cost = 0.0
        self.expected = self.alarms = 0


class Account:
    """The totals of all requests. Thread-safe."""

    def __init__(self) -> None:
        self._totals: dict[tuple[object, ...], _Totals] = {}
        self._lock = threading.Lock()

    def book(
        self,
        values: tuple[object, ...],
        status: str,
        decided: float | None,
        trace: Trace | None,
        dollars: float | None,
    ) -> None:
        """Add a request; the values are those of `TOLD_APART_BY`."""
        usage = trace.usage if trace is not None else None
        with self._lock:
            totals = self._totals.get(values)
            if totals is None:
                totals = self._totals[values] = _Totals()
            totals.statuses[status] += 1
            totals.decision_seconds += decided or 0.0
            if trace is None:
                return
            if usage is not None:
                totals.tokens["uncached"] += usage.uncached_tokens
                totals.tokens["cache_read"] += usage.cache_read_tokens
                totals.tokens["cache_write"] += usage.cache_write_tokens
                totals.tokens["output"] += usage.output_tokens
                totals.cost += dollars or 0.0
                if trace.expected_read is not None:
                    totals.expected += trace.expected_read.tokens
            if trace.miss is not None:
                totals.misses[trace.miss.kind] += 1
            totals.alarms += trace.drift is not None

    def read(self, name: str, label: str | None) -> list[tuple[float, dict[str, Any]]]:
        """A total of all requests by what they are told apart by, and by that label, if the total has one."""
        found: list[tuple[float, dict[str, Any]]] = []
        with self._lock:
            for values, totals in self._totals.items():
                told = {key: one for key, one in zip(TOLD_APART_BY, values, strict=True) if one is not None}
                total = getattr(totals, name)
                if label is None:
                    found.append((total, told))
                else:
                    found += ((value, {**told, label: one}) for one, value in total.items())
        return found
