"""The endpoint's time. Tests and users move it by hand, to see TTLs pass without waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds since the epoch."""


class MovableClock:
    """A clock that goes on by itself and can be moved forward."""

    def __init__(self, base: Clock = time.time) -> None:
        self._base = base
        self._ahead = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self._base() + self._ahead

    def advance(self, seconds: float) -> None:
        """Moves the clock forward; it never goes back."""
        if seconds < 0:
            raise ValueError(f"a clock can't be moved by {seconds} seconds: give a number >= 0.")
        with self._lock:
            self._ahead += seconds
