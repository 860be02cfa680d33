"""From a Converse body to a call that an engine can answer, or a refusal. Knows no HTTP; does no waiting."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pointsman.catalog import Model
from pointsman.errors import PointsmanWarning
from pointsman.local.account import Account
from pointsman.local.blocks import ConverseRequest, parse_json, read_request
from pointsman.local.cache import CachePlan, PrefixCache
from pointsman.local.documents import DocumentReader
from pointsman.local.engines import Engine, EnginePrompt
from pointsman.local.faults import BROKEN_STREAM, Faults, fault_refusal
from pointsman.local.refusals import invalid
from pointsman.local.rendering import render
from pointsman.local.rules import check_cache_points
from pointsman.local.settings import Settings
from pointsman.local.shapes import reader
from pointsman.local.validation import check_capabilities, check_context, check_conversation
from pointsman.prompt_routers import PromptRouters

_ARN: Final = re.compile(r"arn:[\w-]+:bedrock:[\w-]*:\d*:(?P<kind>[\w-]+)/(?P<name>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The model that an id stands for. `owner` names its cache: a profile's id, whether given as ARN or not."""

    model: Model
    owner: str
    trace: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A checked request with its plan for the cache, ready for the engine."""

    target: Target
    prompt: EnginePrompt
    plan: CachePlan
    breaks: bool

    def usage(self, output_tokens: int) -> dict[str, Any]:
        """Converse's TokenUsage: `inputTokens` are the uncached ones, `totalTokens` are all."""
        plan = self.plan
        usage: dict[str, Any] = {
            "inputTokens": plan.uncached_tokens,
            "outputTokens": output_tokens,
            "totalTokens": plan.uncached_tokens + plan.read_tokens + plan.write_tokens + output_tokens,
            "cacheReadInputTokens": plan.read_tokens,
            "cacheWriteInputTokens": plan.write_tokens,
        }
        written = [("1h", plan.write_1h_tokens), ("5m", plan.write_5m_tokens)]
        if plan.write_tokens:
            usage["cacheDetails"] = [{"ttl": ttl, "inputTokens": tokens} for ttl, tokens in written if tokens]
        return usage


class Calls:
    """Prepares calls and counts tokens. One per endpoint; its methods are safe for threads."""

    def __init__(self, settings: Settings, *, engine: Engine, routers: PromptRouters, faults: Faults) -> None:
        self.account = Account()
        self.cache = PrefixCache(max_entries=settings.max_cache_entries)
        self._settings = settings
        self._engine = engine
        self._routers = routers
        self._faults = faults
        self._documents = DocumentReader()
        self._models: dict[str, Model] = {}

    def prepare(self, model_id: str, body: bytes, *, streamed: bool, fault: str | None = None) -> Call:
        """Checks a request and plans its reads and writes of the cache.

        Raises:
            Refusal: as Bedrock would refuse it, or the fault that it meets.
        """
        request = read_request(parse_json(body), reader("ConverseStream" if streamed else "Converse"))
        target = self.target(model_id)
        check_conversation(request)
        check_capabilities(request, target.model, streamed=streamed)
        check_cache_points(request, target.model)
        met = self._faults.meet(target.owner, content_digest(request), header=fault)
        if met is not None and not (met == BROKEN_STREAM and streamed):
            raise fault_refusal(met)
        return self._plan(request, target, breaks=met is not None)

    def count_tokens(self, model_id: str, body: bytes) -> int:
        """The tokens of CountTokens' `converse` input.

        Raises:
            Refusal: the body has another shape, or the model is unknown.
        """
        raw = parse_json(body)
        reader("CountTokens")(raw, "")
        target = self.target(model_id)
        if "converse" not in raw["input"]:
            raise invalid("The local endpoint counts the tokens of a converse input only.")
        request = read_request(raw["input"]["converse"], reader("Converse"))
        check_conversation(request)
        blocks = render(request.blocks, self._documents)
        return sum(self._engine.count(blocks, model_id=target.owner))

    def first_token(self, call: Call) -> None:
        """The first token is out: what the call writes can be read from now on."""
        for key in self.cache.commit(call.plan, now=self._settings.clock()):
            self._engine.forget(key)

    def target(self, model_id: str) -> Target:
        """The model behind an id, profile, ARN or router.

        Raises:
            Refusal: the id is unknown.
            PromptRouterError: there is no such router.
        """
        arn = _ARN.fullmatch(model_id)
        if arn is not None and arn["kind"].endswith("prompt-router"):
            return self._routed(model_id)
        if (behind := self._settings.application_profiles.get(model_id)) is not None:
            return Target(model=self.target(behind).model, owner=model_id)
        model = self._models.get(model_id)
        if model is None:
            model = self._models[model_id] = self._known_model(model_id)
        return Target(model=model, owner=arn["name"] if arn is not None else model_id)

    def _known_model(self, model_id: str) -> Model:
        with warnings.catch_warnings():
            # The catalogue warns of a model it doesn't know. Here that is an error, which the client gets.
            warnings.simplefilter("ignore", PointsmanWarning)
            model = self._settings.catalog.resolve(model_id)
        if not model.known:
            raise invalid("The provided model identifier is invalid.")
        return model

    def _routed(self, router_arn: str) -> Target:
        router = self._routers.get_prompt_router(promptRouterArn=router_arn)
        invoked = router["fallbackModel"]["modelArn"]
        target = self.target(invoked)
        trace = {"promptRouter": {"invokedModelId": invoked}}
        return Target(model=target.model, owner=target.owner, trace=trace)

    def _plan(self, request: ConverseRequest, target: Target, *, breaks: bool) -> Call:
        blocks = render(request.blocks, self._documents)
        tokens = self._engine.count(blocks, model_id=target.owner)
        check_context(sum(tokens), target.model)
        now = self._settings.clock()
        for key in self.cache.expire(now=now):
            self._engine.forget(key)
        plan = self.cache.plan(
            chain=request.chain(target.owner),
            tokens=tokens,
            points=request.points,
            rules=target.model.cache,
            now=now,
        )
        prompt = EnginePrompt(
            model_id=target.owner,
            blocks=blocks,
            read=plan.read,
            write=tuple(write.prefix for write in plan.writes),
            max_tokens=self._max_tokens(request, target.model),
            stop=tuple(request.inference.get("stopSequences", ())),
            temperature=request.inference.get("temperature", 0.0),
            tools=request.tools,
            tool_choice=request.tool_choice,
            output_schema=request.output_schema,
        )
        return Call(target=target, prompt=prompt, plan=plan, breaks=breaks)

    def _max_tokens(self, request: ConverseRequest, model: Model) -> int:
        asked: int | None = request.inference.get("maxTokens")
        if asked is not None:
            return asked
        return min(self._settings.default_max_tokens, model.max_output_tokens or self._settings.default_max_tokens)


def content_digest(request: ConverseRequest) -> bytes:
    """The digest of a prompt without its cache points, the same for every model."""
    digest = hashlib.blake2b(digest_size=16)
    for block in request.blocks:
        digest.update(block.digest)
    return digest.digest()
