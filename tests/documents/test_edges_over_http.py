"""What conversations do besides going on, over HTTP, where the endpoint refuses what Bedrock would refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from botocore.config import Config
from talks import (
    CLAUDE,
    INSTRUCTIONS,
    LLAMA,
    SHAPES,
    Request,
    Talk,
    blocks_of,
    document,
    in_message,
    in_system,
    said,
    text_of,
    texts_in,
    times,
)
from wire import Wire, answer_of, asked_with, plain, up_to_the_last_point

import pointsman
from pointsman import Client, Router, RoutingCriteria, Scope
from pointsman.local import LocalEndpoint

TOOLS = {"tools": [{"toolSpec": {"name": "search", "inputSchema": {"json": {"type": "object"}}}}]}
ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"


@pytest.fixture
def wire(endpoint: LocalEndpoint, boto3_client: Any) -> Iterator[Wire]:
    """A boto3 client whose bytes are kept; at the end the endpoint has refused nothing that was not made to fail."""
    wire = Wire(endpoint, boto3_client)
    yield wire
    assert set(endpoint.account()["errors"]) <= {"ThrottlingException", "ServiceUnavailableException"}


def settled(talk: Talk) -> Talk:
    """The conversation, when its documents 0 and 1 stay; each turn had another besides."""
    for turn in range(5):
        talk.ask(f"What about post {turn}?", [0, 1, 10 + turn])
    assert talk.told.stay >= 2
    return talk


def goes_on_from(request: Request, before: Request) -> bool:
    """Whether a request begins with the very bytes that another had up to its last cache point."""
    cached = up_to_the_last_point(before)
    return len(cached) > 4_000 and plain(request).startswith(cached)


# --- histories ----------------------------------------------------------------------------------------------------


def test_a_window_that_moves_at_every_turn_never_loses_or_doubles_a_document(wire: Wire) -> None:
    """Whatever a window memory drops, the turn's documents stand there once, and none that it dropped are named."""
    talk = wire.talk()
    for turn in range(9):
        talk.history = talk.history[-6:]
        talk.ask(f"What about post {turn}?", [0, 1, 10 + turn])
        assert [times(number, talk.sent) for number in (0, 1, 10 + turn)] == [1, 1, 1]
        assert talk.told.as_written is None
        assert texts_in(talk.sent).count("[document 1]\nNotice") == int("[document 1]" in texts_in(talk.sent))


def test_a_summary_begins_a_conversation_that_goes_on(wire: Wire) -> None:
    """Instead of the history: what it does not hold is not sent, and what was before can still be gone back to."""
    talk = settled(wire.talk())
    before, history = talk.sent, list(talk.history)
    talk.history = [said("user", "Sum up what we said."), said("assistant", "We spoke of posts 0 to 4.")]
    talk.ask("And now?", [7])
    begun = talk.sent
    assert [times(number, begun) for number in (0, 1, 7)] == [0, 0, 1]
    talk.ask("And then?", [8])
    assert plain(talk.sent).startswith(up_to_the_last_point(begun))
    talk.history = history
    talk.ask("And as before?", [0, 9])
    assert goes_on_from(talk.sent, before)


def test_a_condense_call_between_two_turns_disturbs_neither(wire: Wire) -> None:
    """With the real history, under the very system prompt of the conversation, it holds no documents and gets none."""
    talk = settled(wire.talk())
    before = talk.sent
    question = said("user", "Make a question of its own of: And now?")
    request = {"modelId": CLAUDE, "system": [{"text": "You rephrase."}], "messages": [*talk.history, question]}
    talk.client.converse(**request, session=talk.session)
    assert plain(talk.sent) == plain(request)
    assert times(0, talk.sent) == times(1, talk.sent) == 0
    talk.ask("And now?", [0, 1, 20])
    assert goes_on_from(talk.sent, before)


@pytest.mark.parametrize("retrieved", [False, True], ids=["before the retrieval", "after it"])
def test_a_call_that_holds_no_documents_gets_none(wire: Wire, retrieved: bool) -> None:
    """Under the conversation's own system prompt and history too, whether its question's documents are known or not."""
    talk = settled(wire.talk())
    before = talk.sent
    if retrieved:
        talk.session.register([document(0), document(20)])
    talk.send({"system": [{"text": INSTRUCTIONS}], "asked": said("user", "Make a question of its own of: And now?")})
    held = times(0, talk.sent), times(1, talk.sent)
    talk.ask("And now?", [0, 20])
    assert goes_on_from(talk.sent, before)
    assert held == (0, 0)


