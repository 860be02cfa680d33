"""Questions about documents, one after another: each answer joins the history. Knows Converse; prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pointsman.ask.documents import Document
from pointsman.ask.unlisted import is_known, meant
from pointsman.client import Client
from pointsman.documents import Document as RetrievedDocument
from pointsman.documents import Session
from pointsman.errors import InvalidRequestError
from pointsman.prompt_routers import split_router_arn
from pointsman.routing import RouterRegistry
from pointsman.trace import Trace

DEFAULT_ROUTER = "Anthropic Prompt Router"
STOPPED = "stopped"
"""The stop reason of an answer that was ended by Ctrl-C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one question. `first_token_s` is None where no text came.

    `found` are the documents that were retrieved for it, None where nothing was searched.
    """

    question: str
    text: str
    stop_reason: str | None
    trace: Trace
    first_token_s: float | None
    duration_s: float
    found: tuple[RetrievedDocument, ...] | None = None


class Conversation:
    """One conversation with a model or router about some documents.

    The documents stand before the first question. A question that got no text is left out of the history: Bedrock
    refuses a message without any.
    """

    def __init__(
        self,
        client: Client,
        *,
        model_id: str,
        documents: Sequence[Document] = (),
        max_tokens: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._client = client
        self._model_id = model_id
        self._documents = tuple(documents)
        self._config: dict[str, Any] = {} if max_tokens is None else {"inferenceConfig": {"maxTokens": max_tokens}}
        self._clock = clock
        self._history: list[dict[str, Any]] = []

    def ask(self, question: str, *, on_text: Callable[[str], object] = lambda _: None) -> Answer:
        """Ask, and hand over the answer's text as it comes.

        Raises:
            InvalidRequestError, NoEligibleModelError: nothing was sent.
            botocore.exceptions.ClientError: Bedrock refused, or the stream broke.
        """
        blocks = [] if self._history else [document.block for document in self._documents]
        message = {"role": "user", "content": [*blocks, {"text": question}]}
        request = {"modelId": self._model_id, "messages": [*self._history, message], **self._config}
        answer = stream_answer(self._client, request, question=question, on_text=on_text, clock=self._clock)
        if answer.text.strip():
            self._history += [message, {"role": "assistant", "content": [{"text": answer.text}]}]
        return answer


def stream_answer(
    client: Client,
    request: Mapping[str, Any],
    *,
    question: str,
    on_text: Callable[[str], object],
    clock: Callable[[], float] = time.perf_counter,
    session: Session | None = None,
    stoppable: bool = False,
) -> Answer:
    """Send a request, and hand over the answer's text as it comes.

    `stoppable`: Ctrl-C, once the reply has begun, ends this answer and nothing else.

    Raises:
        As `Client.converse_stream`.
    """
    pieces: list[str] = []
    stop_reason, first_token_at = None, None
    started = clock()
    reply = client.converse_stream(session=session, **request)
    with closing(reply["stream"]) as stream:
        try:
            for event in stream:
                if text := _text_of(event):
                    first_token_at = clock() if first_token_at is None else first_token_at
                    pieces.append(text)
                    on_text(text)
                stop_reason = event.get("messageStop", {}).get("stopReason", stop_reason)
        except KeyboardInterrupt:
            if not stoppable:
                raise
            stop_reason = STOPPED
    return Answer(
        question=question,
        text="".join(pieces),
        stop_reason=stop_reason,
        trace=stream.trace,
        first_token_s=None if first_token_at is None else first_token_at - started,
        duration_s=clock() - started,
    )


def _text_of(event: dict[str, Any]) -> str:
    return str(event.get("contentBlockDelta", {}).get("delta", {}).get("text", ""))


def check_questions(questions: Sequence[str]) -> tuple[str, ...]:
    """The questions, without the space around them.

    Raises:
        InvalidRequestError: there is none, or one is empty.
    """
    if not questions:
        raise InvalidRequestError('no question: give at least one with -q "...".')
    if not all(question.strip() for question in questions):
        raise InvalidRequestError("a question is empty. Say what is to be asked after -q.")
    return tuple(question.strip() for question in questions)


def choose_model_id(routers: RouterRegistry, *, router: str | None, model: str | None, region: str, local: bool) -> str:
    """The `modelId` to ask: a router, by default the one for Claude, or a model.

    An ARN of a router that is not known here is AWS's own to know, and so is a model that the catalogue doesn't hold:
    of that the catalogue warns. `local`: there is no AWS behind the connection.

    Raises:
        InvalidRequestError: both or an unknown one were given.
    """
    if router is not None and model is not None:
        raise InvalidRequestError("both a router and a model were given. Choose one: a router chooses among models.")
    if model is None:
        return _known_router(routers, DEFAULT_ROUTER if router is None else router, region, local)
    if not model.strip():
        raise InvalidRequestError("the model's id is empty.")
    if split_router_arn(model) is not None or routers.router(model, region=region) is not None:
        raise InvalidRequestError(f"{model!r} is a prompt router, not a model. Give it with --router.")
    if local and not is_known(routers.catalog, model):
        raise InvalidRequestError(
            f"unknown model {model!r}{meant(model)}: the local endpoint serves those of the catalogue."
        )
    routers.catalog.resolve(model, region=region)
    return model


def _known_router(routers: RouterRegistry, name_or_arn: str, region: str, local: bool) -> str:
    if routers.router(name_or_arn, region=region) is None and (local or split_router_arn(name_or_arn) is None):
        known = ", ".join(record.name for record in routers.records(region=region))
        raise InvalidRequestError(f"unknown router {name_or_arn!r}. Known by name: {known}.")
    return name_or_arn
