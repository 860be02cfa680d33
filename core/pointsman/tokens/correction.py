"""How one model's tokenizer differs from the prior, learnt from what its replies counted.

Bayesian linear regression: every reply says what the amounts of content up to a cut came to. Its state is two sums, so
that what several processes learnt adds up. Knows no prompt and no model by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointsman.tokens.content import COLUMNS, WIDTH, Amounts, amounts

Floats = NDArray[np.float64]
Weights = NDArray[np.float32]
"""Tokens of a model for one of each of `COLUMNS`."""

# Tokens for one of each amount, and how far a tokenizer may well be from it. The first are what tiktoken's cl100k_base
# takes on prompts of public text, rounded (`benchmarks/tokens.py --fit`, 2026-11-24). But `other` is scarce there: it
# is the .34 to .41 tokens a byte of GNU's messages in Japanese, Chinese, Korean, Hindi and Arabic, less what every byte
# has. And the tools' own system prompt is 313 to 346 tokens for Claude (Anthropic's documentation of tool use) and
# unknown elsewhere. The second are judgement: results are the same at half and at twice as much.
_PRIOR = {
    "bytes": (0.07, 0.03),
    "upper": (0.1, 0.15),
    "digits": (0.91, 0.3),
    "spaces": (0.59, 0.2),
    "newlines": (0.9, 0.3),
    "punctuation": (0.24, 0.15),
    "other": (0.3, 0.2),
    "indents": (-0.51, 0.3),
    "word_ends": (0.74, 0.3),
    "blocks": (9.0, 4.0),
    "tool": (-1.0, 10.0),
    "tool_use": (-45.0, 15.0),
    "tool_result": (-17.0, 10.0),
    "tool_bytes": (0.04, 0.03),
    "tool_use_bytes": (0.05, 0.03),
    "tool_result_bytes": (-0.01, 0.03),
    "tools": (0.0, 350.0),
}
_MEAN: Floats = np.array([_PRIOR[name][0] for name in COLUMNS])
# That a tokenizer takes more or fewer of everything is the likeliest difference: Claude since Opus 4.7 is said to take
# 30 % more than before (sammcj/ingest, issue 65; read 2026-11-22).
_OVERALL = 0.4
_SPREAD: Floats = np.array([_PRIOR[name][1] for name in COLUMNS])
_PRECISION: Floats = np.linalg.inv(np.diag(_SPREAD**2) + _OVERALL**2 * np.outer(_MEAN, _MEAN)).astype(np.float64)
_PULL: Floats = _PRECISION @ _MEAN
_WEIGHTS: Weights = _MEAN.astype(np.float32)

# The prior, and the least: whatever is in it, a block has a token for twelve bytes and some for its markup.
_KNOWN = np.array([_MEAN, [{"bytes": 1 / 12, "blocks": 3.0}.get(name, 0.0) for name in COLUMNS]], np.float32)
# What a model makes of a block may be this many times more or fewer than the prior does: one that has seen only prose
# must not take code for nothing.
_MOST_APART = 4.0
# Errors of a prompt's tokens after the fit: 1 % at 100k tokens, 3 % at 500. Results are the same at four times as much.
_NOISE, _NOISE_OF_A_TOKEN = 1e-4, 0.4
_WILD = 8.0
_MEMORY, _MEMORY_IN_CHANGE = 0.999, 0.9
_CHANGE = 0.12
# Solving takes longer than all the rest of a call's learning, and each equation says less than the one before.
_SOLVED_EACH, _SOLVED_EVERY = 50, 8
_TRIANGLE = np.triu_indices(WIDTH)


def estimated(rows: Amounts) -> Weights:
    """Tokens of each block as long as nothing is known of the model."""
    tokens: Weights = (_KNOWN @ rows.T).max(axis=0)
    return tokens


def sums_with(contents: bytes, weights: Weights) -> tuple[int, ...]:
    """The tokens up to each block as the model with these weights counts them."""
    prior, fewest, learnt = np.array([*_KNOWN, weights]) @ amounts(contents).T
    np.maximum(prior, fewest, out=prior)
    np.maximum(learnt, prior / _MOST_APART, out=learnt)
    np.minimum(learnt, prior * _MOST_APART, out=learnt)
    # A half is added to what is cut off, so that it is rounded.
    return tuple((learnt.cumsum(dtype=np.float64) + 0.5).astype(np.int64).tolist())


class _Sums:
    """What equations say together: their squares and products, and how many they are."""

    __slots__ = ("equations", "products", "squares")

    def __init__(self) -> None:
        self.squares: Floats = np.zeros((WIDTH, WIDTH))
        self.products: Floats = np.zeros(WIDTH)
        self.equations = 0

    def add(self, other: _Sums) -> None:
        self.squares += other.squares
        self.products += other.products
        self.equations += other.equations

    def to_dict(self) -> dict[str, Any]:
        squares = self.squares[_TRIANGLE].tolist()
        return {"equations": self.equations, "squares": squares, "products": self.products.tolist()}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> _Sums:
        sums = cls()
        sums.squares[_TRIANGLE] = told["squares"]
        sums.squares = np.triu(sums.squares) + np.triu(sums.squares, 1).T
        sums.products[:] = told["products"]
        sums.equations = int(told["equations"])
        if not (np.isfinite(sums.squares).all() and np.isfinite(sums.products).all()):
            raise ValueError("token counts to learn from hold what is no number")
        return sums


class Correction:
    """What was learnt of one model. Not thread-safe: `weights` may be read at any time, the rest under a lock."""

    def __init__(self) -> None:
        self.weights = _WEIGHTS
        self._sums = _Sums()
        self._unshared = _Sums()
        self._error = 0.0

    def learn(self, total: Floats, counted: int) -> None:
        """Take in that these amounts came to `counted` tokens; a count that can't be of them is passed over."""
        prior = float(total @ _MEAN)
        if counted <= 0 or not prior / _WILD < counted < prior * _WILD:
            return
        told = total / counted
        error = abs(float(told @ self.weights) - 1)
        weight = self._trust(error) / (_NOISE + _NOISE_OF_A_TOKEN / counted)
        memory = _MEMORY_IN_CHANGE if self._error > _CHANGE else _MEMORY
        self._sums.squares *= memory
        self._sums.products *= memory
        products = weight * told
        squares = products[:, None] * told
        for sums in (self._sums, self._unshared):
            sums.squares += squares
            sums.products += products
            sums.equations += 1
        if self._sums.equations <= _SOLVED_EACH or self._sums.equations % _SOLVED_EVERY == 0:
            self._solve()

    def _trust(self, error: float) -> float:
        """One odd count weighs little; where they go on being odd, the model has changed."""
        usual = max(3 * self._error, 0.05) if self._sums.equations else error
        self._error += (min(error, 1.0) - self._error) * max(0.1, 1 / (self._sums.equations + 1))
        return min(1.0, usual / error) if error else 1.0

    def take_delta(self) -> dict[str, Any] | None:
        """What was learnt here since the last time this was asked; None where nothing was."""
        taken, self._unshared = self._unshared, _Sums()
        return taken.to_dict() if taken.equations else None

    def add(self, delta: Mapping[str, Any]) -> None:
        """Take in what another process has learnt.

        Raises:
            ValueError, LookupError, TypeError: it is not what `take_delta` gives.
        """
        self._sums.add(_Sums.from_dict(delta))
        self._solve()

    def to_dict(self) -> dict[str, Any]:
        """All that was learnt, as JSON."""
        return {**self._sums.to_dict(), "error": self._error}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Correction:
        """From what `to_dict` gave.

        Raises:
            ValueError, LookupError, TypeError: it is something else.
        """
        correction = cls()
        correction._error = float(told["error"])
        correction.add(told)
        return correction

    def _solve(self) -> None:
        solved = np.linalg.solve(_PRECISION + self._sums.squares, _PULL + self._sums.products)
        self.weights = solved.astype(np.float32)
