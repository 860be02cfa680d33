"""What a chosen model can't take is a reason to set it aside, or changed for it with the change named."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from pointsman import Catalog, Model, Prompt
from pointsman.adapt import adapt, cannot_be_forced, why_not
from pointsman.catalog import Capabilities
from pointsman.tokens import EstimatedTokens

CATALOG = Catalog.default()
CLAUDE = CATALOG.resolve("anthropic.claude-sonnet-4-5-20250929-v1:0")
NOVA = CATALOG.resolve("amazon.nova-lite-v1:0")
IMAGE = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
PDF = {"document": {"format": "pdf", "name": "a", "source": {"bytes": b"%PDF"}}}
TOOL = {"toolSpec": {"name": "a", "inputSchema": {"json": {}}}}
Request = dict[str, Any]


def able(**capabilities: Any) -> Model:
    """A Claude with other capabilities."""
    limits = {name: capabilities.pop(name) for name in ("context_window", "max_output_tokens") if name in capabilities}
    return replace(CLAUDE, capabilities=Capabilities(**capabilities), **limits)


def asked(*content: Request, **request: Any) -> Prompt:
    return Prompt({"messages": [{"role": "user", "content": [*content, {"text": "What is it?"}]}], **request})


def reason(prompt: Prompt, model: Model, *, streaming: bool = False) -> str | None:
    return why_not(prompt, prompt.outline(EstimatedTokens()), model, streaming=streaming)


def adapted(request: Request, model: Model, *, written_for: Model = CLAUDE) -> tuple[Any, list[str]]:
    """The adapted request and the fields that were changed."""
    prompt = Prompt(request)
    before = copy.deepcopy(request)
    changed, changes = adapt(prompt, prompt.outline(EstimatedTokens()), model, written_for=written_for)
    assert request == before, "the caller's request stays as it is"
    assert (changed is prompt) == (not changes)
    return changed.request, [change.field for change in changes]


# --- set aside --------------------------------------------------------------------------------------------------

_IN_RESULT = {"toolResult": {"toolUseId": "1", "content": [IMAGE]}}
_SCHEMA = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{}"}}}}


@pytest.mark.parametrize(
    ("prompt", "model", "why"),
    [
        (asked(IMAGE), able(images=False), "takes no images"),
        (asked(_IN_RESULT), able(images=False), "takes no images"),
        (asked(PDF), able(documents=False), "takes no documents"),
        (asked(toolConfig={"tools": [TOOL]}), able(tools=False), "takes no tools"),
        (asked(outputConfig=_SCHEMA), able(structured_output=False), "gives no structured output"),
        (asked({"text": "long " * 4_000}), able(context_window=1_000), "context window 1,000"),
    ],
    ids=["image", "image in a tool result", "document", "tools", "structured output", "context window"],
)
def test_a_model_that_cannot_serve_is_told_why(prompt: Prompt, model: Model, why: str) -> None:
    """And one that can is not."""
    assert why in (reason(prompt, model) or "")
    assert reason(prompt, able(context_window=200_000)) is None


def test_tools_that_cannot_be_streamed() -> None:
    """Only a stream is a reason to set the model aside."""
    prompt, model = asked(toolConfig={"tools": [TOOL]}), able(streamed_tools=False)
    assert reason(prompt, model, streaming=True) == "takes no tools when streaming"
    assert reason(prompt, model) is None


def test_effort_alone_asks_for_no_structured_output() -> None:
    """`outputConfig` holds more than the schema."""
    assert reason(asked(outputConfig={"effort": "low"}), able(structured_output=False)) is None


@pytest.mark.parametrize(
    ("choice", "forced"), [({"any": {}}, True), ({"tool": {"name": "a"}}, True), ({"auto": {}}, False), (None, False)]
)
def test_who_cannot_be_forced(choice: Request | None, forced: bool) -> None:
    """A forced tool choice is told apart: it may be weakened."""
    config = {"tools": [TOOL], **({"toolChoice": choice} if choice else {})}
    prompt = asked(toolConfig=config)
    assert cannot_be_forced(prompt, able(forced_tool_choice=False)) == forced
    assert not cannot_be_forced(prompt, able())


# --- adapted ----------------------------------------------------------------------------------------------------


def test_what_a_model_takes_is_left_alone() -> None:
    """The very same prompt, and no change."""
    request = {
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "inferenceConfig": {"temperature": 0.5, "maxTokens": 100},
        "additionalModelRequestFields": {"top_k": 5},
    }
    assert adapted(request, CLAUDE) == (request, [])


def test_sampling_parameters_that_a_model_does_not_take() -> None:
    """Temperature and topP are left out, the rest of the config stays."""
    request, fields = adapted(
        {"inferenceConfig": {"temperature": 0.5, "topP": 0.9, "maxTokens": 10}}, able(temperature=False)
    )
    assert request == {"inferenceConfig": {"maxTokens": 10}}
    assert fields == ["inferenceConfig.temperature", "inferenceConfig.topP"]


@pytest.mark.parametrize(("asked_for", "given"), [(9_000, 5_000), (5_000, 5_000), (10, 10)])
def test_max_tokens_are_lowered_to_what_the_model_gives(asked_for: int, given: int) -> None:
    """Bedrock would refuse more."""
    request, fields = adapted({"inferenceConfig": {"maxTokens": asked_for}}, able(max_output_tokens=5_000))
    assert request["inferenceConfig"]["maxTokens"] == given
    assert fields == (["inferenceConfig.maxTokens"] if given < asked_for else [])


def test_a_forced_tool_choice_is_weakened_where_it_must_be() -> None:
    """To `auto`; the tools stay."""
    given = {"toolConfig": {"tools": [TOOL], "toolChoice": {"any": {}}}}
    request, fields = adapted(given, able(forced_tool_choice=False))
    assert request == {"toolConfig": {"tools": [TOOL], "toolChoice": {"auto": {}}}}
    assert fields == ["toolConfig.toolChoice"]
    assert adapted(given, able()) == (given, [])


def test_fields_written_for_another_provider_are_left_out() -> None:
    """`additionalModelRequestFields` are the fallback model's provider's own."""
    given = {"additionalModelRequestFields": {"top_k": 5}}
    assert adapted(given, NOVA, written_for=CLAUDE) == ({}, ["additionalModelRequestFields"])
    assert adapted(given, CLAUDE, written_for=CLAUDE) == (given, [])
    assert adapted({"additionalModelRequestFields": {}}, NOVA) == ({"additionalModelRequestFields": {}}, [])


@pytest.mark.parametrize("field", ["thinking", "reasoning_config", "reasoningConfig"])
def test_thinking_is_left_out_where_a_model_does_not_think(field: str) -> None:
    """The other fields stay."""
    given = {"additionalModelRequestFields": {field: {"type": "enabled"}, "top_k": 5}}
    request, fields = adapted(given, able(thinking=False))
    assert request == {"additionalModelRequestFields": {"top_k": 5}}
    assert fields == [f"additionalModelRequestFields.{field}"]


SIGNED = {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "c2ln"}}}
REDACTED = {"reasoningContent": {"redactedContent": b"hidden"}}
PLAIN = {"reasoningContent": {"reasoningText": {"text": "Hm"}}}
TEXT = {"text": "It is a lever."}


@pytest.mark.parametrize(
    ("content", "model", "kept"),
    [
        ([SIGNED, TEXT], able(), [SIGNED, TEXT]),
        ([REDACTED, TEXT], able(), [REDACTED, TEXT]),
        ([PLAIN, TEXT], able(), [TEXT]),
        ([SIGNED, REDACTED, TEXT], able(signed_reasoning=False), [TEXT]),
        ([PLAIN, TEXT], able(signed_reasoning=False), [PLAIN, TEXT]),
        ([SIGNED, TEXT], able(thinking=False), [TEXT]),
        ([PLAIN, TEXT], able(thinking=False), [TEXT]),
        ([SIGNED], able(thinking=False), [SIGNED]),
    ],
    ids=[
        "its own",
        "its own, redacted",
        "unsigned on Claude",
        "signed elsewhere",
        "unsigned elsewhere",
        "signed where none is taken",
        "unsigned where none is taken",
        "nothing but reasoning",
    ],
)
def test_reasoning_of_another_kind_is_left_out(content: list[Request], model: Model, kept: list[Request]) -> None:
    """A message of nothing else stays: an empty one would be refused for certain."""
    question = {"role": "user", "content": [{"text": "What is it?"}]}
    request, fields = adapted({"messages": [question, {"role": "assistant", "content": content}, question]}, model)
    assert request["messages"] == [question, {"role": "assistant", "content": kept}, question]
    assert fields == (["messages"] if kept != content else [])
