"""Which model a prompt goes to. A router holds candidates and criteria; the choice itself is a pure function.

Knows expected quality and expected bills, of this request and of what a switch does to those that follow; knows nothing
of requests' other needs (see `pointsman.adapt`) or HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, NamedTuple

from pointsman.cache import Ledger, Placement, place
from pointsman.cache.courses import Outlook
from pointsman.cache.ledger import effective
from pointsman.catalog import Model
from pointsman.errors import InvalidRouterError
from pointsman.outline import Outline
from pointsman.pricing import cost_of
from pointsman.prompt import Prompt
from pointsman.routing.criteria import RoutingCriteria, check_fraction
from pointsman.routing.quality import Prediction, QualityPredictor
from pointsman.routing.shipped import ShippedPredictor
from pointsman.routing.switching import Standing, Tariff, added_later
from pointsman.usage import Usage

# Of a reply whose length nobody predicts. The same for every such model, which keeps the comparison fair.
EXPECTED_OUTPUT_TOKENS = 300

Placing = Callable[[Outline, Model, Ledger, float], Placement]
"""How cache points are laid: with the signature of `pointsman.place`."""

_TENTH_OF_A_MICRO_DOLLAR = Decimal("1e-7")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One model as the decision saw it. `expected_cost` is USD for this request, None where no price is known.

    `expected_later_cost` is USD that choosing this model adds to the requests that follow, against choosing the model
    that the others are held against: the fallback model, or the dearest where that isn't dearer than any. Negative
    where it saves; None where it wasn't weighed.
    """

    model: Model
    expected_quality: float
    expected_cost: Decimal | None
    expected_output_tokens: int = EXPECTED_OUTPUT_TOKENS
    expected_later_cost: Decimal | None = None

    @property
    def weighed_cost(self) -> Decimal | None:
        """What models are compared by: this request's cost, and what it adds to those that follow."""
        if self.expected_cost is None or self.expected_later_cost is None:
            return self.expected_cost
        return self.expected_cost + self.expected_later_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The model that was chosen, every candidate that was weighed or set aside, and why.

    `set_aside` maps the model ids that could not serve the request to the reason. `basis` is what the expected
    qualities rest on, in the predictor's words; None if it doesn't tell. Gaps between them below `resolution` count as
    none. `explored` tells a model that was drawn at random from one that the criteria chose; `propensity` is the
    probability with which such a request gets this model, 1 where nothing is left to chance.
    """

    router: str
    model: Model
    reason: str
    candidates: tuple[Candidate, ...] = ()
    set_aside: Mapping[str, str] = field(default_factory=dict)
    response_quality_difference: float = 0.0
    predictor: str | None = None
    basis: str | None = None
    resolution: float = 0.0
    explored: bool = False
    propensity: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "router": self.router,
            "model": self.model.invoke_id,
            "reason": self.reason,
            "candidates": [
                {
                    "model": candidate.model.invoke_id,
                    "expected_quality": round(candidate.expected_quality, 4),
                    "expected_cost": _told(candidate.expected_cost),
                    "expected_later_cost": _told(candidate.expected_later_cost),
                    "expected_output_tokens": candidate.expected_output_tokens,
                }
                for candidate in self.candidates
            ],
            "set_aside": dict(self.set_aside),
            "response_quality_difference": self.response_quality_difference,
            "predictor": self.predictor,
            "basis": self.basis,
            "resolution": self.resolution,
            "explored": self.explored,
            "propensity": round(self.propensity, 6),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Models, a fallback model and the routing criteria. Models are named by id, profile id or ARN.

    The fallback model is always a candidate, whether `models` lists it or not. `name` is what a request's
    `modelId` calls the router by. `exploration` is the share of requests that go to a candidate drawn at random, so
    that what is learnt from them isn't blind to the models that the criteria pass over.

    Raises:
        InvalidRouterError: `models` is empty or one string, or `exploration` not from 0 to 1.
    """

    models: Sequence[str]
    fallback_model: str
    criteria: RoutingCriteria
    name: str = "router"
    predictor: QualityPredictor = field(default_factory=ShippedPredictor)
    exploration: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.models, str) or not self.models:
            raise InvalidRouterError(f"models is {self.models!r}; it must be a list of model ids.")
        check_fraction("exploration", self.exploration, "such as 0.02.")

    @property
    def model_ids(self) -> tuple[str, ...]:
        """Every candidate once, in the order given, the fallback model last if it isn't listed."""
        return tuple(dict.fromkeys((*self.models, self.fallback_model)))

    def decide(
        self,
        prompt: Prompt,
        candidates: Sequence[tuple[Model, Outline]],
        *,
        ledger: Ledger,
        now: float,
        draw: float | None = None,
        place: Placing = place,
    ) -> Decision:
        """Choose among the models that can serve the prompt, each with the outline in its own token counts.

        If the fallback model is not among them, the one with the highest expected quality is the anchor. `draw`, a
        random number from 0 up to 1, decides whether to explore and which model; without it nothing is explored.
        `place` is how cache points will be laid.

        The ledger learns from it how the router's conversations go on (`Ledger.courses`), from each request once: asked
        again, the decision is the same.
        """
        models = [model for model, _ in candidates]
        predicted = Prediction.of(self.predictor.predict([prompt], models=models))
        bills = [_billed(prompt, outline, model, predicted, ledger, now, place) for model, outline in candidates]
        stated = getattr(self.predictor, "resolution", 0.0)
        resolution = predicted.resolution[0] if predicted.resolution else stated
        weighed = self._with_later_costs(bills, resolution, ledger, now)
        chosen, reason = self.choose(weighed, resolution=resolution)
        decision = Decision(
            router=self.name,
            model=chosen.model,
            reason=reason,
            candidates=weighed,
            response_quality_difference=self.criteria.response_quality_difference,
            predictor=getattr(self.predictor, "name", None) or type(self.predictor).__name__,
            basis=predicted.basis[0] if predicted.basis else None,
            resolution=resolution,
        )
        if not self.exploration or draw is None:
            return decision
        return explore(decision, share=self.exploration, draw=draw, fallback_model=self.fallback_model)

    def stay(self, model: Model, *, explored: bool = False, propensity: float = 1.0) -> Decision:
        """The decision to go on with the model that a tool loop began on: nothing is weighed or drawn anew.

        `explored` and `propensity` are those of the decision that it began with.
        """
        return Decision(
            router=self.name,
            model=model,
            reason="within a tool loop the turn stays on its model",
            response_quality_difference=self.criteria.response_quality_difference,
            explored=explored,
            propensity=propensity,
        )

    def _with_later_costs(
        self, bills: Sequence[_Billed], resolution: float, ledger: Ledger, now: float
    ) -> tuple[Candidate, ...]:
        """The candidates, those that the criteria admit with what they add to the requests that follow."""
        candidates = [billed.candidate for billed in bills]
        anchor = _anchor(candidates, self.fallback_model)
        admitted, _ = _admitted(candidates, anchor, self.criteria.response_quality_difference, resolution)
        anchored = next(billed for billed in bills if billed.candidate is anchor)
        course = ledger.courses.follow(
            self.name, anchored.outline, now, adequate=_cheap_model_will_do(bills, admitted, self.fallback_model)
        )
        able = [billed for billed in bills if any(billed.candidate is one for one in admitted)]
        if len(able) < 2:
            return tuple(candidates)
        dear = _held_against(able, anchor)
        outlook = ledger.courses.outlook(self.name)
        later: dict[int, Decimal | None] = {id(dear.candidate): Decimal(0)}
        for billed in able:
            if billed is not dear:
                added = _added_later(dear, billed, outlook, course.requests, ledger, now)
                later[id(billed.candidate)] = added
        return tuple(replace(one, expected_later_cost=later.get(id(one))) for one in candidates)

    def choose(self, candidates: Sequence[Candidate], *, resolution: float = 0.0) -> tuple[Candidate, str]:
        """The choice rule under this router's criteria, and why; see the function of this name."""
        return choose(
            candidates,
            fallback_model=self.fallback_model,
            response_quality_difference=self.criteria.response_quality_difference,
            resolution=resolution,
        )


