"""Where the questions of a conversation come from: the command line, a pipe, or a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from pointsman.ask.conversation import check_questions
from pointsman.errors import InvalidRequestError

NextQuestion = Callable[[int], str | None]
"""Takes the number of a question; gives its text, None where the conversation ends."""

LEAVE = "/quit"


def given_questions(questions: Sequence[str]) -> NextQuestion:
    """Those of the command line.

    Raises:
        InvalidRequestError: one is empty.
    """
    return _one_by_one(iter(check_questions(questions)))


def piped_questions() -> NextQuestion:
    """One a line from stdin; lines with nothing in them are passed over.

    Raises:
        InvalidRequestError: there is none. The first is waited for.
    """
    lines = filter(None, map(str.strip, sys.stdin))
    first = next(lines, None)
    if first is None or first == LEAVE:
        raise InvalidRequestError('no question: write one a line to stdin, or give them with -q "...".')

    def questions() -> Iterator[str]:
        yield first
        for line in lines:
            if line == LEAVE:
                return
            yield line

    return _one_by_one(questions())


def typed_question(number: int) -> str | None:
    """What a person answers to the prompt; None at Ctrl-D, an empty line or /quit. Ctrl-C is raised."""
    with suppress(ImportError):  # Not on every platform; where it is loaded, `input` edits lines and has a history.
        import readline  # noqa: F401
    try:
        line = input(_prompt(number)).strip()
    except (EOFError, KeyboardInterrupt) as exc:
        print(file=sys.stderr)
        if isinstance(exc, KeyboardInterrupt):
            raise
        return None
    return None if line in ("", LEAVE) else line


def _prompt(number: int) -> str:
    prompt = f"{number}> "
    if not sys.stdout.isatty():
        # `input` would write it to stdout, among the answers.
        print(f"\n{prompt}", end="", file=sys.stderr, flush=True)
        return ""
    if "readline" not in sys.modules:
        return f"\n{prompt}"
    # Between these marks stands what takes no room on the line.
    return f"\n\001\033[1m\002{prompt}\001\033[0m\002"


def _one_by_one(questions: Iterator[str]) -> NextQuestion:
    return lambda _: next(questions, None)
