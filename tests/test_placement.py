"""Where cache points go, under the rules of each model, beside what is warm and beside the caller's own.

What pays is tested in `test_placement_pays.py`, the laws in `test_placement_laws.py`. A belief of its own keeps each
test apart from the one that the package ships.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from outlines import (
    CATALOG,
    CHAT,
    CLAUDE,
    LATE,
    LLAMA,
    NEVER,
    NOVA,
    SOON,
    T0,
    Row,
    assistant,
    believing,
    outline,
    placed,
    read_again,
    system,
    taking,
    tools,
    user,
    wrote,
)

from pointsman import CachePoint, Ledger, Model, place
from pointsman.cache import Refusal
from pointsman.cache.returns import Hazards, Returns
from pointsman.cache.reuse import Reuse

# --- where ours go, if everything comes back --------------------------------------------------------------------

PLACES = [
    ("system, both ends of history, last turn; the tools lie within the system's", CLAUDE, CHAT, [1, 2, 3, 4]),
    ("Nova takes none in tools", NOVA, CHAT, [1, 2, 3, 4]),
    ("Llama takes none at all", LLAMA, CHAT, []),
    ("the first turn has no history", CLAUDE, (system(600), user(100)), [0, 1]),
    ("tools without a system prompt", CLAUDE, (tools(600), user(100)), [0, 1]),
    ("below the minimum there is none", CLAUDE, (system(100), user(400)), []),
    ("the minimum counts the whole prefix", CLAUDE, (system(400), user(112)), [1]),
    ("one token less is below it", CLAUDE, (system(400), user(111)), []),
    ("a PDF counts as above the minimum", CLAUDE, (user(None, "pdf"), user(10)), [0, 1]),
    ("before the PDF it doesn't", CLAUDE, (system(10), user(None, "pdf"), user(10)), [1, 2]),
    ("documents and question stand apart", CLAUDE, (user(900), user(900), user(900), user(9)), [1, 2, 3]),
    ("not after reasoning", CLAUDE, (user(600), assistant(10), assistant(50, "reasoning"), user(5)), [1, 3]),
    ("not after a plain document", CLAUDE, (user(600), user(600, "document")), [0]),
    ("after a PDF that ends the turn", CLAUDE, (user(600), user(None, "pdf")), [0, 1]),
    ("not after an image on Nova", NOVA, (user(2_000), user(None, "image")), [0]),
    ("not after a tool call on Nova", NOVA, (user(2_000), assistant(10), assistant(10, "tool_use")), [0, 1]),
    (
        "on Nova not in a message with a tool result, but before it",
        NOVA,
        (user(2_000), assistant(10, "tool_use"), user(500, "tool_result"), user(5)),
        [0],
    ),
    (
        "on Claude after a tool result",
        CLAUDE,
        (user(2_000), assistant(10, "tool_use"), user(500, "tool_result")),
        [0, 1, 2],
    ),
    ("Nova caches 20K at most", NOVA, (user(15_000), assistant(100), user(10_000)), [0, 1]),
    ("what is beyond is left to what is below", NOVA, (system(2_000), user(30_000)), [0]),
    ("nothing of nothing", CLAUDE, (), []),
]


@pytest.mark.parametrize(("model", "rows", "expected"), [row[1:] for row in PLACES], ids=[row[0] for row in PLACES])
def test_places(model: Model, rows: Sequence[Row], expected: list[int]) -> None:
    """At the cuts where a later prompt may part from this one, as far as the rules and four places go."""
    placement = place(outline(*rows), model, believing(SOON), T0)
    assert [point.after for point in placement.points] == expected
    assert {point.ttl for point in placement.points} <= {"5m"}
    assert (placement.by_caller, placement.refused) == (frozenset(), ())


def test_an_assistants_beginning_is_no_last_turn_of_ours_alone() -> None:
    """A prefilled answer ends the prompt: the point goes behind it, and one behind the user's words."""
    assert placed(outline(user(600), assistant(5))) == [0, 1]


