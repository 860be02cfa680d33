"""Prices from genai-prices and what a usage costs at them, checked against genai-prices' own arithmetic."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import genai_prices
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Catalog, Price, Usage
from pointsman.pricing import cost_of, cost_without_cache, published_price

CATALOG = Catalog.default()
HAIKU = "anthropic.claude-haiku-5-5"


def _total(model_id: str, usage: Usage) -> Decimal | None:
    return cost_of(usage, CATALOG.resolve(model_id).price).total


def test_each_bucket_has_its_price() -> None:
    """Reads, writes of both TTLs, uncached input and output, in USD per million."""
    price = Price(input=10, output=50, cache_read=1, cache_write={"5m": Decimal("12.5"), "1h": 20})
    usage = Usage(
        input_tokens=1_000_000,
        cache_read_tokens=500_000,
        cache_write_tokens=300_000,
        cache_write_1h_tokens=100_000,
        output_tokens=10_000,
    )
    cost = cost_of(usage, price)
    assert (cost.uncached, cost.cache_read, cost.output) == (Decimal(2), Decimal("0.5"), Decimal("0.5"))
    assert cost.cache_write == Decimal("2.5") + Decimal(2)
    assert cost.total == Decimal("7.5")


def test_numbers_and_strings_are_taken_for_decimals() -> None:
    """A float is taken by its digits: 0.1 is a tenth."""
    price = Price(input=0.1, output="0.2", cache_write={"5m": 0.3})  # type: ignore[arg-type]
    assert (price.input, price.output, price.cache_write) == (Decimal("0.1"), Decimal("0.2"), {"5m": Decimal("0.3")})


@pytest.mark.parametrize(
    ("usage", "known"),
    [
        (Usage(input_tokens=5, output_tokens=5), True),
        (Usage(input_tokens=5, cache_read_tokens=5), False),
        (Usage(input_tokens=5, cache_write_tokens=5), False),
        (Usage(input_tokens=5, cache_write_tokens=5, cache_write_1h_tokens=5), False),
    ],
)
def test_what_has_tokens_but_no_price_is_unknown(usage: Usage, known: bool) -> None:
    """A bucket without tokens costs nothing, whatever its price."""
    assert (cost_of(usage, Price(input=1, output=1)).total is not None) == known


def test_a_model_without_price_costs_an_unknown_sum() -> None:
    """None, not zero: for the total and for each bucket."""
    cost = cost_of(Usage(), None)
    assert set(cost.to_dict().values()) == {None}


def test_without_a_cache_all_input_is_plain() -> None:
    """The same tokens, billed as if nothing had been read or written; by the tier that the whole prompt falls in."""
    usage = Usage(input_tokens=200_000, cache_read_tokens=150_000, cache_write_tokens=30_000, output_tokens=7)
    price = CATALOG.resolve(f"global.{HAIKU}").price
    plain = Usage(input_tokens=200_000, output_tokens=7)
    assert cost_without_cache(usage, price) == cost_of(plain, price).total
    assert cost_without_cache(usage, None) is None
    assert cost_without_cache(usage, Price(input=1, output=None)) is None
    assert cost_without_cache(usage, Price(input=1, output=1)) is not None, "no price of reads is needed"


def test_above_its_threshold_the_whole_prompt_has_the_dearer_price() -> None:
    """Haiku 5.5 costs five times as much from the 100,001st token on, for every token; cached ones count."""
    at, above = (_total(f"global.{HAIKU}", Usage(input_tokens=tokens)) for tokens in (100_000, 100_001))
    assert at == Decimal("0.01")
    assert above == Decimal("100001") * Decimal("0.5") / 1_000_000
    cached = Usage(input_tokens=100_001, cache_read_tokens=90_000)
    price = CATALOG.resolve(f"global.{HAIKU}").price
    assert price is not None
    assert cost_of(cached, price).cache_read == 90_000 * price.tiers[0][1].cache_read / 1_000_000  # type: ignore[operator]


def test_geo_profiles_cost_a_tenth_more() -> None:
    """`us.` and `eu.` against `global.` on the newer Claude, in every bucket."""
    world = CATALOG.resolve(f"global.{HAIKU}").price
    for geo in ("us", "eu"):
        price = CATALOG.resolve(f"{geo}.{HAIKU}").price
        assert price is not None and world is not None
        assert price.input == world.input * Decimal("1.1")  # type: ignore[operator]
        assert price.cache_write["1h"] == world.cache_write["1h"] * Decimal("1.1")


@pytest.mark.parametrize(
    ("model_id", "read"),
    [
        ("global.anthropic.claude-haiku-5-5", "0.1"),
        ("global.anthropic.claude-opus-5-5", "0.05"),
        ("global.anthropic.claude-fable-5-1", "0.025"),
        ("amazon.nova-pro-v1:0", "0.25"),
    ],
)
def test_the_design_s_ratios_of_reads(model_id: str, read: str) -> None:
    """What a read costs relative to plain input."""
    price = CATALOG.resolve(model_id).price
    assert price is not None
    assert price.cache_read == price.input * Decimal(read)  # type: ignore[operator]


def test_writes_cost_a_quarter_more_or_double() -> None:
    """Claude: 1.25 for five minutes, 2 for an hour. Nova's writes cost what plain input costs."""
    claude, nova = (CATALOG.resolve(model_id).price for model_id in (HAIKU, "amazon.nova-pro-v1:0"))
    assert claude is not None and nova is not None
    assert claude.cache_write == {"5m": claude.input * Decimal("1.25"), "1h": claude.input * 2}  # type: ignore[operator]
    assert nova.cache_write == {"5m": nova.input}


