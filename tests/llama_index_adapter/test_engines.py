"""LlamaIndex's engines and agents with Pointsman's LLM, retriever and postprocessor, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from inspect import isawaitable
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine, SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import RetrieverTool
from talks import INSTRUCTIONS, text_of, texts_in, times
from wire import Wire

import pointsman
from llama_index.llms.pointsman import Pointsman
from llama_index.llms.pointsman import sessions as adapter
from llama_index.postprocessor.pointsman import PointsmanPostprocessor
from llama_index.retrievers.pointsman import PointsmanRetriever
from pointsman import Client
from pointsman.documents import sessions
from pointsman.local import LocalEndpoint

CLAUDE = "us.anthropic.claude-sonnet-5"
CLAUDES = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
QUESTIONS = ("Who waits at post 7?", "And who at post 14?", "And who at post 21?")
CHATS = {"context": ContextChatEngine, "condense": CondensePlusContextChatEngine}
ENGINES = pytest.mark.parametrize("kind", CHATS)
WAYS = pytest.mark.parametrize("way", ["chat", "achat", "stream_chat", "astream_chat"])


def nodes(*numbers: int) -> list[NodeWithScore]:
    """Notices."""
    return [NodeWithScore(node=TextNode(id_=str(one), text=text_of(one)), score=1 / (1 + one)) for one in numbers]


pytestmark = [
    # LlamaIndex's and aiosqlite's own.
    pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince211"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


class Notices(BaseRetriever):
    """Finds the notices whose numbers it was told, whatever it is asked."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.numbers: Sequence[int] = numbers

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:  # noqa: ARG002 - always the same
        return nodes(*self.numbers)


class Broken(BaseRetriever):
    """Finds nothing, and says so."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        raise LookupError(f"no notices: {query_bundle.query_str}")


class Reranker(BaseNodePostprocessor):
    """The other way round, and the first two only."""

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002
    ) -> list[NodeWithScore]:
        return nodes[::-1][:2]


@pytest.fixture
def wire(endpoint: LocalEndpoint, boto3_client: Any) -> Wire:
    """What goes out over HTTP."""
    return Wire(endpoint, boto3_client)


@pytest.fixture
def traces() -> list[pointsman.Trace]:
    """What the client's listener was told."""
    return []


@pytest.fixture
def llm(wire: Wire, traces: list[pointsman.Trace]) -> Pointsman:
    """On the endpoint's clock."""
    return Pointsman(CLAUDE, client=Client(wire.boto3_client, clock=lambda: wire.now, on_trace=traces.append))


@pytest.fixture(autouse=True)
def _nothing_is_left_noted() -> Iterator[None]:
    yield
    assert adapter._conversation.get() is None
    for name in ("trip", "other"):
        pointsman.session(name, scope="default").close()


def memory(name: str = "trip") -> Memory:
    """A named one."""
    return Memory.from_defaults(session_id=name, token_limit=100_000)


def chat_engine(kind: str, llm: Any, retriever: BaseRetriever, **more: Any) -> Any:
    """One as an application makes it."""
    more = {"memory": memory(), **more}
    return CHATS[kind].from_defaults(retriever=retriever, llm=llm, system_prompt=INSTRUCTIONS, **more)


async def said(engine: Any, way: str, question: str) -> str:
    """The engine's answer, of a stream all of it; the memory holds it then."""
    given = getattr(engine, way)(question)
    response = await given if isawaitable(given) else given
    if way == "stream_chat":
        return "".join(response.response_gen)
    if way == "astream_chat":
        return "".join([token async for token in response.async_response_gen()])
    return str(response)


def held(name: str) -> set[str]:
    """Ids of the documents that a conversation's session holds."""
    told = pointsman.session(name, scope="default").snapshot() or {"documents": []}
    return {one["id"] for one in told["documents"]}


def asked_of_documents(wire: Wire) -> list[dict[str, Any]]:
    """The requests that questions were answered by: not those that condense them."""
    return [request for request in wire.requests if "system" in request]


