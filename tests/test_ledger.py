"""The ledger: what is believed warm on which model until when, and how replies correct it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Block, CachePoint, Catalog, Ledger, Model, Outline, Placement, Usage, place
from pointsman.cache import Refusal
from pointsman.local.blocks import CachePoint as EndpointPoint
from pointsman.local.cache import PrefixCache

CATALOG = Catalog.default()
HAIKU = CATALOG.resolve("us.anthropic.claude-haiku-5-5", region="us-east-1")
NOVA = CATALOG.resolve("amazon.nova-pro-v1:0", region="us-east-1")
T0 = 1_800_000_000.0


def conversation(*tokens: int | None, branch: str = "", section: str = "messages") -> Outline:
    """Blocks of so many tokens, roles alternating; conversations of one branch share their prefixes."""
    return Outline.of_blocks(
        Block(section, ("user", "assistant")[index % 2], "text", f"{branch}{index}".encode(), count)
        for index, count in enumerate(tokens)
    )


def record(
    ledger: Ledger,
    outline: Outline,
    *points: CachePoint,
    model: Model = HAIKU,
    now: float = T0,
    read: int = 0,
    written: int | None = None,
) -> None:
    """Book a reply that read and wrote so many tokens; by default it wrote all that was not read."""
    total = outline.tokens
    usage = Usage(
        input_tokens=total,
        cache_read_tokens=read,
        cache_write_tokens=total - read if written is None else written,
    )
    ledger.record(outline, model, Placement(points=points), usage, now)


def warm(ledger: Ledger, outline: Outline, *, model: Model = HAIKU, now: float = T0) -> int | None:
    """The block that the longest warm prefix ends with."""
    prefix = ledger.warm_prefix(outline, model, now)
    return None if prefix is None else prefix.after


# --- time -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ttl", "seconds"), [("5m", 300), ("1h", 3_600)])
def test_a_prefix_is_warm_until_its_ttl_has_passed(ttl: str, seconds: int) -> None:
    """From the time of sending, five minutes or an hour."""
    ledger, outline = Ledger(), conversation(2_000)
    record(ledger, outline, CachePoint(0, ttl))
    assert warm(ledger, outline, now=T0 + seconds - 0.1) == 0
    assert warm(ledger, outline, now=T0 + seconds) is None


def test_a_read_restarts_the_ttl() -> None:
    """Each read gives the prefix its whole TTL again."""
    ledger, outline = Ledger(), conversation(2_000)
    record(ledger, outline, CachePoint(0))
    record(ledger, outline, CachePoint(0), now=T0 + 250, read=2_000, written=0)
    assert warm(ledger, outline, now=T0 + 549) == 0


def test_a_reply_booked_late_does_not_shorten_a_life() -> None:
    """Requests of one conversation may be booked out of order."""
    ledger, outline = Ledger(), conversation(2_000)
    record(ledger, outline, CachePoint(0), now=T0 + 100)
    record(ledger, outline, CachePoint(0), now=T0)
    assert warm(ledger, outline, now=T0 + 399) == 0


def test_a_read_of_a_longer_conversation_keeps_what_it_read_alive() -> None:
    """The prefix that was read lives on with its own TTL beside the one that was written."""
    ledger = Ledger()
    record(ledger, conversation(2_000), CachePoint(0, "1h"))
    record(ledger, conversation(2_000, 500), CachePoint(1), now=T0 + 200, read=2_000, written=500)
    later = conversation(2_000, 500)
    assert warm(ledger, later, now=T0 + 499) == 1
    assert warm(ledger, later, now=T0 + 501) == 0, "the hour's"
    assert warm(ledger, later, now=T0 + 3_799) == 0


# --- whose cache it is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "region", "is_warm"),
    [
        ("us.anthropic.claude-haiku-5-5", "us-east-1", True),
        ("arn:aws:bedrock:us-east-1:123412341234:inference-profile/us.anthropic.claude-haiku-5-5", None, True),
        ("eu.anthropic.claude-haiku-5-5", "us-east-1", False),
        ("us.anthropic.claude-haiku-5-5", "us-west-2", False),
        ("us.anthropic.claude-sonnet-5-5", "us-east-1", False),
    ],
)
def test_caches_are_per_profile_and_region(model_id: str, region: str | None, is_warm: bool) -> None:
    """The profile that was invoked, however it was named, in the Region that it was invoked from."""
    ledger, outline = Ledger(), conversation(2_000)
    record(ledger, outline, CachePoint(0))
    model = CATALOG.resolve(model_id, region=region)
    assert (warm(ledger, outline, model=model) == 0) == is_warm


def test_a_switch_of_model_is_no_eviction() -> None:
    """Back on the first model its prefix is still warm."""
    ledger, outline = Ledger(), conversation(2_000)
    record(ledger, outline, CachePoint(0))
    record(ledger, outline, CachePoint(0), model=NOVA, now=T0 + 10)
    assert warm(ledger, outline, now=T0 + 20) == 0
    assert warm(ledger, outline, model=NOVA, now=T0 + 20) == 0


# --- what a reply teaches ---------------------------------------------------------------------------------------


def test_nothing_is_booked_where_nothing_was_cached() -> None:
    """A reply without reads and writes says that the prefix is below the true minimum."""
    ledger, outline = Ledger(), conversation(600)
    record(ledger, outline, CachePoint(0), written=0)
    assert warm(ledger, outline) is None


def test_a_point_below_the_minimum_is_not_booked() -> None:
    """Bedrock passes over it in silence, and so does the ledger."""
    ledger, outline = Ledger(), conversation(400, 2_000)
    record(ledger, outline, CachePoint(0), CachePoint(1))
    assert warm(ledger, conversation(400)) is None
    assert warm(ledger, outline) == 1


def test_only_points_that_were_written_up_to_are_booked() -> None:
    """Less was cached than estimated: the points behind it have no entry."""
    ledger, outline = Ledger(), conversation(2_000, 2_000, 2_000)
    record(ledger, outline, CachePoint(0), CachePoint(1), CachePoint(2), written=2_100)
    assert warm(ledger, outline) == 0


def test_an_expected_read_that_did_not_come_is_forgotten() -> None:
    """Bedrock has evicted it: it is not expected a second time."""
    ledger, outline = Ledger(), conversation(2_000)
    record(ledger, outline, CachePoint(0))
    record(ledger, conversation(2_000, 600), CachePoint(1), now=T0 + 10, read=0, written=0)
    assert warm(ledger, conversation(2_000, 600), now=T0 + 20) is None


def test_a_shorter_read_than_expected_keeps_the_shorter_prefix() -> None:
    """What was read is there; what is longer is gone."""
    ledger, outline = Ledger(), conversation(2_000, 2_000)
    record(ledger, outline, CachePoint(0), CachePoint(1))
    longer = conversation(2_000, 2_000, 100)
    record(ledger, longer, CachePoint(2), now=T0 + 10, read=2_000, written=0)
    assert warm(ledger, longer, now=T0 + 20) == 0


def test_the_counted_tokens_of_a_prefix_are_kept() -> None:
    """Once Bedrock has counted a prefix its count is expected, not the estimate."""
    ledger, outline = Ledger(), conversation(2_000)
    usage = Usage(input_tokens=2_100, cache_write_tokens=2_100)
    ledger.record(outline, HAIKU, Placement(points=(CachePoint(0),)), usage, T0)
    prefix = ledger.readable(outline, HAIKU, [CachePoint(0)], T0 + 1)
    assert prefix is not None
    assert prefix.tokens == 2_100


def test_documents_whose_tokens_nobody_knows_are_believed_written() -> None:
    """With a PDF in the prompt estimates can't be compared: all effective points are booked."""
    ledger, outline = Ledger(), conversation(None, 20)
    ledger.record(
        outline,
        HAIKU,
        Placement(points=(CachePoint(0), CachePoint(1))),
        Usage(input_tokens=9, cache_write_tokens=9),
        T0,
    )
    assert warm(ledger, outline) == 1


