"""What the prompts of a training set look like, told apart from all kinds of other prompts. Needs the extra `fit`.

The other prompts are shipped as features, not as texts. Both sides stand there twice, as they are and as somebody else
might have written them, so that a polite opening, a typing error or a line break doesn't make a prompt unfamiliar.
Every cut is set on prompts that were held out.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

from pointsman.errors import InvalidRequestError
from pointsman.routing.familiarity import (
    FALSE_ALARMS,
    KIND_BITS,
    LEAST_KNOWN,
    LEVELS,
    UNKNOWN,
    Familiarity,
    Floats,
    kind_columns,
    own_places,
    packaged,
    word_steps,
)
from pointsman.routing.features import BITS, SURFACE, Features, features_of

LEAST_TEXTS = 20
_MOST_TEXTS = 3_000
_FOLDS = 3
_GROUPS = 8
_STRENGTH = 1.0
_STEPS = 127
_SURFACE_SCALE = 0.3
_LEAST_DEVIATION = 0.05
# One comma more is nothing strange, even where no training prompt has one; counts are logarithms.
_LEAST_SPREAD = np.array([_LEAST_DEVIATION if name.startswith("share") else 0.35 for name in SURFACE])
# How the false alarms are shared out. The kind tells most.
_KIND_TAIL = 0.8 * FALSE_ALARMS
_FORM_TAIL = 0.2 * FALSE_ALARMS
_LANGUAGE_TAIL = 0.2 * FALSE_ALARMS
_FREQUENT = 3

_OPENINGS = (
    "Hello! ",
    "Hi there, can you answer this? ",
    "Please help me with the following.\n",
    "I have a question. ",
    "Please read this carefully and answer.\n\n",
    "Good morning! I am stuck on this one: ",
    "Question: ",
)
_CLOSINGS = (" Thank you.", "\n\nThanks!", " Please explain your answer.", "\nAnswer:")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Others:
    """All kinds of other prompts: `words` (n, 8192), sparse with rows of length 1, and `surface` (n, s)."""

    words: Any  # scipy's sparse matrices have no types.
    surface: Floats

    @classmethod
    def shipped(cls) -> Others:
        """Those in the package, made by training/familiarity.py.

        Raises:
            ValueError: they were made by another version of the features.
        """
        arrays = packaged()
        if tuple(arrays["names"].tolist()) != SURFACE:
            raise ValueError("The shipped prompts have other features: run training/familiarity.py.")
        ends = np.concatenate(([0], np.cumsum(arrays["lengths"], dtype=np.int64)))
        columns = np.concatenate([np.cumsum(row) for row in np.split(arrays["steps"].astype(np.int64), ends[1:-1])])
        return cls(words=_rows(columns, ends), surface=arrays["surface"].astype(np.float64))

    @staticmethod
    def packed(features: Sequence[Features]) -> dict[str, npt.NDArray[Any]]:
        """Arrays from which `shipped` makes them again: sorted columns as steps, half precision."""
        rows = [np.unique(kind_columns(one)) for one in features]
        return {
            "names": np.array(SURFACE),
            "steps": np.concatenate([np.diff(row, prepend=0) for row in rows]).astype(np.uint16),
            "lengths": np.array([len(row) for row in rows], np.uint16),
            "surface": np.array([one.surface for one in features], np.float16),
        }


def fitted(texts: Sequence[str]) -> Familiarity:
    """See `Familiarity.fit`. At most 3,000 of the texts are looked at, chosen by their hash."""
    sample = sorted(set(texts), key=_digest)[:_MOST_TEXTS]
    if len(sample) < LEAST_TEXTS:
        raise InvalidRequestError(f"{len(sample)} different prompts don't show what is familiar: give {LEAST_TEXTS}.")
    plain = [features_of(text) for text in sample]
    rewritten = [features_of(varied(text, random.Random(_digest(text)))) for text in sample]
    others = Others.shipped()
    folds = np.arange(len(sample)) % _FOLDS
    held_out: list[tuple[float, float, float]] = []
    for fold in range(_FOLDS):
        seen = np.flatnonzero(folds != fold)
        part = _uncut([plain[i] for i in seen], [rewritten[i] for i in seen], others)
        held_out += [_looks(part, one[i]) for i in np.flatnonzero(folds == fold) for one in (plain, rewritten)]
    return _cut(_uncut(plain, rewritten, others), np.array(held_out))


def varied(text: str, draw: random.Random) -> str:
    """The same prompt as somebody else might have written it."""
    if draw.random() < 0.5:
        text = draw.choice(_OPENINGS) + text
    if text.endswith("Answer:") and draw.random() < 0.5:
        text = text.removesuffix("Answer:").rstrip()
    if draw.random() < 0.4:
        text = text.rstrip() + draw.choice(_CLOSINGS)
    if draw.random() < 0.5:
        text = mistyped(text, draw.choice((0.01, 0.03, 0.05)), draw)
    for old, new, chance in ((" ", "  ", 0.2), (". ", ".\n", 0.15), ("\n\n", "\n", 0.15)):
        if draw.random() < chance:
            text = text.replace(old, new)
    return text + "\n" * draw.choice((0, 0, 0, 1, 2))


def mistyped(text: str, rate: float, draw: random.Random) -> str:
    """Some letters left out, doubled, or swapped with the next."""
    letters = list(text)
    for i, letter in enumerate(letters[:-1]):
        if letter.isalpha() and draw.random() < rate:
            both = (letter, letters[i + 1])
            letters[i], letters[i + 1] = draw.choice((("", both[1]), (letter * 2, both[1]), both[::-1]))
    return "".join(letters)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())


def _uncut(plain: Sequence[Features], rewritten: Sequence[Features], others: Others) -> Familiarity:
    """All but the cuts, which are left at nothing."""
    both = [*plain, *rewritten]
    surface = np.array([one.surface for one in both])
    centre = np.median(np.vstack((surface, others.surface)), axis=0)
    deviation = np.vstack((surface, others.surface)).std(axis=0) + _LEAST_DEVIATION
    spread = np.hypot(surface.std(axis=0), _LEAST_SPREAD)
    blank = Familiarity(
        words=np.zeros(1 << KIND_BITS, np.int8),
        step=np.array(1.0),
        surface=np.zeros(2 * len(SURFACE)),
        mean=centre,
        deviation=deviation,
        centres=_centres(surface, spread),
        spread=spread,
        lexicon=_lexicon(plain),
        least_known=np.array(-np.inf),
        scales=np.array([[0.0, 1.0], [0.0, 1.0]]),
        quantiles=np.zeros(len(LEVELS)),
    )
    own = _Side(words_of(both), blank.standardised(surface))
    words, step, weights = _ratio(own, _Side(others.words, blank.standardised(others.surface)))
    return replace(blank, words=words, step=step, surface=weights)


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of the ratio: `words` as in `Others`, `z` the surface in standard deviations."""

    words: Any
    z: Floats

    def design(self) -> Any:
        surface = np.hstack((self.z, self.z * self.z)) * _SURFACE_SCALE
        return sparse.hstack((sparse.csr_matrix(surface), self.words), format="csr")


