"""Agents with PointsmanMiddleware, over HTTP against the local endpoint."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_aws import ChatBedrockConverse
from langchain_aws.middleware import BedrockPromptCachingMiddleware
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool, create_retriever_tool, tool
from langgraph.checkpoint.memory import InMemorySaver
from talks import text_of, texts_in
from wire import Wire
from wire import plain as whole

import pointsman
from langchain_pointsman import ChatPointsman, PointsmanMiddleware, PointsmanRetriever
from pointsman import Client, Router, RoutingCriteria
from pointsman.local import LocalEndpoint

CLAUDE = "us.anthropic.claude-sonnet-5"
ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
INSTRUCTIONS = "You answer questions of travellers by notices that you look up, and say where you don't know. " * 60
QUESTION = "Search the notices: what holds at post {}?"


class Notices(BaseRetriever):
    """Finds the notices whose numbers it was told, whatever it is asked."""

    numbers: list[int]

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:  # noqa: ARG002 - always the same
        return [Document(page_content=text_of(number), metadata={"source": f"{number}.md"}) for number in self.numbers]


@tool
def late_trains(station: str) -> str:
    """Tells which trains are late."""
    return f"None at {station}."


def notices_tool(numbers: Sequence[int]) -> BaseTool:
    """A tool that the engine calls where a question says so."""
    retriever = PointsmanRetriever(retriever=Notices(numbers=list(numbers)))
    return create_retriever_tool(retriever, "search_notices", "Finds notices.")


@pytest.fixture
def wire(endpoint: LocalEndpoint, boto3_client: Any) -> Wire:
    """What goes out over HTTP."""
    return Wire(endpoint, boto3_client)


@pytest.fixture(autouse=True)
def _no_session_is_left() -> Iterator[None]:
    yield
    pointsman.session("trip", scope="default").close()


def plain(wire: Wire) -> ChatBedrockConverse:
    """langchain-aws's own chat model."""
    return ChatBedrockConverse(model=CLAUDE, client=wire.boto3_client, bedrock_client=wire.boto3_client)


def ours(wire: Wire, model: str = CLAUDE, **fields: Any) -> ChatPointsman:
    """One of Pointsman's, on the endpoint's clock."""
    client = Client(wire.boto3_client, clock=lambda: wire.now)
    return ChatPointsman(model=model, client=client, bedrock_client=wire.boto3_client, **fields)


def asked(text: str) -> dict[str, Any]:
    """What an agent is invoked with."""
    return {"messages": [{"role": "user", "content": text}]}


def traces(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The traces of an agent's model calls."""
    answers = [one for one in state["messages"] if isinstance(one, AIMessage)]
    return [one.response_metadata["pointsman"] for one in answers]


def test_a_plain_chat_model_is_asked_as_pointsmans(wire: Wire) -> None:
    """The agent's own ChatBedrockConverse stays what it is; its calls have cache points and a trace."""
    agent = create_agent(plain(wire), [late_trains], system_prompt=INSTRUCTIONS, middleware=[PointsmanMiddleware()])
    state = agent.invoke(asked("Which trains are late at Spiez?"))
    assert [trace["model"] for trace in traces(state)] == ["anthropic.claude-sonnet-5"] * 2
    assert any("cachePoint" in block for block in wire.requests[0]["system"])
    assert wire.endpoint.account()["totals"]["cache_read_tokens"] > 0


async def test_the_same_where_it_is_awaited(wire: Wire) -> None:
    """`ainvoke` and `astream` too."""
    agent = create_agent(plain(wire), [late_trains], system_prompt=INSTRUCTIONS, middleware=[PointsmanMiddleware()])
    state = await agent.ainvoke(asked("Which trains are late at Spiez?"))
    assert len(traces(state)) == 2
    chunks = [chunk async for chunk in agent.astream(asked("Which are late at Bern?"), stream_mode="messages")]
    assert any("pointsman" in message.response_metadata for message, _ in chunks)


def test_a_turn_stays_on_its_model(wire: Wire) -> None:
    """A router stands for the agent's model; within a tool loop it doesn't change, between turns it may."""
    routers = [
        Router(
            name="everyday",
            models=["us.amazon.nova-lite-v1:0"],
            fallback_model="us.anthropic.claude-sonnet-5",
            criteria=RoutingCriteria(response_quality_difference=0.15),
        )
    ]
    middleware = PointsmanMiddleware(model="everyday", routers=routers)
    agent = create_agent(plain(wire), [late_trains], middleware=[middleware], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "trip"}}
    used = []
    for question in (
        "Late trains at Spiez, please.",
        "Late trains again, then: if each of the seven that left Bern at 7:07 lost three minutes at every second stop "
        "of its eleven, and the last a third of what it had lost, prove how late the last of them is, step by step.",
    ):
        before = len(wire.requests)
        agent.invoke(asked(question), config)
        used.append({request["modelId"] for request in wire.requests[before:]})
        assert len(wire.requests) - before == 2
    assert all(len(models) == 1 for models in used)
    assert used[0] != used[1]


def test_a_tools_retriever_finds_the_session(wire: Wire) -> None:
    """A document that is found twice stands in the history once, and then by name."""
    agent = create_agent(
        ours(wire),
        [notices_tool([1, 2])],
        system_prompt=INSTRUCTIONS,
        middleware=[PointsmanMiddleware()],
        checkpointer=InMemorySaver(),
    )
    config = {"configurable": {"thread_id": "trip"}}
    for post in (7, 14):
        state = agent.invoke(asked(QUESTION.format(post)), config)
    assert texts_in(wire.requests[-1]).count(text_of(1)) == 1
    assert "[given above: Notice 1" in texts_in(wire.requests[-1])
    assert traces(state)[-1]["documents"]["named"] == 2
    # The graph's own messages are as the tools returned them.
    assert sum(text_of(1) in message.text for message in state["messages"]) == 2


