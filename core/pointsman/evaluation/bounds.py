"""What the prompts of a log would have cost at least, had the future been known: a bound, and a bill.

Knows outlines, times, prices and the rules of caching; knows nothing of how a placement chooses. Output tokens are
left out: they cost the same however prompts are cached.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from heapq import nlargest
from math import inf
from typing import NamedTuple, Protocol

from pointsman.catalog import CacheRules, Model
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.billing import SECONDS, BillingSimulator, takes_point
from pointsman.evaluation.prefix_tree import ROOT, PrefixTree
from pointsman.outline import CachePoint, Outline
from pointsman.pricing import Price
from pointsman.usage import Usage

_TO_DOLLARS = -6


class TimedRequest(Protocol):
    """What is asked of a recorded request: when it was sent, in seconds, and the outline of its prompt."""

    @property
    def at(self) -> float:
        """When it was sent."""

    @property
    def outline(self) -> Outline:
        """Its prompt."""


def lower_bound(requests: Iterable[TimedRequest], model: Model, *, conservative: bool = True) -> Decimal:
    """USD that no placement goes below for these prompts on this model.

    Each token is read, written or sent plainly at each of its requests as is cheapest in hindsight, free of the number
    of points, the blocks' boundaries and the minimum. It is alive while its TTL, restarted by each read, has not
    passed; at each request the price is that of a prompt of its size. A request's first token is taken to
    come at once: TTLs run from `at`.

    With `conservative` a token keeps the TTL that it was written with. Otherwise a read may prolong it to an hour, as
    an entry of an hour behind it does at the local endpoint: the bound of `BillingSimulator(conservative=False)`.
    Neither bound holds for bills of the other reading.

    Raises:
        InvalidRequestError: the model's price for input is not known.
    """
    return _Hindsight(requests, model, conservative=conservative).bound


def best_within_rules(requests: Iterable[TimedRequest], model: Model) -> Decimal:
    """USD that these prompts cost with `clairvoyant_points`, billed conservatively.

    Not proven to be the least: a good bill within the rules by one who knows the future.

    Raises:
        InvalidRequestError: the model's price for input is not known.
    """
    rates = _Rates.of(model)
    return rates.dollars(rates.bill(usage for _, usage in _in_hindsight(requests, model)))


def clairvoyant_points(requests: Iterable[TimedRequest], model: Model) -> list[tuple[CachePoint, ...]]:
    """The points of each request, in the order of time, by one who knows all that will be asked.

    What the lower bound would write at a request is written as far as the cuts offered there, the minimum, the number
    of points and the order of the TTLs allow: a point where each later request parts. None at all, where these would
    cost more than they save.

    Raises:
        InvalidRequestError: the model's price for input is not known.
    """
    return [points for points, _ in _in_hindsight(requests, model)]


_Placed = list[tuple[tuple[CachePoint, ...], Usage]]
"""The points of each request, and what it uses with them."""


def _in_hindsight(requests: Iterable[TimedRequest], model: Model) -> _Placed:
    hindsight = _Hindsight(requests, model, conservative=True)
    simulator = BillingSimulator(conservative=True)
    placed: _Placed = []
    for request, gains in zip(hindsight.requests, hindsight.gains, strict=True):
        warm = simulator.readable(request.outline, model, request.at)
        points = _points(request.outline, gains, warm, model.cache)
        placed.append((points, simulator.bill(request.outline, points, model, request.at)))
    plain: _Placed = [((), Usage(input_tokens=usage.input_tokens)) for _, usage in placed]
    rates = _Rates.of(model)
    return min(placed, plain, key=lambda one: rates.bill(usage for _, usage in one))


class _Rate(NamedTuple):
    """What a token costs, in whole numbers of one small unit; infinite where it can't be had."""

    plain: int
    read: float
    written_5m: float
    written_1h: float

    def bill(self, usage: Usage) -> int:
        cost = usage.uncached_tokens * self.plain
        for tokens, rate in (
            (usage.cache_read_tokens, self.read),
            (usage.cache_write_5m_tokens, self.written_5m),
            (usage.cache_write_1h_tokens, self.written_1h),
        ):
            cost += tokens * int(rate) if tokens else 0
        return cost


