"""Where cache points go on one prompt for one model: where writing costs less than what it is expected to save.

Knows outlines, rules, rates, the ledger and what that has learnt of reuse; no text, no HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from pointsman.cache.ledger import Ledger, effective, owner_of
from pointsman.cache.returns import Chances
from pointsman.cache.reuse import Outlook, Rates, Stretch
from pointsman.cache.rules import callers_points, refusal_reason, refused_before, usable
from pointsman.catalog import Model
from pointsman.outline import CachePoint, Outline, Prefix

JUST_BELOW = 0.8
"""So near to a model's minimum, a prefix is worth a word: a little more, and it would be cached."""
_LEAST_GAIN = 1e-9
# Where points that cost nothing go first; the end of the tools comes last, where there is a system prompt.
_BY_NEED = ("penultimate", "message", "static", "history", "known", "last")


class Placement(NamedTuple):
    """All the cache points of one prompt for one model, in the order of its blocks.

    `by_caller` are the blocks behind which the caller had placed a point himself. `refused` are points of his that
    the model would not take as they were, each with what was done and why. `just_below` are prefixes (tools, system
    prompt, the whole prompt) that stand just under the model's minimum, so that they are not cached.
    """

    points: tuple[CachePoint, ...] = ()
    by_caller: frozenset[int] = frozenset()
    refused: tuple[tuple[CachePoint, str], ...] = ()
    just_below: tuple[Prefix, ...] = ()


NO_POINTS = Placement()


class Weighed(NamedTuple):
    """What `place` goes by at one stretch of a prompt: a later prompt may part behind it.

    `end` is the last block of it behind which a point is taken and caches, None where there is none. `chances` are
    those that it is asked for again. What it costs from now on, over all requests to come, if it is sent plainly, or
    written for five minutes or an hour: in tokens at the plain input price. None where it is warm, or the model has no
    such TTL.
    """

    stretch: Stretch
    end: int | None
    chances: Chances
    plain: float | None = None
    written_5m: float | None = None
    written_1h: float | None = None


def place(outline: Outline, model: Model, ledger: Ledger, now: float) -> Placement:
    """Lay cache points on a prompt for a model: the caller's, then ours as far as the model's limit goes.

    A stretch of the prompt is written, for five minutes or an hour, where that costs less than what it is expected to
    save when the prefix is read again (see `pointsman.cache.reuse`): alone, a write for five minutes pays from a
    chance of (w - 1) / (1 - r) on, with w and r the prices of a write and a read. Points that are left go where they
    cost nothing: at the cuts within what is read or written, and behind what is warm, where the look-back of the
    others would not find it.
    """
    if not model.known:
        return _as_the_caller_wrote(outline, model, ledger)
    if not (model.cache.max_points and outline.blocks):
        return Placement(refused=callers_points(outline, model, ledger)[1]) if outline.points else NO_POINTS
    minimum = model.cache.minimum_tokens or 0
    reached = outline.reaches(len(outline.blocks) - 1, minimum)
    if not (reached or outline.points or outline.tokens >= JUST_BELOW * minimum):
        return NO_POINTS
    stretches = ledger.reuse.stretches(outline, owner_of(model), now)
    just_below = _just_below(outline, model, stretches)
    if not (reached or outline.points):
        return Placement(just_below=just_below)
    kept, refused = callers_points(outline, model, ledger) if outline.points else ((), ())
    return Placement(
        points=_joined(kept, _Weighing(outline, model, ledger, stretches, now).points(kept), model.cache.max_points),
        by_caller=frozenset([point.after for point in kept]),
        refused=refused,
        just_below=just_below,
    )


def weighed(outline: Outline, model: Model, ledger: Ledger, now: float) -> tuple[Weighed, ...]:
    """What `place` weighs for the same arguments, for who wants to be told: the stretches of the prompt, in order.

    Nothing where the model isn't known, or takes no cache points.
    """
    if not (model.known and model.cache.max_points and outline.blocks):
        return ()
    stretches = ledger.reuse.stretches(outline, owner_of(model), now)
    return _Weighing(outline, model, ledger, stretches, now).weighed()


