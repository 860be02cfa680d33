"""A Converse request, and its outline: the blocks that a cache point can follow, known by digest and tokens.

Knows the shape of a request and what the cache key of a prefix depends on; knows no model and decides nothing.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from itertools import accumulate
from typing import Any, NamedTuple

import orjson
from xxhash import xxh3_128_digest

from pointsman.errors import InvalidRequestError
from pointsman.tokens import TokenCounter

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
_ROLES = ("user", "assistant", "system")
# Kinds whose tokens their bytes don't tell, or not always.
_MEDIA = frozenset({"image", "document", "video", "audio"})
_UNEVEN = _MEDIA | {"tool_result"}
_UNCOUNTABLE_INSIDE = frozenset({"image", "document", "video"})
_RUN_MARKS = {
    (section, role): f"|{section}|{role}|".encode()
    for section, role in (("tools", None), ("system", None), *(("messages", role) for role in _ROLES))
}
_COUNTABLE_DOCUMENTS = frozenset({"txt", "md", "csv", "html"})
# What isn't hashed as JSON is told by its seed from JSON that reads the same.
_TEXT_SEED, _RESULT_SEED = 1, 2
_MOST_BYTES_PER_TOKEN = 8
_WORDS_OF_A_QUESTION = 4
_PROCESS_KEY = os.urandom(32)

# A change of these drops the whole cache on Bedrock (bedrock.md A6: thinking and effort measured live, the output
# schema by users' reports; 2026-11-22). Sampling parameters don't.
_ROOT_FIELDS = ("thinking", "reasoning", "reasoning_config", "reasoningConfig", "output_config", "effort")


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
    `scale` corrects the tokens for one model.
    """

    blocks: tuple[Block, ...]
    points: tuple[CachePoint, ...]
    kinds: frozenset[str]
    sums: tuple[int, ...]
    first_unknown: int
    misplaced: bool = False
    turn: bytes | None = None
    in_tool_loop: bool = False
    scale: float = 1.0

    @classmethod
    def of_blocks(cls, blocks: Iterable[Block], *, points: Iterable[CachePoint] = ()) -> Outline:
        """An outline made without any prompt, so that recorded traffic can be replayed."""
        blocks = tuple(blocks)
        sums, first_unknown = _summed([block.tokens for block in blocks])
        kinds = frozenset(block.kind for block in blocks)
        return cls(blocks, tuple(points), kinds, sums, first_unknown)

    def scaled(self, scale: float) -> Outline:
        """The same outline with its tokens multiplied by what a model's usage has taught."""
        return self._replace(scale=scale)

    @property
    def tokens(self) -> int:
        """Estimated tokens of the whole prompt; blocks that can't be counted add nothing."""
        return self.tokens_to(len(self.blocks) - 1)

    @property
    def estimated_tokens(self) -> int:
        """The same before `scale` corrects it."""
        return self.sums[-1] if self.sums else 0

    @property
    def counted(self) -> bool:
        """Whether the tokens of every block are known."""
        return self.first_unknown >= len(self.blocks)

    def tokens_to(self, index: int) -> int:
        """Estimated tokens of the prefix that ends with the block at `index`; 0 for -1."""
        return round(self.sums[index] * self.scale) if index >= 0 else 0

    def reaches(self, index: int, minimum: int | None) -> bool:
        """Whether the prefix that ends at `index` has at least `minimum` tokens, as far as can be told."""
        if minimum is None or index < 0:
            return minimum is None
        return index >= self.first_unknown or round(self.sums[index] * self.scale) >= minimum

    def prefix(self, index: int) -> Prefix:
        """The prefix that ends with the block at `index`."""
        return Prefix(index, self.blocks[index].digest, self.tokens_to(index))


