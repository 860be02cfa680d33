"""Prompt routers as the control plane keeps them: AWS's arguments, replies, limits and errors, and the TOML file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

from pointsman import PointsmanWarning, PromptRouterError
from pointsman.errors import InvalidRouterError, RouterConflictError, RouterNotFoundError, TooManyTagsError
from pointsman.local import LocalEndpoint
from pointsman.prompt_routers import PromptRouters

SERVICE = ServiceModel(Loader().load_service_model("bedrock", "service-2"), "bedrock")
LITE = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
PRO = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"
GOOD: Mapping[str, Any] = {
    "promptRouterName": "two novas",
    "models": [{"modelArn": LITE}],
    "fallbackModel": {"modelArn": PRO},
    "routingCriteria": {"responseQualityDifference": 0.05},
}
CREATED = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def routers() -> PromptRouters:
    """The routers of a new account."""
    return PromptRouters(now=lambda: CREATED)


def create(routers: PromptRouters, name: str = "two novas", **changes: Any) -> str:
    arn: str = routers.create_prompt_router(**{**GOOD, "promptRouterName": name, **changes})["promptRouterArn"]
    return arn


def names(routers: PromptRouters, **arguments: Any) -> list[str]:
    return [one["promptRouterName"] for one in routers.list_prompt_routers(**arguments)["promptRouterSummaries"]]


# --- the API's shapes -------------------------------------------------------------------------------------------


def _validated(shape: Shape | None, value: Any) -> None:
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()
    assert set(value) <= set(shape.members)  # type: ignore[union-attr]


def test_replies_have_the_shapes_of_the_api(routers: PromptRouters) -> None:
    """botocore's own validator finds every required member, no other one, and the right types."""
    created = routers.create_prompt_router(**GOOD, description="Two of Amazon", tags=[{"key": "team", "value": "a"}])
    _validated(SERVICE.operation_model("CreatePromptRouter").output_shape, created)
    _validated(SERVICE.operation_model("GetPromptRouter").output_shape, routers.get_prompt_router(**created))
    listed = routers.list_prompt_routers(maxResults=1)
    _validated(SERVICE.operation_model("ListPromptRouters").output_shape, listed)
    for summary in routers.list_prompt_routers()["promptRouterSummaries"]:
        _validated(SERVICE.shape_for("PromptRouterSummary"), summary)
    _validated(SERVICE.operation_model("DeletePromptRouter").output_shape, routers.delete_prompt_router(**created))


@pytest.mark.parametrize(
    "operation", ["CreatePromptRouter", "GetPromptRouter", "ListPromptRouters", "DeletePromptRouter"]
)
def test_arguments_are_those_of_the_api(operation: str, routers: PromptRouters) -> None:
    """Each operation takes the members of its input shape by keyword, and the required ones are required."""
    shape = SERVICE.operation_model(operation).input_shape
    method = {
        "CreatePromptRouter": routers.create_prompt_router,
        "GetPromptRouter": routers.get_prompt_router,
        "ListPromptRouters": routers.list_prompt_routers,
        "DeletePromptRouter": routers.delete_prompt_router,
    }[operation]
    defaults = method.__kwdefaults__ or {}
    arguments = set(method.__code__.co_varnames[1 : 1 + method.__code__.co_kwonlyargcount])
    assert arguments == set(shape.members)
    assert arguments - set(defaults) == set(shape.required_members)


def test_errors_are_those_of_the_api() -> None:
    """Codes and HTTP statuses as botocore's model has them, in a `response` like ClientError's."""
    for error in (InvalidRouterError, RouterConflictError, RouterNotFoundError, TooManyTagsError):
        shape = SERVICE.shape_for(error.code)
        assert shape.metadata["error"]["httpStatusCode"] == error.status
        raised = error("no")
        assert isinstance(raised, PromptRouterError)
        assert raised.response["Error"] == {"Code": error.code, "Message": "no"}
        assert raised.response["ResponseMetadata"]["HTTPStatusCode"] == error.status


