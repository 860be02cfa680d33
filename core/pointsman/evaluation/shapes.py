"""Whether a request from a file is of Converse's shape, and if not, where. Knows shapes; reads no file.

What is wrong is told by its place and kind, never by its text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pointsman.errors import InvalidRequestError

EXAMPLE: Final = 'Converse\'s shape is {"modelId": "...", "messages": [{"role": "user", "content": [{"text": "..."}]}]}'
# Fields of a whole request that Converse doesn't have, and those that have them do.
_OTHERS_FIELDS: Final = ("anthropic_version", "max_tokens", "max_completion_tokens", "tools", "tool_choice")
_KINDS: Final = {str: "a text", list: "a list", dict: "an object", bool: "true or false"}


def check_shape(request: Mapping[str, Any]) -> None:
    """Refuses what is not of Converse's shape, by the first field that shows it.

    Raises:
        InvalidRequestError: names the field, and what stands there; or whose shape it is.
    """
    if (whose := _whose(request)) is not None:
        raise InvalidRequestError(f"it is of {whose}, which is not read: {EXAMPLE}.")
    for name, wanted in (("modelId", str), ("toolConfig", dict)):
        if request.get(name) is not None:
            _check(name, request[name], wanted)
    tools = (request.get("toolConfig") or {}).get("tools")
    for name, blocks in (("toolConfig.tools", tools), ("system", request.get("system"))):
        if blocks is not None:
            _check_blocks(name, blocks)
    _check("messages", request["messages"], list)
    for place, message in enumerate(request["messages"]):
        _check(f"messages[{place}]", message, dict)
        for name in ("role", "content"):
            if name not in message:
                raise InvalidRequestError(f"messages[{place}]: it has no {name!r}. {EXAMPLE}.")
        _check(f"messages[{place}].role", message["role"], str)
        _check_blocks(f"messages[{place}].content", message["content"])


def _whose(request: Mapping[str, Any]) -> str | None:
    """Whose shape it is, in words; None if it may be Converse's."""
    messages = request["messages"] if isinstance(request["messages"], list) else []
    if any(isinstance(one, Mapping) and ("lc" in one or ("type" in one and "role" not in one)) for one in messages):
        return "LangChain's shape"
    told = next((name for name in _OTHERS_FIELDS if name in request), None)
    if told is not None:
        return f"the shape of InvokeModel or OpenAI (it has {told!r})"
    contents = [one.get("content") for one in messages if isinstance(one, Mapping)]
    lists = [one for one in (request.get("system"), *contents) if isinstance(one, list)]
    if any(isinstance(block, Mapping) and "type" in block for blocks in lists for block in blocks):
        return "the shape of InvokeModel or OpenAI (its blocks have a 'type')"
    return None


def _check_blocks(name: str, blocks: Any) -> None:
    if not isinstance(blocks, list):
        raise InvalidRequestError(f"{name} is no list of blocks, but {_found(blocks)}. {EXAMPLE}.")
    for place, block in enumerate(blocks):
        if not isinstance(block, Mapping) or not block:
            found = _found(block) if block != {} else "an empty object"
            raise InvalidRequestError(f"{name} is no list of blocks: [{place}] is {found}. {EXAMPLE}.")
        for kind, content in block.items():
            _check_content(f"{name}[{place}].{kind}", kind, content)


def _check_content(name: str, kind: str, content: Any) -> None:
    if kind == "json":
        return
    _check(name, content, str if kind == "text" else dict)
    if kind == "toolResult":
        _check_blocks(f"{name}.content", content.get("content"))


def _check(name: str, value: Any, wanted: type) -> None:
    if not isinstance(value, wanted):
        raise InvalidRequestError(f"{name} is {_found(value)}, and should be {_KINDS[wanted]}. {EXAMPLE}.")


def _found(value: Any) -> str:
    return "nothing" if value is None else _KINDS.get(type(value), "a number")
