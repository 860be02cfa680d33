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

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    ReadTimeoutError,
)
from urllib3.exceptions import HTTPError

from pointsman.ask import CallFailedError
from pointsman.bedrock import profile_resolver
from pointsman.errors import InvalidRequestError

KEY_VARIABLE = "POINTSMAN_LOCAL_KEY"
_LOCAL_REGION = "us-east-1"
_READ_SECONDS = 600
_PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A boto3 client of `bedrock-runtime`, and the local endpoint behind it if there is one."""

    runtime: Any
    session: boto3.Session
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
        url = self.url if self.local else None
        return profile_resolver(self.session.client("bedrock", region_name=self.region, endpoint_url=url))(arn)


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
        headers = {}
        if self._key is not None:
            request = AWSRequest(method="GET", url=self._url + path)
            SigV4Auth(Credentials("local", self._key), "bedrock", _LOCAL_REGION).add_auth(request)
            headers = dict(request.headers.items())
        with self._opener.open(
            urllib.request.Request(self._url + path, headers=headers), timeout=_PROBE_SECONDS
        ) as told:
            return json.load(told)


def connect(*, endpoint_url: str | None = None, region: str | None = None, key: str | None = None) -> Connection:
    """A connection to AWS, or to the endpoint at a URL; a local one is recognized and needs no credentials.

    Raises:
        InvalidRequestError: nothing answers there, or credentials or the Region are missing.
    """
    local = _local_status(endpoint_url, key) if endpoint_url else None
    try:
        if local is not None and endpoint_url is not None:
            return _connect_locally(endpoint_url, local, region=region, key=key)
        return _connect_to_aws(endpoint_url, region=region)
    except BotoCoreError as exc:
        raise InvalidRequestError(str(exc)) from exc


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


def _connect_locally(url: str, local: LocalStatus, *, region: str | None, key: str | None) -> Connection:
    session = boto3.Session(
        aws_access_key_id="local", aws_secret_access_key=key or "local", region_name=region or _LOCAL_REGION
    )
    # One attempt, so that botocore never sends a slow request twice; v4, so that no bearer token of AWS is sent here.
    config = Config(read_timeout=_READ_SECONDS, retries={"total_max_attempts": 1}, signature_version="v4", proxies={})
    return Connection(
        runtime=session.client("bedrock-runtime", endpoint_url=url, config=config), session=session, local=local
    )


def _connect_to_aws(url: str | None, *, region: str | None) -> Connection:
    session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"))
    if not session.region_name:
        raise InvalidRequestError("no Region: give --region, or set AWS_REGION.")
    if not os.environ.get("AWS_BEARER_TOKEN_BEDROCK"):
        credentials = session.get_credentials()
        if credentials is None:
            hint = f" (For a local endpoint with a key, set {KEY_VARIABLE}.)" if url else ""
            raise InvalidRequestError(f"no AWS credentials: configure them as for the AWS CLI, or try --local.{hint}")
        credentials.get_frozen_credentials()  # An expired login is found here, not by the first question.
    runtime = session.client("bedrock-runtime", endpoint_url=url, config=Config(read_timeout=_READ_SECONDS))
    return Connection(runtime=runtime, session=session)


@contextmanager
def calls_to(connection: Connection) -> Iterator[None]:
    """Errors of the AWS SDK within the block, as ours.

    Raises:
        CallFailedError: what was sent was refused, or not answered to its end.
        InvalidRequestError: nothing could be sent.
    """
    try:
        yield
    except ClientError as exc:
        told = exc.response.get("Error", {})
        raise CallFailedError(f"{told.get('Code', 'error')} from {connection.url}: {told.get('Message', exc)}") from exc
    except ConnectTimeoutError as exc:
        raise InvalidRequestError(f"nothing answers at {connection.url}: {exc}") from exc
    except (HTTPClientError, ReadTimeoutError, HTTPError) as exc:
        # urllib3's errors come through where a stream breaks while it is read.
        raise CallFailedError(f"the connection to {connection.url} broke: {exc}") from exc
    except BotoCoreError as exc:
        raise InvalidRequestError(f"nothing was sent to {connection.url}: {exc}") from exc
