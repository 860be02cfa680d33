"""What Pointsman adds to a bare boto3 call: CPU time, as ratios within one interleaved run.

    python benchmarks/overhead.py [--rounds 60] [--json] [--only-telemetry]

Each round times a few calls of each kind, one kind after the other, and the ratios are taken round by round; their
median is printed, so that a machine whose speed drifts does not matter. Calls go over HTTP to a server in another
process that answers at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from canned import canned_endpoint, client
from payloads import MODEL, ROUTER, agent, documents, short_chat

import pointsman
import pointsman.client
from pointsman.prompt import Prompt
from pointsman.telemetry import Observer, observe
from pointsman.tokens import EstimatedTokens


def cpu_of(call: Callable[[], object], times: int) -> float:
    """CPU seconds of this process for one call."""
    start = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - start) / times


def interleaved(calls: dict[str, Callable[[], object]], *, rounds: int, times: int) -> dict[str, list[float]]:
    """CPU seconds of each call, round by round."""
    for call in calls.values():
        cpu_of(call, times)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            seconds[name].append(cpu_of(call, times))
    return seconds


def median_ratio(seconds: dict[str, list[float]], name: str, base: str) -> float:
    """The median of the ratios of two calls, round by round."""
    return statistics.median(one / other for one, other in zip(seconds[name], seconds[base], strict=True))


def drained(reply: dict[str, Any]) -> None:
    """Read a stream to its end."""
    for _ in reply["stream"]:
        pass


def calls_of(payload: dict[str, Any], url: str) -> dict[str, Callable[[], object]]:
    """The same request through boto3 and through us."""
    bare = client(url)
    ours = pointsman.Client(client(url))
    counter = EstimatedTokens()
    return {
        "boto3": lambda: bare.converse(modelId=MODEL, **payload),
        "fixed": lambda: ours.converse(modelId=MODEL, **payload),
        "router": lambda: ours.converse(modelId=ROUTER, **payload),
        "outline": lambda: Prompt(payload).outline(counter),
        "boto3 stream": lambda: drained(bare.converse_stream(modelId=MODEL, **payload)),
        "stream": lambda: drained(ours.converse_stream(modelId=MODEL, **payload)),
    }


def client_overhead(rounds: int) -> dict[str, dict[str, float]]:
    """Ratios and milliseconds for each payload."""
    figures: dict[str, dict[str, float]] = {}
    with canned_endpoint() as url:
        for name, payload, times in (
            ("short chat", short_chat(), 10),
            ("documents 30k", documents(), 6),
            ("agent 100k", agent(), 3),
        ):
            seconds = interleaved(calls_of(payload, url), rounds=rounds, times=times)
            router = [one - other for one, other in zip(seconds["router"], seconds["fixed"], strict=True)]
            figures[name] = {
                "boto3_ms": statistics.median(seconds["boto3"]) * 1e3,
                "fixed": median_ratio(seconds, "fixed", "boto3"),
                "router_more_ms": statistics.median(router) * 1e3,
                "stream": median_ratio(seconds, "stream", "boto3 stream"),
                "outline": median_ratio(seconds, "outline", "boto3"),
            }
    return figures


def telemetry_overhead(rounds: int) -> dict[str, dict[str, float]]:
    """What telemetry adds to a call, over a bare one: with SDK and in-memory exporters, and without OpenTelemetry.

    "SDK alone" is what the SDK takes for one span with fifteen attributes and three histograms, made by hand; "empty
    span" for a span and nothing else.
    """
    silent = cpu_of_silence()
    exporter = set_up_telemetry()
    empty_span, by_hand = made_by_hand()
    figures: dict[str, dict[str, float]] = {}
    nobody = Observer()

    def observed(by: Callable[..., Observer], call: Callable[[], object]) -> Callable[[], None]:
        def observed_call() -> None:
            pointsman.client.observe = by
            call()
            exporter.clear()  # What a test holds in memory is no cost of telemetry.

        return observed_call

    with canned_endpoint() as url:
        for name, payload, times in (("short chat", short_chat(), 10), ("documents 30k", documents(), 6)):
            calls = calls_of(payload, url)
            kinds = {"boto3": calls["boto3"], "boto3 stream": calls["boto3 stream"]}
            kinds["SDK alone"] = observed(observe, by_hand(calls["boto3"]))
            kinds["empty span"] = observed(observe, empty_span(calls["boto3"]))
            for kind in ("fixed", "router", "stream"):
                kinds[kind] = observed(lambda *_, **__: nobody, calls[kind])
                kinds[f"{kind} told"] = observed(observe, calls[kind])
            seconds = interleaved(kinds, rounds=rounds, times=times)
            figures[name] = {
                kind: statistics.median(
                    (told - untold) / base
                    for told, untold, base in zip(seconds[f"{kind} told"], seconds[kind], seconds[over], strict=True)
                )
                for kind, over in (("fixed", "boto3"), ("router", "boto3"), ("stream", "boto3 stream"))
            }
            for kind in ("SDK alone", "empty span"):
                alone = zip(seconds[kind], seconds["boto3"], strict=True)
                figures[name][kind] = statistics.median((one - base) / base for one, base in alone)
            figures[name]["without"] = silent / statistics.median(seconds["boto3"])
    return figures


def cpu_of_silence(times: int = 100_000) -> float:
    """CPU seconds of all that a call does for telemetry where the program has no OpenTelemetry."""
    assert "opentelemetry.trace" not in sys.modules

    def call() -> None:
        observer = observe(None, {})
        observer.decide(iter("c"))  # type: ignore[arg-type]  # as a flow, it will do
        observer.within(cpu_of_silence)
        observer.end(None, None)  # type: ignore[arg-type]  # nobody looks at it

    return cpu_of(call, times)


Telling = Callable[[Callable[[], object]], Callable[[], None]]


def made_by_hand() -> tuple[Telling, Telling]:
    """A call within an empty span, and one with what the conventions want told of it; nothing of ours."""
    from opentelemetry import metrics, trace

    tracer, meter = trace.get_tracer("by hand"), metrics.get_meter("by hand")
    histograms = [meter.create_histogram(name) for name in ("duration", "input", "output")]
    before = {f"gen_ai.request.{number}": str(number) for number in range(6)}
    after = {f"gen_ai.response.{number}": number for number in range(9)}
    shared = {f"gen_ai.{number}": str(number) for number in range(4)}

    def empty_span(call: Callable[[], object]) -> Callable[[], None]:
        def told() -> None:
            span = tracer.start_span("chat")
            call()
            span.end()

        return told

    def by_hand(call: Callable[[], object]) -> Callable[[], None]:
        def told() -> None:
            span = tracer.start_span("chat", attributes=before)
            call()
            span.set_attributes(after)
            span.end()
            for histogram in histograms:
                histogram.record(1, shared)

        return told

    return empty_span, by_hand


def set_up_telemetry() -> Any:
    """The SDK with in-memory exporters, as the program's global providers; the exporter of spans."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    return exporter


