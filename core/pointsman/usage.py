"""Tokens counted and dollars billed. Knows the arithmetic of both; knows no model and no price."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one request, or of many added up, in inclusive buckets.

    `input_tokens` is the whole prompt: what was read from the cache and what was written to it are part of it
    (Bedrock's own `inputTokens` leaves both out). `cache_write_1h_tokens` is the part of `cache_write_tokens`
    that was written with a TTL of one hour; the rest has five minutes.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @property
    def uncached_tokens(self) -> int:
        """Prompt tokens billed at the plain input price."""
        return self.input_tokens - self.cache_read_tokens - self.cache_write_tokens

    @property
    def cache_write_5m_tokens(self) -> int:
        """Prompt tokens written with a TTL of five minutes."""
        return self.cache_write_tokens - self.cache_write_1h_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens + other.cache_write_1h_tokens,
        )

    def to_dict(self) -> dict[str, int]:
        """Plain JSON, with the names of the attributes."""
        return {
            "input_tokens": self.input_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "cache_write_1h_tokens": self.cache_write_1h_tokens,
            "output_tokens": self.output_tokens,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """USD of one request, by bucket. A bucket whose price is unknown is None, and so is the total."""

    uncached: Decimal | None
    cache_read: Decimal | None
    cache_write: Decimal | None
    output: Decimal | None

    @property
    def total(self) -> Decimal | None:
        """The sum of the buckets, or None when one of them is unknown."""
        if self.uncached is None or self.cache_read is None or self.cache_write is None or self.output is None:
            return None
        return self.uncached + self.cache_read + self.cache_write + self.output

    def to_dict(self) -> dict[str, str | None]:
        """Plain JSON: decimal strings, so that no cent is lost to a float."""
        return {
            name: None if dollars is None else f"{dollars:f}"
            for name, dollars in (
                ("uncached", self.uncached),
                ("cache_read", self.cache_read),
                ("cache_write", self.cache_write),
                ("output", self.output),
                ("total", self.total),
            )
        }
