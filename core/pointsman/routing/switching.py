"""What a switch of models costs the turns that follow: a value for each state that a conversation may be left in.

Two models at a time. What counts of a conversation are the model it is on, how long the other one hasn't been asked,
and how many tokens that one's cache lacks by now. From what is expected of the router's conversations, backward
induction over the next requests gives the least that the rest will cost on average from each state: a model may go
cold while the other answers, each pause may outlast the TTL, a cheap model may not do for the next request, prompts
grow through price tiers, and any request may be the last. Knows prices and expectations; chooses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pointsman.cache.courses import OCTAVES, SPANS, Outlook
from pointsman.catalog import Model
from pointsman.pricing import Price

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SECONDS = {"5m": 300.0, "1h": 3600.0}

# Requests that are looked ahead. For 5m, from 10 to 40 the bill differs by less than 0.2 %; for 1h, from 24 to 96 by
# less than 0.8 % (coding sessions).
_AHEAD = {"5m": 14, "1h": 24}
# Into how many spans the time is cut that a model hasn't been asked for: within an hour most pauses are short.
_SPANS = {"5m": SPANS, "1h": SPANS // 3}
# Tokens that a cache may lack, in multiples of a prompt's growth per request.
_LACKING = tuple(2.0**power for power in range(-3, 8))
# Values are computed for prompts of so many tokens per doubling, and interpolated between.
_SIZES_PER_OCTAVE = 2
_TABLES = 512


class Rates(NamedTuple):
    """USD per million tokens. `cacheable` is the longest prefix that is cached at all."""

    input: float
    read: float
    write: float
    output: float
    cacheable: float = math.inf

    @classmethod
    def of(cls, price: Price, model: Model, ttl: str | None) -> Rates | None:
        """One tier's; None where a price isn't known. What doesn't cache reads and writes at its input price."""
        if price.input is None or price.output is None:
            return None
        plain = float(price.input)
        write = price.cache_write.get(ttl or "5m", price.cache_write.get("5m"))
        if ttl is None or not model.cache.max_points or price.cache_read is None or write is None:
            return cls(plain, plain, plain, float(price.output))
        longest = model.cache.maximum_tokens or math.inf
        return cls(plain, float(price.cache_read), float(write), float(price.output), longest)


class Tariff(NamedTuple):
    """A model's rates by the length of the prompt: those of prompts longer than each number of tokens."""

    tiers: tuple[tuple[float, Rates], ...]

    @classmethod
    def of(cls, model: Model, ttl: str | None) -> Tariff | None:
        """None where a price isn't known. `ttl` is what it is written for; None where it isn't."""
        price = model.price
        if price is None:
            return None
        # Prices are kept by identity: they hold a dict, and reading one costs more than all the rest of a decision.
        key = id(price), ttl, model.cache.max_points > 0, model.cache.maximum_tokens
        known = _tariffs.get(key)
        if known is None or known[0] is not price:
            told = [(0.0, price), *((float(above), one) for above, one in price.tiers)]
            rates = [(above, Rates.of(one, model, ttl)) for above, one in told]
            tiers = tuple((above, one) for above, one in rates if one is not None)
            if len(_tariffs) >= _TABLES:
                _tariffs.clear()
            known = _tariffs[key] = (price, cls(tiers) if len(tiers) == len(rates) else None)
        return known[1]

    def at(self, tokens: float) -> Rates:
        """The rates of a prompt of that many tokens."""
        return next(rates for above, rates in reversed(self.tiers) if tokens > above or not above)


_tariffs: dict[tuple[int, str | None, bool, int | None], tuple[Price, Tariff | None]] = {}


class Standing(NamedTuple):
    """How a model stands in a conversation: tokens of the prompt that its cache lacks, and how long it wasn't asked.

    `age` is in seconds; None where nothing is warm.
    """

    tariff: Tariff
    lacking: float
    age: float | None


