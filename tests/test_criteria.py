"""Routing criteria: a fraction in our code, a fraction or per cent in the API's calls."""

from __future__ import annotations

from typing import Any

import pytest

from pointsman import RoutingCriteria
from pointsman.errors import InvalidRouterError


@pytest.mark.parametrize("value", [0, 0.05, 1, 1.0])
def test_a_fraction_is_taken(value: float) -> None:
    """Nought and one are within the range."""
    assert RoutingCriteria(response_quality_difference=value).response_quality_difference == value


@pytest.mark.parametrize("value", [-0.01, 1.01, 26, float("nan"), float("inf"), True, "0.1", None])
def test_anything_else_is_refused(value: Any) -> None:
    """Per cent too: in code there is one meaning only."""
    with pytest.raises(InvalidRouterError, match="0 to 1"):
        RoutingCriteria(response_quality_difference=value)


@pytest.mark.parametrize(("given", "fraction"), [(0.0, 0.0), (0.26, 0.26), (1.0, 1.0), (26.0, 0.26), (100.0, 1.0)])
def test_the_apis_number_is_a_fraction_or_per_cent(given: float, fraction: float) -> None:
    """Up to one it is a fraction, above one per cent."""
    assert RoutingCriteria.of_api(given).response_quality_difference == pytest.approx(fraction)
