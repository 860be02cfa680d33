"""What ChatPointsman adds to ChatBedrockConverse: CPU time and calls a second, as ratios within one interleaved run.

    python benchmarks/langchain_overhead.py [--rounds 60] [--json]

As `overhead.py`: both call a server in another process that answers at once, or for `ainvoke` after 200 ms.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from adapter_overhead import IN_FLIGHT, Calls, main
from canned import client
from langchain_aws import ChatBedrockConverse
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from payloads import MODEL, short_chat

from langchain_pointsman import ChatPointsman


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


def _calls(payload: Mapping[str, Any], url: str) -> Calls:
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
        "plain": lambda: plain.invoke(messages),
        "ours": lambda: ours.invoke(messages),
        "plain stream": lambda: list(plain.stream(messages)),
        "ours stream": lambda: list(ours.stream(messages)),
    }


def _asked_at(url: str) -> dict[str, Callable[[], Awaitable[object]]]:
    messages = messages_of(short_chat())
    plain, ours = (chat_model(kind, url, pool=IN_FLIGHT) for kind in (ChatBedrockConverse, ChatPointsman))
    return {"plain": lambda: plain.ainvoke(messages), "ours": lambda: ours.ainvoke(messages)}


if __name__ == "__main__":
    main(__doc__, _calls, _asked_at, classes=("ChatBedrockConverse", "ChatPointsman"), methods=("invoke", "ainvoke"))