class _Weighing:
    """What of one prompt is worth writing, and the points for it."""

    def __init__(
        self, outline: Outline, model: Model, ledger: Ledger, stretches: Sequence[Stretch], now: float
    ) -> None:
        self._outline = outline
        self._model = model
        self._ledger = ledger
        self._stretches = stretches
        self._ends = [usable(outline, model, ledger, one.end) for one in stretches]
        self._warm = ledger.warm_prefix(outline, model, now)
        self._ttl = ledger.ttl_of(self._warm, model) if self._warm else None

    def points(self, kept: Sequence[CachePoint]) -> list[CachePoint]:
        """Points to place beside those kept of the caller's, the most needed first; a TTL never rises along the prompt.

        The first need is to read what is warm: where there is but one place, nothing new is written.
        """
        until_1h, until_5m = self._worth_writing()
        ends = [end for end in (until_5m, until_1h) if end is not None]
        ends = self._in_sight([*ends, *[point.after for point in kept]]) + ends
        last = max(ends, default=-1)
        ends += [end for end in self._by_need() if end < last]
        return [
            CachePoint(end, "1h" if until_1h is not None and end <= until_1h else "5m") for end in dict.fromkeys(ends)
        ]

    def _worth_writing(self) -> tuple[int | None, int | None]:
        """The blocks up to which it pays to write for an hour, and further on for five minutes.

        Both where the last cut is usable, and its TTL one that the prompt may have there: of the sequences in which
        first stretches are written for an hour, then for five minutes, then none, the one expected to cost least.
        """
        warm = self._warm.after if self._warm else -1
        cold = self._cold(warm)
        if not cold or self._is_not_worth_it(warm):
            return None, None
        rates = self._rates()
        plain, written_5m, written_1h = self._costs(cold, rates)
        ends = [None, *[end if end is not None and end > warm else None for _, end in cold]]
        may_end = [count for count, end in enumerate(ends) if not count or end is not None]
        best, for_1h, for_5m = plain[-1], 0, 0
        for hours in may_end if self._may_be_1h(rates) else (0,):
            for fives in self._ends_of_5m(hours, [one for one, _ in cold], may_end):
                cost = written_1h[hours] + written_5m[fives] - written_5m[hours] + plain[-1] - plain[fives]
                if cost < best - _LEAST_GAIN:
                    best, for_1h, for_5m = cost, hours, fives
        return ends[for_1h], ends[for_5m] if for_5m > for_1h else None

    def weighed(self) -> tuple[Weighed, ...]:
        """Each stretch, with what it costs by what is done with it now."""
        cold, rates = self._cold(self._warm.after if self._warm else -1), self._rates()
        costs = iter(zip(*map(_steps, self._costs(cold, rates)), strict=True))
        told = []
        for one, end in zip(self._stretches, self._ends, strict=True):
            chances = self._ledger.reuse.chances(one, self._outline)
            plain, written_5m, written_1h = next(costs) if (one, end) in cold else (None, None, None)
            told.append(Weighed(one, end, chances, plain, written_5m, None if rates.write_1h is None else written_1h))
        return tuple(told)

    def _cold(self, warm: int) -> list[tuple[Stretch, int | None]]:
        return [(one, end) for one, end in zip(self._stretches, self._ends, strict=True) if one.end > warm]

    def _rates(self) -> Rates:
        return Rates.of(self._model.price, self._outline.tokens, one_hour="1h" in self._model.cache.ttls)

    def _is_not_worth_it(self, warm: int) -> bool:
        """Whether the conversation has come back to less than was written of it before, and cost more for it."""
        if warm >= 0 and self._outline.blocks[warm].section == "messages":
            return False
        if not self._ledger.reuse.has_been_dear(self._outline, self._stretches, owner_of(self._model)):
            return False
        written = self._ledger.written(self._outline, self._model)
        return written is None or written.prefix.after > warm

    def _may_be_1h(self, rates: Rates) -> bool:
        """What is written for an hour behind five live minutes would be lost with them."""
        return rates.write_1h is not None and self._ttl != "5m"

    def _ends_of_5m(self, hours: int, cold: Sequence[Stretch], may_end: Sequence[int]) -> Sequence[int]:
        """How far five minutes may follow so many stretches of an hour: a conversation keeps to one TTL.

        Once a stretch of it has five minutes, all that follow have, until it has gone cold.
        """
        in_messages = self._warm is not None and self._outline.blocks[self._warm.after].section == "messages"
        hour_before = hours > 0 and cold[hours - 1].kind != "static"
        if hour_before or (self._ttl == "1h" and in_messages):
            return (hours,)
        return [fives for fives in may_end if fives >= hours]

    def _costs(
        self, cold: Sequence[tuple[Stretch, int | None]], rates: Rates
    ) -> tuple[list[float], list[float], list[float]]:
        """What the first n stretches cost from now on, if they are sent plainly, written for 5m or for 1h."""
        outline, before = self._outline, self._warm.after if self._warm else -1
        plain, written_5m, written_1h = [0.0], [0.0], [0.0]
        for (one, _), outlook in zip(cold, self._outlooks(cold, rates), strict=True):
            tokens = one.tokens
            if outline.counted and before >= 0:
                tokens = min(tokens, outline.tokens_to(one.end) - outline.tokens_to(before))
            plain.append(plain[-1] + tokens * (1.0 + outlook.plain))
            written_5m.append(written_5m[-1] + tokens * (rates.write_5m + outlook.written_5m))
            written_1h.append(written_1h[-1] + tokens * ((rates.write_1h or 0.0) + outlook.written_1h))
        return plain, written_5m, written_1h

    def _outlooks(self, cold: Sequence[tuple[Stretch, int | None]], rates: Rates) -> list[Outlook]:
        """Those of the stretches: where no point may stand in one, it is read only with what follows."""
        outlooks: list[Outlook] = []
        for one, end in reversed(cold):
            if end is None and outlooks:
                outlooks.append(outlooks[-1])
            else:
                outlooks.append(self._ledger.reuse.outlook(one, self._outline, rates))
        return outlooks[::-1]

    def _in_sight(self, ends: Sequence[int]) -> list[int]:
        """A place for a point that finds what is warm, if those at `ends` wouldn't."""
        if self._warm is None:
            return []
        warm, lookback = self._warm.after, self._model.cache.lookback_blocks
        furthest = warm + lookback + (lookback > 0)
        if any(warm <= end <= furthest and effective(self._outline, self._model, end) for end in ends):
            return []
        for index in range(warm, min(furthest, len(self._outline.blocks) - 1) + 1):
            if effective(self._outline, self._model, index) and not refusal_reason(
                self._outline, self._model, self._ledger, index
            ):
                return [index]
        return []

    def _by_need(self) -> list[int]:
        """The cuts behind which a point may stand, first those at which a later prompt is likeliest to part."""
        static = max((one.end for one in self._stretches if one.kind == "static"), default=-1)
        cuts = [
            (len(_BY_NEED) if one.end < static else _BY_NEED.index(one.kind), -one.end, end)
            for one, end in zip(self._stretches, self._ends, strict=True)
            if end is not None
        ]
        return [end for *_, end in sorted(cuts)]


