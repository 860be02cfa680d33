"""What of a prompt comes back together, how it is counted, and what it is worth to have it in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outlines import CHAT, CLAUDE, NEVER, NOVA, SOON, T0, Row, answered, assistant, outline, system, tools, user

from pointsman import Block, CachePoint, Ledger, Outline, Placement, Price, Usage, place
from pointsman.cache import MemoryStore
from pointsman.cache.ledger import owner_of
from pointsman.cache.returns import SPANS, Hazards, Returns
from pointsman.cache.reuse import Outlook, Rates, Reuse, Stretch, shipped_belief, shipped_tempos

OWNER = owner_of(CLAUDE)
RATES = Rates(0.1, 1.25, 2.0)
KNOWN = ("documents", "known", 2, 0, 0)


def believing(hazards: Hazards) -> Reuse:
    """What is known of reuse, beginning with the same belief of every kind."""
    return Reuse(Returns(lambda _: hazards))


def parts(reuse: Reuse, of: Outline, now: float = T0) -> list[tuple[str, int]]:
    """The kind and the last block of each stretch."""
    return [(one.kind, one.end) for one in reuse.stretches(of, OWNER, now)]


# --- stretches --------------------------------------------------------------------------------------------------

ASKED = (*CHAT[:2], user(100))
LOOP = (tools(900), user(50), assistant(20), assistant(90, "tool_use"), user(400, "tool_result"))

STRETCHES = [
    ("a first question", (user(50),), [("last", 0)]),
    ("under a system prompt", ASKED[1:], [("static", 0), ("last", 1)]),
    ("with tools too", ASKED, [("static", 0), ("static", 1), ("last", 2)]),
    ("several tools and texts", (tools(9), tools(9), system(9), system(9)), [("static", 1), ("static", 3)]),
    ("a chat that was not seen", CHAT, [("static", 0), ("static", 1), ("history", 2), ("history", 3), ("last", 4)]),
    ("a tool loop", LOOP, [("static", 0), ("history", 2), ("history", 3), ("last", 4)]),
    ("documents and question", (*[user(900)] * 4, user(9)), [("message", 2), ("penultimate", 3), ("last", 4)]),
    ("context and question", (user(900), user(9)), [("penultimate", 0), ("last", 1)]),
    (
        "passages in the last of many messages",
        (user(9), assistant(9), user(9), assistant(9), user(900), user(900), user(9)),
        [("history", 3), ("message", 4), ("penultimate", 5), ("last", 6)],
    ),
    ("one role throughout", tuple([user(9)] * 6), [("message", 3), ("penultimate", 4), ("last", 5)]),
]


@pytest.mark.parametrize(("rows", "expected"), [row[1:] for row in STRETCHES], ids=[row[0] for row in STRETCHES])
def test_a_prompt_falls_apart_where_a_later_one_may_part_from_it(
    rows: Sequence[Row], expected: list[tuple[str, int]]
) -> None:
    """Tools and system prompt, what came before the last message, and its last blocks."""
    assert parts(believing(SOON), outline(*rows)) == expected


def test_what_an_earlier_prompt_held_is_known() -> None:
    """The next turn goes on where the last one ended; only what is new falls apart."""
    reuse = believing(SOON)
    reuse.sent(outline(*ASKED), OWNER, T0)
    assert parts(reuse, outline(*ASKED, assistant(9), user(9), user(9))) == [
        ("static", 0),
        ("static", 1),
        ("known", 2),
        ("history", 3),
        ("penultimate", 4),
        ("last", 5),
    ]


def test_a_prompt_that_is_sent_again_is_known_to_its_end() -> None:
    """Nothing of it is new."""
    reuse, of = believing(SOON), outline(*ASKED)
    reuse.stretches(of, OWNER, T0)
    for turn in range(2):
        reuse.sent(of, OWNER, T0 + turn)
    assert [one[:3] for one in reuse.stretches(outline(*ASKED), OWNER, T0 + 3)] == [
        (0, "static", 3),
        (1, "static", 3),
        (2, "known", 3),
    ]


def test_what_was_sent_to_another_model_is_not_known() -> None:
    """Each has a cache of its own."""
    reuse = believing(SOON)
    reuse.sent(outline(*ASKED), owner_of(NOVA), T0)
    assert parts(reuse, outline(*ASKED))[-1] == ("last", 2)


def test_another_conversation_under_the_same_system_prompt_is_at_its_first_turn() -> None:
    """The system prompt has been asked with before, the question has not."""
    reuse = believing(SOON)
    reuse.sent(outline(system(900), user(9)), OWNER, T0)
    other = Outline.of_blocks([*outline(system(900)).blocks, Block("messages", "user", "text", b"another", 9)])
    static, last = reuse.stretches(other, OWNER, T0 + 1)
    assert (static.kind, static.turn, last.kind, last.turn) == ("static", 2, "last", 1)


@pytest.mark.parametrize(
    ("volatile", "expected"),
    [
        (0, []),
        (2, [("static", 0), ("static", 1)]),
        (4, [("static", 0), ("static", 1), ("history", 3)]),
        (5, [("static", 0), ("static", 1), ("history", 4)]),
    ],
)
def test_what_stands_in_one_prompt_only_is_no_stretch(volatile: int, expected: list[tuple[str, int]]) -> None:
    """What comes before it is the history; where nothing does, there is nothing that could come back."""
    of = outline(*CHAT)._replace(volatile_from=volatile)
    whole = parts(believing(SOON), of)
    if volatile == 0:
        assert whole == [("static", 0), ("static", 1)]
    else:
        assert whole == expected


def test_conversations_about_documents_are_counted_apart() -> None:
    """They go on otherwise than others, under the same system prompt too."""
    reuse, of = believing(SOON), outline(system(900), user(9))
    volatile = of._replace(volatile_from=1)
    kinds = [reuse.kind(one, of)[0] for one in reuse.stretches(of, OWNER, T0)]
    kinds += [reuse.kind(one, volatile)[0] for one in reuse.stretches(volatile, OWNER, T0)]
    assert kinds == ["system", "system", "documents"]


def test_the_tokens_of_the_stretches_add_up() -> None:
    """What can't be counted stands for a page or two."""
    counted = believing(SOON).stretches(outline(*CHAT), OWNER, T0)
    assert sum(one.tokens for one in counted) == outline(*CHAT).tokens
    attached = believing(SOON).stretches(outline(user(None, "pdf"), user(9)), OWNER, T0)
    assert [one.tokens for one in attached] == [2_000, 9]


