"""The runs of `caching_routing.py`: pairs of models, needs drawn at random, and the policies that are compared."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import caching_sets as sets
import numpy as np

from pointsman import Catalog, Ledger, Model, Price, Prompt, Router, RoutingCriteria, Usage, place
from pointsman.evaluation.billing import BillingSimulator
from pointsman.evaluation.policies import PlacementPolicy, at_the_end
from pointsman.evaluation.traffic import RecordedRequest, coding_session, one_after_another
from pointsman.pricing import cost_of
from pointsman.routing import Prediction
from pointsman.routing.router import EXPECTED_OUTPUT_TOKENS, expected_usage

SEED = 1
MOST_REQUESTS = 400
TTL_SECONDS = 300.0
STRONG, CHEAP = 0, 1
_RULES_OF = "anthropic.claude-sonnet-4-5-20250929-v1:0"


class Setting(NamedTuple):
    """One row: which pair, what the need for the strong model is drawn by (`turn` or `request`), and how often."""

    pair: str
    drawn: str
    share: float
    traces: Path
    choosing: bool = False
    own_placement: bool = False


class Result(NamedTuple):
    """Bills relative to always the strong model."""

    setting: Setting
    blind: float
    sticky: float
    greedy: float
    ours: float
    clairvoyant: float

    @property
    def best_simple(self) -> float:
        """The least of always-strong, cache-blind and sticky."""
        return min(1.0, self.blind, self.sticky)

    @property
    def gap(self) -> float:
        """What clairvoyance saves of the cache-blind bill."""
        return 1 - self.clairvoyant / self.blind

    @property
    def closed(self) -> float:
        """The part of the way from blind to clairvoyant."""
        return (self.blind - self.ours) / (self.blind - self.clairvoyant)


def _ratio_pair(ratio: int, read: float) -> tuple[Price, Price]:
    """Prices of two models `ratio` apart, that of the cheap one's input 1; output five times the input."""

    def price(base: float) -> Price:
        return Price(
            input=str(base),  # type: ignore[arg-type]  # taken for a Decimal, as the others
            output=str(5 * base),  # type: ignore[arg-type]
            cache_read=str(read * base),  # type: ignore[arg-type]
            cache_write={"5m": str(1.25 * base), "1h": str(2 * base)},  # type: ignore[dict-item]
        )

    return price(ratio), price(1)


_NAMED = {
    "Sonnet 4.6 > Haiku 4.5": ("anthropic.claude-sonnet-4-6", "anthropic.claude-haiku-4-5-20251001-v1:0"),
    "Opus 5 > Haiku 4.5": ("anthropic.claude-opus-5", "anthropic.claude-haiku-4-5-20251001-v1:0"),
    "Opus 5.5 > Sonnet 5.5": ("anthropic.claude-opus-5-5", "anthropic.claude-sonnet-5-5"),
    "Opus 5.5 > Haiku 5.5": ("anthropic.claude-opus-5-5", "anthropic.claude-haiku-5-5"),
    "Fable 5.1 > Opus 5.5": ("anthropic.claude-fable-5-1", "anthropic.claude-opus-5-5"),
    "Nova Pro > Lite": ("amazon.nova-pro-v1:0", "amazon.nova-lite-v1:0"),
}
_RATIOS = {f"{ratio} x, r = {read:g}": (ratio, read) for ratio in (3, 5, 12) for read in (0.1, 0.05, 0.025)}
PAIRS = (*_NAMED, *_RATIOS)


def models_of(pair: str) -> tuple[Model, Model]:
    """The strong and the cheap one. Both cache by the rules that most models of Claude have: prices are compared."""
    catalog = Catalog.default()
    rules = catalog.resolve(_RULES_OF).cache
    if pair in _NAMED:
        strong, cheap = (replace(catalog.resolve(name), cache=rules) for name in _NAMED[pair])
        return strong, cheap
    base = catalog.resolve(_RULES_OF)
    prices = _ratio_pair(*_RATIOS[pair])
    strong, cheap = (
        replace(base, id=name, invoke_id=name, name=name, price=price)
        for name, price in zip(("strong", "cheap"), prices, strict=True)
    )
    return strong, cheap


class Session(NamedTuple):
    """One session on the common timeline; `begins` tells the requests that begin a turn."""

    requests: tuple[RecordedRequest, ...]
    begins: tuple[bool, ...]
    shared: Any


