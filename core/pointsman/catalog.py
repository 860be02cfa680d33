"""What is known of each Bedrock model: limits, caching rules, capabilities, price, each with its source.

The facts are in `data/catalog.json`, with source and date beside each. Where sources conflict both stand there
and the safer one is used. Knows ids, ARNs and inference profiles; knows nothing of prompts.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import orjson

from pointsman.errors import InvalidRequestError, PointsmanWarning, UnlistedModelWarning
from pointsman.pricing import Price, published_price

ProfileResolver = Callable[[str], str]
"""Takes the ARN of an application inference profile, returns the id or ARN of the model behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRules:
    """What a model lets one cache, and where. Tokens count the whole prefix up to a point."""

    minimum_tokens: int | None = None
    maximum_tokens: int | None = None
    max_points: int = 0
    sections: frozenset[str] = frozenset()
    ttls: tuple[str, ...] = ()
    lookback_blocks: int = 0
    with_tool_results: bool = False
    not_after: frozenset[str] = frozenset()

    @property
    def supported(self) -> bool:
        """Whether the model takes cache points at all."""
        return self.max_points > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a model can be asked for. What no source tells is taken as allowed: Bedrock will say."""

    images: bool = True
    documents: bool = True
    tools: bool = True
    streamed_tools: bool = True
    forced_tool_choice: bool = True
    structured_output: bool = True
    temperature: bool = True
    thinking: bool = True
    signed_reasoning: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One entry of the catalogue, as it was asked for.

    `id` names the entry; `invoke_id` is what Bedrock is called with (a Geo profile, an ARN, or the id itself);
    caches belong to it and to `region`. Override a field with `dataclasses.replace` and hand the result to
    `Catalog.with_model`. `known` is False for an id that the catalogue doesn't hold: no caching, nothing forbidden.
    """

    id: str
    invoke_id: str
    name: str
    family: str = ""
    provider: str = ""
    line: str = ""
    version: tuple[int, ...] = ()
    active: bool = True
    known: bool = True
    region: str | None = None
    profiles: tuple[str, ...] = ()
    context_window: int | None = None
    max_output_tokens: int | None = None
    cache: CacheRules = field(default_factory=CacheRules)
    capabilities: Capabilities = field(default_factory=Capabilities)
    price: Price | None = None

    def profile_in(self, region: str | None) -> str:
        """The id to invoke this model by from a Region: its Geo profile, else `global.`, else the bare id."""
        for geo in (*_geo_prefixes(region), "global"):
            if geo in self.profiles:
                return f"{geo}.{self.id}"
        return self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRouter:
    """A prompt router that every account has, with its models as catalogue ids."""

    id: str
    name: str
    description: str
    created: str
    response_quality_difference: float
    models: tuple[str, ...]
    fallback_model: str


