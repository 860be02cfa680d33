"""The benchmark of placements: what is reported was not chosen on, repeated sessions count once, verdicts."""

from __future__ import annotations

import gzip
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

# Behind tests/, which has a laws.py too.
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import caching_page as page
import caching_sets as sets

from pointsman.evaluation.policies import PLACEMENTS
from pointsman.evaluation.replay import bounds_of, replay


def session(name: str, *lengths: int, depth: int = 0) -> dict[str, Any]:
    """A coding session whose prompts extend each other; one sub-agent in it, if `depth` says so."""
    requests = [
        [60.0 * i, "m", tokens, 9, tokens // 64, i - 1, lengths[i - 1] // 64 if i else 0, 0, 1.0, "text", "end_turn"]
        for i, tokens in enumerate(lengths)
    ]
    if depth:
        requests.insert(0, [0.0, "m", 999, 9, 15, -1, 0, depth, 1.0, "text", "end_turn"])
    return {"id": name, "bs": 64, "tool": 1000, "sys": 500, "reqs": requests}


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """A folder with twenty coding sessions, and one more that repeats the first."""
    told = [session(f"s{i}", 3000 + 64 * i, 4000, 5000) for i in range(20)]
    told.append({**told[0], "id": "again"})
    data = "".join(f"{json.dumps(one)}\n" for one in told).encode()
    (tmp_path / "claude_code_sessions.jsonl.gz").write_bytes(gzip.compress(data))
    return tmp_path


def test_a_session_that_begins_like_another_counts_once() -> None:
    """By its first three lengths on the main chain; what sub-agents send doesn't tell."""
    told = [session("a", 3000, 4000, 5000), session("b", 3000, 4000, 5000, depth=1), session("c", 3000, 4000, 5001)]
    assert [one["id"] for one in sets.distinct(told)] == ["a", "c"]


def test_the_reported_half_holds_no_session_that_is_for_choosing(traces: Path) -> None:
    """By a hash of the id, so that it is the same half everywhere."""
    reported = {one.session for one in sets.coding(traces)}
    assert reported == {f"s{i}" for i in range(20) if sets.is_reported(f"s{i}")}
    assert 0 < len(reported) < 20
    assert reported == {one.session for one in sets.coding_side_by_side(traces)}


def test_a_figure_is_judged_by_what_is_asked(traces: Path) -> None:
    """Met, missed, or better than aimed at."""
    requests, model = sets.coding(traces), sets.model_at(0.1)
    replays = {name: replay(requests, model=model, place=placement) for name, placement in PLACEMENTS.items()}
    trace = sets.TRACES[0]
    result = page.Result(trace=trace, prices="r=.1", replays=replays, bounds=bounds_of(requests, model=model))
    # No one pays less than the bound, and no caching is dearest here.
    assert 1 <= result.best <= result.over_bound("pointsman") < result.over_bound("none")
    assert result.of_no_caching("none") == 1
    worse = page.Result(
        trace=trace, prices="r=.1", replays=replays, bounds=result.bounds._replace(lower=Decimal("1e-6"))
    )
    assert "falls short" in page.requirements([worse])
    assert "aim met" in page.requirements([result])
    assert "knowing the future" in page.text([result])


@pytest.mark.parametrize(
    ("found", "must", "aim", "verdict"),
    [
        (1.2, 1.12, 1.08, "**falls short**"),
        (1.1, 1.12, 1.08, "must met"),
        (1.05, 1.12, 1.08, "aim met"),
        (1, 1.02, None, "met"),
    ],
)
def test_verdicts(found: float, must: float, aim: float | None, verdict: str) -> None:
    """The lower, the better."""
    assert page._judged(found, must, aim)[-1] == verdict