class TestChatEngines:
    """They work unchanged, and what they retrieve again is read from the cache."""

    @ENGINES
    @WAYS
    async def test_three_turns_with_the_same_nodes(
        self, kind: str, way: str, llm: Pointsman, wire: Wire, traces: list[pointsman.Trace]
    ) -> None:
        """Each text stands once in each request; the later turns read what the earlier wrote."""
        engine = chat_engine(kind, llm, PointsmanRetriever(Notices(1, 2, 3)))
        for question in QUESTIONS:
            wire.now += 60.0
            assert await said(engine, way, question)
            assert adapter._conversation.get() is None
        requests = asked_of_documents(wire)
        assert len(requests) == 3
        assert [times(number, request) for request in requests for number in (1, 2, 3)] == [1] * 9
        totals = wire.endpoint.account()["totals"]
        assert totals["cache_read_tokens"] > totals["uncached_input_tokens"]
        assert [trace.documents.not_found for trace in traces if trace.documents] == [()] * 3
        assert len(engine.chat_history) == 6

    @ENGINES
    def test_without_a_session_less_is_read(self, kind: str, llm: Pointsman, wire: Wire) -> None:
        """A retriever of one's own puts other documents in front of all that could be read again."""
        read = []
        for name in ("trip", "other"):
            wire.endpoint.reset_account()
            notices = Notices()
            retriever = PointsmanRetriever(notices) if name == "trip" else notices
            engine = chat_engine(kind, llm, retriever, memory=memory(name))
            for question, found in zip(QUESTIONS, ((1, 2), (2, 3), (3, 2)), strict=True):
                wire.now += 60.0
                notices.numbers = found
                engine.chat(question)
            read.append(wire.endpoint.account()["totals"]["cache_read_tokens"])
        assert read[0] > 2 * read[1]

    @ENGINES
    @WAYS
    async def test_a_postprocessor_behind_a_reranker(
        self, kind: str, way: str, llm: Pointsman, wire: Wire, traces: list[pointsman.Trace]
    ) -> None:
        """It tells what the reranker left; a retriever before it would tell of nodes that no prompt holds."""
        behind = [Reranker(), PointsmanPostprocessor()]
        engine = chat_engine(kind, llm, Notices(1, 2, 3), node_postprocessors=behind)
        for question in QUESTIONS:
            wire.now += 60.0
            await said(engine, way, question)
        assert [times(number, request) for request in asked_of_documents(wire) for number in (1, 2, 3)] == [0, 1, 1] * 3
        assert [trace.documents.not_found for trace in traces if trace.documents] == [()] * 3
        totals = wire.endpoint.account()["totals"]
        assert totals["cache_read_tokens"] > totals["uncached_input_tokens"]

    @ENGINES
    @WAYS
    async def test_nothing_is_found(self, kind: str, way: str, llm: Pointsman, wire: Wire) -> None:
        """At the second turn: LlamaIndex answers by itself, or asks without documents; the third goes on."""
        notices = Notices(1, 2)
        engine = chat_engine(kind, llm, PointsmanRetriever(notices))
        for question, found in zip(QUESTIONS, ((1, 2), (), (1, 2)), strict=True):
            wire.now += 60.0
            notices.numbers = found
            await said(engine, way, question)
        assert [times(number, asked_of_documents(wire)[-1]) for number in (1, 2)] == [1, 1]

    @ENGINES
    @WAYS
    async def test_an_error_passes_through(self, kind: str, way: str, llm: Pointsman) -> None:
        """And nothing is noted after it."""
        engine = chat_engine(kind, llm, PointsmanRetriever(Broken()))
        with pytest.raises(LookupError, match="post 7"):
            await said(engine, way, QUESTIONS[0])
        assert adapter._conversation.get() is None

    @ENGINES
    async def test_on_a_router(self, kind: str, wire: Wire) -> None:
        """Its ARN does: upstream knows no context window for one."""
        llm = Pointsman(CLAUDES, client=Client(wire.boto3_client, clock=lambda: wire.now))
        engine = CHATS[kind].from_defaults(retriever=PointsmanRetriever(Notices(1, 2)), llm=llm)
        assert engine.chat(QUESTIONS[0]).response

    @WAYS
    async def test_memories_without_names_are_apart(self, way: str, llm: Pointsman, wire: Wire) -> None:
        """Two engines with default memories: documents of one never stand in the other's prompts."""
        kinds = [ChatMemoryBuffer.from_defaults(token_limit=100_000) for _ in range(2)]
        one, two = (
            chat_engine("context", llm, PointsmanRetriever(Notices(*numbers)), memory=kept)
            for numbers, kept in zip(((1, 2), (3, 4)), kinds, strict=True)
        )
        for question in QUESTIONS:
            wire.now += 60.0
            await said(one, way, question)
            await said(two, way, question)
        for mine, others in ((wire.requests[0::2], (3, 4)), (wire.requests[1::2], (1, 2))):
            assert [times(number, request) for request in mine for number in others] == [0] * 6
        assert times(1, wire.requests[-2]) == times(3, wire.requests[-1]) == 1
        assert [held(adapter._name_of(kept)) for kept in kinds] == [{"1", "2"}, {"3", "4"}]

    async def test_interleaved_chats_are_apart(self, llm: Pointsman, wire: Wire) -> None:
        """At the same time in one event loop, streamed or not."""
        numbers = {"one": (1, 2), "two": (3, 4), "three": (5, 6)}
        engines = {
            name: chat_engine("context", llm, PointsmanRetriever(Notices(*found)), memory=memory(f"apart {name}"))
            for name, found in numbers.items()
        }
        for question in QUESTIONS:
            wire.now += 60.0
            ways = ("achat", "astream_chat", "achat")
            await asyncio.gather(
                *(
                    said(engine, way, f"{name}: {question}")
                    for (name, engine), way in zip(engines.items(), ways, strict=True)
                )
            )
        for name, mine in numbers.items():
            requests = [request for request in wire.requests if f"{name}: " in texts_in(request)]
            stand = [[times(number, request) for number in range(1, 7)] for request in requests]
            assert stand == [[int(number in mine) for number in range(1, 7)]] * 3
            assert held(f"apart {name}") == set(map(str, mine))
            pointsman.session(f"apart {name}", scope="default").close()
        assert adapter._conversation.get() is None

    def test_a_chat_within_a_chat(self, llm: Pointsman, wire: Wire) -> None:
        """What is asked of another engine by a retriever belongs to that one; then the first goes on."""
        inner = chat_engine("context", llm, PointsmanRetriever(Notices(1)), memory=memory("other"))

        class Asking(Notices):
            def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
                inner.chat(f"Inner: {query_bundle.query_str}")
                return super()._retrieve(query_bundle)

        outer = chat_engine("context", llm, PointsmanRetriever(Asking(2)))
        for question in QUESTIONS:
            wire.now += 60.0
            outer.chat(question)
        stand = [[times(number, request) for number in (1, 2)] for request in wire.requests]
        assert stand == [[1, 0], [0, 1]] * 3
        assert (held("other"), held("trip")) == ({"1"}, {"2"})

    def test_without_a_retriever_too(self, llm: Pointsman, traces: list[pointsman.Trace]) -> None:
        """A simple chat belongs to its memory's session."""
        session = pointsman.session("trip", scope="default")
        session.register([pointsman.Document(id="1", text=text_of(1))])
        SimpleChatEngine.from_defaults(llm=llm, memory=memory()).chat("Hello.")
        assert traces[0].documents is not None and traces[0].documents.not_found == ("1",)


