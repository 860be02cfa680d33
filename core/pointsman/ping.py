"""The request by which a warm prefix is read once more: as short as Converse takes it, with one output token.

Knows the shape of a request and what a cache's key depends on; decides nothing, sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.outline import CachePoint, Outline
from pointsman.prompt import Prompt

_THINKING = ("thinking", "reasoning", "reasoning_config", "reasoningConfig")
# Behind what doesn't end with a user's message, since a request has to.
_STUB: Mapping[str, Any] = {"role": "user", "content": [{"text": "."}]}
# What a message of one character comes to with the marks around it, about.
_STUB_TOKENS = 8

_Blocks = Sequence[Mapping[str, Any]]


def why_not(request: Mapping[str, Any]) -> str | None:
    """Why such a request can't be sent again with one output token, or None."""
    fields = request.get("additionalModelRequestFields")
    told = [fields.get(name) for name in _THINKING] if isinstance(fields, Mapping) else []
    if any(one for one in told if not (isinstance(one, Mapping) and one.get("type") == "disabled")):
        return "thinking needs more than one output token, and without it the cache is another"
    if "guardrailConfig" in request:
        return "a guardrail bills each request besides"
    if "promptVariables" in request:
        return "the prompt is kept by Bedrock"
    return None


def ping_request(request: Mapping[str, Any], points: Sequence[CachePoint], after: int) -> dict[str, Any]:
    """The request cut behind the block `after`, or as soon behind it as may be, with the points up to there.

    Messages are cut only where what is left is what Converse takes; the request itself stays as it is.
    """
    prompt = Prompt(request)
    cut = dict(request)
    sections = len(_plain(prompt.tools)), len(_plain(prompt.system))
    if after < sum(sections):
        cut["messages"] = [_STUB]
        kept = _plain(prompt.system)[: max(after + 1 - sections[0], 0)]
        cut.pop("system", None)
        cut |= {"system": kept} if kept else {}
    else:
        cut["messages"] = _messages(prompt.messages, after - sum(sections))
    cut["inferenceConfig"] = {**(request.get("inferenceConfig") or {}), "maxTokens": 1}
    return Prompt(cut).with_cache_points([point for point in points if point.after <= after])


def tokens_besides(request: Mapping[str, Any], outline: Outline, after: int) -> int:
    """How many tokens of such a request stand behind the block `after`; `outline` is that of the whole request."""
    cut = Prompt(ping_request(request, (), after))
    *_, last = messages = cut.messages
    if last is _STUB:
        return _STUB_TOKENS
    blocks = len(_plain(cut.tools)) + len(_plain(cut.system)) + sum(len(_plain(one["content"])) for one in messages)
    return outline.tokens_to(blocks - 1) - outline.tokens_to(after)


def _messages(messages: _Blocks, after: int) -> _Blocks:
    """The messages up to the block `after`, counted from their first one."""
    for index, message in enumerate(messages):
        blocks = _plain(message["content"])
        if after < len(blocks):
            return _ended(messages, index, blocks[: after + 1])
        after -= len(blocks)
    return messages


def _ended(messages: _Blocks, index: int, kept: _Blocks) -> _Blocks:
    """The messages before that one, and of it these blocks, or as many as have to stand together."""
    message = messages[index]
    content = message["content"]
    if message["role"] == "user":
        whole = _count(kept, "toolResult") < _count(content, "toolResult")
        whole = whole or (_count(kept, "document") > 0 and not _count(kept, "text"))
        return [*messages[:index], message if whole else {**message, "content": kept}]
    if message["role"] == "assistant" and not _count(content, "toolUse"):
        return [*messages[:index], {**message, "content": kept}, _STUB]
    # Calls of tools have to be answered.
    following = messages[index + 1 : index + 2]
    return [*messages[: index + 1], *following] if following and following[0]["role"] == "user" else messages


def _plain(blocks: _Blocks) -> list[Mapping[str, Any]]:
    return [block for block in blocks if "cachePoint" not in block]


def _count(blocks: _Blocks, name: str) -> int:
    return sum(name in block for block in blocks)
