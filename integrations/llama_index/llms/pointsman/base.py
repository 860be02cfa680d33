"""A LlamaIndex LLM whose `model` may be a prompt router, and whose prompts are cached.

Messages, tools and structured prediction are llama-index-llms-bedrock-converse's own; routing, cache points and
documents are the core's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from botocore.config import Config
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    LLMMetadata,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.tools import BaseTool
from llama_index.llms.bedrock_converse import BedrockConverse
from llama_index_instrumentation.dispatcher import DISPATCHER_SPAN_DECORATED_ATTR

from llama_index.llms.pointsman.seam import Seam, with_marks
from llama_index.llms.pointsman.sessions import follow_conversations
from pointsman import Catalog, Client, Model, Router, RouterRegistry
from pointsman.bedrock import with_pool
from pointsman.client import registry_of
from pointsman.documents.finding import SessionLike, as_session
from pointsman.threads import ThreadedIterator, Threads

_Method = TypeVar("_Method", bound=Callable[..., Any])

# BedrockConverse's own defaults.
_RETRIES, _SECONDS = 10, 60.0


def _opens_no_span(method: _Method) -> _Method:
    """Spans are opened by upstream's method, which this one calls: a second one would be as dear as all of ours."""
    setattr(method, DISPATCHER_SPAN_DECORATED_ATTR, True)
    return method


