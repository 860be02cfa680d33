"""What happens to one request, without any I/O: route, adapt, place, yield the call, fall back or account.

`converse_flow` is a generator: it yields a `Call`, is sent the `Reply` or `Failure` that came of it, and returns the
`Trace`. Sync, async and streamed clients only drive it. Advice never breaks the call: where a step of ours fails,
the request goes out as the caller wrote it, and the trace says so.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from pointsman.adapt import adapt, cannot_be_forced, why_not
from pointsman.cache import (
    Case,
    Drift,
    MissReason,
    Refusal,
    Sending,
    below_minimum,
    explain_miss,
    place,
)
from pointsman.cache.placement import JUST_BELOW, NO_POINTS, Placement
from pointsman.cache.reuse import application_of
from pointsman.catalog import CacheRules, Model
from pointsman.context import Context
from pointsman.documents import Economy, Plan, Session, Told
from pointsman.errors import InvalidRequestError, NoEligibleModelError
from pointsman.outline import Outline, Prefix
from pointsman.prompt import Prompt
from pointsman.prompt_routers import as_arn, split_router_arn
from pointsman.routing import Decision, Router
from pointsman.routing.router import ranked
from pointsman.trace import Attempt, Trace
from pointsman.usage import Usage

_T = TypeVar("_T")


class Call(NamedTuple):
    """A Converse request to send as it is, the model that it invokes, and its outline, if it has one."""

    model: Model
    request: dict[str, Any]
    outline: Outline | None = None


class Reply(NamedTuple):
    """What came back. `usage` is None, and `complete` False, for a stream that ended before its metadata."""

    usage: Usage | None
    at: float
    stop_reason: str | None = None
    invoked_model_id: str | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A call that raised.

    `unavailable`: another model may serve it. `points_refused`: a cache point was refused; `refusal` is what to
    remember of it, None where Bedrock didn't tell which.
    """

    error: Exception
    code: str
    at: float
    unavailable: bool = False
    points_refused: bool = False
    refusal: Refusal | None = None


def converse_flow(
    request: Mapping[str, Any],
    context: Context,
    *,
    now: float,
    streaming: bool = False,
    draw: float | None = None,
    session: Session | None = None,
) -> Generator[Call, Reply | Failure, Trace]:
    """Drive one request from the caller's words to its trace.

    If the last call failed, the trace's status is "failed", and its driver raises that call's error. `draw`, a random
    number from 0 up to 1, is what a router explores by. `session` holds the documents that the prompt may be made of.

    Raises:
        InvalidRequestError, NoEligibleModelError, RouterNotFoundError: before anything is yielded.
    """
    story = _Story(request, context, streaming, session)
    story.check()
    story.lay_documents(now)
    models = story.route(now, draw)
    while True:
        model = models.pop(0)
        call = story.prepare(model, now)
        outcome = yield call
        if isinstance(outcome, Failure) and outcome.points_refused and story.gives_up_points(outcome):
            call = story.prepare(model, outcome.at)
            outcome = yield call
        if isinstance(outcome, Reply):
            return story.account(outcome, now)
        story.failed(outcome, call.model)
        if not (outcome.unavailable and models):
            return story.trace("failed")
        now = outcome.at


