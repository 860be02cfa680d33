"""By which words a turn is recognised in what a template once made of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman import Prompt
from pointsman.documents.turns import Turn, turns_of


def turn(*texts: str) -> Turn:
    """A turn of a user who says this."""
    return turns_of(Prompt({"messages": [{"role": "user", "content": [{"text": text} for text in texts]}]}))[0]


@pytest.mark.parametrize(
    ("texts", "said", "besides"),
    [
        (["And now?"], "And now?", 0),
        (["And now?"], "Context:\n\n\nQuestion: And now?", 17),  # "Context:" and "Question:"
        (["And now?"], "And now? Or then?", 7),  # "Or" and "then?"
        (["And", "now?"], "now?\nAnd", 0),
        (["hi"], "What is his name?", None),
        (["hi"], "What is his name? hi", 14),
        (["1"], "Question 12", None),
        (["你好吗"], "问题:你好吗请回答", 6),
        (["And now?"], "And then?", None),
        ([], "And now?", None),
        ([], "", 0),
    ],
)
def test_what_a_template_put_around_a_question_is_counted(texts: list[str], said: str, besides: int | None) -> None:
    """White space aside; None where the words are not there, or only as parts of others."""
    assert turn(*texts).besides(said) == besides


@given(question=st.text(min_size=1).filter(str.strip), before=st.text(), behind=st.text())
def test_a_question_on_lines_of_its_own_is_always_recognised(question: str, before: str, behind: str) -> None:
    """Whatever stands on the others; and it takes at least as much as nothing else would."""
    text = question.strip()
    alone, among = turn(question).besides(text), turn(question).besides(f"{before}\n{text}\n{behind}")
    assert alone == 0
    assert among == sum(map(len, f"{before}\n{behind}".split()))
