"""HTTP replies as botocore's rest-json parser reads them: JSON bodies, and errors with their type in a header."""

from __future__ import annotations

import logging
from typing import Any, Final
from uuid import uuid4

import orjson
from starlette.responses import Response

from pointsman.errors import PointsmanError, PromptRouterError
from pointsman.local.engines import EngineError, PromptTooLongError
from pointsman.local.refusals import Refusal, invalid

_log: Final = logging.getLogger(__name__)


def json_response(content: Any, *, status: int = 200) -> Response:
    """A JSON reply; datetimes in it become ISO 8601."""
    return Response(
        orjson.dumps(content),
        status_code=status,
        media_type="application/json",
        headers={"x-amzn-requestid": request_id()},
    )


def error_response(refusal: Refusal) -> Response:
    """A refusal as Bedrock sends it."""
    body: dict[str, Any] = {"message": refusal.message}
    if refusal.code == "ModelErrorException":
        body |= {"originalStatusCode": 500, "resourceName": "local"}
    response = json_response(body, status=refusal.status)
    response.headers["x-amzn-errortype"] = refusal.code
    return response


def request_id() -> str:
    """A new request id, as Bedrock gives each reply one."""
    return str(uuid4())


def refusal_of(error: Exception) -> Refusal:
    """The refusal that a client gets for an error. A defect of the endpoint becomes Bedrock's 500, and is logged."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, PromptRouterError):
        return Refusal(error.code, str(error), status=error.status)
    if isinstance(error, PromptTooLongError):
        return invalid(f"Input is too long for requested model: {error}")
    if isinstance(error, EngineError):
        return Refusal("ModelErrorException", f"The engine failed: {error}")
    if isinstance(error, PointsmanError):
        return invalid(str(error))
    _log.error("a request failed", exc_info=error)
    return Refusal("InternalServerException", "The local endpoint failed; its log says why.")
