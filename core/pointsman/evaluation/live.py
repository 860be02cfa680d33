"""Policies on real answers: each prompt is asked through a client, and a judge of the user's says how good they are.

A router is asked by its name, as an application would; then each model in play that it didn't choose is asked by
itself, so that the same prompts tell what always the one or the other model, and the oracle, would have come to. Knows
how to ask and to count what fails; what the answers amount to is left to `compare`.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Literal, NamedTuple

import numpy as np

from pointsman.catalog import Model
from pointsman.client import Client
from pointsman.errors import InvalidRequestError, PointsmanError
from pointsman.evaluation.metrics import Floats
from pointsman.evaluation.trial import (
    Answer,
    Policy,
    Progress,
    Run,
    Trial,
    models_in_play,
    models_of,
    outlined,
    request_of,
    resolved,
)
from pointsman.prompt_routers import split_router_arn
from pointsman.routing import Outcomes, Router

Judge = Callable[[Mapping[str, Any], Mapping[str, Any]], float]
"""Takes the request and the reply, as boto3 has them, and gives the answer's quality from 0 to 1.

A plain function. It is called in the threads that ask, several at once, so that it may take its time or ask a model
itself. What it raises counts as a failure.
"""

# So many failures without a single answer, and the rest is not asked for.
HOPELESS = 20


class LiveEvaluationError(PointsmanError):
    """Prompts were sent, and nothing can be said: no prompt was answered by all, or the judge gave no quality."""


def ask(
    prompts: Outcomes,
    policies: Sequence[Policy],
    client: Client,
    judge: Judge,
    *,
    concurrency: int = 4,
    max_tokens: int | None = None,
    on_progress: Progress = lambda *_: None,
) -> Trial:
    """Ask each policy and each model in play every prompt, `concurrency` prompts at a time.

    Of `prompts` the texts and categories are used. Routers are the client's own of that name, and may be given as the
    name alone; an ARN of a router that only AWS knows is passed on. `max_tokens` limits answers where a prompt doesn't.
    Costs are those of the usage that came back. Failed calls are counted by their code, and their prompts left out.

    Raises:
        InvalidRequestError: there is no prompt, the judge or a router can't be used; nothing was sent.
        LiveEvaluationError: see there.
    """
    if not len(prompts):
        raise InvalidRequestError("there are no prompts to ask.")
    policies = [_known(policy, client) for policy in policies]
    asking = _Asking(policies, client, judge)
    requests = [_limited(request_of(prompt), max_tokens) for prompt in prompts.prompts]
    tokens, questions = outlined(requests)
    asked = asking.all(requests, concurrency, on_progress)
    trial = Trial(
        models=asking.models,
        quality=_table(asked, asking.models, "quality"),
        cost=_table(asked, asking.models, "cost"),
        runs=tuple(
            Run.of(policy, asking.ids_of(policy), [one.answers[i] for one in asked])
            for i, policy in enumerate(policies)
        ),
        tokens=tokens,
        questions=questions,
        categories=None if prompts.categories is None else np.array(prompts.categories),
        failures=asking.failures,
        notes=("Costs are those of the usage that came back, at list prices.",),
    )
    try:
        return trial.complete()
    except InvalidRequestError as exc:
        raise LiveEvaluationError(str(exc)) from exc


def _known(policy: Policy, client: Client) -> Policy:
    """The policy, as a router if it names one of the client's."""
    name = policy.name if isinstance(policy, Router) else policy
    router = client.context.routers.router(name, region=client.context.region)
    if router is None and isinstance(policy, Router):
        raise InvalidRequestError(f"the client doesn't know the router {name!r}: make it with routers=[...].")
    return router or policy


class _Failure(NamedTuple):
    asked: str
    code: str
    message: str


class _Asked(NamedTuple):
    """One prompt's answers: of each policy, None where none came, and of each model in play that gave one."""

    answers: list[Answer | None]
    by_model: dict[str, Answer]
    failures: list[_Failure]