@lru_cache(maxsize=1)
def sessions_of(traces: Path, choosing: bool) -> tuple[Session, ...]:
    """The sessions of one half, each once, of no more than so many requests."""
    with gzip.open(traces / "claude_code_sessions.jsonl.gz", "rt") as lines:
        told = [one for one in sets.distinct(map(json.loads, lines)) if sets.is_reported(str(one["id"])) != choosing]
    told = [one for one in told if 0 < sum(not request[7] for request in one["reqs"]) <= MOST_REQUESTS]
    every = list(one_after_another(map(coding_session, told)))
    sessions, start = [], 0
    for one in told:
        main = [place for place, request in enumerate(one["reqs"]) if not request[7]]
        begins = tuple(place == main[0] or one["reqs"][place][9] == "text" for place in main)
        requests = tuple(every[start : start + len(main)])
        sessions.append(Session(requests, begins, _shared_tokens(one)[np.ix_(main, main)]))
        start += len(main)
    return tuple(sessions)


def _shared_tokens(told: dict[str, Any]) -> Any:
    """How many tokens any two requests share: what the later one may read, if the earlier one wrote its end."""
    requests = told["reqs"]
    shared = np.zeros((len(requests), len(requests)), int)
    for index, request in enumerate(requests):
        blocks, parent, common = request[4:7]
        shared[index, index] = blocks
        if parent >= 0:
            shared[index, :index] = np.minimum(common, shared[parent, :index])
            shared[index, parent] = common
            shared[:index, index] = shared[index, :index]
    return shared * told["bs"]


def needs_of(sessions: Iterable[Session], drawn: str, share: float) -> list[tuple[bool, ...]]:
    """For which requests the strong model is needed: drawn for each, or for each turn."""
    random = Random(SEED)
    needs = []
    for session in sessions:
        needed, current = [], False
        for begins in session.begins:
            if begins or drawn == "request":
                current = random.random() < share
            needed.append(current)
        needs.append(tuple(needed))
    return needs


# --- policies -----------------------------------------------------------------------------------------------------

Choice = Callable[[RecordedRequest, bool, Ledger], int]
"""Given the request, whether the strong model is needed, and the ledger: which of the two."""


class _Told:
    """A predictor that is told whether the cheap model will do."""

    def __init__(self, models: tuple[Model, Model]) -> None:
        self._models = models
        self.needed = False

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Prediction:  # noqa: ARG002 - protocol
        strong, cheap = (model.id for model in self._models)
        return Prediction({strong: np.array([0.9]), cheap: np.array([0.1 if self.needed else 0.9])})


def ours(models: tuple[Model, Model], lay: PlacementPolicy) -> Choice:
    """Our router, which learns as it goes; it knows for each request whether the cheap model will do, and no more."""
    told = _Told(models)
    router = Router(
        models=[model.invoke_id for model in models],
        fallback_model=models[STRONG].invoke_id,
        criteria=RoutingCriteria(response_quality_difference=0.1),
        predictor=told,
    )
    prompt = Prompt.of_text("")

    def choose(request: RecordedRequest, needed: bool, ledger: Ledger) -> int:
        told.needed = needed
        candidates = [(model, request.outline) for model in models]
        chosen = router.decide(prompt, candidates, ledger=ledger, now=request.at, place=lay).model
        return STRONG if chosen is models[STRONG] else CHEAP

    return choose


def greedy(models: tuple[Model, Model], lay: PlacementPolicy) -> Choice:
    """The model on which this request costs less."""

    def choose(request: RecordedRequest, needed: bool, ledger: Ledger) -> int:
        if needed:
            return STRONG
        bills = [_expected(request, model, lay, ledger) for model in models]
        return CHEAP if bills[CHEAP] < bills[STRONG] else STRONG

    return choose


def _expected(request: RecordedRequest, model: Model, lay: PlacementPolicy, ledger: Ledger) -> float:
    outline, now = request.outline, request.at
    placement = lay(outline, model, ledger, now)
    usage = expected_usage(outline, model, placement, ledger, now, output_tokens=EXPECTED_OUTPUT_TOKENS)
    return _cost(usage, model)


def blind(request: RecordedRequest, needed: bool, ledger: Ledger) -> int:  # noqa: ARG001 - as every choice
    """The cheap model, wherever it will do."""
    return STRONG if needed else CHEAP


def strong(request: RecordedRequest, needed: bool, ledger: Ledger) -> int:  # noqa: ARG001 - as every choice
    """Always the strong model."""
    return STRONG


def sticky() -> Choice:
    """Once the strong model was needed, the session stays on it."""
    held: set[str] = set()

    def choose(request: RecordedRequest, needed: bool, ledger: Ledger) -> int:  # noqa: ARG001 - as every choice
        if needed:
            held.add(request.session)
        return STRONG if request.session in held else CHEAP

    return choose


