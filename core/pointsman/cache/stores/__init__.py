"""Where the ledgers of several processes meet: what one has booked, the others take over.

Knows records that are dated and named; what they mean is left to the ledger. No text, no key, no clock.
"""

from pointsman.cache.stores.memory import MemoryStore
from pointsman.cache.stores.store import Booked, LedgerStore

__all__ = ["Booked", "LedgerStore", "MemoryStore"]
