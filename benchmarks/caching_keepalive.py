"""What keep-alive is worth on real traffic: `python benchmarks/caching_keepalive.py --data FOLDER`.

Bills the coding sessions that nothing was chosen on, with and without pings, beside the clairvoyant lower bound (which
makes none), and writes benchmarks/caching_keepalive.md. `--choosing` bills the other sessions under several bounds of
pings in a row, prints and writes nothing: the default was chosen by that.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import NamedTuple

import caching_sets as sets

from pointsman import Ledger, Model, Usage, place
from pointsman.cache.keeping import MOST_PINGS, Ping, worth_a_ping
from pointsman.cache.reuse import Rates
from pointsman.evaluation.billing import BillingSimulator
from pointsman.evaluation.replay import bounds_of
from pointsman.evaluation.traffic import RecordedRequest, coding_session, one_after_another
from pointsman.outline import CachePoint, Outline

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "shared" / "data"
READS = (0.1, 0.05, 0.025)
FIVE, DEFAULT = "5m only", "5m or 1h, the default"
MOST_TRIED = (0, 1, 3, 5, 8, 11)
HEADER = (
    "read price",
    "TTLs of the model",
    "most pings in a row",
    "bill / lower bound",
    "pings per session",
    "pings' share of the bill",
    "worst session / no caching",
)
INTRODUCTION = """# What keep-alive is worth

Written by `make bench-caching`. Coding sessions, the half that nothing was chosen on, one after another, two hours
apart; prices, simulator and lower bound as in [caching.md](caching.md). The lower bound makes no pings, so that a bill
could come to lie below it. A ping is billed for the whole last request, without any cut, and for no output. It is made
20 seconds before a TTL of five minutes ends, by a rule that knows what the client knows; how many in a row at most was
chosen on the other half (`--choosing`). Prefixes that live for an hour are never pinged for: where the model has that
TTL, the default placement writes most of such a conversation for an hour, and keep-alive finds next to nothing to do.

