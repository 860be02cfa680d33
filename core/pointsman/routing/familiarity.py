"""Is a prompt like those that a head was trained on? Only then may the head be believed.

Three looks at a text's features, all measured against what was held out of the training prompts: are its words known
(if not, it is in another language), is its kind of task known, is its form known. Knows arrays only. How they are made
is left to `pointsman.routing.familiarity_fitting`, what follows from them to `pointsman.routing.trained`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.errors import MissingExtraError
from pointsman.routing.features import BITS, SURFACE, Features

Floats = npt.NDArray[np.float64]

# Of the training prompts, this share counts as unfamiliar.
FALSE_ALARMS = 0.02

# The shares at which the quantiles are kept, finer where it is decided.
LEVELS = np.concatenate((np.arange(0, 0.2, 0.01), np.linspace(0.2, 1, 17)))
_LEVELS: tuple[float, ...] = tuple(LEVELS.tolist())

# The lowest mean weight of English words: slightly more are unknown than known.
LEAST_KNOWN = -0.05
KIND_BITS = 13
_MOST_DEVIATIONS = 4.0

_WORD_BITS = 18
WORD_STEPS = 8
UNKNOWN = -2 * WORD_STEPS
_OWN = WORD_STEPS
# As if a word had been read before that is nearly known: one unknown word by itself (a sentence, in a script that
# doesn't part its words) is told, a few foreign names in a question aren't.
_HEAD_START = 1.75
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_FIRST = np.uint64(64 - _WORD_BITS)
_SECOND = np.uint64(64 - 2 * _WORD_BITS)
_WITHIN = np.uint64((1 << _WORD_BITS) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How familiar one prompt is: the `share` of the training prompts that are at most as familiar, 0 to 1.

    `reason` says for the trace what is unfamiliar about it; it is empty if nothing is. `foreign` tells whether that is
    its language.
    """

    share: float
    reason: str = ""
    foreign: bool = False

    @property
    def is_familiar(self) -> bool:
        """May the head be believed?"""
        return not self.reason


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Familiarity:
    """What prompts of one training set look like.

    `words` (8,192) and `surface` (2 s) weigh the words and the s measures of the surface, plain and squared, for
    "training set" against "all kinds of other prompts": the logarithm of a ratio of two densities, but for a constant.
    The measures are taken less `mean` over `deviation` (s,). `centres` (k, s) are the middles of k groups of training
    prompts in the surface, `spread` (s,) the deviations among the training prompts.
    `lexicon` (65,536 bits, packed) holds the training set's frequent words that aren't English, by hash. `least_known`
    is the lowest mean weight of a prompt's words that is still the language of the training set. `scales` (2, 2) are
    the median of kind and of form, and how far below it their cuts lie; `quantiles` those of the lower of the two, so
    scaled, at the `LEVELS`.
    """

    words: npt.NDArray[np.int8]
    step: Floats
    surface: Floats
    mean: Floats
    deviation: Floats
    centres: Floats
    spread: Floats
    lexicon: npt.NDArray[np.uint8]
    least_known: Floats
    scales: Floats
    quantiles: Floats
    # What is asked of the arrays at each request, once.
    _own: npt.NDArray[np.bool_] | None = field(init=False, repr=False)
    _plain: Floats = field(init=False, repr=False)
    _squared: Floats = field(init=False, repr=False)
    _scales: tuple[tuple[float, float], tuple[float, float]] = field(init=False, repr=False)
    _quantiles: tuple[float, ...] = field(init=False, repr=False)
    _step: float = field(init=False, repr=False)
    _least_known: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        own = np.unpackbits(self.lexicon).astype(np.bool_)
        plain, squared = np.split(self.surface, 2)
        (kind, kind_span), (form, form_span) = self.scales.tolist()
        set_field = object.__setattr__
        set_field(self, "_own", own if own.any() else None)
        set_field(self, "_plain", plain)
        set_field(self, "_squared", squared)
        set_field(self, "_scales", ((kind, kind_span), (form, form_span)))
        set_field(self, "_quantiles", tuple(self.quantiles.tolist()))
        set_field(self, "_step", float(self.step))
        set_field(self, "_least_known", float(self.least_known))

    @classmethod
    def fit(cls, texts: Sequence[str], /) -> Familiarity:
        """What these training prompts look like. The same texts give the same numbers.

        Raises:
            InvalidRequestError: there are fewer than 20 different ones.
            MissingExtraError: the extra `fit` is not installed.
        """
        try:
            from pointsman.routing.familiarity_fitting import fitted
        except ModuleNotFoundError as exc:
            raise MissingExtraError("fitting", "fit") from exc
        return fitted(texts)

    def __call__(self, features: Features) -> Likeness:
        """How familiar a text is."""
        steps = word_steps(features.words, self._own)
        if mean_weight(steps) < self._least_known:
            unknown = int(np.count_nonzero(steps == UNKNOWN)) / max(int(np.count_nonzero(steps)), 1)
            reason = f"another language or vocabulary: {unknown:.0%} of its words are unknown"
            return Likeness(share=0.0, reason=reason, foreign=True)
        kind, form = self.scaled(self.kind(features), self.form(features))
        share = self._share(min(kind, form))
        if share >= FALSE_ALARMS:
            return Likeness(share=share)
        return Likeness(share=share, reason="another kind of task" if kind <= form else self._form_reason(features))

    def _share(self, value: float) -> float:
        """The share of the training prompts that are at most as familiar; numpy's own interpolation takes longer."""
        above = bisect_left(self._quantiles, value)
        if above in (0, len(self._quantiles)):
            return float(above > 0)
        low, high = self._quantiles[above - 1 : above + 1]
        part = (value - low) / (high - low)
        return _LEVELS[above - 1] + part * (_LEVELS[above] - _LEVELS[above - 1])

    def known(self, features: Features) -> float:
        """The mean weight of the words: from 2 for the training set's language to -2 for another."""
        return mean_weight(word_steps(features.words, self._own))

    def standardised(self, surface: Floats) -> Floats:
        """The measures of surfaces (..., s) in standard deviations, at most four either way."""
        z: Floats = np.maximum(np.minimum((surface - self.mean) / self.deviation, _MOST_DEVIATIONS), -_MOST_DEVIATIONS)
        return z

    def kind(self, features: Features) -> float:
        """How much likelier in the training set than elsewhere: a logarithm, but for a constant."""
        columns = kind_columns(features)
        found = int(np.add.reduce(self.words.take(columns), dtype=np.int64)) * self._step
        z = self.standardised(features.surface)
        return found / math.sqrt(max(len(columns), 1)) + float(z @ self._plain) + float((z * z) @ self._squared)

    def form(self, features: Features) -> float:
        """Less the distance of the surface to the nearest group of training prompts, in deviations."""
        return -math.sqrt(np.add.reduce(self._apart(features), axis=1).min())

    def _apart(self, features: Features) -> Floats:
        """The squared deviations from each centre, by measure (k, s)."""
        apart = (features.surface - self.centres) / self.spread
        apart *= apart
        return apart

    def scaled(self, kind: float, form: float) -> tuple[float, float]:
        """Both so that 0 is the training prompts' median and -1 the cut."""
        (kind_median, kind_span), (form_median, form_span) = self._scales
        return (kind - kind_median) / kind_span, (form - form_median) / form_span

    def _form_reason(self, features: Features) -> str:
        apart = self._apart(features)
        return f"another form of prompt: unusual in {SURFACE[int(apart[apart.sum(axis=1).argmin()].argmax())]}"

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Arrays by name, as they are saved."""
        return {each.name: np.asarray(getattr(self, each.name)) for each in fields(self) if each.init}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Familiarity:
        """The inverse of `to_arrays`.

        Raises:
            ValueError, KeyError: the arrays are of another shape than this version's.
        """
        found: dict[str, Any] = {each.name: arrays[each.name] for each in fields(cls) if each.init}
        s = len(SURFACE)
        wanted: dict[str, tuple[int, ...]] = {
            "words": (1 << KIND_BITS,),
            "surface": (2 * s,),
            "lexicon": (1 << (BITS - 3),),
        }
        wanted |= {"mean": (s,), "deviation": (s,), "spread": (s,), "scales": (2, 2), "quantiles": (len(LEVELS),)}
        for name, shape in wanted.items():
            if found[name].shape != shape:
                raise ValueError(f"{name} has the shape {found[name].shape}, not {shape}")
        return cls(**found)


def kind_columns(features: Features) -> npt.NDArray[np.int64]:
    """The text's distinct words, each as one of 8,192 columns."""
    singles = int(features.columns.searchsorted(1 << BITS))
    return features.columns[:singles] >> (BITS - KIND_BITS)


