"""What was found for a question and what became of it, in words. Knows answers; knows no terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pointsman.ask.conversation import Answer
from pointsman.documents import Document, Told


def documents_of(answer: Answer) -> str | None:
    """Which documents were found for the question, and how many of them stay; None if nothing was searched.

    For example "rules.md (3), fares.pdf: 2 stay from now on, 2 for this question only; 3 found earlier stay too".
    """
    if answer.found is None:
        return None
    told = answer.trace.documents
    what = ", ".join(_names(answer.found)) or "none found"
    became = [] if told is None else [*_found(told), *_others(told)]
    return "; ".join([what, *became]) if became else what


def name_of(document: Document) -> str:
    """A document's title, or its file's name."""
    return document.title or (document.source or "").rstrip("/").rpartition("/")[2] or str(document.id)


def _names(documents: Iterable[Document]) -> list[str]:
    counted = Counter(map(name_of, documents))
    return [name if count == 1 else f"{name} ({count})" for name, count in counted.items()]


def _found(told: Told) -> list[str]:
    if told.as_written is not None:
        return [f"as written, for {told.as_written}"]
    stayed = told.stay - told.resent - told.anew
    numbers = {"stay from now on": told.anew, "stayed already": stayed, "for this question only": told.loose}
    words = [f"{number} {what}" for what, number in numbers.items() if number]
    return [", ".join(words)] if words else []


def _others(told: Told) -> list[str]:
    numbers = {"found earlier stayed too": told.resent, "left out from now on": told.cut}
    return [f"{number} {what}" for what, number in numbers.items() if number]
