"""Which of MTRAG's conversations `langchain_cost.py` sends, and the retriever that finds their passages.

Knows the recorded data; knows no chat model and nothing of caches.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import documents_runs as runs
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

NAMES = (50, 52, 79, 13, 107, 9, 55, 91, 96, 36, 48, 27, 10, 1, 54, 15, 72, 105, 97, 32)
"""By the data's own number `i`: the first twenty with at least five turns in the second half of the file; what
documents do was learnt from the first half. Written down before anything was run."""
_FEWEST_TURNS = 5


class Talk(NamedTuple):
    """A conversation as it was recorded, and its number."""

    name: int
    turns: tuple[runs.Turn, ...]


class Retrieved(BaseRetriever):
    """Gives for a question the passages that were retrieved for it when it was asked, with their ids."""

    passages_of: Mapping[str, tuple[Document, ...]]

    @classmethod
    def of(cls, talks: tuple[Talk, ...], passages: Mapping[str, str]) -> Retrieved:
        """For all questions of these conversations; each was asked but once."""
        found = {
            as_asked(turn.question): tuple(Document(id=one, page_content=passages[one]) for one in turn.passages)
            for talk in talks
            for turn in talk.turns
        }
        assert len(found) == sum(len(talk.turns) for talk in talks), "two questions are the same"
        return cls(passages_of=found)

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return list(self.passages_of[as_asked(query)])


def as_asked(question: str) -> str:
    """A question as it may stand within double quotes."""
    return question.replace('"', "'")


def read(traces: Path, names: tuple[int, ...] = NAMES) -> tuple[tuple[Talk, ...], Retrieved]:
    """The conversations of these names, and a retriever for them."""
    corpus = runs.Corpus.read(traces)
    told = json.loads(gzip.decompress((traces / "mtrag_conversations.json.gz").read_bytes()))
    numbers = [int(one["i"]) for one in told["conversations"]]
    talks = {number: Talk(number, one.turns) for number, one in zip(numbers, corpus.conversations, strict=True)}
    assert tuple(_by_rule(talks))[: len(NAMES)] == NAMES, "the data is not what these names were chosen from"
    chosen = tuple(talks[name] for name in names)
    return chosen, Retrieved.of(chosen, corpus.passages)


def _by_rule(talks: Mapping[int, Talk]) -> Iterator[int]:
    for talk in list(talks.values())[len(talks) // 2 :]:
        if len(talk.turns) >= _FEWEST_TURNS:
            yield talk.name
