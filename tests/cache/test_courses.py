"""How conversations go on: what is learnt from each request, once; sums add up over processes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman import Block, Outline
from pointsman.cache.courses import Courses

T0 = 1_800_000_000.0


def conversation(turns: int, name: str = "a", growth: int = 500) -> list[Outline]:
    """Prompts that each extend the one before."""
    blocks = [Block("messages", "user", "text", f"{name}{place}".encode(), growth) for place in range(turns)]
    return [Outline.of_blocks(blocks[: place + 1]) for place in range(turns)]


def test_before_anything_was_seen_there_is_a_belief() -> None:
    """Every share is a share, and those of the pauses add up."""
    outlook = Courses().outlook("r")
    assert sum(outlook.pauses_5m) == pytest.approx(1) == sum(outlook.pauses_1h)
    assert 0 < outlook.still_adequate < 1 and 0 < outlook.adequate_again < 1 and outlook.bound == 0


def test_a_request_counts_once() -> None:
    """Asked again about one prompt, nothing is learnt anew."""
    courses = Courses()
    outlines = conversation(3)
    for outline in outlines:
        courses.follow("r", outline, T0, adequate=True)
    before = courses.to_dict()
    assert courses.follow("r", outlines[-1], T0 + 9, adequate=False).requests == 3
    assert courses.to_dict() == before


def test_growth_pauses_and_needs_are_learnt() -> None:
    """After many requests the outlook is what they were."""
    courses = Courses()
    for number in range(200):
        for place, outline in enumerate(conversation(4, f"{number} ", growth=3_000)):
            courses.follow("r", outline, T0 + 50 * place, adequate=place % 2 == 0)
    outlook = courses.outlook("r")
    assert outlook.growth == pytest.approx(3_000, rel=0.02)
    assert outlook.pause == pytest.approx(50, rel=0.02)
    assert outlook.still_adequate < 0.02 and outlook.adequate_again > 0.98
    # Of 200 conversations all come to four requests, none to eight.
    assert outlook.going_on[1] > 0.95 and outlook.going_on[2] < 0.05


def test_a_branch_goes_on_from_where_it_parted() -> None:
    """Two requests that extend one prompt are each its second."""
    courses = Courses()
    stem = conversation(1)[0]
    courses.follow("r", stem, T0, adequate=True)
    for name in "xy":
        branch = Outline.of_blocks([*stem.blocks, Block("messages", "user", "text", name.encode(), 9)])
        assert courses.follow("r", branch, T0 + 1, adequate=True).requests == 2


def test_a_system_prompt_makes_no_conversation() -> None:
    """Prompts that share all but their messages have nothing to do with each other."""
    courses = Courses()
    system = Block("system", None, "text", b"system", 2_000)
    for name in "xy":
        outline = Outline.of_blocks([system, Block("messages", "user", "text", name.encode(), 9)])
        assert courses.follow("r", outline, T0, adequate=True).requests == 1


def test_a_volatile_end_does_not_hide_a_conversation() -> None:
    """A last block that doesn't come back leaves the ones before it to know the conversation by."""
    courses = Courses()
    stem = conversation(3)[-1].blocks
    clock = Block("messages", "user", "text", b"10:32", 9)
    courses.follow("r", Outline.of_blocks([*stem, clock]), T0, adequate=True)
    later = Outline.of_blocks([*stem, Block("messages", "user", "text", b"more", 99)])
    assert courses.follow("r", later, T0, adequate=True).requests == 2


def test_a_request_without_a_decision_is_one_that_needed_its_model() -> None:
    """Where the router wasn't asked, a reply tells that no cheap model would have done."""
    courses = Courses()
    for number in range(50):
        first, second, third = conversation(3, f"{number} ")
        courses.follow("r", first, T0, adequate=True)
        courses.served(second, 10, T0)
        courses.follow("r", third, T0, adequate=True)
    assert courses.outlook("r").still_adequate < 0.1 < 0.9 < courses.outlook("r").adequate_again


def test_a_tool_loop_is_learnt_as_bound() -> None:
    """Requests that stay on their model without being asked tell how many of them there are, and nothing of needs."""
    courses = Courses()
    for number in range(100):
        first, *rest = conversation(5, f"{number} ")
        courses.follow("r", first, T0, adequate=True)
        for outline in rest:
            courses.follow("r", outline, T0)
    assert courses.outlook("r").bound > 0.9
    assert courses.outlook("r").still_adequate == Courses().outlook("r").still_adequate


def test_what_is_kept_is_bounded() -> None:
    """No more ends than allowed, the longest unused forgotten."""
    courses = Courses(bound=10)
    for number in range(50):
        courses.follow("r", conversation(1, f"{number} ")[0], T0, adequate=True)
    assert courses.follow("r", conversation(2, "0 ")[1], T0, adequate=True).requests == 1
    assert courses.follow("r", conversation(2, "49 ")[1], T0, adequate=True).requests == 2


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 4_000)), max_size=40))
def test_deltas_add_up_to_the_whole(requests: list[tuple[int, bool, int]]) -> None:
    """Whatever the times at which deltas are taken, another process that adds them has counted the same."""
    courses, other = Courses(), Courses()
    at = [0] * 4
    for number, adequate, pause in requests:
        at[number] += 1
        courses.follow("r", conversation(at[number], f"{number} ")[-1], T0 + pause, adequate=adequate)
        if adequate and (delta := courses.take_delta()) is not None:
            other.add(json.loads(json.dumps(delta)))
    if (delta := courses.take_delta()) is not None:
        other.add(delta)
    for router, sums in courses.to_dict().items():
        for name, counts in sums.items():
            assert other.to_dict()[router][name] == pytest.approx(counts, abs=0.05)
    assert courses.take_delta() is None and other.take_delta() is None


def test_a_new_process_begins_with_what_was_saved() -> None:
    """What was counted, saved as JSON, gives the same outlook elsewhere."""
    courses, later = Courses(), Courses()
    for number in range(30):
        for outline in conversation(3, f"{number} "):
            courses.follow("r", outline, T0, adequate=True)
    later.add(json.loads(json.dumps(courses.to_dict())))
    assert later.outlook("r").growth == pytest.approx(courses.outlook("r").growth, rel=0.1)
    assert later.outlook("r").still_adequate > 0.95