@dataclass(frozen=True, slots=True)
class Prompt:
    """A Converse request as boto3 takes it. It is read, never changed: every edit returns a new request.

    What is read of it is read at once, so that changing a message in place between two calls is seen.
    """

    request: Mapping[str, Any]

    @classmethod
    def of_text(cls, text: str) -> Prompt:
        """A prompt of one user message."""
        return cls({"messages": [{"role": "user", "content": [{"text": text}]}]})

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """The entries of `toolConfig.tools`, cache points included."""
        return (self.request.get("toolConfig") or {}).get("tools") or ()

    @property
    def system(self) -> Sequence[Mapping[str, Any]]:
        """The blocks of `system`, cache points included."""
        return self.request.get("system") or ()

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The messages, cache points included."""
        return self.request.get("messages") or ()

    @property
    def forces_tool(self) -> bool:
        """Whether the tool choice obliges the model to call a tool (`any` or a named one)."""
        choice = (self.request.get("toolConfig") or {}).get("toolChoice") or {}
        return "any" in choice or "tool" in choice

    @property
    def output_schema(self) -> Any:
        """The structured output that is asked for, or None."""
        return (self.request.get("outputConfig") or {}).get("textFormat")

    def check(self) -> None:
        """Refuse sampling parameters that botocore lets through and Bedrock would not.

        Raises:
            InvalidRequestError: names the value and what to do. Wrong types are left to botocore.
        """
        config = self.request.get("inferenceConfig")
        if not config or not isinstance(config, Mapping):
            return
        for name in ("temperature", "topP"):
            value = config.get(name)
            if isinstance(value, int | float) and not 0 <= value <= 1:
                raise InvalidRequestError(f"inferenceConfig.{name} is {value!r}; it must be from 0 to 1.")

    def turn_index(self) -> int:
        """Index of the user message that began the current turn: the last one that isn't tool results; else -1."""
        messages = self.messages
        for index in range(len(messages) - 1, -1, -1):
            message = messages[index]
            if message["role"] != "user":
                continue
            for block in message["content"]:
                if "toolResult" in block:
                    break
            else:
                return index
        return -1

    def question(self) -> str:
        """What is asked: the last text of the user message that began the current turn.

        Texts before it are mostly pasted; they count where the last one says next to nothing.
        """
        index = self.turn_index()
        texts = [block["text"] for block in self.messages[index]["content"] if "text" in block] if index >= 0 else []
        if len(texts) > 1 and len(texts[-1].split()) >= _WORDS_OF_A_QUESTION:
            return str(texts[-1])
        return "\n".join(texts)

    def is_plainly_below(self, tokens: int, counter: TokenCounter) -> bool:
        """Whether this is nothing but a few texts, without cache points, of fewer tokens than that."""
        if "toolConfig" in self.request:
            return False
        sizes: list[int] = []
        for blocks in (self.system, *[message["content"] for message in self.messages]):
            for block in blocks:
                if len(block) != 1 or "text" not in block or len(block["text"]) > tokens * _MOST_BYTES_PER_TOKEN:
                    return False
                sizes.append(len(block["text"].encode()))
        return sum(counter.count(kinds=["text"] * len(sizes), sizes=sizes)) < tokens and all(
            message["role"] in _ROLES for message in self.messages
        )

    def outline(self, counter: TokenCounter, *, key: bytes | None = None) -> Outline:
        """The prompt's blocks with their digests, keyed with `key` (by default one of this process).

        Raises:
            InvalidRequestError: a message has a role, or a cache point a TTL, that there isn't.
            LookupError, TypeError, AttributeError: the request is not of Converse's shape, or holds what JSON can't.
        """
        key = key or _PROCESS_KEY
        walk = _Walk()
        if tools := self.tools:
            walk.over("tools", None, tools)
        if system := self.system:
            walk.over("system", None, system)
        turn_end, in_tool_loop = 0, False
        for message in self.messages:
            role = message["role"]
            if role not in _ROLES:
                raise InvalidRequestError(f"a message has the role {role!r}; use one of {', '.join(_ROLES)}.")
            in_tool_loop = walk.over("messages", role, message["content"])
            if role == "user" and not in_tool_loop:
                turn_end = len(walk.hashes)
        kinds = frozenset(walk.kinds) | walk.nested
        tokens = walk.tokens(counter)
        sums, first_unknown = _summed(tokens)
        return Outline(
            blocks=walk.chained(self._root(), self._messages_root(kinds), tokens, key),
            points=tuple(walk.points),
            kinds=kinds,
            sums=sums,
            first_unknown=first_unknown,
            misplaced=walk.misplaced,
            turn=_turn_digest(walk.hashes[:turn_end], key) if "tool" in kinds else None,
            in_tool_loop=in_tool_loop,
        )

    def with_cache_points(
        self, points: Iterable[CachePoint], *, replacing: Sequence[CachePoint] | None = None
    ) -> dict[str, Any]:
        """The request with exactly these cache points; lists and messages that don't change are shared.

        `replacing` are the points that stand in it now, where that is known: if there are none, only the messages
        that get one are looked into.
        """
        laid = _Layer({point.after: point.ttl for point in points}, replacing)
        request = dict(self.request)
        if tools := self.tools:
            with_points = laid.over(tools)
            if with_points is not tools:
                request["toolConfig"] = {**request["toolConfig"], "tools": with_points}
        if system := self.system:
            request["system"] = laid.over(system)
        if messages := self.messages:
            request["messages"] = laid.over_messages(messages)
        return request

    def without_cache_points(self) -> dict[str, Any]:
        """The request with every cache point taken out."""
        return self.with_cache_points(())

    def _root(self) -> bytes:
        request = self.request
        if "additionalModelRequestFields" not in request and "outputConfig" not in request:
            return b""
        fields = request.get("additionalModelRequestFields")
        told = {name: fields[name] for name in _ROOT_FIELDS if name in fields} if isinstance(fields, Mapping) else {}
        output = self.request.get("outputConfig")
        return orjson.dumps([told, output], default=_plain) if told or output else b""

    def _messages_root(self, kinds: Iterable[str]) -> bytes:
        # Both drop the cached messages, and nothing before them (bedrock.md A6).
        forced = "toolConfig" in self.request and self.forces_tool
        return b"forced" * forced + b"images" * ("image" in kinds)