@pytest.mark.parametrize(("seconds", "pace"), [(0, 0), (299, 0), (301, 1), (3_599, 1), (3_601, 2), (-5, 0)])
def test_the_pace_is_how_long_ago_it_was_sent_last(seconds: float, pace: int) -> None:
    """Within five minutes, within the hour, or longer ago; a clock that goes back a little is no long time."""
    reuse = believing(SOON)
    reuse.sent(outline(*ASKED), OWNER, T0)
    assert {one.pace for one in reuse.stretches(outline(*ASKED, assistant(9), user(9)), OWNER, T0 + seconds)} == {pace}


def test_turns_are_counted() -> None:
    """From the first request of a conversation on."""
    reuse, rows, turns = believing(SOON), [system(900), user(9)], []
    for turn in range(4):
        turns.append(reuse.stretches(outline(*rows), OWNER, T0 + turn)[-1].turn)
        reuse.sent(outline(*rows), OWNER, T0 + turn)
        rows += [assistant(9), user(9)]
    assert turns == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["pdf", "document", "image", "video"])
def test_a_first_message_with_an_attachment_is_of_a_kind_of_its_own(kind: str) -> None:
    """Whatever its size; later in the conversation it counts no more."""
    reuse = believing(SOON)
    attached, plain = outline(user(600, kind), user(9)), outline(user(600), user(9))
    kinds = [reuse.kind(reuse.stretches(of, OWNER, T0)[0], of) for of in (attached, plain)]
    assert (kinds[0][-1], kinds[1][-1]) == (3, 0)
    reuse.sent(attached, OWNER, T0)
    later = outline(user(600, kind), user(9), assistant(9), user(9))
    assert reuse.kind(reuse.stretches(later, OWNER, T0)[-1], later)[-1] == 0


