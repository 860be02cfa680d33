"""`pointsman explain`: from files to what is printed, as a table and as JSON, and what is refused."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broken_conversations import HAIKU, POINT, RULES, TEN, Broken, Request, messages, request, user

from pointsman.cli import main

NOVA = "amazon.nova-pro-v1:0"
SECRET = "Sesame opens the door."
ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"

Cli = Callable[..., str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; and nothing is sent from here, not even to this machine."""
    monkeypatch.chdir(tmp_path)

    def refuse(*_: Any) -> None:
        raise AssertionError("something was sent")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """cli(*arguments) is what `pointsman explain` prints; it succeeds, and says nothing on stderr."""

    def run(*arguments: str | Path) -> str:
        assert main(["explain", *map(str, arguments)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Cli:
    """refused(*arguments) is the one line on stderr with which it ends with 2; stdout is empty."""

    def run(*arguments: str | Path) -> str:
        assert main(["explain", *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err.removeprefix("pointsman: ").strip()

    return run


def write(name: str, told: Any) -> str:
    """A file in the current folder: JSON, or JSON lines."""
    lines = "".join(f"{json.dumps(one)}\n" for one in told) if name.endswith(".jsonl") else json.dumps(told)
    Path(name).write_text(lines)
    return name


@pytest.mark.parametrize("broken", TEN, ids=lambda broken: broken.name)
def test_each_of_the_ten_is_named_first(cli: Cli, broken: Broken) -> None:
    """In words and in JSON; in one file with all requests, and in a file for each."""
    requests = broken.requests(True)
    path = write("requests.json", requests)
    (told,) = json.loads(cli(path, "--json"))["conversations"]
    assert told["broken"]
    first = told["causes"][0]
    assert (first["what"], first["where"], first["requests"][0]) == (broken.what, broken.where, broken.first)
    paths = [write(f"{number}.json", one) for number, one in enumerate(requests)]
    assert json.loads(cli("--diff", *paths, "--json"))["conversations"] == [told]
    where = f" in {broken.where}" if broken.where else ""
    headlines = [line for line in cli("--diff", *paths).splitlines() if ", first in request " in line]
    assert headlines[0].lower() == f"{broken.what}{where}, first in request {broken.first + 1}".lower()


@pytest.mark.parametrize("broken", TEN, ids=lambda broken: broken.name)
def test_without_the_fault_it_is_unbroken(cli: Cli, broken: Broken) -> None:
    """And said to be."""
    path = write("requests.json", broken.requests(False))
    assert json.loads(cli(path, "--json"))["conversations"][0]["broken"] is False
    assert "Unbroken: nothing is lost" in cli(path)


class TestOneRequest:
    def test_each_block_has_a_row(self, cli: Cli) -> None:
        """With its tokens, its point and why; without any colour where it is no terminal."""
        told = cli(write("one.json", request(1)))
        assert "\x1b" not in told
        rows = [line.split() for line in told.splitlines() if line.split()[:1] and line.split()[0].isdigit()]
        assert [row[1] for row in rows] == ["tools"] * 3 + ["system"] * 2 + ["messages"] * 3
        assert "below the minimum: " in told
        assert "pays: back with " in told

    def test_json_is_one_document(self, cli: Cli) -> None:
        """With the figures as they are, and the model that was named."""
        told = json.loads(cli(write("one.json", request(1)), "--model", NOVA, "--json"))
        assert told["model"] == NOVA
        assert len(told["blocks"]) == 8
        assert "takes no cache point in tools" in told["blocks"][0]["why"]
        assert told["blocks"][-1]["prefix_tokens"] == told["tokens"]

    def test_its_price_is_told_with_and_without_the_cache(self, cli: Cli) -> None:
        """By the prices that are named, if there are any; without output."""
        path = write("one.json", request(0))
        told = json.loads(cli(path, "--price", f"{HAIKU}=1000,0,100,1250,2000", "--json"))
        written = told["blocks"][-1]["prefix_tokens"]
        assert float(told["first_call_usd"]) == pytest.approx(written * 0.002)
        assert float(told["next_call_usd"]) == pytest.approx(written * 0.0001)
        assert "for the first call" in cli(path) and "for the same again within the TTL" in cli(path)

    def test_the_rules_are_told_in_json_too(self, cli: Cli) -> None:
        """All that the table goes by."""
        told = json.loads(cli(write("one.json", request(0)), "--json"))
        assert (told["known"], told["minimum_tokens"], told["max_points"]) == (True, 512, 4)
        assert told["ttls"] == ["5m", "1h"]

    def test_what_cant_be_counted_has_no_price(self, cli: Cli) -> None:
        """Unknown isn't zero."""
        image = {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}}
        path = write("one.json", request(0, messages=[{"role": "user", "content": [image]}]))
        assert json.loads(cli(path, "--json"))["first_call_usd"] is None
        assert "USD  " not in cli(path)

    def test_chances_are_explained_where_there_are_any(self, cli: Cli) -> None:
        """And not below a short prompt."""
        assert "Chances are those" in cli(write("one.json", request(0)))
        assert "Chances are those" not in cli(write("short.json", {"modelId": HAIKU, "messages": [user("Hi")]}))

    @pytest.mark.parametrize("arguments", [(), ("--show-text",)])
    def test_it_can_be_read_in_a_narrow_terminal(
        self, cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
    ) -> None:
        """What is long stands below each block."""
        monkeypatch.setenv("COLUMNS", "80")
        lines = cli(write("one.json", request(2)), *arguments).splitlines()
        assert max(len(line.rstrip()) for line in lines if not line.startswith("USD")) <= 80
        rows = [line.split() for line in lines if line.split()[:1] and line.split()[0].isdigit()]
        assert [row[1] for row in rows] == ["tools"] * 3 + ["system"] * 2 + ["messages"] * 5

    def test_the_callers_points_are_told_as_his(self, cli: Cli) -> None:
        """With their TTL."""
        system = [{"text": RULES}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
        assert "1h (caller's)" in cli(write("one.json", request(0, system=system)))

    def test_no_text_is_shown_unless_asked_for(self, cli: Cli) -> None:
        """In no form of output."""
        path = write("one.json", request(0, system=[{"text": f"{SECRET} {RULES}"}]))
        assert "Sesame" not in cli(path) + cli(path, "--json")
        assert SECRET in cli(path, "--show-text")
        assert "Sesame" in cli(path, "--show-text", "--json")


class TestDiff:
    def pair(self) -> tuple[str, str]:
        systems = [[{"text": f"{SECRET} It is 9:{minute}. {RULES}"}] for minute in (15, 16)]
        before = write("before.json", request(0, system=systems[0]))
        return before, write("after.json", request(1, system=systems[1]))

    def test_the_first_byte_and_the_price_are_told(self, cli: Cli) -> None:
        """What can be read, what is lost, and what to do."""
        told = cli("--diff", *self.pair())
        byte = len(f"{SECRET} It is 9:1")
        assert f"Request 2 parts from request 1 at byte {byte} of block 0 of system (character {byte})" in told
        assert "are the same; 0 are read." in told
        assert "USD per request." in told
        assert "Move the time behind the last cache point" in told

    def test_no_text_is_shown_unless_asked_for(self, cli: Cli) -> None:
        """Some characters around the byte, where it is."""
        pair = self.pair()
        assert "the door" not in cli("--diff", *pair) + cli("--diff", *pair, "--json")
        told = cli("--diff", *pair, "--show-text")
        assert "the door. It is 9:15." in told and "the door. It is 9:16." in told
        excerpts = json.loads(cli("--diff", *pair, "--show-text", "--json"))["conversations"][0]["causes"][0]
        assert len(excerpts["parting"]["excerpts"]) == 2

    def test_another_question_is_told_to_lose_nothing(self, cli: Cli) -> None:
        """With the byte at which the two part."""
        before = write("before.json", request(1))
        after = write("after.json", request(1, messages=[*messages(2)[:2], user("Another one?")]))
        told = cli("--diff", before, after)
        assert "Unbroken" in told
        assert "Another question in request 2 loses nothing." in told
        assert "at byte 2 of block 2 of messages (message 2)" in told

    def test_points_of_the_requests_are_what_is_judged(self, cli: Cli) -> None:
        """Ours stand for them only where there are none."""
        assert "as Pointsman lays them" in cli("--diff", write("a.json", request(0)), write("b.json", request(1)))
        pointed = request(0, system=[{"text": RULES}, POINT])
        assert "as the requests hold them" in cli("--diff", write("a.json", pointed), "b.json")

    def test_made_up_times_are_said_to_be(self, cli: Cli) -> None:
        """And not shown as if they had been told."""
        lacking = [{name: value for name, value in request(turn).items() if name != "at"} for turn in range(2)]
        path = write("list.json", lacking)
        assert "No times are told: taken 1 second apart, so that no TTL passes." in cli(path)
        assert " 1 s " not in cli(path)
        assert json.loads(cli(path, "--json"))["times"] == "assumed"
        write("list.json", [request(0), lacking[1]])
        assert "1 of 2 requests tell no time: taken 1 second after the one before." in cli(path)

    def test_the_model_has_a_column_where_there_are_several(self, cli: Cli) -> None:
        """Each request has its price."""
        one = cli("--diff", write("a.json", request(0)), write("b.json", request(1)))
        assert " model " not in one and " USD " in one
        assert " model " in cli("--diff", "a.json", write("b.json", request(1, modelId=NOVA)))

    def test_an_unknown_price_is_told_as_unknown(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The model doesn't cache as far as anybody knows, which is the cause."""
        paths = [write(f"{turn}.json", request(turn)) for turn in range(2)]
        assert main(["explain", "--diff", *paths, "--model", "someone.something-v9:0"]) == 0
        out, err = capsys.readouterr()
        assert "is not in the catalogue" in err
        assert "Nothing is known of caching on someone.something-v9:0" in out


class TestLogs:
    def test_bills_and_causes_stand_in_one_report(self, cli: Cli) -> None:
        """All placements that have a name, and each broken conversation."""
        told = cli(write("log.jsonl", TEN[1].requests(True)))
        rows = [line.split("  ")[0].strip() for line in told.splitlines()]
        wanted = ["none", "end-5m", "tools-system-end-5m", "everywhere-1h", "pointsman"]
        assert [row for row in rows if row in wanted] == wanted
        assert "What broke the cache" in told
        assert "a reordered tool" in told and "block 1 of tools" in told
        assert "A reordered tool: List the tools in the same order" in told

    def test_an_unbroken_log_is_said_to_be(self, cli: Cli) -> None:
        """As JSON and in words."""
        path = write("log.jsonl", TEN[1].requests(False))
        assert "No conversation is broken" in cli(path)
        told = json.loads(cli(path, "--json"))
        assert [one["broken"] for one in told["conversations"]] == [False]
        assert set(told["replays"]) >= {"none", "pointsman"}

    def test_a_log_without_texts_is_billed_all_the_same(self, cli: Cli) -> None:
        """For the model that is named, since it names none."""
        lines = [
            {"timestamp": 1000 * n, "input_length": 512 * (n + 3), "output_length": 9, "hash_ids": list(range(n + 3))}
            for n in range(10)
        ]
        told = json.loads(cli(write("chat.jsonl", lines), "--model", HAIKU, "--json"))
        assert told["replays"]["pointsman"]["requests"] == 10
        assert [one["broken"] for one in told["conversations"]] == [False]

    def test_what_is_written_now_has_a_bill_of_its_own(self, cli: Cli) -> None:
        """In the table, and in the line above it."""
        pointed = [request(turn, system=[{"text": RULES}, POINT]) for turn in range(3)]
        told = cli(write("log.jsonl", pointed))
        assert any(line.startswith(" as written ") for line in told.splitlines())
        (bill,) = [line for line in told.splitlines() if line.startswith("Bill ")]
        assert re.search(r"no caching [\d.]+, as written [\d.]+, best usual placement \(.+\) [\d.]+, pointsman", bill)
        assert ", as written" not in cli(write("log.jsonl", [request(turn) for turn in range(3)]))

    def test_each_call_is_told(self, cli: Cli) -> None:
        """With its conversation, what it read and wrote, and what it cost; of many, the first."""
        told = cli(write("log.jsonl", [request(turn) for turn in range(3)]))
        assert re.search(r" 2 +1 +[\d,]+ +[\d,]+ +[\d,]+ +0\.\d{6}", told)
        assert "2 more; --json has all." in cli(write("log.jsonl", [request(turn % 5) for turn in range(22)]))

    def test_several_files_are_told_together(self, cli: Cli) -> None:
        """Documents, lists, logs, and folders; as one conversation only if they are."""
        Path("logs").mkdir()
        Path("logs/one.json").write_text(json.dumps(request(0), indent=1))
        Path("logs/two.json").write_text(json.dumps([request(1), request(2)], indent=1))
        other = request(0, toolConfig=None, system=[], messages=[user("Who are you?")])
        paths = ["logs", write("log.jsonl", [request(3), request(4)]), write("other.json", other)]
        assert "6 in 2 conversations" in cli(*paths)
        assert "5 in 1 conversation" in cli(*paths[:2])

    def test_a_line_that_was_half_written_is_passed_over(self, cli: Cli) -> None:
        """And said to be."""
        path = write("log.jsonl", [request(0), request(1)])
        Path(path).write_text(Path(path).read_text() + json.dumps(request(2))[:99])
        told = cli(path)
        assert "2 in 1 conversation" in told
        for shown in (told, cli("--diff", path)):
            assert "Passed over: 1 request, they are no JSON." in shown

    def test_the_usage_that_is_told_is_billed(self, cli: Cli) -> None:
        """With the output; where there is none, that is said."""
        usage = {"inputTokens": 20, "outputTokens": 900, "cacheReadInputTokens": 0, "cacheWriteInputTokens": 3100}
        lines = [{"at": 60.0 * turn, "request": request(turn), "response": {"usage": usage}} for turn in range(2)]
        told = cli(write("log.jsonl", lines))
        assert "The log tells what 2 requests came to" in told and "No output is told" not in told
        assert json.loads(cli("log.jsonl", "--json"))["replays"]["none"]["usage"]["output_tokens"] == 1800
        assert "No output is told: the bills are of the prompts alone." in cli(write("b.jsonl", TEN[1].requests(False)))

    def test_it_can_be_read_in_a_narrow_terminal(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        """The bills alone, each on one line."""
        wide = cli(write("log.jsonl", TEN[0].requests(True)))
        assert "over the bound" in wide
        monkeypatch.setenv("COLUMNS", "80")
        narrow = cli("log.jsonl")
        assert "over the bound" not in narrow
        assert max(len(line.rstrip()) for line in narrow.splitlines() if not line.startswith("Bill")) <= 80
        assert re.search(r"^ tools-system-end-5m +0\.\d+ +\d+\.\d % *$", narrow, re.M)

    def test_a_date_is_told_where_times_are_dates(self, cli: Cli) -> None:
        """Seconds from the start of a log are none."""
        broken = TEN[0].requests(True)
        assert "began" not in cli(write("log.jsonl", broken))
        dated = [{**one, "at": 1795511111 + one["at"]} for one in broken]
        assert "2026-11-24 09:05" in cli(write("log.jsonl", dated))

    def test_without_a_price_the_causes_are_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        """And why there are no bills."""
        path = write("log.jsonl", TEN[1].requests(True))
        assert main(["explain", path, "--model", "someone.something-v9:0"]) == 0
        assert "No bills: the price of someone.something-v9:0 isn't known" in capsys.readouterr().out


BAD: dict[str, Any] = {"empty.json": [], "no.json": {"model": "x"}, "text.json": [request(0), {"messages": "Hi"}]}


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ((), "name a FILE to explain"),
            (("missing.json",), "missing.json: it can't be read: No such file or directory"),
            (("empty.json",), "there is no request in it"),
            (("no.json",), "no.json: it is no request of Converse's shape: it has no messages"),
            (("text.json",), "text.json, request 2: messages is a text, and should be a list"),
            (
                ("routed.json",),
                "prompt-router/anthropic.claude:1 names a prompt router, and each of its models",
            ),
            (("routed.jsonl",), "name one with --model, or give the log of what was invoked"),
            (("one.json", "--model", ROUTER), "names a prompt router"),
            (("one.json", "--model", "Anthropic Prompt Router"), "Anthropic Prompt Router names a prompt router"),
            (("one.json", "--price", "x=1"), "--price 'x=1' is not of the form"),
            (("void.jsonl",), "void.jsonl: there is nothing in it"),
            (("nothing",), "nothing: no file in it ends in .json"),
            (("unnamed.json",), "the request names no model. Name one with --model."),
            (("--diff", "unnamed.json", "unnamed.json"), "a request names no model. Name one for all with --model."),
            (("unnamed.jsonl",), "a request names no model. Name one for all with --model."),
            (("--diff", "one.json"), "--diff compares at least two requests"),
            (("bad.jsonl",), "bad.jsonl, line 1: it is no JSON"),
            (("strange.jsonl",), "strange.jsonl, line 1: this is none of Pointsman's traces"),
        ],
    )
    def test_what_cant_be_done_is_said_in_one_line(self, refused: Cli, arguments: tuple[str, ...], says: str) -> None:
        """Naming the value, and what to do."""
        unnamed: Request = {"messages": [user("Hi")]}
        for name, told in {**BAD, "one.json": request(0), "unnamed.json": unnamed}.items():
            write(name, told)
        write("unnamed.jsonl", [unnamed, unnamed])
        write("strange.jsonl", [{"a": 1}, {"a": 2}])
        write("routed.json", request(0, modelId=ROUTER))
        write("routed.jsonl", [request(turn, modelId=ROUTER) for turn in range(2)])
        Path("bad.jsonl").write_text("{\n{\n")
        Path("void.jsonl").touch()
        Path("nothing").mkdir()
        assert says in refused(*arguments)
