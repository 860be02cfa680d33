"""Blocking calls in threads of their own."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

from botocore.config import Config

from pointsman.local import LocalEndpoint
from pointsman.threads import Threads

_WORD: ContextVar[str] = ContextVar("word", default="none")


def test_as_many_calls_at_once_as_the_clients_pool_has_connections(endpoint: LocalEndpoint) -> None:
    """Read from the client's config; without one it is botocore's default."""
    assert Threads(endpoint.client(config=Config(max_pool_connections=33))).most == 33
    assert Threads(object()).most == 10


async def test_calls_run_beside_each_other_up_to_that_number() -> None:
    """Ten of them meet at a barrier: with fewer threads it would never open."""
    threads, barrier = Threads(object()), threading.Barrier(10)
    await asyncio.wait_for(asyncio.gather(*(threads.run(barrier.wait, 30) for _ in range(10))), 30)
    threads.close()


async def test_a_call_sees_the_context_of_who_awaits_it() -> None:
    """As it was when the call was begun; what the call sets there stays there."""
    threads = Threads(object())
    _WORD.set("mine")
    begun = threads.start(_WORD.get)
    _WORD.set("later")
    assert await begun == "mine"
    await threads.run(_WORD.set, "the call's own")
    assert _WORD.get() == "later"
    threads.close()
