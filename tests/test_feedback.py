"""The feedback log: what it keeps of an answer, however that came; how it is rated; and what can be learnt from it."""

from __future__ import annotations

import asyncio
import json
import math
import os
import stat
import threading
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointsman import AsyncClient, Client, FeedbackLog, InvalidRequestError, PointsmanWarning, Prompt, RouterRegistry
from pointsman.local import LocalEndpoint
from pointsman.trace import Trace

ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
HAIKU, SONNET = "anthropic.claude-haiku-5-5", "anthropic.claude-sonnet-5-5"
HELLO = "Describe the purpose of a 'hello world' program in one line."
SISTERS = "Alice has N brothers and she also has M sisters. How many sisters does Alice's brothers have?"
T0 = 1_800_000_000.0


def asking(text: str, **more: Any) -> dict[str, Any]:
    return {"modelId": ROUTER, "messages": [{"role": "user", "content": [{"text": text}]}], **more}


def told(model: str = HAIKU, **decision: Any) -> dict[str, Any]:
    """A reply as the client gives it: the model was decided on, and explored, unless told otherwise."""
    decided = {"model": f"us.{model}", "explored": True, "propensity": 1.0} | decision
    trace = {"status": "complete", "router": "r", "model": model, "invoked_model_id": f"us.{model}"}
    return {"pointsman": trace | {"decision": decided, "usage": {"output_tokens": 12}}}


@pytest.fixture
def log(tmp_path: Path) -> FeedbackLog:
    """A log that isn't there yet."""
    return FeedbackLog(tmp_path / "feedback.jsonl", clock=lambda: T0)


def lines(log: FeedbackLog) -> list[Any]:
    return [json.loads(line) for line in log.path.read_text().splitlines()]


# --- what is kept -----------------------------------------------------------------------------------------------


def test_an_answer_and_its_rating_are_a_line_each(log: FeedbackLog, client: Client) -> None:
    """The request as it was asked, who answered, how it was come by, and when."""
    request = asking(
        HELLO, system=[{"text": "Be brief."}], inferenceConfig={"maxTokens": 50}, requestMetadata={"a": "b"}
    )
    reply = client.converse(**request)
    answer = log.record(request, reply)
    log.rate(answer, up=True)
    assert lines(log) == [
        {
            "kind": "answer",
            "id": answer,
            "at": T0,
            "request": {name: request[name] for name in ("system", "messages", "inferenceConfig")},
            "router": "Anthropic Prompt Router",
            "model": HAIKU,
            "propensity": 1.0,
            "explored": False,
            "output_tokens": reply["usage"]["outputTokens"],
        },
        {"kind": "rating", "id": answer, "at": T0, "quality": 1.0},
    ]


def test_only_the_owner_may_read_it(log: FeedbackLog) -> None:
    """It holds what users wrote."""
    log.record(asking(HELLO), told())
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_nothing_is_made_before_the_first_record(log: FeedbackLog) -> None:
    """A log that is not used leaves no file."""
    assert not log.path.exists()
    with pytest.raises(InvalidRequestError, match="can't be read: No such file"):
        log.outcomes()


def test_an_id_of_ones_own(log: FeedbackLog) -> None:
    """The id of a message in the user's own application."""
    assert log.record(asking(HELLO), told(), id="message-7") == "message-7"


REPLIES: dict[str, Callable[[Client, dict[str, Any], list[Trace]], object]] = {
    "reply": lambda client, request, _: client.converse(**request),
    "streamed reply": lambda client, request, _: _read(client.converse_stream(**request)),
    "its stream": lambda client, request, _: _read(client.converse_stream(**request))["stream"],
    "its metadata event": lambda client, request, _: list(client.converse_stream(**request)["stream"])[-1],
    "a listener's trace": lambda client, request, traces: (client.converse(**request), traces[-1])[1],
    "async reply": lambda client, request, _: asyncio.run(_ask(client, request)),
    "async streamed reply": lambda client, request, _: asyncio.run(_ask(client, request, stream=True)),
}


def _read(reply: dict[str, Any]) -> dict[str, Any]:
    for _ in reply["stream"]:
        pass
    return reply