def test_estimates_are_corrected_by_what_a_model_has_taught() -> None:
    """The tokens as the model counts them decide whether a prefix reaches the minimum."""
    short = outline(user(400))
    assert placed(short) == []
    assert placed(short._replace(corrected_sums=(520,))) == [0]


# --- what is warm -----------------------------------------------------------------------------------------------


def test_what_is_warm_is_kept_within_reach() -> None:
    """Where the look-back of our points would not find a warm prefix, one more stands as far behind it as it may."""
    ledger = believing(SOON)
    wrote(ledger, outline(user(2_000)), 0)
    longer = outline(user(2_000), *[user(10)] * 30)
    points = place(longer, CLAUDE, ledger, T0).points
    assert [point.after for point in points if point.after <= 21] == [0]
    assert ledger.readable(longer, CLAUDE, points, T0) is not None


@pytest.mark.parametrize(("added", "expected"), [(21, [21]), (22, [0])])
def test_within_the_look_back_no_point_is_spent(added: int, expected: list[int]) -> None:
    """Where there is one place: 21 added blocks are found from the end; at 22 the warm prefix needs the point."""
    ledger = believing(SOON)
    wrote(ledger, outline(user(2_000)), 0)
    assert placed(outline(user(2_000), *[user(10)] * added), taking(1), ledger) == expected


def test_what_is_warm_is_read_even_if_nothing_more_is_worth_writing() -> None:
    """One point, behind the warm prefix."""
    ledger = believing(NEVER)
    wrote(ledger, outline(user(2_000)), 0)
    assert placed(outline(user(2_000), assistant(10), user(900)), ledger=ledger) == [0]


@pytest.mark.parametrize("most", [1, 2])
def test_the_warm_prefix_comes_first_where_there_are_few_places(most: int) -> None:
    """A model, or a user's rules, that take one point: it reads what is there."""
    few, ledger = taking(most), believing(SOON)
    wrote(ledger, outline(user(2_000)), 0, model=few)
    longer = outline(user(2_000), *[user(10)] * 40)
    assert ledger.readable(longer, few, place(longer, few, ledger, T0).points, T0) is not None


def test_the_warm_prefix_comes_first_beside_the_callers_points() -> None:
    """Three of his, none of which finds it, and one place left."""
    ledger = believing(SOON)
    wrote(ledger, outline(user(2_000)), 0)
    his = [CachePoint(index) for index in (30, 35, 40)]
    longer = outline(user(2_000), *[user(10)] * 50, points=his)
    assert placed(longer, ledger=ledger) == [0, 30, 35, 40]


def test_no_point_is_spent_where_the_callers_finds_what_is_warm() -> None:
    """His point reads it; the places left are for what is new."""
    ledger = believing(SOON)
    wrote(ledger, outline(user(2_000)), 0)
    longer = outline(user(2_000), *[user(10)] * 30, points=[CachePoint(12)])
    assert 0 not in placed(longer, ledger=ledger)


def test_on_nova_the_warm_prefix_always_has_its_point() -> None:
    """Nova reads exactly where a point stands: the one of the last turn is repeated."""
    ledger = believing(SOON)
    wrote(ledger, outline(system(100), user(2_000)), 1, model=NOVA)
    longer = outline(system(100), user(2_000), assistant(50), user(10), assistant(50), user(10))
    after = placed(longer, NOVA, ledger)
    assert {1, 5} <= set(after)


def test_what_was_warm_too_long_ago_gets_no_point() -> None:
    """After the TTL it is a prefix like any other."""
    ledger = believing(SOON)
    wrote(ledger, outline(user(2_000)), 0)
    read_again(ledger, outline(user(2_000)), 5)
    longer = outline(user(2_000), *[user(10)] * 30)
    placement = place(longer, CLAUDE, ledger, T0 + 301)
    assert placement.points[-1] == CachePoint(30)
    assert ledger.readable(longer, CLAUDE, placement.points, T0 + 301) is None


