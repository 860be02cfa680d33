"""A comparison as a page to keep: Markdown, or one HTML file that needs no other.

Knows both formats and escapes every text; what stands in the tables is decided in `tables`, the curve in `chart`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from pointsman.errors import InvalidRequestError
from pointsman.evaluation.chart import need_matplotlib, svg_of
from pointsman.evaluation.comparison import Comparison
from pointsman.evaluation.tables import Cell, Table, curve_of, remarks_of, tables_of

TITLE = "Prompt routing, evaluated"


def check_path(path: Path) -> None:
    """Find out before anything is evaluated whether a report can be written there.

    Raises:
        InvalidRequestError: the name ends in neither .md nor .html, or there is no such folder.
        MissingExtraError: an HTML report needs matplotlib.
    """
    if path.suffix not in _FORMATS:
        raise InvalidRequestError(f"the report {path} must end in {' or '.join(_FORMATS)}.")
    if not path.parent.is_dir():
        raise InvalidRequestError(f"{path.parent}: no such folder for the report {path.name}.")
    if path.suffix == ".html":
        need_matplotlib()


def write_report(path: Path, comparison: Comparison, about: Mapping[str, str]) -> None:
    """Write the report in the format that the path's name ends in. `about` says what was measured, when, and on what.

    Raises:
        InvalidRequestError: see `check_path`; or the file can't be written.
    """
    check_path(path)
    page = _FORMATS[path.suffix](comparison, about)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as exc:
        raise InvalidRequestError(f"can't write {path}: {exc.strerror}.") from exc


def to_markdown(comparison: Comparison, about: Mapping[str, str]) -> str:
    """The report in Markdown, with each curve as a table."""
    facts = "\n".join(f"- {_plain(name)}: {_plain(text)}" for name, text in about.items())
    tables = [*tables_of(comparison), *(curve_of(pair) for pair in comparison.pairs)]
    remarks = "\n".join(f"- {_plain(remark)}" for remark in remarks_of(comparison))
    return "\n\n".join([f"# {TITLE}", facts, *map(_markdown_table, tables), "## Remarks", remarks]) + "\n"


def to_html(comparison: Comparison, about: Mapping[str, str]) -> str:
    """The report as one HTML page, the curves drawn in it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    facts = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in about.items())
    charts = "".join(
        f'<figure role="img" aria-label="Quality over cost of {html.escape(pair.weak)} and {html.escape(pair.strong)}">'
        f"{svg_of(comparison, pair)}</figure>"
        for pair in comparison.pairs
    )
    tables = "".join(map(_html_table, tables_of(comparison)))
    remarks = "".join(f"<li>{html.escape(remark)}</li>" for remark in remarks_of(comparison))
    return _PAGE.format(title=TITLE, facts=facts, charts=charts, tables=tables, remarks=remarks)


_FORMATS: Mapping[str, Callable[[Comparison, Mapping[str, str]], str]] = {".md": to_markdown, ".html": to_html}

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&$])")


def _plain(text: str) -> str:
    """The text as Markdown that shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _markdown_table(table: Table) -> str:
    rows = [tuple(map(_plain, table.header)), ("---", *("---:" for _ in table.header[1:]))]
    rows += [tuple(_markdown_cell(cell) for cell in row) for row in table.rows]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join(filter(None, (f"## {_plain(table.title)}", _plain(table.note), lines)))


def _markdown_cell(cell: Cell) -> str:
    return _plain(f"{cell.text} ({cell.interval})" if cell.interval else cell.text)


def _html_table(table: Table) -> str:
    header = "".join(f"<th>{html.escape(name)}</th>" for name in table.header)
    rows = "".join(f"<tr>{''.join(map(_html_cell, row))}</tr>" for row in table.rows)
    return (
        f"<h2>{html.escape(table.title)}</h2><p>{html.escape(table.note)}</p>"
        f'<div class="wide"><table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _html_cell(cell: Cell) -> str:
    interval = f"<small>{html.escape(cell.interval)}</small>" if cell.interval else ""
    return f"<td>{html.escape(cell.text)}{interval}</td>"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; }}
body {{ max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; }}
h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .4rem; }}
p, li, dl {{ max-width: 46rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; }}
dt {{ color: #595959; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .35rem .8rem .35rem 0; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd; }}
th {{ font-weight: 600; vertical-align: bottom; }}
th:first-child, td:first-child {{ text-align: left; }}
td small {{ display: block; color: #595959; white-space: nowrap; }}
figure {{ margin: 1.5rem 0; }}
figure svg {{ max-width: 100%; height: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
<dl>{facts}</dl>
{charts}
{tables}
<h2>Remarks</h2>
<ul>{remarks}</ul>
</body>
</html>
"""
