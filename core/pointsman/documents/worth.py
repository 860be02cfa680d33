"""Whether a passage is worth laying where it stays, or only into the one prompt that it was retrieved for.

Knows prices relative to input, how conversations go on and how often passages come back; no text, no prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from pointsman.cache.returns import Chances
from pointsman.documents.recurrence import MOST_AGO, MOST_TIMES, Standing

_HORIZON = 24
"""Turns that are looked ahead over: few conversations are longer, and what comes then weighs next to nothing."""
_GONE = MOST_AGO + 1
_TIMES = range(1, MOST_TIMES + 1)
_AGO = range(_GONE + 1)


class Prices(NamedTuple):
    """Of a token, in units of the plain input price: to write it for one TTL, and to read it. `ttl` is that TTL."""

    ttl: str
    write: float
    read: float


class _Cost(NamedTuple):
    """What a token of a passage costs after a turn, if it stays or if it is laid only where it is retrieved."""

    kept: float
    loose: float


class Worth:
    """The turns at which it pays to keep a passage, by how often and how long ago it was retrieved.

    With w and r the prices of a write and a read, a and b the chances that the next request comes while the prefix is
    warm or once it is cold, and p that it retrieves the passage: kept, a token then costs
    K = a (r + K') + b (p min(w + K', 1 + L') + (1 - p) min(w + K', L')); loose, L = (a + b) (p min(w + K', 1 + L') +
    (1 - p) L'), each ' after that turn. It is kept where w + K < 1 + L, and left out of a prompt that has gone cold
    where w + K > L. Without the choice at later turns this is to keep it iff its expected returns exceed
    (w - 1) + r k for k remaining turns.
    """

    def __init__(self, prices: Prices, course: Sequence[Chances], chance: Callable[[Standing], float]) -> None:
        self._write, chance = prices.write, cache(chance)
        self._costs: list[dict[tuple[int, int], _Cost]] = [{} for _ in range(_HORIZON + 1)]
        self._costs[_HORIZON] = {(times, ago): _Cost(0.0, 0.0) for times in _TIMES for ago in _AGO}
        for turn in range(_HORIZON - 1, -1, -1):
            going = _going_on(prices.ttl, course[min(turn, len(course) - 1)])
            following = self._costs[turn + 1]
            for times in _TIMES:
                for ago in _AGO:
                    returns = chance(Standing.at(times, ago, turn)) if ago <= MOST_AGO else 0.0
                    again = following[min(times + 1, MOST_TIMES), 0]
                    away = following[times, min(ago + 1, _GONE)]
                    self._costs[turn][times, ago] = self._cost(prices, going, returns, again, away)

    def _cost(self, prices: Prices, going: tuple[float, float], returns: float, again: _Cost, away: _Cost) -> _Cost:
        write, read = prices.write, prices.read
        warm, cold = going
        anew = min(write + again.kept, 1.0 + again.loose)
        stays = read + returns * again.kept + (1.0 - returns) * away.kept
        rewritten = returns * anew + (1.0 - returns) * min(write + away.kept, away.loose)
        loose = (warm + cold) * (returns * anew + (1.0 - returns) * away.loose)
        return _Cost(warm * stays + cold * rewritten, loose)

    def gain(self, times: int, turn: int) -> float:
        """What is saved per token, in input tokens, by laying a passage that was just retrieved where it stays."""
        cost = self._at(times, 0, turn)
        return 1.0 + cost.loose - self._write - cost.kept

    def still_pays(self, times: int, ago: int, turn: int) -> bool:
        """Whether a passage that was laid earlier is worth writing again into a prompt that has gone cold."""
        cost = self._at(times, ago, turn)
        return self._write + cost.kept < (cost.loose if ago else 1.0 + cost.loose)

    def _at(self, times: int, ago: int, turn: int) -> _Cost:
        return self._costs[min(turn, _HORIZON)][min(times, MOST_TIMES), min(ago, _GONE)]


def _going_on(ttl: str, chances: Chances) -> tuple[float, float]:
    """The chances that the next request finds the prefix warm, and that it comes later within the hour."""
    if ttl == "1h":
        return chances.within_5m + chances.within_1h, 0.0
    return chances.within_5m, chances.within_1h