class TestQueryEngines:
    """They have no memory: the session is the current one, or a tag's."""

    @pytest.mark.parametrize("way", ["query", "aquery"])
    @pytest.mark.parametrize("streaming", [False, True])
    @pytest.mark.parametrize("told_by", ["retriever", "postprocessor"])
    async def test_retriever_query_engine(
        self, way: str, streaming: bool, told_by: str, llm: Pointsman, traces: list[pointsman.Trace]
    ) -> None:
        """Documents are found where its template put them."""
        made: dict[str, Any] = (
            {"retriever": PointsmanRetriever(Notices(1, 2))}
            if told_by == "retriever"
            else {"retriever": Notices(1, 2, 3), "node_postprocessors": [Reranker(), PointsmanPostprocessor()]}
        )
        llm.system_prompt = INSTRUCTIONS
        engine = RetrieverQueryEngine.from_args(llm=llm, streaming=streaming, **made)
        with pointsman.session("trip", scope="default"):
            given = getattr(engine, way)(QUESTIONS[0])
            response = await given if isawaitable(given) else given
            # LlamaIndex asks the LLM when the first piece of a stream is wanted.
            if streaming and way == "aquery":
                assert [token async for token in response.async_response_gen()]
            else:
                assert list(response.response_gen) if streaming else str(response)
        (trace,) = traces
        assert trace.documents is not None
        assert (trace.documents.as_written, trace.documents.not_found) == (None, ())
        assert trace.documents.stay + trace.documents.loose == 2

    async def test_nothing_is_found(self, llm: Pointsman, wire: Wire) -> None:
        """LlamaIndex answers by itself."""
        engine = RetrieverQueryEngine.from_args(PointsmanRetriever(Notices()), llm=llm)
        with pointsman.session("trip", scope="default"):
            assert str(engine.query("Who?")) == str(await engine.aquery("Who?")) == "Empty Response"
        assert wire.requests == []

    @pytest.mark.parametrize("way", ["query", "aquery"])
    async def test_citations_are_lifted_verbatim(
        self, way: str, llm: Pointsman, wire: Wire, traces: list[pointsman.Trace]
    ) -> None:
        """Sources are renumbered by each query; their texts are found all the same."""
        notices = Notices(1, 2)
        engine = CitationQueryEngine(PointsmanRetriever(notices), llm=llm, citation_chunk_size=2000)
        with pointsman.session("trip", scope="default"):
            for numbers in ((1, 2), (2, 1)):
                wire.now += 60.0
                notices.numbers = numbers
                given = getattr(engine, way)(QUESTIONS[0])
                response = await given if isawaitable(given) else given
                assert [node.text.partition("\n")[0] for node in response.source_nodes] == ["Source 1:", "Source 2:"]
        for request, trace in zip(wire.requests, traces, strict=True):
            assert [times(number, request) for number in (1, 2)] == [1, 1]
            assert texts_in(request).count("Source 2:") >= 1
            assert trace.documents is not None
            assert (trace.documents.as_written, trace.documents.not_found) == (None, ())

    async def test_citations_that_were_split_are_left_alone(
        self, llm: Pointsman, wire: Wire, traces: list[pointsman.Trace]
    ) -> None:
        """And reported by their ids."""
        engine = CitationQueryEngine(
            PointsmanRetriever(Notices(1, 2)), llm=llm, citation_chunk_size=64, citation_chunk_overlap=8
        )
        with pointsman.session("trip", scope="default"):
            engine.query(QUESTIONS[0])
            sent = wire.requests[-1]["messages"]
        engine._retriever = Notices(1, 2)
        engine.query(QUESTIONS[0])
        assert _texts(sent) == _texts(wire.requests[-1]["messages"])
        assert traces[0].documents is not None
        assert sorted(traces[0].documents.not_found) == ["1", "2"]


