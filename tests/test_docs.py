"""The fences of the README and of docs/ are true: code runs, commands parse, data is well-formed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from pointsman.local import LocalEndpoint

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"\n]+)\")?[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN = {"python", "sh", "json", "toml", "text"}


class Fence(NamedTuple):
    """One fenced block of a page. `source` is the file that it quotes, where it has a title."""

    page: Path
    language: str
    code: str
    source: str | None = None


def fences(language: str | None = None) -> Iterator[Fence]:
    """All fences of all pages, or those in one language."""
    for page in PAGES:
        for found in FENCE.finditer(page.read_text("utf-8")):
            if language in (None, found[1]):
                yield Fence(page, found[1], found[3], found[2])


def named(page: Path) -> str:
    """A page's place, by which its tests are called."""
    return page.relative_to(ROOT).as_posix()


def test_every_fence_names_a_language_that_is_checked() -> None:
    """A fence in an unknown language would be checked by nobody."""
    assert {fence.language for fence in fences()} <= KNOWN


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    """As a reader would run it, with boto3 pointed at a local endpoint by the environment alone; tests by pytest."""
    code = "\n".join(fence.code for fence in fences("python") if fence.page == page and fence.source is None)
    if not code:
        pytest.skip("the page has no Python")
    command = ["-c", code]
    if "\ndef test_" in code:
        (tmp_path / "test_page.py").write_text(code, "utf-8")
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"]
    with LocalEndpoint(engine="extract") as endpoint:
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": endpoint.url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
        done = subprocess.run(
            [sys.executable, "-W", "error::SyntaxWarning", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("fence", [fence for fence in fences() if fence.source], ids=lambda fence: named(fence.page))
def test_a_fence_with_a_title_quotes_that_file(fence: Fence) -> None:
    """Word for word. What needs other packages than ours is a recipe, which `make recipes` runs."""
    assert fence.source is not None and fence.source.startswith("recipes/")
    assert fence.code in (ROOT / fence.source).read_text("utf-8")


@pytest.mark.parametrize("fence", list(fences("json")), ids=lambda fence: named(fence.page))
def test_json_is_json(fence: Fence) -> None:
    """Data in a page can be copied."""
    json.loads(fence.code)


@pytest.mark.parametrize("fence", list(fences("toml")), ids=lambda fence: named(fence.page))
def test_toml_is_toml(fence: Fence) -> None:
    """Data in a page can be copied."""
    tomllib.loads(fence.code)


@pytest.mark.parametrize("fence", list(fences("sh")), ids=lambda fence: named(fence.page))
def test_the_commands_of_a_page_exist(fence: Fence) -> None:
    """Every make target exists, every option of ours parses, every extra is in pyproject.toml."""
    for line in fence.code.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            check_command(words)


def check_command(words: list[str]) -> None:
    """Fail where a command could not be run as it is written; other people's commands pass."""
    program, *arguments = words
    if program == "make":
        subprocess.run(["make", "-n", *arguments], cwd=ROOT, check=True, capture_output=True)
    elif program == "pointsman":
        from pointsman.cli.commands import app

        commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
        commands[arguments[0]].make_context(arguments[0], arguments[1:])
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
        for named in re.findall(r"pointsman\[([\w,-]+)\]", " ".join(arguments)):
            assert set(named.split(",")) <= set(extras)
