"""What a user's type checker sees of routers, criteria and predictors. See `clients.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_type

import numpy as np
import numpy.typing as npt

from pointsman import Model, Prompt, QualityPredictor, Router, RoutingCriteria, TrainedPredictor


class Even:
    """A predictor of one's own: it needs no base class."""

    def predict(
        self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]
    ) -> Mapping[str, npt.NDArray[np.float64]]:
        """Each model is as good as the other."""
        return {model.id: np.full(len(prompts), 0.5) for model in models}


class Wordless:
    """One that answers with something else."""

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> str:
        """No qualities."""
        return f"{len(prompts)} {len(models)}"


def criteria_are_a_value() -> None:
    """Made by keyword, frozen."""
    criteria = RoutingCriteria(response_quality_difference=0.1)
    assert_type(criteria.response_quality_difference, float)
    assert_type(RoutingCriteria.of_api(10), RoutingCriteria)
    criteria.response_quality_difference = 0.2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    RoutingCriteria(0.1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    RoutingCriteria(response_quality_difference="5%")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_router_takes_any_predictor(criteria: RoutingCriteria, trained: TrainedPredictor) -> None:
    """Ours, and one of the right shape."""
    router = Router(models=["a", "b"], fallback_model="b", criteria=criteria, predictor=Even())
    assert_type(router.model_ids, tuple[str, ...])
    assert_type(router.predictor, QualityPredictor)
    Router(models=("a",), fallback_model="b", criteria=criteria, predictor=trained)
    Router(models=["a"], fallback_model="b", criteria=0.1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Router(models=["a"], criteria=criteria)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Router(
        models=["a"],
        fallback_model="b",
        criteria=criteria,
        predictor=Wordless(),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )


def a_predictor_is_fitted(prompts: list[str], qualities: list[float], lengths: npt.NDArray[np.int64]) -> None:
    """To lists or arrays; what comes is a predictor."""
    fitted = TrainedPredictor.fit(prompts, {"a": qualities, "b": np.zeros(2)}, output_tokens={"a": lengths})
    assert_type(fitted, TrainedPredictor)
    assert_type(fitted.name, str)
    predictor: QualityPredictor = fitted
    assert predictor
    TrainedPredictor.fit(prompts)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    TrainedPredictor.fit(prompts, qualities)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    TrainedPredictor.fit(prompts, outcomes={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
