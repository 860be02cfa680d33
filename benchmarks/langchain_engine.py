"""The local endpoint's engine `extract`, calling one tool at a time, as models do that look at one result first.

By itself it calls at once every tool that a question asks for, so that no tool loop is longer than two calls.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from pointsman.local.engines import EngineEvent, EnginePrompt, Finish, Progress, RenderedBlock, ToolCall
from pointsman.local.extract import ExtractEngine


class OneByOne:
    """An engine for `LocalEndpoint(engine=...)`: it answers when each tool that was asked for has told its result."""

    name = "extract, one tool at a time"
    instant = True

    def __init__(self) -> None:
        self._engine = ExtractEngine()

    def count(self, blocks: Sequence[RenderedBlock], *, model_id: str) -> list[int]:
        """As `extract`."""
        return self._engine.count(blocks, model_id=model_id)

    def generate(self, prompt: EnginePrompt, *, progress: Progress) -> Generator[EngineEvent, None, None]:
        """The next of the calls that `extract` would make at once; its answer after the last."""
        asked = max(index for index, block in enumerate(prompt.blocks) if block.role == "user" and block.kind == "text")
        told = sum(block.kind == "tool_result" for block in prompt.blocks[asked:])
        events = list(self._engine.generate(replace(prompt, blocks=prompt.blocks[: asked + 1]), progress=progress))
        calls = [event for event in events if isinstance(event, ToolCall)]
        if told >= len(calls):
            yield from self._engine.generate(prompt, progress=progress)
            return
        yield calls[told]
        written = next(event.output_tokens for event in events if isinstance(event, Finish))
        yield Finish(reason="tool_use", output_tokens=written // len(calls))

    def forget(self, key: str) -> None:
        """As `extract`."""
        self._engine.forget(key)

    def close(self) -> None:
        """As `extract`."""
        self._engine.close()