def test_a_conversation_that_came_back_too_late_is_not_written_at_once_again() -> None:
    """Caching has cost it more than none would have; the next prompt goes plain."""
    ledger = believing(SOON)
    wrote(ledger, outline(user(2_000)), 0)
    assert placed(outline(user(2_000), assistant(10), user(9)), ledger=ledger, now=T0 + 301) == []


def test_the_warm_prefix_is_worth_more_than_a_new_one() -> None:
    """With four places for more wishes the warm one comes first, and the tools go without."""
    ledger = believing(SOON)
    head = (tools(600), system(600), user(2_000))
    wrote(ledger, outline(*head), 0, 1, 2)
    after = placed(outline(*head, *[user(10)] * 30, assistant(10), user(10)), ledger=ledger)
    assert {2, 34} <= set(after)
    assert 0 not in after


def test_a_conversation_is_written_when_it_goes_on_under_a_system_prompt_that_it_paid_for() -> None:
    """What is lost counts: the system prompt cost more than it has saved yet, but it is warm."""
    ledger = Ledger(reuse=Reuse(Returns(lambda kind: SOON if kind[1] in ("static", "known") else NEVER)))
    first = (system(2_000), user(2_000))
    wrote(ledger, outline(*first), 0, ttl="1h")
    assert placed(outline(*first, assistant(10), user(9)), ledger=ledger, now=T0 + 60) == [0, 1]


# --- the caller's points ----------------------------------------------------------------------------------------


def test_the_callers_points_are_kept_and_counted() -> None:
    """His come first; ours fill what is left of the four."""
    rows = (tools(600), system(600), user(100), assistant(50), user(20), assistant(50), user(20))
    placement = place(outline(*rows, points=[CachePoint(2), CachePoint(3)]), CLAUDE, believing(SOON), T0)
    assert {2, 3, 6} < {point.after for point in placement.points}
    assert len(placement.points) == 4
    assert placement.by_caller == {2, 3}


@pytest.mark.parametrize("hazards", [SOON, NEVER], ids=["soon", "never"])
def test_the_callers_point_stands_whatever_is_believed(hazards: Hazards) -> None:
    """It is his money."""
    assert 0 in placed(outline(user(2_000), user(10), points=[CachePoint(0)]), ledger=believing(hazards))


def test_the_callers_point_below_the_minimum_is_kept() -> None:
    """It is his; Bedrock passes over it in silence."""
    assert placed(outline(user(10), user(10), points=[CachePoint(0)])) == [0]


def test_a_model_without_caching_loses_the_callers_points_too() -> None:
    """It would answer with 403; the trace says what was left out and why."""
    placement = place(outline(user(2_000), points=[CachePoint(0)]), LLAMA, Ledger(), T0)
    assert placement.points == ()
    ((point, reason),) = placement.refused
    assert point == CachePoint(0)
    assert "does not cache" in reason


def test_for_an_unknown_model_the_callers_word_counts() -> None:
    """Nothing is added, nothing taken away."""
    unknown = Model(id="x.y", invoke_id="x.y", name="y", known=False)
    points = tuple(CachePoint(index, "1h") for index in (0, 2))
    placement = place(outline(*[user(600)] * 4, points=points), unknown, believing(SOON), T0)
    assert (placement.points, placement.by_caller, placement.refused) == (points, {0, 2}, ())


def test_our_points_before_an_hour_of_the_callers_are_of_an_hour() -> None:
    """A longer TTL must stand before a shorter one."""
    placement = place(outline(*CHAT, points=[CachePoint(3, "1h")]), CLAUDE, believing(SOON), T0)
    assert placement.points == (CachePoint(1, "1h"), CachePoint(2, "1h"), CachePoint(3, "1h"), CachePoint(4, "5m"))


def test_our_points_behind_five_minutes_of_the_callers_are_of_five_minutes() -> None:
    """Where an hour would have paid."""
    placement = place(outline(*CHAT, points=[CachePoint(1, "5m")]), CLAUDE, believing(LATE), T0)
    assert placement.points[-1] == CachePoint(4, "5m")
    assert len(placement.points) == 4


