"""The last node postprocessor of an engine: it tells the session which nodes the prompt will hold."""

from __future__ import annotations

from pointsman.errors import MissingExtraError

try:
    from llama_index.postprocessor.pointsman.base import PointsmanPostprocessor
except ModuleNotFoundError as exc:
    if (exc.name or "").startswith("llama_index.postprocessor.pointsman"):
        raise
    raise MissingExtraError("llama_index.postprocessor.pointsman", "llama-index") from exc

__all__ = ["PointsmanPostprocessor"]
