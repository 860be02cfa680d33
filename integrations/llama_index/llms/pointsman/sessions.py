"""Which session a call of LlamaIndex belongs to. Knows where LlamaIndex keeps what tells conversations apart.

Engines and agents hand their memory to no LLM and no retriever. But each of their methods opens a span, of which every
handler learns before the method runs: the one below notes the memory for what runs within.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import Any
from uuid import uuid4

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.instrumentation.span import BaseSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.memory import BaseMemory
from llama_index.core.memory.types import DEFAULT_CHAT_STORE_KEY
from llama_index.core.workflow import StartEvent
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import active_instrument_tags
from pydantic import PrivateAttr

from pointsman import Session
from pointsman.documents.finding import THREADS, SessionLike, find_session

_BY_ITSELF = "query "
_conversation: ContextVar[str | None] = ContextVar("pointsman_conversation", default=None)


def session_of(given: SessionLike | None = None) -> Session | None:
    """The session of a call, the first that is named of: `given`, the tags, the memory, the context.

    The tags are those of LlamaIndex's `instrument_tags`: `pointsman_session`, else `thread_id`, else `session_id`. The
    memory is that of the chat engine, or the one that an agent was run with: its `session_id`, or its `chat_store_key`
    where that is not the default, else the object itself; a query engine's question by itself is a conversation of its
    own, where nothing else names one. The context's session is that of
    `with pointsman.session(...)`. Where only an id is named, the scope is the tag `pointsman_scope`, else that of the
    context's session, with its permissions, else one tenant for the whole application.

    Raises:
        InvalidRequestError: what names it is neither a session nor an id.
    """
    tags: Mapping[str, Any] = active_instrument_tags.get() or {}
    return find_session(given, (tags,), (*(tags.get(name) for name in THREADS), _conversation.get()))


class ConversationSpans(BaseSpanHandler[BaseSpan]):
    """Notes the memory of whatever opens a span, until that ends. Keeps no spans."""

    _noted: dict[str, Token[str | None]] = PrivateAttr(default_factory=dict)

    def span_enter(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        parent_id: str | None = None,  # noqa: ARG002 - as it is called
        tags: dict[str, Any] | None = None,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Called in the context of the method that is about to run."""
        memory = _memory_of(instance, bound_args)
        if memory is not None:
            self._noted[id_] = _conversation.set(_name_of(memory))
        elif isinstance(instance, BaseQueryEngine) and session_of() is None:
            # A question by itself is a conversation of its own, which ends with it.
            self._noted[id_] = _conversation.set(f"{_BY_ITSELF}{id_}")

    def span_exit(self, id_: str, *_: Any, **__: Any) -> None:
        """Called when it has run, or returned what runs on."""
        if (token := self._noted.pop(id_, None)) is not None:
            if _conversation.get() == f"{_BY_ITSELF}{id_}" and (session := session_of()) is not None:
                session.close()
            with suppress(ValueError):  # In another context, such as a done callback's: what is noted there ends there.
                _conversation.reset(token)

    span_drop = span_exit

    def new_span(self, *_: Any, **__: Any) -> None:
        """Spans are not kept."""

    prepare_to_exit_span = prepare_to_drop_span = new_span


def follow_conversations() -> None:
    """Have memories noted from now on, wherever spans are opened."""
    root = get_dispatcher()
    if not any(isinstance(handler, ConversationSpans) for handler in root.span_handlers):
        root.add_span_handler(ConversationSpans())


def _memory_of(instance: object, bound_args: inspect.BoundArguments) -> BaseMemory | None:
    """That of a chat engine, or the one that an agent's run begins with."""
    begun_with = bound_args.arguments.get("start_event")
    begun = begun_with.get("memory", default=None) if isinstance(begun_with, StartEvent) else None
    memory = getattr(instance, "_memory", None) if begun is None else begun
    return memory if isinstance(memory, BaseMemory) else None


_names: dict[int, str] = {}


def _name_of(memory: BaseMemory) -> str:
    named = getattr(memory, "session_id", None) or getattr(memory, "chat_store_key", None)
    if isinstance(named, str) and named != DEFAULT_CHAT_STORE_KEY:
        return named
    if id(memory) not in _names:
        _names[id(memory)] = str(uuid4())
        weakref.finalize(memory, _names.pop, id(memory), None)
    return _names[id(memory)]