# --- look-back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("added", "found"), [(1, True), (20, True), (21, True), (22, False)])
def test_claude_looks_back_over_twenty_one_added_blocks(added: int, found: bool) -> None:
    """21 added blocks hit, 22 miss, as it was measured."""
    ledger = Ledger()
    record(ledger, conversation(2_000), CachePoint(0))
    longer = conversation(2_000, *[10] * added)
    assert (ledger.readable(longer, HAIKU, [CachePoint(added)], T0 + 1) is not None) == found
    assert warm(ledger, longer) == 0, "it is there all the same"


def test_a_second_point_bridges_the_look_back() -> None:
    """Any of the request's points can find the entry."""
    ledger = Ledger()
    record(ledger, conversation(2_000), CachePoint(0))
    longer = conversation(2_000, *[10] * 40)
    assert ledger.readable(longer, HAIKU, [CachePoint(40)], T0) is None
    assert ledger.readable(longer, HAIKU, [CachePoint(40), CachePoint(15)], T0) is not None


def test_nova_reads_only_where_a_point_stands() -> None:
    """No look-back is known for it: one block off is a miss."""
    ledger = Ledger()
    record(ledger, conversation(2_000), CachePoint(0), model=NOVA)
    longer = conversation(2_000, 10)
    assert ledger.readable(longer, NOVA, [CachePoint(1)], T0) is None
    assert ledger.readable(longer, NOVA, [CachePoint(0), CachePoint(1)], T0) is not None


def test_a_changed_prefix_is_another_one() -> None:
    """Nothing of another conversation is expected."""
    ledger = Ledger()
    record(ledger, conversation(2_000, 500), CachePoint(1))
    assert warm(ledger, conversation(2_000, 500, branch="other")) is None


# --- bounds, refusals, threads ----------------------------------------------------------------------------------


def test_the_longest_unused_prefix_goes_first() -> None:
    """Bounded per model; a read makes a prefix recent again."""
    ledger = Ledger(bound=2)
    first, second, third = (conversation(2_000, branch=name) for name in "abc")
    record(ledger, first, CachePoint(0))
    record(ledger, second, CachePoint(0))
    record(ledger, first, CachePoint(0), read=2_000, written=0)
    record(ledger, third, CachePoint(0))
    record(ledger, third, CachePoint(0), model=NOVA)
    assert [warm(ledger, one) for one in (first, second, third)] == [0, None, 0]


