"""A Bedrock-compatible endpoint on this machine, for development and tests.

Written apart from the core's cache, routing and flow: it knows the catalogue, the errors and the prompt routers of
`pointsman`, and nothing else of it, so that it can bear witness to what the client says of itself.
"""

from __future__ import annotations

from pointsman.errors import MissingExtraError

try:
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as exc:
    raise MissingExtraError("pointsman.local", "local") from exc

from pointsman.local.clock import MovableClock
from pointsman.local.endpoint import LocalEndpoint
from pointsman.local.server import create_app, serve
from pointsman.local.settings import Settings

__all__ = ["LocalEndpoint", "MovableClock", "Settings", "create_app", "serve"]
