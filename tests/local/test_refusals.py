"""What the endpoint refuses, with Bedrock's codes and texts, and what it passes over in silence."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from botocore.exceptions import ParamValidationError
from botocore.loaders import Loader

from pointsman.local import LocalEndpoint
from pointsman.local.refusals import STATUS

CLAUDE = "us.anthropic.claude-haiku-5-5"
CLAUDE_5M = "us.anthropic.claude-sonnet-4-20250514-v1:0"
NOVA = "us.amazon.nova-lite-v1:0"
LLAMA = "us.meta.llama3-1-8b-instruct-v1:0"
POINT = {"cachePoint": {"type": "default"}}
POINT_1H = {"cachePoint": {"type": "default", "ttl": "1h"}}
TOOL = {
    "toolSpec": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
}
TEXT = {"text": "What is said here?"}
MARKDOWN = {"document": {"name": "notes", "format": "md", "source": {"bytes": b"# Notes"}}}
CALL = {"toolUse": {"toolUseId": "one", "name": "get_weather", "input": {}}}
RESULT = {"toolResult": {"toolUseId": "one", "content": [{"text": "sunny"}]}}
REASONING = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}
IMAGE = {"image": {"format": "png", "source": {"bytes": b"png"}}}


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def assistant(*content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def tools(*entries: dict[str, Any], **choice: Any) -> dict[str, Any]:
    return {"tools": list(entries), **choice}


def says(*messages: dict[str, Any], model: str = CLAUDE, **members: Any) -> dict[str, Any]:
    return {"modelId": model, "messages": list(messages), **members}


SCHEMA = {
    "textFormat": {
        "type": "json_schema",
        "structure": {"jsonSchema": {"schema": '{"type":"object","properties":{"a":{"type":"string"}}}'}},
    }
}

CACHE_POINT_REFUSALS = {
    "first in a message": (
        says(user(POINT, TEXT)),
        "ValidationException",
        "There is nothing available to cache.",
    ),
    "first in system": (says(user(TEXT), system=[POINT]), "ValidationException", "There is nothing available"),
    "first in tools": (
        says(user(TEXT), toolConfig=tools(POINT, TOOL)),
        "ValidationException",
        "There is nothing available",
    ),
    "first in a later message": (
        says(user(TEXT), assistant(TEXT), user(POINT, TEXT)),
        "ValidationException",
        "There is nothing available",
    ),
    "after reasoning": (
        says(user(TEXT), assistant(REASONING, POINT, TEXT), user(TEXT)),
        "ValidationException",
        "Cache point cannot be inserted after reasoning block",
    ),
    "after a document that is no PDF, Claude": (
        says(user(TEXT, MARKDOWN, POINT)),
        "ValidationException",
        "messages.0.content.2.type: Field required",
    ),
    "after a document that is no PDF, Nova": (
        says(user(TEXT, MARKDOWN, POINT), model=NOVA),
        "ValidationException",
        "#/messages/0/content/2: extraneous key [cachePoint] is not permitted",
    ),
    "in tools, Nova": (
        says(user(TEXT), model=NOVA, toolConfig=tools(TOOL, POINT)),
        "ValidationException",
        "Malformed input request: #/toolConfig/tools/1: extraneous key [cachePoint] is not permitted",
    ),
    "in a message with a tool result, Nova": (
        says(user(TEXT), assistant(CALL), user(RESULT, POINT), model=NOVA, toolConfig=tools(TOOL)),
        "ValidationException",
        "#/messages/2/content/1: extraneous key [cachePoint] is not permitted",
    ),
    "on a model without caching": (
        says(user(TEXT, POINT), model=LLAMA),
        "AccessDeniedException",
        "You invoked an unsupported model or your request did not allow prompt caching",
    ),
    "five of them": (
        says(user(*[TEXT, POINT] * 5)),
        "ValidationException",
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "a longer TTL after a shorter one": (
        says(user(TEXT, POINT_1H), system=[{"text": "Be brief."}, POINT]),
        "ValidationException",
        "must not come after a ttl='5m'",
    ),
    "a TTL that the model has not": (
        says(user(TEXT, POINT_1H), model=CLAUDE_5M),
        "ValidationException",
        "doesn't support a cache ttl of 1h",
    ),
    "a TTL that no model has": (
        says(user(TEXT, {"cachePoint": {"type": "default", "ttl": "2h"}})),
        "ValidationException",
        "Value '2h' at 'messages.1.member.content.2.member.cachePoint.ttl' failed to satisfy constraint: "
        "Member must satisfy enum value set: [5m, 1h]",
    ),
}

CONVERSATION_REFUSALS = {
    "no message": (says(), "must start with a user message"),
    "an assistant first": (says(assistant(TEXT)), "must start with a user message"),
    "two user messages": (says(user(TEXT), user(TEXT)), "must alternate between user and assistant roles"),
    "no content": (says(user()), "The content field in the Message object at messages.0 is empty"),
    "blank text": (says(user({"text": " "})), "The text field in the ContentBlock object at messages.0.content.0"),
    "blank system text": (says(user(TEXT), system=[{"text": "\n"}]), "at system.0 is blank"),
    "too many tokens asked": (
        says(user(TEXT), inferenceConfig={"maxTokens": 128_001}),
        "exceeds the model limit of 128000",
    ),
    "temperature beyond 1": (
        says(user(TEXT), model=NOVA, inferenceConfig={"temperature": 1.5}),
        "Member must have value less than or equal to 1",
    ),
    "a tool result without a call": (
        says(user(RESULT), toolConfig=tools(TOOL)),
        "exceeds the number of toolUse blocks of previous turn",
    ),
    "a tool call without its result": (
        says(user(TEXT), assistant(CALL), user(TEXT), toolConfig=tools(TOOL)),
        "Expected toolResult blocks at messages.2.content for the following Ids: one",
    ),
    "a tool result for another call": (
        says(
            user(TEXT),
            assistant(CALL),
            user({"toolResult": {"toolUseId": "two", "content": [{"text": "x"}]}}),
            toolConfig=tools(TOOL),
        ),
        "Expected toolResult blocks at messages.2.content for the following Ids: one",
    ),
    "tool blocks without toolConfig": (
        says(user(TEXT), assistant(CALL), user(RESULT)),
        "The toolConfig field must be defined",
    ),
    "two tools of one name": (says(user(TEXT), toolConfig=tools(TOOL, TOOL)), "duplicate names"),
    "a forced tool that is not there": (
        says(user(TEXT), toolConfig=tools(TOOL, toolChoice={"tool": {"name": "other"}})),
        "not among toolConfig.tools",
    ),
    "two documents of one name": (says(user(TEXT, MARKDOWN, MARKDOWN)), "duplicate document names"),
    "a document name with a dot": (
        says(user(TEXT, {"document": {**MARKDOWN["document"], "name": "notes.md"}})),
        "The document file name can only contain",
    ),
    "a document without text": (says(user(MARKDOWN)), "must also have a text block"),
    "an image of the assistant": (says(user(TEXT), assistant(IMAGE), user(TEXT)), "in user messages only"),
    "a broken PDF": (
        says(user(TEXT, {"document": {"name": "broken", "format": "pdf", "source": {"bytes": b"%PDF-1.7 no"}}})),
        "The PDF specified was not valid",
    ),
    "a format that can't be read": (
        says(user(TEXT, {"document": {"name": "sheet", "format": "xlsx", "source": {"bytes": b"PK"}}})),
        "can't read xlsx documents",
    ),
    "an output schema that is no JSON": (
        says(
            user(TEXT),
            model="anthropic.claude-sonnet-4-6",
            outputConfig={
                "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{"}}},
            },
        ),
        "is not JSON",
    ),
}

CAPABILITY_REFUSALS = {
    "an image": (says(user(TEXT, IMAGE), model=LLAMA), "image content block"),
    "temperature": (
        says(user(TEXT), model="us.anthropic.claude-opus-5-5", inferenceConfig={"temperature": 0.5}),
        "doesn't support the temperature field",
    ),
    "a forced tool": (
        says(
            user(TEXT),
            model="us.anthropic.claude-sonnet-5-5",
            toolConfig=tools(TOOL, toolChoice={"any": {}}),
        ),
        "This model doesn't support the toolConfig.toolChoice.any field. Remove toolConfig.toolChoice.any",
    ),
    "structured output": (
        says(user(TEXT), model="us.anthropic.claude-sonnet-5-5", outputConfig=SCHEMA),
        "doesn't support the outputConfig.textFormat field",
    ),
}


@pytest.mark.parametrize("case", CACHE_POINT_REFUSALS)
def test_a_cache_point_is_refused(case: str, runtime: Any, refused: Callable[..., Any]) -> None:
    request, code, message = CACHE_POINT_REFUSALS[case]
    got_code, status, got_message = refused(lambda: runtime.converse(**request))
    assert (got_code, status) == (code, 403 if code == "AccessDeniedException" else 400)
    assert message in got_message
    assert refused(lambda: runtime.converse_stream(**request)) == (got_code, status, got_message)


@pytest.mark.parametrize("case", CONVERSATION_REFUSALS)
def test_a_conversation_is_refused(case: str, runtime: Any, refused: Callable[..., Any]) -> None:
    request, message = CONVERSATION_REFUSALS[case]
    code, status, got_message = refused(lambda: runtime.converse(**request))
    assert (code, status) == ("ValidationException", 400)
    assert message in got_message


@pytest.mark.parametrize("case", CAPABILITY_REFUSALS)
def test_what_a_model_cannot_do_is_refused(case: str, runtime: Any, refused: Callable[..., Any]) -> None:
    request, message = CAPABILITY_REFUSALS[case]
    code, status, got_message = refused(lambda: runtime.converse(**request))
    assert (code, status) == ("ValidationException", 400)
    assert message in got_message


def test_tools_are_refused_in_a_stream_only_where_the_model_streams_none(
    runtime: Any, refused: Callable[..., Any]
) -> None:
    request = says(user(TEXT), model=LLAMA, toolConfig=tools(TOOL))
    assert runtime.converse(**request)["stopReason"] == "end_turn"
    _, _, message = refused(lambda: runtime.converse_stream(**request))
    assert message == "This model doesn't support tool use in streaming mode."


def test_a_prompt_beyond_the_context_window_is_refused(
    runtime: Any, refused: Callable[..., Any], text: Callable[..., str]
) -> None:
    request = says(user({"text": text(128_001)}, TEXT), model=LLAMA)
    code, status, message = refused(lambda: runtime.converse(**request))
    assert (code, status, message) == ("ValidationException", 400, "Input is too long for requested model.")


@pytest.mark.parametrize("model", ["nobody.knows-this-v1:0", "xx.anthropic.claude-haiku-5-5", "gpt"])
@pytest.mark.filterwarnings("error")
def test_an_unknown_model_is_refused(model: str, runtime: Any, refused: Callable[..., Any]) -> None:
    assert refused(lambda: runtime.converse(**says(user(TEXT), model=model))) == (
        "ValidationException",
        400,
        "The provided model identifier is invalid.",
    )


def test_an_unknown_router_is_not_found(runtime: Any, refused: Callable[..., Any]) -> None:
    arn = "arn:aws:bedrock:us-east-1:123412341234:prompt-router/abcdefabcdef"
    code, status, _ = refused(lambda: runtime.converse(**says(user(TEXT), model=arn)))
    assert (code, status) == ("ResourceNotFoundException", 404)


def test_botocore_refuses_a_cache_point_in_a_tool_result_and_so_does_the_endpoint(
    endpoint: LocalEndpoint, runtime: Any
) -> None:
    result = {"toolResult": {"toolUseId": "one", "content": [{"text": "sunny"}, POINT]}}
    request = says(user(TEXT), assistant(CALL), user(result), toolConfig=tools(TOOL))
    with pytest.raises(ParamValidationError):
        runtime.converse(**request)
    del request["modelId"]
    reply = httpx.post(f"{endpoint.url}/model/{CLAUDE}/converse", json=request)
    assert reply.status_code == 400
    assert reply.headers["x-amzn-errortype"] == "ValidationException"
    assert "toolResult.content.2.member is invalid" in reply.json()["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b'{"messages": 1}', "Provide a list"),
        (b'{"messages": [{"role": "user"}]}', "Member must not be null"),
        (b'{"messages": [{"role": "user", "content": [{"text": "a", "cachePoint": {}}]}]}', "must not be null"),
        (b'{"messages": [{"role": "user", "content": [{"text": "a", "odd": 1}]}]}', "exactly one of"),
        (b'{"messages": [{"role": "user", "content": [{"text": 7}]}]}', "Provide a string"),
        (b'{"inferenceConfig": {"maxTokens": true}}', "Provide a number"),
    ],
)
def test_raw_bodies_of_another_shape_are_refused(body: bytes, message: str, endpoint: LocalEndpoint) -> None:
    reply = httpx.post(f"{endpoint.url}/model/{CLAUDE}/converse", content=body)
    assert (reply.status_code, reply.headers["x-amzn-errortype"]) == (400, "ValidationException")
    assert message in reply.json()["message"]


def test_a_blob_that_is_no_base64_is_refused(endpoint: LocalEndpoint) -> None:
    document = {"name": "a", "format": "txt", "source": {"bytes": "***"}}
    body = {"messages": [{"role": "user", "content": [TEXT, {"document": document}]}]}
    assert "Provide base64" in httpx.post(f"{endpoint.url}/model/{CLAUDE}/converse", json=body).json()["message"]
    document["source"] = {"bytes": base64.b64encode(b"fine").decode()}
    assert httpx.post(f"{endpoint.url}/model/{CLAUDE}/converse", json=body).status_code == 200


@pytest.mark.parametrize(
    ("model", "minimum"),
    [(CLAUDE, 512), ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 4096), (CLAUDE_5M, 1024), (NOVA, 1536)],
)
def test_below_the_minimum_a_point_is_passed_over_in_silence(
    model: str, minimum: int, runtime: Any, text: Callable[..., str]
) -> None:
    def usage(tokens: int) -> tuple[int, int]:
        reply = runtime.converse(**says(user({"text": text(tokens - 4)}, POINT, TEXT), model=model))
        return reply["usage"]["inputTokens"], reply["usage"]["cacheWriteInputTokens"]

    rest = usage(minimum)[0]
    assert usage(minimum) == (rest, 0)  # written before, so it is read now
    assert usage(minimum - 1) == (minimum - 1 + rest, 0)


def test_beyond_novas_maximum_a_point_is_passed_over_in_silence(runtime: Any, text: Callable[..., str]) -> None:
    def written(tokens: int) -> int:
        reply = runtime.converse(**says(user({"text": text(tokens - 4)}, POINT, TEXT), model=NOVA))
        return int(reply["usage"]["cacheWriteInputTokens"])

    assert written(20_000) == 20_000
    assert written(20_001) == 0


@pytest.mark.parametrize("cited", [True, False])
def test_a_cited_document_may_bear_a_point(cited: bool, runtime: Any) -> None:
    document = {**MARKDOWN["document"], "citations": {"enabled": cited}}
    request = says(user(TEXT, {"document": document}, POINT))
    if cited:
        assert runtime.converse(**request)["stopReason"] == "end_turn"
    else:
        with pytest.raises(runtime.exceptions.ValidationException):
            runtime.converse(**request)


def test_codes_have_the_status_of_botocores_model() -> None:
    shapes = {
        name: shape["error"]["httpStatusCode"]
        for service in ("bedrock", "bedrock-runtime")
        for name, shape in Loader().load_service_model(service, "service-2")["shapes"].items()
        if "error" in shape
    }
    told = {code: status for code, status in STATUS.items() if code in shapes}
    assert told == {code: shapes[code] for code in told}
    assert set(STATUS) - set(told) == {"InvalidSignatureException", "UnknownOperationException"}
