"""The choice of a model: the design's rules as a table, and the expected bills that they compare."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import (
    Block,
    CachePoint,
    Catalog,
    Ledger,
    Model,
    Outline,
    Placement,
    Prompt,
    Router,
    RoutingCriteria,
    Usage,
)
from pointsman.errors import InvalidRouterError
from pointsman.pricing import cost_of
from pointsman.routing import Candidate, Decision, Prediction, QualityPredictor, RouterRegistry, choose
from pointsman.routing.router import expected_cost, expected_usage, ranked
from pointsman.tokens import EstimatedTokens

CATALOG = Catalog.default()
T0 = 1_800_000_000.0
LONG = "Signal nine protects section nine. " * 400


def candidate(name: str, quality: float, cost: str | None) -> Candidate:
    model = Model(id=name, invoke_id=name, name=name)
    return Candidate(model=model, expected_quality=quality, expected_cost=None if cost is None else Decimal(cost))


def chosen(
    *candidates: tuple[str, float, str | None], d: float = 0.1, fallback: str = "F", resolution: float = 0.0
) -> str:
    found, _ = choose(
        [candidate(*one) for one in candidates],
        fallback_model=fallback,
        response_quality_difference=d,
        resolution=resolution,
    )
    return found.model.id


# --- the rules --------------------------------------------------------------------------------------------------

F = ("F", 0.7, "3")

RULES = [
    ("alone, the fallback model", [F], 0.1, "F"),
    ("nothing cheaper comes within d", [F, ("a", 0.59, "1")], 0.1, "F"),
    ("the cheaper one that loses at most d", [F, ("a", 0.65, "1")], 0.1, "a"),
    ("the cheapest of several within d", [F, ("a", 0.65, "2"), ("b", 0.62, "1")], 0.1, "b"),
    ("within d, but dearer", [F, ("a", 0.65, "4")], 0.1, "F"),
    ("better by more than d wins, though dearer", [F, ("a", 0.85, "9")], 0.1, "a"),
    ("the cheapest of those better by more than d", [F, ("a", 0.95, "9"), ("b", 0.85, "8")], 0.1, "b"),
    ("better by more than d goes before cheaper within d", [F, ("a", 0.85, "9"), ("b", 0.69, "1")], 0.1, "a"),
    ("better, but not by more than d, and dearer", [F, ("a", 0.75, "9")], 0.1, "F"),
    ("better, not by more than d, and cheaper", [F, ("a", 0.75, "1")], 0.1, "a"),
    ("d = 0: any gain counts", [F, ("a", 0.71, "9")], 0.0, "a"),
    ("d = 0: no loss is taken", [F, ("a", 0.69, "1")], 0.0, "F"),
    ("d = 0: as good and cheaper", [F, ("a", 0.7, "1")], 0.0, "a"),
    ("d = 1: the cheapest of all", [F, ("a", 0.0, "1"), ("b", 1.0, "2")], 1.0, "a"),
    ("tie in cost: the higher quality", [F, ("a", 0.65, "1"), ("b", 0.66, "1")], 0.1, "b"),
    ("tie in cost and quality: the fallback model", [("a", 0.7, "3"), F], 0.1, "F"),
    ("tie in all: the order given", [F, ("a", 0.65, "1"), ("b", 0.65, "1")], 0.1, "a"),
    ("tie in all: the order given, turned", [F, ("b", 0.65, "1"), ("a", 0.65, "1")], 0.1, "b"),
    ("without a price only as the fallback model", [F, ("a", 0.7, None)], 0.1, "F"),
    ("without a price not even where it is better", [F, ("a", 0.99, None)], 0.1, "F"),
    ("a fallback model without a price stays", [("F", 0.7, None), ("a", 0.7, "1")], 0.1, "F"),
    ("unless another one is better by more than d", [("F", 0.7, None), ("a", 0.9, "1")], 0.1, "a"),
    ("no fallback model: the best is the anchor", [("a", 0.9, "5"), ("b", 0.85, "1"), ("c", 0.2, "0.1")], 0.1, "b"),
    ("no fallback model and nothing priced: the best", [("a", 0.5, None), ("b", 0.9, None)], 0.1, "b"),
    ("free is cheaper than anything", [F, ("a", 0.65, "0")], 0.1, "a"),
]


@pytest.mark.parametrize(("candidates", "d", "expected"), [row[1:] for row in RULES], ids=[row[0] for row in RULES])
def test_the_rules(candidates: Sequence[tuple[str, float, str | None]], d: float, expected: str) -> None:
    """First whoever gains more than d over the fallback model, then whoever loses at most d: the cheapest of them."""
    assert chosen(*candidates, d=d) == expected


@pytest.mark.parametrize(
    ("quality", "resolution", "expected"),
    [(0.66, 0.05, "a"), (0.65, 0.05, "F"), (0.66, 0.0, "F")],
    ids=["below the resolution", "at the resolution", "without"],
)
def test_a_gap_below_the_resolution_counts_as_none(quality: float, resolution: float, expected: str) -> None:
    """So that at d = 0 an easy prompt still goes to the small model."""
    assert chosen(("F", 0.7, "3"), ("a", quality, "1"), d=0.0, resolution=resolution) == expected


def test_a_gain_below_the_resolution_is_none_either() -> None:
    """A dearer model is not chosen for a difference that the predictor can't see."""
    assert chosen(("F", 0.7, "3"), ("a", 0.74, "9"), d=0.0, resolution=0.05) == "F"


