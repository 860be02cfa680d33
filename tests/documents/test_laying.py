"""The words around documents, and where they stand in a request."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman import Prompt
from pointsman.documents.laying import (
    GIVEN_BELOW,
    Layout,
    Stay,
    blocks_of,
    for_this_question,
    given_above,
    laid,
    without_documents,
)
from pointsman.documents.lift import Texts, replaced

ONE, TWO = (f"Passage {number}: " + "trains wait at the signal until it is cleared. " * 2 for number in (1, 2))


def left_of(text: str) -> str:
    """What a system prompt says without the two passages."""
    texts, request = Texts(), {"system": [{"text": text}], "messages": []}
    for key, passage in ((b"1", ONE), (b"2", TWO)):
        texts.add(key, passage)
    return str(replaced(request, without_documents(request, texts.find(request)))["system"][0]["text"])


@pytest.mark.parametrize(
    "context", [ONE, f"{ONE}\n\n{TWO}", f"\n{TWO} \n---\n\t{ONE}\n\n", f"{ONE}{TWO}{ONE}", f"* {ONE}\n* {TWO}"[2:]]
)
def test_however_many_documents_a_system_prompt_is_left_with_the_same_words(context: str) -> None:
    """Also where rules or blanks stand between and around them."""
    assert left_of(f"Context:\n{context}\nAnswer.") == f"Context:\n\n{GIVEN_BELOW}\n\nAnswer."


def test_words_between_documents_stay() -> None:
    """Headings, numbers: what a template says of each."""
    assert left_of(f"Source 1:\n{ONE}\nSource 2:\n{TWO}") == (
        f"Source 1:\n\n{GIVEN_BELOW}\n\nSource 2:\n\n{GIVEN_BELOW}"
    )
    assert left_of(ONE) == GIVEN_BELOW
    assert left_of("Nothing here.") == "Nothing here."


def test_small_documents_share_a_block() -> None:
    """Of some thousand tokens; a large one has its own. Nothing of any is lost."""
    small, large = "s" * 1_000, "l" * 6_000
    stays = [Stay(1, small), Stay(2, small), Stay(3, large), Stay(4, small), Stay(5, small)]
    blocks = blocks_of(stays)
    assert [block.count("[document ") for block in blocks] == [2, 1, 2]
    assert blocks[0] == f"[document 1]\n{small}\n\n[document 2]\n{small}"


@given(text=st.text(max_size=600))
def test_a_reference_can_stand_within_json(text: str) -> None:
    """Whatever the text was."""
    reference = given_above(text)
    assert json.loads(f'"{reference}"') == reference
    assert len(reference) < 500


def test_what_is_for_one_question_is_told_so() -> None:
    """By name, in full, or both."""
    assert for_this_question((), ()) is None
    assert for_this_question((3, 1), ()) == "Documents for this question: [document 3], [document 1]"
    assert for_this_question((), ("a", "b")) == "Documents for this question:\n\na\n\nb"
    assert for_this_question((2,), ("a",)) == "Documents for this question: [document 2] and:\n\na"


def test_documents_stand_in_front_of_what_the_user_said() -> None:
    """Those that stay, what is named, those for this question, his words; what came up late stands at the very end."""
    request = {
        "messages": [
            {"role": "user", "content": [{"text": "First?"}]},
            {"role": "assistant", "content": [{"text": "Yes."}]},
            {"role": "user", "content": [{"text": "Second?"}]},
        ]
    }
    layout = Layout(2, {}, {0: [Stay(1, "one")], 2: [Stay(2, "two")]}, {2: [1]}, "loose", "late")
    prompt = laid(Prompt(request), layout, volatile=True)
    said = [[block["text"] for block in message["content"]] for message in prompt.messages]
    assert said == [
        ["[document 1]\none", "First?"],
        ["Yes."],
        ["[document 2]\ntwo", "Documents for this question: [document 1]", "loose", "Second?", "late"],
    ]
    assert prompt.volatile_at == (2, 1)
    assert laid(Prompt(request), layout, volatile=False).volatile_at is None
    assert [len(message["content"]) for message in request["messages"]] == [1, 1, 1]
