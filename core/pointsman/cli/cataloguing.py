"""How `pointsman models` is carried out: the catalogue as a table, and one model's facts. Knows no options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import orjson

from pointsman.ask.unlisted import is_known, meant
from pointsman.catalog import Catalog, Model
from pointsman.cli.layout import UNKNOWN, make_console, print_about, print_json, print_remark, table_of, tokens
from pointsman.errors import InvalidRequestError
from pointsman.pricing import Price

_HEADER = (
    "model",
    "id",
    "status",
    "window",
    "output",
    "cached\nfrom",
    "TTL",
    "in",
    "out",
    "read",
    "write\n5m",
    "write\n1h",
)
# Where the terminal is narrow, two figures stand in each cell, one below the other.
_NARROW_HEADER = ("model\nid", "window\noutput", "cached\nfrom", "in\nout", "read", "write 5m\n1h")
_TTLS = ("5m", "1h")
_WIDE = 175
_SAFER = "not used: the safer of the sources is"


def list_models(*, region: str | None, as_json: bool) -> None:
    """Print every model of the catalogue."""
    catalog = Catalog.default()
    listed = [_as_called(model, region, catalog) for model in catalog.models]
    if as_json:
        told = [to_dict(model, catalog.facts(model.id)) for model in listed]
        print_json({"read": _shipped()["read"], "prices": _price_source(), "region": region, "models": told})
        return
    console = make_console()
    rows = [_row(model, catalog) for model in listed]
    if console.width >= _WIDE:
        console.print(table_of(_HEADER, rows, right=range(3, len(_HEADER))))
    else:
        console.print(table_of(_NARROW_HEADER, list(map(_narrow, rows)), right=range(1, len(_NARROW_HEADER))))
    where = "of the bare id" if region is None else f"of the profile that is called from {region}"
    print_remark(
        console,
        f"Prices in USD per million tokens, {where}, from {_price_source()}; +: dearer for long prompts. "
        f"The facts were read {_shipped()['read']}; `pointsman models ID` has each with its source and date.",
    )


def show_model(model_id: str, *, region: str | None, as_json: bool) -> None:
    """Print every fact of a model.

    Raises:
        InvalidRequestError: the catalogue doesn't hold it.
    """
    catalog = Catalog.default()
    model = _known(model_id, region, catalog)
    facts = catalog.facts(model_id)
    rows = [_fact(name, fact, model) for name, fact in _facts(facts)]
    sources = {row[2]: _shipped()["sources"][row[2]] for row in rows if row[2]}
    if as_json:
        print_json(
            {**to_dict(model, facts), "price_source": _price_source(), "facts": dict(facts), "sources": dict(sources)}
        )
        return
    console = make_console()
    print_about(
        console,
        {
            "Model": f"{model.name} ({model.invoke_id})",
            "Family": f"{model.family}, by {model.provider}",
            "Price": _price(model.price),
            "Price from": _price_source(),
        },
    )
    console.print(table_of(("fact", "value", "source", "date", "note"), rows))
    print_about(console, {name: f"{source['title']}, {source['url']}" for name, source in sources.items()})


def to_dict(model: Model, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A model as plain JSON: what is used of the catalogue; money in decimal strings, what is unknown as None."""
    rules, price = model.cache, model.price
    return {
        "id": model.id,
        "invoke_id": model.invoke_id,
        "name": model.name,
        "family": model.family,
        "provider": model.provider,
        "status": _status(facts),
        "profiles": list(model.profiles),
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "cache": {
            "minimum_tokens": rules.minimum_tokens,
            "maximum_tokens": rules.maximum_tokens,
            "max_points": rules.max_points,
            "sections": sorted(rules.sections),
            "ttls": list(rules.ttls),
        },
        "price": None if price is None else _price_dict(price),
    }


def _price_dict(price: Price) -> dict[str, Any]:
    told = {
        "input": _text(price.input),
        "output": _text(price.output),
        "cache_read": _text(price.cache_read),
        "cache_write": {ttl: str(amount) for ttl, amount in price.cache_write.items()},
    }
    tiers = [{"above_tokens": above, **_price_dict(dearer)} for above, dearer in price.tiers]
    return {**told, "tiers": tiers} if tiers else told


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _as_called(model: Model, region: str | None, catalog: Catalog) -> Model:
    return catalog.resolve(model.id if region is None else model.profile_in(region), region=region)


