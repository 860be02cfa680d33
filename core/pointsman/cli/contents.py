"""The help of `pointsman` as a table of contents: its commands by chapters. Knows their names; runs none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typer.core import TyperGroup

CHAPTERS: Mapping[str, tuple[str, ...]] = {
    "Begin": ("demo", "doctor", "local"),
    "Ask": ("ask", "chat"),
    "Route": ("route", "routers", "models"),
    "Look into caching": ("explain", "replay"),
    "Measure and improve": ("evaluate", "fit"),
}
_REST = "Other commands"


class Contents(TyperGroup):
    """Lists its commands chapter by chapter; one that no chapter has comes last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the chapters."""
        listed = [name for names in CHAPTERS.values() for name in names if name in self.commands]
        return [*listed, *(name for name in super().list_commands(ctx) if name not in listed)]

    # Typer's own classes for these arguments are not public.
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each chapter."""
        names = [name for name in self.list_commands(ctx) if not self.commands[name].hidden]
        width = max(map(len, names))
        limit = formatter.width - 6 - width
        rest = tuple(name for name in names if not any(name in chapter for chapter in CHAPTERS.values()))
        for title, chapter in {**CHAPTERS, _REST: rest}.items():
            # Padded, so that the columns of all chapters are one.
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(limit)) for name in chapter if name in names
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
