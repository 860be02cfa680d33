"""Ledgers that share a store: they believe the same, whatever comes when; without the store each goes on alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Block, CachePoint, Catalog, InvalidRequestError, Ledger, LedgerStore, Outline, Placement, Usage
from pointsman.cache import Booked, MemoryStore, Refusal
from pointsman.cache.ledger import owner_of

HAIKU = Catalog.default().resolve("us.anthropic.claude-haiku-5-5", region="us-east-1")
ELSEWHERE = Catalog.default().resolve("us.anthropic.claude-haiku-5-5", region="us-west-2")
KEY = b"the same in every process"
T0 = 1_800_000_000.0
OpenStore = Callable[..., LedgerStore]


def prompt(name: str = "a") -> Outline:
    """A prompt of one block."""
    return Outline.of_blocks([Block("messages", "user", "text", name.encode(), 2_000)])


def record(ledger: Ledger, name: str = "a", *, now: float = T0, read: int = 0, wrote: int = 0, ttl: str = "5m") -> None:
    """Book a reply to the prompt of that name."""
    usage = Usage(input_tokens=2_000, cache_read_tokens=read, cache_write_tokens=wrote)
    ledger.record(prompt(name), HAIKU, Placement(points=(CachePoint(0, ttl),)), usage, now)


def is_warm(ledger: Ledger, name: str = "a", *, now: float = T0, model: Any = HAIKU) -> bool:
    """Whether the ledger believes so."""
    return ledger.warm_prefix(prompt(name), model, now) is not None


class Breakable:
    """A store that can be made to fail or to wait."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.error: Exception | None = None
        self.loses_answers = False
        self.answers = threading.Event()
        self.answers.set()
        self.exchanges = 0
        self.given = 0

    def exchange(self, *, booked: Sequence[Booked], since: str, now: float) -> tuple[Sequence[Booked], str]:
        """As the store in it does, if at all."""
        self.exchanges += 1
        self.given += len(booked)
        self.answers.wait(5)
        if self.error is not None:
            raise self.error
        answer = self.store.exchange(booked=booked, since=since, now=now)
        if self.loses_answers:
            raise TimeoutError
        return answer


class Count:
    """A statistic of one number."""

    def __init__(self) -> None:
        self.total = 0
        self._new = 0

    def see(self, number: int) -> None:
        """Count on."""
        self.total += number
        self._new += number

    def take_delta(self) -> dict[str, int] | None:
        """What is new."""
        new, self._new = self._new, 0
        return {"new": new} if new else None

    def add(self, delta: Any) -> None:
        """What others counted."""
        self.total += delta["new"]


# --- what goes round --------------------------------------------------------------------------------------------


def test_what_one_wrote_the_other_believes_warm(open_store: OpenStore) -> None:
    """With its TTL and the tokens that were billed, on that model and in that Region only."""
    one, other = Ledger(key=KEY, store=open_store()), Ledger(key=KEY, store=open_store())
    record(one, wrote=1_900, ttl="1h")
    one.sync(T0)
    other.sync(T0)
    prefix = other.warm_prefix(prompt(), HAIKU, T0 + 3_599)
    assert prefix is not None
    assert prefix.tokens == 1_900
    assert not is_warm(other, now=T0 + 3_600)
    assert not is_warm(other, model=ELSEWHERE)


def test_what_one_found_evicted_the_other_believes_cold(open_store: OpenStore) -> None:
    """But what was written since is warm."""
    one, other = Ledger(key=KEY, store=open_store()), Ledger(key=KEY, store=open_store())
    record(one, "gone", wrote=2_000)
    record(one, "rewritten", wrote=2_000)
    one.sync(T0)
    other.sync(T0)
    assert is_warm(other, "gone")
    record(one, "gone", now=T0 + 10)
    record(one, "rewritten", now=T0 + 10, wrote=2_000)
    one.sync(T0 + 11)
    other.sync(T0 + 11)
    assert not is_warm(other, "gone", now=T0 + 11)
    assert is_warm(other, "rewritten", now=T0 + 11)


