"""Where cache points go: the table of rules, model by model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pointsman import Block, CachePoint, Catalog, Ledger, Model, Outline, Placement, Usage, place
from pointsman.cache import Refusal

CATALOG = Catalog.default()
CLAUDE = CATALOG.resolve("us.anthropic.claude-haiku-5-5")
OLDER_CLAUDE = CATALOG.resolve("anthropic.claude-3-7-sonnet-20250219-v1:0")
NOVA = CATALOG.resolve("amazon.nova-pro-v1:0")
LLAMA = CATALOG.resolve("meta.llama3-1-70b-instruct-v1:0")
T0 = 1_800_000_000.0

Row = tuple[str, str | None, str, int | None]


def tools(tokens: int) -> Row:
    return ("tools", None, "tool", tokens)


def system(tokens: int) -> Row:
    return ("system", None, "text", tokens)


def user(tokens: int | None, kind: str = "text") -> Row:
    return ("messages", "user", kind, tokens)


def assistant(tokens: int, kind: str = "text") -> Row:
    return ("messages", "assistant", kind, tokens)


def outline(*rows: Row, points: Sequence[CachePoint] = ()) -> Outline:
    blocks = [Block(*row[:3], f"digest {index}".encode(), row[3]) for index, row in enumerate(rows)]
    return Outline.of_blocks(blocks, points=points)


def placed(of: Outline, model: Model = CLAUDE, ledger: Ledger | None = None, now: float = T0) -> list[int]:
    """The blocks behind which a point was placed."""
    return [point.after for point in place(of, model, ledger or Ledger(), now).points]


def wrote(ledger: Ledger, of: Outline, *after: int, model: Model = CLAUDE) -> None:
    """A reply that wrote up to the last of these points."""
    usage = Usage(input_tokens=of.tokens, cache_write_tokens=of.tokens_to(after[-1]))
    ledger.record(of, model, Placement(points=tuple(CachePoint(index) for index in after)), usage, T0)


# --- where ours go ----------------------------------------------------------------------------------------------

CHAT = (tools(600), system(600), user(100), assistant(50), user(20))

PLACES = [
    ("tools, system, history and last turn", CLAUDE, CHAT, [0, 1, 3, 4]),
    ("Nova takes none in tools", NOVA, CHAT, [1, 3, 4]),
    ("Llama takes none at all", LLAMA, CHAT, []),
    ("the first turn has no history", CLAUDE, (system(600), user(100)), [0, 1]),
    ("below the minimum there is none", CLAUDE, (system(100), user(400)), []),
    ("the minimum counts the whole prefix", CLAUDE, (system(400), user(112)), [1]),
    ("one token less is below it", CLAUDE, (system(400), user(111)), []),
    ("a PDF counts as above the minimum", CLAUDE, (user(None, "pdf"), user(10)), [1]),
    ("before the PDF it doesn't", CLAUDE, (system(10), user(None, "pdf"), user(10)), [2]),
    ("not after reasoning", CLAUDE, (user(600), assistant(10), assistant(50, "reasoning"), user(5)), [1, 3]),
    ("not after a plain document", CLAUDE, (user(600), user(600, "document")), [0]),
    ("after a PDF that ends the turn", CLAUDE, (user(600), user(None, "pdf")), [1]),
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
        [1, 2],
    ),
    ("Nova caches 20K at most", NOVA, (user(15_000), assistant(100), user(10_000)), [1]),
    ("what is beyond is left to what is below", NOVA, (system(2_000), user(30_000)), [0]),
    ("nothing of nothing", CLAUDE, (), []),
]


@pytest.mark.parametrize(("model", "rows", "expected"), [row[1:] for row in PLACES], ids=[row[0] for row in PLACES])
def test_places(model: Model, rows: Sequence[Row], expected: list[int]) -> None:
    """At the ends of tools, system, history and last turn, as far as the rules go; all of five minutes."""
    placement = place(outline(*rows), model, Ledger(), T0)
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
    """Where the look-back of our points would not find a warm prefix, one more stands behind it."""
    ledger = Ledger()
    wrote(ledger, outline(user(2_000)), 0)
    longer = outline(user(2_000), *[user(10)] * 30)
    placement = placed(longer, ledger=ledger)
    assert placement == [0, 30]
    assert ledger.readable(longer, CLAUDE, [CachePoint(index) for index in placement], T0) is not None


@pytest.mark.parametrize(("added", "expected"), [(21, [21]), (22, [0, 22])])
def test_within_the_look_back_no_point_is_spent(added: int, expected: list[int]) -> None:
    """21 added blocks are found from the end; at 22 the warm prefix needs a point of its own."""
    ledger = Ledger()
    wrote(ledger, outline(user(2_000)), 0)
    assert placed(outline(user(2_000), *[user(10)] * added), ledger=ledger) == expected


def test_on_nova_the_warm_prefix_always_has_its_point() -> None:
    """Nova reads exactly where a point stands: the one of the last turn is repeated."""
    ledger = Ledger()
    wrote(ledger, outline(system(100), user(2_000)), 1, model=NOVA)
    longer = outline(system(100), user(2_000), assistant(50), user(10), assistant(50), user(10))
    assert placed(longer, NOVA, ledger) == [1, 4, 5]


def test_what_was_warm_too_long_ago_gets_no_point() -> None:
    """After the TTL it is a prefix like any other."""
    ledger = Ledger()
    wrote(ledger, outline(user(2_000)), 0)
    assert placed(outline(user(2_000), *[user(10)] * 30), ledger=ledger, now=T0 + 301) == [30]


def test_the_warm_prefix_is_worth_more_than_a_new_one() -> None:
    """With four places for five wishes the warm one comes first, and the tools go without."""
    ledger = Ledger()
    head = (tools(600), system(600), user(2_000))
    wrote(ledger, outline(*head), 0, 1, 2)
    assert placed(outline(*head, *[user(10)] * 30, assistant(10), user(10)), ledger=ledger) == [1, 2, 33, 34]


# --- the caller's points ----------------------------------------------------------------------------------------


def test_the_callers_points_are_kept_and_counted() -> None:
    """His come first; ours fill what is left of the four."""
    rows = (tools(600), system(600), user(100), assistant(50), user(20), assistant(50), user(20))
    placement = place(outline(*rows, points=[CachePoint(2), CachePoint(4)]), CLAUDE, Ledger(), T0)
    assert [point.after for point in placement.points] == [2, 4, 5, 6]
    assert placement.by_caller == {2, 4}


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


@pytest.mark.parametrize(
    ("model", "rows", "after", "why"),
    [
        (NOVA, (tools(2_000), user(10)), 0, "in tools"),
        (CLAUDE, (user(600, "document"), user(10)), 0, "after a document"),
        (CLAUDE, (user(600), assistant(5, "reasoning"), assistant(5)), 1, "after a reasoning"),
        (NOVA, (user(600), assistant(5, "tool_use"), user(600, "tool_result"), user(9)), 3, "with a tool result"),
    ],
    ids=["Nova's tools", "plain document", "reasoning", "Nova's tool result"],
)
def test_the_callers_point_in_a_forbidden_place_is_left_out(
    model: Model, rows: Sequence[Row], after: int, why: str
) -> None:
    """Where the model would refuse the request for it."""
    placement = place(outline(*rows, points=[CachePoint(after)]), model, Ledger(), T0)
    assert after not in [point.after for point in placement.points]
    assert [(point.after, why in reason) for point, reason in placement.refused] == [(after, True)]


def test_of_too_many_callers_points_the_last_ones_stay() -> None:
    """Five points of his: the first one goes, since the later ones cover it."""
    rows = [user(600) for _ in range(6)]
    placement = place(outline(*rows, points=[CachePoint(index) for index in range(5)]), CLAUDE, Ledger(), T0)
    assert [point.after for point in placement.points] == [1, 2, 3, 4]
    assert [point.after for point, _ in placement.refused] == [0]


def test_for_an_unknown_model_the_callers_word_counts() -> None:
    """Nothing is added, nothing taken away."""
    unknown = Model(id="x.y", invoke_id="x.y", name="y", known=False)
    points = tuple(CachePoint(index, "1h") for index in (0, 2))
    placement = place(outline(*[user(600)] * 4, points=points), unknown, Ledger(), T0)
    assert (placement.points, placement.by_caller, placement.refused) == (points, {0, 2}, ())


# --- TTLs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "given", "laid"),
    [
        (CLAUDE, ["1h", "1h", "5m"], ["1h", "1h", "5m"]),
        (CLAUDE, ["5m", "1h"], ["5m", "5m"]),
        (CLAUDE, ["1h", "5m", "1h"], ["1h", "5m", "5m"]),
        (OLDER_CLAUDE, ["1h", "5m"], ["5m", "5m"]),
        (OLDER_CLAUDE, ["1h", "1h"], ["5m", "5m"]),
    ],
)
def test_the_callers_ttls_never_rise_nor_exceed_the_models(model: Model, given: list[str], laid: list[str]) -> None:
    """A TTL that the model doesn't have, or that rises, becomes a shorter one, and the trace says so."""
    points = [CachePoint(index, ttl) for index, ttl in enumerate(given)]
    placement = place(outline(*[user(2_000)] * len(given), points=points), model, Ledger(), T0)
    assert [point.ttl for point in placement.points[: len(laid)]] == laid
    changed = [index for index, (old, new) in enumerate(zip(given, laid, strict=True)) if old != new]
    assert [point.after for point, reason in placement.refused if "TTL" in reason] == changed


def test_our_points_before_an_hour_of_the_callers_are_of_an_hour() -> None:
    """A longer TTL must stand before a shorter one."""
    placement = place(outline(*CHAT, points=[CachePoint(3, "1h")]), CLAUDE, Ledger(), T0)
    assert placement.points == (CachePoint(0, "1h"), CachePoint(1, "1h"), CachePoint(3, "1h"), CachePoint(4, "5m"))


# --- refusals that were remembered ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (Refusal(section="tools"), [1, 3, 4]),
        (Refusal(section="messages"), [0, 1]),
        (Refusal(section="messages", kind="text"), [0, 1]),
        (Refusal(), []),
    ],
    ids=["tools", "messages", "texts in messages", "anywhere"],
)
def test_where_a_model_has_refused_a_point_there_is_none_again(refusal: Refusal, expected: list[int]) -> None:
    """For that model only."""
    ledger = Ledger()
    ledger.refuse(CLAUDE, refusal)
    assert placed(outline(*CHAT), ledger=ledger) == expected
    assert placed(outline(*CHAT), CATALOG.resolve("anthropic.claude-sonnet-5-5"), ledger) == [0, 1, 3, 4]


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
