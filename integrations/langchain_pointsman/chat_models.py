"""A LangChain chat model whose `model` may be a prompt router, and whose prompts are cached.

Messages, tools and structured output are langchain-aws's own; routing, cache points and documents are the core's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Any, Self, cast

from langchain_aws import ChatBedrockConverse
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import InputTokenDetails
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from pydantic import Field, PrivateAttr, model_validator

from langchain_pointsman.sessions import session_of
from pointsman import Catalog, Client, Model, Router, RouterRegistry, Session, profile_resolver
from pointsman.bedrock import with_pool
from pointsman.catalog import named_by
from pointsman.client import registry_of
from pointsman.prompt_routers import split_router_arn
from pointsman.threads import ThreadedIterator, Threads

_ALL_TOOL_CHOICES = ("auto", "any", "tool")
# Of a router that AWS keeps, or of an inference profile, before it is asked what stands behind it.
_UNKNOWN_PROVIDER = "amazon"
_OF_ONE_MODEL = frozenset(
    {"model_id", "base_model_id", "provider", "profile", "supports_tool_choice_values", "disable_streaming"}
)
_OF_ONE_PROFILE = {"name", "status", "release_date", "last_updated", "open_weights", "temperature"}
_CACHE_CREATION_BY_TTL = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
# Whose messages hold reasoning as Bedrock gave it.
_BEDROCK = (None, "bedrock_converse", "bedrock")
_NOT_SHAPING = {
    "cache",
    "callbacks",
    "client",
    "bedrock_client",
    "config",
    "custom_get_token_ids",
    "metadata",
    "name",
    "profile",
    "rate_limiter",
    "routers",
    "tags",
    "verbose",
}


class ChatPointsman(ChatBedrockConverse):
    """`ChatBedrockConverse` with prompt routing and prompt caching.

    ```python
    llm = ChatPointsman(model="arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1")
    reply = llm.invoke("Describe the purpose of a 'hello world' program in one line.")
    reply.response_metadata["model_name"]   # the model that answered
    reply.response_metadata["pointsman"]    # Trace.to_dict()
    ```

    `model` is a model, an inference profile, a router's ARN or its name; neither `provider` nor `base_model` is needed.
    `model=` and `session=` also go with each call. The session is found by the run otherwise (see
    `langchain_pointsman.sessions.session_of`).

    A router's requests are shaped for all that its models might take; what the chosen one can't take is changed or
    refused in the core, by name. `cache_control` is taken, and without effect: prompts are cached in any case.

    `usage_metadata["input_token_details"]["cache_creation"]` counts all that was written to the cache, whichever its
    TTL; `response_metadata["pointsman"]["usage"]` tells the TTLs apart.

    Raises:
        RouterNotFoundError: `model` is no router's name, and looks like no model's id.
        pydantic.ValidationError: as for `ChatBedrockConverse`, or `routers` are given beside a client that has its own.
    """

    client: Any = Field(default=None, exclude=True)
    """A boto3 client of `bedrock-runtime`, or a `pointsman.Client` to share what it has learnt. Made if not given."""
    routers: Any = Field(default=None, exclude=True, repr=False)
    """Routers to add to the default ones, or a `RouterRegistry`."""

    _threads: Threads | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _settle_model(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What `ChatBedrockConverse` wants to be told of a model, where the id alone doesn't tell it."""
        model_id = values.get("model_id", values.get("model"))
        if model_id is None:
            return values
        registry = registry_of(values.get("client"), values.get("routers"))
        router = registry.router_or_model(model_id)
        told = _told_of_router(router, registry.catalog) if router else _told_of_model(model_id, registry.catalog)
        given = {name for name, value in values.items() if value not in (None, "")}
        return {**values, **{name: told[name] for name in told.keys() - given - {f"{one}_id" for one in given}}}

    @model_validator(mode="after")
    def _use_client(self) -> Self:
        if not isinstance(self.client, Client):
            resolver = profile_resolver(self.bedrock_client)
            catalog = None if isinstance(self.routers, RouterRegistry) else Catalog.default(resolver=resolver)
            self.client = Client(self.client, routers=self.routers, catalog=catalog)
        return self

    @classmethod
    def over(cls, other: ChatBedrockConverse, *, model: str | None = None, **changes: Any) -> Self:
        """The same chat model as one of this class, with its client and its settings.

        `model` is another model than its own; `changes` are fields that differ.

        Raises:
            RouterNotFoundError, InvalidRequestError, pydantic.ValidationError: as the constructor.
        """
        of_one_model = frozenset() if model in (None, other.model_id) else _OF_ONE_MODEL
        kept = {name: getattr(other, name) for name in other.model_fields_set - of_one_model - changes.keys()}
        if of_one_model and other.reasoning_effort is not None and (fields := other.additional_model_request_fields):
            # Part of these were made of the effort, for that model only.
            effort = other._reasoning_effort_fields(other.reasoning_effort)
            kept["additional_model_request_fields"] = {key: fields[key] for key in fields.keys() - effort.keys()}
        return cls(**{**kept, "model_id": model or other.model_id, **changes})

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """As `ChatBedrockConverse.invoke`; also takes `model` and `session`."""
        return super().invoke(input, config, stop=stop, **_with_session(config, kwargs))

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """As `invoke`."""
        return await super().ainvoke(input, config, stop=stop, **_with_session(config, kwargs))

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """As `ChatBedrockConverse.stream`; also takes `model` and `session`."""
        return super().stream(input, config, stop=stop, **_with_session(config, kwargs))

    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """As `stream`."""
        return super().astream(input, config, stop=stop, **_with_session(config, kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chosen, session = self._chosen(kwargs), _session(run_manager, kwargs)
        with session or nullcontext():
            result = super(ChatPointsman, chosen)._generate(chosen._shaped(messages), stop, run_manager, **kwargs)
        for generation in result.generations:
            _tell(generation.message)
        return result

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, stop, _session(run_manager, kwargs), **kwargs):
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        sync_manager = run_manager.get_sync() if run_manager is not None else None
        return await self._pool().run(self._generate, messages, stop, sync_manager, **kwargs)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        chunks = self._chunks(messages, stop, _session(run_manager, kwargs), **kwargs)
        reading = ThreadedIterator(chunks, chunks.close, self._pool())
        try:
            async for chunk in reading:
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        finally:
            await reading.close()

    def _streaming_disabled(self, **kwargs: Any) -> bool:
        """Of the model of this call, which may stream tools where this one doesn't, or the reverse."""
        return super(ChatPointsman, self._chosen(kwargs))._streaming_disabled(**kwargs)

    def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, session: Session | None, **kwargs: Any
    ) -> Generator[ChatGenerationChunk, None, None]:
        """What `_stream` yields. Nobody is told of a chunk before all of it is right."""
        chosen = self._chosen(kwargs)
        chunks = super(ChatPointsman, chosen)._stream(chosen._shaped(messages), stop, None, **kwargs)
        # The call is made before the first chunk. Later ones are read in whichever context asks for them.
        with session or nullcontext():
            first = next(chunks, None)
        for chunk in () if first is None else chain((first,), chunks):
            _tell(chunk.message)
            yield chunk

    def _chosen(self, kwargs: dict[str, Any]) -> ChatPointsman:
        """This chat model, or one for the `model` of this call; what upstream doesn't take leaves `kwargs`."""
        kwargs.pop("cache_control", None)
        model = kwargs.pop("model", kwargs.pop("model_id", None))
        if model is None or model == self.model_id:
            return self
        self.client.context.routers.router_or_model(model)
        # Made anew, in a tenth of a millisecond: settings may have changed. The headers are the client's already.
        return self.over(self, model=model, routers=None, default_headers=None)

    def _shaped(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        """Reasoning as Converse has it, where a router decides: upstream would drop what one model doesn't take."""
        return [_with_plain_reasoning(message) for message in messages] if self._is_routed() else messages

    def _is_routed(self) -> bool:
        return split_router_arn(self.model_id) is not None or self._router() is not None

    def _router(self, model: str | None = None) -> Router | None:
        return self._registry().router(model or self.model_id)

    def _registry(self) -> RouterRegistry:
        return registry_of(self.client, None if isinstance(self.client, Client) else self.routers)

    def _pool(self) -> Threads:
        if self._threads is None:
            self._threads = Threads(self.client)
        return self._threads

    def _get_effective_config(self) -> Any:
        """With a pool for as many requests as `ainvoke` may have under way."""
        return with_pool(super()._get_effective_config())

    def _configure_streaming_for_resolved_model(self) -> None:
        """Of an application inference profile, once upstream has asked what stands behind it."""
        if self.provider == _UNKNOWN_PROVIDER:
            self.provider = Catalog.default().resolve(self._get_base_model()).provider or _UNKNOWN_PROVIDER
        super()._configure_streaming_for_resolved_model()

    def _resolve_model_profile(self) -> ModelProfile | None:
        profile = super()._resolve_model_profile()
        if (router := self._router()) is None:
            return profile
        catalog = self._registry().catalog
        models = [catalog.resolve(model) for model in router.model_ids]
        kept = {key: value for key, value in (profile or {}).items() if key not in _OF_ONE_PROFILE}
        return cast(ModelProfile, {**kept, **_profile_of(models)})

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        kwargs.pop("session", None)
        params = super()._get_invocation_params(stop=stop, **kwargs)
        return {**params, "model": kwargs.get("model") or self.model_id}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """What LangChain's own cache of answers tells chat models apart by: all that shapes an answer."""
        kwargs.pop("session", None)
        shaping = self.model_dump(exclude=_NOT_SHAPING, exclude_none=True) | kwargs
        if (router := self._router(kwargs.get("model"))) is not None:
            predictor = getattr(router.predictor, "name", None) or type(router.predictor).__name__
            criteria = router.criteria.response_quality_difference
            shaping["router"] = (router.model_ids, router.fallback_model, criteria, predictor)
        return str(sorted({**shaping, "stop": stop}.items()))

    def get_num_tokens(self, text: str) -> int:
        """An estimate, where langchain-aws has no count: for `trim_messages` and the like, which only compare."""
        (tokens,) = self.client.context.counter.count(kinds=["text"], sizes=[len(text.encode())])
        return int(tokens)

    @property
    def _llm_type(self) -> str:
        return "pointsman_chat"

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """LangChain loads no classes of others."""
        return False


def _told_of_model(model_id: str, catalog: Catalog) -> dict[str, Any]:
    """Provider and base model, where an ARN stands for them; whether it streams."""
    if "application-inference-profile" in model_id:
        return {"provider": _UNKNOWN_PROVIDER}
    if split_router_arn(model_id) is not None:  # One that only AWS knows: any of its models may answer.
        return {
            "provider": _UNKNOWN_PROVIDER,
            "disable_streaming": False,
            "supports_tool_choice_values": _ALL_TOOL_CHOICES,
        }
    model = catalog.resolve(model_id)
    if not model.known:
        return {}
    named = {"base_model_id": model.id, "provider": model.provider} if model_id.startswith("arn:") else {}
    return {**named, "disable_streaming": _disabled_streaming((model,))}


def _told_of_router(router: Router, catalog: Catalog) -> dict[str, Any]:
    """What any of its models might take; where there can be but one, that of its fallback model."""
    fallback = catalog.resolve(router.fallback_model)
    return {
        "base_model_id": fallback.id,
        "provider": fallback.provider,
        "disable_streaming": _disabled_streaming([catalog.resolve(model) for model in router.model_ids]),
        "supports_tool_choice_values": _ALL_TOOL_CHOICES,
    }


def _disabled_streaming(models: Sequence[Model]) -> bool | str:
    """LangChain's `disable_streaming`: a request with tools is not streamed where no model could answer it so."""
    return False if any(model.capabilities.streamed_tools for model in models) else "tool_calling"


def _profile_of(models: Sequence[Model]) -> ModelProfile:
    """Of several models: the shortest window, which each of them takes, and what at least one of them can do."""
    can = [model.capabilities for model in models]
    profile: ModelProfile = {
        "image_inputs": any(one.images for one in can),
        "pdf_inputs": any(one.documents for one in can),
        "tool_calling": any(one.tools for one in can),
        "tool_choice": any(one.forced_tool_choice for one in can),
        "structured_output": any(one.structured_output for one in can),
    }
    if windows := [model.context_window for model in models if model.context_window is not None]:
        profile["max_input_tokens"] = min(windows)
    if outputs := [model.max_output_tokens for model in models if model.max_output_tokens is not None]:
        profile["max_output_tokens"] = min(outputs)
    return profile


def _with_session(config: RunnableConfig | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments with its session, where the run names one: behind this, a run's `configurable` is not seen."""
    session = session_of(config, kwargs.get("session"))
    return kwargs if session is None else {**kwargs, "session": session}


def _session(
    run_manager: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None, kwargs: dict[str, Any]
) -> Session | None:
    given = kwargs.pop("session", None)
    if isinstance(given, Session):
        return given
    return session_of({"metadata": run_manager.metadata} if run_manager is not None else None, given)


def _tell(message: BaseMessage) -> None:
    """Put right what upstream tells of the model and of cache writes."""
    told = message.response_metadata.get("pointsman")
    if told is None or not isinstance(message, AIMessage):
        return
    message.response_metadata["model_name"] = named_by(told["invoked_model_id"]) or told["model"]
    usage, metadata = told["usage"], message.usage_metadata
    if usage is not None and metadata is not None:
        details = {**metadata.get("input_token_details", {}), "cache_creation": usage["cache_write_tokens"]}
        # The sum of all details is what consumers hold against the whole input: nothing is told twice.
        for ttl in _CACHE_CREATION_BY_TTL:
            details.pop(ttl, None)
        message.usage_metadata = {**metadata, "input_token_details": cast(InputTokenDetails, details)}


def _with_plain_reasoning(message: BaseMessage) -> BaseMessage:
    if not isinstance(message, AIMessage) or isinstance(message.content, str):
        return message
    if message.response_metadata.get("model_provider") not in _BEDROCK:
        return message
    return message.model_copy(update={"content": [_plain_reasoning(block) for block in message.content]})


def _plain_reasoning(block: Any) -> Any:
    """A reasoning block as Converse has it, wrapped so that upstream passes it on; any other as it is."""
    reasoning = _reasoning_in(block) if isinstance(block, dict) else {}
    redacted = reasoning.get("redactedContent", reasoning.get("redacted_content"))
    text = {name: reasoning[name] for name in ("text", "signature") if reasoning.get(name)}
    if redacted is None and not text:
        return block
    plain = {"reasoningText": {"text": "", **text}} if redacted is None else {"redactedContent": redacted}
    return {"type": "non_standard", "value": {"reasoningContent": plain}}


def _reasoning_in(block: dict[str, Any]) -> dict[str, Any]:
    """What a reasoning block holds: one of Converse, of InvokeModel, or of LangChain's standard content."""
    match block.get("type"):
        case "reasoning_content":
            return cast(dict[str, Any], block["reasoning_content"])
        case "thinking":
            return {**block, "text": block.get("thinking")}
        case "reasoning":
            return {"text": block.get("reasoning"), **block.get("extras", {})}
    return {}
