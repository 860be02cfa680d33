"""The laws of placement: on any prompt, after any past, whatever is believed of returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st
from outlines import CATALOG, CLAUDE, LLAMA, NOVA, OLDER_CLAUDE, SOON, T0, Row, answered, believing, outline, taking

from pointsman import Block, CachePoint, Ledger, Model, Outline, Placement, Usage, place
from pointsman.cache import Refusal
from pointsman.cache.ledger import effective
from pointsman.cache.returns import SPANS, Hazards, Returns
from pointsman.cache.reuse import STRETCHES, Reuse
from pointsman.cache.rules import callers_points, refusal_reason

UNKNOWN = Model(id="x.y", invoke_id="x.y", name="y", known=False)
UNPRICED = replace(CLAUDE, price=None)
KNOWN = (CLAUDE, OLDER_CLAUDE, NOVA, UNPRICED, taking(1), taking(2), CATALOG.resolve("anthropic.claude-sonnet-5-5"))

# --- prompts, pasts and beliefs ---------------------------------------------------------------------------------

_tokens = st.one_of(st.integers(0, 3_000), st.sampled_from([0, 1, 409, 410, 511, 512, 1_023, 1_024, 20_000, 10**9]))
_spoken = st.sampled_from(["text", "text", "text", "tool_use", "tool_result", "reasoning", "document", "guard"])
_attached = st.sampled_from(["pdf", "image", "video", "audio", "document"])
_message_blocks = st.one_of(
    st.tuples(st.just("messages"), st.sampled_from(["user", "assistant"]), _spoken, _tokens),
    st.tuples(st.just("messages"), st.just("user"), _attached, st.none()),
)
_rows: st.SearchStrategy[list[Row]] = st.builds(
    lambda tools, system, messages: [*tools, *system, *messages],
    st.lists(st.tuples(st.just("tools"), st.none(), st.just("tool"), _tokens), max_size=2),
    st.lists(st.tuples(st.just("system"), st.none(), st.sampled_from(["text", "guard"]), _tokens), max_size=2),
    st.lists(_message_blocks, max_size=40),
).filter(bool)
_hazards: st.SearchStrategy[Hazards] = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0)), min_size=len(SPANS), max_size=len(SPANS)
).map(tuple)
_beliefs = st.dictionaries(st.sampled_from(STRETCHES), _hazards)
_points = st.dictionaries(st.integers(0, 45), st.sampled_from(["5m", "1h"]), max_size=6)
_refusals = st.lists(
    st.builds(Refusal, st.sampled_from([None, "tools", "system", "messages"]), st.sampled_from([None, "text", "pdf"])),
    max_size=1,
)
# How much of the prompt was sent before, and how many seconds then passed.
_past = st.lists(
    st.tuples(st.floats(0.05, 1.0), st.sampled_from([1.0, 100.0, 299.0, 301.0, 1_000.0, 3_601.0])), max_size=5
)


@dataclass(frozen=True)
class Case:
    """A prompt to place, and what went before it."""

    rows: list[Row]
    points: dict[int, str]
    model: Model
    belief: dict[str, Hazards]
    past: list[tuple[float, float]]
    refusals: list[Refusal]

    @property
    def outline(self) -> Outline:
        """The prompt with the caller's points."""
        points = [CachePoint(after, ttl) for after, ttl in sorted(self.points.items()) if after < len(self.rows)]
        return outline(*self.rows, points=points)

    def ledger(self) -> tuple[Ledger, float]:
        """A ledger that has been through the past, and the time after it."""
        ledger = Ledger(reuse=Reuse(Returns(lambda kind: self.belief.get(str(kind[1]), (0.3,) * len(SPANS)))))
        for refusal in self.refusals:
            ledger.refuse(self.model, refusal)
        now = T0
        for share, seconds in self.past:
            sent = outline(*self.rows[: max(int(share * len(self.rows)), 1)])
            answered(ledger, sent, now, self.model)
            now += seconds
        return ledger, now


def cases(models: Sequence[Model] = KNOWN, *, points: bool = True) -> st.SearchStrategy[Case]:
    """Any of them."""
    return st.builds(
        Case,
        rows=_rows,
        points=_points if points else st.just({}),
        model=st.sampled_from(models),
        belief=_beliefs,
        past=_past,
        refusals=_refusals,
    )


# --- laws -------------------------------------------------------------------------------------------------------


@given(case=cases((*KNOWN, LLAMA)))
def test_points_are_few_ordered_and_legal(case: Case) -> None:
    """At most as many as the model takes, one behind a block, TTLs that it has and that never rise."""
    of, (ledger, now) = case.outline, case.ledger()
    points = place(of, case.model, ledger, now).points
    assert len(points) <= case.model.cache.max_points
    assert [point.after for point in points] == sorted({point.after for point in points})
    ttls = [point.ttl for point in points]
    assert ttls == sorted(ttls), "1h stands before 5m"
    assert set(ttls) <= set(case.model.cache.ttls)
    assert all(refusal_reason(of, case.model, ledger, point.after) is None for point in points)


@given(case=cases())
def test_ours_are_never_below_the_minimum_nor_above_the_maximum(case: Case) -> None:
    """What the caller places there is his."""
    of, (ledger, now) = case.outline, case.ledger()
    placement = place(of, case.model, ledger, now)
    ours = [point.after for point in placement.points if point.after not in placement.by_caller]
    assert all(effective(of, case.model, after) for after in ours)