def test_a_refused_place_is_told(open_store: OpenStore) -> None:
    """The other needs no refusal of its own."""
    one, other = Ledger(key=KEY, store=open_store()), Ledger(key=KEY, store=open_store())
    one.refuse(HAIKU, Refusal(section="tools"), T0)
    one.refuse(HAIKU, Refusal(kind="document"), T0)
    one.sync(T0)
    other.sync(T0)
    assert other.refusals(HAIKU) == {Refusal(section="tools"), Refusal(kind="document")}


def test_statistics_add_up(open_store: OpenStore) -> None:
    """Each count goes to every other ledger once, and does not come back."""
    ledgers = [Ledger(key=KEY, store=open_store()) for _ in range(3)]
    counts = [Count() for _ in ledgers]
    for ledger, count in zip(ledgers, counts, strict=True):
        ledger.share("count", count)
    for step in range(5):
        counts[step % 3].see(10**step)
        for ledger in ledgers:
            ledger.sync(T0 + 61 * step)
    for ledger in ledgers:
        ledger.sync(T0 + 400)
    assert [count.total for count in counts] == [11_111] * 3


def test_a_statistic_is_told_once_a_minute() -> None:
    """It moves slowly, and each delta is a record."""
    store = Breakable()
    ledger, count = Ledger(key=KEY, store=store), Count()
    ledger.share("count", count)
    for second in range(121):
        count.see(1)
        ledger.sync(T0 + second)
    assert store.exchanges == 121
    assert store.given == 3


def test_a_ledger_learns_from_others_how_often_prompts_come_back(open_store: OpenStore) -> None:
    """The ledger's own statistic of reuse goes round."""
    one, other = Ledger(key=KEY, store=open_store()), Ledger(key=KEY, store=open_store())
    for number in range(5):
        record(one, f"{number}", wrote=2_000, now=T0 + 3_601 * number)
    one.sync(T0 + 20_000)
    other.sync(T0 + 20_000)
    assert other.reuse.to_dict() == one.reuse.to_dict()
    assert other.reuse.to_dict()["returns"]


def test_records_of_a_newer_version_are_left_alone() -> None:
    """Kinds that this one doesn't know, and what it doesn't understand of the others."""
    store = MemoryStore()
    unknown = [Booked("weather", "m", "r", b"", T0 + 9, "{"), Booked("5m", "m", "r", b"", T0 + 9, "about 9")]
    unknown += [
        Booked(kind, "", "", b"", T0 + 9, detail) for kind in ("reuse", "refused") for detail in ("{", '{"a": 1}')
    ]
    store.exchange(booked=[*unknown, _written()], since="", now=T0)
    ledger = Ledger(key=KEY, store=store)
    ledger.sync(T0)
    assert is_warm(ledger)


def _written() -> Booked:
    model, region = owner_of(HAIKU)
    return Booked("5m", model, region or "", b"a", T0 + 300)


# --- the law ----------------------------------------------------------------------------------------------------

EVENTS = st.tuples(
    st.sampled_from(["wrote 5m", "wrote 1h", "read", "lost"]),
    st.integers(0, 2),
    st.sampled_from("ab"),
    st.integers(0, 40).map(lambda minutes: T0 + 100.0 * minutes),
)
EXCHANGES = st.tuples(st.just("exchange"), st.integers(0, 2), st.just(""), st.just(0.0))


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(EVENTS, EXCHANGES), max_size=40))
def test_ledgers_that_exchanged_believe_the_same(steps: Sequence[tuple[str, int, str, float]]) -> None:
    """Whatever was written, read and found evicted, in whichever order it was booked and exchanged."""
    store = MemoryStore()
    ledgers = [Ledger(key=KEY, store=store) for _ in range(3)]
    for number, (what, who, name, at) in enumerate(steps):
        if what == "exchange":
            ledgers[who].sync(T0 + number)
        elif what.startswith("wrote"):
            record(ledgers[who], name, now=at, wrote=2_000, ttl=what[-2:])
        else:
            record(ledgers[who], name, now=at, read=2_000 if what == "read" else 0)
    for later in (100, 200):
        for ledger in ledgers:
            ledger.sync(T0 + later)
    assert _beliefs(ledgers[0]) == _beliefs(ledgers[1]) == _beliefs(ledgers[2])


