"""How long prefixes wait to be read again: waiting times by kind of prefix, counted as they become known.

Knows kinds only by name, and no prompt. Whether a prefix came back within the hour is known an hour later, while a
return is known at once: to count both as they come in would make returns look likelier than they are. So a stretch
of waiting counts when it is over, for the prefixes that came back in it and for those that didn't alike.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import exp, log
from typing import Any, NamedTuple

Kind = tuple[str | int, ...]
"""A kind of prefix; the names are those of `pointsman.cache.reuse`."""

Hazards = tuple[float, ...]
"""For each span of waiting, the chance that a prefix which has waited so long comes back in it."""

SPANS = (60.0, 150.0, 300.0, 600.0, 1200.0, 2000.0, 2800.0, 3600.0)
"""Where the spans of waiting end, in seconds. Fine ones, since the chance falls steeply within a TTL."""
_WITHIN_5M = SPANS.index(300.0) + 1

# Requests that the first belief, and what all applications showed, count for against what was seen. On the traces in
# benchmarks/caching.md the belief holds, and from 50 to 1,000 it makes next to no difference; where it is wrong, as of
# system prompts that are others each time, all is paid until it has been contradicted.
_BELIEF_WEIGHT = 50.0
_OVERALL_WEIGHT = 100.0
# Beyond this many, what was seen counts half: traffic changes.
_MOST_SEEN = 4000.0
_MOST_WAITING = 65_536
_MOST_APPLICATIONS = 256
# A clock may be corrected, and requests be booked out of order; more than this, and it has been set back.
_BACKWARDS_SECONDS = 60.0
# No chance is so sure that what was seen couldn't contradict it.
_LEAST_CHANCE = 1e-3

Belief = Callable[[Kind], Hazards | None]
"""What is believed of a kind before anything was seen; None where it says nothing."""


class Chances(NamedTuple):
    """How likely a prefix is to be asked for again: within five minutes of its last request, or later in the hour."""

    within_5m: float
    within_1h: float

    @property
    def never(self) -> float:
        """The chance that it doesn't come back within the hour."""
        return 1.0 - self.within_5m - self.within_1h


def away(hazards: Hazards, seconds: float) -> float:
    """The chance that a prefix hasn't come back after so many seconds, the chance of a span spread evenly over it.

    What comes after the last span isn't known: there, nothing more comes back.
    """
    left, begins = 1.0, 0.0
    for end, hazard in zip(SPANS, hazards, strict=True):
        if seconds <= begins:
            break
        left *= (1.0 - hazard) ** (min(seconds - begins, end - begins) / (end - begins))
        begins = end
    return left


class Waiting:
    """A prefix that was just asked for. `waited` is how long it was until it was asked for again; None until then."""

    __slots__ = ("application", "kind", "since", "waited")

    def __init__(self, kind: Kind, application: bytes | None, since: float) -> None:
        self.kind = kind
        self.application = application
        self.since = since
        self.waited: float | None = None

    def returned(self, now: float) -> None:
        """It was asked for again; only the first time counts."""
        if self.waited is None:
            self.waited = max(now - self.since, 0.0)


class _Seen:
    """Of the prefixes that had waited up to a span: how many came back in it, and how many there were."""

    __slots__ = ("returned", "waited")

    def __init__(self) -> None:
        self.returned = [0.0] * len(SPANS)
        self.waited = [0.0] * len(SPANS)

    def count(self, span: int, returned: float, waited: float) -> None:
        self.returned[span] += returned
        self.waited[span] += waited
        if self.waited[span] > _MOST_SEEN:
            self.returned[span] /= 2
            self.waited[span] /= 2

    def beside(self, belief: Hazards, weight: float) -> Hazards:
        """A belief of that weight, corrected by what was seen."""
        return tuple(
            [
                (returned + weight * believed) / (waited + weight)
                for returned, waited, believed in zip(self.returned, self.waited, belief, strict=True)
            ]
        )

    def log_likelihood(self, believed: Hazards) -> float:
        """How well a belief foretold what was seen."""
        sure = [min(max(hazard, _LEAST_CHANCE), 1.0 - _LEAST_CHANCE) for hazard in believed]
        return sum(
            returned * log(hazard) + max(waited - returned, 0.0) * log(1.0 - hazard)
            for returned, waited, hazard in zip(self.returned, self.waited, sure, strict=True)
        )


def mixed(beliefs: Sequence[Hazards], weights: Sequence[float]) -> Hazards:
    """The hazards of a prefix of which it isn't known which belief holds: who is still away tells that too."""
    away = list(weights)
    hazards = []
    for span in zip(*beliefs, strict=True):
        left = sum(away)
        hazards.append(sum(weight * hazard for weight, hazard in zip(away, span, strict=True)) / left if left else 0.0)
        away = [weight * (1.0 - hazard) for weight, hazard in zip(away, span, strict=True)]
    return tuple(hazards)


