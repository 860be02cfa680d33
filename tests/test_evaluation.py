"""Policies on labelled prompts: what they decide, what that comes to, and what it is held against."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from pointsman import Catalog, Ledger, Model, Price, Prompt, Router, RoutingCriteria
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.compare import compare
from pointsman.evaluation.comparison import Comparison, Pair, Ranking, Standing
from pointsman.evaluation.labelled import ASSUMED_OUTPUT_TOKENS, try_on
from pointsman.evaluation.metrics import apgr, calls_to_recover
from pointsman.evaluation.trial import sample_of
from pointsman.routing import Outcomes
from pointsman.tokens import EstimatedTokens

CHEAP, DEAR = "cheap", "dear"
HAIKU, SONNET = "anthropic.claude-haiku-5-5", "anthropic.claude-sonnet-5-5"


def priced(**prices: tuple[float, float]) -> Catalog:
    """The catalogue with these models and their prices."""
    catalog = Catalog.default()
    for name, (input_price, output_price) in prices.items():
        price = Price(input=Decimal(str(input_price)), output=Decimal(str(output_price)))
        catalog = catalog.with_model(Model(id=name, invoke_id=name, name=name, price=price))
    return catalog


CATALOG = priced(cheap=(1, 2), dear=(10, 20), middle=(3, 6))


class Reads:
    """Expects the cheap model to fail where the prompt says that it is hard, and the dear one never."""

    name = "reads"

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Mapping[str, Any]:
        hard = np.array(["hard" in prompt.question() for prompt in prompts], dtype=float)
        loss = {CHEAP: 0.6, "middle": 0.3, HAIKU: 0.6}
        return {model.id: 0.9 - loss.get(model.id, 0.0) * hard for model in models}


class Fails:
    """A predictor with a fault, which quotes the prompt."""

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Mapping[str, Any]:
        raise ValueError(f"can't read {prompts[0].question()!r} for {models}")


def router(*models: str, predictor: Any = None, d: float = 0.1, name: str = "ours", fallback: str = DEAR) -> Router:
    return Router(
        name=name,
        models=models or (CHEAP, DEAR),
        fallback_model=fallback,
        criteria=RoutingCriteria(response_quality_difference=d),
        predictor=predictor or Reads(),
    )


def outcomes(n: int = 40, **columns: Any) -> Outcomes:
    """Every fourth prompt is hard; the cheap model fails the hard ones, the dear one every tenth."""
    hard = np.arange(n) % 4 == 3
    qualities = {CHEAP: np.where(hard, 0.0, 1.0), DEAR: np.where(np.arange(n) % 10 == 0, 0.0, 1.0)}
    told: dict[str, Any] = {
        "prompts": tuple(f"{'a hard' if one else 'an easy'} question, number {i}" for i, one in enumerate(hard)),
        "qualities": qualities,
        "categories": tuple("maths" if one else "prose" for one in hard),
    }
    return Outcomes(**{**told, **columns})


def standing(comparison: Comparison, name: str) -> Standing:
    return next(one for one in comparison.standings if one.name == name)


def ranking(pair: Pair, name: str) -> Ranking:
    return next(one for one in pair.rankings if one.name == name)


def names(comparison: Comparison) -> list[str]:
    return [one.name for one in comparison.standings]


# --- what is decided ----------------------------------------------------------------------------------------------


class TestTrial:
    def test_a_router_gets_the_outcome_of_the_model_that_it_chose(self) -> None:
        """The hard prompts go to the dear model, with its quality and its bill."""
        trial = try_on(outcomes(), [router()], catalog=CATALOG)
        (run,) = trial.runs
        hard = np.arange(40) % 4 == 3
        assert (run.invoked == DEAR).tolist() == hard.tolist()
        assert run.quality.tolist() == np.where(hard, outcomes().qualities[DEAR], outcomes().qualities[CHEAP]).tolist()
        assert run.expected[CHEAP].tolist() == pytest.approx(np.where(hard, 0.3, 0.9).tolist())
        assert (run.name, run.kind, run.predictor, run.difference) == ("ours", "router", "reads", 0.1)

    def test_bills_are_by_price_estimated_input_and_known_output(self) -> None:
        """USD per million tokens; where an answer's length isn't known, an assumption that the notes tell."""
        labelled = outcomes(2, output_tokens={DEAR: np.array([50.0, math.nan])})
        trial = try_on(labelled, [DEAR, CHEAP], catalog=CATALOG)
        tokens = [Prompt.of_text(str(prompt)).outline(EstimatedTokens()).tokens for prompt in labelled.prompts]
        assert trial.tokens.tolist() == tokens
        dear, cheap = trial.cost.T * 1e6
        assert dear.tolist() == pytest.approx([10 * tokens[0] + 20 * 50, 10 * tokens[1] + 20 * ASSUMED_OUTPUT_TOKENS])
        assert cheap.tolist() == pytest.approx([one + 2 * ASSUMED_OUTPUT_TOKENS for one in tokens])
        assert f"of dear, cheap whose length isn't known counts as {ASSUMED_OUTPUT_TOKENS} tokens" in trial.notes[1]

    @pytest.mark.parametrize("d", [0.0, 0.1, 0.59, 0.6, 1.0])
    def test_the_decisions_are_the_routers_own(self, d: float) -> None:
        """As `Router.decide` makes them with an empty ledger."""
        chooser, labelled = router(CHEAP, "middle", DEAR, d=d), outcomes(12)
        labelled = replace(labelled, qualities={**labelled.qualities, "middle": np.ones(12)})
        (run,) = try_on(labelled, [chooser], catalog=CATALOG).runs
        for text, invoked in zip(labelled.prompts, run.invoked, strict=True):
            prompt = Prompt.of_text(str(text))
            candidates = [(CATALOG.resolve(model), prompt.outline(EstimatedTokens())) for model in chooser.model_ids]
            assert chooser.decide(prompt, candidates, ledger=Ledger(), now=0.0).model.id == invoked

    def test_nothing_gets_warm(self) -> None:
        """A long system prompt that the dear model had in its cache would draw the easy questions to it."""
        system = [{"text": "Signal nine protects section nine. " * 800}]
        questions = ["a hard one", *("an easy one",) * 4]
        labelled = Outcomes(
            prompts=tuple(Prompt({**Prompt.of_text(one).request, "system": system}) for one in questions),
            qualities={f"us.{HAIKU}": np.ones(5), f"us.{SONNET}": np.ones(5)},
        )
        catalog = Catalog.default()
        for model_id, uncached in ((HAIKU, Decimal(1)), (SONNET, Decimal(15))):
            written = {"5m": uncached * Decimal("1.25")}
            price = Price(input=uncached, output=Decimal(1), cache_read=Decimal("0.1"), cache_write=written)
            catalog = catalog.with_model(replace(catalog.resolve(model_id), price=price))
        chooser = router(f"us.{HAIKU}", f"us.{SONNET}", fallback=f"us.{SONNET}")
        (run,) = try_on(labelled, [chooser], catalog=catalog).runs
        assert run.invoked.tolist() == [SONNET, *[HAIKU] * 4]
        assert len(set(run.cost[1:])) == 1

    @pytest.mark.parametrize("column", [HAIKU, f"us.{HAIKU}", f"global.{HAIKU}"])
    def test_outcomes_may_name_a_model_otherwise_than_the_router(self, column: str) -> None:
        """By its catalogue id, or by any of its profiles."""
        labelled = outcomes(4, qualities={column: np.ones(4), SONNET: np.ones(4)})
        chooser = router(f"us.{HAIKU}", f"us.{SONNET}", fallback=f"us.{SONNET}")
        trial = try_on(labelled, [chooser])
        assert [model.id for model in trial.models] == [HAIKU, SONNET]

    def test_prompts_without_an_outcome_of_every_model_are_left_out(self) -> None:
        """And counted; models that are not in play don't matter."""
        qualities = {**outcomes().qualities, "other": np.full(40, math.nan)}
        qualities[CHEAP] = np.where(np.arange(40) < 3, math.nan, qualities[CHEAP])
        trial = try_on(outcomes(qualities=qualities), [router(), DEAR], catalog=CATALOG)
        assert len(trial.quality) == len(trial.runs[0].invoked) == len(trial.runs[1].cost) == 37
        assert trial.left_out == {"no outcome of every model": 3}
        assert trial.categories is not None
        assert len(trial.categories) == 37

    def test_a_prompt_may_be_a_whole_request(self) -> None:
        """With a system prompt and a `modelId` of its own, which is not asked."""
        request = {**Prompt.of_text("a hard one").request, "system": [{"text": "Be brief."}], "modelId": CHEAP}
        (run,) = try_on(outcomes(4, prompts=(Prompt(request),) * 4), [router()], catalog=CATALOG).runs
        assert set(run.invoked) == {DEAR}

    def test_a_predictor_that_fails_is_counted_and_not_quoted(self) -> None:
        """The fallback model answers, as it would have; no text of the prompt gets into a report."""
        trial = try_on(outcomes(), [router(predictor=Fails())], catalog=CATALOG)
        assert set(trial.runs[0].invoked) == {DEAR}
        assert trial.failures == {"ours: routing: ValueError": 40}

    def test_a_prompt_that_no_model_can_take_is_left_out(self) -> None:
        """As the flow refuses it: here for its length."""
        small = [replace(CATALOG.resolve(name), context_window=500) for name in (CHEAP, DEAR)]
        catalog = CATALOG.with_model(small[0]).with_model(small[1])
        prompts = ("long " * 2000, *outcomes().prompts[1:])
        trial = try_on(outcomes(prompts=prompts), [router()], catalog=catalog)
        assert len(trial.quality) == 39
        assert trial.failures == {"ours: NoEligibleModelError": 1}
        assert trial.left_out == {"not answered by every model": 1}

    def test_progress_is_told(self) -> None:
        """Once for each decision."""
        told: list[tuple[str, int, int]] = []
        try_on(
            outcomes(3),
            [router(), DEAR, router(name="b")],
            catalog=CATALOG,
            on_progress=lambda *one: told.append(one),
        )
        assert told == [("deciding", n, 6) for n in range(1, 7)]

    @pytest.mark.parametrize(
        ("policies", "says"),
        [
            ([], "nothing to evaluate"),
            (["unheard-of"], "no outcomes of 'unheard-of'; there are of cheap, dear"),
            ([router(CHEAP, "unheard-of")], "price of 'unheard-of' is not known"),
            (["arn:aws:bedrock:us-east-1:123412341234:prompt-router/abc"], "live only"),
            ([router(), router(d=0.5)], "'ours' stands for something else"),
            ([router(name="oracle")], "'oracle' stands for something else"),
            ([DEAR, DEAR], "'dear' stands for something else"),
        ],
    )
    def test_what_cannot_be_evaluated_is_refused(self, policies: list[Any], says: str) -> None:
        """With what is missing, before anything is decided."""
        with pytest.raises(InvalidRequestError, match=says):
            try_on(outcomes(), policies, catalog=CATALOG)

    def test_models_that_share_no_prompt_are_refused(self) -> None:
        """As in a log where each prompt was answered by one model only."""
        qualities = {CHEAP: np.array([1.0, math.nan]), DEAR: np.array([math.nan, 1.0])}
        with pytest.raises(InvalidRequestError, match="no prompt has an outcome of each of cheap, dear"):
            try_on(outcomes(2, qualities=qualities), [router()], catalog=CATALOG)


