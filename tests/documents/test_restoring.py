"""A session that is told and restored: what another process goes on with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from talks import SHAPES, Account, Talk, document, extends, in_system, text_of, times

from pointsman import InvalidRequestError, Scope
from pointsman.documents.sessions import Sessions


def _moved(talk: Talk) -> Talk:
    """The same conversation in another process: other sessions, another key, another client."""
    told = json.loads(json.dumps(talk.session.snapshot()))
    account = Account()
    account.now, account.requests = talk.account.now, [talk.sent]
    moved = Talk(shape=talk.shape, account=account)
    assert moved.session.restore(told)
    moved.history = list(talk.history)
    return moved


@pytest.mark.parametrize("shape", SHAPES)
def test_a_restored_conversation_extends_its_prompt(shape: Any) -> None:
    """What stays is laid byte for byte in the other process, so that the cache is read there too."""
    talk = Talk(shape=shape)
    for turn in range(4):
        talk.ask(f"Question {turn}?", [1, 2, 3 + turn])
    assert talk.told.stay
    before = talk.sent
    moved = _moved(talk)
    moved.ask("Question 4?", [1, 2, 9])
    assert moved.told.stay >= talk.told.stay
    assert extends(moved.sent, before)
    assert times(1, moved.sent) == 1


def test_without_it_the_prompt_is_another() -> None:
    """The same conversation in a process that was told nothing holds none of what stayed."""
    talk = Talk(shape=in_system)
    for turn in range(4):
        talk.ask(f"Question {turn}?", [1, 2, 3 + turn])
    other = Talk(shape=in_system)
    other.history = list(talk.history)
    other.ask("Question 4?", [1, 2, 9])
    assert not extends(other.sent, talk.sent)


def test_a_restored_turn_is_laid_as_it_was() -> None:
    """The same request again, in the other process, is the same request."""
    talk = Talk()
    for turn in range(3):
        talk.ask(f"Question {turn}?", [1, 2])
    history = talk.history[:-2]
    moved = _moved(talk)
    moved.history = history
    moved.ask("Question 2?", [1, 2], after=1.0)
    assert [one for one in moved.sent["messages"][-1]["content"] if "text" in one] == [
        one for one in talk.sent["messages"][-1]["content"] if "text" in one
    ]


def test_what_is_told_is_plain_json() -> None:
    """Nothing but what JSON has: a checkpoint keeps it."""
    talk = Talk()
    talk.ask("Question?", [1])
    told = talk.session.snapshot()
    assert told is not None and json.loads(json.dumps(told)) == told
    assert [one["text"] for one in told["documents"]] == [text_of(1)]


def test_a_session_that_holds_nothing_tells_nothing() -> None:
    """None, so that nothing is kept of it."""
    assert Sessions().open("a", scope="tenant").snapshot() is None


def test_another_scope_restores_nothing() -> None:
    """What one principal retrieved is not restored for another."""
    talk = Talk()
    talk.ask("Question?", [1])
    told = talk.session.snapshot()
    assert told is not None
    other = Sessions().open("talk", scope=Scope(tenant="tenant", principal="bob"))
    assert not other.restore(told)
    assert other.snapshot() is None


def test_a_session_that_goes_on_is_left_alone() -> None:
    """What this process holds is newer than what was told of it."""
    talk = Talk()
    talk.ask("Question?", [1])
    told = talk.session.snapshot()
    assert told is not None
    talk.ask("And?", [2])
    assert not talk.session.restore(told)
    assert len((talk.session.snapshot() or {})["documents"]) == 2


def test_what_cannot_be_read_is_refused_and_forgotten() -> None:
    """A broken document leaves no half of a session."""
    session = Sessions().open("a", scope="tenant")
    told = {"scope": {"tenant": "tenant", "principal": None}, "documents": [{"text": "only"}], "shelves": []}
    with pytest.raises(InvalidRequestError, match="no snapshot"):
        session.restore(told)
    assert session.snapshot() is None


def test_another_conversation_has_the_same_permissions() -> None:
    """`of` gives a session in the same scope, that asks the same authorize and keeps as long."""
    asked: list[str] = []

    def nobody(_: Any, scope: Scope) -> list[str]:
        asked.append(scope.tenant)
        return []

    sessions = Sessions()
    one = sessions.open("one", scope="tenant", authorize=nobody, max_age=60.0)
    other = one.of("other")
    assert (other.id, other.scope) == ("other", one.scope)
    assert list(other._allowed({document(1): 10.0})) == [] and asked == ["tenant"]
    assert list(other._allowed({document(1): 61.0})) == [] and asked == ["tenant"]


def test_a_session_shows_its_id_and_no_text() -> None:
    """Its repr may stand in a log."""
    talk = Talk()
    talk.ask("Question?", [1])
    assert repr(talk.session) == "Session('talk', scope=Scope(tenant='tenant', principal=None))"
