"""Which session a run of a framework belongs to, by what it was told of. Knows names and their order, no framework."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from pointsman.documents.document import Scope
from pointsman.documents.sessions import Session, current_session, session
from pointsman.errors import InvalidRequestError

SESSION = "pointsman_session"
"""What a framework's own metadata names the session by: a `Session`, or the id of the conversation."""
SCOPE = "pointsman_scope"
"""What it names by for whom the session is: a `Scope`, or the tenant."""
NOBODY_ELSE = "default"
"""The tenant of an application that names none: it has but one."""
THREADS = ("thread_id", "session_id")
"""What frameworks themselves name conversations by."""

SessionLike: TypeAlias = Session | str | int | UUID


def find_session(
    given: object, places: Sequence[Mapping[str, Any]], conversations: Iterable[object] = ()
) -> Session | None:
    """The first that is named of: what was given, what each place has as `pointsman_session`, the framework's own names
    of the conversation, the context's session.

    Where only an id is named, the scope is the first `pointsman_scope` of the places, else that of the context's
    session, else one tenant for the whole application. The permissions are those of the context's session, where that
    is of the same tenant. A framework's own name that is no id is somebody else's business, and passed over.

    Raises:
        InvalidRequestError: what was given, or is named `pointsman_session`, is neither a session nor an id.
    """
    names = (given, *(place.get(SESSION) for place in places), *filter(_is_id, conversations))
    named = next((name for name in names if name is not None), None)
    scopes = (place[SCOPE] for place in places if place.get(SCOPE) is not None)
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
    if around is not None and (scope is None or scope in (around.scope, around.scope.tenant)):
        return around.of(str(named))
    return session(str(named), scope=NOBODY_ELSE if scope is None else scope)


def _is_id(named: object) -> bool:
    return isinstance(named, str | int | UUID) and not isinstance(named, bool) and named != ""
