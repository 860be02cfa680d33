"""Reports: what stands in them, that nothing in them is taken for markup, and that a page needs no other."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pointsman.errors import InvalidRequestError, MissingExtraError
from pointsman.evaluation.chart import svg_of
from pointsman.evaluation.comparison import Comparison, Figure, Pair, Point, Promise, Ranking, Standing
from pointsman.evaluation.metrics import Loss
from pointsman.evaluation.report import check_path, to_html, to_markdown, write_report
from pointsman.evaluation.tables import tables_of

EVIL = "a|b <script>alert(1)</script> $x_1$ *c* [d](e) & `f`"
UNKNOWN = Figure(math.nan, math.nan, math.nan)


def standing(name: str, quality: float, cost: float, kind: str = "router") -> Standing:
    return Standing(
        name=name,
        kind=kind,  # type: ignore[arg-type]  # a literal, from the tests below
        quality=Figure(quality, quality - 0.01, quality + 0.012),
        cost=Figure(cost, cost * 0.9, cost * 1.1),
        lost=Figure(0.0123, 0.01, 0.02),
        saved=Figure(0.25, 0.2, 0.3),
        shares={"small": 0.75, "large": 0.25},
    )


def ranking(name: str, cost: float = 10.0) -> Ranking:
    figures = {field: Figure(0.5, 0.5, 0.5) for field in ("apgr", "saved_1", "lost_1", "saved_5", "lost_5")}
    calls = {field: Figure(50.0, 45.0, 55.0) for field in ("cpt_50", "cpt_80")}
    points = tuple(Point(i / 10, 0.6 + 0.02 * i, 1 + cost * i / 10) for i in range(11))
    return Ranking(name=name, points=points, **figures, **calls)


def comparison(router: str = "ours", cost: float = 4.0) -> Comparison:
    promise = Promise(
        router=router,
        predictor="trained",
        difference=0.1,
        loss=Loss(sent=1234, mean=0.15, standard_error=0.01, exceeds=True),
        calibration_error=0.021,
        sampling_floor=0.012,
    )
    rankings = (ranking(router, cost), ranking("random", cost), ranking("oracle", cost))
    return Comparison(
        prompts=2000,
        prices={"small": (1.0, 5.0), "large": (None, None)},
        reference="always large",
        standings=(standing(router, 0.79, cost), standing("always large", 0.8, 11.0, "model")),
        pairs=(Pair(weak="small", strong="large", rankings=rankings, promises=(promise,)),),
        left_out={"no outcome of every model": 3},
        failures={"ours: routing: ValueError": 1},
        notes=("Something was assumed.",),
        seed=7,
        draws=200,
    )


ABOUT: Mapping[str, str] = {"Prompts": "labels.csv: 2,000", "When": "2026-11-22 12:00 UTC"}


class TestTables:
    def test_figures_stand_with_their_intervals(self) -> None:
        """The policies, the pair, and what was promised."""
        policies, pair, promises = tables_of(comparison())
        assert [(cell.text, cell.interval) for cell in policies.rows[0]] == [
            ("ours", ""),
            ("79.0 %", "78.0 to 80.2"),
            ("4.00", "3.60 to 4.40"),
            ("1.2 %", "1.0 to 2.0"),
            ("25.0 %", "20.0 to 30.0"),
            ("small 75.0 %, large 25.0 %", ""),
        ]
        assert [(cell.text, cell.interval) for cell in pair.rows[0]][:3] == [
            ("ours", ""),
            ("0.500", ""),
            ("50.0", "45.0 to 55.0"),
        ]
        assert [cell.text for cell in promises.rows[0]][3:] == [
            "1,234",
            "0.150",
            "yes, significantly",
            "0.021",
            "0.012",
        ]

    def test_the_reference_is_not_held_against_itself(self) -> None:
        """Its cells stay empty."""
        assert [cell.text for cell in tables_of(comparison())[0].rows[1]][3:5] == ["", ""]

    def test_shares_stand_where_the_name_does_not_tell_them(self) -> None:
        """Always one model, or the router's shares once more."""
        told = comparison()
        same = standing("random, same shares", 0.7, 4.0, "baseline")
        alone = replace(told.standings[1], shares={"large": 1.0})
        one_sided = replace(told.standings[0], shares={"large": 1.0})
        told = replace(told, standings=(told.standings[0], one_sided, alone, same))
        shares = [row[5].text for row in tables_of(told)[0].rows]
        assert shares == ["small 75.0 %, large 25.0 %", "large 100.0 %", "", ""]

    def test_what_is_unknown_is_called_so(self) -> None:
        """Never 0, never nan."""
        told = comparison()
        told = replace(told, standings=(replace(told.standings[0], cost=UNKNOWN, saved=UNKNOWN),))
        row = tables_of(told)[0].rows[0]
        assert (row[2].text, row[4].text) == ("unknown", "unknown")
        assert "nan" not in to_markdown(told, ABOUT)

    @pytest.mark.parametrize(
        ("loss", "says"),
        [
            (Loss(sent=9, mean=0.05, standard_error=0.1, exceeds=False), "no"),
            (Loss(sent=9, mean=0.15, standard_error=0.1, exceeds=False), "not significantly"),
            (Loss(sent=0, mean=math.nan, standard_error=math.nan, exceeds=False), "no"),
        ],
    )
    def test_a_loss_is_held_against_the_difference(self, loss: Loss, says: str) -> None:
        """Above it by chance is not above it."""
        told = comparison()
        pair = replace(told.pairs[0], promises=(replace(told.pairs[0].promises[0], loss=loss),))
        assert tables_of(replace(told, pairs=(pair,)))[2].rows[0][5].text == says

    def test_without_a_router_nothing_is_promised(self) -> None:
        """And no empty table is shown."""
        told = comparison()
        assert len(tables_of(replace(told, pairs=(replace(told.pairs[0], promises=()),)))) == 2


