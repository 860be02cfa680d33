"""Blocking calls of a boto3 client for asyncio: in threads of their own, each in its caller's context."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_DEFAULT_CONNECTIONS = 10
"""botocore's."""


class Threads:
    """As many threads as a boto3 client's pool has connections: the event loop's own would allow six on two cores."""

    def __init__(self, client: Any) -> None:
        config = getattr(getattr(client, "meta", None), "config", None)
        self.most: int = getattr(config, "max_pool_connections", None) or _DEFAULT_CONNECTIONS
        """Calls that may be under way at once."""
        self._executor = ThreadPoolExecutor(self.most, thread_name_prefix="pointsman")

    async def run(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What the function returns; it sees the context variables of whoever awaits it."""
        return await self.start(function, *args, **kwargs)

    def start(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """The same, begun at once and awaited later."""
        call = partial(contextvars.copy_context().run, function, *args, **kwargs)
        return asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Let the threads go once what is under way has ended."""
        self._executor.shutdown(wait=False)
