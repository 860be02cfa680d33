"""Documents in what users send, over HTTP: split, changed, too many, guarded, kept, altered, or given as blocks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from talks import (
    CLAUDE,
    INSTRUCTIONS,
    Request,
    Talk,
    document,
    in_message,
    in_system,
    said,
    text_of,
    texts_in,
    times,
)
from wire import Wire, asked_with, plain, up_to_the_last_point

from pointsman.local import LocalEndpoint

TOOLS = {"tools": [{"toolSpec": {"name": "search", "inputSchema": {"json": {"type": "object"}}}}]}
HOUR = 3_600.0


@pytest.fixture
def wire(endpoint: LocalEndpoint, boto3_client: Any) -> Iterator[Wire]:
    """A boto3 client whose bytes are kept; at the end the endpoint has refused nothing."""
    wire = Wire(endpoint, boto3_client)
    yield wire
    assert endpoint.account()["errors"] == {}


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


def test_a_compacting_synthesizers_calls_go_on_from_one_conversation(wire: Wire) -> None:
    """Its documents come in two calls, the second with the first answer; each holds its own, and the next turn goes
    on."""
    talk = settled(wire.talk())
    before = talk.sent
    talk.session.register([document(30), document(31)])
    first = talk.send(in_message("And now?", [text_of(30)]))
    assert talk.told.not_found == ("31",)
    assert goes_on_from(talk.sent, before)
    talk.send(in_message(f"And now? We have so far: {first} Refine it.", [text_of(31)]))
    assert talk.told.not_found == ()
    assert goes_on_from(talk.sent, before)
    assert [times(number, talk.sent) for number in (30, 31)] == [0, 1]
    talk.history += [said("user", "And now?"), said("assistant", first)]
    talk.ask("And then?", [0])
    assert goes_on_from(talk.sent, before)


def test_both_versions_stand_until_the_prefix_is_cold(wire: Wire) -> None:
    """The new one for its question at once; the old one goes as soon as nothing is lost by that."""
    talk = settled(wire.talk())
    before, new = talk.sent, f"{text_of(0)} Since today: wait at post 5,000."
    talk.ask("And now?", [document(0, text=new), 1])
    assert goes_on_from(talk.sent, before)
    assert texts_in(talk.sent).count("Notice 0.") == 2
    assert texts_in(talk.sent).count(new) == 1
    talk.ask("And later?", [document(0, text=new), 1], after=1.5 * HOUR)
    assert texts_in(talk.sent).count("Notice 0.") == texts_in(talk.sent).count(new) == 1


def test_nothing_is_dropped_from_a_warm_prefix(wire: Wire) -> None:
    """What no question needs any more stays as long as it is read, and is left out of the first cold request."""
    talk = settled(wire.talk(shape=in_system))
    for turn in range(4):
        before = talk.sent
        talk.ask(f"Something else {turn}?", [70 + turn], after=600.0)
        assert (times(0, talk.sent), talk.told.cut) == (1, 0)
        assert goes_on_from(talk.sent, before)
    talk.ask("After a pause?", [80], after=1.5 * HOUR)
    assert (times(0, talk.sent), times(1, talk.sent), talk.told.cut) == (0, 0, 2)


def test_a_budget_holds_over_a_long_conversation(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond it is laid for its question; nothing that stays is exchanged for something better."""
    monkeypatch.setattr("pointsman.documents.economy._SHARE_OF_WINDOW", 0.0005)
    talk = wire.talk()
    window = talk.client.context.catalog.resolve(CLAUDE).context_window
    for turn in range(9):
        numbers = [0, 1, 2, 3] if turn < 5 else [4, 5, 6, 7]
        talk.ask(f"What about post {turn}?", numbers)
        assert [times(number, talk.sent) for number in numbers] == [1] * 4
        staying = [number for number in range(8) if f"]\n{text_of(number)}" in texts_in(talk.sent)]
        assert sum(len(text_of(number)) for number in staying) / 4 <= 0.0005 * window
    assert staying
    assert set(staying) < {0, 1, 2, 3}
    assert all(goes_on_from(after, before) for before, after in pairwise(wire.requests))


def test_guarded_documents_are_left_under_guard(wire: Wire) -> None:
    """In the message and in the system prompt, though the session holds their texts."""
    talk = wire.talk()
    guarded = {"guardContent": {"text": {"text": text_of(0), "qualifiers": ["grounding_source"]}}}
    in_the_system_prompt = {"guardContent": {"text": {"text": text_of(1), "qualifiers": ["grounding_source"]}}}
    for turn in range(5):
        talk.session.register([document(0), document(1)])
        asked = {"role": "user", "content": [guarded, {"text": f"Question {turn}?"}]}
        talk.send({"system": [{"text": INSTRUCTIONS}, in_the_system_prompt], "asked": asked})
        assert guarded in talk.sent["messages"][-1]["content"]
        assert in_the_system_prompt in talk.sent["system"]
        assert texts_in(talk.sent).count("Notice 0.") == texts_in(talk.sent).count("Notice 1.") == 0
        talk.history += [said("user", f"Question {turn}?"), said("assistant", "So.")]