class _Story:
    """One request on its way. Collects what its trace will tell."""

    def __init__(
        self, request: Mapping[str, Any], context: Context, streaming: bool, session: Session | None = None
    ) -> None:
        self.request = request
        self.context = context
        self.streaming = streaming
        self.prompt = Prompt(request)
        self.asked = request.get("modelId")
        self.router: Router | None = None
        self.decision: Decision | None = None
        self.written_for: Model | None = None
        self.outline: Outline | None = None
        self.attempts: list[Attempt] = []
        self.advice_failures: list[str] = []
        self.at: float | None = None
        self.miss: MissReason | None = None
        self.drift: Drift | None = None
        self._session = session
        self._planned: Plan | None = None
        self._told: Told | None = None
        self._pointless: Model | None = None
        self._sent_prompt: Prompt | None = None
        self._plain(None)

    def check(self) -> None:
        """Refuse what can't be meant, before anything is sent."""
        self.prompt.check()

    def lay_documents(self, now: float) -> None:
        """Put the session's documents where the cache can keep them, alike for every model that may answer."""
        if (session := self._session) is None:
            return
        planned = self._advise("documents", lambda: session.lay(self.prompt, economy=self._economy(), now=now))
        if isinstance(planned, Plan):
            self._planned, self.prompt, self._told = planned, planned.prompt, planned.told
        else:
            self._told = planned

    def _economy(self) -> Economy:
        context, asked = self.context, str(self.asked)
        router = context.routers.router(asked, region=context.region)
        ids = (router.fallback_model, *router.model_ids) if router else (asked,)
        models = [self._named_model(model_id) for model_id in ids]
        return Economy(models, context.ledger, context.recurrence, context.worths)

    def route(self, now: float, draw: float | None) -> list[Model]:
        """The models to try, in order: the decision, what else could serve, and the fallback model once more."""
        context = self.context
        if not isinstance(self.asked, str):
            return [Model(id="", invoke_id="", name="", known=False)]
        self.router = context.routers.router(self.asked, region=context.region)
        if self.router is None:
            if " " in self.asked:  # Only the name of a router has that.
                context.routers.router_or_model(self.asked, region=context.region)
            model = self._named_model(self.asked)
            self.outline = self._advise("outline", lambda: self._outlined(model.cache))
            return [model]
        self.outline = self._advise("outline", lambda: self._outlined(None))
        fallback = context.catalog.resolve(self.router.fallback_model, region=context.region)
        self.written_for = fallback
        router, outline = self.router, self.outline
        if outline is None:
            return [fallback]
        return self._advise("routing", lambda: self._decide(router, outline, fallback, now, draw)) or [fallback]

    def _outlined(self, rules: CacheRules | None) -> Outline | None:
        """The prompt's outline; None where it is plainly too short to be cached, so that there is nothing to tell.

        Of a prompt that these rules don't let one cache, tokens needn't be exact.
        """
        counter = self.context.counter
        minimum = rules.minimum_tokens if rules else None
        if minimum is not None and self.prompt.is_plainly_below(int(JUST_BELOW * minimum), counter):
            return None
        return self.prompt.outline(counter, key=self.context.ledger.key, contents=rules is None or rules.supported)

    def _named_model(self, model_id: str) -> Model:
        if split_router_arn(model_id) is not None:
            # A router that only AWS knows: it decides, and its trace will say what was invoked.
            return Model(id=model_id, invoke_id=model_id, name=model_id, known=False, region=self.context.region)
        return self.context.catalog.resolve(model_id, region=self.context.region)

    def _decide(self, router: Router, outline: Outline, fallback: Model, now: float, draw: float | None) -> list[Model]:
        candidates, set_aside = self._candidates(router, outline)
        order = able = [model for model, _ in candidates]
        begun = self.context.turns.begun(router, outline)
        if begun and begun.model in (staying := {model.invoke_id: (model, scaled) for model, scaled in candidates}):
            model, scaled = staying[begun.model]
            decision = router.stay(model, explored=begun.explored, propensity=begun.propensity)
            self.context.ledger.courses.follow(router.name, scaled, now)
        else:
            decision = router.decide(self.prompt, candidates, ledger=self.context.ledger, now=now, draw=draw)
            order = ranked(router, decision)
        self.decision = replace(decision, set_aside=set_aside)
        rest = [model for model in order if model is not decision.model]
        last = [model for model in able if model.invoke_id == fallback.invoke_id]
        return [decision.model, *rest, *last]

    def _candidates(self, router: Router, outline: Outline) -> tuple[list[tuple[Model, Outline]], dict[str, str]]:
        able: list[tuple[Model, Outline]] = []
        set_aside: dict[str, str] = {}
        for model_id in router.model_ids:
            model = self.context.catalog.resolve(model_id, region=self.context.region)
            corrected = self.context.corrected(outline, model)
            reason = why_not(self.prompt, corrected, model, streaming=self.streaming)
            if reason is None:
                able.append((model, corrected))
            else:
                set_aside[model.invoke_id] = reason
        if not able:
            raise NoEligibleModelError(router.name, set_aside)
        unforced = [model for model, _ in able if cannot_be_forced(self.prompt, model)]
        if 0 < len(unforced) < len(able):
            set_aside |= {model.invoke_id: "can't be forced to call a tool" for model in unforced}
            able = [(model, corrected) for model, corrected in able if model not in unforced]
        return able, set_aside

    def prepare(self, model: Model, now: float) -> Call:
        """The call to this model: adapted to it, with its cache points, or plain where our advice fails."""
        self.at = now
        self._plain(model)
        if self.outline is not None and not self._advise("placement", lambda: self._lay(model, now)):
            self._plain(model := self.written_for or model)
        request = dict(self._laid)
        if self.router is not None:
            request["modelId"] = model.invoke_id
        return Call(model=model, request=request, outline=self.placed_on)

    def _plain(self, model: Model | None) -> None:
        self.model = model
        self.changes: tuple[Any, ...] = ()
        self.placement = NO_POINTS
        self.placed_on: Outline | None = None
        self.expected_read: Prefix | None = None
        self.sending: Sending | None = None
        self._laid: Mapping[str, Any] = self.request
        self._holds_documents = False

    def _lay(self, model: Model, now: float) -> bool:
        prompt, outline, ledger = self.prompt, self.outline, self.context.ledger
        assert outline is not None
        self._laid, self._holds_documents = prompt.request, self._planned is not None
        if self.router is not None:
            prompt, self.changes = adapt(prompt, outline, model, written_for=self.written_for or model)
            if self.changes:
                # What was changed may be part of the cache's key.
                outline = prompt.outline(self.context.counter, key=ledger.key)
                self._laid = prompt.request
        outline = self.context.corrected(outline, model)
        placement = NO_POINTS if model is self._pointless else place(outline, model, ledger, now)
        if placement.points != outline.points or (outline.misplaced and model.known):
            replacing = None if outline.misplaced else outline.points
            self._laid = prompt.with_cache_points(placement.points, replacing=replacing)
        self.placement, self.placed_on = placement, outline
        if placement.points:
            self.expected_read = ledger.readable(outline, model, placement.points, now)
        if model.cache.max_points:
            self._sent_prompt, sent = prompt, self.context.sent
            self.sending = self._advise("prompts sent", lambda: sent.send(outline, model, placement.points, now))
        return True

    def gives_up_points(self, failure: Failure) -> bool:
        """Remember a refused cache point; whether the same model is worth another try without it."""
        model, outline, before = self.model, self.placed_on, self.placement.points
        if model is None or outline is None or not before:
            return False
        self.failed(failure, model)
        if failure.refusal is not None:
            self.context.ledger.refuse(model, failure.refusal, failure.at)
        # Where it isn't told which point it was, or that changes nothing, the next try goes without any.
        if place(outline, model, self.context.ledger, failure.at).points == before:
            self._pointless = model
        return True

    def failed(self, failure: Failure, model: Model) -> None:
        """Note a call that failed: its prompt has not reached the cache."""
        self.attempts.append(Attempt(model.invoke_id, failure.code))
        if self.sending is not None:
            self.context.sent.withdraw(self.sending)

    def account(self, reply: Reply, now: float) -> Trace:
        """Book what came back, and tell the story."""
        usage, model, outline = reply.usage, self.model, self.placed_on
        if usage is not None and model is not None:
            self._advise("miss reason", lambda: self._explain(reply, usage, model, now))
        if usage is not None and model is not None and outline is not None:
            self._advise("accounting", lambda: self._book(reply, usage, model, outline, now))
        if self.sending is not None:
            self.context.sent.answer(self.sending, reply.at)
        if reply.complete and reply.stop_reason != "guardrail_intervened":
            self._advise("documents kept", lambda: self._keep_documents(now))
        trace = self.trace("complete" if reply.complete else "closed early", usage)
        if reply.invoked_model_id is not None and self.router is None:
            invoked = self.context.catalog.resolve(reply.invoked_model_id, region=self.context.region)
            trace = replace(trace, model=invoked, invoked_model_id=reply.invoked_model_id)
        return trace

    def _explain(self, reply: Reply, usage: Usage, model: Model, now: float) -> None:
        """Find out what was missed, before this reply is booked."""
        if reply.stop_reason == "guardrail_intervened":
            return  # The model may not have seen the prompt at all.
        if self.placed_on is None:
            self.miss = below_minimum(model, usage) if self.outline is None and not self.advice_failures else None
            return
        case = Case(
            outline=self.placed_on,
            model=model,
            placement=self.placement,
            usage=usage,
            ledger=self.context.ledger,
            now=now,
            expected=self.expected_read,
            sending=self.sending,
            prompt=self._sent_prompt,
            points_refused=model is self._pointless,
        )
        self.miss = explain_miss(case)
        self.drift = self.context.drift.observe(
            model.invoke_id, expected=case.expected_tokens, read=usage.cache_read_tokens, reason=self.miss
        )

    def _book(self, reply: Reply, usage: Usage, model: Model, outline: Outline, now: float) -> None:
        context = self.context
        if self.router is not None:
            context.turns.remember(self.router, outline, model, self.decision)
        if reply.stop_reason == "guardrail_intervened":
            return  # What a guardrail blocked was never written to the cache.
        counted = counted_cuts(outline, model, self.placement, self.expected_read, usage)
        context.learn(outline, model, usage, counted)
        context.ledger.record(outline, model, self.placement, usage, now)

    def _keep_documents(self, now: float) -> None:
        session, planned, outline = self._session, self._planned, self.placed_on
        if session is None or planned is None or outline is None or not self._holds_documents:
            return
        ttl, application = self._ttl_of_what_stays(outline), application_of(outline)
        session.answered(planned, self.context.recurrence, at=now, ttl=ttl, application=application)

    def _ttl_of_what_stays(self, outline: Outline) -> str | None:
        """The TTL of the last cache point, unless it leaves out the messages that the next prompt extends."""
        if not self.placement.points:
            return None
        last = self.placement.points[-1]
        end = (len(outline.blocks) if outline.volatile_from is None else outline.volatile_from) - 1
        return last.ttl if outline.blocks[last.after].section == outline.blocks[end].section else None

    def _documents(self) -> Told | None:
        if self._planned is not None and not self._holds_documents:
            return Told(as_written="the prompt is too short to be cached, or went out plain")
        return self._told

    def trace(self, status: str, usage: Usage | None = None) -> Trace:
        """The story so far."""
        model = self.model
        assert model is not None
        return Trace(
            asked=str(self.asked),
            model=model,
            invoked_model_id=self._invoked_model_id(model),
            status=status,
            router=self.router.name if self.router else None,
            decision=self.decision,
            changes=self.changes,
            placement=self.placement,
            outline=self.placed_on,
            expected_read=self.expected_read,
            attempts=tuple(self.attempts),
            usage=usage,
            advice_failures=tuple(self.advice_failures),
            at=self.at,
            miss=self.miss,
            drift=self.drift,
            documents=self._documents(),
            session=self._session.digest(self.context.ledger.key) if self._session is not None else None,
        )

    def _invoked_model_id(self, model: Model) -> str:
        """As Bedrock's router reports it: an ARN of the account and Region that the router was called by."""
        called = split_router_arn(str(self.asked)) if self.router is not None else None
        return as_arn(model.invoke_id, called[1], called[2]) if called else model.invoke_id

    def _advise(self, step: str, advice: Callable[[], _T]) -> _T | None:
        try:
            return advice()
        except _CALLERS_MISTAKES.get(step, ()):
            raise
        except Exception as exc:  # noqa: BLE001 - advice must not break the call, whatever its fault
            self.advice_failures.append(f"{step}: {type(exc).__name__}: {exc}")
            return None


