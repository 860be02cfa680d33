"""A local endpoint in a thread of this process, for tests, notebooks and the demo."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

import uvicorn

from pointsman.errors import InvalidRequestError
from pointsman.local.clock import Clock, MovableClock
from pointsman.local.engines import Engine
from pointsman.local.faults import Faults
from pointsman.local.server import Endpoint, check_bind, server_config
from pointsman.local.settings import Settings
from pointsman.prompt_routers import PromptRouters

_START_SECONDS = 30.0


class LocalEndpoint:
    """A context manager: the endpoint listens on `url` from entering to leaving.

    Give a `Settings`, or its members by keyword; without a `clock`, theirs is one that can be moved.

        with LocalEndpoint(engine="extract") as endpoint:
            client = endpoint.client("bedrock-runtime")

    Raises:
        InvalidRequestError: the host is not a loopback address and there is no key.
        EngineUnavailableError: on entering, where the engine's runtime or weights are missing.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        engine: str | Engine = "extract",
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        **members: Any,
    ) -> None:
        self.settings = settings or Settings(engine=engine, clock=clock or MovableClock(), **members)
        check_bind(host, self.settings.key)
        self._address = (host, port)
        self._running: _Running | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listens from now on; does nothing if it does already."""
        if self._running is None:
            self._running = _Running(self.settings, self._address)

    def stop(self) -> None:
        """Ends the server, its engine and its thread; does nothing if it does not run."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    @property
    def url(self) -> str:
        """Where it listens: the `endpoint_url` of a client."""
        return self._started.url

    @property
    def faults(self) -> Faults:
        """Faults to inject into coming requests."""
        return self._started.endpoint.faults

    @property
    def routers(self) -> PromptRouters:
        """The prompt routers of this endpoint's account."""
        return self._started.endpoint.routers

    def account(self) -> dict[str, Any]:
        """What `GET /_local/account` says."""
        return self._started.endpoint.account.to_dict()

    def reset_account(self) -> None:
        """Begins the account anew; what is cached stays."""
        self._started.endpoint.account.reset()

    def advance(self, seconds: float) -> None:
        """Moves the endpoint's clock forward, so that TTLs pass."""
        self._started.endpoint.advance_clock(seconds)

    def client(self, service: str = "bedrock-runtime", **options: Any) -> Any:
        """A boto3 client of this endpoint; `options` go to `boto3.client`."""
        # Imported here: an endpoint serves clients of any language without it.
        import boto3

        known = {
            "endpoint_url": self.url,
            "region_name": self.settings.region,
            "aws_access_key_id": "local",
            "aws_secret_access_key": self.settings.key or "local",
        }
        return boto3.client(service, **{**known, **options})

    @property
    def _started(self) -> _Running:
        if self._running is None:
            raise InvalidRequestError("this LocalEndpoint is not running: use it in a with statement.")
        return self._running


class _Running:
    """The server's thread, from its first request to its last."""

    def __init__(self, settings: Settings, address: tuple[str, int]) -> None:
        # Bound before the engine is loaded: a port that is taken is told at once.
        self._socket = _bound(address)
        try:
            self.endpoint = Endpoint(settings)
        except BaseException:  # whatever it is: the port is given back, and it goes on
            self._socket.close()
            raise
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._server = uvicorn.Server(server_config(self.endpoint))
        self._thread = threading.Thread(target=self._serve, name="pointsman-local", daemon=True)
        self._thread.start()
        self._wait_until_started()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(_START_SECONDS)
        self._socket.close()
        self.endpoint.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    def _wait_until_started(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise InvalidRequestError("the local endpoint's server did not start; its log says why.")
            time.sleep(0.002)


def _bound(address: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each reply waits 40 ms for an ACK.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