def choose(
    candidates: Sequence[Candidate],
    *,
    fallback_model: str,
    response_quality_difference: float,
    resolution: float = 0.0,
) -> tuple[Candidate, str]:
    """The candidate to invoke, and why.

    With d the response quality difference: if any model's expected quality exceeds the fallback model's by more than
    d, the cheapest of those; else the cheapest of the fallback model and of those that lose at most d. Ties: higher
    quality, then the fallback model, then the order given. A gap below `resolution` counts as zero. A model without
    a known price is chosen only as the fallback model. (AWS's documentation tells the first half, its announcement
    the second.)
    """
    anchor = _anchor(candidates, fallback_model)
    d = response_quality_difference
    admitted, better = _admitted(candidates, anchor, d, resolution)
    if not admitted:
        return (
            anchor,
            "no other model is expected to be better by enough, and the fallback model's price is unknown",
        )
    chosen = _cheapest(admitted, anchor)
    gain = _gain(chosen, anchor, resolution)
    if better:
        return chosen, f"expected to be better than {anchor.model.id} by {gain:.2f}, over the {d:.2f} asked for"
    if chosen is not anchor:
        loss = abs(min(gain, 0.0))
        return chosen, f"cheaper, and expected to lose {loss:.2f} against {anchor.model.id}, of the {d:.2f} allowed"
    if len(admitted) == 1:
        unpriced = ", ".join(one.model.id for one in candidates if one.expected_cost is None)
        unknown = f", or its price is unknown ({unpriced})" if unpriced else ""
        return anchor, f"fallback model: no other is expected to come within {d:.2f} of it{unknown}"
    if min(admitted, key=lambda one: one.expected_cost or 0) is not anchor:
        return anchor, "fallback model: another is cheaper for this request, but costs more in those that follow"
    return anchor, "fallback model: the cheapest for this request"


