"""A replay: bills by hand, the order of time, policies of one's own, what hindsight pays, and what the owner paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Block, CachePoint, Catalog, InvalidRequestError, Ledger, Model, Outline, Placement, Price, Usage
from pointsman import place as ours
from pointsman.evaluation.policies import PLACEMENTS, ExpectedQuality, as_written
from pointsman.evaluation.replay import Replay, bounds_of, replay
from pointsman.evaluation.traffic import RecordedRequest
from pointsman.routing import Router, RoutingCriteria

CLAUDE = Catalog.default().resolve("anthropic.claude-sonnet-4-5-20250929-v1:0")
PRICE = Price(input=1, output=5, cache_read="0.1", cache_write={"5m": "1.25", "1h": 2})  # type: ignore[arg-type]  # taken for Decimals
MODEL = replace(CLAUDE, price=PRICE)
NOVA = Catalog.default().resolve("amazon.nova-pro-v1:0")
PER_MILLION = 1_000_000


def outline(*tokens: int, name: str = "a", tools: int = 0) -> Outline:
    """Messages of these tokens, behind tools if there are any; each start of it is the same in every outline."""
    blocks = [Block("tools", None, "tool", f"{name}-tools".encode(), tools)] if tools else []
    blocks += [Block("messages", "user", "text", f"{name}-{i}".encode(), count) for i, count in enumerate(tokens)]
    return Outline.of_blocks(blocks)


def request(
    at: float, *tokens: int, session: str = "a", output: int = 0, usage: Usage | None = None
) -> RecordedRequest:
    """A request of a session whose messages have these tokens."""
    return RecordedRequest(session, at, "", outline(*tokens, name=session), output, usage)


def micro(dollars: Decimal) -> Decimal:
    """USD as tokens at the price of input."""
    return dollars * PER_MILLION


class TestBills:
    def test_a_conversation_is_billed_as_by_hand(self) -> None:
        """2,000 written; 60 s later 2,000 read and 500 written; after an hour all 2,600 again. Output is the same."""
        requests = [request(0, 2000, output=10), request(60, 2000, 500, output=20), request(4000, 2000, 500, 100)]
        told = replay(requests, model=MODEL, place=PLACEMENTS["end-5m"])
        assert micro(told.bill.cache_write_5m) == Decimal("1.25") * (2000 + 500 + 2600)
        assert micro(told.bill.cache_read) == 200
        assert micro(told.bill.output) == 150
        assert told.bill.uncached == told.bill.cache_write_1h == 0
        assert micro(told.without_cache) == 2000 + 2500 + 2600 + 150
        assert told.usage == Usage(input_tokens=7100, cache_read_tokens=2000, cache_write_tokens=5100, output_tokens=30)
        assert sum(told.bill.share(name) for name in ("cache_read", "cache_write_5m", "output")) == pytest.approx(1)

    def test_without_points_the_bill_is_that_without_caching(self) -> None:
        """By each session too."""
        told = replay([request(0, 2000), request(9, 2000, 500)], model=MODEL, place=PLACEMENTS["none"])
        assert told.bill.total == told.without_cache == told.bill.uncached
        assert told.ratio == 1.0
        assert told.worst_session is not None
        assert told.worst_session.ratio == 1.0

    def test_the_worst_session_is_the_one_that_caching_did_least_for(self) -> None:
        """A prompt that never comes back costs a quarter more."""
        requests = [request(0, 2000), request(60, 2000, 10), request(90, 3000, session="once")]
        told = replay(requests, model=MODEL, place=PLACEMENTS["end-5m"])
        assert told.worst_session is not None
        assert (told.worst_session.session, told.worst_session.ratio) == ("once", 1.25)
        assert told.sessions == 2

    def test_a_dearer_tier_counts_for_the_whole_prompt(self) -> None:
        """Above 2,100 tokens here; what it would have cost without caching too."""
        tiered = replace(MODEL, price=replace(PRICE, tiers=((2100, Price(input=10, output=5)),)))  # type: ignore[arg-type]
        told = replay([request(0, 2000), request(9, 2000, 500)], model=tiered, place=PLACEMENTS["none"])
        assert micro(told.bill.uncached) == micro(told.without_cache) == 2000 + 25000

    def test_requests_are_taken_in_the_order_of_time(self) -> None:
        """Logs of several writers are not."""
        requests = [request(60, 2000, 500), request(0, 2000), request(4000, 2000, 500, 100)]
        for name, placement in PLACEMENTS.items():
            told = [replay(one, model=MODEL, place=placement).bill for one in (requests, sorted(requests, key=at))]
            assert told[0] == told[1], name

    def test_no_token_lives_longer_than_it_was_written_for(self) -> None:
        """An hour's point behind a prefix of five minutes doesn't carry that prefix through the hour."""

        def first_5m_then_1h(outline: Outline, *_: object) -> Placement:
            last = len(outline.blocks) - 1
            return Placement((CachePoint(last, "1h" if last == 1 else "5m"),))

        requests = [request(0, 2000), request(60, 2000, 500), request(500, 2000, 500, 100)]
        told = replay(requests, model=MODEL, place=first_5m_then_1h)
        assert told.usage.cache_read_tokens == 2000

    def test_nothing_comes_to_nothing(self) -> None:
        """An empty log is no error here."""
        told = replay([], model=MODEL)
        assert (told.requests, told.bill.total, told.ratio, told.worst_session) == (0, 0, 0.0, None)

    def test_an_unknown_price_is_an_error_that_names_it(self) -> None:
        """Never zero, never a guess."""
        unpriced = replace(MODEL, price=None)
        with pytest.raises(InvalidRequestError, match="the price of anthropic"):
            replay([request(0, 2000)], model=unpriced)
        half = replace(MODEL, price=Price(input=1, output=5, cache_write={"5m": 1}))  # type: ignore[arg-type]
        with pytest.raises(InvalidRequestError, match="no known price for cache_read, cache_write_1h"):
            replay([request(0, 2000), request(1, 2000, 9)], model=half, place=PLACEMENTS["end-5m"])

    def test_each_request_goes_to_the_model_that_the_log_names(self) -> None:
        """Where none is named; and a log that names none needs one."""
        requests = [request(at, 2000)._replace(model=f"us.{CLAUDE.id}") for at in (0.0, 1.0)]
        told = replay([*requests, request(2, 2000)._replace(model=NOVA.id)])
        assert told.requests_of == {CLAUDE.id: 2, NOVA.id: 1}
        with pytest.raises(InvalidRequestError, match="the log names no model"):
            replay([request(0, 2000)])


def at(request: RecordedRequest) -> float:
    """When it was sent."""
    return request.at


class TestOwnersBill:
    def test_what_the_owner_paid_is_held_against_the_replay(self) -> None:
        """Only requests whose usage is known count, at the tokens that Bedrock counted: here twice the estimate."""
        paid = Usage(input_tokens=4000, output_tokens=100)
        requests = [request(0, 2000, output=100, usage=paid), request(9, 2000, 10)]
        told = replay(requests, model=MODEL, place=PLACEMENTS["end-5m"])
        assert told.owners is not None
        assert told.owners.requests == 1
        assert micro(told.owners.billed) == 4000 + 500
        assert micro(told.owners.replayed) == Decimal("1.25") * 4000 + 500
        assert told.owners.saved == pytest.approx(-1000 / 4500)

    def test_a_log_without_usage_tells_nothing_of_it(self) -> None:
        """Unknown is None."""
        assert replay([request(0, 2000)], model=MODEL).owners is None


class TestPolicies:
    def test_a_placement_of_ones_own_is_called_as_ours_is(self) -> None:
        """And the ledger that it gets knows what was sent before."""
        seen = []

        def mine(outline: Outline, model: Model, ledger: Ledger, now: float) -> Placement:
            seen.append((now, ledger.warm_prefix(outline, model, now) is not None))
            return Placement((CachePoint(0),))

        replay([request(0, 2000), request(60, 2000, 500)], model=MODEL, place=mine)
        assert seen == [(0, False), (60, True)]

    def test_a_placement_that_bedrock_would_refuse_is_an_error(self) -> None:
        """A policy that breaks the rules must be seen."""
        five = Placement(tuple(CachePoint(i) for i in range(5)))
        with pytest.raises(InvalidRequestError):
            replay([request(0, *[2000] * 5)], model=MODEL, place=lambda *_: five)

    def test_a_router_chooses_each_requests_model(self) -> None:
        """Each candidate comes with the outline; caches are the models' own."""
        other = replace(MODEL, id="other", invoke_id="other")

        def by_length(request: RecordedRequest, candidates: Sequence[tuple[Model, Outline]], *_: object) -> Model:
            return candidates[request.outline.tokens > 2000][0]

        requests = [request(0, 2000), request(9, 2000, 500), request(20, 2000)]
        told = replay(requests, router=by_length, candidates=[MODEL, other], place=PLACEMENTS["end-5m"])
        assert told.requests_of == {MODEL.id: 2, "other": 1}
        assert told.usage.cache_read_tokens == 2000
        with pytest.raises(InvalidRequestError, match="needs candidates"):
            replay(requests, router=by_length)

    def test_a_prompt_router_decides_on_the_quality_that_the_log_tells(self) -> None:
        """The dear model where it is expected to be needed; without expectations, an error that says so."""
        cheap, dear = (
            replace(MODEL, id="cheap", invoke_id="cheap"),
            replace(
                MODEL,
                id="dear",
                invoke_id="dear",
                price=Price(input=10, output=50),  # type: ignore[arg-type]
            ),
        )
        router = Router(
            models=["cheap", "dear"],
            fallback_model="dear",
            criteria=RoutingCriteria(response_quality_difference=0.1),
        )
        quality = ({"cheap": 0.9, "dear": 0.95}, {"cheap": 0.2, "dear": 0.95})
        requests = [request(float(i), 900)._replace(expected_quality=one) for i, one in enumerate(quality)]
        run = {"router": ExpectedQuality(router), "candidates": [cheap, dear], "place": PLACEMENTS["none"]}
        assert replay(requests, **run).requests_of == {"cheap": 1, "dear": 1}  # type: ignore[arg-type]
        with pytest.raises(InvalidRequestError, match="tells no expected quality of cheap"):
            replay([request(0, 900)], **run)  # type: ignore[arg-type]


