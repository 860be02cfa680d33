"""The blocks of a prompt that a cache point can follow, each known by its digest and tokens: no text is kept.

Knows what the cache key of a prefix depends on; knows no model and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from xxhash import xxh3_128_digest

from pointsman.errors import InvalidRequestError
from pointsman.tokens import TokenCounter
from pointsman.tokens.content import Contents, joined, sample

if TYPE_CHECKING:
    from pointsman.tokens.correction import Weights

SECTIONS = ("tools", "system", "messages")
TTLS = ("5m", "1h")

_KINDS = {
    "text": "text",
    "toolSpec": "tool",
    "systemTool": "tool",
    "toolUse": "tool_use",
    "toolResult": "tool_result",
    "image": "image",
    "document": "document",
    "video": "video",
    "audio": "audio",
    "reasoningContent": "reasoning",
    "guardContent": "guard",
    "citationsContent": "citations",
    "searchResult": "search_result",
}
# `system` is a message's role too since botocore 1.44.5.
ROLES = ("user", "assistant", "system")
# Kinds whose tokens their bytes don't tell, or not always.
_MEDIA = frozenset({"image", "document", "video", "audio"})
_UNEVEN = _MEDIA | {"tool_result"}
_UNCOUNTABLE_INSIDE = frozenset({"image", "document", "video"})
_RUN_MARKS = {
    (section, role): f"|{section}|{role}|".encode()
    for section, role in (("tools", None), ("system", None), *(("messages", role) for role in ROLES))
}
_COUNTABLE_DOCUMENTS = frozenset({"txt", "md", "csv", "html"})
# Of all prompts of this process: what a block is made of depends on nothing else.
_CONTENTS = Contents()
# What isn't hashed as JSON is told by its seed from JSON that reads the same.
_TEXT_SEED, _RESULT_SEED = 1, 2


class Block(NamedTuple):
    """The smallest piece that a cache point can follow. A tuple, since hundreds are made for each request.

    `digest` names the whole prefix that ends with this block. `tokens` is None where it can't be known (a PDF, an
    image): such a prefix counts as above any minimum.
    """

    section: str
    role: str | None
    kind: str
    digest: bytes
    tokens: int | None


class CachePoint(NamedTuple):
    """A cache point behind the block with the index `after`; `ttl` is `"5m"` or `"1h"`."""

    after: int
    ttl: str = "5m"


class Prefix(NamedTuple):
    """The prompt from its start to one cut: the block it ends with, its digest and (estimated) tokens."""

    after: int
    digest: bytes
    tokens: int


class Outline(NamedTuple):
    """The blocks of a prompt in the order tools, system, messages, without any of their text.

    `points` are those that the caller placed, `kinds` all kinds of block, those inside tool results too.
    `misplaced`: one of his points stands first in its list, or right behind another, where no model takes it.
    `sums` are the tokens up to each block, `first_unknown` the first block whose tokens can't be known.
    `turn` names the user turn that the last message belongs to: the same through a whole tool loop; None where the
    prompt has no tools.
    `hashes` name each block by itself, so that it can be found again behind another prefix. They aren't keyed, and
    stay in this process.
    `contents` tell what each block is made of, so that the tokens can be corrected for one model, and the correction
    be learnt: rows of `pointsman.tokens.content`. Empty where only the tokens are known.
    `corrected_sums` are the `sums` as one model counts; empty as long as nothing is known of it.
    `media` are blocks that can't be counted and were billed before: pairs of a block's index and its tokens, which the
    `corrected_sums` have in them.
    `volatile_from` is the first of the blocks that stand in this prompt only, up to its end: documents retrieved for
    one question. None where nobody has said so.
    """

    blocks: tuple[Block, ...]
    points: tuple[CachePoint, ...]
    kinds: frozenset[str]
    sums: tuple[int, ...]
    first_unknown: int
    misplaced: bool = False
    turn: bytes | None = None
    in_tool_loop: bool = False
    contents: bytes = b""
    corrected_sums: tuple[int, ...] = ()
    hashes: tuple[bytes, ...] = ()
    volatile_from: int | None = None
    media: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of_blocks(cls, blocks: Iterable[Block], *, points: Iterable[CachePoint] = ()) -> Outline:
        """An outline made without any prompt, so that recorded traffic can be replayed."""
        blocks = tuple(blocks)
        sums, first_unknown = summed([block.tokens for block in blocks])
        kinds = frozenset(block.kind for block in blocks)
        return cls(blocks, tuple(points), kinds, sums, first_unknown)

    def corrected(self, weights: Weights | None, media: Sequence[tuple[int, int]] = ()) -> Outline:
        """The same outline with tokens as a model counts them, by what its usage has taught."""
        sums = self.sums
        if weights is not None and self.contents:
            from pointsman.tokens.correction import sums_with

            sums = sums_with(self.contents, weights)
        elif not media:
            return self
        if media:
            billed = dict(media)
            sums = tuple(map(add, sums, accumulate(billed.get(index, 0) for index in range(len(sums)))))
        return self._replace(corrected_sums=sums, media=tuple(media))

    @property
    def tokens(self) -> int:
        """Estimated tokens of the whole prompt; blocks that can't be counted add what was billed for them before."""
        return self.tokens_to(len(self.blocks) - 1)

    @property
    def counted(self) -> bool:
        """Whether the tokens of every block are known."""
        return self.first_unknown >= len(self.blocks)

    @property
    def uncounted(self) -> list[int]:
        """The blocks whose tokens can't be known."""
        blocks = self.blocks
        return [index for index in range(self.first_unknown, len(blocks)) if blocks[index].tokens is None]

    @property
    def start_of_last_message(self) -> int:
        """The first block of the last message: roles alternate, so a role is a message."""
        index = len(self.blocks) - 1
        while index > 0 and self.blocks[index - 1][:2] == self.blocks[index][:2]:
            index -= 1
        return index

    def tokens_to(self, index: int) -> int:
        """Estimated tokens of the prefix that ends with the block at `index`; 0 for -1."""
        return (self.corrected_sums or self.sums)[index] if index >= 0 else 0

    def reaches(self, index: int, minimum: int | None) -> bool:
        """Whether the prefix that ends at `index` has at least `minimum` tokens, as far as can be told."""
        if minimum is None or index < 0:
            return minimum is None
        return index >= self.first_unknown or self.tokens_to(index) >= minimum

    def prefix(self, index: int) -> Prefix:
        """The prefix that ends with the block at `index`."""
        return Prefix(index, self.blocks[index].digest, self.tokens_to(index))


