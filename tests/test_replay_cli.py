"""`pointsman replay`: from logs to what is printed, drawn, and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pointsman import Client, TraceLog
from pointsman.cli import main
from pointsman.local import LocalEndpoint

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CHAT = [
    {"timestamp": 1000 * i, "input_length": 512 * (i + 3), "output_length": 9, "hash_ids": list(range(i + 3))}
    for i in range(10)
]

Cli = Callable[..., str]

POLICIES = """
from pointsman import CachePoint, Placement

def first_block(outline, model, ledger, now):
    return Placement((CachePoint(0),))

def first_model(request, candidates, ledger, now):
    return candidates[0][0]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a log that names no model, and policies of one's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chat.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in CHAT))
    (tmp_path / "mine.py").write_text(POLICIES)
    return tmp_path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """cli(*arguments) is what `pointsman replay` prints; it succeeds, and says nothing on stderr."""

    def run(*arguments: str | Path) -> str:
        assert main(["replay", *map(str, arguments)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Cli:
    """refused(*arguments) is the one line on stderr with which it ends with 2; stdout is empty."""

    def run(*arguments: str | Path) -> str:
        assert main(["replay", *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err.removeprefix("pointsman: ").strip()

    return run


@pytest.fixture
def traced(tmp_path: Path, endpoint: LocalEndpoint, boto3_client: Any) -> Path:
    """What a client really sent to the local endpoint, as its trace log holds it."""
    path = tmp_path / "traffic.jsonl"
    client = Client(boto3_client, clock=endpoint.settings.clock, on_trace=TraceLog(path))
    messages: list[dict[str, Any]] = []
    for turn in range(4):
        messages.append({"role": "user", "content": [{"text": f"Turn {turn}: why? {'Think it over. ' * 400}"}]})
        reply = client.converse(modelId=SONNET, messages=messages)
        messages.append(reply["output"]["message"])
        endpoint.advance(10)
    return path


class TestPrinted:
    def test_all_placements_stand_beside_each_other(self, cli: Cli) -> None:
        """With --compare; and beside what hindsight would have paid."""
        told = cli("chat.jsonl", "--model", SONNET, "--compare")
        rows = [line.split("  ")[0].strip() for line in told.splitlines()]
        wanted = ["none", "end-5m", "tools-system-end-5m", "everywhere-1h", "pointsman"]
        assert [row for row in rows if row in wanted] == wanted
        assert "best within the rules" in told
        assert "lower bound" in told
        assert "10 in 1 sessions" in told

    def test_json_is_one_document(self, cli: Cli) -> None:
        """With the figures as they are, money in strings."""
        told = json.loads(cli("chat.jsonl", "--model", SONNET, "--placement", "end-5m", "--json"))
        one = told["replays"]["end-5m"]
        assert one["requests"] == 10
        assert sum(one["shares"].values()) == pytest.approx(1)
        assert one["over_lower_bound"] >= 1
        assert float(told["bounds"]["lower_bound"]) <= float(told["bounds"]["best_within_rules"])
        assert told["skipped"] == {}

    def test_ones_own_traces_tell_what_was_paid(self, cli: Cli, traced: Path) -> None:
        """And the model that was asked."""
        told = json.loads(cli(traced, "--placement", "none", "--json"))
        owners = told["replays"]["none"]["owners_bill"]
        assert owners["requests"] == 4
        assert owners["saved"] < 0  # It was cached then.
        assert told["about"]["Model"] == SONNET.removeprefix("us.")
        assert "costs" in cli(traced, "--placement", "none")

    def test_a_plot_is_drawn(self, cli: Cli, folder: Path) -> None:
        """As SVG, the same bytes for the same bills, or PNG."""
        for name in ("one.svg", "two.svg", "three.png"):
            assert f"Plot: {name}" in cli("chat.jsonl", "--model", SONNET, "--plot", name)
        assert (folder / "one.svg").read_bytes() == (folder / "two.svg").read_bytes()
        assert b"lower bound" in (folder / "one.svg").read_bytes()
        assert (folder / "three.png").read_bytes().startswith(b"\x89PNG")

    def test_what_is_passed_over_is_told(self, cli: Cli, traced: Path) -> None:
        """With its reason."""
        lines = traced.read_text().splitlines()
        failed = {**json.loads(lines[-1]), "status": "failed", "id": "x-1"}
        traced.write_text("\n".join([*lines, json.dumps(failed)]))
        assert "Passed over: 1 request, they failed." in cli(traced)


class TestPolicies:
    def test_a_placement_of_ones_own_is_found_in_the_current_folder(self, cli: Cli) -> None:
        """By module and function."""
        told = json.loads(cli("chat.jsonl", "--model", SONNET, "--placement", "mine:first_block", "--json"))
        assert list(told["replays"]) == ["mine:first_block"]

    def test_a_router_of_ones_own_chooses_among_models(self, cli: Cli) -> None:
        """Then there is no bound."""
        told = json.loads(
            cli("chat.jsonl", "--router", "mine:first_model", "--models", f"{SONNET},amazon.nova-pro-v1:0", "--json")
        )
        assert told["replays"]["pointsman"]["requests_of"] == {SONNET.removeprefix("us."): 10}
        assert told["bounds"] is None

    def test_a_price_of_ones_own_counts(self, cli: Cli) -> None:
        """All five of it."""
        price = f"{SONNET}=1000,0,1000,1000,1000"
        told = json.loads(cli("chat.jsonl", "--model", SONNET, "--price", price, "--json", "--placement", "end-5m"))
        tokens = sum(line["input_length"] for line in CHAT)
        assert float(told["replays"]["end-5m"]["bill"]["total"]) == pytest.approx(tokens / 1000)


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ((), "name at least one LOG"),
            (("chat.jsonl",), "the log names no model. Name one with --model"),
            (("missing.jsonl",), "missing.jsonl: no such file or folder."),
            (
                ("chat.jsonl", "--model", SONNET, "--placement", "best"),
                "unknown placement 'best'. Known by name: none",
            ),
            (("chat.jsonl", "--model", SONNET, "--placement", "mine:no"), "the module 'mine' has no function 'no'"),
            (("chat.jsonl", "--model", SONNET, "--placement", "gone:no"), "the placement 'gone:no' can't be imported"),
            (("chat.jsonl", "--model", SONNET, "--plot", "a.pdf"), "the plot a.pdf must end in .svg or .png"),
            (("chat.jsonl", "--model", SONNET, "--plot", "no/a.svg"), "no such folder for the plot"),
            (("chat.jsonl", "--model", SONNET, "--router", "mine:first_model"), "both --router and --model"),
            (("chat.jsonl", "--router", "mine:first_model"), "needs models to choose from"),
            (("chat.jsonl", "--models", "a,b"), "--models goes with --router"),
            (("chat.jsonl", "--router", "nobody"), "unknown router 'nobody'. Known by name: "),
            (("chat.jsonl", "--router", "Anthropic Prompt Router"), "the log tells no expected quality of "),
            (("chat.jsonl", "--model", SONNET, "--price", "x=1"), "--price 'x=1' is not of the form"),
        ],
    )
    def test_what_cant_be_done_is_said_in_one_line(self, refused: Cli, arguments: tuple[str, ...], says: str) -> None:
        """Naming the value, and what to do."""
        assert says in refused(*arguments)

    def test_a_line_that_cant_be_read_is_named(self, refused: Cli, folder: Path) -> None:
        """By its number."""
        with (folder / "chat.jsonl").open("a") as file:
            file.write('{"timestamp": 1}\n')
        assert "chat.jsonl, line 11: it has no 'input_length'" in refused("chat.jsonl", "--model", SONNET)

    def test_a_line_that_was_half_written_is_passed_over(self, cli: Cli, folder: Path) -> None:
        """And said to be."""
        with (folder / "chat.jsonl").open("a") as file:
            file.write('{"timestamp": 1')
        assert "Passed over: 1 request, they are no JSON." in cli("chat.jsonl", "--model", SONNET)

    def test_a_log_without_a_usable_request_is_an_error(self, refused: Cli, traced: Path) -> None:
        """That says why."""
        traced.write_text("\n".join(traced.read_text().splitlines()[1:]))
        assert "there is nothing to replay: 3 requests were passed over, they extend" in refused(traced)