def test_an_edited_question_and_a_regenerated_answer_leave_both_branches_readable(wire: Wire) -> None:
    """Each goes on from its own last request, by its bytes."""
    talk = settled(wire.talk(shape=in_system))
    fork = list(talk.history)
    talk.ask("This way?", [0, 40])
    one, one_history = talk.sent, talk.history
    talk.history = fork
    talk.ask("This way?", [0, 40], after=5.0)
    assert plain(talk.sent) == plain(one)
    talk.history = fork
    talk.ask("Or that way?", [1, 41])
    other, other_history = talk.sent, talk.history
    for before, history in ((one, one_history), (other, other_history)):
        talk.history = history
        talk.ask("And on?", [42])
        assert goes_on_from(talk.sent, before)


def test_one_question_sent_twice_at_once_is_sent_with_the_same_bytes(wire: Wire) -> None:
    """A double click: two threads, one session, one history; the conversation goes on from either."""
    talk = settled(wire.talk(shape=in_system))
    found = [document(0), document(50)]
    talk.session.register(found)
    shaped = in_system("And now?", [one.text for one in found])
    request = {"modelId": CLAUDE, "system": shaped["system"], "messages": [*talk.history, shaped["asked"]]}
    wire.requests.clear()
    together, replies = threading.Barrier(4), list[Any]()

    def click() -> None:
        together.wait(10)
        replies.append(talk.client.converse(**request, session=talk.session))

    clicks = [threading.Thread(target=click) for _ in range(4)]
    for one in clicks:
        one.start()
    for one in clicks:
        one.join()
    assert [reply["pointsman"]["advice_failures"] for reply in replies] == [[]] * 4
    assert len({plain(sent) for sent in wire.requests}) == 1
    before = talk.sent
    talk.history += [said("user", "And now?"), answer_of(replies[0])]
    talk.ask("And then?", [0, 51])
    assert goes_on_from(talk.sent, before)


# --- retries and other models -------------------------------------------------------------------------------------


def test_a_retry_of_botocore_sends_the_same_bytes(endpoint: LocalEndpoint) -> None:
    """So does that of the user, after the error has reached him."""
    wire = Wire(endpoint, endpoint.client(config=Config(retries={"total_max_attempts": 2, "mode": "standard"})))
    talk = settled(wire.talk())
    endpoint.faults.inject("throttle", times=3)
    wire.bodies.clear()
    talk.session.register([document(0), document(50)])
    shaped = in_message("And now?", [text_of(0), text_of(50)])
    with pytest.raises(talk.client.exceptions.ThrottlingException):
        talk.send(shaped)
    talk.send(shaped, after=1.0)
    assert len(wire.bodies) == 4
    assert len(set(wire.bodies)) == 1


def test_a_throttled_model_hands_the_same_documents_to_the_next(wire: Wire) -> None:
    """What is laid does not depend on which model of the router answers."""
    talk = settled(wire.talk(model=ROUTER))
    before = talk.sent
    wire.endpoint.faults.inject("throttle")
    wire.requests.clear()
    talk.ask("And now?", [0, 1, 50])
    first, second = wire.requests
    assert first["modelId"] != second["modelId"]
    assert plain(first) == plain(second)
    assert goes_on_from(second, before)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", [LLAMA, "mixed"])
def test_a_model_without_caching_is_sent_what_was_written(wire: Wire, model: str, shape: Any) -> None:
    """Also where a router has one such model among others."""
    mixed = Router(
        name="mixed",
        models=[LLAMA],
        fallback_model=CLAUDE,
        criteria=RoutingCriteria(response_quality_difference=0.1),
    )
    client = Client(wire.boto3_client, routers=[mixed], clock=lambda: wire.now)
    talk = wire.talk(client=client, model=model, shape=shape)
    for turn in range(5):
        found = [0, 1, 10 + turn]
        shaped = shape(f"What about post {turn}?", [text_of(number) for number in found])
        written = {"system": shaped["system"], "messages": [*talk.history, shaped["asked"]]}
        talk.ask(f"What about post {turn}?", found)
        assert plain(talk.sent) == plain(written)


def test_the_callers_own_cache_points_stay(wire: Wire) -> None:
    """Behind the block that they stood behind, though documents have moved."""
    talk = settled(wire.talk())
    point = {"cachePoint": {"type": "default"}}
    shaped = in_message("And now?", [text_of(0), text_of(50)])
    shaped = {**shaped, "system": [*shaped["system"], point]}
    shaped["asked"]["content"].append(point)
    talk.session.register([document(0), document(50)])
    talk.send(shaped)
    assert "cachePoint" in talk.sent["system"][-1]
    assert "cachePoint" in talk.sent["messages"][-1]["content"][-1]
    assert talk.told.as_written is None


