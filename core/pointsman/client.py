"""The drop-in for a boto3 `bedrock-runtime` client, sync and async. Drives the flow; decides nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, TypeVar

from pointsman.bedrock import read_failure, read_reply, region_of
from pointsman.cache import Drift, Ledger
from pointsman.catalog import Catalog
from pointsman.context import Context
from pointsman.documents import Recurrence, Session, current_session
from pointsman.errors import InvalidRequestError
from pointsman.flow import Call, Failure, Reply, converse_flow
from pointsman.keep_alive import KeepAlive, Kept, Line
from pointsman.routing import Router, RouterRegistry
from pointsman.stream import ReplyStream
from pointsman.telemetry import log_request, observe
from pointsman.threads import ThreadedIterator, Threads
from pointsman.tokens import EstimatedTokens
from pointsman.trace import Trace

_T = TypeVar("_T")

_log = logging.getLogger("pointsman")


class Client:
    """Routes and caches what goes through a boto3 client; everything else is forwarded to it.

    ```python
    client = pointsman.Client(boto3.client("bedrock-runtime"))
    reply = client.converse(modelId="arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1",
                            messages=[...])
    reply["pointsman"]   # Trace.to_dict()
    ```

    Args:
        boto3_client: anything that has boto3's `converse` and `converse_stream`.
        routers: a registry, or routers to add to the default ones.
        catalog, ledger, counter: shared between clients where they are given. What was learnt is kept over restarts by
            `to_dict` of `ledger.reuse` and of the counter, and begun with by `Reuse.load` and `from_dict`.
        clock: seconds, as `time.time` gives them.
        random: where routers with a share of `exploration` draw from.
        on_trace: called with the `Trace` of every request that reached Bedrock, also of streams that were left.
        on_alarm: called with a `Drift` when far less is read from a model's cache than should be, once per episode.
        keep_alive: re-sends prefixes before their TTL ends, where that pays; may be shared by clients of one clock.

    Raises:
        InvalidRequestError: the client can't converse, or a router is none.
    """

    def __init__(
        self,
        boto3_client: Any,
        *,
        routers: RouterRegistry | Iterable[Router] | None = None,
        catalog: Catalog | None = None,
        ledger: Ledger | None = None,
        counter: EstimatedTokens | None = None,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
        on_trace: Callable[[Trace], object] | None = None,
        on_alarm: Callable[[Drift], object] | None = None,
        keep_alive: KeepAlive | None = None,
    ) -> None:
        _check_client(boto3_client)
        self._client = boto3_client
        self._clock = clock
        self._random = random or Random()
        self._on_trace = on_trace
        self._on_alarm = on_alarm
        self._keep_alive = keep_alive
        catalog = catalog or (routers.catalog if isinstance(routers, RouterRegistry) else Catalog.default())
        region = region_of(boto3_client)
        if not isinstance(routers, RouterRegistry):
            routers = RouterRegistry(_checked(routers or ()), catalog=catalog, region=region or "us-east-1")
        ledger = ledger if ledger is not None else Ledger()
        self.context = Context(
            catalog=catalog,
            routers=routers,
            ledger=ledger,
            counter=counter if counter is not None else EstimatedTokens(),
            recurrence=Recurrence(key=ledger.key),
            region=region,
        )
        ledger.share("tokens", self.context.counter)
        ledger.share("documents", self.context.recurrence)
        self._line = Line(boto3_client, self.context, clock, self._tell)

    def converse(self, *, session: Session | None = None, **request: Any) -> dict[str, Any]:
        """As boto3's; the reply has the trace under `pointsman`, and `trace.promptRouter` where a router decided.

        `session` is the conversation that the prompt belongs to, by default the current one, if there is one
        (`pointsman.session`).

        Raises:
            InvalidRequestError, NoEligibleModelError, RouterNotFoundError: nothing was sent.
            botocore.exceptions.ClientError: Bedrock's last word, with the trace as its attribute `pointsman`.
        """
        drive = _Drive(self, request, session, streaming=False)
        raw = drive.call_until_answered(self._client.converse)
        drive.settle(read_reply(raw, at=self._clock()))
        return drive.decorate(raw)

    def converse_stream(self, *, session: Session | None = None, **request: Any) -> dict[str, Any]:
        """As boto3's; the stream's metadata event has the trace under `pointsman`. `session` as for `converse`.

        Raises:
            InvalidRequestError, NoEligibleModelError, RouterNotFoundError: nothing was sent.
            botocore.exceptions.ClientError: as `converse`; after the first event also while the stream is read.
        """
        drive = _Drive(self, request, session, streaming=True)
        raw = drive.call_until_answered(self._client.converse_stream)
        return {**raw, "stream": ReplyStream(raw["stream"], drive, self._clock)}

    def count_tokens(self, *, modelId: str, **request: Any) -> Any:
        """As boto3's; a router's id counts with its fallback model."""
        router = self.context.routers.router(modelId, region=self.context.region)
        return self._client.count_tokens(modelId=router.fallback_model if router else modelId, **request)

    def invoke_model(self, **request: Any) -> Any:
        """As boto3's, untouched.

        Raises:
            InvalidRequestError: `modelId` names a router: the body of InvokeModel is one model's own.
        """
        self._refuse_router(request, "invoke_model")
        return self._client.invoke_model(**request)

    def invoke_model_with_response_stream(self, **request: Any) -> Any:
        """As boto3's, untouched.

        Raises:
            InvalidRequestError: `modelId` names a router: the body of InvokeModel is one model's own.
        """
        self._refuse_router(request, "invoke_model_with_response_stream")
        return self._client.invoke_model_with_response_stream(**request)

    def _tell(self, trace: Trace) -> None:
        log_request(trace)
        if trace.drift is not None:
            _log.warning("%s", trace.drift, extra={"pointsman": trace.drift.to_dict()})
            _call("on_alarm", self._on_alarm, trace.drift)
        _call("on_trace", self._on_trace, trace)

    def _refuse_router(self, request: Mapping[str, Any], operation: str) -> None:
        model_id = request.get("modelId")
        if isinstance(model_id, str) and self.context.routers.router(model_id) is not None:
            raise InvalidRequestError(
                f"{operation} can't be routed: {model_id!r} is a prompt router. Use converse, or name a model."
            )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_client":
            raise AttributeError(name)
        return getattr(self._client, name)


def _check_client(client: Any) -> None:
    if not any(callable(getattr(client, name, None)) for name in ("converse", "converse_stream", "invoke_model")):
        raise InvalidRequestError(
            f"the client is {client!r}, which has no converse. Give one of boto3: "
            'pointsman.Client(boto3.client("bedrock-runtime")).'
        )


def _checked(routers: Iterable[Router]) -> tuple[Router, ...]:
    if isinstance(routers, str):
        raise InvalidRequestError(f"routers is {routers!r}. Give a list of Router, or RouterRegistry(path=...).")
    found = tuple(routers)
    for router in found:
        if not isinstance(router, Router):
            raise InvalidRequestError(
                f"routers holds {router!r}, which is no Router. Give pointsman.Router(...); those that are there "
                "already are named by the request's modelId."
            )
    return found


def _call(name: str, callback: Callable[[_T], object] | None, value: _T) -> None:
    """Call what the user gave, if he did; his fault goes into the log."""
    if callback is None:
        return
    try:
        callback(value)
    except Exception:  # noqa: BLE001 - the user has his reply all the same
        _log.warning("%s failed", name, exc_info=True, extra={"pointsman": {"callback": name}})


def registry_of(client: Any, routers: RouterRegistry | Iterable[Router] | None) -> RouterRegistry:
    """The routers of a client, or those that one made of a boto3 client will have. For frameworks that take either.

    Raises:
        InvalidRequestError: the client has its own, and others are given.
    """
    if isinstance(client, Client):
        if routers is not None:
            raise InvalidRequestError("routers were given beside a pointsman.Client. Give them to the client.")
        return client.context.routers
    return routers if isinstance(routers, RouterRegistry) else RouterRegistry(routers or ())


class _Drive:
    """One request's flow, and the calls that it wants."""

    def __init__(self, client: Client, request: Mapping[str, Any], session: Session | None, *, streaming: bool) -> None:
        self._client = client
        self._open: Callable[..., Any] | None = None
        now = client._clock()
        client.context.ledger.sync(now)
        session = session or current_session()
        told = session.id if session is not None else None
        self._observer = observe(client._client, request, streaming=streaming, conversation=told)
        self._flow = converse_flow(
            request,
            client.context,
            now=now,
            streaming=streaming,
            draw=client._random.random(),
            session=session,
        )
        self._call: Call = self._observer.decide(self._flow)
        self._kept: Kept | None = None
        self.trace: Trace | None = None

    def call_until_answered(self, operation: Callable[..., Any]) -> Any:
        """Make the call that the flow wants, and the next one if that failed, until one is answered."""
        self._open = operation
        observed = self._observer.within(operation)
        while True:
            self._release()
            try:
                return observed(**self._call.request)
            except Exception as exc:  # noqa: BLE001 - the flow raises it again, unless another model may serve
                self.settle(self.failure(exc))

    @property
    def watch(self) -> Callable[[Mapping[str, Any]], None] | None:
        """Who wants to be told of a stream's events, if anybody does."""
        return self._observer.watch

    def open(self) -> Any:
        """Make the call that the flow wants; its event stream."""
        assert self._open is not None
        return self.call_until_answered(self._open)["stream"]

    def failure(self, error: Exception) -> Failure:
        """The error as the flow takes it."""
        return read_failure(error, self._call.request, at=self._client._clock())

    def settle(self, outcome: Reply | Failure) -> bool:
        """Hand the flow what came of the call; False if it wants another call.

        Raises:
            Exception: the call's error, where the flow ends with it; the trace is its attribute `pointsman`.
        """
        try:
            self._call = self._flow.send(outcome)
            return False
        except StopIteration as done:
            trace: Trace | None = done.value
        self._observer.end(trace, outcome)
        if trace is None:
            return True  # Nobody holds the stream any more: the flow was closed before it, and can't tell its trace.
        self.trace = trace
        _call("keep-alive", self._keep, trace)
        self._client._tell(trace)
        if isinstance(outcome, Failure):
            outcome.error.pointsman = trace.to_dict()  # type: ignore[attr-defined]  # for the caller
            raise outcome.error
        return True

    def _release(self) -> None:
        keep_alive, call = self._client._keep_alive, self._call
        if keep_alive is not None and call.outline is not None:
            self._kept = keep_alive.release(call.model, call.outline)

    def _keep(self, trace: Trace) -> None:
        # What a session holds must not outlive it, nor be sent again by anything that doesn't ask who may see it.
        if self._client._keep_alive is not None and trace.documents is None:
            self._client._keep_alive.keep(self._client._line, self._call.request, trace, before=self._kept)

    def decorate(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The reply, or a stream's metadata, with the trace; nothing else in it changes."""
        assert self.trace is not None
        reply = {**raw, "pointsman": self.trace.to_dict()}
        if self.trace.router is not None:
            router = {"invokedModelId": self.trace.invoked_model_id}
            reply["trace"] = {**(raw.get("trace") or {}), "promptRouter": router}
        return reply


class AsyncClient:
    """The same for asyncio: boto3 in threads of its own, as many as the client's pool has connections.

    The event loop's default executor would allow six on two cores. Takes what `Client` takes; set
    `max_pool_connections` in the boto3 client's config to have more requests in flight. Attributes that are not
    listed here are forwarded to the boto3 client, and are not async.
    """

    def __init__(self, boto3_client: Any, **kwargs: Any) -> None:
        self._sync = Client(boto3_client, **kwargs)
        self._threads = Threads(boto3_client)

    @property
    def context(self) -> Context:
        """Catalogue, routers, ledger and token counts."""
        return self._sync.context

    async def converse(self, **request: Any) -> dict[str, Any]:
        """As `Client.converse`."""
        return await self._threads.run(self._sync.converse, **request)

    async def converse_stream(self, **request: Any) -> dict[str, Any]:
        """As `Client.converse_stream`; `stream` is an async iterator with `close()`."""
        reply = await self._threads.run(self._sync.converse_stream, **request)
        return {**reply, "stream": AsyncReplyStream(reply["stream"], self._threads)}

    async def count_tokens(self, **request: Any) -> Any:
        """As `Client.count_tokens`."""
        return await self._threads.run(self._sync.count_tokens, **request)

    def close(self) -> None:
        """Let the threads go once what is under way has ended."""
        self._threads.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_sync":
            raise AttributeError(name)
        return getattr(self._sync, name)


class AsyncReplyStream(ThreadedIterator[dict[str, Any]]):
    """A reply's events for asyncio: an async iterator with `close()`."""

    def __init__(self, stream: ReplyStream, threads: Threads) -> None:
        super().__init__(stream, stream.close, threads)
        self._stream = stream

    @property
    def trace(self) -> Trace | None:
        """The request's trace, once the stream has ended or was closed."""
        return self._stream.trace
