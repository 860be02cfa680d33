"""The alarm when what is read from the cache falls short of what should be. Knows tokens and reasons, no request.

A cache that breaks breaks silently: in July 2026 it cost LiteLLM's users two to three times their bill for six days
(https://docs.litellm.ai/blog/bedrock-invoke-prompt-caching-incident, read 2026-11-22).
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pointsman.cache.misses import MissReason

CALLS: Final = 20
# In that incident hits of 90 % became 25 to 45 %: the alarm rings between the two, and is wound up again only near the
# healthy share.
LOW_SHARE: Final = 0.7
HEALTHY_SHARE: Final = 0.85
# One long prompt that was evicted can outweigh all the others, and is no drift.
_FEWEST_SHORT_CALLS: Final = 5
_MOST_MODELS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The last `calls` requests to `model` should have read `expected_tokens`, and read `billed_tokens`.

    `reason` is the latest miss reason of the commonest kind, None where none was found.
    """

    model: str
    expected_tokens: int
    billed_tokens: int
    calls: int
    reason: MissReason | None

    def __str__(self) -> str:
        share = f"{self.billed_tokens / self.expected_tokens:.0%}"
        why = "" if self.reason is None else f" Mostly: {self.reason.kind}. {self.reason}"
        return f"{self.model}: the last {self.calls} calls read {share} of what should have come from the cache.{why}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, the sentence as `explanation`."""
        return {
            "model": self.model,
            "expected_tokens": self.expected_tokens,
            "billed_tokens": self.billed_tokens,
            "calls": self.calls,
            "reason": self.reason.to_dict() if self.reason else None,
            "explanation": str(self),
        }


class _Observed(NamedTuple):
    expected: int
    billed: int
    reason: MissReason | None


class DriftAlarm:
    """Compares expected with billed reads over the last calls of each model; rings once for each episode. Thread-safe.

    `rung` counts the alarms by model, for who exports metrics.
    """

    def __init__(self) -> None:
        self.rung: Counter[str] = Counter()
        self._calls: dict[str, deque[_Observed]] = {}
        self._ringing: set[str] = set()
        self._lock = threading.Lock()

    def observe(self, model: str, *, expected: int, read: int, reason: MissReason | None) -> Drift | None:
        """Take in one call; the alarm, if it is this call that sets it off.

        A call counts if a read was expected, or if a warm prefix was there that it should have read.
        """
        missed = reason.tokens or 0 if reason is not None and reason.avoidable else 0
        should = max(expected, missed)
        if not should:
            return None
        with self._lock:
            if model not in self._calls and len(self._calls) >= _MOST_MODELS:
                del self._calls[next(iter(self._calls))]
            calls = self._calls.setdefault(model, deque(maxlen=CALLS))
            calls.append(_Observed(should, min(read, should), reason))
            if read >= LOW_SHARE * should and model not in self._ringing:
                return None
            return self._judged(model, calls)

    def _judged(self, model: str, calls: deque[_Observed]) -> Drift | None:
        expected, billed = sum(call.expected for call in calls), sum(call.billed for call in calls)
        if billed >= HEALTHY_SHARE * expected:
            self._ringing.discard(model)
        short = sum(call.billed < LOW_SHARE * call.expected for call in calls)
        if len(calls) < CALLS or model in self._ringing or billed >= LOW_SHARE * expected:
            return None
        if short < _FEWEST_SHORT_CALLS:
            return None
        self._ringing.add(model)
        self.rung[model] += 1
        return Drift(
            model=model,
            expected_tokens=expected,
            billed_tokens=billed,
            calls=len(calls),
            reason=_commonest([call.reason for call in calls if call.reason is not None]),
        )


def _commonest(reasons: list[MissReason]) -> MissReason | None:
    if not reasons:
        return None
    kind, _ = Counter(reason.kind for reason in reasons).most_common(1)[0]
    return [reason for reason in reasons if reason.kind == kind][-1]
