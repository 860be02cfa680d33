"""Every error that Pointsman raises of its own. Bedrock's refusals pass through as botocore raised them.

PointsmanError
├── InvalidRequestError          the caller's request or argument can't be used; nothing was sent
├── NoEligibleModelError         no model of the router can serve this request; nothing was sent
├── MissingExtraError            an optional dependency is not installed (also an ImportError)
└── PromptRouterError            the prompt-router API's refusals, shaped like botocore's ClientError
    ├── InvalidRouterError           ValidationException, 400
    ├── RouterConflictError          ConflictException, 400
    ├── RouterNotFoundError          ResourceNotFoundException, 404
    └── TooManyTagsError             TooManyTagsException, 400
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class PointsmanError(Exception):
    """Root of all errors of this package."""


class PointsmanWarning(UserWarning):
    """What a user should know once, and may go on without: a model that the catalogue doesn't hold."""


class UnlistedModelWarning(PointsmanWarning):
    """The catalogue doesn't hold the model `model_id`."""

    def __init__(self, model_id: str) -> None:
        super().__init__(
            f"model {model_id!r} is not in the catalogue: nothing is cached for it and its price is unknown. "
            "Describe it with Catalog.with_model(Model(...)); a router of that name has to be one of the client's."
        )
        self.model_id = model_id


class InvalidRequestError(PointsmanError, ValueError):
    """The request or an argument can't be used as it is. Nothing was sent."""


class NoEligibleModelError(PointsmanError):
    """No candidate of the router can serve the request. Nothing was sent.

    `reasons` maps each candidate's model id to why it was set aside.
    """

    def __init__(self, router: str, reasons: Mapping[str, str]) -> None:
        self.router = router
        self.reasons = dict(reasons)
        listed = "; ".join(f"{model}: {reason}" for model, reason in self.reasons.items())
        super().__init__(
            f"no model of the router {router!r} can serve this request ({listed}). "
            "Change the request or add a model that can."
        )


class MissingExtraError(PointsmanError, ImportError):
    """An optional dependency is missing; the message names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f'{what} needs packages that are not installed: pip install "pointsman[{extra}]"')


class PromptRouterError(PointsmanError):
    """A refusal of the prompt-router API, with `response` as botocore's ClientError has it."""

    code: ClassVar[str] = "InternalServerException"
    status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.response: dict[str, Any] = {
            "Error": {"Code": self.code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": self.status},
        }


class InvalidRouterError(PromptRouterError, ValueError):
    """An argument breaks the API's limits."""

    code = "ValidationException"
    status = 400


class RouterConflictError(PromptRouterError):
    """A router of that name exists in this account and Region."""

    code = "ConflictException"
    status = 400


class RouterNotFoundError(PromptRouterError, LookupError):
    """No router has that ARN or name."""

    code = "ResourceNotFoundException"
    status = 404


class TooManyTagsError(PromptRouterError):
    """More tags than one router may bear."""

    code = "TooManyTagsException"
    status = 400
