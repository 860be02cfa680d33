"""The endpoint as an ASGI application: paths, the bounds on every request, the key, error replies.

What a model answers is `runtime.py`'s; the control plane is `control.py`'s; Retrieve is `knowledge_base.py`'s. `serve`
runs it in this process; `endpoint.py` in a thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pointsman.errors import InvalidRequestError
from pointsman.local.blocks import parse_json
from pointsman.local.calls import Calls
from pointsman.local.clock import MovableClock
from pointsman.local.control import ControlPlane
from pointsman.local.faults import Faults
from pointsman.local.knowledge_base import KnowledgeBases
from pointsman.local.refusals import Refusal, invalid
from pointsman.local.replies import error_response, json_response, refusal_of
from pointsman.local.runtime import EventStreamResponse, Runtime
from pointsman.local.settings import Settings, make_engine
from pointsman.local.shapes import reader
from pointsman.local.signatures import SignedRequest, verify
from pointsman.prompt_routers import PromptRouters

Answering = Callable[[Request, bytes], Awaitable[Response]]


class Endpoint:
    """The parts of one endpoint and the ASGI application over them (`app`)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # Before the engine, which takes longer to load: what is wrong with a folder is told at once.
        self.knowledge_bases = KnowledgeBases(settings.knowledge_bases)
        self.engine = make_engine(settings)
        self.faults = Faults(settings.faults)
        self.routers = PromptRouters(
            catalog=settings.catalog,
            region=settings.region,
            account=settings.account_id,
            path=settings.routers_path,
            now=lambda: datetime.fromtimestamp(settings.clock(), UTC),
        )
        calls = Calls(settings, engine=self.engine, routers=self.routers, faults=self.faults)
        self.account = calls.account
        self.control = ControlPlane(settings, self.routers)
        self.runtime = Runtime(settings, engine=self.engine, calls=calls)
        self._in_flight = 0
        # Read from botocore's files now, so that the first request takes no longer than the others.
        for operation in ("Converse", "ConverseStream"):
            reader(operation)
        self.app = Starlette(
            routes=[
                *self._runtime_routes(),
                *self._retrieve_routes(),
                *self._control_routes(),
                *self._own_routes(),
                *self._no_route(),
            ],
            lifespan=self._lifespan,
        )

    def close(self) -> None:
        """Ends the engine and all threads; may be called twice."""
        self.runtime.close()
        self.engine.close()

    def advance_clock(self, seconds: float) -> None:
        """Moves the endpoint's clock forward.

        Raises:
            InvalidRequestError: it runs on a clock that can't be moved, or was to be moved back.
        """
        if not isinstance(self.settings.clock, MovableClock):
            raise InvalidRequestError("this endpoint's clock can't be moved: start it with a MovableClock.")
        self.settings.clock.advance(seconds)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:  # noqa: ARG002 - Starlette's signature
        yield
        self.close()

    def _runtime_routes(self) -> list[Route]:
        async def converse(request: Request, body: bytes) -> Response:
            return await self.runtime.converse(_id(request), body, request.headers, request.receive)

        async def converse_stream(request: Request, body: bytes) -> Response:
            return await self.runtime.converse_stream(_id(request), body, request.headers, request.receive)

        async def count_tokens(request: Request, body: bytes) -> Response:
            return await self.runtime.count_tokens(_id(request), body)

        model = "/model/{id:path}"
        return [
            self._route("POST", f"{model}/converse", self._bounded("Converse", converse)),
            self._route("POST", f"{model}/converse-stream", self._bounded("ConverseStream", converse_stream)),
            self._route("POST", f"{model}/count-tokens", self._bounded("CountTokens", count_tokens)),
        ]

    def _retrieve_routes(self) -> list[Route]:
        async def retrieve(request: Request, body: bytes) -> Response:
            return json_response(self.knowledge_bases.retrieve(_id(request), body))

        return [self._route("POST", "/knowledgebases/{id:path}/retrieve", self._bounded("Retrieve", retrieve))]

    def _control_routes(self) -> list[Route]:
        control = self.control
        return [
            self._json("POST", "/prompt-routers", lambda _, body: control.create_prompt_router(body)),
            self._json("GET", "/prompt-routers", lambda request, _: control.list_prompt_routers(_query(request))),
            self._json("GET", "/prompt-routers/{id:path}", lambda request, _: control.get_prompt_router(_id(request))),
            self._json(
                "DELETE",
                "/prompt-routers/{id:path}",
                lambda request, _: control.delete_prompt_router(_id(request)),
            ),
            self._json(
                "GET",
                "/foundation-models",
                lambda request, _: control.list_foundation_models(_query(request)),
            ),
            self._json(
                "GET",
                "/foundation-models/{id:path}",
                lambda request, _: control.get_foundation_model(_id(request)),
            ),
            self._json(
                "GET",
                "/inference-profiles/{id:path}",
                lambda request, _: control.get_inference_profile(_id(request)),
            ),
        ]

    def _own_routes(self) -> list[Route]:
        return [
            self._json("GET", "/_local/account", lambda _, __: self.account.to_dict()),
            self._json("DELETE", "/_local/account", lambda _, __: self._reset_account()),
            self._json("POST", "/_local/account/reset", lambda _, __: self._reset_account()),
            self._json("GET", "/_local/progress", lambda _, __: {"running": self.runtime.generations.progress()}),
            self._json("POST", "/_local/clock", lambda _, body: self._move_clock(parse_json(body))),
            self._json("GET", "/_local/health", lambda _, __: {"engine": self.engine.name}),
        ]

    def _no_route(self) -> list[Route]:
        async def unknown(request: Request, body: bytes) -> Response:  # noqa: ARG001 - every answer takes it
            path = request.url.path
            raise Refusal("UnknownOperationException", f"The local endpoint has no operation {request.method} {path}.")

        return [Route("/{path:path}", self._guarded(unknown), methods=["GET", "POST", "PUT", "PATCH", "DELETE"])]

    def _reset_account(self) -> dict[str, Any]:
        self.account.reset()
        return {}

    def _move_clock(self, body: Mapping[str, Any]) -> dict[str, Any]:
        seconds = body.get("advance")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
            raise invalid('Give the seconds to move the clock by, as {"advance": 300}.')
        self.advance_clock(seconds)
        return {"now": self.settings.clock()}

    def _json(self, method: str, path: str, answer: Callable[[Request, bytes], Mapping[str, Any]]) -> Route:
        async def respond(request: Request, body: bytes) -> Response:
            return json_response(answer(request, body))

        return self._route(method, path, respond)

    def _route(self, method: str, path: str, answering: Answering) -> Route:
        return Route(path, self._guarded(answering), methods=[method])

    def _bounded(self, operation: str, answering: Answering) -> Answering:
        """Counts the request, and refuses it if too many are in flight; a stream is until its end."""

        async def answer(request: Request, body: bytes) -> Response:
            self.account.request(operation)
            if self._in_flight >= self.settings.max_in_flight:
                raise Refusal("ServiceUnavailableException", "Too many requests in flight. Try your request again.")
            self._in_flight += 1
            try:
                response = await answering(request, body)
            except BaseException:  # a cancelled request too leaves its place
                self._release()
                raise
            if isinstance(response, EventStreamResponse):
                response.on_end = self._release
            else:
                self._release()
            return response

        return answer

    def _release(self) -> None:
        self._in_flight -= 1

    def _guarded(self, answering: Answering) -> Callable[[Request], Awaitable[Response]]:
        """Reads the body within its bound, checks the key, and turns errors into replies."""

        async def respond(request: Request) -> Response:
            try:
                body = await _read_body(request, self.settings.max_body_bytes)
                if self.settings.key is not None:
                    verify(_signed(request, body), self.settings.key)
                return await answering(request, body)
            except ClientDisconnect:
                self.account.closed_early()
                return Response(status_code=499)
            except Exception as exc:  # noqa: BLE001 - whatever fails, the client gets an error that it can read
                refusal = refusal_of(exc)
            self.account.refused(refusal.code)
            return error_response(refusal)

        return respond