async def _ask(client: Client, request: dict[str, Any], *, stream: bool = False) -> dict[str, Any]:
    async with AsyncClient(client._client) as async_client:
        if not stream:
            return await async_client.converse(**request)
        reply = await async_client.converse_stream(**request)
        async for _ in reply["stream"]:
            pass
        return reply


@pytest.mark.parametrize("ask", REPLIES.values(), ids=REPLIES)
def test_every_kind_of_reply_can_be_recorded(
    ask: Callable[[Client, dict[str, Any], list[Trace]], object],
    log: FeedbackLog,
    boto3_client: Any,
    endpoint: LocalEndpoint,
) -> None:
    """Whole or streamed, sync or async: the same line."""
    traces: list[Trace] = []
    client = Client(boto3_client, clock=endpoint.settings.clock, on_trace=traces.append)
    log.record(asking(SISTERS), ask(client, asking(SISTERS), traces))
    (line,) = lines(log)
    assert (line["model"], line["router"], line["propensity"]) == (SONNET, "Anthropic Prompt Router", 1.0)
    assert line["output_tokens"] > 0


def test_a_stream_is_recorded_when_it_has_ended(log: FeedbackLog, client: Client) -> None:
    """Before, nobody knows who answers; one that was left is an answer of unknown length."""
    reply = client.converse_stream(**asking(HELLO))
    with pytest.raises(InvalidRequestError, match="not ended yet"):
        log.record(asking(HELLO), reply)
    next(iter(reply["stream"]))
    reply["stream"].close()
    log.record(asking(HELLO), reply)
    (line,) = lines(log)
    assert (line["model"], line["output_tokens"]) == (HAIKU, None)


def test_what_was_not_answered_is_not_recorded(log: FeedbackLog, client: Client, endpoint: LocalEndpoint) -> None:
    """A failed call has a trace, but nothing to rate; a reply of boto3's own has no trace."""
    endpoint.faults.inject("internal")
    with pytest.raises(ClientError) as caught:
        client.converse(**asking(HELLO))
    with pytest.raises(InvalidRequestError, match="was not answered"):
        log.record(asking(HELLO), {"pointsman": caught.value.pointsman})
    strangers: list[object] = [{"output": {}}, {"metadata": {"usage": {}}}, "Hello.", None]
    for reply in strangers:
        with pytest.raises(InvalidRequestError, match="no trace"):
            log.record(asking(HELLO), reply)
    assert not log.path.exists()


def test_how_the_model_was_come_by_is_kept(log: FeedbackLog, boto3_client: Any, endpoint: LocalEndpoint) -> None:
    """Explored with its propensity; named by the caller, for certain; standing in for another, nobody knows."""
    exploring = RouterRegistry(exploration=1.0)
    client = Client(boto3_client, routers=exploring, clock=endpoint.settings.clock, random=Random(0))
    log.record(asking(HELLO), client.converse(**asking(HELLO)))
    named = asking(HELLO) | {"modelId": f"us.{SONNET}"}
    log.record(named, client.converse(**named))
    endpoint.faults.inject("throttle")
    log.record(asking(HELLO), client.converse(**asking(HELLO)))
    explored, by_name, stand_in = lines(log)
    assert (explored["explored"], explored["propensity"]) == (True, 0.5)
    assert (by_name["router"], by_name["model"], by_name["propensity"]) == (None, SONNET, 1.0)
    assert (stand_in["explored"], stand_in["propensity"]) == (False, None)


def test_binary_content_survives(log: FeedbackLog) -> None:
    """As base64: the request that is read back is the one that was asked, byte for byte."""
    document = {"document": {"format": "pdf", "name": "d", "source": {"bytes": bytes(range(256))}}}
    image = {"image": {"format": "png", "source": {"bytes": bytearray(b"\x89PNG")}}}
    request = {"messages": [{"role": "user", "content": [document, image, {"text": "What is it?"}]}]}
    log.rate(log.record(request, told()), up=True)
    (prompt,) = log.outcomes().prompts
    assert prompt == Prompt(request)


