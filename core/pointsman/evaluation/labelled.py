"""Policies on prompts whose outcomes are known: no call is made.

Drives the project's own flow, prompt by prompt with nothing warm, and looks up in the outcomes what came of its choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pointsman.cache import Ledger
from pointsman.catalog import Catalog, Model
from pointsman.context import Context
from pointsman.errors import InvalidRequestError, NoEligibleModelError
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
from pointsman.flow import Reply, converse_flow
from pointsman.pricing import cost_of
from pointsman.prompt_routers import split_router_arn
from pointsman.routing import Outcomes, Router, RouterRegistry
from pointsman.trace import Trace
from pointsman.usage import Usage

# Of answers whose length the outcomes don't tell.
ASSUMED_OUTPUT_TOKENS = 200


def try_on(
    outcomes: Outcomes,
    policies: Sequence[Policy],
    *,
    catalog: Catalog | None = None,
    on_progress: Progress = lambda *_: None,
) -> Trial:
    """Let each policy decide on each prompt that has an outcome of every model in play.

    `catalog` knows the models' prices. Input tokens are estimated from the prompt, output tokens are the outcomes',
    else `ASSUMED_OUTPUT_TOKENS`.

    Raises:
        InvalidRequestError: a model has no outcomes, a router's model no price, a router is known to AWS only, or no
            prompt has an outcome of every model.
    """
    if unknown := [policy for policy in policies if isinstance(policy, str) and split_router_arn(policy) is not None]:
        raise InvalidRequestError(f"the router {unknown[0]!r} decides at AWS: it can be evaluated live only.")
    catalog = catalog or Catalog.default()
    models = models_in_play(policies, catalog)
    columns = [_column(outcomes, model, catalog) for model in models]
    every = np.column_stack([outcomes.qualities[column] for column in columns])
    rows = np.flatnonzero(~np.isnan(every).any(axis=1))
    if not len(rows):
        raise InvalidRequestError(f"no prompt has an outcome of each of {', '.join(columns)}.")
    requests = [request_of(outcomes.prompts[row]) for row in rows]
    tokens, questions = outlined(requests)
    lengths = [outcomes.output_tokens[column][rows] if column in outcomes.output_tokens else None for column in columns]
    trial = Trial(
        models=models,
        quality=every[rows],
        cost=np.column_stack([_bills(model, tokens, told) for model, told in zip(models, lengths, strict=True)]),
        runs=(),
        tokens=tokens,
        questions=questions,
        categories=None if outcomes.categories is None else np.array(outcomes.categories)[rows],
        left_out={"no outcome of every model": len(every) - len(rows)} if len(rows) < len(every) else {},
        notes=_assumptions(models, lengths),
    )
    return _Decisions(trial, requests, catalog, on_progress).of(policies).complete()


class _Decisions:
    """What each policy does with the prompts of a trial."""

    def __init__(
        self, trial: Trial, requests: Sequence[Mapping[str, Any]], catalog: Catalog, on_progress: Progress
    ) -> None:
        self._trial = trial
        self._requests = requests
        self._catalog = catalog
        self._on_progress = on_progress
        self._column = {model.id: column for column, model in enumerate(trial.models)}
        self._failures: Counter[str] = Counter()

    def of(self, policies: Sequence[Policy]) -> Trial:
        """The trial with a run of each policy, and with what failed."""
        routers = sum(isinstance(policy, Router) for policy in policies)
        done, runs = 0, []
        for policy in policies:
            ids = [resolved(model_id, self._catalog).id for model_id in models_of(policy)]
            if isinstance(policy, Router):
                answers = []
                for answer in self._routed(policy):
                    answers.append(answer)
                    done += 1
                    self._on_progress("deciding", done, routers * len(self._requests))
            else:
                answers = [self._known(row, ids[0], {}) for row in range(len(self._requests))]
            runs.append(Run.of(policy, ids, answers))
        return replace(self._trial, runs=tuple(runs), failures=dict(self._failures))

    def _routed(self, router: Router) -> Iterator[Answer | None]:
        context = Context(
            catalog=self._catalog, routers=RouterRegistry([router], catalog=self._catalog), ledger=Ledger()
        )
        for row, request in enumerate(self._requests):
            try:
                trace = _trace({**request, "modelId": router.name}, context)
            except (InvalidRequestError, NoEligibleModelError) as exc:
                self._failures[f"{router.name}: {type(exc).__name__}"] += 1
                yield None
                continue
            self._failures.update(f"{router.name}: {_nameless(failure)}" for failure in trace.advice_failures)
            weighed = trace.decision.candidates if trace.decision else ()
            yield self._known(row, trace.model.id, {one.model.id: one.expected_quality for one in weighed})

    def _known(self, row: int, model: str, expected: Mapping[str, float]) -> Answer:
        column = self._column[model]
        return Answer(model, float(self._trial.quality[row, column]), float(self._trial.cost[row, column]), expected)


def _trace(request: Mapping[str, Any], context: Context) -> Trace:
    """The trace of a request whose first call is answered. Without a usage nothing is booked, so nothing gets warm."""
    flow = converse_flow(request, context, now=0.0)
    next(flow)
    try:
        flow.send(Reply(usage=None, at=0.0))
    except StopIteration as done:
        trace: Trace = done.value
        return trace
    raise AssertionError("an answered call ends the flow")


def _nameless(failure: str) -> str:
    """The step that failed and the kind of error: what it says besides may quote the prompt."""
    return ": ".join(failure.split(": ")[:2])


def _column(outcomes: Outcomes, model: Model, catalog: Catalog) -> str:
    """The name that the outcomes have for a model: as it is invoked, its id, or any other that stands for it."""
    for name in (model.invoke_id, model.id):
        if name in outcomes.qualities:
            return name
    for name in outcomes.qualities:
        if resolved(name, catalog).id == model.id:
            return name
    raise InvalidRequestError(f"there are no outcomes of {model.id!r}; there are of {', '.join(outcomes.qualities)}.")


def _bills(model: Model, input_tokens: Floats, output_tokens: Floats | None) -> Floats:
    """USD of each prompt on a model, nothing of it cached; NaN where no price is known."""
    told = np.full(len(input_tokens), np.nan) if output_tokens is None else output_tokens
    output = np.where(np.isnan(told), ASSUMED_OUTPUT_TOKENS, told)
    usages = [Usage(input_tokens=int(i), output_tokens=round(o)) for i, o in zip(input_tokens, output, strict=True)]
    totals = [cost_of(usage, model.price).total for usage in usages]
    return np.array([np.nan if total is None else float(total) for total in totals])


def _assumptions(models: Sequence[Model], lengths: Sequence[Floats | None]) -> tuple[str, ...]:
    told = ("Input tokens are estimated from the prompts, and nothing is read from a cache.",)
    unknown = [model.id for model, known in zip(models, lengths, strict=True) if known is None or np.isnan(known).any()]
    if not unknown:
        return told
    assumed = f"An answer of {', '.join(unknown)} whose length isn't known counts as {ASSUMED_OUTPUT_TOKENS} tokens."
    return (*told, assumed)
