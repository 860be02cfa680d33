"""The AWS SDK's side: raw usage in both spellings, errors by what botocore puts on them, inference profiles."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EventStreamError

from pointsman import Catalog, profile_resolver
from pointsman.bedrock import read_failure, read_reply, read_usage, region_of
from pointsman.cache import Refusal
from pointsman.local import LocalEndpoint
from pointsman.usage import Usage

USAGES = [
    ({"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, Usage(input_tokens=10, output_tokens=5)),
    (
        {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 20},
        Usage(input_tokens=130, cache_read_tokens=100, cache_write_tokens=20, output_tokens=5),
    ),
    (
        {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokenCount": 100, "cacheWriteInputTokenCount": 20},
        Usage(input_tokens=130, cache_read_tokens=100, cache_write_tokens=20, output_tokens=5),
    ),
    (
        {
            "inputTokens": 0,
            "outputTokens": 1,
            "cacheReadInputTokens": 0,
            "cacheWriteInputTokens": 50,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 30}, {"ttl": "5m", "inputTokens": 20}],
        },
        Usage(input_tokens=50, cache_write_tokens=50, cache_write_1h_tokens=30, output_tokens=1),
    ),
    ({"inputTokens": 3, "cacheReadInputTokens": None, "outputTokens": None}, Usage(input_tokens=3)),
    ({}, Usage()),
]


@pytest.mark.parametrize(("raw", "usage"), USAGES)
def test_usage_is_read_into_inclusive_buckets(raw: dict[str, Any], usage: Usage) -> None:
    """Bedrock's `inputTokens` leaves cached tokens out; ours are inclusive, from both spellings."""
    assert read_usage(raw) == usage


def test_no_usage_is_none() -> None:
    """What is unknown is None, never zero."""
    assert read_usage(None) is None


def test_a_reply_tells_what_a_router_of_aws_invoked() -> None:
    """`trace.promptRouter.invokedModelId` and the stop reason are read, wherever they are missing None."""
    raw = {"stopReason": "end_turn", "usage": {}, "trace": {"promptRouter": {"invokedModelId": "some-arn"}}}
    reply, bare = read_reply(raw, at=7.0), read_reply({"trace": None}, at=7.0)
    assert (reply.invoked_model_id, reply.stop_reason, reply.at, reply.complete) == ("some-arn", "end_turn", 7.0, True)
    assert (bare.invoked_model_id, bare.stop_reason, bare.usage) == (None, None, None)


def _error(code: str, message: str = "", status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Converse")  # type: ignore[arg-type]  # botocore-stubs want more metadata


@pytest.mark.parametrize(
    ("code", "status", "unavailable"),
    [
        ("ThrottlingException", 429, True),
        ("ModelNotReadyException", 429, True),
        ("ServiceUnavailableException", 503, True),
        ("ModelTimeoutException", 408, True),
        ("throttlingException", 200, True),
        ("serviceUnavailableException", 200, True),
        ("ValidationException", 400, False),
        ("AccessDeniedException", 403, False),
        ("InternalServerException", 500, False),
        ("ModelErrorException", 424, False),
        ("ModelStreamErrorException", 424, False),
    ],
)
def test_which_errors_another_model_may_help(code: str, status: int, unavailable: bool) -> None:
    """Throttled, not ready, unavailable, timed out: in an HTTP error and in a stream's frame."""
    failure = read_failure(_error(code, status=status), {}, at=1.0)
    assert (failure.code, failure.unavailable, failure.refusal) == (code, unavailable, None)


def test_a_streams_error_is_read_too() -> None:
    """botocore raises EventStreamError, with the same response."""
    error = EventStreamError({"Error": {"Code": "throttlingException", "Message": "slow down"}}, "ConverseStream")
    assert read_failure(error, {}, at=1.0).unavailable


def test_errors_without_a_response_are_named_by_their_class() -> None:
    """A broken connection is not another model's matter."""
    failure = read_failure(ConnectTimeoutError(endpoint_url="http://x"), {}, at=1.0)
    assert (failure.code, failure.unavailable, failure.refusal) == ("ConnectTimeoutError", False, None)


_MESSAGES = [
    {"role": "user", "content": [{"document": {"format": "txt", "name": "a", "source": {}}}, {"cachePoint": {}}]},
]
REFUSALS = [
    (
        "You invoked an unsupported model or your request did not allow prompt caching. See the documentation.",
        403,
        Refusal(),
    ),
    (
        "Malformed input request: #/toolConfig/tools/1: extraneous key [cachePoint] is not permitted, "
        "please reformat your input and try again.",
        400,
        Refusal(section="tools"),
    ),
    (
        "Malformed input request: #/system/1: extraneous key [cachePoint] is not permitted",
        400,
        Refusal(section="system"),
    ),
    (
        "Malformed input request: #/messages/0/content/1: extraneous key [cachePoint] is not permitted",
        400,
        Refusal(section="messages", kind="document"),
    ),
    (
        "Malformed input request: #/messages/7/content/1: extraneous key [cachePoint] is not permitted",
        400,
        Refusal(section="messages"),
    ),
    ("Cache point cannot be inserted after reasoning block", 400, Refusal(section="messages", kind="reasoning")),
    ("The provided model identifier is invalid.", 400, None),
    ("prompt caching failed for another reason", 500, None),
]


@pytest.mark.parametrize(("message", "status", "refusal"), REFUSALS)
def test_which_cache_point_was_refused(message: str, status: int, refusal: Refusal | None) -> None:
    """From the JSON pointer or the words of a 400 or 403 that names caching."""
    failure = read_failure(_error("ValidationException", message, status), {"messages": _MESSAGES}, at=1.0)
    assert failure.refusal == refusal


def test_the_region_of_a_boto3_client(boto3_client: Any) -> None:
    """Read from `meta`; without it there is none."""
    assert region_of(boto3_client) == "us-east-1"
    assert region_of(object()) is None


def test_application_inference_profiles_are_resolved_by_the_control_plane() -> None:
    """GetInferenceProfile over HTTP tells the model behind the ARN; the ARN stays what is invoked."""
    arn = "arn:aws:bedrock:us-east-1:123412341234:application-inference-profile/team-a"
    with LocalEndpoint(application_profiles={arn: "us.anthropic.claude-haiku-5-5"}) as endpoint:
        catalog = Catalog.default(resolver=profile_resolver(endpoint.client("bedrock")))
        model = catalog.resolve(arn)
    assert (model.id, model.invoke_id, model.known) == ("anthropic.claude-haiku-5-5", arn, True)
