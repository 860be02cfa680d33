"""Ten conversations whose caching is broken, each in one way, and each as it would be without the fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"
RULES = " ".join(f"Signal {number} protects section {number}." for number in range(300))
POINT = {"cachePoint": {"type": "default"}}
TURNS = 5

Request = dict[str, Any]


class Broken(NamedTuple):
    """The requests; without `faulty` as they should be. What is to be found: the cause, where, and from which on."""

    name: str
    requests: Callable[[bool], list[Request]]
    what: str
    where: str = ""
    first: int = 1


def user(*texts: str) -> Request:
    return {"role": "user", "content": [{"text": text} for text in texts]}


def assistant(text: str) -> Request:
    return {"role": "assistant", "content": [{"text": text}]}


def tool(name: str, **properties: Any) -> Request:
    schema = {"type": "object", "properties": {"station": {"type": "string"}, **properties}}
    return {"toolSpec": {"name": name, "description": f"All {name} of a station.", "inputSchema": {"json": schema}}}


def messages(turns: int) -> list[Request]:
    """A question, and so many less one that follow, each of some hundred tokens with its answer."""
    asked = [user(f"What protects section 0? {RULES[:900]}")]
    for turn in range(1, turns):
        asked += [assistant(f"Signal {turn}. {RULES[turn * 90 : turn * 90 + 900]}"), user(f"And section {turn}?")]
    return asked


def request(turn: int, **changed: Any) -> Request:
    """The request of a turn, from 0 on, a minute after the one before it."""
    return {
        "at": 60.0 * turn,
        "modelId": HAIKU,
        "toolConfig": {"tools": [tool("departures"), tool("arrivals"), tool("platforms")]},
        "system": [{"text": RULES}, {"text": "Answer in one sentence."}],
        "messages": messages(turn + 1),
        **changed,
    }


def of_turns(*faults: Callable[[int], Request]) -> Callable[[bool], list[Request]]:
    """The requests of all turns, with what the fault changes in each."""
    return lambda faulty: [request(turn, **(faults[0](turn) if faulty else {})) for turn in range(TURNS)]


def _timestamp(turn: int) -> Request:
    return {"system": [{"text": RULES}, {"text": f"Answer in one sentence. Today is 24 November 2026, 9:{turn + 10}."}]}


def _reordered(turn: int) -> Request:
    names = ["departures", "arrivals", "platforms"] if turn != 2 else ["departures", "platforms", "arrivals"]
    return {"toolConfig": {"tools": [tool(name) for name in names]}}


def _schema(turn: int) -> Request:
    tracks = {"track": {"type": "integer", "enum": list(range(turn + 3))}}
    return {"toolConfig": {"tools": [tool("departures"), tool("arrivals", **tracks), tool("platforms")]}}


def _trimmed(turn: int) -> Request:
    return {"messages": messages(turn + 1)[-5:]}


def _late(turn: int) -> Request:
    return {"at": 60.0 * turn + 7200.0 * (turn >= 3)}


def _switched(turn: int) -> Request:
    return {"modelId": SONNET if turn == 3 else HAIKU}


def _id(turn: int) -> Request:
    return {"system": [{"text": f"Request {UUID(int=turn * 7**40 + 5**50)}.\n{RULES}"}, {"text": "Be brief."}]}


def _just_under(faulty: bool) -> list[Request]:
    """One question after another under a system prompt that is a little too short for the model."""
    system = RULES[:1500] if faulty else RULES[:2500]
    questions = [f"What protects section {turn}? {'Please look it up. ' * 40}" for turn in range(3)]
    return [
        {"at": 60.0 * turn, "modelId": HAIKU, "system": [{"text": system}, POINT], "messages": [user(question)]}
        for turn, question in enumerate(questions)
    ]


def _fan_out(faulty: bool) -> list[Request]:
    """All calls of one turn at once, and points where frameworks put them: behind the system prompt and at the end."""
    calls = 25 if faulty else 8
    used = [{"toolUse": {"toolUseId": f"t{n}", "name": "arrivals", "input": {"station": n}}} for n in range(calls)]
    results = [{"toolResult": {"toolUseId": f"t{n}", "content": [{"text": f"At {n}: 9."}]}} for n in range(calls)]
    asked = [user(RULES), {"role": "assistant", "content": used}, {"role": "user", "content": results}]
    return [_pointed(request(turn, messages=asked[: 2 * turn + 1])) for turn in range(2)]


def _pointed(one: Request) -> Request:
    *history, last = one["messages"]
    last = {**last, "content": [*last["content"], POINT]}
    return {**one, "system": [*one["system"], POINT], "messages": [*history, last]}


def _document(faulty: bool) -> list[Request]:
    """The caller's point right behind a text document, or behind the text that follows it."""
    document = {"document": {"format": "txt", "name": "rules", "source": {"text": RULES}}}
    about = {"text": "These are the rules."}
    content = [document, POINT, about] if faulty else [document, about, POINT]
    first = {"role": "user", "content": [*content, {"text": "What protects section 0?"}]}
    return [request(turn, messages=[first, *messages(turn + 1)[1:]]) for turn in range(3)]


TEN = (
    Broken("timestamp", of_turns(_timestamp), "a timestamp", "block 1 of system"),
    Broken("reordered tools", of_turns(_reordered), "a reordered tool", "block 1 of tools", 2),
    Broken("changed schema", of_turns(_schema), "a changed schema", "block 1 of tools"),
    Broken("trimmed history", of_turns(_trimmed), "a trimmed history", "block 0 of messages (message 0)", 3),
    Broken("just under the minimum", _just_under, "below minimum"),
    Broken("TTL passed", of_turns(_late), "TTL passed", "", 3),
    Broken("model switched", of_turns(_switched), "model switched", "", 3),
    Broken("wide tool fan-out", _fan_out, "look-back exceeded"),
    Broken("point after a text document", _document, "refused point", "messages", 0),
    Broken("random id", of_turns(_id), "an id", "block 0 of system"),
)
