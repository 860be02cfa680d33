"""The tables of docs/routing.md that repeat what the code says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from pointsman.routing import complexity
from pointsman.routing.complexity import EASE, WORK, ComplexityPredictor, Cue
from pointsman.routing.familiarity import FALSE_ALARMS
from pointsman.routing.router import EXPECTED_OUTPUT_TOKENS

PAGE = (Path(__file__).parent.parent / "docs" / "routing.md").read_text("utf-8")
LOGITS = (
    f"({complexity.PER_THINGS} words + {complexity.PER_LINKS} links + {complexity.PER_CLAUSES} clauses "
    f"+ {complexity.PER_WORK} work - {-complexity.PER_EASE} ease - {-complexity.BIAS}) / {complexity.SPREAD}"
)
CUE = re.compile(r"^\| (work|ease) \| (\w+) \| (.*) \| ([\d.]+) \| (\d+) \|$", re.MULTILINE)


@pytest.mark.parametrize(("part", "cues"), [("work", WORK), ("ease", EASE)])
def test_the_table_of_cues_is_the_codes(part: str, cues: Mapping[str, Cue]) -> None:
    """Each cue, what it looks for, its weight, and how many count."""
    told = {name: (text, float(weight), int(most)) for of, name, text, weight, most in CUE.findall(PAGE) if of == part}
    known = {name: (cue.looks_for, cue.weight, cue.most) for name, cue in cues.items()}
    assert told.keys() == known.keys()
    for name, (text, *figures) in told.items():
        # Marks stand in code, and a backtick can't.
        assert text.replace("`", "").replace(" and backticks", "") == known[name][0].removesuffix(" `")
        assert figures == list(known[name][1:])


@pytest.mark.parametrize(
    "text",
    [
        f"logistic({LOGITS})",
        f"ease of its own, at most {complexity.MOST_EASE}.",
        f"up to {complexity.LOAD_DISCOUNT:.0%} of the load and {complexity.WORK_DISCOUNT:.0%} of".replace("%", " %"),
        f"resolution ({ComplexityPredictor.resolution},",
        f"`0.9 - {2 * ComplexityPredictor.resolution} * complexity * (0.4 + weakness)`",
        f"{EXPECTED_OUTPUT_TOKENS} tokens where nobody knows",
        f"that {FALSE_ALARMS:.0%} of prompts".replace("%", " %"),
    ],
)
def test_its_numbers_are_the_codes(text: str) -> None:
    """What is tuned in the code is tuned in the page."""
    assert text in PAGE.replace("\n", " ")
