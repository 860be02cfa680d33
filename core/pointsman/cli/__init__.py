"""The command `pointsman`: exit codes and error lines. The commands themselves are in `commands.py`.

0: done. 1: Bedrock, or an endpoint in its place, refused or broke off. 2: it can't be done as it was asked for, and
nothing was sent. 130: interrupted. Nothing of the extra `cli` is imported before it is known to be installed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from pointsman.ask import CallFailedError
from pointsman.errors import MissingExtraError, PointsmanError, PointsmanWarning

_NEEDED = ("typer", "rich", "pypdf")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (by default the process's own); its exit code."""
    try:
        with _one_line_warnings(), _ending_on_sigterm():
            code = _run(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()
            return code
    except PointsmanError as exc:
        return _complain(str(exc), 1 if isinstance(exc, CallFailedError) else 2)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough of it; Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(arguments: Sequence[str]) -> int:
    if any(find_spec(package) is None for package in _NEEDED):
        raise MissingExtraError("the command pointsman", "cli")
    import typer

    from pointsman.cli.commands import app

    try:
        code = app(arguments or ["--help"], prog_name="pointsman", standalone_mode=False)
    except typer.TyperException as exc:
        # What a check of a value says comes with its kind.
        return _complain(exc.format_message().replace(" Value error,", ""), exc.exit_code)
    except typer.Abort:
        return 130
    return int(code or 0)


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """By an exception, so that what a local endpoint keeps on disk is deleted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    told: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        from pointsman.ask.unlisted import in_words

        line = f"pointsman: warning: {in_words(message)}"
        if line not in told:
            told.add(line)
            print(line, file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", PointsmanWarning)
        warnings.showwarning = show
        yield


def _complain(message: str, code: int) -> int:
    if message:
        print(f"pointsman: {' '.join(message.split())}", file=sys.stderr)
    return code
