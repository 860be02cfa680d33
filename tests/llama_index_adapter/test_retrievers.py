"""PointsmanRetriever: what it gives, and what it tells the call's session."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from inspect import isawaitable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from talks import text_of

import pointsman
from llama_index.retrievers.pointsman import PointsmanRetriever
from pointsman import InvalidRequestError, KnowledgeBase, Session
from pointsman.local import LocalEndpoint

WAYS = pytest.mark.parametrize("way", ["retrieve", "aretrieve"])


class Shelf(BaseRetriever):
    """Gives its nodes."""

    def __init__(self, nodes: list[NodeWithScore]) -> None:
        super().__init__()
        self.nodes = nodes
        self.asked: list[str] = []

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.asked.append(query_bundle.query_str)
        return list(self.nodes)


class Broken(BaseRetriever):
    """Fails."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        raise LookupError(query_bundle.query_str)


@pytest.fixture(autouse=True)
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


def nodes(count: int = 6, **members: Any) -> list[NodeWithScore]:
    """Some with ids and scores."""
    return [
        NodeWithScore(node=TextNode(id_=f"n{number}", text=text_of(number), **members), score=1 / (1 + number))
        for number in range(count)
    ]


def held(session: Session) -> list[tuple[str, str]]:
    """Ids and texts of what a session holds."""
    return [(one["id"], one["text"]) for one in (session.snapshot() or {"documents": []})["documents"]]


async def find(retriever: Any, way: str = "retrieve", question: str = "late?") -> list[NodeWithScore]:
    """What it finds, in the thread `trip`."""
    with instrument_tags({"thread_id": "trip"}):
        given = getattr(retriever, way)(question)
        found: list[NodeWithScore] = await given if isawaitable(given) else given
    return found


@WAYS
async def test_what_was_retrieved_is_registered(way: str, session: Session) -> None:
    """The nodes come through as they are."""
    given = nodes()
    found = await find(PointsmanRetriever(Shelf(given)), way)
    assert found == given
    assert held(session) == [(one.node_id, one.text) for one in found]


@WAYS
async def test_k(way: str, session: Session) -> None:
    """At most so many, of a retriever that knows no such number; the others are not registered."""
    shelf = Shelf(nodes())
    assert len(await find(PointsmanRetriever(shelf, k=2), way)) == 2
    assert [name for name, _ in held(session)] == ["n0", "n1"]
    assert len(await find(PointsmanRetriever(shelf, k=9), way)) == 6
    assert len(await find(PointsmanRetriever(shelf), way)) == 6


async def test_the_text_is_what_prompts_hold(session: Session) -> None:
    """Metadata that LlamaIndex writes for LLMs is part of it; what is excluded isn't, nor is the score."""
    (given,) = nodes(1, metadata={"file": "a.md", "secret": "x"}, excluded_llm_metadata_keys=["secret"])
    await find(PointsmanRetriever(Shelf([given])))
    ((_, text),) = held(session)
    assert text == given.node.get_content(metadata_mode=MetadataMode.LLM)
    assert text.startswith("file: a.md\n\n") and "secret" not in text and "score" not in text