def block_kind(block: Mapping[str, Any]) -> str:
    """The kind of a block of a request; a PDF document is told from others."""
    name = next(iter(block), "")
    kind = _KINDS.get(name, "other")
    return "pdf" if kind == "document" and block[name].get("format") == "pdf" else kind


def summed(tokens: Sequence[int | None]) -> tuple[tuple[int, ...], int]:
    """The tokens up to each block, and the index of the first that can't be counted."""
    if None not in tokens:
        return tuple(accumulate(tokens)), len(tokens)  # type: ignore[arg-type]  # there is no None in it
    return tuple(accumulate([count or 0 for count in tokens])), tokens.index(None)


def turn_digest(hashes: Sequence[bytes], key: bytes) -> bytes:
    """The name of a turn, given the hashes of all blocks up to the end of the message that began it."""
    return blake2b(b"".join(hashes), key=key[:64], digest_size=16).digest()


class BlockWalk:
    """Gathers the blocks of one prompt; the digests are chained afterwards, when all kinds are known.

    On the hot path: it sees every block of every request. With `contents` it looks at what each is made of.
    """

    def __init__(self, *, contents: bool = True) -> None:
        self._with_contents = contents
        self.hashes: list[bytes] = []
        self.kinds: list[str] = []
        self.points: list[CachePoint] = []
        self.nested: set[str] = set()
        self.misplaced = False
        self._sizes: list[int] = []
        self._rows: list[bytes | None] = []
        self._known = _CONTENTS.get if contents else _no_content
        self._news: list[tuple[bytes, str, int, bytes]] = []
        self._uncounted: list[int] = []
        self._runs: list[tuple[str, str | None, int]] = []

    def over(self, section: str, role: str | None, blocks: Iterable[Mapping[str, Any]]) -> bool:
        """Take in the blocks of one list; whether a tool result is among them."""
        hashes, kinds, sizes, rows, known = self.hashes, self.kinds, self._sizes, self._rows, self._known
        answers_tools = False
        self._runs.append((section, role, len(hashes)))
        for block in blocks:
            name = next(iter(block))
            if name == "cachePoint":
                self._add_point(block[name])
                continue
            kind = _KINDS.get(name, "other")
            if kind == "text" and len(block) == 1:
                data = block[name].encode()
                digest = xxh3_128_digest(data, _TEXT_SEED)
                hashes.append(digest)
                kinds.append(kind)
                sizes.append(len(data))
                rows.append(row := known(digest))
                if row is None:
                    self._news.append((digest, kind, len(data), sample(data)))
                continue
            seed = 0
            if kind == "tool_result":
                answers_tools, seed = True, _RESULT_SEED
                data = _result_bytes(block[name])
            else:
                data = orjson.dumps(block, default=plain)
            digest = xxh3_128_digest(data, seed)
            if kind in _UNEVEN:
                kind, data = self._uneven(kind, block[name], data)
            hashes.append(digest)
            kinds.append(kind)
            sizes.append(len(data))
            rows.append(row := known(digest))
            if row is None:
                self._news.append((digest, kind, len(data), sample(data)))
        return answers_tools

    def _uneven(self, kind: str, content: Mapping[str, Any], data: bytes) -> tuple[str, bytes]:
        """Kind of a block whose bytes don't tell its tokens, or not always, and the bytes that do."""
        if kind == "tool_result":
            media = [name for one in content["content"] for name in one if name in _UNCOUNTABLE_INSIDE]
            if not media:
                return kind, data
            self.nested.update(media)
        elif kind == "document":
            source = content.get("source") or {}
            text = source.get("bytes") or source.get("text")
            if text is not None and content.get("format", "txt") in _COUNTABLE_DOCUMENTS:
                return kind, text.encode() if isinstance(text, str) else bytes(text)
            kind = "pdf" if content.get("format") == "pdf" else kind
        self._uncounted.append(len(self.hashes))
        return kind, b""

    def _add_point(self, point: Mapping[str, Any]) -> None:
        ttl = point.get("ttl") or TTLS[0]
        if ttl not in TTLS:
            raise InvalidRequestError(f"a cachePoint has the ttl {ttl!r}. Use one of {', '.join(TTLS)}.")
        # A point first in its list marks the same prefix as one at the end of the list before it; and of two
        # behind one block, the longer TTL is what the caller wants.
        after = len(self.hashes) - 1
        first_in_its_list = after < self._runs[-1][2]
        self.misplaced = self.misplaced or first_in_its_list
        if self.points and self.points[-1].after == after:
            self.misplaced = True
            self.points[-1] = CachePoint(after, max(ttl, self.points[-1].ttl, key=TTLS.index))
        elif after >= 0:
            self.points.append(CachePoint(after, ttl))

    def contents(self) -> bytes:
        """What each block is made of; nothing where it can't be counted."""
        if not self._with_contents:
            return b""
        learnt = iter(_CONTENTS.learn(self._news) if self._news else ())
        rows = [next(learnt) if row is None else row for row in self._rows]
        return joined(rows, self._uncounted, tools="tool" in self.kinds[:1])

    def tokens(self, counter: TokenCounter, contents: bytes) -> list[int | None]:
        """Tokens of each block, None where they can't be known."""
        tokens: list[int | None] = [*counter.count(kinds=self.kinds, sizes=self._sizes, contents=contents)]
        for index in self._uncounted:
            tokens[index] = None
        return tokens

    def chained(self, root: bytes, messages_root: bytes, tokens: Sequence[int | None], key: bytes) -> tuple[Block, ...]:
        """The blocks, each with the digest of everything up to it."""
        chain = blake2b(root, key=key[:64], digest_size=16)
        # Block(...) would cost twice as much as a tuple made a Block.
        update, copy, new = chain.update, chain.copy, tuple.__new__
        hashes, kinds = self.hashes, self.kinds
        blocks: list[Block] = []
        ends = [*(start for _, _, start in self._runs), len(hashes)][1:]
        section_before = ""
        for (section, role, start), end in zip(self._runs, ends, strict=True):
            if section == "messages" != section_before:
                update(messages_root)
            section_before = section
            update(_RUN_MARKS[section, role])
            for index in range(start, end):
                update(hashes[index])
                blocks.append(new(Block, (section, role, kinds[index], copy().digest(), tokens[index])))
        return tuple(blocks)


def _no_content(digest: bytes, /) -> bytes:  # noqa: ARG001 - stands for a look-up
    return b""


def _result_bytes(result: Mapping[str, Any]) -> bytes:
    """A tool result as it is hashed: one of a single text, which most are, without escaping the text."""
    content = result["content"]
    if len(content) == 1 and len(content[0]) == 1 and "text" in content[0]:
        head = {name: value for name, value in result.items() if name != "content"}
        text: bytes = content[0]["text"].encode()
        return orjson.dumps(head) + text
    return orjson.dumps(result, default=plain)


def plain(value: object) -> object:
    """What stands in a digest for a value that JSON doesn't have."""
    if isinstance(value, bytes | bytearray | memoryview):
        return xxh3_128_digest(bytes(value)).hex()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a {type(value).__name__} stands in the request, which has no JSON form")
