"""Who may use an endpoint that has a key: AWS Signature Version 4 and bearer tokens, checked in constant time.

With SigV4 the key is the secret access key, under any access key id; with `Authorization: Bearer` it is the token
itself (boto3 sends its AWS_BEARER_TOKEN_BEDROCK over TLS alone: put a TLS proxy before the endpoint). The signature
is recomputed as https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html tells.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from pointsman.local.refusals import Refusal

_SIGV4: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/]+/(?P<scope>\d{8}/[^/]+/[^/]+/aws4_request), ?"
    r"SignedHeaders=(?P<signed>[\w;.-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_MAX_SKEW_SECONDS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """What a signature covers. `path` and `query` are as they came over the wire; header names are lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def verify(request: SignedRequest, key: str, *, now: float | None = None) -> None:
    """Lets a request pass that proves that it knows the key.

    Raises:
        Refusal: AccessDeniedException or InvalidSignatureException, 403.
    """
    authorization = request.headers.get("authorization", "")
    scheme, _, token = authorization.partition(" ")
    if scheme == "Bearer":
        if not hmac.compare_digest(token.strip().encode(), key.encode()):
            raise Refusal("AccessDeniedException", "The bearer token is not this endpoint's key.")
        return
    match = _SIGV4.fullmatch(authorization)
    if match is None:
        raise Refusal("AccessDeniedException", "This endpoint has a key: sign with SigV4, or send it as bearer token.")
    _check_date(request, match["scope"], time.time() if now is None else now)
    signed = match["signed"].split(";")
    if "host" not in signed:
        raise Refusal("InvalidSignatureException", "The signature must cover the host header.")
    expected = _signature(request, key, match["scope"], signed)
    if not hmac.compare_digest(expected, match["signature"]):
        raise Refusal(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method: the secret is this endpoint's key.",
        )


def _check_date(request: SignedRequest, scope: str, now: float) -> None:
    stamp = request.headers.get("x-amz-date", "")
    try:
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as exc:
        raise Refusal("InvalidSignatureException", "The x-amz-date header is missing or no date.") from exc
    if abs(signed_at - now) > _MAX_SKEW_SECONDS or not scope.startswith(stamp[:8]):
        raise Refusal("InvalidSignatureException", f"Signature expired: {stamp} is not within 5 minutes of now.")


def _signature(request: SignedRequest, key: str, scope: str, signed: list[str]) -> str:
    canonical = "\n".join(
        [
            request.method,
            # Every service but S3 signs the path encoded once more than it is sent.
            quote(request.path or "/", safe="/~"),
            "&".join(sorted(request.query.split("&"))) if request.query else "",
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(request.body).hexdigest(),
        ]
    )
    to_sign = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            request.headers["x-amz-date"],
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    signing_key = f"AWS4{key}".encode()
    for part in scope.split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    return hmac.digest(signing_key, to_sign.encode(), "sha256").hex()
