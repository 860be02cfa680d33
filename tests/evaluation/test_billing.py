"""The simulator of Bedrock's billing: its rules, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from pointsman.catalog import CacheRules, Model
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.billing import BillingSimulator, takes_point
from pointsman.outline import Block, CachePoint, Outline
from pointsman.usage import Usage

RULES: Final = CacheRules(
    minimum_tokens=100,
    max_points=4,
    sections=frozenset({"tools", "system", "messages"}),
    ttls=("5m", "1h"),
    lookback_blocks=20,
    with_tool_results=True,
    not_after=frozenset({"reasoning"}),
)
CLAUDE: Final = Model(id="claude", invoke_id="claude", name="Claude", cache=RULES)
NOVA: Final = replace(
    CLAUDE,
    id="nova",
    invoke_id="nova",
    cache=replace(
        RULES,
        maximum_tokens=1000,
        sections=frozenset({"system", "messages"}),
        ttls=("5m",),
        lookback_blocks=0,
        with_tool_results=False,
    ),
)


def outline(*names: str, tokens: int = 100) -> Outline:
    """One block of so many tokens per name; equal names at the beginning are an equal prefix."""
    return Outline.of_blocks(
        Block("messages", "user", "text", "/".join(names[: index + 1]).encode(), tokens) for index in range(len(names))
    )


def buckets(usage: Usage) -> tuple[int, int, int, int]:
    """Uncached, read, written for five minutes, written for an hour."""
    return (
        usage.uncached_tokens,
        usage.cache_read_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
    )


def test_without_points_all_is_plain_input() -> None:
    simulator = BillingSimulator()
    usage = simulator.bill(outline("a", "b"), (), CLAUDE, 0.0, output_tokens=7)
    assert buckets(usage) == (200, 0, 0, 0)
    assert usage.output_tokens == 7
    assert len(simulator) == 0


def test_the_first_request_writes_up_to_its_last_point_and_the_next_reads_it() -> None:
    simulator = BillingSimulator()
    assert buckets(simulator.bill(outline("a", "b"), [CachePoint(0)], CLAUDE, 0.0)) == (100, 0, 100, 0)
    assert buckets(simulator.bill(outline("a", "c"), [CachePoint(1)], CLAUDE, 1.0)) == (0, 100, 100, 0)


def test_an_hour_is_written_up_to_its_last_point_and_five_minutes_behind_it() -> None:
    points = [CachePoint(0, "1h"), CachePoint(2, "1h"), CachePoint(3, "5m")]
    assert buckets(BillingSimulator().bill(outline(*"abcde"), points, CLAUDE, 0.0)) == (100, 0, 100, 300)


@pytest.mark.parametrize(("ttl", "seconds"), [("5m", 300), ("1h", 3600)])
def test_an_entry_lives_until_its_ttl_has_passed_since_its_last_read(ttl: str, seconds: float) -> None:
    """To the second: at its end it is gone."""
    simulator = BillingSimulator()
    points = [CachePoint(0, ttl)]
    simulator.bill(outline("a"), points, CLAUDE, 0.0)
    assert simulator.bill(outline("a"), points, CLAUDE, seconds - 1).cache_read_tokens == 100
    assert simulator.bill(outline("a"), points, CLAUDE, 2 * seconds - 2).cache_read_tokens == 100
    assert simulator.bill(outline("a"), points, CLAUDE, 3 * seconds - 2).cache_read_tokens == 0


def test_reading_a_longer_prefix_does_not_refresh_a_shorter_one() -> None:
    simulator = BillingSimulator()
    simulator.bill(outline("a", "b"), [CachePoint(0), CachePoint(1)], CLAUDE, 0.0)
    assert simulator.bill(outline("a", "b"), [CachePoint(1)], CLAUDE, 200.0).cache_read_tokens == 200
    assert simulator.bill(outline("a", "x"), [CachePoint(0)], CLAUDE, 400.0).cache_read_tokens == 0


@pytest.mark.parametrize(("added", "read"), [(0, 100), (21, 100), (22, 0)])
def test_a_point_sees_an_entry_at_most_21_blocks_behind_it(added: int, read: int) -> None:
    simulator = BillingSimulator()
    simulator.bill(outline("a"), [CachePoint(0)], CLAUDE, 0.0)
    longer = outline("a", *(str(number) for number in range(added)))
    assert simulator.bill(longer, [CachePoint(added)], CLAUDE, 1.0).cache_read_tokens == read


def test_without_a_look_back_an_entry_is_read_exactly_where_a_point_stands() -> None:
    simulator = BillingSimulator()
    simulator.bill(outline("a"), [CachePoint(0)], NOVA, 0.0)
    assert buckets(simulator.bill(outline("a", "b"), [CachePoint(1)], NOVA, 1.0)) == (0, 0, 200, 0)
    assert buckets(simulator.bill(outline("a", "c"), [CachePoint(0), CachePoint(1)], NOVA, 1.0)) == (0, 100, 100, 0)


@pytest.mark.parametrize(("tokens", "written"), [(99, 0), (100, 100), (1000, 1000), (1001, 0)])
def test_a_point_below_the_minimum_or_above_the_maximum_does_nothing(tokens: int, written: int) -> None:
    """The bounds hold for the whole prefix, and are themselves within."""
    usage = BillingSimulator().bill(outline("a", tokens=tokens), [CachePoint(0)], NOVA, 0.0)
    assert usage.cache_write_tokens == written


def test_blocks_of_unknown_tokens_count_nothing() -> None:
    blocks = [Block("messages", "user", "image", b"a", None), Block("messages", "user", "text", b"b", 150)]
    usage = BillingSimulator().bill(Outline.of_blocks(blocks), [CachePoint(0), CachePoint(1)], CLAUDE, 0.0)
    assert buckets(usage) == (0, 0, 150, 0)


def test_each_model_profile_and_region_has_a_cache_of_its_own() -> None:
    simulator = BillingSimulator()
    models = [CLAUDE, replace(CLAUDE, invoke_id="us.claude"), replace(CLAUDE, region="eu-west-1")]
    for expected in (0, 100):
        for model in models:
            assert simulator.bill(outline("a"), [CachePoint(0)], model, 0.0).cache_read_tokens == expected


def test_what_is_written_can_be_read_once_the_first_token_is_out() -> None:
    simulator = BillingSimulator()
    simulator.bill(outline("a"), [CachePoint(0)], CLAUDE, 0.0, first_token_after=2.0)
    assert simulator.bill(outline("a"), [CachePoint(0, "1h")], CLAUDE, 1.0).cache_read_tokens == 0
    assert simulator.bill(outline("a"), [CachePoint(0)], CLAUDE, 2.0).cache_read_tokens == 100
    assert simulator.bill(outline("a"), [CachePoint(0)], CLAUDE, 3000.0).cache_read_tokens == 100


def test_of_two_in_flight_that_write_the_same_the_longer_ttl_holds() -> None:
    simulator = BillingSimulator()
    for ttl in ("1h", "5m"):
        simulator.bill(outline("a"), [CachePoint(0, ttl)], CLAUDE, 0.0, first_token_after=2.0)
    assert simulator.bill(outline("a"), [CachePoint(0)], CLAUDE, 1000.0).cache_read_tokens == 100


def test_an_hour_behind_five_minutes_carries_the_whole_prefix_but_not_conservatively() -> None:
    """No measurement of it is known, so both readings can be had."""
    read = []
    for conservative in (False, True):
        simulator = BillingSimulator(conservative=conservative)
        simulator.bill(outline("a"), [CachePoint(0, "5m")], CLAUDE, 0.0)
        written = simulator.bill(outline("a", "b"), [CachePoint(1, "1h")], CLAUDE, 10.0)
        assert buckets(written) == (0, 100, 0, 100)
        read.append(simulator.bill(outline("a", "b"), [CachePoint(1)], CLAUDE, 1000.0).cache_read_tokens)
    assert read == [200, 0]


def test_it_tells_what_could_be_read_wherever_a_point_would_stand() -> None:
    simulator = BillingSimulator()
    assert simulator.readable(outline("a"), CLAUDE, 0.0) is None
    simulator.bill(outline("a", "b"), [CachePoint(0, "1h"), CachePoint(1)], CLAUDE, 0.0)
    assert simulator.readable(outline("a", "b", "c"), CLAUDE, 299.0) == CachePoint(1, "5m")
    assert simulator.readable(outline("a", "b", "c"), CLAUDE, 300.0) == CachePoint(0, "1h")


def test_a_request_that_comes_before_the_last_one_is_an_error() -> None:
    simulator = BillingSimulator()
    simulator.bill(outline("a"), (), CLAUDE, 5.0)
    with pytest.raises(InvalidRequestError, match="order of time"):
        simulator.bill(outline("a"), (), CLAUDE, 4.0)


def test_expired_entries_are_dropped() -> None:
    simulator = BillingSimulator()
    for number in range(20_000):
        simulator.bill(outline(str(number)), [CachePoint(0)], CLAUDE, float(number))
    assert len(simulator) <= 4097


def message(role: str, *kinds: str) -> list[Block]:
    return [Block("messages", role, kind, b"%d" % number, 100) for number, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("blocks", "points", "model", "told"),
    [
        (message("user", *["text"] * 5), [CachePoint(at) for at in range(5)], CLAUDE, "takes 4"),
        (message("user", "text"), [CachePoint(0)], replace(CLAUDE, cache=CacheRules()), "takes 0"),
        (message("user", "text"), [CachePoint(1)], CLAUDE, "a prompt of 1"),
        (message("user", "text"), [CachePoint(-1)], CLAUDE, "a prompt of 1"),
        (message("user", "text"), [CachePoint(0), CachePoint(0)], CLAUDE, "behind block 0"),
        (message("user", "text", "text"), [CachePoint(0, "5m"), CachePoint(1, "1h")], CLAUDE, "longer"),
        (message("user", "text"), [CachePoint(0, "1h")], NOVA, "TTLs 5m"),
        (message("assistant", "reasoning"), [CachePoint(0)], CLAUDE, "after a reasoning"),
        ([Block("tools", None, "tool", b"t", 100)], [CachePoint(0)], NOVA, "none in tools"),
        (message("user", "text", "tool_result"), [CachePoint(0)], NOVA, "tool result"),
    ],
)
def test_points_that_bedrock_would_refuse_are_an_error(
    blocks: list[Block], points: list[CachePoint], model: Model, told: str
) -> None:
    """A policy that breaks the rules is seen, not billed."""
    with pytest.raises(InvalidRequestError, match=told):
        BillingSimulator().bill(Outline.of_blocks(blocks), points, model, 0.0)


def test_whether_a_block_takes_a_point_is_told() -> None:
    blocks = Outline.of_blocks([*message("user", "text", "text"), *message("assistant", "reasoning")])
    assert [takes_point(blocks, index, replace(RULES, minimum_tokens=150)) for index in range(3)] == [
        False,
        True,
        False,
    ]
