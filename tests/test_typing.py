"""What a user's type checker sees of the packages: `tests/typing/` is checked as his own code would be.

By mypy here, by pyright in `make types-pyright`, and by both over the installed wheel in `make test-wheel`.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parent / "typing").glob("*.py"))
PACKAGES = (
    "pointsman",
    "langchain_pointsman",
    "llama_index.llms.pointsman",
    "llama_index.postprocessor.pointsman",
    "llama_index.retrievers.pointsman",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where mypy keeps what it learnt of the frameworks, for the tests of this file."""
    return tmp_path_factory.mktemp("mypy")


def check(cache: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    """Run mypy as a strict user would, without this project's settings."""
    settings = ("--strict", "--config-file=", "--cache-dir", str(cache), "--no-error-summary")
    command = [sys.executable, "-m", "mypy", *settings, *map(str, files)]
    return subprocess.run(command, cwd=cache, capture_output=True, text=True)


def test_mypy_sees_what_is_promised(cache: Path) -> None:
    """Types where there are some, and errors where a line is wrong on purpose."""
    done = check(cache, *FILES)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize(
    ("file", "right", "wrong", "told"),
    [
        ("clients", "assert_type(client, AsyncClient)", "assert_type(client, int)", "[assert-type]"),
        ("documents", 'Document(text="A passage.")', 'Document("A passage.")', "[call-arg]"),
        ("routing", "predictor=Even()", "predictor=Wordless()", "[arg-type]"),
        ("langchain_chain", "any_model: BaseChatModel = llm", "any_model: BaseChatModel = 7", "[assignment]"),
        ("llama_index_engine", "assert_type(await llm.achat([])", "assert_type(llm.achat([])", "[assert-type]"),
        ("documents", "pointsman.session(7, ", 'pointsman.session("7", ', "[unused-ignore]"),
    ],
)
def test_a_planted_mistake_is_found(cache: Path, tmp_path: Path, file: str, right: str, wrong: str, told: str) -> None:
    """A package without types would take anything."""
    (path,) = [path for path in FILES if path.stem == file]
    source = path.read_text()
    assert right in source
    planted = tmp_path / f"planted_{file}.py"
    planted.write_text(source.replace(right, wrong))
    done = check(cache, planted)
    assert done.returncode == 1 and told in done.stdout, done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_has_types(package: str) -> None:
    """In its own folder: `llama_index` is LlamaIndex's."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    assert (Path(spec.origin).parent / "py.typed").is_file()