def _ratio(own: _Side, others: _Side) -> tuple[npt.NDArray[np.int8], Floats, Floats]:
    """The weights of a logistic regression that tells the two sides apart, those of the words in steps."""
    labels = np.repeat((1, 0), (len(own.z), len(others.z)))
    fit = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=200)
    weights = fit.fit(sparse.vstack((own.design(), others.design())), labels).coef_[0]
    surface, words = np.split(weights, [2 * own.z.shape[1]])
    step = max(float(np.abs(words).max()), 1e-9) / _STEPS
    return np.round(words / step).astype(np.int8), np.array(step), surface * _SURFACE_SCALE


def _centres(surface: Floats, spread: Floats) -> Floats:
    """The middles of at most eight groups of prompts, told apart in units of `spread`."""
    groups = min(_GROUPS, len(np.unique(surface, axis=0)))
    found = KMeans(groups, n_init=1, random_state=0).fit(surface / spread).cluster_centers_
    return np.asarray(found * spread, np.float64)


def _lexicon(features: Sequence[Features]) -> npt.NDArray[np.uint8]:
    """The training set's words that are not English and stand in at least three prompts, packed."""
    texts_with = np.zeros(1 << BITS, np.int64)
    for one in features:
        unknown = one.words[word_steps(one.words) == UNKNOWN]
        texts_with[np.unique(own_places(unknown))] += 1
    return np.packbits(texts_with >= _FREQUENT)


def _looks(part: Familiarity, features: Features) -> tuple[float, float, float]:
    return part.known(features), part.kind(features), part.form(features)


def _cut(uncut: Familiarity, held_out: Floats) -> Familiarity:
    """With the cuts set on `held_out` (n, 3): the known words, the kind and the form of prompts that were held out."""
    known, kind, form = held_out.T
    scales = np.array([_scale(kind, _KIND_TAIL), _scale(form, _FORM_TAIL)])
    lower = ((held_out[:, 1:] - scales[:, 0]) / scales[:, 1]).min(axis=1)
    # A strictly rising scale is what interpolation needs.
    quantiles = np.quantile(lower, LEVELS) + 1e-9 * np.arange(len(LEVELS))
    least_known = np.array(min(LEAST_KNOWN, float(np.quantile(known, _LANGUAGE_TAIL))))
    return replace(uncut, least_known=least_known, scales=scales, quantiles=quantiles)


def _scale(values: Floats, tail: float) -> tuple[float, float]:
    median, low = np.quantile(values, (0.5, tail)).tolist()
    return median, max(median - low, 1e-6)


def words_of(features: Sequence[Features]) -> Any:
    """The words of n texts as a sparse matrix (n, 8192) with rows of length 1."""
    rows = [kind_columns(one) for one in features]
    return _rows(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))


def _rows(columns: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Any:
    lengths = np.diff(ends)
    values = np.repeat(np.maximum(lengths, 1) ** -0.5, lengths)
    return sparse.csr_matrix((values, columns, ends), shape=(len(lengths), 1 << KIND_BITS))