def block_kind(block: Mapping[str, Any]) -> str:
    """The kind of a block of a request; a PDF document is told from others."""
    name = next(iter(block), "")
    kind = _KINDS.get(name, "other")
    return "pdf" if kind == "document" and block[name].get("format") == "pdf" else kind


def _summed(tokens: Sequence[int | None]) -> tuple[tuple[int, ...], int]:
    """The tokens up to each block, and the index of the first that can't be counted."""
    if None not in tokens:
        return tuple(accumulate(tokens)), len(tokens)  # type: ignore[arg-type]  # there is no None in it
    return tuple(accumulate([count or 0 for count in tokens])), tokens.index(None)


def _turn_digest(hashes: Sequence[bytes], key: bytes) -> bytes:
    return blake2b(b"".join(hashes), key=key[:64], digest_size=16).digest()


class _Walk:
    """Gathers the blocks of one prompt; the digests are chained afterwards, when all kinds are known.

    On the hot path: it sees every block of every request.
    """

    def __init__(self) -> None:
        self.hashes: list[bytes] = []
        self.kinds: list[str] = []
        self.points: list[CachePoint] = []
        self.nested: set[str] = set()
        self.misplaced = False
        self._sizes: list[int] = []
        self._uncounted: list[int] = []
        self._runs: list[tuple[str, str | None, int]] = []

    def over(self, section: str, role: str | None, blocks: Iterable[Mapping[str, Any]]) -> bool:
        """Take in the blocks of one list; whether a tool result is among them."""
        hashes, kinds, sizes = self.hashes, self.kinds, self._sizes
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
                hashes.append(xxh3_128_digest(data, _TEXT_SEED))
                kinds.append(kind)
                sizes.append(len(data))
                continue
            seed = 0
            if kind == "tool_result":
                answers_tools, seed = True, _RESULT_SEED
                data = _result_bytes(block[name])
            else:
                data = orjson.dumps(block, default=_plain)
            size = len(data)
            if kind in _UNEVEN:
                kind, size = self._uneven(kind, block[name], size)
            hashes.append(xxh3_128_digest(data, seed))
            kinds.append(kind)
            sizes.append(size)
        return answers_tools

    def _uneven(self, kind: str, content: Mapping[str, Any], size: int) -> tuple[str, int]:
        """Kind and size of a block whose bytes don't tell its tokens, or not always."""
        if kind == "tool_result":
            media = [name for one in content["content"] for name in one if name in _UNCOUNTABLE_INSIDE]
            if not media:
                return kind, size
            self.nested.update(media)
        elif kind == "document":
            source = content.get("source") or {}
            text = source.get("bytes") or source.get("text")
            if text is not None and content.get("format", "txt") in _COUNTABLE_DOCUMENTS:
                return kind, len(text)
            kind = "pdf" if content.get("format") == "pdf" else kind
        self._uncounted.append(len(self.hashes))
        return kind, 0

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

    def tokens(self, counter: TokenCounter) -> list[int | None]:
        """Tokens of each block, None where they can't be known."""
        tokens: list[int | None] = [*counter.count(kinds=self.kinds, sizes=self._sizes)]
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


