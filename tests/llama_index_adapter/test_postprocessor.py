"""PointsmanPostprocessor: it tells the session what is left of the nodes, and changes none of them."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any

import pytest
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from talks import text_of

import pointsman
from llama_index.postprocessor.pointsman import PointsmanPostprocessor
from pointsman import InvalidRequestError, Session

WAYS = pytest.mark.parametrize("way", ["postprocess_nodes", "apostprocess_nodes"])


def nodes(count: int = 3) -> list[NodeWithScore]:
    """Some with ids and scores."""
    return [
        NodeWithScore(node=TextNode(id_=str(one), text=text_of(one), metadata={"file": f"{one}.md"}), score=0.5)
        for one in range(count)
    ]


async def passed(
    last: PointsmanPostprocessor, way: str, given: list[NodeWithScore], **more: Any
) -> list[NodeWithScore]:
    """What it gives."""
    found = getattr(last, way)(given, **more)
    result: list[NodeWithScore] = await found if isawaitable(found) else found
    return result


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Any]]]:
    """What sessions are told, each by its id."""
    heard: list[tuple[str, list[Any]]] = []
    monkeypatch.setattr(Session, "register", lambda session, found: heard.append((session.id, list(found))))
    return heard


@WAYS
async def test_nodes_come_through_and_are_registered(way: str, told: list[tuple[str, list[Any]]]) -> None:
    """With the texts that prompts hold, their ids and scores."""
    given = nodes()
    last = PointsmanPostprocessor(knowledge_base="notices")
    with instrument_tags({"thread_id": "trip"}):
        assert await passed(last, way, given) == given
        assert await passed(last, way, given[:1], query_bundle=QueryBundle("late?")) == given[:1]
        assert await passed(last, way, given[:1], query_str="late?") == given[:1]
    assert [name for name, _ in told] == ["trip"] * 3
    found = told[0][1]
    assert [(one.id, one.text) for one in found] == [(str(n), f"file: {n}.md\n\n{text_of(n)}") for n in range(3)]
    assert {(one.score, one.knowledge_base) for one in found} == {(0.5, "notices")}


@WAYS
async def test_an_empty_result_is_told_too(way: str, told: list[tuple[str, list[Any]]]) -> None:
    """It says that what stays goes on staying."""
    with pointsman.session("trip", scope="default"):
        assert await passed(PointsmanPostprocessor(), way, []) == []
    assert told == [("trip", [])]


@WAYS
async def test_without_a_session_nothing_is_kept(way: str, told: list[tuple[str, list[Any]]]) -> None:
    """They come through, and that is all."""
    assert len(await passed(PointsmanPostprocessor(), way, nodes())) == 3
    assert told == []


@WAYS
async def test_a_session_of_its_own(way: str, told: list[tuple[str, list[Any]]]) -> None:
    """Itself or its id goes before the tags; what is neither is refused."""
    mine = pointsman.session("mine", scope="default")
    with instrument_tags({"thread_id": "trip"}):
        for session in (mine, "mine"):
            await passed(PointsmanPostprocessor(session=session), way, nodes())
        with pytest.raises(InvalidRequestError, match=r"the session is 3\.5"):
            await passed(PointsmanPostprocessor(session=3.5), way, nodes())
    assert [name for name, _ in told] == ["mine", "mine"]


def test_serialized_form() -> None:
    """Settings, and no session."""
    last = PointsmanPostprocessor(knowledge_base="notices", session="mine")
    assert PointsmanPostprocessor.from_dict(last.to_dict()).knowledge_base == "notices"
    assert last.to_dict()["class_name"] == "PointsmanPostprocessor"
    assert "mine" not in last.to_json()
