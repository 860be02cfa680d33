"""The clairvoyant bound and the clairvoyant policy: by hand, against brute force, and against random placements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import combinations, product
from random import Random
from typing import Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.catalog import CacheRules, Model
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.billing import BillingSimulator
from pointsman.evaluation.bounds import best_within_rules, clairvoyant_points, lower_bound
from pointsman.evaluation.prefix_tree import PrefixTree
from pointsman.outline import Block, CachePoint, Outline
from pointsman.pricing import Price, cost_of


class Sent(NamedTuple):
    at: float
    outline: Outline


RULES: Final = CacheRules(
    minimum_tokens=1,
    max_points=4,
    sections=frozenset({"messages"}),
    ttls=("5m", "1h"),
    lookback_blocks=20,
    with_tool_results=True,
)
# USD per million tokens: the bill of a million tokens is the factor.
PRICE: Final = Price(input=1, output=99, cache_read="0.1", cache_write={"5m": "1.25", "1h": 2})
MODEL: Final = Model(id="any", invoke_id="any", name="Any", cache=RULES, price=PRICE)
MILLION: Final = 1_000_000


def outline(path: str, cuts: Sequence[int] | None = None, tokens: int = MILLION) -> Outline:
    """One token stretch per letter, cut after each of them or only at `cuts` and the end."""
    ends = [end for end in range(1, len(path) + 1) if cuts is None or end in cuts or end == len(path)]
    starts = [0, *ends]
    return Outline.of_blocks(
        Block("messages", "user", "text", path[:end].encode(), tokens * (end - start))
        for start, end in zip(starts, ends, strict=False)
    )


def sent(*requests: tuple[float, str], tokens: int = MILLION) -> list[Sent]:
    return [Sent(at, outline(path, tokens=tokens)) for at, path in requests]


def billed(
    requests: Sequence[Sent], points: Sequence[Sequence[CachePoint]], model: Model, *, conservative: bool
) -> Decimal:
    simulator = BillingSimulator(conservative=conservative)
    total = Decimal(0)
    for request, laid in zip(requests, points, strict=True):
        cost = cost_of(simulator.bill(request.outline, laid, model, request.at), model.price).total
        assert cost is not None
        total += cost
    return total


# --- by hand ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requests", "bound", "points"),
    [
        ([(0, "a")], "1", [()]),
        # Within five minutes: written for five minutes, then read.
        ([(0, "a"), (100, "a")], "1.35", [[(0, "5m")], [(0, "5m")]]),
        # Within the hour: 2 + .1 is dearer than sending it plainly twice.
        ([(0, "a"), (1000, "a")], "2", [(), ()]),
        # Two returns within the hour: 2 + .1 + .1 against 3.
        ([(0, "a"), (1000, "a"), (2000, "a")], "2.2", [[(0, "1h")], [(0, "1h")], [(0, "1h")]]),
        # After the hour nothing lives.
        ([(0, "a"), (3600, "a")], "2", [(), ()]),
        # A growing conversation: each stretch is written once, the last is plain.
        ([(0, "a"), (9, "ab"), (18, "abc")], "1.25 + .1 + 1.25 + .1 + .1 + 1", None),
        # Two branches share their beginning only.
        ([(0, "ab"), (9, "ac")], "1.25 + 1 + .1 + 1", [[(0, "5m")], [(0, "5m")]]),
        # One stretch is asked for again within the hour, the one behind it within five minutes.
        (
            [(0, "ab"), (9, "ab"), (1009, "a"), (2009, "a")],
            "2.3 + 1.35",
            [[(0, "1h"), (1, "5m")], [(1, "5m")], [(0, "1h")], [(0, "1h")]],
        ),
        # The gap behind the second request is long for both stretches, but b was asked for too seldom to pay.
        ([(0, "a"), (9, "ab"), (1009, "ab")], "2.2 + 2", None),
    ],
)
def test_bounds_computed_by_hand(
    requests: list[tuple[float, str]], bound: str, points: list[list[tuple[int, str]]] | None
) -> None:
    """USD for stretches of a million tokens; and what the clairvoyant policy does about them."""
    assert lower_bound(sent(*requests), MODEL) == sum(Decimal(part) for part in bound.split("+"))
    if points is not None:
        assert clairvoyant_points(sent(*requests), MODEL) == [
            tuple(CachePoint(*point) for point in laid) for laid in points
        ]


def test_hindsight_places_nothing_where_that_is_cheapest() -> None:
    """One prompt has no cut where another parts: what is written of both costs more than it saves."""
    model = replace(MODEL, price=replace(PRICE, cache_read=Decimal("0.025")))
    requests = [Sent(0, outline("a")), Sent(0, outline("aa", cuts=())), Sent(300, outline("aa"))]
    assert clairvoyant_points(requests, model) == [(), (), ()]
    assert best_within_rules(requests, model) == 5


def test_the_order_in_which_requests_are_given_does_not_matter() -> None:
    requests = sent((0, "a"), (100, "ab"), (2000, "ab"))
    assert lower_bound(requests[::-1], MODEL) == lower_bound(requests, MODEL)
    assert best_within_rules(requests[::-1], MODEL) == best_within_rules(requests, MODEL)


def test_a_tier_prices_the_whole_prompt() -> None:
    """Above its limit a prompt costs five times as much, what it reads and writes too."""
    dear = Price(input=5, output=0, cache_read="0.5", cache_write={"5m": "6.25", "1h": 10})
    model = replace(MODEL, price=replace(PRICE, tiers=((MILLION, dear),)))
    assert lower_bound(sent((0, "a"), (9, "ab")), model) == Decimal("1.25") + Decimal("0.5") + 5
    assert best_within_rules(sent((0, "a"), (9, "ab")), model) == Decimal("6.75")


def test_a_model_without_a_cache_costs_the_plain_price() -> None:
    for model in (replace(MODEL, cache=CacheRules()), replace(MODEL, price=Price(input=1, output=1))):
        assert lower_bound(sent((0, "a"), (9, "a")), model) == 2
        assert best_within_rules(sent((0, "a"), (9, "a")), model) == 2


@pytest.mark.parametrize("price", [None, Price(input=None, output=1)])
def test_a_model_of_unknown_price_is_an_error(price: Price | None) -> None:
    with pytest.raises(InvalidRequestError, match="price"):
        lower_bound(sent((0, "a")), replace(MODEL, price=price))


def test_no_cent_is_lost_to_a_float() -> None:
    price = Price(input="0.1234567", output=0, cache_read="0.01", cache_write={"5m": "0.2"})
    model = replace(MODEL, price=price, cache=replace(RULES, ttls=("5m",)))
    assert lower_bound(sent((0, "a"), tokens=3), model) == Decimal("0.1234567") * 3 / MILLION


def test_a_prompt_without_blocks_costs_nothing() -> None:
    assert lower_bound([Sent(0, Outline.of_blocks([]))], MODEL) == 0
    assert best_within_rules([Sent(0, Outline.of_blocks([]))], MODEL) == 0


def test_without_an_hour_there_are_five_minutes_only() -> None:
    model = replace(MODEL, cache=replace(RULES, ttls=("5m",)))
    assert lower_bound(sent((0, "a"), (1000, "a"), (2000, "a")), model) == 3


def test_a_read_prolongs_what_was_written_for_less_only_where_that_is_believed() -> None:
    """Written for 5 minutes, read with a stretch of an hour behind it, and read again after twenty minutes."""
    requests = sent((0, "a"), (9, "ab"), (1209, "ab"), (2409, "ab"))
    assert lower_bound(requests, MODEL) == Decimal("2.3") + Decimal("2.2")
    assert lower_bound(requests, MODEL, conservative=False) == Decimal("1.55") + Decimal("2.2")


def test_outlines_that_are_cut_differently_share_what_any_of_them_knows() -> None:
    """The first two share `a`, the last two `ab`; so the first and the last share `a` too."""
    requests = [Sent(0, outline("ac", [1])), Sent(9, outline("abd", [1, 2])), Sent(18, outline("abe", [2]))]
    assert lower_bound(requests, MODEL) == Decimal("1.25 ") + Decimal("0.2") + 1 + Decimal("1.35") + 1 + 1


def test_of_two_cuts_without_tokens_between_them_either_may_be_first() -> None:
    """An image that can't be counted: the first outline has no cut before it, the second has."""
    before, behind = Block("messages", "user", "text", b"a", MILLION), Block("messages", "user", "image", b"ab", None)
    requests = [
        Sent(0, Outline.of_blocks([behind._replace(tokens=MILLION)])),
        Sent(9, Outline.of_blocks([before, behind])),
    ]
    assert lower_bound(requests, MODEL) == lower_bound(requests[::-1], MODEL) == Decimal("1.35")


