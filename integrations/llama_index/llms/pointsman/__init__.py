"""Pointsman for LlamaIndex: an LLM whose model may be a prompt router, and whose prompts are cached."""

from __future__ import annotations

from pointsman.errors import MissingExtraError

try:
    from llama_index.llms.pointsman.base import Pointsman
except ModuleNotFoundError as exc:
    if (exc.name or "").startswith("llama_index.llms.pointsman"):
        raise
    raise MissingExtraError("llama_index.llms.pointsman", "llama-index") from exc

__all__ = ["Pointsman"]
