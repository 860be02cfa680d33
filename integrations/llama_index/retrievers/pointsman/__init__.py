"""A LlamaIndex retriever whose nodes the prompts of a session may keep in the cache."""

from __future__ import annotations

from pointsman.errors import MissingExtraError

try:
    from llama_index.retrievers.pointsman.base import PointsmanRetriever
except ModuleNotFoundError as exc:
    if (exc.name or "").startswith("llama_index.retrievers.pointsman"):
        raise
    raise MissingExtraError("llama_index.retrievers.pointsman", "llama-index") from exc

__all__ = ["PointsmanRetriever"]