class TestSimplePlacements:
    def test_each_lays_its_points_where_its_name_says(self) -> None:
        """Tools, messages of 2,000, 600 and 300: the last cut at least 256 before the end is before the last one."""
        prompt = outline(2000, 600, 300, tools=1500)
        laid = {name: placement(prompt, MODEL, Ledger(), 0.0).points for name, placement in PLACEMENTS.items()}
        assert laid["none"] == ()
        assert laid["end-5m"] == (CachePoint(3, "5m"),)
        assert laid["tools-system-end-5m"] == (CachePoint(0, "5m"), CachePoint(3, "5m"))
        assert laid["everywhere-1h"] == (CachePoint(0, "1h"), CachePoint(2, "1h"), CachePoint(3, "1h"))

    def test_no_point_stands_where_it_would_be_refused_or_cache_nothing(self) -> None:
        """Not behind reasoning, not below the minimum, not with a TTL or in a section that the model hasn't."""
        blocks = [*outline(2000, 700).blocks, Block("messages", "user", "reasoning", b"r", 9)]
        assert PLACEMENTS["end-5m"](Outline.of_blocks(blocks), MODEL, Ledger(), 0.0).points == (CachePoint(1),)
        short = outline(500, 300, tools=200)
        assert PLACEMENTS["everywhere-1h"](short, MODEL, Ledger(), 0.0).points == ()
        on_nova = PLACEMENTS["everywhere-1h"](outline(2000, 300, tools=1500), NOVA, Ledger(), 0.0).points
        assert on_nova == (CachePoint(1, "5m"), CachePoint(2, "5m"))
        nothing = Catalog.default().resolve("meta.llama3-1-8b-instruct-v1:0")
        assert PLACEMENTS["end-5m"](outline(2000), nothing, Ledger(), 0.0).points == ()

    def test_on_nova_none_stands_in_a_message_with_a_tool_result(self) -> None:
        """The one before it gets the point."""
        blocks = [
            Block("messages", "user", "text", b"1", 2000),
            Block("messages", "assistant", "text", b"2", 100),
            Block("messages", "user", "tool_result", b"3", 100),
            Block("messages", "user", "text", b"4", 100),
        ]
        assert PLACEMENTS["end-5m"](Outline.of_blocks(blocks), NOVA, Ledger(), 0.0).points == (CachePoint(1),)

    def test_what_is_written_is_kept_as_far_as_the_model_takes_it(self) -> None:
        """And nothing is added."""
        pointed = outline(2000, 500, tools=2000)._replace(points=(CachePoint(0), CachePoint(1, "1h")))
        assert as_written(pointed, CLAUDE, Ledger(), 0.0).points == (CachePoint(0), CachePoint(1))
        nova = as_written(pointed, NOVA, Ledger(), 0.0)
        assert nova.points == (CachePoint(1),)
        assert nova.refused[0][0] == CachePoint(0)
        assert as_written(outline(2000), CLAUDE, Ledger(), 0.0).points == ()