_candidates = st.lists(
    st.tuples(
        st.sampled_from("abcde"),
        st.sampled_from([0.0, 0.3, 0.5, 0.55, 0.6, 0.9, 1.0]),
        st.sampled_from([None, "0", "1", "2", "3"]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda one: one[0],
)


@settings(settings.get_profile("laws"))
@given(candidates=_candidates, d=st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0]), turned=st.randoms())
def test_the_choice_keeps_its_promise(candidates: list[tuple[str, float, str | None]], d: float, turned: Any) -> None:
    """Never more than d lost; never dearer than the fallback model without a gain; the order decides real ties only."""
    anchor = ("F", 0.55, "2")
    found = chosen(anchor, *candidates, d=d)
    qualities = {name: quality for name, quality, _ in (anchor, *candidates)}
    costs = {name: cost for name, _, cost in (anchor, *candidates)}
    assert qualities["F"] - qualities[found] <= d + 1e-9
    assert found == "F" or costs[found] is not None
    if found != "F" and Decimal(costs[found] or 0) > 2:
        assert qualities[found] - qualities["F"] > d + 1e-9
    shuffled = [anchor, *candidates]
    turned.shuffle(shuffled)
    again = chosen(*shuffled, d=d)
    assert (qualities[again], costs[again]) == (qualities[found], costs[found])


def test_the_order_of_fallback_is_that_of_the_criteria() -> None:
    """Whoever would be chosen, were the ones before not there."""
    router = Router(
        models=["a", "b", "c"], fallback_model="F", criteria=RoutingCriteria(response_quality_difference=0.1)
    )
    candidates = tuple(
        candidate(*one) for one in (("a", 0.65, "1"), ("b", 0.99, "9"), ("c", 0.3, "0.1"), ("F", 0.7, "3"))
    )
    decision = Decision(router="r", model=candidates[1].model, reason="", candidates=candidates)
    assert [model.id for model in ranked(router, decision)] == ["b", "a", "F", "c"]


# --- routers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("models", [[], (), "amazon.nova-lite-v1:0"])
def test_a_router_needs_a_list_of_models(models: Any) -> None:
    """One string is most likely a mistake, and read as letters it would be a strange one."""
    with pytest.raises(InvalidRouterError):
        Router(models=models, fallback_model="F", criteria=RoutingCriteria(response_quality_difference=0))