async def test_a_thread_without_a_name_has_a_session_of_its_own(wire: Wire) -> None:
    """Without a checkpointer nothing names the run: its state does, for the tools too, and another run has another."""
    agent = create_agent(ours(wire), [notices_tool([1])], middleware=[PointsmanMiddleware()])
    for post in (7, 14):
        state = await agent.ainvoke(asked(QUESTION.format(post)))
        assert traces(state)[-1]["documents"] is not None
        assert "given above" not in texts_in(wire.requests[-1])
        assert "pointsman_session" not in state


@pytest.mark.parametrize("kept", [True, False])
def test_a_checkpoint_restores_the_session(wire: Wire, kept: bool) -> None:
    """In another process the agent's next request extends the last one; without the state it would not."""
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "trip"}}

    def agent(*numbers: int) -> Any:
        return create_agent(
            ours(wire),
            [notices_tool(numbers)],
            system_prompt=INSTRUCTIONS,
            middleware=[PointsmanMiddleware()],
            checkpointer=saver,
        )

    for post in (7, 14):
        agent(1, 2).invoke(asked(QUESTION.format(post)), config)
    before = wire.requests[-1]
    pointsman.session("trip", scope="default").close()
    after = agent(3)
    if not kept:
        after.update_state(config, {"pointsman_session": {}})
    after.invoke(asked(QUESTION.format(21)), config)
    assert whole(wire.requests[-1]).startswith(whole(before)) is kept
    assert (texts_in(wire.requests[-1]).count(text_of(1)) == 1) is kept


def test_what_a_checkpoint_cannot_tell_breaks_no_call(wire: Wire) -> None:
    """State of another version is left alone."""
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "trip"}}
    agent = create_agent(ours(wire), [notices_tool([1])], middleware=[PointsmanMiddleware()], checkpointer=saver)
    agent.invoke(asked(QUESTION.format(7)), config)
    pointsman.session("trip", scope="default").close()
    scope = {"tenant": "default", "principal": None}
    agent.update_state(config, {"pointsman_session": {"id": "trip", "scope": scope, "documents": [{"oldest": 1}]}})
    assert traces(agent.invoke(asked(QUESTION.format(14)), config))


def test_the_state_holds_what_the_session_holds(wire: Wire) -> None:
    """As plain JSON: its id, its scope and the texts; not in what the agent returns."""
    agent = create_agent(
        ours(wire), [notices_tool([1])], middleware=[PointsmanMiddleware()], checkpointer=InMemorySaver()
    )
    config: Any = {"configurable": {"thread_id": "trip", "pointsman_scope": "tenant-a"}}
    state = agent.invoke(asked(QUESTION.format(7)), config)
    kept = agent.get_state(config).values["pointsman_session"]
    assert json.loads(json.dumps(kept)) == kept
    assert (kept["id"], kept["scope"]["tenant"]) == ("trip", "tenant-a")
    assert [one["text"] for one in kept["documents"]] == [text_of(1)]
    assert "pointsman_session" not in state
    pointsman.session("trip", scope="tenant-a").close()


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("made", [plain, ours])
def test_it_does_not_fight_langchains_own_caching(wire: Wire, outer: bool, made: Any) -> None:
    """Beside BedrockPromptCachingMiddleware, on either side of it: the same points, no warning."""
    both = [PointsmanMiddleware(), BedrockPromptCachingMiddleware(unsupported_model_behavior="raise")]
    requests = []
    for middleware in ([PointsmanMiddleware()], both if outer else both[::-1]):
        wire.endpoint.advance(3601.0)
        agent = create_agent(made(wire), [late_trains], system_prompt=INSTRUCTIONS, middleware=middleware)
        before = len(wire.requests)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            agent.invoke(asked("Which trains are late at Spiez?"))
        requests.append([_points(request) for request in wire.requests[before:]])
    assert requests[0] == requests[1]
    assert all(1 <= len(points) <= 4 for points in requests[0])


def test_a_router_is_no_stranger_to_it(wire: Wire) -> None:
    """LangChain's middleware takes a chat model on a router for one that caches."""
    agent = create_agent(
        ours(wire, ROUTER), [], middleware=[BedrockPromptCachingMiddleware(unsupported_model_behavior="raise")]
    )
    assert traces(agent.invoke(asked("Hello.")))[0]["router"] == "Anthropic Prompt Router"


def test_other_chat_models_are_left_alone() -> None:
    """An agent on another provider goes on as it was."""
    agent = create_agent(FakeListChatModel(responses=["Yes."]), [], middleware=[PointsmanMiddleware(model="everyday")])
    assert agent.invoke(asked("Hello?"))["messages"][-1].text == "Yes."


def test_routers_belong_to_the_client(wire: Wire) -> None:
    """Where the agent's chat model has a client of Pointsman's, routers beside it would be nobody's."""
    agent = create_agent(ours(wire), [], middleware=[PointsmanMiddleware(model="everyday", routers=[])])
    with pytest.raises(ValueError, match=r"beside a pointsman\.Client"):
        agent.invoke(asked("Hello."))


def _points(request: dict[str, Any]) -> list[tuple[str, int, str | None]]:
    parts = [("tools", request.get("toolConfig", {}).get("tools", [])), ("system", request.get("system", []))]
    parts += [(f"message {index}", message["content"]) for index, message in enumerate(request["messages"])]
    return [
        (where, index, block["cachePoint"].get("ttl"))
        for where, blocks in parts
        for index, block in enumerate(blocks)
        if "cachePoint" in block
    ]
