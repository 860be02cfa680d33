"""The requests that the benchmarks send: a short chat, a question on 30k tokens of documents, a 100k-token agent."""

from __future__ import annotations

from typing import Any

MODEL = "us.anthropic.claude-sonnet-5-5"
ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"

_PROSE = (
    "A pointsman sets the points of a railway: which track the train takes, and where it may stop. "
    "Signals protect each section, and no train enters one that another holds. "
)


def short_chat() -> dict[str, Any]:
    """About 200 tokens in three messages."""
    return {
        "system": [{"text": "You answer briefly and plainly. " + _PROSE}],
        "messages": [
            {"role": "user", "content": [{"text": "What does a pointsman do? " + _PROSE}]},
            {"role": "assistant", "content": [{"text": "He sets the points, so that each train takes its track."}]},
            {"role": "user", "content": [{"text": "And who tells him where a train shall stop?"}]},
        ],
    }


def documents() -> dict[str, Any]:
    """About 30,000 tokens of text in ten blocks, and a question."""
    pages = [{"text": f"Page {number}. " + _PROSE * 70} for number in range(10)]
    return {"messages": [{"role": "user", "content": [*pages, {"text": "Who protects a section of the track?"}]}]}


def agent(turns: int = 60, tools: int = 40) -> dict[str, Any]:
    """About 100,000 tokens: 121 messages with 60 tool calls and their results, and 40 tools."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": [{"text": "Find out which trains were late. " * 20}]}]
    for turn in range(turns):
        use = {"toolUseId": f"call-{turn}", "name": f"tool_{turn % tools}", "input": {"station": "Spiez", "day": turn}}
        messages.append({"role": "assistant", "content": [{"text": f"I look at day {turn}."}, {"toolUse": use}]})
        result = {"toolUseId": f"call-{turn}", "content": [{"text": f"Day {turn}. " + _PROSE * 32}]}
        messages.append({"role": "user", "content": [{"toolResult": result}]})
    return {
        "system": [{"text": "You are an agent that reads timetables. " + _PROSE * 20}],
        "messages": messages,
        "toolConfig": {"tools": [{"toolSpec": _tool(number)} for number in range(tools)]},
    }


def _tool(number: int) -> dict[str, Any]:
    properties = {
        f"argument_{index}": {"type": "string", "description": "What the tool is told. " + _PROSE[:60]}
        for index in range(6)
    }
    schema = {"type": "object", "properties": properties, "required": ["argument_0"]}
    return {"name": f"tool_{number}", "description": _PROSE, "inputSchema": {"json": schema}}