def test_a_picture_within_a_tool_result_is_no_attachment() -> None:
    """Recorded traffic doesn't tell of it, and must be weighed as the prompt was."""
    of = outline(user(600), user(9))
    prompted = of._replace(kinds=of.kinds | {"image"})
    reuse = believing(SOON)
    stretch = reuse.stretches(of, OWNER, T0)[-1]
    assert reuse.kind(stretch, prompted) == reuse.kind(stretch, of)


# --- what is learnt ---------------------------------------------------------------------------------------------


def talk(reuse: Reuse, number: int, *, gaps: Sequence[float], at: float) -> None:
    """One conversation whose turns follow each other after these gaps, under a system prompt that all share."""
    rows: list[Row] = [system(900), user(9)]
    for gap in (0.0, *gaps):
        at += gap
        names = ["all", *[f"{number} {index}" for index in range(1, len(rows))]]
        blocks = [Block(*row[:3], name.encode(), row[3]) for row, name in zip(rows, names, strict=True)]
        reuse.sent(Outline.of_blocks(blocks), OWNER, at)
        rows += [assistant(9), user(9)]


@pytest.mark.parametrize(
    ("gaps", "within_5m", "within_1h"),
    [((), 25 / 450, 0.0), ((50.0, 50.0), 425 / 450, 0.0), ((900.0, 900.0), 25 / 450, 425 / 450 * 400 / 450)],
    ids=["never", "at once", "after a quarter of an hour"],
)
def test_when_conversations_come_back_is_learnt(gaps: Sequence[float], within_5m: float, within_1h: float) -> None:
    """What 400 of them did, beside a belief that weighs as much as 50: that half of them come back at once."""
    reuse = believing((0.5, *[0.0] * 7))
    for number in range(400):
        talk(reuse, number, gaps=gaps, at=T0 + number * 2_000)
    reuse.returns.pass_time(T0 + 400 * 2_000 + 10_000)
    of = outline(system(900), user(9))
    first = believing(SOON).stretches(of, OWNER, T0)[-1]
    chances = reuse.chances(first, of)
    assert (chances.within_5m, chances.within_1h) == pytest.approx((within_5m, within_1h))


def test_what_is_learnt_changes_what_is_written() -> None:
    """A thousand conversations that end with their first question, and none is written any more; nor their system."""
    ledger = Ledger(reuse=believing(SOON))
    for number in range(1_000):
        blocks = [
            Block("system", None, "text", b"%d system" % number, 900),
            Block("messages", "user", "text", b"%d" % number, 900),
        ]
        of = Outline.of_blocks(blocks)
        placement = place(of, CLAUDE, ledger, T0 + 600 * number)
        ledger.record(of, CLAUDE, placement, Usage(input_tokens=1_800), T0 + 600 * number)
        if not number:
            assert placement.points
    assert placement.points == ()


def test_a_prefix_that_waits_can_be_asked_for() -> None:
    """By any block up to the cut at which its request ended; what was never sent is not known."""
    reuse, of = believing(SOON), outline(system(900), user(9))
    assert reuse.waiting(of, OWNER, 0) is None
    reuse.sent(of, OWNER, T0)
    waiting = reuse.waiting(outline(system(900), user(9), assistant(9)), OWNER, 1)
    assert waiting is not None
    assert (waiting.since, waiting.waited) == (T0, None)
    assert reuse.hazards(waiting) == SOON


# --- several processes ------------------------------------------------------------------------------------------

KEY = b"the same in every process"


