"""Prompt caching: what is believed warm, and where cache points go."""

from pointsman.cache.ledger import Ledger, Refusal
from pointsman.cache.placement import Placement, place
from pointsman.outline import CachePoint

__all__ = ["CachePoint", "Ledger", "Placement", "Refusal", "place"]