def _beliefs(ledger: Ledger) -> list[tuple[str, float] | None]:
    told = [ledger.written(prompt(name), HAIKU) for name in "ab"]
    return [(one.ttl, one.used) if one else None for one in told]


def test_the_later_of_two_lives_is_found_behind_an_evicted_one() -> None:
    """Written for an hour, evicted, written for five minutes by one who knew of neither, and then all is told."""
    store = MemoryStore()
    writer, loser, other = (Ledger(key=KEY, store=store) for _ in range(3))
    record(writer, wrote=2_000, ttl="1h")
    writer.sync(T0)
    loser.sync(T0)
    record(loser, now=T0 + 5)
    record(other, now=T0 + 10, wrote=2_000)
    other.sync(T0 + 10)
    assert is_warm(other, now=T0 + 3_599)
    loser.sync(T0 + 20)
    other.sync(T0 + 20)
    for ledger in (loser, other):
        assert is_warm(ledger, now=T0 + 309)
        assert not is_warm(ledger, now=T0 + 310)


# --- when it is exchanged ---------------------------------------------------------------------------------------


def test_it_is_exchanged_once_a_second_at_most() -> None:
    """And at once after a clock was set back a good deal."""
    store = Breakable()
    ledger = Ledger(key=KEY, store=store)
    for now in (T0, T0 + 0.5, T0 + 0.9, T0 + 1.0, T0 + 1.1, T0 + 3, T0 - 3_000, T0 - 2_999.5):
        ledger.sync(now)
    assert store.exchanges == 4


def test_what_was_booked_is_handed_over_once() -> None:
    """Many reads of a prefix are one record."""
    store = Breakable()
    ledger = Ledger(key=KEY, store=store)
    record(ledger, wrote=2_000)
    for second in range(9):
        record(ledger, now=T0 + second / 10, read=2_000)
    ledger.sync(T0 + 1)
    ledger.sync(T0 + 2)
    assert store.given == 1


def test_one_thread_exchanges_and_the_others_go_on() -> None:
    """A store that takes its time holds one call only."""
    store = Breakable()
    ledger = Ledger(key=KEY, store=store)
    store.answers.clear()
    waiting = threading.Thread(target=ledger.sync, args=(T0,))
    waiting.start()
    while not store.exchanges:
        time.sleep(0.001)
    started = time.perf_counter()
    for second in range(100):
        ledger.sync(T0 + second)
        record(ledger, f"{second}", wrote=2_000)
    took = time.perf_counter() - started
    store.answers.set()
    waiting.join()
    assert store.exchanges == 1
    assert took < 1


def test_what_is_booked_during_an_exchange_is_not_lost() -> None:
    """It comes with the next one."""
    store = Breakable()
    ledger, other = Ledger(key=KEY, store=store), Ledger(key=KEY, store=store.store)
    record(ledger, "before", wrote=2_000)
    store.answers.clear()
    waiting = threading.Thread(target=ledger.sync, args=(T0,))
    waiting.start()
    while not store.exchanges:
        time.sleep(0.001)
    record(ledger, "meanwhile", wrote=2_000)
    record(ledger, "before", now=T0 + 1, read=2_000)
    store.answers.set()
    waiting.join()
    ledger.sync(T0 + 2)
    other.sync(T0 + 2)
    assert is_warm(other, "meanwhile", now=T0 + 299)
    assert is_warm(other, "before", now=T0 + 300)


# --- without the store ------------------------------------------------------------------------------------------


