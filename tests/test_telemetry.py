"""Telemetry: spans and metrics in the SDK's in-memory exporters, beside botocore's own, and the log. No content."""

from __future__ import annotations

import gc
import json
import logging
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import opentelemetry.metrics._internal
import opentelemetry.trace
import pytest
from botocore.exceptions import ClientError
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from pointsman import AsyncClient, Client, InvalidRequestError, KeepAlive, Ledger, Trace
from pointsman.cache import Reuse
from pointsman.cache.returns import SPANS, Returns
from pointsman.local import LocalEndpoint
from pointsman.telemetry import CAPTURE_CONTENT, log_request

ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"
SECRET = "Xylotheque"
HELLO = [{"role": "user", "content": [{"text": f"Where is the {SECRET} of Kassel?"}]}]
SYSTEM = [{"text": f"The {SECRET} is a library of wood. " * 300}]


class Told:
    """What the exporters were given."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers, self.meters = TracerProvider(), MeterProvider([self.reader])
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def everything(self) -> list[ReadableSpan]:
        """All spans that ended, whoever made them."""
        return list(self.exporter.get_finished_spans())

    @property
    def spans(self) -> list[ReadableSpan]:
        """Ours."""
        return [span for span in self.everything if span.instrumentation_scope.name == "pointsman"]

    @property
    def span(self) -> dict[str, Any]:
        """The attributes of our only one."""
        (span,) = self.spans
        return dict(span.attributes or {})

    def metrics(self, scope: str = "pointsman") -> dict[str, list[Any]]:
        """Data points by metric; of ours, or of any scope that ends so."""
        data, found = self.reader.get_metrics_data(), {}
        for resource in data.resource_metrics if data else ():
            for scoped in resource.scope_metrics:
                if scoped.scope.name.endswith(scope):
                    found |= {metric.name: list(metric.data.data_points) for metric in scoped.metrics}
        return found

    def totals(self, name: str, label: str | None = None) -> dict[Any, float]:
        """The values of a counter by one of its labels, or all in one."""
        totals: Counter[Any] = Counter()
        for point in self.metrics().get(name, ()):
            totals[point.attributes.get(label) if label else None] += point.value
        return dict(totals)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """The SDK as the program's global providers, which can be set but once in earnest."""
    told = Told()
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", told.tracers)
    monkeypatch.setattr(opentelemetry.metrics._internal, "_METER_PROVIDER", told.meters)
    monkeypatch.delenv(CAPTURE_CONTENT, raising=False)
    return told


@pytest.fixture
def beside(told: Told) -> Iterator[None]:
    """botocore's own instrumentation."""
    instrumentor = BotocoreInstrumentor()
    instrumentor.instrument(tracer_provider=told.tracers, meter_provider=told.meters)
    yield
    instrumentor.uninstrument()


# --- spans ------------------------------------------------------------------------------------------------------


def test_a_request_is_a_span_of_the_conventions(client: Client, endpoint: LocalEndpoint, told: Told) -> None:
    """Model asked and invoked, tokens with those of the cache among them, settings, server; ours under our name."""
    request = {"modelId": HAIKU, "system": SYSTEM, "messages": HELLO, "inferenceConfig": {"maxTokens": 50}}
    client.converse(**request)
    told.exporter.clear()
    trace = client.converse(**request)["pointsman"]
    (span,) = told.spans
    assert (span.name, span.kind, span.status.status_code) == (f"chat {HAIKU}", SpanKind.CLIENT, StatusCode.UNSET)
    usage, attributes = trace["usage"], told.span
    decision_time = attributes.pop("pointsman.decision.time")
    assert 0 < decision_time < 1
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.request.model": HAIKU,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.response.model": HAIKU,
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.usage.input_tokens": usage["input_tokens"],
        "gen_ai.usage.output_tokens": usage["output_tokens"],
        "gen_ai.usage.cache_read.input_tokens": usage["cache_read_tokens"],
        "gen_ai.usage.cache_creation.input_tokens": usage["cache_write_tokens"],
        "server.address": "127.0.0.1",
        "server.port": int(endpoint.url.rpartition(":")[2]),
        "pointsman.status": "complete",
        "pointsman.cost": pytest.approx(float(Decimal(trace["cost"]["total"]))),
        "pointsman.cache_points": len(trace["placement"]["points"]),
        "pointsman.expected_read.tokens": trace["expected_read_tokens"],
    }
    assert usage["cache_read_tokens"] > 0
    assert attributes["gen_ai.usage.input_tokens"] >= usage["cache_read_tokens"]


