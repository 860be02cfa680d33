"""How often passages come back: counted by standing and knowledge base, beside a belief, and shared without a name."""

from __future__ import annotations

import pytest

from pointsman.documents.recurrence import Recurrence, Standing, beliefs_of

FRESH = Standing.at(1, 0, 0)


def test_what_is_alike_is_counted_together() -> None:
    """Four times and more; more than two turns ago; the third turn and the fourth."""
    assert Standing.at(9, 0, 0) == Standing.at(4, 0, 0)
    assert Standing.at(1, 7, 0) == Standing.at(1, 2, 0)
    assert Standing.at(1, 0, 3) == Standing.at(1, 0, 4) != Standing.at(1, 0, 5)
    assert Standing.at(1, 0, 5) == Standing.at(1, 0, 50)
    assert len({Standing.at(1, 0, turn) for turn in range(50)}) == 5


def test_a_belief_goes_from_what_all_do_to_what_its_like_do() -> None:
    """Each of its three steps is drawn to the one before with the weight of ten: by hand."""
    belief = beliefs_of([(FRESH, True)] * 30 + [(Standing.at(3, 0, 0), False)] * 10)
    overall = (30 + 10 * 0.2) / 50
    alike = (30 + 10 * overall) / 40
    assert Recurrence(belief).chance(None, FRESH) == pytest.approx((30 + 10 * alike) / 40)


def test_what_is_seen_corrects_the_belief_of_its_knowledge_base_most() -> None:
    """Another learns from it too, but less."""
    recurrence = Recurrence({})
    before = recurrence.chance("news", FRESH)
    for _ in range(200):
        recurrence.observe("news", FRESH, returned=True)
    assert before == pytest.approx(0.2)
    assert recurrence.chance("news", FRESH) > recurrence.chance("laws", FRESH) > before
    assert recurrence.chance("news", Standing.at(2, 0, 1)) == pytest.approx(0.2)
    assert recurrence.counted == 200


def test_what_one_process_counts_another_adds_once() -> None:
    """A delta tells what is new; what was added is not told again, and names of knowledge bases are not in it."""
    one, other = Recurrence({}, key=b"a secret"), Recurrence({}, key=b"a secret")
    for returned in (True, False, True):
        one.observe("payroll", FRESH, returned=returned)
    delta = one.take_delta()
    other.add(delta)
    assert "payroll" not in str(delta)
    assert other.chance("payroll", FRESH) == one.chance("payroll", FRESH)
    assert one.take_delta() == other.take_delta() == {}
    assert other.to_dict() == one.to_dict()


def test_a_store_with_another_key_learns_of_no_knowledge_base() -> None:
    """But of passages at large."""
    one, other = Recurrence({}, key=b"a secret"), Recurrence({}, key=b"another")
    for _ in range(100):
        one.observe("payroll", FRESH, returned=True)
    other.add(one.to_dict())
    assert 0.2 < other.chance("payroll", FRESH) < one.chance("payroll", FRESH)


def test_what_was_seen_long_ago_counts_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Knowledge bases change."""
    monkeypatch.setattr("pointsman.documents.recurrence._MOST_SEEN", 100.0)
    recurrence = Recurrence({})
    for _ in range(100):
        recurrence.observe("news", FRESH, returned=True)
    for _ in range(100):
        recurrence.observe("news", FRESH, returned=False)
    assert recurrence.chance("news", FRESH) < 0.35


def test_knowledge_bases_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not seen for longest is forgotten."""
    monkeypatch.setattr("pointsman.documents.recurrence._MOST_KNOWLEDGE_BASES", 2)
    recurrence = Recurrence({})
    for name in ("a", "b", "c"):
        recurrence.observe(name, FRESH, returned=True)
    assert len(recurrence.to_dict()) == 2


def test_the_shipped_belief_is_of_passages_that_come_back_the_more_the_more_often_they_did() -> None:
    """And hardly at all once a turn went without them."""
    shipped = Recurrence()
    by_times = [shipped.chance(None, Standing.at(times, 0, 3)) for times in (1, 2, 3, 4)]
    assert by_times == sorted(by_times)
    assert shipped.chance(None, Standing.at(1, 0, 0)) > shipped.chance(None, Standing.at(1, 0, 5))
    assert shipped.chance(None, Standing.at(2, 1, 3)) < 0.2
