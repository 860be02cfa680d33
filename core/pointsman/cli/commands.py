"""The commands of `pointsman` and their options. Translates them; what they do is in `pointsman.ask` and `.local`."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

import pointsman
from pointsman.ask.connection import KEY_VARIABLE, Connection, calls_to, connect
from pointsman.ask.conversation import Answer, Conversation, check_questions, choose_model_id
from pointsman.ask.documents import Document, read_documents
from pointsman.ask.reading import reading
from pointsman.ask.report import STAND_IN, Report, described, to_json
from pointsman.catalog import Catalog
from pointsman.client import Client
from pointsman.errors import InvalidRequestError, MissingExtraError
from pointsman.routing import RouterRegistry

if TYPE_CHECKING:
    from pointsman.local import LocalEndpoint, Settings

Engine = Literal["llama", "extract"]

DEMO_QUESTIONS = (
    "Compare Claude Haiku and Claude Sonnet in 20 words or less.",
    "Compare Amazon S3 Vectors and OpenSearch Serverless in 20 words or less.",
    "Compare batch inference and provisioned throughput in 20 words or less.",
)

app = typer.Typer(
    help="Prompt routing and prompt caching for Amazon Bedrock, together.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"pointsman {pointsman.__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def ask(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="Up to five documents: pdf, txt, md, csv, html, doc, docx, xls, xlsx.",
            show_default=False,
        ),
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            "--question", "-q", metavar="TEXT", help="A question; may be given several times.", show_default=False
        ),
    ] = None,
    router: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|ARN", help="The prompt router to ask. Default: the one for Claude.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="A model or inference profile to ask, instead of a router.", show_default=False
        ),
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="REGION", help="The AWS Region to call.", show_default=False)
    ] = None,
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            "--endpoint-url",
            metavar="URL",
            help=f"Another endpoint than AWS's, such as a running `pointsman local` (its key: {KEY_VARIABLE}).",
            show_default=False,
        ),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Start a local endpoint for this conversation.")] = False,
    engine: Annotated[
        Engine | None,
        typer.Option(
            help="What answers behind --local: a small model, or sentences of the prompt. Default: llama.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="The longest answer, in tokens.")] = 1024,
) -> None:
    """Ask questions about documents, in one conversation that is routed and cached.

    Calls AWS with your default credentials, or a local endpoint. For each question: the model and why it was
    chosen, the tokens, the time to the first of them, and the cost.

        pointsman ask handbook.pdf -q "Who approves travel?" -q "And abroad?"
    """
    if local and endpoint_url is not None:
        raise InvalidRequestError("--local starts an endpoint of its own: leave out --endpoint-url.")
    if engine is not None and not local:
        raise InvalidRequestError("--engine goes with --local: a running endpoint has its engine.")
    _hold(
        _Inquiry(
            files=files or (),
            questions=question or (),
            router=router,
            model=model,
            region=region,
            endpoint_url=endpoint_url,
            engine=(engine or "llama") if local else None,
            as_json=as_json,
            max_tokens=max_tokens,
        )
    )


@app.command()
def demo(
    engine: Annotated[Engine, typer.Option(help="What answers: a small model, or sentences of the prompt.")] = "llama",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Ask three questions about three short PDFs, on this machine and without AWS.

    Starts a local endpoint and asks the default router for Claude. The answers are a stand-in's; the tokens, the
    latency and the decisions are real.
    """
    guides = sorted(Path(str(files("pointsman"))).joinpath("data", "guides").glob("*.pdf"))
    _hold(_Inquiry(files=guides, questions=DEMO_QUESTIONS, engine=engine, as_json=as_json, max_tokens=64))