def test_a_span_is_a_child_of_the_current_one(client: Client, told: Told) -> None:
    """The trace's id goes through; without a current span it is a new one."""
    with told.tracers.get_tracer("app").start_as_current_span("request") as outer:
        client.converse(modelId=HAIKU, messages=HELLO)
        assert opentelemetry.trace.get_current_span() is outer
    client.converse(modelId=HAIKU, messages=HELLO)
    inner, alone = told.spans
    assert inner.parent is not None and inner.parent.span_id == outer.get_span_context().span_id
    assert inner.context.trace_id == outer.get_span_context().trace_id
    assert alone.parent is None and alone.context.trace_id != inner.context.trace_id


def test_the_span_is_current_while_the_call_is_made(told: Told) -> None:
    """What the call starts is its child, and not the caller's."""
    seen = []

    class Own:
        def converse(self, **_: Any) -> dict[str, Any]:
            seen.append(opentelemetry.trace.get_current_span())
            return {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}

    Client(Own()).converse(modelId=HAIKU, messages=HELLO)
    assert [one.get_span_context().span_id for one in seen] == [told.spans[0].context.span_id]
    assert not opentelemetry.trace.get_current_span().get_span_context().is_valid
    assert "server.address" not in told.span


def test_a_router_is_asked_and_a_model_invoked(client: Client, told: Told) -> None:
    """Both are told, and the router by its name."""
    client.converse(modelId=ROUTER, messages=HELLO)
    span = told.span
    assert (span["gen_ai.request.model"], span["gen_ai.response.model"]) == (ROUTER, HAIKU)
    assert span["pointsman.router"] == "Anthropic Prompt Router"
    assert told.totals("pointsman.requests", "pointsman.router") == {"Anthropic Prompt Router": 1}


async def test_an_async_request_is_told_likewise(boto3_client: Any, endpoint: LocalEndpoint, told: Told) -> None:
    """Its span is a child of the task's, though a thread makes the call; streams too."""
    async with AsyncClient(boto3_client, clock=endpoint.settings.clock) as client:
        with told.tracers.get_tracer("app").start_as_current_span("task") as outer:
            await client.converse(modelId=HAIKU, messages=HELLO)
            async for _ in (await client.converse_stream(modelId=HAIKU, messages=HELLO))["stream"]:
                pass
    assert [span.parent and span.parent.span_id for span in told.spans] == [outer.get_span_context().span_id] * 2


