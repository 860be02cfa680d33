"""Prompt caching: what is believed warm, where cache points go, and why a read did not come."""

from pointsman.cache.diagnosis import Case, below_minimum, explain_miss
from pointsman.cache.drift import Drift, DriftAlarm
from pointsman.cache.ledger import Ledger, Refusal
from pointsman.cache.misses import MissReason
from pointsman.cache.placement import Placement, place
from pointsman.cache.reuse import Reuse
from pointsman.cache.sent import Sending, SentPrompts
from pointsman.cache.stores import Booked, LedgerStore, MemoryStore
from pointsman.outline import CachePoint

__all__ = [
    "Booked",
    "CachePoint",
    "Case",
    "Drift",
    "DriftAlarm",
    "Ledger",
    "LedgerStore",
    "MemoryStore",
    "MissReason",
    "Placement",
    "Refusal",
    "Reuse",
    "Sending",
    "SentPrompts",
    "below_minimum",
    "explain_miss",
    "place",
]
