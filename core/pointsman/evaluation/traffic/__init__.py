"""Recorded traffic: requests of a log as outlines, whatever the log's format. Knows formats; bills and decides nothing."""

from pointsman.evaluation.traffic.blocks import coding_session, mooncake_requests
from pointsman.evaluation.traffic.request import RecordedRequest, interleaved, one_after_another

__all__ = ["RecordedRequest", "coding_session", "interleaved", "mooncake_requests", "one_after_another"]