def test_a_sample_is_drawn_by_its_seed_and_keeps_the_order() -> None:
    """The columns stay with their prompts."""
    labelled = outcomes(100, output_tokens={DEAR: np.arange(100.0)}, weights=np.arange(100.0))
    drawn = sample_of(labelled, 10, seed=3)
    numbers = [int(str(prompt).rsplit(" ", 1)[1]) for prompt in drawn.prompts]
    assert len(numbers) == 10
    assert numbers == sorted(numbers)
    assert drawn.output_tokens[DEAR].tolist() == numbers
    assert drawn.weights is not None
    assert drawn.weights.tolist() == numbers
    assert drawn.categories is not None
    assert [one == "maths" for one in drawn.categories] == [number % 4 == 3 for number in numbers]
    assert sample_of(labelled, 10, seed=3).prompts == drawn.prompts
    assert sample_of(labelled, 10, seed=4).prompts != drawn.prompts
    assert sample_of(labelled, 100, seed=3) is labelled


# --- what it comes to ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """The dear model is the better: 36 of 40 against 30."""
    return compare(outcomes(), [router()], catalog=CATALOG, draws=50)


class TestStandings:
    def test_the_baselines_stand_beside_every_router(self, comparison: Comparison) -> None:
        """Always each model, what knows nothing or little at the same shares, and the oracle."""
        assert names(comparison) == [
            "ours",
            "always cheap",
            "always dear",
            "random, same shares",
            "prompt length, same shares",
            "dataset identity, same shares",
            "oracle",
        ]
        assert comparison.reference == "always dear"
        assert comparison.prices == {CHEAP: (1.0, 2.0), DEAR: (10.0, 20.0)}

    def test_qualities_by_hand(self, comparison: Comparison) -> None:
        """Of ten hard prompts the dear model answers all, of 30 easy ones the cheap model all."""
        assert standing(comparison, "ours").quality.value == 1.0
        assert standing(comparison, "always cheap").quality.value == 0.75
        assert standing(comparison, "always dear").quality.value == 0.9
        assert standing(comparison, "random, same shares").quality.value == pytest.approx(0.75 * 0.75 + 0.25 * 0.9)
        assert standing(comparison, "dataset identity, same shares").quality.value == 1.0
        assert standing(comparison, "oracle").quality.value == 1.0
        assert standing(comparison, "ours").lost.value == pytest.approx(1 - 1 / 0.9)

    def test_costs_by_hand(self, comparison: Comparison) -> None:
        """Per 1,000 requests; the oracle pays for the dear model only where it must."""
        trial = try_on(outcomes(), [router()], catalog=CATALOG)
        cheap, dear = trial.cost.T
        hard = np.arange(40) % 4 == 3
        assert standing(comparison, "always dear").cost.value == pytest.approx(1000 * dear.mean())
        for name in ("ours", "oracle"):
            found = standing(comparison, name)
            assert found.cost.value == pytest.approx(1000 * np.where(hard, dear, cheap).mean())
            assert found.saved.value == pytest.approx(1 - np.where(hard, dear, cheap).mean() / dear.mean())

    def test_shares_add_up(self, comparison: Comparison) -> None:
        """A quarter is hard."""
        assert standing(comparison, "ours").shares == {CHEAP: 0.75, DEAR: 0.25}
        assert standing(comparison, "always dear").shares == {DEAR: 1.0}
        for one in comparison.standings:
            assert sum(one.shares.values()) == pytest.approx(1)
        for name in ("random", "prompt length", "dataset identity"):
            assert standing(comparison, f"{name}, same shares").shares == pytest.approx({CHEAP: 0.75, DEAR: 0.25})

    def test_intervals_hold_the_figures(self, comparison: Comparison) -> None:
        """The reference loses and saves nothing against itself."""
        for one in comparison.standings:
            for figure in (one.quality, one.cost, one.lost, one.saved):
                assert figure.low <= figure.value <= figure.high
        reference = standing(comparison, "always dear")
        assert reference.lost == reference.saved == (0.0, 0.0, 0.0)

    def test_the_last_of_several_policies_is_the_reference(self) -> None:
        """A model or another router."""
        by_model = compare(outcomes(), [router(), CHEAP], catalog=CATALOG, draws=5)
        assert by_model.reference == "always cheap"
        assert standing(by_model, "ours").lost.value == pytest.approx(1 - 1 / 0.75)
        by_router = compare(outcomes(), [router(), router(d=1.0, name="b")], catalog=CATALOG, draws=5)
        assert by_router.reference == "b"
        assert standing(by_router, "b").shares == {CHEAP: 1.0}
        assert [one.name for one in by_router.pairs[0].rankings[:2]] == ["ours", "b"]

    def test_kinds_need_categories(self) -> None:
        """One kind, or none that is known, tells nothing apart."""
        for categories in (None, ("prose",) * 40):
            found = compare(outcomes(categories=categories), [router()], catalog=CATALOG, draws=5)
            assert not [name for name in names(found) if "dataset identity" in name]
            assert "dataset identity" not in [one.name for one in found.pairs[0].rankings]

    def test_three_models_have_no_curve(self) -> None:
        """But a random choice at the same shares, and an oracle that takes the cheapest of the best."""
        labelled = outcomes()
        labelled = replace(labelled, qualities={**labelled.qualities, "middle": np.ones(40)})
        found = compare(labelled, [router(CHEAP, "middle", DEAR, d=0.3)], catalog=CATALOG, draws=5)
        assert found.pairs == ()
        assert standing(found, "ours").shares == {CHEAP: 0.75, "middle": 0.25}
        assert standing(found, "random, same shares").quality.value == pytest.approx(0.75 * 0.75 + 0.25)
        assert standing(found, "oracle").shares == {CHEAP: 0.75, "middle": 0.25}
        assert found.reference == "always middle"

    def test_models_alone_are_compared_too(self) -> None:
        """Whose pair tells what a router could do."""
        found = compare(outcomes(), [CHEAP, DEAR], catalog=CATALOG, draws=5)
        assert names(found) == ["always cheap", "always dear", "oracle"]
        assert [one.name for one in found.pairs[0].rankings] == [
            "random",
            "prompt length",
            "dataset identity",
            "oracle",
        ]

    def test_without_a_price_there_is_quality_but_no_cost(self) -> None:
        """Unknown is not zero."""
        found = compare(outcomes(), [CHEAP, DEAR], catalog=priced(cheap=(1, 2)), draws=5)
        assert found.prices[DEAR] == (None, None)
        assert math.isnan(standing(found, "always dear").cost.value)
        assert math.isnan(standing(found, "always cheap").saved.value)
        oracle = ranking(found.pairs[0], "oracle")
        assert oracle.apgr.value > 1
        assert math.isnan(oracle.saved_1.value)
        assert found.to_dict()["standings"][1]["cost"]["value"] is None

    def test_the_same_seed_gives_the_same_figures(self) -> None:
        """Nothing else is drawn."""
        first, second = (compare(outcomes(), [router()], catalog=CATALOG, draws=20, seed=4) for _ in range(2))
        assert first == second
        assert first != compare(outcomes(), [router()], catalog=CATALOG, draws=20, seed=5)

    def test_it_is_plain_json_without_any_prompt(self, comparison: Comparison) -> None:
        """Also where a figure can't be had."""
        told = json.dumps(comparison.to_dict(), allow_nan=False)
        assert "question, number" not in told
        assert json.loads(told)["standings"][0]["quality"] == {"value": 1.0, "low": 1.0, "high": 1.0}


