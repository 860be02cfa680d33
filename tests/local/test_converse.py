"""Replies of Converse, ConverseStream and CountTokens, as boto3 reads them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import EventStreamError

from pointsman.local import LocalEndpoint
from pointsman.local.engines import (
    EngineError,
    EngineEvent,
    EnginePrompt,
    Finish,
    Progress,
    PromptTooLongError,
    RenderedBlock,
    TextPiece,
)

HAIKU = "us.anthropic.claude-haiku-5-5"
QUESTION = {"role": "user", "content": [{"text": "The sky is blue today. What colour has the sky?"}]}
WEATHER = {
    "toolSpec": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
    }
}
CLOCK = {
    "toolSpec": {
        "name": "get_time",
        "description": "Local time of a zone",
        "inputSchema": {
            "json": {"type": "object", "properties": {"zone": {"enum": ["CET", "UTC"]}}, "required": ["zone"]}
        },
    }
}


def ask(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def events_of(reply: dict[str, Any]) -> list[tuple[str, Any]]:
    return [next(iter(event.items())) for event in reply["stream"]]


def test_a_stream_says_what_the_whole_reply_says(runtime: Any) -> None:
    request = {"modelId": HAIKU, "messages": ask("The sea is green here. What colour has the sea?")}
    whole = runtime.converse(**request)
    events = events_of(runtime.converse_stream(**request))
    names = [name for name, _ in events]
    assert names[0] == "messageStart"
    assert names[-3:] == ["contentBlockStop", "messageStop", "metadata"]
    assert set(names[1:-3]) == {"contentBlockDelta"}
    text = "".join(event["delta"]["text"] for name, event in events if name == "contentBlockDelta")
    assert [{"text": text}] == whole["output"]["message"]["content"]
    assert events[-2][1] == {"stopReason": whole["stopReason"]}
    assert events[-1][1]["usage"] == whole["usage"]
    assert whole["metrics"]["latencyMs"] >= 0
    assert whole["ResponseMetadata"]["RequestId"]


def test_a_stream_has_a_request_id(runtime: Any) -> None:
    reply = runtime.converse_stream(modelId=HAIKU, messages=[QUESTION])
    assert reply["ResponseMetadata"]["RequestId"]
    assert reply["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/vnd.amazon.eventstream"


def test_max_tokens_ends_the_answer(runtime: Any) -> None:
    reply = runtime.converse(modelId=HAIKU, messages=ask("Sing."), inferenceConfig={"maxTokens": 3})
    assert reply["stopReason"] == "max_tokens"
    assert reply["usage"]["outputTokens"] == 3


def test_a_stop_sequence_ends_the_answer(runtime: Any) -> None:
    reply = runtime.converse(
        modelId=HAIKU, messages=ask("Sing."), inferenceConfig={"stopSequences": ["nothing", "sentence"]}
    )
    assert reply["stopReason"] == "stop_sequence"
    assert reply["output"]["message"]["content"] == [{"text": "The extract engine found no "}]


def test_a_stop_sequence_at_the_start_leaves_no_content(runtime: Any) -> None:
    reply = runtime.converse(modelId=HAIKU, messages=ask("Sing."), inferenceConfig={"stopSequences": ["The"]})
    assert reply["output"]["message"]["content"] == []


def test_a_tool_loop_calls_the_tool_and_then_answers_from_its_result(runtime: Any) -> None:
    messages = ask("What is the weather in Paris?")
    tools = {"tools": [WEATHER, CLOCK]}
    reply = runtime.converse(modelId=HAIKU, messages=messages, toolConfig=tools)
    assert reply["stopReason"] == "tool_use"
    (call,) = [block["toolUse"] for block in reply["output"]["message"]["content"]]
    assert (call["name"], call["input"]) == ("get_weather", {"city": "Paris"})
    result = {"toolUseId": call["toolUseId"], "content": [{"text": "The weather in Paris is sunny and warm."}]}
    messages += [reply["output"]["message"], {"role": "user", "content": [{"toolResult": result}]}]
    final = runtime.converse(modelId=HAIKU, messages=messages, toolConfig=tools)
    assert final["stopReason"] == "end_turn"
    assert "sunny and warm" in final["output"]["message"]["content"][0]["text"]


def test_two_tools_asked_for_are_called_in_parallel_and_streamed(runtime: Any) -> None:
    reply = runtime.converse_stream(
        modelId=HAIKU,
        messages=ask("What is the weather in Paris, and the time in UTC?"),
        toolConfig={"tools": [WEATHER, CLOCK]},
    )
    events = events_of(reply)
    starts = [event for name, event in events if name == "contentBlockStart"]
    assert [start["contentBlockIndex"] for start in starts] == [0, 1]
    calls = [start["start"]["toolUse"] for start in starts]
    assert [call["name"] for call in calls] == ["get_weather", "get_time"]
    assert calls[0]["toolUseId"] != calls[1]["toolUseId"]
    arguments = ["", ""]
    for name, event in events:
        if name == "contentBlockDelta":
            arguments[event["contentBlockIndex"]] += event["delta"]["toolUse"]["input"]
    assert [json.loads(one) for one in arguments] == [{"city": "Paris"}, {"zone": "UTC"}]
    assert dict(events)["messageStop"] == {"stopReason": "tool_use"}


def test_a_forced_tool_is_called_whatever_is_asked(runtime: Any) -> None:
    reply = runtime.converse(
        modelId=HAIKU,
        messages=ask("Hello there."),
        toolConfig={"tools": [WEATHER, CLOCK], "toolChoice": {"tool": {"name": "get_time"}}},
    )
    assert reply["output"]["message"]["content"][0]["toolUse"]["name"] == "get_time"


def test_structured_output_is_an_instance_of_the_schema(runtime: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer"}},
        "required": ["colour", "count"],
    }
    reply = runtime.converse(
        modelId="us.anthropic.claude-sonnet-4-6",
        messages=ask("Say blue, 7 times."),
        outputConfig={
            "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema)}}}
        },
    )
    assert json.loads(reply["output"]["message"]["content"][0]["text"]) == {"colour": "blue", "count": 7}


def test_count_tokens_counts_what_converse_accounts(runtime: Any, text: Callable[..., str]) -> None:
    request = {
        "system": [{"text": text(40)}],
        "messages": [
            {"role": "user", "content": [{"text": text(20)}]},
            {"role": "assistant", "content": [{"text": text(5)}]},
            *ask(text(7)),
        ],
        "toolConfig": {"tools": [WEATHER]},
    }
    counted = runtime.count_tokens(modelId=HAIKU, input={"converse": request})["inputTokens"]
    assert counted == runtime.converse(modelId=HAIKU, **request)["usage"]["inputTokens"]
    assert counted > 72 + 3 * 4


def test_count_tokens_of_invoke_model_is_refused(runtime: Any) -> None:
    with pytest.raises(runtime.exceptions.ValidationException, match="converse input only"):
        runtime.count_tokens(modelId=HAIKU, input={"invokeModel": {"body": b"{}"}})


def test_an_operation_that_is_not_served_says_so(runtime: Any, refused: Callable[..., Any]) -> None:
    code, status, message = refused(lambda: runtime.invoke_model(modelId=HAIKU, body=b"{}"))
    assert (code, status) == ("UnknownOperationException", 404)
    assert "has no operation POST /model/" in message


def test_the_account_sums_up_all_usages(endpoint: LocalEndpoint, runtime: Any, text: Callable[..., str]) -> None:
    usages = []
    for number in range(6):
        content = [{"text": text(600)}, {"cachePoint": {"type": "default", "ttl": "1h"}}, {"text": f"Is it {number}?"}]
        request = {"modelId": HAIKU, "messages": [{"role": "user", "content": content}]}
        if number % 2:
            usages.append(dict(events_of(runtime.converse_stream(**request)))["metadata"]["usage"])
        else:
            usages.append(runtime.converse(**request)["usage"])
    with pytest.raises(runtime.exceptions.ValidationException):
        runtime.converse(modelId=HAIKU, messages=[])
    account = httpx.get(f"{endpoint.url}/_local/account").json()
    assert account == endpoint.account()
    assert account["models"][HAIKU] == account["totals"]
    assert account["totals"] == {
        "requests": 6,
        "uncached_input_tokens": sum(usage["inputTokens"] for usage in usages),
        "cache_read_tokens": 5 * 604,
        "cache_write_5m_tokens": 0,
        "cache_write_1h_tokens": 604,
        "output_tokens": sum(usage["outputTokens"] for usage in usages),
    }
    assert account["operations"] == {"Converse": 4, "ConverseStream": 3}
    assert account["errors"] == {"ValidationException": 1}


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/_local/account"), ("POST", "/_local/account/reset")])
def test_the_account_can_begin_anew(method: str, path: str, endpoint: LocalEndpoint, runtime: Any) -> None:
    runtime.converse(modelId=HAIKU, messages=[QUESTION])
    assert httpx.request(method, endpoint.url + path).status_code == 200
    assert endpoint.account()["requests"] == 0
    assert endpoint.account()["models"] == {}


def test_a_stream_that_is_closed_early_is_accounted_as_such() -> None:
    facts = " ".join(f"Fact {number} is about cats." for number in range(80))
    with LocalEndpoint(pace_ms=50) as endpoint:
        reply = endpoint.client().converse_stream(modelId=HAIKU, messages=ask(f"{facts}\nWhat of cats?"))
        stream = reply["stream"]
        for event in stream:
            if "contentBlockDelta" in event:
                break
        stream.close()
        account = wait_for(lambda: endpoint.account() if endpoint.account()["early_closed"] else None)
        assert account["early_closed"] == 1
        tokens = account["models"][HAIKU]
        assert tokens["requests"] == 1
        assert tokens["uncached_input_tokens"] > 400
        assert 0 < tokens["output_tokens"] <= 16


def test_a_client_that_gives_up_waiting_is_counted_and_costs_nothing() -> None:
    with LocalEndpoint(latency_ms=5_000) as endpoint:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{endpoint.url}/model/{HAIKU}/converse", json={"messages": [QUESTION]}, timeout=0.2)
        account = wait_for(lambda: endpoint.account() if endpoint.account()["early_closed"] else None)
        assert account["models"] == {}


def wait_for(condition: Callable[[], Any], seconds: float = 5) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := condition()) is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


class SlowEngine:
    """Reads a token each `pause` seconds, then says three words; fails if it is told to."""

    name = "slow"
    instant = False

    def __init__(self, *, pause: float = 0.01, fails: Exception | None = None, before_first: bool = True) -> None:
        self._pause = pause
        self.read_tokens = 0
        self.forgotten: list[str] = []
        self.prompts: list[EnginePrompt] = []
        self._fails = fails
        self._before_first = before_first

    def count(self, blocks: Sequence[RenderedBlock], *, model_id: str) -> list[int]:  # noqa: ARG002
        return [len(block.text.split()) for block in blocks]

    def generate(self, prompt: EnginePrompt, *, progress: Progress) -> Generator[EngineEvent, None, None]:
        self.prompts.append(prompt)
        total = sum(self.count(prompt.blocks, model_id=""))
        for done in range(total):
            self.read_tokens += 1
            progress(done + 1, total)
            time.sleep(self._pause)
        if self._fails is not None and self._before_first:
            raise self._fails
        yield TextPiece(text="so ")
        if self._fails is not None:
            raise self._fails
        yield TextPiece(text="it is")
        yield Finish(reason="end_turn", output_tokens=3)

    def forget(self, key: str) -> None:
        self.forgotten.append(key)

    def close(self) -> None: ...


class Defective(SlowEngine):
    """Raises what no engine may raise."""

    def count(self, blocks: Sequence[RenderedBlock], *, model_id: str) -> list[int]:  # noqa: ARG002
        raise ZeroDivisionError


@pytest.fixture
def patient() -> Iterator[Callable[[SlowEngine], LocalEndpoint]]:
    started = []

    def start(engine: SlowEngine) -> LocalEndpoint:
        endpoint = LocalEndpoint(engine=engine)
        endpoint.start()
        started.append(endpoint)
        return endpoint

    yield start
    for endpoint in started:
        endpoint.stop()


def test_progress_is_told_while_a_prompt_is_read(patient: Callable[..., LocalEndpoint]) -> None:
    endpoint = patient(SlowEngine())
    stream = endpoint.client().converse_stream
    with httpx.Client(base_url=endpoint.url) as http:
        thread = threading.Thread(target=lambda: list(stream(modelId=HAIKU, messages=ask("word " * 60))["stream"]))
        thread.start()

        def running() -> Any:
            return http.get("/_local/progress").json()["running"] or None

        (first,) = wait_for(running)
        assert first["model_id"] == HAIKU
        wait_for(lambda: ((now := running()) and now[0]["processed"] > 10 and now[0]["total"] == 60) or None)
        thread.join()
        assert http.get("/_local/progress").json() == {"running": []}


def test_a_generation_ends_when_its_client_has_gone(patient: Callable[..., LocalEndpoint]) -> None:
    engine = SlowEngine()
    endpoint = patient(engine)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{endpoint.url}/model/{HAIKU}/converse", json={"messages": ask("word " * 300)}, timeout=0.3)
    wait_for(lambda: endpoint.account()["early_closed"] or None)
    time.sleep(0.1)
    read = engine.read_tokens
    time.sleep(0.1)
    assert engine.read_tokens == read < 300


def test_an_engine_is_told_what_to_restore_to_keep_and_to_forget(patient: Callable[..., LocalEndpoint]) -> None:
    engine = SlowEngine(pause=0)
    endpoint = patient(engine)
    runtime = endpoint.client()
    content = [{"text": "a " * 600}, {"cachePoint": {"type": "default"}}, {"text": "b"}]
    for _ in range(2):
        runtime.converse(modelId=HAIKU, messages=[{"role": "user", "content": content}])
    first, second = engine.prompts
    assert first.read is None
    (kept,) = first.write
    assert kept.blocks == 1
    assert (second.read, second.write) == (kept, ())
    endpoint.advance(301)
    runtime.converse(modelId=HAIKU, messages=ask("b"))
    assert engine.forgotten == [kept.key]


@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_a_prompt_beyond_the_engines_context_is_a_validation_exception(
    operation: str, patient: Callable[..., LocalEndpoint], refused: Callable[..., Any]
) -> None:
    runtime = patient(SlowEngine(fails=PromptTooLongError(tokens=9000, limit=8192))).client()
    code, status, message = refused(lambda: getattr(runtime, operation)(modelId=HAIKU, messages=[QUESTION]))
    assert (code, status) == ("ValidationException", 400)
    assert "9000 tokens; the engine takes 8192" in message


def test_an_engine_that_fails_is_a_model_error(
    patient: Callable[..., LocalEndpoint], refused: Callable[..., Any]
) -> None:
    runtime = patient(SlowEngine(fails=EngineError("out of memory"))).client(
        config=Config(retries={"total_max_attempts": 1})
    )
    code, status, message = refused(lambda: runtime.converse(modelId=HAIKU, messages=[QUESTION]))
    assert (code, status, message) == ("ModelErrorException", 424, "The engine failed: out of memory")


def test_an_engine_that_fails_midway_ends_the_stream_with_an_error(patient: Callable[..., LocalEndpoint]) -> None:
    endpoint = patient(SlowEngine(fails=EngineError("out of memory"), before_first=False))
    stream = endpoint.client().converse_stream(modelId=HAIKU, messages=[QUESTION])["stream"]
    with pytest.raises(EventStreamError, match=r"modelStreamErrorException.*out of memory"):
        list(stream)
    assert endpoint.account()["errors"] == {"ModelStreamErrorException": 1}


def test_a_defect_midway_is_told_in_the_stream(
    patient: Callable[..., LocalEndpoint], caplog: pytest.LogCaptureFixture
) -> None:
    engine = SlowEngine(fails=ZeroDivisionError(), before_first=False)
    stream = patient(engine).client().converse_stream(modelId=HAIKU, messages=[QUESTION])["stream"]
    with pytest.raises(EventStreamError, match="internalServerException"):
        list(stream)
    assert "ZeroDivisionError" in caplog.text


def test_a_defect_is_bedrocks_500_and_stands_in_the_log(
    patient: Callable[..., LocalEndpoint], refused: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    runtime = patient(Defective()).client(config=Config(retries={"total_max_attempts": 1}))
    code, status, _ = refused(lambda: runtime.converse(modelId=HAIKU, messages=[QUESTION]))
    assert (code, status) == ("InternalServerException", 500)
    assert "ZeroDivisionError" in caplog.text
