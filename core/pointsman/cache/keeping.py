"""Whether a warm prefix is worth reading once more, only so that it stays warm for whoever comes back to it.

Knows outlines, rates, the ledger and how long prompts wait to be asked for again; sends nothing, holds no text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pointsman.cache.ledger import SECONDS, Ledger, Written, effective, owner_of
from pointsman.cache.returns import SPANS, Hazards, Waiting, away
from pointsman.cache.reuse import Rates
from pointsman.catalog import Model
from pointsman.outline import CachePoint, Outline

TTL = "5m"
"""Only such prefixes are kept: of who comes back after more than an hour nothing is known."""
MARGIN_SECONDS = 20.0
"""So long before its end a TTL is renewed: enough for a slow connection, and for a clock that is not quite right."""
# Chosen on one half of the coding sessions (benchmarks/caching_keepalive.md): what the chances allow, up to an hour.
MOST_PINGS = 11


class Ping(NamedTuple):
    """A prefix to be read once more: its last block and tokens, when, and until when it is warm without that.

    `gain` is what that saves more than it costs, as far as can be expected, in tokens at the plain input price;
    `waiting` is the wait for the prompt that would need it.
    """

    after: int
    tokens: int
    at: float
    expires: float
    gain: float
    waiting: Waiting


def worth_a_ping(
    outline: Outline,
    model: Model,
    points: Sequence[CachePoint],
    ledger: Ledger,
    now: float,
    *,
    pings: int = 0,
    rest: Callable[[int], int] = lambda _: 0,
    most: int = MOST_PINGS,
) -> Ping | None:
    """The prefix behind one of these points that it pays most to keep warm, or None where none pays.

    A ping costs the read of the prefix and the rest of its request. It saves what writing anew costs more than a read,
    for as much of the prefix as would go cold, with the chance that somebody comes back in the minutes that it adds;
    later pings count as far as they pay too.

    Args:
        points: those of the last request; once one was pinged for, that one alone.
        pings: how many were made since that request.
        rest: given the last block of a prefix, the tokens besides it that its ping is billed for, at the plain price.
        most: how many pings may be made in a row.
    """
    rates = Rates.of(model.price, outline.tokens, one_hour=False)
    found: list[Ping] = []
    for point in points:
        ping = _ping(outline, model, point, ledger, now, rates, rest(point.after), most - pings)
        if ping is not None and ping.gain > 0:
            found.append(ping)
    return max(found, key=lambda ping: ping.gain, default=None)


def _ping(
    outline: Outline,
    model: Model,
    point: CachePoint,
    ledger: Ledger,
    now: float,
    rates: Rates,
    rest: int,
    most: int,
) -> Ping | None:
    written = ledger.written(outline, model, up_to=point.after)
    if written is None or written.prefix.after != point.after or written.ttl != TTL or written.expires <= now:
        return None
    waiting = ledger.reuse.waiting(outline, owner_of(model), point.after)
    if waiting is None or waiting.waited is not None or not effective(outline, model, point.after):
        return None
    tokens = written.prefix.tokens
    gain = _gain(
        ledger.reuse.hazards(waiting),
        warm_until=written.expires - waiting.since,
        saved=(rates.write_5m - rates.read) * _going_cold(outline, model, ledger, written),
        cost=rates.read * tokens + rest,
        most=most,
    )
    at = max(written.expires - MARGIN_SECONDS, now)
    return Ping(point.after, tokens, at, written.expires, gain, waiting)


def _going_cold(outline: Outline, model: Model, ledger: Ledger, kept: Written) -> int:
    """The tokens that don't stay warm without a ping, as those of a shorter prefix may: one of an hour, mostly."""
    until = kept.expires + SECONDS[TTL] - MARGIN_SECONDS
    within: Written | None = kept
    while within is not None and (within is kept or within.expires < until):
        within = ledger.written(outline, model, up_to=within.prefix.after - 1)
    if within is None:
        return kept.prefix.tokens
    # Both as estimated: of one the tokens may have been billed, and of the other not.
    return outline.tokens_to(kept.prefix.after) - outline.tokens_to(within.prefix.after)


def _gain(hazards: Hazards, *, warm_until: float, saved: float, cost: float, most: int) -> float:
    """What a ping at the end of the TTL, and those after it that pay, are expected to save more than they cost.

    `warm_until` is how long the prefix will have waited when it goes cold. Seen from the ping: if nobody has come
    back by then.
    """
    step = SECONDS[TTL] - MARGIN_SECONDS
    count = min(most, int((SPANS[-1] - warm_until) // step) + 1)
    gain = 0.0
    for number in range(count - 1, -1, -1):
        end = warm_until + number * step
        still_away = away(hazards, end - MARGIN_SECONDS)
        if not still_away:
            gain = -cost
            continue
        later = away(hazards, end + step - MARGIN_SECONDS) / still_away
        comes = (away(hazards, end) - away(hazards, end + step)) / still_away
        gain = comes * saved - cost + later * max(gain, 0.0)
    return gain if count > 0 else -cost