# Nearer to the end, or to what a model caches at most, the tokens up to a point say nothing of their own.
_PART = 0.8


def counted_cuts(
    outline: Outline, model: Model, placement: Placement, expected: Prefix | None, usage: Usage
) -> list[tuple[int, int]]:
    """Where the usage tells the tokens up to a block: pairs of its index and those tokens.

    All where every block can be counted; up to the last cache point if something was written; else what was read.
    """
    cuts = []
    cached = usage.cache_read_tokens + usage.cache_write_tokens
    most = model.cache.maximum_tokens
    if usage.cache_write_tokens and placement.points and (most is None or cached < _PART * most):
        last = placement.points[-1].after
        if last < outline.first_unknown and (not outline.counted or cached < _PART * usage.input_tokens):
            cuts.append((last, cached))
    if outline.counted and outline.blocks:
        cuts.append((len(outline.blocks) - 1, usage.input_tokens))
    # Which prefix was read isn't told: it is the expected one if about as many tokens were.
    read = usage.cache_read_tokens
    if not cuts and expected and expected.after < outline.first_unknown and _PART < read / expected.tokens < 1 / _PART:
        cuts.append((expected.after, read))
    return cuts


# What a step may refuse for the caller's sake; anything else that it raises is its own fault.
_CALLERS_MISTAKES: Mapping[str, tuple[type[Exception], ...]] = {
    "outline": (InvalidRequestError,),
    "routing": (NoEligibleModelError,),
}
