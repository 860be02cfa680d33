"""The prompts sent lately to each model, as hashes of their blocks: what a prompt that isn't read is compared with.

Knows which earlier prompts a new one may go back to, and which of them had no answer yet; judges nothing. Holds no
text; its hashes aren't keyed and never leave the process.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pointsman.cache.ledger import owner_of
from pointsman.catalog import Model
from pointsman.outline import CachePoint, Outline

# A block's hash, or of how many tools and system blocks a prompt is made.
_Mark = bytes | tuple[int, int]

_HASH_BYTES = 16
# A turn of an agent seldom adds more blocks than this; a longer one is found by its marks.
_MOST_NEW_BLOCKS = 64
_MOST_EARLIER = 6
# AWS advises to wait for a reply for up to an hour (https://repost.aws/knowledge-center/bedrock-large-model-read-timeouts,
# read 2026-11-24). A call that has had no answer for longer was dropped.
_LONGEST_CALL_SECONDS = 3600.0


@dataclass(slots=True, eq=False)
class SentPrompt:
    """One prompt that was sent: the hashes of its blocks in one string, its parts, and its cache points.

    `tools` and `head` are the numbers of blocks up to the end of the tools, and of the system prompt; `head_digest`
    names the prefix that ends there, `head_tokens` are its estimated tokens before any correction. `tokens` are those
    up to the last cache point. `marks` are what a later prompt of the same kind may be recognised by. `answered` is
    None until the reply has come.
    """

    digest: bytes
    hashes: bytes
    tools: int
    head: int
    head_digest: bytes
    head_tokens: int
    images: bool
    points: tuple[CachePoint, ...]
    tokens: int
    at: float
    marks: tuple[_Mark, ...]
    answered: float | None = None

    def __len__(self) -> int:
        return len(self.hashes) // _HASH_BYTES

    def hash_at(self, index: int) -> bytes:
        """The hash of one block."""
        return self.hashes[index * _HASH_BYTES : (index + 1) * _HASH_BYTES]

    def hashes_from(self, index: int) -> list[bytes]:
        """The hashes of the blocks from this one on."""
        return [self.hash_at(one) for one in range(index, len(self))]

    def blocks_in_common(self, other: SentPrompt) -> int:
        """With how many of the same blocks both begin."""
        mine, theirs = self.hashes, other.hashes
        lengths = range(_HASH_BYTES, min(len(mine), len(theirs)) + 1, _HASH_BYTES)
        return bisect_left(lengths, True, key=lambda length: mine[:length] != theirs[:length])


class Sending(NamedTuple):
    """A prompt as it is sent, and what was known then: earlier prompts like it, and which had no answer yet.

    `owner` is the model and the Region that it was sent to; `extends` whether `earlier` is just the prompt before it.
    """

    owner: tuple[str, str | None]
    prompt: SentPrompt
    extends: bool
    earlier: tuple[SentPrompt, ...]
    under_way: tuple[SentPrompt, ...]


class SentPrompts:
    """What was sent lately, thread-safe. Of each conversation the last prompt is kept, which holds those before.

    Args:
        bound: blocks kept for each model and Region, 16 bytes for each.
    """

    def __init__(self, *, bound: int = 65_536) -> None:
        self._bound = bound
        self._models: dict[tuple[str, str | None], _ModelsPrompts] = {}
        self._lock = threading.Lock()

    def send(self, outline: Outline, model: Model, points: Sequence[CachePoint], now: float) -> Sending | None:
        """Note a prompt before its call; None if it has no blocks."""
        if not outline.blocks:
            return None
        hashes = _hashes(outline)
        prompt = _sent(outline, hashes, points, now)
        owner = owner_of(model)
        with self._lock:
            of_model = self._models.setdefault(owner, _ModelsPrompts())
            extended = of_model.extended(outline)
            earlier = (extended,) if extended else tuple(of_model.recognised(prompt, hashes))
            of_model.add(prompt, bound=self._bound)
        under_way = [one for one in earlier if one.answered is None and one.at > now - _LONGEST_CALL_SECONDS]
        return Sending(owner, prompt, extended is not None, earlier, tuple(under_way))

    def answer(self, sending: Sending, now: float) -> None:
        """The reply has come. The prompt that this one extends isn't needed any more."""
        sending.prompt.answered = now
        if sending.extends and sending.earlier[0].digest != sending.prompt.digest:
            self._remove(sending.owner, sending.earlier[0])

    def withdraw(self, sending: Sending) -> None:
        """The call failed: it is as if the prompt had not been sent."""
        self._remove(sending.owner, sending.prompt)

    def _remove(self, owner: tuple[str, str | None], prompt: SentPrompt) -> None:
        with self._lock:
            self._models[owner].remove(prompt)