def _anchor(candidates: Sequence[Candidate], fallback_model: str) -> Candidate:
    found = next((candidate for candidate in candidates if candidate.model.invoke_id == fallback_model), None)
    return found or max(candidates, key=lambda candidate: candidate.expected_quality)


def _gain(candidate: Candidate, anchor: Candidate, resolution: float) -> float:
    # Rounded, so that 0.8 against 0.7 is a gap of 0.1 and not of a little more.
    gap = round(candidate.expected_quality - anchor.expected_quality, 9)
    return 0.0 if abs(gap) < resolution else gap


def _admitted(
    candidates: Sequence[Candidate], anchor: Candidate, d: float, resolution: float
) -> tuple[list[Candidate], bool]:
    """The candidates that the criteria leave to choose the cheapest of; whether they are better than the anchor."""
    priced = [candidate for candidate in candidates if candidate.expected_cost is not None]
    better = [one for one in priced if one is not anchor and _gain(one, anchor, resolution) > d]
    if better:
        return better, True
    if anchor.expected_cost is None:
        return [], False
    return [one for one in priced if one is anchor or -_gain(one, anchor, resolution) <= d], False


def explore(decision: Decision, *, share: float, draw: float, fallback_model: str) -> Decision:
    """The decision as it is with that share of requests explored: its model drawn at random if `draw` is below it.

    With e the share and n models to draw from, a model's propensity is e/n, and 1 - e more for the one that the
    criteria chose. A model without a known price is drawn only as the fallback model.
    """
    greedy = decision.model
    models = [
        one.model
        for one in decision.candidates
        if one.expected_cost is not None or one.model is greedy or one.model.invoke_id == fallback_model
    ]
    each = share / len(models)
    if draw >= share:
        return replace(decision, propensity=1 - share + each)
    # Below the share the draw is uniform too: it serves for the model as well.
    model = models[min(int(draw / share * len(models)), len(models) - 1)]
    return replace(
        decision,
        model=model,
        reason=f"explored: drawn at random among {len(models)} models",
        explored=True,
        propensity=1 - share + each if model is greedy else each,
    )


def ranked(router: Router, decision: Decision) -> list[Model]:
    """A decision's candidates in the order in which the criteria would choose them, were the ones before not there."""
    left, order = list(decision.candidates), []
    while left:
        chosen, _ = router.choose(left, resolution=decision.resolution)
        left.remove(chosen)
        order.append(chosen.model)
    return order


def _cheapest(candidates: Sequence[Candidate], anchor: Candidate) -> Candidate:
    def rank(candidate: Candidate) -> tuple[Decimal, float, bool]:
        assert candidate.weighed_cost is not None
        return candidate.weighed_cost, -candidate.expected_quality, candidate is not anchor

    return min(candidates, key=rank)


class _Billed(NamedTuple):
    """A candidate with what its expected bill rests on."""

    candidate: Candidate
    outline: Outline
    placement: Placement
    usage: Usage

    @property
    def ttl(self) -> str | None:
        """What the end of the prompt is written for; None where nothing is."""
        points = self.placement.points
        return points[-1].ttl if points else None

    @property
    def list_price(self) -> Decimal:
        """Of its input, by which models are told dear from cheap."""
        price = self.candidate.model.price
        return (price.at(self.outline.tokens).input if price else None) or Decimal(0)