class Catalog:
    """All models that are known, and the rules by which an id finds one.

    `resolver` is asked for the model behind an application inference profile's ARN, whose text hides it
    (`pointsman.bedrock.profile_resolver` makes one from `GetInferenceProfile`).
    """

    def __init__(
        self,
        models: Iterable[Model],
        *,
        default_routers: Iterable[DefaultRouter] = (),
        facts: Mapping[str, Any] | None = None,
        resolver: ProfileResolver | None = None,
    ) -> None:
        self.models = tuple(models)
        self.default_routers = tuple(default_routers)
        self._facts = facts or {}
        self._resolver = resolver
        self._by_id = {model.id: model for model in self.models}
        self._by_stem: dict[str, list[Model]] = {}
        for model in self.models:
            self._by_stem.setdefault(_stem(model.id), []).append(model)
        self._overrides: dict[str, Model] = {}
        self._resolved: dict[tuple[str, str | None], Model] = {}

    @classmethod
    def default(cls, *, resolver: ProfileResolver | None = None) -> Catalog:
        """The catalogue that is shipped with this package."""
        models, routers, facts = _shipped()
        return cls(models, default_routers=routers, facts=facts, resolver=resolver)

    def with_model(self, model: Model) -> Catalog:
        """A copy in which this model stands for its `invoke_id`; for all profiles, where that is the bare id."""
        copy = Catalog(self.models, default_routers=self.default_routers, facts=self._facts, resolver=self._resolver)
        copy._overrides = {**self._overrides, model.invoke_id: replace(model, region=None)}
        return copy

    def resolve(self, model_id: str, *, region: str | None = None) -> Model:
        """The model that an id, inference profile or ARN stands for, invoked from `region`.

        Never fails for an id it doesn't know: such a model has no caching rules, nothing forbidden, no price,
        and one warning is issued.

        Raises:
            InvalidRequestError: the id is not a string, or empty.
        """
        known = self._resolved.get((model_id, region))
        if known is None:
            if not isinstance(model_id, str) or not model_id:
                raise InvalidRequestError(f"model id {model_id!r} is not a non-empty string. Name a model or a router.")
            known = replace(self._look_up(model_id), region=_arn_region(model_id) or region)
            if len(self._resolved) >= _MOST_RESOLVED:
                self._resolved.clear()
            self._resolved[model_id, region] = known
        return known

    def facts(self, model_id: str) -> Mapping[str, Any]:
        """The model's entry as the data file has it: every number with its sources and dates."""
        facts: Mapping[str, Any] = self._facts.get(self.resolve(model_id).id, {})
        return facts

    def newest(self, family: str, line: str) -> Model | None:
        """The newest active model of a family's line, such as the newest Claude Haiku."""
        line_of = [m for m in self.models if m.family == family and m.line == line and m.active]
        return max(line_of, key=lambda model: model.version, default=None)

    def _look_up(self, model_id: str) -> Model:
        if (override := self._overrides.get(model_id)) is not None:
            return override
        named = named_by(model_id)
        if named is None:
            named = self._behind_profile(model_id)
        entry = self._entry(named) if named else None
        if entry is None:
            warnings.warn(UnlistedModelWarning(model_id), stacklevel=2)
            return Model(id=model_id, invoke_id=model_id, name=model_id, known=False)
        if (override := self._overrides.get(entry.id)) is not None:
            return replace(override, invoke_id=model_id)
        assert named is not None
        return replace(entry, invoke_id=model_id, price=published_price(named) or published_price(entry.id))

    def _entry(self, named: str) -> Model | None:
        prefix, _, rest = named.partition(".")
        for candidate in (named, rest if prefix in GEO_PREFIXES else named):
            if (found := self._by_id.get(candidate)) is not None:
                return found
            versions = [
                model for model in self._by_stem.get(_stem(candidate), ()) if _is_version_of(model.id, candidate)
            ]
            if versions:
                # Without its suffix an id can mean several versions: the safer one is taken.
                return min(versions, key=lambda model: model.cache.max_points)
        return None

    def _behind_profile(self, arn: str) -> str | None:
        """What an application inference profile stands for, asked of the resolver; None if it can't be told."""
        if self._resolver is None:
            return None
        try:
            target = self._resolver(arn)
        except Exception as exc:  # noqa: BLE001 - a resolver is advice: without it the model is merely unknown
            warnings.warn(f"could not resolve {arn!r}: {exc}", PointsmanWarning, stacklevel=2)
            return None
        return named_by(target) or None


GEO_PREFIXES = frozenset({"us", "us-gov", "eu", "apac", "jp", "au", "ca", "in", "global"})

_MOST_RESOLVED = 4096

_ARN = re.compile(r"arn:[\w-]+:bedrock:(?P<region>[\w-]*):\d*:(?P<kind>[\w-]+)/(?P<name>.+)")
_VERSION_SUFFIX = re.compile(r"(-\d{8})?(-v\d+(:\w+)*)?$")


@lru_cache(maxsize=1024)
def named_by(model_id: str) -> str | None:
    """The model or profile id in an id or ARN; None if the ARN's text doesn't tell."""
    match = _ARN.fullmatch(model_id)
    if match is None:
        return model_id
    return match["name"] if match["kind"] in ("foundation-model", "inference-profile") else None


def _arn_region(model_id: str) -> str | None:
    match = _ARN.fullmatch(model_id)
    return match["region"] or None if match else None


def _stem(model_id: str) -> str:
    return _VERSION_SUFFIX.sub("", model_id, count=1)


