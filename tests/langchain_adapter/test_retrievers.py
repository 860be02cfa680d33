"""PointsmanRetriever: what it gives, and what it tells the run's session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnablePassthrough
from pydantic import ValidationError
from talks import text_of
from wire import Wire

import pointsman
from langchain_pointsman import ChatPointsman, PointsmanRetriever
from pointsman import Client, KnowledgeBase, Session
from pointsman.local import LocalEndpoint

THREAD: Any = {"configurable": {"thread_id": "trip"}}


class Shelf(BaseRetriever):
    """Gives its documents, as many as it is told."""

    documents: list[Document]

    def _get_relevant_documents(self, query: str, *, k: int = 4, **_: Any) -> list[Document]:  # noqa: ARG002
        return self.documents[:k]


class Stubborn(BaseRetriever):
    """Takes nothing but the question."""

    documents: list[Document]

    def _get_relevant_documents(self, query: str) -> list[Document]:  # noqa: ARG002
        return self.documents


@pytest.fixture
def session() -> Iterator[Session]:
    """That of the thread `trip`."""
    found = pointsman.session("trip", scope="default")
    yield found
    found.close()


@pytest.fixture(scope="module")
def notices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEndpoint]:
    """An endpoint with a knowledge base."""
    folder: Path = tmp_path_factory.mktemp("notices")
    for name in ("snow", "rain", "wind", "heat", "fog", "ice"):
        (folder / f"{name}.md").write_text(f"# {name}\n\nIn {name} all trains go every hour only, and wait for it.\n")
    with LocalEndpoint(engine="extract", knowledge_bases={"NOTICES001": folder}) as endpoint:
        yield endpoint


def documents(count: int = 6, **members: Any) -> list[Document]:
    """Some that are named by their source only."""
    return [
        Document(page_content=text_of(number), metadata={"source": f"{number}.md"}, **members)
        for number in range(count)
    ]


def held(session: Session) -> list[tuple[str, str]]:
    """Ids and texts of what a session holds."""
    return [(one["id"], one["text"]) for one in (session.snapshot() or {"documents": []})["documents"]]


def test_what_was_retrieved_is_registered_with_the_thread(session: Session) -> None:
    """In a direct call its configuration names the session, as in a chain."""
    retriever = PointsmanRetriever(retriever=Shelf(documents=documents()), k=2)
    found = retriever.invoke("late?", THREAD)
    assert held(session) == [(one.id, one.page_content) for one in found]
    assert len(found) == 2


async def test_so_it_is_where_it_is_awaited(session: Session) -> None:
    """By a retriever that has no async of its own."""
    found = await PointsmanRetriever(retriever=Stubborn(documents=documents(3))).ainvoke("late?", THREAD)
    assert held(session) == [(one.id, one.page_content) for one in found]


def test_an_empty_result_is_told_too(session: Session) -> None:
    """It says that what stays goes on staying."""
    retriever = PointsmanRetriever(retriever=Shelf(documents=[]))
    told = []
    session.register = lambda found: told.append(tuple(found))  # type: ignore[method-assign, assignment]
    assert retriever.invoke("late?", session=session) == []
    assert told == [()]


def test_without_a_session_nothing_is_kept() -> None:
    """It retrieves, and that is all."""
    assert len(PointsmanRetriever(retriever=Shelf(documents=documents())).invoke("late?")) == 4


def test_ids_stay_the_same() -> None:
    """Its own, or the source and a digest of the text; the given documents are not changed."""
    given = [*documents(2), Document(page_content=text_of(7)), Document(id="mine", page_content=text_of(8))]
    retriever = PointsmanRetriever(retriever=Stubborn(documents=given))
    first, again = ([one.id for one in retriever.invoke("late?")] for _ in range(2))
    assert first == again and len(set(first)) == 4
    assert [str(one).partition("#")[0] for one in first] == ["0.md", "1.md", "", "mine"]
    assert [one.id for one in given] == [None, None, None, "mine"]


@pytest.mark.parametrize("kind", [Shelf, Stubborn])
def test_k_in_the_constructor_and_in_the_call(kind: type[Any]) -> None:
    """For a retriever that takes one, and for one that doesn't; the call's goes first."""
    retriever = PointsmanRetriever(retriever=kind(documents=documents()), k=3)
    assert len(retriever.invoke("late?")) == 3
    assert len(retriever.invoke("late?", k=1)) == 1
    assert len(retriever.invoke("late?", k=6)) == 6


def test_a_chain_may_stand_for_a_retriever(session: Session) -> None:
    """Whatever gives documents for a question: a history-aware retriever, a reranker behind another."""
    chain = RunnableLambda(lambda _: documents())
    found = PointsmanRetriever(retriever=chain, k=2).invoke("late?", THREAD)
    assert [text for _, text in held(session)] == [one.page_content for one in found] == [text_of(0), text_of(1)]


def test_the_retriever_behind_is_configured_by_the_run() -> None:
    """A filter that the run sets for its user holds, also in a direct call."""

    class Filtered(BaseRetriever):
        user: str = "nobody"

        def _get_relevant_documents(self, query: str) -> list[Document]:  # noqa: ARG002
            return [Document(page_content=f"For {self.user}.")]

    behind = Filtered().configurable_fields(user=ConfigurableField(id="user"))
    retriever = PointsmanRetriever(retriever=behind)
    (found,) = retriever.invoke("late?", {"configurable": {"user": "alice"}})
    assert found.page_content == "For alice."


def test_callbacks_see_both_retrievers() -> None:
    """The one behind is a child of this one."""
    seen: list[tuple[Any, Any]] = []

    class Handler(BaseCallbackHandler):
        def on_retriever_start(self, *_: Any, run_id: Any, parent_run_id: Any = None, **__: Any) -> None:
            seen.append((run_id, parent_run_id))

    PointsmanRetriever(retriever=Shelf(documents=documents())).invoke("late?", {"callbacks": [Handler()]})
    (outer, none), (_, parent) = seen
    assert none is None and parent == outer


def test_a_knowledge_base_by_its_id(notices: LocalEndpoint, session: Session) -> None:
    """Passages with stable ids, sources and scores; the text holds no score."""
    client = notices.client("bedrock-agent-runtime")
    retriever = PointsmanRetriever(knowledge_base_id="NOTICES001", client=client, k=2)
    found = retriever.invoke("trains in snow", THREAD)
    assert len(found) == 2 and "snow" in found[0].page_content
    assert [one.id for one in found] == [one.id for one in retriever.invoke("trains in snow")]
    assert found[0].metadata["source"] and found[0].metadata["score"] > 0
    assert "score" not in found[0].page_content
    assert held(session) == [(one.id, one.page_content) for one in found]
    assert len(retriever.invoke("trains", k=5)) == 5


async def test_a_knowledge_base_that_was_made_with_more(notices: LocalEndpoint, session: Session) -> None:
    """Filters, a minimum score and the rest stand in the `KnowledgeBase`; a call's own go with the call."""
    base = KnowledgeBase("NOTICES001", client=notices.client("bedrock-agent-runtime"), results=1)
    retriever = PointsmanRetriever(knowledge_base=base)
    assert len(await retriever.ainvoke("trains in fog", THREAD)) == 1
    nothing = {"equals": {"key": "nobody", "value": "has this"}}
    assert await retriever.ainvoke("trains in fog", filter=nothing) == []
    assert len(held(session)) == 1


