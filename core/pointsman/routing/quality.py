"""Expected quality of a model's answer: what a predictor is, and what it gives. Knows no way to predict it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    "complexity prior: unlike the training data"), `resolution` the gap between two models below which it counts as
    none; both are empty where the predictor doesn't tell.
    """

    __slots__ = ("basis", "output_tokens", "resolution")

    def __init__(
        self,
        qualities: Mapping[str, npt.NDArray[np.float64]],
        /,
        *,
        output_tokens: Mapping[str, npt.NDArray[np.float64]] | None = None,
        basis: Sequence[str] = (),
        resolution: Sequence[float] = (),
    ) -> None:
        super().__init__(qualities)
        self.output_tokens: Mapping[str, npt.NDArray[np.float64]] = output_tokens or {}
        self.basis = tuple(basis)
        self.resolution = tuple(resolution)

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