@app.command()
def local(
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="The port to listen on; 0 for a free one.")
    ] = 8480,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="The address; other than loopback only with a key.")
    ] = "127.0.0.1",
    engine: Annotated[Engine, typer.Option(help="What answers: a small model, or sentences of the prompt.")] = "llama",
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=PATH", help="A GGUF file to answer for a model id; may be repeated.", show_default=False
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            envvar=KEY_VARIABLE,
            metavar="KEY",
            help="Demanded of every client, as its secret access key.",
            show_default=False,
        ),
    ] = None,
    latency_ms: Annotated[
        float, typer.Option("--latency-ms", min=0, metavar="N", help="Added before the first token.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=SHARE",
            help="Refuse a share of all prompts once, such as throttle=0.2; may be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a Bedrock-compatible endpoint on this machine, until Ctrl-C.

    boto3, the AWS CLI and frameworks talk to it through their endpoint URL. It applies Bedrock's caching rules and
    keeps its own account (GET /_local/account).
    """
    _need_local()
    from pointsman.local import Settings

    settings = Settings(
        engine=engine,
        models=_weights(model or (), engine),
        key=key or None,
        latency_ms=latency_ms,
        faults={kind: _share(kind, value) for kind, value in map(_pair, fault or ())},
    )
    console = Console(highlight=False)
    with _listening(settings, host, port) as endpoint:
        console.print(_usage_of(endpoint.url, engine, keyed=bool(key)), soft_wrap=True, markup=False)
        threading.Event().wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inquiry:
    """What is to be asked, of whom, and how it is shown. `engine`: start a local endpoint with it."""

    files: Sequence[Path]
    questions: Sequence[str]
    as_json: bool
    max_tokens: int
    router: str | None = None
    model: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    engine: Engine | None = None


def _hold(inquiry: _Inquiry) -> None:
    """Hold the conversation and print it. Whatever can be wrong is checked before the first question is sent."""
    documents = read_documents(inquiry.files)
    questions = check_questions(inquiry.questions)
    if inquiry.router is not None and inquiry.model is not None:
        raise InvalidRequestError("both --router and --model were given. Choose one: a router chooses among models.")
    with _own_endpoint(inquiry) if inquiry.engine else nullcontext(inquiry.endpoint_url) as url:
        key = None if inquiry.engine else os.environ.get(KEY_VARIABLE) or None
        connection = connect(endpoint_url=url, region=inquiry.region, key=key)
        routers = RouterRegistry(catalog=Catalog.default(resolver=connection.resolve_profile), region=connection.region)
        model_id = choose_model_id(
            routers,
            router=inquiry.router,
            model=inquiry.model,
            region=connection.region,
            local=connection.local is not None,
        )
        client = Client(connection.runtime, routers=routers)
        conversation = Conversation(client, model_id=model_id, documents=documents, max_tokens=inquiry.max_tokens)
        with calls_to(connection):
            if inquiry.as_json:
                _print_json(conversation, questions, documents, connection, model_id)
            else:
                target = described(routers.router(model_id, region=connection.region), model_id)
                _print_report(conversation, questions, documents, connection, target)


def _print_report(
    conversation: Conversation,
    questions: Sequence[str],
    documents: Sequence[Document],
    connection: Connection,
    target: str,
) -> None:
    report = Report(Console(highlight=False))
    engine = connection.local.engine if connection.local else None
    report.opening(documents=len(documents), target=target, url=connection.url, engine=engine)
    for question in questions:
        report.question(question)
        report.answer(_answer(conversation, question, connection, report))
    report.closing()


def _print_json(
    conversation: Conversation,
    questions: Sequence[str],
    documents: Sequence[Document],
    connection: Connection,
    model_id: str,
) -> None:
    answers = [_answer(conversation, question, connection) for question in questions]
    told = to_json(
        answers,
        asked=model_id,
        url=connection.url,
        region=connection.region,
        engine=connection.local.engine if connection.local else None,
        documents=documents,
    )
    print(json.dumps(told, indent=2, ensure_ascii=False))


def _answer(conversation: Conversation, question: str, connection: Connection, report: Report | None = None) -> Answer:
    with reading(Console(stderr=True), connection.local) as stop:

        def show(text: str) -> None:
            stop()
            if report is not None:
                report.text(text)

        return conversation.ask(question, on_text=show)


@contextmanager
def _own_endpoint(inquiry: _Inquiry) -> Iterator[str]:
    _need_local()
    from pointsman.local import Settings

    assert inquiry.engine is not None
    settings = Settings(engine=inquiry.engine)
    if inquiry.region is not None:
        settings = replace(settings, region=inquiry.region)
    with _listening(settings, "127.0.0.1", 0) as endpoint:
        yield endpoint.url


@contextmanager
def _listening(settings: Settings, host: str, port: int) -> Iterator[LocalEndpoint]:
    from pointsman.local import LocalEndpoint

    endpoint = LocalEndpoint(settings, host=host, port=port)
    try:
        endpoint.start()
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise InvalidRequestError(
                f"port {port} is taken. Choose another with --port, or 0 for a free one."
            ) from exc
        raise InvalidRequestError(f"can't listen on {host}, port {port}: {exc.strerror}.") from exc
    try:
        yield endpoint
    finally:
        endpoint.stop()


def _need_local() -> None:
    if any(find_spec(package) is None for package in ("starlette", "uvicorn")):
        raise MissingExtraError("the local endpoint", "local")


def _weights(pairs: Sequence[str], engine: Engine) -> Mapping[str, Path]:
    if pairs and engine != "llama":
        raise InvalidRequestError("--model goes with --engine llama: the engine extract has no weights.")
    weights = {model_id: Path(path) for model_id, path in map(_pair, pairs)}
    known = {model.id for model in Catalog.default().models}
    for model_id, path in weights.items():
        if Catalog.default().resolve(model_id).id not in known:
            raise InvalidRequestError(f"unknown model {model_id!r}: the local endpoint serves those of the catalogue.")
        if not path.is_file():
            raise InvalidRequestError(f"{path}: no such file.")
    return weights


def _pair(text: str) -> tuple[str, str]:
    left, sign, right = text.partition("=")
    if not (left and sign and right):
        raise InvalidRequestError(f"{text!r} is not of the form NAME=VALUE.")
    return left, right


def _share(kind: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as exc:
        raise InvalidRequestError(f"the share of the fault {kind} is {value!r}; it must be from 0 to 1.") from exc


def _usage_of(url: str, engine: Engine, *, keyed: bool) -> str:
    secret = f'os.environ["{KEY_VARIABLE}"]' if keyed else '"local"'
    return f"""Listening at {url} with the engine {engine}. Ctrl-C ends it.
{STAND_IN[engine]}

    pointsman ask FILE -q "..." --endpoint-url {url}

    boto3.client("bedrock-runtime", endpoint_url="{url}", region_name="us-east-1",
                 aws_access_key_id="local", aws_secret_access_key={secret})
"""