def _result_bytes(result: Mapping[str, Any]) -> bytes:
    """A tool result as it is hashed: one of a single text, which most are, without escaping the text."""
    content = result["content"]
    if len(content) == 1 and len(content[0]) == 1 and "text" in content[0]:
        head = {name: value for name, value in result.items() if name != "content"}
        text: bytes = content[0]["text"].encode()
        return orjson.dumps(head) + text
    return orjson.dumps(result, default=_plain)


class _Layer:
    """Lays cache points on the lists of a request, block by block in the order of the outline."""

    def __init__(self, ttls: Mapping[int, str], replaced: Sequence[CachePoint] | None) -> None:
        self._ttls = ttls
        self._replaced = replaced
        self._index = -1

    def over(self, blocks: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """The blocks with this layer's points, or the very same list where nothing changes."""
        laid: list[Mapping[str, Any]] = []
        for block in blocks:
            if "cachePoint" in block:
                continue
            self._index += 1
            laid.append(block)
            if (ttl := self._ttls.get(self._index)) is not None:
                laid.append({"cachePoint": {"type": "default"} if ttl == "5m" else {"type": "default", "ttl": ttl}})
        return blocks if laid == blocks else laid

    def over_messages(self, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The messages with this layer's points, each the very same one where nothing changes."""
        laid = list(messages)
        for position in self._affected(messages):
            message = messages[position]
            content = self.over(message["content"])
            if content is not message["content"]:
                laid[position] = {**message, "content": content}
        return laid

    def _affected(self, messages: Sequence[Mapping[str, Any]]) -> Iterator[int]:
        """Positions of the messages to look into; `over` must begin at the blocks of each."""
        if self._replaced != ():
            yield from range(len(messages))
            return
        # Nothing has a point yet, so that a message's blocks are its content, and few of them have to be read.
        ends = list(accumulate([len(message["content"]) for message in messages], initial=self._index))
        for position in sorted({bisect_left(ends, after) - 1 for after in self._ttls if after > ends[0]}):
            self._index = ends[position]
            yield position


def _plain(value: object) -> object:
    """What stands in a digest for a value that JSON doesn't have."""
    if isinstance(value, bytes | bytearray | memoryview):
        return xxh3_128_digest(bytes(value)).hex()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a {type(value).__name__} stands in the request, which has no JSON form")
