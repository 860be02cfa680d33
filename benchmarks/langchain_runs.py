"""Sends conversations by LangChain code to a local endpoint, and reads from the endpoint's own account what they cost.

Both sides run the same user code (`langchain_shapes.py`): a side is a chat model, a retriever and middleware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from langchain_aws import ChatBedrockConverse
from langchain_aws.middleware import BedrockPromptCachingMiddleware
from langchain_conversations import Retrieved, Talk
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_shapes import AGENT, LAST_MESSAGE, SHAPES, SYSTEM, Ask, Parts

import pointsman
from langchain_pointsman import ChatPointsman, PointsmanMiddleware, PointsmanRetriever
from pointsman import Catalog, Model, Usage
from pointsman.local import LocalEndpoint
from pointsman.pricing import cost_of

MODEL = "us.anthropic.claude-sonnet-5"
TURN_SECONDS, BETWEEN_SECONDS = 60.0, 7200.0
PLAIN, BOUND = "ChatBedrockConverse", "ChatBedrockConverse, cache_control bound"
CACHING = "ChatBedrockConverse, BedrockPromptCachingMiddleware"
OURS, ALONE = "ChatPointsman, PointsmanRetriever", "ChatPointsman, the plain retriever"
AGENT_OURS, AGENT_ALONE = f"{OURS}, PointsmanMiddleware", f"{ALONE}, PointsmanMiddleware"
_COUNTED = (
    "uncached_input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cache_read_tokens",
    "output_tokens",
)


class Tokens(NamedTuple):
    """What an account counted, in tokens."""

    uncached: int = 0
    written_5m: int = 0
    written_1h: int = 0
    read: int = 0
    output: int = 0

    @classmethod
    def of(cls, told: Mapping[str, int]) -> Tokens:
        """What an endpoint's account tells of one model, or of all."""
        return cls(*(told[name] for name in _COUNTED))

    def plus(self, other: Tokens) -> Tokens:
        """Both together."""
        return Tokens(*(one + another for one, another in zip(self, other, strict=True)))

    def since(self, before: Tokens) -> Tokens:
        """What was counted after `before`."""
        return Tokens(*(now - then for now, then in zip(self, before, strict=True)))

    def at_5m(self) -> Tokens:
        """The same, had every write been for five minutes."""
        return self._replace(written_5m=self.written_5m + self.written_1h, written_1h=0)

    @property
    def input(self) -> int:
        """All tokens of prompts."""
        return self.uncached + self.written_5m + self.written_1h + self.read


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What differs: given the endpoint and a retriever, the parts that the user code is made of."""

    name: str
    parts: Callable[[LocalEndpoint, Retrieved], Parts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One shape by one side: what each conversation cost, and the traces where there are any."""

    shape: str
    side: str
    conversations: Mapping[int, Tokens]
    traces: Sequence[Mapping[str, Any]] = field(repr=False)

    @property
    def tokens(self) -> Tokens:
        """Of all conversations."""
        return total(self.conversations.values())

    @property
    def usd(self) -> Decimal:
        """Of all conversations, output included."""
        return cost(self.tokens)


def cost(tokens: Tokens, model: Model | None = None) -> Decimal:
    """In USD, at the model's price. Of a model with tiers of price, one request at a time."""
    usage = Usage(
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.read,
        cache_write_tokens=tokens.written_5m + tokens.written_1h,
        cache_write_1h_tokens=tokens.written_1h,
    )
    usd = cost_of(usage, (model or Catalog.default().resolve(MODEL)).price).total
    assert usd is not None, "a price is not known"
    return usd


def total(parts: Iterable[Tokens]) -> Tokens:
    """All of them together."""
    summed = Tokens()
    for one in parts:
        summed = summed.plus(one)
    return summed


def plain_model(endpoint: LocalEndpoint, model: str = MODEL) -> ChatBedrockConverse:
    """langchain-aws's own."""
    return ChatBedrockConverse(model=model, client=endpoint.client(), bedrock_client=endpoint.client("bedrock"))


