"""The predictor that routers have by default: the shipped heads where they know the models, else the complexity prior.

The heads come in one file per family of models, and a file is read when a router first needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from pointsman.catalog import Model
from pointsman.prompt import Prompt
from pointsman.routing.complexity import ComplexityPredictor
from pointsman.routing.quality import Prediction

if TYPE_CHECKING:
    from pointsman.routing.card import Card
    from pointsman.routing.trained import TrainedPredictor

FOLDER = Path(__file__).parent / "data" / "heads"


class ShippedPredictor:
    """Expected quality by the first family of shipped heads that knows all the models in question.

    Where none does, the complexity prior speaks for all of them, since what a head and the prior say can't be
    compared; the prediction's basis names the models of which no outcomes are known.
    """

    name = "shipped heads"

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Prediction:
        """For each model's `id` an array of expected quality, one value per prompt."""
        ids = [model.id for model in models]
        family = _family_of(frozenset(ids))
        if family is not None:
            return _heads(family).predict(prompts, models=ids)
        return ComplexityPredictor(because=_unknown(tuple(ids))).predict(prompts, models=models)

    def cards(self) -> Mapping[str, Card]:
        """The card of each family, by its name."""
        return {family: _heads(family).card for family in _families()}


@cache
def _families() -> Mapping[str, frozenset[str]]:
    """Which models each file knows: told beside the files, so that none has to be opened to find it out."""
    told = orjson.loads((FOLDER / "families.json").read_bytes())
    return {family: frozenset(models) for family, models in told.items()}


@cache
def _family_of(models: frozenset[str]) -> str | None:
    return next((family for family, known in _families().items() if models <= known), None)


@cache
def _heads(family: str) -> TrainedPredictor:
    from pointsman.routing.trained import TrainedPredictor  # Late: it loads numpy.

    return TrainedPredictor.load(FOLDER / f"{family}.npz")


@cache
def _unknown(models: tuple[str, ...]) -> str:
    known = frozenset().union(*_families().values())
    missing = [model for model in models if model not in known]
    return f"no outcomes of {', '.join(missing)} are known" if missing else "no outcomes of these models together"
