"""What all tests share: no way out of this machine, no AWS settings of its user, a local endpoint, and its clients."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from hypothesis import HealthCheck, settings

from pointsman import Client
from pointsman.local import LocalEndpoint

# tests/laws.py is also what `benchmarks/laws.py` runs.
sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile(
    "laws",
    max_examples=1000,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

_LONGER_THAN_ANY_TTL = 3601.0


class SocketClosedError(RuntimeError):
    """A test wanted to talk to another machine."""


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> Iterator[None]:
    """Sockets reach this machine only."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def connect_to(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(str(address[0])):
                raise SocketClosedError(f"tests don't leave this machine: {address}")
            return original(self, address)

        return connect_to

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded(connect))
    patch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's variables and files, and the routers, of whoever runs the tests are not seen by them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "POINTSMAN_ROUTERS"):
        monkeypatch.setenv(name, os.devnull)


@pytest.fixture(scope="session")
def _running() -> Iterator[LocalEndpoint]:
    with LocalEndpoint(engine="extract") as running:
        yield running


@pytest.fixture
def endpoint(_running: LocalEndpoint) -> LocalEndpoint:
    """A local endpoint where nothing is cached, accounted or about to fail; its clock can be moved."""
    _running.advance(_LONGER_THAN_ANY_TTL)
    _running.faults.clear()
    _running.reset_account()
    return _running


@pytest.fixture
def boto3_client(endpoint: LocalEndpoint) -> Any:
    """A boto3 client of the endpoint that retries nothing by itself."""
    return endpoint.client("bedrock-runtime", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def client(endpoint: LocalEndpoint, boto3_client: Any) -> Client:
    """Pointsman's client of the endpoint, on the endpoint's clock."""
    return Client(boto3_client, clock=endpoint.settings.clock)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