def test_odd_values_survive(log: FeedbackLog) -> None:
    """Numbers as boto3 reads them, half a surrogate pair, line breaks of other scripts: still one line of JSON."""
    content = [
        {"text": "\ud83d half an emoji\u2028\u0085 and\nlines"},
        {"toolUse": {"toolUseId": "t", "name": "n", "input": {"rate": Decimal("0.5"), "count": 3}}},
    ]
    log.rate(log.record({"messages": [{"role": "user", "content": content}]}, told()), quality=0.25)
    (prompt,) = log.outcomes().prompts
    assert isinstance(prompt, Prompt)
    kept = prompt.messages[0]["content"]
    assert kept[0] == content[0]
    assert kept[1]["toolUse"]["input"] == {"rate": 0.5, "count": 3}


def test_what_json_cannot_hold_is_refused(log: FeedbackLog) -> None:
    """It names the type; nothing is written."""
    with pytest.raises(InvalidRequestError, match="a object has no JSON form"):
        log.record({"messages": [{"role": "user", "content": [{"text": object()}]}]}, told())
    assert not log.path.exists()


# --- ratings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rating",
    [{}, {"quality": 0.5, "up": True}, {"quality": 1.5}, {"quality": -0.1}, {"quality": math.nan}],
    ids=["nothing", "both", "above 1", "below 0", "NaN"],
)
def test_a_rating_is_a_quality_or_a_thumb(rating: dict[str, Any], log: FeedbackLog) -> None:
    """One of them, from 0 to 1."""
    with pytest.raises(InvalidRequestError, match="quality"):
        log.rate("some answer", **rating)


@pytest.mark.parametrize(
    ("ratings", "quality"),
    [
        ([{"up": True}], 1.0),
        ([{"up": False}], 0.0),
        ([{"quality": 0.7}], 0.7),
        ([{"up": True}, {"quality": 0.2}], 0.2),
    ],
)
def test_the_last_rating_counts(ratings: list[dict[str, Any]], quality: float, log: FeedbackLog) -> None:
    """Who changes his mind is believed."""
    answer = log.record(asking(HELLO), told())
    for rating in ratings:
        log.rate(answer, **rating)
    assert log.outcomes().qualities[HAIKU].tolist() == [quality]


# --- what is learnt ---------------------------------------------------------------------------------------------


def rated(log: FeedbackLog, text: str, reply: dict[str, Any], quality: float) -> None:
    log.rate(log.record(asking(text), reply), quality=quality)


def test_outcomes_have_a_row_for_each_prompt(log: FeedbackLog) -> None:
    """One model's quality per answer; a prompt that two models were asked is one row, what nobody rated is none."""
    rated(log, "p", told(HAIKU, propensity=0.5), 0.5)
    rated(log, "q", told(SONNET), 1.0)
    rated(log, "p", told(SONNET), 0.75)
    rated(log, "q", told(SONNET), 0.0)
    log.record(asking("never rated"), told("amazon.nova-pro-v1:0"))
    outcomes = log.outcomes()
    assert [prompt.question() for prompt in outcomes.prompts if isinstance(prompt, Prompt)] == ["p", "q"]
    assert outcomes.models == (HAIKU, SONNET)
    assert outcomes.qualities[HAIKU].tolist() == [0.5, pytest.approx(math.nan, nan_ok=True)]
    assert outcomes.qualities[SONNET].tolist() == [0.75, 0.5]
    assert outcomes.output_tokens[SONNET].tolist() == [12.0, 12.0]
    assert outcomes.weights is not None
    assert outcomes.weights.tolist() == [1.5, 1.0]


@pytest.mark.parametrize(
    ("propensity", "weight"), [(1.0, 1.0), (0.5, 2.0), (0.05, 20.0), (0.01, 20.0), (None, 1.0)], ids=str
)
def test_what_was_unlikely_counts_for_more(propensity: float | None, weight: float, log: FeedbackLog) -> None:
    """The inverse of the propensity, and never more than 20; where that is unknown, 1."""
    reply = told(propensity=propensity)
    if propensity is None:
        reply["pointsman"]["decision"] = None
    rated(log, "p", reply, 1.0)
    rated(log, "another", told(), 1.0)
    weights = log.outcomes().weights
    assert weights is not None
    assert weights.tolist() == [weight, 1.0]