def test_a_stream_is_a_span_to_its_end(client: Client, told: Told) -> None:
    """It ends with the metadata, and tells when the first event came."""
    stream = client.converse_stream(modelId=HAIKU, messages=HELLO)["stream"]
    events = iter(stream)
    next(events)
    assert told.spans == []
    list(events)
    span = told.span
    assert span["gen_ai.request.stream"] is True
    assert span["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert span["gen_ai.usage.output_tokens"] > 0
    assert 0 < span["gen_ai.response.time_to_first_chunk"] < 10
    (point,) = told.metrics()["gen_ai.client.operation.time_to_first_chunk"]
    assert point.sum == span["gen_ai.response.time_to_first_chunk"]


@pytest.mark.parametrize("read", [0, 2])
def test_a_stream_closed_early_is_told_as_such(read: int, client: Client, told: Told) -> None:
    """Without usage, and no error."""
    stream = client.converse_stream(modelId=HAIKU, messages=HELLO)["stream"]
    events = iter(stream)
    for _ in range(read):
        next(events)
    stream.close()
    stream.close()
    span = told.span
    assert span["pointsman.status"] == "closed early"
    assert "gen_ai.usage.input_tokens" not in span and "error.type" not in span
    assert told.totals("pointsman.requests", "pointsman.status") == {"closed early": 1}


def test_a_stream_that_nobody_reads_ends_too(client: Client, told: Told) -> None:
    """Dropped before its first event."""
    client.converse_stream(modelId=HAIKU, messages=HELLO)
    gc.collect()
    assert told.span["pointsman.status"] == "closed early"


def test_a_failure_is_an_error_without_its_message(client: Client, endpoint: LocalEndpoint, told: Told) -> None:
    """Bedrock's code, no model that answered; the message may quote the prompt."""
    endpoint.faults.inject("throttle")
    with pytest.raises(ClientError):
        client.converse(modelId=HAIKU, messages=HELLO)
    (span,) = told.spans
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ThrottlingException")
    assert told.span["error.type"] == "ThrottlingException"
    assert told.span["pointsman.failed_attempts"] == (f"{HAIKU} ThrottlingException",)
    assert "gen_ai.response.model" not in told.span
    assert span.events == ()
    (point,) = told.metrics()["gen_ai.client.operation.duration"]
    assert point.attributes["error.type"] == "ThrottlingException"
    assert "gen_ai.client.token.usage" not in told.metrics()


def test_a_stream_that_breaks_is_an_error(client: Client, endpoint: LocalEndpoint, told: Told) -> None:
    """Midway, where no other model may take over."""
    endpoint.faults.inject("broken-stream")
    with pytest.raises(Exception):  # noqa: B017 - which one is test_stream's to say
        list(client.converse_stream(modelId=HAIKU, messages=HELLO)["stream"])
    assert told.spans[0].status.status_code is StatusCode.ERROR
    assert told.span["pointsman.status"] == "failed"


def test_what_is_refused_before_it_is_sent_is_an_error(client: Client, told: Told) -> None:
    """Ours have names of their own."""
    with pytest.raises(InvalidRequestError):
        client.converse(modelId=HAIKU, messages=HELLO, inferenceConfig={"temperature": 1.5})
    assert told.span["error.type"] == "InvalidRequestError"
    assert told.totals("pointsman.requests", "pointsman.status") == {"refused": 1}


def test_an_interrupted_call_ends_its_span(told: Told) -> None:
    """KeyboardInterrupt goes by the flow."""

    class Interrupted:
        def converse(self, **_: Any) -> dict[str, Any]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Client(Interrupted()).converse(modelId=HAIKU, messages=HELLO)
    assert told.span["error.type"] == "KeyboardInterrupt"


@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_another_model_took_over(operation: str, client: Client, endpoint: LocalEndpoint, told: Told) -> None:
    """One span, the model that answered, and the one that didn't."""
    endpoint.faults.inject("throttle")
    reply = getattr(client, operation)(modelId=ROUTER, messages=HELLO)
    list(reply.get("stream", ()))
    assert told.span["gen_ai.response.model"] == SONNET
    assert told.span["pointsman.failed_attempts"] == (f"{HAIKU} ThrottlingException",)
    assert told.spans[0].status.status_code is StatusCode.UNSET


def test_a_session_is_the_conversation(client: Client, told: Told) -> None:
    """By the id that its user gave it."""
    import pointsman

    with pointsman.session("thread-7", scope="tenant-a"):
        client.converse(modelId=HAIKU, messages=HELLO)
    assert told.span["gen_ai.conversation.id"] == "thread-7"
    assert "tenant-a" not in str(told.span)


def test_a_ping_of_keep_alive_has_a_span(endpoint: LocalEndpoint, boto3_client: Any, told: Told) -> None:
    """Marked as one, also where it fails; its tokens are told apart."""
    keep_alive = KeepAlive(budget=Decimal(1), thread=False)
    reuse = Reuse(Returns(lambda _: (0.3,) * len(SPANS)))
    from dataclasses import replace

    from pointsman import Catalog

    model = Catalog.default().resolve(HAIKU)
    models = Catalog.default().with_model(
        replace(model, id=HAIKU, invoke_id=HAIKU, region=None, cache=replace(model.cache, ttls=("5m",)))
    )
    clock = endpoint.settings.clock
    client = Client(boto3_client, clock=clock, ledger=Ledger(reuse=reuse), catalog=models, keep_alive=keep_alive)
    client.converse(modelId=HAIKU, system=[*SYSTEM, {"cachePoint": {"type": "default"}}], messages=HELLO)
    endpoint.advance(281)
    assert keep_alive.due(clock()) == 1
    endpoint.advance(281)
    endpoint.faults.inject("throttle")
    assert keep_alive.due(clock()) == 1
    request, ping, failed = (dict(span.attributes or {}) for span in told.spans)
    assert "pointsman.keep_alive" not in request
    assert ping["pointsman.keep_alive"] is failed["pointsman.keep_alive"] is True
    assert ping["gen_ai.usage.cache_read.input_tokens"] > 0
    assert failed["error.type"] == "ThrottlingException"
    assert told.totals("pointsman.requests", "pointsman.keep_alive") == {None: 1, True: 2}


# --- metrics ----------------------------------------------------------------------------------------------------


def test_metrics_add_up_to_the_traces(client: Client, told: Told) -> None:
    """Requests, tokens by kind, cost, reads expected, misses by reason, decision time; and the conventions' own."""
    asked = [{"modelId": HAIKU, "system": SYSTEM, "messages": HELLO}] * 3 + [{"modelId": ROUTER, "messages": HELLO}]
    traces = [client.converse(**request)["pointsman"] for request in asked]
    usages = [trace["usage"] for trace in traces]

    def sum_of(name: str) -> int:
        return sum(usage[name] for usage in usages)

    read, written = sum_of("cache_read_tokens"), sum_of("cache_write_tokens")
    assert read > 0 and written > 0
    assert told.totals("pointsman.tokens", "pointsman.token.kind") == {
        "uncached": sum_of("input_tokens") - read - written,
        "cache_read": read,
        "cache_write": written,
        "output": sum_of("output_tokens"),
    }
    assert told.totals("pointsman.requests", "gen_ai.request.model") == {HAIKU: 3, ROUTER: 1}
    assert told.totals("pointsman.requests", "gen_ai.response.model") == {HAIKU: 4}
    cost = sum(Decimal(trace["cost"]["total"]) for trace in traces)
    assert told.totals("pointsman.cost")[None] == pytest.approx(float(cost))
    assert told.totals("pointsman.expected_read")[None] == sum(trace["expected_read_tokens"] for trace in traces)
    reasons = Counter(trace["miss"]["kind"] for trace in traces if trace["miss"])
    assert reasons and told.totals("pointsman.misses", "pointsman.miss.reason") == reasons
    spent = sum((span.attributes or {})["pointsman.decision.time"] for span in told.spans)
    assert told.totals("pointsman.decision.time")[None] == pytest.approx(spent)
    tokens = told.metrics()["gen_ai.client.token.usage"]
    by_type = Counter(input=0, output=0)
    for point in tokens:
        by_type[point.attributes["gen_ai.token.type"]] += point.sum
    assert by_type == {"input": sum_of("input_tokens"), "output": sum_of("output_tokens")}
    assert sum(point.count for point in told.metrics()["gen_ai.client.operation.duration"]) == 4
    assert told.metrics()["gen_ai.client.operation.duration"][0].explicit_bounds[:2] == (0.01, 0.02)
    assert tokens[0].explicit_bounds[-1] == 67108864


def test_an_alarm_is_counted(client: Client, endpoint: LocalEndpoint, told: Told) -> None:
    """Once, as it rings, and on the span of the request that set it off."""
    for minute in range(30):
        system = [{"text": f"It is 10:{minute:02} now."}, *SYSTEM, {"cachePoint": {"type": "default"}}]
        client.converse(modelId=HAIKU, system=system, messages=HELLO)
        endpoint.advance(1)
    assert told.totals("pointsman.drift_alarms") == {None: 1}
    assert [span for span in told.spans if (span.attributes or {}).get("pointsman.drift")] != []


def test_tokens_without_a_price_cost_nothing_known(told: Told) -> None:
    """The span has no cost, rather than 0."""

    class Own:
        def converse(self, **_: Any) -> dict[str, Any]:
            return {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}

    with pytest.warns(UserWarning):
        Client(Own()).converse(modelId="nobody.knows-it", messages=HELLO)
    assert "pointsman.cost" not in told.span


# --- beside botocore's own --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_beside_botocores_nothing_is_counted_twice(operation: str, client: Client, told: Told) -> None:
    """Its span is a child of ours and has the tokens; the conventions' metrics are its own; ours count all the same."""
    reply = getattr(client, operation)(modelId=ROUTER, system=SYSTEM, messages=HELLO)
    list(reply.get("stream", ()))
    theirs, ours = sorted(told.everything, key=lambda span: span.instrumentation_scope.name == "pointsman")
    assert theirs.parent is not None and theirs.parent.span_id == ours.context.span_id
    assert theirs.context.trace_id == ours.context.trace_id
    holders = [span for span in told.everything if "gen_ai.usage.output_tokens" in (span.attributes or {})]
    assert holders == [theirs]
    conventional = {"gen_ai.client.token.usage", "gen_ai.client.operation.duration"}
    assert conventional <= told.metrics("bedrock-runtime").keys()
    assert not conventional & told.metrics().keys()
    trace = ours.attributes or {}
    assert (trace["gen_ai.request.model"], trace["gen_ai.response.model"]) == (ROUTER, HAIKU)
    assert told.totals("pointsman.tokens", "pointsman.token.kind")["output"] > 0


@pytest.mark.usefixtures("beside")
def test_what_botocore_does_not_send_is_counted_by_us(told: Told) -> None:
    """A client that isn't botocore's is none that it instruments."""

    class Own:
        def converse(self, **_: Any) -> dict[str, Any]:
            return {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}

    Client(Own()).converse(modelId=HAIKU, messages=HELLO)
    assert told.span["gen_ai.usage.input_tokens"] == 1
    assert "gen_ai.client.token.usage" in told.metrics()


def test_botocores_that_was_taken_off_counts_no_more(client: Client, told: Told) -> None:
    """Imported is not instrumented."""
    client.converse(modelId=HAIKU, messages=HELLO)
    assert "gen_ai.usage.input_tokens" in told.span


# --- content ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "false", "no_content", "event_only"])
@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_no_text_is_told_unless_asked(
    value: str | None,
    operation: str,
    client: Client,
    endpoint: LocalEndpoint,
    told: Told,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither of prompt nor answer: on spans, in metrics, in the log. Failures too."""
    if value is not None:
        monkeypatch.setenv(CAPTURE_CONTENT, value)
    with caplog.at_level(logging.DEBUG, "pointsman"):
        for fault in (None, "throttle"):
            if fault:
                endpoint.faults.inject(fault)
            try:
                reply = getattr(client, operation)(modelId=HAIKU, system=SYSTEM, messages=HELLO)
                list(reply.get("stream", ()))
            except ClientError:
                pass
    everything = [*(span.to_json() for span in told.everything), str(told.metrics())]
    everything += [str(record.__dict__) for record in caplog.records if record.name == "pointsman"]
    assert len(told.spans) == 2 and caplog.records
    assert SECRET not in "".join(everything)


@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_text_is_told_where_it_is_asked_for(
    operation: str, client: Client, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the conventions' own variable, in their shape."""
    monkeypatch.setenv(CAPTURE_CONTENT, "SPAN_ONLY")
    reply = getattr(client, operation)(modelId=HAIKU, system=SYSTEM, messages=HELLO)
    deltas = [
        event["contentBlockDelta"]["delta"]["text"] for event in reply.get("stream", ()) if "contentBlockDelta" in event
    ]
    answer = "".join(deltas) or reply["output"]["message"]["content"][0]["text"]
    span = told.span
    said = {"type": "text", "content": HELLO[0]["content"][0]["text"]}  # type: ignore[index]  # it is a list
    assert json.loads(span["gen_ai.input.messages"]) == [{"role": "user", "parts": [said]}]
    assert json.loads(span["gen_ai.system_instructions"]) == [{"type": "text", "content": SYSTEM[0]["text"]}]
    assert json.loads(span["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": answer}]}
    ]


