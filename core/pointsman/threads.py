"""Blocking calls and iterators for asyncio: in threads of their own, each in its caller's context."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

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


class ThreadedIterator(Generic[_T]):
    """What an iterator yields, for asyncio. One thread reads all of it: no hop between threads per item.

    Args:
        items: what is read; its first item may be as long in coming as any.
        close: ends it early. Called by the thread that reads, after the last item that it has read.
        threads: where it is read.
    """

    def __init__(self, items: Iterable[_T], close: Callable[[], object], threads: Threads) -> None:
        self._items = items
        self._close = close
        self._threads = threads
        self._left = False
        self._reading: asyncio.Future[Any] | None = None
        self._iterator = self._iterate()

    def __aiter__(self) -> AsyncIterator[_T]:
        return self._iterator

    async def close(self) -> None:
        """Leave it, also from another task than the one that iterates: the thread closes it after the next item."""
        self._left = True
        if self._reading is None:
            self._reading = self._threads.start(self._close)
        await self._reading

    async def _iterate(self) -> AsyncGenerator[_T, None]:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[_T] | Exception | None] = asyncio.Queue()

        def hand_over(item: tuple[_T] | Exception | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, item)

        self._reading = self._threads.start(self._read, hand_over)
        try:
            while (item := await queue.get()) is not None and not self._left:
                if isinstance(item, Exception):
                    raise item
                yield item[0]
            await self._reading
        finally:
            self._left = True

    def _read(self, hand_over: Callable[[tuple[_T] | Exception | None], None]) -> None:
        try:
            for item in self._items:
                if self._left:
                    break
                hand_over((item,))
        except Exception as exc:  # noqa: BLE001 - raised again where the items are awaited
            hand_over(exc)
        finally:
            try:
                self._close()
            finally:
                hand_over(None)
