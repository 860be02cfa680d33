"""Documents and questions in one conversation, for the command line.

Reads files, connects, asks, reports. Knows Converse requests, files and terminals; knows nothing of options, and of a
local endpoint only its URL. What can't be used raises a `PointsmanError` before anything is sent.
"""

from pointsman.errors import PointsmanError


class CallFailedError(PointsmanError):
    """A question was sent, and refused or broken off."""
