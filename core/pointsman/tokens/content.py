"""What a block is made of, told from a sample of its bytes: letters, digits, spaces, punctuation, other scripts.

A tokenizer cuts prose, JSON and code differently, and these amounts tell them apart by degrees: with three classes and
a ratio for each, errors were three times as large (benchmarks/tokens.md). Knows bytes and kinds of block; knows no
model.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    # It takes longer to load than all the rest, and is of no use to who never sends a prompt worth caching.
    import numpy as np
    from numpy.typing import NDArray

Amounts: TypeAlias = "NDArray[np.float32]"

COLUMNS = (
    # bytes, and how many of them are ...
    *("bytes", "upper", "digits", "spaces", "newlines", "punctuation", "other", "indents", "word_ends"),
    # blocks, and how many of them are ...
    *("blocks", "tool", "tool_use", "tool_result"),
    # bytes of blocks that a model is shown in a form of its own, which the bytes of our JSON don't tell
    *("tool_bytes", "tool_use_bytes", "tool_result_bytes"),
    # 1 where the tools begin: they bring a system prompt of the model's own
    "tools",
)
"""What is known of a block. "indents" are spaces behind white space, "word_ends" letters before punctuation."""

WIDTH = len(COLUMNS)
ROW_BYTES = 4 * WIDTH
_COUNTED = 8
_RENDERED = {kind: COLUMNS.index(kind) for kind in ("tool", "tool_use", "tool_result")}
_BLOCKS, _TOOLS = COLUMNS.index("blocks"), COLUMNS.index("tools")
_TO_ITS_BYTES = COLUMNS.index("tool_bytes") - COLUMNS.index("tool")
_NOTHING = bytes(ROW_BYTES)
_A, _LOWER_A, _ZERO, _SPACE, _TAB = (ord(one) for one in "Aa0 \t")

# Of every block eight windows of 256 bytes: with four, errors after 200 calls were 1.5 % rather than 1.2 %.
_WINDOWS, _WINDOW = 8, 256
SAMPLE = _WINDOWS * _WINDOW
# 4 MB; a prompt of 100k tokens has some 200 blocks, and all but the last few come again with the next request.
_MOST_KNOWN = 16_384


class Contents:
    """The amounts of blocks met before, by the digests of the blocks: a prompt mostly repeats the one before it.

    What is kept depends on nothing but the block. Bounded, thread-safe.
    """

    def __init__(self, most: int = _MOST_KNOWN) -> None:
        self._known: dict[bytes, bytes] = {}
        self._most = most
        self._lock = threading.Lock()
        self.get = self._known.get

    def learn(self, news: Sequence[tuple[bytes, str, int, bytes]]) -> list[bytes]:
        """The rows of new blocks, given the digest, kind, size and `sample` of each; they are known from then on."""
        every = amounts_of(news).tobytes()
        rows = [every[start : start + ROW_BYTES] for start in range(0, len(every), ROW_BYTES)]
        known = self._known
        with self._lock:
            for (digest, _, _, _), row in zip(news, rows, strict=True):
                known[digest] = row
            if len(known) > self._most:
                for digest in list(islice(known, len(known) - self._most // 2)):
                    del known[digest]
        return rows


def sample(data: bytes) -> bytes:
    """The bytes by which a block is judged: all of a short one, else windows spread evenly."""
    size = len(data)
    if size <= SAMPLE:
        return data
    step = (size - _WINDOW) // (_WINDOWS - 1)
    return b"".join([data[start : start + _WINDOW] for start in range(0, step * _WINDOWS, step)])


def amounts_of(blocks: Sequence[tuple[bytes, str, int, bytes]]) -> Amounts:
    """A row of `COLUMNS` for each digest, kind, size and sample."""
    import numpy as np

    samples = [sample for _, _, _, sample in blocks]
    sizes = np.array([size for _, _, size, _ in blocks], np.float32)
    lengths = np.array([len(one) for one in samples])
    rows = np.zeros((len(blocks), WIDTH), np.float32)
    rows[:, 0] = sizes
    rows[:, 1 : 1 + _COUNTED] = _counted(samples, lengths) * (sizes / np.maximum(lengths, 1))[:, None]
    rows[:, _BLOCKS] = 1
    rendered = [(index, _RENDERED[kind]) for index, (_, kind, _, _) in enumerate(blocks) if kind in _RENDERED]
    if rendered:
        indices, columns = np.array(rendered).T
        rows[indices, columns] = 1
        rows[indices, columns + _TO_ITS_BYTES] = sizes[indices]
    return rows


def joined(rows: Sequence[bytes], uncounted: Sequence[int], *, tools: bool) -> bytes:
    """The rows of a prompt's blocks as one; `tools`: the first block begins the tools."""
    if uncounted:
        rows = list(rows)
        for index in uncounted:
            rows[index] = _NOTHING
    if not tools or not rows:
        return b"".join(rows)
    import numpy as np

    first = np.frombuffer(rows[0], np.float32).copy()
    first[_TOOLS] = 1
    return b"".join([first.tobytes(), *rows[1:]])


def amounts(rows: bytes) -> Amounts:
    """A row of `COLUMNS` for each block, from what `joined` gave."""
    import numpy as np

    return np.frombuffer(rows, np.float32).reshape(-1, WIDTH)


def _counted(samples: Sequence[bytes], lengths: NDArray[np.intp]) -> NDArray[np.uint16]:
    """For each sample how many of its bytes are what, in the order of `COLUMNS`."""
    import numpy as np

    # A NUL before the first and behind each is of no class and so parts the pairs.
    every = np.frombuffer(b"\0".join([b"", *samples, b""]), np.uint8)
    before, at = every[:-1], every[1:]
    # Comparisons of whole arrays: tables of classes and counting by class took five times as long.
    marks = np.empty((_COUNTED, len(at)), np.bool_)
    upper, digits, spaces, newlines, punctuation, other, indents, word_ends = marks
    np.less(at - _A, 26, out=upper)
    np.less(at - _ZERO, 10, out=digits)
    np.equal(at, _SPACE, out=spaces)
    np.less(at - _TAB, 5, out=newlines)
    np.greater(at, 127, out=other)
    np.less((at | 32) - _LOWER_A, 26, out=punctuation)
    np.greater(at > 32, punctuation | digits | other, out=punctuation)
    np.logical_and(spaces, (before == _SPACE) | (before - _TAB < 5), out=indents)
    np.logical_and(punctuation, before - _LOWER_A < 26, out=word_ends)
    ends = np.cumsum(lengths + 1)
    return np.add.reduceat(marks.view(np.uint8), ends - lengths - 1, axis=1, dtype=np.uint16).T
