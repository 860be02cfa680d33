"""The flow, seen through every driver that there is: each scenario gives the same traces through all four of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import orjson
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from pointsman import (
    AsyncClient,
    Block,
    CachePoint,
    CacheRules,
    Catalog,
    Client,
    InvalidRequestError,
    Ledger,
    NoEligibleModelError,
    Outline,
    Placement,
    Router,
    RoutingCriteria,
    Usage,
)
from pointsman.flow import Failure, converse_flow, counted_cuts
from pointsman.local import LocalEndpoint
from pointsman.routing import RouterRegistry

CLAUDE_ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"
NOVA_LITE, NOVA_PRO = "amazon.nova-lite-v1:0", "amazon.nova-pro-v1:0"
LLAMA = "meta.llama3-1-70b-instruct-v1:0"
HELLO = "Describe the purpose of a 'hello world' program in one line."
SISTERS = "Alice has N brothers and she also has M sisters. How many sisters does Alice's brothers have?"
LONG = " ".join(f"Signal {number} protects section {number}." for number in range(700))

Request = dict[str, Any]


def user(*texts: str) -> Request:
    return {"role": "user", "content": [{"text": text} for text in texts]}


def assistant(*texts: str) -> Request:
    return {"role": "assistant", "content": [{"text": text} for text in texts]}


@dataclass
class Outcome:
    """What a driver's call came to: the trace, the text, or the error."""

    trace: Request | None = None
    text: str = ""
    error: Exception | None = None
    reply: Request = field(default_factory=dict)


def _outcome(call: Callable[[], Outcome]) -> Outcome:
    try:
        return call()
    except Exception as exc:  # noqa: BLE001 - the error is the outcome
        return Outcome(trace=getattr(exc, "pointsman", None), error=exc)


def by_converse(client: Client, request: Request) -> Outcome:
    return _outcome(lambda: _of_reply(client.converse(**request)))


def by_stream(client: Client, request: Request) -> Outcome:
    return _outcome(lambda: _of_events(list(client.converse_stream(**request)["stream"])))


def by_async_converse(client: Client, request: Request) -> Outcome:
    async def run() -> Outcome:
        async with _async(client) as async_client:
            return _of_reply(await async_client.converse(**request))

    return _outcome(lambda: asyncio.run(run()))


def by_async_stream(client: Client, request: Request) -> Outcome:
    async def run() -> Outcome:
        async with _async(client) as async_client:
            reply = await async_client.converse_stream(**request)
            return _of_events([event async for event in reply["stream"]])

    return _outcome(lambda: asyncio.run(run()))


def _async(client: Client) -> AsyncClient:
    """An async client that shares everything with the sync one, what it has learnt too."""
    async_client = AsyncClient(client._client)
    async_client._sync = client
    return async_client


def _of_reply(reply: Request) -> Outcome:
    text = "".join(block.get("text", "") for block in reply["output"]["message"]["content"])
    return Outcome(reply["pointsman"], text, reply=reply)


def _of_events(events: Sequence[Request]) -> Outcome:
    metadata = events[-1]["metadata"]
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    return Outcome(metadata["pointsman"], "".join(delta.get("text", "") for delta in deltas), reply=metadata)


DRIVERS = {
    "converse": by_converse,
    "converse_stream": by_stream,
    "async converse": by_async_converse,
    "async converse_stream": by_async_stream,
}
Driver = Callable[[Client, Request], Outcome]


@pytest.fixture(params=DRIVERS.values(), ids=DRIVERS)
def drive(request: pytest.FixtureRequest) -> Driver:
    """One of the four ways to send a request."""
    driver: Driver = request.param
    return driver


# --- parity -----------------------------------------------------------------------------------------------------

Step = Request | tuple[str, str | None]
_TOOL = {
    "toolSpec": {
        "name": "departures",
        "description": "Trains that leave a station",
        "inputSchema": {"json": {"type": "object", "properties": {"station": {"type": "string"}}}},
    }
}
_TOOLS = {"tools": [_TOOL]}
_TOOL_LOOP = [
    user("Which departures are there from Spiez?"),
    {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t1", "name": "departures", "input": {}}}]},
    {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "07:12 to Bern"}]}}]},
]
_CHAT = [user(LONG, "What protects section 9?"), assistant("Signal 9."), user("And section 10?")]