@pytest.mark.parametrize(
    ("refusal", "section", "kind", "covered"),
    [
        (Refusal(), "tools", "tool", True),
        (Refusal(section="tools"), "tools", "tool", True),
        (Refusal(section="tools"), "system", "text", False),
        (Refusal(section="messages", kind="document"), "messages", "document", True),
        (Refusal(section="messages", kind="document"), "messages", "text", False),
        (Refusal(kind="reasoning"), "messages", "reasoning", True),
    ],
)
def test_a_refusal_covers_a_kind_of_place(refusal: Refusal, section: str, kind: str, covered: bool) -> None:
    """None stands for any section or any kind."""
    assert refusal.covers(section, kind) == covered


def test_refusals_are_remembered_per_model() -> None:
    """For all profiles of the model, and for no other one."""
    ledger = Ledger()
    ledger.refuse(HAIKU, Refusal(section="tools"))
    ledger.refuse(HAIKU, Refusal(section="system"))
    assert ledger.refusals(replace(HAIKU, invoke_id="eu." + HAIKU.id)) == {
        Refusal(section="tools"),
        Refusal(section="system"),
    }
    assert ledger.refusals(NOVA) == frozenset()


def test_keys_are_secret_unless_they_are_given() -> None:
    """Two ledgers agree only if they were given the same key."""
    assert Ledger().key != Ledger().key
    assert Ledger(key=b"shared").key == Ledger(key=b"shared").key


def test_many_threads_can_book_at_once() -> None:
    """The bound holds and nothing is torn while eight threads write and read."""
    ledger = Ledger(bound=50)
    failures: list[Exception] = []

    def work(name: str) -> None:
        try:
            for number in range(300):
                outline = conversation(2_000, branch=f"{name}{number}")
                record(ledger, outline, CachePoint(0), now=T0 + number)
                ledger.readable(outline, HAIKU, [CachePoint(0)], T0 + number)
        except Exception as exc:  # noqa: BLE001 - a thread's error must fail the test
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = [conversation(2_000, branch=f"{name}{number}") for name in "abcdefgh" for number in range(300)]
    assert not failures
    assert sum(warm(ledger, outline, now=T0) is not None for outline in last) == 50


# --- the ledger against the endpoint's cache --------------------------------------------------------------------


class _Witness:
    """The endpoint's own cache, asked with the same blocks."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._cache = PrefixCache()

    def usage(self, outline: Outline, points: Sequence[CachePoint], now: float) -> Usage:
        """What it reads and writes for this request."""
        plan = self._cache.plan(
            chain=[b"root", *(block.digest for block in outline.blocks)],
            tokens=[block.tokens or 0 for block in outline.blocks],
            points=[
                EndpointPoint(after=one.after + 1, ttl=one.ttl, section="messages", position=1, pointer="")
                for one in points
            ],
            rules=self._model.cache,
            now=now,
        )
        self._cache.commit(plan, now=now)
        return Usage(
            input_tokens=outline.tokens,
            cache_read_tokens=plan.read_tokens,
            cache_write_tokens=plan.write_tokens,
            cache_write_1h_tokens=plan.write_1h_tokens,
        )


_lengths = st.integers(1, 45)
_waits = st.sampled_from([1.0, 100.0, 299.0, 301.0, 3_599.0, 3_601.0])
_steps = st.lists(st.tuples(st.sampled_from("ab"), _lengths, _waits), min_size=2, max_size=10)
_sizes = st.lists(st.sampled_from([3, 40, 700, 3_000]), min_size=45, max_size=45)
_ttls = st.sampled_from(["5m", "1h"])


@pytest.mark.parametrize("model", [HAIKU, NOVA], ids=lambda model: model.id)
def test_what_is_expected_is_what_comes_back(model: Model) -> None:
    """With exact token counts the expected read is, request by request, the read of the endpoint's own cache."""

    @settings(settings.get_profile("laws"), max_examples=400)
    @given(steps=_steps, sizes=_sizes, by_caller=st.lists(st.tuples(_lengths, _ttls), max_size=2))
    def agrees(steps: list[tuple[str, int, float]], sizes: list[int], by_caller: list[tuple[int, str]]) -> None:
        ledger, witness, now = Ledger(), _Witness(model), T0
        for branch, length, wait in steps:
            outline = conversation(*sizes[:length], branch=branch)
            own = {after: ttl for after, ttl in sorted(by_caller) if after < length}
            points = [CachePoint(after, ttl) for after, ttl in own.items()]
            outline = Outline.of_blocks(outline.blocks, points=points)
            now += wait
            placement = place(outline, model, ledger, now)
            expected = ledger.readable(outline, model, placement.points, now)
            usage = witness.usage(outline, placement.points, now)
            assert (expected.tokens if expected else 0) == usage.cache_read_tokens
            ledger.record(outline, model, placement, usage, now)

    agrees()