def test_boto3_gets_the_same_over_http(endpoint: LocalEndpoint) -> None:
    """boto3's own parser reads what the endpoint's control plane makes of these routers, dates and errors too."""
    control = endpoint.client("bedrock")
    arn = control.create_prompt_router(**GOOD)["promptRouterArn"]
    try:
        got = control.get_prompt_router(promptRouterArn=arn)
        assert got["models"] == GOOD["models"]
        assert got["createdAt"].tzinfo is not None
        with pytest.raises(control.exceptions.ConflictException):
            control.create_prompt_router(**GOOD)
    finally:
        control.delete_prompt_router(promptRouterArn=arn)
    with pytest.raises(control.exceptions.ResourceNotFoundException):
        control.get_prompt_router(promptRouterArn=arn)
    with pytest.raises(ClientError, match="ValidationException"):
        control.create_prompt_router(**{**GOOD, "routingCriteria": {"responseQualityDifference": 101}})


# --- create -----------------------------------------------------------------------------------------------------


def test_what_was_created_is_got(routers: PromptRouters) -> None:
    """By ARN and by name, with everything as it was given."""
    arn = create(routers, description="Two of Amazon")
    assert arn.startswith("arn:aws:bedrock:us-east-1:123412341234:prompt-router/")
    for name in (arn, "two novas"):
        assert routers.get_prompt_router(promptRouterArn=name) == {
            "promptRouterName": "two novas",
            "routingCriteria": {"responseQualityDifference": 0.05},
            "description": "Two of Amazon",
            "createdAt": CREATED,
            "updatedAt": CREATED,
            "promptRouterArn": arn,
            "models": [{"modelArn": LITE}],
            "fallbackModel": {"modelArn": PRO},
            "status": "AVAILABLE",
            "type": "custom",
        }


