"""What a store of ledgers is: one method, by which a ledger hands over what it booked and takes what others did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

MOST_AT_ONCE = 2_000
"""Records that one exchange gives, so that it is over in some 20 ms (docs/caching.md); the rest comes with the next."""


class Booked(NamedTuple):
    """One record that a ledger hands over. Of those with the same `subject` the one with the later `until` counts.

    `kind` is a TTL (a prefix was written or read; with `kept` before it, read only to stay warm), `gone` (a prefix was
    evicted), `refused` (a place for cache points was), or the name of a statistic. `about` is the keyed digest of a
    prefix, or another name that tells records apart. After `until` nobody needs the record any more. `detail` is what
    else there is to know.
    """

    kind: str
    model: str
    region: str
    about: bytes
    until: float
    detail: str = ""

    @property
    def subject(self) -> tuple[str, str, str, bytes]:
        """What the record is on: all but its date and detail."""
        return self[:4]


class LedgerStore(Protocol):
    """Where the ledgers of several processes meet. For one AWS account: caches aren't shared between accounts.

    Raises what it likes when it can't be reached, and soon: a call to Bedrock waits for it. The ledger then goes on
    with what it knows.
    """

    def exchange(self, *, booked: Sequence[Booked], since: str, now: float) -> tuple[Sequence[Booked], str]:
        """Hand over what was booked here since the last exchange; take what was booked elsewhere.

        The same record may be handed over twice, where an answer was lost, and taken twice: that changes nothing.

        Args:
            booked: all of it or, if this raises, nothing of it need have arrived: it is handed over again.
            since: where the last exchange has come to; "" to begin with.
            now: seconds; records whose `until` has passed may be dropped.

        Returns:
            At most some thousand records, oldest first, and where they end: `since` of the next exchange.
        """
        ...
