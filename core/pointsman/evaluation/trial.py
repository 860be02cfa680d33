"""What came of each policy on each prompt: the model that answered, quality, cost. Values only.

Knows policies, prompts and models; how answers are come by is left to `labelled` and `live`, what they amount to, to
`compare`. Costs are floats here: they are averaged and resampled, never billed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pointsman.catalog import Catalog, Model
from pointsman.errors import InvalidRequestError, PointsmanWarning
from pointsman.evaluation.metrics import Floats, Rows
from pointsman.prompt import Prompt
from pointsman.prompt_routers import split_router_arn
from pointsman.routing import Outcomes, QualityPredictor, Router
from pointsman.tokens import EstimatedTokens

Policy = Router | str
"""What is evaluated: a router, or the id of a model that gets every prompt."""

RANDOM, LENGTH, DATASET, ORACLE = BASELINES = ("random", "prompt length", "dataset identity", "oracle")
"""What any router is held against, by name."""

Progress = Callable[[str, int, int], object]
"""Told what is being done ("deciding"), how much of it is done, and of how much."""


class Answer(NamedTuple):
    """One prompt's answer: the id of its model, its quality, its cost in USD (NaN where no price is known).

    `expected` is the quality that the policy expected of each of its models, where it told.
    """

    model: str
    quality: float
    cost: float
    expected: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """One policy over all prompts, one value per prompt in each array; "" and NaN where no answer came.

    `models` are the ids among which the policy may choose; `expected` has an array for each of them, NaN where the
    policy didn't tell. `difference` and `predictor` are a router's.
    """

    name: str
    kind: Literal["router", "model"]
    models: tuple[str, ...]
    invoked: NDArray[np.str_]
    quality: Floats
    cost: Floats
    expected: Mapping[str, Floats]
    difference: float | None = None
    predictor: str | None = None

    @classmethod
    def of(cls, policy: Policy, models: Sequence[str], answers: Sequence[Answer | None]) -> Run:
        """From the answers in the order of the prompts, None where none came."""
        router = policy if isinstance(policy, Router) else None
        told = [answer or Answer("", np.nan, np.nan) for answer in answers]
        return cls(
            name=policy if isinstance(policy, str) else policy.name,
            kind="model" if len(models) == 1 and router is None else "router",
            models=tuple(models),
            invoked=np.array([answer.model for answer in told], np.str_),
            quality=np.array([answer.quality for answer in told], np.float64),
            cost=np.array([answer.cost for answer in told], np.float64),
            expected={
                model: np.array([answer.expected.get(model, np.nan) for answer in told], np.float64) for model in models
            },
            difference=router.criteria.response_quality_difference if router else None,
            predictor=name_of(router.predictor) if router else None,
        )

    def take(self, rows: NDArray[np.bool_]) -> Run:
        """The same of some prompts."""
        return replace(
            self,
            invoked=self.invoked[rows],
            quality=self.quality[rows],
            cost=self.cost[rows],
            expected={model: values[rows] for model, values in self.expected.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """All policies over all prompts, and what every model in play made of each prompt.

    `quality` and `cost` (USD) have a row per prompt and a column per model. `tokens` are the prompts' estimated
    tokens, `questions` a number that equal prompts share, `categories` None where they aren't known. `left_out` counts
    prompts that are not among these, by the reason; `failures` what went wrong; `notes` tell what was assumed.
    """

    models: tuple[Model, ...]
    quality: Floats
    cost: Floats
    runs: tuple[Run, ...]
    tokens: Floats
    questions: Rows
    categories: NDArray[np.str_] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def complete(self) -> Trial:
        """Without the prompts to which a model in play, or a policy, has no answer: all are compared on the same.

        Raises:
            InvalidRequestError: that leaves none.
        """
        answers = np.column_stack([self.quality, *(run.quality for run in self.runs)])
        known = np.asarray(~np.isnan(answers).any(axis=1), np.bool_)
        if known.all() and len(known):
            return self
        if not known.any():
            raise InvalidRequestError(f"there is no prompt that every model answered. {_listed(self.failures)}".strip())
        return replace(
            self,
            quality=self.quality[known],
            cost=self.cost[known],
            runs=tuple(run.take(known) for run in self.runs),
            tokens=self.tokens[known],
            questions=self.questions[known],
            categories=None if self.categories is None else self.categories[known],
            left_out={**self.left_out, "not answered by every model": int(np.sum(~known))},
        )


def models_in_play(policies: Sequence[Policy], catalog: Catalog) -> tuple[Model, ...]:
    """Every model that a policy names, once. An ARN of a router that only AWS knows names none.

    Raises:
        InvalidRequestError: there is no policy, policies can't be told apart by name, or a router has a model of
            unknown price, which it would never choose.
    """
    if not policies:
        raise InvalidRequestError("there is nothing to evaluate: name a router or a model.")
    _check_names(policies)
    found: dict[str, Model] = {}
    for policy in policies:
        for model_id in models_of(policy):
            model = resolved(model_id, catalog)
            if isinstance(policy, Router) and model.price is None:
                raise InvalidRequestError(
                    f"the price of {model.id!r} is not known, and a router chooses by price. Give it: "
                    f"--price {model.id}=IN,OUT, or Catalog.with_model(...) in code."
                )
            found.setdefault(model.id, model)
    return tuple(found.values())


def sample_of(outcomes: Outcomes, limit: int, seed: int) -> Outcomes:
    """At most so many of the prompts, drawn at random, in the order in which they stood."""
    if limit >= len(outcomes):
        return outcomes
    rows = np.sort(np.random.default_rng(seed).choice(len(outcomes), limit, replace=False))
    return Outcomes(
        prompts=tuple(outcomes.prompts[row] for row in rows),
        qualities={model: values[rows] for model, values in outcomes.qualities.items()},
        output_tokens={model: values[rows] for model, values in outcomes.output_tokens.items()},
        categories=None if outcomes.categories is None else tuple(outcomes.categories[row] for row in rows),
        weights=None if outcomes.weights is None else outcomes.weights[rows],
    )


def models_of(policy: Policy) -> tuple[str, ...]:
    """The ids of the models that a policy may choose among, as they are invoked."""
    if isinstance(policy, Router):
        return policy.model_ids
    return () if split_router_arn(policy) is not None else (policy,)


def resolved(model_id: str, catalog: Catalog) -> Model:
    """The model, without a warning for one that Bedrock doesn't have: outcomes may be of any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PointsmanWarning)
        return catalog.resolve(model_id)