# --- what it must not do ----------------------------------------------------------------------------------------


def test_without_opentelemetry_nothing_is_imported() -> None:
    """Not even looked for: where the program has not imported it, nobody can have set it up."""
    code = f"""
import sys
from pointsman import Client
class Own:
    def converse(self, **request):
        return {{"usage": {{"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}}}
Client(Own()).converse(modelId={HAIKU!r}, messages={HELLO!r})
print(*[name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_it_works_where_opentelemetry_is_not_installed() -> None:
    """Every import of it fails there."""
    code = f"""
import sys
class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import pointsman.telemetry
from pointsman import Client
class Own:
    def converse(self, **request):
        return {{"usage": {{"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}}}
print(Client(Own()).converse(modelId={HAIKU!r}, messages={HELLO!r})["pointsman"]["status"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "complete"


def test_with_the_api_alone_nothing_is_recorded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library may import it; as long as no SDK is set up, no observer is made."""
    from pointsman.telemetry import Observer, observe

    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(opentelemetry.metrics._internal, "_METER_PROVIDER", None)
    assert type(observe(client, {"modelId": HAIKU})) is Observer


@pytest.mark.parametrize("step", ["on_start", "on_end"])
def test_a_fault_in_a_span_processor_breaks_no_call(
    step: str, client: Client, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the user's own, and goes into the log."""

    class Faulty(SpanProcessor):
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    faulty = Faulty()
    setattr(faulty, step, fail)
    told.tracers.add_span_processor(faulty)
    assert client.converse(modelId=HAIKU, messages=HELLO)["pointsman"]["status"] == "complete"
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", "telemetry failed")]


# --- the log ----------------------------------------------------------------------------------------------------


def test_a_request_is_one_line_at_debug(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """With its facts in `extra`, under our name; nothing above DEBUG."""
    with caplog.at_level(logging.DEBUG, "pointsman"):
        trace = client.converse(modelId=ROUTER, system=SYSTEM, messages=HELLO)["pointsman"]
        list(client.converse_stream(modelId=HAIKU, messages=HELLO)["stream"])
    routed, streamed = [record for record in caplog.records if record.name == "pointsman"]
    assert {routed.levelname, streamed.levelname} == {"DEBUG"}
    facts = routed.pointsman  # type: ignore[attr-defined]  # that is the point
    assert json.loads(json.dumps(facts)) == facts
    for name in ("asked", "router", "model", "invoked_model_id", "status", "usage", "keep_alive"):
        assert facts[name] == trace[name]
    assert facts["miss"] == trace["miss"]["kind"]
    assert facts["cost"] == trace["cost"]["total"]


def test_failed_advice_is_a_warning_by_step_and_error(caplog: pytest.LogCaptureFixture) -> None:
    """What the error said may quote the prompt. Such a fault may be that of a predictor of the user's own."""
    from pointsman import Catalog

    model = Catalog.default().resolve(HAIKU)
    trace = Trace(
        asked=HAIKU,
        model=model,
        invoked_model_id=HAIKU,
        status="complete",
        advice_failures=(f"routing: KeyError: {SECRET}",),
    )
    with caplog.at_level(logging.DEBUG, "pointsman"):
        log_request(trace)
    warning, line = caplog.records
    assert (warning.levelname, warning.getMessage()) == ("WARNING", "advice failed: routing: KeyError")
    for record in (warning, line):
        assert record.pointsman["failed_advice"] == ["routing: KeyError"]  # type: ignore[attr-defined]  # as above
        assert SECRET not in str(record.__dict__)


def test_a_failing_callback_is_a_warning(boto3_client: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With its name in the facts."""

    def fail(_: Trace) -> None:
        raise ZeroDivisionError

    Client(boto3_client, on_trace=fail).converse(modelId=HAIKU, messages=HELLO)
    (record,) = [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert (record.levelname, record.pointsman) == ("WARNING", {"callback": "on_trace"})  # type: ignore[attr-defined]


def test_every_log_call_of_the_core_is_structured() -> None:
    """Each one with the logger `pointsman` has `extra`."""
    core = Path(__file__).parent.parent / "core" / "pointsman"
    calls = []
    for path in core.rglob("*.py"):
        text = path.read_text("utf-8")
        if 'getLogger("pointsman")' in text:
            calls += re.findall(
                r"_log\.(?:debug|info|warning|error|exception)\((?:[^()]|\([^()]*(?:\([^()]*\)[^()]*)*\))*\)", text
            )
    assert len(calls) >= 9
    assert [call for call in calls if "extra=" not in call] == []
