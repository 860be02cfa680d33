"""Where a run's session is found, and in which order."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from langchain_core.runnables import RunnableConfig, RunnableLambda

import pointsman
from langchain_pointsman.sessions import session_of
from pointsman import InvalidRequestError, Scope, Session

_MINE = pointsman.session("mine", scope="tenant")


def _config(metadata: dict[str, Any] | None = None, **configurable: Any) -> RunnableConfig:
    return RunnableConfig(metadata=metadata or {}, configurable=configurable)


def _named(config: RunnableConfig | None = None, given: Any = None) -> tuple[str, str] | None:
    session = session_of(config, given)
    return (session.id, session.scope.tenant) if session else None


def test_the_first_that_names_it_is_taken() -> None:
    """Argument, metadata, configurable, thread_id, session_id, context: each goes before what follows it."""
    metadata = {"pointsman_session": "metadata"}
    configurable = {"pointsman_session": "configurable", "thread_id": "thread", "session_id": "history"}
    found = []
    with pointsman.session("context", scope="default"):
        found.append(_named(_config(metadata, **configurable), "argument"))
        found.append(_named(_config(metadata, **configurable)))
        for name in list(configurable):
            found.append(_named(_config(**configurable)))
            del configurable[name]
        found.append(_named(_config()))
    assert [name for name, _ in found if name] == [
        "argument",
        "metadata",
        "configurable",
        "thread",
        "history",
        "context",
    ]
    assert _named() is None


def test_a_session_stays_what_it_is() -> None:
    """A `Session` keeps its scope, wherever it stands and whatever scope is named beside it."""
    for config, given in (
        (_config({"pointsman_session": _MINE}), None),
        (_config(pointsman_session=_MINE), None),
        (_config(pointsman_scope="other"), _MINE),
    ):
        assert session_of(config, given) is _MINE


@pytest.mark.parametrize("place", ["metadata", "configurable"])
def test_the_scope_is_named_beside_the_id(place: str) -> None:
    """By a tenant or a `Scope`, in the metadata or in the configurable."""
    scope = Scope(tenant="a", principal="alice")
    for named, tenant in (("a", "a"), (scope, "a")):
        config = _config(thread_id="thread")
        config[place] = {**config[place], "pointsman_scope": named}  # type: ignore[literal-required]
        found = session_of(config)
        assert found is not None
        assert found.scope.tenant == tenant and (found.scope == scope) == (named is scope)


def test_an_id_within_a_session_has_its_scope_and_permissions() -> None:
    """What an enclosing `with` says of the tenant and of who may see what holds for the threads within it."""
    asked = []

    def permitted(ids: Any, scope: Scope) -> Any:
        asked.append(scope)
        return ids

    with pointsman.session("request", scope="tenant-a", authorize=permitted, max_age=60.0):
        found = session_of(_config(thread_id="thread"))
        explicit = session_of(_config(thread_id="thread", pointsman_scope="tenant-b"))
        same = session_of(_config(thread_id="thread", pointsman_scope="tenant-a"))
    assert found is not None and explicit is not None
    assert (found.id, found.scope) == ("thread", Scope(tenant="tenant-a"))
    assert list(found._allowed({pointsman.Document(id="1", text="A text."): 1.0})) and asked == [found.scope]
    assert explicit.scope == Scope(tenant="tenant-b")
    # Naming the same tenant once more takes nobody's permission away, nor gives him any.
    assert same is not None and same._authorize is permitted


def test_what_runs_within_a_chain_sees_its_configuration() -> None:
    """A function in a chain is told nothing, and its run's thread is found all the same."""
    chain = RunnableLambda(lambda _: None) | RunnableLambda(lambda _: _named())
    assert chain.invoke(None, _config(thread_id="thread")) == ("thread", "default")


async def test_so_does_what_runs_within_an_async_chain() -> None:
    """The same where it is awaited."""

    async def named(_: Any) -> Any:
        return _named()

    chain = RunnableLambda(named) | RunnableLambda(lambda found: found)
    assert await chain.ainvoke(None, _config(thread_id="thread")) == ("thread", "default")


def test_ids_need_not_be_strings() -> None:
    """Numbers and UUIDs name conversations too."""
    assert _named(_config(thread_id=7)) == ("7", "default")
    number = UUID("12345678-1234-5678-1234-567812345678")
    assert _named(_config(thread_id=number)) == (str(number), "default")


@pytest.mark.parametrize("wrong", [3.5, True, ["thread"], {"id": "thread"}])
def test_what_names_no_session_is_refused(wrong: Any) -> None:
    """The error shows the value and says what to give."""
    with pytest.raises(InvalidRequestError, match=r"Give a pointsman\.Session, or the id") as told:
        session_of(None, wrong)
    assert repr(wrong) in str(told.value)


def test_an_empty_id_is_refused() -> None:
    """It would put all that name none into one session."""
    with pytest.raises(InvalidRequestError, match="the session's id is ''"):
        session_of(None, "")


@pytest.mark.parametrize("other", ["", None, ("user", 7)])
def test_a_thread_that_is_no_id_is_somebody_elses(other: Any) -> None:
    """A checkpointer or a history of one's own may name threads as it likes: no call breaks by it."""
    assert _named(_config(thread_id=other, session_id="history")) == ("history", "default")
    assert _named(_config(thread_id=other)) is None


def test_a_session_is_the_same_for_all_that_name_it() -> None:
    """What one registers another finds: sessions are known by id and scope."""
    first, second = session_of(_config(thread_id="shared")), session_of(_config({"pointsman_session": "shared"}))
    assert isinstance(first, Session) and isinstance(second, Session)
    try:
        first.register([pointsman.Document(id="1", text="A text that is long enough to be looked for at all.")])
        assert second.snapshot() == first.snapshot() is not None
    finally:
        first.close()
