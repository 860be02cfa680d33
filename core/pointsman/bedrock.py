"""The AWS SDK's side of things: raw replies and usage, errors, inference profiles. Nothing else knows them.

Errors are told by what botocore puts on them, so that anything with boto3's `converse` can be driven.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pointsman.cache import Refusal
from pointsman.catalog import ProfileResolver
from pointsman.errors import InvalidRequestError
from pointsman.flow import Failure, Reply
from pointsman.outline import block_kind
from pointsman.usage import Usage

# Another model may serve what these refuse. In a stream the same codes come in lower camel case.
_UNAVAILABLE = frozenset(
    {
        "throttlingexception",
        "modelnotreadyexception",
        "serviceunavailableexception",
        "modeltimeoutexception",
    }
)

# The refusals that Bedrock was seen to give to cache points (LibreChat#13838, litellm PR#39210, strands-agents PR#3677
# and #1966, opencode#36517; read 2026-11-22).
_NAMES_CACHING = re.compile(r"cache.?point|prompt caching|available to cache|cache_control", re.IGNORECASE)
_POINTER = re.compile(r"(toolConfig[/.]tools|system|messages)(?:[/.](\d+))?(?:[/.]content[/.](\d+))?")


def read_reply(raw: Mapping[str, Any], *, at: float) -> Reply:
    """A Converse reply, or the `metadata` event of a stream, as the flow takes it."""
    router = (raw.get("trace") or {}).get("promptRouter") or {}
    return Reply(
        usage=read_usage(raw.get("usage")),
        at=at,
        stop_reason=raw.get("stopReason"),
        invoked_model_id=router.get("invokedModelId"),
    )


def read_usage(raw: Mapping[str, Any] | None) -> Usage | None:
    """Bedrock's counters, in both spellings that they have had; its `inputTokens` leaves cached tokens out."""
    if raw is None:
        return None
    read = raw.get("cacheReadInputTokens", raw.get("cacheReadInputTokenCount")) or 0
    written = raw.get("cacheWriteInputTokens", raw.get("cacheWriteInputTokenCount")) or 0
    details = raw.get("cacheDetails")
    return Usage(
        input_tokens=(raw.get("inputTokens") or 0) + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=sum(one["inputTokens"] for one in details if one.get("ttl") == "1h") if details else 0,
        output_tokens=raw.get("outputTokens") or 0,
    )


def read_failure(error: Exception, request: Mapping[str, Any], *, at: float) -> Failure:
    """What a raised error means for the flow: whether another model, or fewer cache points, may help."""
    response = getattr(error, "response", None)
    told = response.get("Error") or {} if isinstance(response, Mapping) else {}
    code, message = str(told.get("Code") or type(error).__name__), str(told.get("Message") or "")
    status = (response.get("ResponseMetadata") or {}).get("HTTPStatusCode") if isinstance(response, Mapping) else None
    refused = status in (400, 403) and _NAMES_CACHING.search(message) is not None
    return Failure(
        error=error,
        code=code,
        at=at,
        unavailable=code.lower() in _UNAVAILABLE,
        points_refused=refused,
        refusal=_refusal(message, status, request) if refused else None,
    )


def _refusal(message: str, status: int | None, request: Mapping[str, Any]) -> Refusal | None:
    """Which points were refused: all by a model that doesn't cache (403), else what the message tells of."""
    if status == 403:
        return Refusal()
    if "after reasoning block" in message:
        return Refusal(section="messages", kind="reasoning")
    match = _POINTER.search(message)
    if match is None:
        return None
    section = match[1].partition("Config")[2].strip("/.") or match[1]
    if section != "messages" or match[2] is None or match[3] is None:
        return Refusal(section=section)
    try:
        before = request["messages"][int(match[2])]["content"][int(match[3]) - 1]
    except (LookupError, TypeError):
        return Refusal(section=section)
    return Refusal(section=section, kind=block_kind(before))


def region_of(client: Any) -> str | None:
    """The Region that a boto3 client calls, if it tells."""
    return getattr(getattr(client, "meta", None), "region_name", None)


def with_pool(config: Any) -> Any:
    """botocore's `Config` with room for 64 calls at once, unless it says otherwise; without one there is for 10."""
    from botocore.config import Config

    pool = Config(max_pool_connections=_CONNECTIONS)
    return pool if config is None else pool.merge(config)


