"""Writes the figures of `caching.py` as Markdown. Computes nothing but verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import caching_sets as sets

from pointsman.evaluation.replay import Bounds, Replay

USUAL, OURS, NONE = "end-5m", "pointsman", "none"
SIMPLE = ("end-5m", "tools-system-end-5m", "everywhere-1h")
MOST_OF_NO_CACHING, MOST_OF_WORST = (1.02, 1.0), (1.20, 1.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The bills of every placement on one trace at some prices."""

    trace: sets.Trace
    prices: str
    replays: dict[str, Replay]
    bounds: Bounds

    def over_bound(self, placement: str) -> float:
        """A bill as a multiple of the lower bound."""
        return float(self.replays[placement].bill.input / self.bounds.lower)

    @property
    def best(self) -> float:
        """What one who knows the future pays within the rules, as a multiple of the lower bound."""
        return float(self.bounds.best / self.bounds.lower)

    def of_no_caching(self, placement: str) -> float:
        """A bill as a part of the one without caching."""
        return self.replays[placement].ratio

    def worst(self, placement: str) -> float:
        """The same of the session that caching did least for."""
        worst = self.replays[placement].worst_session
        return worst.ratio if worst else 0.0


class Wanted(NamedTuple):
    """What is asked of the bill over the lower bound."""

    trace: str
    prices: str
    must: float
    aim: float | None


WANTED = (
    Wanted(sets.CODING, "r=.1", 1.12, 1.08),
    Wanted(sets.CODING, "r=.025", 1.21, 1.15),
    Wanted(sets.CHAT, "r=.1", 1.24, 1.19),
    Wanted(sets.CODING, "Nova", 1.02, None),
    Wanted(sets.CHAT, "Nova", 1.02, None),
)


def text(results: Sequence[Result]) -> str:
    """The page."""
    return "\n".join([_INTRODUCTION, "## What is asked", "", requirements(results), _HALVES, figures(results), ""])


def requirements(results: Sequence[Result]) -> str:
    """Each figure that is asked for, and whether it is reached."""
    header = ("trace", "prices", "figure", "the usual", "best simple", "ours", "must", "aim", "verdict")
    rows = [_over_bound(one, result) for one in WANTED for result in results if _is_of(result, one)]
    for result in results:
        rows.append(_of_no_caching(result))
        if result.trace.sessions_told:
            rows.append(_worst_session(result))
    return _table(header, rows)


def figures(results: Iterable[Result]) -> str:
    """Each placement on each trace."""
    header = ("trace", "prices", "placement", "bill / lower bound", "bill / no caching", "worst session / no caching")
    rows: list[Sequence[str]] = []
    for result in results:
        for name in result.replays:
            told = (result.over_bound(name), result.of_no_caching(name), result.worst(name))
            rows.append((result.trace.name, result.prices, name, *(f"{one:.3f}" for one in told)))
        rows.append(
            (result.trace.name, result.prices, "knowing the future, within the rules", f"{result.best:.3f}", "", "")
        )
    return _table(header, rows)


def _is_of(result: Result, wanted: Wanted) -> bool:
    return (result.trace.name, result.prices) == (wanted.trace, wanted.prices)


def _over_bound(wanted: Wanted, result: Result) -> Sequence[str]:
    simple = min(result.over_bound(name) for name in SIMPLE)
    return (
        result.trace.name,
        result.prices,
        "bill / lower bound",
        f"{result.over_bound(USUAL):.3f}",
        f"{simple:.3f}",
        *_judged(result.over_bound(OURS), wanted.must, wanted.aim),
    )


def _of_no_caching(result: Result) -> Sequence[str]:
    simple = min(result.of_no_caching(name) for name in SIMPLE)
    told = (f"{result.of_no_caching(USUAL):.3f}", f"{simple:.3f}")
    judged = _judged(result.of_no_caching(OURS), *MOST_OF_NO_CACHING)
    return (result.trace.name, result.prices, "bill / no caching", *told, *judged)


def _worst_session(result: Result) -> Sequence[str]:
    simple = min(result.worst(name) for name in SIMPLE)
    told = (f"{result.worst(USUAL):.3f}", f"{simple:.3f}")
    judged = _judged(result.worst(OURS), *MOST_OF_WORST)
    return (result.trace.name, result.prices, "worst session / no caching", *told, *judged)


def _judged(found: float, must: float, aim: float | None) -> Sequence[str]:
    verdict = "**falls short**" if found > must else "must met" if aim is not None and found > aim else "met"
    verdict = "aim met" if aim is not None and found <= aim else verdict
    return (f"{found:.3f}", f"<= {must:.2f}", "" if aim is None else f"<= {aim:.2f}", verdict)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


_INTRODUCTION = """# What placements of cache points cost

Written by `make bench-caching`. Bills are of prompts alone, at prices relative to input: a write costs 1.25 (5m) or 2
(1h), a read r; Nova's prices are 1 for a write and .25 for a read. The bills come from a simulator that knows nothing
of the placements and agrees to the token with the local endpoint; no token lives longer than it was written for. The
lower bound is the clairvoyant optimum per token, which ignores the number of points, the blocks' boundaries and the
minimum. The usual is one point at the end, 5m; the best simple one is the best of it, of points at the ends of tools,
system and prompt, and of 1h everywhere: on each row another.
"""

_HALVES = """
## All figures

Of the coding sessions, one of each kind is kept that begins with the same three lengths, and half of them are reported,
by a hash of their id; of the chat, minutes 15 to 30, from cold; of MTRAG, the second half of the conversations; of
tau-bench, all. Defaults were chosen on the other halves. Each replay starts with an empty ledger. Coding sessions come
one after another, two hours apart, and once side by side, starting within a day. Mooncake doesn't tell sessions: its
are chains of requests that extend each other, most of a single request, and are not judged by the worst.
"""