class TestQuestionsByThemselves:
    """A query engine that nothing names a conversation for."""

    @pytest.mark.parametrize("how", ["query", "aquery"])
    async def test_it_is_one_of_its_own_and_ends_with_it(
        self, how: str, llm: Pointsman, wire: Wire, traces: list[pointsman.Trace]
    ) -> None:
        """What was retrieved is sent for this question only, written to no cache, and kept by nobody."""
        engine = RetrieverQueryEngine.from_args(PointsmanRetriever(Notices(1, 2, 3, 4, 5, 6, 7, 8)), llm=llm)
        before = len(sessions._SESSIONS)
        for question in QUESTIONS:
            reply = getattr(engine, how)(question)
            await reply if isawaitable(reply) else None
        assert all(trace.documents is not None and trace.documents.stay == 0 for trace in traces)
        assert len(sessions._SESSIONS) == before
        totals = wire.endpoint.account()["totals"]
        assert totals["cache_write_5m_tokens"] + totals["cache_write_1h_tokens"] == 0

    def test_a_session_around_it_is_its_session(self, llm: Pointsman, traces: list[pointsman.Trace]) -> None:
        """The user's own goes first, and stays."""
        engine = RetrieverQueryEngine.from_args(PointsmanRetriever(Notices(1, 2)), llm=llm)
        with pointsman.session("trip", scope="default"):
            engine.query(QUESTIONS[0])
        assert traces[-1].documents is not None and held("trip") == {"1", "2"}