def test_the_fallback_model_is_always_a_candidate() -> None:
    """Listed or not, and once only; in the order given."""
    criteria = RoutingCriteria(response_quality_difference=0)
    assert Router(models=["a", "b"], fallback_model="F", criteria=criteria).model_ids == ("a", "b", "F")
    assert Router(models=["F", "b", "b"], fallback_model="F", criteria=criteria).model_ids == ("F", "b")


class _Told:
    """A predictor that was told the qualities."""

    resolution = 0.0

    def __init__(self, qualities: Mapping[str, float]) -> None:
        self.qualities = qualities

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Mapping[str, Any]:
        return {model.id: [self.qualities[model.id]] * len(prompts) for model in models}


def _decide(
    router: Router, asked: str | Prompt, *, ledger: Ledger | None = None, draw: float | None = None
) -> Decision:
    prompt = Prompt.of_text(asked) if isinstance(asked, str) else asked
    outline = prompt.outline(EstimatedTokens(), key=b"key")
    candidates = [(CATALOG.resolve(model), outline) for model in router.model_ids]
    return router.decide(prompt, candidates, ledger=ledger or Ledger(), now=T0, draw=draw)


def test_what_is_warm_sways_the_decision() -> None:
    """A dearer model that has the prompt in its cache can be the cheaper one for this request."""
    sonnet, opus = "global.anthropic.claude-sonnet-5-5", "global.anthropic.claude-opus-5-5"
    router = Router(
        models=[sonnet],
        fallback_model=opus,
        criteria=RoutingCriteria(response_quality_difference=1.0),
        predictor=_Told({CATALOG.resolve(sonnet).id: 0.5, CATALOG.resolve(opus).id: 0.5}),
    )
    cold = _decide(router, LONG * 10)
    assert cold.model.invoke_id == sonnet
    ledger = Ledger()
    outline = Prompt.of_text(LONG * 10).outline(EstimatedTokens(), key=b"key")
    usage = Usage(input_tokens=outline.tokens, cache_write_tokens=outline.tokens)
    ledger.record(outline, CATALOG.resolve(opus), Placement(points=(CachePoint(0),)), usage, T0 - 1)
    warm = _decide(router, LONG * 10, ledger=ledger)
    assert warm.model.invoke_id == opus
    assert [one.expected_quality for one in warm.candidates] == [0.5, 0.5]


def test_a_decision_tells_all_that_was_weighed() -> None:
    """Plain JSON: candidates with quality and bill, the reason, the criteria and the predictor."""
    router = RouterRegistry().router("Nova Prompt Router")
    assert router is not None
    told = _decide(router, "Say hello.").to_dict()
    assert told["router"] == "Nova Prompt Router"
    assert [one["model"] for one in told["candidates"]] == ["us.amazon.nova-lite-v1:0", "us.amazon.nova-pro-v1:0"]
    assert all(0 <= one["expected_quality"] <= 1 and Decimal(one["expected_cost"]) > 0 for one in told["candidates"])
    assert (told["response_quality_difference"], told["predictor"]) == (0.05, "shipped heads")
    assert told["reason"]


class _Telling(_Told):
    """One that was told the answers' lengths too, and what it knows them from; it has a name of its own."""

    name = "hearsay"

    def __init__(self, qualities: Mapping[str, float], output_tokens: Mapping[str, float], basis: str) -> None:
        super().__init__(qualities)
        self.output_tokens = output_tokens
        self.basis = basis

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Mapping[str, Any]:
        lengths = {model: np.full(len(prompts), tokens) for model, tokens in self.output_tokens.items()}
        basis = [self.basis] * len(prompts)
        return Prediction(super().predict(prompts, models=models), output_tokens=lengths, basis=basis)


LITE, PRO = "amazon.nova-lite-v1:0", "amazon.nova-pro-v1:0"


def _of_nova(predictor: QualityPredictor, d: float = 0.0) -> Router:
    criteria = RoutingCriteria(response_quality_difference=d)
    return Router(models=[LITE], fallback_model=PRO, criteria=criteria, predictor=predictor)


