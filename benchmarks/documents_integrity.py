"""That every document stands once, verbatim, and nobody else's ever does: `python benchmarks/documents_integrity.py`.

Over all turns of MTRAG's conversations in both prompt shapes, and over random conversations of two tenants by the laws
of `tests/document_laws.py`. Ends with the first violation.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import caching_sets as sets
import documents_runs as runs
from documents import DATA
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import document_laws as laws


def main() -> None:
    """Check all, and say how much that was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the traces")
    parser.add_argument("--conversations", type=int, default=10_000, help="random conversations")
    arguments = parser.parse_args()
    traces = arguments.data / "traces" if (arguments.data / "traces").is_dir() else arguments.data
    for shape in runs.SHAPES:
        _said(f"MTRAG, {shape}", lambda shape=shape: _mtrag(runs.Corpus.read(traces), shape))
    _said("random conversations", lambda: _random(arguments.conversations))


def _said(name: str, check: Callable[[], str]) -> None:
    started = time.perf_counter()
    print(f"{name:24} {check()}, no violation, {time.perf_counter() - started:7.1f} s", flush=True)


def _mtrag(corpus: runs.Corpus, shape: str) -> str:
    """Each passage that a request held stands in it once, and none that its conversation's requests never held."""
    held: dict[int, set[str]] = {}
    counted = [0, 0]

    def check(one: runs.Sent, sent: Mapping[str, Any]) -> None:
        names = corpus.conversations[one.conversation].turns[one.turn].passages
        texts = {corpus.passages[name].strip() for name in names}
        known = held.setdefault(one.conversation, set())
        known |= texts
        whole = "\0".join(laws._strings(sent))
        for text in known:
            # Some passages stand within others.
            times = whole.count(text) - sum(other.count(text) for other in known - {text} if other in whole)
            least = int(text in texts and not any(text in other for other in texts - {text}))
            assert least <= times <= 1, f"conversation {one.conversation}, turn {one.turn}: {times} times"
        for other in set(corpus.passages.values()) - known:
            text = other.strip()
            assert text not in whole or any(text in mine for mine in known), "a stranger's"
        counted[0] += 1
        counted[1] += len(texts)

    runs.run(runs.as_chats(corpus), shape, sets.model_at(0.1), on_request=check)
    return f"{len(corpus.conversations):6,} conversations, {counted[0]:7,} requests, {counted[1]:6,} passages"


def _random(conversations: int) -> str:
    counted = [0, 0]

    def check(course: laws.Course) -> None:
        counted[0] += 1
        counted[1] += laws.documents_are_laid_lawfully(course)

    profile = settings(
        max_examples=conversations, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    profile(given(course=laws.courses)(check))()
    return f"{counted[0]:6,} conversations, {counted[1]:7,} requests"


if __name__ == "__main__":
    main()