class TestAgents:
    """Their tools' retrievers find the session of the memory that a run was begun with."""

    @pytest.mark.parametrize("streaming", [True, False])
    @pytest.mark.parametrize("wrapped", [False, True])
    async def test_a_second_copy_becomes_a_name(
        self, streaming: bool, wrapped: bool, llm: Pointsman, wire: Wire, traces: list[pointsman.Trace]
    ) -> None:
        """Two runs with one memory, of an agent or of a workflow of agents; what is before the tool is read."""
        agent: Any = FunctionAgent(
            tools=[notices_tool(1, 2)],
            llm=llm,
            system_prompt=INSTRUCTIONS,
            streaming=streaming,
            name="clerk",
            description="Knows the notices.",
        )
        if wrapped:
            agent = AgentWorkflow(agents=[agent], root_agent="clerk")
        kept = memory()
        for post in (7, 14):
            wire.now += 60.0
            handler = agent.run(f"Search the notices: what holds at post {post}?", memory=kept)
            if streaming:
                assert [event async for event in handler.stream_events()]
            assert str(await handler)
            assert adapter._conversation.get() is None
        assert len(wire.requests) == 4
        assert [times(number, wire.requests[-1]) for number in (1, 2)] == [1, 1]
        assert "[given above: Notice 1" in texts_in(wire.requests[-1])
        assert traces[-1].documents is not None and traces[-1].documents.named == 2
        assert wire.endpoint.account()["totals"]["cache_read_tokens"] > 1000
        # The memory's own messages are as the tools returned them.
        assert sum(text_of(1) in str(message.content) for message in kept.get_all()) == 2

    async def test_runs_at_once_are_apart(self, llm: Pointsman, wire: Wire) -> None:
        """Each has its own memory."""
        agents = [
            FunctionAgent(tools=[notices_tool(*numbers)], llm=llm, system_prompt=INSTRUCTIONS)
            for numbers in ((1, 2), (3, 4))
        ]
        memories = [memory(f"apart {number}") for number in range(2)]
        for _ in range(2):
            await asyncio.gather(
                *(
                    agent.run("Search the notices, please: who waits?", memory=kept)
                    for agent, kept in zip(agents, memories, strict=True)
                )
            )
        for request in wire.requests:
            stand = {number for number in range(1, 5) if times(number, request)}
            assert stand in (set(), {1, 2}, {3, 4})
        for number, ids in enumerate(({"1", "2"}, {"3", "4"})):
            assert held(f"apart {number}") == ids
            pointsman.session(f"apart {number}", scope="default").close()

    async def test_a_tool_that_fails(self, llm: Pointsman, wire: Wire) -> None:
        """The agent is told of it; nothing is noted afterwards."""
        tool = RetrieverTool.from_defaults(
            PointsmanRetriever(Broken()), name="search_notices", description="Finds notices."
        )
        agent = FunctionAgent(tools=[tool], llm=llm, system_prompt=INSTRUCTIONS)
        assert await agent.run("Search the notices, please: who waits?", memory=memory())
        (told,) = [
            block["toolResult"] for block in wire.requests[-1]["messages"][-1]["content"] if "toolResult" in block
        ]
        assert "no notices" in str(told["content"])
        assert adapter._conversation.get() is None

    async def test_without_a_memory(self, llm: Pointsman, traces: list[pointsman.Trace]) -> None:
        """Nothing names the run, and nothing is looked for; a tag may name it."""
        agent = FunctionAgent(tools=[notices_tool(1)], llm=llm)
        await agent.run("Search the notices, please: who waits?")
        assert all(trace.documents is None for trace in traces)


def notices_tool(*numbers: int) -> RetrieverTool:
    """A tool that the engine calls where a question says so."""
    retriever = PointsmanRetriever(Notices(*numbers))
    return RetrieverTool.from_defaults(retriever, name="search_notices", description="Finds notices.")


def _texts(messages: Sequence[dict[str, Any]]) -> list[str]:
    return [block["text"] for message in messages for block in message["content"] if "text" in block]
