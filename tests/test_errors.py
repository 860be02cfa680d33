"""The tree of errors: one root, facts as attributes, and what each one is besides."""

from __future__ import annotations

import inspect

import pytest

from pointsman import errors
from pointsman.errors import InvalidRequestError, MissingExtraError, NoEligibleModelError, PointsmanError

ERRORS = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, Exception) and not issubclass(found, Warning)
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_has_the_one_root(error: type[Exception]) -> None:
    """And stands in the tree that the module's docstring draws."""
    assert issubclass(error, PointsmanError)
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__


def test_an_invalid_request_is_a_value_error() -> None:
    """Code that catches the built-in one goes on to work."""
    assert issubclass(InvalidRequestError, ValueError)


def test_no_eligible_model_tells_each_models_reason() -> None:
    """As attributes, and in a message that says what to do."""
    error = NoEligibleModelError("own", {"a": "takes no images", "b": "takes no tools"})
    assert (error.router, error.reasons) == ("own", {"a": "takes no images", "b": "takes no tools"})
    assert "'own'" in str(error)
    assert "a: takes no images; b: takes no tools" in str(error)


def test_a_missing_extra_is_an_import_error_with_the_command() -> None:
    """The message can be pasted."""
    error = MissingExtraError("The local endpoint", "local")
    assert isinstance(error, ImportError)
    assert error.extra == "local"
    assert 'pip install "pointsman[local]"' in str(error)
