"""What becomes of a miss reason where all requests are known, and with which cache points they were written.

A client sees the requests of one process, whose points are Pointsman's; here they may be the caller's own, without any
reply. Knows one case at a time; knows no text and no price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pointsman.cache import Case, MissReason, Placement, explain_miss, misses
from pointsman.cache.diagnosis import NEARLY
from pointsman.cache.ledger import SECONDS
from pointsman.catalog import Model
from pointsman.outline import Outline

# So much has to have been sent before, and not be read, that a cache point behind it is missed.
_WORTH_A_POINT_TOKENS = 512
# A log tells when a request came, and not when its first token was out, which is when others can read what it wrote.
_WRITING_SECONDS = 2.0

# What to do about a refused point, by what tells the rule.
_REMEDIES: Mapping[str, str] = {
    "TTL": "Give no point a longer TTL than those before it have, nor one that the model doesn't have",
    "cache points": "Leave out those between the first and the last",
    "with a tool result": "Put it at the end of the system prompt",
    "cache point after": "Put it behind a text",
    "cache point in": "Put it at the end of the system prompt, or of the last message",
    "first in its list": "Put each point right behind a block, and one only",
}


def refused_point(outline: Outline, placement: Placement, model: Model) -> misses.RefusedPoint | None:
    """The first of the caller's points that Bedrock would refuse, and the whole request with it."""
    if outline.misplaced and model.cache.max_points:
        return misses.RefusedPoint(section=None, why="it stands first in its list, or right behind another")
    if not placement.refused:
        return None
    point, why = placement.refused[0]
    # What a client would make of the point stands before the rule.
    return misses.RefusedPoint(section=outline.blocks[point.after].section, why=why.rpartition(": ")[2])


def remedy_of(reason: misses.RefusedPoint) -> str:
    """What to do about a point that is refused, in a sentence."""
    told = next((told for rule, told in _REMEDIES.items() if rule in reason.why), "Leave it out")
    return f"{told}, or leave cache points to Pointsman."


def explained(case: Case) -> MissReason | None:
    """The miss reason; None also where nothing like it had been sent."""
    reason = explain_miss(case)
    if isinstance(reason, misses.Evicted) and (idle := reason.idle_seconds) is not None and idle < _WRITING_SECONDS:
        return misses.WrittenConcurrently(tokens=reason.tokens)
    return None if isinstance(reason, misses.FirstRequest | misses.NotWritten | misses.NoPoint) else reason


def without_a_point(case: Case, common: int, earlier: float, reason: MissReason | None) -> MissReason | None:
    """That no point of the caller's has cached what another request began with too, or reads it here.

    Args:
        common: the number of blocks that both begin with.
        earlier: when the other one was sent.
        reason: what else explains the miss, and is returned where it does.
    """
    # Without any point nothing would have been read within the TTL either.
    if not (reason is None or (isinstance(reason, misses.TTLPassed) and not case.placement.points)):
        return reason
    rules, tokens = case.model.cache, case.tokens_to(common - 1)
    if not rules.max_points or earlier + SECONDS[rules.ttls[-1]] <= case.now:
        return reason
    if tokens - case.tokens_to(case.reach) < max(_WORTH_A_POINT_TOKENS, rules.minimum_tokens or 0):
        return reason
    written = case.ledger.written(case.outline, case.model, up_to=common - 1)
    if written is not None and written.prefix.after > case.reach:
        return misses.NoPoint(tokens=written.prefix.tokens)
    return misses.NotWritten(tokens=tokens)


def sent_before(reason: MissReason, common_tokens: int) -> MissReason | None:
    """The reason with those tokens only that were sent before: no others could have been read, whatever was cached."""
    if isinstance(reason, misses.BelowMinimum) and common_tokens < NEARLY * reason.need:
        return None
    if isinstance(reason, misses.BelowMinimum | misses.AboveMaximum | misses.PointsIgnored):
        return replace(reason, tokens=min(reason.tokens or 0, common_tokens))
    return reason
