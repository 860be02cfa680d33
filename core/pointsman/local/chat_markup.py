"""How a chat model's messages are marked up, block by block. Knows the model's template; knows no tokens.

What closes a message belongs to the block that opens the next one, so that the text of a prefix never depends
on what follows it. The marks are found by laying out a short conversation with the model's own template and
cutting it at its words, which does for any model and needs no table of families.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pointsman.local.engines import RenderedBlock

ApplyTemplate = Callable[[Sequence[Mapping[str, str]]], str]
"""Lays messages out with the model's template, ready for an answer; raises ValueError if it refuses them."""

SEPARATOR = "\n\n"
_SYSTEM, _USER, _ASSISTANT, _LAST = "FIRSTWORD", "SECONDWORD", "THIRDWORD", "FOURTHWORD"
_CONVERSATION = (
    {"role": "user", "content": _USER},
    {"role": "assistant", "content": _ASSISTANT},
    {"role": "user", "content": _LAST},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMarkup:
    """The marks between messages: by the role before (None at the start) and the role that opens."""

    openings: Mapping[tuple[str | None, str], str]
    ending: str

    @classmethod
    def of_template(cls, apply: ApplyTemplate) -> ChatMarkup:
        """The markup that a template produces. One that refuses a system message gets it as the user's."""
        first, answer, again, ending = _cut(apply(_CONVERSATION), _USER, _ASSISTANT, _LAST)
        try:
            whole = apply(({"role": "system", "content": _SYSTEM}, *_CONVERSATION))
            system, after_system = _cut(whole, _SYSTEM, _USER)[:2]
        except ValueError:
            system, after_system = first, SEPARATOR
        openings = {
            (None, "system"): system,
            ("system", "user"): after_system,
            (None, "user"): first,
            ("user", "assistant"): answer,
            ("assistant", "user"): again,
        }
        return cls(openings=openings, ending=ending)

    def before(self, blocks: Sequence[RenderedBlock]) -> list[str]:
        """What stands before each block's text: it depends on the blocks before it, never on those behind."""
        marks = []
        previous: RenderedBlock | None = None
        for block in blocks:
            if previous is not None and previous.message == block.message:
                marks.append(SEPARATOR)
            else:
                role = None if previous is None else _role(previous)
                marks.append(self.openings.get((role, _role(block)), SEPARATOR))
            previous = block
        return marks

    def behind(self, blocks: Sequence[RenderedBlock]) -> str:
        """What stands behind the last block to ask for an answer: nothing where one was begun already."""
        return "" if blocks and _role(blocks[-1]) == "assistant" else self.ending


def _role(block: RenderedBlock) -> str:
    """Tools have no role of their own: their texts stand in the system message."""
    return "system" if block.message is None else block.role or "user"


def _cut(text: str, *words: str) -> list[str]:
    """The pieces of a text around words that it holds in this order."""
    pieces = []
    for word in words:
        piece, found, text = text.partition(word)
        if not found:
            raise ValueError(f"the chat template lost the text {word!r} of a message")
        pieces.append(piece)
    return [*pieces, text]
