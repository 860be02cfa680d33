"""Traces: plain JSON that tells all of it, and nothing of what was said."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from pointsman import Block, CachePoint, Catalog, Outline, Placement, Price, Usage
from pointsman.adapt import Change
from pointsman.cache.misses import Evicted
from pointsman.documents import Told
from pointsman.outline import Prefix
from pointsman.trace import Attempt, Trace

MODEL = replace(
    Catalog.default().resolve("amazon.nova-pro-v1:0"),
    price=Price(input=10, output=20, cache_read=1, cache_write={"5m": 12}),
)
OUTLINE = Outline.of_blocks([Block("system", None, "text", b"1", 2_000), Block("messages", "user", "text", b"2", 500)])
WHOLE = Trace(
    asked="a router",
    model=MODEL,
    invoked_model_id="some-arn",
    status="complete",
    router="a router",
    changes=(Change("inferenceConfig.maxTokens", "lowered"),),
    documents=Told(stay=3, anew=1, resent=2, loose=4, named=1, not_found=("handbook#7",)),
    placement=Placement(
        points=(CachePoint(0), CachePoint(1)),
        by_caller=frozenset({1}),
        refused=((CachePoint(1, "1h"), "TTL 1h became 5m"),),
    ),
    outline=OUTLINE,
    expected_read=Prefix(0, b"1", 2_000),
    attempts=(Attempt("another", "ThrottlingException"),),
    usage=Usage(input_tokens=2_500, cache_read_tokens=2_000, cache_write_tokens=500, output_tokens=100),
    advice_failures=("routing: KeyError: 'x'",),
    miss=Evicted(tokens=1_500, idle_seconds=12.0),
)


def test_a_trace_is_plain_json() -> None:
    """With every part of the story; money in decimal strings."""
    told = WHOLE.to_dict()
    assert json.loads(json.dumps(told)) == told
    cost = {bucket: Decimal(sum_) for bucket, sum_ in told.pop("cost").items()}
    assert cost == {
        "uncached": 0,
        "cache_read": Decimal("0.002"),
        "cache_write": Decimal("0.006"),
        "output": Decimal("0.002"),
        "total": Decimal("0.01"),
    }
    assert Decimal(told.pop("cost_without_cache")) == Decimal("0.027")
    assert told == {
        "asked": "a router",
        "router": "a router",
        "model": "amazon.nova-pro-v1:0",
        "invoked_model_id": "some-arn",
        "status": "complete",
        "decision": None,
        "changes": [{"field": "inferenceConfig.maxTokens", "done": "lowered"}],
        "placement": {
            "points": [
                {"after": 0, "ttl": "5m", "section": "system", "tokens": 2_000, "by_caller": False},
                {"after": 1, "ttl": "5m", "section": "messages", "tokens": 2_500, "by_caller": True},
            ],
            "refused": [{"after": 1, "ttl": "1h", "reason": "TTL 1h became 5m"}],
            "just_below": [],
        },
        "expected_read_tokens": 2_000,
        "miss": {
            "kind": "evicted",
            "tokens": 1_500,
            "idle_seconds": 12.0,
            "explanation": (
                "The prefix, used 12 seconds ago, should have been readable: Bedrock has let it go. It is written anew."
            ),
        },
        "drift": None,
        "documents": {
            "stay": 3,
            "anew": 1,
            "resent": 2,
            "loose": 4,
            "named": 1,
            "cut": 0,
            "not_found": ["handbook#7"],
            "as_written": None,
        },
        "attempts": [{"model": "another", "error": "ThrottlingException"}],
        "usage": {
            "input_tokens": 2_500,
            "cache_read_tokens": 2_000,
            "cache_write_tokens": 500,
            "cache_write_1h_tokens": 0,
            "output_tokens": 100,
        },
        "advice_failures": ["routing: KeyError: 'x'"],
        "session": None,
        "keep_alive": False,
    }


@pytest.mark.parametrize(
    "trace",
    [replace(WHOLE, usage=None), replace(WHOLE, model=replace(MODEL, price=None))],
    ids=["no usage", "no price"],
)
def test_what_is_unknown_is_none(trace: Trace) -> None:
    """Never zero: a stream that was left, a model that nobody prices."""
    told = trace.to_dict()
    assert told["cost"] is None or told["cost"]["total"] is None
    assert told["cost_without_cache"] is None
    assert json.dumps(told)


def test_costs_are_decimals() -> None:
    """For who adds them up."""
    assert WHOLE.cost is not None
    assert WHOLE.cost.total == Decimal("0.01")
    assert WHOLE.cost_without_cache == Decimal("0.027")
    assert replace(WHOLE, usage=None).cost is None


def test_a_trace_without_an_outline_has_no_points() -> None:
    """Where the prompt could not be outlined, none was placed."""
    assert replace(WHOLE, outline=None).to_dict()["placement"] == {"points": [], "refused": [], "just_below": []}


def test_what_stands_just_below_the_minimum_is_told() -> None:
    """Where no point was placed, too: that is when one wants to know."""
    short = Outline.of_blocks([Block("tools", None, "tool", b"1", 900), Block("messages", "user", "text", b"2", 50)])
    placement = Placement(just_below=(short.prefix(0), short.prefix(1)))
    told = replace(WHOLE, placement=placement, outline=short).to_dict()["placement"]
    assert told["points"] == []
    assert told["just_below"] == [
        {"section": "tools", "tokens": 900, "minimum_tokens": 1_024},
        {"section": "messages", "tokens": 950, "minimum_tokens": 1_024},
    ]
