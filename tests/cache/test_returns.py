"""Waiting times: counted without bias whenever one looks, bounded, and the same in whatever order they are added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.cache import returns as module
from pointsman.cache.returns import SPANS, Hazards, Kind, Returns, Waiting, away

T0 = 1_800_000_000.0
KIND: Kind = ("messages", "last", 1, 0, 0)
OTHER: Kind = ("tools", "static", 2, 1, 0)
BELIEF: Hazards = (0.2, 0.1, 0.08, 0.06, 0.05, 0.03, 0.02, 0.02)
NOTHING: Hazards = (0.0,) * len(SPANS)


def believing(hazards: Hazards = BELIEF) -> Returns:
    """Waiting times that begin with the same belief of every kind."""
    return Returns(lambda _: hazards)


def follow(
    returns: Returns,
    waits: Sequence[float | None],
    *,
    every: float = 10.0,
    until: float = 100_000.0,
    application: bytes | None = None,
    then: Callable[[], object] = lambda: None,
) -> Returns:
    """Prefixes asked for one after the other, each coming back after so long or not at all; `then` after each event."""
    watched: dict[int, Waiting] = {}
    asked = [(T0 + every * index, False, index) for index in range(len(waits))]
    came = [(T0 + every * index + wait, True, index) for index, wait in enumerate(waits) if wait is not None]
    for now, returned, index in sorted([*asked, *came]):
        if now <= T0 + until:
            returns.pass_time(now)
            if returned:
                watched[index].returned(now)
            else:
                watched[index] = returns.watch(KIND, application, now)
            then()
    returns.pass_time(T0 + until)
    then()
    return returns


def seen(waits: Sequence[float | None]) -> Returns:
    """What is known when all of that is over."""
    return follow(believing(), waits)


# --- what is counted --------------------------------------------------------------------------------------------


def test_before_anything_was_seen_the_belief_holds() -> None:
    """For every kind and application."""
    assert believing().hazards(KIND) == believing().hazards(KIND, b"application") == BELIEF


def test_chances_follow_from_the_hazards() -> None:
    """Within five minutes, later in the hour and never add up to one."""
    chances = believing((0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0)).chances(KIND)
    assert (chances.within_5m, chances.within_1h, chances.never) == pytest.approx((0.5, 0.25, 0.25))


def test_many_waits_outweigh_the_belief() -> None:
    """30 % come back after half a minute, 20 % after half an hour, and no other."""
    draw = Random(1)
    waits = [draw.choices((30.0, 1_800.0, None), (0.3, 0.2, 0.5))[0] for _ in range(3_000)]
    chances = seen(waits).chances(KIND)
    assert chances.within_5m == pytest.approx(0.3, abs=0.05)
    assert chances.within_1h == pytest.approx(0.2, abs=0.05)


def test_a_kind_learns_nothing_of_another() -> None:
    """What agents do says nothing of chats."""
    assert seen([30.0] * 500).hazards(OTHER) == BELIEF


@pytest.mark.parametrize("minutes", [2, 10, 30, 60, 90])
def test_returns_count_no_sooner_than_the_lack_of_them(minutes: int) -> None:
    """A quarter comes back within 30 seconds, and the rest never: at no moment is more believed than that.

    To count each return at once, and each absence when the hour is over, would show nothing but returns for an hour.
    """
    seconds = minutes * 60
    waits = [None if index % 4 else 30.0 for index in range(seconds // 2)]
    returns = follow(believing(NOTHING), waits, every=2.0, until=float(seconds))
    over = (seconds - 60) // 2 + 1
    assert returns.hazards(KIND)[0] == pytest.approx(ceil(over / 4) / (over + 50))
    assert returns.hazards(KIND)[1:] == NOTHING[1:]


def test_only_the_first_return_counts() -> None:
    """A prefix that is read five times has come back once; the others are waits of their own."""
    returns = believing(NOTHING)
    waiting = returns.watch(KIND, None, T0)
    for seconds in (10.0, 400.0, 700.0):
        waiting.returned(T0 + seconds)
    assert waiting.waited == 10.0
    returns.pass_time(T0 + 4_000)
    assert returns.to_dict() == {"messages last 1 0 0": [[1, *[0] * 7], [1, *[0] * 7]]}


@pytest.mark.parametrize("known_after", [40.0, 100.0, 900.0, 3_000.0])
def test_a_return_that_becomes_known_late_counts_where_it_belongs(known_after: float) -> None:
    """A long reply, or another process: what was counted as an absence in the meantime is taken back."""
    returns = believing(NOTHING)
    waiting = returns.watch(KIND, b"one", T0)
    returns.pass_time(T0 + known_after)
    waiting.returned(T0 + 30.0)
    returns.pass_time(T0 + 5_000)
    assert returns.to_dict() == {"messages last 1 0 0": [[1, *[0] * 7], [1, *[0] * 7]]}
    assert returns.hazards(KIND, b"one")[0] > returns.hazards(KIND)[0] > 0


def test_to_pass_the_same_time_again_counts_nothing() -> None:
    """However often it is told what time it is."""
    returns = seen([30.0, None, 700.0])
    told, counted = returns.to_dict(), returns.counted
    for _ in range(3):
        returns.pass_time(T0 + 100_000)
    assert (returns.to_dict(), returns.counted) == (told, counted)


@given(steps=st.lists(st.floats(0.0, 900.0), max_size=30))
def test_in_what_steps_time_passes_makes_no_difference(steps: list[float]) -> None:
    """Every second, or not for an hour: the same counts."""
    at_once, in_steps = believing(), believing()
    for returns in (at_once, in_steps):
        for index in range(5):
            waiting = returns.watch(KIND, None, T0 + index)
            if index % 2:
                waiting.returned(T0 + index + 90.0)
    now = T0
    for step in steps:
        now += step
        in_steps.pass_time(now)
    in_steps.pass_time(now + 10_000)
    at_once.pass_time(now + 10_000)
    assert in_steps.to_dict() == at_once.to_dict()


def test_an_application_has_evidence_of_its_own() -> None:
    """Of two uses of one process, one comes back at once and the other never: each is believed its own."""
    returns = believing()
    follow(returns, [30.0] * 300, application=b"agent", until=10_000)
    follow(returns, [None] * 300, application=b"one shot", until=20_000)
    agent, one_shot = returns.chances(KIND, b"agent"), returns.chances(KIND, b"one shot")
    between = returns.chances(KIND)
    assert agent.within_5m > 0.75 > between.within_5m > 0.25 > one_shot.within_5m
    assert returns.chances(KIND, b"a third") == between
    assert [returns.knows(name) for name in (b"agent", b"a third", None)] == [True, False, False]


# --- clocks -----------------------------------------------------------------------------------------------------


def test_a_clock_that_was_set_back_drops_what_was_waiting() -> None:
    """How long it had waited cannot be told any more; what was counted stays, and counting goes on."""
    returns = seen([30.0] * 50)
    told = returns.to_dict()
    returns.watch(KIND, None, T0 + 5_000)
    returns.pass_time(T0 - 100_000)
    assert returns.to_dict() == told
    returns.watch(KIND, None, T0 - 100_000).returned(T0 - 99_990)
    returns.pass_time(T0 - 90_000)
    ((came, waited),) = returns.to_dict().values()
    assert (came[0], waited[0]) == (51, 51)


def test_requests_that_are_booked_out_of_order_drop_nothing() -> None:
    """Half a minute back is no clock set back."""
    returns = believing(NOTHING)
    returns.watch(KIND, None, T0).returned(T0 + 10)
    returns.pass_time(T0 + 50)
    returns.pass_time(T0 + 20)
    returns.pass_time(T0 + 61)
    assert returns.to_dict()["messages last 1 0 0"][0][0] == 1


def test_a_return_before_it_was_asked_for_is_an_immediate_one() -> None:
    """Two requests at once may be booked in either order."""
    waiting = believing().watch(KIND, None, T0)
    waiting.returned(T0 - 1)
    assert waiting.waited == 0.0


# --- bounds -----------------------------------------------------------------------------------------------------


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound new prefixes are not watched; as soon as others are counted, they are again."""
    monkeypatch.setattr(module, "_MOST_WAITING", 10)
    returns = believing(NOTHING)
    for _ in range(25):
        returns.watch(KIND, None, T0)
    returns.pass_time(T0 + 4_000)
    assert returns.to_dict()["messages last 1 0 0"][1][0] == 10
    returns.watch(KIND, None, T0 + 4_000)
    returns.pass_time(T0 + 8_000)
    assert returns.to_dict()["messages last 1 0 0"][1][0] == 11


