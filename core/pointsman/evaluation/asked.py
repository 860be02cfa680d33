"""Requests with their texts, from files: one, several of a conversation, or a log. Knows shapes; explains nothing.

A request is of Converse's shape, perhaps with `modelId`, `at` (seconds) or `timestamp` beside it, or within `request`;
or a line of Bedrock's model-invocation logs. Logs without texts are read by `pointsman.evaluation.traffic`.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import isnan, nan
from pathlib import Path
from typing import Any

import orjson

from pointsman.errors import InvalidRequestError
from pointsman.evaluation.causes import Sent
from pointsman.evaluation.traffic import RecordedRequest, read_traffic
from pointsman.evaluation.traffic.logs import Conversations, invocations, with_bytes
from pointsman.prompt import Prompt
from pointsman.tokens import EstimatedTokens
from pointsman.trace_log import FORMAT

_GZIP = b"\x1f\x8b"
# Outlines of all requests have to agree; their digests stay in this process.
_KEY = b"explained"
_OF_INVOCATIONS = "ModelInvocationLog"
_CONVERSE = ("modelId", "toolConfig", "system", "messages", "inferenceConfig", "additionalModelRequestFields")
# What the first line of a log has that `read_traffic` reads.
_OF_LOGS = frozenset({FORMAT, "schemaType", "reqs", "hash_ids", "traj", "conversations"})
_COUNTER = EstimatedTokens()


def read_requests(path: Path) -> list[Sent] | None:
    """The requests of one file that holds a JSON object, or a list of them, as they stand; None if it holds lines.

    Those that tell no time have NaN: see `in_order`.

    Raises:
        InvalidRequestError: it can't be read, or holds what is no request.
    """
    data = _read(path)
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        if b"\n" in data.strip() and path.suffix != ".json":
            return None
        raise InvalidRequestError(f"{path}: it is no JSON: {exc}.") from exc
    if isinstance(told, Mapping) and not _has_request(told) and not _OF_LOGS.isdisjoint(told):
        return None
    if not told or not isinstance(told, list | Mapping):
        raise InvalidRequestError(f"{path}: there is no request in it.")
    requests = told if isinstance(told, list) else [told]
    names = [f"{path}, request {number}" if len(requests) > 1 else str(path) for number in range(1, len(requests) + 1)]
    return [_sent(one, name) for one, name in zip(requests, names, strict=True)]


def read_log(*paths: Path, skipped: Counter[str]) -> list[Sent]:
    """The requests of logs, in the order of time; with their texts, where the logs hold them.

    What can't be used is counted in `skipped`, by the reason.

    Raises:
        InvalidRequestError: a log can't be read, with the line where that showed.
    """
    conversations = Conversations()
    requests: list[Sent] = []
    for path in paths:
        requests.extend(_log(path, conversations, skipped))
    return in_order(requests)


def in_order(requests: Sequence[Sent]) -> list[Sent]:
    """The requests in the order of time; those that tell no time (NaN) come a second after the one before them."""
    placed: list[Sent] = []
    for one in requests:
        at = one.recorded.at
        if isnan(at):
            at = placed[-1].recorded.at + 1.0 if placed else 0.0
        placed.append(one._replace(recorded=one.recorded._replace(at=at)))
    return sorted(placed, key=lambda one: one.recorded.at)


def _log(path: Path, conversations: Conversations, skipped: Counter[str]) -> Iterator[Sent]:
    first = None if path.is_dir() else next(_lines(path), None)
    if first is None or not (_has_request(first[1]) or first[1].get("schemaType") == _OF_INVOCATIONS):
        yield from (Sent(one) for one in read_traffic(path, skipped=skipped))
        return
    for number, told in _lines(path):
        name = f"{path}, line {number}"
        if told.get("schemaType") == _OF_INVOCATIONS:
            yield from _invocation(told, name, conversations, skipped)
        else:
            one = _sent(told, name)
            session = conversations.session_of(one.recorded.outline)
            yield one._replace(recorded=one.recorded._replace(session=session))


def _invocation(
    told: Mapping[str, Any], name: str, conversations: Conversations, skipped: Counter[str]
) -> Iterator[Sent]:
    try:
        for recorded in invocations([told], skipped, conversations):
            yield Sent(recorded, with_bytes(told["input"]["inputBodyJson"]))
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise _unreadable(name, exc) from exc


def _has_request(told: Mapping[str, Any]) -> bool:
    return "messages" in told or isinstance(told.get("request"), Mapping)


def _sent(told: Any, name: str) -> Sent:
    if not isinstance(told, Mapping) or not _has_request(told):
        raise InvalidRequestError(f"{name}: it is no request of Converse's shape: it has no messages.")
    try:
        held = told.get("request", told)
        request = {field: with_bytes(held[field]) for field in (*_CONVERSE, "outputConfig") if field in held}
        _check(request)
        outline = Prompt(request).outline(_COUNTER, key=_KEY)
        recorded = RecordedRequest(
            session="1",
            at=_time(told),
            model=str(request.get("modelId") or told.get("modelId") or told.get("model") or ""),
            outline=outline._replace(points=()),
            points=outline.points,
        )
    except InvalidRequestError as exc:
        raise InvalidRequestError(f"{name}: {exc}") from exc
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as exc:
        raise _unreadable(name, exc) from exc
    return Sent(recorded, request)


def _check(request: Mapping[str, Any]) -> None:
    """That blocks stand where Converse has blocks: a plain text is the usual mistake."""
    lists = {"toolConfig.tools": (request.get("toolConfig") or {}).get("tools") or [], "system": request.get("system")}
    lists |= {f"messages[{place}].content": one["content"] for place, one in enumerate(request["messages"])}
    for name, blocks in lists.items():
        if not isinstance(blocks, list | None) or not all(isinstance(one, Mapping) and one for one in blocks or ()):
            raise ValueError(f'{name} is no list of blocks, such as [{{"text": ...}}]')


def _unreadable(name: str, exc: Exception) -> InvalidRequestError:
    what = f"it has no {exc}" if isinstance(exc, KeyError) else str(exc) or "a block in it is empty"
    return InvalidRequestError(f"{name}: it is not of Converse's shape: {what}.")


def _time(told: Mapping[str, Any]) -> float:
    """In seconds; NaN where none is told."""
    if "at" in told:
        return float(told["at"])
    return datetime.fromisoformat(told["timestamp"]).timestamp() if "timestamp" in told else nan


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP) else data
    except (OSError, EOFError, zlib.error) as exc:
        raise InvalidRequestError(f"{path}: it can't be read: {getattr(exc, 'strerror', None) or exc}.") from exc


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The JSON objects of a file, one a line, with its number. CloudWatch's exports write the time before each."""
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip():
            continue
        start = line.find(b"{")
        try:
            told = orjson.loads(line[start:] if start > 0 else line)
        except orjson.JSONDecodeError as exc:
            raise InvalidRequestError(f"{path}, line {number}: it is no JSON: {exc}.") from exc
        if not isinstance(told, dict):
            raise InvalidRequestError(f"{path}, line {number}: it is no JSON object.")
        yield number, told
