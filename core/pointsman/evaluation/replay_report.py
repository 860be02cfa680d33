"""Replays of the same traffic beside each other: a table, the words that explain it, and plain JSON.

Knows figures and how they are written; bills nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pointsman.evaluation.replay import BUCKETS, Bounds, OwnersBill, Replay
from pointsman.evaluation.tables import Cell, Table, money, percent

LABELS = ("uncached", "read", "written 5m", "written 1h", "output")
"""The buckets, as a table heads them."""
_HEADER = ("placement", "USD", "of no caching", "over the bound", "worst session", *LABELS)
_NARROW = 3
_NOTE = (
    "Of no caching: the bill as a part of what the same requests cost without. The lower bound knows the future and "
    "ignores the number of points, the blocks' boundaries and the minimum; the best within the rules knows the future "
    "too."
)
_REST_OF_NOTE = (
    "Over the bound: the prompts' bill, without output, as a multiple of the lower bound. Worst session: the one that "
    "caching did least for, against no caching."
)
BEST, LOWER = "best within the rules", "lower bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replays:
    """What each policy came to on the same requests, by its name.

    `bounds` is None where models were chosen by a router: there is no bound for that. `skipped` counts requests of the
    log that could not be used, by the reason.
    """

    replays: Mapping[str, Replay]
    bounds: Bounds | None
    skipped: Mapping[str, int]

    @property
    def output(self) -> Decimal:
        """What the output costs, which is the same for every placement."""
        return next(iter(self.replays.values())).bill.output

    def over_bound(self, replay: Replay) -> float | None:
        """The prompts' bill as a multiple of the lower bound."""
        if self.bounds is None or not self.bounds.lower:
            return None
        return float(replay.bill.input / self.bounds.lower)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; money in decimal strings."""
        return {
            "replays": {
                name: {**replay.to_dict(), "over_lower_bound": self.over_bound(replay)}
                for name, replay in self.replays.items()
            },
            "bounds": None if self.bounds is None else self.bounds.to_dict(),
            "skipped": dict(self.skipped),
        }


def table_of(replays: Replays, *, narrow: bool = False) -> Table:
    """A row for each policy, and for what hindsight would have paid; `narrow` leaves out all but the bills."""
    rows = [_row(name, replay, replays) for name, replay in replays.replays.items()]
    first = next(iter(replays.replays.values()))
    if replays.bounds is not None:
        for name, amount in ((BEST, replays.bounds.best), (LOWER, replays.bounds.lower)):
            rows.append(_hindsight_row(name, amount, first, replays))
    columns = _NARROW if narrow else len(_HEADER)
    return Table(
        title="Bills",
        note=_NOTE if narrow else f"{_NOTE} {_REST_OF_NOTE}",
        header=_HEADER[:columns],
        rows=tuple(row[:columns] for row in rows),
    )


def remarks_of(replays: Replays) -> tuple[str, ...]:
    """What was passed over, and what the log's owner paid."""
    first = next(iter(replays.replays.values()))
    told = [f"Without caching: {_dollars(first.without_cache)} USD."]
    if (owners := first.owners) is not None:
        changes = [_change(name, replay.owners) for name, replay in replays.replays.items() if replay.owners]
        told.append(
            f"The log tells what {counted(owners.requests)} came to, by the tokens that were billed (the table's are "
            f"estimated): {_dollars(owners.billed)} USD at these prices. "
            f"Against that, {', '.join(changes)}."
        )
    asked = {name: _shares(replay) for name, replay in replays.replays.items() if len(replay.requests_of) > 1}
    if len({*asked.values()}) == 1 and len(asked) == len(replays.replays):
        told.append(f"Models: {asked.popitem()[1]} of the requests.")
    else:
        told += [f"Models with {name}: {shares} of the requests." for name, shares in asked.items()]
    told += [f"Passed over: {counted(count)}, {why}." for why, count in replays.skipped.items()]
    if not first.usage.output_tokens:
        told.append("No output is told: the bills are of the prompts alone.")
    told.append("No token is taken to live longer than it was written for; each replay starts with empty caches.")
    return tuple(told)


def _row(name: str, replay: Replay, replays: Replays) -> tuple[Cell, ...]:
    over, worst = replays.over_bound(replay), replay.worst_session
    return (
        Cell(name),
        Cell(_dollars(replay.bill.total)),
        Cell(percent(replay.ratio)),
        Cell("" if over is None else f"{over:.3f}"),
        Cell("" if worst is None else f"{worst.ratio:.2f}"),
        *(Cell(percent(replay.bill.share(bucket))) for bucket in BUCKETS),
    )


def _hindsight_row(name: str, amount: Decimal, any_replay: Replay, replays: Replays) -> tuple[Cell, ...]:
    assert replays.bounds is not None
    total, lower = amount + replays.output, replays.bounds.lower
    ratio = float(total / any_replay.without_cache) if any_replay.without_cache else 0.0
    over = f"{float(amount / lower):.3f}" if lower else ""
    return (Cell(name), Cell(_dollars(total)), Cell(percent(ratio)), Cell(over), *[Cell("")] * (1 + len(LABELS)))


def _shares(replay: Replay) -> str:
    return ", ".join(f"{model} {percent(n / replay.requests)}" for model, n in replay.requests_of.items())


def _change(name: str, owners: OwnersBill) -> str:
    if round(owners.saved, 3) == 0:
        return f"{name} costs the same"
    change = percent(abs(owners.saved))
    return f"{name} saves {change}" if owners.saved > 0 else f"{name} costs {change} more"


def _dollars(amount: Decimal) -> str:
    return money(float(amount))


def counted(count: int) -> str:
    """So many requests, in words."""
    return "1 request" if count == 1 else f"{count:,} requests"
