"""What is told of each request to those who run the service: spans and metrics for OpenTelemetry, a line in the log.

The only file that imports opentelemetry, and only once the program itself has. Follows the GenAI conventions
(https://opentelemetry.io/docs/specs/semconv/gen-ai/, read 2026-11-28); what they have no name for is `pointsman.*`.
Knows requests and traces; knows nothing of how they come about. No text of a prompt or an answer, unless asked for.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import lru_cache, partial
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pointsman.flow import Call, Failure, Reply
from pointsman.totals import COUNTERS, Account
from pointsman.trace import Trace
from pointsman.transcript import Transcript
from pointsman.usage import Usage

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation
    from opentelemetry.trace import Span, TracerProvider

_log = logging.getLogger("pointsman")

CAPTURE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The conventions' own switch for text on spans; "event_only" is none to us, since we emit no events."""
_CAPTURING = frozenset({"true", "span_only", "span_and_event"})

# As the conventions want them.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4**power for power in range(14))

_Attributes = dict[str, Any]


def log_request(trace: Trace) -> None:
    """One line for a request that is over, at DEBUG, the facts in the record's `pointsman`; a warning of faults."""
    if trace.advice_failures:
        steps = _steps(trace)
        _log.warning("advice failed: %s", ", ".join(steps), extra={"pointsman": {"failed_advice": steps}})
    if not _log.isEnabledFor(logging.DEBUG):
        return
    usage, cost = trace.usage or Usage(), trace.cost
    facts = {
        "asked": trace.asked,
        "router": trace.router,
        "model": trace.model.id,
        "invoked_model_id": trace.invoked_model_id,
        "status": trace.status,
        "usage": trace.usage.to_dict() if trace.usage else None,
        "cost": str(cost.total) if cost and cost.total is not None else None,
        "expected_read_tokens": trace.expected_read.tokens if trace.expected_read else 0,
        "miss": trace.miss.kind if trace.miss else None,
        "attempts": [attempt._asdict() for attempt in trace.attempts],
        "failed_advice": _steps(trace),
        "keep_alive": trace.keep_alive,
    }
    _log.debug(
        "%s by %s: %d tokens in, %d of them read from the cache, %d out",
        trace.status,
        trace.model.id,
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.output_tokens,
        extra={"pointsman": facts},
    )