SCENARIOS: dict[str, list[Step]] = {
    "a model named": [{"modelId": HAIKU, "messages": [user(HELLO)]}],
    "a router, easy and hard": [
        {"modelId": CLAUDE_ROUTER, "messages": [user(HELLO)]},
        {"modelId": CLAUDE_ROUTER, "messages": [user(SISTERS)]},
    ],
    "a conversation that is cached": [
        {"modelId": HAIKU, "system": [{"text": LONG}], "messages": _CHAT[:1]},
        {"modelId": HAIKU, "system": [{"text": LONG}], "messages": _CHAT},
    ],
    "the caller's own cache points": [
        {
            "modelId": HAIKU,
            "system": [{"text": LONG}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
            "messages": [user(HELLO)],
        }
    ],
    "the chosen model is throttled": [
        ("throttle", HAIKU),
        {"modelId": CLAUDE_ROUTER, "messages": [user(HELLO)]},
    ],
    "every model is unavailable": [
        *[("unavailable", None)] * 3,
        {"modelId": CLAUDE_ROUTER, "messages": [user(HELLO)]},
    ],
    "the named model is not ready": [("not-ready", None), {"modelId": HAIKU, "messages": [user(HELLO)]}],
    "Bedrock refuses the request": [{"modelId": HAIKU, "messages": [assistant("I begin.")]}],
    "adapted to the model": [
        {
            "modelId": "families",
            "messages": [user(HELLO)],
            "additionalModelRequestFields": {"top_k": 5},
            "inferenceConfig": {"maxTokens": 60_000},
        }
    ],
    "a tool loop": [
        {"modelId": CLAUDE_ROUTER, "messages": _TOOL_LOOP[:1], "toolConfig": _TOOLS},
        {"modelId": CLAUDE_ROUTER, "messages": _TOOL_LOOP, "toolConfig": _TOOLS},
    ],
    "a router that only AWS knows": [
        {"modelId": CLAUDE_ROUTER.replace("claude:1", "claude:9"), "messages": [user(HELLO)]}
    ],
    "explored": [{"modelId": "exploring", "messages": [user(f"{HELLO} {number}")]} for number in range(6)],
    "a reply cut short": [{"modelId": NOVA_LITE, "messages": _CHAT, "inferenceConfig": {"maxTokens": 2}}],
}

FAMILIES = Router(
    name="families",
    models=(NOVA_LITE,),
    fallback_model=SONNET,
    criteria=RoutingCriteria(response_quality_difference=1.0),
)
EXPLORING = replace(FAMILIES, name="exploring", exploration=0.5)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_every_driver_tells_the_same_story(scenario: list[Step], endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """A scenario gives the same traces, texts and errors through converse, converse_stream and both async ones."""
    stories = {name: _story(driver, scenario, endpoint, boto3_client) for name, driver in DRIVERS.items()}
    expected = stories["converse"]
    assert all(trace is not None for trace, _, _ in expected)
    for name, story in stories.items():
        assert story == expected, name


def _story(driver: Driver, scenario: list[Step], endpoint: LocalEndpoint, boto3_client: Any) -> list[Any]:
    endpoint.advance(3601)
    client = Client(
        boto3_client,
        routers=[FAMILIES, EXPLORING],
        ledger=Ledger(key=b"one"),
        clock=endpoint.settings.clock,
        random=Random(1),
    )
    story = []
    for step in scenario:
        if isinstance(step, tuple):
            endpoint.faults.inject(step[0], model=step[1])
            continue
        outcome = driver(client, step)
        code = outcome.error.response["Error"]["Code"] if isinstance(outcome.error, ClientError) else outcome.error
        story.append((outcome.trace, outcome.text, code))
    endpoint.faults.clear()
    return story


# --- fallback ---------------------------------------------------------------------------------------------------

FAULTS = {
    "throttle": "ThrottlingException",
    "unavailable": "ServiceUnavailableException",
    "not-ready": "ModelNotReadyException",
    "timeout": "ModelTimeoutException",
}


@pytest.mark.parametrize(("fault", "code"), FAULTS.items())
def test_another_model_serves_what_one_cannot(
    fault: str, code: str, drive: Driver, client: Client, endpoint: LocalEndpoint
) -> None:
    """A model that is throttled, not ready, unavailable or timed out is followed by the next one."""
    endpoint.faults.inject(fault, model=HAIKU)
    outcome = drive(client, {"modelId": CLAUDE_ROUTER, "messages": [user(HELLO)]})
    assert outcome.trace is not None
    assert outcome.trace["attempts"] == [{"model": HAIKU, "error": code}]
    assert outcome.trace["invoked_model_id"].endswith(SONNET)
    assert outcome.trace["status"] == "complete"


@pytest.mark.parametrize(("fault", "code"), [*FAULTS.items(), ("internal", "InternalServerException")])
def test_a_named_model_is_not_exchanged(
    fault: str, code: str, drive: Driver, client: Client, endpoint: LocalEndpoint
) -> None:
    """Where the caller named the model its error passes through as botocore raised it, with the trace attached."""
    endpoint.faults.inject(fault)
    outcome = drive(client, {"modelId": HAIKU, "messages": [user(HELLO)]})
    assert isinstance(outcome.error, ClientError)
    assert outcome.error.response["Error"]["Code"] == code
    assert outcome.trace is not None
    assert outcome.trace["status"] == "failed"
    assert outcome.trace["attempts"] == [{"model": HAIKU, "error": code}]


def test_an_error_that_no_other_model_helps_passes_through(
    drive: Driver, client: Client, endpoint: LocalEndpoint
) -> None:
    """An internal error of the chosen model is not taken for unavailability, even behind a router."""
    endpoint.faults.inject("internal")
    outcome = drive(client, {"modelId": CLAUDE_ROUTER, "messages": [user(HELLO)]})
    assert isinstance(outcome.error, ClientError)
    assert outcome.error.response["Error"]["Code"] == "InternalServerException"
    assert endpoint.account()["requests"] == 1


def test_models_are_tried_in_the_order_of_the_criteria_then_the_fallback_again(
    client: Client, endpoint: LocalEndpoint
) -> None:
    """Haiku is chosen; Sonnet follows, and being the fallback model it is tried once more at the end."""
    endpoint.faults.inject("throttle", times=2)
    outcome = by_converse(client, {"modelId": CLAUDE_ROUTER, "messages": [user(HELLO)]})
    assert outcome.trace is not None
    assert [attempt["model"] for attempt in outcome.trace["attempts"]] == [HAIKU, SONNET]
    assert outcome.trace["invoked_model_id"].endswith(SONNET)


def test_the_last_error_is_raised_when_all_models_fail(drive: Driver, client: Client, endpoint: LocalEndpoint) -> None:
    """Three attempts, then the error of the last one."""
    endpoint.faults.inject("throttle", times=2)
    endpoint.faults.inject("unavailable", times=1)
    outcome = drive(client, {"modelId": CLAUDE_ROUTER, "messages": [user(HELLO)]})
    assert isinstance(outcome.error, ClientError)
    assert outcome.error.response["Error"]["Code"] == "ServiceUnavailableException"
    assert outcome.trace is not None
    assert len(outcome.trace["attempts"]) == 3


# --- refused cache points ---------------------------------------------------------------------------------------


def _believing(model_id: str, **rules: Any) -> Catalog:
    """A catalogue that is wrong about what a model lets one cache."""
    catalog = Catalog.default()
    model = catalog.resolve(model_id)
    everywhere = CacheRules(
        minimum_tokens=500,
        max_points=4,
        sections=frozenset({"tools", "system", "messages"}),
        ttls=("5m",),
        with_tool_results=True,
    )
    return catalog.with_model(replace(model, cache=replace(everywhere, **rules)))


def _client(endpoint: LocalEndpoint, catalog: Catalog, **options: Any) -> Client:
    boto3_client = endpoint.client("bedrock-runtime", config=Config(retries={"total_max_attempts": 1}))
    return Client(boto3_client, catalog=catalog, clock=endpoint.settings.clock, **options)


def test_a_model_that_refuses_caching_is_asked_again_without(drive: Driver, endpoint: LocalEndpoint) -> None:
    """A 403 to a cache point: the same model once more without any, and never with one again."""
    client = _client(endpoint, _believing(LLAMA))
    request = {"modelId": LLAMA, "messages": [user(LONG, HELLO)]}
    first, second = drive(client, request), drive(client, request)
    assert first.trace is not None and second.trace is not None
    assert first.trace["attempts"] == [{"model": LLAMA, "error": "AccessDeniedException"}]
    assert first.trace["status"] == "complete"
    assert first.trace["placement"]["points"] == []
    assert second.trace["attempts"] == []
    assert endpoint.account()["errors"] == {"AccessDeniedException": 1}


def test_only_the_refused_kind_of_place_is_given_up(endpoint: LocalEndpoint) -> None:
    """Nova refuses a point in `tools`: the ones in system and messages are kept, and tools are remembered."""
    client = _client(endpoint, _believing(NOVA_PRO, minimum_tokens=1_024))
    tool = {"toolSpec": {**_TOOL["toolSpec"], "description": LONG}}
    request = {
        "modelId": NOVA_PRO,
        "system": [{"text": "Be brief."}],
        "messages": [user(HELLO)],
        "toolConfig": {"tools": [tool]},
    }
    first, second = by_converse(client, request), by_converse(client, request)
    assert first.trace is not None and second.trace is not None
    assert first.trace["attempts"] == [{"model": NOVA_PRO, "error": "ValidationException"}]
    sections = [point["section"] for point in first.trace["placement"]["points"]]
    assert sections == ["system", "messages"]
    assert second.trace["attempts"] == []
    assert second.trace["usage"]["cache_read_tokens"] > 0


def test_the_callers_refused_point_is_taken_out_once(endpoint: LocalEndpoint) -> None:
    """A point of the caller's that Bedrock refuses is left out too, and the trace of the next request says why."""
    client = _client(endpoint, _believing(LLAMA))
    point = {"cachePoint": {"type": "default"}}
    request = {"modelId": LLAMA, "messages": [{"role": "user", "content": [{"text": LONG}, point, {"text": HELLO}]}]}
    first, second = by_converse(client, request), by_converse(client, request)
    assert first.error is None
    assert second.trace is not None
    assert "has refused" in second.trace["placement"]["refused"][0]["reason"]


def test_a_refusal_that_names_no_place_is_not_remembered(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """The request is sent once more without any point, and the next one has its points again."""
    client = Client(boto3_client, clock=endpoint.settings.clock)
    told = {"Error": {"Code": "ValidationException", "Message": "There is nothing available to cache."}}
    refusal = ClientError({**told, "ResponseMetadata": {"HTTPStatusCode": 400}}, "Converse")
    first, second = _Refusing(boto3_client, refusal), _Refusing(boto3_client, None)
    client._client = first
    reply = client.converse(modelId=HAIKU, messages=[user(LONG, HELLO)])
    assert [attempt["error"] for attempt in reply["pointsman"]["attempts"]] == ["ValidationException"]
    assert reply["usage"]["cacheWriteInputTokens"] == 0
    client._client = second
    assert client.converse(modelId=HAIKU, messages=[user(LONG, HELLO)])["usage"]["cacheWriteInputTokens"] > 0


def test_points_are_given_up_for_the_model_that_refused_them_only(client: Client) -> None:
    """A refusal that names no place costs the next model, which takes over for another reason, none of its points."""
    request = {"modelId": CLAUDE_ROUTER, "messages": [user(LONG, HELLO)]}
    flow = converse_flow(request, client.context, now=0.0)
    first = next(flow)
    error = ClientError({"Error": {"Code": "ValidationException", "Message": "?"}}, "Converse")
    again = flow.send(Failure(error=error, code="ValidationException", at=0.0, points_refused=True))
    other = flow.send(Failure(error=error, code="ThrottlingException", at=0.0, unavailable=True))
    assert first.model is again.model is not other.model
    assert [b"cachePoint" in orjson.dumps(call.request) for call in (first, again, other)] == [True, False, True]


class _Refusing:
    """A boto3 client whose first call raises."""

    def __init__(self, client: Any, error: Exception | None) -> None:
        self._client, self._error = client, error

    def converse(self, **request: Any) -> Any:
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._client.converse(**request)


def test_a_misplaced_point_of_the_callers_is_laid_where_it_is_taken(drive: Driver, client: Client) -> None:
    """A point first in its list marks the end of the list before it, and costs no refusal."""
    content = [{"cachePoint": {"type": "default"}}, {"text": HELLO}]
    request = {"modelId": HAIKU, "system": [{"text": LONG}], "messages": [{"role": "user", "content": content}]}
    outcome = drive(client, request)
    assert outcome.trace is not None
    assert outcome.trace["attempts"] == []
    assert outcome.trace["placement"]["points"][0] | {"tokens": None} == {
        "after": 0,
        "ttl": "5m",
        "section": "system",
        "tokens": None,
        "by_caller": True,
    }


# --- routing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "model"),
    [(SISTERS, SONNET), (HELLO, HAIKU)],
    ids=["sisters", "hello world"],
)
def test_the_announcements_prompts(question: str, model: str, drive: Driver, client: Client) -> None:
    """The default Claude router sends the riddle to Sonnet and the simple question to Haiku."""
    outcome = drive(client, {"modelId": CLAUDE_ROUTER, "messages": [user(question)]})
    invoked = f"arn:aws:bedrock:us-east-1:123412341234:inference-profile/{model}"
    assert outcome.trace is not None
    assert outcome.trace["invoked_model_id"] == invoked
    assert outcome.reply["trace"]["promptRouter"] == {"invokedModelId": invoked}


def test_the_invoked_model_is_named_in_the_callers_account_and_region(client: Client) -> None:
    """`invokedModelId` takes account and Region from the router's ARN as the caller wrote it."""
    arn = "arn:aws:bedrock:us-east-1:999900001111:default-prompt-router/anthropic.claude:1"
    reply = client.converse(modelId=arn, messages=[user(HELLO)])
    assert reply["trace"]["promptRouter"]["invokedModelId"] == (
        f"arn:aws:bedrock:us-east-1:999900001111:inference-profile/{HAIKU}"
    )


def test_a_router_called_by_name_reports_the_profile_id(client: Client) -> None:
    """Without an ARN there is no account to name."""
    reply = client.converse(modelId="Anthropic Prompt Router", messages=[user(HELLO)])
    assert reply["trace"]["promptRouter"]["invokedModelId"] == HAIKU
    assert reply["pointsman"]["router"] == "Anthropic Prompt Router"


def test_a_router_that_is_not_ours_is_passed_through(client: Client, endpoint: LocalEndpoint) -> None:
    """The request goes as it was written; the reply's trace says which model is accounted for."""
    created = endpoint.client("bedrock").create_prompt_router(
        promptRouterName="on the other side",
        models=[{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA_LITE}"}],
        fallbackModel={"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA_PRO}"},
        routingCriteria={"responseQualityDifference": 0.1},
    )["promptRouterArn"]
    try:
        reply = client.converse(modelId=created, messages=[user(HELLO)])
    finally:
        endpoint.client("bedrock").delete_prompt_router(promptRouterArn=created)
    trace = reply["pointsman"]
    assert trace["asked"] == created
    assert trace["router"] is None
    assert trace["model"] == NOVA_PRO
    assert trace["invoked_model_id"] == f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA_PRO}"
    assert trace["cost"]["total"] is not None


def test_no_eligible_model_sends_nothing(drive: Driver, client: Client, endpoint: LocalEndpoint) -> None:
    """Images through the Llama router: an error that names each model and its reason, before any request."""
    image = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
    arn = CLAUDE_ROUTER.replace("anthropic.claude", "meta.llama")
    outcome = drive(client, {"modelId": arn, "messages": [{"role": "user", "content": [image, {"text": "What?"}]}]})
    assert isinstance(outcome.error, NoEligibleModelError)
    assert outcome.error.reasons == {
        "us.meta.llama3-1-8b-instruct-v1:0": "takes no images",
        "us.meta.llama3-1-70b-instruct-v1:0": "takes no images",
    }
    assert endpoint.account()["requests"] == 0


def test_a_model_that_cannot_serve_is_set_aside_with_its_reason(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """An image goes to the fallback model that takes it; the trace tells why the other was not weighed."""
    router = Router(
        name="mixed",
        models=("meta.llama3-1-8b-instruct-v1:0",),
        fallback_model=NOVA_LITE,
        criteria=RoutingCriteria(response_quality_difference=1.0),
    )
    client = Client(boto3_client, routers=[router], clock=endpoint.settings.clock)
    image = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
    reply = client.converse(modelId="mixed", messages=[{"role": "user", "content": [image, {"text": HELLO}]}])
    decision = reply["pointsman"]["decision"]
    assert decision["model"] == NOVA_LITE
    assert decision["set_aside"] == {"meta.llama3-1-8b-instruct-v1:0": "takes no images"}
    assert [candidate["model"] for candidate in decision["candidates"]] == [NOVA_LITE]


def _choosy(endpoint: LocalEndpoint, *forcible: str) -> Client:
    """A client for which only these of the Novas can be forced to call a tool."""
    catalog = Catalog.default()
    for model_id in (NOVA_LITE, NOVA_PRO):
        model = catalog.resolve(model_id)
        can = replace(model.capabilities, forced_tool_choice=model_id in forcible)
        catalog = catalog.with_model(replace(model, capabilities=can))
    criteria = RoutingCriteria(response_quality_difference=1.0)
    router = Router(name="novas", models=[NOVA_LITE], fallback_model=NOVA_PRO, criteria=criteria)
    return _client(endpoint, catalog, routers=[router])


_FORCED = {"modelId": "novas", "messages": [user(HELLO)], "toolConfig": {**_TOOLS, "toolChoice": {"any": {}}}}


def test_a_forced_tool_goes_to_a_model_that_can_be_forced(drive: Driver, endpoint: LocalEndpoint) -> None:
    """The cheaper model, which can't be, is set aside; nothing is weakened."""
    outcome = drive(_choosy(endpoint, NOVA_PRO), _FORCED)
    assert outcome.trace is not None
    assert outcome.trace["model"] == NOVA_PRO
    assert outcome.trace["decision"]["set_aside"] == {NOVA_LITE: "can't be forced to call a tool"}
    assert outcome.trace["changes"] == []


def test_a_forced_tool_choice_is_weakened_where_no_candidate_can_be_forced(
    drive: Driver, endpoint: LocalEndpoint
) -> None:
    """The criteria choose, and the trace names the change."""
    outcome = drive(_choosy(endpoint), _FORCED)
    assert outcome.trace is not None
    assert outcome.trace["model"] == NOVA_LITE
    assert [change["field"] for change in outcome.trace["changes"]] == ["toolConfig.toolChoice"]


class _Fixed:
    """A predictor that says what it was told, by model id."""

    def __init__(self, **qualities: float) -> None:
        self.qualities = {name.replace("_", "-"): quality for name, quality in qualities.items()}

    def predict(self, prompts: Sequence[Any], /, *, models: Sequence[Any]) -> Mapping[str, Any]:
        return {model.id: [self._quality(model.id)] * len(prompts) for model in models}

    def _quality(self, model_id: str) -> float:
        return next(quality for name, quality in self.qualities.items() if name in model_id)


def test_a_tool_loop_stays_on_its_model(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """The turn's tool results go to the model that called the tool, though the prediction has changed since."""
    predictor = _Fixed(haiku=0.9, sonnet=0.9)
    registry = RouterRegistry(predictor=predictor)
    client = Client(boto3_client, routers=registry, clock=endpoint.settings.clock)
    request = {"modelId": CLAUDE_ROUTER, "toolConfig": _TOOLS}
    first = client.converse(**request, messages=_TOOL_LOOP[:1])
    predictor.qualities = {"haiku": 0.1, "sonnet": 0.9}
    within = client.converse(**request, messages=_TOOL_LOOP)["pointsman"]
    after = client.converse(**request, messages=[*_TOOL_LOOP, assistant("At 07:12."), user(HELLO)])["pointsman"]
    assert first["pointsman"]["invoked_model_id"].endswith(HAIKU)
    assert within["invoked_model_id"].endswith(HAIKU)
    assert within["decision"]["reason"] == "within a tool loop the turn stays on its model"
    assert after["invoked_model_id"].endswith(SONNET)


def test_a_tool_loop_teaches_how_many_requests_a_decision_binds(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """A request that stays on its model is counted as bound, and goes on with the conversation that it belongs to."""
    client = Client(boto3_client, routers=RouterRegistry(), clock=endpoint.settings.clock)
    request = {"modelId": CLAUDE_ROUTER, "toolConfig": _TOOLS}
    client.converse(**request, messages=_TOOL_LOOP[:1])
    client.converse(**request, messages=_TOOL_LOOP)
    (sums,) = client.context.ledger.courses.to_dict().values()
    assert sums["bound"] == [1, 1]


def test_another_conversation_of_the_same_tools_is_free(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """Only the same turn is held on its model; a tool loop that began with another question is not."""
    predictor = _Fixed(haiku=0.9, sonnet=0.9)
    client = Client(boto3_client, routers=RouterRegistry(predictor=predictor), clock=endpoint.settings.clock)
    request = {"modelId": CLAUDE_ROUTER, "toolConfig": _TOOLS}
    client.converse(**request, messages=_TOOL_LOOP[:1])
    predictor.qualities = {"haiku": 0.1, "sonnet": 0.9}
    other = [user("Which departures are there from Thun?"), *_TOOL_LOOP[1:]]
    assert client.converse(**request, messages=other)["pointsman"]["invoked_model_id"].endswith(SONNET)


# --- exploration ------------------------------------------------------------------------------------------------


class _Drawing(Random):
    """A random number generator that gives these numbers, then 0.999."""

    def __init__(self, *draws: float) -> None:
        super().__init__()
        self.draws = list(draws)

    def random(self) -> float:
        return self.draws.pop(0) if self.draws else 0.999


def _exploring(endpoint: LocalEndpoint, boto3_client: Any, *draws: float) -> Client:
    """Haiku is what the criteria choose; half of the requests are explored, of those draws."""
    registry = RouterRegistry(predictor=_Fixed(haiku=0.9, sonnet=0.9), exploration=0.5)
    return Client(boto3_client, routers=registry, clock=endpoint.settings.clock, random=_Drawing(*draws))


def _drawn(trace: Request | None) -> tuple[str, bool, float]:
    """The model that was invoked, and how it was come by."""
    assert trace is not None
    assert not trace["advice_failures"]
    return trace["model"].split("-")[1], trace["decision"]["explored"], trace["decision"]["propensity"]


def test_the_client_draws_for_each_request(drive: Driver, endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """Below the share a model at random, above it the one that the criteria choose; the trace tells which it was."""
    client = _exploring(endpoint, boto3_client, 0.1, 0.4, 0.6)
    request = {"modelId": CLAUDE_ROUTER, "messages": [user(HELLO)]}
    drawn = [_drawn(drive(client, request).trace) for _ in range(3)]
    assert drawn == [("haiku", True, 0.75), ("sonnet", True, 0.25), ("haiku", False, 0.75)]


def test_the_same_seed_explores_the_same(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """The client's random numbers are an argument."""

    def run() -> list[tuple[str, bool, float]]:
        registry = RouterRegistry(exploration=0.5)
        client = Client(boto3_client, routers=registry, clock=endpoint.settings.clock, random=Random(5))
        request = {"modelId": CLAUDE_ROUTER, "messages": [user(HELLO)]}
        return [_drawn(client.converse(**request)["pointsman"]) for _ in range(12)]

    first = run()
    assert run() == first
    assert len(set(first)) == 3


def test_a_tool_loop_is_not_explored(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """Its turn stays on the model that was drawn when it began, and goes on to tell how that was come by."""
    client = _exploring(endpoint, boto3_client, 0.4, 0.0)
    request = {"modelId": CLAUDE_ROUTER, "toolConfig": _TOOLS}
    first = client.converse(**request, messages=_TOOL_LOOP[:1])["pointsman"]
    within = client.converse(**request, messages=_TOOL_LOOP)["pointsman"]
    assert _drawn(first) == _drawn(within) == ("sonnet", True, 0.25)
    assert within["decision"]["reason"] == "within a tool loop the turn stays on its model"


def test_a_stand_in_was_not_explored(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """A loop that began on the model after the one drawn is on a model that no draw chose."""
    client = _exploring(endpoint, boto3_client, 0.4)
    endpoint.faults.inject("throttle", model=SONNET)
    request = {"modelId": CLAUDE_ROUTER, "toolConfig": _TOOLS}
    first = client.converse(**request, messages=_TOOL_LOOP[:1])["pointsman"]
    within = client.converse(**request, messages=_TOOL_LOOP)["pointsman"]
    assert first["decision"]["model"] == SONNET
    assert _drawn(within) == ("haiku", False, 1.0)


# --- advice -----------------------------------------------------------------------------------------------------


class _Raising:
    def predict(self, prompts: Sequence[Any], /, *, models: Sequence[Any]) -> Mapping[str, Any]:
        raise ZeroDivisionError(f"no idea about {len(prompts)} prompts and {len(models)} models")


class _Forgetful:
    def predict(self, prompts: Sequence[Any], /, *, models: Sequence[Any]) -> Mapping[str, Any]:  # noqa: ARG002
        return {}


class _BrokenLedger(Ledger):
    def readable(self, *args: Any) -> Any:
        raise OSError("the ledger's store is gone", args)

    record = warm_prefix = readable


class _Misusing:
    def predict(self, prompts: Sequence[Any], /, *, models: Sequence[Any]) -> Mapping[str, Any]:
        raise InvalidRequestError(f"cannot tell of {len(prompts)} prompts and {len(models)} models")


@pytest.mark.parametrize(
    "predictor", [_Raising(), _Forgetful(), _Misusing()], ids=["raises", "tells nothing", "raises an error of ours"]
)
def test_a_failing_predictor_leaves_it_to_the_fallback_model(
    predictor: Any, drive: Driver, endpoint: LocalEndpoint, boto3_client: Any
) -> None:
    """The call goes to the fallback model, and the trace says what went wrong."""
    registry = RouterRegistry(predictor=predictor)
    client = Client(boto3_client, routers=registry, clock=endpoint.settings.clock)
    outcome = drive(client, {"modelId": CLAUDE_ROUTER, "messages": [user(HELLO)]})
    assert outcome.trace is not None
    assert outcome.trace["status"] == "complete"
    assert outcome.trace["invoked_model_id"].endswith(SONNET)
    assert outcome.trace["decision"] is None
    assert [failure.partition(":")[0] for failure in outcome.trace["advice_failures"]] == ["routing"]


def test_a_failing_ledger_does_not_break_the_call(drive: Driver, endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """Without a ledger the request goes out as the caller wrote it, and its reply comes back."""
    client = Client(boto3_client, ledger=_BrokenLedger(), clock=endpoint.settings.clock)
    outcome = drive(client, {"modelId": HAIKU, "messages": [user(LONG, HELLO)]})
    assert outcome.error is None
    assert outcome.trace is not None
    assert outcome.trace["placement"]["points"] == []
    assert any("OSError" in failure for failure in outcome.trace["advice_failures"])


def test_a_failing_placement_leaves_it_to_the_fallback_model(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """Even where another model was chosen, the plain request goes to the fallback model."""
    ledger = _UnplacingLedger()
    client = Client(boto3_client, ledger=ledger, clock=endpoint.settings.clock)
    reply = client.converse(modelId=CLAUDE_ROUTER, messages=[user(LONG, HELLO)])
    assert "haiku" in reply["pointsman"]["decision"]["model"]
    assert reply["trace"]["promptRouter"]["invokedModelId"].endswith(SONNET)
    assert reply["pointsman"]["placement"]["points"] == []
    assert reply["pointsman"]["advice_failures"] == ["placement: OSError: the ledger's store is gone"]


class _UnplacingLedger(Ledger):
    """Fails once the decision has been made: when the chosen model's points are checked against the ledger."""

    decided = 0

    def warm_prefix(self, *args: Any) -> Any:
        self.decided += 1
        if self.decided > 2:
            raise OSError("the ledger's store is gone")
        return super().warm_prefix(*args)


def test_a_request_of_another_shape_is_left_to_botocore(drive: Driver, client: Client, endpoint: LocalEndpoint) -> None:
    """What can't be outlined is sent as it is; botocore says what is wrong with it."""
    outcome = drive(client, {"modelId": HAIKU, "messages": [{"role": "user", "content": "text"}]})
    assert type(outcome.error).__name__ == "ParamValidationError"
    assert endpoint.account()["requests"] == 0


# --- accounting -------------------------------------------------------------------------------------------------


def test_the_trace_agrees_with_the_endpoints_account(drive: Driver, client: Client, endpoint: LocalEndpoint) -> None:
    """Written once, read by the next request, and every token in the bucket in which the endpoint has it."""
    request = {"modelId": HAIKU, "system": [{"text": LONG}], "messages": _CHAT[:1]}
    first, second = drive(client, request), drive(client, {**request, "messages": _CHAT})
    assert first.trace is not None and second.trace is not None
    usages = [first.trace["usage"], second.trace["usage"]]
    account = endpoint.account()["models"][HAIKU]
    assert usages[0]["cache_write_tokens"] > 0
    assert usages[1]["cache_read_tokens"] == usages[0]["cache_write_tokens"]
    assert sum(usage["cache_read_tokens"] for usage in usages) == account["cache_read_tokens"]
    written_1h = sum(usage["cache_write_1h_tokens"] for usage in usages)
    assert written_1h == account["cache_write_1h_tokens"]
    assert sum(usage["cache_write_tokens"] for usage in usages) - written_1h == account["cache_write_5m_tokens"]
    assert sum(usage["output_tokens"] for usage in usages) == account["output_tokens"]
    assert second.trace["expected_read_tokens"] == usages[1]["cache_read_tokens"]


def test_estimates_learn_from_what_comes_back(client: Client) -> None:
    """After one reply the tokens of a placement are close to what the model counts."""
    request = {"modelId": HAIKU, "system": [{"text": LONG}], "messages": [user(HELLO)]}

    def error() -> float:
        trace = client.converse(**request)["pointsman"]
        return abs(trace["placement"]["points"][-1]["tokens"] / trace["usage"]["input_tokens"] - 1)

    assert error() > 0.02
    assert error() < 0.01


@pytest.mark.parametrize(
    ("usage", "points", "cuts"),
    [
        (Usage(input_tokens=9_000), (), [(2, 9_000)]),
        (Usage(input_tokens=9_000, cache_write_tokens=5_000), (1,), [(1, 5_000), (2, 9_000)]),
        (
            Usage(input_tokens=9_000, cache_read_tokens=4_000, cache_write_tokens=1_000),
            (0, 1),
            [(1, 5_000), (2, 9_000)],
        ),
        (Usage(input_tokens=9_000, cache_write_tokens=8_500), (1,), [(2, 9_000)]),
        (Usage(input_tokens=9_000, cache_read_tokens=4_000), (0, 1), [(2, 9_000)]),
    ],
    ids=["all", "written", "read and written", "written nearly to the end", "only read"],
)
def test_the_usage_tells_the_tokens_up_to_some_blocks(
    usage: Usage, points: tuple[int, ...], cuts: list[tuple[int, int]]
) -> None:
    """All of a prompt, and the part before the last cache point if something was written up to it."""
    assert cuts_of(usage, points, (4_000, 1_000, 4_000)) == cuts


def test_what_stands_before_an_uncountable_block_is_told_too() -> None:
    """Up to a point before the PDF, or what was read of what was expected; a point behind it tells nothing."""
    written = Usage(input_tokens=30_000, cache_write_tokens=4_100)
    assert cuts_of(written, (0,), (4_000, None, 20)) == [(0, 4_100)]
    assert cuts_of(written, (0, 1), (4_000, None, 20)) == []
    read = replace(written, cache_read_tokens=4_100)
    assert cuts_of(read, (0, 1), (4_000, None, 20), expected=0) == [(0, 4_100)]
    assert cuts_of(replace(read, cache_read_tokens=2_000), (0, 1), (4_000, None, 20), expected=0) == []


def test_a_model_that_caches_only_so_much_tells_nothing_there() -> None:
    """What was cached may have ended anywhere before the point."""
    usage = Usage(input_tokens=90_000, cache_write_tokens=20_000)
    assert cuts_of(usage, (0,), (40_000, 50_000), model=NOVA_LITE) == [(1, 90_000)]


def cuts_of(
    usage: Usage,
    points: Sequence[int],
    tokens: Sequence[int | None],
    *,
    expected: int | None = None,
    model: str = HAIKU,
) -> list[tuple[int, int]]:
    """What that usage tells of blocks with these tokens and points behind them."""
    outline = Outline.of_blocks(Block("system", None, "text", bytes([at]), count) for at, count in enumerate(tokens))
    placement = Placement(points=tuple(CachePoint(after) for after in points))
    prefix = None if expected is None else outline.prefix(expected)
    return counted_cuts(outline, Catalog.default().resolve(model), placement, prefix, usage)


def test_a_cached_conversation_costs_less(client: Client) -> None:
    """What is written pays within four turns, and from the third on each is less than half of the uncached bill."""
    request, messages = {"modelId": HAIKU, "system": [{"text": LONG}]}, _CHAT[:1]
    bills = []
    for section in range(10, 14):
        trace = client.converse(**request, messages=messages)["pointsman"]
        bills.append((float(trace["cost"]["total"]), float(trace["cost_without_cache"])))
        messages = [*messages, assistant(f"Signal {section - 1}."), user(f"And section {section}?")]
    assert sum(bill for bill, _ in bills) < sum(uncached for _, uncached in bills)
    assert all(bill < 0.5 * uncached for bill, uncached in bills[2:])


@pytest.mark.parametrize(("times", "near"), [(40, True), (8, False)], ids=["just below", "far below"])
def test_a_prompt_just_below_the_minimum_is_told_of(times: int, near: bool, client: Client) -> None:
    """A little more in its system prompt, and it would be cached; of a plainly short one there is nothing to tell."""
    system = [{"text": "A train that stands at danger waits for the pointsman. " * times}]
    trace = client.converse(modelId=HAIKU, system=system, messages=[user("How long?")])["pointsman"]
    assert trace["miss"]["kind"] == "below minimum"
    assert trace["placement"]["points"] == []
    assert [one["section"] for one in trace["placement"]["just_below"]] == (["system", "messages"] if near else [])
    assert all(0.8 * 512 <= one["tokens"] < one["minimum_tokens"] == 512 for one in trace["placement"]["just_below"])


def test_what_a_guardrail_blocked_is_not_believed_warm(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """A reply with the stop reason `guardrail_intervened` books no write."""
    ledger = Ledger()
    client = Client(_Blocking(boto3_client), ledger=ledger, clock=endpoint.settings.clock)
    client.converse(modelId=HAIKU, messages=[user(LONG, HELLO)])
    again = client.converse(modelId=HAIKU, messages=[user(LONG, HELLO)])
    assert again["pointsman"]["expected_read_tokens"] == 0


class _Blocking:
    """A boto3 client whose replies a guardrail has blocked."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def converse(self, **request: Any) -> Any:
        return {**self._client.converse(**request), "stopReason": "guardrail_intervened"}


def test_a_switch_of_model_finds_its_cache_warm_again(client: Client) -> None:
    """Each model has its own cache: back on the first one, its prefix is expected and read."""
    request = {"system": [{"text": LONG}], "messages": [user(HELLO)]}
    written = client.converse(modelId=HAIKU, **request)["usage"]["cacheWriteInputTokens"]
    assert client.converse(modelId=SONNET, **request)["usage"]["cacheReadInputTokens"] == 0
    back = client.converse(modelId=HAIKU, **request)
    assert back["usage"]["cacheReadInputTokens"] == written
    assert back["pointsman"]["expected_read_tokens"] > 0


def test_after_the_ttl_nothing_is_expected(client: Client, endpoint: LocalEndpoint) -> None:
    """Five minutes after the last read the prefix is cold, in the endpoint and in the ledger."""
    request = {"modelId": HAIKU, "messages": [user(LONG, HELLO)]}
    client.converse(**request)
    endpoint.advance(299)
    assert client.converse(**request)["usage"]["cacheReadInputTokens"] > 0
    endpoint.advance(299)
    assert client.converse(**request)["usage"]["cacheReadInputTokens"] > 0, "a read restarts the TTL"
    endpoint.advance(301)
    cold = client.converse(**request)
    assert cold["usage"]["cacheReadInputTokens"] == 0
    assert cold["pointsman"]["expected_read_tokens"] == 0


def test_the_trace_holds_no_text_of_the_prompt(drive: Driver, client: Client) -> None:
    """A trace is plain JSON that can be logged: nothing of what was asked or answered is in it."""
    outcome = drive(client, {"modelId": CLAUDE_ROUTER, "system": [{"text": LONG}], "messages": [user(SISTERS)]})
    written = json.dumps(outcome.trace)
    assert "Alice" not in written
    assert "protects" not in written