def word_steps(words: npt.NDArray[np.uint64], own: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.int8]:
    """How much each word speaks for English, in eighths: 16 at most, -16 if unknown, 0 for a mark, a letter, a number.

    An unknown word that is in `own`, a lexicon of 65,536, counts as one of the training set's language.
    """
    first, second = word_places(words)
    table = english()
    steps = np.minimum(table.take(first), table.take(second))
    if own is not None:
        steps[(steps == UNKNOWN) & own.take(own_places(words))] = _OWN
    return steps


def mean_weight(steps: npt.NDArray[np.int8]) -> float:
    """The mean of the words' weights, what has none left out; 1.75 if there is no word."""
    total = int(np.add.reduce(steps, dtype=np.int64)) / WORD_STEPS
    return (total + _HEAD_START) / (int(np.count_nonzero(steps)) + 1)


def own_places(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The place of each word in a lexicon of 65,536."""
    return ((words * _MIX) >> np.uint64(64 - BITS)).view(np.int64)


def word_places(words: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The two places of each word in the table. A word is known if it is at both (Bloom, 1970)."""
    mixed = words * _MIX
    return (mixed >> _FIRST).view(np.int64), ((mixed >> _SECOND) & _WITHIN).view(np.int64)


def word_table(words: npt.NDArray[np.uint64], weights: Floats) -> npt.NDArray[np.int8]:
    """The table in which `word_steps` looks up: each word at both its places, the higher weight where two meet."""
    table = np.full(1 << _WORD_BITS, UNKNOWN, np.int8)
    steps = np.clip(np.round(weights * WORD_STEPS), UNKNOWN, -UNKNOWN).astype(np.int8)
    for places in word_places(words):
        np.maximum.at(table, places, steps)
    return table


@cache
def english() -> npt.NDArray[np.int8]:
    """The shipped table of English words: their weights in eighths."""
    return packaged()["english"].astype(np.int8)


def packaged() -> dict[str, npt.NDArray[Any]]:
    """All shipped arrays, as training/familiarity.py made them."""
    with np.load(packaged_path()) as arrays:
        return dict(arrays)


def packaged_path() -> Path:
    """Where they are."""
    return Path(__file__).parent / "data" / "familiarity.npz"
