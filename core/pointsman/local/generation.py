"""Runs an engine beside the event loop: threads, progress, cancelling. Knows asyncio; knows no HTTP."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from pointsman.local.engines import Engine, EngineEvent, EnginePrompt, GenerationCancelled

_Item = EngineEvent | BaseException | None


@dataclass(slots=True)
class _Progress:
    id: int
    model_id: str
    processed: int = 0
    total: int = 0


class Generations:
    """The generations that run now. `threads` bounds how many; the engine bounds how many do work at once."""

    def __init__(self, engine: Engine, *, threads: int) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pointsman-engine")
        self._running: dict[int, _Progress] = {}
        self._ids = itertools.count(1)

    def progress(self) -> list[dict[str, Any]]:
        """How far each running generation has read its prompt."""
        return [asdict(progress) for progress in list(self._running.values())]

    async def run(self, prompt: EnginePrompt, *, inline: bool) -> AsyncGenerator[EngineEvent, None]:
        """The engine's events. Closing it cancels the generation at the engine's next sign of life.

        `inline` runs it on the event loop, for prompts that take less time than a thread's start.
        """
        progress = _Progress(id=next(self._ids), model_id=prompt.model_id)
        self._running[progress.id] = progress
        try:
            if inline:
                for event in self._engine.generate(prompt, progress=lambda done, total: None):  # noqa: ARG005
                    yield event
            else:
                async for event in self._run_in_thread(prompt, progress):
                    yield event
        finally:
            del self._running[progress.id]

    def close(self) -> None:
        """Waits for no one: what still runs is cancelled by its requests' end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run_in_thread(self, prompt: EnginePrompt, progress: _Progress) -> AsyncGenerator[EngineEvent, None]:
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[_Item] = asyncio.Queue()
        cancelled = threading.Event()

        def put(item: _Item) -> None:
            if not cancelled.is_set():
                loop.call_soon_threadsafe(items.put_nowait, item)

        self._pool.submit(_pump, self._engine, prompt, progress, cancelled, put)
        try:
            while (item := await items.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            cancelled.set()


def _pump(
    engine: Engine,
    prompt: EnginePrompt,
    progress: _Progress,
    cancelled: threading.Event,
    put: Callable[[_Item], None],
) -> None:
    """Runs in a thread: each event, or the error, then None."""

    def report(processed: int, total: int) -> None:
        progress.processed, progress.total = processed, total
        if cancelled.is_set():
            raise GenerationCancelled("the client has gone")

    try:
        if not cancelled.is_set():
            generation = engine.generate(prompt, progress=report)
            for event in generation:
                put(event)
                if cancelled.is_set():
                    generation.close()
    except GenerationCancelled:
        return
    except BaseException as exc:  # noqa: BLE001 - carried to the request that waits for it, which raises it
        put(exc)
    put(None)
