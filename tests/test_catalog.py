"""The catalogue: which model an id stands for, what is known of it, and where each fact comes from."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any

import orjson
import pytest

from pointsman import CacheRules, Catalog, InvalidRequestError, Model, PointsmanWarning, Price
from pointsman.catalog import named_by

CATALOG = Catalog.default()
DATA = orjson.loads(files("pointsman").joinpath("data/catalog.json").read_bytes())
ACCOUNT = "123412341234"


@pytest.fixture
def catalog() -> Catalog:
    """A catalogue that has resolved nothing yet."""
    return Catalog.default()


# --- ids --------------------------------------------------------------------------------------------------------


def _forms(model: Model) -> Iterator[str]:
    yield model.id
    yield f"arn:aws:bedrock:us-west-2::foundation-model/{model.id}"
    for geo in filter(None, model.profiles):
        yield f"{geo}.{model.id}"
        yield f"arn:aws:bedrock:eu-central-1:{ACCOUNT}:inference-profile/{geo}.{model.id}"


@pytest.mark.parametrize("model", CATALOG.models, ids=lambda model: model.id)
def test_every_form_of_an_id_finds_its_entry(model: Model) -> None:
    """The id itself, each profile, and the ARNs of both; what is invoked is what was given."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for form in _forms(model):
            found = CATALOG.resolve(form)
            assert (found.id, found.invoke_id, found.known) == (model.id, form, True)
            assert (found.cache, found.capabilities) == (model.cache, model.capabilities)


@pytest.mark.parametrize("model", CATALOG.models, ids=lambda model: model.id)
def test_an_id_without_its_version_suffix_finds_its_model(model: Model) -> None:
    """`anthropic.claude-sonnet-4-5` is Sonnet 4.5, whatever date and version its id ends with."""
    stem = re.sub(r"(-\d{8})?(-v\d+(:\d+)?)?$", "", model.id)
    found = CATALOG.resolve(stem)
    assert re.sub(r"(-\d{8})?(-v\d+(:\d+)?)?$", "", found.id) == stem
    assert found.family == model.family


