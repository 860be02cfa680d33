"""HTTP replies as botocore's rest-json parser reads them: JSON bodies, and errors with their type in a header."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import orjson
from starlette.responses import Response

from pointsman.errors import PointsmanError, PromptRouterError
from pointsman.local.engines import EngineError, PromptTooLongError
from pointsman.local.refusals import Refusal, invalid


def json_response(content: Any, *, status: int = 200) -> Response:
    """A JSON reply; datetimes in it become ISO 8601."""
    return Response(
        orjson.dumps(content),
        status_code=status,
        media_type="application/json",
        headers={"x-amzn-requestid": str(uuid4())},
    )


def error_response(refusal: Refusal) -> Response:
    """A refusal as Bedrock sends it."""
    body: dict[str, Any] = {"message": refusal.message}
    if refusal.code == "ModelErrorException":
        body |= {"originalStatusCode": 500, "resourceName": "local"}
    response = json_response(body, status=refusal.status)
    response.headers["x-amzn-errortype"] = refusal.code
    return response


def refusal_of(error: PointsmanError) -> Refusal:
    """The refusal that a client gets for an error of the endpoint."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, PromptRouterError):
        return Refusal(error.code, str(error), status=error.status)
    if isinstance(error, PromptTooLongError):
        return invalid(f"Input is too long for requested model: {error}")
    if isinstance(error, EngineError):
        return Refusal("ModelErrorException", f"The engine failed: {error}")
    return invalid(str(error))
