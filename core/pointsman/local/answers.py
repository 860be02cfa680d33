"""Engine events as ConverseStream events, and the message that they add up to. Knows Converse's reply shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import orjson

from pointsman.local.calls import Call
from pointsman.local.engines import EngineEvent, Finish, TextPiece, ToolCall

StreamEvent = tuple[str, dict[str, Any]]


class Answer:
    """One answer as it grows: give it each engine event, get the stream events that follow from it."""

    def __init__(self, call: Call) -> None:
        self.content: list[dict[str, Any]] = []
        self.finish: Finish | None = None
        self._call = call
        self.begun = False
        self.deltas = 0
        self._text_open = False

    def take(self, event: EngineEvent) -> Iterator[StreamEvent]:
        """The stream events for an engine event, messageStart before the first."""
        if not self.begun:
            self.begun = True
            yield "messageStart", {"role": "assistant"}
        if isinstance(event, TextPiece):
            yield self._add_text(event.text)
            return
        if self._text_open:
            self._text_open = False
            yield "contentBlockStop", {"contentBlockIndex": len(self.content) - 1}
        if isinstance(event, ToolCall):
            yield from self._add_tool_call(event)
        else:
            self.finish = event
            yield "messageStop", {"stopReason": event.reason}

    @property
    def output_tokens(self) -> int:
        """As the engine counted them at its end; 0 before."""
        return self.finish.output_tokens if self.finish is not None else 0

    def text(self) -> str:
        """The text so far."""
        return "".join(block["text"] for block in self.content if "text" in block)

    def metadata(self, latency_ms: int) -> dict[str, Any]:
        """The stream's last event, and the part of Converse's reply that says the same."""
        metadata = {"usage": self._call.usage(self.output_tokens), "metrics": {"latencyMs": latency_ms}}
        if self._call.target.trace is not None:
            metadata["trace"] = dict(self._call.target.trace)
        return metadata

    def reply(self, latency_ms: int) -> dict[str, Any]:
        """The whole reply of Converse."""
        assert self.finish is not None
        return {
            "output": {"message": {"role": "assistant", "content": self.content}},
            "stopReason": self.finish.reason,
            **self.metadata(latency_ms),
        }

    def _add_text(self, text: str) -> StreamEvent:
        if not self._text_open:
            self._text_open = True
            self.content.append({"text": ""})
        self.content[-1]["text"] += text
        return self._delta({"text": text}, len(self.content) - 1)

    def _delta(self, delta: dict[str, Any], index: int) -> StreamEvent:
        self.deltas += 1
        return "contentBlockDelta", {"delta": delta, "contentBlockIndex": index}

    def _add_tool_call(self, call: ToolCall) -> Iterator[StreamEvent]:
        index = len(self.content)
        tool_use = {"toolUseId": self._tool_use_id(index), "name": call.name}
        self.content.append({"toolUse": {**tool_use, "input": dict(call.input)}})
        yield "contentBlockStart", {"start": {"toolUse": tool_use}, "contentBlockIndex": index}
        arguments = orjson.dumps(call.input).decode()
        for start in range(0, len(arguments), 64):
            yield self._delta({"toolUse": {"input": arguments[start : start + 64]}}, index)
        yield "contentBlockStop", {"contentBlockIndex": index}

    def _tool_use_id(self, index: int) -> str:
        """Different for each call of a conversation, the same whenever the same prompt is answered."""
        digest = hashlib.blake2b(index.to_bytes(4, "big"), digest_size=11)
        for block in self._call.prompt.blocks:
            digest.update(block.text.encode("utf-8", "surrogatepass"))
        return f"tooluse_{digest.hexdigest()}"