@pytest.mark.parametrize(
    ("output_tokens", "most", "expected"),
    [
        ({}, None, [300, 300]),
        ({LITE: 700.4}, None, [700, 300]),
        ({LITE: 700.4, PRO: 20.0}, None, [700, 20]),
        ({LITE: 700.4, PRO: 20.0}, 100, [100, 20]),
        ({LITE: math.nan, PRO: -3.0}, None, [300, 0]),
        ({}, 20, [20, 20]),
    ],
    ids=["nothing known", "one model's", "both", "capped by maxTokens", "NaN and negative", "nothing known, capped"],
)
def test_each_model_is_billed_for_the_answer_that_it_is_expected_to_give(
    output_tokens: Mapping[str, float], most: int | None, expected: Sequence[int]
) -> None:
    """As long as predicted, 300 tokens where that isn't known, and never more than the request allows."""
    router = _of_nova(_Telling({LITE: 0.5, PRO: 0.5}, output_tokens, "hearsay"))
    prompt = Prompt({**Prompt.of_text("Say hello.").request, "inferenceConfig": {"maxTokens": most} if most else {}})
    decision = _decide(router, prompt)
    assert [one.expected_output_tokens for one in decision.candidates] == expected
    assert [one["expected_output_tokens"] for one in decision.to_dict()["candidates"]] == expected
    outline = prompt.outline(EstimatedTokens(), key=b"key")
    assert [one.expected_cost for one in decision.candidates] == [
        expected_cost(outline, one.model, Ledger(), T0, output_tokens=tokens)
        for one, tokens in zip(decision.candidates, expected, strict=True)
    ]


def test_a_verbose_small_model_can_be_the_dearer_one() -> None:
    """Its answers' length outweighs its price."""
    qualities = {LITE: 0.5, PRO: 0.5}
    assert _decide(_of_nova(_Told(qualities)), "Hi").model.id == LITE
    assert _decide(_of_nova(_Telling(qualities, {LITE: 9_000, PRO: 30}, "")), "Hi").model.id == PRO


def test_a_prediction_survives_a_copy() -> None:
    """With all that it tells: predictions cross processes."""
    made = Prediction({LITE: np.array([0.5])}, output_tokens={LITE: np.array([9.0])}, basis=["trained"])
    again = pickle.loads(pickle.dumps(made))
    assert (dict(again), dict(again.output_tokens), again.basis) == ({LITE: [0.5]}, {LITE: [9.0]}, ("trained",))
    assert Prediction.of(made) is made


def test_a_decision_says_what_it_rests_on() -> None:
    """The predictor by its own name or that of its class, and what it tells of this prompt."""
    telling = _decide(_of_nova(_Telling({LITE: 0.5, PRO: 0.5}, {}, "trained")), "Hi")
    assert (telling.predictor, telling.basis) == ("hearsay", "trained")
    told = _decide(_of_nova(_Told({LITE: 0.5, PRO: 0.5})), "Hi")
    assert (told.predictor, told.basis) == ("_Told", None)
    assert (told.to_dict()["predictor"], told.to_dict()["basis"]) == ("_Told", None)


@pytest.mark.parametrize(
    ("router", "question", "model"),
    [
        ("anthropic.claude:1", "Describe the purpose of a 'hello world' program in one line.", "haiku"),
        (
            "anthropic.claude:1",
            "Alice has N brothers and she also has M sisters. How many sisters does Alice's brothers have?",
            "sonnet",
        ),
        ("meta.llama:1", "Describe the purpose of a 'hello world' program in one line.", "8b"),
        (
            "meta.llama:1",
            "Alice has N brothers and she also has M sisters. How many sisters does Alice's brothers have?",
            "70b",
        ),
    ],
)
def test_the_announcements_decisions(router: str, question: str, model: str) -> None:
    """As AWS's announcement shows them, by the default routers' own criteria."""
    made = RouterRegistry().router(f"arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/{router}")
    assert made is not None
    assert model in _decide(made, question).model.id


# --- exploration ------------------------------------------------------------------------------------------------

MICRO = "amazon.nova-micro-v1:0"


