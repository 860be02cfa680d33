"""What a session holds of its documents: each text once, under its latest name; no more than there is room for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman import Document
from pointsman.documents.stock import Stock

LONG = "A passage that is long enough to be looked for in a prompt: {}."
KEY = b"a secret of this process"


def held(*documents: Document) -> Stock:
    """A stock of these."""
    stock = Stock(KEY)
    for document in documents:
        stock.take_in([document])
    return stock


def test_white_space_around_a_text_makes_no_other_text() -> None:
    """It counts once, as it is found."""
    text = LONG.format(1)
    stock = held(Document(id="1", text=f"  {text}"), Document(id="1", text=text), Document(id="1", text=f"{text}\n\n"))
    assert len(stock._documents) == len(stock._texts) == 1
    assert stock.characters == len(text)


def test_a_text_that_comes_with_ever_new_ids_is_held_under_the_last() -> None:
    """Nothing is left of the others: some retrievers number what they return."""
    stock = held(*(Document(id=str(number), text=LONG.format("the same")) for number in range(100)))
    assert [one.document.id for one in stock._documents.values()] == ["99"]
    assert list(stock._versions) == [(None, "99")]


_documents = st.builds(
    Document,
    id=st.sampled_from("abc"),
    text=st.builds(
        lambda before, text, behind: before + text + behind,
        st.sampled_from(["", " ", "\n"]),
        st.sampled_from([LONG.format(one) for one in "xyz"] + ["short", "-" * 60]),
        st.sampled_from(["", "\t", "\n\n"]),
    ),
    knowledge_base=st.sampled_from([None, "all"]),
)


@given(documents=st.lists(_documents, max_size=20), most=st.integers(1, 300))
def test_what_is_counted_is_what_is_held(documents: list[Document], most: int) -> None:
    """However often texts are taken in, renamed and let go of: the last one always stays, and names lead to texts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pointsman.documents.stock._MOST_CHARACTERS", most)
        stock = held(*documents)
    texts = [one.text for one in stock._documents.values()]
    assert stock.characters == sum(map(len, texts))
    assert stock.characters <= most or len(texts) == 1
    assert texts[-1:] == [one.text.strip() for one in documents[-1:]]
    assert set(stock._versions.values()) <= stock._documents.keys()
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("change", [str.upper, lambda text: f"{text} And more."])
def test_a_changed_text_is_the_documents_newer_version(change: Callable[[str], str]) -> None:
    """Until the first one comes again."""
    first = Document(id="1", text=LONG.format(1))
    second = Document(id="1", text=change(first.text))
    for documents, current in (([first, second], [False, True]), ([first, second, first], [False, True])):
        stock = held(*documents)
        assert [stock._held(key, one).current for key, one in stock._documents.items()] == current
        assert list(stock._documents.values())[-1].document is documents[-1]
