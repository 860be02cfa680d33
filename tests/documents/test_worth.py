"""Whether a passage is worth keeping: by hand, against the closed form, and what it never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.cache.returns import Chances
from pointsman.documents.recurrence import Standing
from pointsman.documents.worth import Prices, Worth

CLAUDE = Prices("5m", 1.25, 0.1)
SURE = [Chances(1.0, 0.0)]
OVER = [Chances(0.0, 0.0)]
_chance = st.floats(0.0, 1.0)
_prices = st.builds(Prices, st.sampled_from(["5m", "1h"]), st.floats(1.0, 2.0), st.floats(0.0, 0.5))


def course(*soon: float) -> list[Chances]:
    """Conversations that go on at once with these chances, turn by turn, and then end."""
    return [*(Chances(one, 0.0) for one in soon), Chances(0.0, 0.0)]


def test_where_nothing_follows_a_writing_is_lost() -> None:
    """It costs 1.25, plainly 1: a quarter is lost."""
    assert Worth(CLAUDE, OVER, lambda _: 1.0).gain(1, 0) == pytest.approx(-0.25)


def test_one_turn_more_that_surely_brings_it_back() -> None:
    """Kept 1.25 + .1; else 1, and once more 1, the cheaper of plain and written at the last turn: .65 are saved."""
    assert Worth(CLAUDE, course(1.0), lambda _: 1.0).gain(1, 0) == pytest.approx(0.65)


def test_a_turn_that_may_bring_it_back() -> None:
    """Kept 1.25 + .1; else 1 + p: the gain is p - .35, so that it pays from .35 on: (w - 1) + r k, with k = 1."""
    for chance in (0.0, 0.3, 0.4, 1.0):
        assert Worth(CLAUDE, course(1.0), lambda _, chance=chance: chance).gain(1, 0) == pytest.approx(chance - 0.35)


def test_a_conversation_that_comes_back_late_has_it_written_again_or_left_out() -> None:
    """After the TTL it is worth 1 only if it is retrieved, so that to have kept it was a quarter for nothing."""
    late = [Chances(0.0, 1.0), Chances(0.0, 0.0)]
    assert Worth(CLAUDE, late, lambda _: 0.5).gain(1, 0) == pytest.approx(-0.25)


def test_what_an_hour_carries_is_read_when_it_comes_late() -> None:
    """Written for an hour: 2 + .1 against 1 + p."""
    late = [Chances(0.0, 1.0), Chances(0.0, 0.0)]
    assert Worth(Prices("1h", 2.0, 0.1), late, lambda _: 1.0).gain(1, 0) == pytest.approx(-0.1)


def test_to_decide_later_may_be_worth_more_than_to_keep_now() -> None:
    """A passage that comes back at every turn once it came back, and rarely does so at first, is kept then."""

    def chance(standing: Standing) -> float:
        return 0.2 if standing.times == 1 else 1.0

    worth = Worth(CLAUDE, course(*[1.0] * 6), chance)
    assert worth.gain(1, 0) < 0 < worth.gain(2, 1)


def test_what_does_not_come_back_is_left_out_of_a_prompt_that_went_cold() -> None:
    """What does is written again."""
    worth = Worth(CLAUDE, course(*[0.9] * 8), lambda standing: 0.9 if standing.ago == 0 else 0.0)
    assert worth.still_pays(2, 0, 1)
    assert not worth.still_pays(2, 1, 1)
    assert not worth.still_pays(2, 9, 3)


def test_beyond_what_is_told_apart_it_is_as_at_the_last() -> None:
    """Of times and turns."""
    worth = Worth(CLAUDE, SURE, lambda _: 0.5)
    assert worth.gain(9, 3) == worth.gain(4, 3)
    assert worth.gain(1, 99) == worth.gain(1, 24)


@given(prices=_prices, soon=_chance, late=_chance, chance=_chance, times=st.integers(1, 6), turn=st.integers(0, 30))
def test_a_gain_is_at_most_what_is_not_sent_again(
    prices: Prices, soon: float, late: float, chance: float, times: int, turn: int
) -> None:
    """One token for each turn that may follow; and at worst the writing is lost, and its readings."""
    going = [Chances(soon * 0.9, late * (1.0 - soon * 0.9) * 0.9)]
    gain = Worth(prices, going, lambda _: chance).gain(times, turn)
    assert 1.0 - prices.write - 24 * prices.read - 24 * (prices.write - 1.0) - 1e-6 <= gain <= 24.0


@given(prices=_prices, soon=_chance, low=_chance, high=_chance)
def test_the_likelier_it_comes_back_the_more_is_gained(prices: Prices, soon: float, low: float, high: float) -> None:
    """Where the chance does not depend on what happened before."""
    low, high = min(low, high), max(low, high)
    one, other = (Worth(prices, [Chances(soon, 0.0)], lambda _, p=p: p).gain(1, 0) for p in (low, high))
    assert one <= other + 1e-9
