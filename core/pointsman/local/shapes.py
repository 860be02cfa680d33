"""Request bodies against botocore's service model: types, required members, unions, enums, ranges, patterns.

botocore checks types and required members before it sends; the rest only the service checks, and raw HTTP clients
check nothing. Knows shapes; what a conversation may hold is in `validation.py`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape

from pointsman.local.refusals import Refusal, invalid

Reader = Callable[[Any, str], Any]
"""Takes a JSON value and its path, returns it with base64 blobs decoded, or raises a ValidationException."""


@cache
def reader(operation: str, *, service: str = "bedrock-runtime") -> Reader:
    """The reader of an operation's body; members that travel in the URL are left out."""
    model = _service(service).operation_model(operation)
    return _compile(model.input_shape, {}, body_of=True)


@cache
def _service(name: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


def _compile(shape: Shape, begun: dict[str, Reader], *, body_of: bool = False) -> Reader:
    if getattr(shape, "is_document_type", False):
        return _any
    if isinstance(shape, StructureShape):
        return _structure(shape, begun, in_url={"modelId"} if body_of else set())
    if isinstance(shape, ListShape):
        return _list(shape, begun)
    if isinstance(shape, MapShape):
        return _map(shape, begun)
    if isinstance(shape, StringShape):
        return _string(shape)
    return {
        "blob": _blob,
        "boolean": _boolean,
        "integer": _number(shape, int),
        "long": _number(shape, int),
        "float": _number(shape, (int, float)),
        "double": _number(shape, (int, float)),
    }[shape.type_name]


def _any(value: Any, path: str) -> Any:  # noqa: ARG001 - a Reader
    return value


def _structure(shape: StructureShape, begun: dict[str, Reader], *, in_url: set[str]) -> Reader:
    """The reader of a structure; `begun` holds those met before: a filter may hold filters."""
    if shape.name in begun:
        return begun[shape.name]
    begun[shape.name] = lambda value, path: read(value, path)
    members = {name: _compile(member, begun) for name, member in shape.members.items() if name not in in_url}
    required = [name for name in shape.required_members if name not in in_url]
    union = bool(getattr(shape, "is_tagged_union", False))

    def read(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _mistyped(path, "an object")
        found = {}
        for name, given in value.items():
            member = members.get(name)
            if member is not None and given is not None:
                found[name] = member(given, f"{path}.{name}" if path else name)
        for name in required:
            if name not in found:
                raise _constraint("null", f"{path}.{name}" if path else name, "Member must not be null")
        if union and (len(found) != 1 or len(value) != 1):
            raise invalid(
                f"The value at {path} is invalid: exactly one of {', '.join(members)} must be set, "
                f"found {', '.join(map(str, value)) or 'none'}."
            )
        return found

    return read


def _list(shape: ListShape, begun: dict[str, Reader]) -> Reader:
    member = _compile(shape.member, begun)
    in_range = _length(shape)

    def read(value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise _mistyped(path, "a list")
        in_range(value, path)
        return [member(item, f"{path}.{position}.member") for position, item in enumerate(value, 1)]

    return read


def _map(shape: MapShape, begun: dict[str, Reader]) -> Reader:
    key, member = _compile(shape.key, begun), _compile(shape.value, begun)
    in_range = _length(shape)

    def read(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _mistyped(path, "an object")
        in_range(value, path)
        return {key(name, path): member(item, f"{path}.{name}") for name, item in value.items()}

    return read


def _string(shape: StringShape) -> Reader:
    allowed = list(shape.enum)
    pattern = shape.metadata.get("pattern")
    matches = re.compile(pattern).fullmatch if pattern else None
    in_range = _length(shape)

    def read(value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise _mistyped(path, "a string")
        if allowed and value not in allowed:
            raise _constraint(value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
        in_range(value, path)
        if matches is not None and matches(value) is None:
            raise _constraint(value, path, f"Member must satisfy regular expression pattern: {pattern}")
        return value

    return read


def _number(shape: Shape, types: type | tuple[type, ...]) -> Reader:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")

    def read(value: Any, path: str) -> Any:
        if isinstance(value, bool) or not isinstance(value, types):
            raise _mistyped(path, "a number")
        if least is not None and value < least:
            raise _constraint(value, path, f"Member must have value greater than or equal to {least}")
        if most is not None and value > most:
            raise _constraint(value, path, f"Member must have value less than or equal to {most}")
        return value

    return read


def _boolean(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _mistyped(path, "true or false")
    return value


def _blob(value: Any, path: str) -> bytes:
    try:
        blob = binascii.a2b_base64(value, strict_mode=True)
    except (TypeError, ValueError) as exc:
        raise _mistyped(path, "base64") from exc
    if not blob:
        raise _constraint("", path, "Member must have length greater than or equal to 1")
    return blob


def _length(shape: Shape) -> Callable[[Any, str], None]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")

    def check(value: Any, path: str) -> None:
        if least is not None and len(value) < least:
            raise _constraint(value, path, f"Member must have length greater than or equal to {least}")
        if most is not None and len(value) > most:
            raise _constraint(value, path, f"Member must have length less than or equal to {most}")

    return check


def _constraint(value: Any, path: str, constraint: str) -> Refusal:
    shown = "null" if value == "null" else f"'{str(value)[:100]}'"
    return invalid(f"1 validation error detected: Value {shown} at '{path}' failed to satisfy constraint: {constraint}")


def _mistyped(path: str, expected: str) -> Refusal:
    return invalid(f"The format of the value at {path or 'the request body'} is invalid. Provide {expected}.")
