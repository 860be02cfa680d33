"""What is shown while a prompt is read: a bar where the endpoint tells its progress, else a spinner with the time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

from pointsman.ask.connection import LocalStatus

_POLL_SECONDS = 0.25


@contextmanager
def reading(console: Console, local: LocalStatus | None) -> Iterator[Callable[[], None]]:
    """Shows how the prompt is read until the function that it gives is called, or the block is left.

    Nothing of it stays on the screen; where the console is not a terminal, nothing is shown at all.
    """
    if not console.is_terminal:
        yield lambda: None
        return
    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}")]
    if local is not None:
        columns += [BarColumn(bar_width=30), TextColumn("{task.fields[tokens]}")]
    # Few redraws: a local model needs the processor.
    shown = Progress(*columns, TimeElapsedColumn(), console=console, transient=True, refresh_per_second=4)
    task = shown.add_task("reading the prompt" if local else "waiting for the first token", total=None, tokens="")
    done = threading.Event()

    def poll(status: LocalStatus) -> None:
        while not done.wait(_POLL_SECONDS):
            if (progress := status.progress()) is not None:
                processed, total = progress
                shown.update(task, completed=processed, total=total, tokens=f"{processed:,} of {total:,} tokens")

    def stop() -> None:
        if not done.is_set():
            done.set()
            shown.stop()

    shown.start()
    if local is not None:
        threading.Thread(target=poll, args=(local,), name="pointsman-progress", daemon=True).start()
    try:
        yield stop
    finally:
        stop()
