"""What in a text changes by its nature from one request to the next: a time, an id. Knows text only; keeps none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pointsman.cache.misses import A_TIMESTAMP, AN_ID

# What changes stands at the head or the end of a long text; the middle is mostly somebody's document.
_MOST_CHARACTERS = 4_096

_CLOCK = r"\d{1,2}:\d{2}"
_HOUR = r"(?::\d{2}| o'clock|時)"
_MONTH = r"(?:jan|feb|mar|mär|apr|may|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-z]*"
_JAPANESE = r"年\d{1,2}月\d{1,2}日"
_DATE = (
    rf"(?:\d{{4}}(?:-\d{{2}}-\d{{2}}|/\d{{2}}/\d{{2}}|{_JAPANESE})"
    rf"|\d{{1,2}}[./]\d{{1,2}}[./]\d{{4}}|\d{{1,2}}\.? {_MONTH}|{_MONTH} \d{{1,2}})"
)
_TIMESTAMP = re.compile(
    rf"\d{{4}}(?:-\d{{2}}-\d{{2}}[t ]{_CLOCK}|\d{{4}}t\d{{4,6}}|{_JAPANESE} ?\d{{1,2}}{_HOUR})"
    rf"|\b{_DATE}(?:,? \d{{4}})?(?: at)?,? {_CLOCK}\b"
    rf"|\b(?:current|today|now|date|time|timestamp)\b[^\n]{{0,40}}?(?:{_DATE}|\d{{1,2}}{_HOUR})"
    # Unix seconds and milliseconds from 2014 to 2033.
    r"|(?<![\w.])1[4-9]\d{8}(?:\d{3}|\.\d{1,7})?(?![\w.])"
)
_ID = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{16,64}\b"
    r"|\b(?:(?:session|request|trace|correlation|conversation|thread|user|run)[ _-]?id|nonce)\b\W{0,4}[\w-]*\d"
)


def looks_volatile(block: Mapping[str, Any]) -> str | None:
    """Whether a text in this block of a request has a timestamp or an id: which of them, or None."""
    # Patterns that ignore case take twice as long.
    texts = [_ends(text).lower() for text in _texts(block)]
    if any(_TIMESTAMP.search(text) for text in texts):
        return A_TIMESTAMP
    return AN_ID if any(_ID.search(text) for text in texts) else None


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        # Ids that tie a tool's result to its use stay what they are.
        yield from (text for name, one in value.items() if name != "toolUseId" for text in _texts(one))
    elif isinstance(value, list | tuple):
        yield from (text for one in value for text in _texts(one))


def _ends(text: str) -> str:
    half = _MOST_CHARACTERS // 2
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:half]}\n{text[-half:]}"
