"""How `caching_routing.py` tells its figures."""

from __future__ import annotations

from collections.abc import Sequence

from caching_routing_runs import Result

DEARER, WORTH_CLOSING, CLOSED = 0.01, 0.05, 0.4

_HEAD = """# Routing with the cache in view

Written by `python benchmarks/caching_routing.py`. Bills relative to always the strong model, on the half of the coding
sessions (at most 400 requests each, main chain) that no default was chosen on; one point at the end, 5m, for every
policy; real lengths of the answers. The strong model is needed with probability q, drawn anew for each user turn or for
each request; elsewhere the cheap one will do. *Blind*: the cheap model wherever it will do. *Sticky*: once the strong
model was needed, the session stays on it. *Greedy*: the lesser bill for this request. *Clairvoyant*: the least bill
over the session, knowing all needs, pauses and lengths in advance. *Closed*: the part of the way from blind to
clairvoyant.
All pairs cache by the same rules (1,024 tokens at least); prices are those of the catalogue, the others `ratio x, r =
price of a read`.
"""


def line(result: Result) -> str:
    """One row of the table."""
    setting, best = result.setting, result.best_simple
    mark = " **dearer**" if result.ours > best * (1 + DEARER) else ""
    closed = f"{result.closed:.0%}" if result.gap > WORTH_CLOSING else f"({result.closed:.0%})"
    figures = (result.blind, result.sticky, result.greedy, result.ours, result.clairvoyant)
    told = " | ".join(f"{one:.3f}" for one in figures)
    return f"| {setting.pair} | {setting.drawn} | {setting.share:g} | {told} | {result.gap:.1%} | {closed}{mark} |"


def table(results: Sequence[Result]) -> str:
    """All rows."""
    head = "| pair | need drawn per | q | blind | sticky | greedy | ours | clairvoyant | gap | closed |"
    return "\n".join([head, "|---" * 10 + "|", *map(line, results)])


def summary(results: Sequence[Result]) -> str:
    """Against what was asked for."""
    dearer = [result for result in results if result.ours > result.best_simple * (1 + DEARER)]
    wide = [result for result in results if result.gap > WORTH_CLOSING]
    closed = [result for result in wide if result.closed >= CLOSED]
    worst = max(result.ours / result.best_simple for result in results) - 1
    return (
        f"Dearer than the best of always-strong, blind and sticky by more than 1 %: {len(dearer)} of {len(results)} "
        f"rows (the worst: {worst:+.2%}). Closes at least 40 % where the gap is over 5 %: {len(closed)} of {len(wide)} "
        "rows."
    )


def text(results: Sequence[Result]) -> str:
    """The page."""
    return f"{_HEAD}\n{summary(results)}\n\nClosed in brackets: the gap is below 5 %.\n\n{table(results)}\n"
