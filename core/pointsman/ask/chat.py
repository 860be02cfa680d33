"""A conversation about documents that are searched for each question. Knows Converse; prints nothing.

The requests are as anyone would write them: the documents stand before the question, and the history is what was said.
Where they are laid, so that the cache keeps them, is left to the session.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from xml.sax.saxutils import quoteattr

from pointsman.ask.conversation import Answer, stream_answer
from pointsman.ask.found import name_of
from pointsman.client import Client
from pointsman.documents import Document, KnowledgeBase, Session

SYSTEM = (
    "You are a helpful assistant who answers questions about documents in a few sentences. "
    "Answer by the documents that come with the question; if they do not tell, say so."
)
# API reference of Retrieve (2026-11-28). What a question is about is more likely to be said at its end.
_LONGEST_QUERY = 20_000


class Chat:
    """One conversation with a model or router about the documents of a knowledge base.

    A follow-up ("And abroad?") finds little by itself: searched for is each question with the one before it.

    Args:
        stoppable: Ctrl-C ends the answer that is being given, and what was given of it stays in the history.
    """

    def __init__(
        self,
        client: Client,
        *,
        model_id: str,
        knowledge_base: KnowledgeBase,
        session: Session,
        max_tokens: int,
        stoppable: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._client = client
        self._knowledge_base = knowledge_base
        self._session = session
        self._stoppable = stoppable
        self._clock = clock
        self._request = {
            "modelId": model_id,
            "system": [{"text": SYSTEM}],
            "inferenceConfig": {"maxTokens": max_tokens},
        }
        self._history: list[dict[str, Any]] = []
        self._before = ""

    def ask(self, question: str, *, on_text: Callable[[str], object] = lambda _: None) -> Answer:
        """Search, ask, and hand over the answer's text as it comes.

        Raises:
            InvalidRequestError, NoEligibleModelError: the question was not sent.
            botocore.exceptions.ClientError: Bedrock refused the search or the question, or the stream broke.
        """
        query = f"{self._before}\n{question}".strip()[-_LONGEST_QUERY:]
        found = self._knowledge_base.retrieve(query, session=self._session)
        self._before = question
        said = {"text": question}
        message = {"role": "user", "content": [*_documents(found), said]}
        answer = stream_answer(
            self._client,
            {**self._request, "messages": [*self._history, message]},
            question=question,
            on_text=on_text,
            clock=self._clock,
            session=self._session,
            stoppable=self._stoppable,
        )
        if answer.text.strip():
            self._history += [
                {"role": "user", "content": [said]},
                {"role": "assistant", "content": [{"text": answer.text}]},
            ]
        return replace(answer, found=found)


def _documents(found: Sequence[Document]) -> list[dict[str, Any]]:
    if not found:
        return []
    told = (f"<document name={quoteattr(name_of(document))}>\n{document.text}\n</document>" for document in found)
    return [{"text": "\n\n".join(told)}]
