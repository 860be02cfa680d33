"""What is worth a write, and for how long: the break-evens, and what is believed before anything was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from outlines import (
    CHAT,
    CLAUDE,
    LATE,
    NEVER,
    NOVA,
    OLDER_CLAUDE,
    SOON,
    T0,
    Row,
    assistant,
    believing,
    outline,
    placed,
    system,
    tools,
    user,
)

from pointsman import Block, CachePoint, Ledger, Model, Outline, Placement, Price, Usage, place
from pointsman.cache.returns import SPANS, Hazards, Kind, Returns
from pointsman.cache.reuse import Reuse

# --- break-evens --------------------------------------------------------------------------------------------------


def reading_at(read: float) -> Model:
    """Claude at this price of a read, in units of the plain input price."""
    return replace(CLAUDE, price=Price(input=1, output=5, cache_read=read, cache_write={"5m": 1.25, "1h": 2}))


def once(chance: float) -> Ledger:
    """A ledger that believes that a first request comes back at once with this chance, and then no more."""
    first: Hazards = (chance, *[0.0] * 7)
    return Ledger(reuse=Reuse(Returns(lambda kind: first if kind[1] != "known" else NEVER)))


def soon_or_late(soon: float, late: float) -> Ledger:
    """One that believes that a first request comes back within five minutes or after, and then once more at once."""
    first = tuple({60.0: soon, 600.0: late / (1.0 - soon)}.get(end, 0.0) for end in SPANS)
    surely: Hazards = (1.0, *[0.0] * 7)

    def belief(kind: Kind) -> Hazards:
        if kind[1] != "known":
            return first
        return surely if kind[2] == 2 else NEVER

    return Ledger(reuse=Reuse(Returns(belief)))


QUESTION = outline(user(2_000))


@pytest.mark.parametrize(("read", "even"), [(0.1, 0.25 / 0.9), (0.05, 0.25 / 0.95), (0.025, 0.25 / 0.975)])
def test_five_minutes_are_written_from_the_break_even_on(read: float, even: float) -> None:
    """A write for five minutes pays if the chance of one read reaches (w - 1) / (1 - r)."""
    model = reading_at(read)
    assert place(QUESTION, model, once(even - 0.001), T0).points == ()
    assert place(QUESTION, model, once(even + 0.001), T0).points == (CachePoint(0, "5m"),)


@pytest.mark.parametrize(("read", "even"), [(0.1, 0.75 / 1.15), (0.05, 0.75 / 1.2), (0.025, 0.75 / 1.225)])
def test_an_hour_is_written_from_its_break_even_on(read: float, even: float) -> None:
    """Where five minutes pay already, an hour does from a later return's chance of (w1h - w5m) / (w5m - r) on."""
    model = reading_at(read)
    assert place(QUESTION, model, soon_or_late(0.3, even - 0.001), T0).points == (CachePoint(0, "5m"),)
    assert place(QUESTION, model, soon_or_late(0.3, even + 0.001), T0).points == (CachePoint(0, "1h"),)


def test_an_hour_is_written_where_five_minutes_would_earn_nothing() -> None:
    """If all returns are late, an hour stands against no write at all: the break-even is (w1h - 1) / (w5m - r)."""
    model, even = reading_at(0.1), 1.0 / 1.15
    assert place(QUESTION, model, soon_or_late(0.0, even - 0.001), T0).points == ()
    assert place(QUESTION, model, soon_or_late(0.0, even + 0.001), T0).points == (CachePoint(0, "1h"),)


def test_where_writes_are_free_any_chance_is_enough() -> None:
    """On Nova a write costs no more than the plain prompt."""
    assert place(QUESTION, NOVA, once(0.0001), T0).points == (CachePoint(0, "5m"),)


@pytest.mark.parametrize("rows", [(user(2_000),), CHAT, (user(None, "pdf"), user(9))], ids=["bare", "chat", "PDF"])
def test_what_never_comes_back_is_not_written(rows: Sequence[Row]) -> None:
    """Whatever it is."""
    assert placed(outline(*rows), ledger=believing(NEVER)) == []


def test_what_comes_back_late_is_written_for_an_hour_where_there_is_one() -> None:
    """On a model without that TTL five minutes would be over, and nothing is written."""
    long = outline(tools(2_000), user(100), assistant(50), user(20))
    assert {point.ttl for point in place(long, CLAUDE, believing(LATE), T0).points} == {"1h"}
    assert place(long, OLDER_CLAUDE, believing(LATE), T0).points == ()


def test_only_what_comes_back_is_written() -> None:
    """A system prompt that all ask with, and questions that nobody asks again."""
    static = believing(SOON, of="static")
    assert placed(outline(system(2_000), user(500)), ledger=static) == [0]
    assert placed(outline(tools(600), system(2_000), user(500), assistant(9), user(9)), ledger=static) == [0, 1]


@pytest.mark.parametrize(("tokens", "expected"), [(600, [0]), (500, [])])
def test_what_is_too_short_to_be_read_alone_is_worth_what_follows_it(tokens: int, expected: list[int]) -> None:
    """Tools below the minimum, which all share, and questions that nobody asks again: no write would ever be read."""
    static = believing(SOON, of="static")
    assert placed(outline(tools(tokens), user(100)), ledger=static) == expected


def test_an_hour_for_what_all_share_may_stand_before_five_minutes() -> None:
    """A system prompt that comes back late, and conversations that come back at once or never."""
    mixed = Ledger(reuse=Reuse(Returns(lambda kind: LATE if kind[1] == "static" else SOON)))
    placement = place(outline(system(2_000), user(500)), CLAUDE, mixed, T0)
    assert placement.points == (CachePoint(0, "1h"), CachePoint(1, "5m"))


def test_a_price_that_nobody_knows_is_taken_for_claudes() -> None:
    """At a chance where Claude's writes pay, and where they don't."""
    unpriced = replace(CLAUDE, price=None)
    assert placed(QUESTION, unpriced, once(0.27)) == []
    assert placed(QUESTION, unpriced, once(0.29)) == [0]


# --- what the package believes before it has seen anything ------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((system(5_000), user(30)), [0]),
        ((tools(3_000), system(1_500), user(100)), [0, 1, 2]),
        ((user(None, "pdf"), user(None, "pdf"), user(20)), [0, 1, 2]),
        ((user(6_000, "document"), user(30)), [1]),
        ((system(600), user(6_000), user(30)), [0]),
    ],
    ids=["documents in the system prompt", "an agent", "PDFs", "a text file", "passages found for one question"],
)
def test_a_first_request_is_written_where_such_requests_come_back(rows: Sequence[Row], expected: list[int]) -> None:
    """By the belief that is shipped: instructions, tools and attachments, but not what was looked up for a question."""
    assert placed(outline(*rows), ledger=Ledger()) == expected


def test_an_agents_prompt_is_written_for_an_hour() -> None:
    """By the belief that is shipped: people leave agents alone for a while, and come back."""
    placement = place(outline(tools(3_000), system(1_500), user(100)), CLAUDE, Ledger(), T0)
    assert {point.ttl for point in placement.points} == {"1h"}


def test_bare_questions_that_nobody_follows_up_are_soon_not_written_any_more() -> None:
    """The shipped belief gives way to what is seen: a hundred single questions are enough."""
    ledger = Ledger()
    for index in range(100):
        single = Outline.of_blocks([Block("messages", "user", "text", b"question %d" % index, 2_000)])
        ledger.record(single, CLAUDE, Placement(), Usage(input_tokens=2_000), T0 + 60 * index)
    assert placed(QUESTION, ledger=ledger, now=T0 + 10_000) == []
