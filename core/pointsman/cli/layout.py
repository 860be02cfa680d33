"""Lines, tables and JSON as the commands that tell facts print them. Knows rich; knows no fact."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointsman.ask.report import printable

_PIPED_WIDTH = 200
UNKNOWN = "unknown"


def make_console() -> Console:
    """A console on stdout; where that is no terminal, as wide as the environment says, or enough for tools to cut."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        told = os.environ.get("COLUMNS", "")
        console.width = int(told) if told.isdigit() and int(told) else _PIPED_WIDTH
    return console


def print_about(console: Console, about: Mapping[str, str]) -> None:
    """Names and what they are, one a line."""
    before = max(map(len, about)) + 2
    for name, text in about.items():
        lines = printable(text).splitlines() or [""]
        if console.is_terminal:
            room = max(console.width - before, 20)
            # Names of models have hyphens.
            lines = [part for line in lines for part in textwrap.wrap(line, room, break_on_hyphens=False)]
        text = f"\n{' ' * before}".join(lines)
        console.print(Text.assemble((name.ljust(before), "dim"), text), soft_wrap=True)


def table_of(header: Sequence[str], rows: Sequence[Sequence[str | Text]], *, right: Collection[int] = ()) -> Table:
    """A table; the columns of these places are of figures."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, name in enumerate(header):
        shown.add_column(name, justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    return shown


def print_remark(console: Console, text: str) -> None:
    """Something to know of what was printed."""
    console.print(Text(printable(text), style="dim"))


def print_json(told: Mapping[str, Any]) -> None:
    """One JSON document and nothing else."""
    print(json.dumps(told, indent=2, ensure_ascii=False))


def dollars(amount: Decimal | None) -> str:
    """USD of one request."""
    return UNKNOWN if amount is None else f"{amount:.6f}"


def tokens(count: int | None) -> str:
    """A number of tokens."""
    return UNKNOWN if count is None else f"{count:,}"