def profile_resolver(control_plane: Any) -> ProfileResolver:
    """Resolves application inference profiles by `GetInferenceProfile` of a boto3 `bedrock` client.

    Needs the permission `bedrock:GetInferenceProfile`.
    """

    def resolve(arn: str) -> str:
        models = control_plane.get_inference_profile(inferenceProfileIdentifier=arn)["models"]
        return str(models[0]["modelArn"])

    return resolve


_CONNECTIONS = 64
# A first question about long documents may take minutes on a small machine.
_READ_SECONDS = 600
_LOCAL_REGION = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who calls, from which Region, and where to: what boto3 clients are made of."""

    boto3_session: Any
    config: Any
    endpoint_url: str | None = None

    def client(self, service: str = "bedrock-runtime") -> Any:
        """A boto3 client."""
        return self.boto3_session.client(service, endpoint_url=self.endpoint_url, config=self.config)


def configured_region(named: str | None = None) -> str | None:
    """The Region that was named, else that of the environment or of the AWS configuration; None if none is set.

    Raises:
        InvalidRequestError: the configuration can't be used, such as for a profile that it doesn't hold.
    """
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        found: str | None = boto3.Session(region_name=named or os.environ.get("AWS_REGION")).region_name
    except BotoCoreError as exc:
        raise InvalidRequestError(f"AWS can't be called: {exc}") from exc
    return found


@cache
def check_region(region: str) -> str:
    """The Region, if a partition of AWS has names like it, by the SDK's own data: one that is too new for that passes.

    Raises:
        InvalidRequestError: none has.
    """
    from botocore.exceptions import UnknownRegionError
    from botocore.loaders import create_loader
    from botocore.regions import EndpointResolver

    try:
        # Without a session, which can't be made where the configuration is broken.
        EndpointResolver(create_loader().load_data("endpoints")).get_partition_for_region(region)
    except UnknownRegionError as exc:
        raise InvalidRequestError(f"unknown Region {region!r}. Name one of AWS, such as us-east-1.") from exc
    return region


def aws_session(*, region: str | None = None, endpoint_url: str | None = None) -> Session:
    """A session with the default chain of credentials and Region; both are looked up now.

    Raises:
        InvalidRequestError: one of them is missing or can't be used.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    region = configured_region(region)
    if not region:
        raise InvalidRequestError("no AWS Region: name one, or set AWS_REGION.")
    try:
        session = boto3.Session(region_name=region)
        bearer = os.environ.get("AWS_BEARER_TOKEN_BEDROCK")
        credentials = None if bearer else session.get_credentials()
        if credentials is not None:
            credentials.get_frozen_credentials()  # An expired login is found here, not by the first call.
    except BotoCoreError as exc:
        raise InvalidRequestError(f"AWS can't be called: {exc}") from exc
    if credentials is None and not bearer:
        raise InvalidRequestError("no AWS credentials: configure them as for the AWS CLI.")
    return Session(boto3_session=session, config=Config(read_timeout=_READ_SECONDS), endpoint_url=endpoint_url)


def local_session(endpoint_url: str, *, key: str | None = None, region: str | None = None) -> Session:
    """A session with a local endpoint, which needs no credentials but its key, if it has one."""
    import boto3
    from botocore.config import Config

    session = boto3.Session(
        aws_access_key_id="local", aws_secret_access_key=key or "local", region_name=region or _LOCAL_REGION
    )
    config = Config(
        read_timeout=_READ_SECONDS,
        retries={"total_max_attempts": 1},  # A slow request must not be sent twice.
        signature_version="v4",  # Else a bearer token that is meant for AWS would be sent here.
        proxies={},
    )
    return Session(boto3_session=session, config=config, endpoint_url=endpoint_url)


def signed_headers(url: str, key: str) -> dict[str, str]:
    """Headers that prove to a local endpoint, for a GET of this URL, that its key is known."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(method="GET", url=url)
    SigV4Auth(Credentials("local", key), "bedrock", _LOCAL_REGION).add_auth(request)
    return dict(request.headers.items())


def explain(error: Exception) -> tuple[str, bool] | None:
    """An error of the AWS SDK in one line, and whether a request had been sent; None for any other error."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, HTTPClientError
    from urllib3.exceptions import HTTPError

    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        return f"{told.get('Code', 'error')}: {told.get('Message', error)}", True
    if isinstance(error, ConnectTimeoutError):
        return f"nothing answers: {error}", False
    if isinstance(error, HTTPClientError | HTTPError):
        # urllib3's errors come through where a stream breaks while it is read.
        return f"the connection broke: {error}", True
    return (str(error), False) if isinstance(error, BotoCoreError) else None
