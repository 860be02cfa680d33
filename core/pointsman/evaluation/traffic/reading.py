"""Files of recorded traffic: which format one has, and where one can't be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import orjson

from pointsman.errors import InvalidRequestError
from pointsman.evaluation.traffic.blocks import coding_session, mooncake_requests
from pointsman.evaluation.traffic.conversations import mtrag_sessions, tau_session
from pointsman.evaluation.traffic.lines import Lines, files_of
from pointsman.evaluation.traffic.logs import Conversations, TracedBlocks, invocations, traced_requests
from pointsman.evaluation.traffic.request import RecordedRequest, interleaved, one_after_another
from pointsman.trace_log import FORMAT

Timeline = Callable[[Iterable[Sequence[RecordedRequest]]], Iterable[RecordedRequest]]
"""Brings sessions that have clocks of their own onto one: `one_after_another` or `interleaved`."""

_POLICY = "tau_airline_policy.json"
_FORMATS = "Pointsman's traces, Bedrock's model-invocation logs, coding sessions, Mooncake, MTRAG or tau-bench"


def read_traffic(
    *paths: Path, timeline: Timeline | None = None, skipped: Counter[str] | None = None
) -> Iterator[RecordedRequest]:
    """The requests of files, and of all files of folders, line by line; each one's format is told by its content.

    Plain or gzip. A conversation may go on in the next file. `timeline` is for sessions with clocks of their own: by
    default coding sessions come one after another, and tau-bench's side by side over a day. Requests that can't be
    used are counted in `skipped`, by the reason.

    Raises:
        InvalidRequestError: a file can't be read, with the line where that showed.
    """
    reader = TrafficReader(timeline=timeline, skipped=Counter() if skipped is None else skipped)
    for file in [file for path in paths for file in files_of(path)]:
        yield from reader.read(file)


class TrafficReader:
    """Reads files one after another: a conversation may go on in the next one, and no two have one name.

    `conversations` knows those of all that was read, for who reads other files beside these.
    """

    def __init__(self, *, skipped: Counter[str], timeline: Timeline | None = None) -> None:
        self.conversations = Conversations()
        self._skipped = skipped
        self._timeline = timeline
        self._traced_blocks = TracedBlocks()
        self._public_traces = 0

    def read(self, file: Path) -> Iterator[RecordedRequest]:
        """The requests of one file.

        Raises:
            InvalidRequestError: it can't be read, with the line where that showed.
        """
        lines = Lines(file, self._skipped)
        try:
            yield from self._requests(lines)
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            if isinstance(exc, InvalidRequestError):
                raise
            what = f"it has no {exc}" if isinstance(exc, KeyError) else str(exc)
            raise InvalidRequestError(f"{file}, line {lines.number}: {what}.") from exc

    def _requests(self, lines: Lines) -> Iterator[RecordedRequest]:
        if FORMAT in lines.first:
            yield from traced_requests(lines, self._skipped, self.conversations, self._traced_blocks)
        elif lines.first.get("schemaType") == "ModelInvocationLog":
            yield from invocations(lines, self._skipped, self.conversations)
        else:
            self._public_traces += 1
            # Each numbers its sessions from the start.
            before = f"{lines.path.name}, " if self._public_traces > 1 else ""
            for request in _public_trace(lines, self._timeline):
                yield request._replace(session=before + request.session)


def _public_trace(lines: Lines, timeline: Timeline | None) -> Iterable[RecordedRequest]:
    first = lines.first
    if "reqs" in first and "bs" in first:
        return (timeline or one_after_another)(coding_session(told) for told in lines)
    if "hash_ids" in first:
        return mooncake_requests(lines)
    if "traj" in first:
        policy = _policy_beside(lines.path)
        return (timeline or interleaved)(tau_session(told, policy) for told in lines)
    if "conversations" in first and "docs" in first:
        sessions = mtrag_sessions(first)
        if timeline is not None:
            return timeline(sessions)
        return sorted((one for session in sessions for one in session), key=lambda request: request.at)
    raise ValueError(f"this is none of {_FORMATS}")


def _policy_beside(path: Path) -> str:
    try:
        return str(orjson.loads((path.parent / _POLICY).read_bytes()))
    except (OSError, ValueError) as exc:
        raise InvalidRequestError(f"{path}: tau-bench's policy is needed beside it, as {_POLICY}: {exc}.") from exc
