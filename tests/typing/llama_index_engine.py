"""What a user's type checker sees of the classes for LlamaIndex. See `clients.py`."""

from __future__ import annotations

from typing import assert_type

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ChatResponseAsyncGen, ChatResponseGen
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.llms import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore

from llama_index.llms.pointsman import Pointsman
from llama_index.postprocessor.pointsman import PointsmanPostprocessor
from llama_index.retrievers.pointsman import PointsmanRetriever
from pointsman import Router


def an_llm_is_made(everyday: Router) -> None:
    """Of a model's name, and routers. It stands wherever an LLM does."""
    llm = Pointsman("everyday", routers=[everyday], session="thread-7", context_window=1000)
    assert_type(llm, Pointsman)
    stands_for: LLM = llm
    assert stands_for
    Pointsman()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Pointsman(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Pointsman("everyday", routers=everyday)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def an_llm_answers(llm: Pointsman) -> None:
    """With LlamaIndex's own types."""
    assert_type(llm.chat([ChatMessage(content="Say hello.")], session="thread-7"), ChatResponse)
    assert_type(llm.stream_chat([]), ChatResponseGen)
    assert_type(llm.metadata.context_window, int)
    llm.chat("Say hello.")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def an_llm_is_awaited(llm: Pointsman) -> None:
    """The same."""
    assert_type(await llm.achat([]), ChatResponse)
    assert_type(await llm.astream_chat([]), ChatResponseAsyncGen)


def engines_take_them(llm: Pointsman, retriever: BaseRetriever) -> None:
    """The retriever and the postprocessor stand where LlamaIndex's do."""
    ours = PointsmanRetriever(retriever, k=2)
    assert_type(ours.retrieve("When do trains leave?"), list[NodeWithScore])
    last: BaseNodePostprocessor = PointsmanPostprocessor(knowledge_base="timetable")
    ContextChatEngine.from_defaults(retriever=ours, llm=llm, node_postprocessors=[last])
    PointsmanRetriever(retriever, 2)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    PointsmanRetriever("timetable")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