def test_more_than_two_models_of_several_families_are_taken(routers: PromptRouters) -> None:
    """Named by ARN, profile or id; replies give them as ARNs."""
    ids = ["amazon.nova-lite-v1:0", "us.anthropic.claude-haiku-5-5", LITE, "meta.llama3-1-8b-instruct-v1:0"]
    arn = create(routers, models=[{"modelArn": model} for model in ids])
    assert [model["modelArn"] for model in routers.get_prompt_router(promptRouterArn=arn)["models"]] == [
        LITE,
        "arn:aws:bedrock:us-east-1:123412341234:inference-profile/us.anthropic.claude-haiku-5-5",
        LITE,
        "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-1-8b-instruct-v1:0",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"promptRouterName": ""},
        {"promptRouterName": "n" * 65},
        {"promptRouterName": "a  b"},
        {"promptRouterName": " a"},
        {"promptRouterName": "naïve"},
        {"promptRouterName": None},
        {"description": ""},
        {"description": "d" * 201},
        {"description": "no, commas"},
        {"models": []},
        {"models": "amazon.nova-lite-v1:0"},
        {"models": {"modelArn": LITE}},
        {"models": [LITE]},
        {"models": [{"modelArn": "nova"}]},
        {"models": [{"modelArn": "arn:aws:s3:::bucket"}]},
        {"fallbackModel": {}},
        {"fallbackModel": {"modelArn": 7}},
        {"fallbackModel": None},
        {"routingCriteria": {}},
        {"routingCriteria": None},
        {"routingCriteria": {"responseQualityDifference": -0.01}},
        {"routingCriteria": {"responseQualityDifference": 100.1}},
        {"routingCriteria": {"responseQualityDifference": True}},
        {"routingCriteria": {"responseQualityDifference": float("nan")}},
        {"routingCriteria": {"responseQualityDifference": "0.1"}},
        {"tags": [{"key": "only"}]},
        {"tags": ["team"]},
        {"tags": [{"key": "", "value": "a"}]},
        {"tags": [{"key": "k" * 129, "value": "a"}]},
        {"tags": [{"key": "k", "value": "v" * 257}]},
        {"clientRequestToken": ""},
        {"clientRequestToken": "t" * 257},
    ],
    ids=lambda changes: repr(changes)[:50],
)
def test_what_breaks_the_limits_is_refused(changes: dict[str, Any], routers: PromptRouters) -> None:
    """ValidationException, and nothing was created."""
    with pytest.raises(InvalidRouterError):
        routers.create_prompt_router(**{**GOOD, **changes})
    assert names(routers, type="custom") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"promptRouterName": "n" * 64},
        {"promptRouterName": "My-Router_1 a"},
        {"description": "d:." * 66 + "ab"},
        {"routingCriteria": {"responseQualityDifference": 0}},
        {"routingCriteria": {"responseQualityDifference": 100}},
        {"tags": [{"key": "k" * 128, "value": ""}]},
        {"tags": [{"key": str(number), "value": "v"} for number in range(200)]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_reaches_the_limits_is_taken(changes: dict[str, Any], routers: PromptRouters) -> None:
    """The limits themselves are within them."""
    routers.create_prompt_router(**{**GOOD, **changes})
    assert len(names(routers, type="custom")) == 1


def test_too_many_tags_have_an_error_of_their_own(routers: PromptRouters) -> None:
    """TooManyTagsException, above 200."""
    with pytest.raises(TooManyTagsError):
        create(routers, tags=[{"key": str(number), "value": "v"} for number in range(201)])


def test_a_name_is_taken_once(routers: PromptRouters) -> None:
    """A second router of a name is a conflict, as is one of a default router's."""
    create(routers)
    with pytest.raises(RouterConflictError, match="two novas"):
        create(routers)
    with pytest.raises(RouterConflictError):
        create(routers, "Anthropic Prompt Router")


def test_a_request_token_makes_creating_idempotent(routers: PromptRouters) -> None:
    """The same token and arguments give the same router; other arguments are a conflict."""
    first = create(routers, clientRequestToken="token-1")
    assert create(routers, clientRequestToken="token-1") == first
    with pytest.raises(RouterConflictError):
        create(routers, "another", clientRequestToken="token-1")
    routers.delete_prompt_router(promptRouterArn=first)
    create(routers, clientRequestToken="token-1")


# --- get, list, delete ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arn",
    [
        "nothing of that name",
        "arn:aws:bedrock:us-east-1:123412341234:prompt-router/000000000000",
        "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:2",
        LITE,
    ],
)
def test_what_is_not_there_is_not_found(arn: str, routers: PromptRouters) -> None:
    """For getting and for deleting."""
    with pytest.raises(RouterNotFoundError):
        routers.get_prompt_router(promptRouterArn=arn)
    with pytest.raises(RouterNotFoundError):
        routers.delete_prompt_router(promptRouterArn=arn)


def test_another_accounts_router_is_not_found(routers: PromptRouters) -> None:
    """A created router's ARN holds in its own account and Region only."""
    arn = create(routers)
    for other in (arn.replace("123412341234", "999900001111"), arn.replace("us-east-1", "eu-west-1")):
        with pytest.raises(RouterNotFoundError):
            routers.get_prompt_router(promptRouterArn=other)


def test_default_routers_answer_in_every_account_and_region(routers: PromptRouters) -> None:
    """They are known by how their ARN ends; their models are those of the ARN's Region."""
    arn = "arn:aws:bedrock:eu-west-1:999900001111:default-prompt-router/anthropic.claude:1"
    got = routers.get_prompt_router(promptRouterArn=arn)
    assert got["promptRouterArn"] == arn
    assert got["fallbackModel"]["modelArn"] == (
        "arn:aws:bedrock:eu-west-1:999900001111:inference-profile/eu.anthropic.claude-sonnet-5-5"
    )
    assert (got["type"], got["status"]) == ("default", "AVAILABLE")


def test_default_routers_cannot_be_deleted(routers: PromptRouters) -> None:
    """ValidationException."""
    with pytest.raises(InvalidRouterError, match="default"):
        routers.delete_prompt_router(promptRouterArn="Anthropic Prompt Router")


def test_listing_is_paginated(routers: PromptRouters) -> None:
    """Page after page gives every router once, the default ones first; the last page has no token."""
    for number in range(7):
        create(routers, f"router {number}")
    seen, token, pages = [], None, 0
    while True:
        page = routers.list_prompt_routers(maxResults=3, nextToken=token)
        seen += [one["promptRouterName"] for one in page["promptRouterSummaries"]]
        pages += 1
        if (token := page.get("nextToken")) is None:
            break
    assert seen == names(routers)
    assert seen[3:] == [f"router {number}" for number in range(7)]
    assert pages == 4


