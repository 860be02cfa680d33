"""Runs each recipe in an environment of its own, and holds it to what it promises: turns that read from the cache.

    python recipes/run.py [strands_agent|pydantic_ai_agent|haystack_chat ...]

Environments are made under `.venv-recipes/` and kept; what a recipe needs is what its docstring tells a reader to
install, with these sources for `pointsman`.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RECIPES = Path(__file__).parent
ROOT = RECIPES.parent
ENVIRONMENTS = ROOT / ".venv-recipes"
TURNS = 3
_TURN = re.compile(r"^turn (\d+): (\S+) answered, (\d+) tokens read$", re.MULTILINE)


class RecipeError(Exception):
    """A recipe doesn't do what it promises; the message has what it printed."""


def main(names: Sequence[str]) -> None:
    """Install and run the recipes of these names, or all."""
    for name in names or recipes():
        python = ENVIRONMENTS / name / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *requirements(name)], check=True)
        print(f"{name}:\n{run(name, python)}", flush=True)


def recipes() -> list[str]:
    """The names of all recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.py") if path.name != Path(__file__).name)


def requirements(name: str) -> list[str]:
    """What the recipe's docstring says to install; `pointsman` is this folder's.

    Raises:
        RecipeError: it doesn't say.
    """
    docstring = ast.get_docstring(ast.parse((RECIPES / f"{name}.py").read_text())) or ""
    for line in docstring.splitlines():
        if line.strip().startswith("pip install "):
            return [re.sub(r"^pointsman\b(?!-)", str(ROOT), word) for word in shlex.split(line)[2:]]
    raise RecipeError(f"the docstring of {name}.py doesn't say what to install.")


def run(name: str, python: Path) -> str:
    """What the recipe prints, checked.

    Raises:
        RecipeError: it fails, or doesn't pass `check`.
    """
    done = subprocess.run([str(python), str(RECIPES / f"{name}.py")], capture_output=True, text=True, env=environment())
    if done.returncode:
        raise RecipeError(f"{name} failed:\n{done.stdout}{done.stderr}")
    check(done.stdout)
    return done.stdout


def check(printed: str) -> None:
    """Three turns, each with the model that answered; one that answered before reads from the cache, and one does.

    Raises:
        RecipeError: it isn't so.
    """
    turns = [(int(turn), model, int(read)) for turn, model, read in _TURN.findall(printed)]
    if [turn for turn, _, _ in turns] != list(range(1, TURNS + 1)):
        raise RecipeError(f"{len(turns)} turns were told of, not {TURNS}:\n{printed}")
    answered: set[str] = set()
    for turn, model, read in turns:
        if model in answered and read == 0:
            raise RecipeError(f"turn {turn} read nothing from the cache:\n{printed}")
        answered.add(model)
    if not any(read for _, _, read in turns):
        raise RecipeError(f"no turn read anything from the cache:\n{printed}")


def environment() -> dict[str, str]:
    """This one without its user's AWS settings and import path, and with no reports to the framework's makers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    return {**kept, "AWS_EC2_METADATA_DISABLED": "true", "HAYSTACK_TELEMETRY_ENABLED": "False"}


if __name__ == "__main__":
    main(sys.argv[1:])
