"""Conversations about documents over HTTP: what the local endpoint, which knows nothing of sessions, has read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from talks import CLAUDE, SHAPES, Request, Talk, document, said, text_of

import pointsman
from pointsman import Client, KnowledgeBase
from pointsman.documents.sessions import Sessions
from pointsman.local import LocalEndpoint

TURNS = tuple((0, 1, 2 * turn + 2, 2 * turn + 3) for turn in range(6))


def conversation(
    endpoint: LocalEndpoint, shape: Callable[[str, Sequence[str]], Request], session: Any, **options: Any
) -> tuple[int, float]:
    """Six turns whose documents half overlap: tokens read by the endpoint's account, and the bill by the trace."""
    client, history, bill = Client(endpoint.client(), clock=endpoint.settings.clock, **options), list[Request](), 0.0
    before = endpoint.account()["totals"]["cache_read_tokens"]
    for turn, numbers in enumerate(TURNS):
        if session is not None:
            session.register(map(document, numbers))
        question = f"What about post {turn}?"
        shaped = shape(question, [text_of(number) for number in numbers])
        reply = client.converse(
            modelId=CLAUDE, system=shaped["system"], messages=[*history, shaped["asked"]], session=session
        )
        bill += float(reply["pointsman"]["cost"]["total"])
        history += [said("user", question), reply["output"]["message"]]
        endpoint.advance(60.0)
    return endpoint.account()["totals"]["cache_read_tokens"] - before, bill


@pytest.mark.parametrize("shape", SHAPES)
def test_a_session_reads_more_and_costs_less(
    endpoint: LocalEndpoint, shape: Callable[[str, Sequence[str]], Request]
) -> None:
    """The same requests without one, and with one; both begin cold."""
    read_without, bill_without = conversation(endpoint, shape, None)
    endpoint.advance(10_000.0)
    read_with, bill_with = conversation(endpoint, shape, Sessions().open("s", scope="t"))
    assert read_with > read_without
    assert bill_with < bill_without


def test_a_knowledge_base_of_the_endpoint_feeds_a_session(tmp_path: Any) -> None:
    """From Retrieve to the cache, all over HTTP."""
    for number in range(4):
        (tmp_path / f"notice-{number}.md").write_text(text_of(number))
    with LocalEndpoint(engine="extract", knowledge_bases={"NOTICES001": tmp_path}) as endpoint:
        knowledge_base = KnowledgeBase("NOTICES001", client=endpoint.client("bedrock-agent-runtime"), results=2)
        client, history = Client(endpoint.client(), clock=endpoint.settings.clock), list[Request]()
        with pointsman.session("over http", scope="tests") as session:
            for turn in range(5):
                found = knowledge_base.retrieve("Notice 2, rule 2.7: wait at which post?")
                shaped = SHAPES[1](f"Question {turn}?", [one.text for one in found])
                reply = client.converse(modelId=CLAUDE, system=shaped["system"], messages=[*history, shaped["asked"]])
                history += [said("user", f"Question {turn}?"), reply["output"]["message"]]
                endpoint.advance(30.0)
            session.close()
    told = reply["pointsman"]["documents"]
    assert (told["stay"], told["not_found"], told["as_written"]) == (len(found), [], None)
    assert reply["usage"]["cacheReadInputTokens"] > 1_500


@pytest.mark.filterwarnings("error")
def test_a_router_that_only_aws_knows_has_its_request_as_written() -> None:
    """Nobody here knows its models; and nobody warns of them."""
    arn = "arn:aws:bedrock:us-east-1:123412341234:prompt-router/abcdefghijkl"
    talk = Talk(model=arn)
    talk.session.register([document(0)])
    shaped = SHAPES[1]("And?", [text_of(0)])
    sent: list[Request] = []

    def converse(**request: Any) -> Request:
        sent.append(request)
        return {"usage": None, "stopReason": "end_turn", "output": {"message": said("assistant", "So.")}}

    talk.account.converse = converse  # type: ignore[method-assign]  # there is no model to bill
    talk.send(shaped)
    assert sent[0]["system"] == shaped["system"]
