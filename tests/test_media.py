"""Blocks whose bytes don't tell their tokens: what was billed for them is known from then on."""

from __future__ import annotations

from typing import Any

import pytest
from pdfs import pdf

from pointsman import Client, Usage
from pointsman.local import LocalEndpoint
from pointsman.tokens.media import BilledMedia

HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"


def test_a_bill_is_shared_among_the_new_ones() -> None:
    """Evenly, less what the others are known to take."""
    media = BilledMedia()
    assert media.tokens("a", [b"1"]) == [None]
    media.learn("a", [b"1", b"2"], 3_000)
    assert media.tokens("a", [b"1", b"2", b"3"]) == [1_500, 1_500, None]
    media.learn("a", [b"1", b"3"], 2_500)
    assert media.tokens("a", [b"1", b"2", b"3"]) == [1_500, 1_500, 1_000]


def test_a_bill_corrects_those_that_are_known() -> None:
    """In proportion; also where it leaves nothing for a new one."""
    media = BilledMedia()
    media.learn("a", [b"1"], 1_000)
    media.learn("a", [b"2"], 3_000)
    media.learn("a", [b"1", b"2"], 2_000)
    assert media.tokens("a", [b"1", b"2"]) == [500, 1_500]
    media.learn("a", [b"1", b"3"], 400)
    assert media.tokens("a", [b"1", b"3"]) == [200, 200]


def test_a_bill_that_leaves_nothing_for_them_says_nothing() -> None:
    """The text was taken for too much."""
    media = BilledMedia()
    media.learn("a", [b"1"], 0)
    media.learn("a", [b"1"], -20)
    media.learn("a", [], 100)
    assert media.tokens("a", [b"1"]) == [None]


def test_models_count_differently() -> None:
    """Another model's count is better than none, the last one first."""
    media = BilledMedia()
    media.learn("a", [b"1"], 1_000)
    assert media.tokens("b", [b"1"]) == [1_000]
    media.learn("b", [b"1"], 4_000)
    assert [media.tokens(model, [b"1"]) for model in "abc"] == [[1_000], [4_000], [4_000]]


def test_what_was_not_met_for_long_is_forgotten() -> None:
    """So that it does not grow without end."""
    media = BilledMedia(most=2)
    for name in (b"1", b"2", b"1", b"3"):
        media.learn("a", [name], 100)
    assert media.tokens("a", [b"1", b"2", b"3"]) == [100, None, 100]


def test_a_router_weighs_documents_by_what_they_came_to(endpoint: LocalEndpoint) -> None:
    """From the second request on, and on the other model too."""
    client = Client(endpoint.client("bedrock-runtime"), clock=endpoint.settings.clock)
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [pdf("signals"), pdf("levers", rules=90), {"text": "Define a signal."}]}
    ]
    first = client.converse(modelId="Anthropic Prompt Router", messages=messages)
    answer = {"role": "user", "content": [{"text": "Define a lever."}]}
    second = client.converse(
        modelId="Anthropic Prompt Router", messages=[*messages, first["output"]["message"], answer]
    )
    trace, usage = second["pointsman"], first["pointsman"]["usage"]
    assert not trace["advice_failures"]
    assert usage["input_tokens"] > 1_500
    for one in trace["decision"]["candidates"]:
        catalog = client.context.catalog
        price = catalog.resolve(one["model"]).price
        assert price is not None
        warm = one["model"] == first["pointsman"]["invoked_model_id"]
        floor = Usage(input_tokens=usage["input_tokens"], cache_read_tokens=usage["input_tokens"] if warm else 0)
        least = float(price.input) * floor.uncached_tokens + float(price.cache_read or 0) * floor.cache_read_tokens
        assert float(one["expected_cost"]) > 0.97 * least / 1e6


def test_a_placement_knows_where_documents_end(endpoint: LocalEndpoint) -> None:
    """What it tells of its points, and what it expects to be read, comes to what is billed."""
    client = Client(endpoint.client("bedrock-runtime"), clock=endpoint.settings.clock)
    opening = {"role": "user", "content": [pdf("signals"), {"text": "Why?"}]}
    reply = client.converse(modelId=HAIKU, messages=[opening])
    endpoint.advance(20)
    messages = [opening, reply["output"]["message"], {"role": "user", "content": [{"text": "And then?"}]}]
    trace = client.converse(modelId=HAIKU, messages=messages)["pointsman"]
    read, written = trace["usage"]["cache_read_tokens"], trace["usage"]["cache_write_tokens"]
    assert trace["expected_read_tokens"] == read > 600
    assert trace["placement"]["points"][-1]["tokens"] == pytest.approx(read + written, rel=0.02)