def chats(ledgers: Sequence[Ledger], *, turns: int) -> float:
    """200 conversations at once, whose requests a load balancer gives to the ledgers: what the first one learns.

    It is the chance of a first question to come back within five minutes.
    """
    draw = Random(1)
    asked = sorted(
        (number * 5.0 + turn * 30.0 + draw.random(), number, turn) for number in range(200) for turn in range(turns)
    )
    for at, number, turn in asked:
        rows = [user(900), *(assistant(90), user(90)) * turn]
        blocks = [Block(*row[:3], f"{number} {index}".encode(), row[3]) for index, row in enumerate(rows)]
        answered(draw.choice(ledgers), Outline.of_blocks(blocks), T0 + at)
    for now in (T0 + 10_000, T0 + 10_100):
        for ledger in ledgers:
            ledger.sync(now)
            ledger.reuse.returns.pass_time(now)
    of = outline(user(900))
    return ledgers[0].reuse.chances(Stretch(0, "last", 1, 0, 900), of).within_5m


@pytest.mark.parametrize(("turns", "near"), [(1, 0.01), (3, 0.08), (5, 0.1)])
def test_processes_behind_a_load_balancer_learn_about_what_one_process_would(turns: int, near: float) -> None:
    """A turn that lands in another process has come back all the same.

    Not quite, since that process may take the turn for the first of a conversation.
    """
    even: Hazards = (0.5, *[0.0] * 7)
    store = MemoryStore()
    alone = chats([Ledger(key=KEY, reuse=believing(even))], turns=turns)
    shared = chats([Ledger(key=KEY, reuse=believing(even), store=store) for _ in range(2)], turns=turns)
    apart = chats([Ledger(key=KEY, reuse=believing(even)) for _ in range(2)], turns=turns)
    assert abs(shared - alone) < near < abs(apart - alone)


def test_what_was_asked_elsewhere_has_come_back() -> None:
    """With all that lies before it in the same prompt; what was asked there before us is no return."""
    reuse, of = believing(NEVER), outline(system(900), user(9))
    reuse.sent(of, OWNER, T0)
    waits = [reuse.waiting(of, OWNER, index) for index in range(2)]
    reuse.asked_elsewhere(OWNER, of.blocks[1].digest, T0 - 5)
    assert [wait.waited for wait in waits if wait] == [None, None]
    reuse.asked_elsewhere(OWNER, of.blocks[1].digest, T0 + 30)
    reuse.asked_elsewhere(OWNER, b"never heard of", T0 + 30)
    reuse.asked_elsewhere(("another", None), of.blocks[1].digest, T0 + 30)
    assert [wait.waited for wait in waits if wait] == [30.0, 30.0]


# --- what it is worth -------------------------------------------------------------------------------------------


def worth(reuse: Reuse, rates: Rates = RATES) -> Outlook:
    """The outlook of a first question."""
    of = outline(user(900))
    return reuse.outlook(reuse.stretches(of, OWNER, T0)[-1], of, rates)


def test_what_never_comes_back_costs_nothing_more() -> None:
    """However it is sent."""
    assert worth(believing(NEVER)) == Outlook(0.0, 0.0, 0.0)


def test_what_comes_back_for_ever_is_read_for_ever() -> None:
    """Within five minutes each time, until it is over: a conversation is never taken for endless."""
    outlook = worth(believing((1.0, *[0.0] * 7)))
    assert outlook.plain > outlook.written_5m == pytest.approx(outlook.written_1h)
    assert 10 * RATES.read < outlook.written_5m < RATES.read / 0.004 + 1


@given(hazards=st.lists(st.floats(0.0, 1.0), min_size=len(SPANS), max_size=len(SPANS)), read=st.floats(0.02, 0.3))
def test_to_be_warm_is_never_worse(hazards: list[float], read: float) -> None:
    """An hour is at least as good as five minutes, and five minutes as nothing."""
    outlook = worth(believing(tuple(hazards)), Rates(read, 1.25, 2.0))
    assert outlook.written_1h <= outlook.written_5m + 1e-6
    assert outlook.written_5m <= outlook.plain + 1e-6


def test_outlooks_follow_what_was_learnt() -> None:
    """They are kept as long as little is counted, and made anew as more is, here or elsewhere."""
    reuse, other = believing(SOON), believing(SOON)
    before = worth(reuse)
    for number in range(500):
        talk(other, number, gaps=(), at=T0 + number * 4_000)
    told = other.returns.take_delta()
    reuse.returns.add({name.replace("system", "messages"): counts for name, counts in told.items()})
    assert worth(reuse).plain < 0.5 * before.plain