def our_model(endpoint: LocalEndpoint, model: str = MODEL) -> ChatPointsman:
    """Pointsman's, on the endpoint's clock."""
    client = pointsman.Client(endpoint.client(), clock=endpoint.settings.clock)
    return ChatPointsman(model=model, client=client, bedrock_client=endpoint.client("bedrock"))


def _bound(endpoint: LocalEndpoint, retriever: Retrieved) -> Parts:
    llm = plain_model(endpoint).bind(cache_control={"type": "ephemeral"})
    return Parts(llm, retriever)


_CHAINS = (
    Side(name=PLAIN, parts=lambda endpoint, retriever: Parts(plain_model(endpoint), retriever)),
    Side(
        name=OURS,
        parts=lambda endpoint, retriever: Parts(our_model(endpoint), PointsmanRetriever(retriever=retriever)),
    ),
    Side(name=BOUND, parts=_bound),
    Side(name=ALONE, parts=lambda endpoint, retriever: Parts(our_model(endpoint), retriever)),
)
_AGENTS = (
    Side(
        name=CACHING,
        parts=lambda endpoint, retriever: Parts(
            plain_model(endpoint), retriever, [BedrockPromptCachingMiddleware(unsupported_model_behavior="raise")]
        ),
    ),
    Side(
        name=AGENT_OURS,
        parts=lambda endpoint, retriever: Parts(
            our_model(endpoint), PointsmanRetriever(retriever=retriever), [PointsmanMiddleware()]
        ),
    ),
    Side(name=PLAIN, parts=lambda endpoint, retriever: Parts(plain_model(endpoint), retriever)),
    Side(
        name=AGENT_ALONE,
        parts=lambda endpoint, retriever: Parts(our_model(endpoint), retriever, [PointsmanMiddleware()]),
    ),
)
SIDES: Mapping[str, Sequence[Side]] = {SYSTEM: _CHAINS, LAST_MESSAGE: _CHAINS, AGENT: _AGENTS}
"""Of each shape: first what is compared with, then ours, then what is reported besides."""


class Traces(BaseCallbackHandler):
    """Keeps what `response_metadata` tells of each model call."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        """Keep the trace of a call, if it has one."""
        message: Any = getattr(response.generations[0][0], "message", None)
        if message is not None and "pointsman" in message.response_metadata:
            self.told.append(message.response_metadata["pointsman"])


def run(shape: str, side: Side, talks: Sequence[Talk], retriever: Retrieved) -> Run:
    """All conversations one after another, a minute between questions, two hours between conversations."""
    conversations, traces = {}, Traces()
    with LocalEndpoint(engine="extract") as endpoint:
        ask = SHAPES[shape](side.parts(endpoint, retriever))
        for talk in talks:
            before = counted(endpoint)
            _hold(talk, ask, endpoint, traces)
            conversations[talk.name] = counted(endpoint).since(before)
    return Run(shape=shape, side=side.name, conversations=conversations, traces=traces.told)


def _hold(talk: Talk, ask: Ask, endpoint: LocalEndpoint, traces: Traces) -> None:
    """One conversation, in a thread and a session of its own. The history of a chain is what was really said."""
    config: RunnableConfig = {"configurable": {"thread_id": f"talk-{talk.name}"}, "callbacks": [traces]}
    history: list[BaseMessage] = []
    for turn in talk.turns:
        ask(turn.question, list(history), config)
        history += [HumanMessage(turn.question), AIMessage(turn.answer)]
        endpoint.advance(TURN_SECONDS)
    endpoint.advance(BETWEEN_SECONDS - TURN_SECONDS)
    pointsman.session(f"talk-{talk.name}", scope="default").close()


def counted(endpoint: LocalEndpoint) -> Tokens:
    """What the endpoint's account has counted so far."""
    return Tokens.of(endpoint.account()["totals"])