# --- agents -------------------------------------------------------------------------------------------------------


def step(talk: Talk, messages: list[Request], number: int, content: Sequence[Request]) -> Request:
    """One call of the retriever tool and what it returned, and the request that tells the model of it."""
    use = {"toolUse": {"toolUseId": f"t{number}", "name": "search", "input": {"query": f"post {number}"}}}
    result = {"toolResult": {"toolUseId": f"t{number}", "content": list(content)}}
    messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    talk.account.now += 20.0
    return asked_with(TOOLS, talk, messages)


@pytest.mark.parametrize(
    "form",
    [
        lambda texts: [{"text": text} for text in texts],
        lambda texts: [{"text": json.dumps({"results": texts})}],
        lambda texts: [{"text": json.dumps({"results": texts}, ensure_ascii=False)}],
        lambda texts: [{"json": {"results": [{"text": text, "score": 0.5} for text in texts]}}],
    ],
    ids=["plain", "escaped", "escaped, not in ASCII", "json"],
)
def test_an_agents_second_copy_becomes_a_reference_over_several_turns(wire: Wire, form: Any) -> None:
    """The first copy stays where it stood, in whatever form the tool returned it; all requests grow at their end."""
    talk, messages = wire.talk(), list[Request]()
    body = ' "Räder" \\ wait\tat the end.\n' + "Each line has another. " * 8
    texts = {number: f"Notice {number} of Zürich.{body}{text_of(number)}" for number in (0, *range(10, 16))}
    number = 0
    for turn in range(3):
        messages.append(said("user", f"What about post {turn}?"))
        asked_with(TOOLS, talk, messages)
        for _ in range(2):
            found = [texts[0], texts[10 + number]]
            talk.session.register(
                [pointsman.Document(id=text.split(" of")[0], text=text, knowledge_base="n") for text in found]
            )
            reply = step(talk, messages, number, form(found))
            assert reply["pointsman"]["documents"]["as_written"] is None
            assert reply["pointsman"]["documents"]["not_found"] == []
            number += 1
        messages.append(said("assistant", f"Answer {turn}."))
    whole = json.dumps(talk.sent, ensure_ascii=False)
    assert whole.count("[given above: Notice 0 of Z") == 5
    assert whole.count("Notice 0 of Z") == 5 + 1
    assert [whole.count(f"Notice {10 + one} of Z") for one in range(6)] == [1] * 6
    for before, after in pairwise(wire.requests):
        assert plain(after).startswith(up_to_the_last_point(before))


def test_two_results_of_one_message_hold_a_document_once(wire: Wire) -> None:
    """Tools that are called side by side return the same passage: the first of them keeps it."""
    talk = wire.talk()
    talk.session.register([document(0)])
    uses = [{"toolUse": {"toolUseId": name, "name": "search", "input": {}}} for name in ("a", "b")]
    results = [{"toolResult": {"toolUseId": name, "content": [{"text": text_of(0)}]}} for name in ("a", "b")]
    messages: list[Request] = [
        said("user", "Which post?"),
        {"role": "assistant", "content": uses},
        {"role": "user", "content": results},
    ]
    asked_with(TOOLS, talk, messages)
    first, second = [block["toolResult"] for block in talk.sent["messages"][-1]["content"] if "toolResult" in block]
    assert first["content"] == [{"text": text_of(0)}]
    assert second["content"][0]["text"].startswith("[given above: Notice 0")


def test_a_reference_does_not_outlive_what_it_refers_to(wire: Wire) -> None:
    """The turn with the first copy is trimmed: the second stands in full again."""
    talk, messages = wire.talk(), list[Request]()
    for turn in range(3):
        messages.append(said("user", f"What about post {turn}?"))
        talk.session.register([document(0)])
        step(talk, messages, turn, [{"text": text_of(0)}])
        messages.append(said("assistant", f"Answer {turn}."))
    assert texts_in(talk.sent).count("[given above:") == 2
    asked_with(TOOLS, talk, [*messages[4:], said("user", "And now?")])
    assert times(0, talk.sent) == 1
    assert texts_in(talk.sent).count("[given above:") == 1
    assert text_of(0) in texts_in({"messages": talk.sent["messages"][:3]})


def test_tools_that_are_never_called_do_not_make_documents_dear(wire: Wire) -> None:
    """Documents of the last message, none of which comes back, cost no more in a session than without one."""
    bills = []
    for session in (False, True):
        wire.endpoint.advance(10_000.0)
        talk = wire.talk()
        for turn in range(8):
            numbers = range(4 * turn, 4 * turn + 4)
            if session:
                talk.ask(f"What about post {turn}?", numbers, toolConfig=TOOLS)
            else:
                talk.answer(f"What about post {turn}?", [text_of(number) for number in numbers], toolConfig=TOOLS)
        bills.append(sum(trace.cost.total for trace in talk.traces if trace.cost and trace.cost.total))
    without, within = bills
    assert within <= without


