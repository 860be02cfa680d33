"""The drop-in for a boto3 client: what it forwards, refuses, adds, and what three documents cost through it."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pdfs import pdf

from pointsman import (
    Catalog,
    Client,
    InvalidRequestError,
    Ledger,
    PointsmanWarning,
    Router,
    RouterRegistry,
    RoutingCriteria,
)
from pointsman.cache import Reuse
from pointsman.errors import RouterNotFoundError
from pointsman.local import LocalEndpoint
from pointsman.tokens import EstimatedTokens
from pointsman.trace import Trace

ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"
HELLO = [{"role": "user", "content": [{"text": "Describe the purpose of a 'hello world' program in one line."}]}]


# --- what is forwarded ------------------------------------------------------------------------------------------


def test_attributes_of_the_boto3_client_are_its_own(client: Client, boto3_client: Any) -> None:
    """`meta`, `exceptions`, waiters, paginators and operations that we don't touch are the boto3 client's."""
    assert client.meta is boto3_client.meta
    assert client.exceptions is boto3_client.exceptions
    assert client.can_paginate("converse") is False
    assert client.apply_guardrail == boto3_client.apply_guardrail


def test_exceptions_can_be_caught_by_the_clients_own_classes(client: Client, endpoint: LocalEndpoint) -> None:
    """Code that catches `client.exceptions.ThrottlingException` goes on to work."""
    endpoint.faults.inject("throttle")
    with pytest.raises(client.exceptions.ThrottlingException):
        client.converse(modelId=HAIKU, messages=HELLO)


def test_an_attribute_that_boto3_lacks_is_missing(client: Client) -> None:
    """There is no attribute that neither we nor boto3 have."""
    with pytest.raises(AttributeError):
        _ = client.no_such_operation


def test_it_survives_being_looked_at_half_made() -> None:
    """copy and pickle ask an instance without attributes for dunder names; that must not recurse."""
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        copy.copy(Client.__new__(Client)).meta  # noqa: B018 - the access is the test


def test_the_reply_is_boto3s_with_two_keys_more(client: Client, boto3_client: Any) -> None:
    """Through a router the reply gains `pointsman` and `trace`; with a model named, `pointsman` only."""
    keys = boto3_client.converse(modelId=HAIKU, messages=HELLO).keys()
    assert client.converse(modelId=HAIKU, messages=HELLO).keys() - keys == {"pointsman"}
    assert client.converse(modelId=ROUTER, messages=HELLO).keys() - keys == {"pointsman", "trace"}


def test_the_callers_request_is_not_changed(client: Client) -> None:
    """What the caller passes is as it was after the call, over HTTP too."""
    request = {"modelId": ROUTER, "system": [{"text": "Be brief. " * 900}], "messages": HELLO}
    before = copy.deepcopy(request)
    client.converse(**request)
    assert request == before


def test_anything_with_boto3s_converse_will_do() -> None:
    """Without `meta` there is no Region; the router's models are then invoked from that of its ARN."""

    class Own:
        def converse(self, **request: Any) -> dict[str, Any]:
            return {"output": {}, "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "asked": request}

    reply = Client(Own()).converse(modelId=ROUTER.replace("us-east-1", "eu-west-1"), messages=HELLO)
    assert reply["asked"]["modelId"] == "eu.anthropic.claude-haiku-5-5"


def test_a_stop_that_is_no_exception_passes_through() -> None:
    """KeyboardInterrupt is nobody's failed call: it is not held up."""

    class Interrupted:
        def converse(self, **_: Any) -> dict[str, Any]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Client(Interrupted()).converse(modelId=ROUTER, messages=HELLO)


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["invoke_model", "invoke_model_with_response_stream"])
@pytest.mark.parametrize("router", [ROUTER, "Anthropic Prompt Router"])
def test_invoke_model_refuses_a_router(operation: str, router: str, client: Client, endpoint: LocalEndpoint) -> None:
    """InvokeModel's body is one model's own: a router is a clear error, and nothing is sent."""
    with pytest.raises(InvalidRequestError, match="prompt router"):
        getattr(client, operation)(modelId=router, body=b"{}")
    assert endpoint.account()["requests"] == 0


def test_invoke_model_forwards_a_model() -> None:
    """With a model named, InvokeModel is boto3's own."""

    class Own:
        def invoke_model(self, **request: Any) -> dict[str, Any]:
            return request

    assert Client(Own()).invoke_model(modelId=HAIKU, body=b"{}") == {"modelId": HAIKU, "body": b"{}"}


@pytest.mark.parametrize(
    "request_",
    [
        {"inferenceConfig": {"temperature": 1.5}},
        {"inferenceConfig": {"topP": -0.1}},
        {"system": [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "2h"}}]},
        {"modelId": ""},
    ],
    ids=["temperature", "topP", "ttl", "no model"],
)
def test_values_that_botocore_lets_through_are_refused(
    request_: dict[str, Any], client: Client, endpoint: LocalEndpoint
) -> None:
    """Ranges and TTLs are checked before anything is sent."""
    with pytest.raises(InvalidRequestError):
        client.converse(**{"modelId": HAIKU, "messages": HELLO, **request_})
    assert endpoint.account()["requests"] == 0


