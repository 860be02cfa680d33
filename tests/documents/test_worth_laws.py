"""Keeping a passage against its closed form, and against each single plan that could be made beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.cache.returns import Chances
from pointsman.documents.recurrence import MOST_TIMES, Standing
from pointsman.documents.worth import Prices, Worth

_part = st.floats(0.0, 1.0)
_TURNS = 3
"""A passage away for more turns than two is taken for gone, which would be one more thing to reckon with."""
_tables = st.fixed_dictionaries({(times, ago): _part for times in range(1, MOST_TIMES + 1) for ago in range(3)})
_write, _read = st.floats(1.0, 2.0), st.floats(0.0, 0.5)


def sure_to_go_on(turns: int) -> list[Chances]:
    """A conversation that goes on at once for so many turns, and ends."""
    return [*[Chances(1.0, 0.0)] * turns, Chances(0.0, 0.0)]


def by(table: dict[tuple[int, int], float]) -> Callable[[Standing], float]:
    """Chances that depend on how often a passage came, and how long ago."""
    return lambda standing: table[standing.times, standing.ago]


def ways(table: dict[tuple[int, int], float], turns: int, times: int = 1) -> list[tuple[float, tuple[bool, ...]]]:
    """All that may happen in so many turns, each with its chance: whether the passage comes back at each."""
    all_ways = []
    for comes in product((False, True), repeat=turns):
        chance, often, ago = 1.0, times, 0
        for come in comes:
            back = table[min(often, MOST_TIMES), ago] if ago <= 2 else 0.0
            chance *= back if come else 1.0 - back
            often, ago = (often + 1, 0) if come else (often, ago + 1)
        all_ways.append((chance, comes))
    return all_ways


def cost_of_plan(
    table: dict[tuple[int, int], float], turns: int, prices: Prices, keeps_at: Callable[[Sequence[bool]], bool]
) -> float:
    """What a token costs on average if it is kept at the first retrieval that `keeps_at` says, given all until then."""
    cost = 0.0
    for chance, comes in ways(table, turns):
        kept = keeps_at(())
        spent = prices.write if kept else 1.0
        for turn, come in enumerate(comes):
            if kept:
                spent += prices.read
            elif come:
                kept = keeps_at(comes[: turn + 1])
                spent += prices.write if kept else 1.0
        cost += chance * spent
    return cost


@given(table=_tables, turns=st.integers(0, _TURNS), write=_write, read=_read)
def test_a_gain_is_what_the_closed_form_says_less_what_may_be_decided_later(
    table: dict[tuple[int, int], float], turns: int, write: float, read: float
) -> None:
    """Expected returns less (w - 1) + r k; as much as that where at no later retrieval it pays to keep the passage."""
    worth = Worth(Prices("5m", write, read), sure_to_go_on(turns), by(table))
    returns = sum(chance * sum(comes) for chance, comes in ways(table, turns))
    closed = returns - (write - 1.0) - read * turns
    later = [worth.gain(times, turn) for turn in range(1, turns + 1) for times in range(2, turn + 2)]
    assert worth.gain(1, 0) <= closed + 1e-9
    if all(gain <= 0.0 for gain in later):
        assert worth.gain(1, 0) == pytest.approx(closed, abs=1e-9)


@given(table=_tables, write=_write, read=_read)
def test_no_plan_is_better_than_to_decide_by_the_gain(
    table: dict[tuple[int, int], float], write: float, read: float
) -> None:
    """Of the plans over two turns: to keep it or not at once, and at each retrieval, by all that came before."""
    prices, turns = Prices("5m", write, read), 2
    worth = Worth(prices, sure_to_go_on(turns), by(table))

    def by_gain(comes: Sequence[bool]) -> bool:
        return worth.gain(1 + sum(comes), len(comes)) > 0.0

    decided = cost_of_plan(table, turns, prices, by_gain)
    retrievals = [(), (True,), (False, True), (True, True)]
    for choice in product((False, True), repeat=len(retrievals)):
        plan = dict(zip(retrievals, choice, strict=True))
        planned = cost_of_plan(table, turns, prices, lambda comes, plan=plan: plan[tuple(comes)])
        assert decided <= planned + 1e-9


@given(
    table=_tables,
    soon=_part,
    late=_part,
    ttl=st.sampled_from(["5m", "1h"]),
    write=_write,
    read=_read,
    dearer=st.tuples(_part, _part),
)
def test_the_dearer_writes_and_reads_are_the_less_is_gained(
    table: dict[tuple[int, int], float],
    soon: float,
    late: float,
    ttl: str,
    write: float,
    read: float,
    dearer: tuple[float, float],
) -> None:
    """However conversations go on, and whatever may be decided later, in warm prompts and in cold ones."""
    course = [Chances(soon, (1.0 - soon) * late)] * 4 + [Chances(0.0, 0.0)]
    cheap = Worth(Prices(ttl, write, read), course, by(table)).gain(1, 0)
    assert Worth(Prices(ttl, write + dearer[0], read), course, by(table)).gain(1, 0) <= cheap + 1e-9
    assert Worth(Prices(ttl, write, read + dearer[1]), course, by(table)).gain(1, 0) <= cheap + 1e-9


def test_what_is_beyond_the_horizon_is_not_reckoned_with() -> None:
    """A passage that always comes back in a conversation that never ends: 24 turns are saved, at 1 - r each.

    Kept, it costs 1.25 and 24 reads of .1; else 1, and from the next turn on the same with one read fewer: 1 + 1.25 +
    2.3 - 1.25 - 2.4 = .9.
    """
    worth = Worth(Prices("5m", 1.25, 0.1), [Chances(1.0, 0.0)], lambda _: 1.0)
    assert worth.gain(1, 0) == pytest.approx(0.9)
    assert worth.gain(1, 23) == pytest.approx(0.65)  # 1.25 + .1 against 1 + 1
    assert worth.gain(1, 24) == pytest.approx(-0.25)  # nothing follows
    never = Worth(Prices("5m", 4.0, 0.1), [Chances(1.0, 0.0)], lambda _: 1.0)
    assert [never.gain(1, turn) for turn in (23, 22, 21)] == pytest.approx([-2.1, -1.2, -0.3])
