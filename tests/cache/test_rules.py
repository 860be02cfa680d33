"""What a model takes: where a cache point may stand, and which of the caller's are kept as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from outlines import CLAUDE, LLAMA, NOVA, OLDER_CLAUDE, T0, Row, assistant, outline, system, tools, user

from pointsman import CachePoint, Ledger, Model, place
from pointsman.cache import Refusal
from pointsman.cache.rules import callers_points, refusal_reason, refused_before, usable

# --- where a point may stand ------------------------------------------------------------------------------------

REFUSED = [
    ("a model that does not cache", LLAMA, (user(2_000),), 0, "does not cache"),
    ("Nova's tools", NOVA, (tools(2_000), user(10)), 0, "in tools"),
    ("plain document", CLAUDE, (user(600, "document"), user(10)), 0, "after a document"),
    ("reasoning", CLAUDE, (user(600), assistant(5, "reasoning"), assistant(5)), 1, "after a reasoning"),
    ("an image on Nova", NOVA, (user(None, "image"), user(5)), 0, "after a image"),
    (
        "Nova's tool result",
        NOVA,
        (user(600), assistant(5, "tool_use"), user(600, "tool_result"), user(9)),
        3,
        "with a tool result",
    ),
    (
        "before Nova's tool result, in its message",
        NOVA,
        (user(600), assistant(5, "tool_use"), user(9), user(600, "tool_result")),
        2,
        "with a tool result",
    ),
]


@pytest.mark.parametrize(
    ("model", "rows", "after", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_point_in_a_forbidden_place_is_refused(model: Model, rows: Sequence[Row], after: int, why: str) -> None:
    """The model would refuse the request for it; the caller's is left out there, and ours never stands there."""
    assert why in (refusal_reason(outline(*rows), model, Ledger(), after) or "")
    placement = place(outline(*rows, points=[CachePoint(after)]), model, Ledger(), T0)
    assert after not in [point.after for point in placement.points]
    assert [(point.after, why in reason) for point, reason in placement.refused] == [(after, True)]


TAKEN = [
    ("tools of Claude", CLAUDE, (tools(2_000), user(10)), 0),
    ("a PDF", CLAUDE, (user(None, "pdf"), user(10)), 0),
    ("a tool result of Claude's", CLAUDE, (user(9), assistant(5, "tool_use"), user(600, "tool_result")), 2),
    ("the answer before Nova's tool result", NOVA, (user(9), assistant(5), user(600, "tool_result")), 1),
]


@pytest.mark.parametrize(("model", "rows", "after"), [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN])
def test_elsewhere_it_is_taken(model: Model, rows: Sequence[Row], after: int) -> None:
    """Whatever stands around it."""
    assert refusal_reason(outline(*rows), model, Ledger(), after) is None


def test_what_was_refused_before_is_refused() -> None:
    """Where the refusal covers it, and for that model only."""
    ledger, of = Ledger(), outline(system(600), user(600), user(None, "pdf"))
    ledger.refuse(CLAUDE, Refusal(section="messages", kind="pdf"))
    assert [refused_before(of, CLAUDE, ledger, index) is None for index in range(3)] == [True, True, False]
    assert "has refused" in (refusal_reason(of, CLAUDE, ledger, 2) or "")
    assert refused_before(of, OLDER_CLAUDE, ledger, 2) is None


# --- the last place up to a cut ---------------------------------------------------------------------------------

USABLE = [
    ("the cut itself", CLAUDE, (system(600), user(9)), 1, 1),
    ("before what takes no point", CLAUDE, (user(600), user(9), user(600, "document")), 2, 1),
    ("not in another section", CLAUDE, (system(600), user(600, "document")), 1, None),
    ("not below the minimum", CLAUDE, (user(511), user(600, "document")), 1, None),
    ("not above the maximum", NOVA, (user(15_000), user(4_000), user(2_000)), 2, 1),
    ("before Nova's tool result", NOVA, (user(2_000), assistant(9), user(9, "tool_result"), user(9)), 3, 1),
    ("nowhere on a model without cache", LLAMA, (user(9_000),), 0, None),
]


@pytest.mark.parametrize(
    ("model", "rows", "end", "expected"), [row[1:] for row in USABLE], ids=[row[0] for row in USABLE]
)
def test_the_last_place_up_to_a_cut(model: Model, rows: Sequence[Row], end: int, expected: int | None) -> None:
    """In the same section, where a point is taken and caches something."""
    assert usable(outline(*rows), model, Ledger(), end) == expected


# --- the caller's points ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "given", "kept"),
    [
        (CLAUDE, ["1h", "1h", "5m"], ["1h", "1h", "5m"]),
        (CLAUDE, ["5m", "1h"], ["5m", "5m"]),
        (CLAUDE, ["1h", "5m", "1h"], ["1h", "5m", "5m"]),
        (OLDER_CLAUDE, ["1h", "5m"], ["5m", "5m"]),
        (OLDER_CLAUDE, ["1h", "1h"], ["5m", "5m"]),
        (NOVA, ["1h"], ["5m"]),
    ],
)
def test_the_callers_ttls_never_rise_nor_exceed_the_models(model: Model, given: list[str], kept: list[str]) -> None:
    """A TTL that the model doesn't have, or that rises, becomes a shorter one, and the trace says so."""
    points = [CachePoint(index, ttl) for index, ttl in enumerate(given)]
    laid, refused = callers_points(outline(*[user(2_000)] * len(given), points=points), model, Ledger())
    assert [point.ttl for point in laid] == kept
    changed = [index for index, (old, new) in enumerate(zip(given, kept, strict=True)) if old != new]
    assert [point.after for point, reason in refused if "TTL" in reason] == changed


def test_of_too_many_callers_points_the_last_ones_stay() -> None:
    """Five points of his: the first one goes, since the later ones cover it."""
    of = outline(*[user(600)] * 6, points=[CachePoint(index) for index in range(5)])
    kept, refused = callers_points(of, CLAUDE, Ledger())
    assert [point.after for point in kept] == [1, 2, 3, 4]
    assert [point.after for point, _ in refused] == [0]


def test_a_model_may_take_none() -> None:
    """The user's rules, too, say how many."""
    none = replace(CLAUDE, cache=replace(CLAUDE.cache, max_points=0))
    kept, refused = callers_points(outline(user(2_000), points=[CachePoint(0)]), none, Ledger())
    assert (kept, len(refused)) == ((), 1)