class _Asking:
    """Asks, prompt by prompt, and counts what fails."""

    def __init__(self, policies: Sequence[Policy], client: Client, judge: Judge) -> None:
        if inspect.iscoroutinefunction(judge):
            raise InvalidRequestError("the judge is a coroutine function; it must be a plain one, and may take long.")
        self.models = models_in_play(policies, client.context.catalog)
        if not self.models:
            raise InvalidRequestError("AWS decides, and its models aren't known here: name one to hold it against.")
        self.failures: Counter[str] = Counter()
        self._policies, self._client, self._judge = policies, client, judge
        self._answered = False

    def ids_of(self, policy: Policy) -> list[str]:
        """The catalogue ids of a policy's models."""
        return [self._id(model_id) for model_id in models_of(policy)]

    def all(self, requests: Sequence[Mapping[str, Any]], concurrency: int, on_progress: Progress) -> list[_Asked]:
        """Every prompt's answers, in the order of the prompts.

        Raises:
            LiveEvaluationError: nothing is answered, or the judge is no judge.
        """
        found: dict[int, _Asked] = {}
        with ThreadPoolExecutor(concurrency, thread_name_prefix="pointsman-evaluate") as pool:
            pending = {pool.submit(self._one, request): row for row, request in enumerate(requests)}
            try:
                for done in as_completed(pending):
                    found[pending[done]] = self._counted(done.result())
                    on_progress("asking", len(found), len(requests))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return [found[row] for row in range(len(requests))]

    def _counted(self, asked: _Asked) -> _Asked:
        self.failures.update(f"{failure.asked}: {failure.code}" for failure in asked.failures)
        self._answered = self._answered or bool(asked.by_model) or any(asked.answers)
        if not self._answered and self.failures.total() >= HOPELESS:
            raise LiveEvaluationError(
                f"none of {self.failures.total()} calls was answered and judged; the last: {asked.failures[-1].message}"
            )
        return asked

    def _one(self, request: Mapping[str, Any]) -> _Asked:
        asked = _Asked([], {}, [])
        for policy in self._policies:
            answer = None
            if isinstance(policy, Router) or split_router_arn(policy) is not None:
                answer = self._answer(policy.name if isinstance(policy, Router) else policy, request, asked.failures)
                if answer is not None:
                    asked.by_model.setdefault(answer.model, answer)
            asked.answers.append(answer)
        for model in self.models:
            if model.id not in asked.by_model and (found := self._answer(model.invoke_id, request, asked.failures)):
                asked.by_model[model.id] = found
        for place, policy in enumerate(self._policies):
            if isinstance(policy, str) and split_router_arn(policy) is None:
                asked.answers[place] = asked.by_model.get(self._id(policy))
        return asked

    def _answer(self, model_id: str, request: Mapping[str, Any], failures: list[_Failure]) -> Answer | None:
        try:
            reply = self._client.converse(**request, modelId=model_id)
        except Exception as exc:  # noqa: BLE001 - a failed call is counted, whatever the SDK or a transport raises
            failures.append(_Failure(model_id, _code(exc), str(exc)))
            return None
        try:
            quality = self._judge(request, reply)
        except Exception as exc:  # noqa: BLE001 - the judge is the user's, and may itself ask a model
            failures.append(_Failure("the judge", type(exc).__name__, f"the judge raised {exc!r}"))
            return None
        trace = reply["pointsman"]
        total = (trace["cost"] or {}).get("total")
        weighed = (trace["decision"] or {}).get("candidates", ())
        return Answer(
            model=trace["model"],
            quality=_checked(quality),
            cost=math.nan if total is None else float(total),
            expected={self._id(one["model"]): one["expected_quality"] for one in weighed},
        )

    def _id(self, model_id: str) -> str:
        return resolved(model_id, self._client.context.catalog).id


def _limited(request: dict[str, Any], max_tokens: int | None) -> dict[str, Any]:
    if max_tokens is None:
        return request
    return {**request, "inferenceConfig": {"maxTokens": max_tokens, **(request.get("inferenceConfig") or {})}}


def _table(asked: Sequence[_Asked], models: Sequence[Model], name: Literal["quality", "cost"]) -> Floats:
    """One row per prompt, one column per model; NaN where no answer came."""
    nothing = Answer("", math.nan, math.nan)
    rows = [[getattr(one.by_model.get(model.id, nothing), name) for model in models] for one in asked]
    return np.array(rows, np.float64).reshape(len(asked), len(models))


def _checked(quality: object) -> float:
    if not isinstance(quality, int | float | np.number) or not 0 <= float(quality) <= 1:
        raise LiveEvaluationError(f"the judge gave {quality!r}; it must give a number from 0 to 1.")
    return float(quality)


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    told = response.get("Error", {}).get("Code") if isinstance(response, Mapping) else None
    return str(told or type(error).__name__)
