"""One long thread of an agent: thirty tool calls and more, by a prompt router and by the strong model alone.

Each model call is read from the endpoint's own account as it comes back, so that it is priced by itself: the price of
a model may rise with the length of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import documents_runs as documents
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_aws import AmazonKnowledgeBasesRetriever, ChatBedrockConverse
from langchain_aws.middleware import BedrockPromptCachingMiddleware
from langchain_core.messages import ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import create_retriever_tool, tool
from langchain_engine import OneByOne
from langchain_runs import TURN_SECONDS, Tokens, cost, our_model, plain_model, total
from langgraph.checkpoint.memory import InMemorySaver

import pointsman
from langchain_pointsman import PointsmanMiddleware, PointsmanRetriever
from pointsman import Catalog, RouterRegistry
from pointsman.local import LocalEndpoint

ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
ROUTED, STRONG_PLAIN, STRONG_OURS = "router", "strong model, langchain-aws", "strong model, ChatPointsman"
GUIDES = Path(__file__).parents[1] / "examples" / "guides"
TOOL_CALLS = 30
_THREAD = "thirty-calls"
_RESULTS = 4

# The engine calls a tool whose name the question holds, and searches for what stands in quotes.
QUESTIONS = (
    "Show me the price table and the usage report.",
    'Search the handbook for "batch inference": what is it?',
    'Search the handbook for "provisioned throughput", then take the usage report and the price table, and derive step '
    "by step at which volume it undercuts plain calls if traffic grows by 7 percent each month; prove that there is "
    "exactly one such month, or show why there is none.",
    "Show the open tickets, please.",
    'Search the handbook for "vector store" and show the open tickets about it.',
    'Search the handbook for "hybrid query". By the usage report and the open tickets, weigh three designs against '
    "each other for a store of 40 million passages at 90 queries a second under a latency bound of 80 ms; name each "
    "assumption, and say which of them would overturn your choice if it were wrong by a factor of two.",
    "Thanks. What does the price table say about Haiku?",
    'Search the handbook for "images": which models take them? Show the price table too.',
    'Search the handbook for "deadline". A job of 11 million calls must end within 31 hours, a twelfth of which fail '
    "and are sent again up to three times. From the usage report, the price table and the open tickets compute the "
    "expected cost and the chance of missing the deadline, and prove a bound on that chance.",
    "Show the usage report once more, and the open tickets.",
    'Search the handbook for "cheapest": which model is it by the price table?',
    'Search the handbook for "graph". With the price table, the usage report and the open tickets, write a migration '
    "plan in which no step depends on a later one, prove that it can be undone after each step, and compute what each "
    "step costs in the worst case.",
    'Search the handbook for "S3 Vectors" and show the usage report.',
    'Search the handbook for "Neptune": do any open tickets or the price table mention it?',
)


@tool
def price_table() -> str:
    """USD by kind."""
    rows = "\n".join(f"{name} | {usd:.3f} in | {5 * usd:.3f} out | {usd / 2:.3f} in by batch" for name, usd in _PRICES)
    return f"Model | input | output | batch, each for a million\n{rows}"


@tool
def usage_report() -> str:
    """Calls of late, by team."""
    return "Team | calls | in, thousands | out, thousands | failed\n" + "\n".join(
        f"{team} | {1_317 * number + 211} | {9_631 * number + 87} | {713 * number + 19} | {number * 7 % 5 + 0.3:.1f} %"
        for number, team in enumerate(_TEAMS, 3)
    )


@tool
def open_tickets() -> str:
    """What waits."""
    return "\n".join(
        f"T-{4_211 + 13 * number}: {team} {what} (for {number + 2} days, {('low', 'high')[number % 2]})"
        for number, (team, what) in enumerate(zip(_TEAMS, _WAITS, strict=True))
    )


_PRICES = (("Haiku", 0.11), ("Sonnet", 2.2), ("Opus", 5.5), ("Nova Lite", 0.06), ("Nova Pro", 0.8), ("Llama 70B", 0.72))
_TEAMS = ("timetable", "signals", "sales", "complaints", "night shift", "works", "audit")
_WAITS = (
    "asks for a quota of twice as many calls in the morning hours",
    "sees answers that cite a rule which was repealed in spring",
    "wants the vector store to find product numbers word for word",
    "has 3,100 letters left over that no batch job has taken",
    "reports that each first question after midnight takes six seconds",
    "would like drawings to be read, not only the text beside them",
    "needs to know which model wrote which paragraph of the last year's report",
)


class Call(NamedTuple):
    """A model call: which model answered, and its tokens."""

    model: str
    tokens: Tokens

    @property
    def usd(self) -> Decimal:
        """At the price of that model for a prompt of that length."""
        return cost(self.tokens, Catalog.default().resolve(self.model))


class Asked(NamedTuple):
    """A turn: the question, the calls of its tool loop, and how many tools were called."""

    question: str
    calls: tuple[Call, ...]
    tools: int

    @property
    def model(self) -> str:
        """The one model that made all calls of the loop."""
        (model,) = {call.model for call in self.calls}
        return model

    @property
    def tokens(self) -> Tokens:
        """Of all calls."""
        return total(call.tokens for call in self.calls)

    @property
    def usd(self) -> Decimal:
        """Of all calls."""
        return sum((call.usd for call in self.calls), Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """The whole thread by one side."""

    side: str
    turns: tuple[Asked, ...]

    @property
    def tools(self) -> int:
        """Tool calls in all."""
        return sum(turn.tools for turn in self.turns)

    @property
    def tokens(self) -> Tokens:
        """Of all calls."""
        return total(turn.tokens for turn in self.turns)

    @property
    def usd(self) -> Decimal:
        """Of all calls."""
        return sum((turn.usd for turn in self.turns), Decimal(0))


class _Counting:
    """Notes each model call when its reply comes back, by the endpoint's account."""

    def __init__(self, endpoint: LocalEndpoint, boto3_client: Any) -> None:
        self.calls: list[Call] = []
        self._endpoint = endpoint
        self._before: dict[str, Tokens] = {}
        boto3_client.meta.events.register("after-call.bedrock-runtime.Converse", self._note)

    def _note(self, **_: Any) -> None:
        now = {model: Tokens.of(told) for model, told in self._endpoint.account()["models"].items()}
        (model,) = [model for model, tokens in now.items() if tokens != self._before.get(model)]
        self.calls.append(Call(model, now[model].since(self._before.get(model, Tokens()))))
        self._before = now


