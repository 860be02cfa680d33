"""A retriever whose documents the prompts of a session may keep in the cache. It retrieves by another's means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from langchain_aws.utils import create_aws_client
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, model_validator

import pointsman
from langchain_pointsman.sessions import session_of
from pointsman import InvalidRequestError, KnowledgeBase, Session
from pointsman.documents.finding import SessionLike
from pointsman.documents.results import passage_id
from pointsman.threads import Threads


class PointsmanRetriever(BaseRetriever):
    """Retrieves by another retriever or from a knowledge base of Bedrock, and tells the run's session what it found.

    ```python
    retriever = PointsmanRetriever(retriever=vector_store.as_retriever(), k=4)
    retriever = PointsmanRetriever(knowledge_base_id="ABCDEFGHIJ", region_name="us-east-1", k=8)
    ```

    `page_content` is what the prompt must hold word for word, so that the document is found in it: put what is prompted
    besides, such as a title, around it. Each document has an id that stays the same over retrievals: its own, or else
    its source and a digest of its text. A score, where there is one, is in the metadata.

    `k=`, `session=`, and what the retriever behind it takes also go with each call.

    Raises:
        pydantic.ValidationError: not exactly one of `retriever`, `knowledge_base_id` and `knowledge_base` is given, or
            an argument is one that Retrieve would refuse.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    retriever: RetrieverLike | None = None
    """Any retriever, or a chain that gives documents for a question."""
    knowledge_base_id: str | None = None
    """The id or ARN of a knowledge base."""
    knowledge_base: KnowledgeBase | None = Field(default=None, exclude=True)
    """One with filters, reranking, a minimum score and so on."""
    k: int | None = Field(default=None, ge=1)
    """How many documents a query gives at most; without it, as many as the retriever, or 5 of a knowledge base."""
    client: Any = Field(default=None, exclude=True)
    """A boto3 client of `bedrock-agent-runtime`. Made of what follows, if not given."""
    region_name: str | None = None
    credentials_profile_name: str | None = None
    aws_access_key_id: SecretStr | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = None
    endpoint_url: str | None = None
    config: Any = Field(default=None, exclude=True)

    _threads: Threads | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _use_knowledge_base(self) -> Self:
        sources = (self.retriever, self.knowledge_base_id, self.knowledge_base)
        if sum(source is not None for source in sources) != 1:
            raise InvalidRequestError("give one of retriever, knowledge_base_id and knowledge_base, and only one.")
        if self.knowledge_base_id is not None:
            client = self.client or create_aws_client(
                "bedrock-agent-runtime",
                region_name=self.region_name,
                credentials_profile_name=self.credentials_profile_name,
                aws_access_key_id=self.aws_access_key_id,
                aws_secret_access_key=self.aws_secret_access_key,
                aws_session_token=self.aws_session_token,
                endpoint_url=self.endpoint_url,
                config=self.config,
            )
            self.knowledge_base = KnowledgeBase(self.knowledge_base_id, client=client)
        return self

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """The documents for a question; also takes `k` and `session`."""
        return super().invoke(input, config, **_with_session(config, kwargs))

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """As `invoke`."""
        return await super().ainvoke(input, config, **_with_session(config, kwargs))

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        session: SessionLike | None = None,
        run_config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        k, session = self.k if k is None else k, session_of(None, session)
        if self.knowledge_base is not None:
            return _documents(self.knowledge_base.retrieve(query, results=k, session=session, **kwargs))
        assert self.retriever is not None
        config = patch_config(run_config, callbacks=run_manager.get_child())
        return self._registered(self.retriever.invoke(query, config, **self._passed_on(k, kwargs))[:k], session)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        session: SessionLike | None = None,
        run_config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        k, session = self.k if k is None else k, session_of(None, session)
        if (base := self.knowledge_base) is not None:
            self._threads = self._threads or Threads(base.client)
            return _documents(await self._threads.run(base.retrieve, query, results=k, session=session, **kwargs))
        assert self.retriever is not None
        config = patch_config(run_config, callbacks=run_manager.get_child())
        found = await self.retriever.ainvoke(query, config, **self._passed_on(k, kwargs))
        return self._registered(found[:k], session)

    def _passed_on(self, k: int | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """What is told to whoever retrieves: a retriever leaves alone what it doesn't take, a chain doesn't."""
        is_told = k is not None and isinstance(self.retriever, BaseRetriever)
        return {**kwargs, "k": k} if is_told else dict(kwargs)

    def _registered(self, found: Sequence[Document], session: Session | None) -> list[Document]:
        documents = [_named(document) for document in found]
        if session is not None:
            assert self.retriever is not None
            of = self.name or self.retriever.get_name()
            session.register(
                pointsman.Document(text=one.page_content, id=one.id, knowledge_base=of) for one in documents
            )
        return documents


def _with_session(config: RunnableConfig | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments with its session and its configuration, which the retriever behind is to see too."""
    return {**kwargs, "session": session_of(config, kwargs.get("session")), "run_config": config}


def _named(document: Document) -> Document:
    if document.id is not None:
        return document
    source = document.metadata.get("source")
    of = source if isinstance(source, str) else None
    return document.model_copy(update={"id": passage_id(document.page_content, of=of)})


def _documents(passages: Sequence[pointsman.Document]) -> list[Document]:
    """With what langchain-aws's retriever of knowledge bases has in the metadata, where it is known."""
    return [
        Document(
            id=passage.id,
            page_content=passage.text,
            metadata={
                name: value
                for name, value in (
                    ("source", passage.source),
                    ("title", passage.title),
                    ("score", passage.score),
                    ("source_metadata", dict(passage.metadata)),
                )
                if value is not None
            },
        )
        for passage in passages
    ]