class _Rates:
    """A model's rates for prompts of each size, as integers: no cent is lost, and sums are exact."""

    def __init__(self, price: Price, rules: CacheRules) -> None:
        self._price = price
        self._rules = rules
        self._known: dict[int, _Rate] = {}
        amounts = [amount for one in (price, *(tier for _, tier in price.tiers)) for amount in _amounts(one)]
        self._exponent = min(int(amount.as_tuple().exponent) for amount in amounts)

    @classmethod
    def of(cls, model: Model) -> _Rates:
        if model.price is None or model.price.input is None:
            raise InvalidRequestError(f"the price of {model.id!r} is not known. Give the model a Price.")
        return cls(model.price, model.cache)

    def at(self, tokens: int) -> _Rate:
        price = self._price.at(tokens)
        rate = self._known.get(id(price))
        if rate is None:
            rate = self._known[id(price)] = self._rate(price)
        return rate

    def bill(self, usages: Iterable[Usage]) -> int:
        """What they cost in all, each at the rate of its size."""
        return sum(self.at(usage.input_tokens).bill(usage) for usage in usages)

    def dollars(self, cost: int) -> Decimal:
        return Decimal(cost).scaleb(self._exponent + _TO_DOLLARS)

    def _rate(self, price: Price) -> _Rate:
        if price.input is None:
            raise InvalidRequestError("a tier of the price has no price for input. Give it one.")
        caches = self._rules.supported and price.cache_read is not None
        written = {ttl: price.cache_write.get(ttl) for ttl in self._rules.ttls} if caches else {}
        return _Rate(
            int(price.input.scaleb(-self._exponent)),
            self._units(price.cache_read if caches else None),
            self._units(written.get("5m")),
            self._units(written.get("1h")),
        )

    def _units(self, amount: Decimal | None) -> float:
        return inf if amount is None else int(amount.scaleb(-self._exponent))


def _amounts(price: Price) -> list[Decimal]:
    return [amount for amount in (price.input, price.cache_read, *price.cache_write.values()) if amount is not None]


class _Step(NamedTuple):
    """What a token costs from one of its requests on: if it is not in the cache then, or written for 5m, or for 1h."""

    rank: int
    cold: float
    warm_5m: float
    warm_1h: float


class _Gain(NamedTuple):
    """What is gained per token by writing it at a request, for all prefixes of at most `end` tokens."""

    end: int
    for_5m: float
    for_1h: float


class _Hindsight:
    """The cheapest treatment of every token, from its last request back to its first.

    Tokens between two cuts of the tree share their requests. From the leaves to the root, each stretch continues the
    sums of the longer one, as far as no other branch has joined: so each request is looked at about once.
    """

    def __init__(self, requests: Iterable[TimedRequest], model: Model, *, conservative: bool) -> None:
        self.requests = sorted(requests, key=lambda request: request.at)
        self.gains: list[list[_Gain]] = [[] for _ in self.requests]
        rates = _Rates.of(model)
        self._rates = [rates.at(request.outline.sums[-1] if request.outline.sums else 0) for request in self.requests]
        self._conservative = conservative
        self.bound = rates.dollars(self._cost(PrefixTree(request.outline for request in self.requests)))

    def _cost(self, tree: PrefixTree) -> int:
        ended: dict[int, list[int]] = {}
        for rank, leaf in enumerate(tree.leaves):
            ended.setdefault(leaf, []).append(rank)
        branches: dict[int, list[list[_Step]]] = {}
        cost = 0
        for cut in sorted(range(1, len(tree.parents)), key=tree.order, reverse=True):
            steps = self._joined(branches.pop(cut, []), ended.get(cut, []), tree.ends[cut])
            parent = tree.parents[cut]
            cost += (tree.ends[cut] - tree.ends[parent]) * int(steps[-1].cold)
            if parent != ROOT:
                branches.setdefault(parent, []).append(steps)
        return cost

    def _joined(self, branches: list[list[_Step]], ended: list[int], end: int) -> list[_Step]:
        """The steps of all requests that share a prefix of `end` tokens, last request first."""
        if not ended and len(branches) == 1:
            return branches[0]
        steps = max(branches, key=lambda branch: branch[0].rank, default=[])
        ranks = ended + [step.rank for branch in branches if branch is not steps for step in branch]
        latest = max(ranks)
        while steps and steps[-1].rank < latest:
            ranks.append(steps.pop().rank)
        for rank in sorted(ranks, reverse=True):
            steps.append(self._step(rank, steps[-1] if steps else None, end))
        return steps

    def _step(self, rank: int, following: _Step | None, end: int) -> _Step:
        rate = self._rates[rank]
        cold = after_5m = after_1h = 0.0
        if following is not None:
            gap = self.requests[following.rank].at - self.requests[rank].at
            cold = following.cold
            after_5m = following.warm_5m if gap < SECONDS["5m"] else cold
            after_1h = following.warm_1h if gap < SECONDS["1h"] else cold
        plain, for_5m, for_1h = rate.plain + cold, rate.written_5m + after_5m, rate.written_1h + after_1h
        self.gains[rank].append(_Gain(end, plain - for_5m, plain - for_1h))
        afresh = min(plain, for_5m, for_1h)
        prolonged = after_5m if self._conservative else min(after_5m, after_1h)
        return _Step(rank, afresh, min(afresh, rate.read + prolonged), min(afresh, rate.read + after_1h))