def test_where_nothing_was_explored_it_warns(log: FeedbackLog) -> None:
    """The cheaper model was seen only where the router thought it good enough."""
    rated(log, "p", told(explored=False), 1.0)
    with pytest.warns(PointsmanWarning, match="exploration") as caught:
        log.outcomes()
    assert [warning.filename for warning in caught] == [__file__]
    rated(log, "q", told(propensity=0.01), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log.outcomes()


def test_models_that_the_caller_named_need_no_exploration(log: FeedbackLog) -> None:
    """Who asks both models of everything is blind to nothing."""
    reply = told()
    reply["pointsman"] |= {"router": None, "decision": None}
    rated(log, "p", reply, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(log.outcomes()) == 1


def test_an_empty_log_has_no_outcomes(log: FeedbackLog) -> None:
    """Answers that nobody rated teach nothing."""
    log.record(asking(HELLO), told())
    outcomes = log.outcomes()
    assert (len(outcomes), outcomes.models) == (0, ())


def test_what_cannot_be_used_is_told_and_passed_over(log: FeedbackLog) -> None:
    """One warning, with the lines' numbers; the other lines count."""
    rated(log, "p", told(), 1.0)
    wrong = [
        '{"kind": "answer", "id"',
        "[1]",
        '{"kind": "visit"}',
        '{"kind": "rating", "id": "a", "quality": 2}',
        '{"kind": "rating", "id": "gone", "quality": 1}',
        '{"id": "a"}',
        '{"kind": "answer", "id": "b", "at": 1, "request": 5, "model": "m", "router": null, "propensity": 1, '
        '"explored": false, "output_tokens": null}',
    ]
    with log.path.open("a") as file:
        file.write("\n".join(wrong) + "\n\n")
    rated(log, "q", told(), 0.0)
    with pytest.warns(PointsmanWarning) as caught:
        outcomes = log.outcomes()
    assert len(caught) == 1
    message = str(caught[0].message)
    assert [f"line {number}:" in message for number in range(1, 12)] == [False] * 2 + [True] * 5 + [False] * 4
    assert "it has no 'kind'" not in message  # The eighth line is among the two that are only counted.
    assert "and 2 more" in message
    assert "line 7: it rates 'gone', which isn't in the file" in message
    assert outcomes.qualities[HAIKU].tolist() == [1.0, 0.0]


def test_a_line_that_was_cut_off_spoils_no_other(log: FeedbackLog) -> None:
    """A crash in the middle of a line: the next record begins a line of its own."""
    rated(log, "p", told(), 1.0)
    with log.path.open("a") as file:
        file.write('{"kind": "answer", "id": "cut')
    rated(log, "q", told(), 0.0)
    with pytest.warns(PointsmanWarning, match="line 3:"):
        assert len(log.outcomes()) == 2


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    """Through one log, and through several on one file as processes have them."""
    logs = [FeedbackLog(tmp_path / "feedback.jsonl") for _ in range(4)]

    def write(log: FeedbackLog, number: int) -> None:
        for count in range(25):
            rated(log, f"{number} {count} " + "x" * 20_000, told(), 0.5)

    threads = [threading.Thread(target=write, args=(logs[number % 4], number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(logs[0].outcomes()) == 200


def test_a_line_is_one_write(log: FeedbackLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no other's line comes between; a disk that takes only a part of it is an error."""
    written: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        written.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    log.record(asking("long " * 100_000), told())
    assert written == [log.path.stat().st_size]
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
    with pytest.raises(OSError, match="only a part"):
        log.record(asking(HELLO), told())


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(content=_json)
def test_whatever_a_request_holds_is_read_back(content: object, log: FeedbackLog) -> None:
    """Text of any script, bytes, and every shape that JSON has."""
    request = {"messages": [{"role": "user", "content": [{"toolUse": {"input": content}}]}]}
    log.path.unlink(missing_ok=True)
    log.rate(log.record(request, told()), up=True)
    assert log.outcomes().prompts == (Prompt(request),)
