"""A text as numbers: hashed words and runs of bytes, and the measures of its surface.

Everything is counted in a few passes of numpy over the text's bytes, so that a long text costs little more than a
short one. Knows nothing of models or quality. The same text gives the same numbers in every process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.prompt import Prompt

# A long text is mostly pasted; what is asked stands at its beginning or its end.
MOST_BYTES = 4096
_LONG = 8
_RUN = 4
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
    "lines",
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
_NO_SETTING = np.zeros(len(SETTING))
_COUNTED = np.frombuffer(b'\\$=(\n?,."_;%', np.uint8)

_SPACE, _WORD, _MARK = 0, 1, 2
_KIND = np.full(256, _MARK, np.uint8)
_KIND[[*b" \t\n\r\v\f"]] = _SPACE
_KIND[[*b"abcdefghijklmnopqrstuvwxyz0123456789_"]] = _WORD
_KIND[128:] = _WORD


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
_FIRST = np.uint64(0xD6E8FEB86659FD93)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(64 - BITS)


@dataclass(frozen=True, slots=True)
class Features:
    """One text. `columns` are the distinct n-grams in it (below `COLUMNS`; words first) with `counts`; `words` the
    hash of each word in order; `surface` one number per name of `SURFACE`, `setting` one per name of `SETTING`."""

    columns: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    words: npt.NDArray[np.uint64]
    surface: npt.NDArray[np.float64]
    setting: npt.NDArray[np.float64]

    @property
    def measures(self) -> npt.NDArray[np.float64]:
        """Surface and setting in one: what heads weigh beside the n-grams."""
        return np.concatenate((self.surface, self.setting))


def asked(prompt: str | Prompt) -> str:
    """The text that is read of a prompt: what the user asks now, not the documents and turns before it."""
    return prompt if isinstance(prompt, str) else prompt.question()


def features_of(text: str, prompt: str | Prompt = "") -> Features:
    """The features of a text, of which at most the first and the last 2,048 bytes are read. Letter case is ignored.

    `prompt` is the request that the text was taken from: its tools and its conversation are the setting.
    """
    data = np.frombuffer(_capped(text).lower().encode("utf-8", "replace"), np.uint8)[: MOST_BYTES + 1]
    words, lengths, kinds = _words(data)
    columns, counts = _ngrams(words, data)
    return Features(columns, counts, words, _surface(data, len(text), words, lengths, kinds), _setting(text, prompt))


def _setting(text: str, prompt: str | Prompt) -> npt.NDArray[np.float64]:
    if isinstance(prompt, str):
        return _NO_SETTING
    blocks = [prompt.system, *(message["content"] for message in prompt.messages)]
    told = sum(len(block["text"]) for content in blocks for block in content if "text" in block)
    return np.log1p([len(prompt.tools), max(len(prompt.messages) - 1, 0), max(told - len(text), 0)])


def _capped(text: str) -> str:
    half = MOST_BYTES // 2
    if len(text) <= MOST_BYTES:
        return text if text.isascii() else text.encode("utf-8", "replace")[:MOST_BYTES].decode("utf-8", "ignore")
    return f"{text[:half]} {text[-half:]}"


def _words(data: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Hash, length and kind of each word: a run of letters and digits, or a mark by itself.

    The hash of bytes b_s ... b_e is the sum of T[b_i] P^(i-s) modulo 2^64 (Karp and Rabin, 1987), taken from one
    running sum as its difference between the ends, times the inverse of P^s.
    """
    kinds = _KIND[data]
    before = np.empty_like(kinds)
    before[:1], before[1:] = _SPACE, kinds[:-1]
    starts = np.flatnonzero((kinds != _SPACE) & ((kinds != before) | (kinds == _MARK)))
    within = np.concatenate((kinds, [_SPACE]))
    ends = np.flatnonzero((kinds != _SPACE) & ((within[1:] != kinds) | (kinds == _MARK))) + 1
    running = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(_TABLE[data] * _POWERS[: len(data)], out=running[1:])
    hashes = (running[ends] - running[starts]) * _INVERSES[starts]
    return hashes, ends - starts, kinds[starts]


def _ngrams(
    words: npt.NDArray[np.uint64], data: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The distinct columns of the words and of the runs of bytes, and how often each was found.

    Runs of bytes tell word from word and pair from pair about as well as pairs of words do, and a typing error spoils
    few of them.
    """
    spread = _TABLE[data]
    runs = spread[: max(len(data) - _RUN + 1, 0)]
    for place in range(1, _RUN):
        runs = runs * _FIRST + spread[place : len(runs) + place]
    found = np.concatenate(((words * _MIX) >> _SHIFT, ((runs * _MIX) >> _SHIFT) + np.uint64(1 << BITS))).view(np.int64)
    found.sort()
    starts = np.flatnonzero(np.concatenate(([True], found[1:] != found[:-1]))) if len(found) else found
    return found[starts], np.diff(starts, append=len(found))


def _surface(
    data: npt.NDArray[np.uint8],
    whole: int,
    words: npt.NDArray[np.uint64],
    lengths: npt.NDArray[np.int64],
    kinds: npt.NDArray[np.uint8],
) -> npt.NDArray[np.float64]:
    size, count = max(len(data), 1), max(len(words), 1)
    stem, options = _options(data)
    is_digit = (data >= 48) & (data < 58)
    spelled = kinds == _WORD
    spelled_count = max(int(np.count_nonzero(spelled)), 1)
    counts = [
        whole,
        len(words),
        stem,
        len(data) - stem,
        options,
        (len(data) - stem) / max(options, 1),
        np.count_nonzero(is_digit[1:] > is_digit[:-1]) + np.count_nonzero(is_digit[:1]),
        *np.bincount(data, minlength=256)[_COUNTED],
    ]
    shares = [
        lengths[spelled].sum() / spelled_count,
        np.count_nonzero(is_digit) / size,
        1 - spelled_count / count,
        len(np.unique(words)) / count,
        np.count_nonzero(lengths > _LONG) / spelled_count,
    ]
    return np.concatenate((np.log1p(counts), shares))


def _options(data: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Where the answer options begin (the text's length, if there are none), and how many there are.

    An option is a line that begins with a letter from A to J and a full stop, a bracket or a colon.
    """
    starts = np.concatenate(([0], np.flatnonzero(data == 10) + 1))
    starts = starts[starts < len(data) - 1]
    letters, marks = data[starts], data[starts + 1]
    is_option = (letters >= 97) & (letters <= 106) & ((marks == 46) | (marks == 41) | (marks == 58))
    options = starts[is_option]
    return (int(options[0]) if len(options) else len(data)), len(options)
