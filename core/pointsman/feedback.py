"""What users thought of the answers: a log that a predictor can be fitted from.

The only place where Pointsman stores a prompt, and only for who makes a log and records in it. Knows traces and the
log's file; fitting is left to `pointsman.routing`.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
import warnings
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from pointsman.appending import append_line
from pointsman.errors import InvalidRequestError, PointsmanWarning
from pointsman.prompt import Prompt
from pointsman.routing.outcomes import Outcomes
from pointsman.trace import Trace

_FIELDS = ("toolConfig", "system", "messages", "inferenceConfig")
_BINARY = "$base64"
# An answer that one request in a hundred gets would else count as much as a hundred others.
_MOST_WEIGHT = 20.0
_MOST_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer that was recorded, and the request as it was asked.

    `router` is None where the caller named the model. `propensity` is the probability with which the request got
    this model, None where that can't be told: the model stood in for the one decided on.
    """

    id: str
    at: float
    prompt: Prompt
    model: str
    router: str | None = None
    propensity: float | None = 1.0
    explored: bool = False
    output_tokens: int | None = None

    @property
    def weight(self) -> float:
        """How many requests it stands for: 1 / propensity, at most 20."""
        return min(1 / self.propensity, _MOST_WEIGHT) if self.propensity else 1.0


