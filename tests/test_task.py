"""What is to be fitted: every value that can't be right is refused, by name, with what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pointsman import Prompt
from pointsman.errors import InvalidRequestError
from pointsman.routing.task import LEAST_PROMPTS, Task

N = 60
PROMPTS = [f"Question {i}?" for i in range(N)]
GOOD = {"small": np.full(N, 0.5), "large": np.ones(N)}
MOSTLY_UNKNOWN = np.where(np.arange(N) < 19, 1.0, np.nan)


def task(prompts: Any = PROMPTS, outcomes: Any = GOOD, **more: Any) -> Task:
    return Task.of(prompts, outcomes, **more)


def test_a_task_is_what_was_given() -> None:
    """Prompts of both kinds, all models, and every prompt counting alike."""
    mixed = [*PROMPTS[:-1], Prompt.of_text("The last?")]
    found = task(mixed, {"small": [0.5] * N, "large": [1] * N})
    assert found.prompts == tuple(mixed)
    assert found.models == ("small", "large")
    assert found.labels.tolist() == [[0.5, 1]] * N
    assert found.output_tokens == {}
    assert found.weights.tolist() == [1] * N


def test_models_to_predict_are_some_of_those_with_outcomes() -> None:
    """In the order that is asked for; the others' outcomes stay, to learn from."""
    found = task(outcomes={**GOOD, "other": np.zeros(N)}, models=["large", "small"])
    assert found.labels[0].tolist() == [1, 0.5]
    assert set(found.outcomes) == {"small", "large", "other"}


def test_unknown_labels_stay_unknown() -> None:
    """NaN is no label, neither good nor bad."""
    known = np.where(np.arange(N) % 2, 1, np.nan)
    assert np.isnan(task(outcomes={**GOOD, "small": known}).labels[:, 0]).tolist() == [True, False] * (N // 2)


def test_weights_are_shares() -> None:
    """Their mean is 1, whatever they are counted in; a prompt may count nothing."""
    found = task(weights=[0, 4, *[2] * (N - 2)])
    assert found.weights.mean() == pytest.approx(1)
    assert found.weights[1] == pytest.approx(2 * found.weights[2])
    assert found.weights[0] == 0


def test_lengths_are_kept_where_there_are_enough() -> None:
    """Of a model to predict, with twenty or more."""
    lengths = {"small": np.full(N, 80), "large": MOSTLY_UNKNOWN, "elsewhere": np.full(N, 80)}
    assert set(task(output_tokens=lengths).output_tokens) == {"small"}


REFUSED = {
    "too few prompts": (
        {"prompts": PROMPTS[:49], "outcomes": {model: values[:49] for model, values in GOOD.items()}},
        f"there are 49 labelled prompts; a fit needs {LEAST_PROMPTS}",
    ),
    "one model": ({"outcomes": {"small": GOOD["small"]}}, r"outcomes of \['small'\]; routing needs those of two"),
    "no model": ({"outcomes": {}}, r"outcomes of \[\]"),
    "one model to predict": ({"models": ["small"]}, "two models or more"),
    "no outcomes of it": ({"models": ["small", "huge"]}, "no outcomes of 'huge'; there are of small, large"),
    "too few labels": ({"outcomes": {**GOOD, "small": MOSTLY_UNKNOWN}}, "small has 19 labels; it needs 20"),
    "too few qualities": (
        {"outcomes": {**GOOD, "small": [1.0] * (N - 1)}},
        rf"the qualities of small have the shape \({N - 1},\); it must be \({N},\)",
    ),
    "a table of qualities": (
        {"outcomes": {**GOOD, "small": np.ones((N, 2))}},
        r"the qualities of small have the shape",
    ),
    "a quality in per cent": (
        {"outcomes": {**GOOD, "large": [1.0] * (N - 1) + [87]}},
        f"the qualities of large hold 87 at {N - 1}; it must be 0 to 1",
    ),
    "a quality below 0": ({"outcomes": {**GOOD, "large": [-0.5] + [1.0] * (N - 1)}}, "hold -0.5 at 0"),
    "a length below 0": ({"output_tokens": {"small": [-1] * N}}, "the output tokens of small hold -1 at 0"),
    "too few lengths": ({"output_tokens": {"small": [1]}}, "the output tokens of small have the shape"),
    "a weight below 0": ({"weights": [1] * (N - 1) + [-2]}, f"the weights hold -2 at {N - 1}"),
    "too few weights": ({"weights": [1]}, "the weights have the shape"),
}


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_does_not_fit_is_refused(given: dict[str, Any], message: str) -> None:
    """With the value, where it stands, and what it must be."""
    with pytest.raises(InvalidRequestError, match=message):
        task(**given)


def test_twenty_labels_and_fifty_prompts_are_enough() -> None:
    """The limits themselves are allowed."""
    few = np.where(np.arange(LEAST_PROMPTS) < 20, 1.0, np.nan)
    found = Task.of(PROMPTS[:LEAST_PROMPTS], {"small": few, "large": np.ones(LEAST_PROMPTS)})
    assert len(found.prompts) == LEAST_PROMPTS


def test_prompts_without_a_label_are_left_out() -> None:
    """Of the models to predict: what others made of them teaches nothing; all that belongs to them goes too."""
    known = np.where(np.arange(N) < 50, 0.5, np.nan)
    found = task(
        outcomes={"small": known, "large": known, "other": np.ones(N)},
        models=["small", "large"],
        output_tokens={"small": np.arange(N)},
        weights=np.where(np.arange(N) < 50, 1, 9),
    )
    assert found.prompts == tuple(PROMPTS[:50])
    assert found.labels.shape == (50, 2)
    assert [len(found.outcomes["other"]), len(found.output_tokens["small"])] == [50, 50]
    assert found.weights.tolist() == [1] * 50
