"""How much of a text routing reads, and as what: its two ends, in lower case, on one line.

A long text is mostly pasted; what is asked stands at its beginning or its end.
"""

from __future__ import annotations

MOST_CHARACTERS = 4096
HALF = MOST_CHARACTERS // 2


def plain_of(text: str) -> str:
    """At most the first and the last 2,048 characters, each stretch of white space as one space."""
    ends = text if len(text) <= MOST_CHARACTERS else f"{text[:HALF]} {text[-HALF:]}"
    return " ".join(ends.lower().split())
