"""Expected quality of a model's answer: what a predictor is and gives, and a documented baseline without training data.

The baseline reads the surface of what is asked (the user turn's text, not the documents in it) and takes the candidate
with the higher list price for the larger model. Knows English cues only: other languages count as hard.
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


class Prediction(dict[str, "npt.NDArray[np.float64]"]):
    """What is expected of some prompts: for each model's `id` an array of qualities, 0 to 1, one per prompt.

    `output_tokens` maps a model's `id` to the expected length of its answers, one per prompt; a model, or a prompt
    (NaN), of which nothing is known may lack. `basis` says per prompt what the expectation rests on ("trained",
    "complexity prior: unlike the training data"); it is empty where the predictor doesn't tell.
    """

    __slots__ = ("basis", "output_tokens")

    def __init__(
        self,
        qualities: Mapping[str, npt.NDArray[np.float64]],
        /,
        *,
        output_tokens: Mapping[str, npt.NDArray[np.float64]] | None = None,
        basis: Sequence[str] = (),
    ) -> None:
        super().__init__(qualities)
        self.output_tokens: Mapping[str, npt.NDArray[np.float64]] = output_tokens or {}
        self.basis = tuple(basis)

    @classmethod
    def of(cls, predicted: Mapping[str, npt.NDArray[np.float64]], /) -> Prediction:
        """What any predictor gave: itself, or a plain mapping as a prediction that tells qualities only."""
        return predicted if isinstance(predicted, Prediction) else cls(predicted)


class QualityPredictor(Protocol):
    """Predicts the quality of each model's answer, from 0 to 1.

    A predictor may have an attribute `resolution`: a gap between two models below it counts as none; and a `name`,
    by which decisions call it instead of by its class.
    """

    def predict(
        self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]
    ) -> Mapping[str, npt.NDArray[np.float64]]:
        """For each model's `id` an array of expected quality, one value per prompt.

        A `Prediction` tells the answers' expected length too, and what it all rests on.
        """
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
    cased = _WORD.findall(text)
    words = [word.lower() for word in cased]
    if not text.strip():
        return 0.0
    if _is_unfamiliar(words):
        return _UNFAMILIAR
    spaced = f" {' '.join(words)} "
    total = _BIAS + _PER_DOUBLING * min(math.log2(1 + len(words) / 12), _MOST_DOUBLINGS)
    for weight, most, singles, phrases in _CUES:
        found = len([word for word in words if word in singles]) + sum(spaced.count(phrase) for phrase in phrases)
        total += weight * min(found, most)
    total += 0.4 * min(len([word for word in cased if word in _VARIABLES]) + (_FORMULA.search(text) is not None), 2)
    return 1 / (1 + math.exp(-total - _form(text, words, spaced)))


def _form(text: str, words: Sequence[str], spaced: str) -> float:
    """What numbers, code, several questions, and the length of the answer that is asked for, add."""
    total = 0.15 * min(len([word for word in words if word[0].isdigit()]), 4)
    total += 1.0 * ("```" in text or _CODE.search(text) is not None)
    total += 0.4 * min(max(text.count("?") - 1, 0) + (len(_ITEM.findall(text)) if "\n" in text else 0), 3)
    total -= 1.5 * (_BRIEF.search(spaced) is not None)
    total -= 0.8 * (words[0] in _EASY_OPENINGS or " ".join(words[:2]) in _EASY_OPENINGS)
    return total


def _is_unfamiliar(words: Sequence[str]) -> bool:
    """No words, another script (which may not part its words), or none of the words that English can't do without."""
    letters = "".join([word for word in words if not word.isdigit()])
    if not letters:
        return True
    if not letters.isascii() and sum(not letter.isascii() for letter in letters) > len(letters) / 2:
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
_WORD = re.compile(r"[^\W_]+")


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_COMMON_WORDS = _set_of(
    "the a an of to and in is are was be for on with that this it as at by from or not you your i my we our can what "
    "which who how why when where do does did please if has have will would should must between into"
)

# (weight of one occurrence, occurrences that count at most, words, phrases)
_CUES: tuple[tuple[float, int, frozenset[str], tuple[str, ...]], ...] = (
    # Counting, proving and weighing are where small models fail.
    (
        1.2,
        2,
        _set_of(
            "prove proof derive deduce solve calculate compute reason reasoning why explain analyse analyze evaluate "
            "optimise optimize design implement debug refactor plan compare contrast tradeoff tradeoffs assess "
            "critique justify argue"
        ),
        (" how many ", " how much ", " how long ", " how far ", " how often ", " step by step ", " trade off"),
    ),
    # Conditions to be met together.
    (
        0.35,
        4,
        _set_of("must without exactly except unless each every assume assuming suppose if"),
        (" at least ", " at most ", " only if ", " such that ", " given that "),
    ),
)
# Quantities without a value: N brothers, x = y, f(x).
_VARIABLES = frozenset("BCDEFGHJKLMNOPQRSTUVWXYZ")
_FORMULA = re.compile(r"[=^]|\\[a-z]+\{|\b[a-z] ?[<>*+] ?\w|\b[fg]\(\w\)")
_CODE = re.compile(r"^\s*(?:def|class|import|from|function|public|SELECT|#include)\b|[;{}]\s*$", re.MULTILINE)
_ITEM = re.compile(r"\n\s*(?:\d+[.)]|[-*])\s")
# An answer of a line or two is asked for.
_BRIEF = re.compile(
    r" in (?:one|a single|a few|two|\d+) (?:short )?(?:line|sentence|word|paragraph)s? "
    r"| (?:briefly|in short|one liner) "
)
_EASY_OPENINGS = frozenset(
    {"define", "name", "list", "spell", "translate", "say", "hello", "hi", "thank", "thanks"}
    | {f"{ask} {be}" for ask in ("what", "who", "when", "where") for be in ("is", "are", "was", "does", "did")}
)