"""


@dataclass(slots=True, kw_only=True)
class Run:
    """What a trace came to: tokens at the plain input price, in all and for pings alone."""

    bill: float = 0.0
    pings: int = 0
    for_pings: float = 0.0
    sessions: dict[str, list[float]] = field(default_factory=dict)

    @property
    def worst(self) -> float:
        """The bill of the session that caching did least for, as a part of that without caching."""
        return max(bill / plainly for bill, plainly in self.sessions.values())


class _Kept(NamedTuple):
    request: RecordedRequest
    points: Sequence[CachePoint]
    candidates: Sequence[CachePoint]
    pings: int = 0


class Traffic:
    """Requests and pings in the order of time, placed, billed and recorded as if they were sent then."""

    def __init__(self, model: Model, *, most: int) -> None:
        self._model, self._most = model, most
        self._ledger = Ledger()
        self._billing = BillingSimulator(conservative=True)
        self._kept: dict[bytes, _Kept] = {}
        self._due: list[tuple[float, int, bytes, _Kept]] = []
        self._numbers = count()
        self.run = Run()

    def send(self, request: RecordedRequest) -> None:
        """The pings that are due by then, and the request."""
        while self._due and self._due[0][0] < request.at:
            at, _, conversation, kept = heappop(self._due)
            if self._kept.get(conversation) is kept:
                del self._kept[conversation]
                self._ping(conversation, kept, at)
        outline, model = request.outline, self._model
        placement = place(outline, model, self._ledger, request.at)
        usage = self._billing.bill(outline, placement.points, model, request.at)
        self._ledger.record(outline, model, placement, usage, request.at)
        self._book(request.session, usage, plainly=usage.input_tokens)
        self._keep(conversation_of(outline), _Kept(request, placement.points, placement.points), request.at)

    def _ping(self, conversation: bytes, kept: _Kept, at: float) -> None:
        ping = self._worth(kept, at)
        if ping is None:
            return
        outline, model = kept.request.outline, self._model
        points = [point for point in kept.points if point.after <= ping.after]
        usage = self._billing.bill(outline, points, model, at)
        self._ledger.refreshed(outline, model, points, usage, at)
        self.run.pings += 1
        self.run.for_pings += self._book(kept.request.session, usage, plainly=0)
        candidates = [point for point in points if point.after == ping.after]
        self._keep(conversation, _Kept(kept.request, points, candidates, kept.pings + 1), at)

    def _keep(self, conversation: bytes, kept: _Kept, now: float) -> None:
        self._kept.pop(conversation, None)
        if (ping := self._worth(kept, now)) is not None:
            self._kept[conversation] = kept
            heappush(self._due, (ping.at, next(self._numbers), conversation, kept))

    def _worth(self, kept: _Kept, now: float) -> Ping | None:
        outline = kept.request.outline
        return worth_a_ping(
            outline,
            self._model,
            kept.candidates,
            self._ledger,
            now,
            pings=kept.pings,
            rest=lambda after: outline.tokens - outline.tokens_to(after),
            most=self._most,
        )

    def _book(self, session: str, usage: Usage, *, plainly: int) -> float:
        rates = Rates.of(self._model.price, usage.input_tokens, one_hour=True)
        billed = rates.bill(usage)
        self.run.bill += billed
        told = self.run.sessions.setdefault(session, [0.0, 0.0])
        told[0] += billed
        told[1] += plainly
        return billed


def conversation_of(outline: Outline) -> bytes:
    """The name of a conversation, as the client tells them apart."""
    return next((block.digest for block in outline.blocks if block.section == "messages"), b"")


def main() -> None:
    """Bill everything, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the traces")
    parser.add_argument("--choosing", action="store_true", help="the sessions that the default is chosen on")
    arguments = parser.parse_args()
    traces = arguments.data / "traces" if (arguments.data / "traces").is_dir() else arguments.data
    if not (traces / "claude_code_sessions.jsonl.gz").is_file():
        parser.error(f"{traces} lacks the traces. Name the folder with --data.")
    if arguments.choosing:
        requests = list(one_after_another(map(coding_session, _choosing(traces))))
        print(table(requests, MOST_TRIED))
        return
    page = INTRODUCTION + table(sets.coding(traces), (0, MOST_PINGS))
    (HERE / "caching_keepalive.md").write_text(page)
    print(page)


def table(requests: Sequence[RecordedRequest], bounds: Sequence[int]) -> str:
    """A row for each price of a read, set of TTLs and bound of pings in a row."""
    lines = ["| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
    for read in READS:
        lower = float(bounds_of(requests, model=sets.model_at(read)).lower) * 1e6
        for name, model in models_at(read).items():
            for most in bounds:
                run = billed(requests, model, most=most)
                told = (f"{run.bill / lower:.3f}", f"{run.pings / len(run.sessions):.1f}")
                shares = (f"{run.for_pings / run.bill:.1%}", f"{run.worst:.3f}")
                row = (f"r={read:g}".replace("0.", "."), name, str(most), *told, *shares)
                lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def billed(requests: Sequence[RecordedRequest], model: Model, *, most: int) -> Run:
    """What the requests, in the order of time, and at most so many pings in a row come to."""
    traffic = Traffic(model, most=most)
    for request in requests:
        traffic.send(request)
    return traffic.run


def models_at(read: float) -> Mapping[str, Model]:
    """A model without 1h, and one with it."""
    model = sets.model_at(read)
    return {FIVE: replace(model, cache=replace(model.cache, ttls=("5m",))), DEFAULT: model}


def _choosing(traces: Path) -> Iterator[Mapping[str, object]]:
    with gzip.open(traces / "claude_code_sessions.jsonl.gz", "rb") as file:
        told = [json.loads(line) for line in file]
    return (one for one in sets.distinct(told) if not sets.is_reported(str(one["id"])))


if __name__ == "__main__":
    main()
