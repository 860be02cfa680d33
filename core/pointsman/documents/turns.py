"""A prompt as turns: a user's message and all that follows, up to his next one. Knows messages; knows no documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import orjson
from xxhash import xxh3_128_digest

from pointsman.outline import plain
from pointsman.prompt import Prompt


class Turn(NamedTuple):
    """A turn as the caller wrote it: the index of its first message, which holds what the user `said`.

    `opening` names that message, `digest` all of the turn's; cache points don't count. `size` is in bytes of JSON.
    """

    start: int
    said: tuple[str, ...]
    opening: bytes
    digest: bytes
    size: int

    def besides(self, said: str) -> int | None:
        """How many characters of `said` are a template's, if it was made of this turn; None where it wasn't.

        White space doesn't count: how much of it a template leaves between documents depends on their number.

        It may have been if all of the turn's texts stand in there, and none as a part of a longer word.
        """
        if not (self.said or not said) or not all(_stands_in(text, said) for text in self.said):
            return None
        return sum(map(len, said.split())) - sum(len(word) for text in self.said for word in text.split())


def turns_of(prompt: Prompt) -> list[Turn]:
    """The turns of a prompt, the current one last. What stands before the first isn't part of any."""
    messages = prompt.messages
    starts = [index for index, message in enumerate(messages) if _begins_turn(message)]
    turns = []
    for start, end in pairwise([*starts, len(messages)]):
        told = [message["role"].encode() + plain_bytes(message["content"]) for message in messages[start:end]]
        said = tuple(texts_of(messages[start]))
        turns.append(Turn(start, said, xxh3_128_digest(told[0]), xxh3_128_digest(b"".join(told)), sum(map(len, told))))
    return turns


def head_digest(prompt: Prompt, system: Sequence[Mapping[str, Any]]) -> bytes:
    """Names the tools of a prompt and this system prompt."""
    return xxh3_128_digest(plain_bytes(prompt.tools) + plain_bytes(system))


def plain_bytes(blocks: Iterable[Mapping[str, Any]]) -> bytes:
    """Blocks as JSON, without cache points."""
    return orjson.dumps([block for block in blocks if "cachePoint" not in block], default=plain)


def texts_of(message: Mapping[str, Any]) -> Iterator[str]:
    """The texts of a message, guarded ones too, without the white space around them."""
    for block in message["content"]:
        text = block.get("text") or ((block.get("guardContent") or {}).get("text") or {}).get("text")
        if text:
            yield text.strip()


def _stands_in(text: str, said: str) -> bool:
    at = said.find(text)
    while at >= 0:
        end = at + len(text)
        if not (_is_one_word(said[at - 1 : at], text[:1]) or _is_one_word(text[-1:], said[end : end + 1])):
            return True
        at = said.find(text, at + 1)
    return False


def _is_one_word(one: str, other: str) -> bool:
    """Whether a word goes on from one character to the other; scripts without cases have no blanks to tell it by."""
    return all(letter.isdigit() or letter.islower() or letter.isupper() for letter in (one, other))


def _begins_turn(message: Mapping[str, Any]) -> bool:
    return message["role"] == "user" and not any("toolResult" in block for block in message["content"])
