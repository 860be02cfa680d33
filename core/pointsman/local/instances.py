"""An instance of a JSON schema, filled from a text: numbers, quoted strings and enum values that stand in it.

Knows the schemas that people write for tools and structured output (types, enum, const, default, properties, items,
$ref, anyOf, ranges and lengths); it is no full implementation of JSON Schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTED: Final = re.compile(r"\"([^\"]+)\"|'([^']+)'|“([^”]+)”")
_CAPITALISED: Final = re.compile(r"(?<=[a-z,;:] )[A-Z][\w-]*(?: [A-Z][\w-]*)*")
_FORMATS: Final = {"date": "2026-01-01", "date-time": "2026-01-01T00:00:00Z", "email": "user@example.com"}
_MAX_DEPTH: Final = 12
Value = TypeVar("Value")


def instance_of(schema: Mapping[str, Any], text: str, *, filler: str = "unknown", required_only: bool = False) -> Any:
    """A value that the schema takes. `filler` fills strings for which the text has nothing."""
    return _Instance(schema, text, filler, required_only).value(schema, depth=0)


class _Instance:
    """One filling: each number and name of the text is used once, in order; the last ones are used again."""

    def __init__(self, root: Mapping[str, Any], text: str, filler: str, required_only: bool) -> None:
        self._root = root
        self._text = text
        self._filler = filler
        self._required_only = required_only
        self._numbers = [float(found) for found in _NUMBER.findall(_QUOTED.sub(" ", text))]
        quoted = ["".join(groups) for groups in _QUOTED.findall(text)]
        self._names = quoted or _CAPITALISED.findall(text)

    def value(self, schema: Mapping[str, Any], *, depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._chosen(schema["enum"])
        kind = _type_of(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("integer", "number"):
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return bool(schema.get("default", True))
        return None if kind == "null" else self._string(schema)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        for _ in range(_MAX_DEPTH):
            if "$ref" in schema:
                schema = self._referenced(str(schema["$ref"]))
            elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
                schema = next((one for one in alternatives if one.get("type") != "null"), alternatives[0])
            elif parts := schema.get("allOf"):
                schema = {key: value for part in parts for key, value in self._resolved(part).items()}
            else:
                return schema
        return {}

    def _referenced(self, reference: str) -> Mapping[str, Any]:
        found: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(step, {}) if isinstance(found, Mapping) and step else found
        return found if isinstance(found, Mapping) else {}

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        only_required = self._required_only or depth >= _MAX_DEPTH
        names = [name for name in properties if name in required or not only_required]
        names += [name for name in required if name not in properties]
        return {name: self.value(properties.get(name, {}), depth=depth + 1) for name in names}

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = int(schema.get("minItems", 0 if depth >= _MAX_DEPTH else 1))
        return [self.value(schema.get("items") or {}, depth=depth + 1) for _ in range(least)]

    def _chosen(self, allowed: list[Any]) -> Any:
        asked = self._text.lower()
        return next((one for one in allowed if isinstance(one, str) and one.lower() in asked), allowed[0])

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> int | float:
        found = _next(self._numbers, float(schema.get("default", 1)))
        found = max(found, float(schema.get("minimum", found)), float(schema.get("exclusiveMinimum", found - 1)) + 1)
        found = min(found, float(schema.get("maximum", found)), float(schema.get("exclusiveMaximum", found + 1)) - 1)
        return round(found) if whole or found == round(found) else found

    def _string(self, schema: Mapping[str, Any]) -> str:
        if schema.get("format") in _FORMATS:
            return str(_FORMATS[schema["format"]])
        found = _next(self._names, str(schema.get("default", self._filler)))
        padded: str = found.ljust(int(schema.get("minLength", 0)), "x")
        return padded[: schema.get("maxLength")]


def _next(found: list[Value], otherwise: Value) -> Value:
    """The first that was found, and takes it out unless it is the last."""
    if not found:
        return otherwise
    return found.pop(0) if len(found) > 1 else found[0]


def _type_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    return str(kind or ("object" if "properties" in schema else "string"))