Made = tuple[ChatBedrockConverse, BaseRetriever, Sequence[AgentMiddleware[Any, Any, Any]], Any]
"""A chat model, a retriever, middleware, and the boto3 client that the calls go through."""


def _routed(endpoint: LocalEndpoint) -> Made:
    llm = our_model(endpoint, ROUTER)
    return llm, _our_retriever(endpoint), [PointsmanMiddleware()], llm.client


def _strong_ours(endpoint: LocalEndpoint) -> Made:
    llm = our_model(endpoint, strong())
    return llm, _our_retriever(endpoint), [PointsmanMiddleware()], llm.client


def _strong_plain(endpoint: LocalEndpoint) -> Made:
    llm = plain_model(endpoint, strong())
    retriever = AmazonKnowledgeBasesRetriever(  # type: ignore[call-arg]  # mypy sees no default of a pydantic Field
        knowledge_base_id="HANDBOOK01",
        client=endpoint.client("bedrock-agent-runtime"),
        retrieval_config={"vectorSearchConfiguration": {"numberOfResults": _RESULTS}},
    )
    return llm, retriever, [BedrockPromptCachingMiddleware(unsupported_model_behavior="raise")], llm.client


def _our_retriever(endpoint: LocalEndpoint) -> PointsmanRetriever:
    client = endpoint.client("bedrock-agent-runtime")
    return PointsmanRetriever(knowledge_base_id="HANDBOOK01", client=client, k=_RESULTS)


SIDES: dict[str, Callable[[LocalEndpoint], Made]] = {
    ROUTED: _routed,
    STRONG_PLAIN: _strong_plain,
    STRONG_OURS: _strong_ours,
}


def strong() -> str:
    """The router's fallback model."""
    router = RouterRegistry().router(ROUTER)
    assert router is not None
    return router.fallback_model


def thread(side: str) -> Thread:
    """All questions in one thread, a minute apart, until enough tools were called."""
    with LocalEndpoint(engine=OneByOne(), knowledge_bases={"HANDBOOK01": GUIDES}) as endpoint:
        llm, retriever, middleware, client = SIDES[side](endpoint)
        search = create_retriever_tool(retriever, "search_handbook", "Passages.")
        agent = create_agent(
            llm,
            [search, price_table, usage_report, open_tickets],
            system_prompt=documents.instructions(),
            middleware=middleware,
            checkpointer=InMemorySaver(),
        )
        counting = _Counting(endpoint, client)
        turns = tuple(_turns(agent, counting, endpoint))
        pointsman.session(_THREAD, scope="default").close()
        told = Thread(side=side, turns=turns)
        assert told.tokens == Tokens.of(endpoint.account()["totals"]), "a call was not noted"
    assert told.tools >= TOOL_CALLS, "the questions ask for too few tools"
    return told


def _turns(agent: Any, counting: _Counting, endpoint: LocalEndpoint) -> Iterator[Asked]:
    config: RunnableConfig = {"configurable": {"thread_id": _THREAD}}
    called = 0
    for question in QUESTIONS:
        if called >= TOOL_CALLS:
            return
        before = len(counting.calls)
        state = agent.invoke({"messages": [("human", question)]}, config)
        tools = sum(isinstance(message, ToolMessage) for message in state["messages"]) - called
        turn = Asked(question, tuple(counting.calls[before:]), tools)
        assert len({call.model for call in turn.calls}) == 1, f"a tool loop changed its model: {question}"
        called += tools
        yield turn
        endpoint.advance(TURN_SECONDS)


def threads() -> list[Thread]:
    """By each side."""
    return [thread(side) for side in SIDES]