def request_of(prompt: str | Prompt) -> dict[str, Any]:
    """The Converse request of a prompt, without a model."""
    request = (Prompt.of_text(prompt) if isinstance(prompt, str) else prompt).request
    return {name: value for name, value in request.items() if name != "modelId"}


def outlined(requests: Sequence[Mapping[str, Any]]) -> tuple[Floats, Rows]:
    """The estimated tokens of each request, and a number that equal requests share."""
    counter, numbers = EstimatedTokens(), dict[bytes, int]()
    outlines = [Prompt(request).outline(counter) for request in requests]
    digests = [outline.blocks[-1].digest if outline.blocks else b"" for outline in outlines]
    questions = [numbers.setdefault(digest, len(numbers)) for digest in digests]
    return np.array([outline.tokens for outline in outlines], np.float64), np.array(questions, np.intp)


def name_of(predictor: QualityPredictor) -> str:
    """What a decision calls a predictor."""
    return getattr(predictor, "name", None) or type(predictor).__name__


def _check_names(policies: Sequence[Policy]) -> None:
    names = [policy if isinstance(policy, str) else policy.name for policy in policies]
    if taken := [name for place, name in enumerate(names) if name in BASELINES or name in names[:place]]:
        raise InvalidRequestError(
            f"the name {taken[0]!r} stands for something else already: call the router otherwise."
        )


def _listed(failures: Mapping[str, int]) -> str:
    return "; ".join(f"{what} ({count})" for what, count in failures.items())
