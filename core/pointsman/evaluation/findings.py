"""What broke the cache of requests, as values: a cause, each request, each conversation. Finds nothing out."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pointsman.cache import MissReason, misses
from pointsman.catalog import Model
from pointsman.evaluation.parting import Parting
from pointsman.evaluation.reasons import remedy_of
from pointsman.evaluation.replay import plain
from pointsman.outline import CachePoint
from pointsman.pricing import cost_of
from pointsman.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why one request read less than it could have.

    `parting` is where it parts from an earlier request, as the reason or beside it, None without texts.
    `lost_tokens` would have been read, were it not for this; `lost` is what that cost, in USD. None without prices, and
    for a request that Bedrock refuses: nothing of it is billed.
    """

    reason: MissReason
    parting: Parting | None
    lost_tokens: int
    lost: Decimal | None

    @property
    def what(self) -> str:
        """The cause in a few words: what differs, or the kind of the miss."""
        if not isinstance(self.reason, misses.PrefixChanged):
            return self.reason.kind
        return self.parting.what if self.parting is not None else self.reason.looks_like or self.reason.kind

    @property
    def where(self) -> str:
        """The place, in words; empty where there is none."""
        if not isinstance(self.reason, misses.PrefixChanged):
            return self.section
        return self.parting.where if self.parting is not None else f"block {self.reason.block} of {self.section}"

    @property
    def section(self) -> str:
        """The section of that place; empty where there is none."""
        if isinstance(self.reason, misses.PrefixChanged) and self.parting is not None:
            return self.parting.section
        return getattr(self.reason, "section", None) or ""

    @property
    def advice(self) -> str:
        """What to do about it."""
        if isinstance(self.reason, misses.RefusedPoint):
            why = self.reason.why
            return f"A cache point is refused (400), and the request with it: {why}. {remedy_of(self.reason)}"
        if isinstance(self.reason, misses.NotWritten | misses.NoPoint):
            return f"{self.reason} Put a cache point at the end of the last message."
        if self.parting is None:
            return str(self.reason)
        told = self.parting.advice
        if not isinstance(self.reason, misses.PrefixChanged):
            told = f"{self.reason} Besides, {self.parting.where} differs: {self.parting.what}. {told}"
        return f"{told} {self.parting.behind}".strip()

    def to_dict(self, *, show_text: bool = False) -> dict[str, Any]:
        """Plain JSON; money in decimal strings, what is unknown as None."""
        return {
            "what": self.what,
            "where": self.where,
            "lost_tokens": self.lost_tokens,
            "lost_usd": None if self.lost is None else plain(self.lost),
            "advice": self.advice,
            "miss": self.reason.to_dict(),
            "parting": None if self.parting is None else self.parting.to_dict(show_text=show_text),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What became of one request. Of one that Bedrock refuses, nothing is billed or cached.

    `after` is the number of the earlier request that it has most in common with, None for none; `parting` is where it
    parts from that one, also where nothing is lost by it. It is only looked for in requests of one conversation.
    """

    number: int
    model: Model
    at: float
    points: tuple[CachePoint, ...]
    usage: Usage
    cause: Cause | None
    after: int | None
    parting: Parting | None = None

    def to_dict(self, *, show_text: bool = False) -> dict[str, Any]:
        """Plain JSON."""
        cost = cost_of(self.usage, self.model.price).total
        return {
            "number": self.number,
            "model": self.model.invoke_id,
            "at": self.at,
            "points": [list(point) for point in self.points],
            "usage": self.usage.to_dict(),
            "cost_usd": None if cost is None else plain(cost),
            "cause": None if self.cause is None else self.cause.to_dict(show_text=show_text),
            "after": self.after,
            "parting": None if self.parting is None else self.parting.to_dict(show_text=show_text),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cause through a whole conversation: how often, from which request on, and what it cost in all."""

    cause: Cause
    requests: tuple[int, ...]
    lost_tokens: int
    lost: Decimal | None

    def to_dict(self, *, show_text: bool = False) -> dict[str, Any]:
        """Plain JSON."""
        return {
            **self.cause.to_dict(show_text=show_text),
            "requests": list(self.requests),
            "lost_tokens": self.lost_tokens,
            "lost_usd": None if self.lost is None else plain(self.lost),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A conversation, and what broke its cache: first what Bedrock refuses, then the dearest. Nothing if unbroken."""

    name: str
    passed: tuple[Passed, ...]
    findings: tuple[Finding, ...] = field(default=())

    @property
    def broken(self) -> bool:
        """Whether anything was lost."""
        return bool(self.findings)

    def to_dict(self, *, show_text: bool = False) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "conversation": self.name,
            "requests": [one.to_dict(show_text=show_text) for one in self.passed],
            "broken": self.broken,
            "causes": [one.to_dict(show_text=show_text) for one in self.findings],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All conversations of some requests. `as_written`: they were judged with the cache points that they hold.

    If none holds any, those that `pointsman.place` would lay stand for them.
    """

    conversations: tuple[Told, ...]
    as_written: bool

    def to_dict(self, *, show_text: bool = False) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "points": "as written" if self.as_written else "pointsman",
            "conversations": [one.to_dict(show_text=show_text) for one in self.conversations],
        }
