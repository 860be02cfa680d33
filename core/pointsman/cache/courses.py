"""How the conversations of a router go on: how fast, how much longer, and how often a cheaper model will do.

Learnt from the requests as they come in, in sums that add up over processes; a few requests of belief stand for what
hasn't been seen. Follows conversations by the digests of their ends and keeps no text. Knows no prices and chooses
nothing.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from pointsman.outline import Outline

SPANS = 12
"""A TTL is cut into so many equal spans; what lies beyond it is one more."""
OCTAVES = 10
"""Requests of a conversation are told apart by their logarithm: the first, 2 and 3, 4 to 7, ..."""

_SECONDS = {"5m": 300.0, "1h": 3600.0}
# What is believed before anything was seen, and for how many requests it counts. Rounded from the half of the coding
# sessions that defaults are chosen on (benchmarks/caching_routing.md), where pauses average 30 s, 5 % are longer than
# five minutes, and a fifth of the conversations end between one power of two and the next.
_PAUSE_SECONDS, _PAUSES_WEIGHT = 30.0, 20.0
# Pauses that outlast a TTL are rare, so that a few of them must not count for much: share, and weight.
_PAUSES_BEYOND = {"5m": (0.05, 60.0), "1h": (0.006, 200.0)}
_GROWTH_TOKENS, _GROWTH_WEIGHT = 1200.0, 5.0
_OUTPUT_TOKENS, _OUTPUT_WEIGHT = 300.0, 5.0
_GOING_ON, _GOING_ON_WEIGHT = 0.8, 8.0
_STILL_ADEQUATE, _ADEQUATE_AGAIN, _ADEQUATE_WEIGHT = 0.8, 0.6, 2.0
_BOUND_WEIGHT = 5.0

# An outlook is kept until twice as many requests have been seen: what is computed from it is kept as long.
_ANEW = 2.0
# The volatile end of a prompt may not come back: the next one is known by any of its last blocks.
_ENDS = 3
_FARTHEST_END = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlook:
    """What to expect of a router's conversations. Told apart by identity, so that what is computed from it can be kept.

    `pauses` are shares of the pauses between two requests, in the spans of each TTL and beyond it; `pause` is the mean
    of those within five minutes, in seconds. `growth` and `output` are tokens a request. `going_on` is for each octave
    the chance that a conversation which has come to it comes to the next. `still_adequate` and `adequate_again` are
    the chances that a cheap model will do for the next decision, where it did or didn't for this; `bound` is the share
    of requests that stay on their model without one.
    """

    pauses_5m: tuple[float, ...]
    pauses_1h: tuple[float, ...]
    pause: float
    growth: float
    output: float
    going_on: tuple[float, ...]
    still_adequate: float
    adequate_again: float
    bound: float


class Conversation(NamedTuple):
    """A conversation at one of its requests, the last of `requests`. `adequate`: whether a cheap model would have done.

    None where that isn't known.
    """

    router: str
    requests: int
    at: float
    tokens: int
    adequate: bool | None


class Courses:
    """The courses of conversations, by router; bounded, thread-safe.

    Args:
        bound: ends of conversations that are kept; the longest unused goes first.
    """

    def __init__(self, *, bound: int = 16_384) -> None:
        self._bound = bound
        self._ends: OrderedDict[bytes, Conversation] = OrderedDict()
        self._seen: dict[str, _Sums] = {}
        self._new: dict[str, _Sums] = {}
        self._outlooks: dict[str, tuple[float, Outlook]] = {}
        self._lock = threading.Lock()

    def outlook(self, router: str) -> Outlook:
        """What to expect of this router's conversations. It changes seldom."""
        seen = self._seen.get(router)
        count = seen.requests if seen else 0.0
        known = self._outlooks.get(router)
        if known is None or count >= known[0]:
            known = self._outlooks[router] = (count * _ANEW + 1, seen.outlook() if seen else _UNSEEN)
        return known[1]

    def follow(self, router: str, outline: Outline, now: float, *, adequate: bool | None = None) -> Conversation:
        """A request of a router's conversation, and what it tells of its course. Asked again, the same is told.

        `adequate`: whether a cheap model would do for it; None where it stays on its model without being asked.
        """
        digest = outline.blocks[-1].digest if outline.blocks else b""
        with self._lock:
            known = self._ends.get(digest)
            if known is not None and known.router == router:
                return known
            before = self._before(outline, router)
            going = Conversation(router, before.requests + 1 if before else 1, now, outline.tokens, adequate)
            if adequate is None and before is not None:
                going = going._replace(adequate=before.adequate)
            for table in (self._seen, self._new):
                table.setdefault(router, _Sums()).count(before, going, bound=adequate is None)
            self._note(outline, going)
        return going

    def served(self, outline: Outline, output_tokens: int, now: float) -> None:
        """A reply was booked. Where the router of that conversation wasn't asked, no cheap model would have done."""
        if not self._seen or not outline.blocks:
            return
        conversation = self._ends.get(outline.blocks[-1].digest)
        if conversation is None:
            with self._lock:
                conversation = self._before(outline, None)
            if conversation is None:
                return
            self.follow(conversation.router, outline, now, adequate=False)
        with self._lock:
            for table in (self._seen, self._new):
                table.setdefault(conversation.router, _Sums()).add_output(output_tokens)

    def take_delta(self) -> dict[str, Any] | None:
        """What was counted since the last time, as plain JSON for `add`; None if nothing was."""
        with self._lock:
            new, self._new = self._new, {}
        return {router: sums.to_dict() for router, sums in new.items()} or None

    def add(self, delta: Mapping[str, Any]) -> None:
        """Count what another process, or an earlier one, has counted."""
        with self._lock:
            for router, told in delta.items():
                self._seen.setdefault(router, _Sums()).add(told)

    def to_dict(self) -> dict[str, Any]:
        """All that was counted, as plain JSON for `add`."""
        with self._lock:
            return {router: sums.to_dict() for router, sums in self._seen.items()}

    def _before(self, outline: Outline, router: str | None) -> Conversation | None:
        """The request that this one goes on from."""
        ends = self._ends
        for block in outline.blocks[-2 : -_FARTHEST_END - 2 : -1]:
            found = ends.get(block.digest)
            if found is not None and router in (None, found.router):
                return found
        return None

    def _note(self, outline: Outline, going: Conversation) -> None:
        last = outline.blocks[-1:]
        # Where an earlier request ended, its own conversation goes on.
        volatile = [block for block in outline.blocks[-_ENDS:-1] if block.section == "messages"]
        for block in (*[one for one in volatile if one.digest not in self._ends], *last):
            self._ends[block.digest] = going
            self._ends.move_to_end(block.digest)
        while len(self._ends) > self._bound:
            self._ends.popitem(last=False)