def test_a_page_that_is_just_full_is_the_last(routers: PromptRouters) -> None:
    """No token for a page of nothing."""
    assert "nextToken" not in routers.list_prompt_routers(maxResults=3)


def test_listing_by_type(routers: PromptRouters) -> None:
    """`default`, `custom`, or both."""
    create(routers)
    assert names(routers, type="custom") == ["two novas"]
    assert names(routers, type="default") == ["Anthropic Prompt Router", "Nova Prompt Router", "Meta Prompt Router"]
    assert len(names(routers)) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        {"maxResults": 0},
        {"maxResults": 1001},
        {"maxResults": "ten"},
        {"type": "mine"},
        {"nextToken": "hello"},
        {"nextToken": "LTU="},
        {"nextToken": "ümlaut"},
    ],
    ids=repr,
)
def test_listings_arguments_have_limits(arguments: dict[str, Any], routers: PromptRouters) -> None:
    """A token of another making, one that counts backwards too, is refused rather than read."""
    with pytest.raises(InvalidRouterError):
        routers.list_prompt_routers(**arguments)


# --- the file ---------------------------------------------------------------------------------------------------


EDITED = """\
# Routers of the team.

# Cheap by default.
[[router]]
name = "cheap"
models = [
    "amazon.nova-micro-v1:0",   # the smallest
    "amazon.nova-lite-v1:0",
]
fallback_model = "amazon.nova-pro-v1:0"
response_quality_difference = 0.5
tags = [
    ["team", "a"],
]

# For contracts: never below Sonnet.
[[router]]
name = "careful"
models = ["us.anthropic.claude-sonnet-5-5"]
fallback_model = "us.anthropic.claude-opus-5-5"
response_quality_difference = 2.5  # per cent
# end
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that a person has written."""
    path = tmp_path / "routers.toml"
    path.write_text(EDITED, "utf-8")
    return path


def _touch(path: Path, text: str) -> None:
    """Write as somebody else would, a moment later."""
    later = path.stat().st_mtime + 2
    path.write_text(text, "utf-8")
    os.utime(path, (later, later))


def test_a_file_is_read(file: Path) -> None:
    """Every table is a router; what it leaves out has its default."""
    routers = PromptRouters(path=file)
    assert names(routers, type="custom") == ["cheap", "careful"]
    got = routers.get_prompt_router(promptRouterArn="cheap")
    assert [model["modelArn"].partition("/")[2] for model in got["models"]] == [
        "amazon.nova-micro-v1:0",
        "amazon.nova-lite-v1:0",
    ]
    assert got["createdAt"].tzinfo is not None


def test_what_is_created_survives_a_restart(tmp_path: Path) -> None:
    """Written with everything that it was given, whatever characters it holds."""
    path = tmp_path / "new.toml"
    arn = create(PromptRouters(path=path, now=lambda: CREATED), tags=[{"key": "team", "value": "a b"}])
    again = PromptRouters(path=path)
    assert again.get_prompt_router(promptRouterArn=arn)["createdAt"] == CREATED
    assert again.records()[-1].tags == (("team", "a b"),)


@pytest.mark.parametrize(
    ("deleted", "kept", "comments"),
    [
        ("cheap", "careful", ["# Routers of the team.", "# For contracts: never below Sonnet.", "# end"]),
        ("careful", "cheap", ["# Routers of the team.", "# Cheap by default.", "# the smallest"]),
    ],
)
def test_comments_survive_a_delete(deleted: str, kept: str, comments: list[str], file: Path) -> None:
    """Only the deleted router's own lines go; what stands above its neighbours stays."""
    PromptRouters(path=file).delete_prompt_router(promptRouterArn=deleted)
    text = file.read_text("utf-8")
    assert [table["name"] for table in tomllib.loads(text)["router"]] == [kept]
    assert all(comment in text for comment in comments)
    assert names(PromptRouters(path=file), type="custom") == [kept]


