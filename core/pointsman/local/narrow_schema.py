"""A JSON schema made narrower, so that a small model under its grammar comes to an end. Knows schemas only.

Whatever the narrower schema admits, the schema as given admits as well; one that combines schemas in ways
where this would not hold stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST_CHARACTERS = 80
_MOST_ITEMS = 4
_LARGEST = 1_000_000
_SCHEMA_MAPS = ("properties", "$defs", "definitions", "patternProperties")
_SCHEMA_LISTS = ("anyOf", "prefixItems")
_COMBINING = {"allOf", "oneOf", "not", "if", "dependentSchemas"}
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}


def narrow(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with bounds where it has none, and without white space between the tokens of its JSON."""
    narrowed = schema if _combines(schema) else _narrow(schema)
    return {**narrowed, "x-guidance": {"whitespace_flexible": False}}


def _combines(value: Any) -> bool:
    if isinstance(value, Mapping):
        return not _COMBINING.isdisjoint(value) or any(map(_combines, value.values()))
    return isinstance(value, list) and any(map(_combines, value))


def _narrow(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    narrowed = dict(schema)
    for name in _SCHEMA_MAPS:
        if isinstance(schema.get(name), Mapping):
            narrowed[name] = {key: _narrow(value) for key, value in schema[name].items()}
    for name in _SCHEMA_LISTS:
        if isinstance(schema.get(name), list):
            narrowed[name] = [_narrow(value) for value in schema[name]]
    if "items" in schema:
        narrowed["items"] = _narrow(schema["items"])
    if schema.keys() & {"enum", "const", "$ref"}:
        return narrowed
    return narrowed | _bounds(narrowed)


def _bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    match schema.get("type"):
        case "string" if not schema.keys() & {"pattern", "format", "maxLength"}:
            return {"maxLength": max(_MOST_CHARACTERS, schema.get("minLength", 0))}
        case "array" if "maxItems" not in schema:
            return {"maxItems": max(_MOST_ITEMS, schema.get("minItems", 0))}
        case "integer" | "number" if not schema.keys() & _BOUNDS:
            return {"type": "integer", "minimum": -_LARGEST, "maximum": _LARGEST}
        case "object" if not schema.keys() & {"minProperties", "patternProperties", "anyOf"}:
            properties = schema.get("properties", {})
            if properties.keys() >= set(schema.get("required", ())):
                return {"properties": properties, "additionalProperties": False}
    return {}