def _billed(
    prompt: Prompt,
    outline: Outline,
    model: Model,
    predicted: Prediction,
    ledger: Ledger,
    now: float,
    place: Placing,
) -> _Billed:
    lengths = predicted.output_tokens.get(model.id)
    output_tokens = _expected_output(prompt, math.nan if lengths is None else float(lengths[0]))
    placement = place(outline, model, ledger, now)
    usage = expected_usage(outline, model, placement, ledger, now, output_tokens=output_tokens)
    candidate = Candidate(
        model=model,
        expected_quality=float(predicted[model.id][0]),
        expected_cost=cost_of(usage, model.price).total,
        expected_output_tokens=output_tokens,
    )
    return _Billed(candidate, outline, placement, usage)


def _cheap_model_will_do(bills: Sequence[_Billed], admitted: Sequence[Candidate], fallback_model: str) -> bool:
    """Whether the criteria admit the cheapest model by list price; of a single candidate, one that isn't the anchor."""
    if len(bills) == 1:
        return bills[0].candidate.model.invoke_id != fallback_model
    cheapest = min(bills, key=lambda billed: billed.list_price)
    return any(one is cheapest.candidate for one in admitted)


def _held_against(admitted: Sequence[_Billed], anchor: Candidate) -> _Billed:
    """The anchor, unless none of them is cheaper than it: then the dearest."""
    dearest = max(admitted, key=lambda billed: billed.list_price)
    cheapest = min(admitted, key=lambda billed: billed.list_price)
    anchored = next((billed for billed in admitted if billed.candidate is anchor), dearest)
    return anchored if anchored.list_price > cheapest.list_price else dearest


def _added_later(
    dear: _Billed, cheap: _Billed, outlook: Outlook, requests: int, ledger: Ledger, now: float
) -> Decimal | None:
    """USD that the cheap one adds to the requests that follow, against the dear one; None where a price is unknown."""
    # What one of them keeps for an hour is not lost with a pause that the other one's caches don't survive.
    ttl = "1h" if "1h" in (dear.ttl, cheap.ttl) else "5m"
    standings = _standing(dear, ledger, now), _standing(cheap, ledger, now)
    if standings[0] is None or standings[1] is None:
        return None
    added = added_later(standings[0], standings[1], outlook, ttl=ttl, tokens=dear.usage.input_tokens, requests=requests)
    return Decimal(added).quantize(_TENTH_OF_A_MICRO_DOLLAR)


def _standing(billed: _Billed, ledger: Ledger, now: float) -> Standing | None:
    model, read = billed.candidate.model, billed.usage.cache_read_tokens
    tariff = Tariff.of(model, billed.ttl)
    if tariff is None:
        return None
    written = ledger.written(billed.outline, model) if read else None
    age = None if written is None else max(now - written.used, 0.0)
    return Standing(tariff, billed.usage.input_tokens - read, age)


def expected_cost(
    outline: Outline, model: Model, ledger: Ledger, now: float, *, output_tokens: int = EXPECTED_OUTPUT_TOKENS
) -> Decimal | None:
    """USD to expect for this request on that model: what is warm there read, what a placement adds written."""
    placement = place(outline, model, ledger, now)
    usage = expected_usage(outline, model, placement, ledger, now, output_tokens=output_tokens)
    return cost_of(usage, model.price).total


def expected_usage(
    outline: Outline,
    model: Model,
    placement: Placement,
    ledger: Ledger,
    now: float,
    *,
    output_tokens: int = 0,
) -> Usage:
    """The usage to expect of this prompt under this placement. Blocks that can't be counted add nothing."""
    warm = ledger.readable(outline, model, placement.points, now)
    read = warm.tokens if warm else 0
    points = [point for point in placement.points if effective(outline, model, point.after)]
    one_hour = [point.after for point in points if point.ttl == "1h"]
    cached = max(outline.tokens_to(points[-1].after), read) if points else 0
    until_one_hour = outline.tokens_to(one_hour[-1]) if one_hour else 0
    return Usage(
        input_tokens=max(outline.tokens, cached),
        cache_read_tokens=read,
        cache_write_tokens=cached - read,
        cache_write_1h_tokens=max(min(until_one_hour, cached) - read, 0),
        output_tokens=output_tokens,
    )


def _expected_output(prompt: Prompt, predicted: float) -> int:
    """Tokens of the answer: as predicted, where that is known (not NaN), and no more than the request allows."""
    expected = max(round(predicted), 0) if math.isfinite(predicted) else EXPECTED_OUTPUT_TOKENS
    limit = (prompt.request.get("inferenceConfig") or {}).get("maxTokens")
    return min(limit, expected) if isinstance(limit, int) else expected


def _told(cost: Decimal | None) -> str | None:
    return None if cost is None else f"{cost:f}"