def added_later(dear: Standing, cheap: Standing, outlook: Outlook, *, ttl: str, tokens: int, requests: int) -> float:
    """What going to the cheap model now adds to the cost of what follows, in USD, against going to the dear one.

    Negative where it saves later on. `tokens` is the length of the prompt, `requests` how many there have been.
    """
    size = math.log2(max(tokens, 1)) * _SIZES_PER_OCTAVE
    octave = int(math.log2(requests)) if requests > 0 else 0
    after_dear = _state(cheap, outlook, ttl)
    after_cheap = _state(dear, outlook, ttl)
    added = 0.0
    for place, weight in ((int(size), 1 - size % 1), (int(size) + 1, size % 1)):
        if weight:
            on_dear, on_cheap = _values(dear.tariff, cheap.tariff, outlook, ttl, place, octave)
            added += weight * (_at(on_cheap, *after_cheap) - _at(on_dear, *after_dear))
    # Whatever follows, no more can be lost than one writing of this prompt: small ones lie below the grid.
    most, least = (standing.tariff.at(tokens).write * tokens for standing in (dear, cheap))
    return min(max(added, -least), most) * 1e-6


_Values = list[list[float]]


def _state(other: Standing, outlook: Outlook, ttl: str) -> tuple[int, float]:
    """Where the model that isn't asked stands: its span of the TTL, and its place among `_LACKING`."""
    spans = _SPANS[ttl]
    span = spans if other.age is None else min(int(other.age / SECONDS[ttl] * spans + 0.5), spans - 1)
    lacking = max(other.lacking, 1.0) / (outlook.growth * _LACKING[0])
    return span, min(max(math.log2(lacking), 0.0), len(_LACKING) - 1.0)


def _at(values: _Values, span: int, place: float) -> float:
    row, low = values[span], min(int(place), len(_LACKING) - 2)
    return row[low] + (row[low + 1] - row[low]) * (place - low)


@lru_cache(maxsize=_TABLES)
def _values(dear: Tariff, cheap: Tariff, outlook: Outlook, ttl: str, size: int, octave: int) -> tuple[_Values, _Values]:
    """Micro-USD that follow a request where both models would do: after the dear one answered, after the cheap one.

    By the span of the TTL that the other one hasn't been asked for, and by what it lacks.
    """
    tokens, requests = 2.0 ** (size / _SIZES_PER_OCTAVE), int(2 ** (octave + 0.5))
    lengths = [tokens + outlook.growth * step for step in range(1, _AHEAD[ttl] + 1)]
    ahead = _Ahead(outlook, ttl, [(dear.at(length), cheap.at(length)) for length in lengths], lengths)
    values = ahead.nothing()
    for step in range(_AHEAD[ttl], 0, -1):
        values = _survival(outlook, requests + step) * ahead.before(values, step - 1)
    on_dear, on_cheap = values[1].tolist()
    return on_dear, on_cheap


def _survival(outlook: Outlook, requests: int) -> float:
    """The chance that a conversation of so many requests has one more."""
    octave = min(int(math.log2(requests)), OCTAVES - 1)
    return float(outlook.going_on[octave] ** (0.5**octave))


