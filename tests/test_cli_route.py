"""`pointsman route`: a decision shown with all that it rests on, of a text, stdin or a request; nothing is sent."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pointsman.cli import main

HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"
LONG = {"system": [{"text": "You are a careful assistant. " * 600}]}

Cli = Callable[..., str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, no routers of one's own; and nothing is sent, not even to this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POINTSMAN_ROUTERS", str(tmp_path / "routers.toml"))

    def refuse(*_: Any) -> None:
        raise AssertionError("something was sent")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """cli(*arguments) is what `pointsman route` prints; it succeeds, says nothing on stderr, and has no colour."""

    def run(*arguments: str) -> str:
        assert main(["route", *arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert "\x1b" not in out
        return out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Cli:
    """refused(*arguments) is the one line on stderr with which it ends with 2; stdout is empty."""

    def run(*arguments: str) -> str:
        assert main(["route", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err.removeprefix("pointsman: ").strip()

    return run


def request(path: str, *blocks: dict[str, Any], **fields: Any) -> str:
    """The name of a file with a request of these blocks."""
    content = [{"text": "Describe it."}, *blocks]
    Path(path).write_text(json.dumps({"messages": [{"role": "user", "content": content}], **fields}))
    return path


def picture() -> dict[str, Any]:
    """A block that not every model takes."""
    return {"image": {"format": "png", "source": {"bytes": "aGVsbG8="}}}


def test_every_candidate_is_told_with_quality_and_bill(cli: Cli) -> None:
    """The chosen one is among them, and the reason is the decision's."""
    told = json.loads(cli("What is a mutex?", "--json"))
    candidates = {one["model"]: one for one in told["candidates"]}
    assert set(candidates) == {HAIKU, SONNET}
    assert told["model"] == HAIKU
    assert "cheaper" in told["reason"]
    assert Decimal(candidates[HAIKU]["expected_cost"]) < Decimal(candidates[SONNET]["expected_cost"])
    assert 0 < candidates[HAIKU]["expected_quality"] < candidates[SONNET]["expected_quality"] <= 1
    assert all(one["warm_tokens"] == 0 for one in candidates.values())
    assert told["sent"] is False


def test_it_prints_the_same_as_a_table(cli: Cli) -> None:
    """With what each figure means, and that nothing is warm."""
    shown = cli("What is a mutex?")
    told = json.loads(cli("What is a mutex?", "--json"))
    (chosen,) = [line for line in shown.splitlines() if line.rstrip().endswith("chosen")]
    assert HAIKU in chosen
    assert f"{told['candidates'][0]['expected_quality']:.3f}" in chosen
    assert f"{Decimal(told['candidates'][0]['expected_cost']):.6f}" in chosen
    assert told["reason"] in shown
    assert "nothing was sent before" in shown
    assert "Nothing was sent." in shown


