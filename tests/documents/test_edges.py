"""What conversations do besides going on: each edge of laying documents, through a real client."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from talks import (
    CLAUDE,
    INSTRUCTIONS,
    LLAMA,
    NOVA,
    SHAPES,
    Account,
    Request,
    Talk,
    blocks_of,
    document,
    extends,
    in_message,
    in_system,
    said,
    text_of,
    texts_in,
    texts_of,
    times,
)

from pointsman import Client, Router, RoutingCriteria
from pointsman.documents.laying import GIVEN_BELOW
from pointsman.documents.sessions import Sessions

HOUR = 3_600.0


def settled(shape: Callable[[str, Sequence[str]], Request] = in_message, *, model: str = CLAUDE) -> Talk:
    """A conversation whose documents 0 and 1 came back four times, so that they stay; each turn had another besides."""
    talk = Talk(shape=shape, model=model)
    for turn in range(5):
        talk.ask(f"What about post {turn}?", [0, 1, 10 + turn])
    assert talk.told.stay >= 2
    return talk


@pytest.mark.parametrize("shape", SHAPES)
def test_a_conversation_grows_at_its_end(shape: Callable[[str, Sequence[str]], Request]) -> None:
    """Each request begins with what the one before it had up to its last point; each document stands in it once."""
    talk = Talk(shape=shape)
    for turn in range(7):
        talk.ask(f"What about post {turn}?", [0, 1, 10 + turn])
        assert [times(number, talk.sent) for number in (0, 1, 10 + turn)] == [1, 1, 1]
        assert all(times(10 + gone, talk.sent) == 0 for gone in range(turn))
    requests = talk.account.requests
    assert all(extends(after, before) for before, after in pairwise(requests))
    assert talk.traces[-1].usage.cache_read_tokens > 2_000


@pytest.mark.parametrize("shape", SHAPES)
def test_documents_that_stay_are_laid_in_front_of_the_users_words(
    shape: Callable[[str, Sequence[str]], Request],
) -> None:
    """In a block of their own; at later turns, their names stand for them."""
    talk = settled(shape)
    holding = [index for index, message in enumerate(talk.sent["messages"]) if times(0, {"messages": [message]})]
    assert len(holding) == 1
    assert holding[0] < len(talk.sent["messages"]) - 1
    assert talk.sent["messages"][holding[0]]["content"][0]["text"].startswith("[document 1]\nNotice 0.")
    last = "\n".join(block["text"] for block in talk.sent["messages"][-1]["content"] if "text" in block)
    assert "[document 1]" in last
    assert "[document 2]" in last
    assert text_of(14) in last


def test_the_system_prompt_stays_the_same_however_many_documents_it_had() -> None:
    """And however they begin and end."""
    talk = Talk(shape=in_system)
    for numbers in ([0], [1, 2, 3], [4, 5]):
        talk.ask("And?", [document(number, text=f"\r\n\t{text_of(number)}\n\n") for number in numbers])
    heads = {request["system"][0]["text"] for request in talk.account.requests}
    assert len(heads) == 1
    assert GIVEN_BELOW in heads.pop()


def test_the_callers_request_is_not_changed() -> None:
    """Nor is anything that it shares with the one that is sent."""
    talk = settled(in_system)
    talk.session.register([document(0)])
    shaped = in_system("And now?", [text_of(0)])
    before = json.dumps([shaped, talk.history])
    talk.send(shaped)
    assert json.dumps([shaped, talk.history]) == before


def test_an_empty_retrieval_keeps_what_the_conversation_held() -> None:
    """It goes on: what was read stays readable."""
    talk = settled()
    before = talk.sent
    talk.ask("And if nothing is found?", [])
    assert extends(talk.sent, before)
    assert times(0, talk.sent) == 1
    assert talk.told.resent == 2


# --- histories ----------------------------------------------------------------------------------------------------


def test_a_window_memory_is_aligned_by_turn() -> None:
    """The oldest turns are gone: what was laid in those that are left is laid there again."""
    talk = Talk()
    for turn in range(5):
        talk.ask(f"What about post {turn}?", [0, 1, 10 + turn])
    kept_in = next(i for i, message in enumerate(talk.sent["messages"]) if times(0, {"messages": [message]}))
    talk.history = talk.history[2:]
    talk.ask("And now?", [0, 1, 20])
    assert times(0, talk.sent) == 1
    assert times(0, {"messages": [talk.sent["messages"][kept_in - 2]]}) == 1
    before = talk.sent
    talk.ask("And then?", [0, 21])
    assert extends(talk.sent, before)


def test_a_summary_instead_of_the_history_begins_a_conversation() -> None:
    """Nothing of it is known, so nothing is laid that this prompt did not hold."""
    talk = settled()
    talk.history = [said("user", "Sum up what we said."), said("assistant", "We spoke of posts.")]
    talk.ask("And now?", [7])
    assert times(0, talk.sent) == times(1, talk.sent) == 0
    assert times(7, talk.sent) == 1
    assert "[document" not in texts_in(talk.sent)
    before = talk.sent
    talk.ask("And then?", [7])
    assert extends(talk.sent, before)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("history", [False, True])
def test_a_call_that_condenses_the_question_goes_as_it_was_written(
    shape: Callable[[str, Sequence[str]], Request], history: bool
) -> None:
    """With the real history or with a transcript of it; and the conversation goes on as if it had not been."""
    talk = settled(shape)
    before = talk.sent
    asked = said("user", "Make a question of its own of: And now?")
    if history:
        request = {"modelId": CLAUDE, "messages": [*talk.history, asked], "system": [{"text": INSTRUCTIONS}]}
    else:
        request = {"modelId": CLAUDE, "messages": [said("user", f"{talk.history}\n\nAsk: And now?")]}
    talk.client.converse(**request, session=talk.session)
    assert blocks_of(talk.sent) == blocks_of(request)
    talk.ask("And now?", [0, 1, 20])
    assert extends(talk.sent, before)


def test_documents_split_over_two_calls_are_found_in_both() -> None:
    """As a compacting synthesizer sends them: a registration waits until a request holds its text."""
    talk = settled()
    talk.session.register([document(30), document(31)])
    talk.send(in_message("And now?", [text_of(30)]))
    assert talk.told.not_found == ("31",)
    talk.send(in_message("Refine: And now?", [text_of(31)]))
    assert talk.told.not_found == ()
    assert (times(30, talk.sent), times(31, talk.sent)) == (0, 1)


def test_an_edited_question_forks_and_both_branches_go_on() -> None:
    """What stays was laid before; each branch extends its own last request."""
    talk = settled()
    fork = list(talk.history)
    talk.ask("This way?", [0, 40])
    one, one_history = talk.sent, talk.history
    talk.history = fork
    talk.ask("Or that way?", [1, 41])
    other, other_history = talk.sent, talk.history
    talk.history = one_history
    talk.ask("And on?", [42])
    assert extends(talk.sent, one)
    talk.history = other_history
    talk.ask("And on?", [43])
    assert extends(talk.sent, other)


def test_a_regenerated_answer_is_asked_for_with_the_same_bytes() -> None:
    """So is a retry: what was decided for a turn holds."""
    talk = Talk()
    for turn in range(4):
        for _ in range(2):
            talk.session.register([document(0), document(10 + turn)])
            talk.send(in_message(f"What about post {turn}?", [text_of(0), text_of(10 + turn)]), after=1.0)
        first, second = talk.account.requests[-2:]
        assert blocks_of(first) == blocks_of(second)
        talk.history += [said("user", f"What about post {turn}?"), said("assistant", "So.")]


def test_a_call_that_failed_changes_nothing() -> None:
    """The next one lays what it would have laid."""
    talk = settled()
    talk.account.refuse = ValueError("broken")
    talk.session.register([document(0), document(50)])
    with pytest.raises(ValueError, match="broken"):
        talk.send(in_message("And now?", [text_of(0), text_of(50)]))
    talk.account.refuse, before = None, talk.sent
    talk.ask("And now?", [0, 50], after=1.0)
    assert extends(talk.sent, before)
    assert times(50, talk.sent) == 1


def test_two_threads_of_one_session_do_not_disturb_each_other() -> None:
    """Two conversations at once, each with its own head; every request holds its documents once."""
    talk, failures = settled(), list[Any]()

    def converse(name: str, numbers: Sequence[int]) -> None:
        other = Talk(account=talk.account, client=talk.client, session=talk.session)
        other.history = [said("user", f"I am {name}."), said("assistant", "Hello.")]
        for turn in range(8):
            found = [document(number + turn) for number in numbers]
            talk.session.register(found)
            reply = talk.client.converse(
                modelId=CLAUDE,
                system=[{"text": f"{INSTRUCTIONS} {name}"}],
                messages=[*other.history, in_message(f"{name} {turn}?", [one.text for one in found])["asked"]],
                session=talk.session,
            )
            if reply["pointsman"]["advice_failures"] or reply["pointsman"]["documents"]["as_written"]:
                failures.append(reply["pointsman"])
            other.history += [said("user", f"{name} {turn}?"), said("assistant", "So.")]

    threads = [
        threading.Thread(target=converse, args=(name, numbers)) for name, numbers in (("a", (60,)), ("b", (80,)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(max(times(number, one) for number in range(60, 90)) <= 1 for one in talk.account.requests)


# --- documents ----------------------------------------------------------------------------------------------------


def test_a_document_that_changed_is_laid_anew_and_the_old_one_goes_when_the_prefix_is_cold() -> None:
    """As long as it is warm, both stand there: to cut the old one would cost the whole prefix."""
    talk = settled()
    changed = document(0, text=f"{text_of(0)} And since today: wait at post 5,000.")
    before = talk.sent
    talk.ask("And now?", [changed, 1])
    assert extends(talk.sent, before)
    assert texts_in(talk.sent).count("since today") == 1
    talk.ask("And later?", [1], after=2 * HOUR)
    assert texts_in(talk.sent).count("Notice 0.") <= 1
    assert f"{text_of(0)}\n" not in texts_in(talk.sent)


def test_documents_are_not_looked_through_again_while_the_prefix_is_warm() -> None:
    """What isn't retrieved any more stays; once it has gone cold, it is left out."""
    talk = settled()
    for turn in range(3):
        talk.ask(f"Something else {turn}?", [70 + turn])
        assert (times(0, talk.sent), talk.told.cut) == (1, 0)
    talk.ask("After a long pause?", [80], after=2 * HOUR)
    assert (times(0, talk.sent), times(1, talk.sent)) == (0, 0)
    assert talk.told.cut == 2


