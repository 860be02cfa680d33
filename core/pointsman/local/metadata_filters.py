"""Retrieve's filters on metadata. Knows their operators; their shape was checked by the service model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pointsman.local.refusals import invalid

_ABSENT: Final = object()


def matches(condition: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Whether a passage's metadata fulfil a filter, checked by `check_filter`.

    As the API reference has it, `notEquals` and `notIn` hold where the key is absent; nothing else does.
    """
    ((operator, operand),) = condition.items()
    if operator == "andAll":
        return all(matches(one, metadata) for one in operand)
    if operator == "orAll":
        return any(matches(one, metadata) for one in operand)
    return _OPERATORS[operator](metadata.get(operand["key"], _ABSENT), operand["value"])


def check_filter(condition: Mapping[str, Any], path: str) -> None:
    """Refuses values that an operator can't compare with.

    Raises:
        Refusal: ValidationException, which names the operator.
    """
    ((operator, operand),) = condition.items()
    if operator in ("andAll", "orAll"):
        for position, one in enumerate(operand, 1):
            check_filter(one, f"{path}.{operator}.{position}.member")
        return
    takes, is_taken = _OPERANDS.get(operator, ("a value", _is_given))
    if not is_taken(operand["value"]):
        raise invalid(f"The value at {path}.{operator}.value is invalid: {operator} takes {takes}.")


def _is_given(value: Any) -> bool:
    return value is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(found: Any, value: Any) -> bool:
    # In Python true is 1; in metadata it is not.
    return isinstance(found, bool) == isinstance(value, bool) and bool(found == value)


def _within(found: Any, values: list[Any]) -> bool:
    return any(_equal(found, value) for value in values)


def _contains_text(found: Any, value: str) -> bool:
    return any(_is_text(one) and value in one for one in (found if _is_list(found) else [found]))


def _compared(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    return lambda found, value: _is_number(found) and compare(found, value)


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "equals": _equal,
    "notEquals": lambda found, value: not _equal(found, value),
    "in": _within,
    "notIn": lambda found, values: not _within(found, values),
    "greaterThan": _compared(lambda found, value: found > value),
    "greaterThanOrEquals": _compared(lambda found, value: found >= value),
    "lessThan": _compared(lambda found, value: found < value),
    "lessThanOrEquals": _compared(lambda found, value: found <= value),
    "startsWith": lambda found, value: _is_text(found) and found.startswith(value),
    "stringContains": _contains_text,
    "listContains": lambda found, value: _is_list(found) and _within(value, found),
}
_OPERANDS: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "in": ("a list", _is_list),
    "notIn": ("a list", _is_list),
    "greaterThan": ("a number", _is_number),
    "greaterThanOrEquals": ("a number", _is_number),
    "lessThan": ("a number", _is_number),
    "lessThanOrEquals": ("a number", _is_number),
    "startsWith": ("a string", _is_text),
    "stringContains": ("a string", _is_text),
}
