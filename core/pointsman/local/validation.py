"""What a conversation may hold, and what a model may be asked for, with Bedrock's texts.

Shapes are checked before, cache points after. The capabilities are the catalogue's. Texts: as Bedrock words them
where a report quotes it (roles, blank text, tool results, maximum tokens, toolChoice); in the same style elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from pointsman.catalog import Capabilities, Model
from pointsman.local.blocks import ConverseRequest
from pointsman.local.refusals import invalid, unsupported_field

_DOCUMENT_NAME: Final = re.compile(r"(?!.*\s\s)[\w\s\-()\[\]]+")
Content = Sequence[Mapping[str, Any]]


def check_conversation(request: ConverseRequest) -> None:
    """Refuses what no model takes.

    Raises:
        Refusal: ValidationException.
    """
    _check_roles(request.messages)
    for index, message in enumerate(request.messages):
        _check_content(message["content"], f"messages.{index}.content")
        _check_attachments(message, index)
    for position, block in enumerate(request.body.get("system", ())):
        _check_text(block, f"system.{position}", "SystemContentBlock")
    _check_tool_turns(request)
    _check_document_names(request.messages)


def check_capabilities(request: ConverseRequest, model: Model, *, streamed: bool) -> None:
    """Refuses what this model can't do.

    Raises:
        Refusal: ValidationException.
    """
    _check_max_tokens(request, model)
    can = model.capabilities
    kinds = {block.kind for block in request.blocks}
    if not can.images and "image" in kinds:
        raise invalid("This model doesn't support the image content block that you provided. Remove it and try again.")
    if not can.documents and kinds & {"document", "pdf"}:
        raise invalid("This model doesn't support documents.")
    if kinds & {"tool", "tool_use", "tool_result"}:
        if not can.tools:
            raise invalid("This model doesn't support tool use.")
        if streamed and not can.streamed_tools:
            raise invalid("This model doesn't support tool use in streaming mode.")
    if not can.temperature and "temperature" in request.inference:
        raise unsupported_field("temperature")
    if not can.structured_output and request.output_schema is not None:
        raise unsupported_field("outputConfig.textFormat")
    _check_thinking(request, can)
    _check_tool_choice(request, can)


def check_context(tokens: int, model: Model) -> None:
    """Refuses a prompt that does not fit the model's context window.

    Raises:
        Refusal: ValidationException.
    """
    if model.context_window is not None and tokens > model.context_window:
        raise invalid("Input is too long for requested model.")


def _check_roles(messages: Sequence[Mapping[str, Any]]) -> None:
    if not messages or messages[0]["role"] != "user":
        raise invalid(
            "A conversation must start with a user message. "
            "Try again with a conversation that starts with a user message."
        )
    for before, after in pairwise(messages):
        if before["role"] == after["role"] or after["role"] == "system":
            raise invalid(
                "A conversation must alternate between user and assistant roles. "
                "Make sure the conversation alternates between user and assistant roles and try again."
            )


def _check_content(content: Content, path: str) -> None:
    if not content:
        raise invalid(
            f"The content field in the Message object at {path.removesuffix('.content')} is empty. "
            "Add a ContentBlock object to the content field and try again."
        )
    for position, block in enumerate(content):
        _check_text(block, f"{path}.{position}", "ContentBlock")


def _check_text(block: Mapping[str, Any], path: str, name: str) -> None:
    if "text" in block and not block["text"].strip():
        raise invalid(
            f"The text field in the {name} object at {path} is blank. Add text to the text field, and try again."
        )


def _check_attachments(message: Mapping[str, Any], index: int) -> None:
    attached = {member for block in message["content"] for member in block if member in ("image", "document", "video")}
    if not attached:
        return
    if message["role"] != "user":
        raise invalid(f"messages.{index}: {', '.join(sorted(attached))} blocks are allowed in user messages only.")
    if "document" in attached and not any("text" in block for block in message["content"]):
        raise invalid(f"messages.{index}: a message with a document block must also have a text block.")


def _check_document_names(messages: Sequence[Mapping[str, Any]]) -> None:
    seen: set[str] = set()
    for document in _documents(messages):
        name = document["name"]
        if not _DOCUMENT_NAME.fullmatch(name):
            raise invalid(
                "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, "
                "parentheses, and square brackets. The name can't contain more than one consecutive whitespace "
                f"character. Edit the document file name {name!r} and try again."
            )
        if name in seen:
            raise invalid(f"Messages contain duplicate document names ({name}). Give each document its own name.")
        seen.add(name)


def _documents(messages: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        for block in message["content"]:
            if "document" in block:
                yield block["document"]
            for item in block.get("toolResult", {}).get("content", ()):
                if "document" in item:
                    yield item["document"]


def _check_tool_turns(request: ConverseRequest) -> None:
    expected: list[str] = []
    uses_tools = False
    for index, message in enumerate(request.messages):
        results = [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
        calls = [block["toolUse"]["toolUseId"] for block in message["content"] if "toolUse" in block]
        uses_tools = uses_tools or bool(results or calls)
        _check_results(results, expected, index)
        if calls and message["role"] != "assistant":
            raise invalid(f"messages.{index}: toolUse blocks are allowed in assistant messages only.")
        if len(set(calls)) < len(calls):
            raise invalid(f"The toolUse blocks at messages.{index}.content contain duplicate Ids.")
        expected = calls
    if uses_tools and "toolConfig" not in request.body:
        raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
    names = [tool["name"] for tool in request.tools]
    if len(set(names)) < len(names):
        raise invalid("The tools in toolConfig have duplicate names. Give each tool its own name.")


def _check_results(results: Sequence[str], expected: Sequence[str], index: int) -> None:
    if len(results) > len(expected):
        raise invalid(
            f"The number of toolResult blocks at messages.{index}.content exceeds the number of toolUse blocks "
            "of previous turn."
        )
    missing = [one for one in expected if one not in results]
    if missing or len(set(results)) < len(results):
        raise invalid(
            f"Expected toolResult blocks at messages.{index}.content for the following Ids: {', '.join(expected)}"
        )


def _check_max_tokens(request: ConverseRequest, model: Model) -> None:
    asked, limit = request.inference.get("maxTokens"), model.max_output_tokens
    if asked is not None and limit is not None and asked > limit:
        raise invalid(
            f"The maximum tokens you requested exceeds the model limit of {limit}. "
            f"Try again with a maximum tokens value that is lower than {limit}."
        )


def _check_thinking(request: ConverseRequest, can: Capabilities) -> None:
    fields = request.body.get("additionalModelRequestFields")
    thinking = fields.get("thinking") if isinstance(fields, Mapping) else None
    if not can.thinking and isinstance(thinking, Mapping) and thinking.get("type") != "disabled":
        raise invalid("thinking: Extra inputs are not permitted")


def _check_tool_choice(request: ConverseRequest, can: Capabilities) -> None:
    choice = request.tool_choice
    if choice is None or "auto" in choice:
        return
    member = next(iter(choice))
    if not can.forced_tool_choice:
        raise unsupported_field(f"toolConfig.toolChoice.{member}")
    if member == "tool" and choice["tool"]["name"] not in {tool["name"] for tool in request.tools}:
        raise invalid(f"The tool {choice['tool']['name']!r} of toolConfig.toolChoice is not among toolConfig.tools.")
