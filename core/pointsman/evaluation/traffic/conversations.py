"""Conversations whose texts are public, made requests as a client would have sent them: MTRAG and tau-bench.

What the data doesn't tell is assumed, and said here: gaps, the size of tools and system prompts. Shapes as in the
traces' `data/README.md`, read on 2026-11-24.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from math import log
from random import Random
from typing import Any, Literal

from pointsman.evaluation.traffic.request import RecordedRequest
from pointsman.outline import Block, Outline
from pointsman.prompt import Prompt
from pointsman.tokens import EstimatedTokens

Clock = Literal["annotator", "chat"]

# As the reference figures of these traces assume them (their README).
_RAG_SYSTEM_TOKENS = 1500
_CHAT_GAP_SECONDS = 60.0
_TOOL_SCHEMA_TOKENS = 2600
# The spread of people's gaps; tools answer at once, and the model needs some seconds.
_GAP_SIGMA = 1.0
_USER_GAP_SECONDS = 30.0
_TOOL_GAP_SECONDS = 3.0
# Digests of public texts need no secret.
_KEY = b"public"


def mtrag_sessions(
    told: Mapping[str, Any], *, clock: Clock = "annotator", seed: int = 0, laid: bool = False
) -> list[list[RecordedRequest]]:
    """Multi-turn RAG: the raw history, then the retrieved passages and the question in the last message.

    The system prompt has 1,500 tokens. `clock` is the annotators' own, or a chat's: each conversation starts when it
    did, and goes on after gaps with a median of 60 s (lognormal, sigma 1, drawn with `seed`). `laid`: the last message
    is known to stand in this prompt only, as where Pointsman lays the passages.
    """
    random = Random(seed)
    sessions = []
    for place, conversation in enumerate(told["conversations"]):
        requests = list(_mtrag_session(str(place), conversation["messages"], told["docs"], laid=laid))
        sessions.append(_with_chats_gaps(requests, random) if clock == "chat" else requests)
    return sessions


def _mtrag_session(
    session: str, messages: Sequence[Mapping[str, Any]], passages: Mapping[str, Sequence[str]], *, laid: bool
) -> Iterator[RecordedRequest]:
    system = _static_block("system", "mtrag", _RAG_SYSTEM_TOKENS)
    history: list[dict[str, Any]] = []
    for asked, answered in zip(messages[::2], messages[1::2], strict=False):
        documents = "\n\n".join(passages[name][1] for name, _ in answered.get("docs", ()))
        content = [{"text": text} for text in (documents, asked["text"]) if text]
        outline = _behind([system], {"messages": [*history, {"role": "user", "content": content}]})
        outline = outline._replace(volatile_from=len(outline.blocks) - len(content)) if laid else outline
        yield RecordedRequest(session, float(asked["t"]), "", outline, _count(answered["text"]))
        history.append({"role": "user", "content": [{"text": asked["text"]}]})
        history.append({"role": "assistant", "content": [{"text": answered["text"]}]})


def tau_session(told: Mapping[str, Any], policy: str) -> list[RecordedRequest]:
    """One tool-using agent, a request before each of its replies, on a clock that is assumed.

    2,600 tokens of tool schemas are assumed too. The agent goes on 3 s after a tool's result and about 30 s after a
    user's message (median; lognormal, sigma 1, drawn with the session's name).
    """
    session = f"{told['task_id']}-{told['trial']}"
    static = _static_block("tools", "tau", _TOOL_SCHEMA_TOKENS)
    requests: list[RecordedRequest] = []
    gaps: list[float] = []
    messages: list[dict[str, Any]] = []
    for message in told["traj"]:
        if message["role"] == "assistant" and messages:
            outline = _behind([static], {"system": [{"text": policy}], "messages": messages})
            output = _count(message["content"] or "") + _count(str(message["tool_calls"] or ""))
            requests.append(RecordedRequest(session, 0.0, "", outline, output))
            answers_tool = "toolResult" in messages[-1]["content"][0]
            gaps.append(_TOOL_GAP_SECONDS if answers_tool else _USER_GAP_SECONDS)
        if message["role"] != "system":
            messages.append(_converse_message(message, len(messages)))
    return _with_gaps(requests, gaps, Random(session))


def _converse_message(message: Mapping[str, Any], place: int) -> dict[str, Any]:
    if message["role"] == "tool":
        result = {"toolUseId": f"call-{place - 1}", "content": [{"text": message["content"] or "-"}]}
        return {"role": "user", "content": [{"toolResult": result}]}
    content: list[dict[str, Any]] = [{"text": message["content"]}] if message["content"] else []
    for call in message["tool_calls"] or ():
        arguments = {"arguments": call["arguments"]}
        content.append({"toolUse": {"toolUseId": f"call-{place}", "name": call["name"], "input": arguments}})
    return {"role": message["role"], "content": content or [{"text": "-"}]}


def _with_chats_gaps(requests: Sequence[RecordedRequest], random: Random) -> list[RecordedRequest]:
    return _with_gaps(requests, [_CHAT_GAP_SECONDS] * len(requests), random)


def _with_gaps(requests: Iterable[RecordedRequest], medians: Sequence[float], random: Random) -> list[RecordedRequest]:
    """The requests with the first where it was, and the others after gaps of these medians."""
    moved: list[RecordedRequest] = []
    for request, median in zip(requests, medians, strict=True):
        at = moved[-1].at + random.lognormvariate(log(median), _GAP_SIGMA) if moved else request.at
        moved.append(request._replace(at=at))
    return moved


_COUNTER = EstimatedTokens()


def _behind(static: Sequence[Block], request: Mapping[str, Any]) -> Outline:
    return Outline.of_blocks([*static, *Prompt(request).outline(_COUNTER, key=_KEY).blocks])


def _static_block(section: str, name: str, tokens: int) -> Block:
    kind = "tool" if section == "tools" else "text"
    return Block(section, None, kind, blake2b(f"{name}|{section}".encode(), digest_size=16).digest(), tokens)


def _count(text: str) -> int:
    return _COUNTER.count(kinds=["text"], sizes=[len(text.encode())])[0]