# --- safety -------------------------------------------------------------------------------------------------------


def test_the_same_id_is_another_session_for_every_tenant_and_principal(wire: Wire) -> None:
    """Through one client, with the same words said in each: every one is sent its own documents only."""
    scopes = ["a", Scope(tenant="b"), Scope(tenant="a", principal="alice"), Scope(tenant="a", principal="bob")]
    client = Client(wire.boto3_client, clock=lambda: wire.now)
    talks = [
        wire.talk(client=client, shape=in_system, session=pointsman.session("the same", scope=scope))
        for scope in scopes
    ]
    for turn in range(6):
        for place, talk in enumerate(talks):
            secret = document(f"{place}", text=f"The secret of {place}: {text_of(100 + place)}")
            talk.ask(f"What about post {turn}?", [secret], after=5.0)
            talk.history[-1] = said("assistant", "So.")
            held = [texts_in(talk.sent).count(f"The secret of {other}:") for other in range(len(scopes))]
            assert held == [int(other == place) for other in range(len(scopes))]
    assert "[document 1]" in texts_in(talks[-1].sent)
    for talk in talks:
        talk.session.close()


def test_permission_that_is_withdrawn_cuts_a_document_for_good(wire: Wire) -> None:
    """The turns that named it go on without it, and it is not sent again until it is retrieved again."""
    talk, withdrawn = wire.talk(), set[str]()

    def authorize(ids: Sequence[str], scope: Scope) -> list[str]:
        assert scope == Scope(tenant="tenant")
        return [one for one in ids if one not in withdrawn]

    talk.session = talk.sessions.open("talk", scope="tenant", authorize=authorize)
    settled(talk)
    talk.ask("And if none is found?", [20])
    assert times(0, talk.sent) == 1
    withdrawn.add("0")
    for turn in range(2):
        talk.ask(f"And now {turn}?", [21 + turn])
        assert (times(0, talk.sent), times(1, talk.sent)) == (0, 1)
        assert "[document 1]" not in texts_in(talk.sent)
    before = talk.sent
    talk.ask("And then?", [1, 30])
    assert goes_on_from(talk.sent, before)


@pytest.mark.parametrize(
    "answer", [None, 7, ConnectionError("the directory is down")], ids=["nothing", "a number", "an error"]
)
def test_an_authorize_that_fails_once_costs_one_turn(wire: Wire, answer: Any) -> None:
    """That request goes as it was written, with the reason in its trace; the next goes on from the one before it."""
    talk, failing = wire.talk(), list[bool]()

    def authorize(ids: Sequence[str], scope: Scope) -> Any:  # noqa: ARG001 - the protocol
        if failing and isinstance(answer, Exception):
            raise answer
        return answer if failing else ids

    talk.session = talk.sessions.open("talk", scope="tenant", authorize=authorize)
    settled(talk)
    before = talk.sent
    failing.append(True)
    shaped = in_message("And now?", [text_of(20)])
    written = {"system": shaped["system"], "messages": [*talk.history, shaped["asked"]]}
    talk.ask("And now?", [20])
    assert plain(talk.sent) == plain(written)
    assert talk.traces[-1].advice_failures[0].startswith("documents: ")
    failing.clear()
    talk.ask("And then?", [0, 21])
    assert goes_on_from(talk.sent, before)
    assert talk.traces[-1].advice_failures == ()


def test_a_text_of_the_system_prompt_itself_is_found_once_it_is_registered(wire: Wire) -> None:
    """A passage that the instructions quote: it stands in each request once, and the prefix changes only then."""
    talk = wire.talk()
    system = [{"text": f"{INSTRUCTIONS}\n\nAbove all:\n\n{text_of(5)}\n\nDo so."}]
    for turn, found in enumerate([[0], [5, 1], [1], [1], [5, 1]]):
        talk.session.register(map(document, found))
        shaped = in_message(f"What about post {turn}?", [text_of(number) for number in found])
        talk.send({**shaped, "system": system})
        assert [times(number, talk.sent) for number in {5, *found}] == [1] * len({5, *found})
        talk.history += [said("user", f"What about post {turn}?"), said("assistant", "So.")]
    for before, after in pairwise(wire.requests[1:]):
        assert plain(after).startswith(up_to_the_last_point(before))
    assert all(len(blocks_of(request)) > 1 for request in wire.requests)
