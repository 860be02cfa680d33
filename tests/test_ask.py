"""Documents and questions in one conversation: what is read, sent, checked and reported."""

from __future__ import annotations

import io
import json
import re
import runpy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter
from rich.console import Console

import pointsman
from pointsman import Catalog, Client, InvalidRequestError, PointsmanWarning, RouterRegistry, Usage
from pointsman.ask import CallFailedError
from pointsman.ask.as_json import to_json
from pointsman.ask.connection import Connection, LocalStatus, calls_to, connect
from pointsman.ask.conversation import Answer, Conversation, check_questions, choose_model_id
from pointsman.ask.documents import MOST_BYTES, Document, read_documents, unique_names
from pointsman.ask.reading import reading
from pointsman.ask.report import Report, printable
from pointsman.ask.unlisted import in_words
from pointsman.cache.misses import BelowMinimum, FirstRequest, MissReason, ModelSwitched
from pointsman.local import LocalEndpoint

ROOT = Path(__file__).parent.parent
HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"
CLAUDE_ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """A PDF of one page."""
    path = tmp_path / "travel rules.pdf"
    page = FPDF()
    page.add_page()
    page.set_font("Helvetica")
    page.cell(text="The office manager approves travel.")
    page.output(str(path))
    return path


@contextmanager
def answering(reply: dict[str, Any]) -> Iterator[str]:
    """The URL of a server that answers every GET with this JSON."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def connection(endpoint: LocalEndpoint) -> Connection:
    """What `ask` makes of the running local endpoint."""
    return connect(endpoint_url=endpoint.url)


def long_text(tmp_path: Path) -> Path:
    """A file of more tokens than the newest Claude models' minimum."""
    path = tmp_path / "guide.txt"
    path.write_text("Trainium is made for training. Inferentia is made for inference. " * 150)
    return path


class TestDocuments:
    @pytest.mark.parametrize(
        ("stem", "name"),
        [
            ("guide", "guide"),
            ("my_guide.v2 (final) [a]-b", "my guide v2 (final) [a]-b"),
            ("Prüfung  über   alles", "Prufung uber alles"),
            ("指南", "document"),
            ("x" * 300, "x" * 190),
        ],
    )
    def test_a_name_holds_only_what_bedrock_allows(self, stem: str, name: str) -> None:
        """Letters, digits, single spaces, hyphens, parentheses and brackets stay."""
        assert unique_names([stem]) == [name]

    def test_names_are_unique(self) -> None:
        """The same name again gets a number."""
        assert unique_names(["a", "a", "a", "b"]) == ["a", "a (2)", "a (3)", "b"]

    def test_files_are_blocks_in_the_order_given(self, pdf: Path, tmp_path: Path) -> None:
        """Format by suffix, in any case; the bytes as they are."""
        page = tmp_path / "page.HTM"
        page.write_text("<p>Hello</p>")
        first, second = read_documents([page, pdf])
        assert first.block == {"document": {"name": "page", "format": "html", "source": {"bytes": b"<p>Hello</p>"}}}
        assert (second.format, second.data) == ("pdf", pdf.read_bytes())

    def test_what_cannot_be_a_document_is_refused(self, pdf: Path, tmp_path: Path) -> None:
        """Each with the file's name and one sentence."""
        (tmp_path / "empty.txt").write_text(" \n")
        (tmp_path / "slides.pptx").write_bytes(b"x")
        (tmp_path / "text.pdf").write_text("This is no PDF.")
        (tmp_path / "cut.pdf").write_bytes(pdf.read_bytes()[:200])
        (tmp_path / "large.txt").write_bytes(b"x" * (MOST_BYTES + 1))
        (tmp_path / "folder.md").mkdir()
        writer = PdfWriter(clone_from=PdfReader(pdf))
        writer.encrypt("secret", algorithm="RC4-128")
        writer.write(tmp_path / "locked.pdf")
        for name, says in {
            "absent.pdf": "no such file",
            "absent": "no such file",
            "Who pays?": "no such file. Give each question its own -q",
            "empty.txt": "is empty",
            "slides.pptx": "not a kind of document that Bedrock takes (csv, doc",
            "text.pdf": "is not a PDF",
            "cut.pdf": "is not a PDF",
            "large.txt": "Bedrock takes at most 4.5 MB",
            "folder.md": "can't be read",
            "locked.pdf": "is encrypted",
        }.items():
            with pytest.raises(InvalidRequestError) as caught:
                read_documents([tmp_path / name])
            assert says in str(caught.value)
            assert str(tmp_path / name) in str(caught.value)

    def test_more_than_five_documents_are_refused(self, pdf: Path) -> None:
        """Bedrock takes five."""
        assert len(read_documents([pdf] * 5)) == 5
        with pytest.raises(InvalidRequestError, match="6 documents"):
            read_documents([pdf] * 6)