class _Ahead:
    """The steps of the induction. Arrays are by whether a cheap model did last time, by the model that answered, by the
    span of the TTL that the other one hasn't been asked for, and by what it lacks.
    """

    def __init__(
        self, outlook: Outlook, ttl: str, rates: Sequence[tuple[Rates, Rates]], lengths: Sequence[float]
    ) -> None:
        import numpy as np  # Late: importing this package must not load it.

        self._outlook, self._spans = outlook, _SPANS[ttl]
        pauses = outlook.pauses_1h if ttl == "1h" else outlook.pauses_5m
        self._within, self._beyond = _fewer(np.array(pauses[:SPANS]), self._spans), pauses[SPANS]
        self._lacking = outlook.growth * np.array(_LACKING)
        self._grown = _between(self._lacking + outlook.growth, self._lacking)
        self._fresh = _between(np.array([outlook.growth]), self._lacking)[0]
        self._pause = np.arange(self._spans)[:, None]
        self._after = np.minimum(self._pause + np.arange(self._spans + 1)[None], self._spans)
        again, still = outlook.adequate_again, outlook.still_adequate
        self._next = np.array([[1 - again, again], [1 - still, still]])
        self._stay, self._switch, self._cold = self._bills(np.array(rates), np.array(lengths)[:, None, None])

    def nothing(self) -> NDArray[np.float64]:
        """Nothing follows."""
        import numpy as np

        return np.zeros((2, 2, self._spans + 1, len(_LACKING)))

    def before(self, later: NDArray[np.float64], step: int) -> NDArray[np.float64]:
        """What is to come before a request is sent, from what is to come after it."""
        import numpy as np

        stay, switch, cold = self._stay[step], self._switch[step], self._cold[step]
        staying = (stay[None, :, None, None] + later)[:, :, self._after]
        # The model that is left has been unasked for since the pause before this request, and lacks what is new in it.
        left = later[:, ::-1, : self._spans] @ self._fresh
        switching = (switch[None, ::-1, None] + left[:, :, :, None, None])[:, :, self._pause, self._after]
        gone = cold[None] + later[:, :, self._spans, -1]

        free = np.empty_like(staying)
        free[0, 0], free[0, 1] = staying[0, 0], switching[0, 1]
        np.minimum(staying[1], switching[1], out=free[1])
        free_and_cold = np.array([[gone[0, 0]] * 2, [gone[1].min()] * 2])

        decided = np.einsum("ps,smkl->pmkl", self._next, self._expected(free, free_and_cold))
        bound = self._outlook.bound
        return np.asarray((1 - bound) * decided + bound * self._expected(staying, gone) if bound else decided)

    def _bills(self, rates: Any, lengths: Any) -> tuple[Any, Any, Any]:
        """What each request costs on each model: if it answered the last one too, if the other did, if it is cold."""
        import numpy as np

        outlook = self._outlook
        warm = _bill(rates, lengths, self._lacking, outlook.output)
        cold = _bill(rates, lengths, lengths, outlook.output)
        switch = np.repeat(warm[:, :, None], self._spans + 1, axis=2)
        switch[:, :, self._spans] = cold
        return _bill(rates, lengths, np.array([outlook.growth]), outlook.output)[..., 0], switch, cold[..., 0]

    def _expected(self, warm: NDArray[np.float64], cold: NDArray[np.float64]) -> NDArray[np.float64]:
        """On average over the pauses before the request; one that outlasts the TTL leaves both models cold."""
        import numpy as np

        within = np.tensordot(warm, self._within, axes=([2], [0])) @ self._grown.T
        return np.asarray(within + self._beyond * cold[:, :, None, None])


def _bill(rates: Any, lengths: Any, lacking: Any, output: float) -> Any:
    """Micro-USD of requests by length, model, and what the model's cache lacks. `rates` are arrays of `Rates`."""
    import numpy as np

    plain, read_rate, write_rate, output_rate, cacheable = np.moveaxis(rates[..., None], 2, 0)
    cached = np.minimum(lengths, cacheable)
    read = np.clip(lengths - lacking, 0.0, cached)
    return read_rate * read + write_rate * (cached - read) + plain * (lengths - cached) + output_rate * output


def _fewer(pauses: NDArray[np.float64], spans: int) -> NDArray[np.float64]:
    """Shares of pauses in fewer and longer spans; each goes to the two that it lies between, so that the mean stays."""
    import numpy as np

    places = np.minimum(np.arange(len(pauses)) * spans / len(pauses), spans - 1.0)
    low = places.astype(int)
    fewer = np.bincount(low, pauses * (1 - (places - low)), spans + 1)
    fewer += np.bincount(low + 1, pauses * (places - low), spans + 1)
    return np.asarray(fewer[:spans])


def _between(values: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each value the weights of the grid's points around it, by their logarithms."""
    import numpy as np

    places = np.clip(np.log2(values / grid[0]), 0.0, len(grid) - 1.0)
    low = np.minimum(places.astype(int), len(grid) - 2)
    weights = np.zeros((len(values), len(grid)))
    rows = np.arange(len(values))
    weights[rows, low] = 1 - (places - low)
    weights[rows, low + 1] = places - low
    return weights
