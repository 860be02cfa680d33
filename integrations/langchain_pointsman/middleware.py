"""Middleware for LangChain's agents: each of their model calls is routed and cached, in one session for a thread.

Holds no state of its own but the chat models that it made; what a session holds is kept in the graph's state.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, NotRequired
from uuid import uuid4

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ExtendedModelResponse, PrivateStateAttr, ToolCallRequest
from langchain_aws import ChatBedrockConverse
from langchain_core.messages import ToolMessage
from langgraph.types import Command

from langchain_pointsman.chat_models import ChatPointsman
from langchain_pointsman.sessions import session_of
from pointsman import InvalidRequestError, Session
from pointsman.documents.finding import as_session

_log = logging.getLogger("pointsman")

_STATE = "pointsman_session"
_MOST_MODELS = 64


class PointsmanState(AgentState[Any]):
    """What the graph's state holds besides: the session's id, and what `Session.snapshot` told of it."""

    pointsman_session: NotRequired[Annotated[dict[str, Any], PrivateStateAttr]]


class PointsmanMiddleware(AgentMiddleware[PointsmanState, Any, Any]):
    """Routes and caches the model calls of an agent; its tools' retrievers find the same session.

    ```python
    agent = create_agent("...", tools, middleware=[PointsmanMiddleware(model="everyday", routers=[everyday])])
    ```

    The agent's own model, if it is a `ChatBedrockConverse`, is asked as one of Pointsman's; any other is left alone.
    The session is that of the run (see `langchain_pointsman.sessions.session_of`), or one of the thread's own. What it
    holds, retrieved texts included, is kept in the graph's state: a checkpoint restores it, in another process too.

    Args:
        model: a model, an inference profile or a router that stands for the agent's own model.
        kwargs: `routers`, or other fields of `ChatPointsman` that differ from the agent's own chat model.
    """

    state_schema = PointsmanState

    def __init__(self, *, model: str | None = None, **kwargs: Any) -> None:
        super().__init__()
        self.tools = []
        self._model = model
        self._changes = kwargs
        self._made: dict[int, tuple[ChatBedrockConverse, ChatPointsman]] = {}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Have Pointsman's chat model make the call, in the run's session."""
        if not isinstance(request.model, ChatBedrockConverse):
            return handler(request)
        with _restored(request.state) as session:
            response = handler(request.override(model=self._of(request.model)))
        return _kept(response, session, request.state)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """As `wrap_model_call`."""
        if not isinstance(request.model, ChatBedrockConverse):
            return await handler(request)
        with _restored(request.state) as session:
            response = await handler(request.override(model=self._of(request.model)))
        return _kept(response, session, request.state)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Have the tool's retrievers find the run's session."""
        with _restored(request.state):
            return handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """As `wrap_tool_call`."""
        with _restored(request.state):
            return await handler(request)

    def _of(self, model: ChatBedrockConverse) -> ChatPointsman:
        """The agent's chat model as Pointsman's, made once for each."""
        if isinstance(model, ChatPointsman) and self._model is None and not self._changes:
            return model
        if id(model) not in self._made:
            if len(self._made) >= _MOST_MODELS:
                self._made.clear()
            self._made[id(model)] = model, ChatPointsman.over(model, model=self._model, **self._changes)
        return self._made[id(model)][1]


def _restored(state: Any) -> Session:
    """The run's session, with what a checkpoint holds of it."""
    told: Mapping[str, Any] = (state.get(_STATE) if isinstance(state, Mapping) else None) or {}
    session = session_of(None) or as_session(told.get("id") or str(uuid4()))
    try:
        session.restore(told)
    except InvalidRequestError as exc:  # Of another version: the conversation goes on, and pays for it once.
        _log.debug("a session's state is not restored", extra={"pointsman": {"error": type(exc).__name__}})
    return session


def _kept(
    response: ModelResponse[Any], session: Session, state: Mapping[str, Any]
) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
    """The response, with what the session holds for the graph's state, if that has changed."""
    told = {"id": session.id, **(session.snapshot() or {})}
    if told == state.get(_STATE):
        return response
    return ExtendedModelResponse(model_response=response, command=Command(update={_STATE: told}))
