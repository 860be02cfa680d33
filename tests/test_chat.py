"""`pointsman chat`: what is searched, sent, read from the cache and told, over HTTP, and what a person at it can do."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pointsman import Client, Document
from pointsman.ask.chat import SYSTEM, Chat
from pointsman.ask.conversation import Answer
from pointsman.ask.found import documents_of, name_of
from pointsman.cli import main
from pointsman.documents import KnowledgeBase, Told, session
from pointsman.local import LocalEndpoint

SONNET = "us.anthropic.claude-sonnet-5-5"
QUESTIONS = ("Who sets the signals?", "And at night?", "Who clears the signals?", "And who locks the signals?")
ASKED = tuple(argument for question in QUESTIONS for argument in ("-q", question))

Cli = Callable[..., str]
Refused = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight documents about signals, of which two have the same words, and one about food."""
    path = tmp_path / "rules"
    path.mkdir()
    for number, who in enumerate(["signaller", "driver", "guard", "dispatcher", "porter", "cleaner", "inspector"]):
        told = f"The {who} sets, clears and locks the signals at night by rule {number}. "
        (path / f"{who}.md").write_text(f"# The {who}\n\n" + told * 14)
    (path / "menu.txt").write_text("Soup is served at noon in the canteen.")
    return path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """cli(*arguments) is what `pointsman chat` prints; it succeeds, and says nothing on stderr."""

    def run(*arguments: str | Path) -> str:
        assert main(["chat", *map(str, arguments)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """refused(*arguments) is the one line on stderr with which `pointsman chat` ends; stdout is empty."""

    def run(*arguments: str | Path, code: int = 2) -> str:
        assert main(["chat", *map(str, arguments)]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err.removeprefix("pointsman: ").strip()

    return run


class TestConversation:
    def test_documents_are_read_from_the_cache_by_the_questions_that_follow(
        self, cli: Cli, endpoint: LocalEndpoint, folder: Path
    ) -> None:
        """The folder is searched on this machine; the endpoint's own account agrees with what is told."""
        told = json.loads(cli(folder, *ASKED, "--endpoint-url", endpoint.url, "--model", SONNET, "--json"))
        read = [answer["usage"]["cache_read_tokens"] for answer in told["answers"]]
        stay = [answer["trace"]["documents"]["stay"] for answer in told["answers"]]
        account, usage = endpoint.account()["totals"], told["totals"]["usage"]
        assert stay[-1] > 0
        assert read[0] == 0
        assert read[-1] > 1000
        assert account["requests"] == 4
        assert account["uncached_input_tokens"] == usage["uncached_tokens"]
        assert account["cache_read_tokens"] == usage["cache_read_tokens"] == sum(read)
        assert "Retrieve" not in json.dumps(endpoint.account())

    def test_its_json_has_the_documents_but_not_their_texts(self, cli: Cli, folder: Path) -> None:
        """Beside what `ask` tells; the endpoint of its own serves the folder too."""
        told = json.loads(cli(folder, *ASKED, "--engine", "extract", "--results", "3", "--json"))
        assert set(told) == {"asked", "endpoint", "knowledge_base", "answers", "totals"}
        assert told["knowledge_base"] == {"id": "CHATFOLDER", "folder": str(folder)}
        assert told["endpoint"]["answers_by"] == "extract"
        assert [answer["question"] for answer in told["answers"]] == list(QUESTIONS)
        for answer in told["answers"]:
            assert len(answer["documents"]) == 3
            assert all(set(document) == {"id", "title", "source", "score"} for document in answer["documents"])
            assert answer["trace"]["documents"]["not_found"] == []
        assert "by rule" not in json.dumps([answer["documents"] for answer in told["answers"]])

    def test_it_prints_what_was_found_and_what_stays(self, cli: Cli, folder: Path) -> None:
        """Per question, and the table of all of them."""
        told = cli(folder, *ASKED, "--engine", "extract", "--model", SONNET)
        assert f"Asking {SONNET} about {folder}." in told
        assert "4. And who locks the signals?" in told
        assert re.search(r"documents +\S+\.md.*; 7 for this question only$", told, re.MULTILINE)
        assert re.search(r"documents .* stay from now on", told)
        assert re.search(r"documents .* stayed already", told)
        assert re.search(r"^  total ", told, re.MULTILINE)

    def test_a_knowledge_base_may_be_asked_for(self, cli: Cli, folder: Path) -> None:
        """By its id, where the questions go too."""
        with LocalEndpoint(engine="extract", knowledge_bases={"HANDBOOK01": folder}) as serving:
            arguments = ("--knowledge-base", "HANDBOOK01", "-q", "When is soup served?", "--endpoint-url", serving.url)
            told = json.loads(cli(*arguments, "--json"))
            assert told["knowledge_base"] == {"id": "HANDBOOK01", "folder": None}
            assert told["answers"][0]["documents"][0]["source"].endswith("HANDBOOK01/menu.txt")
            assert "about the knowledge base HANDBOOK01." in cli(*arguments)

    def test_what_nothing_is_found_for_is_asked_all_the_same(self, cli: Cli, folder: Path) -> None:
        """And said to be so."""
        assert re.search(r"documents +none found$", cli(folder, "-q", "Xyzzy?", "--engine", "extract"), re.MULTILINE)

    def test_a_pipe_has_one_question_a_line(self, cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Up to /quit; empty lines are passed over, and no prompt is written."""
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{QUESTIONS[0]}\n\n  {QUESTIONS[1]}  \n/quit\nAnd then?\n"))
        told = cli(folder, "--engine", "extract")
        assert re.findall(r"^\d\. .*", told, re.MULTILINE) == [f"1. {QUESTIONS[0]}", f"2. {QUESTIONS[1]}"]
        assert "1> " not in told


class TestRequests:
    def test_they_are_as_anyone_would_write_them(self) -> None:
        """The documents before the question, the history as it was said; searched with the question before."""
        queries: list[str] = []
        sent: list[dict[str, Any]] = []

        class Agent:
            def retrieve(self, **request: Any) -> dict[str, Any]:
                queries.append(request["retrievalQuery"]["text"])
                location = {"type": "S3", "s3Location": {"uri": 's3://bucket/a "b".md'}}
                found = {"content": {"text": "The signaller does."}, "location": location}
                return {"retrievalResults": [found] if "sets" in request["retrievalQuery"]["text"] else []}

        class Bedrock:
            def converse_stream(self, **request: Any) -> dict[str, Any]:
                sent.append(request)
                return {"stream": _Events([{"contentBlockDelta": {"delta": {"text": "He."}}}])}

        chat = Chat(
            Client(Bedrock()),
            model_id=SONNET,
            knowledge_base=KnowledgeBase("ABCDEFGHIJ", client=Agent()),
            session=session("as-written", scope="local"),
            max_tokens=9,
        )
        for question in ("Who sets it?", "And at night?", "And by day?"):
            chat.ask(question)
        assert queries == ["Who sets it?", "Who sets it?\nAnd at night?", "And at night?\nAnd by day?"]
        document = {"text": "<document name='a \"b\".md'>\nThe signaller does.\n</document>"}
        assert sent[0]["system"] == [{"text": SYSTEM}]
        assert sent[0]["messages"] == [{"role": "user", "content": [document, {"text": "Who sets it?"}]}]
        said = [[block["text"] for block in message["content"]] for message in sent[2]["messages"]]
        assert said == [["Who sets it?"], ["He."], ["And at night?"], ["He."], ["And by day?"]]

    @pytest.mark.parametrize(
        ("told", "says"),
        [
            (None, "a.md (2), Fares"),
            (Told(loose=3), "a.md (2), Fares; 3 for this question only"),
            (Told(stay=4, anew=1, resent=2, loose=1), "1 stay from now on, 1 stayed already, 1 for this question only"),
            (Told(stay=4, resent=2, cut=1), "; 2 found earlier stayed too; 1 left out from now on"),
            (Told(as_written="a reason"), "a.md (2), Fares; as written, for a reason"),
        ],
    )
    def test_what_became_of_documents_is_told(self, told: Told | None, says: str, client: Client) -> None:
        """In words, after their titles or the names of their files."""
        found = [
            Document(text=text, id="x", source="s3://b/a.md", title=title)
            for text, title in (("1", None), ("2", None), ("3", "Fares"))
        ]
        assert says in str(documents_of(_answer(client, found, told)))
        assert name_of(Document(text="x", id="7")) == "7"


class _Events(list[dict[str, Any]]):
    def close(self) -> None:
        pass


def _answer(client: Client, found: list[Document], told: Told | None) -> Answer:
    stream = client.converse_stream(modelId=SONNET, messages=[{"role": "user", "content": [{"text": "Hi"}]}])["stream"]
    list(stream)
    trace = replace(stream.trace, documents=told)
    return Answer(
        question="Hi",
        text="",
        stop_reason=None,
        trace=trace,
        first_token_s=None,
        duration_s=0,
        found=tuple(found),
    )


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("-q", "Who?"), "name what to talk about: a FOLDER, or the id of a --knowledge-base"),
            (("rules", "--knowledge-base", "HANDBOOK01", "-q", "Who?"), "name what to talk about"),
            (("absent", "-q", "Who?"), "absent: no such folder"),
            (("empty", "-q", "Who?"), "has no text to read"),
            (("rules", "-q", ""), "a question is empty"),
            (("rules",), "no question: write one a line to stdin"),
            (("rules", "-q", "Who?", "--router", "nope"), "unknown router 'nope'"),
            (("rules", "-q", "Who?", "--model", "nope"), "unknown model 'nope'"),
            (("rules", "-q", "Who?", "--model", SONNET, "--router", "Nova Prompt Router"), "both --router and --model"),
            (("rules", "-q", "Who?", "--local"), "--local starts an endpoint of its own"),
            (("rules", "-q", "Who?", "--engine", "extract"), "--engine goes with --local"),
            (("rules", "-q", "Who?", "--results", "101"), "--results"),
        ],
    )
    def test_it_is_told_in_one_line_and_nothing_is_sent(
        self,
        refused: Refused,
        endpoint: LocalEndpoint,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: tuple[str, ...],
        says: str,
    ) -> None:
        """With exit code 2."""
        folder.with_name("empty").mkdir()
        monkeypatch.chdir(folder.parent)
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
        assert says in refused(*arguments, "--endpoint-url", endpoint.url)
        assert endpoint.account()["requests"] == 0

    def test_a_knowledge_base_is_none_of_an_endpoint_of_its_own(self, refused: Refused) -> None:
        """That one serves a folder."""
        told = refused("--knowledge-base", "HANDBOOK01", "-q", "Who?", "--engine", "extract")
        assert "give a FOLDER with --local or --engine" in told

    def test_a_search_or_a_question_that_fails_ends_with_1(
        self, refused: Refused, endpoint: LocalEndpoint, folder: Path
    ) -> None:
        """With Bedrock's code and words."""
        at = ("-q", "Who?", "--json", "--endpoint-url", endpoint.url)
        assert refused("--knowledge-base", "HANDBOOK01", *at, code=1).startswith("ResourceNotFoundException: ")
        endpoint.faults.inject("internal")
        assert refused(folder, *at, code=1).startswith("InternalServerException: ")


class Terminal:
    """The command at a terminal of its own."""

    def __init__(self, *arguments: str | Path) -> None:
        self._master, slave = pty.openpty()
        command = [sys.executable, "-m", "pointsman", "chat", *map(str, arguments)]
        environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "100"}
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.shown = ""
        self._waited_for = 0

    def wait_for(self, text: str) -> None:
        """Until this was shown, after what was waited for before."""
        while (found := self.shown.find(text, self._waited_for)) < 0:
            assert self._read(), f"{text!r} is not shown: {self.shown}"
        self._waited_for = found + len(text)

    def type(self, line: str) -> None:
        """A line, and Enter."""
        os.write(self._master, f"{line}\n".encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """The exit code, once it has ended."""
        while self._read():
            pass
        return self._process.wait(20)

    def close(self) -> None:
        """Let go of it, whatever it does."""
        self._process.kill()
        self._process.wait(20)
        os.close(self._master)

    def _read(self) -> str:
        if not select.select([self._master], [], [], 30)[0]:
            raise AssertionError(f"nothing more is shown after {self.shown!r}")
        try:
            told = os.read(self._master, 1 << 16).decode(errors="replace").replace("\r\n", "\n")
        except OSError:  # Linux's end of file at a terminal.
            return ""
        self.shown += told
        return told


@contextmanager
def at_terminal(*arguments: str | Path) -> Iterator[Terminal]:
    """`pointsman chat` at a terminal."""
    terminal = Terminal(*arguments)
    try:
        yield terminal
    finally:
        terminal.close()


class TestTerminal:
    @pytest.mark.parametrize("leaving", ["", "/quit"])
    def test_it_asks_for_questions_until_it_is_left(self, folder: Path, leaving: str) -> None:
        """By an empty line or /quit; then comes the table."""
        with at_terminal(folder, "--engine", "extract") as terminal:
            terminal.wait_for("ends an answer.")
            for number, question in enumerate(QUESTIONS[:2], 1):
                terminal.wait_for(f"{number}> ")
                terminal.type(question)
            terminal.wait_for("3> ")
            terminal.type(leaving)
            assert terminal.end() == 0
            assert "of the prompt tokens were read from the cache" in terminal.shown

    def test_ctrl_c_ends_an_answer_and_at_the_prompt_the_conversation(self, folder: Path) -> None:
        """What was said of the answer stays; the exit code is 130."""
        with (
            LocalEndpoint(engine="extract", pace_ms=400) as slow,
            at_terminal(folder, "--endpoint-url", slow.url) as terminal,
        ):
            terminal.wait_for("1> ")
            terminal.type(QUESTIONS[0])
            terminal.wait_for("   ")  # The answer is indented.
            terminal.interrupt()
            terminal.wait_for("you stopped the answer")
            terminal.wait_for("2> ")
            time.sleep(0.5)  # readline shows its prompt before it listens to signals.
            terminal.interrupt()
            assert terminal.end() == 130
            assert slow.account()["requests"]
            assert "Traceback" not in terminal.shown

    def test_ctrl_c_before_the_answer_begins_leaves_the_question_out(self, folder: Path) -> None:
        """The next one has its number."""
        with (
            LocalEndpoint(engine="extract", latency_ms=60_000) as slow,
            at_terminal(folder, "--endpoint-url", slow.url) as terminal,
        ):
            terminal.wait_for("1> ")
            terminal.type(QUESTIONS[0])
            deadline = time.monotonic() + 20
            while not slow.account()["requests"] and time.monotonic() < deadline:
                time.sleep(0.05)
            terminal.interrupt()
            terminal.wait_for("You stopped it")
            terminal.wait_for("1> ")
            terminal.type("/quit")
            assert terminal.end() == 0

    def test_a_call_that_fails_is_told_and_the_conversation_goes_on(self, folder: Path) -> None:
        """Nobody at a terminal wants to begin anew for a refusal."""
        with (
            LocalEndpoint(engine="extract") as failing,
            at_terminal(folder, "--endpoint-url", failing.url) as terminal,
        ):
            failing.faults.inject("internal")
            terminal.wait_for("1> ")
            terminal.type(QUESTIONS[0])
            terminal.wait_for("InternalServerException")
            terminal.wait_for("1> ")
            terminal.type(QUESTIONS[0])
            terminal.wait_for("2> ")
            terminal.type("/quit")
            assert terminal.end() == 0