def test_a_conversation_that_cost_more_than_without_caching_has_been_dear() -> None:
    """By more than a tenth, over all its requests so far; another one has not."""
    reuse, of = believing(SOON), outline(system(900), user(900))
    more = outline(system(900), user(900), assistant(9), user(9))

    def dear(of: Outline) -> bool:
        return reuse.has_been_dear(of, reuse.stretches(of, OWNER, T0), OWNER)

    assert not dear(of)
    reuse.sent(of, OWNER, T0, billed=1.25 * 1_800, plainly=1_800)
    assert dear(more)
    assert not dear(outline(system(900)))
    reuse.sent(more, OWNER, T0, billed=180.0 + 18, plainly=1_818)
    assert not dear(outline(system(900), user(900), assistant(9), user(9), assistant(9), user(9)))


@pytest.mark.parametrize(
    ("price", "one_hour", "expected"),
    [
        (Price(input=2, output=9, cache_read=0.5, cache_write={"5m": 2.5, "1h": 4}), True, Rates(0.25, 1.25, 2.0)),
        (Price(input=2, output=9, cache_read=0.5, cache_write={"5m": 2.5, "1h": 4}), False, Rates(0.25, 1.25, None)),
        (Price(input=2, output=9, cache_read=0.5, cache_write={"5m": 2}), True, Rates(0.25, 1.0, None)),
        (Price(input=2, output=9), True, Rates(0.1, 1.25, 2.0)),
        (None, False, Rates(0.1, 1.25, None)),
    ],
    ids=["Claude's", "no hour", "Nova's", "no cache prices", "nothing known"],
)
def test_rates_are_prices_against_the_plain_input(price: Price | None, one_hour: bool, expected: Rates) -> None:
    """What isn't known is taken for what holds for most models of Claude."""
    assert Rates.of(price, 1_000, one_hour=one_hour) == expected


def test_a_bill_is_counted_in_plain_tokens() -> None:
    """Each bucket at its price; where there is no hour, what was written for one as for five minutes."""
    usage = Usage(input_tokens=1_000, cache_read_tokens=200, cache_write_tokens=300, cache_write_1h_tokens=100)
    assert RATES.bill(usage) == pytest.approx(500 + 20 + 250 + 200)
    assert Rates(0.25, 1.0, None).bill(usage) == pytest.approx(500 + 50 + 200 + 100)


# --- saving, and logs that can't be ------------------------------------------------------------------------------


def test_what_was_learnt_can_be_saved_and_loaded() -> None:
    """The same chances in the next process; no digest is in it."""
    reuse = Reuse()
    for number in range(100):
        talk(reuse, number, gaps=(60.0,), at=T0 + number * 4_000)
    told = reuse.to_dict()
    loaded = Reuse.load(told)
    of = outline(system(900), user(9))
    stretch = loaded.stretches(of, OWNER, T0)[-1]
    assert loaded.returns.chances(loaded.kind(stretch, of)) == reuse.returns.chances(reuse.kind(stretch, of))
    assert loaded.to_dict() == told
    assert "digest" not in str(told)


def test_what_was_saved_with_other_spans_is_refused() -> None:
    """Its counts would mean something else."""
    with pytest.raises(ValueError, match="Start anew"):
        Reuse.load({**Reuse().to_dict(), "spans": [300.0, 3600.0]})


def test_the_shipped_belief_knows_every_kind() -> None:
    """By itself, by what it resembles, or as anything: chances between 0 and 1 for each span."""
    for kind in (("tools", "static", 2, 1, 0), ("messages", "last", 7, 2, 3), ("system", "known", 99, 2, 0), ("x",)):
        hazards = shipped_belief(kind)
        assert len(hazards) == len(SPANS)
        assert all(0.0 <= hazard < 1.0 for hazard in hazards)