class Observer:
    """What a request's driver tells of its course. This one tells nobody."""

    watch: Callable[[Mapping[str, Any]], None] | None = None
    """Is to be called with each event of a stream, where it is not None."""

    def decide(self, flow: Generator[Call, Reply | Failure, Trace]) -> Call:
        """The flow's first call."""
        return next(flow)

    def within(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        """The operation, as a part of what is observed."""
        return operation

    def end(self, trace: Trace | None, outcome: Reply | Failure) -> None:
        """The request is over; nobody can tell its trace if that is None."""


_UNOBSERVED = Observer()


def observe(
    client: Any,
    request: Mapping[str, Any],
    *,
    streaming: bool = False,
    conversation: str | None = None,
    keep_alive: bool = False,
) -> Observer:
    """A request to this boto3 client begins: its observer, if the program has set up OpenTelemetry."""
    if "opentelemetry.trace" not in sys.modules:  # Then nobody can have set it up.
        return _UNOBSERVED
    try:
        instruments = _current_instruments()
        if instruments is None:
            return _UNOBSERVED
        return _Recorder(
            instruments, client, request, streaming=streaming, conversation=conversation, keep_alive=keep_alive
        )
    except Exception:  # noqa: BLE001 - a span processor may raise anything, and the call goes on without it
        _warn()
        return _UNOBSERVED


def _warn() -> None:
    _log.warning("telemetry failed", exc_info=True, extra={"pointsman": {"callback": "telemetry"}})


def _dollars(trace: Trace) -> float | None:
    cost = trace.cost
    total = None if cost is None else cost.total
    return None if total is None else float(total)


class _Instruments:
    """What a pair of providers gives us to record with."""

    def __init__(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        from importlib.metadata import version

        from opentelemetry import context, trace

        self.providers = tracers, meters
        self.api, self.context = trace, context  # To import them again for every request costs microseconds.
        self.captures_content = os.environ.get(CAPTURE_CONTENT, "").lower() in _CAPTURING
        self.account = Account()
        ours = version("pointsman")
        self.tracer = tracers.get_tracer("pointsman", ours)
        meter = meters.get_meter("pointsman", ours)

        def histogram(name: str, unit: str, bounds: Iterable[float], told: str) -> Histogram:
            return meter.create_histogram(name, unit, told, explicit_bucket_boundaries_advisory=[*bounds])

        self.duration = histogram("gen_ai.client.operation.duration", "s", _SECONDS, "GenAI operation duration.")
        self.usage = histogram(
            "gen_ai.client.token.usage", "{token}", _TOKENS, "Number of input and output tokens used."
        )
        self.first_chunk = histogram(
            "gen_ai.client.operation.time_to_first_chunk", "s", _SECONDS, "Time to receive the first chunk."
        )
        for name, unit, told, *where in COUNTERS:
            meter.create_observable_counter(name, [partial(_observed, self.account, *where)], unit, told)


def _observed(account: Account, name: str, label: str | None, _: CallbackOptions) -> list[Observation]:
    from opentelemetry.metrics import Observation

    return [Observation(value, told) for value, told in account.read(name, label)]


_instruments: _Instruments | None = None
_making = threading.Lock()


def _current_instruments() -> _Instruments | None:
    """Those of the global providers; None as long as no SDK has been set up."""
    global _instruments
    from opentelemetry.metrics import get_meter_provider
    from opentelemetry.trace import get_tracer_provider

    tracers, meters = get_tracer_provider(), get_meter_provider()
    made = _instruments
    if made is not None and made.providers[0] is tracers and made.providers[1] is meters:
        return made
    if _is_the_apis_own(tracers, "opentelemetry.trace") and _is_the_apis_own(meters, "opentelemetry.metrics"):
        return None
    with _making:
        if _instruments is None or _instruments.providers != (tracers, meters):
            _instruments = _Instruments(tracers, meters)
        return _instruments


def _is_the_apis_own(provider: object, package: str) -> bool:
    """Whether it only stands in until there is another, and records nothing."""
    return type(provider).__module__.startswith(package)


class _Recorder(Observer):
    """One request's span, and what its metrics need."""

    def __init__(
        self,
        instruments: _Instruments,
        client: Any,
        request: Mapping[str, Any],
        *,
        streaming: bool,
        conversation: str | None,
        keep_alive: bool,
    ) -> None:
        self._instruments = instruments
        self._counted_by_botocore = _is_counted_by_botocore(client)
        self._keep_alive = keep_alive
        model = request.get("modelId")
        self._asked = model if isinstance(model, str) and model else None
        self._content = Transcript() if instruments.captures_content else None
        self._decision_seconds: float | None = None
        self._first_chunk_seconds: float | None = None
        attributes = _at_creation(client, request, self._asked)
        if conversation is not None:
            attributes["gen_ai.conversation.id"] = conversation
        if streaming:
            attributes["gen_ai.request.stream"] = True
            self.watch = self._see_first
        self._span: Span | None = instruments.tracer.start_span(
            f"chat {self._asked}" if self._asked else "chat",
            kind=instruments.api.SpanKind.CLIENT,
            attributes=attributes,
        )
        self._began = self._sent = perf_counter()

    def decide(self, flow: Generator[Call, Reply | Failure, Trace]) -> Call:
        """As the base's, timed; a refusal ends the span."""
        try:
            call = next(flow)
        except Exception as exc:
            self._end_safely("refused", error=type(exc).__name__)
            raise
        self._decision_seconds = perf_counter() - self._began
        return call

    def within(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        """The operation with the span as the current one."""
        api, context, span = self._instruments.api, self._instruments.context, self._span
        assert span is not None

        def call(**request: Any) -> Any:
            token = context.attach(api.set_span_in_context(span))
            self._sent = perf_counter()
            try:
                raw = operation(**request)
            except Exception:  # the flow is told of it, and ends the span
                raise
            except BaseException as exc:
                # Nobody goes on with the flow, so nobody else would end the span.
                self._end_safely("failed", error=type(exc).__name__)
                raise
            finally:
                context.detach(token)
            if self._content is not None:
                self._content.take(request, raw)
            return raw

        return call

    def _see_first(self, event: Mapping[str, Any]) -> None:
        self._first_chunk_seconds = perf_counter() - self._sent
        self.watch = None
        if self._content is not None:
            self.watch = self._content.see
            self._content.see(event)

    def end(self, trace: Trace | None, outcome: Reply | Failure) -> None:
        """Record all that is known by now."""
        status = trace.status if trace is not None else "closed early"
        if isinstance(outcome, Failure):
            self._end_safely(status, trace, error=outcome.code)
        else:
            self._end_safely(status, trace, stop_reason=outcome.stop_reason)

    def __del__(self) -> None:
        # A stream that was dropped before anybody began to read it: no flow tells the end of that.
        if getattr(self, "_span", None) is not None:
            self._end_safely("closed early")

    def _end_safely(
        self, status: str, trace: Trace | None = None, *, error: str | None = None, stop_reason: str | None = None
    ) -> None:
        span, self._span, self.watch = self._span, None, None
        if span is None:
            return
        try:
            seconds = perf_counter() - self._began
            dollars = _dollars(trace) if trace is not None else None
            if span.is_recording():
                told = self._told(status, trace, error, stop_reason)
                if dollars is not None:
                    told["pointsman.cost"] = dollars
                span.set_attributes(told)
                if error is not None:
                    # Its message may repeat what stood in the prompt.
                    span.set_status(self._instruments.api.StatusCode.ERROR, error)
            span.end()
            self._measure(status, trace, error, seconds, dollars)
        except Exception:  # noqa: BLE001 - as in `observe`
            _warn()

    def _told(self, status: str, trace: Trace | None, error: str | None, stop_reason: str | None) -> _Attributes:
        told: _Attributes = {"pointsman.status": status}
        if error is not None:
            told["error.type"] = error
        if stop_reason is not None:
            told["gen_ai.response.finish_reasons"] = (stop_reason,)
        if self._decision_seconds is not None:
            told["pointsman.decision.time"] = self._decision_seconds
        if self._first_chunk_seconds is not None:
            told["gen_ai.response.time_to_first_chunk"] = self._first_chunk_seconds
        if self._keep_alive:
            told["pointsman.keep_alive"] = True
        if trace is not None:
            if error is None:
                told["gen_ai.response.model"] = trace.model.invoke_id
            if trace.usage is not None and not self._counted_by_botocore:
                told |= _usage_of(trace.usage)
            told |= _told_by(trace)
        if self._content is not None:
            told |= self._content.attributes()
        return told

    def _measure(
        self, status: str, trace: Trace | None, error: str | None, seconds: float, dollars: float | None
    ) -> None:
        record, usage = self._instruments, trace.usage if trace is not None else None
        answered = trace.model.invoke_id if trace is not None and error is None else None
        router = trace.router if trace is not None else None
        values = (self._asked, answered, router, error, self._keep_alive or None)
        record.account.book(values, status, self._decision_seconds, trace, dollars)
        if self._counted_by_botocore and self._first_chunk_seconds is None:
            return
        shared: _Attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "aws.bedrock"}
        if self._asked is not None:
            shared["gen_ai.request.model"] = self._asked
        if answered is not None:
            shared["gen_ai.response.model"] = answered
        if error is not None:
            shared["error.type"] = error
        if self._first_chunk_seconds is not None:
            record.first_chunk.record(self._first_chunk_seconds, shared)
        if self._counted_by_botocore:
            return
        record.duration.record(seconds, shared)
        if usage is not None:
            record.usage.record(usage.input_tokens, {**shared, "gen_ai.token.type": "input"})
            record.usage.record(usage.output_tokens, {**shared, "gen_ai.token.type": "output"})


def _at_creation(client: Any, request: Mapping[str, Any], asked: str | None) -> _Attributes:
    """What samplers may look at, and what the caller set."""
    attributes: _Attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "aws.bedrock"}
    if asked is not None:
        attributes["gen_ai.request.model"] = asked
    url = getattr(getattr(client, "meta", None), "endpoint_url", None)
    if isinstance(url, str):
        attributes["server.address"], attributes["server.port"] = _address(url)
    config = request.get("inferenceConfig")
    if isinstance(config, Mapping):
        for key, name in _SETTINGS.items():
            if config.get(key) is not None:
                attributes[name] = config[key]
    return attributes


@lru_cache(maxsize=64)
def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or url, parts.port or (80 if parts.scheme == "http" else 443)


_SETTINGS = {
    "maxTokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "topP": "gen_ai.request.top_p",
}


def _told_by(trace: Trace) -> _Attributes:
    miss, decision = trace.miss, trace.decision
    told: _Attributes = {}
    if trace.router is not None:
        told["pointsman.router"] = trace.router
    if decision is not None and decision.explored:
        told["pointsman.decision.explored"] = True
    if trace.placement.points:
        told["pointsman.cache_points"] = len(trace.placement.points)
    if trace.expected_read is not None:
        told["pointsman.expected_read.tokens"] = trace.expected_read.tokens
    if miss is not None:
        told["pointsman.miss.reason"] = miss.kind
        if miss.tokens is not None:
            told["pointsman.miss.tokens"] = miss.tokens
    if trace.drift is not None:
        told["pointsman.drift"] = True
    if trace.attempts:
        told["pointsman.failed_attempts"] = [f"{attempt.model} {attempt.error}" for attempt in trace.attempts]
    if trace.advice_failures:
        told["pointsman.failed_advice"] = _steps(trace)
    return told


def _usage_of(usage: Usage) -> _Attributes:
    """Cached tokens are part of the input tokens, as the conventions want it."""
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
    }


def _steps(trace: Trace) -> list[str]:
    """The steps that failed by which error, without its message, which may repeat what stood in the prompt."""
    return [":".join(failure.split(":")[:2]) for failure in trace.advice_failures]


def _is_counted_by_botocore(client: Any) -> bool:
    """Whether botocore's own instrumentation makes a span of this client's calls, and counts their tokens."""
    module = sys.modules.get("opentelemetry.instrumentation.botocore")
    if module is None or not hasattr(client, "_make_api_call"):  # It wraps that method of every botocore client.
        return False
    return bool(module.BotocoreInstrumentor().is_instrumented_by_opentelemetry)
