"""Nodes as the documents that a prompt will hold."""

from __future__ import annotations

from collections.abc import Iterable

from llama_index.core.schema import MetadataMode, NodeWithScore

from pointsman import Document, Session


def register(nodes: Iterable[NodeWithScore], session: Session | None, *, knowledge_base: str) -> None:
    """Tell a session what was retrieved, an empty result too: texts as response synthesizers put them into prompts."""
    if session is not None:
        session.register(
            Document(
                text=one.node.get_content(metadata_mode=MetadataMode.LLM),
                id=one.node.node_id,
                knowledge_base=knowledge_base,
                score=one.score,
            )
            for one in nodes
        )