@given(case=cases())
def test_the_callers_points_are_kept(case: Case) -> None:
    """As far as the model takes them, with the TTLs that it takes; the others are told of."""
    of, (ledger, now) = case.outline, case.ledger()
    kept, refused = callers_points(of, case.model, ledger)
    placement = place(of, case.model, ledger, now)
    assert set(kept) <= set(placement.points)
    assert placement.by_caller == {point.after for point in kept}
    assert placement.refused == refused


@given(case=cases())
def test_what_is_warm_is_read(case: Case) -> None:
    """If a point may stand where it finds the warm prefix, and the caller leaves a place for it."""
    of, (ledger, now) = case.outline, case.ledger()
    warm, rules = ledger.warm_prefix(of, case.model, now), case.model.cache
    placement = place(of, case.model, ledger, now)
    if warm is None or len(placement.by_caller) >= rules.max_points:
        return
    furthest = warm.after + rules.lookback_blocks + (rules.lookback_blocks > 0)
    fit = [
        index
        for index in range(warm.after, min(furthest, len(of.blocks) - 1) + 1)
        if effective(of, case.model, index) and refusal_reason(of, case.model, ledger, index) is None
    ]
    if fit:
        assert ledger.readable(of, case.model, placement.points, now) == warm


@given(case=cases(points=False))
def test_an_hour_is_never_written_behind_five_live_minutes(case: Case) -> None:
    """It would be lost with them; nor five minutes behind an hour within one conversation."""
    of, (ledger, now) = case.outline, case.ledger()
    warm = ledger.warm_prefix(of, case.model, now)
    if warm is None:
        return
    beyond = {point.ttl for point in place(of, case.model, ledger, now).points if point.after > warm.after}
    ttl = ledger.ttl_of(warm, case.model)
    if ttl == "5m":
        assert beyond <= {"5m"}


@given(case=cases((*KNOWN, LLAMA, UNKNOWN)))
def test_the_same_past_gives_the_same_placement(case: Case) -> None:
    """And to ask twice changes nothing."""
    (ledger, now), (other, _) = case.ledger(), case.ledger()
    first = place(case.outline, case.model, ledger, now)
    assert first == place(case.outline, case.model, ledger, now)
    assert first == place(case.outline, case.model, other, now)


@given(case=cases())
def test_just_below_are_the_ends_that_come_near_the_minimum_and_nothing_else(case: Case) -> None:
    """Those of the tools, the system prompt and the whole prompt, from four fifths of the minimum on."""
    of, (ledger, now) = case.outline, case.ledger()
    minimum = case.model.cache.minimum_tokens
    assert minimum is not None
    sections = [block.section for block in of.blocks]
    last = len(sections) - 1
    ends = {last} | {index for index in range(last) if sections[index] != sections[index + 1]}
    near = [end for end in sorted(ends) if end < of.first_unknown and 0.8 * minimum <= of.tokens_to(end) < minimum]
    assert [prefix.after for prefix in place(of, case.model, ledger, now).just_below] == near


_any_blocks = st.lists(
    st.builds(
        Block,
        section=st.sampled_from(["tools", "system", "messages"]),
        role=st.sampled_from([None, "user", "assistant", "system", "tool"]),
        kind=st.text(max_size=3) | _spoken | _attached,
        digest=st.binary(max_size=1),
        tokens=st.none() | st.integers(0, 10**12),
    ),
    max_size=12,
)


@given(
    prompts=st.lists(_any_blocks, min_size=1, max_size=4),
    model=st.sampled_from([*KNOWN, LLAMA, UNKNOWN]),
    seconds=st.floats(-(10**6), 10**6),
    tokens=st.integers(0, 10**12),
    after=st.integers(0, 11),
    volatile=st.none() | st.integers(0, 12),
)
def test_no_outline_breaks_it(
    prompts: list[list[Block]], model: Model, seconds: float, tokens: int, after: int, volatile: int | None
) -> None:
    """Sections in any order, digests that repeat, roles and kinds that nobody knows, clocks that jump."""
    ledger, now = Ledger(), T0
    for blocks in prompts:
        points = [CachePoint(after, "1h")] if after < len(blocks) else []
        of = Outline.of_blocks(blocks, points=points)
        of = of._replace(volatile_from=None if volatile is None else min(volatile, len(blocks)))
        placement = place(of, model, ledger, now)
        assert isinstance(placement, Placement)
        usage = Usage(input_tokens=tokens, cache_read_tokens=tokens // 3, cache_write_tokens=tokens // 3)
        ledger.record(of, model, placement, usage, now)
        now += seconds


@given(case=cases(points=False), volatile=st.integers(0, 12))
def test_nothing_volatile_is_written(case: Case, volatile: int) -> None:
    """Where all that follows stands in this prompt only, no point stands behind its beginning, but to read."""
    of, (ledger, now) = case.outline, case.ledger()
    static = sum(block.section != "messages" for block in of.blocks)
    of = of._replace(volatile_from=min(static + volatile, len(of.blocks)))
    warm = ledger.warm_prefix(of, case.model, now)
    points = place(of, case.model, ledger, now).points
    beyond = [point.after for point in points if point.after >= (of.volatile_from or 0)]
    assert len(beyond) <= (warm is not None)


@given(case=cases(points=False), tokens=st.integers(0, 9_000))
def test_a_question_that_is_never_asked_again_changes_nothing(case: Case, tokens: int) -> None:
    """The end of the system prompt is written or not by what is believed of it, if nothing else was sent."""
    static = [row for row in case.rows if row[0] != "messages"]
    if not static or case.model.cache.max_points < 4:
        return
    alone, asked = (
        place(outline(*rows), case.model, believing(SOON, of="static"), T0).points
        for rows in (static, [*static, ("messages", "user", "text", tokens)])
    )
    assert asked == alone
