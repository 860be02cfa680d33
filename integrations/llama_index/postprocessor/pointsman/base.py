"""Tells the session which nodes are left, behind rerankers and cutoffs. Changes none of them."""

from __future__ import annotations

from typing import Any

from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index.llms.pointsman.nodes import register
from llama_index.llms.pointsman.sessions import follow_conversations, session_of


class PointsmanPostprocessor(BaseNodePostprocessor):
    """Put it last among an engine's `node_postprocessors`, in place of `PointsmanRetriever` around its retriever.

    ```python
    engine = index.as_chat_engine(llm=llm, node_postprocessors=[reranker, PointsmanPostprocessor()])
    ```

    Args:
        knowledge_base: names where the nodes are from: how often they come back is learnt for each.
        session: a `pointsman.Session` or the id of a conversation; found by the engine otherwise.
    """

    knowledge_base: str = "nodes"
    session: Any = Field(default=None, exclude=True)

    def model_post_init(self, context: Any) -> None:
        """Have the memories of engines followed."""
        super().model_post_init(context)
        follow_conversations()

    @classmethod
    def class_name(cls) -> str:
        """Its name in serialized form."""
        return "PointsmanPostprocessor"

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002 - as it is called
    ) -> list[NodeWithScore]:
        register(nodes, session_of(self.session), knowledge_base=self.knowledge_base)
        return nodes

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return self._postprocess_nodes(nodes, query_bundle)
