"""What a log came to, as `pointsman explain` prints it: each placement's bill, each call, and what broke the cache.

Knows figures and how wide they may be; reads no file and bills nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointsman.cli.layout import dollars, print_remark, table_of
from pointsman.evaluation.findings import Explanation, Passed, Told
from pointsman.evaluation.policies import PLACEMENTS
from pointsman.evaluation.replay import Replay
from pointsman.evaluation.replay_report import Replays
from pointsman.evaluation.replay_report import table_of as bills_of
from pointsman.evaluation.tables import money
from pointsman.pricing import cost_of

AS_WRITTEN = "as written"
OURS, WITHOUT = "pointsman", "none"
NARROW = 100
"""Below so many columns, what can be missed is left out."""
_MOST_CONVERSATIONS = 20
_MOST_CALLS = 20
# A time before September 2001 is one that is told from the start of the log.
_LEAST_OF_A_DATE = 1e9


def print_bills(console: Console, replays: Replays) -> None:
    """A row for each placement."""
    told = bills_of(replays, narrow=console.width < NARROW)
    console.print()
    console.print(Text(told.title, style="bold"))
    rows = [[cell.text for cell in row] for row in told.rows]
    console.print(compact(table_of(told.header, rows, right=range(1, len(told.header)))))
    print_remark(console, told.note)
    console.print()


def summary_of(replays: Replays) -> str:
    """The bills that matter, in one line: none, what is written now, the best of the usual placements, and ours."""
    found = replays.replays
    usual = min((name for name in PLACEMENTS if name not in (OURS, WITHOUT)), key=lambda name: found[name].bill.total)
    names = {WITHOUT: "no caching", AS_WRITTEN: AS_WRITTEN, usual: f"best usual placement ({usual})", OURS: OURS}
    return ", ".join(f"{told} {_total(found[name])}" for name, told in names.items() if name in found) + " USD"


def print_calls(console: Console, explained: Explanation) -> None:
    """What each request read and wrote, and what it cost; of a long log, the first ones."""
    calls = sorted(
        ((one, told.name) for told in explained.conversations for one in told.passed), key=lambda call: call[0].number
    )
    shown = calls[:_MOST_CALLS]
    models = models_told([one for one, _ in shown])
    console.print()
    console.print(Text("Requests", style="bold"))
    rows = [
        (
            str(one.number + 1),
            name,
            *([models[one.model.invoke_id]] if models else []),
            f"{one.usage.input_tokens:,}",
            f"{one.usage.cache_read_tokens:,}",
            f"{one.usage.cache_write_tokens:,}",
            cost_told(one),
        )
        for one, name in shown
    ]
    header = ("request", "conversation", *(["model"] if models else []), "tokens", "read", "written", "USD")
    console.print(compact(table_of(header, rows, right=(0, *range(len(header) - 4, len(header))))))
    if len(calls) > len(shown):
        print_remark(console, f"{len(calls) - len(shown):,} more; --json has all.")


def print_broken(console: Console, explained: Explanation) -> None:
    """What broke the cache of each conversation, the dearest first."""
    broken = [told for told in explained.conversations if told.broken]
    console.print()
    if not broken:
        console.print("No conversation is broken: nothing is lost that could have been read.")
        return
    broken.sort(key=lambda told: -sum((one.lost or Decimal(0) for one in told.findings), Decimal(0)))
    console.print(Text("What broke the cache", style="bold"))
    console.print(_causes(broken[:_MOST_CONVERSATIONS], narrow=console.width < NARROW))
    rest = len(broken) - _MOST_CONVERSATIONS
    unbroken = len(explained.conversations) - len(broken)
    more = f" {rest:,} more are broken, and cheaper; --json has all." if rest > 0 else ""
    print_remark(console, f"{unbroken:,} of {len(explained.conversations):,} are unbroken.{more}")
    advice: Mapping[str, str] = {one.cause.what: one.cause.advice for told in broken for one in told.findings}
    for what, told_advice in advice.items():
        print_remark(console, f"{sentence(what)}: {told_advice}")


def _causes(broken: Sequence[Told], *, narrow: bool) -> Table:
    dated = not narrow and any(_began(told) for told in broken)
    rows = [
        (
            told.name,
            *([_began(told)] if dated else []),
            f"{len(told.passed):,}",
            finding.cause.what,
            finding.cause.where,
            f"{len(finding.requests):,}",
            f"{finding.lost_tokens:,}" if finding.lost_tokens else "",
            dollars(finding.lost) if finding.lost_tokens else "",
        )
        for told in broken
        for finding in told.findings
    ]
    before = ("conversation", *(["began"] if dated else []))
    header = (*before, "requests", "cause", "where", "misses", "tokens lost", "USD")
    count = len(header)
    return compact(table_of(header, rows, right=(len(before), count - 3, count - 2, count - 1)))


def _began(told: Told) -> str:
    """When; nothing where times are told from the start of the log."""
    at = told.passed[0].at
    if at < _LEAST_OF_A_DATE:
        return ""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        return ""


def models_told(passed: Sequence[Passed]) -> Mapping[str, str]:
    """How the models of requests are shown, by what was invoked: by name, if that tells them apart. None of one."""
    names = {one.model.invoke_id: one.model.name for one in passed}
    if len(names) < 2:
        return {}
    return names if len(set(names.values())) == len(names) else {invoked: invoked for invoked in names}


def cost_told(one: Passed) -> str:
    """What a request cost, in USD."""
    return dollars(cost_of(one.usage, one.model.price).total)


def compact(table: Table) -> Table:
    """The same table, with what names its rows on one line."""
    table.columns[0].no_wrap = True
    return table


def sentence(what: str) -> str:
    """Words as the start of a sentence."""
    return what[:1].upper() + what[1:]


def _total(replay: Replay) -> str:
    return money(float(replay.bill.total))