def test_creating_appends_and_leaves_the_rest(file: Path) -> None:
    """The person's own lines are not rewritten."""
    routers = PromptRouters(path=file)
    create(routers)
    assert file.read_text("utf-8").startswith(EDITED.rstrip())
    assert set(names(PromptRouters(path=file), type="custom")) == {"cheap", "careful", "two novas"}


def test_edits_are_seen(file: Path) -> None:
    """The file is read again when it changed."""
    routers = PromptRouters(path=file)
    _touch(file, EDITED.replace('"careful"', '"very careful"'))
    assert "very careful" in names(routers)


@pytest.mark.parametrize(
    "broken",
    ["[[router]\n", '[[router]]\nname = "x"\n', "[router]\nname = 3\n", "router = 3\n", "router = [1]\n"],
)
def test_a_broken_edit_keeps_the_routers(broken: str, file: Path) -> None:
    """One warning, and the routers stay as they were until the file is mended."""
    routers = PromptRouters(path=file)
    _touch(file, broken)
    with pytest.warns(PointsmanWarning, match="stay as they were"):
        assert names(routers, type="custom") == ["cheap", "careful"]
    assert names(routers, type="custom") == ["cheap", "careful"]
    _touch(file, EDITED.replace('"careful"', '"mended"'))
    assert "mended" in names(routers)


@pytest.mark.parametrize("broken", ["[[router]\n", '[[router]]\nname = "x"\n', "router = 3\n", "\xff"])
def test_a_bad_file_at_the_start_is_an_error(broken: str, tmp_path: Path) -> None:
    """The error names the file: nobody should run with other routers than he believes."""
    path = tmp_path / "bad.toml"
    path.write_bytes(broken.encode("latin-1"))
    with pytest.raises(InvalidRouterError, match=r"bad\.toml"):
        PromptRouters(path=path)


def test_nothing_is_written_to_a_file_that_is_broken(file: Path) -> None:
    """Deleting and creating need a file that can be read; the person's half-made edit is not touched."""
    routers = PromptRouters(path=file)
    _touch(file, "[[router]\n")
    with pytest.warns(PointsmanWarning):
        names(routers)
    with pytest.raises(InvalidRouterError):
        create(routers)
    with pytest.raises(InvalidRouterError):
        routers.delete_prompt_router(promptRouterArn="cheap")
    assert file.read_text("utf-8") == "[[router]\n"
    assert names(routers, type="custom") == ["cheap", "careful"]


def test_a_file_of_inline_tables_is_read_but_not_edited(tmp_path: Path) -> None:
    """What can't be edited line by line is left to the person who wrote it."""
    path = tmp_path / "inline.toml"
    table = 'name = "a", models = ["amazon.nova-lite-v1:0"], fallback_model = "amazon.nova-pro-v1:0"'
    text = f"router = [{{{table}, response_quality_difference = 0}}]\n"
    path.write_text(text, "utf-8")
    routers = PromptRouters(path=path)
    with pytest.raises(InvalidRouterError, match="tables"):
        create(routers)
    with pytest.raises(InvalidRouterError, match="tables"):
        routers.delete_prompt_router(promptRouterArn="a")
    assert path.read_text("utf-8") == text
    assert names(routers, type="custom") == ["a"]


def test_a_file_that_was_taken_away_is_written_anew(file: Path) -> None:
    """Without the file the routers stay; the next change begins a new one."""
    routers = PromptRouters(path=file)
    file.unlink()
    routers.delete_prompt_router(promptRouterArn="cheap")
    assert names(routers, type="custom") == ["careful"]
    create(routers)
    assert "two novas" in file.read_text("utf-8")


def test_two_routers_of_one_name_in_a_file_are_refused(tmp_path: Path) -> None:
    """Which one would be meant?"""
    path = tmp_path / "twice.toml"
    table = EDITED.partition("# For contracts")[0]
    path.write_text(table + table, "utf-8")
    with pytest.raises(InvalidRouterError, match="cheap"):
        PromptRouters(path=path)
