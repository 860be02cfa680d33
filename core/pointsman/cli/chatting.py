"""`pointsman chat`: its options, and how it is carried out: a conversation about a folder, or a knowledge base.

Whatever can be wrong is found before anything is sent. How documents are laid is left to the session.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pointsman.ask.chat import Chat
from pointsman.ask.conversation import Answer
from pointsman.ask.report import Report
from pointsman.bedrock import local_session
from pointsman.cli.addressing import Address, Reached, reach
from pointsman.cli.endpoints import own_endpoint
from pointsman.cli.options import (
    AsJson,
    EndpointUrl,
    Local,
    LogFile,
    MaxTokens,
    ModelId,
    OwnEngine,
    PredictorFile,
    Questions,
    Region,
    RouterName,
    own_engine,
)
from pointsman.cli.questions import NextQuestion, given_questions, piped_questions, typed_question
from pointsman.documents import KnowledgeBase, session
from pointsman.errors import InvalidRequestError, PointsmanError

FOLDER_ID = "CHATFOLDER"
"""The id of the knowledge base that a folder is served as."""
_HINT = "An empty line, /quit or Ctrl-D ends the conversation; Ctrl-C ends an answer."


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """What is to be talked about, with whom, and how it is shown. No questions: they are read from stdin."""

    folder: Path | None
    knowledge_base: str | None
    questions: tuple[str, ...]
    address: Address
    results: int
    as_json: bool
    max_tokens: int
    log: Path | None = None

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.knowledge_base is None):
            raise InvalidRequestError("name what to talk about: a FOLDER, or the id of a --knowledge-base.")
        if self.knowledge_base is not None and self.address.engine is not None:
            raise InvalidRequestError(
                "--knowledge-base is one of AWS or of a running endpoint: give a FOLDER with --local or --engine."
            )

    @property
    def about(self) -> str:
        """What is talked about, in words."""
        return str(self.folder) if self.folder is not None else f"the knowledge base {self.knowledge_base}"


def chat(
    folder: Annotated[
        Path | None,
        # Hidden: the help would name its Python type. The text below tells of it.
        typer.Argument(metavar="FOLDER", hidden=True),
    ] = None,
    question: Questions = None,
    knowledge_base: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Retrieve from this knowledge base, instead of a FOLDER.", show_default=False),
    ] = None,
    results: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Passages per question, at most.")] = 8,
    router: RouterName = None,
    model: ModelId = None,
    predictor: PredictorFile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    local: Local = False,
    engine: OwnEngine = None,
    log: LogFile = None,
    as_json: AsJson = False,
    max_tokens: MaxTokens = 1024,
) -> None:
    """Talk about a folder of documents, in one conversation that is routed and cached.

    FOLDER holds md, txt and pdf files. It is searched on this machine, whoever answers: only the passages that are
    found go out with a question. With --knowledge-base, AWS (or the endpoint) searches.

    Calls AWS with your default credentials, or a local endpoint. Without -q it asks for questions until Ctrl-D, an
    empty line or /quit; from a pipe it reads one a line. For each: the model and why it was chosen, what was found
    and what of it stays in the cached conversation, the tokens, the time to the first of them, and the cost.

        pointsman chat handbook/ --local
    """
    address = Address(
        router=router,
        model=model,
        predictor=predictor,
        region=region,
        endpoint_url=endpoint_url,
        engine=own_engine(local=local, engine=engine, endpoint_url=endpoint_url),
    )
    hold_talk(
        Talk(
            folder=folder,
            knowledge_base=knowledge_base,
            questions=tuple(question or ()),
            address=address,
            results=results,
            as_json=as_json,
            max_tokens=max_tokens,
            log=log,
        )
    )


def hold_talk(talk: Talk) -> None:
    """Hold the conversation and print it.

    At a terminal a question that fails is told, and the conversation goes on.

    Raises:
        InvalidRequestError: whatever can be wrong, before anything is sent.
        CallFailedError: a search or a question was refused, or not answered to its end.
    """
    typed = not talk.questions and sys.stdin.isatty()
    if typed:
        next_question: NextQuestion = typed_question
    else:
        next_question = given_questions(talk.questions) if talk.questions else piped_questions()
    with _reached(talk) as (reached, knowledge_base), closing(session(uuid.uuid4().hex, scope="local")) as documents:
        conversation = Chat(
            reached.client,
            model_id=reached.model_id,
            knowledge_base=knowledge_base,
            session=documents,
            max_tokens=talk.max_tokens,
            stoppable=typed,
        )
        # With --json, a person who types still sees the conversation, beside the document.
        report = Report(Console(highlight=False, stderr=talk.as_json)) if typed or not talk.as_json else None
        if report is not None:
            reached.open(report, talk.about)
            if typed:
                report.hint(_HINT)
        answers: list[Answer] = []
        try:
            _converse(reached, conversation, next_question, answers, report, typed)
        except KeyboardInterrupt:
            if typed:
                _close(talk, reached, answers, report)
            raise
        _close(talk, reached, answers, report)


def _converse(
    reached: Reached,
    conversation: Chat,
    next_question: NextQuestion,
    answers: list[Answer],
    report: Report | None,
    typed: bool,
) -> None:
    while (question := next_question(len(answers) + 1)) is not None:
        if report is not None:
            report.question(question, typed=typed)
        try:
            answers.append(reached.answer(conversation, question, report))
        except (KeyboardInterrupt, PointsmanError) as exc:
            if report is None or not typed:
                raise
            report.failure(str(exc) or "You stopped it before its answer began.")
            continue
        if report is not None:
            report.answer(answers[-1])


def _close(talk: Talk, reached: Reached, answers: list[Answer], report: Report | None) -> None:
    if report is not None:
        report.closing()
    if talk.as_json:
        folder = None if talk.folder is None else str(talk.folder)
        reached.print_json(answers, {"knowledge_base": {"id": talk.knowledge_base or FOLDER_ID, "folder": folder}})


@contextmanager
def _reached(talk: Talk) -> Iterator[tuple[Reached, KnowledgeBase]]:
    """Who answers, and where to search: a folder by an endpoint on this machine, which may be the one that answers."""
    served = {} if talk.folder is None else {FOLDER_ID: talk.folder}
    with ExitStack() as stack:
        apart = None
        if served and talk.address.engine is None:
            apart = local_session(stack.enter_context(own_endpoint("extract", knowledge_bases=served)))
        reached = stack.enter_context(reach(talk.address, knowledge_bases=served, log=talk.log))
        searching = (apart or reached.connection.session).client("bedrock-agent-runtime")
        yield reached, KnowledgeBase(talk.knowledge_base or FOLDER_ID, client=searching, results=talk.results)