class TestGuides:
    def test_the_script_renders_the_guides_that_are_shipped(self, tmp_path: Path) -> None:
        """The text always, and every byte under the version of fpdf2 that rendered them."""
        rendered = tmp_path / "guides"
        runpy.run_path(str(ROOT / "examples/make_guides.py"))["main"](rendered)
        shipped = sorted(Path(pointsman.__file__).parent.joinpath("data/guides").glob("*.pdf"))
        assert [path.name for path in shipped] == sorted(path.name for path in rendered.iterdir())
        assert len(shipped) == 3
        for path in shipped:
            ours, new = PdfReader(path), PdfReader(rendered / path.name)
            assert [page.extract_text() for page in new.pages] == [page.extract_text() for page in ours.pages]
            assert ours.metadata is not None
            assert new.metadata is not None
            if new.metadata.producer == ours.metadata.producer:
                assert (rendered / path.name).read_bytes() == path.read_bytes()


class TestChecks:
    def test_questions_must_say_something(self) -> None:
        """None at all, and empty ones, are refused."""
        assert check_questions([" Who? "]) == ("Who?",)
        with pytest.raises(InvalidRequestError, match="no question"):
            check_questions([])
        with pytest.raises(InvalidRequestError, match="a question is empty"):
            check_questions(["Who?", " "])

    @pytest.mark.parametrize(
        ("router", "model", "local", "model_id"),
        [
            (None, None, True, "Anthropic Prompt Router"),
            ("Nova Prompt Router", None, True, "Nova Prompt Router"),
            (CLAUDE_ROUTER, None, False, CLAUDE_ROUTER),
            ("arn:aws:bedrock:us-east-1:111122223333:prompt-router/abc", None, False, None),
            (None, HAIKU, True, HAIKU),
        ],
    )
    def test_who_is_asked(self, router: str | None, model: str | None, local: bool, model_id: str | None) -> None:
        """The default router, or what was named; AWS may know a router's ARN that we don't."""
        chosen = choose_model_id(RouterRegistry(), router=router, model=model, region="us-east-1", local=local)
        assert chosen == (model_id or router)

    def test_a_model_that_the_catalogue_does_not_hold_is_warned_of(self) -> None:
        """And asked: AWS may have it already."""
        named = "us.anthropic.claude-haiku-9"
        with pytest.warns(PointsmanWarning) as told:
            assert choose_model_id(RouterRegistry(), router=None, model=named, region="us-east-1", local=False) == named
        assert in_words(told[0].message) == (
            f"model {named!r} is not in the catalogue (did you mean {HAIKU}?): "
            "nothing is cached for it and its price is unknown."
        )
        assert in_words("what else may be warned of") == "what else may be warned of"

    @pytest.mark.parametrize(
        ("router", "model", "says"),
        [
            ("nope", None, "unknown router 'nope'. Known by name: Anthropic Prompt Router, Nova"),
            ("", None, "unknown router ''"),
            ("arn:aws:bedrock:us-east-1:111122223333:prompt-router/abc", None, "unknown router"),
            (None, "no.such-model", "unknown model 'no.such-model': the local endpoint"),
            (None, "us.anthropic.claude-haiku-9", f"(did you mean {HAIKU}?): the local endpoint serves"),
            (None, " ", "the model's id is empty"),
            (None, CLAUDE_ROUTER, "is a prompt router, not a model"),
            (None, "Anthropic Prompt Router", "is a prompt router, not a model"),
            ("Nova Prompt Router", HAIKU, "both a router and a model"),
        ],
    )
    def test_who_cannot_be_asked(self, router: str | None, model: str | None, says: str) -> None:
        """Refused before anything is sent."""
        with pytest.raises(InvalidRequestError) as caught:
            choose_model_id(RouterRegistry(), router=router, model=model, region="us-east-1", local=True)
        assert says in str(caught.value)


