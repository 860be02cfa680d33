"""What the endpoint served, by its own count: a client's figures can be checked against it. Knows no HTTP."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pointsman.local.cache import CachePlan


@dataclass(slots=True)
class _Tokens:
    requests: int = 0
    uncached_input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0


class Account:
    """Counters of requests, tokens by model as invoked, and errors by code. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._models: dict[str, _Tokens] = {}
        self._operations: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._early_closed = 0

    def request(self, operation: str) -> None:
        """A request of this operation arrived, whatever becomes of it."""
        with self._lock:
            self._operations[operation] += 1

    def served(self, model_id: str, plan: CachePlan, output_tokens: int) -> None:
        """A model answered, wholly or until its client had gone."""
        with self._lock:
            tokens = self._models.setdefault(model_id, _Tokens())
            tokens.requests += 1
            tokens.uncached_input_tokens += plan.uncached_tokens
            tokens.cache_read_tokens += plan.read_tokens
            tokens.cache_write_5m_tokens += plan.write_5m_tokens
            tokens.cache_write_1h_tokens += plan.write_1h_tokens
            tokens.output_tokens += output_tokens

    def refused(self, code: str) -> None:
        """A request was answered with this error, or a stream ended by it."""
        with self._lock:
            self._errors[code] += 1

    def closed_early(self) -> None:
        """A client went away before its answer was whole."""
        with self._lock:
            self._early_closed += 1

    def reset(self) -> None:
        """Begins anew."""
        with self._lock:
            self._clear()

    def to_dict(self) -> dict[str, Any]:
        """All counters as plain JSON; `totals` sums over models."""
        with self._lock:
            models = {model_id: asdict(tokens) for model_id, tokens in sorted(self._models.items())}
            return {
                "requests": sum(self._operations.values()),
                "operations": dict(sorted(self._operations.items())),
                "errors": dict(sorted(self._errors.items())),
                "early_closed": self._early_closed,
                "models": models,
                "totals": _sum(models),
            }


def _sum(models: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(tokens[name] for tokens in models.values()) for name in asdict(_Tokens())}