class TestMarkdown:
    def test_it_says_what_when_and_how_sure(self) -> None:
        """Facts, tables, the curve, and what was left out, failed, assumed and drawn."""
        told = to_markdown(comparison(), ABOUT)
        assert told.startswith("# Prompt routing, evaluated\n\n- Prompts: labels.csv: 2,000\n- When: 2026-11-22")
        assert "| ours | 79.0 % (78.0 to 80.2) | 4.00 (3.60 to 4.40) |" in told
        assert "| 50 % | 70.0 % | 70.0 % | 70.0 % |" in told
        assert "- Left out: 3 prompts, no outcome of every model." in told
        assert "- Failed: ours: routing: ValueError, once." in told
        assert "small 1 in, 5 out; large unknown in, unknown out." in told
        assert "200 bootstrap draws of the questions, seed 7" in told

    def test_every_table_has_as_many_cells_in_each_row(self) -> None:
        """Whatever stands in a name."""
        for table in to_markdown(comparison(EVIL), {"Of": EVIL}).split("\n\n"):
            widths = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines() if table.startswith("|")]
            assert len(set(widths)) <= 1

    def test_names_are_no_markup(self) -> None:
        """Backslashes keep them what they are."""
        told = to_markdown(comparison(EVIL), {"Of": EVIL + "\n\n# x"})
        assert r"a\|b \<script\>alert(1)\</script\> \$x\_1\$ \*c\* \[d\](e) \& \`f\` \# x" in told
        assert "<script>" not in told
        assert "\n# x" not in told


class _Page(HTMLParser):
    """Which elements open and close, and what would be loaded from elsewhere."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.sources: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.sources += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


class TestHtml:
    def test_one_page_that_needs_no_other(self) -> None:
        """Whole elements, the chart in it, nothing loaded, no script."""
        page = _Page(to_html(comparison(EVIL), {"Of": EVIL}))
        assert page.open == []
        assert page.seen.count("table") == 3
        assert page.seen.count("svg") == 1
        assert "script" not in page.seen
        assert all(source.startswith("#") for source in page.sources)
        assert "@import" not in to_html(comparison(), ABOUT)

    def test_names_are_escaped(self) -> None:
        """In tables, facts, and in the chart."""
        told = to_html(comparison(EVIL), {"Of": EVIL})
        assert "<script>" not in told
        assert told.count("a|b &lt;script&gt;alert(1)&lt;/script&gt;") >= 4

    def test_it_says_the_same_as_the_tables(self) -> None:
        """Each figure with its interval."""
        told = to_html(comparison(), ABOUT)
        assert "<td>79.0 %<small>78.0 to 80.2</small></td>" in told
        assert "<dt>Prompts</dt><dd>labels.csv: 2,000</dd>" in told
        assert "<li>Left out: 3 prompts, no outcome of every model.</li>" in told

    def test_the_chart_names_every_line(self) -> None:
        """As text, and as XML that holds together; a dollar is no formula."""
        told = svg_of(comparison(EVIL), comparison(EVIL).pairs[0])
        texts = [element.text for element in ElementTree.fromstring(told).iter() if element.tag.endswith("}text")]
        assert {EVIL, "random", "oracle", "always small", "always large"} <= set(texts)
        assert "USD per 1,000 requests" in texts

    def test_without_costs_the_chart_is_over_calls(self) -> None:
        """The prices of one model may be unknown."""
        told = comparison(cost=math.nan)
        assert "% of calls to large" in svg_of(told, told.pairs[0])

    def test_the_same_figures_give_the_same_page(self) -> None:
        """No date but the one that is told, no random id."""
        assert to_html(comparison(), ABOUT) == to_html(comparison(), ABOUT)


class TestFiles:
    @pytest.mark.parametrize(("name", "begins"), [("out.md", "# Prompt"), ("out.html", "<!doctype html>")])
    def test_the_name_tells_the_format(self, tmp_path: Path, name: str, begins: str) -> None:
        """An older report is replaced."""
        (tmp_path / name).write_text("old")
        write_report(tmp_path / name, comparison(), ABOUT)
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)

    @pytest.mark.parametrize(
        ("name", "says"), [("out.pdf", "must end in .md or .html"), ("no/out.md", "no such folder")]
    )
    def test_a_report_that_cannot_be_written_is_refused(self, tmp_path: Path, name: str, says: str) -> None:
        """Before anything is evaluated."""
        with pytest.raises(InvalidRequestError, match=says):
            check_path(tmp_path / name)

    def test_a_folder_in_the_way_is_told(self, tmp_path: Path) -> None:
        """Only writing finds it out."""
        (tmp_path / "out.md").mkdir()
        with pytest.raises(InvalidRequestError, match="can't write"):
            write_report(tmp_path / "out.md", comparison(), ABOUT)

    def test_html_needs_matplotlib(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Markdown doesn't."""
        monkeypatch.setattr("pointsman.evaluation.chart.find_spec", lambda _: None)
        check_path(tmp_path / "out.md")
        with pytest.raises(MissingExtraError, match=r"pointsman\[fit\]"):
            check_path(tmp_path / "out.html")


def test_matplotlib_is_loaded_only_where_a_chart_is_drawn() -> None:
    """It takes its time."""
    code = (
        "import sys; import pointsman.evaluation.report, pointsman.evaluation.compare; "
        "print('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
