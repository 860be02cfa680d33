"""What disturbs a conversation about documents: branches that look alike, quotations, late documents, lost messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from talks import (
    CLAUDE,
    INSTRUCTIONS,
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
    times,
)

from pointsman import Catalog, Client, Document, Prompt
from pointsman.documents.recurrence import Standing
from pointsman.tokens import EstimatedTokens

TOOLS = {"tools": [{"toolSpec": {"name": "search", "inputSchema": {"json": {"type": "object"}}}}]}


def sure(talk: Talk) -> Talk:
    """The conversation, about a knowledge base whose passages always come back: they stay from the first on."""
    for standing in {Standing.at(often, ago, turn) for often in range(1, 5) for ago in range(3) for turn in range(8)}:
        for _ in range(1_500):
            talk.client.context.recurrence.observe("notices", standing, returned=True)
    return talk


def settled(shape: Any = in_message) -> Talk:
    """A conversation whose documents 0 and 1 stay."""
    talk = Talk(shape=shape)
    for turn in range(5):
        talk.ask(f"What about post {turn}?", [0, 1, 10 + turn])
    assert talk.told.stay >= 2
    return talk


def call(talk: Talk, numbers: Sequence[int], messages: Sequence[Request]) -> None:
    """One call of an agent whose system prompt holds these documents."""
    found = [document(number) for number in numbers]
    talk.session.register(found)
    talk.account.now += 20
    system = in_system("", [one.text for one in found])["system"]
    talk.client.converse(modelId=CLAUDE, system=system, messages=messages, toolConfig=TOOLS, session=talk.session)


def searched(number: int, *texts: str) -> list[Request]:
    """A call of a tool, and what it returned."""
    used = {"toolUse": {"toolUseId": f"t{number}", "name": "search", "input": {}}}
    result = {"toolUseId": f"t{number}", "content": [{"text": text} for text in texts or (f"Result {number}. " * 99,)]}
    return [{"role": "assistant", "content": [used]}, {"role": "user", "content": [{"toolResult": result}]}]


def names_and_documents(request: Request) -> tuple[set[str], set[str]]:
    """The numbers by which documents are called, and those that stand there."""
    laid = [text for _, block in blocks_of(request) for text in [block.get("text", "")] if text.startswith("[document")]
    return (
        set(re.findall(r"\[document (\d+)\]", texts_in(request))),
        set(re.findall(r"^\[document (\d+)\]\n", "\n\n".join(laid), flags=re.MULTILINE)),
    )


# --- the same text, the same words --------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [("", "\n", " \n"), ("\n", "", "\r\n")])
def test_a_text_is_the_same_whatever_white_space_is_around_it(ends: Sequence[str]) -> None:
    """Retrievers return it with more or less of it; as two texts, it could never stand exactly once."""
    talk = settled()
    for turn, end in enumerate(ends):
        before = talk.sent
        talk.session.register([document(0, text=text_of(0) + end)])
        talk.answer(f"And so {turn}?", [text_of(0)])
        assert talk.told.as_written is None
        assert times(0, talk.sent) == 1
        assert extends(talk.sent, before)


@pytest.mark.parametrize("edited", ["And now? Or then?", "Well. And now?"])
def test_a_question_within_an_edited_one_keeps_its_own_branch(edited: str) -> None:
    """Each goes on with what its own turns laid, though the words of the one stand in the other."""
    talk = sure(Talk())
    talk.ask("What?", [0])
    fork = list(talk.history)
    talk.ask("And now?", [2])
    one, one_history = talk.sent, talk.history
    talk.history = fork
    talk.ask(edited, [3, 4])
    other, other_history = talk.sent, talk.history
    for before, history, mine, not_mine in ((one, one_history, 2, 3), (other, other_history, 3, 2)):
        talk.history = history
        talk.ask("And on?", [40])
        assert extends(talk.sent, before)
        assert (times(mine, talk.sent), times(not_mine, talk.sent)) == (1, 0)


def test_words_within_words_are_no_question() -> None:
    """Who said "hi" did not ask "What is his name?", whose documents are not laid for him."""
    talk = sure(Talk())
    talk.ask("What is his name?", [0, 1])
    assert talk.told.stay == 2
    talk.history = [said("user", "hi"), said("assistant", "Hello.")]
    talk.ask("And so?", [50])
    assert times(0, talk.sent) == times(1, talk.sent) == 0


def test_a_regenerated_turn_extends_itself_though_other_documents_are_found() -> None:
    """What stays was decided when the turn was first sent; what is new is laid for the question."""
    talk = sure(Talk(shape=in_system))
    for turn in range(2):
        talk.ask(f"What {turn}?", [turn])
    history = list(talk.history)
    talk.ask("And now?", [2])
    first, talk.history = talk.sent, history
    talk.ask("And now?", [2, 3], after=5.0)
    assert extends(talk.sent, first)
    assert [times(number, talk.sent) for number in range(4)] == [1, 1, 1, 1]


# --- quotations ---------------------------------------------------------------------------------------------------


def test_a_user_who_quotes_a_document_loses_nothing() -> None:
    """His turn is recognised in the history, where the quotation stands and the other documents don't."""
    talk = sure(Talk())
    talk.ask("What?", [0])
    talk.ask(f"What does this mean: {text_of(0)} Please tell me.", [1, 20])
    before = talk.sent
    talk.ask("And then?", [0, 21])
    assert extends(talk.sent, before)
    assert [times(number, talk.sent) for number in (0, 1, 20, 21)] == [1, 1, 1, 1]


