"""What happened to one request: decision, changes, placement, attempts, usage, cost. Never any text of the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from pointsman.adapt import Change
from pointsman.cache import Drift, MissReason, Placement
from pointsman.cache.placement import NO_POINTS
from pointsman.catalog import Model
from pointsman.documents import Told
from pointsman.outline import Outline, Prefix
from pointsman.pricing import cost_of, cost_without_cache
from pointsman.routing import Decision
from pointsman.usage import Cost, Usage


class Attempt(NamedTuple):
    """One call that was refused: the model, and the error's code."""

    model: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The story of one request.

    `asked` is the `modelId` that the caller gave, `router` the name of our router if it named one, `model` what
    was invoked. `status` is "complete", "closed early"
    (a stream that the caller left) or "failed". `expected_read` is what was believed warm before the call.
    `miss` is why less was read from the cache than could have been, None where nothing was missed or nobody can tell;
    `drift` is the alarm, on the one request that set it off.
    `documents` is what became of the session's documents, None where the prompt held none and none was waited for.
    `at` is when the call was sent, in seconds of the client's clock.
    `advice_failures` name the steps that went wrong, without which the call went out all the same.
    `session` is a keyed digest of the session that the request belongs to, None if it was in none.
    `keep_alive`: nobody asked for it, it was sent to keep a prefix warm (see `pointsman.KeepAlive`).
    """

    asked: str
    model: Model
    invoked_model_id: str
    status: str
    router: str | None = None
    decision: Decision | None = None
    changes: tuple[Change, ...] = ()
    placement: Placement = NO_POINTS
    outline: Outline | None = None
    expected_read: Prefix | None = None
    attempts: tuple[Attempt, ...] = ()
    usage: Usage | None = None
    advice_failures: tuple[str, ...] = ()
    at: float | None = None
    miss: MissReason | None = None
    drift: Drift | None = None
    documents: Told | None = None
    session: str | None = None
    keep_alive: bool = False

    @property
    def cost(self) -> Cost | None:
        """What the request cost; None if no usage came back."""
        return cost_of(self.usage, self.model.price) if self.usage else None

    @property
    def cost_without_cache(self) -> Decimal | None:
        """What the same tokens would have cost, had nothing been cached; None if no usage or price is known."""
        return cost_without_cache(self.usage, self.model.price) if self.usage else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; money in decimal strings, what is unknown as None."""
        cost, uncached = self.cost, self.cost_without_cache
        return {
            "asked": self.asked,
            "router": self.router,
            "model": self.model.id,
            "invoked_model_id": self.invoked_model_id,
            "status": self.status,
            "decision": self.decision.to_dict() if self.decision else None,
            "changes": [change._asdict() for change in self.changes],
            "placement": self._placement(),
            "expected_read_tokens": self.expected_read.tokens if self.expected_read else 0,
            "miss": self.miss.to_dict() if self.miss else None,
            "drift": self.drift.to_dict() if self.drift else None,
            "documents": self.documents.to_dict() if self.documents else None,
            "session": self.session,
            "attempts": [attempt._asdict() for attempt in self.attempts],
            "usage": self.usage.to_dict() if self.usage else None,
            "cost": cost.to_dict() if cost else None,
            "cost_without_cache": None if uncached is None else f"{uncached:f}",
            "advice_failures": list(self.advice_failures),
            "keep_alive": self.keep_alive,
        }

    def _placement(self) -> dict[str, Any]:
        placement, outline = self.placement, self.outline
        if outline is None:
            return {"points": [], "refused": [], "just_below": []}
        return {
            "points": [
                {
                    "after": point.after,
                    "ttl": point.ttl,
                    "section": outline.blocks[point.after].section,
                    "tokens": outline.tokens_to(point.after),
                    "by_caller": point.after in placement.by_caller,
                }
                for point in placement.points
            ],
            "refused": [
                {"after": point.after, "ttl": point.ttl, "reason": reason} for point, reason in placement.refused
            ],
            "just_below": [
                {
                    "section": outline.blocks[prefix.after].section,
                    "tokens": prefix.tokens,
                    "minimum_tokens": self.model.cache.minimum_tokens,
                }
                for prefix in placement.just_below
            ],
        }
