"""Finding a miss reason: the laws, and what outlines alone can show."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Block, CachePoint, Catalog, Client, Ledger, Model, Outline, Placement, Usage
from pointsman.cache import Case, Sending, SentPrompts, explain_miss
from pointsman.cache.misses import (
    BelowMinimum,
    Evicted,
    MissReason,
    NoPoint,
    NotWritten,
    PrefixChanged,
    TTLPassed,
    WrittenConcurrently,
)
from pointsman.outline import Prefix
from pointsman.prompt import Prompt
from pointsman.tokens import EstimatedTokens

HAIKU = Catalog.default().resolve("us.anthropic.claude-haiku-5-5", region="us-east-1")
NOVA = Catalog.default().resolve("amazon.nova-pro-v1:0", region="us-east-1")
LLAMA = Catalog.default().resolve("meta.llama3-1-70b-instruct-v1:0", region="us-east-1")
T0 = 1_800_000_000.0


def conversation(*tokens: int | None, branch: str = "") -> Outline:
    """A system block and messages of so many tokens; conversations of one branch share their prefixes."""
    return Outline.of_blocks(
        Block(
            "messages" if index else "system",
            ("user", "assistant")[index % 2] if index else None,
            "text",
            digest,
            count,
        )
        for index, (digest, count) in enumerate(
            (f"{branch if index else ''}{index}".encode(), count) for index, count in enumerate(tokens)
        )
    )


class Traffic:
    """Requests to one model, of which each is sent, answered and booked."""

    def __init__(self, model: Model = HAIKU) -> None:
        self.model = model
        self.ledger = Ledger()
        self.sent = SentPrompts()

    def send(self, outline: Outline, *points: int, now: float) -> Sending | None:
        return self.sent.send(outline, self.model, [CachePoint(after) for after in points], now)

    def case(self, outline: Outline, *points: int, now: float, usage: Usage, sending: Sending | None = None) -> Case:
        """A request whose reply has come and is not booked yet."""
        placement = Placement(tuple(CachePoint(after) for after in points))
        return Case(
            outline=outline,
            model=self.model,
            placement=placement,
            usage=usage,
            ledger=self.ledger,
            now=now,
            expected=self.ledger.readable(outline, self.model, placement.points, now),
            sending=sending or self.send(outline, *points, now=now),
        )

    def book(self, case: Case) -> None:
        self.ledger.record(case.outline, self.model, case.placement, case.usage, case.now)
        assert case.sending is not None
        self.sent.answer(case.sending, case.now + 1)


def usage(outline: Outline, *, read: int = 0, written: int | None = None) -> Usage:
    total = outline.tokens
    return Usage(
        input_tokens=total, cache_read_tokens=read, cache_write_tokens=total - read if written is None else written
    )


def test_what_should_be_there_for_long_has_been_evicted() -> None:
    """Nothing else tells why it did not come."""
    traffic, outline = Traffic(), conversation(2_000, 500)
    traffic.book(traffic.case(outline, 1, now=T0, usage=usage(outline)))
    longer = conversation(2_000, 500, 100)
    reason = explain_miss(traffic.case(longer, 2, now=T0 + 100, usage=usage(longer)))
    assert reason == Evicted(tokens=2_500, idle_seconds=100.0)


def test_what_was_about_to_go_was_not_evicted() -> None:
    """The request was on its way when the last seconds of the TTL passed."""
    traffic, outline = Traffic(), conversation(2_000, 500)
    traffic.book(traffic.case(outline, 1, now=T0, usage=usage(outline)))
    longer = conversation(2_000, 500, 100)
    reason = explain_miss(traffic.case(longer, 2, now=T0 + 298, usage=usage(longer)))
    assert reason == TTLPassed(tokens=2_500, idle_seconds=298.0, ttl="5m")


def test_a_longer_prefix_whose_ttl_has_passed_is_told_though_a_shorter_one_was_read() -> None:
    """The system prompt is kept warm by others; the history behind it is not."""
    traffic, outline = Traffic(), conversation(2_000, 500)
    traffic.book(traffic.case(outline, 0, 1, now=T0, usage=usage(outline)))
    other = conversation(2_000, 400, branch="other")
    traffic.book(traffic.case(other, 0, 1, now=T0 + 200, usage=usage(other, read=2_000)))
    longer = conversation(2_000, 500, 100)
    reason = explain_miss(traffic.case(longer, 0, 2, now=T0 + 400, usage=usage(longer, read=2_000)))
    assert reason == TTLPassed(tokens=2_500, idle_seconds=400.0, ttl="5m")


def test_a_prefix_without_a_point_was_not_written() -> None:
    """The same prompt had been sent before, and nobody laid a point on it."""
    traffic, outline = Traffic(), conversation(2_000, 500)
    traffic.book(traffic.case(outline, now=T0, usage=usage(outline, written=0)))
    longer = conversation(2_000, 500, 100)
    assert explain_miss(traffic.case(longer, 2, now=T0 + 9, usage=usage(longer))) == NotWritten(tokens=2_500)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ((0,), BelowMinimum(have=400, need=512, tokens=400)),
        ((1,), NotWritten(tokens=2_500)),
        ((), NotWritten(tokens=2_500)),
    ],
)
def test_a_point_that_stands_too_early_is_below_the_minimum(points: tuple[int, ...], reason: MissReason) -> None:
    """Though the prompt as a whole is long enough: nothing is cached behind the point."""
    traffic, outline = Traffic(), conversation(400, 2_100)
    traffic.book(traffic.case(outline, now=T0, usage=usage(outline, written=0)))
    longer = conversation(400, 2_100, 100)
    written = 2_500 if 1 in points else 0
    case = traffic.case(longer, *points, now=T0 + 9, usage=usage(longer, written=written))
    assert explain_miss(case) == reason


def test_a_written_prefix_that_no_point_reads_is_told() -> None:
    """This request holds no cache point, and the one before it did."""
    traffic, outline = Traffic(), conversation(2_000, 500)
    traffic.book(traffic.case(outline, 1, now=T0, usage=usage(outline)))
    longer = conversation(2_000, 500, 100)
    assert explain_miss(traffic.case(longer, now=T0 + 9, usage=usage(longer, written=0))) == NoPoint(tokens=2_500)


def test_the_longest_ttl_is_the_models() -> None:
    """Nova has five minutes only."""
    traffic, outline = Traffic(NOVA), conversation(2_000, 500)
    traffic.book(traffic.case(outline, 1, now=T0, usage=usage(outline)))
    longer = conversation(2_000, 500, 100)
    reason = explain_miss(traffic.case(longer, 2, now=T0 + 400, usage=usage(longer)))
    assert reason == TTLPassed(tokens=2_500, idle_seconds=400.0, ttl="5m", longest_ttl="5m")


def test_a_change_right_behind_what_was_read_is_told() -> None:
    """What was read to the token ends where it was expected to, though a tenth more would be within the estimate."""
    traffic = Traffic()
    before = conversation(2_000, 150, 400, branch="a")
    traffic.book(traffic.case(before, 0, 1, now=T0, usage=usage(before, written=2_150)))
    blocks = conversation(2_000, 150, 400, 100, branch="b").blocks
    hashes = [*(block.digest.ljust(16) for block in before.blocks), b"new".ljust(16)]
    after = Outline.of_blocks(blocks)._replace(hashes=(hashes[0], b"changed".ljust(16), *hashes[2:]))
    reason = explain_miss(traffic.case(after, 0, 3, now=T0 + 9, usage=usage(after, read=2_000)))
    assert reason == PrefixChanged(tokens=2_150, section="messages", block=0)


def test_a_request_whose_reply_came_later_still_wrote_concurrently() -> None:
    """Both orders of the two replies give the reason to the one that was sent second."""
    for first_reply_first in (True, False):
        traffic, first, second = Traffic(), conversation(2_000, 500), conversation(2_000, 400, branch="b")
        one = traffic.case(first, 0, 1, now=T0, usage=usage(first))
        two = traffic.case(second, 0, 1, now=T0 + 1, usage=usage(second))
        if first_reply_first:
            traffic.book(one)
        assert explain_miss(two) == WrittenConcurrently(tokens=2_000)


def test_a_call_that_failed_writes_nothing() -> None:
    """A request that was withdrawn is not one under way."""
    traffic, first, second = Traffic(), conversation(2_000, 500), conversation(2_000, 400, branch="b")
    sending = traffic.send(first, 0, 1, now=T0)
    assert sending is not None
    traffic.sent.withdraw(sending)
    reason = explain_miss(traffic.case(second, 0, 1, now=T0 + 1, usage=usage(second)))
    assert reason is not None and reason.kind == "first request"


def test_a_call_that_was_never_answered_is_not_under_way_for_ever() -> None:
    """After an hour it counts as dropped."""
    traffic, first, second = Traffic(), conversation(2_000, 500), conversation(2_000, 400, branch="b")
    traffic.send(first, 0, 1, now=T0)
    reason = explain_miss(traffic.case(second, 0, 1, now=T0 + 3_601, usage=usage(second)))
    assert reason is not None and reason.kind == "first request"


def test_a_difference_within_the_estimate_is_no_miss() -> None:
    """Tokens up to a point that was not the last are estimated; Bedrock counts a few per cent less."""
    traffic, outline = Traffic(), conversation(2_000, 500)
    traffic.book(traffic.case(outline, 0, 1, now=T0, usage=usage(outline)))
    other = conversation(2_000, 400, branch="b")
    assert explain_miss(traffic.case(other, 0, 1, now=T0 + 9, usage=usage(other, read=1_900))) is None
    assert explain_miss(traffic.case(other, 0, 1, now=T0 + 9, usage=usage(other, read=1_700))) is not None


def test_a_model_that_reads_though_nobody_knew_misses_nothing() -> None:
    """Unsupported is what a model is until it reads."""
    outline = conversation(2_000, 500)
    assert explain_miss(Traffic(LLAMA).case(outline, now=T0, usage=usage(outline, read=2_000))) is None


# --- laws -------------------------------------------------------------------------------------------------------

_steps = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(1, 45),
        st.sampled_from([1.0, 100.0, 299.0, 301.0, 3_601.0]),
        st.sets(st.integers(0, 44), max_size=4),
        st.floats(0, 1),
        st.booleans(),
    ),
    min_size=2,
    max_size=8,
)
_sizes = st.lists(st.sampled_from([3, 40, 700, 3_000, None]), min_size=45, max_size=45)


@settings(settings.get_profile("laws"), max_examples=300)
@given(steps=_steps, sizes=_sizes)
def test_a_read_that_falls_short_has_a_reason(
    steps: list[tuple[str, int, float, set[int], float, bool]], sizes: list[int | None]
) -> None:
    """Whatever comes back: fewer tokens than were expected (by more than the estimate may err) are explained."""
    traffic, now = Traffic(), T0
    for branch, length, wait, after, share, anything in steps:
        outline = conversation(*sizes[:length], branch=branch)
        points = sorted(index for index in after if index < length)
        now += wait
        total = outline.tokens
        read = round(total * share)
        case = traffic.case(
            outline, *points, now=now, usage=usage(outline, read=read, written=(total - read) * anything)
        )
        reason = explain_miss(case)
        expected = case.expected.tokens if case.expected else 0
        if read * 1.1 < expected:
            assert reason is not None
        if reason is not None:
            assert json.loads(json.dumps(reason.to_dict()))["kind"]
        traffic.book(case)


_words = st.sampled_from(["swordfish", "2026-11-24 09:15", "session id: quxz", "Signal 9 protects section 9."])
_texts = st.lists(_words, min_size=1, max_size=3).map(" ".join)
_chats = st.lists(_texts, min_size=1, max_size=5)


@settings(settings.get_profile("laws"), max_examples=200)
@given(requests=st.lists(st.tuples(_texts, _chats), min_size=2, max_size=5))
def test_no_reason_holds_a_word_of_the_prompt(requests: list[tuple[str, list[str]]]) -> None:
    """Nor does anything that is kept of it."""
    client = Client(_Bare())
    for system, texts in requests:
        messages = [
            {"role": ("user", "assistant")[index % 2], "content": [{"text": text}]} for index, text in enumerate(texts)
        ]
        request = {"modelId": HAIKU.id, "system": [{"text": system * 400}], "messages": messages}
        told = json.dumps(client.converse(**request)["pointsman"])
        for word in ("swordfish", "09:15", "quxz", "protects"):
            assert word not in told
    kept = repr([[*one._prompts.values()] for one in client.context.sent._models.values()])
    assert "swordfish" not in kept and "protects" not in kept


class _Bare:
    """Replies as if nothing were ever read."""

    def converse(self, **_: object) -> dict[str, object]:
        return {"usage": {"inputTokens": 10, "outputTokens": 1, "cacheWriteInputTokens": 5_000}}


# --- what is kept -----------------------------------------------------------------------------------------------


def test_what_is_kept_is_bounded_by_blocks() -> None:
    """The prompts unused for longest go first, their marks with them."""
    sent = SentPrompts(bound=100)
    for number in range(50):
        sending = sent.send(conversation(*[100] * 10, branch=f"{number} "), HAIKU, [], T0)
        assert sending is not None
        sent.answer(sending, T0)
    (kept,) = sent._models.values()
    assert kept._blocks == 100 and len(kept._prompts) == 10
    assert {id(one) for one in kept._marked.values()} <= {id(one) for one in kept._prompts.values()}


def test_a_conversation_is_kept_once() -> None:
    """Each prompt takes the place of the one that it extends, once it is answered."""
    sent = SentPrompts()
    for length in range(1, 40):
        sending = sent.send(conversation(*[100] * length), HAIKU, [], T0)
        assert sending is not None and sending.extends == (length > 1)
        sent.answer(sending, T0)
    (kept,) = sent._models.values()
    assert len(kept._prompts) == 1 and kept._blocks == 39


def test_blocks_in_common_are_counted_from_the_start() -> None:
    """By the hash of each block, whatever stands before them."""
    counter, sent = EstimatedTokens(), SentPrompts()

    def prompt(*texts: str) -> Outline:
        content = [{"text": text} for text in texts]
        return Prompt({"messages": [{"role": "user", "content": content}]}).outline(counter)

    first = sent.send(prompt("a", "b", "c", "d"), HAIKU, [], T0)
    for texts, common in [("abcd", 4), ("abxd", 2), ("xbcd", 0), ("ab", 2), ("abcde", 4)]:
        other = sent.send(prompt(*texts), HAIKU, [], T0)
        assert first is not None and other is not None
        assert first.prompt.blocks_in_common(other.prompt) == other.prompt.blocks_in_common(first.prompt) == common


def test_an_outline_without_blocks_is_not_kept() -> None:
    """There is nothing to compare with."""
    assert SentPrompts().send(Outline.of_blocks([]), HAIKU, [], T0) is None


@pytest.mark.parametrize("read", [0, 1_000])
def test_a_believed_prefix_that_the_ledger_has_lost_is_still_explained(read: int) -> None:
    """Another reply may have corrected the ledger since the call was sent."""
    traffic, outline = Traffic(), conversation(2_000, 500)
    case = traffic.case(outline, 1, now=T0, usage=usage(outline, read=read))
    case = replace(case, expected=Prefix(1, outline.blocks[1].digest, 2_500))
    assert explain_miss(case) == Evicted(tokens=2_500 - read)
