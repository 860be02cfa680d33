"""Draws the figures of docs/ from the tables of benchmarks/: no number is written here.

    python docs/_figures.py

writes docs/figures/*.svg. Each holds its own light and dark colours and, as its description, the numbers that it shows,
which tests/test_site.py compares with the tables. Knows which rows of which table are drawn; measures nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs/figures"

Series = dict[str, dict[str, float]]
"""For each series of bars a height for each group."""

# Drawn in these, which stand for nothing else, and then replaced by variables of the file's own style sheet.
_INK, _PAPER, _FAINT = "#010203", "#fdfcfb", "#808182"
_HUES = ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04")
_STYLE = """<style>
:root { --ink: #1f2933; --paper: #ffffff; --faint: #9aa5b1;
  --hue0: #b0bac5; --hue1: #7d8b99; --hue2: #c98a1b; --hue3: #1f6feb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --paper: #1e2129; --faint: #6b7785;
  --hue0: #5b6672; --hue1: #8a97a5; --hue2: #d9a441; --hue3: #58a6ff; } }
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif !important; }
</style>"""


def table(page: str, *, having: str) -> list[dict[str, str]]:
    """The rows of the first table of a benchmark's page whose header has this column."""
    rows: list[list[str]] = []
    for line in (ROOT / "benchmarks" / page).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else None
        if cells is None:
            if rows:
                break
        elif rows or having in cells:
            rows.append(cells)
    header, _, *body = rows
    return [dict(zip(header, cells, strict=True)) for cells in body]


def routing() -> Series:
    """Bills of ways to route, relative to always the strong model, by how often that is needed."""
    rows = [
        row
        for row in table("caching_routing.md", having="clairvoyant")
        if (row["pair"], row["need drawn per"]) == ("Opus 5.5 > Sonnet 5.5", "request")
    ]
    names = {"blind": "blind to the cache", "sticky": "sticky", "ours": "Pointsman", "clairvoyant": "clairvoyant"}
    return {
        title: {f"needed for {float(row['q']):.0%}": float(row[column]) for row in rows}
        for column, title in names.items()
    }


def placing() -> Series:
    """Bills of placements, relative to no caching, on recorded traffic."""
    traces = {
        "coding sessions": "coding\nsessions",
        "agents (tau-bench)": "agents",
        "chat (Mooncake)": "chat",
        "RAG (MTRAG), a chat's gaps": "questions about\ndocuments",
    }
    placements = {
        "end-5m": "a point at the end, 5m",
        "everywhere-1h": "everywhere, 1h",
        "pointsman": "Pointsman",
    }
    rows = [row for row in table("caching.md", having="placement") if row["prices"] == "r=.1"]
    return {
        title: {
            traces[row["trace"]]: float(row["bill / no caching"])
            for row in rows
            if row["trace"] in traces and row["placement"] == placement
        }
        for placement, title in placements.items()
    }


def documents() -> Series:
    """Bills of conversations about documents, relative to no caching, by where a template puts the documents."""
    columns = {
        "end-5m": "a point at the end, 5m",
        "our points, as written": "Pointsman's points",
        "ours": "in a session",
    }
    rows = [
        row
        for row in table("documents.md", having="end-5m")
        if (row["prices"], row["clock"]) == ("Claude, r=.1", "a chat's gaps") and "second half" in str(row)
    ]
    return {
        title: {f"documents in the\n{row['documents stand in']}": float(row[column]) for row in rows}
        for column, title in columns.items()
    }


def turns() -> Series:
    """Tokens of four turns over HTTP with the documents in the last message, by bucket."""
    senders = {
        "boto3, a point at the end": "a point at\nthe end",
        "Client, no session": "Pointsman,\nno session",
        "Client, in a session": "Pointsman,\nin a session",
    }
    rows = [row for row in table("documents.md", having="uncached") if row["documents stand in"] == "last message"]
    return {
        title: {f"{senders[row['sent by']]}|{row['turn']}": float(row[column]) for row in rows}
        for column, title in {"read": "read", "written": "written", "uncached": "uncached"}.items()
    }


