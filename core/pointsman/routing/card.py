"""What a trained predictor was made from, and how good it is: the card that is saved with it. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFigures:
    """How well the predictor tells when `strong` is needed and `weak` is not, on prompts that it was not fitted to.

    `apgr` is RouteLLM's figure (1/2: chance), `low` and `high` its 95 % interval; `length_apgr` what the prompt's
    length alone reaches. `calibration_error` is of the predicted gap in ten bins, `sampling_floor` what a perfect
    prediction would show on as many prompts.
    """

    weak: str
    strong: str
    prompts: int
    weak_quality: float
    strong_quality: float
    apgr: float
    low: float
    high: float
    length_apgr: float
    calibration_error: float
    sampling_floor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """`date` is when it was fitted. `qualities` maps each model to its mean quality; `notes` say what it isn't good
    for, `warnings` what is wrong with the fit."""

    name: str
    date: str
    licence: str
    prompts: int
    qualities: Mapping[str, float]
    pairs: tuple[PairFigures, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Card:
        """The inverse of `to_dict`.

        Raises:
            TypeError, KeyError: it is none.
        """
        pairs = tuple(PairFigures(**pair) for pair in values["pairs"])
        told = {name: tuple(values[name]) for name in ("warnings", "notes")}
        return cls(**{**values, **told, "pairs": pairs})

    def to_markdown(self) -> str:
        """The card as a page of its own."""
        lines = [f"## {self.name or 'Unnamed'}", ""]
        lines += [f"Fitted on {self.date} to {self.prompts:,} prompts. Licence: {self.licence or 'not told'}.", ""]
        lines += ["| model | mean quality |", "|---|---|"]
        lines += [f"| {model} | {quality:.3f} |" for model, quality in self.qualities.items()]
        lines += ["", "| cheaper | stronger | prompts | APGR (95 %) | length alone | calibration error (floor) |"]
        lines += ["|---|---|---|---|---|---|"]
        lines += [
            f"| {pair.weak} | {pair.strong} | {pair.prompts:,} | {pair.apgr:.3f} ({pair.low:.3f} to {pair.high:.3f}) "
            f"| {pair.length_apgr:.3f} | {pair.calibration_error:.3f} ({pair.sampling_floor:.3f}) |"
            for pair in self.pairs
        ]
        lines += [""] + [f"- **{warning}**" for warning in self.warnings] + [f"- {note}" for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"
