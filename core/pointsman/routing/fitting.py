"""How heads are fitted to outcomes. Needs the extra `fit`; nothing of it is needed to predict.

Each model has a logistic head on the chance that its answer is good. What the heads say of prompts that they were not
fitted to is then calibrated for all models at once, by least squares of the outcomes on the heads' chances: least
squares being linear, the difference of two calibrated qualities is the least-squares estimate of the two models' gap,
for every pair of models, which is what a decision is made by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
from scipy.optimize import minimize
from sklearn.linear_model import Ridge

from pointsman.prompt import Prompt
from pointsman.routing.card import Card
from pointsman.routing.familiarity import Familiarity
from pointsman.routing.features import COLUMNS, asked, features_of
from pointsman.routing.heads import Calibration, Floats, Heads, logistic, ngram_values, standardised
from pointsman.routing.judging import figures
from pointsman.routing.task import Task
from pointsman.routing.trained import TrainedPredictor

Matrix = Any  # scipy's sparse matrices have no types.

# Found on the shared part of the data (benchmarks/routing.md): between .15 and 1.2 little changes.
_STRENGTH = 0.6
_STRENGTH_SMOOTHED = 1.0
_SURFACE_SCALE = 0.1
_RARITY = 0.7
_LEAST_TEXTS = 2
_MOST_STEPS = 60
_FOLDS = 5

# Where this many other models answered the same prompts, part of each label is what theirs make one expect.
_LEAST_OTHERS = 4
_SMOOTHED_PART = 0.6
_OTHERS_PENALTY = 30.0
_LEAST_SLOPE, _MOST_SLOPE = 0.1, 3.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texts:
    """n texts: n-grams (n, columns) as a sparse matrix, `surface` (n, s), and a fold for each."""

    texts: tuple[str, ...]
    ngrams: Matrix
    surface: Floats
    folds: npt.NDArray[np.int64]

    @classmethod
    def of(cls, prompts: Sequence[str | Prompt]) -> Texts:
        """What the prompts ask. The folds go by the whole text: the same text is in one fold wherever it stands."""
        texts = tuple(map(asked, prompts))
        features = [features_of(text, prompt) for text, prompt in zip(texts, prompts, strict=True)]
        ends = np.cumsum([0, *(len(one.columns) for one in features)])
        values = np.concatenate([ngram_values(one.counts) for one in features])
        columns = np.concatenate([one.columns for one in features])
        return cls(
            texts=texts,
            ngrams=sparse.csr_matrix((values, columns, ends), shape=(len(features), COLUMNS)),
            surface=np.array([one.measures for one in features]),
            folds=np.array([fold_of(text) for text in texts]),
        )

    def rows(self, rows: npt.NDArray[np.bool_]) -> Texts:
        """Some of them."""
        texts = tuple(text for text, taken in zip(self.texts, rows, strict=True) if taken)
        return Texts(texts=texts, ngrams=self.ngrams[rows], surface=self.surface[rows], folds=self.folds[rows])


def fold_of(text: str, folds: int = _FOLDS) -> int:
    """The fold that a text belongs to, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()) % folds


def fitted(task: Task, *, name: str, licence: str, notes: Sequence[str], on: date | None) -> TrainedPredictor:
    """The predictor for a task: heads on all its prompts, calibrated on what heads of four folds say of the fifth."""
    texts = Texts.of(task.prompts)
    chances = out_of_fold(texts, task)
    labels, strength = smoothed(task.outcomes, task.models)
    pairs, warnings = figures(
        task.models, _calibrated_out_of_fold(chances, task, texts.folds), task.labels, texts.surface[:, 0]
    )
    return TrainedPredictor(
        models=task.models,
        lengths=tuple(task.output_tokens),
        heads=fit_heads(texts, labels, task.weights, lengths=task.output_tokens, strength=strength),
        calibration=calibrated(chances, task.labels, task.weights),
        familiarity=Familiarity.fit(texts.texts),
        card=Card(
            name=name,
            date=(on or date.today()).isoformat(),
            licence=licence,
            prompts=len(task.prompts),
            qualities={model: float(np.nanmean(task.outcomes[model])) for model in task.models},
            pairs=pairs,
            warnings=warnings,
            notes=tuple(notes),
        ),
    )


