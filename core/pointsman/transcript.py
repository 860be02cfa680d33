"""What was said, in the shape that OpenTelemetry's GenAI conventions have for it. Made only where it is asked for.

Shapes: https://github.com/open-telemetry/semantic-conventions-genai (read 2026-11-28). Knows nothing of OpenTelemetry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


class Transcript:
    """One request as it was sent, and its reply."""

    def __init__(self) -> None:
        self._request: Mapping[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._message: Mapping[str, Any] | None = None

    def take(self, request: Mapping[str, Any], raw: Any) -> None:
        """A request as it was sent, and its reply, if that is not a stream."""
        self._request = request
        self._message = (raw.get("output") or {}).get("message") if isinstance(raw, Mapping) else None

    def see(self, event: Mapping[str, Any]) -> None:
        """An event of a stream."""
        started, added = event.get("contentBlockStart"), event.get("contentBlockDelta")
        if started and "toolUse" in started["start"]:
            self._blocks[started["contentBlockIndex"]] = {"toolUse": {**started["start"]["toolUse"], "input": ""}}
        if added:
            delta = added["delta"]
            block = self._blocks.setdefault(added["contentBlockIndex"], {"text": ""} if "text" in delta else {**delta})
            if "text" in delta:
                block["text"] += delta["text"]
            elif "toolUse" in delta:
                block["toolUse"]["input"] += delta["toolUse"]["input"]

    def attributes(self) -> dict[str, Any]:
        """JSON strings: spans of this API hold no structures."""
        request = self._request
        message = self._message or {"role": "assistant", "content": [*self._blocks.values()]}
        told = {
            "gen_ai.input.messages": [_message(one) for one in request.get("messages") or ()],
            "gen_ai.output.messages": [_message(message)] if message["content"] else [],
            "gen_ai.system_instructions": _parts(request.get("system") or ()),
        }
        return {name: json.dumps(value, ensure_ascii=False, default=str) for name, value in told.items() if value}


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": message.get("role"), "parts": _parts(message.get("content") or ())}


def _parts(blocks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_part(block) for block in blocks if "cachePoint" not in block]


def _part(block: Mapping[str, Any]) -> dict[str, Any]:
    if "text" in block:
        return {"type": "text", "content": block["text"]}
    if "toolUse" in block:
        use = block["toolUse"]
        called = {"id": use.get("toolUseId"), "name": use.get("name"), "arguments": use.get("input")}
        return {"type": "tool_call", **called}
    if "toolResult" in block:
        result = block["toolResult"]
        return {
            "type": "tool_call_response",
            "id": result.get("toolUseId"),
            "response": _parts(result.get("content") or ()),
        }
    # Images, documents, reasoning: told to be there, and not what is in them.
    return {"type": next(iter(block), "unknown")}