@WAYS
async def test_an_empty_result_is_told_too(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that what stays goes on staying."""
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(Session, "register", lambda _, found: told.append(tuple(found)))
    assert await find(PointsmanRetriever(Shelf([])), way) == []
    assert told == [()]


@WAYS
async def test_scores_and_source_are_told(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """How often nodes come back is learnt for each retriever."""
    told: list[Any] = []
    monkeypatch.setattr(Session, "register", lambda _, found: told.extend(found))
    await find(PointsmanRetriever(Shelf(nodes(2))), way)
    assert [(one.score, one.knowledge_base) for one in told] == [(1.0, "Shelf"), (0.5, "Shelf")]


@WAYS
async def test_without_a_session_nothing_is_kept(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It retrieves, and that is all."""
    monkeypatch.setattr(Session, "register", lambda *_: pytest.fail("registered"))
    given = getattr(PointsmanRetriever(Shelf(nodes())), way)("late?")
    assert len(await given if isawaitable(given) else given) == 6


@WAYS
async def test_a_session_of_its_own(way: str, session: Session) -> None:
    """Goes before the tags; itself or its id, in the scope of the call."""
    mine = pointsman.session("mine", scope="default")
    for given in (mine, "mine"):
        await find(PointsmanRetriever(Shelf(nodes(1)), session=given), way)
        assert (len(held(mine)), held(session)) == (1, [])
        mine.close()
    other = pointsman.session("mine", scope="b")
    with instrument_tags({"pointsman_scope": "b"}):
        PointsmanRetriever(Shelf(nodes(1)), session="mine").retrieve("late?")
    assert (len(held(other)), held(mine)) == (1, [])
    other.close()


@WAYS
async def test_an_error_passes_through(way: str, session: Session) -> None:
    """As it is, and nothing is registered."""
    with pytest.raises(LookupError, match=r"late\?"):
        await find(PointsmanRetriever(Broken()), way)
    assert session.snapshot() is None


@WAYS
async def test_a_wrong_session_retrieves_nothing(way: str) -> None:
    """It is refused before the retriever behind is asked."""
    shelf = Shelf(nodes())
    wrong: Any = 3.5
    with pytest.raises(InvalidRequestError, match=r"the session is 3\.5"):
        await find(PointsmanRetriever(shelf, session=wrong), way)
    assert shelf.asked == []


@WAYS
async def test_callbacks_see_both_retrievers(way: str) -> None:
    """Each with its own callback manager, as LlamaIndex has it."""
    debug = LlamaDebugHandler(print_trace_on_end=False)
    shelf = Shelf(nodes())
    shelf.callback_manager = CallbackManager([debug])
    await find(PointsmanRetriever(shelf, callback_manager=CallbackManager([debug])), way)
    assert len(debug.get_event_pairs(CBEventType.RETRIEVE)) == 2


@WAYS
async def test_a_knowledge_base_by_its_id(way: str, notices: LocalEndpoint, session: Session) -> None:
    """Passages with stable ids, sources and scores; the text is the passage, and no more."""
    client = notices.client("bedrock-agent-runtime")
    retriever = PointsmanRetriever(knowledge_base_id="NOTICES001", client=client, k=2)
    found = await find(retriever, way, "trains in snow")
    assert len(found) == 2 and "snow" in found[0].text
    assert [one.node_id for one in found] == [one.node_id for one in await find(retriever, way, "trains in snow")]
    assert len({one.node_id for one in found}) == 2
    assert found[0].score is not None and found[0].score > 0
    assert found[0].metadata["source"].endswith("snow.md")
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert found[0].node.get_content(metadata_mode=mode) == found[0].text
    assert held(session) == [(one.node_id, one.text) for one in found]
    assert len(await find(PointsmanRetriever(knowledge_base_id="NOTICES001", client=client), way, "trains")) == 5


@WAYS
async def test_a_client_of_its_own(way: str, notices: LocalEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an address and a Region."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    retriever = PointsmanRetriever(
        knowledge_base_id="NOTICES001", region_name="us-east-1", endpoint_url=notices.url, k=1
    )
    assert len(await find(retriever, way, "trains in fog")) == 1


async def test_a_knowledge_base_that_was_made_with_more(notices: LocalEndpoint, session: Session) -> None:
    """Filters, a minimum score and the rest stand in the `KnowledgeBase`."""
    client = notices.client("bedrock-agent-runtime")
    base = KnowledgeBase("NOTICES001", client=client, results=1)
    assert len(await find(PointsmanRetriever(knowledge_base=base), "aretrieve", "trains in fog")) == 1
    nothing = {"equals": {"key": "nobody", "value": "has this"}}
    filtered = KnowledgeBase("NOTICES001", client=client, filter=nothing)
    assert await find(PointsmanRetriever(knowledge_base=filtered), "aretrieve", "trains in fog") == []
    assert len(held(session)) == 1


async def test_a_knowledge_base_is_asked_in_a_thread_of_its_own(notices: LocalEndpoint) -> None:
    """The event loop goes on meanwhile."""
    client = notices.client("bedrock-agent-runtime")
    threads = []
    client.meta.events.register("before-send.*", lambda **_: threads.append(threading.current_thread()))
    await PointsmanRetriever(knowledge_base_id="NOTICES001", client=client).aretrieve("trains")
    assert len(threads) == 1 and threads[0] is not threading.main_thread()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give one of retriever"),
        ({"knowledge_base_id": "A", "retriever": Shelf([])}, "only one"),
        ({"retriever": Shelf([]), "k": 0}, "k is 0"),
        ({"retriever": Shelf([]), "k": True}, "k is True"),
        ({"retriever": Shelf([]), "k": 2.0}, r"k is 2\.0"),
        ({"knowledge_base_id": "", "client": object()}, "the knowledge base's id is ''"),
    ],
)
def test_what_makes_no_retriever_is_refused(arguments: dict[str, Any], message: str) -> None:
    """One clear error each, before anything is retrieved."""
    with pytest.raises(InvalidRequestError, match=message):
        PointsmanRetriever(**arguments)
