"""All texts that one session holds, and the shelves of its conversations. In memory only, bounded, thread-safe.

Knows documents and prompts; knows nothing of who may see them, nor of how long it is kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from pointsman.documents.document import Document
from pointsman.documents.economy import Economy
from pointsman.documents.lift import Texts
from pointsman.documents.planning import Held, Plan, Told, is_once_each, plan
from pointsman.documents.recurrence import Recurrence
from pointsman.documents.shelf import Shelf, Shelves
from pointsman.prompt import Prompt

_MOST_CHARACTERS = 8_000_000
# Rules and blanks are nobody's documents, and to find them in a page of the same takes long.
_FEWEST_DIFFERENT_CHARACTERS = 8

Allowed = Callable[[Mapping[Document, float]], Iterable[Document]]
"""Takes documents and for how many seconds none of them was retrieved; gives those that may be sent again."""


class _Registered:
    """A document, its text as it is found, and when a request last held it, None if none has."""

    __slots__ = ("document", "found_at", "text")

    def __init__(self, document: Document, text: str, found_at: float | None) -> None:
        self.document = document
        self.text = text
        self.found_at = found_at


class Stock:
    """What the retrievers of one session returned. `key` is what texts are named with."""

    def __init__(self, key: bytes) -> None:
        self._key = key[:64]
        self._lock = threading.RLock()
        self._documents: OrderedDict[bytes, _Registered] = OrderedDict()
        self._versions: dict[tuple[str | None, str | None], bytes] = {}
        self._texts = Texts()
        self._shelves = Shelves()
        self._found_nothing: bool | None = None
        """Whether all retrievals since the last answer were empty; None if there was none."""
        self.characters = 0
        """Of all texts."""

    def take_in(self, documents: Iterable[Document]) -> None:
        """Hold what a retriever has returned; an empty result is one too."""
        documents = tuple(documents)
        with self._lock:
            self._found_nothing = not documents and self._found_nothing is not False
            for document in documents:
                self._take_in(document)
            while self.characters > _MOST_CHARACTERS and len(self._documents) > 1:
                self._let_go(next(iter(self._documents)))

    def lay(self, prompt: Prompt, *, economy: Economy, allowed: Allowed, now: float) -> Plan | Told | None:
        """The prompt with the documents laid, or why it goes as it was written. `now` in seconds.

        None where there is nothing to say: the prompt holds none of the documents, and none is waited for. After an
        empty retrieval one that goes on from an earlier one keeps what that held all the same.
        """
        with self._lock:
            passages = self._texts.find(prompt.request) if len(self._texts) else []
            if not passages and not (self._found_nothing and len(self._shelves)):
                return self._none_found()
            planned = plan(
                prompt,
                passages,
                {key: self._held(key, one) for key, one in self._documents.items()},
                self._shelves,
                economy=economy,
                allowed=lambda keys: self._allowed(keys, allowed, now),
                now=now,
            )
            if planned is None:
                return Told(as_written="the prompt has no turn of the user")
            found = {passage.key for passage in passages}
            stay = {kept.key for turn in planned.shelf.kept for kept in turn}
            if not (found or stay or planned.shelf.seen):
                # The empty retrieval was for this one, which goes on from none; or for another that is still to come.
                if self._shelves.hold(planned.shelf.head):
                    self._found_nothing = None
                return None
            if not is_once_each(self._texts.find(planned.prompt.request), found | stay):
                return Told(as_written="a document would not stand in it exactly once")
            for key in found:
                self._documents[key].found_at = now
            return planned._replace(told=replace(planned.told, not_found=self._not_found()))

    def answered(
        self, planned: Plan, recurrence: Recurrence, *, at: float, ttl: str | None, application: bytes | None
    ) -> None:
        """Keep what a prompt laid, now that it was answered: it was sent `at`, its last cache point had that TTL."""
        with self._lock:
            self._found_nothing = None
            self._shelves.add(replace(planned.shelf, at=at, ttl=ttl, application=application))
        for learnt in planned.learnt:
            recurrence.observe(learnt.knowledge_base, learnt.standing, returned=learnt.returned)

    def to_dict(self) -> dict[str, Any]:
        """All documents, and the latest shelf of each conversation, as plain JSON."""
        with self._lock:
            number_of = {key: number for number, key in enumerate(self._documents)}
            return {
                "documents": [
                    {
                        "id": one.document.id,
                        "knowledge_base": one.document.knowledge_base,
                        "text": one.document.text,
                        "found_at": one.found_at,
                    }
                    for one in self._documents.values()
                ],
                "shelves": [shelf.to_dict(number_of) for shelf in self._shelves.latest()],
            }

    def restore(self, told: Mapping[str, Any]) -> None:
        """Hold what `to_dict` told, where nothing is held so far."""
        with self._lock:
            for one in told["documents"]:
                self._take_in(Document(text=one["text"], id=one["id"], knowledge_base=one["knowledge_base"]))
                self._documents[next(reversed(self._documents))].found_at = one["found_at"]
            keys = list(self._documents)
            for shelf in told["shelves"]:
                self._shelves.add(Shelf.from_dict(shelf, keys))

    def _take_in(self, document: Document) -> None:
        # As it is found: what differs by the white space around it only is one text.
        text = document.text.strip()
        key = blake2b(text.encode(errors="surrogatepass"), key=self._key, digest_size=16).digest()
        known = self._documents.get(key)
        if known is not None:
            self._forget_version(key, known.document)
        else:
            if len(set(text)) >= _FEWEST_DIFFERENT_CHARACTERS:
                self._texts.add(key, text)
            self.characters += len(text)
        self._documents[key] = _Registered(document, text, known.found_at if known else None)
        self._documents.move_to_end(key)
        self._versions[document.knowledge_base, document.id] = key

    def _let_go(self, key: bytes) -> None:
        registered = self._documents.pop(key)
        self._texts.remove(key)
        self.characters -= len(registered.text)
        self._forget_version(key, registered.document)

    def _forget_version(self, key: bytes, document: Document) -> None:
        if self._versions.get((document.knowledge_base, document.id)) == key:
            del self._versions[document.knowledge_base, document.id]

    def _held(self, key: bytes, registered: _Registered) -> Held:
        document = registered.document
        current = self._versions.get((document.knowledge_base, document.id)) == key
        return Held(registered.text, document.knowledge_base, current)

    def _allowed(self, keys: Iterable[bytes], allowed: Allowed, now: float) -> frozenset[bytes]:
        known = {key: self._documents[key] for key in keys if key in self._documents}
        ages = {one.document: now - (now if one.found_at is None else one.found_at) for one in known.values()}
        may_be_sent = set(allowed(ages))
        return frozenset(key for key, one in known.items() if one.document in may_be_sent)

    def _none_found(self) -> Told | None:
        not_found = self._not_found()
        return (
            Told(not_found=not_found, as_written="it holds none of the documents word for word") if not_found else None
        )

    def _not_found(self) -> tuple[str, ...]:
        return tuple(str(one.document.id) for one in self._documents.values() if one.found_at is None)