class _Sums:
    """What was counted for one router."""

    __slots__ = ("adequate", "bound", "growth", "output", "pause", "pauses_1h", "pauses_5m", "reached")

    def __init__(self) -> None:
        self.pauses_5m = [0.0] * (SPANS + 1)
        self.pauses_1h = [0.0] * (SPANS + 1)
        self.reached = [0.0] * (OCTAVES + 1)
        # Each a sum, and how many went into it.
        self.pause = [0.0, 0.0]
        self.growth = [0.0, 0.0]
        self.output = [0.0, 0.0]
        self.bound = [0.0, 0.0]
        # Of the decisions after one where a cheap model would do: in how many it did again, and their number; then
        # the same after one where it would not.
        self.adequate = [0.0, 0.0, 0.0, 0.0]

    @property
    def requests(self) -> float:
        """How much was seen."""
        return self.growth[1] + self.reached[0]

    def count(self, before: Conversation | None, going: Conversation, *, bound: bool) -> None:
        """Count one request, and how it follows from the one before it."""
        octave = int(math.log2(going.requests))
        if going.requests == 1 << octave:
            self.reached[min(octave, OCTAVES)] += 1
        if before is None:
            return
        pause = max(going.at - before.at, 0.0)
        _spread(self.pauses_5m, pause, _SECONDS["5m"])
        _spread(self.pauses_1h, pause, _SECONDS["1h"])
        if pause <= _SECONDS["5m"]:
            _tally(self.pause, pause)
        _tally(self.growth, max(going.tokens - before.tokens, 0))
        _tally(self.bound, bound)
        if not bound and before.adequate is not None:
            place = 0 if before.adequate else 2
            self.adequate[place] += bool(going.adequate)
            self.adequate[place + 1] += 1

    def add_output(self, tokens: int) -> None:
        """Count a reply."""
        _tally(self.output, tokens)

    def outlook(self) -> Outlook:
        """What was seen, with the belief beside it."""
        again = _ADEQUATE_WEIGHT
        still, stills, anew, anews = self.adequate
        reached = [*self.reached[:OCTAVES], self.reached[OCTAVES]]
        return Outlook(
            pauses_5m=_pauses(self.pauses_5m, "5m"),
            pauses_1h=_pauses(self.pauses_1h, "1h"),
            pause=_mean(self.pause, _PAUSE_SECONDS, _PAUSES_WEIGHT),
            growth=_mean(self.growth, _GROWTH_TOKENS, _GROWTH_WEIGHT),
            output=_mean(self.output, _OUTPUT_TOKENS, _OUTPUT_WEIGHT),
            going_on=tuple(
                min((came + _GOING_ON * _GOING_ON_WEIGHT) / (were + _GOING_ON_WEIGHT), 1.0)
                for were, came in pairwise(reached)
            ),
            still_adequate=(still + _STILL_ADEQUATE * again) / (stills + again),
            adequate_again=(anew + _ADEQUATE_AGAIN * again) / (anews + again),
            bound=_mean(self.bound, 0.0, _BOUND_WEIGHT),
        )

    def to_dict(self) -> dict[str, list[float]]:
        """Plain JSON."""
        return {name: [round(one, 3) for one in getattr(self, name)] for name in self.__slots__}

    def add(self, told: Mapping[str, list[float]]) -> None:
        """Count what was told."""
        for name in self.__slots__:
            mine = getattr(self, name)
            mine[:] = [one + other for one, other in zip(mine, told.get(name, [0.0] * len(mine)), strict=True)]


def _tally(sums: list[float], value: float) -> None:
    sums[0] += value
    sums[1] += 1


def _mean(sums: list[float], belief: float, weight: float) -> float:
    return (sums[0] + belief * weight) / (sums[1] + weight)


def _spread(spans: list[float], seconds: float, ttl: float) -> None:
    """Count a pause in the two spans that it lies between, so that many short ones add up to what they last."""
    if seconds > ttl:
        spans[SPANS] += 1
        return
    place = min(seconds / ttl * SPANS, SPANS - 1)
    low = int(place)
    spans[low] += 1 - (place - low)
    if place > low:
        spans[low + 1] += place - low


def _pauses(seen: list[float], ttl: str) -> tuple[float, ...]:
    span = _SECONDS[ttl] / SPANS
    fading = [math.exp(-place * span / _PAUSE_SECONDS) for place in range(SPANS)]
    share, weight = _PAUSES_BEYOND[ttl]
    beyond = (seen[SPANS] + share * weight) / (sum(seen) + weight)
    within = [one + _PAUSES_WEIGHT * faded / sum(fading) for one, faded in zip(seen, fading, strict=False)]
    return (*(one / sum(within) * (1 - beyond) for one in within), beyond)


_UNSEEN = _Sums().outlook()
