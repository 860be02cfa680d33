"""Schemas made narrower: bounded where they were open, otherwise as they were."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pointsman.local.narrow_schema import narrow


def narrowed(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in narrow(schema).items() if key != "x-guidance"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, {"type": "string", "maxLength": 80}),
        ({"type": "string", "minLength": 100}, {"type": "string", "minLength": 100, "maxLength": 100}),
        ({"type": "string", "maxLength": 500}, {"type": "string", "maxLength": 500}),
        ({"type": "string", "pattern": "a+"}, {"type": "string", "pattern": "a+"}),
        ({"enum": ["a", "b"]}, {"enum": ["a", "b"]}),
        ({"type": "number", "minimum": 0}, {"type": "number", "minimum": 0}),
        ({"type": "number"}, {"type": "integer", "minimum": -1_000_000, "maximum": 1_000_000}),
        ({"type": "array", "minItems": 9}, {"type": "array", "minItems": 9, "maxItems": 9}),
        ({"type": "object"}, {"type": "object", "properties": {}, "additionalProperties": False}),
        ({"type": "object", "required": ["a"]}, {"type": "object", "required": ["a"]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
    ],
)
def test_what_is_open_gets_a_bound(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    """And only that."""
    assert narrowed(schema) == expected


def test_parts_are_narrowed_and_the_schema_given_is_not_touched() -> None:
    """Properties, items, alternatives and definitions; a property may be called like a keyword."""
    text = {"type": "string"}
    schema = {
        "type": "object",
        "properties": {"type": text, "list": {"type": "array", "items": text}, "either": {"anyOf": [text]}},
        "$defs": {"name": text},
    }
    before = copy.deepcopy(schema)
    result = narrowed(schema)
    bounded = {"type": "string", "maxLength": 80}
    assert schema == before
    assert result["properties"]["type"] == bounded == result["$defs"]["name"]
    assert result["properties"]["list"] == {"type": "array", "items": bounded, "maxItems": 4}
    assert result["properties"]["either"] == {"anyOf": [bounded]}
    assert result["additionalProperties"] is False


@pytest.mark.parametrize("word", ["allOf", "oneOf"])
def test_schemas_combined_so_that_narrowing_would_not_hold_stay(word: str) -> None:
    """Two closed objects in `allOf` would admit nothing at all."""
    schema = {"type": "object", "properties": {"a": {word: [{"type": "object", "properties": {}}]}}}
    assert narrowed(schema) == schema
