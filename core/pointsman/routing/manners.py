"""The manners around a request: greeting, apology, plea, thanks, signature. They ask nothing, so routing passes over
them: the same question, politely put, goes to the same model.

A stretch between two marks counts as manners where nearly all its words are of the vocabulary and one of them says so
(`hello`, `thanks`) or a phrase does (`hope you`, `the following`). Only stretches at either end are looked at. Knows
English text only; knows nothing of what is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from pointsman.routing import cue_words

_REACH = 300
_CLOSING_REACH = 150
_MOST_WORDS = 18
_WORDS_PER_STRANGER = 8

_STRONG = frozenset(cue_words.STRONG_MANNERS.split())
_VOCABULARY = _STRONG | frozenset(cue_words.MANNERS.split())
_PHRASES = tuple(f" {phrase} " for phrase in cue_words.MANNERS_PHRASES)
# What a greeting begins with, "good" or not, and how long it is, with names; "hello world" greets nobody.
_GREETINGS = frozenset(("hello", "hi", "hey", "hiya", "dear", "greetings", "morning", "afternoon", "evening"))
_MOST_WORDS_OF_A_GREETING = 4
_NO_NAMES = frozenset(("world", "kitty"))
# How a plea begins that is put as a question; any other question asks something.
_PLEADING = frozenset(("could", "can", "would", "will", "may", "might"))
_PERSONS = frozenset(("you", "u", "i", "anyone", "someone", "somebody"))
_ON_YOUR_HEALTH = (("how", "are", "you"), ("how's", "it", "going"))
_SIGN_OFFS = frozenset(("regards", "wishes", "greetings", "best", "cheers", "thanks", "you", "sincerely", "yours"))

_SMILEY = r"(?<!\S)(?:[:;=]-?[)(DPp]+|<3|[\u2600-\u27bf\U0001f300-\U0001faff\ufe0f\u200d]+)(?!\w)"
_TOKEN = re.compile(
    rf"(?P<smiley>{_SMILEY})|(?P<word>[\w'\u2019]+)|(?P<mark>[.!?:,;]+(?=\s|$)|(?<=\s)[-\u2013\u2014]+(?=\s))"
    r"|(?P<line>\n)|(?P<quote>[\"\u201c\u201d`\u00ab\u00bb{}<>=\\|])"
)
# The words of asking that stand before what is asked, in the same sentence.
_ASKING = re.compile(
    r"\s*(?:(?:"
    r"(?:hello|hi|hey)(?: there)?+(?!,? (?:world|kitty))|please|pls|plz|kindly|sorry(?: to bother you)? but|excuse me"
    r"|(?:could|can|would|will) (?:you|u|anyone|someone)(?! rather)(?: be so kind as to| be able to| mind)?"
    r"|(?:could|can|may) i (?:please )?ask(?: you)?"
    r"|i(?:['\u2019]d| would) (?:really |just |also )?(?:like|love) (?:you to|to (?:know|ask(?: you)?|find out))"
    r"|i (?:just |really |also )?(?:want|wanted|need|would need) (?:you to|to (?:know|ask(?: you)?|find out))"
    r"|i(?:['\u2019]m| am| was) (?:just |also )?(?:wondering|curious)(?: if you (?:could|can|would|might))?"
    r"|do you (?:happen to )?know(?= (?:what|who|whom|whose|which|when|where|why|how|if|whether)\b)"
    r"|(?:tell me|let me know)(?= (?:what|who|whom|whose|which|when|where|why|how|if|whether)\b)"
    r"|help me(?: out)?(?: to| with)?(?= \w)"
    r")\b[,\s]+)+",
    re.IGNORECASE,
)
# A sign-off and a name.
_SIGNED = re.compile(
    r"(?:(?<=[.!?]\s)|(?<=\n))\s*"
    r"(?:(?:(?:with\s+)?(?:kind|best|warm|many)\w*\s+)?(?:regards|wishes|greetings)[,.!]?\s"
    r"|(?:best|cheers|(?:many\s+)?thanks|thank\s+you|sincerely|yours(?:\s+\w+)?|all\s+the\s+best)[,.!]*(?:\n|(?<=,)\s))"
    r"\s*[\w.-]+(?:\s+[\w.-]+)?\s*$",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w")
_FIRST_WORD = re.compile(r"\s*([\w'\u2019]+)")
_BOUNDS = ("mark", "line")
# Without one of these there are no manners: the strong words, and of each phrase those that are seldom in others.
_SIGNS = (_STRONG | {word for phrase in _PHRASES for word in phrase.split()}) - frozenset(cue_words.NO_SIGN.split())
_NO_MARKS = str.maketrans(dict.fromkeys(".,;:!?", " "))
_NEAR = 120


def without_manners(text: str) -> str:
    """The text less the manners at its ends, otherwise as it was written. What has words never becomes empty.

    Doing it again changes nothing more. Where everything is manners, the last stretch of them stays.
    """
    start, end = 0, len(text)
    while (span := _less(text, start, end)) != (start, end):
        start, end = span
    return text[start:end]


def _less(text: str, start: int, end: int) -> tuple[int, int]:
    """The ends of what is left after one look at either; the same if there was nothing to drop."""
    opening = text[start : min(start + _REACH, end)]
    for look in _looks_at(opening):
        rest = start + look(opening)
        if rest > start and _WORD.search(text, rest, end):
            return rest, end
    closing = text[max(end - _CLOSING_REACH, start) : end]
    if _may_close(closing):
        rest = end - len(closing) + _closing(closing)
        if rest < end and _WORD.search(text, start, rest):
            return start, rest
    return start, end


def _looks_at(opening: str) -> Iterator[Callable[[str], int]]:
    """What is worth the time, by the first words."""
    first = _FIRST_WORD.match(opening)
    if first and _spelled(first[1]) in _VOCABULARY:
        near = _words(opening[:_NEAR])
        if not _SIGNS.isdisjoint(near) or near[:2] == ["how", "are"]:
            yield _opening
        yield _asking


def _may_close(closing: str) -> bool:
    """Whether a closer look is worth the time, by the last words."""
    words = _words(closing[-_NEAR:])
    if not words or closing.rstrip().endswith(":") or (words[-1] in _VOCABULARY and _SIGNS.isdisjoint(words)):
        return False
    return words[-1] in _VOCABULARY or not words[-1].isalnum() or not _SIGN_OFFS.isdisjoint(words[-4:])


def _words(text: str) -> list[str]:
    """The words of a short text, roughly but fast."""
    return text.lower().replace("\u2019", "'").translate(_NO_MARKS).split()


def _opening(text: str) -> int:
    """Where what follows the first stretch of manners begins; 0 if there is none."""
    words: list[str] = []
    found = 0
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "word":
            words.append(_spelled(token[0]))
        elif token.lastgroup in _BOUNDS and _are_manners(words, token[0]):
            found = token.end() + _blanks(text, token.end())
        if _is_over(token, words, found > 0):
            break
    return found


def _asking(text: str) -> int:
    """Where the words of asking end; 0 if there are none."""
    asking = _ASKING.match(text)
    return asking.end() if asking else 0


def _closing(text: str) -> int:
    """Where what precedes the last stretch of manners ends; the text's length if there is none."""
    if signed := _SIGNED.search(text):
        return _end_of(text, signed.start())
    words: list[str] = []
    mark, found = "", len(text)
    for token in reversed(list(_TOKEN.finditer(text))):
        if token.lastgroup in ("word", "smiley"):
            words.insert(0, _spelled(token[0]))
        elif token.lastgroup in _BOUNDS and not words:
            mark = token[0] + mark
            continue
        elif token.lastgroup in _BOUNDS:
            before = _end_of(text, token.end())
            if text[:before].endswith((":", ";")) or ("?" in mark and token[0] == ","):
                break
            found = before if _are_manners(words, mark) else found
        if _is_over(token, words, found < len(text)):
            break
    return found