def test_documents_stay_within_a_share_of_the_smallest_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes beyond it is laid for its question only."""
    monkeypatch.setattr("pointsman.documents.economy._SHARE_OF_WINDOW", 0.0005)
    talk = Talk()
    for turn in range(6):
        talk.ask(f"What about post {turn}?", [0, 1, 2, 3])
    stay = sum(len(text_of(number)) for number in range(4) if f"]\n{text_of(number)}" in texts_in(talk.sent))
    window = talk.client.context.catalog.resolve(CLAUDE).context_window
    assert 0 < talk.told.stay < 4
    assert stay / 4 <= 0.0005 * window
    assert all(times(number, talk.sent) == 1 for number in range(4))


@pytest.mark.parametrize("name", ["document", "searchResult"])
def test_documents_that_the_user_gives_as_blocks_are_left_alone(name: str) -> None:
    """They are his, though a registered text stands in them."""
    block: Request = {"searchResult": {"source": "s", "title": "t", "content": [{"text": text_of(0)}]}}
    if name == "document":
        block = {"document": {"name": "notice", "format": "txt", "source": {"text": text_of(0)}}}
    talk = Talk()
    talk.session.register([document(0)])
    asked = {"role": "user", "content": [block, {"text": "What does it say?"}]}
    talk.send({"system": [{"text": INSTRUCTIONS}], "asked": asked})
    assert block in talk.sent["messages"][0]["content"]
    assert talk.told.not_found == ("0",)


def test_guarded_documents_stay_where_they_are() -> None:
    """A guardrail judges them there."""
    talk = Talk()
    for turn in range(6):
        talk.session.register([document(0)])
        guarded = {"guardContent": {"text": {"text": text_of(0), "qualifiers": ["grounding_source"]}}}
        asked = {"role": "user", "content": [guarded, {"text": f"Question {turn}?"}]}
        talk.send({"system": [{"text": INSTRUCTIONS}], "asked": asked})
        assert guarded in talk.sent["messages"][-1]["content"]
        assert talk.told.as_written is None
        assert talk.told.stay == 0
        talk.history += [said("user", f"Question {turn}?"), said("assistant", "So.")]


def test_a_text_that_a_template_changed_is_told_of_and_left() -> None:
    """The request goes as it was written."""
    talk = Talk()
    talk.session.register([document(0), document(1)])
    shaped = in_message("And?", [text_of(0)[:-40], text_of(1)])
    talk.send(shaped)
    assert talk.told.not_found == ("0",)
    assert blocks_of(talk.sent) == blocks_of({"system": shaped["system"], "messages": [shaped["asked"]]})


def test_who_keeps_documents_in_his_history_has_them_left_there() -> None:
    """Second copies become references; nothing is called volatile that will come back."""
    talk = Talk()
    for turn in range(4):
        found = [document(0), document(10 + turn)]
        talk.session.register(found)
        asked = in_message(f"What about post {turn}?", [one.text for one in found])["asked"]
        talk.send({"system": [{"text": INSTRUCTIONS}], "asked": asked})
        talk.history += [asked, said("assistant", f"Answer {turn}.")]
        assert times(0, talk.sent) == 1
        assert all(times(10 + gone, talk.sent) == 1 for gone in range(turn + 1))
    assert talk.told.stay == 0
    assert "[given above: Notice 0 Rule 0 0 wait at post" in texts_in(talk.sent)
    requests = talk.account.requests[1:]
    assert all(extends(after, before) for before, after in pairwise(requests))
    assert talk.traces[-1].outline.volatile_from is None


# --- agents -------------------------------------------------------------------------------------------------------

TOOLS = {"tools": [{"toolSpec": {"name": "search", "inputSchema": {"json": {"type": "object"}}}}]}


def used(number: int) -> Request:
    """A call of the retriever."""
    return {"role": "assistant", "content": [{"toolUse": {"toolUseId": f"t{number}", "name": "search", "input": {}}}]}


def returned(number: int, *texts: str) -> Request:
    """What it returned."""
    content = [{"text": text} for text in texts]
    return {"role": "user", "content": [{"toolResult": {"toolUseId": f"t{number}", "content": content}}]}


def test_in_an_agents_loop_a_second_copy_becomes_a_reference() -> None:
    """Plain or escaped as JSON, the first stays; the requests only grow."""
    talk, messages = Talk(), [said("user", "Which post?")]
    for step in range(6):
        found = [text_of(0), text_of(10 + step)]
        talk.session.register([document(0), document(10 + step)])
        results = [json.dumps({"results": found})] if step % 2 else found
        messages += [used(step), returned(step, *results)]
        before = [*talk.account.requests]
        reply = talk.client.converse(
            modelId=CLAUDE, system=[{"text": INSTRUCTIONS}], messages=messages, toolConfig=TOOLS, session=talk.session
        )
        assert reply["pointsman"]["documents"]["as_written"] is None
        assert times(0, talk.sent) == 1
        assert all(times(10 + gone, talk.sent) == 1 for gone in range(step + 1))
        assert not before or extends(talk.sent, before[-1])
    assert talk.told.named == 5
    escaped = [text for message in talk.sent["messages"] for text in texts_of(message) if text.startswith("{")]
    assert [len(json.loads(text)["results"]) for text in escaped] == [2, 2, 2]


def test_documents_in_an_agents_system_prompt_stay_through_loops_and_turns() -> None:
    """Each call reads them; what follows them would be lost if they went with the next question."""
    talk, messages = Talk(), list[Request]()
    for turn in range(3):
        messages.append(said("user", f"Question {turn}?"))
        found = [document(0), document(10 + turn)]
        for step in range(3):
            talk.session.register(found)
            system = in_system("", [one.text for one in found])["system"]
            talk.account.now += 20
            talk.client.converse(
                modelId=CLAUDE, system=system, messages=messages, toolConfig=TOOLS, session=talk.session
            )
            messages += [used(10 * turn + step), returned(10 * turn + step, f"Result {step} " * 200)]
        messages[-2:] = [said("assistant", f"Answer {turn}.")]
    requests = talk.account.requests
    assert all(extends(after, before) for before, after in pairwise(requests))
    assert [times(number, talk.sent) for number in (0, 10, 11, 12)] == [1, 1, 1, 1]


# --- models -------------------------------------------------------------------------------------------------------


def test_where_nothing_is_cached_nothing_is_moved() -> None:
    """A model without caching, or a router with one of them."""
    for model in (LLAMA, "mixed"):
        account = Account()
        mixed = Router(
            name="mixed",
            models=[LLAMA],
            fallback_model=CLAUDE,
            criteria=RoutingCriteria(response_quality_difference=0.1),
        )
        client = Client(account, routers=[mixed], clock=lambda account=account: account.now)
        talk = Talk(shape=in_system, model=model, account=account, client=client)
        for turn in range(5):
            talk.ask(f"What about post {turn}?", [0, 1, 10 + turn])
        texts = [text_of(0), text_of(1), text_of(14)]
        assert blocks_of(talk.sent)[0][1] == in_system("", texts)["system"][0]


def test_documents_are_laid_alike_for_every_model_of_a_router() -> None:
    """So that either finds what the other left, when the router comes back to it."""
    account = Account()
    client = Client(account, clock=lambda: account.now)
    router = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
    talk = Talk(model=router, account=account, client=client)
    questions = ("What is a post?", "A train leaves at 7 at 80 km/h, another at 8 at 120: when and where do they meet?")
    for turn in range(8):
        talk.ask(questions[turn % 2] + " " * turn, [0, 1, 10 + turn])
    invoked = {request["modelId"] for request in account.requests}
    assert len(invoked) == 2
    requests = account.requests
    assert all(extends(after, before) for before, after in pairwise(requests))


def test_nova_has_its_documents_laid_within_what_it_caches() -> None:
    """At most half of the 20,000 tokens; its points stand where it takes them."""
    talk = settled(model=NOVA)
    assert talk.told.stay >= 2
    assert talk.traces[-1].usage.cache_read_tokens > 1_000


# --- safety -------------------------------------------------------------------------------------------------------


def test_what_one_may_no_longer_see_is_cut_even_if_the_cache_is_lost() -> None:
    """`authorize` is asked for documents that were not retrieved again, and for no others."""
    asked: list[tuple[list[str], str]] = []
    talk = settled()

    def authorize(ids: Sequence[str], scope: Any) -> list[str]:
        asked.append((list(ids), scope.tenant))
        return [one for one in ids if one != "0"]

    talk.session = talk.sessions.open("talk", scope="tenant", authorize=authorize)
    talk.ask("And now?", [20])
    assert asked == [(["0", "1"], "tenant")]
    assert (times(0, talk.sent), times(1, talk.sent)) == (0, 1)
    assert talk.told.cut == 1
    talk.ask("And then?", [0, 1])
    assert asked == [(["0", "1"], "tenant")]
    assert (times(0, talk.sent), times(1, talk.sent)) == (1, 1)


def test_what_was_not_retrieved_for_too_long_is_cut() -> None:
    """However warm it is."""
    talk = settled()
    talk.session = talk.sessions.open("talk", scope="tenant", max_age=150.0)
    talk.ask("And now?", [1, 20], after=100.0)
    assert (times(0, talk.sent), times(1, talk.sent)) == (1, 1)
    talk.ask("And then?", [21], after=100.0)
    assert (times(0, talk.sent), times(1, talk.sent)) == (0, 1)


def test_a_failing_authorize_does_not_break_the_call() -> None:
    """Nothing is sent again that nobody allowed: the request goes as it was written, and the trace says why."""
    talk = settled()

    def authorize(ids: Sequence[str], scope: Any) -> list[str]:  # noqa: ARG001 - the protocol
        raise ConnectionError("the directory is down")

    talk.session = talk.sessions.open("talk", scope="tenant", authorize=authorize)
    shaped = in_message("And now?", [text_of(20)])
    talk.session.register([document(20)])
    talk.send(shaped)
    assert times(0, talk.sent) == 0
    assert blocks_of(talk.sent)[-1][1] == shaped["asked"]["content"][0]
    assert talk.traces[-1].advice_failures == ("documents: ConnectionError: the directory is down",)


def test_nothing_is_shared_between_scopes() -> None:
    """Neither between tenants nor between principals of one, for the same session id and the same documents' ids."""
    from pointsman import Scope

    account = Account()
    client = Client(account, clock=lambda: account.now)
    sessions = Sessions(clock=lambda: account.now)
    scopes = (Scope(tenant="a"), Scope(tenant="b"), Scope(tenant="a", principal="alice"))
    talks = [Talk(account=account, client=client, session=sessions.open("the same", scope=scope)) for scope in scopes]
    for turn in range(5):
        for place, talk in enumerate(talks):
            own = document(0, text=f"The secret of {place}: {text_of(100 + place)}")
            talk.ask(f"What about post {turn}?", [own, 10 + turn])
            said_here = texts_in(account.requests[-1])
            assert [said_here.count(f"The secret of {other}:") for other in range(3)] == [
                int(other == place) for other in range(3)
            ]