@pytest.mark.parametrize("model_id", ["nobody.nothing-v1", "us.nobody.nothing", ""])
def test_an_id_that_nobody_prices_has_no_price(model_id: str) -> None:
    """None, and no exception."""
    assert published_price(model_id) is None


def test_the_users_price_takes_the_published_ones_place() -> None:
    """An override goes through `dataclasses.replace` and the catalogue."""
    own = replace(CATALOG.resolve(HAIKU), price=Price(input=7, output=7))
    changed = Catalog.default().with_model(own)
    assert cost_of(Usage(input_tokens=1_000_000), changed.resolve(f"us.{HAIKU}").price).total == 7


_PRICED = [
    invoked
    for model in CATALOG.models
    for invoked in (model.id, *(f"{geo}.{model.id}" for geo in model.profiles if geo))
    if published_price(invoked) is not None
]
_tokens = st.integers(0, 250_000)


def test_most_of_the_catalogue_is_priced() -> None:
    """genai-prices knows the Claude, Nova and Llama models."""
    assert {CATALOG.resolve(invoked).provider for invoked in _PRICED} >= {"anthropic", "amazon", "meta"}


@settings(settings.get_profile("laws"), max_examples=300)
@given(
    model_id=st.sampled_from(_PRICED),
    counts=st.tuples(_tokens, _tokens, _tokens, _tokens),
    an_hour=st.booleans(),
)
def test_costs_agree_with_genai_prices(model_id: str, counts: tuple[int, int, int, int], an_hour: bool) -> None:
    """The same model and usage cost the same by genai-prices' own calculation, tiers and TTLs included."""
    uncached, read, written, output = counts
    price = published_price(model_id)
    assert price is not None
    read = read if price.cache_read is not None else 0
    written = written if ("1h" if an_hour else "5m") in price.cache_write else 0
    usage = Usage(
        input_tokens=uncached + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=written if an_hour else 0,
        output_tokens=output,
    )
    oracle = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=written if an_hour else 0,
        output_tokens=output,
    )
    theirs = genai_prices.calc_price(oracle, model_id, provider_id="aws").total_price
    assert cost_of(usage, price).total == pytest.approx(theirs, rel=Decimal("1e-9"))
