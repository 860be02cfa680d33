"""Sends conversations by LlamaIndex code to a local endpoint, and reads from its own account what they cost.

Both sides run the same user code (`llama_index_shapes.py`): a side is an LLM and a retriever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from langchain_conversations import Retrieved, Talk, as_asked
from langchain_runs import BETWEEN_SECONDS, MODEL, TURN_SECONDS, Tokens, cost, counted, total
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.llms.bedrock_converse import BedrockConverse
from llama_index_shapes import SHAPES, Ask, Parts

import pointsman
from llama_index.llms.pointsman import Pointsman
from llama_index.retrievers.pointsman import PointsmanRetriever
from pointsman.local import LocalEndpoint

FLAGS, BARE = "BedrockConverse, both caching flags", "BedrockConverse"
OURS, ALONE = "Pointsman, PointsmanRetriever", "Pointsman, the plain retriever"


class OfTheTurn(BaseRetriever):
    """Gives the passages that were retrieved for the turn which the benchmark is at, whatever it is asked.

    Engines ask in other words than the user's; the passages are then still those that came at this turn.
    """

    def __init__(self, found: Retrieved) -> None:
        super().__init__()
        self._found = found
        self.question = ""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:  # noqa: ARG002 - see the class
        passages = self._found.passages_of[as_asked(self.question)]
        return [NodeWithScore(node=TextNode(id_=str(one.id), text=one.page_content)) for one in passages]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What differs: given the endpoint, a retriever and where traces go, the parts that the user code is made of."""

    name: str
    parts: Callable[[LocalEndpoint, OfTheTurn, list[pointsman.Trace]], Parts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One shape by one side: what each conversation cost, and the traces where there are any."""

    shape: str
    side: str
    conversations: Mapping[int, Tokens]
    traces: Mapping[int, Sequence[Mapping[str, Any]]] = field(repr=False)
    calls: int

    @property
    def tokens(self) -> Tokens:
        """Of all conversations."""
        return total(self.conversations.values())

    @property
    def usd(self) -> Decimal:
        """Of all conversations, output included."""
        return cost(self.tokens)


def _bare(endpoint: LocalEndpoint, retriever: OfTheTurn, _: list[pointsman.Trace]) -> Parts:
    return Parts(BedrockConverse(MODEL, client=endpoint.client(), region_name="us-east-1"), retriever)


def _flags(endpoint: LocalEndpoint, retriever: OfTheTurn, _: list[pointsman.Trace]) -> Parts:
    client = endpoint.client()
    llm = BedrockConverse(MODEL, client=client, region_name="us-east-1", system_prompt_caching=True, tool_caching=True)
    return Parts(llm, retriever)


def _alone(endpoint: LocalEndpoint, retriever: OfTheTurn, traces: list[pointsman.Trace]) -> Parts:
    client = pointsman.Client(endpoint.client(), clock=endpoint.settings.clock, on_trace=traces.append)
    return Parts(Pointsman(MODEL, client=client, region_name="us-east-1"), retriever)


def _ours(endpoint: LocalEndpoint, retriever: OfTheTurn, traces: list[pointsman.Trace]) -> Parts:
    return Parts(_alone(endpoint, retriever, traces).llm, PointsmanRetriever(retriever))


SIDES = (
    Side(name=FLAGS, parts=_flags),
    Side(name=OURS, parts=_ours),
    Side(name=BARE, parts=_bare),
    Side(name=ALONE, parts=_alone),
)
"""First what is compared with, then ours, then what is reported besides."""


def run(shape: str, side: Side, talks: Sequence[Talk], found: Retrieved) -> Run:
    """All conversations one after another, a minute between questions, two hours between conversations."""
    conversations, traces, retriever = {}, {}, OfTheTurn(found)
    with LocalEndpoint(engine="extract") as endpoint:
        told: list[pointsman.Trace] = []
        parts = side.parts(endpoint, retriever, told)
        for talk in talks:
            before = counted(endpoint)
            name = f"talk-{talk.name}"
            _hold(talk, SHAPES[shape](parts, name), retriever, endpoint)
            pointsman.session(name, scope="default").close()
            conversations[talk.name] = counted(endpoint).since(before)
            traces[talk.name] = [one.to_dict() for one in told]
            told.clear()
        account = endpoint.account()
    assert not account["errors"], f"the endpoint refused calls: {account['errors']}"
    calls = account["totals"]["requests"]
    return Run(shape=shape, side=side.name, conversations=conversations, traces=traces, calls=calls)


def _hold(talk: Talk, ask: Ask, retriever: OfTheTurn, endpoint: LocalEndpoint) -> None:
    """One conversation. The history that a chat engine is given is what was really said."""
    history: list[ChatMessage] = []
    for turn in talk.turns:
        retriever.question = turn.question
        ask(turn.question, history)
        history += [ChatMessage(turn.question, role="user"), ChatMessage(turn.answer, role="assistant")]
        endpoint.advance(TURN_SECONDS)
    endpoint.advance(BETWEEN_SECONDS - TURN_SECONDS)
