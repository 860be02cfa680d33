"""One conversation, for one tenant and principal: which documents its prompts may hold, and which session is current.

Reads no clock but to tell which sessions are idle.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import asdict, replace
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self

from pointsman.documents.document import Document, Scope
from pointsman.documents.economy import Economy
from pointsman.documents.planning import Plan, Told
from pointsman.documents.recurrence import Recurrence
from pointsman.documents.stock import Stock
from pointsman.errors import InvalidRequestError
from pointsman.prompt import Prompt

Authorize = Callable[[Sequence[str], Scope], Collection[str]]
"""Takes ids of documents and for whom they were retrieved; gives those of them that he may still see."""

MAX_AGE_SECONDS = 4 * 3600.0
"""For how long a document may be sent again without having been retrieved again, unless the session says otherwise."""
IDLE_SECONDS = 7200.0
"""A session that nothing was asked of for so long has ended: twice the longest TTL."""

_MOST_SESSIONS = 4096
_MOST_CHARACTERS = 256_000_000
_ID_BYTES = 12


class Session:
    """The documents of one conversation in one scope: `pointsman.session` gives it. A context manager, thread-safe."""

    def __init__(
        self, sessions: Sessions, session_id: str, scope: Scope, *, authorize: Authorize | None, max_age: float
    ) -> None:
        self.id = session_id
        self.scope = scope
        self._sessions = sessions
        self._authorize = authorize
        self._max_age = max_age
        self._attachments: list[_Attachment] = []

    def __repr__(self) -> str:
        return f"Session({self.id!r}, scope={self.scope!r})"

    def digest(self, key: bytes) -> str:
        """What tells this conversation from others, without its id: 16 hexadecimal digits, keyed."""
        told = "\0".join((self.id, self.scope.tenant, self.scope.principal or ""))
        return blake2b(told.encode(errors="surrogatepass"), key=key[:64], digest_size=8).hexdigest()

    def of(self, session_id: str) -> Session:
        """The session of another conversation in this scope, with the same permissions.

        Raises:
            InvalidRequestError: the id is empty.
        """
        age = None if self._max_age == float("inf") else self._max_age
        return self._sessions.open(session_id, scope=self.scope, authorize=self._authorize, max_age=age)

    def register(self, documents: Iterable[Document]) -> tuple[Document, ...]:
        """Take in what a retriever returned, exactly as the prompt will hold it; an empty result too.

        Returns them with their ids: those without one are named by a keyed digest of their text, the same for the
        same text throughout this process.

        Raises:
            InvalidRequestError: one of them is no Document.
        """
        named = tuple(map(self._sessions.named, documents))
        self._sessions.stock_of(self).take_in(named)
        self._sessions.known_stock_of(self)  # What was taken in counts towards the bound of all sessions at once.
        return named

    def lay(self, prompt: Prompt, *, economy: Economy, now: float) -> Plan | Told | None:
        """The prompt with this session's documents laid, as `Stock.lay`."""
        stock = self._sessions.known_stock_of(self)
        return stock.lay(prompt, economy=economy, allowed=self._allowed, now=now) if stock else None

    def answered(
        self, planned: Plan, recurrence: Recurrence, *, at: float, ttl: str | None, application: bytes | None
    ) -> None:
        """Keep what a prompt laid, as `Stock.answered`; nothing, if the session has ended meanwhile."""
        if (stock := self._sessions.known_stock_of(self)) is not None:
            stock.answered(planned, recurrence, at=at, ttl=ttl, application=application)

    def snapshot(self) -> dict[str, Any] | None:
        """What the session holds, texts included, as plain JSON; None if that is nothing.

        With `restore` a conversation goes on in another process as if it had been there all the time. Only what the
        caller keeps is kept: this package writes it nowhere.
        """
        stock = self._sessions.known_stock_of(self)
        return None if stock is None else {"scope": asdict(self.scope), **stock.to_dict()}

    def restore(self, told: Mapping[str, Any]) -> bool:
        """Take in a snapshot; False if this session holds something already, or it was told of another scope.

        Raises:
            InvalidRequestError: it is no snapshot of this version.
        """
        if self._sessions.known_stock_of(self) is not None or told.get("scope") != asdict(self.scope):
            return False
        try:
            self._sessions.stock_of(self).restore(told)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
            self.close()
            raise InvalidRequestError(f"this is no snapshot of a session: {exc!r}. Leave it out.") from exc
        self._sessions.known_stock_of(self)
        return True

    def close(self) -> None:
        """End the session: its texts are forgotten. What is registered later begins a new one."""
        self._sessions.end(self)

    def _allowed(self, ages: Mapping[Document, float]) -> Collection[Document]:
        """Those of some documents, none of which was retrieved for so many seconds, that may be sent again."""
        recent = [document for document, age in ages.items() if age <= self._max_age]
        if self._authorize is None or not recent:
            return recent
        allowed = frozenset(self._authorize(list(dict.fromkeys(str(one.id) for one in recent)), self.scope))
        return [document for document in recent if document.id in allowed]

    def __enter__(self) -> Self:
        attachment = _Attachment(self, _not_left(_attached.get()))
        self._attachments.append(attachment)
        _attached.set(attachment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A generator may be closed in another context than the one that it was begun in. What it attached there stays
        # there, but counts no more.
        attachment = _attached.get()
        while attachment is not None and (attachment.left or attachment.session is not self):
            attachment = attachment.before
        with suppress(IndexError, ValueError):  # Another thread may leave the same handle at this very moment.
            attachment = attachment or self._attachments[-1]
            attachment.left = True
            self._attachments.remove(attachment)
        # A thread that serves for ever must not hold all the sessions that it ever entered.
        _attached.set(_not_left(_attached.get()))


class _Attachment:
    """A session that a `with` has made the current one, and the one before."""

    __slots__ = ("before", "left", "session")

    def __init__(self, session: Session, before: _Attachment | None) -> None:
        self.session = session
        self.before = before
        self.left = False


_attached: ContextVar[_Attachment | None] = ContextVar("pointsman_session", default=None)


def current_session() -> Session | None:
    """The session of the innermost `with` in this context that is not left yet."""
    attachment = _not_left(_attached.get())
    return attachment.session if attachment else None


def _not_left(attachment: _Attachment | None) -> _Attachment | None:
    while attachment is not None and attachment.left:
        attachment = attachment.before
    return attachment


class _Used:
    """A session's stock, when it was last used, and how many characters it held then."""

    __slots__ = ("at", "characters", "stock")

    def __init__(self, stock: Stock) -> None:
        self.stock = stock
        self.at = 0.0
        self.characters = 0


class Sessions:
    """The sessions of one process: bounded in number and text, the longest unused goes first. Thread-safe.

    Args:
        key: the secret that documents without an id are named with. Random by default.
        bound: sessions that are kept.
        most_characters: of the texts of all sessions.
        idle_seconds: a session that nothing was asked of for so long has ended.
        clock: seconds; only how long a session is idle is told by it.
    """

    def __init__(
        self,
        *,
        key: bytes | None = None,
        bound: int = _MOST_SESSIONS,
        most_characters: int = _MOST_CHARACTERS,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = (os.urandom(32) if key is None else key)[:64]
        self._bound = bound
        self._most_characters = most_characters
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._used: OrderedDict[tuple[Scope, str], _Used] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._used)

    def open(
        self,
        session_id: str,
        *,
        scope: Scope | str,
        authorize: Authorize | None = None,
        max_age: float | None = MAX_AGE_SECONDS,
    ) -> Session:
        """The session of that id in that scope, as `pointsman.session` gives it.

        Raises:
            InvalidRequestError: the id is empty, the scope names nobody, or the age is not positive.
        """
        if not isinstance(session_id, str) or not session_id:
            raise InvalidRequestError(f"the session's id is {session_id!r}. Give the id of the conversation.")
        if max_age is not None and not max_age > 0:
            raise InvalidRequestError(f"max_age is {max_age!r}; it must be a number of seconds above 0, or None.")
        age = float("inf") if max_age is None else max_age
        return Session(self, session_id, Scope.of(scope), authorize=authorize, max_age=age)

    def named(self, document: Document) -> Document:
        """The document with an id: its own, or a keyed digest of its text."""
        if not isinstance(document, Document):
            raise InvalidRequestError(f"a {type(document).__name__} was registered. Give pointsman.Document objects.")
        if document.id:
            return document
        digest = blake2b(document.text.encode(errors="surrogatepass"), key=self._key, digest_size=_ID_BYTES)
        return replace(document, id=digest.hexdigest())

    def stock_of(self, session: Session) -> Stock:
        """What the session holds; nothing at first, and after it has ended."""
        with self._lock:
            key = session.scope, session.id
            self._let_go_of_idle()
            used = self._used.setdefault(key, _Used(Stock(self._key)))
            return self._in_use(key, used)

    def known_stock_of(self, session: Session) -> Stock | None:
        """What the session holds; None if nothing was registered with it."""
        with self._lock:
            key = session.scope, session.id
            self._let_go_of_idle()
            return self._in_use(key, self._used[key]) if key in self._used else None

    def end(self, session: Session) -> None:
        """Forget what the session holds."""
        with self._lock:
            self._let_go((session.scope, session.id))

    def _in_use(self, key: tuple[Scope, str], used: _Used) -> Stock:
        used.at = self._clock()
        self._used.move_to_end(key)
        self._characters += used.stock.characters - used.characters
        used.characters = used.stock.characters
        while len(self._used) > self._bound or (self._characters > self._most_characters and len(self._used) > 1):
            self._let_go(next(iter(self._used)))
        return used.stock

    def _let_go_of_idle(self) -> None:
        now = self._clock()
        while self._used:
            key, used = next(iter(self._used.items()))
            if now - used.at <= self._idle_seconds:
                return
            self._let_go(key)

    def _let_go(self, key: tuple[Scope, str]) -> None:
        if (used := self._used.pop(key, None)) is not None:
            self._characters -= used.characters


_SESSIONS = Sessions()


def session(
    id: str,
    *,
    scope: Scope | str,
    authorize: Authorize | None = None,
    max_age: float | None = MAX_AGE_SECONDS,
) -> Session:
    """The session of one conversation: `with pointsman.session("thread-7", scope="tenant-a") as session:`.

    Documents that a retriever returns within the block are registered with it, and prompts sent within it hold them
    where the cache can keep them. Leaving the block detaches it, no more: the next request of the same conversation, in
    the same process, finds it again by id and scope. `close()` ends it; so do two idle hours, or more sessions and text
    than there is room for.

    Args:
        scope: the tenant, or a `Scope` of tenant and principal. Nothing is shared between scopes.
        authorize: takes ids of documents and the scope, gives those that may still be seen: asked before documents
            are sent again that were not retrieved again. What it doesn't give is cut, even if the cache is lost by it.
        max_age: seconds for which a document may be sent again without having been retrieved again; None for ever.

    Raises:
        InvalidRequestError: the id is empty, the scope names nobody, or the age is not positive.
    """
    return _SESSIONS.open(id, scope=scope, authorize=authorize, max_age=max_age)
