"""How documents stand in a request: the words around them, and the request with them in their places.

Knows the shape of a request and the wording; which document goes where is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from pointsman.documents.lift import Passage, Place, Replacement, replaced
from pointsman.prompt import Prompt

GIVEN_BELOW = "[The documents are given with the question.]"
"""What stands in the system prompt instead of documents: the same words however many they were."""

# Small documents share a block: a cache is found only so many blocks back.
_SMALL_BLOCK = 4_000
_WORDS_OF_A_REFERENCE = 8
_WORD = re.compile(r"\w+")


class Stay(NamedTuple):
    """A document as it stays in a conversation: under a number, by which later turns name it."""

    number: int
    text: str


def name_of(number: int) -> str:
    """What the prompt calls a document that stays."""
    return f"[document {number}]"


def given_above(text: str) -> str:
    """What stands for a second copy of a text. Plain words, so that it may stand within JSON."""
    words = _WORD.findall(text[:400])[:_WORDS_OF_A_REFERENCE]
    return f"[given above: {' '.join(words)} ...]"


def without_documents(request: Mapping[str, Any], passages: Sequence[Passage]) -> dict[Place, list[Replacement]]:
    """What the system prompt has instead of these passages of it.

    Of several between which nothing is said, one replacement is left, and the white space around it is always the same:
    neither their number nor how their texts begin and end must show in the prompt's beginning.
    """
    replacements: dict[Place, list[Replacement]] = {}
    for passage in passages:
        at, text = replacements.setdefault(passage.place, []), _text_at(request, passage.place)
        if at and not _WORD.search(text[at[-1][1] : passage.start]):
            start = at.pop()[0]
        else:
            start = len(text[: passage.start].rstrip())
        end = len(text) - len(text[passage.end :].lstrip())
        at.append((start, end, "\n\n" * (start > 0) + GIVEN_BELOW + "\n\n" * (end < len(text))))
    return replacements


def blocks_of(stays: Iterable[Stay]) -> list[str]:
    """The texts of the blocks in which documents stay, small ones together."""
    blocks: list[str] = []
    for stay in stays:
        text = f"{name_of(stay.number)}\n{stay.text}"
        if blocks and len(blocks[-1]) + len(text) <= _SMALL_BLOCK:
            blocks[-1] += f"\n\n{text}"
        else:
            blocks.append(text)
    return blocks


def for_this_question(above: Sequence[int], texts: Sequence[str]) -> str | None:
    """The block of documents that are laid for one question: those that stay above by name, the others in full."""
    if not (above or texts):
        return None
    names = f" {', '.join(map(name_of, above))}{' and:' if texts else ''}" if above else ""
    return "\n\n".join([f"Documents for this question:{names}", *texts])


class Layout(NamedTuple):
    """Where documents go in one request.

    `instead` is what stands in the places of passages that move or repeat. `stays` are the documents that stay, by the
    index of the message that they are laid in, and `named` the numbers of those that such a message names; `loose` is
    the block for this question, laid behind both in the message `turn`. What came up in a tool loop is laid at the end
    of messages: `behind` are those that stay, `late` is the block for this question, in the last message.
    """

    turn: int
    instead: Mapping[Place, Sequence[Replacement]]
    stays: Mapping[int, Sequence[Stay]]
    named: Mapping[int, Sequence[int]]
    loose: str | None = None
    late: str | None = None
    behind: Mapping[int, Sequence[Stay]] = MappingProxyType({})


def laid(prompt: Prompt, layout: Layout, *, volatile: bool) -> Prompt:
    """The prompt with documents where the layout says.

    `volatile`: what stands in the current turn behind the documents that stay is sent in this prompt only.
    """
    request = replaced(prompt.request, layout.instead) if layout.instead else dict(prompt.request)
    messages = list(request["messages"])
    heads = {index: blocks_of(stays) for index, stays in layout.stays.items()}
    kept = len(heads.get(layout.turn, ()))
    for index, named in layout.named.items():
        if (text := for_this_question(named, ())) is not None:
            heads[index].append(text)
    if layout.loose is not None:
        heads.setdefault(layout.turn, []).append(layout.loose)
    for index, texts in heads.items():
        if texts:
            blocks = [{"text": text} for text in texts]
            messages[index] = {**messages[index], "content": [*blocks, *messages[index]["content"]]}
    tails = {index: blocks_of(stays) for index, stays in layout.behind.items()}
    if layout.late is not None:
        tails.setdefault(len(messages) - 1, []).append(layout.late)
    for index, texts in tails.items():
        blocks = [{"text": text} for text in texts]
        messages[index] = {**messages[index], "content": [*messages[index]["content"], *blocks]}
    request["messages"] = messages
    return replace(prompt, request=request, volatile_at=(layout.turn, kept) if volatile else None)


def _text_at(request: Mapping[str, Any], place: Place) -> str:
    value: Any = request
    for step in place:
        value = value[step]
    return str(value)
