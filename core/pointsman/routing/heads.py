"""Linear heads over a text's features: the numbers that a fit ends in, and what they make of one text.

Knows arrays only. Where the numbers come from is `pointsman.routing.fitting`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from pointsman.routing.features import COLUMNS, MOST_BYTES, SETTING, SURFACE, Features

Floats = npt.NDArray[np.float64]

# Beyond three standard deviations a measure of the surface tells nothing more.
_MOST_DEVIATIONS = 3.0
_STEPS = 127
_PRIOR_SPAN = 0.2
_MEASURES = len(SURFACE) + len(SETTING)
# By count. No n-gram is found more often than the text has bytes.
_WEIGHTS = np.zeros(MOST_BYTES + 2, np.float32)
_WEIGHTS[1:] = 1 + np.log(np.arange(1, MOST_BYTES + 2), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """One linear head per output: h outputs of 131,072 n-gram columns and s measures of the surface.

    `ngrams` (columns, h) are 8-bit steps of `step` (h,); `surface` (s, h) weighs the measures less `mean` over
    `deviation` (s,); `bias` (h,).
    """

    ngrams: npt.NDArray[np.int8]
    step: Floats
    surface: Floats
    mean: Floats
    deviation: Floats
    bias: Floats

    @classmethod
    def of(cls, ngrams: Floats, surface: Floats, mean: Floats, deviation: Floats, bias: Floats) -> Heads:
        """Heads whose n-gram weights (columns, h) are rounded to 127 steps of the largest of each output."""
        step = np.maximum(np.abs(ngrams).max(axis=0), 1e-9) / _STEPS
        rounded = np.round(ngrams / step).astype(np.int8)
        return cls(ngrams=rounded, step=step, surface=surface, mean=mean, deviation=deviation, bias=bias)

    def __call__(self, features: Features) -> Floats:
        """The h outputs for one text."""
        found = ngram_values(features.counts) @ self.ngrams.take(features.columns, axis=0)
        return found * self.step + standardised(features.measures, self.mean, self.deviation) @ self.surface + self.bias

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Arrays by name, as they are saved."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Heads:
        """The inverse of `to_arrays`.

        Raises:
            ValueError, KeyError: the arrays are of another shape than this version's.
        """
        heads = cls(**{field.name: arrays[field.name] for field in fields(cls)})  # type: ignore[arg-type]  # Checked below.
        h = len(heads.bias)
        wanted = {"ngrams": (COLUMNS, h), "step": (h,), "surface": (_MEASURES, h)}
        wanted |= {"mean": (_MEASURES,), "deviation": (_MEASURES,)}
        for name, shape in wanted.items():
            if getattr(heads, name).shape != shape:
                raise ValueError(f"{name} has the shape {getattr(heads, name).shape}, not {shape}")
        return heads


def ngram_values(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The weight of each n-gram in its text: 1 + ln(count), scaled to a vector of length 1."""
    values = _WEIGHTS.take(counts)
    values /= max(math.sqrt(values @ values), 1.0)
    return values


def standardised(surface: Floats, mean: Floats, deviation: Floats) -> Floats:
    """The measures of a surface (..., s) in standard deviations, at most three either way."""
    within: Floats = np.minimum(np.maximum((surface - mean) / deviation, -_MOST_DEVIATIONS), _MOST_DEVIATIONS)
    return within


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """From the chances of m heads to the expected qualities of m models.

    What the heads say in common (their mean) is scaled by `level`, what they say apart by `apart`, each by least
    squares on prompts that the heads were not fitted to, and `offsets` (m,) put each model's mean right. So the gap
    of any two models is calibrated linearly, and ranks prompts as the heads do. `means` (m,) are the
    models' mean qualities.
    """

    level: float
    apart: float
    offsets: Floats
    means: Floats

    def __call__(self, chances: Floats) -> Floats:
        """Expected qualities (..., m), 0 to 1. Where one would lie above, all are lowered, to keep the gaps."""
        # The ufuncs themselves: at one prompt, numpy's wrappers around them take longer than all the rest.
        common = np.add.reduce(chances, axis=-1, keepdims=True) / chances.shape[-1]
        qualities = self.level * common + self.apart * (chances - common) + self.offsets
        qualities -= np.maximum(np.maximum.reduce(qualities, axis=-1, keepdims=True) - 1, 0)
        within: Floats = np.maximum(qualities, 0)
        return within

    def by_complexity(self, complexity: float) -> Floats:
        """Expected qualities (m,) of a prompt of which the heads know nothing, by its complexity, 0 to 1.

        Each model is behind the best by the difference of their means, a fifth less where the complexity is 0, a fifth
        more where it is 1: the prior tells which prompts are harder, and not by how much.
        """
        best = self.means.max()
        within: Floats = np.maximum(best - (1 + _PRIOR_SPAN * (2 * complexity - 1)) * (best - self.means), 0)
        return within

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Arrays by name, as they are saved."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Calibration:
        """The inverse of `to_arrays`."""
        return cls(
            level=float(arrays["level"]),
            apart=float(arrays["apart"]),
            offsets=np.asarray(arrays["offsets"], np.float64),
            means=np.asarray(arrays["means"], np.float64),
        )


def logistic(values: Floats) -> Floats:
    """1 / (1 + exp(-value)), without overflow."""
    return np.exp(-np.logaddexp(0, -values))
