"""The reliability plot: predicted against observed gaps. Draws what `routing_figures` found; the same for the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import routing_sets as sets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from routing_figures import PairFigures
from routing_runs import Result

_SHOWN = (sets.ROUTELLM_MMLU, sets.CLAUDE, sets.GEMINI, sets.LLAMA, sets.NEMOTRON, sets.GPT_4O)


def write(path: Path, results: Sequence[Result]) -> None:
    """Six pairs in one SVG without a date, so that a rerun changes it only where figures did."""
    found = {result.name: result for result in results if isinstance(result, PairFigures)}
    with matplotlib.rc_context({"svg.hashsalt": "pointsman", "font.size": 7, "svg.fonttype": "none"}):
        figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        for axes, pair in zip(figure.subplots(2, 3).flat, _SHOWN, strict=True):
            _draw(axes, found[pair.name])
        figure.supxlabel("predicted gap (mean of a tenth of the prompts)")
        figure.supylabel("observed gap, 95 %")
        figure.savefig(path, metadata={"Date": None})


def _draw(axes: Axes, pair: PairFigures) -> None:
    predicted = [one.predicted for one in pair.bins]
    ends = [min(0.0, *predicted), max(predicted)]
    axes.plot(ends, ends, color="0.7", linewidth=0.8)
    axes.errorbar(
        predicted,
        [one.observed for one in pair.bins],
        yerr=[1.96 * one.standard_error for one in pair.bins],
        fmt="o",
        markersize=2.5,
        linewidth=0.8,
    )
    axes.set_title(pair.name)
