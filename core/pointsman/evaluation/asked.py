"""Requests with their texts, from files: one, several of a conversation, or a log. Knows files; explains nothing.

A request is of Converse's shape, or stands in `request`. Beside it may stand `modelId`, `at` or `timestamp` (seconds,
milliseconds, or ISO 8601), `session`, and in `response` or `reply` what Converse returned: its usage, and what a router
invoked. Or it is a line of Bedrock's model-invocation logs. Logs without texts are left to
`pointsman.evaluation.traffic`.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Any

import orjson

from pointsman.bedrock import read_reply
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.causes import Sent
from pointsman.evaluation.shapes import EXAMPLE, check_shape
from pointsman.evaluation.traffic import RecordedRequest
from pointsman.evaluation.traffic.lines import GZIP, Lines
from pointsman.evaluation.traffic.logs import Conversations, invocations, with_bytes
from pointsman.evaluation.traffic.reading import TrafficReader
from pointsman.prompt import Prompt
from pointsman.tokens import EstimatedTokens
from pointsman.trace_log import FORMAT

# Outlines of all requests have to agree; their digests stay in this process.
_KEY = b"explained"
_OF_INVOCATIONS = "ModelInvocationLog"
_CONVERSE = ("modelId", "toolConfig", "system", "messages", "inferenceConfig", "additionalModelRequestFields")
# What the first line of a log has that `TrafficReader` reads.
_OF_LOGS = frozenset({FORMAT, "schemaType", "reqs", "hash_ids", "traj", "conversations"})
_COUNTER = EstimatedTokens()
# As seconds, a time of the year 5138; as milliseconds, of 1973.
_LEAST_MILLISECONDS = 1e11


def read_requests(path: Path) -> list[Sent] | None:
    """The requests of one file that holds a JSON object, or a list of them, as they stand; None if it holds lines.

    Those that tell no time have NaN: see `in_order`.

    Raises:
        InvalidRequestError: it can't be read, or holds what is no request.
    """
    data = _read(path)
    if not data.strip():
        raise InvalidRequestError(f"{path}: there is nothing in it.")
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        if _is_of_lines(path, data):
            return None
        raise InvalidRequestError(f"{path}: it is no JSON: {exc}.") from exc
    if isinstance(told, Mapping) and not _has_request(told) and not _OF_LOGS.isdisjoint(told):
        return None
    if not told or not isinstance(told, list | Mapping):
        raise InvalidRequestError(f"{path}: there is no request in it.")
    requests = told if isinstance(told, list) else [told]
    names = [f"{path}, request {number}" if len(requests) > 1 else str(path) for number in range(1, len(requests) + 1)]
    return [_sent(one, name) for one, name in zip(requests, names, strict=True)]


def read_log(
    *files: Path, skipped: Counter[str], found: Mapping[Path, Sequence[Sent] | None] | None = None
) -> list[Sent]:
    """The requests of files, as they stand, each with its session; with their texts, where the files hold them.

    Args:
        skipped: counts what can't be used, by the reason.
        found: what `read_requests` has found in them, if they were read before.

    Raises:
        InvalidRequestError: a file can't be read, with the line where that showed.
    """
    reader = TrafficReader(skipped=skipped)
    requests: list[Sent] = []
    for path in files:
        told = read_requests(path) if found is None else found[path]
        if told is None:
            requests.extend(_log(path, reader, skipped))
        else:
            requests.extend(_in_session(one, reader.conversations) for one in told)
    return requests


def untimed(requests: Sequence[Sent]) -> int:
    """How many of the requests tell no time."""
    return sum(isnan(one.recorded.at) for one in requests)


def in_order(requests: Sequence[Sent]) -> list[Sent]:
    """The requests in the order of time; those that tell no time (NaN) come a second after the one before them."""
    placed: list[Sent] = []
    for one in requests:
        at = one.recorded.at
        if isnan(at):
            at = placed[-1].recorded.at + 1.0 if placed else 0.0
        placed.append(one._replace(recorded=one.recorded._replace(at=at)))
    return sorted(placed, key=lambda one: one.recorded.at)


def _log(path: Path, reader: TrafficReader, skipped: Counter[str]) -> Iterator[Sent]:
    lines = Lines(path, Counter())
    if not (_has_request(lines.first) or lines.first.get("schemaType") == _OF_INVOCATIONS):
        yield from (Sent(one) for one in reader.read(path))
        return
    lines = Lines(path, skipped)
    for told in lines:
        name = f"{path}, line {lines.number}"
        if told.get("schemaType") == _OF_INVOCATIONS:
            yield from _invocation(told, name, reader.conversations, skipped)
        else:
            yield _in_session(_sent(told, name), reader.conversations)


def _invocation(
    told: Mapping[str, Any], name: str, conversations: Conversations, skipped: Counter[str]
) -> Iterator[Sent]:
    try:
        for recorded in invocations([told], skipped, conversations):
            yield Sent(recorded, with_bytes(told["input"]["inputBodyJson"]))
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise _unreadable(name, exc) from exc


def _in_session(sent: Sent, conversations: Conversations) -> Sent:
    """The request with the session that it tells, else that of the one whose whole prompt it extends."""
    one = sent.recorded
    outline = conversations.counted(one.outline, one.model, one.usage)
    session = one.session or conversations.session_of(outline)
    return sent._replace(recorded=one._replace(outline=outline, session=session))


def _has_request(told: Mapping[str, Any]) -> bool:
    return "messages" in told or isinstance(told.get("request"), Mapping)


def _sent(told: Any, name: str) -> Sent:
    held = told["request"] if isinstance(told, Mapping) and isinstance(told.get("request"), Mapping) else told
    if not isinstance(held, Mapping) or "messages" not in held:
        raise InvalidRequestError(f"{name}: it is no request of Converse's shape: it has no messages. {EXAMPLE}.")
    try:
        check_shape(held)
        request = {field: with_bytes(held[field]) for field in (*_CONVERSE, "outputConfig") if field in held}
        outline = Prompt(request).outline(_COUNTER, key=_KEY)
        reply = read_reply(_reply_in(told), at=nan)
        recorded = RecordedRequest(
            session=str(told.get("session") or ""),
            at=_time(told),
            model=reply.invoked_model_id
            or str(request.get("modelId") or told.get("modelId") or told.get("model") or ""),
            outline=outline._replace(points=()),
            output_tokens=reply.usage.output_tokens if reply.usage else 0,
            usage=reply.usage,
            points=outline.points,
        )
    except InvalidRequestError as exc:
        raise InvalidRequestError(f"{name}: {exc}") from exc
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise _unreadable(name, exc) from exc
    return Sent(recorded, request)


def _reply_in(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """What Converse returned, where it is told; else nothing."""
    replies = (told.get("response"), told.get("reply"))
    return next((reply for reply in replies if isinstance(reply, Mapping)), {})


def _unreadable(name: str, exc: Exception) -> InvalidRequestError:
    what = f"it has no {exc}" if isinstance(exc, KeyError) else str(exc)
    return InvalidRequestError(f"{name}: it is not of Converse's shape: {what}.")


def _time(told: Mapping[str, Any]) -> float:
    """In seconds; NaN where none is told."""
    value = told.get("at", told.get("timestamp"))
    if value is None:
        return nan
    name = "at" if "at" in told else "timestamp"
    try:
        seconds = datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)
    except (ValueError, TypeError) as exc:
        raise InvalidRequestError(f"{name} is no time: give seconds, milliseconds, or ISO 8601.") from exc
    if not isfinite(seconds):
        raise InvalidRequestError(f"{name} is {seconds}. Give a time, or leave it out.")
    return seconds / 1000 if seconds > _LEAST_MILLISECONDS else seconds


def _is_of_lines(path: Path, data: bytes) -> bool:
    """Whether what is no JSON document may be lines of JSON: a file that calls itself .json must begin with one."""
    first, _, rest = data.strip().partition(b"\n")
    if not rest:
        return False
    if path.suffix != ".json":
        return True
    try:
        return isinstance(orjson.loads(first), dict)
    except orjson.JSONDecodeError:
        return False


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(GZIP) else data
    except (OSError, EOFError, zlib.error) as exc:
        raise InvalidRequestError(f"{path}: it can't be read: {getattr(exc, 'strerror', None) or exc}.") from exc
