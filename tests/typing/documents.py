"""What a user's type checker sees of sessions, documents and knowledge bases. See `clients.py`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, assert_type

import pointsman
from pointsman import AsyncKnowledgeBase, Document, KnowledgeBase, Scope, Session


def all_of(ids: Sequence[str], scope: Scope) -> Collection[str]:
    """A user's own permissions."""
    assert_type(scope.principal, str | None)
    return set(ids)


def none_of(ids: Sequence[str]) -> Collection[str]:
    """Permissions that don't ask for whom."""
    return ids[:0]


def a_session_is_a_context() -> None:
    """And has a scope, given by name or as a value."""
    with pointsman.session("thread-7", scope="tenant-a") as session:
        assert_type(session, Session)
        assert_type(session.register([Document(text="A passage.")]), tuple[Document, ...])
        assert_type(session.snapshot(), dict[str, Any] | None)
    assert_type(pointsman.session("7", scope=Scope(tenant="a"), authorize=all_of, max_age=None), Session)
    assert_type(pointsman.current_session(), Session | None)
    pointsman.session("thread-7")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    pointsman.session("thread-7", "tenant-a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    pointsman.session(7, scope="a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pointsman.session("7", scope="a", authorize=none_of)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_document_is_a_value(session: Session) -> None:
    """Frozen, and made by keyword."""
    document = Document(text="A passage.", id="42", score=0.5, metadata={"page": 1})
    assert_type(document.id, str | None)
    assert_type(document.score, float | None)
    document.text = "Another."  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    Document("A passage.")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Document(id="42")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Document(text=b"A passage.")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    session.register(["A passage."])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def knowledge_bases_give_documents(client: Any, session: Session) -> None:
    """The same of both."""
    base = KnowledgeBase("HANDBOOK01", client=client)
    for found in base.retrieve("When do trains leave?", results=3, session=session):
        assert_type(found, Document)
    for found in await AsyncKnowledgeBase("HANDBOOK01", client=client).retrieve("When do trains leave?"):
        assert_type(found, Document)
