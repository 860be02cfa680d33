"""The registry: which router a `modelId` names, with its models as they are invoked from the client's Region."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointsman import Router, RouterRegistry, RoutingCriteria
from pointsman.routing import ComplexityPredictor, ShippedPredictor

ARN = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
OWN = Router(
    name="own",
    models=["amazon.nova-lite-v1:0"],
    fallback_model="amazon.nova-pro-v1:0",
    criteria=RoutingCriteria(response_quality_difference=0.1),
)


@pytest.mark.parametrize("model_id", [ARN, "Anthropic Prompt Router", "anthropic.claude:1"])
def test_a_default_router_is_found_by_arn_name_or_id(model_id: str) -> None:
    """Its criteria are those of the catalogue."""
    router = RouterRegistry().router(model_id)
    assert router is not None
    assert router.name == "Anthropic Prompt Router"
    assert router.criteria.response_quality_difference == 0.26


@pytest.mark.parametrize(
    "model_id",
    [
        "amazon.nova-pro-v1:0",
        "us.anthropic.claude-haiku-5-5",
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0",
        ARN.replace(":1", ":2"),
        ARN.replace("default-prompt-router", "prompt-router"),
        "",
    ],
)
def test_what_names_no_router_of_ours_is_none(model_id: str) -> None:
    """Models, profiles, and routers that only AWS may know."""
    assert RouterRegistry().router(model_id) is None


@pytest.mark.parametrize(
    ("region", "haiku", "sonnet"),
    [
        ("us-west-2", "us.", "us."),
        ("eu-central-1", "eu.", "eu."),
        ("ap-northeast-1", "jp.", "global."),
        ("sa-east-1", "global.", "global."),
    ],
)
def test_default_models_are_those_of_the_clients_geography(region: str, haiku: str, sonnet: str) -> None:
    """Whatever Region the ARN names: the client's endpoint serves the request. What it has no profile for is global."""
    router = RouterRegistry().router(ARN, region=region)
    assert router is not None
    assert router.model_ids == (f"{haiku}anthropic.claude-haiku-5-5", f"{sonnet}anthropic.claude-sonnet-5-5")


def test_without_a_clients_region_the_arns_counts() -> None:
    """A client that tells no Region is taken to be where the ARN is."""
    router = RouterRegistry().router(ARN.replace("us-east-1", "eu-west-1"))
    assert router is not None
    assert router.fallback_model == "eu.anthropic.claude-sonnet-5-5"


def test_a_router_made_in_code_is_found_by_its_name() -> None:
    """It is the very one, and goes before a kept one of the same name."""
    shadowing = Router(name="Nova Prompt Router", models=OWN.models, fallback_model="x", criteria=OWN.criteria)
    registry = RouterRegistry([OWN, shadowing])
    assert registry.router("own") is OWN
    assert registry.router("Nova Prompt Router") is shadowing


def test_a_created_router_is_routed_by_its_arn() -> None:
    """ARNs of its models become ids; per cent become a fraction; the reply echoes what was given."""
    registry = RouterRegistry()
    arn = registry.create_prompt_router(
        promptRouterName="mixed",
        models=[
            {"modelArn": "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"},
            {"modelArn": "us.anthropic.claude-haiku-5-5"},
            {"modelArn": "arn:aws:bedrock:us-east-1:123412341234:application-inference-profile/abc"},
        ],
        fallbackModel={
            "modelArn": "arn:aws:bedrock:us-east-1:123412341234:inference-profile/us.anthropic.claude-sonnet-5-5"
        },
        routingCriteria={"responseQualityDifference": 26},
    )["promptRouterArn"]
    router = registry.router(arn)
    assert router is not None
    assert router is registry.router(arn)
    assert router.criteria.response_quality_difference == 0.26
    assert router.model_ids == (
        "amazon.nova-lite-v1:0",
        "us.anthropic.claude-haiku-5-5",
        "arn:aws:bedrock:us-east-1:123412341234:application-inference-profile/abc",
        "us.anthropic.claude-sonnet-5-5",
    )
    criteria = registry.get_prompt_router(promptRouterArn=arn)["routingCriteria"]
    assert criteria == {"responseQualityDifference": 26.0}


def test_a_deleted_router_is_gone() -> None:
    """And one that was made anew under its name is the new one."""
    registry = RouterRegistry()

    def create(difference: float) -> str:
        arn: str = registry.create_prompt_router(
            promptRouterName="again",
            models=[{"modelArn": "amazon.nova-lite-v1:0"}],
            fallbackModel={"modelArn": "amazon.nova-pro-v1:0"},
            routingCriteria={"responseQualityDifference": difference},
        )["promptRouterArn"]
        return arn

    arn = create(0.1)
    assert registry.router(arn) is not None
    registry.delete_prompt_router(promptRouterArn=arn)
    assert registry.router(arn) is None
    create(0.2)
    router = registry.router(arn)
    assert router is not None
    assert router.criteria.response_quality_difference == 0.2


def test_an_edit_of_the_file_reaches_the_next_request(tmp_path: Path) -> None:
    """The registry keeps its routers where a person can change them."""
    path = tmp_path / "routers.toml"
    table = """
        [[router]]
        name = "own"
        models = ["amazon.nova-lite-v1:0"]
        fallback_model = "amazon.nova-pro-v1:0"
        response_quality_difference = 0.1
    """
    path.write_text(table)
    registry = RouterRegistry(path=path)
    before = registry.router("own")
    path.write_text(table.replace("0.1", "0.25"))
    after = registry.router("own")
    assert before is not None and after is not None
    assert (before.criteria.response_quality_difference, after.criteria.response_quality_difference) == (0.1, 0.25)


def test_the_file_may_be_named_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell would have it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "routers.toml").write_text(
        '[[router]]\nname = "own"\nmodels = ["amazon.nova-lite-v1:0"]\nfallback_model = "amazon.nova-pro-v1:0"\n'
        "response_quality_difference = 0.1\n"
    )
    assert RouterRegistry(path="~/routers.toml").router("own") is not None


def test_kept_routers_use_the_registrys_predictor() -> None:
    """The user's own, or the shipped heads."""
    own = ComplexityPredictor()
    given, default = RouterRegistry(predictor=own).router(ARN), RouterRegistry().router(ARN)
    assert given is not None and default is not None
    assert given.predictor is own
    assert isinstance(default.predictor, ShippedPredictor)


def test_kept_routers_explore_the_registrys_share() -> None:
    """None by default."""
    exploring, default = RouterRegistry(exploration=0.02).router(ARN), RouterRegistry().router(ARN)
    assert exploring is not None and default is not None
    assert (exploring.exploration, default.exploration) == (0.02, 0.0)
