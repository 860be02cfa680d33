"""The documents that a session's retrievers returned, and where they go in its prompts.

Knows texts, sessions and Converse requests; knows no framework, and asks the cache's ledger only for what it learnt.
"""

from pointsman.documents.document import Document, Scope
from pointsman.documents.economy import Economy, Worths
from pointsman.documents.knowledge_base import AsyncKnowledgeBase, KnowledgeBase
from pointsman.documents.planning import Plan, Told
from pointsman.documents.recurrence import Recurrence
from pointsman.documents.sessions import Session, current_session, session

__all__ = [
    "AsyncKnowledgeBase",
    "Document",
    "Economy",
    "KnowledgeBase",
    "Plan",
    "Recurrence",
    "Scope",
    "Session",
    "Told",
    "Worths",
    "current_session",
    "session",
]
