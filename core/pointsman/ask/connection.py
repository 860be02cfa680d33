"""How `ask` reaches Bedrock or a local endpoint: credentials, Region, timeouts; and what a local endpoint tells.

Nothing here sends a prompt. What is missing is found before a question is sent.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from pointsman.ask import CallFailedError
from pointsman.bedrock import (
    Session,
    aws_session,
    check_region,
    configured_region,
    explain,
    local_session,
    profile_resolver,
    signed_headers,
)
from pointsman.errors import InvalidRequestError

KEY_VARIABLE = "POINTSMAN_LOCAL_KEY"
# Of botocore's settings for other endpoints, those that Bedrock Runtime obeys in the environment; the first wins.
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL")
_PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A boto3 client of `bedrock-runtime`, and the local endpoint behind it if there is one."""

    session: Session
    runtime: Any
    local: LocalStatus | None = None

    @property
    def url(self) -> str:
        """Where requests go."""
        return str(self.runtime.meta.endpoint_url)

    @property
    def region(self) -> str:
        """The Region that is called."""
        return str(self.runtime.meta.region_name)

    def resolve_profile(self, arn: str) -> str:
        """The model behind an application inference profile, by `GetInferenceProfile`."""
        return profile_resolver(self.session.client("bedrock"))(arn)


class LocalStatus:
    """What a local endpoint says of itself beside Bedrock's API. `engine` is the name of its engine."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._key = key
        # A proxy of the environment would not find this machine's own address.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.engine = str(self._get("/_local/health")["engine"])

    def progress(self) -> tuple[int, int] | None:
        """(tokens read, tokens in all) of the youngest running prompt; None if that can't be told."""
        try:
            running = self._get("/_local/progress")["running"]
        except (OSError, HTTPException, ValueError, LookupError, TypeError):
            return None
        youngest = max(running, key=lambda one: one["id"], default=None)
        return (youngest["processed"], youngest["total"]) if youngest and youngest["total"] else None

    def _get(self, path: str) -> Any:
        url = self._url + path
        headers = {} if self._key is None else signed_headers(url, self._key)
        with self._opener.open(urllib.request.Request(url, headers=headers), timeout=_PROBE_SECONDS) as told:
            return json.load(told)


def configured_endpoint() -> str | None:
    """The URL that the environment names for Bedrock Runtime, if it does."""
    return next(filter(None, map(os.environ.get, _ENDPOINT_VARIABLES)), None)


def connect(
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    key: str | None = None,
    without_aws: str = "--local",
) -> Connection:
    """A connection to AWS, or to the endpoint at a URL; a local one is recognized and needs no credentials.

    `endpoint_url` is that of the environment unless it is given. `without_aws`: what the message about missing
    credentials says to try.

    Raises:
        InvalidRequestError: nothing answers there, AWS has no such Region, or credentials or the Region are missing.
    """
    if region is not None:
        check_region(region)
    url = endpoint_url or configured_endpoint()
    local = None if url is None else _local_status(url, key)
    if local is not None and url is not None:
        session = local_session(url, key=key, region=region)
    else:
        hint = f"A local endpoint with a key needs {KEY_VARIABLE}." if url else f"Without AWS: {without_aws}."
        # What the environment names, the SDK finds by itself, and may name others for Bedrock's other services.
        session = _aws_session(endpoint_url, region, hint)
    with calls_to(url or "AWS"):
        return Connection(session=session, runtime=session.client(), local=local)


def _aws_session(endpoint_url: str | None, region: str | None, hint: str) -> Session:
    try:
        called = configured_region(region)
        if not called:
            raise InvalidRequestError("no AWS Region: name one with --region, or set AWS_REGION.")
        session = aws_session(region=called, endpoint_url=endpoint_url)
    except InvalidRequestError as exc:
        raise InvalidRequestError(f"{str(exc).rstrip('.')}. {hint}") from exc
    check_region(called)
    return session


def _local_status(url: str, key: str | None) -> LocalStatus | None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequestError(f"endpoint URL {url!r} is not one, such as http://127.0.0.1:8480.")
    try:
        return LocalStatus(url, key)
    except urllib.error.HTTPError as exc:
        if exc.code == 403 and key is not None:
            raise InvalidRequestError(f"the endpoint at {url} refuses the key of {KEY_VARIABLE}.") from exc
        return None  # Something else than a local endpoint: a gateway, or a VPC endpoint of AWS.
    except (OSError, HTTPException) as exc:
        raise InvalidRequestError(
            f"nothing answers at {url} ({getattr(exc, 'reason', exc)}). Start an endpoint with `pointsman local`."
        ) from exc
    except (ValueError, LookupError, TypeError):
        return None


@contextmanager
def calls_to(where: str) -> Iterator[None]:
    """Errors of the AWS SDK within the block, as ours.

    Raises:
        CallFailedError: what was sent was refused, or not answered to its end.
        InvalidRequestError: nothing could be sent.
    """
    try:
        yield
    except Exception as exc:
        told = explain(exc)
        if told is None:
            raise
        message, sent = told
        raise (CallFailedError if sent else InvalidRequestError)(f"{message} ({where})") from exc
