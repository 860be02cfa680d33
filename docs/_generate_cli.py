"""Writes docs/cli.md: the help of `pointsman` and of each of its commands, as it is printed.

    python docs/_generate_cli.py

tests/test_site.py holds the page to it. Knows how a page looks; the words are the commands' own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from pointsman.cli.commands import app

PAGE = Path(__file__).with_name("cli.md")
_WIDTH = 100
_HEAD = """# Command line

```sh
pip install "pointsman[cli]"
```

What serves or searches on this machine (`demo`, `local`, `chat`, and whatever is given `--local`) needs the extra
`local`; `fit`, and what draws a chart or reads Parquet, needs `fit`. Credentials and Region are found as boto3 finds
them. An error is one line on stderr.

| exit code | |
|---|---|
| 0 | done |
| 1 | Bedrock, or an endpoint in its place, refused or broke off; of `doctor`: something failed |
| 2 | it can't be done as it was asked for, and nothing was sent |
| 130 | interrupted |

This page is the program's own help (`python docs/_generate_cli.py` writes it).
"""


def page() -> str:
    """The whole page."""
    shown = [_HEAD]
    for name, depth, text in helps(typer.main.get_command(app), "pointsman"):
        shown.append(f"{'#' * depth} {name}\n\n```text\n{text}\n```\n")
    return "\n".join(shown)


def helps(command: Any, name: str, depth: int = 2) -> Iterator[tuple[str, int, str]]:
    """A command and those below it, in the order of its help: name, depth, help."""
    context = command.context_class(command, info_name=name, terminal_width=_WIDTH)
    lines = command.get_help(context).rstrip().splitlines()
    yield name, depth, "\n".join(line.rstrip() for line in lines)
    if hasattr(command, "commands"):
        for child in command.list_commands(context):
            if not command.commands[child].hidden:
                yield from helps(command.commands[child], f"{name} {child}", min(depth + 1, 4))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