def _steps(sums: Sequence[float]) -> list[float]:
    return [after - before for before, after in pairwise(sums)]


def _joined(kept: Sequence[CachePoint], ours: Sequence[CachePoint], most: int) -> tuple[CachePoint, ...]:
    """The caller's points, and as many of ours as the model takes besides."""
    points = {point.after: point.ttl for point in kept}
    for after, ttl in ours:
        if len(points) >= most:
            break
        if after not in points:
            if any(point.ttl == "1h" and point.after > after for point in kept):
                ttl = "1h"
            elif any(point.ttl == "5m" and point.after < after for point in kept):
                ttl = "5m"
            points[after] = ttl
    return tuple([CachePoint(after, points[after]) for after in sorted(points)])


def _just_below(outline: Outline, model: Model, stretches: Sequence[Stretch]) -> tuple[Prefix, ...]:
    minimum = model.cache.minimum_tokens
    if minimum is None or not stretches or outline.tokens_to(stretches[0].end) >= minimum:
        return ()
    ends = {one.end for one in stretches if one.kind == "static"} | {len(outline.blocks) - 1}
    return tuple(
        outline.prefix(end)
        for end in sorted(ends)
        if not outline.reaches(end, minimum) and outline.tokens_to(end) >= JUST_BELOW * minimum
    )


def _as_the_caller_wrote(outline: Outline, model: Model, ledger: Ledger) -> Placement:
    """For a model whose rules nobody knows: the caller's points, less those that it has refused."""
    refusals = [(point, refused_before(outline, model, ledger, point.after)) for point in outline.points]
    points = tuple(point for point, reason in refusals if reason is None)
    return Placement(
        points=points,
        by_caller=frozenset(point.after for point in points),
        refused=tuple((point, reason) for point, reason in refusals if reason is not None),
    )