def test_a_mistyped_router_is_told_with_those_that_are_known(client: Client, endpoint: LocalEndpoint) -> None:
    """Where no model's id looks like it; otherwise it may be a model that is too young for our catalogue."""
    with pytest.raises(RouterNotFoundError, match="Known routers: Anthropic Prompt Router, "):
        client.converse(modelId="Anthropic Prompt Ruoter", messages=HELLO)
    assert endpoint.account()["requests"] == 0
    with (
        pytest.warns(PointsmanWarning, match="a router of that name has to be one"),
        pytest.raises(client.exceptions.ValidationException),
    ):
        client.converse(modelId="thrifty", messages=HELLO)


def test_routers_are_a_list(boto3_client: Any) -> None:
    """The name of a file is none, though a text may be iterated."""
    with pytest.raises(InvalidRequestError, match=r"routers is 'routers\.toml'\. Give a list"):
        Client(boto3_client, routers="routers.toml")  # type: ignore[arg-type]  # that is the mistake


def test_a_request_without_model_is_botocores_to_refuse(client: Client) -> None:
    """A missing or mistyped `modelId` gives botocore's own error."""
    with pytest.raises(Exception, match="modelId") as caught:
        client.converse(messages=HELLO)
    assert type(caught.value).__name__ == "ParamValidationError"


# --- count_tokens -----------------------------------------------------------------------------------------------


def test_a_routers_tokens_are_counted_with_its_fallback_model(client: Client, boto3_client: Any) -> None:
    """CountTokens takes no router: the fallback model counts."""
    content = {"converse": {"messages": HELLO}}
    assert client.count_tokens(modelId=ROUTER, input=content)["inputTokens"] > 0
    sent: list[str] = []
    boto3_client.meta.events.register(
        "before-parameter-build.bedrock-runtime.CountTokens", lambda params, **_: sent.append(params["modelId"])
    )
    client.count_tokens(modelId=ROUTER, input=content)
    client.count_tokens(modelId=HAIKU, input=content)
    assert sent == [SONNET, HAIKU]


# --- traces -----------------------------------------------------------------------------------------------------


