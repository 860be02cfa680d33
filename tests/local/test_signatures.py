"""An endpoint with a key: SigV4 as botocore signs it, bearer tokens, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.errors import InvalidRequestError
from pointsman.local import LocalEndpoint, Settings, serve
from pointsman.local.refusals import Refusal
from pointsman.local.signatures import SignedRequest, verify

KEY = "correct horse battery staple"
HAIKU = "us.anthropic.claude-haiku-5-5"
ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/meta.llama:1"
MESSAGES = [{"role": "user", "content": [{"text": "Höre: what is it?"}]}]
SEGMENT = st.text("abcXYZ019-._~:%/ äé+=&", min_size=1, max_size=20)


@pytest.fixture(scope="module")
def guarded() -> Iterator[LocalEndpoint]:
    with LocalEndpoint(key=KEY) as endpoint:
        yield endpoint


@pytest.mark.parametrize("model", [HAIKU, ROUTER])
def test_the_secret_is_the_key_under_any_access_key_id(model: str, guarded: LocalEndpoint) -> None:
    runtime = guarded.client(aws_access_key_id="AKIAWHOEVER", aws_secret_access_key=KEY)
    assert runtime.converse(modelId=model, messages=MESSAGES)["stopReason"] == "end_turn"
    events = [name for event in runtime.converse_stream(modelId=model, messages=MESSAGES)["stream"] for name in event]
    assert events[-1] == "metadata"


def test_the_control_plane_is_signed_too(guarded: LocalEndpoint) -> None:
    control = guarded.client("bedrock", aws_session_token="temporary/token==")
    assert control.list_prompt_routers(maxResults=2, type="default")["promptRouterSummaries"]
    assert control.get_prompt_router(promptRouterArn=ROUTER)["type"] == "default"


def test_a_wrong_secret_is_refused(guarded: LocalEndpoint, refused: Callable[..., Any]) -> None:
    runtime = guarded.client(aws_secret_access_key="wrong")
    code, status, message = refused(lambda: runtime.converse(modelId=HAIKU, messages=MESSAGES))
    assert (code, status) == ("InvalidSignatureException", 403)
    assert "signature we calculated does not match" in message


@pytest.mark.parametrize(("token", "status"), [(KEY, 200), (KEY[:-1], 403), ("", 403)])
def test_the_key_is_taken_as_bearer_token(token: str, status: int, guarded: LocalEndpoint) -> None:
    """By raw HTTP: botocore sends bearer tokens over TLS alone."""
    reply = httpx.post(
        f"{guarded.url}/model/{HAIKU}/converse",
        json={"messages": MESSAGES},
        headers={"authorization": f"Bearer {token}".strip()},
    )
    assert reply.status_code == status
    if status == 403:
        assert reply.headers["x-amzn-errortype"] == "AccessDeniedException"


@pytest.mark.parametrize("authorization", [None, "Basic abc", "Bearer", "Bearer wrong", "AWS4-HMAC-SHA256 nonsense"])
@pytest.mark.parametrize("path", ["/prompt-routers", "/_local/account", "/elsewhere"])
def test_nothing_is_served_without_a_proof(authorization: str | None, path: str, guarded: LocalEndpoint) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    reply = httpx.get(guarded.url + path, headers=headers)
    assert (reply.status_code, reply.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")


def signed(
    *, method: str = "POST", url: str = "http://127.0.0.1:8480/model/a/converse", body: bytes = b"{}", key: str = KEY
) -> SignedRequest:
    request = AWSRequest(method=method, url=url, data=body, headers={"content-type": "application/json"})
    SigV4Auth(Credentials("AKIA", key, "session"), "bedrock", "us-east-1").add_auth(request)
    prepared = request.prepare()
    sent = httpx.Request(method, prepared.url, headers=dict(prepared.headers.items()), content=body)
    path, _, query = sent.url.raw_path.decode().partition("?")
    return SignedRequest(method=method, path=path, query=query, headers=sent.headers, body=body)


def changed(request: SignedRequest, **members: Any) -> SignedRequest:
    return SignedRequest(**{name: members.get(name, getattr(request, name)) for name in SignedRequest.__slots__})


@settings(max_examples=300, deadline=None)
@given(
    segment=SEGMENT,
    query=st.dictionaries(st.sampled_from(["maxResults", "type", "nextToken"]), SEGMENT, max_size=3),
    body=st.binary(max_size=100),
)
def test_what_botocore_signs_is_verified(segment: str, query: dict[str, str], body: bytes) -> None:
    url = f"http://127.0.0.1:8480/model/{quote(segment, safe='')}/converse"
    if query:
        url += "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    verify(signed(url=url, body=body), KEY)


def test_whatever_is_changed_after_signing_is_noticed() -> None:
    request = signed(url="http://127.0.0.1:8480/model/a/converse?type=default")
    verify(request, KEY)
    later = dict(request.headers) | {"x-amz-date": request.headers["x-amz-date"][:-3] + "99Z"}
    for tampered in [
        changed(request, method="GET"),
        changed(request, path="/model/b/converse"),
        changed(request, query="type=custom"),
        changed(request, body=b"{ }"),
        changed(request, headers={**request.headers, "host": "elsewhere"}),
        changed(request, headers={**request.headers, "x-amz-security-token": "other"}),
        changed(request, headers=later),
    ]:
        with pytest.raises(Refusal) as caught:
            verify(tampered, KEY)
        assert caught.value.code == "InvalidSignatureException"


def test_an_old_signature_is_refused() -> None:
    request = signed()
    verify(request, KEY, now=time.time() + 290)
    with pytest.raises(Refusal, match="Signature expired"):
        verify(request, KEY, now=time.time() + 302)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.com", ""])
def test_other_machines_are_let_in_only_with_a_key(host: str) -> None:
    with pytest.raises(InvalidRequestError, match="Give it a key"):
        serve(Settings(), host=host)
    with pytest.raises(InvalidRequestError, match="Give it a key"):
        LocalEndpoint(host=host)


def test_with_a_key_it_listens_elsewhere() -> None:
    with LocalEndpoint(host="0.0.0.0", key=KEY) as endpoint:
        url = endpoint.url.replace("0.0.0.0", "127.0.0.1")
        runtime = endpoint.client(endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))
        assert runtime.converse(modelId=HAIKU, messages=MESSAGES)["stopReason"] == "end_turn"


def test_the_key_is_in_no_repr() -> None:
    assert KEY not in repr(Settings(key=KEY))