def fit_heads(
    texts: Texts,
    qualities: Mapping[str, Floats],
    weights: Floats,
    *,
    lengths: Mapping[str, Floats] | None = None,
    strength: float = _STRENGTH,
) -> Heads:
    """A logistic head per model in `qualities` (n,), and a linear one per logarithm of a length in `lengths` (n,).

    NaN is a prompt that the model was not given. `strength` is the inverse of the penalty, as scikit-learn's C.
    """
    design = _Design.of(texts)
    columns = [design.fit(_LOGISTIC, labels, weights, strength) for labels in qualities.values()]
    columns += [design.fit_length(tokens, weights, strength) for tokens in (lengths or {}).values()]
    return design.heads(np.stack(columns, axis=1))


def smoothed(outcomes: Mapping[str, Floats], models: Sequence[str]) -> tuple[dict[str, Floats], float]:
    """The labels to fit each model's head to, and the strength to fit with.

    One answer says little of how often a model would succeed on such a prompt; what other models made of the very
    same prompt says more. With enough of them, a part of each label is replaced by its ridge regression on theirs.
    Only labels of the prompts that are fitted to are used: nothing is known of any other model when predicting.
    """
    if len(outcomes) - 1 < _LEAST_OTHERS:
        return {model: outcomes[model] for model in models}, _STRENGTH
    means = {model: np.nanmean(labels) for model, labels in outcomes.items()}
    filled = {model: np.where(np.isnan(labels), means[model], labels) for model, labels in outcomes.items()}
    told = {}
    for model in models:
        known = ~np.isnan(outcomes[model])
        others = np.stack([filled[other] for other in outcomes if other != model], axis=1)
        regression = Ridge(alpha=_OTHERS_PENALTY).fit(others[known], outcomes[model][known])
        expected = np.clip(regression.predict(others), 0, 1)
        told[model] = np.where(known, _SMOOTHED_PART * expected + (1 - _SMOOTHED_PART) * outcomes[model], np.nan)
    return told, _STRENGTH_SMOOTHED


def calibrated(chances: Floats, labels: Floats, weights: Floats) -> Calibration:
    """The calibration of chances (n, m), made out of fold, by labels (n, m) with NaN where none is known."""
    known = ~np.isnan(labels)
    shared = known.sum(axis=1, keepdims=True)
    common, apart = _split(chances, known)
    common_labels, apart_labels = _split(labels, known)
    level = _slope(common, common_labels, (shared >= 1) * weights[:, None])
    pairs = known * (shared >= 2) * weights[:, None]
    spread = _slope(_centred(apart, pairs), _centred(apart_labels, pairs), pairs) if pairs.any() else level
    everyone = chances.mean(axis=1, keepdims=True)
    expected = level * everyone + spread * (chances - everyone)
    offsets = _means(labels - expected, known * weights[:, None])
    means = _means(labels, known * weights[:, None])
    return Calibration(level=level, apart=spread, offsets=offsets, means=means)


