"""What a model must fulfil to be chosen."""

from __future__ import annotations

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
        advice = "such as 0.05. (Per cent are taken by the API-shaped calls only.)"
        check_fraction("response_quality_difference", self.response_quality_difference, advice)

    @classmethod
    def of_api(cls, response_quality_difference: float) -> RoutingCriteria:
        """From the API's number: up to 1 a fraction, above 1 and up to 100 per cent."""
        value = response_quality_difference
        return cls(response_quality_difference=value / 100 if value > 1 else value)


def check_fraction(name: str, value: object, advice: str) -> None:
    """Refuse what is not a number from 0 to 1.

    Raises:
        InvalidRouterError: names the value, and ends with the advice.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidRouterError(f"{name} is {value!r}; it must be from 0 to 1, {advice}")
