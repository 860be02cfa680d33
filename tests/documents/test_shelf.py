"""Which shelf a prompt goes on from: by its turns, forks and lost beginnings included."""

from __future__ import annotations

from typing import Any

import pytest
from talks import said

from pointsman import Prompt
from pointsman.documents.shelf import Kept, Shelf, Shelves
from pointsman.documents.turns import Turn, head_digest, turns_of

HEAD = b"head"


def turns(*texts: str) -> list[Turn]:
    """Turns of a user who says this; each but the last is answered."""
    messages = [message for text in texts for message in (said("user", text), said("assistant", f"To {text}: yes."))]
    return turns_of(Prompt({"messages": messages[:-1]}))


def shelf(of: list[Turn], *kept: tuple[Kept, ...], told: str | None = None) -> Shelf:
    """The shelf of the last of these turns."""
    return Shelf(
        head=HEAD,
        before=of[-2].digest if len(of) > 1 else b"",
        opening=of[-1].opening,
        said="\n".join(of[-1].said) if told is None else told,
        turn=len(of) - 1,
        kept=kept or ((),) * len(of),
        loose=frozenset(),
        seen={},
        next_number=1,
    )


def test_a_turn_is_a_users_message_and_what_follows() -> None:
    """Tool results are no words of his; cache points are nobody's."""
    result = {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "r"}]}}]}
    used = {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "n", "input": {}}}]}
    messages = [said("user", " One? "), used, result, said("assistant", "Yes."), said("user", "Two?", "Please.")]
    found = turns_of(Prompt({"messages": messages}))
    assert [(turn.start, turn.said) for turn in found] == [(0, ("One?",)), (4, ("Two?", "Please."))]
    pointed: list[Any] = [dict(message) for message in messages]
    pointed[3] = {**pointed[3], "content": [*pointed[3]["content"], {"cachePoint": {"type": "default"}}]}
    assert turns_of(Prompt({"messages": pointed})) == found
    assert turns_of(Prompt({"messages": []})) == []


def test_tools_and_system_prompt_make_a_head() -> None:
    """Cache points don't."""
    system = [{"text": "Be brief."}]
    prompt = Prompt({"system": system})
    assert head_digest(prompt, system) == head_digest(prompt, [*system, {"cachePoint": {"type": "default"}}])
    assert head_digest(prompt, system) != head_digest(prompt, [{"text": "Be kind."}])
    assert head_digest(prompt, system) != head_digest(Prompt({"toolConfig": {"tools": [{"toolSpec": {}}]}}), system)


def test_a_prompt_goes_on_from_the_turn_before_it() -> None:
    """Though a template had made something else of what the user said."""
    shelves = Shelves()
    before = shelf(turns("A?", "B?"), told="Context: ...\nQuestion: B?")
    shelves.add(before)
    assert shelves.extended(HEAD, turns("A?", "B?", "C?")) == (before, 1)
    assert shelves.extended(b"another head", turns("A?", "B?", "C?")) is None
    assert shelves.extended(HEAD, turns("A?", "Not B?", "C?")) is None
    assert shelves.extended(HEAD, turns("Not A?", "B?", "C?")) is None
    assert shelves.of_turn(HEAD, turns("A?", "B?")) is before


def test_a_turn_without_a_shelf_is_passed_over() -> None:
    """The one before it is found, and which turn it was."""
    shelves = Shelves()
    before = shelf(turns("A?"))
    shelves.add(before)
    assert shelves.extended(HEAD, turns("A?", "B?", "C?")) == (before, 0)


def test_a_history_that_lost_its_beginning_is_recognised() -> None:
    """By the turn before the last; what stayed in the lost turns is lost with them."""
    shelves, kept = Shelves(), (Kept(1, b"one"),)
    whole = turns("A?", "B?", "C?")
    shelves.add(shelf(whole, kept, (), (Kept(2, b"two"),)))
    found = shelves.extended(HEAD, turns("A?", "B?", "C?", "D?")[1:])
    assert found is not None
    before, own = found
    assert own == 1
    assert before.kept_in(3, own) == [(), (Kept(2, b"two"),), ()]
    assert before.kept_in(5, 3) == [(), kept, (), (Kept(2, b"two"),), ()]


def test_a_regenerated_turn_takes_the_place_of_the_one_before() -> None:
    """An edited one stands beside it."""
    shelves = Shelves()
    first, again, edited = shelf(turns("A?", "B?")), shelf(turns("A?", "B?")), shelf(turns("A?", "Or C?"))
    for one in (first, again, edited):
        shelves.add(one)
    assert len(shelves) == 2
    assert shelves.extended(HEAD, turns("A?", "B?", "D?")) == (again, 1)
    assert shelves.extended(HEAD, turns("A?", "Or C?", "D?")) == (edited, 1)


def test_shelves_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first."""
    monkeypatch.setattr("pointsman.documents.shelf._MOST_SHELVES", 3)
    shelves = Shelves()
    for number in range(5):
        shelves.add(shelf(turns(f"Question {number}?")))
    assert len(shelves) == 3
    assert shelves.of_turn(HEAD, turns("Question 1?")) is None
    assert shelves.of_turn(HEAD, turns("Question 2?")) is not None