def create_app(settings: Settings) -> Starlette:
    """The ASGI application of a new endpoint."""
    return Endpoint(settings).app


def check_bind(host: str, key: str | None) -> None:
    """Refuses to listen beyond this machine without a key.

    Raises:
        InvalidRequestError: the host is not a loopback address and there is no key.
    """
    if key is None and not _is_loopback(host):
        raise InvalidRequestError(
            f"listening on {host} lets other machines use this endpoint. Give it a key (--key), or listen on 127.0.0.1."
        )


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8480) -> None:
    """Serves until it is interrupted.

    Raises:
        InvalidRequestError: the host is not a loopback address and the settings have no key, or a knowledge base's
            folder is missing or has nothing to read.
        EngineUnavailableError: the engine's runtime or weights are missing.
    """
    check_bind(host, settings.key)
    uvicorn.Server(server_config(Endpoint(settings), host=host, port=port)).run()


def server_config(endpoint: Endpoint, **options: Any) -> uvicorn.Config:
    """How uvicorn serves an endpoint; `options` are uvicorn's own."""
    known = {
        "log_level": "warning",
        "access_log": False,
        "backlog": 1024,
        # A client that keeps a pool must not find its connections closed at the next request.
        "timeout_keep_alive": 75,
        # A stopped endpoint must not wait for clients that keep their connections open.
        "timeout_graceful_shutdown": 1,
    }
    return uvicorn.Config(endpoint.app, **{**known, **options})


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _read_body(request: Request, most: int) -> bytes:
    too_large = Refusal("ValidationException", f"The request body is larger than {most} bytes.", status=413)
    if int(request.headers.get("content-length") or 0) > most:
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise too_large
    return bytes(body)


def _signed(request: Request, body: bytes) -> SignedRequest:
    return SignedRequest(
        method=request.method,
        path=request.scope["raw_path"].decode("latin-1"),
        query=request.scope["query_string"].decode("latin-1"),
        headers=request.headers,
        body=body,
    )


def _id(request: Request) -> str:
    found: str = request.path_params["id"]
    return found


def _query(request: Request) -> Mapping[str, str]:
    return request.query_params
