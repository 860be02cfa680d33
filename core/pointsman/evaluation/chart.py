"""Quality over cost, drawn: an SVG to stand inside a page. Knows matplotlib, which it imports late."""

from __future__ import annotations

import io
import math
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pointsman.errors import MissingExtraError
from pointsman.evaluation.comparison import Comparison, Pair, Point, Ranking
from pointsman.evaluation.trial import DATASET, LENGTH, ORACLE, RANDOM

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which are told apart by colour-blind readers too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
_STYLES = {
    RANDOM: ("#888888", "--"),
    LENGTH: ("#888888", ":"),
    DATASET: ("#888888", "-."),
    ORACLE: ("#000000", ":"),
}


def need_matplotlib() -> None:
    """Find out before anything is evaluated.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("a chart", "fit")


def svg_of(comparison: Comparison, pair: Pair) -> str:
    """The curve of everything that ranks a pair's prompts, and the point where each router stands, as an SVG element.

    Over the share of calls to the strong model, where a cost is not known.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """

    def draw(figure: Figure) -> None:
        _draw(figure.add_subplot(), comparison, pair)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)

    drawn = drawing(draw, size=(7.2, 5.2)).decode()
    # Without the XML declaration and the document type, which have no place inside HTML.
    return drawn[drawn.index("<svg") :]


def drawing(draw: Callable[[Figure], object], *, size: tuple[float, float], form: str = "svg") -> bytes:
    """What `draw` puts on a figure of that size (inches), as an SVG or PNG file. The same chart has the same bytes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    need_matplotlib()
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(
        {
            "svg.fonttype": "none",  # Text as text: smaller, and in the page's font.
            "svg.hashsalt": "pointsman",
            "text.parse_math": False,  # A dollar in a name is no formula.
            "font.family": "sans-serif",
        }
    ):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        drawn = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(drawn, format=form, dpi=150, metadata=metadata)
    return drawn.getvalue()


def _draw(axes: Axes, comparison: Comparison, pair: Pair) -> None:
    priced = not any(math.isnan(point.cost) for ranking in pair.rankings for point in ranking.points)
    colours = iter(COLOURS * len(pair.rankings))
    for ranking in pair.rankings:
        colour, style = _STYLES.get(ranking.name) or (next(colours), "-")
        _line(axes, ranking, colour, style, priced=priced)
        standing = next((one for one in comparison.standings if one.name == ranking.name), None)
        if standing is not None:
            across = standing.cost.value if priced else 100 * standing.shares.get(pair.strong, 0.0)
            axes.plot(across, 100 * standing.quality.value, "o", color=colour, markersize=8, zorder=3)
    _ends(axes, pair, priced=priced)
    axes.set_xlabel("USD per 1,000 requests" if priced else f"% of calls to {pair.strong}")
    axes.set_ylabel("mean quality, %")
    axes.spines[["top", "right"]].set_visible(False)


def _line(axes: Axes, ranking: Ranking, colour: str, style: str, *, priced: bool) -> None:
    across = [_across(point, priced=priced) for point in ranking.points]
    quality = [100 * point.quality for point in ranking.points]
    axes.plot(across, quality, style, color=colour, label=ranking.name, linewidth=2.2 if style == "-" else 1.3)


def _ends(axes: Axes, pair: Pair, *, priced: bool) -> None:
    points = pair.rankings[0].points
    for point, model, filled in ((points[0], pair.weak, "white"), (points[-1], pair.strong, "black")):
        across = _across(point, priced=priced)
        label = f"always {model}"
        axes.plot(across, 100 * point.quality, "s", color="black", markerfacecolor=filled, label=label, zorder=3)


def _across(point: Point, *, priced: bool) -> float:
    return point.cost if priced else 100 * point.calls