def test_a_shipped_tempo_speaks_of_documents_and_of_tools_alone() -> None:
    """People go on within minutes, or the hour, also where an agent works for them; some agents work by themselves."""
    quick, slow, agents, _ = shipped_tempos()
    chances = [Returns(lambda kind, tempo=tempo: tempo(kind) or NEVER).chances(KNOWN) for tempo in (quick, slow)]
    assert chances[0].within_5m > 0.7 > 0.3 > chances[1].within_5m
    assert chances[1].within_1h > 0.6 > chances[0].within_1h
    for tempo in (quick, slow):
        assert tempo(("system", "known", 2, 0, 0)) is None
        history = ("history", 1, 0, 0)
        assert tempo(("tools", *history)) == tempo(("documents", *history))
        assert len(tempo(("documents", *history)) or ()) == len(SPANS)
        assert tempo(("tools", "last", 1, 0, 0)) is None
    assert agents(("documents", "history", 1, 0, 0)) is None
    assert agents(("tools", "known", 2, 0, 0)) == shipped_belief(("tools", "known", 2, 0, 0))


def test_what_came_back_tells_people_with_an_agent_from_agents_by_themselves() -> None:
    """After some conversations at a minute's pace, nothing is expected back after five minutes; before, much is."""
    returns = Returns(shipped_belief, tempos=shipped_tempos())
    kind = ("tools", "known", 2, 0, 0)
    before = returns.chances(kind, b"application")
    for conversation in range(20):
        at = conversation * 7200.0
        for turn in range(8):
            waiting = returns.watch(kind, b"application", at + turn * 60.0)
            if turn < 7:
                waiting.returned(at + turn * 60.0 + 59.0)
    returns.pass_time(21 * 7200.0)
    after = returns.chances(kind, b"application")
    assert after.within_1h < before.within_1h / 3
    assert after.within_5m > before.within_5m


def test_the_course_of_a_conversation_is_told_by_turn() -> None:
    """From its first turn to the last that is told apart, by the kind that a prompt is which goes on."""
    first, later = (0.5, *[0.0] * 7), (0.0, 0.0, 0.0, 0.25, *[0.0] * 4)
    reuse = Reuse(Returns(lambda kind: first if kind[1:3] == ("known", 1) else later if kind[1] == "known" else NEVER))
    course = reuse.course("documents", 0, None)
    assert [tuple(chances) for chances in course[:2]] == [(0.5, 0.0), (0.0, 0.25)]
    assert len(course) == 20
    assert course[-1] == course[1]


@pytest.mark.parametrize("digests", [(b"a", b"a", b"a"), (b"a", b"b", b"a")], ids=["all alike", "the first again"])
def test_a_log_whose_digests_repeat_goes_through(digests: Sequence[bytes]) -> None:
    """It can't be true, but it must not hang."""
    ledger = Ledger()
    of = Outline.of_blocks([Block("messages", "user", "text", digest, 2_000) for digest in digests])
    for turn in range(3):
        placement = place(of, CLAUDE, ledger, T0 + turn)
        ledger.record(of, CLAUDE, placement, Usage(input_tokens=6_000), T0 + turn)
    ledger.reuse.asked_elsewhere(OWNER, b"a", T0 + 9)


def test_cuts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was sent longest ago is forgotten."""
    monkeypatch.setattr("pointsman.cache.reuse._MOST_CUTS", 3)
    reuse = believing(SOON)
    prompts = [Outline.of_blocks([Block("messages", "user", "text", b"%d" % number, 9)]) for number in range(5)]
    for of in prompts:
        reuse.sent(of, OWNER, T0)
    assert [reuse.waiting(of, OWNER, 0) is not None for of in prompts] == [False, False, True, True, True]


def test_placing_with_the_callers_points_alone_is_learnt_from_too() -> None:
    """What comes back comes back, whoever placed the points, or nobody."""
    reuse = believing(SOON)
    ledger, of = Ledger(reuse=reuse), outline(user(900))
    ledger.record(of, CLAUDE, Placement(points=(CachePoint(0),)), Usage(input_tokens=900), T0)
    ledger.record(outline(user(900), assistant(9), user(9)), CLAUDE, Placement(), Usage(input_tokens=918), T0 + 9)
    assert [one.turn for one in reuse.stretches(of, OWNER, T0 + 10)] == [3]