def test_a_text_may_come_from_stdin(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is routed as if it had been written on the command line."""
    monkeypatch.setattr("sys.stdin", io.StringIO("What is a mutex?"))
    piped = json.loads(cli("-", "--json"))
    assert piped == json.loads(cli("What is a mutex?", "--json"))


def test_a_model_that_cant_serve_the_request_is_set_aside(cli: Cli, folder: Path) -> None:
    """With the reason; another one is chosen."""
    (folder / "routers.toml").write_text(
        f'[[router]]\nname = "two"\nmodels = ["meta.llama3-1-8b-instruct-v1:0", "{HAIKU}"]\n'
        f'fallback_model = "{HAIKU}"\nresponse_quality_difference = 1\n'
    )
    arguments = (request("picture.json", picture()), "--router", "two")
    told = json.loads(cli(*arguments, "--json"))
    assert told["set_aside"] == {"meta.llama3-1-8b-instruct-v1:0": "takes no images"}
    assert told["model"] == HAIKU
    shown = cli(*arguments)
    assert "no: takes no images" in shown
    assert "besides what can't be counted" in shown


def test_what_is_warm_makes_the_bill_smaller(cli: Cli) -> None:
    """--warm takes the prompt as just sent to a model, by its id or its profile's."""
    asked = request("long.json", **LONG)
    cold = json.loads(cli(asked, "--json"))
    warm = json.loads(cli(asked, "--warm", SONNET, "--json"))
    assert warm == json.loads(cli(asked, "--warm", SONNET.removeprefix("us."), "--json"))
    (before,) = [one for one in cold["candidates"] if one["model"] == SONNET]
    (after,) = [one for one in warm["candidates"] if one["model"] == SONNET]
    assert before["warm_tokens"] == 0
    assert after["warm_tokens"] > 3000
    assert Decimal(after["expected_cost"]) < Decimal(before["expected_cost"]) / 2
    assert f"{after['warm_tokens']:,}" in cli(asked, "--warm", SONNET)
    assert cold["placement"]["points"]


def test_what_cannot_be_warm_is_said_to_be(cli: Cli) -> None:
    """With the minimum that the prompt is below."""
    shown = cli("What is a mutex?", "--warm", HAIKU)
    assert "nothing: the prompt is below Claude Haiku 5.5's minimum of 512 tokens" in shown
    assert "just been sent" not in shown
    assert "as if it had just been sent" in cli(request("long.json", **LONG), "--warm", SONNET)


def test_the_requests_own_router_is_asked(cli: Cli, refused: Cli) -> None:
    """Unless another is named; a request that names a model leaves nothing to decide."""
    nova = request("nova.json", modelId="Nova Prompt Router")
    assert json.loads(cli(nova, "--json"))["router"] == "Nova Prompt Router"
    assert json.loads(cli(nova, "--router", "Anthropic Prompt Router", "--json"))["model"] in (HAIKU, SONNET)
    plain = request("plain.json", modelId=SONNET)
    assert f"names the model {SONNET}" in refused(plain)
    assert json.loads(cli(plain, "--router", "Nova Prompt Router", "--json"))["router"] == "Nova Prompt Router"


def test_the_models_are_those_of_the_region(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the option, else the environment's."""
    named = json.loads(cli("Hello?", "--region", "eu-central-1", "--json"))
    assert named["model"].startswith("eu.")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert json.loads(cli("Hello?", "--json")) == named


def test_what_is_changed_for_the_model_is_told(cli: Cli) -> None:
    """As the request would go out."""
    asked = request("hot.json", inferenceConfig={"temperature": 0.5})
    told = json.loads(cli(asked, "--json"))
    assert told["changes"][0]["field"] == "inferenceConfig.temperature"
    assert "inferenceConfig.temperature: left out" in cli(asked)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Missing argument 'PROMPT'"),
        (("  ",), "the prompt is empty"),
        (("absent.json",), "absent.json: it can't be read"),
        (("notes.txt",), "notes.txt is a file"),
        (("two.json",), "two.json holds more than one request"),
        (("broken.json",), "broken.json"),
        (('{"messages": []}',), "is a request as JSON"),
        (("Hello?", "--router", "nope"), "unknown router 'nope'"),
        (("Hello?", "--router", SONNET), "unknown router"),
        (("Hello?", "--predictor", "absent.npz"), "absent.npz: no such file"),
        (("Hello?", "--warm", "amazon.nova-pro-v1:0"), "--warm amazon.nova-pro-v1:0: the router"),
        (("picture.json", "--router", "Meta Prompt Router"), "takes no images"),
        (("hot.json",), "inferenceConfig.temperature is 7"),
    ],
)
def test_what_cant_be_routed_is_told_in_one_line(refused: Cli, arguments: tuple[str, ...], says: str) -> None:
    """With exit code 2."""
    Path("notes.txt").write_text("Hello?")
    Path("broken.json").write_text('{"messages": "Hello?"}')
    Path("two.json").write_text(json.dumps([json.loads(Path(request("one.json")).read_text())] * 2))
    request("picture.json", picture())
    request("hot.json", inferenceConfig={"temperature": 7})
    assert says in refused(*arguments)
