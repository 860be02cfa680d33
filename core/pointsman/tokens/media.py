"""Tokens of blocks whose bytes don't tell them, such as a PDF or an image: what was billed for them before.

A reply tells what a whole prompt came to; what isn't its text is shared out among these blocks. Knows blocks by hashes
that aren't keyed and stay in this process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

_MOST_KNOWN = 4096


class BilledMedia:
    """What such blocks came to, by model: models count them differently. Bounded, thread-safe."""

    def __init__(self, most: int = _MOST_KNOWN) -> None:
        self._most = most
        self._known: OrderedDict[bytes, dict[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def tokens(self, model_id: str, hashes: Sequence[bytes]) -> list[int | None]:
        """Tokens of each block on that model, else on the model that was billed last; None where nothing is known."""
        found: list[int | None] = []
        for one in hashes:
            billed = self._known.get(one)
            found.append(None if billed is None else billed.get(model_id) or next(reversed(billed.values())))
        return found

    def learn(self, model_id: str, hashes: Sequence[bytes], tokens: int) -> None:
        """Take in that these blocks came to so many tokens together.

        The new ones share evenly what the others leave of it. Where there are none, or nothing is left for them, the
        others were taken for too much or too little, each in proportion.
        """
        if not hashes or tokens <= 0:
            return
        before = self.tokens(model_id, hashes)
        known = sum(one or 0 for one in before)
        new = before.count(None)
        if new and tokens > known:
            shares = [(tokens - known) / new if one is None else one for one in before]
        elif known:
            shares = [(known / (len(before) - new) if one is None else one) for one in before]
        else:
            shares = [1.0] * len(before)
        scale = tokens / sum(shares)
        with self._lock:
            for one, share in zip(hashes, shares, strict=True):
                billed = {**self._known.get(one, {})}
                billed.pop(model_id, None)
                self._known[one] = {**billed, model_id: max(round(share * scale), 1)}
                self._known.move_to_end(one)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
