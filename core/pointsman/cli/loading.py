"""Functions of the user's own, named as MODULE:FUNCTION on the command line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pointsman.errors import InvalidRequestError


def load_function(name: str, what: str) -> Callable[..., Any]:
    """The function that MODULE:FUNCTION names; modules of the current folder are found too. `what` it is to be.

    Raises:
        InvalidRequestError: there is none.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise InvalidRequestError(f"the {what} {name!r} is not of the form MODULE:FUNCTION.")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as exc:  # whatever the user's module does when it is imported
        raise InvalidRequestError(f"the {what} {name!r} can't be imported: {type(exc).__name__}: {exc}.") from exc
    finally:
        sys.path.remove(here)
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InvalidRequestError(f"the module {module_name!r} has no function {function_name!r}.")
    found: Callable[..., Any] = function
    return found
