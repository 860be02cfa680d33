"""What a user's type checker sees of the classes for LangChain. See `clients.py`."""

from __future__ import annotations

from typing import assert_type

from langchain_aws import ChatBedrockConverse
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig

from langchain_pointsman import ChatPointsman, PointsmanMiddleware, PointsmanRetriever
from pointsman import Router


def a_chat_model_answers(llm: ChatPointsman, config: RunnableConfig) -> None:
    """It stands wherever `ChatBedrockConverse` does, and answers with what that answers with."""
    drop_in: ChatBedrockConverse = llm
    any_model: BaseChatModel = llm
    assert drop_in is any_model
    assert_type(llm.invoke("Say hello."), AIMessage)
    assert_type(llm.invoke("Say hello.", config, session="thread-7", model="everyday"), AIMessage)
    assert_type(ChatPointsman.over(drop_in, model="everyday"), ChatPointsman)
    for chunk in llm.stream("Say hello."):
        assert_type(chunk, AIMessageChunk)
    llm.invoke(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    llm.invoke("Say hello.", 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def a_chat_model_is_awaited(llm: ChatPointsman) -> None:
    """The same."""
    assert_type(await llm.ainvoke("Say hello."), AIMessage)
    async for chunk in llm.astream("Say hello."):
        assert_type(chunk, AIMessageChunk)


def a_chat_model_is_made(everyday: Router) -> None:
    """Of a model's name, and routers."""
    assert_type(ChatPointsman(model="everyday", routers=[everyday]), ChatPointsman)


async def a_retriever_gives_documents(retriever: BaseRetriever) -> None:
    """It stands wherever a retriever does."""
    ours: BaseRetriever = PointsmanRetriever(retriever=retriever, k=2)
    assert ours
    assert_type(PointsmanRetriever(retriever=retriever).invoke("When?", session="thread-7"), list[Document])
    assert_type(await PointsmanRetriever(retriever=retriever).ainvoke("When?"), list[Document])
    PointsmanRetriever(retriever=retriever, k="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_middleware_is_made() -> None:
    """By keyword."""
    assert_type(PointsmanMiddleware(model="everyday"), PointsmanMiddleware)
    PointsmanMiddleware("everyday")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