def test_a_prompt_too_short_to_be_cached_goes_as_it_was_written() -> None:
    """And says so."""
    talk = Talk()
    talk.session.register([document(0)])
    reply = talk.client.converse(
        modelId=CLAUDE, messages=[said("user", f"{text_of(0)}\n\nWhat?")], session=talk.session
    )
    assert "short" in str(reply["pointsman"]["documents"]["as_written"])


def test_a_guardrail_that_intervenes_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn did not happen."""
    talk = settled()
    shelves = len(talk.sessions.known_stock_of(talk.session)._shelves)
    converse = Account.converse
    monkeypatch.setattr(
        Account, "converse", lambda self, **request: {**converse(self, **request), "stopReason": "guardrail_intervened"}
    )
    talk.ask("And now?", [0, 1])
    assert len(talk.sessions.known_stock_of(talk.session)._shelves) == shelves


def test_an_unknown_model_has_its_request_as_it_was_written() -> None:
    """Nobody knows whether it caches."""
    talk = Talk(shape=in_system, model="nobody.knows-v1:0")
    with pytest.warns(match="nobody.knows"):
        talk.client.context.catalog.resolve(talk.model)
    talk.account._catalog = replace_catalog(talk.account._catalog)
    talk.ask("And?", [0, 1])
    assert blocks_of(talk.sent)[0][1] == in_system("", [text_of(0), text_of(1)])["system"][0]


def replace_catalog(catalog: Any) -> Any:
    """A catalogue in which that model is one without caching."""
    known = catalog.resolve(LLAMA)
    return catalog.with_model(replace(known, id="nobody.knows-v1:0", invoke_id="nobody.knows-v1:0"))