def test_a_quotation_does_not_stop_the_documents_of_a_system_prompt_from_staying() -> None:
    """It does not mean that who sends the prompts keeps the documents in his history."""
    talk = sure(Talk(shape=in_system))
    talk.ask("What?", [0])
    talk.ask(f"What does this mean: {text_of(0)}", [1])
    talk.ask("And then?", [2])
    assert talk.told.anew == 1


def test_who_keeps_documents_in_his_history_has_it_read_from_the_first_turn_on() -> None:
    """What was laid in front of it then is laid there again, with its name in the history's message."""
    talk = sure(Talk())
    for turn in range(4):
        found = [document(0), document(10 + turn)]
        talk.session.register(found)
        asked = in_message(f"What about post {turn}?", [one.text for one in found])["asked"]
        talk.send({"system": [{"text": INSTRUCTIONS}], "asked": asked})
        talk.history += [asked, said("assistant", f"Answer {turn}.")]
        assert [times(number, talk.sent) for number in (0, *range(10, 11 + turn))] == [1] * (2 + turn)
    assert all(extends(after, before) for before, after in pairwise(talk.account.requests))


# --- agents -------------------------------------------------------------------------------------------------------


def test_what_comes_up_in_an_agents_loop_stands_where_it_came_up() -> None:
    """In its system prompt more documents stand at each step: the requests grow at their end, at the next turn too."""
    talk, messages = Talk(), [said("user", "Which post?")]
    for step in range(4):
        call(talk, range(step + 1), messages)
        assert talk.told.as_written is None
        messages += searched(step)
    messages += [said("assistant", "So."), said("user", "And?")]
    call(talk, [0, 20], messages)
    assert all(extends(after, before) for before, after in pairwise(talk.account.requests))
    assert [times(number, talk.sent) for number in (0, 1, 2, 3, 20)] == [1, 1, 1, 1, 1]
    assert all(times(number, {"messages": talk.sent["messages"][2 * number :][:1]}) for number in range(4))


def test_what_came_up_in_a_loop_goes_with_it() -> None:
    """Some memories keep the answer only: its place is lost, and the prompt is laid all the same."""
    talk, question = Talk(), said("user", "Which post?")
    call(talk, [0], [question])
    call(talk, [0, 1], [question, *searched(0)])
    assert talk.told.stay == 2
    call(talk, [2], [question, said("assistant", "So."), said("user", "And?")])
    assert talk.told.as_written is None
    assert [times(number, talk.sent) for number in range(3)] == [1, 0, 1]


