"""What `make recipes` holds the recipes to, which run in environments of their own. That it can fail is seen here."""

from __future__ import annotations

import runpy
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNNER = runpy.run_path(str(ROOT / "recipes" / "run.py"))
HAIKU, SONNET = "anthropic.claude-haiku-5-5", "anthropic.claude-sonnet-5-5"


def printed(*turns: tuple[str, int]) -> str:
    """What a recipe prints of its turns."""
    return "".join(f"turn {n}: {model} answered, {read} tokens read\n" for n, (model, read) in enumerate(turns, 1))


@pytest.mark.parametrize(
    "turns",
    [[(HAIKU, 0), (HAIKU, 6600), (HAIKU, 6630)], [(HAIKU, 0), (SONNET, 0), (HAIKU, 6600)]],
)
def test_turns_that_read_from_the_cache_pass(turns: list[tuple[str, int]]) -> None:
    """A model that answers for the first time has nothing to read yet."""
    RUNNER["check"](printed(*turns))


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (printed((HAIKU, 0), (HAIKU, 0), (HAIKU, 6630)), "turn 2 read nothing"),
        (printed((HAIKU, 0), (SONNET, 0), (HAIKU, 0)), "turn 3 read nothing"),
        (printed((HAIKU, 0), (SONNET, 0), ("another", 0)), "no turn read anything"),
        (printed((HAIKU, 0), (HAIKU, 6600)), "2 turns were told of, not 3"),
        ("", "0 turns were told of"),
    ],
)
def test_a_turn_without_a_read_is_found(output: str, told: str) -> None:
    """As is one that is missing."""
    with pytest.raises(RUNNER["RecipeError"], match=told):
        RUNNER["check"](output)


def test_a_recipe_that_fails_is_told_with_its_error(tmp_path: Path) -> None:
    """Here in an environment that holds nothing but Python."""
    venv.create(tmp_path, with_pip=False)
    with pytest.raises(RUNNER["RecipeError"], match="No module named"):
        RUNNER["run"](RUNNER["recipes"]()[0], tmp_path / "bin" / "python")


@pytest.mark.parametrize("name", RUNNER["recipes"]())
def test_a_recipe_is_short_and_says_what_to_install(name: str) -> None:
    """Its docstring's command is what its environment is made by, with these sources for the package."""
    source = (ROOT / "recipes" / f"{name}.py").read_text()
    package, framework = RUNNER["requirements"](name)
    assert package == f"{ROOT}[local]"
    assert framework.partition("[")[0] not in ("", "pointsman")
    assert len(source.splitlines()) < 50


@pytest.mark.parametrize("name", RUNNER["recipes"]())
def test_a_recipe_shadows_no_framework(name: str) -> None:
    """A script's own folder is searched first: one named as its framework would import itself."""
    assert name not in ("strands", "pydantic_ai", "haystack", "pointsman", "boto3")


def test_a_recipe_sees_neither_the_users_aws_settings_nor_his_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """And tells the framework's makers nothing."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    seen = RUNNER["environment"]()
    assert "AWS_PROFILE" not in seen and "PYTHONPATH" not in seen
    assert seen["HAYSTACK_TELEMETRY_ENABLED"] == "False"
