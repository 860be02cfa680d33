"""Recorded traffic: requests of a log as outlines, whatever its format. Knows formats; bills and decides nothing."""

from pointsman.evaluation.traffic.blocks import coding_session, mooncake_requests
from pointsman.evaluation.traffic.conversations import mtrag_sessions, tau_session
from pointsman.evaluation.traffic.reading import Timeline, read_traffic
from pointsman.evaluation.traffic.request import RecordedRequest, interleaved, one_after_another

__all__ = [
    "RecordedRequest",
    "Timeline",
    "coding_session",
    "interleaved",
    "mooncake_requests",
    "mtrag_sessions",
    "one_after_another",
    "read_traffic",
    "tau_session",
]
