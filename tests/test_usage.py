"""Usage and cost: inclusive buckets that add up, and money in Decimal."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Cost, Usage

_counts = st.integers(0, 1_000_000)
usages = st.builds(
    lambda uncached, read, write_5m, write_1h, output: Usage(
        input_tokens=uncached + read + write_5m + write_1h,
        cache_read_tokens=read,
        cache_write_tokens=write_5m + write_1h,
        cache_write_1h_tokens=write_1h,
        output_tokens=output,
    ),
    *[_counts] * 5,
)


def test_cached_tokens_are_part_of_the_input() -> None:
    """What is left of the input is billed at the plain price; writes are of five minutes unless they are of 1h."""
    usage = Usage(input_tokens=100, cache_read_tokens=60, cache_write_tokens=30, cache_write_1h_tokens=10)
    assert (usage.uncached_tokens, usage.cache_write_5m_tokens) == (10, 20)


@settings(settings.get_profile("laws"))
@given(st.lists(usages, max_size=5))
def test_usages_add_up(parts: list[Usage]) -> None:
    """Each bucket of a sum is the sum of the buckets, derived ones too, in any order."""
    total = sum(parts, Usage())
    assert total == sum(reversed(parts), Usage())
    for name in ("input_tokens", "output_tokens", "uncached_tokens", "cache_write_5m_tokens", "cache_read_tokens"):
        assert getattr(total, name) == sum(getattr(part, name) for part in parts)
    assert Usage(**total.to_dict()) == total


def test_a_cost_is_the_sum_of_its_buckets() -> None:
    """Money is exact, and written as decimal strings."""
    cost = Cost(uncached=Decimal("0.1"), cache_read=Decimal("0.2"), cache_write=Decimal(0), output=Decimal("0.4"))
    assert cost.total == Decimal("0.7")
    assert cost.to_dict() == {
        "uncached": "0.1",
        "cache_read": "0.2",
        "cache_write": "0",
        "output": "0.4",
        "total": "0.7",
    }


@pytest.mark.parametrize("unknown", ["uncached", "cache_read", "cache_write", "output"])
def test_an_unknown_bucket_makes_the_total_unknown(unknown: str) -> None:
    """Unknown is None: never zero, never a sum of the rest."""
    known = dict.fromkeys(("uncached", "cache_read", "cache_write", "output"), Decimal(1))
    cost = Cost(**{**known, unknown: None})
    assert cost.total is None
    assert cost.to_dict()[unknown] is None
