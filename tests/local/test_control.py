"""The control plane: prompt routers, foundation models, inference profiles, through boto3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pointsman.catalog import Catalog
from pointsman.local import LocalEndpoint

PROFILES = "arn:aws:bedrock:us-east-1:123412341234:inference-profile"
HAIKU, SONNET = (f"{PROFILES}/us.anthropic.claude-{line}-5-5" for line in ("haiku", "sonnet"))
MESSAGES = [{"role": "user", "content": [{"text": "What is it?"}]}]


@pytest.fixture
def endpoint() -> Iterator[LocalEndpoint]:
    """One of its own for each test: routers outlive a test."""
    with LocalEndpoint() as running:
        yield running


def create(control: Any, name: str = "mine", **members: Any) -> str:
    created = control.create_prompt_router(
        promptRouterName=name,
        models=members.pop("models", [{"modelArn": HAIKU}, {"modelArn": SONNET}]),
        fallbackModel={"modelArn": SONNET},
        routingCriteria={"responseQualityDifference": members.pop("difference", 0.3)},
        **members,
    )
    arn: str = created["promptRouterArn"]
    return arn


def test_a_created_router_can_be_got_listed_used_and_deleted(control: Any, runtime: Any) -> None:
    arn = create(control, description="For tests", tags=[{"key": "team", "value": "rails"}])
    assert arn.startswith("arn:aws:bedrock:us-east-1:123412341234:prompt-router/")
    router = control.get_prompt_router(promptRouterArn=arn)
    assert router["promptRouterName"] == "mine"
    assert router["models"] == [{"modelArn": HAIKU}, {"modelArn": SONNET}]
    assert (router["status"], router["type"]) == ("AVAILABLE", "custom")
    assert abs(router["createdAt"] - datetime.now(UTC)).total_seconds() < 60
    (listed,) = control.list_prompt_routers(type="custom")["promptRouterSummaries"]
    assert listed["promptRouterArn"] == arn
    reply = runtime.converse(modelId=arn, messages=MESSAGES)
    assert reply["trace"] == {"promptRouter": {"invokedModelId": SONNET}}
    control.delete_prompt_router(promptRouterArn=arn)
    with pytest.raises(control.exceptions.ResourceNotFoundException):
        control.get_prompt_router(promptRouterArn=arn)
    with pytest.raises(runtime.exceptions.ResourceNotFoundException):
        runtime.converse(modelId=arn, messages=MESSAGES)


def test_routers_are_listed_page_by_page(control: Any) -> None:
    for number in range(5):
        create(control, f"router {number}")
    pages = list(control.get_paginator("list_prompt_routers").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["promptRouterSummaries"]) for page in pages] == [3, 3, 2]
    names = [one["promptRouterName"] for page in pages for one in page["promptRouterSummaries"]]
    assert names[3:] == [f"router {number}" for number in range(5)]


def test_a_name_is_given_once(control: Any, refused: Callable[..., Any]) -> None:
    create(control)
    code, status, _ = refused(lambda: create(control, difference=0.1))
    assert (code, status) == ("ConflictException", 400)


def test_limits_of_the_api_hold(control: Any, refused: Callable[..., Any]) -> None:
    for attempt in [
        lambda: create(control, "two  spaces"),
        lambda: create(control, difference=101),
        lambda: create(control, models=[]),
        lambda: control.list_prompt_routers(type="other"),
        lambda: control.list_prompt_routers(nextToken="nonsense"),
        lambda: control.delete_prompt_router(
            promptRouterArn="arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/meta.llama:1"
        ),
    ]:
        code, status, _ = refused(attempt)
        assert (code, status) == ("ValidationException", 400)


def test_the_default_routers_answer_in_any_account_and_region(endpoint: LocalEndpoint) -> None:
    runtime = endpoint.client(region_name="eu-central-1")
    arn = "arn:aws:bedrock:eu-central-1:999999999999:default-prompt-router/amazon.nova:1"
    reply = runtime.converse(modelId=arn, messages=MESSAGES)
    invoked = reply["trace"]["promptRouter"]["invokedModelId"]
    assert invoked == "arn:aws:bedrock:eu-central-1:999999999999:inference-profile/eu.amazon.nova-pro-v1:0"


def test_routers_may_be_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "routers.toml"
    with LocalEndpoint(routers_path=path) as endpoint:
        arn = create(endpoint.client("bedrock"))
    with LocalEndpoint(routers_path=path) as endpoint:
        assert endpoint.client("bedrock").get_prompt_router(promptRouterArn=arn)["promptRouterName"] == "mine"


def test_foundation_models_are_those_of_the_catalogue(control: Any) -> None:
    summaries = control.list_foundation_models()["modelSummaries"]
    assert [one["modelId"] for one in summaries] == [model.id for model in Catalog.default().models]
    nova = control.list_foundation_models(byProvider="Amazon")["modelSummaries"]
    assert nova
    assert {one["providerName"] for one in nova} == {"Amazon"}
    assert control.list_foundation_models(byOutputModality="IMAGE")["modelSummaries"] == []
    details = control.get_foundation_model(modelIdentifier="amazon.nova-lite-v1:0")["modelDetails"]
    assert details in nova
    assert control.get_foundation_model(modelIdentifier=details["modelArn"])["modelDetails"] == details


def test_an_inference_profile_names_the_model_behind_it(control: Any) -> None:
    profile = control.get_inference_profile(inferenceProfileIdentifier="us.anthropic.claude-haiku-5-5")
    assert profile["inferenceProfileArn"] == HAIKU
    assert profile["type"] == "SYSTEM_DEFINED"
    assert profile["models"] == [{"modelArn": "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-5-5"}]
    by_arn = control.get_inference_profile(inferenceProfileIdentifier=HAIKU)
    assert by_arn["inferenceProfileId"] == "us.anthropic.claude-haiku-5-5"


def test_an_application_profile_is_told_by_the_settings(refused: Callable[..., Any]) -> None:
    arn = "arn:aws:bedrock:us-east-1:123412341234:application-inference-profile/abc123"
    with LocalEndpoint(application_profiles={arn: "us.anthropic.claude-haiku-5-5"}) as endpoint:
        control = endpoint.client("bedrock")
        profile = control.get_inference_profile(inferenceProfileIdentifier=arn)
        assert (profile["inferenceProfileArn"], profile["inferenceProfileId"]) == (arn, "abc123")
        assert profile["models"][0]["modelArn"].endswith("/anthropic.claude-haiku-5-5")
        assert endpoint.client().converse(modelId=arn, messages=MESSAGES)["stopReason"] == "end_turn"
        code, status, _ = refused(lambda: control.get_inference_profile(inferenceProfileIdentifier=arn + "4"))
        assert (code, status) == ("ResourceNotFoundException", 404)


def test_unknown_models_are_not_found(control: Any, refused: Callable[..., Any]) -> None:
    code, status, _ = refused(lambda: control.get_foundation_model(modelIdentifier="amazon.nothing-v1:0"))
    assert (code, status) == ("ResourceNotFoundException", 404)
