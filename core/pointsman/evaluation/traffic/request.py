"""A request as traffic recorded it, and how sessions with clocks of their own come onto one timeline.

Knows outlines and times; knows no file format and bills nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from pointsman.outline import CachePoint, Outline
from pointsman.usage import Usage

GAP_SECONDS = 7200.0
"""Between the end of a session and the start of the next: longer than any TTL."""
DAY_SECONDS = 86_400.0


class RecordedRequest(NamedTuple):
    """One request of a log: who sent what when, without its text.

    `at` is in seconds; `model` the id that was asked or invoked. `usage` and `points` are what was billed and placed
    then, None where the log doesn't tell. `expected_quality` is by catalogue id, where a router had decided.
    `writer` is who wrote the log, where digests of others may be keyed otherwise, and tell nothing beside its own.
    """

    session: str
    at: float
    model: str
    outline: Outline
    output_tokens: int = 0
    usage: Usage | None = None
    points: tuple[CachePoint, ...] | None = None
    expected_quality: Mapping[str, float] | None = None
    writer: str | None = None


def one_after_another(
    sessions: Iterable[Sequence[RecordedRequest]], *, gap: float = GAP_SECONDS
) -> Iterator[RecordedRequest]:
    """Sessions whose clocks know nothing of each other, each `gap` seconds after the one before it has ended."""
    start = 0.0
    for session in sessions:
        shift = start - session[0].at if session else 0.0
        for request in session:
            yield request._replace(at=request.at + shift)
        if session:
            start = session[-1].at + shift + gap


def interleaved(
    sessions: Iterable[Sequence[RecordedRequest]], *, within: float = DAY_SECONDS, seed: int = 0
) -> list[RecordedRequest]:
    """The same sessions side by side: each starts at a time drawn uniformly from `within` seconds."""
    random = Random(seed)
    requests: list[RecordedRequest] = []
    for session in sessions:
        shift = random.uniform(0.0, within) - (session[0].at if session else 0.0)
        requests.extend(request._replace(at=request.at + shift) for request in session)
    return sorted(requests, key=lambda request: request.at)
