"""Prompt routing and prompt caching for Amazon Bedrock, together: a drop-in for the boto3 client.

The names below are the promised ones. They are loaded when they are first used, so that importing this package costs
next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pointsman.bedrock import profile_resolver
    from pointsman.cache import CachePoint, Drift, Ledger, LedgerStore, MissReason, Placement, place
    from pointsman.cache.stores.sqlite import SQLiteStore
    from pointsman.cache.stores.valkey import ValkeyStore
    from pointsman.catalog import CacheRules, Capabilities, Catalog, Model
    from pointsman.client import AsyncClient, Client
    from pointsman.documents import (
        AsyncKnowledgeBase,
        Document,
        KnowledgeBase,
        Scope,
        Session,
        current_session,
        session,
    )
    from pointsman.errors import (
        InvalidRequestError,
        NoEligibleModelError,
        PointsmanError,
        PointsmanWarning,
        PromptRouterError,
    )
    from pointsman.feedback import FeedbackLog
    from pointsman.keep_alive import KeepAlive
    from pointsman.outline import Block, Outline
    from pointsman.pricing import Price
    from pointsman.prompt import Prompt
    from pointsman.routing import (
        Decision,
        Outcomes,
        Prediction,
        QualityPredictor,
        Router,
        RouterRegistry,
        RoutingCriteria,
        TrainedPredictor,
    )
    from pointsman.trace import Trace
    from pointsman.trace_log import TraceLog
    from pointsman.usage import Cost, Usage

__version__ = "0.1.0"

_HOME = {
    "AsyncClient": "client",
    "AsyncKnowledgeBase": "documents",
    "Block": "outline",
    "CachePoint": "cache",
    "CacheRules": "catalog",
    "Capabilities": "catalog",
    "Catalog": "catalog",
    "Client": "client",
    "Cost": "usage",
    "Decision": "routing",
    "Document": "documents",
    "Drift": "cache",
    "FeedbackLog": "feedback",
    "InvalidRequestError": "errors",
    "KeepAlive": "keep_alive",
    "KnowledgeBase": "documents",
    "Ledger": "cache",
    "LedgerStore": "cache",
    "MissReason": "cache",
    "Model": "catalog",
    "NoEligibleModelError": "errors",
    "Outcomes": "routing",
    "Outline": "outline",
    "Placement": "cache",
    "PointsmanError": "errors",
    "PointsmanWarning": "errors",
    "Prediction": "routing",
    "Price": "pricing",
    "Prompt": "prompt",
    "PromptRouterError": "errors",
    "QualityPredictor": "routing",
    "Router": "routing",
    "RouterRegistry": "routing",
    "RoutingCriteria": "routing",
    "SQLiteStore": "cache.stores.sqlite",
    "Scope": "documents",
    "Session": "documents",
    "Trace": "trace",
    "TraceLog": "trace_log",
    "TrainedPredictor": "routing",
    "Usage": "usage",
    "ValkeyStore": "cache.stores.valkey",
    "current_session": "documents",
    "place": "cache",
    "profile_resolver": "bedrock",
    "session": "documents",
}

__all__ = [
    "AsyncClient",
    "AsyncKnowledgeBase",
    "Block",
    "CachePoint",
    "CacheRules",
    "Capabilities",
    "Catalog",
    "Client",
    "Cost",
    "Decision",
    "Document",
    "Drift",
    "FeedbackLog",
    "InvalidRequestError",
    "KeepAlive",
    "KnowledgeBase",
    "Ledger",
    "LedgerStore",
    "MissReason",
    "Model",
    "NoEligibleModelError",
    "Outcomes",
    "Outline",
    "Placement",
    "PointsmanError",
    "PointsmanWarning",
    "Prediction",
    "Price",
    "Prompt",
    "PromptRouterError",
    "QualityPredictor",
    "Router",
    "RouterRegistry",
    "RoutingCriteria",
    "SQLiteStore",
    "Scope",
    "Session",
    "Trace",
    "TraceLog",
    "TrainedPredictor",
    "Usage",
    "ValkeyStore",
    "current_session",
    "place",
    "profile_resolver",
    "session",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'pointsman' has no attribute {name!r}")
    value = getattr(import_module(f"pointsman.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted((*globals(), *_HOME))
