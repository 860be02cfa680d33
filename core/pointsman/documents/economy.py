"""What the models that may answer a prompt make of a document that stays: prices, limits, and how conversations go on.

Knows models, the ledger's beliefs and what was learnt of passages; knows no text and no prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from pointsman.cache.ledger import SECONDS, Ledger
from pointsman.cache.reuse import Rates
from pointsman.catalog import Model
from pointsman.documents.recurrence import Recurrence
from pointsman.documents.worth import Prices, Worth

# What documents may take of the smallest context window, and of what the strictest model caches at most.
_SHARE_OF_WINDOW = 0.3
_SHARE_OF_CACHE = 0.5
# Of the smallest context window: a prompt that is nearer to it might not fit with what it does not hold itself.
_MOST_OF_WINDOW = 0.8
# Tokens are estimated by their bytes: what is nearer to a model's minimum may not reach it.
_ABOVE_MINIMUM = 1.25
_BYTES_PER_TOKEN = 4
_MOST_WORTHS = 64
_ANEW_AFTER = 1.2
_COUNTED_BEFORE_ANEW = 100


def tokens_of(text_bytes: int) -> int:
    """A rough estimate, good enough to hold against a budget."""
    return text_bytes // _BYTES_PER_TOKEN


class Worths:
    """What it is worth to keep passages, computed anew when enough was learnt."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[int, Worth]] = {}

    def of(self, recurrence: Recurrence, ledger: Ledger, key: tuple[str | None, Prices, int, bytes | None]) -> Worth:
        """By knowledge base, prices, pace and application."""
        counted = recurrence.counted + ledger.reuse.returns.counted
        known = self._known.get(key)
        if known is None or counted > _ANEW_AFTER * known[0] + _COUNTED_BEFORE_ANEW:
            if len(self._known) >= _MOST_WORTHS:
                self._known.clear()
            knowledge_base, prices, pace, application = key
            course = ledger.reuse.course("documents", pace, application)
            worth = Worth(prices, course, lambda standing: recurrence.chance(knowledge_base, standing))
            known = self._known[key] = counted, worth
        return known[1]


class Economy:
    """Prices are those of the first model; limits the strictest of all, since documents are laid alike for each."""

    def __init__(self, models: Sequence[Model], ledger: Ledger, recurrence: Recurrence, worths: Worths) -> None:
        self._ledger = ledger
        self._recurrence = recurrence
        self._worths = worths
        model = models[0]
        self.caches = all(one.known and one.cache.supported for one in models)
        """Whether each of the models would cache a document that stays: otherwise it costs its price every time."""
        self._minimum = max((one.cache.minimum_tokens or 0 for one in models), default=0)
        windows = [one.context_window for one in models if one.context_window]
        self._window = min(windows, default=None)
        limits = [window * _SHARE_OF_WINDOW for window in windows]
        limits += [one.cache.maximum_tokens * _SHARE_OF_CACHE for one in models if one.cache.maximum_tokens]
        self.budget = int(min(limits)) if limits else None
        """Tokens that the documents of a conversation may take, None where there is no limit."""
        rates = Rates.of(model.price, 0, one_hour="1h" in model.cache.ttls)
        self._prices = [Prices("5m", rates.write_5m, rates.read)]
        if rates.write_1h is not None:
            self._prices.append(Prices("1h", rates.write_1h, rates.read))

    def fits(self, prompt_bytes: int) -> bool:
        """Whether a prompt of so many bytes surely fits into each model's window."""
        return self._window is None or tokens_of(prompt_bytes) <= _MOST_OF_WINDOW * self._window

    def is_cached(self, prefix_bytes: int) -> bool:
        """Whether a prefix of so many bytes surely reaches the models' minimum."""
        return self.caches and tokens_of(prefix_bytes) >= _ABOVE_MINIMUM * self._minimum

    def worths(
        self, knowledge_base: str | None, *, pace: int, application: bytes | None, ttl: str | None = None
    ) -> list[Worth]:
        """What it is worth to keep a knowledge base's passages, at this TTL, or at each that there is.

        `pace` is how soon the conversation goes on, as `Stretch.pace` tells it; `application` its system prompt.
        """
        return [
            self._worths.of(self._recurrence, self._ledger, (knowledge_base, prices, pace, application))
            for prices in self._at(ttl)
        ]

    def _at(self, ttl: str | None) -> Sequence[Prices]:
        return [prices for prices in self._prices if prices.ttl == ttl] or self._prices


def is_cold(at: float, ttl: str | None, now: float) -> bool:
    """Whether nothing is left in the cache of a prompt that was sent `at` that time."""
    return ttl is None or now >= at + SECONDS[ttl]
