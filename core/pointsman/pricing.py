"""Prices and what a usage costs at them. Knows genai-prices; knows nothing of caches or routers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from pointsman.usage import Cost, Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens. What is not known is None, or not in `cache_write`.

    `cache_write` maps a TTL (`"5m"`, `"1h"`) to the price of a write that lives so long. `tiers` are
    `(above, price)` pairs in rising order: a prompt of more than `above` tokens is billed wholly at that price.
    Numbers and strings are taken for Decimals.
    """

    input: Decimal | None
    output: Decimal | None
    cache_read: Decimal | None = None
    cache_write: Mapping[str, Decimal] = field(default_factory=dict)
    tiers: tuple[tuple[int, Price], ...] = ()

    def __post_init__(self) -> None:
        for name in ("input", "output", "cache_read"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Decimal):
                object.__setattr__(self, name, Decimal(str(value)))
        written = {ttl: Decimal(str(value)) for ttl, value in self.cache_write.items()}
        object.__setattr__(self, "cache_write", written)

    def at(self, input_tokens: int) -> Price:
        """The price that holds for a prompt of that many tokens, cached ones included."""
        for above, price in reversed(self.tiers):
            if input_tokens > above:
                return price
        return self


def cost_of(usage: Usage, price: Price | None) -> Cost:
    """What a usage costs. A bucket that holds tokens but has no known price is None."""
    if price is None:
        return Cost(uncached=None, cache_read=None, cache_write=None, output=None)
    price = price.at(usage.input_tokens)
    written = _bill(usage.cache_write_tokens, price.cache_write.get("5m"))
    if usage.cache_write_1h_tokens:
        within_5m = _bill(usage.cache_write_5m_tokens, price.cache_write.get("5m"))
        written = _sum(within_5m, _bill(usage.cache_write_1h_tokens, price.cache_write.get("1h")))
    return Cost(
        uncached=_bill(usage.uncached_tokens, price.input),
        cache_read=_bill(usage.cache_read_tokens, price.cache_read),
        cache_write=written,
        output=_bill(usage.output_tokens, price.output),
    )


def cost_without_cache(usage: Usage, price: Price | None) -> Decimal | None:
    """What the same tokens would have cost in all, had nothing been cached; None where a price is unknown."""
    if price is None:
        return None
    price = price.at(usage.input_tokens)
    return _sum(_bill(usage.input_tokens, price.input), _bill(usage.output_tokens, price.output))


def _bill(tokens: int, price: Decimal | None) -> Decimal | None:
    if not tokens:
        return _NOTHING
    return None if price is None else (price * tokens).scaleb(-6)


def _sum(first: Decimal | None, second: Decimal | None) -> Decimal | None:
    return None if first is None or second is None else first + second


def published_price(model_id: str) -> Price | None:
    """The list price of a Bedrock model or inference profile id, from genai-prices; None if it has none.

    genai-prices tells Geo profiles (`us.`, `eu.`) from `global.` ones and from in-Region ids. A tier there
    prices the whole prompt ("cliff"), as Bedrock bills.
    """
    # Imported late: the price table takes half a second to load.
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, model = get_snapshot().find_provider_model(model_id, None, "aws", None)
    except LookupError:
        return None
    prices = model.get_prices(datetime.now(UTC))
    starts = {tier.start for name in _FIELDS for tier in getattr(getattr(prices, name), "tiers", ())}
    tiers = tuple((start, _price_above(prices, start)) for start in sorted(starts))
    base = _price_above(prices, 0)
    return Price(
        input=base.input,
        output=base.output,
        cache_read=base.cache_read,
        cache_write=base.cache_write,
        tiers=tiers,
    )


_FIELDS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")


def _price_above(prices: ModelPrice, tokens: int) -> Price:
    """The flat price of a prompt of just over `tokens` tokens."""
    flat = {name: _value_above(getattr(prices, name), tokens) for name in _FIELDS}
    writes = {"5m": flat["cache_write_mtok"], "1h": flat["cache_write_1h_mtok"]}
    if flat["cache_read_mtok"] is not None and writes["5m"] is None:
        # Amazon Nova: reads are priced, writes cost what plain input costs (AWS announcement, 2024-12).
        writes["5m"] = flat["input_mtok"]
    return Price(
        input=flat["input_mtok"],
        output=flat["output_mtok"],
        cache_read=flat["cache_read_mtok"],
        cache_write={ttl: value for ttl, value in writes.items() if value is not None},
    )


def _value_above(value: object, tokens: int) -> Decimal | None:
    if value is None or isinstance(value, Decimal):
        return value
    base: Decimal = value.base  # type: ignore[attr-defined]  # a TieredPrices; its module is imported late
    for tier in value.tiers:  # type: ignore[attr-defined]
        if tokens >= tier.start:
            base = tier.price
    return base