def test_applications_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was counted longest ago is forgotten."""
    monkeypatch.setattr(module, "_MOST_APPLICATIONS", 2)
    returns = believing()
    for index, name in enumerate((b"first", b"second", b"third")):
        returns.watch(KIND, name, T0 + index)
    returns.pass_time(T0 + 100)
    assert [returns.knows(name) for name in (b"first", b"second", b"third")] == [False, True, True]


def test_what_was_seen_long_ago_counts_ever_less() -> None:
    """Traffic that changes is believed after as many requests as are kept, not after all that there ever were."""
    returns = believing()
    follow(returns, [*[30.0] * 20_000, *[None] * 12_000], every=1.0)
    ((_, waited),) = returns.to_dict().values()
    assert max(waited) <= module._MOST_SEEN
    assert returns.chances(KIND).within_5m < 0.2


# --- what others have counted -----------------------------------------------------------------------------------

_counts = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=len(SPANS), max_size=len(SPANS))
_deltas = st.dictionaries(
    st.sampled_from(["messages last 1 0 0", "tools static 2 1 0", "system known 7 2 0"]),
    _counts.map(lambda told: [[min(pair) for pair in told], [max(pair) for pair in told]]),
)


@given(deltas=st.lists(_deltas, max_size=6), order=st.randoms(use_true_random=False))
def test_in_what_order_counts_are_added_makes_no_difference(deltas: list[dict[str, Any]], order: Any) -> None:
    """The sum of all of them, from whichever process they came first."""
    one, other = believing(), believing()
    for delta in deltas:
        one.add(delta)
    order.shuffle(shuffled := list(deltas))
    for delta in shuffled:
        other.add(delta)
    assert dict(sorted(one.to_dict().items())) == dict(sorted(other.to_dict().items()))


def test_what_two_processes_saw_is_the_sum() -> None:
    """Handed over piece by piece, each wait once."""
    other, waits = believing(), [30.0, None, 700.0] * 40
    apart = believing()
    follow(apart, waits, then=lambda: other.add(apart.take_delta()))
    assert other.to_dict() == seen(waits).to_dict()
    assert apart.take_delta() == {}


def test_what_was_added_is_not_handed_on() -> None:
    """Or counts would go round for ever."""
    returns = believing()
    returns.add(seen([30.0] * 20).to_dict())
    assert returns.take_delta() == {}


def test_what_another_has_counted_is_counted() -> None:
    """So that what rests on the counts is reckoned anew."""
    returns, other = believing(), seen([None] * 50)
    returns.add(other.to_dict())
    assert returns.counted == other.counted


def test_what_was_saved_can_be_loaded() -> None:
    """The same chances, without the applications, whose digests stay in the process."""
    before = follow(believing(), [30.0, None] * 100, application=b"one")
    after = believing()
    after.add(before.to_dict())
    assert after.hazards(KIND) == before.hazards(KIND)
    assert not after.knows(b"one")


# --- how long something stays away ------------------------------------------------------------------------------


def test_the_chance_to_be_away_falls_from_one() -> None:
    """To that of never coming back; at the end of each span it is what the hazards say."""
    left = [away(BELIEF, seconds) for seconds in (0.0, *SPANS)]
    assert left[0] == 1.0
    assert [after / before for before, after in pairwise(left)] == pytest.approx([1.0 - hazard for hazard in BELIEF])
    assert away(BELIEF, 9_999.0) == left[-1]


# --- tempos -----------------------------------------------------------------------------------------------------

QUICK: Hazards = (0.8, 0.5, *[0.1] * 6)
SLOW: Hazards = (0.02, 0.02, 0.02, 0.3, 0.4, *[0.2] * 3)
GOING_ON: Kind = ("documents", "known", 1, 0, 0)


def with_tempos(*tempos: Hazards) -> Returns:
    """Waiting times of conversations about documents, which go on by one of these."""
    return Returns(
        lambda _: BELIEF,
        tempos=[lambda kind, tempo=tempo: tempo if kind[0] == "documents" else None for tempo in tempos],
    )


def gone_on(returns: Returns, waits: Sequence[float], application: bytes) -> Returns:
    """Conversations of an application that went on after so many seconds."""
    for number, wait in enumerate(waits):
        start = T0 + 10_000.0 * number
        waiting = returns.watch(GOING_ON, application, start)
        waiting.returned(start + wait)
        returns.pass_time(start + 9_000.0)
    return returns


def test_of_tempos_that_nothing_tells_apart_each_may_hold() -> None:
    """Whoever is still away after a while is likelier to be of the slow tempo: (.8 + .02) / 2, then by who is left."""
    mixed = with_tempos(QUICK, SLOW).hazards(GOING_ON)
    assert mixed[0] == pytest.approx(0.41)
    assert mixed[1] == pytest.approx((0.2 * 0.5 + 0.98 * 0.02) / (0.2 + 0.98))
    assert 0.1 < mixed[-1] < 0.2


def test_what_came_back_tells_the_tempo_of_an_application() -> None:
    """A few returns are enough, and other applications are not judged by them."""
    returns = gone_on(with_tempos(QUICK, SLOW), [20.0, 30.0, 90.0, 40.0], b"chat")
    gone_on(returns, [700.0, 800.0, 1_500.0], b"work")
    chat, work = (returns.chances(GOING_ON, name) for name in (b"chat", b"work"))
    assert chat.within_5m > 0.85
    assert work.within_1h > 0.65
    undecided = returns.chances(GOING_ON, b"unknown")
    assert work.within_5m < undecided.within_5m < chat.within_5m


def test_one_tempo_is_a_belief() -> None:
    """What it says nothing of is believed as before."""
    returns = with_tempos(QUICK)
    assert returns.hazards(GOING_ON) == pytest.approx(QUICK)
    assert returns.hazards(KIND) == BELIEF


def test_a_tempo_that_nothing_can_come_of_is_ruled_out_and_nothing_breaks() -> None:
    """A belief of never says that what was seen can't have been: it counts next to nothing, not minus infinity."""
    returns = gone_on(with_tempos(NOTHING, QUICK), [20.0] * 3, b"chat")
    assert returns.chances(GOING_ON, b"chat").within_5m > 0.85
    assert with_tempos(NOTHING).chances(GOING_ON).never == 1.0


@given(waits=st.lists(st.floats(1.0, 8_000.0), max_size=12))
def test_what_tempos_believe_of_an_application_lies_between_them(waits: list[float]) -> None:
    """However it goes on, until what was seen of it weighs more than what is believed."""
    believed = gone_on(with_tempos(QUICK, SLOW), waits, b"one")._believed(GOING_ON, b"one")
    for hazard, *two in zip(believed, QUICK, SLOW, strict=True):
        assert min(two) - 1e-9 <= hazard <= max(two) + 1e-9
