"""A Converse request: what it asks, its outline, and the same request with cache points laid on it.

Knows the shape of a request; knows no model and decides nothing.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import orjson

from pointsman.errors import InvalidRequestError
from pointsman.outline import ROLES, BlockWalk, CachePoint, Outline, plain, summed, turn_digest
from pointsman.tokens import TokenCounter

_MOST_BYTES_PER_TOKEN = 8
_WORDS_OF_A_QUESTION = 4
# By their size alone, texts full of digits and punctuation are taken for fewer tokens than they have, and Claude since
# Opus 4.7 is said to take 30 % more than before (sammcj/ingest, issue 65; read 2026-11-22).
_MOST_ABOVE_THE_COUNT = 1.5
_PROCESS_KEY = os.urandom(32)

# A change of these drops the whole cache on Bedrock: thinking and effort by live measurements (cachecanary 0.4.0), the
# output schema by users' reports (re:Post QU_a6utfM7T9CXj1sWljgCfQ); read 2026-11-22. Sampling parameters don't.
_ROOT_FIELDS = ("thinking", "reasoning", "reasoning_config", "reasoningConfig", "output_config", "effort")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A Converse request as boto3 takes it. It is read, never changed: every edit returns a new request.

    What is read of it is read at once, so that changing a message in place between two calls is seen.
    `volatile_at`: from this block of this message on, nothing is expected to stand in a later prompt.
    """

    request: Mapping[str, Any]
    volatile_at: tuple[int, int] | None = None

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
        counted = sum(counter.count(kinds=["text"] * len(sizes), sizes=sizes))
        return counted * _MOST_ABOVE_THE_COUNT < tokens and all(message["role"] in ROLES for message in self.messages)

    def outline(self, counter: TokenCounter, *, key: bytes | None = None, contents: bool = True) -> Outline:
        """The prompt's blocks with their digests, keyed with `key` (by default one of this process).

        Without `contents` tokens are told by the blocks' sizes, and can't be corrected.

        Raises:
            InvalidRequestError: a message has a role, or a cache point a TTL, that there isn't.
            LookupError, TypeError, AttributeError: the request is not of Converse's shape, or holds what JSON can't.
        """
        key = key or _PROCESS_KEY
        walk = BlockWalk(contents=contents)
        if tools := self.tools:
            walk.over("tools", None, tools)
        if system := self.system:
            walk.over("system", None, system)
        turn_end, in_tool_loop, volatile_from = 0, False, None
        for index, message in enumerate(self.messages):
            role = message["role"]
            if role not in ROLES:
                raise InvalidRequestError(f"a message has the role {role!r}; use one of {', '.join(ROLES)}.")
            if self.volatile_at is not None and index == self.volatile_at[0]:
                volatile_from = len(walk.hashes) + self.volatile_at[1]
            in_tool_loop = walk.over("messages", role, message["content"])
            if role == "user" and not in_tool_loop:
                turn_end = len(walk.hashes)
        kinds = frozenset(walk.kinds) | walk.nested
        rows = walk.contents()
        tokens = walk.tokens(counter, rows)
        sums, first_unknown = summed(tokens)
        return Outline(
            blocks=walk.chained(self._root(), self._messages_root(kinds), tokens, key),
            points=tuple(walk.points),
            kinds=kinds,
            sums=sums,
            first_unknown=first_unknown,
            contents=rows,
            misplaced=walk.misplaced,
            turn=turn_digest(walk.hashes[:turn_end], key) if "tool" in kinds else None,
            in_tool_loop=in_tool_loop,
            hashes=tuple(walk.hashes),
            volatile_from=volatile_from,
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
        return orjson.dumps([told, output], default=plain) if told or output else b""

    def _messages_root(self, kinds: Iterable[str]) -> bytes:
        # Both drop the cached messages, and nothing before them (Anthropic's documentation of prompt caching).
        forced = "toolConfig" in self.request and self.forces_tool
        return b"forced" * forced + b"images" * ("image" in kinds)


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
