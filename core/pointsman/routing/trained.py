"""Expected quality from heads that were fitted to outcomes, for prompts like those they were fitted to.

For other prompts the complexity prior speaks, and the prediction says so. Knows how to predict, save and load; how the
numbers are found is left to `pointsman.routing.fitting`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from pointsman.catalog import Model
from pointsman.errors import InvalidRequestError, MissingExtraError
from pointsman.prompt import Prompt
from pointsman.routing.card import Card
from pointsman.routing.complexity import PRIOR, ComplexityPredictor, complexity_of_asked
from pointsman.routing.familiarity import Familiarity
from pointsman.routing.features import asked, features_of
from pointsman.routing.heads import Calibration, Floats, Heads, logistic
from pointsman.routing.quality import Prediction
from pointsman.routing.task import Task

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

TRAINED = "trained"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedPredictor:
    """Heads for some `models`, and the `card` that tells what they were fitted to and how good they are.

    `lengths` are the models whose answers' lengths are predicted too. Made by `fit` or `load`.
    """

    models: tuple[str, ...]
    lengths: tuple[str, ...]
    heads: Heads
    calibration: Calibration
    familiarity: Familiarity
    card: Card

    @classmethod
    def fit(
        cls,
        prompts: Sequence[str | Prompt],
        outcomes: Mapping[str, ArrayLike],
        /,
        *,
        models: Sequence[str] | None = None,
        output_tokens: Mapping[str, ArrayLike] | None = None,
        weights: ArrayLike | None = None,
        name: str = "",
        licence: str = "",
        notes: Sequence[str] = (),
        on: date | None = None,
    ) -> TrainedPredictor:
        """Fit a head per model to the quality, 0 to 1, that its answers to n prompts had.

        200 to 1,500 prompts are enough, in seconds. The same prompts give the same heads.

        Args:
            prompts: n texts or Converse requests.
            outcomes: model id to n qualities; NaN where the model was not asked.
            models: those to predict; by default all in `outcomes`. The others' outcomes help to tell hard prompts
                from labels that were chance, if there are four or more.
            output_tokens: model id to the n lengths of its answers, where known.
            weights: how much each prompt counts.
            name, licence, notes, on: for the card: what the data are, under which licence, what the heads are not
                good for, and the date of the fit.

        Raises:
            InvalidRequestError: the lengths differ, there are too few prompts or models, a quality is outside 0 to 1.
            MissingExtraError: the extra `fit` is not installed.
        """
        try:
            from pointsman.routing.fitting import fitted
        except ModuleNotFoundError as exc:
            raise MissingExtraError("fitting", "fit") from exc
        task = Task.of(prompts, outcomes, models=models, output_tokens=output_tokens, weights=weights)
        return fitted(task, name=name, licence=licence, notes=notes, on=on)

    @property
    def name(self) -> str:
        """What decisions call it: the card's name."""
        return self.card.name or type(self).__name__

    def predict(self, prompts: Sequence[str | Prompt], /, *, models: Sequence[Model | str] | None = None) -> Prediction:
        """Expected quality per model, by default of all its models; `basis` tells where the complexity prior spoke.

        Where one of the `models` of a router has no head here, the prior speaks for all of them: what a head and the
        prior say can't be compared.

        Raises:
            InvalidRequestError: a model that is named by its id alone has no head here.
        """
        wanted = self.models if models is None else tuple(one if isinstance(one, str) else one.id for one in models)
        if missing := [model for model in wanted if model not in self.models]:
            return self._without_heads(prompts, models or (), missing)
        told = [self._expect(prompt) for prompt in prompts]
        qualities = np.array([one.qualities for one in told]).reshape(len(told), len(self.models))
        tokens = np.array([one.tokens for one in told]).reshape(len(told), len(self.lengths))
        means = [self.calibration.means.item(self.models.index(model)) for model in wanted]
        # The prior parts two kinds of prompt, at the models' mean gap.
        resolution = max(means, default=0.0) - min(means, default=0.0)
        return Prediction(
            {model: qualities[:, self.models.index(model)] for model in wanted},
            output_tokens={model: tokens[:, self.lengths.index(model)] for model in wanted if model in self.lengths},
            basis=[one.basis for one in told],
            resolution=[0.0 if one.basis == TRAINED else resolution for one in told],
        )

    def _expect(self, prompt: str | Prompt) -> _Expected:
        text = asked(prompt)
        features = features_of(text, prompt)
        likeness = self.familiarity(features)
        if likeness.is_familiar:
            outputs = self.heads(features)
            logits, logarithms = outputs[: len(self.models)], outputs[len(self.models) :]
            return _Expected(self.calibration(logistic(logits)), np.exp(logarithms), TRAINED)
        looks = complexity_of_asked(text, foreign=likeness.foreign or None, words=features.words)
        # Lengths are not told either: they were learnt from the same prompts.
        unknown = np.full(len(self.lengths), np.nan)
        return _Expected(self.calibration.by_complexity(looks), unknown, f"{PRIOR}: {likeness.reason}")

    def _without_heads(
        self, prompts: Sequence[str | Prompt], models: Sequence[Model | str], missing: Sequence[str]
    ) -> Prediction:
        given = [model for model in models if isinstance(model, Model)]
        if len(given) < len(models):
            raise InvalidRequestError(f"no head for {missing[0]!r} here; there are heads for {', '.join(self.models)}.")
        asked_of = [Prompt.of_text(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
        return ComplexityPredictor(because=f"no head for {', '.join(missing)}").predict(asked_of, models=given)

    # --- files ------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write everything to one file: arrays and the card, no code."""
        header = {"version": _VERSION, "models": self.models, "lengths": self.lengths, "card": self.card.to_dict()}
        parts = {
            "heads": self.heads.to_arrays(),
            "calibration": self.calibration.to_arrays(),
            "familiarity": self.familiarity.to_arrays(),
        }
        arrays: dict[str, Any] = {f"{part}.{name}": array for part, of in parts.items() for name, array in of.items()}
        # To a file object: a path would get numpy's own ending.
        with Path(path).open("wb") as file:
            np.savez_compressed(file, header=np.frombuffer(orjson.dumps(header), np.uint8), **arrays)

    @classmethod
    def load(cls, path: str | Path) -> TrainedPredictor:
        """Read what `save` wrote.

        Raises:
            InvalidRequestError: it is not such a file, or one of another version.
            FileNotFoundError: there is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                header = orjson.loads(file["header"].tobytes())
                arrays = {part: _of_part(part, file) for part in _PARTS}
            if header["version"] != _VERSION:
                raise InvalidRequestError(f"{path} is of version {header['version']}; this is {_VERSION}. Fit it anew.")
            return cls(
                models=tuple(header["models"]),
                lengths=tuple(header["lengths"]),
                heads=Heads.of_arrays(arrays["heads"]),
                calibration=Calibration.of_arrays(arrays["calibration"]),
                familiarity=Familiarity.of_arrays(arrays["familiarity"]),
                card=Card.of_dict(header["card"]),
            )
        except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as exc:
            if isinstance(exc, InvalidRequestError):
                raise
            raise InvalidRequestError(
                f"{path} is no predictor's file: {exc}. Give one that `pointsman fit` wrote."
            ) from exc


class _Expected(NamedTuple):
    """One prompt: qualities (m,), answers' tokens (l,), and what that rests on."""

    qualities: Floats
    tokens: Floats
    basis: str


_PARTS = ("heads", "calibration", "familiarity")


def _of_part(part: str, file: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, npt.NDArray[np.generic]]:
    return {name.removeprefix(f"{part}."): file[name] for name in file if name.startswith(f"{part}.")}
