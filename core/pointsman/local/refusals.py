"""How the local endpoint says no: Bedrock's error codes, their HTTP status, and the texts used in several places.

Codes and statuses are those of botocore's service models (a test compares them).
"""

from __future__ import annotations

from typing import Final

from pointsman.errors import PointsmanError

STATUS: Final = {
    "AccessDeniedException": 403,
    "ConflictException": 400,
    "InternalServerException": 500,
    "InvalidSignatureException": 403,
    "ModelErrorException": 424,
    "ModelNotReadyException": 429,
    "ModelStreamErrorException": 424,
    "ModelTimeoutException": 408,
    "ResourceNotFoundException": 404,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 429,
    "UnknownOperationException": 404,
    "ValidationException": 400,
}


class Refusal(PointsmanError):
    """A request that is answered with an error. `status` overrides the code's own (413 for a large body)."""

    def __init__(self, code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = STATUS[code] if status is None else status


def invalid(message: str) -> Refusal:
    """A ValidationException with this text."""
    return Refusal("ValidationException", message)


def unsupported_field(field: str) -> Refusal:
    """Bedrock's text for an inference or tool field that the model does not know."""
    return invalid(f"This model doesn't support the {field} field. Remove {field} and try again.")


def extraneous_cache_point(pointer: str) -> Refusal:
    """Nova's text for a cache point where its schema has none; `pointer` is a JSON pointer."""
    return invalid(
        f"Malformed input request: {pointer}: extraneous key [cachePoint] is not permitted, "
        "please reformat your input and try again."
    )
