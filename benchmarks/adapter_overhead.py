"""What an adapter adds to the framework's own Bedrock class, for the benchmarks of both: measured, and printed.

As `overhead.py`: both sides call a server in another process that answers at once, or after 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from canned import canned_endpoint
from overhead import interleaved, median_ratio
from payloads import agent, documents, short_chat

IN_FLIGHT = 64
_SECONDS = 0.2

Calls = dict[str, Callable[[], object]]
"""What is timed: "plain", "ours", and the same for "plain stream" and "ours stream"."""


def overhead(calls_of: Callable[[Mapping[str, Any], str], Calls], rounds: int) -> dict[str, dict[str, float]]:
    """CPU of a call and of a stream over the framework's own, for each payload; `calls_of` takes it and a URL."""
    figures = {}
    with canned_endpoint() as url:
        for name, payload in {"short chat": short_chat(), "documents": documents(), "agent": agent()}.items():
            times = 10 if name == "short chat" else 2
            seconds = interleaved(calls_of(payload, url), rounds=rounds, times=times)
            figures[name] = {
                "plain_ms": statistics.median(seconds["plain"]) * 1e3,
                "call": median_ratio(seconds, "ours", "plain"),
                "plain_stream_ms": statistics.median(seconds["plain stream"]) * 1e3,
                "stream": median_ratio(seconds, "ours stream", "plain stream"),
            }
    return figures


def throughput(
    asked_at: Callable[[str], Mapping[str, Callable[[], Awaitable[object]]]], requests: int = 256, rounds: int = 3
) -> dict[str, float]:
    """Calls a second with 64 in flight, against a server that takes 200 ms: of "plain" and of "ours" at its URL."""
    rates: dict[str, list[float]] = {"plain": [], "ours": []}
    with canned_endpoint(delay=_SECONDS) as url:
        asked = asked_at(url)

        async def run(ask: Callable[[], Awaitable[object]]) -> float:
            gate = asyncio.Semaphore(IN_FLIGHT)

            async def one() -> None:
                async with gate:
                    await ask()

            start = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(requests)))
            return requests / (time.perf_counter() - start)

        for _ in range(rounds + 1):
            for name, ask in asked.items():
                rates[name].append(asyncio.run(run(ask)))
    plain, ours = (values[1:] for values in rates.values())
    return {
        "plain_per_second": statistics.median(plain),
        "ours_per_second": statistics.median(ours),
        "ratio": statistics.median(one / other for one, other in zip(ours, plain, strict=True)),
    }


def main(
    about: str,
    calls_of: Callable[[Mapping[str, Any], str], Calls],
    asked_at: Callable[[str], Mapping[str, Callable[[], Awaitable[object]]]],
    *,
    classes: tuple[str, str],
    methods: tuple[str, str],
) -> None:
    """Run everything and print it. `classes` are the plain one and ours; `methods` those that call, sync and async."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = {"overhead": overhead(calls_of, arguments.rounds), "throughput": throughput(asked_at)}
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    (plain, ours), (call, async_call) = classes, methods
    print(f"CPU over {plain} (medians of interleaved rounds)")
    print(f"{'':12} {'plain ms':>9} {call:>7} {'plain stream ms':>16} {'stream':>7}")
    for name, row in figures["overhead"].items():
        print(
            f"{name:12} {row['plain_ms']:9.2f} {row['call']:7.3f} {row['plain_stream_ms']:16.2f} {row['stream']:7.3f}"
        )
    rate = figures["throughput"]
    print(
        f"{async_call}, 64 in flight, 200 ms: {plain} {rate['plain_per_second']:.0f}/s, "
        f"{ours} {rate['ours_per_second']:.0f}/s, ratio {rate['ratio']:.1f}"
    )