class _Segment(NamedTuple):
    """A stretch that could be written: the block that it ends with, and what is gained by writing it."""

    after: int
    for_5m: float
    for_1h: float


def _points(
    outline: Outline, gains: Sequence[_Gain], warm: CachePoint | None, rules: CacheRules
) -> tuple[CachePoint, ...]:
    """The points of one request that read what is warm and write what gains most."""
    if not rules.supported:
        return ()
    written = _chosen(_segments(outline, gains, warm, rules))
    points = _most_valuable(written, rules.max_points)
    if warm is None or not takes_point(outline, warm.after, rules):
        return points
    sight = rules.lookback_blocks + 1 if rules.lookback_blocks else 0
    if points and points[0].after - warm.after <= sight:
        return points
    points = _most_valuable(written, rules.max_points - 1)
    return (CachePoint(warm.after, points[0].ttl if points else warm.ttl), *points)


def _segments(
    outline: Outline, gains: Sequence[_Gain], warm: CachePoint | None, rules: CacheRules
) -> Iterator[_Segment]:
    """What lies behind the warm prefix, up to each cut that a later request shares, as near as one is offered."""
    sums = outline.sums
    before = warm.after if warm else -1
    for gain in reversed(gains):
        after = bisect_right(sums, gain.end) - 1
        while after > before and not takes_point(outline, after, rules):
            after -= 1
        tokens = sums[after] - (sums[before] if before >= 0 else 0) if after > before else 0
        if tokens:
            # What extends five minutes lives no longer, whatever is paid for it.
            for_1h = -inf if warm and warm.ttl == "5m" else tokens * gain.for_1h
            yield _Segment(after, tokens * gain.for_5m, for_1h)
            before = after


class _Choice(NamedTuple):
    """What is gained by writing the first `hours` segments for an hour and the others up to `kept` for 5 minutes."""

    gained: float = 0.0
    hours: int = 0
    kept: int = 0


def _chosen(segments: Iterable[_Segment]) -> list[tuple[CachePoint, float]]:
    """The segments worth writing as points, each with its gain; TTLs never rise from one to the next."""
    segments = list(segments)
    hours = minutes = ended = _Choice()
    for number, segment in enumerate(segments, start=1):
        ended = max(ended, minutes, hours)
        longest = max(minutes, hours)
        minutes = _Choice(longest.gained + segment.for_5m, longest.hours, number)
        hours = _Choice(hours.gained + segment.for_1h, number, number)
    best = max(ended, minutes, hours)
    return [
        (CachePoint(segment.after, "1h"), segment.for_1h)
        if number < best.hours
        else (CachePoint(segment.after, "5m"), segment.for_5m)
        for number, segment in enumerate(segments[: best.kept])
    ]


def _most_valuable(written: Sequence[tuple[CachePoint, float]], most: int) -> tuple[CachePoint, ...]:
    """At most so many of the points, those that gain most."""
    return tuple(sorted(point for point, _ in nlargest(most, written, key=lambda one: one[1])))