class _ModelsPrompts:
    """The prompts sent to one model, the longest unused first."""

    def __init__(self) -> None:
        self._prompts: OrderedDict[bytes, SentPrompt] = OrderedDict()
        self._marked: dict[_Mark, SentPrompt] = {}
        self._blocks = 0

    def extended(self, outline: Outline) -> SentPrompt | None:
        """The longest of these prompts that the new one begins with."""
        for block in outline.blocks[: -_MOST_NEW_BLOCKS - 1 : -1]:
            if (found := self._prompts.get(block.digest)) is not None:
                return found
        return None

    def recognised(self, prompt: SentPrompt, hashes: Sequence[bytes]) -> Iterator[SentPrompt]:
        """Prompts that the new one may go back to, though it doesn't begin with them."""
        found: set[int] = set()
        marked = self._marked
        # The last block of an earlier prompt comes back as history of a later one.
        for mark in (*prompt.marks, *hashes[: prompt.head - len(hashes) - 1 : -1]):
            earlier = marked.get(mark)
            if earlier is not None and id(earlier) not in found:
                yield earlier
                found.add(id(earlier))
                if len(found) == _MOST_EARLIER:
                    return

    def add(self, prompt: SentPrompt, *, bound: int) -> None:
        """Keep a prompt, and let go of the one that it repeats."""
        if (same := self._prompts.get(prompt.digest)) is not None:
            self.remove(same)
        self._prompts[prompt.digest] = prompt
        self._blocks += len(prompt)
        for mark in prompt.marks:
            self._marked[mark] = prompt
        while self._blocks > bound and len(self._prompts) > 1:
            self.remove(next(iter(self._prompts.values())))

    def remove(self, prompt: SentPrompt) -> None:
        """Let go of a prompt and its marks, if it is still there."""
        if self._prompts.get(prompt.digest) is not prompt:
            return
        del self._prompts[prompt.digest]
        self._blocks -= len(prompt)
        for mark in prompt.marks:
            if self._marked.get(mark) is prompt:
                del self._marked[mark]


def _hashes(outline: Outline) -> Sequence[bytes]:
    """The hash of each block; in an outline made without a prompt, its digest: that tells at least where two part."""
    return outline.hashes or [block.digest.ljust(_HASH_BYTES)[:_HASH_BYTES] for block in outline.blocks]


def _sent(outline: Outline, hashes: Sequence[bytes], points: Sequence[CachePoint], now: float) -> SentPrompt:
    blocks = outline.blocks
    tools = head = 0
    for block in blocks:
        if block[0] == "messages":
            break
        tools += block[0] == "tools"
        head += 1
    # The first message, and the end of the system prompt, are the same through a conversation or an application.
    ends = (hashes[-1], hashes[min(head, len(hashes) - 1)], hashes[head - 1] if head else hashes[0])
    return SentPrompt(
        digest=blocks[-1].digest,
        hashes=b"".join(hashes),
        tools=tools,
        head=head,
        head_digest=blocks[head - 1].digest if head else b"",
        head_tokens=outline.sums[head - 1] if head else 0,
        images="image" in outline.kinds,
        points=tuple(points),
        tokens=outline.tokens_to(points[-1].after) if points else 0,
        at=now,
        marks=((tools, head), *ends),
    )
