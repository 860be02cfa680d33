"""Three stock shapes of user code: what a team has before it hears of Pointsman. Takes any chat model and retriever.

Each function gives what asks one question: of a conversation's name, the question and the history, the chain's or the
agent's answer. Nothing in here differs between the two sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import documents_runs as runs
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_classic.chains import create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_conversations import as_asked
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel, LanguageModelLike
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langgraph.checkpoint.memory import InMemorySaver

SYSTEM, LAST_MESSAGE, AGENT = "documents in the system prompt", "documents in the last message", "agent"


class Parts(NamedTuple):
    """What the user code is made of. Only agents have middleware."""

    llm: LanguageModelLike
    retriever: BaseRetriever
    middleware: Sequence[AgentMiddleware[Any, Any, Any]] = ()


Ask = Callable[[str, Sequence[BaseMessage], RunnableConfig], object]
"""Asks a question, after this history, in a run of that configuration."""


def in_system(parts: Parts) -> Ask:
    """`create_retrieval_chain`, its documents stuffed into the system prompt."""
    prompt = ChatPromptTemplate(
        [
            ("system", "{instructions}\n\nContext:\n\n{context}"),
            MessagesPlaceholder("chat_history"),
            ("human", "{input}"),
        ]
    ).partial(instructions=runs.instructions())
    chain = create_retrieval_chain(parts.retriever, create_stuff_documents_chain(parts.llm, prompt))
    return lambda question, history, config: chain.invoke({"input": question, "chat_history": history}, config)


def in_last_message(parts: Parts) -> Ask:
    """LCEL, with documents and question in the user's message."""
    prompt = ChatPromptTemplate(
        [
            ("system", "{instructions}"),
            MessagesPlaceholder("chat_history"),
            ("human", "Context:\n\n{context}\n\nQuestion: {input}"),
        ]
    ).partial(instructions=runs.instructions())
    context = itemgetter("input") | parts.retriever | _joined
    chain = RunnablePassthrough.assign(context=context) | prompt | parts.llm | StrOutputParser()
    return lambda question, history, config: chain.invoke({"input": question, "chat_history": history}, config)


def agent(parts: Parts) -> Ask:
    """An agent with a retriever for its tool and a checkpointer for its memory: the history is its graph's own."""
    assert isinstance(parts.llm, BaseChatModel), "a bound chat model is for chains only"
    tool = create_retriever_tool(parts.retriever, "search_documents", "Passages of the documents.")
    graph: Any = create_agent(
        parts.llm,
        [tool],
        system_prompt=runs.instructions(),
        middleware=parts.middleware,
        checkpointer=InMemorySaver(),
    )

    def ask(question: str, _: Sequence[BaseMessage], config: RunnableConfig) -> object:
        # The local endpoint's engine calls a tool that the question asks for by name, with what it has in quotes.
        said = f'Search the documents: "{as_asked(question)}"'
        return graph.invoke({"messages": [("human", said)]}, config)

    return ask


def _joined(documents: Sequence[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


SHAPES: dict[str, Callable[[Parts], Ask]] = {SYSTEM: in_system, LAST_MESSAGE: in_last_message, AGENT: agent}