def test_every_trace_is_told(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """`on_trace` hears of replies, of streams that were left and of failures, once each."""
    told: list[Trace] = []
    client = Client(boto3_client, on_trace=told.append, clock=endpoint.settings.clock)
    client.converse(modelId=HAIKU, messages=HELLO)
    client.converse_stream(modelId=HAIKU, messages=HELLO)["stream"].close()
    endpoint.faults.inject("throttle")
    with pytest.raises(ClientError):
        client.converse(modelId=HAIKU, messages=HELLO)
    endpoint.faults.inject("broken-stream")
    stream = client.converse_stream(modelId=HAIKU, messages=HELLO)["stream"]
    with pytest.raises(ClientError):
        list(stream)
    stream.close()
    assert [trace.status for trace in told] == ["complete", "closed early", "failed", "failed"]


def test_a_listener_that_fails_costs_nobody_his_reply(
    endpoint: LocalEndpoint, boto3_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in `on_trace` is logged; the reply comes back all the same."""
    client = Client(boto3_client, on_trace=lambda _: 1 / 0, clock=endpoint.settings.clock)
    assert client.converse(modelId=HAIKU, messages=HELLO)["output"]
    assert "on_trace failed" in caplog.text


# --- routers, catalogues and ledgers of the user's ---------------------------------------------------------------


def test_routers_made_in_code_are_called_by_name(boto3_client: Any, endpoint: LocalEndpoint) -> None:
    """A list of routers is added to the default ones."""
    cheap = Router(
        name="cheap",
        models=["amazon.nova-micro-v1:0"],
        fallback_model=SONNET,
        criteria=RoutingCriteria(response_quality_difference=1.0),
    )
    client = Client(boto3_client, routers=[cheap], clock=endpoint.settings.clock)
    assert client.converse(modelId="cheap", messages=HELLO)["pointsman"]["model"] == "amazon.nova-micro-v1:0"
    assert client.converse(modelId=ROUTER, messages=HELLO)["pointsman"]["router"] == "Anthropic Prompt Router"


def test_a_router_created_through_the_registry_is_routed_here(boto3_client: Any, endpoint: LocalEndpoint) -> None:
    """The registry's API-shaped call makes a router whose ARN a request can name."""
    registry = RouterRegistry(region="us-east-1")
    arn = registry.create_prompt_router(
        promptRouterName="two novas",
        models=[{"modelArn": "amazon.nova-lite-v1:0"}],
        fallbackModel={"modelArn": "amazon.nova-pro-v1:0"},
        routingCriteria={"responseQualityDifference": 100},
    )["promptRouterArn"]
    client = Client(boto3_client, routers=registry, clock=endpoint.settings.clock)
    reply = client.converse(modelId=arn, messages=HELLO)
    assert reply["trace"]["promptRouter"]["invokedModelId"] == (
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
    )


def test_the_registrys_catalogue_is_the_clients(boto3_client: Any) -> None:
    """Without a catalogue of its own a client takes that of the registry it is given."""
    catalog = Catalog.default()
    assert Client(boto3_client, routers=RouterRegistry(catalog=catalog)).context.catalog is catalog


def test_what_cannot_converse_is_refused_at_once(endpoint: LocalEndpoint) -> None:
    """The name of a service, or a client of another one."""
    for given in ("bedrock-runtime", endpoint.client("bedrock"), None):
        with pytest.raises(InvalidRequestError, match=r'has no converse. Give one of boto3: .*"bedrock-runtime"'):
            Client(given)


def test_a_routers_name_is_no_router(boto3_client: Any) -> None:
    """It belongs into the request."""
    with pytest.raises(InvalidRequestError, match=r"routers holds 'everyday', which is no Router.*modelId"):
        Client(boto3_client, routers=["everyday"])  # type: ignore[list-item]  # what is refused


def test_clients_can_share_a_ledger(boto3_client: Any, endpoint: LocalEndpoint) -> None:
    """What one client has written another one expects to read."""
    ledger = Ledger()
    request = {"modelId": HAIKU, "messages": [{"role": "user", "content": [{"text": "Signal nine. " * 900}]}]}
    first, second = (Client(boto3_client, ledger=ledger, clock=endpoint.settings.clock) for _ in range(2))
    first.converse(**request)
    assert second.converse(**request)["pointsman"]["expected_read_tokens"] > 0


# --- a conversation with three documents ------------------------------------------------------------------------

DOCUMENT_MODELS = [
    HAIKU,
    "anthropic.claude-3-7-sonnet-20250219-v1:0",
    "amazon.nova-pro-v1:0",
    "us.amazon.nova-2-lite-v1:0",
]
QUESTIONS = (
    "Compare signals and points in 20 words or less.",
    "Compare levers and brakes in 20 words or less.",
    "Which one protects a section?",
)


def test_what_was_learnt_goes_on_after_a_restart(boto3_client: Any, endpoint: LocalEndpoint) -> None:
    """Token counts and returns of one process are saved, and are where the next one begins."""
    before = Client(boto3_client, clock=endpoint.settings.clock)
    opening = [{"role": "user", "content": [{"text": "A signal protects each section of the track. " * 400}]}]
    for _ in range(3):
        before.converse(modelId=HAIKU, messages=opening)
        endpoint.advance(4_000)
    counts, reuse = before.context.counter.to_dict(), before.context.ledger.reuse.to_dict()
    after = Client(
        boto3_client,
        counter=EstimatedTokens.from_dict(json.loads(json.dumps(counts))),
        ledger=Ledger(reuse=Reuse.load(json.loads(json.dumps(reuse)))),
    )
    assert after.context.counter.weights("anthropic.claude-haiku-5-5") is not None
    assert after.context.ledger.reuse.to_dict() == reuse != Reuse().to_dict()


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    """Three PDF documents of some 600 tokens each."""
    return [pdf(topic) for topic in ("signals", "points", "levers")]


def _read(client: Any, model_id: str, opening: Sequence[dict[str, Any]]) -> list[int]:
    """Tokens read by each question of one conversation."""
    messages: list[dict[str, Any]] = []
    read = []
    for question in QUESTIONS:
        content = [*opening, {"text": question}] if not messages else [{"text": question}]
        messages.append({"role": "user", "content": content})
        reply = client.converse(modelId=model_id, messages=messages)
        messages.append(reply["output"]["message"])
        read.append(reply["usage"]["cacheReadInputTokens"])
    return read


@pytest.mark.parametrize("model_id", DOCUMENT_MODELS)
def test_documents_are_read_from_the_cache_without_a_point_by_hand(
    model_id: str, client: Client, boto3_client: Any, endpoint: LocalEndpoint, documents: list[dict[str, Any]]
) -> None:
    """At least as many tokens are read as with the cache point that the announcement places by hand."""
    first, *rest = QUESTIONS
    by_hand: list[dict[str, Any]] = [*documents, {"text": first}, {"cachePoint": {"type": "default"}}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": by_hand}]
    read_by_hand = []
    for question in [*rest, None]:
        reply = boto3_client.converse(modelId=model_id, messages=messages)
        read_by_hand.append(reply["usage"]["cacheReadInputTokens"])
        messages += [reply["output"]["message"], {"role": "user", "content": [{"text": question}]}]
    endpoint.advance(3601)
    read = _read(client, model_id, documents)
    assert read_by_hand[1] > 1_000
    assert read[0] == 0
    assert all(ours >= theirs for ours, theirs in zip(read, read_by_hand, strict=True)), (read, read_by_hand)


def test_documents_through_the_default_router_are_read_too(client: Client, documents: list[dict[str, Any]]) -> None:
    """Three questions of like difficulty stay on one model and read what the first one wrote."""
    read = _read(client, ROUTER, documents)
    assert read[0] == 0
    assert 0 < read[1] <= read[2]