@pytest.mark.parametrize("name", ["document", "searchResult"])
def test_blocks_that_the_user_gives_are_left_alone_among_documents_that_move(wire: Wire, name: str) -> None:
    """A registered text within them is no place of that text: beside them, it is laid as ever."""
    block: Request = {
        "searchResult": {
            "source": "https://example.com/notice",
            "title": "A notice",
            "content": [{"text": text_of(0)}],
            "citations": {"enabled": False},
        }
    }
    if name == "document":
        block = {"document": {"name": "notice", "format": "txt", "source": {"text": text_of(0)}}}
    talk = wire.talk()
    for turn in range(5):
        talk.session.register([document(0), document(1)])
        shaped = in_message(f"Question {turn}?", [text_of(0), text_of(1)])
        shaped["asked"]["content"].insert(0, block)
        talk.send(shaped)
        assert block in talk.sent["messages"][-1]["content"]
        assert [times(number, talk.sent) for number in (0, 1)] == [1, 1]
        talk.history += [said("user", f"Question {turn}?"), said("assistant", "So.")]


def test_an_agents_system_prompt_is_read_through_its_loops_and_turns(wire: Wire) -> None:
    """Documents that came with each question stand in it for the template only; what is sent grows at its end."""
    talk, messages = wire.talk(), list[Request]()
    for turn in range(3):
        messages.append(said("user", f"Question {turn}?"))
        found = [document(0), document(10 + turn)]
        system = in_system("", [one.text for one in found])["system"]
        for step in range(3):
            talk.session.register(found)
            wire.now += 20.0
            asked_with(TOOLS, talk, messages, system=system)
            use = {"toolUse": {"toolUseId": f"t{turn}{step}", "name": "search", "input": {}}}
            result = {"toolResult": {"toolUseId": f"t{turn}{step}", "content": [{"text": f"Result {step}. " * 200}]}}
            messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
        messages[-2:] = [said("assistant", f"Answer {turn}.")]
    assert all(goes_on_from(after, before) for before, after in pairwise(wire.requests))
    assert [times(number, talk.sent) for number in (0, 10, 11, 12)] == [1, 1, 1, 1]
    assert all(trace.usage and trace.usage.cache_read_tokens > 1_500 for trace in talk.traces[1:])


def test_whole_messages_in_a_history_are_read_as_they_were_sent(wire: Wire) -> None:
    """Documents that the caller keeps there stand there once each; second copies become references to them."""
    talk = wire.talk()
    for turn in range(5):
        found = [document(0), document(10 + turn)]
        talk.session.register(found)
        shaped = in_message(f"What about post {turn}?", [one.text for one in found])
        told = talk.send(shaped)
        talk.history += [shaped["asked"], said("assistant", told)]
        assert [times(number, talk.sent) for number in (0, *range(10, 11 + turn))] == [1] * (2 + turn)
    assert all(plain(after).startswith(up_to_the_last_point(before)) for before, after in pairwise(wire.requests))
    assert texts_in(talk.sent).count("[given above: Notice 0") == 4
    assert talk.traces[-1].usage is not None
    assert talk.traces[-1].usage.cache_read_tokens > 2_000


@pytest.mark.parametrize(
    "altered",
    [
        lambda text: text[:-40],
        lambda text: text.replace("Rule", "1. Rule"),
        lambda text: "\n".join(text.split(". ")),
        lambda text: text.upper(),
    ],
    ids=["truncated", "renumbered", "split anew", "in capitals"],
)
def test_a_text_that_a_template_altered_is_left_where_it_is(wire: Wire, altered: Any) -> None:
    """The request goes byte for byte as it was written, at every turn, and each trace names what was not found."""
    talk = wire.talk(shape=in_system)
    for turn in range(4):
        talk.session.register([document(0)])
        shaped = in_system(f"What about post {turn}?", [altered(text_of(0))])
        written = {"system": shaped["system"], "messages": [*talk.history, shaped["asked"]]}
        talk.answer(f"What about post {turn}?", [altered(text_of(0))])
        assert plain(talk.sent) == plain(written)
    talk.ask("And now?", [1])
    assert talk.told.not_found == ("0",)


def test_a_template_that_alters_every_text_is_told_of(wire: Wire) -> None:
    """From the first request on: it is who never sees a document found that needs to know."""
    talk = wire.talk()
    talk.session.register([document(0), document(1)])
    talk.answer("What?", [text_of(0)[:-40], text_of(1)[:-40]])
    assert talk.told.not_found == ("0", "1")
    assert talk.told.as_written is not None


def test_what_is_too_old_is_cut_from_a_warm_prefix(wire: Wire) -> None:
    """Its age counts from the last request that it was retrieved for."""
    talk = wire.talk()
    talk.session = talk.sessions.open("talk", scope="tenant", max_age=900.0)
    settled(talk)
    talk.ask("And now?", [1, 20], after=600.0)
    assert (times(0, talk.sent), times(1, talk.sent)) == (1, 1)
    talk.ask("And then?", [21], after=600.0)
    assert (times(0, talk.sent), times(1, talk.sent)) == (0, 1)
    assert talk.told.cut == 1
