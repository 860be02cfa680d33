"""Progress and tables in a terminal, for every command that computes figures. Knows rich; knows no figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from pointsman.ask.report import printable
from pointsman.cli.layout import make_console
from pointsman.evaluation.tables import SHARES, Cell, Table
from pointsman.evaluation.trial import Progress as Told


@contextmanager
def progress_bars() -> Iterator[Told]:
    """A bar for each thing that is done, on stderr; nothing where that is not a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        tasks: dict[str, TaskID] = {}

        def told(doing: str, done: int, total: int) -> None:
            if doing not in tasks:
                tasks[doing] = shown.add_task(doing, total=total)
            shown.update(tasks[doing], completed=done, total=total)

        yield told


def print_figures(
    about: Mapping[str, str], tables: Sequence[Table], remarks: Sequence[str], written: Mapping[str, Sequence[Path]]
) -> None:
    """What was done, the tables, what is to be known of them, and the files that were written, by what they are."""
    console = make_console()
    for name, text in about.items():
        console.print(Text.assemble((f"{name:<11}", "dim"), printable(text)))
    for table in tables:
        console.print()
        console.print(Text(table.title, style="bold"))
        console.print(_rich(table))
        console.print(Text(table.note, style="dim"))
    console.print()
    for remark in remarks:
        console.print(Text(printable(remark), style="dim"))
    for what, paths in written.items():
        for path in paths:
            console.print(Text(f"{what}: {path}"))


def _rich(table: Table) -> RichTable:
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, header in enumerate(table.header):
        words = place == 0 or header == SHARES
        shown.add_column(header, justify="left" if words else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*map(_rich_cell, row))
    return shown


def _rich_cell(cell: Cell) -> Text:
    text = Text(printable(cell.text))
    return text.append(f"\n{cell.interval}", style="dim") if cell.interval else text
