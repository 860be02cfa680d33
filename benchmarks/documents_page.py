"""Writes the figures of `documents.py` as Markdown. Computes nothing but verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

CHAT, OWN, ONE_BY_ONE = "a chat's gaps", "annotators' own clock", "annotators' gaps, one after another"
REPORTED, ALL = "second half", "all"
PLACEMENTS = ("end-5m", "tools-system-end-5m", "everywhere-1h", "pointsman")
LAST_MESSAGE = "last message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Bills as shares of the uncached one: as templates write the requests, by placement, and with documents laid."""

    prices: str
    clock: str
    shape: str
    part: str
    requests: int
    written: Mapping[str, float]
    laid: float
    read: float


class Wanted(NamedTuple):
    """What is asked of a bill."""

    prices: str
    clock: str
    must: float
    aim: float | None


WANTED = (
    Wanted("Claude, r=.1", CHAT, 0.60, 0.56),
    Wanted("Claude, r=.1", OWN, 0.74, 0.68),
    Wanted("Claude, r=.1", ONE_BY_ONE, 0.74, 0.68),
    Wanted("Nova", CHAT, 0.64, None),
    Wanted("Claude, r=.025", CHAT, 0.57, None),
)


def text(results: Sequence[Result], over_http: str) -> str:
    """The page."""
    parts = [_INTRODUCTION, "## What is asked", "", requirements(results), _OVER_HTTP, over_http, _ALL_FIGURES]
    return "\n".join([*parts, figures(results)])


def requirements(results: Sequence[Result]) -> str:
    """Each figure that is asked for, and whether it is reached."""
    found = ("best as written", "ours", "must", "aim", "verdict")
    header = ("prices", "clock", "documents stand in", "conversations", *found)
    rows = [
        (
            result.prices,
            result.clock,
            result.shape,
            result.part,
            f"{min(result.written.values()):.3f}",
            f"{result.laid:.3f}",
            f"<= {wanted.must:.2f}",
            "" if wanted.aim is None else f"<= {wanted.aim:.2f}",
            _verdict(result.laid, wanted),
        )
        for wanted in WANTED
        for result in results
        if (result.prices, result.clock) == (wanted.prices, wanted.clock)
    ]
    return _table(header, rows)


def figures(results: Iterable[Result]) -> str:
    """Each placement on the requests as templates write them, and ours."""
    names = ("end-5m", "tools-system-end-5m", "everywhere-1h", "our points, as written", "ours", "read")
    rows = [
        (
            result.prices,
            result.clock,
            result.shape,
            f"{result.part} ({result.requests})",
            *(f"{result.written[name]:.3f}" for name in PLACEMENTS),
            f"{result.laid:.3f}",
            f"{result.read:.0%}",
        )
        for result in results
    ]
    return _table(("prices", "clock", "documents stand in", "conversations (requests)", *names), rows)


def of_endpoint(rows: Sequence[Mapping[str, Any]]) -> str:
    """What each turn read, by the endpoint's own account."""
    header = list(rows[0])
    return _table(header, [[str(row[name]) for name in header] for row in rows])


def _verdict(found: float, wanted: Wanted) -> str:
    if found > wanted.must:
        return "**falls short**"
    if wanted.aim is None:
        return "met"
    return "aim met" if found <= wanted.aim else "must met"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


_INTRODUCTION = """# What conversations about retrieved documents cost

Written by `make bench-documents`. MTRAG's conversations with the passages that were really retrieved and a system
prompt of 1,500 tokens go through a `pointsman.Client`, each in a session of its own; the account that answers it bills
them by the simulator, which knows nothing of sessions. Bills are of prompts alone, as shares of what the same requests,
as a template writes them, cost without caching. A write costs 1.25 (5m) or 2 (1h) of the input price, a read r; on Nova
a write costs nothing extra, a read .25. No token lives longer than it was written for.

- **Where documents stand**: templates put them into the user's last message, or into the system prompt; the history
  holds the plain questions and answers. What is laid where is decided by the same code with the same defaults.
- **Clocks**: a chat's gaps are lognormal with a median of 60 s, conversations two hours apart. The annotators' own
  clock is the time that the data tells, at which conversations overlap and share a system prompt; one after another,
  they have the same gaps, and each starts cold. One policy for all; that the hour pays on one and five minutes on
  another it finds out itself.
- **Conversations**: what documents and conversations do was learnt from the first half (`make train`), and the second
  half is what nothing was fitted to. Two amounts were chosen with figures of both halves in view: the least gain of .1
  and the four hours for which a document may be sent again. "All" are both halves.
- **Best as written** is the best of the usual placements and of our own cache points, without a session.
"""

_OVER_HTTP = """## Over HTTP

Four turns against the local endpoint, each with four passages: two of them come at every turn, two are new. A minute
passes between turns. Tokens are those of the endpoint's own account, at the model's prices; the same user code sends
all, through plain boto3 with a point at the end, through a `Client`, and through a `Client` in a session.
"""

_ALL_FIGURES = """## All figures

"read" is the part of all prompt tokens that came from the cache with documents laid. It is no measure of the bill.
"""