def _exploring(exploration: float, **told: float) -> Router:
    """Pro is the fallback model, and what the criteria choose unless told otherwise."""
    return Router(
        models=[MICRO, LITE],
        fallback_model=PRO,
        criteria=RoutingCriteria(response_quality_difference=0.0),
        predictor=_Told({MICRO: 0.1, LITE: 0.2, PRO: 0.9} | told),
        exploration=exploration,
    )


@pytest.mark.parametrize("exploration", [-0.1, 1.5, math.nan, True, "0.1", None])
def test_a_share_to_explore_is_a_fraction(exploration: Any) -> None:
    """From 0 to 1, also where a registry has it for its routers."""
    with pytest.raises(InvalidRouterError, match="exploration"):
        _exploring(exploration)
    with pytest.raises(InvalidRouterError, match="exploration"):
        RouterRegistry(exploration=exploration)


@pytest.mark.parametrize(
    ("draw", "model", "explored", "propensity"),
    [
        (0.0, MICRO, True, 0.1),
        (0.0999, MICRO, True, 0.1),
        (0.1, LITE, True, 0.1),
        (0.2, PRO, True, 0.8),
        (0.2999, PRO, True, 0.8),
        (0.3, PRO, False, 0.8),
        (0.9999, PRO, False, 0.8),
    ],
)
def test_a_draw_below_the_share_chooses_the_model(draw: float, model: str, explored: bool, propensity: float) -> None:
    """Three models and a share of .3: .1 for each of them, and .7 more for the one that the criteria choose."""
    decision = _decide(_exploring(0.3), "Hi", draw=draw)
    assert (decision.model.id, decision.explored) == (model, explored)
    assert decision.propensity == pytest.approx(propensity)
    assert decision.reason.startswith("explored") is explored
    told = decision.to_dict()
    assert (told["explored"], told["propensity"]) == (explored, pytest.approx(propensity))


@pytest.mark.parametrize(("exploration", "draw"), [(0.0, 0.0), (0.0, None), (0.3, None)])
def test_nothing_is_explored_without_a_share_or_a_draw(exploration: float, draw: float | None) -> None:
    """The criteria's choice, for certain; the same as often as one asks."""
    decisions = [_decide(_exploring(exploration), "Hi", draw=draw) for _ in range(3)]
    assert decisions[0] == decisions[1] == decisions[2]
    assert (decisions[0].model.id, decisions[0].explored, decisions[0].propensity) == (PRO, False, 1.0)


@settings(settings.get_profile("laws"), max_examples=200)
@given(exploration=st.floats(1e-9, 1), draw=st.floats(0, 1, exclude_max=True))
def test_a_propensity_is_what_the_draws_come_to(exploration: float, draw: float) -> None:
    """The models' propensities add up to 1, each is the share of draws that give the model, and none is 0."""
    router = _exploring(exploration)
    decision = _decide(router, "Hi", draw=draw)
    others = exploration / 3
    assert decision.propensity == pytest.approx(1 - 2 * others if decision.model.id == PRO else others)
    assert decision.propensity > 0


def test_a_model_whose_price_is_unknown_is_told_as_such() -> None:
    """It may be as good as the fallback model, and is not chosen all the same."""
    prompt = Prompt.of_text("Hi")
    outline = prompt.outline(EstimatedTokens(), key=b"key")
    free = dataclasses.replace(CATALOG.resolve(MICRO), price=None)
    candidates = [(model, outline) for model in (free, CATALOG.resolve(PRO))]
    decision = _exploring(0.0).decide(prompt, candidates, ledger=Ledger(), now=T0, draw=0.5)
    assert decision.model.id == PRO
    assert decision.reason.endswith(f"or its price is unknown ({MICRO})")


