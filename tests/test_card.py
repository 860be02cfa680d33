"""The card of a predictor: plain values that survive being saved, and a page to read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pointsman.routing.card import Card, PairFigures

PAIR = PairFigures(
    weak="haiku",
    strong="opus",
    prompts=1_234,
    weak_quality=0.61,
    strong_quality=0.82,
    apgr=0.6789,
    low=0.62,
    high=0.73,
    length_apgr=0.55,
    calibration_error=0.031,
    sampling_floor=0.024,
)
CARD = Card(
    name="Timetables",
    date="2026-11-22",
    licence="Apache-2.0",
    prompts=1_250,
    qualities={"haiku": 0.61, "opus": 0.82},
    pairs=(PAIR, replace(PAIR, strong="sonnet")),
    warnings=("label more prompts",),
    notes=("Questions about trains only.",),
)


@pytest.mark.parametrize("card", [CARD, replace(CARD, pairs=(), warnings=(), notes=())], ids=["full", "bare"])
def test_a_card_survives_json(card: Card) -> None:
    """Every value, in its type."""
    assert Card.of_dict(json.loads(json.dumps(card.to_dict()))) == card


@pytest.mark.parametrize("name", ["pairs", "warnings", "notes", "name"])
def test_a_value_that_lacks_is_missed(name: str) -> None:
    """An incomplete card is no card."""
    told = CARD.to_dict()
    del told[name]
    with pytest.raises((KeyError, TypeError), match=name):
        Card.of_dict(told)


def test_a_value_of_another_version_is_refused() -> None:
    """In the card as in its pairs."""
    with pytest.raises(TypeError, match="colour"):
        Card.of_dict({**CARD.to_dict(), "colour": "red"})
    with pytest.raises(TypeError, match="colour"):
        Card.of_dict({**CARD.to_dict(), "pairs": [{**CARD.to_dict()["pairs"][0], "colour": "red"}]})


def test_the_page_tells_all_of_it() -> None:
    """What it was fitted to, how good it is beside length alone, what is wrong with it and what it isn't good for."""
    page = CARD.to_markdown()
    assert page.startswith("## Timetables\n\nFitted on 2026-11-22 to 1,250 prompts. Licence: Apache-2.0.\n")
    assert "| haiku | 0.610 |\n| opus | 0.820 |\n" in page
    assert "| haiku | opus | 1,234 | 0.679 (0.620 to 0.730) | 0.550 | 0.031 (0.024) |\n" in page
    assert page.endswith("- **label more prompts**\n- Questions about trains only.\n")


def test_a_table_has_as_many_cells_in_each_row() -> None:
    """Or no renderer shows it as one."""
    tables = [block.split("\n") for block in CARD.to_markdown().split("\n\n") if block.startswith("|")]
    assert [len(table) for table in tables] == [4, 4]
    for table in tables:
        assert len({row.count("|") for row in table}) == 1


def test_a_card_without_a_name_or_a_licence_says_so() -> None:
    """Instead of leaving a hole; and without pairs and remarks it ends where they would begin."""
    page = replace(CARD, name="", licence="", pairs=(), warnings=(), notes=()).to_markdown()
    assert page.startswith("## Unnamed\n")
    assert "Licence: not told." in page
    assert page.endswith("|---|---|---|---|---|---|\n")
