"""What ChatPointsman adds to ChatBedrockConverse: CPU time and calls a second, as ratios within one interleaved run.

    python benchmarks/langchain_overhead.py [--rounds 60] [--json]

As `overhead.py`: both call a server in another process that answers at once, or for `ainvoke` after 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from canned import canned_endpoint, client
from langchain_aws import ChatBedrockConverse
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from overhead import interleaved, median_ratio
from payloads import MODEL, agent, documents, short_chat

from langchain_pointsman import ChatPointsman

_IN_FLIGHT = 64
_SECONDS = 0.2


def messages_of(payload: Mapping[str, Any]) -> list[BaseMessage]:
    """A Converse request's messages as LangChain has them."""
    system = [SystemMessage(block["text"]) for block in payload.get("system", ())]
    return [*system, *(one for message in payload["messages"] for one in _as_langchain(message))]


def _as_langchain(message: Mapping[str, Any]) -> Sequence[BaseMessage]:
    content = message["content"]
    results = [block["toolResult"] for block in content if "toolResult" in block]
    if results:
        return [ToolMessage(one["content"][0]["text"], tool_call_id=one["toolUseId"]) for one in results]
    texts: list[str | dict[str, Any]] = [
        {"type": "text", "text": block["text"]} for block in content if "text" in block
    ]
    if message["role"] == "user":
        return [HumanMessage(texts)]
    uses = [block["toolUse"] for block in content if "toolUse" in block]
    calls = [{"name": one["name"], "args": one["input"], "id": one["toolUseId"]} for one in uses]
    return [AIMessage(texts, tool_calls=calls)]


def chat_model(kind: type[ChatBedrockConverse], url: str, *, pool: int = 10) -> ChatBedrockConverse:
    """One of either kind, with a client of its own."""
    boto3_client = client(url, pool=pool)
    return kind(model=MODEL, client=boto3_client, bedrock_client=boto3_client)


def overhead(rounds: int) -> dict[str, dict[str, float]]:
    """CPU of `invoke` and `stream` over that of ChatBedrockConverse, for each payload."""
    figures = {}
    with canned_endpoint() as url:
        for name, payload in {"short chat": short_chat(), "documents": documents(), "agent": agent()}.items():
            seconds = interleaved(_calls(payload, url), rounds=rounds, times=10 if name == "short chat" else 2)
            figures[name] = {
                "plain_ms": statistics.median(seconds["plain invoke"]) * 1e3,
                "invoke": median_ratio(seconds, "invoke", "plain invoke"),
                "plain_stream_ms": statistics.median(seconds["plain stream"]) * 1e3,
                "stream": median_ratio(seconds, "stream", "plain stream"),
            }
    return figures


def _calls(payload: Mapping[str, Any], url: str) -> dict[str, Callable[[], object]]:
    messages = messages_of(payload)
    tools = [one["toolSpec"] for one in payload.get("toolConfig", {}).get("tools", ())]
    functions = [
        {
            "type": "function",
            "function": {
                "name": one["name"],
                "description": one["description"],
                "parameters": one["inputSchema"]["json"],
            },
        }
        for one in tools
    ]
    made = {kind: chat_model(kind, url) for kind in (ChatBedrockConverse, ChatPointsman)}
    plain, ours = (model.bind_tools(functions) if functions else model for model in made.values())
    return {
        "plain invoke": lambda: plain.invoke(messages),
        "invoke": lambda: ours.invoke(messages),
        "plain stream": lambda: list(plain.stream(messages)),
        "stream": lambda: list(ours.stream(messages)),
    }


def throughput(requests: int = 256, rounds: int = 3) -> dict[str, float]:
    """Calls a second of `ainvoke` with 64 in flight, against a server that takes 200 ms."""
    messages = messages_of(short_chat())
    rates: dict[str, list[float]] = {"plain": [], "ours": []}
    with canned_endpoint(delay=_SECONDS) as url:
        kinds = {"plain": ChatBedrockConverse, "ours": ChatPointsman}
        models = {name: chat_model(kind, url, pool=_IN_FLIGHT) for name, kind in kinds.items()}

        async def run(model: ChatBedrockConverse) -> float:
            gate = asyncio.Semaphore(_IN_FLIGHT)

            async def one() -> None:
                async with gate:
                    await model.ainvoke(messages)

            start = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(requests)))
            return requests / (time.perf_counter() - start)

        for _ in range(rounds + 1):
            for name, model in models.items():
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
    print("CPU over ChatBedrockConverse (medians of interleaved rounds)")
    print(f"{'':12} {'plain ms':>9} {'invoke':>7} {'plain stream ms':>16} {'stream':>7}")
    for name, row in figures["overhead"].items():
        print(
            f"{name:12} {row['plain_ms']:9.2f} {row['invoke']:7.3f} {row['plain_stream_ms']:16.2f} {row['stream']:7.3f}"
        )
    rate = figures["throughput"]
    print(
        f"ainvoke, 64 in flight, 200 ms: ChatBedrockConverse {rate['plain_per_second']:.0f}/s, "
        f"ChatPointsman {rate['ours_per_second']:.0f}/s, ratio {rate['ratio']:.1f}"
    )


if __name__ == "__main__":
    main()