class Pointsman(BedrockConverse):  # type: ignore[misc]  # upstream has no types
    """`BedrockConverse` with prompt routing and prompt caching.

    ```python
    llm = Pointsman("arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1")
    reply = llm.complete("Describe the purpose of a 'hello world' program in one line.")
    reply.raw["pointsman"]["model"]   # the model that answered; all of it is Trace.to_dict()
    ```

    `model` is a model, an inference profile, a router's ARN or its name. `model=` and `session=` also go with each
    call. The session is found by the engine that calls otherwise (see
    `llama_index.llms.pointsman.sessions.session_of`).

    Requests to a router are shaped for all that its models might take; what the chosen one can't take is changed or
    refused in the core, by name. `raw["pointsman"]` stands in the reply, and in the last chunk of a stream; token
    counts are in `additional_kwargs`, by LlamaIndex's names.

    Args:
        model: see above.
        client: a boto3 client of `bedrock-runtime`, or a `pointsman.Client` to share what it has learnt. Made of the
            other arguments if not given.
        routers: routers to add to the default ones, or a `RouterRegistry`.
        session: a `pointsman.Session` or the id of a conversation, for all calls that name none.
        context_window: tokens, where the catalogue doesn't know the model, such as a router that only AWS knows.
        kwargs: as `BedrockConverse` takes them.

    Raises:
        RouterNotFoundError: `model` is no router's name, and looks like no model's id.
        InvalidRequestError: `session` is neither, or `routers` are given beside a client that has its own.
    """

    _client: Any = PrivateAttr()
    _core: Client = PrivateAttr()
    _router: Router | None = PrivateAttr(default=None)
    _models: tuple[Model, ...] = PrivateAttr(default=())
    _context_window: int | None = PrivateAttr(default=None)
    _threads: Threads = PrivateAttr()

    def __init__(
        self,
        model: str,
        *,
        client: Any = None,
        routers: RouterRegistry | Iterable[Router] | None = None,
        session: SessionLike | None = None,
        context_window: int | None = None,
        **kwargs: Any,
    ) -> None:
        if session is not None:
            as_session(session)  # What is neither a session nor an id is told here, not by the first call.
        registry = registry_of(client, routers)
        router = registry.router_or_model(model)
        shaped_for = registry.catalog.resolve(router.fallback_model if router else model)
        is_one = router is None and shaped_for.known
        if client is None:
            kwargs["botocore_config"] = _config(kwargs)
        with warnings.catch_warnings():
            if not is_one:  # What upstream says of the fallback model's limits need not hold for the others.
                warnings.simplefilter("ignore", UserWarning)
            super().__init__(model=shaped_for.id if shaped_for.known else "unknown", client=client, **kwargs)
        self.model = model
        self._core = client if isinstance(client, Client) else self._made_client(registry.catalog, shaped_for, routers)
        # With aioboto3 installed upstream would open an async client of its own; no call gets so far.
        self._client = self._async_client = Seam(self._core, session)
        self._threads = Threads(self._core)
        self._router = router
        self._models = tuple(map(registry.catalog.resolve, router.model_ids if router else (model,)))
        self._context_window = context_window
        if not is_one:
            self.thinking = kwargs.get("thinking")
            self.supports_forced_tool_calls = kwargs.get("supports_forced_tool_calls", True)
        elif not shaped_for.capabilities.forced_tool_choice:
            self.supports_forced_tool_calls = False
        follow_conversations()

    def _made_client(self, catalog: Catalog, model: Model, routers: RouterRegistry | Iterable[Router] | None) -> Client:
        if self.application_inference_profile_arn is None or isinstance(routers, RouterRegistry):
            return Client(self._client, routers=routers)
        # The ARN's text hides what `model` tells.
        named = replace(model, invoke_id=self.application_inference_profile_arn)
        return Client(self._client, routers=routers, catalog=catalog.with_model(named))

    @classmethod
    def class_name(cls) -> str:
        """Its name in serialized form."""
        return "Pointsman"

    @property
    def metadata(self) -> LLMMetadata:
        """Of a router: the shortest window, which each of its models takes; tools, if any of them does."""
        windows = [one.context_window for one in self._models if one.context_window is not None]
        return LLMMetadata(
            context_window=self._context_window or min(windows, default=DEFAULT_CONTEXT_WINDOW),
            num_output=self.max_tokens,
            is_chat_model=True,
            is_function_calling_model=any(one.capabilities.tools for one in self._models),
            model_name=self.model,
        )

    @_opens_no_span
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As `BedrockConverse.chat`; also takes `model` and `session`."""
        marked, told = with_marks(messages)
        return cast(ChatResponse, super().chat(marked, **kwargs, **told))

    @_opens_no_span
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """As `BedrockConverse.stream_chat`; also takes `model` and `session`."""
        marked, told = with_marks(messages)
        return _with_tool_calls(super().stream_chat(marked, **kwargs, **told))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As `chat`, in threads of its own: as many as the client's pool has connections."""
        return await self._threads.run(self.chat, messages, **kwargs)

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """As `stream_chat`; one thread reads the whole stream."""
        chunks = await self._threads.run(self.stream_chat, messages, **kwargs)
        return cast(ChatResponseAsyncGen, aiter(ThreadedIterator(chunks, chunks.close, self._threads)))

    @property
    def _model_kwargs(self) -> dict[str, Any]:
        """What each call is made with, unless it says otherwise."""
        invoked = self.application_inference_profile_arn or self.model
        told = {"model": invoked, "temperature": self.temperature, "max_tokens": self.max_tokens}
        return {**told, **self.additional_kwargs}

    def _get_all_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        """What a call is made with. A temperature that nobody asked for goes to no model that takes none."""
        told = {**self._model_kwargs, **kwargs}
        if "temperature" not in kwargs and not self._takes_temperature(told["model"]):
            told.pop("temperature", None)
        return told

    def _takes_temperature(self, model: str) -> bool:
        if model in (self.model, self.application_inference_profile_arn):
            return self._router is not None or self._models[0].capabilities.temperature
        context = self._core.context
        router = context.routers.router_or_model(model, region=context.region)
        return router is not None or context.catalog.resolve(model).capabilities.temperature

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: Sequence[ChatMessage] | None = None,
        *,
        tool_required: bool = False,  # LlamaIndex passes it to those only in whose signature it stands.
        **kwargs: Any,
    ) -> dict[str, Any]:
        kwargs = {"tool_caching": self.tool_caching, **kwargs}
        history = list(chat_history or ())  # Upstream adds the user's message to it.
        prepared = super()._prepare_chat_with_tools(tools, user_msg, history, tool_required=tool_required, **kwargs)
        return cast(dict[str, Any], prepared)


def _with_tool_calls(chunks: ChatResponseGen) -> ChatResponseGen:
    """Names tool calls in `additional_kwargs` too: there LlamaIndex's streams of structured predictions look for them.

    In the form that upstream knows from older histories: it takes none twice.
    """
    for chunk in chunks:
        called = [block for block in chunk.message.blocks if isinstance(block, ToolCallBlock)]
        if called:
            chunk.message.additional_kwargs["tool_calls"] = [
                {"toolUseId": one.tool_call_id, "name": one.tool_name, "input": one.tool_kwargs} for one in called
            ]
        yield chunk


def _config(kwargs: Mapping[str, Any]) -> Config:
    """As upstream's own, with a pool for as many requests as may be under way at once."""
    timeout = kwargs.get("timeout", _SECONDS)
    usual = Config(
        retries={"max_attempts": kwargs.get("max_retries", _RETRIES), "mode": "standard"},
        connect_timeout=timeout,
        read_timeout=timeout,
        user_agent_extra="x-client-framework:llama_index",
    )
    given = kwargs.get("botocore_config")
    return with_pool(usual if given is None else given)
