"""One conversation about given documents, from its files to its report. Knows no options.

Whatever can be wrong is checked before the first question is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from rich.console import Console

from pointsman.ask.conversation import Conversation, check_questions
from pointsman.ask.documents import read_documents
from pointsman.ask.report import Report
from pointsman.cli.addressing import Address, reach
from pointsman.cli.endpoints import Engine

DEMO_QUESTIONS = (
    "Compare Claude Haiku and Claude Sonnet in 20 words or less.",
    "Compare Amazon S3 Vectors and OpenSearch Serverless in 20 words or less.",
    "Compare batch inference and provisioned throughput in 20 words or less.",
)
_DEMO_MAX_TOKENS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """What is to be asked, of whom, and how it is shown."""

    files: Sequence[Path]
    questions: Sequence[str]
    address: Address
    as_json: bool
    max_tokens: int
    log: Path | None = None


def hold(inquiry: Inquiry) -> None:
    """Hold the conversation and print it. Whatever can be wrong is checked before the first question is sent."""
    documents = read_documents(inquiry.files)
    questions = check_questions(inquiry.questions)
    with reach(inquiry.address, log=inquiry.log) as reached:
        conversation = Conversation(
            reached.client, model_id=reached.model_id, documents=documents, max_tokens=inquiry.max_tokens
        )
        if inquiry.as_json:
            answers = [reached.answer(conversation, question) for question in questions]
            reached.print_json(answers, {"documents": [document.to_dict() for document in documents]})
            return
        report = Report(Console(highlight=False))
        reached.open(report, f"{len(documents)} document{'' if len(documents) == 1 else 's'}" if documents else "")
        for question in questions:
            report.question(question)
            report.answer(reached.answer(conversation, question, report))
        report.closing()


def demo_inquiry(engine: Engine, *, as_json: bool, log: Path | None) -> Inquiry:
    """The three guides that ship with the package, and a question about each."""
    guides = sorted(Path(str(files("pointsman"))).joinpath("data", "guides").glob("*.pdf"))
    return Inquiry(
        files=guides,
        questions=DEMO_QUESTIONS,
        address=Address(engine=engine),
        as_json=as_json,
        max_tokens=_DEMO_MAX_TOKENS,
        log=log,
    )
