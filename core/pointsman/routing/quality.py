"""Expected quality of a model's answer. This first version is a documented baseline, made without any training data.

It reads the surface of what is asked (the user turn's text, not the documents in it) and takes the candidate with
the higher list price for the larger model. Knows English cues only: other languages count as hard.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from pointsman.catalog import Model
from pointsman.prompt import Prompt

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class QualityPredictor(Protocol):
    """Predicts the quality of each model's answer, from 0 to 1.

    A predictor may have an attribute `resolution`: a gap between two models below it counts as none.
    """

    def predict(
        self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]
    ) -> Mapping[str, npt.NDArray[np.float64]]:
        """For each model's `id` an array of expected quality, one value per prompt."""
        ...


class SurfacePredictor:
    """The baseline: a prompt's difficulty from its length and cues, a model's weakness from its list price.

    Expected quality is `0.9 - 0.5 * difficulty * (0.4 + weakness)`. `difficulty`, 0 to 1, is the logistic of a
    weighted sum of the cues below; the weights are set by hand from the kinds of question that AWS's announcement
    of prompt routing shows, and are fitted to nothing. `weakness` is 0 for the dearest of the candidates and 1 for
    the cheapest, linear in the logarithm of the output price; 0.5 where a price is unknown.
    """

    resolution = 0.05

    def predict(
        self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]
    ) -> Mapping[str, npt.NDArray[np.float64]]:
        """For each model's `id` an array of expected quality, one value per prompt."""
        import numpy as np  # Late: importing this package must not load it.

        hard = np.array([difficulty(prompt.question()) for prompt in prompts])
        return {
            model.id: 0.9 - 0.5 * hard * (0.4 + weak) for model, weak in zip(models, _weakness(models), strict=True)
        }


def difficulty(question: str) -> float:
    """How hard a question looks, 0 to 1. Reads at most its first and last 2,000 characters."""
    text = question if len(question) <= 2 * _CAP else f"{question[:_CAP]} {question[-_CAP:]}"
    words = _WORDS.findall(text.lower())
    if _is_unfamiliar(text, words):
        return _UNFAMILIAR
    total = _BIAS + _PER_DOUBLING * min(math.log2(1 + len(words) / 12), _MOST_DOUBLINGS)
    for weight, most, cue in _CUES:
        total += weight * min(len(cue.findall(text)), most)
    return 1 / (1 + math.exp(-total))


def _is_unfamiliar(text: str, words: Sequence[str]) -> bool:
    """No words, another script (which may not part its words), or none of the words that English can't do without."""
    letters = "".join(words)
    if not letters:
        return bool(text.strip())
    if sum(not letter.isascii() for letter in letters) > len(letters) / 2:
        return True
    return len(words) >= _ENOUGH_TO_TELL and not _COMMON_WORDS.intersection(words)


def _weakness(models: Sequence[Model]) -> list[float]:
    prices = [model.price.output if model.price else None for model in models]
    known = [price for price in prices if price]
    if not known or min(known) == max(known):
        return [0.5] * len(models)
    span = _log(max(known)) - _log(min(known))
    return [0.5 if not price else (_log(max(known)) - _log(price)) / span for price in prices]


def _log(price: Decimal) -> float:
    return math.log(float(price))


_CAP = 2_000
_UNFAMILIAR = 0.75
_ENOUGH_TO_TELL = 4
_BIAS = -2.0
_PER_DOUBLING = 0.9
# A long text is mostly pasted, and says little of how hard the question is.
_MOST_DOUBLINGS = 2.5
_WORDS = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_COMMON_WORDS = frozenset(
    re.findall(
        r"\w+",
        "the a an of to and in is are was be for on with that this it as at by from or not you your i my we our can "
        "what which who how why when where do does did please if has have will would should must between into",
    )
)

# (weight of one occurrence, occurrences that count at most, cue)
_CUES: tuple[tuple[float, int, re.Pattern[str]], ...] = (
    # Counting, proving and weighing are where small models fail.
    (
        1.2,
        2,
        re.compile(
            r"\b(?:how (?:many|much|long|far|often)|prove|proof|derive|deduce|solve|calculate|compute|step by step|"
            r"reason(?:ing)?|why|explain|analy[sz]e|evaluate|optimi[sz]e|design|implement|debug|refactor|plan|"
            r"compare|contrast|trade-?offs?|assess|critique|justify|argue)\b",
            re.IGNORECASE,
        ),
    ),
    # Quantities without a value: N brothers, x + y, f(x).
    (
        0.4,
        2,
        re.compile(
            r"(?<![\w.'\u2019])(?!I\b|A\b)[A-Z](?![\w.'\u2019])|\b[a-z]\s*[=<>^*+]\s*\w|\b[fg]\(\w\)|\\[a-z]+\{"
        ),
    ),
    (0.15, 4, re.compile(r"\d+(?:[.,]\d+)*")),
    # Conditions to be met together.
    (
        0.35,
        4,
        re.compile(
            r"\b(?:must|without|at least|at most|exactly|except|unless|only if|each|every|such that|given that|"
            r"assum(?:e|ing)|suppose|if)\b",
            re.IGNORECASE,
        ),
    ),
    (
        1.0,
        1,
        re.compile(r"```|^\s*(?:def|class|import|from|function|public|SELECT|#include)\b|[;{}]\s*$", re.MULTILINE),
    ),
    (0.4, 3, re.compile(r"\?(?=.*\?)|^\s*(?:\d+[.)]|[-*])\s", re.MULTILINE | re.DOTALL)),
    # An answer of a line or two is asked for.
    (
        -1.5,
        1,
        re.compile(
            r"\bin (?:one|a single|a few|two|\d+) (?:short )?(?:line|sentence|word|paragraph)s?\b|"
            r"\b(?:briefly|in short|one-liner)\b",
            re.IGNORECASE,
        ),
    ),
    (
        -0.8,
        1,
        re.compile(
            r"^\s*(?:what (?:is|are|does)|who (?:is|was)|when (?:is|was|did)|where (?:is|was)|define|name|list|spell|"
            r"translate|say|hello|hi|thanks?|thank you)\b",
            re.IGNORECASE,
        ),
    ),
)
