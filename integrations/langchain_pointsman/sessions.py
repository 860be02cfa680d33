"""Which session a run of LangChain belongs to. Knows where LangChain keeps what it was told; keeps nothing itself."""

from __future__ import annotations

from langchain_core.runnables.config import RunnableConfig, ensure_config

from pointsman import Session
from pointsman.documents.finding import THREADS, SessionLike, find_session


def session_of(config: RunnableConfig | None, given: SessionLike | None = None) -> Session | None:
    """The session of a run, the first that is named of: `given`, the run's metadata, its `configurable`, the context.

    Metadata and `configurable` name it as `pointsman_session`, `configurable` also by `thread_id` or `session_id`; what
    runs within a chain or a graph sees the configuration of that. The context has that of
    `with pointsman.session(...)`. Where only an id is named, the scope is their `pointsman_scope`, else that
    of the context's session, with its permissions, else one tenant for the whole application.

    Raises:
        InvalidRequestError: what names it is neither a session nor an id.
    """
    settled = ensure_config(config)
    metadata, configurable = settled.get("metadata") or {}, settled.get("configurable") or {}
    return find_session(given, (metadata, configurable), (configurable.get(name) for name in THREADS))
