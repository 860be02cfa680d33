"""A Converse body as blocks and cache points, in Bedrock's order: tools, system, messages.

Each block is known by the digest of its JSON, byte for byte; a prefix by the digest of the chain. Written apart
from `pointsman.prompt`, so that the endpoint's cache is an independent witness.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pointsman.local.engines import Section
from pointsman.local.refusals import invalid
from pointsman.local.shapes import Reader

_KINDS: Final = {
    "text": "text",
    "image": "image",
    "video": "video",
    "audio": "audio",
    "toolUse": "tool_use",
    "toolResult": "tool_result",
    "reasoningContent": "reasoning",
    "guardContent": "guard",
    "citationsContent": "citations",
    "searchResult": "search_result",
}
_INVALIDATING_FIELDS: Final = (
    "thinking",
    "reasoning",
    "reasoning_config",
    "reasoningConfig",
    "effort",
    "output_config",
)
"""Members of additionalModelRequestFields whose change makes every prefix another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block: `value` is its member of the union, with blobs decoded."""

    section: Section
    kind: str
    value: Any
    digest: bytes
    role: str | None = None
    message: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePoint:
    """A cache point after the first `after` blocks; `pointer` is where it stands in the body."""

    after: int
    ttl: str
    section: Section
    position: int
    pointer: str
    message: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverseRequest:
    """A body that has the right shape. `body` has blobs decoded; `root` is the digest of what invalidates all."""

    body: Mapping[str, Any]
    blocks: tuple[Block, ...]
    points: tuple[CachePoint, ...]
    root: bytes

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The messages, blobs decoded."""
        messages: Sequence[Mapping[str, Any]] = self.body.get("messages", ())
        return messages

    @property
    def inference(self) -> Mapping[str, Any]:
        """The inferenceConfig, empty where none was given."""
        inference: Mapping[str, Any] = self.body.get("inferenceConfig", {})
        return inference

    @property
    def tool_choice(self) -> Mapping[str, Any] | None:
        """Converse's toolChoice."""
        choice: Mapping[str, Any] | None = self.body.get("toolConfig", {}).get("toolChoice")
        return choice

    @property
    def tools(self) -> tuple[Mapping[str, Any], ...]:
        """The toolSpecs, in order."""
        tools = self.body.get("toolConfig", {}).get("tools", ())
        return tuple(tool["toolSpec"] for tool in tools if "toolSpec" in tool)

    @property
    def output_schema(self) -> Mapping[str, Any] | None:
        """The JSON schema of outputConfig, parsed."""
        structure = self.body.get("outputConfig", {}).get("textFormat", {}).get("structure")
        if structure is None:
            return None
        try:
            schema = orjson.loads(structure["jsonSchema"]["schema"])
        except orjson.JSONDecodeError as exc:
            raise invalid(f"The schema at outputConfig.textFormat is not JSON: {exc}") from exc
        if not isinstance(schema, dict):
            raise invalid("The schema at outputConfig.textFormat is not a JSON object.")
        return schema

    def chain(self, owner: str) -> list[bytes]:
        """The digest of each prefix in the cache of `owner` (a model id): item i covers the first i blocks."""
        digest = _digest(owner.encode(), self.root)
        chain = [digest]
        in_messages = False
        for block in self.blocks:
            if block.section == "messages" and not in_messages:
                in_messages = True
                digest = _digest(digest, self._messages_marker())
            digest = _digest(digest, f"{block.section}/{block.role}/{block.message}/".encode(), block.digest)
            chain.append(digest)
        return chain

    def _messages_marker(self) -> bytes:
        forced = self.tool_choice is not None and "auto" not in self.tool_choice
        images = any(_has_image(block) for block in self.blocks)
        return f"forced={forced} images={images}".encode()


def parse_json(raw: bytes) -> Mapping[str, Any]:
    """The body as JSON.

    Raises:
        Refusal: ValidationException, where it is not a JSON object.
    """
    try:
        body = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as exc:
        raise invalid(f"The request body is not valid JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise invalid("The request body is not a JSON object.")
    return body


def read_request(raw: Mapping[str, Any], read: Reader) -> ConverseRequest:
    """The blocks and cache points of a body, after its shape was checked by `read`."""
    body = read(raw, "")
    blocks: list[Block] = []
    points: list[CachePoint] = []
    for entry in (*_tools(raw, body), *_system(raw, body), *_messages(raw, body)):
        if entry.member == "cachePoint":
            points.append(entry.cache_point(after=len(blocks)))
        else:
            blocks.append(entry.block())
    return ConverseRequest(body=body, blocks=tuple(blocks), points=tuple(points), root=_root(raw))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """An item of one of the three lists, raw (for its bytes) and read (for its value)."""

    raw: Mapping[str, Any]
    read: Mapping[str, Any]
    section: Section
    position: int
    pointer: str
    role: str | None = None
    message: int | None = None

    @property
    def member(self) -> str:
        return next(iter(self.read))

    def block(self) -> Block:
        return Block(
            section=self.section,
            kind=self._kind(),
            value=self.read[self.member],
            digest=_digest(orjson.dumps(self.raw)),
            role=self.role,
            message=self.message,
        )

    def cache_point(self, *, after: int) -> CachePoint:
        return CachePoint(
            after=after,
            ttl=self.read["cachePoint"].get("ttl", "5m"),
            section=self.section,
            position=self.position,
            pointer=self.pointer,
            message=self.message,
        )

    def _kind(self) -> str:
        if self.section == "tools":
            return "tool"
        if self.member == "document":
            return "pdf" if self.read["document"].get("format") == "pdf" else "document"
        return _KINDS.get(self.member, "other")


def _tools(raw: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[_Entry]:
    tools = body.get("toolConfig", {}).get("tools", ())
    if tools:
        yield from _entries(raw["toolConfig"]["tools"], tools, section="tools", pointer="#/toolConfig/tools")


def _system(raw: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[_Entry]:
    yield from _entries(raw.get("system") or (), body.get("system", ()), section="system", pointer="#/system")


def _messages(raw: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[_Entry]:
    for index, message in enumerate(body.get("messages", ())):
        yield from _entries(
            raw["messages"][index]["content"],
            message["content"],
            section="messages",
            pointer=f"#/messages/{index}/content",
            role=message["role"],
            message=index,
        )


def _entries(
    raw: Iterable[Mapping[str, Any]],
    read: Iterable[Mapping[str, Any]],
    *,
    section: Section,
    pointer: str,
    role: str | None = None,
    message: int | None = None,
) -> Iterator[_Entry]:
    for position, (raw_item, item) in enumerate(zip(raw, read, strict=True)):
        yield _Entry(
            raw=raw_item,
            read=item,
            section=section,
            position=position,
            pointer=f"{pointer}/{position}",
            role=role,
            message=message,
        )


def _root(raw: Mapping[str, Any]) -> bytes:
    fields = raw.get("additionalModelRequestFields") or {}
    chosen = {name: fields[name] for name in _INVALIDATING_FIELDS if name in fields} if isinstance(fields, dict) else {}
    output = raw.get("outputConfig") or None
    return orjson.dumps([chosen, output], option=orjson.OPT_SORT_KEYS)


def _has_image(block: Block) -> bool:
    if block.section != "messages":
        return False
    if block.kind == "tool_result":
        return any("image" in item for item in block.value["content"])
    return block.kind == "image"


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