def _is_over(token: re.Match[str], words: Sequence[str], found: bool) -> bool:
    """Whether the stretch ends here: at a quote, at a mark. A line's end and, until something is found, a comma don't
    end it."""
    if token.lastgroup == "mark":
        return found or token[0][0] in ".!?:;"
    return token.lastgroup == "quote" or len(words) > _MOST_WORDS


def _are_manners(words: Sequence[str], mark: str) -> bool:
    """Whether a stretch of words before this mark is nothing else."""
    words = [word for word in words if word[0].isalnum()] or ["hello"] * (len(words) > 0)
    strangers = sum(word not in _VOCABULARY for word in words)
    if not words or len(words) > _MOST_WORDS:
        return False
    if words[words[0] == "good" and len(words) > 1] in _GREETINGS and len(words) <= _MOST_WORDS_OF_A_GREETING:
        return "?" not in mark and strangers <= 2 and _NO_NAMES.isdisjoint(words)
    if strangers * _WORDS_PER_STRANGER > len(words):
        return False
    if "?" in mark:
        pleads = words[0] in _PLEADING and not _PERSONS.isdisjoint(words[1:2])
        if not (pleads or words[0] in _STRONG or tuple(words[:3]) in _ON_YOUR_HEALTH):
            return False
    if not _STRONG.isdisjoint(words):
        return True
    spaced = f" {' '.join(words)} "
    return any(phrase in spaced for phrase in _PHRASES)


def _spelled(word: str) -> str:
    return word.lower().replace("\u2019", "'")


def _blanks(text: str, start: int) -> int:
    return len(text) - start - len(text[start:].lstrip())


def _end_of(text: str, end: int) -> int:
    """The same place, less the white space and commas before it."""
    return len(text[:end].rstrip(" \t\r\n,"))
