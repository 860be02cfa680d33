"""How `pointsman route` is carried out: a request's way up to its call, which is not made. Knows no options."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointsman.ask.conversation import choose_model_id
from pointsman.cache import Ledger, place
from pointsman.catalog import Catalog, Model
from pointsman.cli.fitting import check_heads, load_predictor
from pointsman.cli.kept import kept_routers, region_here
from pointsman.cli.layout import UNKNOWN, dollars, make_console, print_about, print_json, print_remark, table_of
from pointsman.cli.route import Routing
from pointsman.context import Context
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.asked import read_requests
from pointsman.flow import Reply, converse_flow
from pointsman.outline import Outline
from pointsman.prompt import Prompt
from pointsman.routing import Candidate, Router, RouterRegistry
from pointsman.routing.router import expected_usage
from pointsman.trace import Trace

_FRESH = "nothing: nothing was sent before. --warm ID tells what is decided when the prompt is warm."
# On a line of its own below the name the id leaves room for the figures.
_WIDE = 130
_HEADER = ("model", "can serve it", "quality", "cost, USD", "later, USD", "answer", "warm", "")


def carry_out(wanted: Routing) -> None:
    """Decide, and print the decision.

    Raises:
        InvalidRequestError: the request, the router or the predictor can't be used.
        NoEligibleModelError: no model of the router can serve the request.
    """
    request = _request(wanted.what)
    region, catalog = region_here(wanted.region), Catalog.default()
    predictor = None if wanted.predictor is None else load_predictor(wanted.predictor)
    routers = kept_routers(region=region, catalog=catalog, predictor=predictor)
    router = _router(wanted, request, routers, region)
    if predictor is not None:
        check_heads(predictor, router, catalog)
    context = Context(catalog=catalog, routers=routers, ledger=Ledger(), region=region)
    now = time.time()
    outline = _outline(request, context)
    warmed = [_candidate(model_id, router, context) for model_id in wanted.warm]
    for model in warmed:
        _warm(model, outline, context.ledger, now)
    trace = _trace({**request, "modelId": router.name}, context, now)
    told = _Told(trace=trace, router=router, outline=outline, context=context, now=now)
    if wanted.as_json:
        print_json(told.to_dict())
    else:
        _show(told, warmed)


# --- what is routed -----------------------------------------------------------------------------------------------


def _request(what: str) -> Mapping[str, Any]:
    if what == "-":
        return _of_text(_piped())
    if what.endswith(".json") and len(what.split()) == 1:
        return _of_file(Path(what))
    with suppress(OSError):  # A long text is no name of a file.
        if Path(what).is_file():
            raise InvalidRequestError(
                f"{what} is a file. A request must be in a .json file; a text goes to stdin: pointsman route - < {what}"
            )
    return _of_text(what)


def _piped() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(f"what comes from stdin is no text: {exc}.") from exc


def _of_text(text: str) -> Mapping[str, Any]:
    if not text.strip():
        raise InvalidRequestError('the prompt is empty. Give a text, such as pointsman route "What is a mutex?".')
    with suppress(json.JSONDecodeError):
        told = json.loads(text)
        if isinstance(told, dict) and "messages" in told:
            raise InvalidRequestError("the text is a request as JSON. Put it into a .json file, and name that.")
    return Prompt.of_text(text).request


def _of_file(path: Path) -> Mapping[str, Any]:
    requests = read_requests(path)
    if requests is None or len(requests) != 1:
        raise InvalidRequestError(f"{path} holds more than one request. Give one: a JSON object with `messages`.")
    request = requests[0].request
    assert request is not None
    return request


def _router(wanted: Routing, request: Mapping[str, Any], routers: RouterRegistry, region: str) -> Router:
    named = request.get("modelId")
    if wanted.router is None and named is not None and routers.router_or_model(named, region=region) is None:
        raise InvalidRequestError(f"the request names the model {named}: nothing is decided. Give it a --router.")
    name = choose_model_id(routers, router=wanted.router or named, model=None, region=region, local=True)
    router = routers.router(name, region=region)
    assert router is not None
    return router


# --- how it is decided --------------------------------------------------------------------------------------------


def _trace(request: Mapping[str, Any], context: Context, now: float) -> Trace:
    """The trace of a request as if its call had been answered; without a usage nothing is booked."""
    flow = converse_flow(request, context, now=now)
    next(flow)
    try:
        flow.send(Reply(usage=None, at=now))
    except StopIteration as done:
        trace: Trace = done.value
        return trace
    raise AssertionError("an answered call ends the flow")


def _outline(request: Mapping[str, Any], context: Context) -> Outline:
    try:
        return Prompt(request).outline(context.counter, key=context.ledger.key)
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise InvalidRequestError(f"the request is not of Converse's shape: {exc}.") from exc


def _candidate(model_id: str, router: Router, context: Context) -> Model:
    """The router's model of that id, as it is invoked."""
    models = [context.catalog.resolve(one, region=context.region) for one in router.model_ids]
    for model in models:
        if model_id in (model.invoke_id, model.id):
            return model
    known = ", ".join(model.invoke_id for model in models)
    raise InvalidRequestError(f"--warm {model_id}: the router {router.name} has no such model. It has {known}.")