def test_what_has_no_price_is_not_explored() -> None:
    """What can't be paid for knowingly isn't tried out, unless it is the fallback model."""
    free = dataclasses.replace(CATALOG.resolve(MICRO), price=None)
    prompt = Prompt.of_text("Hi")
    outline = prompt.outline(EstimatedTokens(), key=b"key")
    candidates = [(model, outline) for model in (free, CATALOG.resolve(LITE), CATALOG.resolve(PRO))]
    decision = _exploring(1.0).decide(prompt, candidates, ledger=Ledger(), now=T0, draw=0.0)
    assert (decision.model.id, decision.propensity) == (LITE, 0.5)
    candidates = [candidates[1], (dataclasses.replace(CATALOG.resolve(PRO), price=None), outline)]
    decision = _exploring(1.0).decide(prompt, candidates, ledger=Ledger(), now=T0, draw=0.9)
    assert (decision.model.id, decision.propensity) == (PRO, 0.5)


def test_a_lone_candidate_is_certain() -> None:
    """There is nothing else to draw."""
    prompt = Prompt.of_text("Hi")
    outline = prompt.outline(EstimatedTokens(), key=b"key")
    decision = _exploring(0.5).decide(prompt, [(CATALOG.resolve(LITE), outline)], ledger=Ledger(), now=T0, draw=0.1)
    assert (decision.model.id, decision.propensity) == (LITE, 1.0)


# --- expected bills ---------------------------------------------------------------------------------------------

HAIKU = CATALOG.resolve("global.anthropic.claude-haiku-5-5")


def _outline(*tokens: int) -> Outline:
    return Outline.of_blocks(
        Block("messages", ("user", "assistant")[index % 2], "text", f"{index}".encode(), count)
        for index, count in enumerate(tokens)
    )


@pytest.mark.parametrize(
    ("points", "warm", "usage"),
    [
        ([], None, Usage(input_tokens=3_000)),
        ([CachePoint(1)], None, Usage(input_tokens=3_000, cache_write_tokens=2_000)),
        ([CachePoint(1, "1h")], None, Usage(input_tokens=3_000, cache_write_tokens=2_000, cache_write_1h_tokens=2_000)),
        (
            [CachePoint(0, "1h"), CachePoint(2)],
            None,
            Usage(input_tokens=3_000, cache_write_tokens=3_000, cache_write_1h_tokens=1_000),
        ),
        ([CachePoint(2)], 0, Usage(input_tokens=3_000, cache_read_tokens=1_000, cache_write_tokens=2_000)),
        ([CachePoint(0)], 0, Usage(input_tokens=3_000, cache_read_tokens=1_000)),
        (
            [CachePoint(1, "1h")],
            0,
            Usage(input_tokens=3_000, cache_read_tokens=1_000, cache_write_tokens=1_000, cache_write_1h_tokens=1_000),
        ),
    ],
    ids=["no point", "written", "written for 1h", "both TTLs", "read and written", "all read", "read, 1h written"],
)
def test_the_usage_to_expect(points: list[CachePoint], warm: int | None, usage: Usage) -> None:
    """What is warm is read, what the points add is written, the rest is plain input."""
    ledger, outline = Ledger(), _outline(1_000, 1_000, 1_000)
    if warm is not None:
        ledger.record(
            outline,
            HAIKU,
            Placement(points=(CachePoint(warm),)),
            Usage(input_tokens=3_000, cache_write_tokens=1_000 * (warm + 1)),
            T0,
        )
    assert expected_usage(outline, HAIKU, Placement(points=tuple(points)), ledger, T0) == usage


def test_a_point_below_the_minimum_costs_nothing() -> None:
    """Bedrock passes over it."""
    placement = Placement(points=(CachePoint(0),))
    assert expected_usage(_outline(100, 5), HAIKU, placement, Ledger(), T0) == Usage(input_tokens=105)


def test_the_bill_counts_the_reply() -> None:
    """At the output price, however many tokens are expected of it."""
    bill = expected_cost(_outline(10), HAIKU, Ledger(), T0, output_tokens=20)
    assert bill == cost_of(Usage(input_tokens=10, output_tokens=20), HAIKU.price).total


def test_a_bill_without_a_price_is_unknown() -> None:
    """None, not zero."""
    assert expected_cost(_outline(10), Model(id="x", invoke_id="x", name="x"), Ledger(), T0) is None