class Returns:
    """Waiting times by kind of prefix, over all and by application. Not thread-safe: the ledger's lock guards it.

    Args:
        belief: what is believed of a kind before anything was seen.
        tempos: beliefs of which one or another holds for an application, instead: people who chat come back within
            minutes, people who work within the hour. What has come back tells which.
    """

    def __init__(self, belief: Callable[[Kind], Hazards], *, tempos: Sequence[Belief] = ()) -> None:
        self._belief = belief
        self._tempos = tempos
        self._overall: dict[Kind, _Seen] = {}
        self._applications: OrderedDict[bytes, dict[Kind, _Seen]] = OrderedDict()
        self._waiting: list[deque[Waiting]] = [deque() for _ in SPANS]
        self._under_watch = 0
        self._new: dict[Kind, _Seen] = {}
        self._latest = float("-inf")
        self.counted = 0
        """How many waits have been counted: what rests on them may be kept until it changes."""

    def knows(self, application: bytes | None) -> bool:
        """Whether anything was counted for that application alone."""
        return application in self._applications

    def hazards(self, kind: Kind, application: bytes | None = None) -> Hazards:
        """For each of `SPANS`, the chance that such a prefix, having waited so long, comes back in it."""
        hazards = self._believed(kind, application)
        if (seen := self._overall.get(kind)) is not None:
            hazards = seen.beside(hazards, _BELIEF_WEIGHT)
        if application is not None and (own := self._applications.get(application, {}).get(kind[:2])) is not None:
            hazards = own.beside(hazards, _OVERALL_WEIGHT)
        return hazards

    def _believed(self, kind: Kind, application: bytes | None) -> Hazards:
        told = [(tempo, hazards) for tempo in self._tempos if (hazards := tempo(kind)) is not None]
        if not told:
            return self._belief(kind)
        # A conversation that went on: how soon it does is what tempos differ in.
        going_on = (kind[0], "known")
        seen = self._applications.get(application, {}).get(going_on) if application is not None else None
        logs = [seen.log_likelihood(tempo(going_on) or hazards) if seen else 0.0 for tempo, hazards in told]
        return mixed([hazards for _, hazards in told], [exp(one - max(logs)) for one in logs])

    def chances(self, kind: Kind, application: bytes | None = None) -> Chances:
        """What is expected of a kind of prefix, in an application where that is known."""
        still_away, after_5m = 1.0, 1.0
        for span, hazard in enumerate(self.hazards(kind, application)):
            still_away *= 1.0 - hazard
            if span < _WITHIN_5M:
                after_5m = still_away
        return Chances(1.0 - after_5m, after_5m - still_away)

    def watch(self, kind: Kind, application: bytes | None, now: float) -> Waiting:
        """A prefix of that kind was asked for."""
        waiting = Waiting(kind, application, now)
        if self._under_watch < _MOST_WAITING:
            self._under_watch += 1
            self._waiting[0].append(waiting)
        return waiting

    def pass_time(self, now: float) -> None:
        """Count the spans of waiting that are over."""
        if now < self._latest - _BACKWARDS_SECONDS:
            for queue in self._waiting:
                queue.clear()
            self._under_watch = 0
            self._latest = now
        self._latest = max(self._latest, now)
        for span, end in enumerate(SPANS):
            queue = self._waiting[span]
            while queue and queue[0].since + end <= now:
                waiting = queue.popleft()
                waits_on = self._settle(waiting, span) and span + 1 < len(SPANS)
                if waits_on:
                    self._waiting[span + 1].append(waiting)
                else:
                    self._under_watch -= 1

    def _settle(self, waiting: Waiting, span: int) -> bool:
        """Count a span of waiting that is over; whether the wait goes on.

        A return may become known when its span has been counted already: a reply took its time, or another process
        told of it. Then what was counted too much is taken back.
        """
        came = len(SPANS) if waiting.waited is None else bisect_left(SPANS, waiting.waited)
        if came >= span:
            self._count(waiting, span, returned=came == span, waited=1)
            return came > span
        self._count(waiting, came, returned=1, waited=0)
        for mistaken in range(came + 1, span):
            self._count(waiting, mistaken, returned=0, waited=-1)
        return False

    def _count(self, waiting: Waiting, span: int, *, returned: int, waited: int) -> None:
        kind, application = waiting.kind, waiting.application
        for table in (self._overall, self._new):
            table.setdefault(kind, _Seen()).count(span, returned, waited)
        if application is not None:
            own = self._applications.setdefault(application, {})
            own.setdefault(kind[:2], _Seen()).count(span, returned, waited)
            self._applications.move_to_end(application)
            if len(self._applications) > _MOST_APPLICATIONS:
                self._applications.popitem(last=False)
        self.counted += 1

    def take_delta(self) -> dict[str, Any]:
        """What was counted since the last time, as plain JSON for `add`: so that processes learn from each other."""
        delta, self._new = _told(self._new.items()), {}
        return delta

    def add(self, delta: Mapping[str, Any]) -> None:
        """Count what another process, or an earlier one, has counted."""
        for name, (returned, waited) in delta.items():
            seen = self._overall.setdefault(_kind(name), _Seen())
            for span in range(len(SPANS)):
                seen.count(span, returned[span], waited[span])
                self.counted += int(waited[span])

    def to_dict(self) -> dict[str, Any]:
        """All that was counted, as plain JSON for `add`. Applications are not in it: digests stay in the process."""
        return _told(self._overall.items())


def _told(seen: Iterable[tuple[Kind, _Seen]]) -> dict[str, Any]:
    return {
        " ".join(map(str, kind)): [[round(n, 3) for n in one.returned], [round(n, 3) for n in one.waited]]
        for kind, one in seen
    }


def _kind(name: str) -> Kind:
    return tuple(int(word) if word.isdigit() else word for word in name.split())
