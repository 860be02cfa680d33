"""What a user's type checker sees of the clients. Checked by `tests/test_typing.py`, and never run.

A line that is wrong on purpose says so to both checkers, which complain if it isn't wrong.
"""

from __future__ import annotations

from typing import Any, assert_type

import pointsman
from pointsman import AsyncClient, Client, Drift, Router, RoutingCriteria, Session, Trace


def remember(trace: Trace) -> None:
    """Traces have types all the way down."""
    assert_type(trace.model, pointsman.Model)
    assert_type(trace.usage, pointsman.Usage | None)
    assert_type(trace.cost, pointsman.Cost | None)
    assert_type(trace.decision, pointsman.Decision | None)
    assert_type(trace.miss, pointsman.MissReason | None)
    assert trace.usage.cache_read_tokens  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    trace.status = "failed"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def alarm(drift: Drift) -> None:
    """What `on_alarm` is told of."""
    assert_type(drift.to_dict(), dict[str, Any])


def a_client_converses(boto3_client: Any, session: Session) -> None:
    """A reply is boto3's: a dict of whatever."""
    client = Client(boto3_client, on_trace=remember, on_alarm=alarm)
    assert_type(client.converse(modelId="everyday", messages=[]), dict[str, Any])
    assert_type(client.converse(modelId="everyday", messages=[], session=session), dict[str, Any])
    assert_type(client.converse_stream(modelId="everyday", messages=[])["stream"], Any)
    assert_type(client.context.ledger, pointsman.Ledger)
    assert_type(client.list_tags_for_resource, Any)  # forwarded to boto3's client, which has no types
    client.converse(modelId="everyday", session="7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.converse("everyday")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]


def a_client_is_made(boto3_client: Any, trace_log: pointsman.TraceLog) -> None:
    """Of a boto3 client, and by keyword for the rest."""
    everyday = Router(
        name="everyday", models=["a"], fallback_model="b", criteria=RoutingCriteria(response_quality_difference=0.1)
    )
    assert_type(Client(boto3_client, routers=[everyday], on_trace=trace_log), Client)
    Client(boto3_client, routers=everyday)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client(boto3_client, on_trace=alarm)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client(boto3_client, [everyday])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Client()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def an_async_client_converses(boto3_client: Any) -> None:
    """The same, awaited; the stream is an async iterator of events."""
    async with AsyncClient(boto3_client) as client:
        assert_type(client, AsyncClient)
        assert_type(await client.converse(modelId="everyday", messages=[]), dict[str, Any])
        reply = await client.converse_stream(modelId="everyday", messages=[])
        async for event in reply["stream"]:
            assert_type(event, Any)
        client.converse(modelId="everyday")["usage"]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


def errors_have_a_root() -> None:
    """All of them are caught by it."""
    refused: type[pointsman.PointsmanError] = pointsman.InvalidRequestError
    assert refused
    _: type[pointsman.PointsmanError] = OSError  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
