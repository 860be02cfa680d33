"""How often a passage that was retrieved is retrieved again in the same conversation, learnt for each knowledge base.

Knows counts only: no text, no prices. Whether a passage came back is known with the next retrieval, so that returns
and absences are counted alike.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Any, NamedTuple

import orjson

MOST_TIMES = 4
MOST_AGO = 2
"""A passage that wasn't retrieved for more turns than this is taken for one that doesn't come back."""

# The first question sets the topic: what it found comes back more often than what was found later.
_TURNS = (1, 2, 3, 5)
# What is rare is drawn to its kind at large with the weight of so many observations; a knowledge base to all others
# with that of some conversations. Chosen on the first half of MTRAG (training/recurrence.py).
_DRAWN = 10.0
_OVERALL_WEIGHT = 50.0
_BELIEF_WEIGHT = 100.0
_UNKNOWN = 0.2
_MOST_SEEN = 4000.0
_MOST_KNOWLEDGE_BASES = 256
_DIGEST_BYTES = 8

_Counts = dict["Standing", list[float]]


class Standing(NamedTuple):
    """Where a passage stands at a retrieval: how many `times` it was retrieved, how many turns `ago`, at which `turn`.

    `times` are from 1 to `MOST_TIMES`, `ago` is 0 if it was just retrieved, `turn` counts from 0 and is grouped.
    """

    times: int
    ago: int
    turn: int

    @classmethod
    def at(cls, times: int, ago: int, turn: int) -> Standing:
        """The group that counts are kept for."""
        return cls(min(times, MOST_TIMES), min(ago, MOST_AGO), bisect_right(_TURNS, turn))


class Recurrence:
    """The chance that a passage comes back with the next retrieval. Thread-safe, in memory, bounded.

    Args:
        belief: counts (returned, observed) by standing to begin with; by default what the package ships, learnt from
            public conversations (see benchmarks/documents.md).
        key: what names of knowledge bases are keyed with, where processes share what they count.
    """

    def __init__(self, belief: Mapping[Standing, Iterable[float]] | None = None, *, key: bytes = b"") -> None:
        self._belief = _shipped() if belief is None else belief
        self._key = key[:64]
        self._overall: _Counts = {}
        self._of: OrderedDict[str, _Counts] = OrderedDict()
        self._new: dict[str, _Counts] = {}
        self._lock = threading.Lock()
        self.counted = 0
        """How many returns and absences have been counted: what rests on them may be kept until it changes."""

    def observe(self, knowledge_base: str | None, standing: Standing, *, returned: bool) -> None:
        """Count whether a passage of such a standing was among what the next retrieval returned."""
        with self._lock:
            self._count(self._name(knowledge_base), standing, float(returned), 1.0)

    def chance(self, knowledge_base: str | None, standing: Standing) -> float:
        """How likely such a passage is to be among what the next retrieval returns."""
        own = self._of.get(self._name(knowledge_base), {})
        chance = _UNKNOWN
        for coarser in (None, standing._replace(turn=-1), standing):
            chance = _beside(self._belief.get(coarser or _ALL), chance, _DRAWN)
        chance = _beside(self._overall.get(standing), chance, _BELIEF_WEIGHT)
        return _beside(own.get(standing), chance, _OVERALL_WEIGHT)

    def take_delta(self) -> dict[str, Any]:
        """What was counted since the last time, as plain JSON for `add`: so that processes learn from each other.

        The ledger's lock is held.
        """
        delta, self._new = _told(self._new), {}
        return delta

    def add(self, delta: Mapping[str, Any]) -> None:
        """Count what another process, or an earlier one, has counted."""
        with self._lock:
            new, self._new = self._new, {}
            for name, rows in delta.items():
                for standing, returned, observed in rows:
                    self._count(name, Standing(*standing), returned, observed)
            self._new = new

    def to_dict(self) -> dict[str, Any]:
        """All that was counted, as plain JSON for `add`. Knowledge bases are in it by keyed digests only."""
        return _told(self._of)

    def _name(self, knowledge_base: str | None) -> str:
        return blake2b((knowledge_base or "").encode(), key=self._key, digest_size=_DIGEST_BYTES).hexdigest()

    def _count(self, name: str, standing: Standing, returned: float, observed: float) -> None:
        for counts in (self._overall, self._of.setdefault(name, {}), self._new.setdefault(name, {})):
            seen = counts.setdefault(standing, [0.0, 0.0])
            seen[0] += returned
            seen[1] += observed
            if seen[1] > _MOST_SEEN:
                seen[:] = [seen[0] / 2, seen[1] / 2]
        self._of.move_to_end(name)
        if len(self._of) > _MOST_KNOWLEDGE_BASES:
            self._of.popitem(last=False)
        self.counted += int(observed)


_ALL = Standing(0, 0, -1)
"""The standing that all are counted under, in a belief; one whose `turn` is -1 is counted at any turn."""


def beliefs_of(observed: Iterable[tuple[Standing, bool]]) -> dict[Standing, list[float]]:
    """Counts (returned, observed) as a belief holds them: by standing, at any turn, and over all."""
    counts: dict[Standing, list[float]] = {}
    for standing, returned in observed:
        for key in (_ALL, standing._replace(turn=-1), standing):
            seen = counts.setdefault(key, [0.0, 0.0])
            seen[0] += returned
            seen[1] += 1
    return counts


def _beside(seen: Iterable[float] | None, believed: float, weight: float) -> float:
    returned, observed = seen or (0.0, 0.0)
    return (returned + weight * believed) / (observed + weight)


def _told(counts: Mapping[str, _Counts]) -> dict[str, Any]:
    return {
        name: [
            [list(standing), round(returned, 3), round(observed, 3)] for standing, (returned, observed) in of.items()
        ]
        for name, of in counts.items()
    }


@cache
def _shipped() -> Mapping[Standing, Iterable[float]]:
    told = orjson.loads(files("pointsman").joinpath("data/recurrence.json").read_bytes())
    return {Standing(*standing): (returned, observed) for standing, returned, observed in told["belief"]}
