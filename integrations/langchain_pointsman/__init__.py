"""Pointsman for LangChain: `ChatPointsman`, `PointsmanRetriever` and `PointsmanMiddleware`.

They convert, and find the session that a run belongs to; what is routed, cached and laid is decided in `pointsman`.
"""

from __future__ import annotations

from pointsman.errors import MissingExtraError

try:
    import langchain  # noqa: F401 - for the middleware
    import langchain_aws  # noqa: F401
except ImportError as exc:
    raise MissingExtraError("langchain_pointsman", "langchain") from exc

from langchain_pointsman.chat_models import ChatPointsman
from langchain_pointsman.middleware import PointsmanMiddleware
from langchain_pointsman.retrievers import PointsmanRetriever

__all__ = ["ChatPointsman", "PointsmanMiddleware", "PointsmanRetriever"]