@st.composite
def traffic(draw: st.DrawFn) -> list[RecordedRequest]:
    """A few conversations that grow, with gaps within and beyond each TTL."""
    requests = []
    for session in "abc"[: draw(st.integers(1, 3))]:
        at, tokens = draw(st.floats(0, 100)), [draw(st.integers(500, 3000))]
        for _ in range(draw(st.integers(1, 5))):
            requests.append(request(at, *tokens, session=session, output=draw(st.integers(0, 50))))
            at += draw(st.sampled_from([5.0, 200.0, 299.0, 301.0, 1000.0, 4000.0]))
            tokens.append(draw(st.integers(10, 2000)))
    return requests


class TestBounds:
    @settings(max_examples=150, deadline=None)
    @given(traffic(), st.sampled_from([*PLACEMENTS]))
    def test_no_placement_goes_below_the_bound(self, requests: list[RecordedRequest], name: str) -> None:
        """And he who knows the future doesn't either."""
        bounds = bounds_of(requests, model=MODEL)
        billed = replay(requests, model=MODEL, place=PLACEMENTS[name]).bill
        assert bounds.lower <= min(billed.input, bounds.best)

    @pytest.mark.parametrize("name", PLACEMENTS)
    def test_a_bill_of_a_few_tokens_is_not_rounded_below_it(self, name: str) -> None:
        """A prompt that is too short to be cached costs exactly its bound."""
        cheap = replace(MODEL, price=replace(PRICE, input=Decimal("0.11")))
        requests = [request(0, 9), request(1, 49, session="b")]
        billed = replay(requests, model=cheap, place=PLACEMENTS[name]).bill
        assert billed.input == bounds_of(requests, model=cheap).lower == Decimal("0.00000638")

    @settings(max_examples=100, deadline=None)
    @given(traffic(), st.sampled_from([*PLACEMENTS]))
    def test_a_replay_adds_up(self, requests: list[RecordedRequest], name: str) -> None:
        """Every token is in one bucket, every request in one session; the same again gives the same."""
        told = replay(requests, model=MODEL, place=PLACEMENTS[name])
        assert told.usage.input_tokens == sum(one.outline.tokens for one in requests)
        assert told.usage.output_tokens == sum(one.output_tokens for one in requests)
        assert (told.requests, told.sessions) == (len(requests), len({one.session for one in requests}))
        assert float(told.bill.total) == pytest.approx(priced(told), abs=1e-5)
        assert told == replay(requests, model=MODEL, place=PLACEMENTS[name])

    def test_money_is_told_without_exponents(self) -> None:
        """However little it is."""
        told = replay([request(0, 1), request(1, 0, session="b")], model=replace(MODEL, price=replace(PRICE, input=0)))
        assert (told.to_dict()["bill"]["total"], told.to_dict()["without_cache"]) == ("0", "0")
        told = replay([request(0, 1)], model=MODEL, place=PLACEMENTS["none"])
        assert told.to_dict()["bill"]["uncached"] == "0.000001"

    def test_bounds_of_several_models_add_up(self) -> None:
        """A cache is one model's own."""
        named = [request(0, 2000)._replace(model=one) for one in (CLAUDE.id, NOVA.id)]
        assert bounds_of(named) == tuple(map(sum, zip(bounds_of(named[:1]), bounds_of(named[1:]), strict=True)))


def priced(told: Replay) -> float:
    """The usage at MODEL's prices, in USD."""
    usage = told.usage
    tokens = usage.uncached_tokens + 0.1 * usage.cache_read_tokens + 1.25 * usage.cache_write_5m_tokens
    return (tokens + 2 * usage.cache_write_1h_tokens + 5 * usage.output_tokens) / PER_MILLION


def test_ours_is_among_the_placements() -> None:
    """By the name of the package."""
    assert PLACEMENTS["pointsman"] is ours
