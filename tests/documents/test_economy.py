"""What models make of a document that stays: the strictest limits, and what it is worth to them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from outlines import CLAUDE, LLAMA, NOVA

from pointsman import Catalog, Ledger
from pointsman.documents.economy import Economy, Worths, is_cold
from pointsman.documents.recurrence import Recurrence, Standing

LARGER = Catalog.default().resolve("us.anthropic.claude-sonnet-5")
T0 = 1_800_000_000.0


def economy(*models: object, recurrence: Recurrence | None = None, worths: Worths | None = None) -> Economy:
    """What these models make of it, the first one's prices first."""
    return Economy(models, Ledger(), recurrence or Recurrence(), worths or Worths())  # type: ignore[arg-type]  # models


def test_limits_are_the_strictest_of_all() -> None:
    """Three tenths of the smallest window, half of what a model caches at most, and the largest minimum."""
    assert economy(CLAUDE).budget == int(0.3 * CLAUDE.context_window)
    assert economy(CLAUDE, NOVA).budget == NOVA.cache.maximum_tokens // 2
    assert economy(replace(CLAUDE, context_window=None)).budget is None
    minimum = LARGER.cache.minimum_tokens
    assert minimum > CLAUDE.cache.minimum_tokens
    assert economy(CLAUDE).is_cached(4 * minimum)
    assert not economy(CLAUDE, LARGER).is_cached(4 * minimum)
    assert economy(CLAUDE, LARGER).is_cached(5 * minimum)


@pytest.mark.parametrize("other", [LLAMA, replace(CLAUDE, known=False)])
def test_one_model_that_does_not_cache_is_enough_to_move_nothing(other: object) -> None:
    """There, a document that stays would be paid for in full at every turn."""
    assert economy(CLAUDE, NOVA).caches
    assert not economy(CLAUDE, other).caches
    assert not economy(other).is_cached(10**9)


def test_a_ttl_has_a_worth_of_its_own() -> None:
    """Where none is given, each that the model has; an unknown one counts as none."""
    claude, nova = (economy(model) for model in (CLAUDE, NOVA))
    known = {"pace": 0, "application": None}
    five, hour = claude.worths("kb", **known)
    assert claude.worths("kb", ttl="5m", **known) == [five]
    assert claude.worths("kb", ttl="1h", **known) == [hour]
    assert five.gain(3, 2) != hour.gain(3, 2)
    assert nova.worths("kb", ttl="1h", **known) == nova.worths("kb", **known)
    assert len(nova.worths("kb", **known)) == 1


def test_a_worth_is_computed_anew_when_enough_was_learnt() -> None:
    """And not for every request."""
    recurrence, worths = Recurrence(), Worths()
    told = economy(CLAUDE, recurrence=recurrence, worths=worths)
    first = told.worths("kb", pace=0, application=None)
    recurrence.observe("kb", Standing.at(1, 0, 0), returned=True)
    assert told.worths("kb", pace=0, application=None) == first
    for _ in range(300):
        recurrence.observe("kb", Standing.at(1, 0, 0), returned=True)
    again = told.worths("kb", pace=0, application=None)
    assert again != first
    assert again[0].gain(1, 0) > first[0].gain(1, 0)


def test_cold_is_what_its_ttl_has_passed_of_and_what_was_not_written() -> None:
    """To the second."""
    assert not is_cold(T0, "5m", T0 + 299)
    assert is_cold(T0, "5m", T0 + 300)
    assert not is_cold(T0, "1h", T0 + 3_599)
    assert is_cold(T0, None, T0)
