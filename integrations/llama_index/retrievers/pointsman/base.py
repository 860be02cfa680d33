"""A retriever whose nodes the prompts of a session may keep in the cache. It retrieves by another's means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import boto3
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

import pointsman
from llama_index.llms.pointsman.nodes import register
from llama_index.llms.pointsman.sessions import follow_conversations, session_of
from pointsman import InvalidRequestError, KnowledgeBase
from pointsman.documents.finding import SessionLike
from pointsman.threads import Threads


class PointsmanRetriever(BaseRetriever):
    """Retrieves by another retriever or from a knowledge base of Bedrock, and tells the session what it found.

    ```python
    retriever = PointsmanRetriever(index.as_retriever(), k=4)
    retriever = PointsmanRetriever(knowledge_base_id="ABCDEFGHIJ", region_name="us-east-1", k=8)
    ```

    Where an engine reranks or cuts off nodes behind the retriever, put `PointsmanPostprocessor` last instead.

    Args:
        retriever: any retriever.
        knowledge_base_id: the id or ARN of a knowledge base.
        knowledge_base: one with filters, reranking, a minimum score and so on.
        k: how many nodes a query gives at most; without it, as many as the retriever, or 5 of a knowledge base.
        client: a boto3 client of `bedrock-agent-runtime`. Made of what follows it, if not given.
        session: a `pointsman.Session` or the id of a conversation; found by the engine otherwise.

    Raises:
        InvalidRequestError: not exactly one of `retriever`, `knowledge_base_id` and `knowledge_base` is given, or an
            argument is one that Retrieve would refuse.
    """

    def __init__(
        self,
        retriever: BaseRetriever | None = None,
        *,
        knowledge_base_id: str | None = None,
        knowledge_base: KnowledgeBase | None = None,
        k: int | None = None,
        client: Any = None,
        region_name: str | None = None,
        profile_name: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
        endpoint_url: str | None = None,
        botocore_config: Any = None,
        session: SessionLike | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        if sum(source is not None for source in (retriever, knowledge_base_id, knowledge_base)) != 1:
            raise InvalidRequestError("give one of retriever, knowledge_base_id and knowledge_base, and only one.")
        if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
            raise InvalidRequestError(f"k is {k!r}; it must be a whole number above 0.")
        if knowledge_base_id is not None:
            aws = boto3.Session(
                profile_name=profile_name,
                region_name=region_name,
                aws_access_key_id=aws_access_key_id,
                aws_secret_access_key=aws_secret_access_key,
                aws_session_token=aws_session_token,
            )
            client = client or aws.client("bedrock-agent-runtime", endpoint_url=endpoint_url, config=botocore_config)
            knowledge_base = KnowledgeBase(knowledge_base_id, client=client)
        self._retriever = retriever
        self._knowledge_base = knowledge_base
        self._threads = Threads(knowledge_base.client) if knowledge_base is not None else None
        self._k = k
        self._session = session
        follow_conversations()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        session = session_of(self._session)
        if self._knowledge_base is not None:
            found = self._knowledge_base.retrieve(query_bundle.query_str, results=self._k, session=session)
            return _nodes(found)
        assert self._retriever is not None
        return self._registered(self._retriever.retrieve(query_bundle), session)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        session = session_of(self._session)
        if self._knowledge_base is not None and self._threads is not None:
            retrieve = self._knowledge_base.retrieve
            return _nodes(await self._threads.run(retrieve, query_bundle.query_str, results=self._k, session=session))
        assert self._retriever is not None
        return self._registered(await self._retriever.aretrieve(query_bundle), session)

    def _registered(self, found: list[NodeWithScore], session: pointsman.Session | None) -> list[NodeWithScore]:
        nodes = found[: self._k]
        register(nodes, session, knowledge_base=type(self._retriever).__name__)
        return nodes


def _nodes(passages: Sequence[pointsman.Document]) -> list[NodeWithScore]:
    """Nodes whose text is all that a prompt will hold of them."""
    nodes = []
    for passage in passages:
        metadata = {"source": passage.source, "title": passage.title, "source_metadata": dict(passage.metadata)}
        node = TextNode(
            id_=str(passage.id),
            text=passage.text,
            metadata={name: value for name, value in metadata.items() if value is not None},
            excluded_llm_metadata_keys=list(metadata),
            excluded_embed_metadata_keys=list(metadata),
        )
        nodes.append(NodeWithScore(node=node, score=passage.score))
    return nodes