# --- one TTL for a conversation ---------------------------------------------------------------------------------


def test_behind_five_live_minutes_nothing_is_written_for_an_hour() -> None:
    """The hour would be lost with them; once they are over, it may be one."""
    ledger = believing(LATE)
    wrote(ledger, outline(user(2_000)), 0)
    read_again(ledger, outline(user(2_000)), 5)
    longer = outline(user(2_000), assistant(50), user(2_000))
    assert "1h" not in {point.ttl for point in place(longer, CLAUDE, ledger, T0 + 60).points}
    assert {point.ttl for point in place(longer, CLAUDE, ledger, T0 + 600).points} == {"1h"}


def test_behind_an_hour_of_its_own_a_conversation_keeps_to_the_hour() -> None:
    """Five minutes would pay for the new turn alone, and are not mixed in."""
    ledger = believing(SOON)
    wrote(ledger, outline(user(2_000)), 0, ttl="1h")
    points = place(outline(user(2_000), assistant(50), user(2_000)), CLAUDE, ledger, T0 + 60).points
    # Whatever is laid reads the hour, and what is new is an hour's or isn't written.
    assert all(point.ttl == "1h" or point.after == 0 for point in points)


# --- just below the minimum -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((system(410), user(9)), [0, 1]),
        ((system(409), user(9)), [1]),
        ((system(100), user(300)), []),
        ((system(500), user(500)), [0]),
        ((system(512), user(500)), []),
        ((tools(420), system(70), user(9)), [0, 1, 2]),
        ((user(450), assistant(20), user(20)), [2]),
        ((user(None, "pdf"),), []),
    ],
    ids=["from 80 %", "one less", "far below", "a part", "enough", "every section's end", "only ends", "unknown"],
)
def test_what_stands_just_below_the_minimum_is_named(rows: Sequence[Row], expected: list[int]) -> None:
    """Tools, system prompt and the whole prompt, from four fifths of the minimum on."""
    placement = place(outline(*rows), CLAUDE, believing(SOON), T0)
    assert [prefix.after for prefix in placement.just_below] == expected


# --- refusals that were remembered ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (Refusal(section="tools"), [1, 2, 3, 4]),
        (Refusal(section="system"), [0, 2, 3, 4]),
        (Refusal(section="messages"), [0, 1]),
        (Refusal(section="messages", kind="text"), [0, 1]),
        (Refusal(), []),
    ],
    ids=["tools", "system", "messages", "texts in messages", "anywhere"],
)
def test_where_a_model_has_refused_a_point_there_is_none_again(refusal: Refusal, expected: list[int]) -> None:
    """For that model only."""
    ledger = believing(SOON)
    ledger.refuse(CLAUDE, refusal)
    assert placed(outline(*CHAT), ledger=ledger) == expected
    assert placed(outline(*CHAT), CATALOG.resolve("anthropic.claude-sonnet-5-5"), ledger) == [1, 2, 3, 4]


def test_an_unknown_models_refusals_are_remembered_too() -> None:
    """The caller's points in such a place are left out, with the reason."""
    unknown = Model(id="x.y", invoke_id="x.y", name="y", known=False)
    ledger = Ledger()
    ledger.refuse(unknown, Refusal(section="system"))
    rows = (system(600), user(600))
    placement = place(outline(*rows, points=[CachePoint(0), CachePoint(1)]), unknown, ledger, T0)
    assert placement.points == (CachePoint(1),)
    assert [point.after for point, _ in placement.refused] == [0]


def test_a_user_can_override_the_rules() -> None:
    """Rules are data: another minimum, another number of points."""
    own = replace(CLAUDE, cache=replace(CLAUDE.cache, minimum_tokens=2_000, max_points=1))
    assert placed(outline(*CHAT), own) == []
    assert placed(outline(system(3_000), user(10)), own) == [1]
