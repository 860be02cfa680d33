"""Files of recorded traffic: which format one has, its lines, and where one can't be read."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from pointsman.errors import InvalidRequestError
from pointsman.evaluation.traffic.blocks import coding_session, mooncake_requests
from pointsman.evaluation.traffic.conversations import mtrag_sessions, tau_session
from pointsman.evaluation.traffic.logs import Conversations, TracedBlocks, invocations, traced_requests
from pointsman.evaluation.traffic.request import RecordedRequest, interleaved, one_after_another
from pointsman.trace_log import FORMAT

Timeline = Callable[[Iterable[Sequence[RecordedRequest]]], Iterable[RecordedRequest]]
"""Brings sessions that have clocks of their own onto one: `one_after_another` or `interleaved`."""

_GZIP = b"\x1f\x8b"
_ENDINGS = (".json", ".jsonl", ".gz", ".log")
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
    skipped = Counter() if skipped is None else skipped
    conversations, traced_blocks = Conversations(), TracedBlocks()
    for file in [file for path in paths for file in _files(path)]:
        lines = _Lines(file)
        try:
            if FORMAT in lines.first:
                yield from traced_requests(lines, skipped, conversations, traced_blocks)
            elif lines.first.get("schemaType") == "ModelInvocationLog":
                yield from invocations(lines, skipped, conversations)
            else:
                yield from _public_trace(lines, timeline)
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            if isinstance(exc, InvalidRequestError):
                raise
            what = f"it has no {exc}" if isinstance(exc, KeyError) else str(exc)
            raise InvalidRequestError(f"{file}, line {lines.number}: {what}.") from exc


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(_ENDINGS))
    if not files:
        raise InvalidRequestError(f"{path}: no file in it ends in {', '.join(_ENDINGS)}.")
    return files


def _public_trace(lines: _Lines, timeline: Timeline | None) -> Iterable[RecordedRequest]:
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


class _Lines:
    """The JSON objects of a file, one a line. `number` is that of the last line that was read.

    CloudWatch's exports write the time before each line's object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self._told = self._objects()
        self.first: Mapping[str, Any] = next(self._told, {})
        if not self.first:
            raise InvalidRequestError(f"{path}: there is nothing in it.")

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        yield self.first
        yield from self._told

    def _objects(self) -> Iterator[Mapping[str, Any]]:
        try:
            with _opened(self.path) as file:
                for self.number, line in enumerate(file, 1):
                    if line.strip():
                        yield self._object(line)
        except (OSError, EOFError, zlib.error) as exc:
            told = getattr(exc, "strerror", None) or str(exc)
            raise InvalidRequestError(f"{self.path}, line {self.number + 1}: it can't be read: {told}.") from exc

    def _object(self, line: bytes) -> Mapping[str, Any]:
        start = line.find(b"{")
        try:
            told = orjson.loads(line[start:] if start > 0 else line)
        except orjson.JSONDecodeError as exc:
            raise InvalidRequestError(f"{self.path}, line {self.number}: it is no JSON: {exc}.") from exc
        if not isinstance(told, dict):
            raise InvalidRequestError(f"{self.path}, line {self.number}: it is no JSON object.")
        return told


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]  # it reads as one
