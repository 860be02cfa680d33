"""Which session a run of LangChain belongs to. Knows where LangChain keeps what it was told; keeps nothing itself."""

from __future__ import annotations

from typing import TypeAlias
from uuid import UUID

from langchain_core.runnables.config import RunnableConfig, ensure_config

from pointsman import InvalidRequestError, Scope, Session, current_session, session

SESSION = "pointsman_session"
"""Names the session in a run's metadata or `configurable`: a `Session`, or the id of the conversation."""
SCOPE = "pointsman_scope"
"""Names for whom the session is, likewise: a `Scope`, or the tenant."""
NOBODY_ELSE = "default"
"""The tenant of an application that names none: it has but one."""

# The checkpointers' and `RunnableWithMessageHistory`'s.
_CONVERSATIONS = ("thread_id", "session_id")

SessionLike: TypeAlias = Session | str | int | UUID


def session_of(config: RunnableConfig | None, given: SessionLike | None = None) -> Session | None:
    """The session of a run, the first that is named of: `given`, the run's metadata, its `configurable`, the context.

    `configurable` names it as `pointsman_session`, else by `thread_id`, else by `session_id`; what runs within a chain
    or a graph sees the configuration of that. The context's is that of `with pointsman.session(...)`. Where only an id
    is named, the scope is `pointsman_scope`, else that of the context's session, with its permissions, else one
    tenant for the whole application.

    Raises:
        InvalidRequestError: what names it is neither a session nor an id.
    """
    settled = ensure_config(config)
    metadata, configurable = settled.get("metadata") or {}, settled.get("configurable") or {}
    threads = (configurable.get(name) for name in _CONVERSATIONS)
    names = (given, metadata.get(SESSION), configurable.get(SESSION), *filter(_is_id, threads))
    named = next((name for name in names if name is not None), None)
    scopes = (place[SCOPE] for place in (metadata, configurable) if place.get(SCOPE) is not None)
    return current_session() if named is None else as_session(named, next(scopes, None))


def as_session(named: object, scope: Scope | str | None = None) -> Session:
    """The session that an id names, in that scope; a session itself stays as it is.

    Raises:
        InvalidRequestError: it is neither.
    """
    if isinstance(named, Session):
        return named
    if not _is_id(named) and named != "":
        raise InvalidRequestError(
            f"the session is {named!r}. Give a pointsman.Session, or the id of the conversation as a string."
        )
    around = current_session()
    if scope is None and around is not None:
        return around.of(str(named))
    return session(str(named), scope=NOBODY_ELSE if scope is None else scope)


def _is_id(named: object) -> bool:
    return isinstance(named, str | int | UUID) and not isinstance(named, bool) and named != ""