def _is_version_of(one: str, other: str) -> bool:
    """Whether two ids of one stem agree as far as the shorter one goes: `-v1` with `-v1:0`, but not with `-v2`."""
    shorter, longer = sorted((one, other), key=len)
    return longer.startswith(shorter) and longer[len(shorter) : len(shorter) + 1] in ("", "-", ":")


def _geo_prefixes(region: str | None) -> tuple[str, ...]:
    """The Geo profiles that may be called from a Region, the narrower first."""
    if not region:
        return ()
    narrow = {"ap-northeast-1": "jp", "ap-northeast-3": "jp", "ap-southeast-2": "au", "ap-southeast-4": "au"}
    wide = {"us": "us", "ca": "us", "eu": "eu", "ap": "apac"}
    if region.startswith("us-gov-"):
        return ("us-gov",)
    return tuple(geo for geo in (narrow.get(region), wide.get(region.partition("-")[0])) if geo)


@cache
def _shipped() -> tuple[tuple[Model, ...], tuple[DefaultRouter, ...], Mapping[str, Any]]:
    data = orjson.loads(files("pointsman").joinpath("data/catalog.json").read_bytes())
    models = tuple(_model(entry) for entry in data["models"])
    newest = Catalog(models)
    routers = tuple(_default_router(entry, newest) for entry in data["default_routers"])
    return models, routers, {entry["id"]: entry for entry in data["models"]}


def _model(entry: Mapping[str, Any]) -> Model:
    window = _safest(entry["context_window"], prefer=min)
    # Here the larger: a limit set too low would cut a reply short unseen; one too high is refused by Bedrock.
    output = _safest(entry["max_output_tokens"], prefer=max)
    return Model(
        id=entry["id"],
        invoke_id=entry["id"],
        name=entry["name"],
        family=entry["family"],
        provider=entry["provider"],
        line=entry["line"],
        version=tuple(entry["version"]),
        active=_safest(entry["lifecycle"], prefer=max) == "active",
        profiles=tuple(_safest(entry["profiles"], prefer=min) or ()),
        context_window=window,
        max_output_tokens=output,
        cache=_cache_rules(entry["cache"]),
        capabilities=_capabilities(entry["capabilities"]),
    )


def _cache_rules(entry: Mapping[str, Any]) -> CacheRules:
    max_points = _safest(entry["max_points"], prefer=min) or 0
    if not max_points:
        return CacheRules()
    return CacheRules(
        minimum_tokens=_safest(entry["minimum_tokens"], prefer=max),
        maximum_tokens=_safest(entry.get("maximum_tokens"), prefer=min),
        max_points=max_points,
        sections=frozenset(_safest(entry["sections"], prefer=min)),
        ttls=tuple(_safest(entry["ttls"], prefer=min)),
        lookback_blocks=_safest(entry["lookback_blocks"], prefer=min) or 0,
        with_tool_results=bool(_safest(entry["with_tool_results"], prefer=min)),
        not_after=frozenset(_safest(entry["not_after"], prefer=max)),
    )


def _capabilities(entry: Mapping[str, Any]) -> Capabilities:
    told = {name: _safest(fact, prefer=min) for name, fact in entry.items()}
    return Capabilities(**{name: value for name, value in told.items() if value is not None})


def _safest(fact: Any, *, prefer: Callable[[Sequence[Any]], Any]) -> Any:
    """The value of a fact; where its sources conflict, the one that `prefer` picks."""
    if fact is None:
        return None
    values = [one["value"] for one in (fact if isinstance(fact, list) else [fact]) if one["value"] is not None]
    if not values:
        return None
    return values[0] if len(values) == 1 else prefer(values)


def _default_router(entry: Mapping[str, Any], catalog: Catalog) -> DefaultRouter:
    def model_id(name: str) -> str:
        if not name.startswith("newest:"):
            return name
        newest = catalog.newest(entry["family"], name.removeprefix("newest:"))
        assert newest is not None, f"no active model for {name} of {entry['family']}"
        return newest.id

    return DefaultRouter(
        id=entry["id"],
        name=entry["name"],
        description=entry["description"],
        created=entry["created"],
        response_quality_difference=entry["response_quality_difference"],
        models=tuple(model_id(name) for name in entry["models"]),
        fallback_model=model_id(entry["fallback"]),
    )
