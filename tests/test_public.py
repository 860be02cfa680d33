"""The promised names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest

import pointsman

ROOT = Path(__file__).parents[1]

PROMISED = [
    "AsyncClient",
    "AsyncKnowledgeBase",
    "Block",
    "CachePoint",
    "CacheRules",
    "Capabilities",
    "Catalog",
    "Client",
    "Cost",
    "Decision",
    "Document",
    "Drift",
    "FeedbackLog",
    "InvalidRequestError",
    "KeepAlive",
    "KnowledgeBase",
    "Ledger",
    "LedgerStore",
    "MissReason",
    "Model",
    "NoEligibleModelError",
    "Outcomes",
    "Outline",
    "Placement",
    "PointsmanError",
    "PointsmanWarning",
    "Prediction",
    "Price",
    "Prompt",
    "PromptRouterError",
    "QualityPredictor",
    "Router",
    "RouterRegistry",
    "RoutingCriteria",
    "SQLiteStore",
    "Scope",
    "Session",
    "Trace",
    "TraceLog",
    "TrainedPredictor",
    "Usage",
    "ValkeyStore",
    "current_session",
    "place",
    "profile_resolver",
    "session",
]
HEAVY = ("boto3", "botocore", "numpy", "pydantic", "asyncio", "genai_prices", "orjson")


def _run(code: str) -> str:
    """What this code prints in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_promise_is_pinned() -> None:
    """A name that goes, or one that comes, is a decision."""
    assert sorted(pointsman.__all__) == PROMISED


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_name_is_there(name: str) -> None:
    """It can be got, is listed by dir(), and has a docstring."""
    value = getattr(pointsman, name)
    assert name in dir(pointsman)
    assert value.__doc__
    assert value.__module__.startswith("pointsman")


def test_a_star_import_gives_just_the_promised_names() -> None:
    """All of them, lazily loaded or not."""
    names = _run("from pointsman import *; print(*sorted(n for n in dir() if n[0] != '_'))")
    assert names.split() == PROMISED


def test_other_names_are_missing() -> None:
    """With the message that Python has for it."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = pointsman.no_such_name


def test_there_is_a_version() -> None:
    """Three numbers."""
    assert len(pointsman.__version__.split(".")) == 3


def test_the_version_stands_in_one_place() -> None:
    """`core/pointsman/__init__.py`; the build reads it there, and nothing else repeats it."""
    home = ROOT / "core" / "pointsman" / "__init__.py"
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert build["project"]["dynamic"] == ["version"] and "version" not in build["project"]
    assert ROOT / build["tool"]["hatch"]["version"]["path"] == home
    sources = [path for folder in ("core", "integrations", "recipes") for path in (ROOT / folder).rglob("*.py")]
    pages = [ROOT / "README.md", ROOT / "pyproject.toml", ROOT / "Makefile", *(ROOT / "docs").rglob("*.md")]
    assert [path for path in (*sources, *pages) if pointsman.__version__ in path.read_text()] == [home]


def test_the_changelog_begins_with_this_version() -> None:
    """Released or not."""
    _, _, newest = (ROOT / "CHANGELOG.md").read_text().partition("\n## ")
    assert newest.split()[0] == pointsman.__version__


def test_importing_the_package_loads_nothing_heavy() -> None:
    """Neither boto3 nor numpy, pydantic or asyncio: seen in the modules of a fresh interpreter."""
    loaded = _run(f"import pointsman, sys; print(*[name for name in {HEAVY!r} if name in sys.modules])")
    assert loaded == ""


def test_a_client_of_ones_own_needs_neither_boto3_nor_numpy() -> None:
    """A client over anything that converses loads none of them for a model that is named."""
    code = """
import sys
from pointsman import Client
class Own:
    def converse(self, **request):
        return {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}
messages = [{"role": "user", "content": [{"text": "Hi"}]}]
Client(Own()).converse(modelId="meta.llama3-1-8b-instruct-v1:0", messages=messages)
print(*[name for name in ("boto3", "botocore", "numpy") if name in sys.modules])
"""
    assert _run(code) == ""


def test_annotations_of_the_promised_names_can_be_resolved() -> None:
    """Tools that read type hints at run time find every name that they hold."""
    for name in ("Client", "Router", "Usage", "Price", "Model", "Outline", "Placement", "Ledger"):
        value = getattr(pointsman, name)
        typing.get_type_hints(value.__init__)
