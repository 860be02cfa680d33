"""What a switch adds to the turns that follow: its sign where it is plain, its tiers, and the decisions it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Block, Catalog, Ledger, Model, Outline, Price, Prompt, Router, RoutingCriteria
from pointsman.cache.courses import Courses, Outlook
from pointsman.evaluation.billing import BillingSimulator
from pointsman.evaluation.policies import at_the_end
from pointsman.pricing import cost_of
from pointsman.routing import Prediction
from pointsman.routing.switching import Standing, Tariff, added_later

CATALOG = Catalog.default()
BASE = CATALOG.resolve("anthropic.claude-sonnet-4-5-20250929-v1:0")
T0 = 1_800_000_000.0
PROMPT = Prompt.of_text("")


def model(name: str, ratio: float = 1.0, read: float = 0.1) -> Model:
    """A model with Claude's rules, its input at that price."""
    price = Price(
        input=ratio,  # type: ignore[arg-type]  # taken for Decimals
        output=5 * ratio,  # type: ignore[arg-type]
        cache_read=read * ratio,  # type: ignore[arg-type]
        cache_write={"5m": 1.25 * ratio, "1h": 2 * ratio},  # type: ignore[dict-item]
    )
    return replace(BASE, id=name, invoke_id=name, name=name, price=price)


STRONG, CHEAP = model("strong", 3), model("cheap")
OUTLOOK = Courses().outlook("any")


def changed(**changes: object) -> Outlook:
    """What is believed of any router, but for this."""
    return replace(OUTLOOK, **changes)  # type: ignore[arg-type]


def standing(of: Model, lacking: float, age: float | None = 20.0, ttl: str = "5m") -> Standing:
    tariff = Tariff.of(of, ttl)
    assert tariff is not None
    return Standing(tariff, lacking, age)


def added(
    outlook: Outlook = OUTLOOK,
    *,
    dear: Standing | None = None,
    cheap: Standing | None = None,
    tokens: int = 40_000,
    requests: int = 8,
    ttl: str = "5m",
) -> float:
    return added_later(
        dear or standing(STRONG, 1_000),
        cheap or standing(CHEAP, 1_000),
        outlook,
        ttl=ttl,
        tokens=tokens,
        requests=requests,
    )


# --- values -------------------------------------------------------------------------------------------------------


def test_what_goes_cold_on_the_strong_model_is_paid_for_later() -> None:
    """Leaving the strong model warm and unasked costs more, the likelier it is to be needed again."""
    soon = added(changed(still_adequate=0.5, adequate_again=0.5), cheap=standing(CHEAP, 1_000))
    late = added(changed(still_adequate=0.95, adequate_again=0.95), cheap=standing(CHEAP, 1_000))
    assert soon > late


def test_a_cheap_model_made_warm_saves_later() -> None:
    """Where the cheap model is cold and will do for long, going there now spares the later turns that first write."""
    assert added(changed(still_adequate=0.99, adequate_again=0.9), cheap=standing(CHEAP, 40_000, None)) < 0


@pytest.mark.parametrize("tokens", [1, 22, 150, 2_000])
def test_no_more_is_added_than_one_writing_of_the_prompt(tokens: int) -> None:
    """A first question of a few tokens goes to the cheap model: later on, the strong one can still be written to."""
    dear, cheap = standing(STRONG, tokens, None), standing(CHEAP, tokens, None)
    assert added(dear=dear, cheap=cheap, tokens=tokens, requests=1) <= 3 * 1.25 * tokens * 1e-6


def test_where_no_request_follows_nothing_is_added() -> None:
    """A conversation that is surely over has no later turns."""
    assert added(changed(going_on=(0.0,) * len(OUTLOOK.going_on))) == 0


def test_the_tier_that_a_conversation_grows_into_counts() -> None:
    """Warming a model whose price rises above 100k tokens is worth less if the conversation will grow past them."""
    haiku, opus = (CATALOG.resolve(f"anthropic.claude-{name}") for name in ("haiku-5-5", "opus-5-5"))
    flat = replace(haiku, price=replace(haiku.price, tiers=()))  # type: ignore[type-var]  # it has a price

    def saved(cheap: Model, growth: float) -> float:
        warmed = standing(cheap, 60_000, None)
        return -added(changed(growth=growth), dear=standing(opus, 1_000), cheap=warmed, tokens=60_000, requests=30)

    assert saved(haiku, 100) == pytest.approx(saved(flat, 100))
    assert saved(haiku, 10_000) != pytest.approx(saved(flat, 10_000), rel=0.05)


def test_models_that_do_not_cache_leave_nothing_behind() -> None:
    """Without caches it makes no difference to later turns who answers now."""
    plain = [replace(one, cache=replace(one.cache, max_points=0)) for one in (STRONG, CHEAP)]
    assert added(dear=standing(plain[0], 40_000, None), cheap=standing(plain[1], 40_000, None)) == pytest.approx(0)


def test_an_hour_goes_by_its_own_pauses() -> None:
    """What is written for an hour is worth more later on where pauses stay within it, not only within 5m."""

    def saved(pauses: tuple[float, ...]) -> float:
        outlook = changed(pauses_5m=(0.5, *(0.0,) * 11, 0.5), pauses_1h=pauses, still_adequate=0.9)
        cheap, dear = standing(CHEAP, 40_000, None, "1h"), standing(STRONG, 1_000, 20, "1h")
        return -added(outlook, cheap=cheap, dear=dear, ttl="1h")

    assert saved((0.5, 0.0, 0.5, *(0.0,) * 10)) > saved((0.5, *(0.0,) * 11, 0.5))


