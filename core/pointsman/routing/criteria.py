"""What a model must fulfil to be chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pointsman.errors import InvalidRouterError


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingCriteria:
    """`response_quality_difference` is absolute expected quality, 0 to 1: how much may be lost for a lower bill.

    Raises:
        InvalidRouterError: it is not a number from 0 to 1.
    """

    response_quality_difference: float

    def __post_init__(self) -> None:
        value = self.response_quality_difference
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1 or math.isnan(value):
            raise InvalidRouterError(
                f"response_quality_difference is {value!r}; it must be from 0 to 1, such as 0.05. "
                "(Per cent are taken by the API-shaped calls only.)"
            )

    @classmethod
    def of_api(cls, response_quality_difference: float) -> RoutingCriteria:
        """From the API's number: up to 1 a fraction, above 1 and up to 100 per cent."""
        value = response_quality_difference
        return cls(response_quality_difference=value / 100 if value > 1 else value)
