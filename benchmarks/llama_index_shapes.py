"""Stock LlamaIndex code: what a team has before it hears of Pointsman. Takes any LLM of Bedrock and any retriever.

Each function makes of them what holds one conversation. Nothing in here differs between the two sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import documents_runs as documents
from langchain_conversations import as_asked
from llama_index.core.agent.workflow import AgentOutput, FunctionAgent
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.tools import RetrieverTool
from llama_index.llms.bedrock_converse import BedrockConverse

CONTEXT, CONDENSE = "ContextChatEngine", "CondensePlusContextChatEngine"
QUERY, CITATION = "RetrieverQueryEngine", "CitationQueryEngine"
QUERY_TAGGED, CITATION_TAGGED = f"{QUERY}, in a session", f"{CITATION}, in a session"
AGENT = "FunctionAgent"
# More than any of the conversations has: no memory drops a turn.
_MEMORY_TOKENS = 100_000


class Parts(NamedTuple):
    """What the user code is made of."""

    llm: BedrockConverse
    retriever: BaseRetriever


Ask = Callable[[str, Sequence[ChatMessage]], object]
"""Asks a question, after this history."""


def context(parts: Parts, name: str) -> Ask:
    """What was retrieved stands in the system prompt, before the team's own."""
    return _chat(
        ContextChatEngine.from_defaults(
            retriever=parts.retriever, llm=parts.llm, memory=_memory(name), system_prompt=documents.instructions()
        )
    )


def condense(parts: Parts, name: str) -> Ask:
    """As `index.as_chat_engine()` makes it: from the second question on, a call of its own puts it in other words."""
    return _chat(
        CondensePlusContextChatEngine.from_defaults(
            parts.retriever, parts.llm, memory=_memory(name), system_prompt=documents.instructions()
        )
    )


def query(parts: Parts, name: str) -> Ask:  # noqa: ARG001 - as the others
    """Each question by itself, by the default template."""
    return _query(RetrieverQueryEngine.from_args(parts.retriever, llm=parts.llm))


def citation(parts: Parts, name: str) -> Ask:  # noqa: ARG001 - as the others
    """Each question by itself, the passages cut and numbered."""
    return _query(CitationQueryEngine(parts.retriever, llm=parts.llm))


def tagged(shape: Callable[[Parts, str], Ask]) -> Callable[[Parts, str], Ask]:
    """The same, where tags of LlamaIndex's instrumentation name the conversation."""

    def hold(parts: Parts, name: str) -> Ask:
        ask = shape(parts, name)

        def within(question: str, history: Sequence[ChatMessage]) -> object:
            with instrument_tags({"session_id": name}):
                return ask(question, history)

        return within

    return hold


def agent(parts: Parts, name: str) -> Ask:
    """An agent with a retriever for its tool. Its memory holds the history: questions, tools' results and answers."""
    search = RetrieverTool.from_defaults(
        parts.retriever, name="search_documents", description="Passages of the documents."
    )
    asked = FunctionAgent(llm=parts.llm, tools=[search], system_prompt=documents.instructions())
    memory = _memory(name)

    async def run(question: str) -> AgentOutput:
        # The local endpoint's engine calls a tool that the question asks for by name, with what it has in quotes.
        return await asked.run(user_msg=f'Search the documents: "{as_asked(question)}"', memory=memory)

    return lambda question, _: asyncio.run(run(question))


def _chat(engine: BaseChatEngine) -> Ask:
    return lambda question, history: engine.chat(question, chat_history=list(history))


def _query(engine: BaseQueryEngine) -> Ask:
    return lambda question, _: engine.query(question)


def _memory(name: str) -> Memory:
    return Memory.from_defaults(session_id=name, token_limit=_MEMORY_TOKENS)


SHAPES: Mapping[str, Callable[[Parts, str], Ask]] = {
    CONTEXT: context,
    CONDENSE: condense,
    QUERY: query,
    QUERY_TAGGED: tagged(query),
    CITATION: citation,
    CITATION_TAGGED: tagged(citation),
    AGENT: agent,
}