@settings(max_examples=25, deadline=None)
@given(
    tokens=st.integers(1_000, 300_000),
    lacking=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    ages=st.tuples(st.none() | st.floats(0, 400), st.none() | st.floats(0, 400)),
    requests=st.integers(1, 500),
    adequate=st.floats(0, 1),
)
def test_what_is_added_is_bounded(
    tokens: int, lacking: tuple[float, float], ages: tuple[float | None, float | None], requests: int, adequate: float
) -> None:
    """A difference of two states is no more than what it costs to bring either model's cache from nothing."""
    first, second = (
        standing(one, tokens if age is None else share * tokens, age)
        for one, share, age in zip((STRONG, CHEAP), lacking, ages, strict=True)
    )
    outlook = changed(still_adequate=adequate, adequate_again=adequate)
    most = (tokens + 14 * OUTLOOK.growth) * 1.25 * (3 + 1) * 1e-6
    assert abs(added(outlook, dear=first, cheap=second, tokens=tokens, requests=requests)) <= most


# --- decisions ----------------------------------------------------------------------------------------------------


class Told:
    """A predictor that is told whether the cheap model will do."""

    needed = False

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Prediction:
        good = {model.id: np.array([0.1 if self.needed and model.id == "cheap" else 0.9]) for model in models}
        return Prediction({name: np.repeat(one, len(prompts)) for name, one in good.items()})


def router() -> tuple[Router, Told]:
    told = Told()
    criteria = RoutingCriteria(response_quality_difference=0.1)
    return Router(models=["cheap"], fallback_model="strong", criteria=criteria, predictor=told), told


def conversation(turns: int, *, first: int = 20_000, growth: int = 1_500, name: str = "a") -> list[Outline]:
    """Prompts that each extend the one before."""
    lengths = [first, *[growth] * (turns - 1)]
    blocks = [
        Block("messages", "assistant" if place % 2 else "user", "text", f"{name}{place}".encode(), tokens)
        for place, tokens in enumerate(lengths)
    ]
    return [Outline.of_blocks(blocks[: place + 1]) for place in range(turns)]


def candidates(outline: Outline) -> list[tuple[Model, Outline]]:
    return [(STRONG, outline), (CHEAP, outline)]


def bill_of(policy: str, conversations: int = 60) -> float:
    """USD of conversations in which the need for the strong model is drawn for each request."""
    random, (asked, told) = Random(3), router()
    ledger, billing, total, now = Ledger(), BillingSimulator(), 0.0, T0
    models = (model("strong", 2, 0.025), model("cheap", 1, 0.025))
    for number in range(conversations):
        now += 7_200
        for outline in conversation(25, name=f"{number} "):
            now += 20
            told.needed = random.random() < 0.4
            chosen = models[0] if policy == "strong" or told.needed else models[1]
            if policy == "ours":
                pair = [(one, outline) for one in models]
                chosen = asked.decide(PROMPT, pair, ledger=ledger, now=now, place=at_the_end).model
            placement = at_the_end(outline, chosen, ledger, now)
            usage = billing.bill(outline, placement.points, chosen, now, output_tokens=300)
            ledger.record(outline, chosen, placement, usage, now)
            total += float(cost_of(usage, chosen.price).total or 0)
    return total


def test_flapping_between_near_models_is_avoided() -> None:
    """Where following the need from request to request is dearer than never routing, ours is dearer than neither."""
    always, blind, ours = (bill_of(policy) for policy in ("strong", "blind", "ours"))
    assert always < blind
    assert ours < 1.01 * always


def test_asked_twice_the_decision_is_the_same() -> None:
    """A second look at one prompt teaches nothing and changes nothing."""
    ledger, (asked, told) = Ledger(), router()
    for place, outline in enumerate(conversation(12)):
        told.needed = place % 3 == 0
        first, second = (
            asked.decide(PROMPT, candidates(outline), ledger=ledger, now=T0 + 20 * place) for _ in range(2)
        )
        assert first == second


def test_a_decision_tells_what_it_adds_later() -> None:
    """Each candidate that the criteria admit tells it, as a decimal string; the model they are held against tells 0."""
    ledger, (asked, told) = Ledger(), router()
    outline = conversation(1)[0]
    strong, cheap = asked.decide(PROMPT, candidates(outline), ledger=ledger, now=T0).to_dict()["candidates"]
    assert float(strong["expected_later_cost"]) == 0
    assert float(cheap["expected_later_cost"]) != 0
    told.needed = True
    again = asked.decide(PROMPT, candidates(outline), ledger=ledger, now=T0).candidates
    assert [one.expected_later_cost for one in again] == [None, None]


def test_a_conversation_is_never_pinned() -> None:
    """After the strong model was needed, the cheap one gets its turns again, and the other way round."""
    ledger, billing, (asked, told) = Ledger(), BillingSimulator(), router()
    chosen = []
    for place, outline in enumerate(conversation(30)):
        now = T0 + 20 * place
        told.needed = place % 10 == 5
        model = asked.decide(PROMPT, candidates(outline), ledger=ledger, now=now, place=at_the_end).model
        placement = at_the_end(outline, model, ledger, now)
        usage = billing.bill(outline, placement.points, model, now)
        ledger.record(outline, model, placement, usage, now)
        chosen.append(model.id)
    switches = [(one, other) for one, other in pairwise(chosen) if one != other]
    assert ("strong", "cheap") in switches and ("cheap", "strong") in switches