def draw_bars(axes: Axes, series: Series, unit: str) -> None:
    """Groups of bars beside each other, each with its height, and a line at 1."""
    groups = list(next(iter(series.values())))
    width = 0.8 / len(series)
    hues = (_HUES[1], _HUES[2], _HUES[3], _HUES[0])
    for place, (title, heights) in enumerate(series.items()):
        at = [index + (place - (len(series) - 1) / 2) * width for index in range(len(groups))]
        drawn = axes.bar(at, list(heights.values()), width * 0.92, label=title, color=hues[place])
        paper = {"facecolor": _PAPER, "edgecolor": "none", "pad": 0.5}  # the line at 1 doesn't strike them through
        axes.bar_label(drawn, fmt="%.2f", padding=2, fontsize=9, color=_INK, bbox=paper)
    axes.axhline(1, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(unit)
    axes.margins(y=0.12)


def draw_stacks(axes: Axes, series: Series, unit: str) -> None:
    """A stack of buckets for each turn, turns in groups by who sent them."""
    keys = list(next(iter(series.values())))
    senders = list(dict.fromkeys(key.partition("|")[0] for key in keys))
    at = [index + senders.index(key.partition("|")[0]) * 0.8 for index, key in enumerate(keys)]
    base = [0.0] * len(keys)
    for (title, heights), hue in zip(series.items(), (_HUES[3], _HUES[2], _HUES[1]), strict=True):
        axes.bar(at, list(heights.values()), 0.8, bottom=base, label=title, color=hue)
        base = [low + height for low, height in zip(base, heights.values(), strict=True)]
    labels = []
    for index, key in enumerate(keys):
        sender, _, turn = key.partition("|")
        middle = index % (len(keys) // len(senders)) == 1
        labels.append(f"{turn}\n{sender}" if middle else turn)
    axes.set_xticks(at, labels)
    axes.set_ylabel(unit)


FIGURES_OF: dict[str, tuple[Callable[[], Series], Callable[[Axes, Series, str], None], str]] = {
    "routing": (routing, draw_bars, "bill / always the strong model"),
    "placing": (placing, draw_bars, "bill / no caching"),
    "documents": (documents, draw_bars, "bill / no caching"),
    "turns": (turns, draw_stacks, "prompt tokens of each turn"),
}


def draw(name: str) -> str:
    """One figure as SVG."""
    read, draw_it, unit = FIGURES_OF[name]
    series = read()
    colours = {"text.color": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK}
    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "axes.edgecolor": _FAINT, "font.size": 11, **colours}
    with plt.rc_context(settings):
        figure, axes = plt.subplots(figsize=(8, 4), layout="constrained", facecolor=_PAPER)
        axes.set_facecolor(_PAPER)
        axes.spines[["top", "right"]].set_visible(False)
        draw_it(axes, series, unit)
        handles, titles = axes.get_legend_handles_labels()
        figure.legend(handles, titles, loc="outside upper center", ncols=len(titles), frameon=False)
        saved = BytesIO()
        described = {"Date": None, "Creator": None, "Description": json.dumps(series)}
        figure.savefig(saved, format="svg", metadata=described, facecolor=_PAPER)
        plt.close(figure)
    return _styled(saved.getvalue().decode())


def _styled(svg: str) -> str:
    """The same with the file's own style sheet, whose variables take the place of the colours it was drawn in."""
    for colour, variable in ((_INK, "ink"), (_PAPER, "paper"), (_FAINT, "faint")):
        svg = svg.replace(colour, f"var(--{variable})")
    for index, hue in enumerate(_HUES):
        svg = svg.replace(hue, f"var(--hue{index})")
    return re.sub(r"(<svg[^>]*>)", rf"\1\n{_STYLE}", svg, count=1)


def main() -> None:
    """Write all figures."""
    FIGURES.mkdir(exist_ok=True)
    for name in FIGURES_OF:
        (FIGURES / f"{name}.svg").write_text(draw(name), "utf-8")


if __name__ == "__main__":
    main()