# --- the policy keeps the rules ------------------------------------------------------------------------------------


def test_nothing_below_the_minimum_or_above_the_maximum_is_written() -> None:
    model = replace(MODEL, cache=replace(RULES, minimum_tokens=2 * MILLION, maximum_tokens=3 * MILLION))
    assert clairvoyant_points(sent((0, "abcd"), (9, "abcd")), model) == [(CachePoint(2),)] * 2
    assert clairvoyant_points(sent((0, "a"), (9, "a")), model) == [(), ()]


def test_without_a_look_back_a_point_stands_where_the_read_is() -> None:
    model = replace(MODEL, cache=replace(RULES, lookback_blocks=0))
    points = clairvoyant_points(sent((0, "a"), (9, "ab"), (18, "ab")), model)
    assert points == [(CachePoint(0),), (CachePoint(0), CachePoint(1)), (CachePoint(1),)]


def test_a_read_beyond_the_look_back_gets_a_point_of_its_own() -> None:
    long = "a" + "b" * 30
    points = clairvoyant_points(sent((0, "a"), (9, long), (18, long)), MODEL)
    assert points == [(CachePoint(0),), (CachePoint(0), CachePoint(30)), (CachePoint(30),)]


def test_nothing_is_written_for_an_hour_behind_what_lives_five_minutes() -> None:
    """`a` is asked for so often that five minutes suffice; then an hour for `b` would be paid in vain."""
    often = [(250.0 * number, "a") for number in range(10)]
    requests = sent(*sorted([*often, (10.0, "ab"), (1010.0, "ab"), (2010.0, "ab")]))
    points = dict(zip([request.at for request in requests], clairvoyant_points(requests, MODEL), strict=True))
    assert points[10.0] == points[1010.0] == (CachePoint(0, "5m"),)