@pytest.mark.usefixtures("session")
def test_a_chain_reads_its_documents_from_the_cache(endpoint: LocalEndpoint, boto3_client: Any) -> None:
    """In LCEL with the documents in the system prompt, a follow-up question reads what the last one wrote."""
    wire = Wire(endpoint, boto3_client)
    llm = ChatPointsman(
        model="us.anthropic.claude-sonnet-5",
        client=Client(boto3_client, clock=lambda: wire.now),
        bedrock_client=boto3_client,
    )
    retriever = PointsmanRetriever(retriever=Shelf(documents=documents(4)))
    prompt = ChatPromptTemplate(
        [
            ("system", "You answer travellers by the notices. " * 200 + "\n\n{context}"),
            ("placeholder", "{history}"),
            ("human", "{question}"),
        ]
    )

    def joined(found: list[Document]) -> str:
        return "\n\n".join(one.page_content for one in found)

    chain = (
        RunnablePassthrough.assign(context=(lambda inputs: inputs["question"]) | retriever | joined)
        | prompt
        | llm
        | StrOutputParser()
    )
    history: list[tuple[str, str]] = []
    for question in ("Who waits at post 7?", "And at post 14?", "And at post 21?"):
        wire.now += 60.0
        answer = chain.invoke({"question": question, "history": history}, THREAD)
        history += [("human", question), ("ai", answer)]
    totals = endpoint.account()["totals"]
    assert totals["cache_read_tokens"] > totals["uncached_input_tokens"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give one of retriever"),
        ({"knowledge_base_id": "A", "retriever": Shelf(documents=[])}, "only one"),
        ({"retriever": Shelf(documents=[]), "k": 0}, "greater than or equal to 1"),
        ({"retriever": Shelf(documents=[]), "top_k": 3}, "top_k"),
        ({"knowledge_base_id": "", "client": object()}, "the knowledge base's id is ''"),
    ],
)
def test_what_makes_no_retriever_is_refused(arguments: dict[str, Any], message: str) -> None:
    """One clear error each, before anything is retrieved."""
    with pytest.raises(ValidationError, match=message):
        PointsmanRetriever(**arguments)


def test_a_call_with_a_wrong_session_retrieves_nothing() -> None:
    """It is refused before the retriever behind is asked."""
    asked = []
    chain = RunnableLambda(lambda question: asked.append(question) or [])
    with pytest.raises(pointsman.InvalidRequestError, match="the session is"):
        PointsmanRetriever(retriever=chain).invoke("late?", session=3.5)
    assert asked == []
