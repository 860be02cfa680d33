"""A text as numbers: hashed words and runs of bytes, and the measures of its surface.

Everything is counted in a few passes of numpy over the text's bytes, so that a long text costs little more than a
short one. Knows nothing of models or quality. The same text gives the same numbers in every process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.prompt import Prompt
from pointsman.routing.manners import without_manners
from pointsman.routing.plain import HALF, MOST_CHARACTERS, plain_of

MOST_BYTES = MOST_CHARACTERS
_LONG = 8
BITS = 16
COLUMNS = 2 << BITS

# Logarithms of counts first, then shares.
SURFACE = (
    "characters",
    "words",
    "characters of the stem",
    "characters of the options",
    "options",
    "characters of an option",
    "numbers",
    "backslashes",
    "dollars",
    "equals signs",
    "brackets",
    "colons",
    "questions",
    "commas",
    "full stops",
    "quotes",
    "underscores",
    "semicolons",
    "percents",
    "letters per word",
    "share of digits",
    "share of marks",
    "share of distinct words",
    "share of long words",
)
# What stands around the text: logarithms of counts.
SETTING = ("tools", "earlier messages", "other characters")
_LOGARITHMS = SURFACE.index("letters per word")
_COUNTED = np.frombuffer(b'\\$=(:?,."_;%', np.uint8)

# Kinds of bytes: those from _LETTER on make words, and each mark is a word.
_SPACE, _MARK, _LETTER, _DIGIT = range(4)


def _kind(byte: int) -> int:
    if byte in b" \t\n\r\v\f":
        return _SPACE
    if byte in b"0123456789":
        return _DIGIT
    return _LETTER if byte > 127 or byte in b"abcdefghijklmnopqrstuvwxyz_" else _MARK


_KINDS = bytes(map(_kind, range(256)))
_OPTION = re.compile(rb" \(?([a-j])[.):](?= )")


def _mixed(seeds: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Well spread 64-bit numbers: the finalizer of SplitMix64 (Steele, Lea, Flood, 2014)."""
    z = seeds * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


_TABLE = _mixed(np.arange(1, 257, dtype=np.uint64))
# One number is like another: their digits are told apart by nothing but how many there are.
_TABLE[48:58] = _TABLE[48]
_BASE = 0x9E3779B97F4A7C15
_POWERS = np.multiply.accumulate(np.full(MOST_BYTES + 2, _BASE, np.uint64))
_INVERSES = np.multiply.accumulate(np.full(MOST_BYTES + 2, pow(_BASE, -1, 1 << 64), np.uint64))
_FIRST, _SECOND = (np.uint64(pow(0xD6E8FEB86659FD93, power, 1 << 64)) for power in (1, 2))
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(64 - BITS)


@dataclass(frozen=True, slots=True)
class Features:
    """One text. `columns` are the distinct n-grams in it (below `COLUMNS`; words first) with `counts`; `words` the
    hash of each word in order; `measures` one number per name of `SURFACE`, then one per name of `SETTING`."""

    columns: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    words: npt.NDArray[np.uint64]
    measures: npt.NDArray[np.float64]

    @property
    def surface(self) -> npt.NDArray[np.float64]:
        """What was measured of the text itself."""
        return self.measures[: len(SURFACE)]

    @property
    def setting(self) -> npt.NDArray[np.float64]:
        """What stands around it."""
        return self.measures[len(SURFACE) :]


def asked(prompt: str | Prompt) -> str:
    """The text that is read of a prompt: what the user asks now, less manners, not the documents and turns before."""
    return without_manners(prompt if isinstance(prompt, str) else prompt.question())


def features_of(text: str, prompt: str | Prompt = "") -> Features:
    """The features of a text, of which at most the first and the last 2,048 bytes are read. Letter case is ignored.

    `prompt` is the request that the text was taken from: its tools and its conversation are the setting.
    """
    plain = _plain(text)
    lined, kinds, spread = _spread(plain)
    words, lengths = _words(spread, kinds)
    columns, counts = _ngrams(words, spread)
    measures = np.array(
        [*_surface(lined, kinds, len(plain) + _left_out(text), words, lengths), *_setting(text, prompt)], np.float64
    )
    for logarithms in (measures[:_LOGARITHMS], measures[len(SURFACE) :]):
        np.log1p(logarithms, out=logarithms)
    return Features(columns, counts, words, measures)


def word_hashes(text: str) -> npt.NDArray[np.uint64]:
    """`Features.words` of a text alone, in less time."""
    _, kinds, spread = _spread(_plain(text))
    return _words(spread, kinds)[0]