def test_the_most_valuable_points_are_kept() -> None:
    """Of the five places where branches part, the one with the least before it is left out."""
    paths = ["aaaabbbbccccddddee", "aaaabbbbccccddddx", "aaaabbbbccccx", "aaaabbbbx", "aaaax", "ax"]
    points = clairvoyant_points(sent(*((9.0 * at, path) for at, path in enumerate(paths))), MODEL)
    assert points[0] == tuple(CachePoint(after) for after in (3, 7, 11, 15))


# --- against brute force and random placements ---------------------------------------------------------------------

GAPS: Final = (0, 10, 200, 300, 1000, 3599, 3600)
_gaps = st.sampled_from(GAPS)
_prices = st.builds(
    lambda read, minutes, hour: Price(input=1, output=0, cache_read=read, cache_write={"5m": minutes, "1h": hour}),
    st.sampled_from(["0.025", "0.1", "0.25"]),
    st.sampled_from(["1", "1.25"]),
    st.sampled_from(["1.5", "2"]),
)
_cuts = st.sets(st.integers(1, 3))


@st.composite
def _logs(draw: st.DrawFn, most: int = 6, longest: int = 4) -> list[Sent]:
    now, requests = 0.0, []
    for _ in range(draw(st.integers(1, most))):
        now += draw(_gaps)
        requests.append(Sent(now, outline(draw(st.text("ab", min_size=1, max_size=longest)), [*draw(_cuts)], 10)))
    return requests


@settings(max_examples=300, deadline=None)
@given(requests=_logs(most=5), price=_prices)
def test_the_bound_is_the_best_of_all_treatments_of_every_token(requests: list[Sent], price: Price) -> None:
    """Every way to treat a token at each of the requests whose prompts begin as its own, by brute force."""
    model = replace(MODEL, price=price)
    finely = [Sent(request.at, outline(path_of(request), tokens=1)) for request in requests]
    prefixes = {path_of(request)[:end] for request in requests for end in range(1, len(path_of(request)) + 1)}
    sharing = [[request.at for request in requests if path_of(request).startswith(prefix)] for prefix in prefixes]
    for conservative in (True, False):
        best = sum(min(_treated(times, price, conservative)) for times in sharing)
        assert lower_bound(finely, model, conservative=conservative) * MILLION == best


def path_of(request: Sent) -> str:
    return request.outline.blocks[-1].digest.decode()


