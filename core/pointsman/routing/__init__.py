"""Prompt routing: routers, the criteria they decide by, and the quality that they expect."""

from pointsman.routing.complexity import ComplexityPredictor
from pointsman.routing.criteria import RoutingCriteria
from pointsman.routing.outcomes import Outcomes
from pointsman.routing.quality import Prediction, QualityPredictor
from pointsman.routing.registry import RouterRegistry
from pointsman.routing.router import Candidate, Decision, Router, choose

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
    "choose",
]
