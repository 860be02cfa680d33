"""`pointsman routers`: the registry's file and Bedrock's own, listed, shown, created, deleted; and what finds them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pointsman.cli import main
from pointsman.local import LocalEndpoint
from pointsman.prompt_routers import PromptRouters

HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"
THRIFTY = ("thrifty", "--model", HAIKU, "--fallback", SONNET, "--difference", "0.1")

Cli = Callable[..., str]


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the environment names; it is not there yet, nor is its folder."""
    path = tmp_path / "settings" / "routers.toml"
    monkeypatch.setenv("POINTSMAN_ROUTERS", str(path))
    return path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """cli(*arguments) is what the command prints; it succeeds, says nothing on stderr, and writes no escape code."""

    def run(*arguments: str | Path) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert "\x1b" not in out
        return out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Cli:
    """refused(*arguments) is the one line on stderr with which it ends; stdout is empty."""

    def run(*arguments: str | Path, code: int = 2) -> str:
        assert main([str(argument) for argument in arguments]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err.removeprefix("pointsman: ").strip()

    return run


def test_a_router_lives_from_create_to_delete(cli: Cli, refused: Cli, file: Path) -> None:
    """In the file of the environment, whose folder is made; the default ones are always listed."""
    created = json.loads(cli("routers", "create", *THRIFTY, "--description", "cheap first", "--json"))
    assert (created["name"], created["type"], created["description"]) == ("thrifty", "custom", "cheap first")
    assert created["response_quality_difference"] == 0.1
    assert tomllib.loads(file.read_text())["router"][0]["models"] == [HAIKU]
    listed = json.loads(cli("routers", "list", "--json"))
    assert [one["name"] for one in listed["routers"]][-1] == "thrifty"
    assert {one["type"] for one in listed["routers"]} == {"default", "custom"}
    assert listed["kept_in"] == str(file)
    assert json.loads(cli("routers", "get", "thrifty", "--json")) == created
    assert json.loads(cli("routers", "get", created["arn"], "--json")) == created
    assert json.loads(cli("routers", "delete", "thrifty", "--json"))["deleted"] == created["arn"]
    assert "router" not in tomllib.loads(file.read_text())
    assert refused("routers", "get", "thrifty").startswith("unknown router 'thrifty'. Known in ")


def test_it_prints_a_table(cli: Cli, file: Path) -> None:
    """And says where they are kept."""
    assert f"Kept in {file}, which is not there yet" in cli("routers", "list")
    cli("routers", "create", *THRIFTY)
    listed = cli("routers", "list")
    assert any(f"thrifty custom {HAIKU} {SONNET} 0.1" in " ".join(line.split()) for line in listed.splitlines())
    assert f"Kept in {file};" in listed
    assert "Anthropic Prompt Router" in listed
    shown = cli("routers", "get", "thrifty")
    about = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert (about["Router"], about["Type"], about["Difference"]) == ("thrifty", "custom", "0.1")
    assert about["Models"].endswith(f":inference-profile/{HAIKU}")
    assert about["Fallback"].endswith(f":inference-profile/{SONNET}")
    assert about["ARN"].endswith(json.loads(cli("routers", "get", "thrifty", "--json"))["arn"])
    assert cli("routers", "delete", "thrifty") == f"Deleted thrifty from {file}.\n"


def test_another_file_may_be_named(cli: Cli, file: Path, tmp_path: Path) -> None:
    """The environment's is then left alone."""
    other = tmp_path / "other.toml"
    cli("routers", "create", *THRIFTY, "--file", other)
    assert other.exists()
    assert not file.exists()
    assert "thrifty" not in cli("routers", "list")


def test_without_a_word_it_is_among_the_users_settings(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """~/.config/pointsman/routers.toml, or in XDG_CONFIG_HOME."""
    monkeypatch.delenv("POINTSMAN_ROUTERS")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    cli("routers", "create", *THRIFTY)
    assert (tmp_path / ".config/pointsman/routers.toml").exists()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    cli("routers", "create", *THRIFTY)
    assert (tmp_path / "xdg/pointsman/routers.toml").exists()


def test_every_command_finds_it(cli: Cli, refused: Cli, endpoint: LocalEndpoint, tmp_path: Path) -> None:
    """By its name; the question goes to one of its models."""
    cli("routers", "create", *THRIFTY)
    told = json.loads(
        cli("ask", "-q", "Define a hash.", "--router", "thrifty", "--endpoint-url", endpoint.url, "--json")
    )
    assert told["asked"] == "thrifty"
    assert told["answers"][0]["invoked_model_id"] in (HAIKU, SONNET)
    routed = json.loads(cli("route", "Define a hash.", "--router", "thrifty", "--json"))
    assert routed["router"] == "thrifty"
    assert routed["response_quality_difference"] == 0.1
    labels, log = tmp_path / "labels.jsonl", tmp_path / "log.jsonl"
    row = {"prompt": "Define a hash.", "category": "fact", "quality": {HAIKU: 0.5, SONNET: 1.0}}
    labels.write_text("".join(json.dumps({**row, "prompt": f"Define hash {n}."}) + "\n" for n in range(8)))
    evaluated = json.loads(cli("evaluate", labels, "--router", "thrifty", "--json"))
    assert evaluated["standings"][0]["name"] == "thrifty"
    log.write_text(json.dumps({"timestamp": 0, "input_length": 900, "output_length": 9, "hash_ids": [1, 2]}))
    assert "'thrifty' needs to decide" in refused("replay", log, "--router", "thrifty")


def test_the_region_is_that_of_the_aws_configuration(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither an option nor a variable names one; a profile that isn't there stops only those who call."""
    settings = tmp_path / "config"
    settings.write_text("[default]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(settings))
    assert json.loads(cli("route", "Define a hash.", "--json"))["region"] == "eu-central-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert json.loads(cli("route", "Define a hash.", "--json"))["region"] == "eu-west-1"
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert json.loads(cli("route", "Define a hash.", "--json"))["region"] == "us-east-1"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "thrifty"), "Missing option"),
        (("create", *THRIFTY[:-1], "1.5"), "--difference"),
        (("create", "a/b", *THRIFTY[1:]), "promptRouterName is 'a/b'"),
        (("create", "Nova Prompt Router", *THRIFTY[1:]), "'Nova Prompt Router' exists"),
        (("create", *THRIFTY[:-1], "0.1", "--file", "blocked/routers.toml"), "can't write blocked/routers.toml"),
        (("create", "mine", "--model", "nope", *THRIFTY[3:]), "--model 'nope' names no model. Give an id"),
        (("create", *THRIFTY[:3], "--fallback", "nope", *THRIFTY[5:]), "--fallback 'nope' names no model"),
        (("delete", "Nova Prompt Router"), "'Nova Prompt Router' is a default prompt router, which can't be deleted"),
        (("list", "--aws"), "name one with --region, or set AWS_REGION. Without AWS: --endpoint-url of a running"),
        (("delete", "nope"), "unknown router 'nope'"),
        (("get",), "Missing argument 'NAME'"),
        (("list", "--file", "."), "the routers in . can't be read"),
        (("list", "--endpoint-url", "http://127.0.0.1:9"), "--endpoint-url goes with --aws"),
        (("list", "--aws", "--endpoint-url", "http://127.0.0.1:9"), "nothing answers at http://127.0.0.1:9"),
        (("lst",), "Did you mean 'list'?"),
    ],
)
def test_what_cant_be_done_is_told_in_one_line(
    refused: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    """With exit code 2."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blocked").write_text("no folder")
    assert says in refused("routers", *arguments)


def test_a_broken_file_is_told_by_every_command(refused: Cli, file: Path) -> None:
    """Before anything is sent."""
    file.parent.mkdir()
    file.write_text("[[router]]\nname = 7")
    assert "can't be used" in refused("routers", "list")
    assert "can't be used" in refused("route", "Hello?")


def test_a_model_that_nobody_knows_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    """It may be a slip of the pen; the router is made all the same."""
    arguments = ("routers", "create", "odd", "--model", "acme.x-1", "--fallback", SONNET, "--difference", "0")
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "odd" in out
    assert err.startswith("pointsman: warning: model 'acme.x-1' is not in the catalogue")


def test_bedrocks_own_are_spoken_to_by_its_api(cli: Cli, refused: Cli, file: Path, endpoint: LocalEndpoint) -> None:
    """Profiles and models are given to it by their ARNs; nothing is written here."""
    there = ("--aws", "--endpoint-url", endpoint.url)
    models = ("--model", "us.amazon.nova-lite-v1:0", "--model", "amazon.nova-pro-v1:0")
    new = ("mine", *models, "--fallback", "amazon.nova-pro-v1:0", "--difference", "0.2")
    created = json.loads(cli("routers", "create", *new, *there, "--json"))
    try:
        assert created["models"][0].endswith(":inference-profile/us.amazon.nova-lite-v1:0")
        assert created["fallback_model"].endswith("::foundation-model/amazon.nova-pro-v1:0")
        control = endpoint.client("bedrock")
        held = control.get_prompt_router(promptRouterArn=created["arn"])
        assert held["routingCriteria"] == {"responseQualityDifference": 0.2}
        listed = json.loads(cli("routers", "list", *there, "--json"))
        assert created in [{"kept_in": listed["kept_in"], **one} for one in listed["routers"]]
        assert json.loads(cli("routers", "get", "mine", *there, "--json"))["arn"] == created["arn"]
        assert "exists" in refused("routers", "create", *new, *there, code=1)
    finally:
        cli("routers", "delete", "mine", *there)
    assert "unknown router 'mine'" in refused("routers", "get", "mine", *there)
    assert not file.exists()


def test_every_page_of_bedrocks_is_read(cli: Cli, monkeypatch: pytest.MonkeyPatch, endpoint: LocalEndpoint) -> None:
    """A page ends with a token as long as there is another."""
    defaults = {"maxResults": 1, "nextToken": None, "type": None}
    monkeypatch.setattr(PromptRouters.list_prompt_routers, "__kwdefaults__", defaults)
    listed = json.loads(cli("routers", "list", "--aws", "--endpoint-url", endpoint.url, "--json"))
    assert len(listed["routers"]) == 3


def test_without_a_command_it_prints_its_help(cli: Cli) -> None:
    """As `--help` does."""
    assert cli("routers") == cli("routers", "--help")
