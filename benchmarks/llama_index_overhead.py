"""What Pointsman adds to LlamaIndex's BedrockConverse: CPU time and calls a second, as ratios in one interleaved run.

    python benchmarks/llama_index_overhead.py [--rounds 60] [--json]

As `overhead.py`: both call a server in another process that answers at once, or for `achat` after 200 ms.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from adapter_overhead import IN_FLIGHT, Calls, main
from canned import client
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.llms.bedrock_converse import BedrockConverse
from payloads import MODEL, short_chat

from llama_index.llms.pointsman import Pointsman


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


def _calls(payload: Mapping[str, Any], url: str) -> Calls:
    messages = messages_of(payload)
    tools = {"tools": payload["toolConfig"]} if "toolConfig" in payload else {}
    plain, ours = (llm(kind, url) for kind in (BedrockConverse, Pointsman))
    return {
        "plain": lambda: plain.chat(messages, **tools),
        "ours": lambda: ours.chat(messages, **tools),
        "plain stream": lambda: list(plain.stream_chat(messages, **tools)),
        "ours stream": lambda: list(ours.stream_chat(messages, **tools)),
    }


def _asked_at(url: str) -> dict[str, Callable[[], Awaitable[object]]]:
    messages = messages_of(short_chat())
    plain, ours = (llm(kind, url, pool=IN_FLIGHT) for kind in (BedrockConverse, Pointsman))
    return {"plain": lambda: plain.achat(messages), "ours": lambda: ours.achat(messages)}


if __name__ == "__main__":
    main(__doc__, _calls, _asked_at, classes=("BedrockConverse", "Pointsman"), methods=("chat", "achat"))
