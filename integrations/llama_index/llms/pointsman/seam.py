"""What stands between upstream's calls and the client: cache points with their TTLs, the session, a stream's trace.

Upstream drops a `CachePoint`'s TTL, drops those in the system prompt by a list of models, and leaves those of a tool's
result inside it, where Bedrock refuses them. So they pass through it as marked text, and become cache points here.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import CachePoint, ChatMessage, ContentBlock, TextBlock

from llama_index.llms.pointsman.sessions import session_of
from pointsman import Client
from pointsman.documents.finding import SessionLike
from pointsman.stream import ReplyStream

MARKED = "pointsman_marked"
"""Tells the seam, among a call's arguments, that the request holds marks."""

_MARK = f"[cache point {secrets.token_hex(8)} ttl="
_MARKS = re.compile(re.escape(_MARK) + r"(\w+)\]")


def with_marks(messages: Sequence[ChatMessage]) -> tuple[Sequence[ChatMessage], dict[str, bool]]:
    """The messages with marks for cache points, and what a call's arguments say of it."""
    if not any(isinstance(block, CachePoint) for message in messages for block in message.blocks):
        return messages, {}
    marked = [message.model_copy(update={"blocks": list(map(_marked, message.blocks))}) for message in messages]
    return marked, {MARKED: True}


def _marked(block: ContentBlock) -> ContentBlock:
    return TextBlock(text=f"{_MARK}{block.cache_control.ttl}]") if isinstance(block, CachePoint) else block


class Seam:
    """A client of boto3's shape for upstream to call: `client` in the session of the call. All else is forwarded."""

    def __init__(self, client: Client, session: SessionLike | None) -> None:
        self._client = client
        self._session = session

    def converse(self, **request: Any) -> dict[str, Any]:
        """As `Client.converse`; `session` may be an id, or is found."""
        return self._client.converse(**self._settled(request))

    def converse_stream(self, **request: Any) -> dict[str, Any]:
        """As `Client.converse_stream`; the last event has the trace at its top, as a reply has."""
        reply = self._client.converse_stream(**self._settled(request))
        return {**reply, "stream": _with_trace(reply["stream"])}

    def _settled(self, request: dict[str, Any]) -> dict[str, Any]:
        context = self._client.context
        context.routers.router_or_model(request["modelId"], region=context.region)  # A mistyped name is told here.
        request["session"] = session_of(request.get("session", self._session))
        if request.pop(MARKED, False):
            request["system"] = [one for block in request.get("system", ()) for one in _unmarked(block)]
            request["messages"] = [_with_points(message) for message in request["messages"]]
        return {name: value for name, value in request.items() if name != "system" or value}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_client":
            raise AttributeError(name)
        return getattr(self._client, name)


def _with_points(message: Mapping[str, Any]) -> dict[str, Any]:
    return {**message, "content": [one for block in message["content"] for one in _unmarked(block)]}


def _unmarked(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A block as the blocks and cache points that its marks make of it; those of a tool's result stand behind it."""
    if "toolResult" in block:
        inner = [one for held in block["toolResult"]["content"] for one in _unmarked(held)]
        kept = [one for one in inner if "cachePoint" not in one]
        yield {**block, "toolResult": {**block["toolResult"], "content": kept}}
        yield from [one for one in inner if "cachePoint" in one][-1:]
    elif _MARK not in block.get("text", ""):
        yield block
    else:
        for index, part in enumerate(_MARKS.split(block["text"])):
            if index % 2:
                yield {"cachePoint": {"type": "default"} | ({} if part == "5m" else {"ttl": part})}
            elif part.strip():
                yield {"text": part.strip()}


def _with_trace(stream: ReplyStream) -> Iterator[dict[str, Any]]:
    try:
        for event in stream:
            metadata = event.get("metadata") or {}
            yield {**event, "pointsman": metadata["pointsman"]} if "pointsman" in metadata else event
    finally:
        stream.close()