def _treated(times: Sequence[float], price: Price, conservative: bool) -> Iterator[Decimal]:
    """What one token costs by each sequence of treatments; a read that finds nothing is none."""
    begun: list[tuple[Decimal, float, str]] = [(Decimal(0), float("-inf"), "5m")]
    for at in times:
        begun = [after for before in begun for after in _once_more(*before, at, price, conservative)]
    for cost, _, _ in begun:
        yield cost


def _once_more(
    cost: Decimal, expires: float, ttl: str, at: float, price: Price, conservative: bool
) -> Iterator[tuple[Decimal, float, str]]:
    seconds = {"5m": 300, "1h": 3600}
    assert price.cache_read is not None
    yield cost + 1, expires, ttl
    for written, factor in price.cache_write.items():
        yield cost + factor, at + seconds[written], written
    if at < expires:
        for lives in {ttl} if conservative else {ttl, "1h"}:
            yield cost + price.cache_read, at + seconds[lives], lives


@settings(max_examples=500, deadline=None)
@given(requests=_logs(), price=_prices, lookback=st.integers(0, 3), random=st.randoms(use_true_random=False))
def test_no_legal_placement_goes_below_the_bound(
    requests: list[Sent], price: Price, lookback: int, random: Random
) -> None:
    """Random placements, billed by the simulator both ways."""
    model = replace(MODEL, price=price, cache=replace(RULES, lookback_blocks=lookback, minimum_tokens=15))
    for _ in range(5):
        points = [_random_points(request.outline, random) for request in requests]
        for conservative in (True, False):
            bound = lower_bound(requests, model, conservative=conservative)
            assert bound <= billed(requests, points, model, conservative=conservative)


def _random_points(prompt: Outline, random: Random) -> list[CachePoint]:
    number = random.randint(0, len(prompt.blocks))
    ttls = sorted(random.choice(["5m", "1h"]) for _ in range(number))
    return [CachePoint(at, ttl) for at, ttl in zip(sorted(random.sample(range(len(prompt.blocks)), number)), ttls)]  # noqa: B905


@settings(max_examples=60, deadline=None)
@given(requests=_logs(most=3, longest=3), price=_prices)
def test_the_clairvoyant_policy_lies_between_the_bound_and_no_caching(requests: list[Sent], price: Price) -> None:
    """And no better than the best of all placements, tried one by one."""
    model = replace(MODEL, price=price)
    plain = billed(requests, [()] * len(requests), model, conservative=True)
    bill = best_within_rules(requests, model)
    every = product(*(_all_points(request.outline) for request in requests))
    best = min(billed(requests, points, model, conservative=True) for points in every)
    assert lower_bound(requests, model) <= best <= bill <= plain
    assert bill == billed(requests, clairvoyant_points(requests, model), model, conservative=True)


def _all_points(prompt: Outline) -> list[list[CachePoint]]:
    blocks = range(len(prompt.blocks))
    return [
        [CachePoint(after, "1h" if rank < hours else "5m") for rank, after in enumerate(chosen)]
        for number in range(len(blocks) + 1)
        for chosen in combinations(blocks, number)
        for hours in range(number + 1)
    ]


@settings(max_examples=300, deadline=None)
@given(requests=_logs(), price=_prices)
def test_more_cuts_never_raise_the_bound(requests: list[Sent], price: Price) -> None:
    """Where outlines are cut says what they are known to share; all cuts give the least."""
    model = replace(MODEL, price=price)
    finely = [Sent(request.at, outline(path_of(request), tokens=10)) for request in requests]
    assert lower_bound(finely, model) <= lower_bound(requests, model)


@given(requests=_logs(), empty=st.sets(st.integers(0, 9)))
def test_the_tree_knows_each_cut_once_below_every_cut_before_it(requests: list[Sent], empty: set[int]) -> None:
    """Blocks without tokens too."""
    outlines = [
        Outline.of_blocks(
            block._replace(tokens=None) if sum(block.digest) % 10 in empty else block for block in one.outline.blocks
        )
        for one in requests
    ]
    tree = PrefixTree(outlines)
    assert len(tree.parents) == 1 + len({block.digest for one in outlines for block in one.blocks})
    for cut in range(1, len(tree.parents)):
        assert tree.order(tree.parents[cut]) < tree.order(cut)
