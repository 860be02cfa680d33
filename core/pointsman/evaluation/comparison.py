"""The figures of a comparison: values only, as reports and JSON take them.

Costs are USD per 1,000 requests, qualities and shares from 0 to 1, CPT per cent of calls; what can't be had is NaN, and
None in `to_dict()`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from pointsman.evaluation.metrics import Loss

SAME_SHARES = ", same shares"
"""How the names of baselines end that send as many requests to each model as the router does."""


class Figure(NamedTuple):
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one policy did. `lost` and `saved` are shares of the reference's quality and cost; `shares` of requests."""

    name: str
    kind: Literal["router", "model", "baseline"]
    quality: Figure
    cost: Figure
    lost: Figure
    saved: Figure
    shares: Mapping[str, float]


class Point(NamedTuple):
    """Where a policy stands if it sends this share of calls to the strong model."""

    calls: float
    quality: float
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How well something tells the prompts that need the strong model from those that don't.

    `saved_1` and `saved_5` are shares of always-strong's cost, saved by the threshold that was chosen on four fifths of
    the questions to lose 1 or 5 % of its quality; `lost_1` and `lost_5` what that lost on the other fifth.
    """

    name: str
    apgr: Figure
    cpt_50: Figure
    cpt_80: Figure
    saved_1: Figure
    lost_1: Figure
    saved_5: Figure
    lost_5: Figure
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Whether a router's response quality difference means what it says.

    `loss` is over the requests that it sent to the weak model. A calibration error is to be read against the sampling
    floor, which a perfect predictor would show on as many prompts.
    """

    router: str
    predictor: str | None
    difference: float
    loss: Loss
    calibration_error: float
    sampling_floor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two models, the strong one being the better on these prompts, and what tells when it is needed."""

    weak: str
    strong: str
    rankings: tuple[Ranking, ...]
    promises: tuple[Promise, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All of it. `prices` are USD per million tokens in and out, None where unknown; `reference` names a standing."""

    prompts: int
    prices: Mapping[str, tuple[float | None, float | None]]
    reference: str
    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]
    left_out: Mapping[str, int]
    failures: Mapping[str, int]
    notes: tuple[str, ...]
    seed: int
    draws: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without the points of the curves."""
        told: dict[str, Any] = _plain(asdict(self))
        for pair in told["pairs"]:
            for ranking in pair["rankings"]:
                del ranking["points"]
        return told


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