def _foreseen(sessions: Sequence[Session], needs: Sequence[Sequence[bool]], models: tuple[Model, Model]) -> Choice:
    choices = {
        (request.session, request.at): chosen
        for session, needed in zip(sessions, needs, strict=True)
        for request, chosen in zip(session.requests, _best_choices(session, needed, models), strict=True)
    }
    return lambda request, *_: choices[request.session, request.at]


def _best_choices(session: Session, needed: Sequence[bool], models: tuple[Model, Model]) -> list[int]:
    """The choices that cost least over a whole session, by dynamic programming.

    A state is the model that answered last, and the request that the other one answered last. The requests of a model
    before its last one count for nothing: where a session goes back to an earlier point, the bill may be a little off.
    """
    bills = [_bills_by_last(session, model) for model in models]
    count = len(session.requests)
    # By the model that answered last, and the last request (or none) that the other answered: what is to come.
    ahead = [np.zeros(count + 1), np.zeros(count + 1)]
    switches: list[list[Any]] = [[None, None]] * count
    for index in range(count - 1, 0, -1):
        staying = [bills[model][index][index] + ahead[model][:index] for model in (STRONG, CHEAP)]
        switching = [bills[1 - model][index][:index] + ahead[1 - model][index] for model in (STRONG, CHEAP)]
        if needed[index]:
            switches[index] = [np.zeros(index, bool), np.ones(index, bool)]
        else:
            switches[index] = [switching[model] < staying[model] for model in (STRONG, CHEAP)]
        ahead = [np.where(switches[index][model], switching[model], staying[model]) for model in (STRONG, CHEAP)]
    cheap_first = bills[CHEAP][0][0] + ahead[CHEAP][0] < bills[STRONG][0][0] + ahead[STRONG][0]
    choices = [CHEAP if cheap_first and not needed[0] else STRONG]
    others_last = 0
    for index in range(1, count):
        model = choices[-1]
        if switches[index][model][others_last]:
            model, others_last = 1 - model, index
        choices.append(model)
    return choices


def _bills_by_last(session: Session, model: Model) -> list[Any]:
    """For each request what it costs on a model, by the last request (or none) that this one answered."""
    bills = []
    for index, request in enumerate(session.requests):
        tokens = request.outline.tokens
        end = min(int(session.shared[index, index]), tokens)
        read = np.zeros(index + 1)
        pauses = request.at - np.array([one.at for one in session.requests[:index]])
        ends = np.diag(session.shared)[:index]
        read[1:] = np.where(pauses <= TTL_SECONDS, np.minimum(session.shared[index, :index], ends), 0)
        assert model.price is not None
        price = model.price.at(tokens)
        rates = [float(one or 0) for one in (price.cache_read, price.cache_write["5m"], price.input, price.output)]
        uncached, output = tokens - end, request.output_tokens
        bills.append(rates[0] * read + rates[1] * (end - read) + rates[2] * uncached + rates[3] * output)
    return bills


# --- runs ---------------------------------------------------------------------------------------------------------


def bill(
    sessions: Sequence[Session],
    needs: Sequence[Sequence[bool]],
    models: tuple[Model, Model],
    choose: Choice,
    lay: PlacementPolicy,
    *,
    booked: bool = True,
) -> float:
    """USD that the sessions cost under a policy, one after another on one ledger; `booked`: someone looks into it."""
    ledger, billing = Ledger(), BillingSimulator(conservative=True)
    total = 0.0
    for session, needed in zip(sessions, needs, strict=True):
        for request, need in zip(session.requests, needed, strict=True):
            model = models[choose(request, need, ledger)]
            placement = lay(request.outline, model, ledger, request.at)
            usage = billing.bill(
                request.outline, placement.points, model, request.at, output_tokens=request.output_tokens
            )
            if booked:
                ledger.record(request.outline, model, placement, usage, request.at)
            total += _cost(usage, model)
    return total


def _cost(usage: Usage, model: Model) -> float:
    cost = cost_of(usage, model.price).total
    assert cost is not None
    return float(cost)


def run(setting: Setting) -> Result:
    """All policies in one setting."""
    models = models_of(setting.pair)
    sessions = sessions_of(setting.traces, setting.choosing)
    needs = needs_of(sessions, setting.drawn, setting.share)
    foreseen = _foreseen(sessions, needs, models)
    lay: PlacementPolicy = place if setting.own_placement else at_the_end
    always, *others = [
        bill(sessions, needs, models, policy, lay, booked=looks or setting.own_placement)
        for policy, looks in (
            (strong, False),
            (blind, False),
            (sticky(), False),
            (greedy(models, lay), True),
            (ours(models, lay), True),
            (foreseen, False),
        )
    ]
    return Result(setting, *(one / always for one in others))