@pytest.mark.parametrize(
    ("given", "entry"),
    [
        ("anthropic.claude-opus-4", "anthropic.claude-opus-4-20250514-v1:0"),
        ("anthropic.claude-opus-4-8", "anthropic.claude-opus-4-8"),
        ("us.anthropic.claude-opus-4-1", "anthropic.claude-opus-4-1-20250805-v1:0"),
        ("anthropic.claude-sonnet-5", "anthropic.claude-sonnet-5"),
        ("anthropic.claude-sonnet-5-5", "anthropic.claude-sonnet-5-5"),
        ("anthropic.claude-sonnet-5-5-v1:0", "anthropic.claude-sonnet-5-5"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0:200k", "anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("amazon.nova-lite-v1:0:300k", "amazon.nova-lite-v1:0"),
        ("anthropic.claude-3-5-sonnet-20241022", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("eu.amazon.nova-2-lite-v1:0", "amazon.nova-2-lite-v1:0"),
    ],
)
def test_ids_match_up_to_a_version_suffix(given: str, entry: str) -> None:
    """A shorter name never eats a longer one, nor the reverse."""
    assert CATALOG.resolve(given).id == entry


@pytest.mark.parametrize(
    "given",
    [
        "anthropic.claude-opus-4-9",
        "anthropic.claude",
        "anthropic.claude-opus",
        "anthropic.claude-sonnet-5-55",
        "somewhere.anthropic.claude-opus-5-5",
        "claude-opus-5-5",
        "amazon.nova-lite-v2",
        "amazon.nova-lite-v10:0",
        "anthropic.claude-opus-4-20250515-v1:0",
        f"arn:aws:bedrock:us-east-1:{ACCOUNT}:provisioned-model/abc123",
        f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/abc123",
        "arn:aws:sagemaker:us-east-1::model/anthropic.claude-opus-5-5",
    ],
)
def test_what_is_not_in_the_catalogue_is_unknown(given: str, catalog: Catalog) -> None:
    """No caching, nothing forbidden, no price, one warning, and no error."""
    with pytest.warns(PointsmanWarning, match=re.escape(given)) as caught:
        found = catalog.resolve(given)
        assert catalog.resolve(given) is found
    assert len(caught) == 1
    assert not found.known
    assert not found.cache.supported
    assert (found.price, found.context_window, found.invoke_id) == (None, None, given)
    can = found.capabilities
    assert all(getattr(can, name) for name in can.__slots__)


@pytest.mark.parametrize("wrong", ["", None, 7])
def test_what_is_no_id_at_all_is_refused(wrong: Any, catalog: Catalog) -> None:
    """An empty id or another type is the caller's mistake."""
    with pytest.raises(InvalidRequestError):
        catalog.resolve(wrong)


def test_the_region_is_the_arns_or_the_clients(catalog: Catalog) -> None:
    """Caches belong to a Region: the ARN's own, else the one that the client calls."""
    bare = catalog.resolve("amazon.nova-pro-v1:0", region="eu-west-1")
    named = catalog.resolve("arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-pro-v1:0", region="eu-west-1")
    assert (bare.region, named.region) == ("eu-west-1", "us-west-2")


@pytest.mark.parametrize(
    ("region", "profile"),
    [
        ("us-east-1", "us."),
        ("ca-central-1", "us."),
        ("eu-central-1", "eu."),
        ("ap-northeast-1", "jp."),
        ("ap-southeast-2", "au."),
        ("us-gov-west-1", "us-gov."),
        ("ap-south-1", "global."),
        ("sa-east-1", "global."),
        (None, "global."),
    ],
)
def test_a_model_is_invoked_by_the_profile_of_its_geography(region: str | None, profile: str) -> None:
    """The Geo profile of the Region, the narrower first, else the global one."""
    assert CATALOG.resolve("anthropic.claude-haiku-5-5").profile_in(region) == f"{profile}anthropic.claude-haiku-5-5"


def test_a_model_without_profiles_is_invoked_by_its_id() -> None:
    """Some models are in-Region only."""
    assert CATALOG.resolve("amazon.nova-pro-v1:0").profile_in("sa-east-1") == "amazon.nova-pro-v1:0"


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("us.amazon.nova-pro-v1:0", "us.amazon.nova-pro-v1:0"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        (f"arn:aws-us-gov:bedrock:us-gov-west-1:{ACCOUNT}:inference-profile/us-gov.x.y", "us-gov.x.y"),
        (f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/abc", None),
    ],
)
def test_the_name_in_an_arn(model_id: str, name: str | None) -> None:
    """The text of a foundation model's or profile's ARN names the model; an application profile's hides it."""
    assert named_by(model_id) == name


# --- application inference profiles -----------------------------------------------------------------------------

APPLICATION = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/team-a"


def test_an_application_inference_profile_is_resolved_by_the_users_function() -> None:
    """Asked once; the ARN stays what is invoked, and its cache its own."""
    asked: list[str] = []

    def resolver(arn: str) -> str:
        asked.append(arn)
        return f"arn:aws:bedrock:us-east-1:{ACCOUNT}:inference-profile/us.anthropic.claude-haiku-5-5"

    catalog = Catalog.default(resolver=resolver)
    found = catalog.resolve(APPLICATION)
    assert catalog.resolve(APPLICATION) == found
    assert asked == [APPLICATION]
    assert (found.id, found.invoke_id, found.region) == ("anthropic.claude-haiku-5-5", APPLICATION, "us-east-1")
    assert found.price == CATALOG.resolve("us.anthropic.claude-haiku-5-5").price


def test_a_resolver_that_fails_leaves_the_model_unknown() -> None:
    """It is advice: a missing permission must not break the call."""

    def resolver(arn: str) -> str:
        raise PermissionError(arn)

    with pytest.warns(PointsmanWarning):
        assert not Catalog.default(resolver=resolver).resolve(APPLICATION).known


# --- overrides --------------------------------------------------------------------------------------------------


def test_a_user_can_override_what_is_known(catalog: Catalog) -> None:
    """A replaced entry stands for all its profiles; the catalogue that it was made from stays as it was."""
    nova = catalog.resolve("amazon.nova-pro-v1:0")
    own = replace(nova, price=Price(input=1, output=2), cache=replace(nova.cache, minimum_tokens=1_000))
    changed = catalog.with_model(own)
    for form in ("amazon.nova-pro-v1:0", "us.amazon.nova-pro-v1:0"):
        assert changed.resolve(form).price == Price(input=1, output=2)
        assert changed.resolve(form).cache.minimum_tokens == 1_000
        assert changed.resolve(form).invoke_id == form
        assert catalog.resolve(form).cache.minimum_tokens == nova.cache.minimum_tokens


def test_one_profile_can_be_overridden_alone(catalog: Catalog) -> None:
    """An override for a profile's id says nothing of the others."""
    own = replace(catalog.resolve("us.amazon.nova-pro-v1:0"), price=None)
    changed = catalog.with_model(own)
    assert changed.resolve("us.amazon.nova-pro-v1:0").price is None
    assert changed.resolve("eu.amazon.nova-pro-v1:0").price is not None


def test_an_unknown_model_can_be_described(catalog: Catalog) -> None:
    """Then it is known, without any warning, and keeps the Region that it is invoked from."""
    described = catalog.with_model(Model(id="own.model-v1", invoke_id="own.model-v1", name="Own"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = described.resolve("own.model-v1", region="eu-west-1")
    assert (found.known, found.region) == (True, "eu-west-1")


# --- facts ------------------------------------------------------------------------------------------------------


def _facts(entry: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each {"value", "source", "date"} of an entry, with its path."""
    if isinstance(entry, Mapping) and "value" in entry:
        yield path, entry
    elif isinstance(entry, Mapping):
        for name, part in entry.items():
            yield from _facts(part, f"{path}.{name}")
    elif isinstance(entry, list):
        for part in entry:
            yield from _facts(part, path)


@pytest.mark.parametrize("entry", DATA["models"], ids=lambda entry: entry["id"])
def test_every_fact_has_a_source_and_a_date(entry: Mapping[str, Any]) -> None:
    """What has a value says who says so and when; the source is among those that are listed with title and URL."""
    facts = list(_facts(entry))
    assert len(facts) > 12
    for path, fact in facts:
        if fact["value"] is not None:
            assert fact["source"] in DATA["sources"], path
            assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", fact["date"]), path


@pytest.mark.parametrize("entry", DATA["models"], ids=lambda entry: entry["id"])
def test_no_number_stands_without_its_fact(entry: Mapping[str, Any]) -> None:
    """Limits, rules and capabilities are facts, never bare values."""
    for name, part in {**entry["cache"], **entry["capabilities"]}.items():
        assert part is None or isinstance(part, Mapping | list), name
    for name in ("context_window", "max_output_tokens", "lifecycle", "profiles"):
        assert entry[name] is None or list(_facts(entry[name])), name


def test_every_source_has_a_title_and_a_date() -> None:
    """A reader can look each of them up."""
    for source in DATA["sources"].values():
        assert source["title"]
        assert source["url"].startswith("https://")
        assert source["date"]


_SAFER = {
    "minimum_tokens": max,
    "maximum_tokens": min,
    "max_points": min,
    "lookback_blocks": min,
    "context_window": min,
}


@pytest.mark.parametrize("entry", DATA["models"], ids=lambda entry: entry["id"])
def test_where_sources_differ_the_safer_value_is_used(entry: Mapping[str, Any]) -> None:
    """The larger minimum, the smaller window, a capability only where none denies it; all stay in `facts`."""
    model = CATALOG.resolve(entry["id"])

    def values(fact: Any) -> list[Any]:
        return [one["value"] for _, one in _facts(fact) if one["value"] is not None]

    for name, safer in _SAFER.items():
        holder, fact = (model, entry[name]) if name in entry else (model.cache, entry["cache"].get(name))
        if model.cache.supported or holder is model:
            assert getattr(holder, name) == (safer(values(fact)) if values(fact) else getattr(CacheRules(), name, None))
    for name, fact in entry["capabilities"].items():
        assert getattr(model.capabilities, name) == all(values(fact)), name
    assert CATALOG.facts(entry["id"]) == entry


def test_the_conflicts_that_are_known() -> None:
    """Sonnet 4.6 is given 1,024 by AWS and 2,048 by a measurement; Nova Micro 1,000 and 1,536."""
    assert CATALOG.resolve("anthropic.claude-sonnet-4-6").cache.minimum_tokens == 2_048
    assert CATALOG.resolve("amazon.nova-micro-v1:0").cache.minimum_tokens == 1_536


@pytest.mark.parametrize(
    ("model_id", "minimum"),
    [
        ("anthropic.claude-opus-5-5", 512),
        ("anthropic.claude-sonnet-5-5", 512),
        ("anthropic.claude-haiku-5-5", 512),
        ("anthropic.claude-opus-4-8", 1_024),
        ("anthropic.claude-opus-4-1", 1_024),
        ("anthropic.claude-sonnet-4-5", 1_024),
        ("anthropic.claude-3-5-haiku", 2_048),
        ("anthropic.claude-opus-4-5", 4_096),
        ("anthropic.claude-haiku-4-5", 4_096),
    ],
)
def test_the_minimums_of_the_design(model_id: str, minimum: int) -> None:
    """As the design lists them."""
    assert CATALOG.resolve(model_id).cache.minimum_tokens == minimum


def test_claude_and_nova_differ_in_what_they_let_one_cache() -> None:
    """Claude: all sections, look-back of 20, 1h from 4.5 on. Nova: no tools, 20K at most, no look-back."""
    claude, old, nova = (
        CATALOG.resolve(model_id).cache
        for model_id in ("anthropic.claude-haiku-5-5", "anthropic.claude-sonnet-4", "amazon.nova-lite-v1:0")
    )
    assert (claude.ttls, old.ttls, nova.ttls) == (("5m", "1h"), ("5m",), ("5m",))
    assert claude.sections - nova.sections == {"tools"}
    assert (claude.lookback_blocks, nova.lookback_blocks) == (20, 0)
    assert (claude.maximum_tokens, nova.maximum_tokens) == (None, 20_000)
    assert (claude.with_tool_results, nova.with_tool_results) == (True, False)


@pytest.mark.parametrize(
    "model_id",
    ["meta.llama3-1-8b-instruct-v1:0", "anthropic.claude-3-haiku", "anthropic.claude-3-5-sonnet-20240620-v1:0"],
)
def test_models_without_caching(model_id: str) -> None:
    """Llama, Claude 3 and 3.5 v1 answer a cache point with 403."""
    assert not CATALOG.resolve(model_id).cache.supported


def test_a_name_that_could_mean_two_versions_means_the_one_that_may_less() -> None:
    """`claude-3-5-sonnet` is v1, which can't cache, or v2, which can."""
    assert not CATALOG.resolve("anthropic.claude-3-5-sonnet").cache.supported


# --- default routers --------------------------------------------------------------------------------------------


def test_the_default_routers_are_made_of_the_newest_active_models() -> None:
    """Claude's models are looked up by line; the others are AWS's own."""
    routers = {router.id: router for router in CATALOG.default_routers}
    claude = routers["anthropic.claude:1"]
    assert (claude.models, claude.fallback_model, claude.response_quality_difference) == (
        ("anthropic.claude-haiku-5-5", "anthropic.claude-sonnet-5-5"),
        "anthropic.claude-sonnet-5-5",
        0.26,
    )
    assert routers["amazon.nova:1"].fallback_model == "amazon.nova-pro-v1:0"
    assert routers["meta.llama:1"].response_quality_difference == 0.0


def test_the_newest_of_a_line() -> None:
    """By version, not by name, and active ones only."""
    models = [
        Model(id=f"x.{name}", invoke_id=f"x.{name}", name=name, family="x", line="l", version=version, active=active)
        for name, version, active in (("a-10", (10,), True), ("a-9", (9, 5), True), ("a-11", (11,), False))
    ]
    newest = Catalog(models).newest("x", "l")
    assert newest is not None
    assert newest.id == "x.a-10"
    assert Catalog(models).newest("x", "other") is None