def import_overhead(rounds: int = 9) -> float:
    """CPU of `import pointsman` over that of `import boto3`, less a bare interpreter's, each in fresh processes."""

    def cpu_of_import(statement: str) -> float:
        code = f"{statement}\nimport time; print(time.process_time())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return float(done.stdout)

    ratios = []
    for _ in range(rounds):
        bare, ours, theirs = (cpu_of_import(statement) for statement in ("pass", "import pointsman", "import boto3"))
        ratios.append((ours - bare) / (theirs - bare))
    return statistics.median(ratios)


def throughput(requests: int = 512, in_flight: int = 64, delay: float = 0.2, rounds: int = 5) -> dict[str, float]:
    """Requests a second of boto3 in 64 threads and of AsyncClient, against a server that takes 200 ms."""
    payload = short_chat()
    rates: dict[str, list[float]] = {"threads": [], "async": []}
    with canned_endpoint(delay=delay) as url, ThreadPoolExecutor(in_flight) as threads:
        bare = client(url, pool=in_flight)
        ours = pointsman.AsyncClient(client(url, pool=in_flight))

        async def all_async() -> None:
            await asyncio.gather(*(ours.converse(modelId=MODEL, **payload) for _ in range(requests)))

        def all_threads() -> None:
            list(threads.map(lambda _: bare.converse(modelId=MODEL, **payload), range(requests)))

        for kind, run in (("threads", all_threads), ("async", lambda: asyncio.run(all_async()))) * (rounds + 1):
            start = time.perf_counter()
            run()
            rates[kind].append(requests / (time.perf_counter() - start))
    rates = {kind: values[1:] for kind, values in rates.items()}
    ratio = statistics.median(one / other for one, other in zip(rates["async"], rates["threads"], strict=True))
    return {
        "threads_per_second": statistics.median(rates["threads"]),
        "async_per_second": statistics.median(rates["async"]),
        "async": ratio,
    }


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only-telemetry", action="store_true")
    arguments = parser.parse_args()
    if arguments.only_telemetry:
        print(json.dumps(telemetry_overhead(arguments.rounds), indent=2))
        return
    overhead = client_overhead(arguments.rounds)
    figures = {"overhead": overhead, "import": import_overhead(), "throughput": throughput()}
    figures["telemetry"] = telemetry_overhead(arguments.rounds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    print("CPU over bare boto3 (medians of interleaved rounds)")
    print(f"{'':15} {'boto3 ms':>9} {'fixed id':>9} {'router +ms':>11} {'stream':>7} {'outline':>8}")
    for name, row in overhead.items():
        values = f"{row['boto3_ms']:9.2f} {row['fixed']:9.3f} {row['router_more_ms']:11.3f}"
        print(f"{name:15} {values} {row['stream']:7.3f} {row['outline']:8.3f}")
    print(f"import pointsman / import boto3: {figures['import']:.3f}")
    rate = figures["throughput"]
    print(
        f"64 in flight, 200 ms: AsyncClient {rate['async_per_second']:.0f}/s, boto3 in 64 threads "
        f"{rate['threads_per_second']:.0f}/s, ratio {rate['async']:.2f}"
    )
    print("Telemetry more, over bare boto3: SDK and in-memory exporters; without OpenTelemetry")
    for name, row in figures["telemetry"].items():
        print(f"{name:15} " + ", ".join(f"{kind} {value:.4f}" for kind, value in row.items()))


if __name__ == "__main__":
    main()
