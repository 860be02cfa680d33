"""What is to be fitted, checked: prompts, the qualities of models' answers, their lengths, how much each counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pointsman.errors import InvalidRequestError
from pointsman.prompt import Prompt
from pointsman.routing.heads import Floats
from pointsman.routing.outcomes import Outcomes

LEAST_PROMPTS = 50
_LEAST_LABELS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """n prompts. `outcomes` and `output_tokens` map models to arrays (n,) with NaN where nothing is known; `models`
    are those to predict, `weights` (n,) how much each prompt counts.

    Raises:
        InvalidRequestError: see `of`.
    """

    prompts: tuple[str | Prompt, ...]
    outcomes: Mapping[str, Floats]
    models: tuple[str, ...]
    output_tokens: Mapping[str, Floats]
    weights: Floats

    @classmethod
    def of(
        cls,
        prompts: Sequence[str | Prompt],
        outcomes: Mapping[str, ArrayLike],
        *,
        models: Sequence[str] | None = None,
        output_tokens: Mapping[str, ArrayLike] | None = None,
        weights: ArrayLike | None = None,
    ) -> Task:
        """A task whose values fit together; prompts without a label of the models to predict are left out.

        Raises:
            InvalidRequestError: fewer than 50 prompts, fewer than two models, a model with fewer than 20 labels, a
                length that differs, a value outside its range. Names it and what to do.
        """
        wanted = tuple(models if models is not None else outcomes)
        n = len(prompts)
        if n < LEAST_PROMPTS:
            raise InvalidRequestError(
                f"there are {n} labelled prompts; a fit needs {LEAST_PROMPTS}, better 200 to 1,500."
            )
        if len(wanted) < 2:
            raise InvalidRequestError(
                f"there are outcomes of {list(wanted)}; routing needs those of two models or more."
            )
        if missing := [model for model in wanted if model not in outcomes]:
            raise InvalidRequestError(f"there are no outcomes of {missing[0]!r}; there are of {', '.join(outcomes)}.")
        given = Outcomes(
            prompts=tuple(prompts),
            qualities={model: np.asarray(labels, np.float64) for model, labels in outcomes.items()},
            output_tokens={
                model: np.asarray(tokens, np.float64)
                for model, tokens in (output_tokens or {}).items()
                if model in wanted
            },
            weights=None if weights is None else np.asarray(weights, np.float64),
        )
        known, lengths = given.qualities, given.output_tokens
        for model in wanted:
            if (labels := int(np.count_nonzero(~np.isnan(known[model])))) < _LEAST_LABELS:
                raise InvalidRequestError(
                    f"{model} has {labels} labels; it needs {_LEAST_LABELS}. Label more, or leave it out."
                )
        counted = np.ones(n) if given.weights is None else given.weights
        rows = np.flatnonzero(~np.isnan([known[model] for model in wanted]).all(axis=0)).tolist()
        return cls(
            prompts=tuple(prompts[row] for row in rows),
            outcomes={model: labels[rows] for model, labels in known.items()},
            models=wanted,
            output_tokens={
                model: tokens[rows]
                for model, tokens in lengths.items()
                if np.count_nonzero(~np.isnan(tokens[rows])) >= _LEAST_LABELS
            },
            weights=counted[rows] / max(float(counted[rows].mean()), 1e-12),
        )

    @property
    def labels(self) -> Floats:
        """The qualities (n, m) of the models to predict."""
        return np.stack([self.outcomes[model] for model in self.models], axis=1)
