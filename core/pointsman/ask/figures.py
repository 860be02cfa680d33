"""What the traces of a conversation tell in figures, for a terminal and for JSON alike. What is unknown is None."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from pointsman.ask.conversation import Answer
from pointsman.cache.misses import BelowMinimum
from pointsman.usage import Usage


def reason_of(answer: Answer) -> str:
    """Why the model was invoked, in words."""
    trace = answer.trace
    if trace.decision is not None:
        chosen = trace.decision.reason
        if trace.invoked_model_id.endswith(trace.decision.model.invoke_id):
            return chosen
        return f"the router's choice could not serve it ({trace.decision.model.name}: {chosen})"
    if trace.router is not None:
        return "fallback model: the router could not decide"
    return "named by the caller" if trace.asked == trace.invoked_model_id else "chosen by AWS's router"


def missed_of(answer: Answer) -> str | None:
    """Why less was read than could have been, in a sentence; None where nothing could: a first or a short prompt."""
    miss = answer.trace.miss
    return str(miss) if miss is not None and miss.tokens and not isinstance(miss, BelowMinimum) else None


def cost_of(answer: Answer) -> Decimal | None:
    """What the answer cost, in USD."""
    cost = answer.trace.cost
    return cost.total if cost else None


def cost_without_cache_of(answer: Answer) -> Decimal | None:
    """What its tokens would have cost, had nothing been cached."""
    return answer.trace.cost_without_cache


def total_cost(answers: Iterable[Answer]) -> Decimal | None:
    """What all of them cost; None if that of one is unknown."""
    return _sum([cost_of(answer) for answer in answers])


def total_cost_without_cache(answers: Iterable[Answer]) -> Decimal | None:
    """As `total_cost`, had nothing been cached."""
    return _sum([cost_without_cache_of(answer) for answer in answers])


def total_usage(answers: Iterable[Answer]) -> Usage | None:
    """The usage that came back with the answers, in sum."""
    usages = [answer.trace.usage for answer in answers if answer.trace.usage is not None]
    return sum(usages, Usage()) if usages else None


def buckets_of(usage: Usage) -> tuple[int, int, int, int]:
    """Tokens uncached, written to the cache, read from it, and out."""
    return usage.uncached_tokens, usage.cache_write_tokens, usage.cache_read_tokens, usage.output_tokens


def share_of_first(answer: Answer, first: Answer) -> float | None:
    """The time to the first token as a share of that of the first answer."""
    if answer is first or answer.first_token_s is None or not first.first_token_s:
        return None
    return answer.first_token_s / first.first_token_s


def _sum(values: Sequence[Decimal | None]) -> Decimal | None:
    known = [value for value in values if value is not None]
    return sum(known, Decimal(0)) if len(known) == len(values) else None
