"""What Pointsman adds to LlamaIndex's BedrockConverse: CPU time and calls a second, as ratios in one interleaved run.

    python benchmarks/llama_index_overhead.py [--rounds 60] [--json]

As `overhead.py`: both call a server in another process that answers at once, or for `achat` after 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from canned import canned_endpoint, client
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.llms.bedrock_converse import BedrockConverse
from overhead import interleaved, median_ratio
from payloads import MODEL, agent, documents, short_chat

from llama_index.llms.pointsman import Pointsman

_IN_FLIGHT = 64
_SECONDS = 0.2


def messages_of(payload: Mapping[str, Any]) -> list[ChatMessage]:
    """A Converse request's messages as LlamaIndex has them."""
    system = [ChatMessage(role="system", content=block["text"]) for block in payload.get("system", ())]
    return [*system, *(one for message in payload["messages"] for one in _as_llama_index(message))]


def _as_llama_index(message: Mapping[str, Any]) -> Iterator[ChatMessage]:
    for block in message["content"]:
        if "toolResult" in block:
            result = block["toolResult"]
            told = {"tool_call_id": result["toolUseId"]}
            yield ChatMessage(role="tool", content=result["content"][0]["text"], additional_kwargs=told)
    texts = [TextBlock(text=block["text"]) for block in message["content"] if "text" in block]
    uses = [block["toolUse"] for block in message["content"] if "toolUse" in block]
    calls = [
        ToolCallBlock(tool_call_id=one["toolUseId"], tool_name=one["name"], tool_kwargs=one["input"]) for one in uses
    ]
    if texts or calls:
        yield ChatMessage(role=message["role"], blocks=[*texts, *calls])


def llm(kind: type[BedrockConverse], url: str, *, pool: int = 10) -> BedrockConverse:
    """One of either kind, with a client of its own."""
    return kind(model=MODEL, client=client(url, pool=pool), region_name="us-east-1")


def overhead(rounds: int) -> dict[str, dict[str, float]]:
    """CPU of `chat` and `stream` over that of BedrockConverse, for each payload."""
    figures = {}
    with canned_endpoint() as url:
        for name, payload in {"short chat": short_chat(), "documents": documents(), "agent": agent()}.items():
            seconds = interleaved(_calls(payload, url), rounds=rounds, times=10 if name == "short chat" else 2)
            figures[name] = {
                "plain_ms": statistics.median(seconds["plain chat"]) * 1e3,
                "chat": median_ratio(seconds, "chat", "plain chat"),
                "plain_stream_ms": statistics.median(seconds["plain stream"]) * 1e3,
                "stream": median_ratio(seconds, "stream", "plain stream"),
            }
    return figures


def _calls(payload: Mapping[str, Any], url: str) -> dict[str, Callable[[], object]]:
    messages = messages_of(payload)
    tools = {"tools": payload["toolConfig"]} if "toolConfig" in payload else {}
    plain, ours = (llm(kind, url) for kind in (BedrockConverse, Pointsman))
    return {
        "plain chat": lambda: plain.chat(messages, **tools),
        "chat": lambda: ours.chat(messages, **tools),
        "plain stream": lambda: list(plain.stream_chat(messages, **tools)),
        "stream": lambda: list(ours.stream_chat(messages, **tools)),
    }


def throughput(requests: int = 256, rounds: int = 3) -> dict[str, float]:
    """Calls a second of `achat` with 64 in flight, against a server that takes 200 ms."""
    messages = messages_of(short_chat())
    rates: dict[str, list[float]] = {"plain": [], "ours": []}
    with canned_endpoint(delay=_SECONDS) as url:
        kinds = {"plain": BedrockConverse, "ours": Pointsman}
        llms = {name: llm(kind, url, pool=_IN_FLIGHT) for name, kind in kinds.items()}

        async def run(model: BedrockConverse) -> float:
            gate = asyncio.Semaphore(_IN_FLIGHT)

            async def one() -> None:
                async with gate:
                    await model.achat(messages)

            start = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(requests)))
            return requests / (time.perf_counter() - start)

        for _ in range(rounds + 1):
            for name, model in llms.items():
                rates[name].append(asyncio.run(run(model)))
    plain, ours = (values[1:] for values in rates.values())
    return {
        "plain_per_second": statistics.median(plain),
        "ours_per_second": statistics.median(ours),
        "ratio": statistics.median(one / other for one, other in zip(ours, plain, strict=True)),
    }


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = {"overhead": overhead(arguments.rounds), "throughput": throughput()}
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    print("CPU over BedrockConverse (medians of interleaved rounds)")
    print(f"{'':12} {'plain ms':>9} {'chat':>7} {'plain stream ms':>16} {'stream':>7}")
    for name, row in figures["overhead"].items():
        print(
            f"{name:12} {row['plain_ms']:9.2f} {row['chat']:7.3f} {row['plain_stream_ms']:16.2f} {row['stream']:7.3f}"
        )
    rate = figures["throughput"]
    print(
        f"achat, 64 in flight, 200 ms: BedrockConverse {rate['plain_per_second']:.0f}/s, "
        f"Pointsman {rate['ours_per_second']:.0f}/s, ratio {rate['ratio']:.1f}"
    )


if __name__ == "__main__":
    main()