def _spread(plain: bytes) -> tuple[bytes, npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
    """A text's bytes and their kinds, with a space on either side as a neighbour to whatever is at an edge; and each
    byte's number, without those."""
    lined = b" %b " % plain
    kinds = np.frombuffer(lined.translate(_KINDS), np.uint8)
    return lined, kinds, _TABLE.take(np.frombuffer(lined, np.uint8)[1:-1])


def _setting(text: str, prompt: str | Prompt) -> tuple[int, int, int]:
    """Counts, whose logarithms are measures."""
    if isinstance(prompt, str):
        return 0, 0, 0
    blocks = [prompt.system, *(message["content"] for message in prompt.messages)]
    told = sum(len(block["text"]) for content in blocks for block in content if "text" in block)
    return len(prompt.tools), max(len(prompt.messages) - 1, 0), max(told - len(text), 0)


def _plain(text: str) -> bytes:
    plain = plain_of(text).encode("utf-8", "replace")
    return plain if len(plain) <= MOST_BYTES else b"%b %b" % (plain[:HALF], plain[-HALF:])


def _left_out(text: str) -> int:
    return max(len(text) - MOST_BYTES, 0)


def _words(
    spread: npt.NDArray[np.uint64], kinds: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Hash and length of each word: a run of letters and digits, or a mark by itself. `kinds` has an edge on each side.

    The hash of bytes b_s ... b_e is the sum of T[b_i] P^(i-s) modulo 2^64 (Karp and Rabin, 1987), taken from one
    running sum as its difference between the ends, times the inverse of P^s.
    """
    inked, spelled = kinds[1:-1] != _SPACE, kinds >= _LETTER
    joined = spelled[:-1] & spelled[1:]
    # For truth values, "greater" is "and not".
    starts = (inked > joined[:-1]).nonzero()[0]
    ends = (inked > joined[1:]).nonzero()[0] + 1
    running = np.zeros(len(spread) + 1, np.uint64)
    np.add.accumulate(spread * _POWERS[: len(spread)], out=running[1:])
    hashes = (running.take(ends) - running.take(starts)) * _INVERSES.take(starts)
    return hashes, ends - starts


def _ngrams(
    words: npt.NDArray[np.uint64], spread: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The distinct columns of the words and of the runs of four bytes, and how often each was found.

    Runs of bytes tell word from word and pair from pair about as well as pairs of words do, and a typing error spoils
    few of them. The hash of a run is a polynomial of its bytes, put together from those of its two halves.
    """
    pairs = spread[:-1] * _FIRST + spread[1:]
    runs = pairs[:-2] * _SECOND + pairs[2:]
    columns = (np.concatenate((words, runs)) * _MIX >> _SHIFT).astype(np.uint16)
    for part in (columns[: len(words)], columns[len(words) :]):
        # A radix sort, for this type: an eighth of the time that 64-bit numbers take.
        part.sort(kind="stable")
    found = columns.astype(np.int64)
    found[len(words) :] += 1 << BITS
    is_edge = np.ones(len(found) + 1, np.bool_)
    np.not_equal(found[1:], found[:-1], out=is_edge[1:-1])
    edges = is_edge.nonzero()[0]
    return found.take(edges[:-1]), edges[1:] - edges[:-1]


def _surface(
    lined: bytes,
    kinds: npt.NDArray[np.uint8],
    whole: int,
    words: npt.NDArray[np.uint64],
    lengths: npt.NDArray[np.int64],
) -> list[float]:
    """Counts, whose logarithms are measures, and shares."""
    size = len(lined) - 2
    _, marks, letters, digits = np.bincount(kinds, minlength=_DIGIT + 1).tolist()
    spelled = max(len(words) - marks, 1)
    is_digit = kinds == _DIGIT
    stem, options = _options(lined)
    return [
        whole,
        len(words),
        stem,
        size - stem,
        options,
        (size - stem) / max(options, 1),
        _count(is_digit[1:] > is_digit[:-1]),
        *np.bincount(np.frombuffer(lined, np.uint8)[1:-1], minlength=256).take(_COUNTED).tolist(),
        (letters + digits) / spelled,
        digits / max(size, 1),
        1 - spelled / max(len(words), 1),
        _distinct(words) / max(len(words), 1),
        _count(lengths > _LONG) / spelled,
    ]


def _options(lined: bytes) -> tuple[int, int]:
    """Where the answer options begin, "A." or "(a)" and then "B.", and how many there are; else the end, and none."""
    found = [(match.start(), match[1]) for match in _OPTION.finditer(lined)]
    for place, (start, letter) in enumerate(found[:-1]):
        if (letter, found[place + 1][1]) == (b"a", b"b"):
            return start, len(found) - place
    return len(lined) - 2, 0


def _distinct(words: npt.NDArray[np.uint64]) -> int:
    ordered = np.sort(words)
    return min(len(words), 1) + _count(ordered[1:] != ordered[:-1])


def _count(which: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(which))
