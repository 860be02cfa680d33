"""Prompt routing: routers, the criteria they decide by, and the quality that they expect.

`TrainedPredictor` is loaded when it is first used: it brings numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pointsman.routing.complexity import ComplexityPredictor
from pointsman.routing.criteria import RoutingCriteria
from pointsman.routing.outcomes import Outcomes
from pointsman.routing.quality import Prediction, QualityPredictor
from pointsman.routing.registry import RouterRegistry
from pointsman.routing.router import Candidate, Decision, Router, choose
from pointsman.routing.shipped import ShippedPredictor

if TYPE_CHECKING:
    from pointsman.routing.trained import TrainedPredictor

__all__ = [
    "Candidate",
    "ComplexityPredictor",
    "Decision",
    "Outcomes",
    "Prediction",
    "QualityPredictor",
    "Router",
    "RouterRegistry",
    "RoutingCriteria",
    "ShippedPredictor",
    "TrainedPredictor",
    "choose",
]


def __getattr__(name: str) -> object:
    if name != "TrainedPredictor":
        raise AttributeError(f"module 'pointsman.routing' has no attribute {name!r}")
    from pointsman.routing.trained import TrainedPredictor

    globals()[name] = TrainedPredictor
    return TrainedPredictor