def _warm(model: Model, outline: Outline, ledger: Ledger, now: float) -> None:
    """Book the prompt as written on that model."""
    placement = place(outline, model, ledger, now)
    ledger.record(outline, model, placement, expected_usage(outline, model, placement, ledger, now), now)


# --- what is shown ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """A decision, and what it rests on."""

    trace: Trace
    router: Router
    outline: Outline
    context: Context
    now: float

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return self.trace.decision.candidates if self.trace.decision else ()

    @property
    def set_aside(self) -> list[tuple[Model, str]]:
        """The models that can't serve it, and why."""
        reasons = self.trace.decision.set_aside if self.trace.decision else {}
        return [(self.context.catalog.resolve(one, region=self.context.region), why) for one, why in reasons.items()]

    @property
    def why(self) -> str:
        if self.trace.decision is None:
            return f"fallback model: the router could not decide ({'; '.join(self.trace.advice_failures)})"
        return self.trace.decision.reason

    def warm_tokens(self, model: Model) -> int:
        """Tokens of the prompt that are believed readable from that model's cache."""
        warm = self.context.ledger.warm_prefix(self.outline, model, self.now)
        return warm.tokens if warm else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON. `set_aside` maps ids to reasons, as in a trace."""
        trace = self.trace.to_dict()
        decision = trace["decision"] or {}
        warm = {one.model.invoke_id: self.warm_tokens(one.model) for one in self.candidates}
        weighed = [{**one, "warm_tokens": warm[one["model"]]} for one in decision.get("candidates", [])]
        return {
            "router": self.router.name,
            "region": self.context.region,
            "prompt_tokens": self.outline.tokens,
            "model": self.trace.model.invoke_id,
            "reason": self.why,
            **{name: decision.get(name) for name in ("response_quality_difference", "predictor", "basis")},
            "resolution": decision.get("resolution"),
            "candidates": weighed,
            "set_aside": decision.get("set_aside", {}),
            "changes": trace["changes"],
            "placement": trace["placement"],
            "advice_failures": trace["advice_failures"],
            "sent": False,
        }


def _show(told: _Told, warmed: Sequence[Model]) -> None:
    console, model, decision = make_console(), told.trace.model, told.trace.decision
    uncounted = "" if told.outline.counted else " besides what can't be counted (PDF, images): costs leave it out"
    about = {
        "Router": f"{told.router.name}: may lose {told.router.criteria.response_quality_difference:g} of quality "
        f"against {told.router.fallback_model}",
        "Prompt": f"about {told.outline.tokens:,} tokens{uncounted}, called from {told.context.region}",
        "Model": f"{model.name} ({model.invoke_id})",
        "Why": told.why,
        "Predictor": UNKNOWN if decision is None else f"{decision.predictor}, by {decision.basis or 'no told basis'}",
        "Warm": "\n".join(dict.fromkeys(_warmth(one, told) for one in warmed)) or _FRESH,
    }
    if told.trace.changes:
        about["Changed"] = "\n".join(f"{change.field}: {change.done}" for change in told.trace.changes)
    print_about(console, about)
    wide = console.width >= _WIDE
    rows = [(_named(one.model, wide=wide), *_row(one, told)) for one in told.candidates]
    rows += [(_named(one, wide=wide), f"no: {why}", *[""] * 6) for one, why in told.set_aside]
    console.print(table_of(_HEADER, rows, right=(2, 3, 4, 5, 6)))
    print_remark(
        console,
        "Quality is expected, 0 to 1. Cost is this request's at list prices, with estimated tokens. Later is what the "
        "choice adds to the requests that follow, against the dear model. Nothing was sent.",
    )


def _warmth(model: Model, told: _Told) -> str:
    """What of a prompt that has just been sent to the model is warm there."""
    minimum = model.cache.minimum_tokens
    if told.warm_tokens(model):
        return "as if it had just been sent"
    if not model.cache.supported:
        return f"nothing: {model.name} caches no prompts"
    if minimum is not None and told.outline.tokens < minimum:
        return f"nothing: the prompt is below {model.name}'s minimum of {minimum:,} tokens, so that it can't be warm"
    return f"nothing: no cache point would have been laid for {model.name}"


def _row(one: Candidate, told: _Told) -> tuple[str, ...]:
    return (
        "yes",
        f"{one.expected_quality:.3f}",
        dollars(one.expected_cost),
        "" if one.expected_later_cost is None else dollars(one.expected_later_cost),
        f"{one.expected_output_tokens:,}",
        f"{told.warm_tokens(one.model):,}",
        "chosen" if one.model.invoke_id == told.trace.model.invoke_id else "",
    )


def _named(model: Model, *, wide: bool) -> str:
    return f"{model.name} ({model.invoke_id})" if wide else f"{model.name}\n{model.invoke_id}"
