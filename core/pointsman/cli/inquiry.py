"""One conversation from the command line, from its files to its report. Knows no options.

Whatever can be wrong is checked before the first question is sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from rich.console import Console

from pointsman.ask.connection import KEY_VARIABLE, Connection, calls_to, connect
from pointsman.ask.conversation import Answer, Conversation, check_questions, choose_model_id
from pointsman.ask.documents import Document, read_documents
from pointsman.ask.reading import reading
from pointsman.ask.report import Report, described, to_json
from pointsman.catalog import Catalog
from pointsman.cli.endpoints import Engine, own_endpoint
from pointsman.cli.fitting import check_heads, load_predictor
from pointsman.client import Client
from pointsman.errors import InvalidRequestError
from pointsman.routing import RouterRegistry

DEMO_QUESTIONS = (
    "Compare Claude Haiku and Claude Sonnet in 20 words or less.",
    "Compare Amazon S3 Vectors and OpenSearch Serverless in 20 words or less.",
    "Compare batch inference and provisioned throughput in 20 words or less.",
)
_DEMO_MAX_TOKENS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """What is to be asked, of whom, and how it is shown. `engine`: start a local endpoint with it."""

    files: Sequence[Path]
    questions: Sequence[str]
    as_json: bool
    max_tokens: int
    router: str | None = None
    model: str | None = None
    predictor: Path | None = None
    region: str | None = None
    endpoint_url: str | None = None
    engine: Engine | None = None

    def __post_init__(self) -> None:
        if self.model is not None and self.router is not None:
            raise InvalidRequestError(
                "both --router and --model were given. A router chooses among models: choose one."
            )
        if self.model is not None and self.predictor is not None:
            raise InvalidRequestError("--predictor goes with a router: where a model is named, nothing is decided.")


def hold(inquiry: Inquiry) -> None:
    """Hold the conversation and print it. Whatever can be wrong is checked before the first question is sent."""
    documents = read_documents(inquiry.files)
    questions = check_questions(inquiry.questions)
    predictor = None if inquiry.predictor is None else load_predictor(inquiry.predictor)
    with (
        own_endpoint(inquiry.engine, region=inquiry.region)
        if inquiry.engine
        else nullcontext(inquiry.endpoint_url) as url
    ):
        key = None if inquiry.engine else os.environ.get(KEY_VARIABLE) or None
        connection = connect(endpoint_url=url, region=inquiry.region, key=key)
        catalog = Catalog.default(resolver=connection.resolve_profile)
        routers = RouterRegistry(predictor=predictor, catalog=catalog, region=connection.region)
        model_id = choose_model_id(
            routers,
            router=inquiry.router,
            model=inquiry.model,
            region=connection.region,
            local=connection.local is not None,
        )
        router = routers.router(model_id, region=connection.region)
        if predictor is not None:
            if router is None:
                raise InvalidRequestError("--predictor goes with a router that is known here: another decides at AWS.")
            check_heads(predictor, router, catalog)
        client = Client(connection.runtime, routers=routers)
        conversation = Conversation(client, model_id=model_id, documents=documents, max_tokens=inquiry.max_tokens)
        with calls_to(connection.url):
            if inquiry.as_json:
                _print_json(conversation, questions, documents, connection, model_id)
            else:
                target = described(router, model_id, routers.catalog)
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


def demo_inquiry(engine: Engine, *, as_json: bool) -> Inquiry:
    """The three guides that ship with the package, and a question about each."""
    guides = sorted(Path(str(files("pointsman"))).joinpath("data", "guides").glob("*.pdf"))
    return Inquiry(files=guides, questions=DEMO_QUESTIONS, engine=engine, as_json=as_json, max_tokens=_DEMO_MAX_TOKENS)