class TestPairs:
    def test_a_routers_figures_are_those_of_its_expected_gap(self) -> None:
        """The strong model is the one with the better answers, whatever it costs."""
        (pair,) = compare(outcomes(), [router()], catalog=CATALOG, draws=20).pairs
        assert (pair.weak, pair.strong) == (CHEAP, DEAR)
        hard = (np.arange(40) % 4 == 3).astype(float)
        qualities = outcomes().qualities
        ours = ranking(pair, "ours")
        assert ours.apgr.value == pytest.approx(apgr(hard, qualities[CHEAP], qualities[DEAR]))
        for x, figure in ((0.5, ours.cpt_50), (0.8, ours.cpt_80)):
            assert figure.value == pytest.approx(calls_to_recover(x, hard, qualities[CHEAP], qualities[DEAR]))
        assert ours.saved_1.low <= ours.saved_1.value <= ours.saved_1.high

    def test_random_is_a_half_and_the_oracle_is_best(self) -> None:
        """The ends of the scale, at any number of prompts."""
        (pair,) = compare(outcomes(200), [router()], catalog=CATALOG, draws=5).pairs
        assert ranking(pair, "random").apgr == pytest.approx((0.5, 0.5, 0.5))
        assert ranking(pair, "random").cpt_50.value == pytest.approx(50)
        best = max(one.apgr.value for one in pair.rankings)
        assert ranking(pair, "oracle").apgr.value == best
        assert best > 1

    def test_a_curve_runs_from_the_weak_model_to_the_strong_one(self) -> None:
        """By calls, quality and USD per 1,000 requests."""
        found = compare(outcomes(), [router()], catalog=CATALOG, draws=5)
        for one in found.pairs[0].rankings:
            first, last = one.points[0], one.points[-1]
            assert (first.calls, last.calls) == (0.0, 1.0)
            for point, name in ((first, "always cheap"), (last, "always dear")):
                assert point.quality == pytest.approx(standing(found, name).quality.value)
                assert point.cost == pytest.approx(standing(found, name).cost.value)

    def test_dataset_identity_is_learnt_from_other_questions(self) -> None:
        """A category of one prompt has no other to learn from: the mean of all stands for it, and tells nothing."""
        labelled = outcomes(60, categories=tuple(f"kind {i}" for i in range(60)))
        (pair,) = compare(labelled, [router()], catalog=CATALOG, draws=5).pairs
        assert ranking(pair, "dataset identity").apgr.value < 0.7

    def test_one_question_several_times_is_one_question(self) -> None:
        """Whole questions are drawn: copies make no interval narrower."""
        labelled = outcomes(40)
        copies = Outcomes(
            prompts=labelled.prompts * 5,
            qualities={model: np.tile(values, 5) for model, values in labelled.qualities.items()},
        )
        once, often = (compare(one, [router()], catalog=CATALOG) for one in (labelled, copies))

        def width(comparison: Comparison) -> float:
            quality = standing(comparison, "always cheap").quality
            return quality.high - quality.low

        assert width(often) == pytest.approx(width(once), rel=0.35)

    def test_a_promise_kept_and_a_promise_broken(self) -> None:
        """What went to the cheap model lost less than d allows; sent everything, it lost more."""
        (pair,) = compare(outcomes(400), [router(d=0.05)], catalog=CATALOG, draws=5).pairs
        (kept,) = pair.promises
        assert (kept.router, kept.predictor, kept.difference) == ("ours", "reads", 0.05)
        assert kept.loss.sent == 300
        assert kept.loss.mean < 0
        assert not kept.loss.exceeds
        assert kept.calibration_error > kept.sampling_floor > 0

        labelled = outcomes(400)
        worse = replace(labelled, qualities={CHEAP: np.zeros(400), DEAR: labelled.qualities[DEAR]})
        ((broken,),) = [one.promises for one in compare(worse, [router(d=0.6)], catalog=CATALOG, draws=5).pairs]
        assert broken.loss.sent == 400
        assert broken.loss.exceeds

    def test_progress_goes_on_to_the_resampling(self) -> None:
        """It reaches its end."""
        told: list[tuple[str, int, int]] = []
        compare(outcomes(), [router()], catalog=CATALOG, draws=7, on_progress=lambda *one: told.append(one))
        assert told[39] == ("deciding", 40, 40)
        assert told[-1] == ("resampling", 14, 14)


def test_one_prompt_is_enough_for_figures_without_intervals_worth_the_name() -> None:
    """Nothing divides by zero; there is no other fold to take a threshold from."""
    found = compare(outcomes(1), [router()], catalog=CATALOG, draws=5)
    assert standing(found, "ours").quality == (1.0, 1.0, 1.0)
    assert math.isnan(ranking(found.pairs[0], "ours").saved_1.value)
    json.dumps(found.to_dict(), allow_nan=False)