def test_no_turn_names_a_document_that_the_history_has_lost() -> None:
    """The turn that it was laid in is trimmed; later ones of an agent had named it."""
    talk, messages = Talk(), list[Request]()
    for turn in range(4):
        messages.append(said("user", f"Question {turn}?"))
        call(talk, [0, 10 + turn], messages)
        messages.append(said("assistant", f"Answer {turn}."))
    named, laid = names_and_documents(talk.sent)
    assert named == laid
    for numbers in ([30], [0, 30]):
        call(talk, numbers, [*messages[2:], said("user", "Question 9?")])
        named, laid = names_and_documents(talk.sent)
        assert talk.told.as_written is None
        assert named == laid
        assert times(0, talk.sent) == int(0 in numbers)


def test_what_was_laid_for_an_agents_question_stays_there_through_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though a tool returns it as well: the second copy becomes a reference, not the first."""
    monkeypatch.setattr("pointsman.documents.economy._SHARE_OF_WINDOW", 0.0)
    talk, question = Talk(), said("user", "Which post?")
    call(talk, [0], [question])
    before = talk.sent
    assert (talk.told.stay, talk.told.loose) == (0, 1)
    call(talk, [0], [question, *searched(0, text_of(0), "That is all.")])
    assert blocks_of(talk.sent)[: len(blocks_of(before))] == blocks_of(before)
    assert times(0, talk.sent) == 1


def test_words_that_the_caller_puts_into_the_models_mouth_stay_alone() -> None:
    """A prompt may end with the beginning of its answer: what is found anew is not laid behind it."""
    talk = Talk(shape=in_system)
    for turn in range(3):
        talk.ask(f"Hello {turn}?", [0])
    talk.session.register([document(0), document(1)])
    shaped, begun = in_system("Hello 2?", [text_of(0), text_of(1)]), said("assistant", "It is")
    talk.client.converse(
        modelId=CLAUDE,
        system=shaped["system"],
        messages=[*talk.history[:-2], shaped["asked"], begun],
        session=talk.session,
    )
    assert talk.told.as_written is None
    assert [block for block in talk.sent["messages"][-1]["content"] if "cachePoint" not in block] == begun["content"]
    assert times(1, talk.sent) == 1


# --- other calls, and limits --------------------------------------------------------------------------------------


def test_an_empty_retrieval_is_not_used_up_by_another_call() -> None:
    """One that grades what was found, or names the conversation, comes before the answer."""
    talk = settled()
    before = talk.sent
    talk.session.register([])
    grading = {"system": [{"text": f"{INSTRUCTIONS} Grade."}], "messages": [said("user", "Is it of any use?")]}
    talk.client.converse(modelId=CLAUDE, **grading, session=talk.session)
    assert blocks_of(talk.sent) == blocks_of(grading)
    assert talk.told is None
    talk.answer("And if nothing is found?", [])
    assert extends(talk.sent, before)


def tokens(request: Request) -> int:
    """As they are estimated."""
    return Prompt(request).outline(EstimatedTokens(), key=b"k").tokens


def test_a_prompt_that_fits_as_it_was_written_fits_as_it_is_sent() -> None:
    """Documents that were not retrieved again give way, and those that were are laid for the question."""
    account, window = Account(), 9_000
    catalog = Catalog.default()
    small = catalog.with_model(replace(catalog.resolve(CLAUDE), context_window=window))
    client = Client(account, catalog=small, clock=lambda: account.now)
    talk = sure(Talk(account=account, client=client))
    for turn in range(5):
        talk.ask(f"What about post {turn}?", [0, 1, 2, 3, 4])
    stay = sum(times(number, talk.sent) for number in range(5))
    talk.history += [said("user", "Tell me all."), said("assistant", "A word, and so on. " * 1_000)]
    shaped = in_message("And?", [text_of(30)])
    written = {"system": shaped["system"], "messages": [*talk.history, shaped["asked"]]}
    laid = tokens(written) + stay * tokens({"messages": [said("user", text_of(0))]})
    talk.ask("And?", [30])
    assert tokens(written) < window < laid
    assert tokens(talk.sent) < window
    assert times(30, talk.sent) == 1


def test_documents_without_names_are_not_versions_of_each_other() -> None:
    """An empty id is none."""
    talk = Talk()
    one, other = talk.session.register([Document(id="", text=text_of(0)), Document(id="", text=text_of(1))])
    assert one.id
    assert one.id != other.id