def test_a_ledger_goes_on_without_its_store(caplog: pytest.LogCaptureFixture) -> None:
    """One warning; another try every half a minute; and then all that was booked meanwhile is handed over."""
    store = Breakable()
    ledger, other = Ledger(key=KEY, store=store), Ledger(key=KEY, store=store.store)
    store.error = ConnectionError("nobody there")
    with caplog.at_level(logging.INFO, logger="pointsman"):
        for second in range(100):
            record(ledger, f"{second}", now=T0 + second, wrote=2_000)
            ledger.sync(T0 + second)
        warned = [entry.getMessage() for entry in caplog.records]
        assert is_warm(ledger, "0")
        store.error = None
        ledger.sync(T0 + 120)
        other.sync(T0 + 120)
    assert warned == ["the ledger goes on alone, its store fails: ConnectionError: nobody there"]
    assert store.exchanges == 5
    assert all(is_warm(other, f"{second}", now=T0 + 120) for second in range(100))
    assert caplog.records[-1].getMessage() == "the ledger's store is back"


def test_what_waits_for_a_lost_store_is_bounded() -> None:
    """The latest is kept, and goes there in parts."""
    store = Breakable()
    ledger, other = Ledger(key=KEY, store=store, bound=20_000), Ledger(key=KEY, store=store.store, bound=20_000)
    store.error = TimeoutError()
    ledger.sync(T0)
    for number in range(17_000):
        record(ledger, f"{number}", wrote=2_000)
    store.error = None
    for second in range(30, 70):
        ledger.sync(T0 + second)
        other.sync(T0 + second)
    believed = [number for number in range(17_000) if is_warm(other, f"{number}", now=T0 + 60)]
    assert believed == [*range(17_000 - 16_384, 17_000)]


def test_counts_are_kept_while_the_store_is_gone() -> None:
    """They come late, and once."""
    store = Breakable()
    ledgers = [Ledger(key=KEY, store=store), Ledger(key=KEY, store=store.store)]
    counts = [Count(), Count()]
    for ledger, count in zip(ledgers, counts, strict=True):
        ledger.share("count", count)
    store.error = TimeoutError()
    for minute in range(10):
        counts[0].see(1)
        ledgers[0].sync(T0 + 60 * minute)
    store.error = None
    for minute in range(10, 13):
        for ledger in ledgers:
            ledger.sync(T0 + 60 * minute)
    assert counts[1].total == counts[0].total == 10


def test_a_lost_answer_counts_nothing_twice() -> None:
    """What had arrived is handed over again, and comes back as well."""
    store = Breakable()
    ledgers = [Ledger(key=KEY, store=store), Ledger(key=KEY, store=store.store)]
    counts = [Count(), Count()]
    for ledger, count in zip(ledgers, counts, strict=True):
        ledger.share("count", count)
    counts[0].see(1)
    store.loses_answers = True
    ledgers[0].sync(T0)
    store.loses_answers = False
    for minute in range(1, 4):
        for ledger in ledgers:
            ledger.sync(T0 + 60 * minute)
    assert [count.total for count in counts] == [1, 1]


@pytest.mark.parametrize("told", [None, ([], None), ([Booked("5m", "m", "r", b"", T0, "many")], "1"), ([7], "1")])
def test_a_store_that_tells_nonsense_breaks_nothing(told: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What a user's own store gives is not trusted."""

    class Own:
        def exchange(self, **_: Any) -> Any:
            return told

    ledger = Ledger(key=KEY, store=Own())
    ledger.sync(T0)
    record(ledger, wrote=2_000)
    ledger.sync(T0 + 100)
    assert is_warm(ledger)
    assert all(entry.levelno <= logging.WARNING for entry in caplog.records)


@pytest.mark.parametrize("key", [None, b"", b"short"])
def test_a_store_needs_a_key(key: bytes | None) -> None:
    """Random keys of two processes would never agree; a short one could be guessed from what the store holds."""
    with pytest.raises(InvalidRequestError, match="at least 16 bytes"):
        Ledger(key=key, store=MemoryStore())
    Ledger(key=key)