def _known(model_id: str, region: str | None, catalog: Catalog) -> Model:
    if not is_known(catalog, model_id):
        raise InvalidRequestError(
            f"unknown model {model_id!r}{meant(model_id)}. `pointsman models` lists those of the catalogue."
        )
    model = catalog.resolve(model_id, region=region)
    # An id that names its profile itself is called by it.
    return _as_called(model, region, catalog) if model.invoke_id == model.id else model


# --- the table ----------------------------------------------------------------------------------------------------


def _row(model: Model, catalog: Catalog) -> tuple[str, ...]:
    rules, price = model.cache, model.price
    cached = (tokens(rules.minimum_tokens), ", ".join(rules.ttls)) if rules.supported else ("none", "")
    writes = [price.cache_write.get(ttl) if price else None for ttl in _TTLS]
    return (
        model.name,
        model.invoke_id,
        _status(catalog.facts(model.id)),
        tokens(model.context_window),
        tokens(model.max_output_tokens),
        *cached,
        (_amount(price.input) if price else UNKNOWN) + ("+" if price and price.tiers else ""),
        _amount(price.output) if price else UNKNOWN,
        *(_cached_amount(amount) for amount in (price.cache_read if price else None, *writes)),
    )


def _narrow(row: tuple[str, ...]) -> tuple[str, ...]:
    name, model_id, status, window, output, minimum, ttls, in_, out, read, *writes = row
    named = name if status == "active" else f"{name}, {status}"
    pairs = ((named, model_id), (window, output), (minimum, ttls), (in_, out), (read,), writes)
    return tuple("\n".join(pair) for pair in pairs)


def _status(facts: Mapping[str, Any]) -> str:
    told = facts["lifecycle"]
    return str((told[0] if isinstance(told, list) else told)["value"])


def _amount(amount: Decimal | None) -> str:
    return UNKNOWN if amount is None else f"{amount.normalize():f}"


def _cached_amount(amount: Decimal | None) -> str:
    return "" if amount is None else _amount(amount)


def _price(price: Price | None) -> str:
    if price is None:
        return UNKNOWN
    lines = [_prices(price)]
    lines += [f"above {above:,} tokens: {_prices(dearer)}" for above, dearer in price.tiers]
    return "\n".join(lines)


def _prices(price: Price) -> str:
    told = {"in": price.input, "out": price.output, "cache read": price.cache_read}
    told |= {f"cache write {ttl}": amount for ttl, amount in price.cache_write.items()}
    each = (f"{name} {_amount(amount)}" for name, amount in told.items())
    return f"{', '.join(each)} USD per million tokens"


def _price_source() -> str:
    return f"genai-prices {version('genai-prices')}"


# --- the facts ----------------------------------------------------------------------------------------------------


def _facts(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every fact by its name; where sources conflict, one of each."""
    for name, told in facts.items():
        for one in told if isinstance(told, list) else [told]:
            if isinstance(one, Mapping) and "value" in one:
                yield prefix + name, one
            elif isinstance(one, Mapping):
                yield from _facts(one, f"{prefix}{name}.")
            elif one is None:
                yield prefix + name, {"value": None}


def _fact(name: str, fact: Mapping[str, Any], model: Model) -> tuple[str, str, str, str, str]:
    used = _used(name, model)
    notes = [fact["note"]] if "note" in fact else []
    if used is not None and fact["value"] is not None and used != _plain(fact["value"]):
        notes.append(f"{_SAFER} {_worded(used)}")
    return name, _worded(fact["value"]), fact.get("source", ""), fact.get("date", ""), "; ".join(notes)


def _used(name: str, model: Model) -> Any:
    """What is used of a fact, None where the catalogue doesn't choose."""
    section, _, field = name.rpartition(".")
    owner = {"": model, "cache": model.cache, "capabilities": model.capabilities}.get(section)
    return _plain(getattr(owner, field, None)) if owner is not None and name != "cache.max_points" else None


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list | tuple | frozenset) else value


def _worded(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(one) or "in-Region" for one in value) or "none"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _shipped() -> Mapping[str, Any]:
    told: Mapping[str, Any] = orjson.loads(files("pointsman").joinpath("data/catalog.json").read_bytes())
    return told
