"""The house's own rules hold, and each of them can fail: a planted violation is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


@pytest.fixture
def copied_house(tmp_path: Path) -> Path:
    """A copy of the sources and their rules, to plant violations in."""
    for sources in ("core", "integrations"):
        shutil.copytree(ROOT / sources, tmp_path / sources, ignore=shutil.ignore_patterns("__pycache__", "*.pdf"))
    for name in (".importlinter", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(house: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run one of the checks over a house, whose own sources are imported."""
    environment = {**os.environ, "PYTHONPATH": f"{house / 'core'}:{house / 'integrations'}", "COLUMNS": "200"}
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=house, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("errors.py", "import pointsman.client", "Imports point down only"),
        ("local/cache.py", "from pointsman.cache import Ledger", "independent witness"),
        ("flow.py", "import langchain_core", "The core imports no framework"),
        ("flow.py", "import langchain_pointsman", "The core imports no framework"),
        ("client.py", "import boto3", "The core knows the AWS SDK in bedrock.py only"),
        ("client.py", "import opentelemetry.trace", "OpenTelemetry is known in telemetry.py only"),
        ("evaluation/billing.py", "import pointsman.cache", "The simulator knows nothing of the placement's code"),
        ("evaluation/bounds.py", "import pointsman.routing", "The simulator knows nothing of the placement's code"),
    ],
)
def test_a_planted_import_breaks_its_contract(copied_house: Path, module: str, line: str, contract: str) -> None:
    """Every import contract finds the import that it forbids."""
    path = copied_house / "core/pointsman" / module
    path.write_text(path.read_text() + f"\n{line}\n")
    done = run(copied_house, "lint-imports", "--no-cache")
    broken = [row for row in done.stdout.splitlines() if " BROKEN" in row]
    assert done.returncode == 1
    assert any(contract in row for row in broken), done.stdout


def test_the_import_contracts_hold() -> None:
    """The same check passes on the sources as they are."""
    done = run(ROOT, "lint-imports", "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_planted_lint_fault_is_found(copied_house: Path) -> None:
    """Ruff runs with the project's rules: a broad except needs its reason."""
    planted = copied_house / "core/pointsman/planted.py"
    planted.write_text('"""Planted."""\n\ntry:\n    pass\nexcept Exception:\n    pass\n')
    assert "BLE001" in run(copied_house, "ruff", "check", "core/pointsman/planted.py").stdout


def test_a_planted_type_fault_is_found(copied_house: Path) -> None:
    """Mypy runs strictly: an unannotated function is an error."""
    planted = copied_house / "core/pointsman/planted.py"
    planted.write_text('"""Planted."""\n\n\ndef planted(value):\n    return value\n')
    done = run(copied_house, "mypy", "core/pointsman/planted.py", "--follow-imports=silent")
    assert "no-untyped-def" in done.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`import pointsman` costs next to nothing: no SDK, no numpy, no pydantic, no event loop."""
    code = "import sys, pointsman; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"boto3", "botocore", "numpy", "pydantic", "asyncio", "orjson", "genai_prices"} & set(loaded)
