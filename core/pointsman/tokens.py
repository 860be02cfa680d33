"""How many tokens a block has: estimated from its size, corrected by the usage that comes back.

Bedrock's CountTokens refuses the newest models and a tokenizer costs several times the call itself, so nothing is
tokenized here. Knows sizes and ratios; knows no prompt.
"""

from __future__ import annotations

import threading
from typing import Protocol

# UTF-8 bytes per token. Against a public Claude tokenizer four characters a token came out 12 % high on prose and
# 33 % low on JSON (caching.md section 5, 2026-11-22). Bytes, since other scripts take more tokens a character.
_BYTES_PER_TOKEN = {"tool": 3.0, "tool_use": 3.0, "tool_result": 3.5}
_BYTES_PER_TOKEN_OF_TEXT = 4.3
_MESSAGE_OVERHEAD = 3


class TokenCounter(Protocol):
    """Estimates the tokens of one block."""

    def count(self, *, kind: str, size: int) -> int:
        """Tokens of a block of that kind whose JSON has `size` bytes."""
        ...


class EstimatedTokens:
    """Tokens by size and kind, and per model a factor learnt from what Bedrock counted. Thread-safe."""

    def __init__(self) -> None:
        self._factors: dict[str, float] = {}
        self._lock = threading.Lock()

    def count(self, *, kind: str, size: int) -> int:
        """Tokens of a block of that kind whose JSON has `size` bytes."""
        return int(size / _BYTES_PER_TOKEN.get(kind, _BYTES_PER_TOKEN_OF_TEXT)) + _MESSAGE_OVERHEAD

    def factor(self, model_id: str) -> float:
        """What an estimate is multiplied by for that model; 1.0 until a reply has taught better."""
        return self._factors.get(model_id, 1.0)

    def learn(self, model_id: str, *, estimated: int, counted: int) -> None:
        """Move the model's factor towards what Bedrock counted for an estimate that used no factor."""
        if estimated < _LEAST_TO_LEARN_FROM or counted <= 0:
            return
        seen = min(max(counted / estimated, 0.25), 4.0)
        with self._lock:
            before = self._factors.get(model_id)
            self._factors[model_id] = seen if before is None else before + _STEP * (seen - before)


# Short prompts are mostly overhead, and say little of the ratio.
_LEAST_TO_LEARN_FROM = 200
_STEP = 0.2