class FeedbackLog:
    """Answers and their ratings in a JSONL file that is only ever added to, readable by its owner alone.

    ```python
    log = pointsman.FeedbackLog("feedback.jsonl")
    reply = client.converse(**request)
    answer = log.record(request, reply)
    log.rate(answer, up=True)          # or quality=0.7; the last rating of an answer counts
    log.outcomes()                     # what a predictor is fitted to
    ```

    Prompts are stored as they were asked, with their tools and documents (bytes in base64, so that a file of 3 MB
    takes 4 MB each time it is sent). Delete the file to forget them. Threads and processes may write to one file.

    Args:
        path: the file; made with the first record, in a folder that exists.
        clock: seconds, as `time.time` gives them.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self._clock = clock
        self._lock = threading.Lock()

    def record(self, request: Mapping[str, Any], reply: object, *, id: str | None = None) -> str:
        """Keep a request and who answered it; the answer's id, by which it is rated.

        Args:
            request: what `Client.converse` or `converse_stream` was called with.
            reply: what it gave. A streamed one is recorded when its stream has ended or was closed; its metadata
                event or its `Trace` will do as well.
            id: an id of one's own, not used before.

        Raises:
            InvalidRequestError: the reply has no trace yet, or none at all; no model answered; or the request holds
                what JSON can't.
            OSError: the file can't be written.
        """
        trace = _trace_of(reply)
        if trace["status"] == "failed":
            raise InvalidRequestError("this request was not answered: there is nothing to rate.")
        decision, usage = trace["decision"] or {}, trace["usage"] or {}
        propensity = _propensity(trace)
        answer_id = id or uuid4().hex
        self._append(
            kind="answer",
            id=answer_id,
            request={name: request[name] for name in _FIELDS if name in request},
            router=trace["router"],
            model=trace["model"],
            propensity=propensity,
            explored=propensity is not None and bool(decision.get("explored")),
            output_tokens=usage.get("output_tokens"),
        )
        return answer_id

    def rate(self, id: str, *, quality: float | None = None, up: bool | None = None) -> None:
        """Say how good an answer was: `quality` from 0 to 1, or a thumb, up for 1 and down for 0.

        Raises:
            InvalidRequestError: neither or both were given, or a quality outside 0 to 1.
            OSError: the file can't be written.
        """
        if (quality is None) == (up is None):
            raise InvalidRequestError("rate an answer by its quality or by up, one of them.")
        value = float(bool(up) if quality is None else quality)
        if not 0 <= value <= 1:
            raise InvalidRequestError(f"the quality is {quality!r}; it must be from 0 to 1.")
        self._append(kind="rating", id=id, quality=value)

    def outcomes(self) -> Outcomes:
        """The answers that were rated, a row for each prompt: its quality by the models that answered it.

        Models go by their catalogue ids. `weights` are 1 / propensity, at most 20, so that what was explored counts
        for what it stands for. Warns of lines that can't be used, and where the router explored nothing.

        Raises:
            InvalidRequestError: there is no such file, or it can't be read.
        """
        answers, ratings, problems = self._read()
        if problems:
            self._warn(f"passed over what can't be used: {_listed(problems)}.")
        rated = [answer for answer in answers.values() if answer.id in ratings]
        if any(answer.router for answer in rated) and not any(answer.explored for answer in rated):
            self._warn(
                "no answer in it was explored: each model was seen only on the prompts that the router gave it. "
                "Give the router a share of exploration, such as 0.02."
            )
        return _as_outcomes(rated, [ratings[answer.id] for answer in rated])

    def _append(self, **record: Any) -> None:
        record = {"kind": record.pop("kind"), "id": record.pop("id"), "at": self._clock(), **record}
        try:
            text = json.dumps(record, default=_as_json, ensure_ascii=False, separators=(",", ":"))
        except (TypeError, ValueError) as exc:
            raise InvalidRequestError(f"the request can't be stored: {exc}.") from exc
        # A lone half of a surrogate pair has no UTF-8; escaped it is JSON.
        line = text.encode(errors="backslashreplace")
        with self._lock:
            append_line(self.path, line)

    def _read(self) -> tuple[dict[str, Answer], dict[str, float], dict[int, str]]:
        """The answers and the last rating of each, by the answers' ids; and what is wrong, by the line's number."""
        answers: dict[str, Answer] = {}
        ratings: dict[str, float] = {}
        rated_in: dict[str, int] = {}
        problems: dict[int, str] = {}
        for number, line in self._lines():
            try:
                found = _parsed(line)
            except (ValueError, TypeError, LookupError) as exc:
                problems[number] = f"it has no {exc}" if isinstance(exc, KeyError) else str(exc)
                continue
            if isinstance(found, Answer):
                answers[found.id] = found
            else:
                ratings[found[0]], rated_in[found[0]] = found[1], number
        for answer_id in rated_in.keys() - answers.keys():
            problems[rated_in[answer_id]] = f"it rates {answer_id!r}, which isn't in the file"
        return answers, ratings, problems

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self.path.open("rb") as file:
                yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
        except OSError as exc:
            raise InvalidRequestError(f"{self.path}: it can't be read: {exc.strerror or exc}.") from exc

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self.path}: {message}", PointsmanWarning, stacklevel=3)


def _trace_of(reply: object) -> Mapping[str, Any]:
    """The trace in whatever a client gave, as plain JSON."""
    if isinstance(reply, Trace):
        return reply.to_dict()
    if isinstance(reply, Mapping):
        if isinstance(trace := reply.get("pointsman"), Mapping):
            return trace
        inner = reply.get("metadata") or reply.get("stream")
        if inner is not None:
            return _trace_of(inner)
    elif hasattr(reply, "trace"):
        if reply.trace is None:
            raise InvalidRequestError("the stream has not ended yet. Record it when it has been read, or closed.")
        return _trace_of(reply.trace)
    raise InvalidRequestError("the reply has no trace: pass on what pointsman.Client gave.")


def _propensity(trace: Mapping[str, Any]) -> float | None:
    if trace["router"] is None:
        return 1.0
    decision = trace["decision"]
    if decision is None or not trace["invoked_model_id"].endswith(decision["model"]):
        return None
    return float(decision["propensity"])


def _listed(problems: Mapping[int, str]) -> str:
    told = [f"line {number}: {problems[number]}" for number in sorted(problems)[:_MOST_TOLD]]
    return "; ".join(told + [f"and {len(problems) - _MOST_TOLD} more"] * (len(problems) > _MOST_TOLD))


def _parsed(line: bytes) -> Answer | tuple[str, float]:
    """An answer, or the id and quality of a rating."""
    record = json.loads(line, object_hook=_from_json)
    if not isinstance(record, dict):
        raise ValueError("it is no JSON object")
    if record["kind"] == "rating":
        quality = float(record["quality"])
        if not 0 <= quality <= 1:
            raise ValueError(f"the quality is {quality:g}; it must be from 0 to 1")
        return str(record["id"]), quality
    if record["kind"] != "answer":
        raise ValueError(f"it is neither an answer nor a rating but {record['kind']!r}")
    propensity, output_tokens = record["propensity"], record["output_tokens"]
    return Answer(
        id=str(record["id"]),
        at=float(record["at"]),
        prompt=Prompt(dict(record["request"])),
        model=str(record["model"]),
        router=record["router"],
        propensity=None if propensity is None else _probability(propensity),
        explored=bool(record["explored"]),
        output_tokens=None if output_tokens is None else int(output_tokens),
    )


def _probability(value: float) -> float:
    if not 0 < value <= 1:
        raise ValueError(f"the propensity is {value:g}; it must be above 0 and at most 1")
    return float(value)


def _as_json(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return {_BINARY: b64encode(value).decode()}
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _from_json(told: dict[str, Any]) -> Any:
    return b64decode(told[_BINARY], validate=True) if told.keys() == {_BINARY} else told


def _as_outcomes(answers: Sequence[Answer], qualities: Sequence[float]) -> Outcomes:
    import numpy as np  # Late: importing this package must not load it.

    models = dict.fromkeys(answer.model for answer in answers)
    model_of = np.array([answer.model for answer in answers])

    def by_model(values: Sequence[float]) -> dict[str, Any]:
        return {model: np.where(model_of == model, values, np.nan) for model in models}

    lengths = [math.nan if answer.output_tokens is None else answer.output_tokens for answer in answers]
    return Outcomes(
        prompts=tuple(answer.prompt for answer in answers),
        qualities=by_model(qualities),
        output_tokens={model: tokens for model, tokens in by_model(lengths).items() if not np.isnan(tokens).all()},
        weights=np.array([answer.weight for answer in answers], np.float64),
    ).joined()
