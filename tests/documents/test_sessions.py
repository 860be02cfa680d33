"""Sessions and what they hold: found again, bounded, ended; documents by their names and versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pointsman import Document, InvalidRequestError, Scope
from pointsman.documents.sessions import IDLE_SECONDS, Sessions

LONG = "A passage that is long enough to be looked for in a prompt: {}."


class Clock:
    """A clock that is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """What tells how long a session is idle."""
    return Clock()


def opened(sessions: Sessions, name: str = "s", scope: Any = "tenant") -> Any:
    """A session of that id."""
    return sessions.open(name, scope=scope)


def holding(sessions: Sessions, name: str, characters: int = 100, scope: Any = "tenant") -> Any:
    """A session that holds a text of so many characters."""
    session = opened(sessions, name, scope)
    session.register([Document(text=(name + " says so. ") * characters)])
    return session


def test_a_session_is_found_again_by_id_and_scope() -> None:
    """A tenant by his name or as a scope; every other scope has one of its own."""
    sessions = Sessions()
    stock = sessions.stock_of(opened(sessions))
    assert sessions.stock_of(opened(sessions)) is stock
    assert sessions.stock_of(opened(sessions, scope=Scope(tenant="tenant"))) is stock
    for name, scope in (("t", "tenant"), ("s", "other"), ("s", Scope(tenant="tenant", principal="alice"))):
        assert sessions.stock_of(opened(sessions, name, scope)) is not stock
    assert len(sessions) == 4


def test_documents_are_named_by_their_ids_or_by_a_keyed_digest() -> None:
    """The same text has the same name in every session of a process, and no other process can tell it."""
    sessions = Sessions(key=b"a secret")
    one, other = opened(sessions, "one"), opened(sessions, "other")
    (given,) = one.register([Document(id="42", text="Hello.")])
    (named,) = one.register([Document(text="Hello.")])
    assert given.id == "42"
    assert named.id == other.register([Document(text="Hello.")])[0].id != other.register([Document(text="Bye.")])[0].id
    assert named.id != opened(Sessions(key=b"another")).register([Document(text="Hello.")])[0].id


def test_lone_surrogates_can_be_registered() -> None:
    """Text that came out of some tool can hold them."""
    assert opened(Sessions()).register([Document(text="\ud800" + LONG.format(1))])[0].id


def test_an_ended_session_begins_anew() -> None:
    """`close` forgets what it held; the handle is as good as new."""
    sessions = Sessions()
    session = holding(sessions, "s")
    stock = sessions.stock_of(session)
    session.close()
    assert len(sessions) == 0
    assert sessions.known_stock_of(session) is None
    session.close()
    session.register(())
    assert sessions.known_stock_of(session) not in (None, stock)


def test_an_idle_session_has_ended(clock: Clock) -> None:
    """To ask for it keeps it; whatever is asked for lets go of those that nobody asked for."""
    sessions = Sessions(clock=clock)
    kept, idle = holding(sessions, "kept"), holding(sessions, "idle")
    clock.now = IDLE_SECONDS / 2
    assert sessions.known_stock_of(kept) is not None
    clock.now = IDLE_SECONDS + 1
    assert sessions.known_stock_of(kept) is not None
    assert len(sessions) == 1
    assert sessions.known_stock_of(idle) is None


def test_sessions_are_bounded_in_number() -> None:
    """The longest unused one goes first."""
    sessions = Sessions(bound=2)
    first, second = holding(sessions, "first"), holding(sessions, "second")
    sessions.stock_of(first)
    holding(sessions, "third")
    assert sessions.known_stock_of(first) is not None
    assert sessions.known_stock_of(second) is None


def test_sessions_are_bounded_in_text() -> None:
    """Whatever is held by all of them together; the one that is in use is never let go of."""
    sessions = Sessions(most_characters=3_000)
    small, large = holding(sessions, "small", 100), holding(sessions, "large", 100)
    huge = holding(sessions, "huge", 1_000)
    assert sessions.known_stock_of(huge) is not None
    assert [sessions.known_stock_of(one) for one in (small, large)] == [None, None]


def test_a_session_is_bounded_in_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was registered longest ago goes first; what is registered again is as new."""
    monkeypatch.setattr("pointsman.documents.stock._MOST_CHARACTERS", 250)
    sessions = Sessions()
    session = opened(sessions)
    for number in (1, 2, 3, 1, 4):
        session.register([Document(id=str(number), text=LONG.format(number) + "x" * 20)])
    stock = sessions.stock_of(session)
    assert [one.document.id for one in stock._documents.values()] == ["3", "1", "4"][-len(stock._documents) :]
    assert stock.characters <= 250
    assert len(stock._texts) == len(stock._documents)


def test_a_new_version_takes_the_name_of_the_old_one() -> None:
    """Both texts are held; the newer one is the document's."""
    sessions = Sessions()
    session = opened(sessions)
    for text in ("old", "new", "old again"):
        session.register([Document(id="1", text=LONG.format(text))])
    session.register([Document(id="1", knowledge_base="another", text=LONG.format("another"))])
    stock = sessions.stock_of(session)
    current = [stock._held(key, one).current for key, one in stock._documents.items()]
    assert current == [False, False, True, True]


def test_rules_and_blanks_are_not_looked_for() -> None:
    """They are nobody's documents."""
    sessions = Sessions()
    session = opened(sessions)
    session.register([Document(text="-" * 400), Document(text=" \n" * 400), Document(text=LONG.format(1))])
    assert len(sessions.stock_of(session)._texts) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda sessions: sessions.open("", scope="t"), "the session's id is ''"),
        (lambda sessions: sessions.open(7, scope="t"), "the session's id is 7"),
        (lambda sessions: sessions.open("s", scope=""), "names no tenant"),
        (lambda sessions: sessions.open("s", scope=None), "names no tenant"),
        (lambda sessions: sessions.open("s", scope="t", max_age=0), "max_age is 0"),
        (lambda sessions: sessions.open("s", scope="t", max_age=float("nan")), "max_age is nan"),
        (lambda sessions: sessions.open("s", scope="t").register(["a text"]), "a str was registered"),
        (lambda _: Document(text=b"bytes"), "text is a bytes"),
    ],
)
def test_what_cannot_be_used_is_told(wrong: Any, told: str) -> None:
    """The value, and what to do."""
    with pytest.raises(InvalidRequestError, match=told):
        wrong(Sessions())


def test_nothing_is_taken_in_where_one_of_the_documents_is_none() -> None:
    """All or nothing."""
    sessions = Sessions()
    session = opened(sessions)
    with pytest.raises(InvalidRequestError):
        session.register([Document(text=LONG.format(1)), "no document"])
    assert sessions.known_stock_of(session) is None


def test_who_may_see_what_is_asked_once_for_each_document(clock: Clock) -> None:
    """By id, for the session's scope; ids that it makes up allow nothing."""
    asked: list[tuple[Sequence[str], Scope]] = []

    def authorize(ids: Sequence[str], scope: Scope) -> set[str]:
        asked.append((ids, scope))
        return {"1", "made up"}

    session = Sessions(clock=clock).open("s", scope="t", authorize=authorize, max_age=100.0)
    ages = {
        Document(id="1", text="one"): 0.0,
        Document(id="1", text="its other version"): 5.0,
        Document(id="2", text="two"): 5.0,
        Document(id="3", text="too old"): 101.0,
    }
    assert [document.text for document in session._allowed(ages)] == ["one", "its other version"]
    assert asked == [(["1", "2"], Scope(tenant="t"))]