def _split(values: Floats, known: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The mean of each row's known values (n, 1), and each value less it (n, m)."""
    common = np.where(known, values, 0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return common, values - common


def _slope(x: Floats, y: Floats, weights: Floats) -> float:
    """The least-squares slope, shrunk by the share of it that may be chance (positive-part James-Stein); 0 to 3.

    Few labels may not tell it from 0, and what ranks prompts may be right all the same: then it is at least its
    standard error or a tenth, which keeps the ranking and promises next to no gap.
    """
    x, y, weights = (np.broadcast_to(values, y.shape)[weights > 0] for values in (x, y, weights))
    x, y = x - np.average(x, weights=weights), y - np.average(y, weights=weights)
    spread = float(weights @ (x * x))
    if spread == 0:
        return 0.0
    slope = float(weights @ (x * y)) / spread
    error = float(np.sqrt((weights**2) @ ((y - slope * x) ** 2 * x * x))) / spread
    shrunk = slope - error**2 / slope if slope > 0 else 0.0
    least = min(error, _LEAST_SLOPE) if slope > -2 * error else 0.0
    return float(np.clip(shrunk, least, _MOST_SLOPE))


def _centred(values: Floats, weights: Floats) -> Floats:
    return values - _means(values, weights)


def _means(values: Floats, weights: Floats) -> Floats:
    """The weighted mean of each column, of the rows that have a weight; 0 for a column without any."""
    total: Floats = (np.where(weights > 0, values, 0) * weights).sum(axis=0)
    means: Floats = total / np.maximum(weights.sum(axis=0), 1e-12)
    return means


def out_of_fold(texts: Texts, task: Task) -> Floats:
    """Each model's chance (n, m) for each text, from heads that were fitted to the other folds only."""
    chances = np.full((len(texts.folds), len(task.models)), np.nan)
    for fold in np.unique(texts.folds):
        held_out = texts.folds == fold
        rest = {model: labels[~held_out] for model, labels in task.outcomes.items()}
        labels, strength = smoothed(rest, task.models)
        heads = fit_heads(texts.rows(~held_out), labels, task.weights[~held_out], strength=strength)
        chances[held_out] = chances_of(heads, texts.rows(held_out))
    return chances


def _calibrated_out_of_fold(chances: Floats, task: Task, folds: npt.NDArray[np.int64]) -> Floats:
    predicted = np.empty_like(chances)
    for fold in np.unique(folds):
        held_out = folds == fold
        calibration = calibrated(chances[~held_out], task.labels[~held_out], task.weights[~held_out])
        predicted[held_out] = calibration(chances[held_out])
    return predicted


def chances_of(heads: Heads, texts: Texts) -> Floats:
    """The logistic of each head (n, h): many texts at once."""
    found = np.asarray(texts.ngrams @ (heads.ngrams * heads.step))
    return logistic(found + standardised(texts.surface, heads.mean, heads.deviation) @ heads.surface + heads.bias)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Design:
    """What the heads are fitted on: the n-grams seen at least twice, rarer ones larger, beside the surface.

    Rarity scales what is fitted, and so how much each weight may take, and is folded into the weights afterwards.
    """

    matrix: Matrix
    columns: npt.NDArray[np.int64]
    rarity: Floats
    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, texts: Texts) -> _Design:
        seen = np.bincount(texts.ngrams.indices, minlength=COLUMNS)
        columns = np.flatnonzero(seen >= _LEAST_TEXTS)
        rarity = (np.log((1 + len(texts.folds)) / (1 + seen[columns])) + 1) ** _RARITY
        rarity = rarity / np.average(rarity, weights=seen[columns]) if len(columns) else rarity
        mean, deviation = texts.surface.mean(axis=0), texts.surface.std(axis=0) + 1e-9
        surface = _SURFACE_SCALE * standardised(texts.surface, mean, deviation)
        ngrams = texts.ngrams[:, columns] @ sparse.diags(rarity)
        matrix = sparse.hstack([ngrams, sparse.csr_matrix(surface)]).tocsr()
        return cls(matrix=matrix, columns=columns, rarity=rarity, mean=mean, deviation=deviation)

    def fit(self, loss: _Loss, labels: Floats, weights: Floats, strength: float) -> Floats:
        """The weights of one head, the bias last, by L-BFGS."""
        known = np.flatnonzero(~np.isnan(labels))
        matrix, labels, weights = self.matrix[known], labels[known], weights[known] * strength
        transposed = matrix.T.tocsr()

        def objective(point: Floats) -> tuple[float, Floats]:
            value, slope = loss(matrix @ point[:-1] + point[-1], labels)
            slope *= weights
            penalty = point[:-1] @ point[:-1] / 2
            return float(weights @ value + penalty), np.append(transposed @ slope + point[:-1], slope.sum())

        start = np.zeros(matrix.shape[1] + 1)
        start[-1] = loss.start(float(np.average(labels, weights=weights)))
        found: Floats = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": _MOST_STEPS}).x
        return found

    def fit_length(self, tokens: Floats, weights: Floats, strength: float) -> Floats:
        """The head of a length's logarithm, moved so that its exponential has the right mean (Duan, 1983)."""
        logarithms = np.log(np.maximum(tokens, 1))
        point = self.fit(_LINEAR, logarithms, weights, strength)
        residual = logarithms - (self.matrix @ point[:-1] + point[-1])
        point[-1] += np.log(np.nanmean(np.exp(residual)))
        return point

    def heads(self, fitted: Floats) -> Heads:
        n = len(self.columns)
        ngrams = np.zeros((COLUMNS, fitted.shape[1]))
        ngrams[self.columns] = fitted[:n] * self.rarity[:, None]
        surface = fitted[n:-1] * _SURFACE_SCALE
        return Heads.of(ngrams, surface, self.mean, self.deviation, bias=fitted[-1])


class _Logistic:
    """Cross-entropy; the labels may be any share."""

    def __call__(self, output: Floats, labels: Floats) -> tuple[Floats, Floats]:
        return np.logaddexp(0, output) - labels * output, logistic(output) - labels

    def start(self, mean: float) -> float:
        return float(np.log((mean + _START) / (1 - mean + _START)))


class _Squares:
    def __call__(self, output: Floats, labels: Floats) -> tuple[Floats, Floats]:
        return (output - labels) ** 2 / 2, output - labels

    def start(self, mean: float) -> float:
        return mean


_START = 1e-3
_LOGISTIC, _LINEAR = _Logistic(), _Squares()
_Loss = _Logistic | _Squares