class TestConnection:
    def test_a_local_endpoint_is_recognized_and_needs_no_credentials(self, connection: Connection) -> None:
        """One attempt per call, and a patient one."""
        assert connection.local is not None
        assert connection.local.engine == "extract"
        config = connection.runtime.meta.config
        assert (config.read_timeout, config.retries["total_max_attempts"]) == (600, 1)

    def test_no_bearer_token_of_aws_goes_to_a_local_endpoint(
        self, endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The token's variable is for AWS."""
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "secret")
        runtime = connect(endpoint_url=endpoint.url).runtime
        sent: list[str] = []
        runtime.meta.events.register("before-send", lambda request, **_: sent.append(str(request.headers)))
        runtime.converse(modelId=HAIKU, messages=[{"role": "user", "content": [{"text": "Hello"}]}])
        assert len(sent) == 1
        assert "secret" not in sent[0]

    def test_a_key_is_proved_without_being_sent(self) -> None:
        """The status, its progress and the calls are signed with it; a wrong one is told."""
        with LocalEndpoint(engine="extract", key="right") as keyed:
            connection = connect(endpoint_url=keyed.url, key="right")
            assert connection.local is not None
            assert connection.local.progress() is None
            asked = {"modelId": HAIKU, "messages": [{"role": "user", "content": [{"text": "Hello"}]}]}
            assert connection.runtime.converse(**asked)["stopReason"] == "end_turn"
            with pytest.raises(InvalidRequestError, match="refuses the key of POINTSMAN_LOCAL_KEY"):
                connect(endpoint_url=keyed.url, key="wrong")
            with pytest.raises(InvalidRequestError, match=r"no AWS credentials.*needs POINTSMAN_LOCAL_KEY"):
                connect(endpoint_url=keyed.url, region="us-east-1")

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("http://127.0.0.1:9", "nothing answers at http://127.0.0.1:9"),
            ("127.0.0.1:8480", "is not one, such as http://"),
            ("http://a b", "nothing answers at http://a b"),
        ],
    )
    def test_an_endpoint_that_is_down_is_told(self, url: str, says: str) -> None:
        """Before anything is sent."""
        with pytest.raises(InvalidRequestError) as caught:
            connect(endpoint_url=url)
        assert says in str(caught.value)

    @pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"])
    def test_the_environment_may_name_the_endpoint(
        self, endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        """It is recognized and checked as one that was named is; that of the service comes first."""
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(InvalidRequestError, match=r"nothing answers at http://127\.0\.0\.1:9"):
            connect()
        monkeypatch.setenv(variable, endpoint.url)
        connection = connect()
        assert connection.local is not None
        assert connection.url == connection.session.client("bedrock").meta.endpoint_url == endpoint.url
        assert connect(endpoint_url=endpoint.url).url == endpoint.url

    def test_a_gateway_of_the_environment_is_left_to_the_sdk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Which may have another one for each service."""
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "token")
        with answering({"message": "hello"}) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url)
            connection = connect(region="us-east-1")
        assert (connection.local, connection.url) == (None, url)
        assert connection.session.client("bedrock").meta.endpoint_url == "https://bedrock.us-east-1.amazonaws.com"

    def test_another_endpoint_gets_the_credentials_of_aws(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A gateway or a VPC endpoint is AWS, at another address."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        with answering({"message": "hello"}) as url:
            connection = connect(endpoint_url=url)
        assert connection.local is None
        assert (connection.url, connection.region) == (url, "eu-central-1")

    def test_an_expired_login_is_found_first(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A profile of IAM Identity Center without its token would fail at the first question only."""
        config = tmp_path / "config"
        config.write_text(
            "[default]\nsso_session = us\nsso_account_id = 111122223333\nsso_role_name = reader\n"
            "[sso-session us]\nsso_region = us-east-1\nsso_start_url = https://example.com\n"
        )
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        with pytest.raises(InvalidRequestError, match="Token for us does not exist"):
            connect(region="us-east-1")

    def test_what_aws_needs_is_looked_up_first(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Region, credentials, profile: each is missed by name."""
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(InvalidRequestError, match="no AWS Region: name one with --region"):
            connect()
        with pytest.raises(InvalidRequestError, match=r"no AWS credentials.* Without AWS: --local\.$"):
            connect(region="us-east-1")
        with pytest.raises(InvalidRequestError, match=r"no AWS credentials.* Without AWS: patience\.$"):
            connect(region="us-east-1", without_aws="patience")
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "token")
        assert connect(region="us-east-1").url == "https://bedrock-runtime.us-east-1.amazonaws.com"
        with pytest.raises(InvalidRequestError, match="unknown Region 'no where'"):
            connect(region="no where")
        monkeypatch.setenv("AWS_REGION", "mars-1")
        with pytest.raises(InvalidRequestError, match="unknown Region 'mars-1'"):
            connect()
        monkeypatch.delenv("AWS_REGION")
        assert connect(region="eu-central-9").region == "eu-central-9"  # It may be new.
        monkeypatch.setenv("AWS_PROFILE", "absent")
        with pytest.raises(InvalidRequestError, match="absent"):
            connect(region="us-east-1")

    @pytest.mark.parametrize(
        ("error", "kind", "says"),
        [
            (
                ClientError({"Error": {"Code": "AccessDeniedException", "Message": "No."}}, "Converse"),
                CallFailedError,
                "AccessDeniedException: No. (here)",
            ),
            (ReadTimeoutError(endpoint_url="x"), CallFailedError, "the connection broke"),
            (EndpointConnectionError(endpoint_url="x"), InvalidRequestError, "Could not connect"),
            (KeyError("ours"), KeyError, "ours"),
        ],
    )
    def test_errors_of_the_sdk_are_told_apart(self, error: Exception, kind: type[Exception], says: str) -> None:
        """Refused or broken after sending, not sent, or a fault of ours."""
        with pytest.raises(kind) as caught, calls_to("here"):
            raise error
        assert says in str(caught.value)


class TestConversation:
    def test_each_answer_joins_the_history(self, connection: Connection, tmp_path: Path) -> None:
        """The documents stand in the first message only, and later questions read them from the cache."""
        documents = read_documents([long_text(tmp_path)])
        conversation = Conversation(Client(connection.runtime), model_id=HAIKU, documents=documents)
        pieces: list[str] = []
        first = conversation.ask("What is Trainium made for?", on_text=pieces.append)
        second = conversation.ask("What is Inferentia made for?")
        assert "".join(pieces) == first.text
        assert len(pieces) > 1
        assert first.first_token_s is not None
        assert 0 < first.first_token_s <= first.duration_s
        assert first.stop_reason == "end_turn"
        written = usage_of(first).cache_write_tokens
        assert written >= 1024
        assert usage_of(second).cache_read_tokens >= written

    def test_an_answer_without_text_is_left_out_of_the_history(self) -> None:
        """Bedrock would refuse its blank message; the documents go with the next question."""
        document = Document(path=Path("a.txt"), name="a", format="txt", data=b"x")
        replies = iter(["", "Yes."])
        sent: list[list[dict[str, Any]]] = []

        class Bedrock:
            def converse_stream(self, **request: Any) -> dict[str, Any]:
                sent.append(request["messages"])
                text = next(replies)
                events = [{"contentBlockDelta": {"delta": {"text": text}}}] if text else []
                return {"stream": _Events([*events, {"messageStop": {"stopReason": "end_turn"}}])}

        conversation = Conversation(Client(Bedrock()), model_id=HAIKU, documents=[document])
        assert conversation.ask("One?").first_token_s is None
        conversation.ask("Two?")
        assert [len(messages) for messages in sent] == [1, 1]
        assert [next(iter(block)) for block in sent[1][0]["content"]] == ["document", "text"]


class _Events(list[dict[str, Any]]):
    def close(self) -> None:
        pass


@pytest.fixture
def answers(connection: Connection, tmp_path: Path) -> list[Answer]:
    """Two answers of one model about one long document."""
    documents = read_documents([long_text(tmp_path)])
    conversation = Conversation(Client(connection.runtime), model_id=HAIKU, documents=documents)
    return [conversation.ask("What is Trainium made for?"), conversation.ask("What is Inferentia made for?")]


def usage_of(answer: Answer) -> Usage:
    """The usage that came back with an answer."""
    assert answer.trace.usage is not None
    return answer.trace.usage


def reported(answers: list[Answer], *, width: int = 100, terminal: bool = False) -> str:
    """What a report writes of them."""
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False)
    report = Report(console)
    for answer in answers:
        report.question(answer.question)
        for piece in answer.text:
            report.text(piece)
        report.answer(answer)
    report.closing()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestReport:
    def test_it_tells_model_reason_tokens_latency_and_cost(self, answers: list[Answer]) -> None:
        """Per question, from the trace."""
        told = reported(answers)
        usage, cost = usage_of(answers[0]), answers[0].trace.cost
        assert cost is not None
        assert f"model        Claude Haiku 5.5 ({HAIKU})" in told
        assert "why          named by the caller" in told
        assert f"{usage.cache_write_tokens:,} written to the cache, 0 read from it" in told
        assert "% of the first question's" in told
        assert f"cost         ${cost.total:.6f}; $" in told
        assert "of the prompt tokens were read from the cache; the bill is" in told

    def test_the_table_fits_80_columns(self, answers: list[Answer]) -> None:
        """With the totals in its last row."""
        lines = reported(answers, width=80).splitlines()
        table = lines[next(n for n, line in enumerate(lines) if line.startswith("  model")) :]
        assert max(map(len, table[:4])) <= 80
        assert not any("…" in line for line in table)
        total = sum(usage_of(answer).output_tokens for answer in answers)
        assert table[3].split()[0] == "total"
        assert str(total) in table[3].split()

    def test_a_switch_of_model_is_shown(self, answers: list[Answer]) -> None:
        """With the model before it."""
        sonnet = Catalog.default().resolve(SONNET)
        trace = replace(answers[1].trace, model=sonnet, invoked_model_id=SONNET)
        told = reported([answers[0], replace(answers[1], trace=trace)])
        assert f"Claude Sonnet 5.5 ({SONNET}), switched from Claude Haiku 5.5" in told

    @pytest.mark.parametrize(
        ("miss", "told"),
        [
            (ModelSwitched(previous=SONNET, tokens=1200), f"not read     The prefix is warm on {SONNET}, and each"),
            (BelowMinimum(have=80, need=512, tokens=80), None),
            (FirstRequest(), None),
            (None, None),
        ],
    )
    def test_why_less_was_read_is_told(self, answers: list[Answer], miss: MissReason | None, told: str | None) -> None:
        """Where there was something to read, or to be read."""
        shown = reported([replace(answers[0], trace=replace(answers[0].trace, miss=miss))])
        assert told in shown if told else "not read" not in shown

    def test_a_bill_that_caching_left_alone_is_the_same(self, answers: list[Answer]) -> None:
        """Neither less nor more."""
        trace = replace(answers[0].trace, usage=Usage(input_tokens=100, output_tokens=10))
        assert "; the bill is the same as without caching." in reported([replace(answers[0], trace=trace)])
        assert re.search(r"; the bill is \d+% (less|more) than without caching\.", reported(answers))

    def test_what_is_unknown_is_said_to_be(self, answers: list[Answer]) -> None:
        """No usage, no price, no text: never a zero."""
        trace = replace(answers[0].trace, usage=None, model=replace(answers[0].trace.model, price=None))
        told = reported([replace(answers[0], trace=trace, text="", first_token_s=None)])
        assert "(no text came)" in told
        assert "unknown: no usage came back" in told
        assert "cost         unknown; unknown without caching" in told
        assert "No usage came back." in told

    def test_an_answer_cut_short_is_said_to_be(self, answers: list[Answer]) -> None:
        """Its end is not the model's."""
        assert "cut short" in reported([replace(answers[0], stop_reason="max_tokens")])
        assert "cut short" not in reported(answers)

    def test_words_are_kept_whole_on_a_terminal(self, answers: list[Answer]) -> None:
        """And lines as they came elsewhere."""
        text = "word " * 30 + "\n\nand [brackets] stay"
        on_terminal = reported([replace(answers[0], text=text)], width=40, terminal=True)
        assert max(len(line) for line in on_terminal.splitlines() if "word" in line) <= 40
        assert "wor\n" not in on_terminal
        assert "word " * 29 + "word" in reported([replace(answers[0], text=text)])
        assert "[brackets]" in on_terminal

    def test_names_are_kept_whole_on_a_terminal(self, answers: list[Answer]) -> None:
        """A name is not broken at its hyphens."""
        trace = replace(answers[0].trace, invoked_model_id="us.a-name.with-many-hyphens")
        for width in range(50, 70):
            told = reported([replace(answers[0], trace=trace)], width=width, terminal=True)
            assert "(us.a-name.with-many-hyphens)" in told

    def test_an_answer_cannot_steer_the_terminal(self) -> None:
        """Escape sequences lose their escape."""
        assert printable("a\x1b[2Jb\tc\r\nd\x9b") == "a\ufffd[2Jb\tc\nd\ufffd"

    def test_json_has_all_of_it(self, answers: list[Answer]) -> None:
        """Money in decimal strings, the shares of later questions, totals that add up."""
        told = to_json(answers, asked=HAIKU, url="http://x", region="us-east-1", engine="extract", about={})
        first, second = told["answers"]
        assert told["endpoint"] == {"url": "http://x", "region": "us-east-1", "answers_by": "extract"}
        assert first["first_token_share"] is None
        assert second["first_token_share"] == pytest.approx(
            second["first_token_ms"] / first["first_token_ms"], abs=0.05
        )
        assert Decimal(told["totals"]["cost"]) == Decimal(first["cost"]) + Decimal(second["cost"])
        for bucket, total in told["totals"]["usage"].items():
            assert total == first["usage"][bucket] + second["usage"][bucket]
        assert first["trace"] == answers[0].trace.to_dict()


class TestReading:
    def test_nothing_is_shown_where_nobody_looks(self, connection: Connection) -> None:
        """A console that is not a terminal stays empty."""
        console = Console(file=io.StringIO(), force_terminal=False)
        with reading(console, connection.local) as stop:
            stop()
        assert isinstance(console.file, io.StringIO)
        assert console.file.getvalue() == ""

    def test_a_bar_grows_with_the_prompt(self) -> None:
        """It counts the tokens that the endpoint says are read, and is gone when the first one comes."""

        polled = threading.Event()

        class HalfRead(LocalStatus):
            def __init__(self) -> None:
                pass

            def progress(self) -> tuple[int, int]:
                polled.set()
                return 512, 1024

        file = io.StringIO()
        console = Console(file=file, force_terminal=True, width=100)
        with reading(console, HalfRead()) as stop:
            assert polled.wait(5)
            threading.Event().wait(0.6)
            stop()
            shown = file.getvalue()
            console.print("the answer")
        assert "512 of 1,024 tokens" in shown
        assert file.getvalue().endswith("the answer\n")

    def test_the_progress_is_that_of_the_youngest_prompt(self, endpoint: LocalEndpoint) -> None:
        """Nothing runs, nothing is told; an endpoint that has gone is no error."""
        assert LocalStatus(endpoint.url).progress() is None
        running = [{"id": n, "processed": n * 10, "total": 100} for n in (2, 7, 4)]
        with answering({"engine": "llama", "running": running}) as url:
            status = LocalStatus(url)
            assert status.engine == "llama"
            assert status.progress() == (70, 100)
        assert status.progress() is None
