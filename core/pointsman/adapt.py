"""What a model can't take: why it is set aside, or how the request is changed for it, each change named.

Only requests that a router decided on are adapted; where the caller named the model, Bedrock's word counts.
Knows capabilities and the shape of a request; knows nothing of quality, cost or caching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from pointsman.catalog import Model
from pointsman.outline import Outline
from pointsman.prompt import Prompt

_THINKING_FIELDS = ("thinking", "reasoning_config", "reasoningConfig")


class Change(NamedTuple):
    """One thing that was changed for the chosen model: where in the request, and what was done and why."""

    field: str
    done: str


def why_not(prompt: Prompt, outline: Outline, model: Model, *, streaming: bool) -> str | None:
    """Why the model can't serve the request, or None if it can. A forced tool choice is told apart (below)."""
    can, kinds = model.capabilities, outline.kinds
    if model.context_window is not None and outline.tokens > model.context_window:
        return f"prompt has about {outline.tokens:,} tokens, the context window {model.context_window:,}"
    if "image" in kinds and not can.images:
        return "takes no images"
    if kinds & {"document", "pdf"} and not can.documents:
        return "takes no documents"
    if "tool" in kinds and not can.tools:
        return "takes no tools"
    if "tool" in kinds and streaming and not can.streamed_tools:
        return "takes no tools when streaming"
    if prompt.output_schema is not None and not can.structured_output:
        return "gives no structured output"
    return None


def cannot_be_forced(prompt: Prompt, model: Model) -> bool:
    """Whether the request forces a tool and the model can't be forced: weakened only if no candidate can."""
    return prompt.forces_tool and not model.capabilities.forced_tool_choice


def adapt(prompt: Prompt, outline: Outline, model: Model, *, written_for: Model) -> tuple[Prompt, tuple[Change, ...]]:
    """The prompt as the model takes it, and what was changed. The given prompt stays as it is.

    `written_for` is the router's fallback model: `additionalModelRequestFields` are its provider's own.
    """
    request = dict(prompt.request)
    changes: list[Change] = []
    for adaptation in _ADAPTATIONS:
        changes.extend(adaptation(request, model, written_for))
    if "reasoning" in outline.kinds:
        changes.extend(_foreign_reasoning(request, model))
    return (replace(prompt, request=request), tuple(changes)) if changes else (prompt, ())


def _sampling(request: dict[str, Any], model: Model, _: Model) -> Iterator[Change]:
    config = request.get("inferenceConfig") or {}
    if model.capabilities.temperature:
        return
    for name in ("temperature", "topP"):
        if name in config:
            config = {key: value for key, value in config.items() if key != name}
            yield Change(f"inferenceConfig.{name}", f"left out: {model.id} takes none")
            request["inferenceConfig"] = config


def _longest_output(request: dict[str, Any], model: Model, _: Model) -> Iterator[Change]:
    config = request.get("inferenceConfig") or {}
    most, asked = model.max_output_tokens, config.get("maxTokens")
    if most is not None and asked is not None and asked > most:
        request["inferenceConfig"] = {**config, "maxTokens": most}
        yield Change("inferenceConfig.maxTokens", f"lowered from {asked} to {most}, the most that {model.id} gives")


def _tool_choice(request: dict[str, Any], model: Model, _: Model) -> Iterator[Change]:
    if cannot_be_forced(Prompt(request), model):
        request["toolConfig"] = {**request["toolConfig"], "toolChoice": {"auto": {}}}
        yield Change("toolConfig.toolChoice", f"weakened to auto: {model.id} can't be forced, nor could any candidate")


def _additional_fields(request: dict[str, Any], model: Model, written_for: Model) -> Iterator[Change]:
    fields = request.get("additionalModelRequestFields")
    if not isinstance(fields, Mapping) or not fields:
        return
    if model.provider != written_for.provider:
        del request["additionalModelRequestFields"]
        yield Change("additionalModelRequestFields", f"left out: written for {written_for.provider}")
        return
    thinking = [name for name in _THINKING_FIELDS if name in fields]
    if thinking and not model.capabilities.thinking:
        kept = {name: value for name, value in fields.items() if name not in thinking}
        request["additionalModelRequestFields"] = kept
        yield Change(f"additionalModelRequestFields.{thinking[0]}", f"left out: {model.id} doesn't think aloud")


def _foreign_reasoning(request: dict[str, Any], model: Model) -> Iterator[Change]:
    messages = request["messages"]
    kept = [_without_foreign_reasoning(message, model) for message in messages]
    dropped = sum(len(old["content"]) - len(new["content"]) for old, new in zip(messages, kept, strict=True))
    if dropped:
        request["messages"] = kept
        yield Change("messages", f"{dropped} reasoning blocks left out: not {model.id}'s own kind")


def _without_foreign_reasoning(message: Mapping[str, Any], model: Model) -> Mapping[str, Any]:
    content = [block for block in message["content"] if not _is_foreign(block, model)]
    # A message of nothing but reasoning stays: an empty one would be refused for certain.
    return message if not content or len(content) == len(message["content"]) else {**message, "content": content}


def _is_foreign(block: Mapping[str, Any], model: Model) -> bool:
    """Whether it is reasoning that the model would refuse: signed (Claude's) where it takes none, or the reverse."""
    reasoning = block.get("reasoningContent")
    if reasoning is None:
        return False
    if not model.capabilities.thinking:
        return True
    signed = "redactedContent" in reasoning or "signature" in (reasoning.get("reasoningText") or {})
    return signed != model.capabilities.signed_reasoning


_Adaptation = Callable[[dict[str, Any], Model, Model], Iterator[Change]]
_ADAPTATIONS: tuple[_Adaptation, ...] = (
    _sampling,
    _longest_output,
    _tool_choice,
    _additional_fields,
)
