"""The same prompt as somebody else would have typed it. Knows text only; the same text always gives the same noise."""

from __future__ import annotations

import hashlib
import random
import textwrap
from collections.abc import Callable, Mapping
from types import MappingProxyType

WORDS_PER_TYPO = 12
_WIDTH = 60
_LEAST_LETTERS = 3


def typos(text: str) -> str:
    """In one of twelve words, and in one at least, a letter is swapped with the next, dropped or doubled."""
    draw = random.Random(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())
    words = text.split(" ")
    fit = [place for place, word in enumerate(words) if sum(map(str.isalpha, word)) >= _LEAST_LETTERS]
    for place in draw.sample(fit, min(max(round(len(words) / WORDS_PER_TYPO), 1), len(fit))):
        words[place] = _mistyped(words[place], draw)
    return " ".join(words)


def _mistyped(word: str, draw: random.Random) -> str:
    pairs = [i for i in range(len(word) - 1) if word[i].isalpha() and word[i + 1].isalpha()]
    if not pairs:
        return word
    i = draw.choice(pairs)
    return word[:i] + draw.choice((word[i + 1] + word[i], word[i + 1], word[i] * 2 + word[i + 1])) + word[i + 2 :]


def doubled_spaces(text: str) -> str:
    """Two spaces for each."""
    return text.replace(" ", "  ")


def line_breaks(text: str) -> str:
    """Each line broken at 60 characters, as mail programs do, with an empty line before and two after it all."""
    lines = [textwrap.fill(line, _WIDTH, break_long_words=False, break_on_hyphens=False) for line in text.split("\n")]
    return "\n" + "\n".join(lines) + "\n\n"


def tabs(text: str) -> str:
    """A tab before it all, and for every third space."""
    words = text.split(" ")
    gaps = ["\t" if place % 3 == 0 else " " for place in range(1, len(words))]
    return "\t" + "".join(word + gap for word, gap in zip(words, [*gaps, ""], strict=True))


# How people begin and end a request; not taken from the greetings that the project knows.
MANNERS = (
    "Hello, I hope you are doing well. Could you please help me with this? {} Thank you very much in advance!",
    "Hi! {} Thanks a lot :)",
    "Dear assistant,\n\n{}\n\nKind regards",
    "Sorry to bother you, but I would be grateful for your help with the following question: {} I appreciate it.",
    "Good evening. If you don't mind, please take a look at this one. {} Many thanks and have a nice day.",
)


def _polite(manner: str) -> Callable[[str], str]:
    before, after = manner.split("{}")
    return lambda text: f"{before}{text}{after}"


NOISES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "typos": typos,
        "upper case": str.upper,
        "lower case": str.lower,
        "doubled spaces": doubled_spaces,
        "line breaks": line_breaks,
        "tabs": tabs,
        **{f"manners {number}": _polite(manner) for number, manner in enumerate(MANNERS, 1)},
    }
)
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "typos": ("typos",),
        "letter case": ("upper case", "lower case"),
        "white space": ("doubled spaces", "line breaks", "tabs"),
        "manners": tuple(noise for noise in NOISES if noise.startswith("manners")),
    }
)
