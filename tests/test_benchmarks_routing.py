"""The benchmark of predictions: one question stays in one fold, baselines see no label of their own fold, verdicts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
# Behind tests/, which has a laws.py too.
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import routing_figures as figures
import routing_page as page
import routing_runs as runs
import routing_sets as sets

from pointsman.routing import Outcomes


def held(gap: list[float], scores: dict[str, list[float]], folds: list[int]) -> figures.Held:
    strong = np.array(gap)
    n = len(gap)
    return figures.Held(
        weak=np.zeros(n),
        strong=strong,
        scores={name: np.array(score) for name, score in scores.items()},
        decided=np.zeros(n),
        expected=np.zeros((n, 2)),
        flagged=np.zeros(n, np.bool_),
        folds=np.array(folds),
        costs=None,
    )


def test_a_question_is_in_one_fold_wherever_it_stands() -> None:
    prompts = ("What is osmosis?", "Is 91 a prime number?", "What is osmosis?")
    folds = runs.folds_of(Outcomes(prompts=prompts, qualities={"a": np.ones(3), "b": np.zeros(3)}))
    assert folds[0] == folds[2]


def test_a_stem_is_the_same_in_whichever_layout() -> None:
    assert sets.stem("Q: Is 91 prime?\nA. yes") == sets.stem("is 91  prime?\nA) Yes")


def test_knowing_the_data_set_uses_the_other_folds_only() -> None:
    kinds, folds = np.array(["a", "a", "a", "b"]), np.array([0, 1, 1, 1])
    told = figures.known_kinds(kinds, np.array([1.0, 0.0, 0.5, 0.2]), folds)
    # The first prompt's own gap is not in its score; b is unknown in the other fold, which gives that fold's mean.
    assert told.tolist() == [0.25, 1.0, 1.0, 1.0]


def test_a_difference_is_of_the_same_draws() -> None:
    gap = [float(row % 3 == 0) for row in range(60)]
    same = held(gap, {figures.WHOLE: gap, figures.LENGTH: gap}, [0] * 60)
    assert figures.difference(same, figures.LENGTH) == figures.Figure(0.0, 0.0, 0.0)


@pytest.mark.parametrize(("value", "verdict"), [(0.70, "aim met"), (0.66, "must met"), (0.65, "**falls short**")])
def test_a_verdict_goes_by_the_figure(value: float, verdict: str) -> None:
    found = figures.Figure(value, 0.6, 0.8)
    assert page.Requirement(set="", figure="", must=0.66, aim=0.70, found=found).verdict == verdict


def test_where_less_is_better_a_verdict_is_turned_round() -> None:
    found = figures.Figure(33.0, 30.0, 35.0)
    asked = page.Requirement(set="", figure="CPT50", must=32, aim=29, found=found, at_most=True)
    assert asked.verdict == "**falls short**"


def test_the_calls_of_a_price_list_have_a_price() -> None:
    assert sets.list_price("claude-3-haiku-20240307") == (0.25, 1.25)
    assert sets.list_price("unheard-of") is None
