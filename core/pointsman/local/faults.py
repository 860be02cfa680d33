"""Faults on demand: by request header, by a share of all requests, or from within a test. Knows no HTTP server."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final

from pointsman.errors import InvalidRequestError
from pointsman.local.refusals import Refusal

FAULT_HEADER: Final = "x-local-fault"
LATENCY_HEADER: Final = "x-local-latency-ms"
BROKEN_STREAM: Final = "broken-stream"
_ANSWERS: Final = {
    "throttle": ("ThrottlingException", "Too many requests, please wait before trying again."),
    "unavailable": ("ServiceUnavailableException", "Bedrock is unable to process your request."),
    "not-ready": (
        "ModelNotReadyException",
        "Model is not ready for inference. Wait and try your request again.",
    ),
    "timeout": (
        "ModelTimeoutException",
        "Model has timed out in processing the request. Try your request again.",
    ),
    "internal": ("InternalServerException", "The system encountered an unexpected error during processing."),
    BROKEN_STREAM: (
        "ModelErrorException",
        "The system encountered an unexpected error during model processing.",
    ),
}
FAULTS: Final = tuple(_ANSWERS)
_REMEMBERED: Final = 200_000


def fault_refusal(fault: str) -> Refusal:
    """The error by which a fault answers."""
    code, message = _ANSWERS[fault]
    return Refusal(code, message)


def check_fault(fault: str) -> str:
    """The fault's name again.

    Raises:
        InvalidRequestError: there is no such fault.
    """
    if fault not in _ANSWERS:
        raise InvalidRequestError(f"unknown fault {fault!r}. Known: {', '.join(FAULTS)}.")
    return fault


class Faults:
    """Which request meets which fault.

    `shares` maps faults to the share of prompts (0 to 1) that meet them: chosen by the prompt's digest, without its
    cache points, and only the first time that a model sees the prompt; the second time it is served.
    """

    def __init__(self, shares: Mapping[str, float] | None = None) -> None:
        self._shares = {check_fault(fault): share for fault, share in (shares or {}).items()}
        if any(share < 0 for share in self._shares.values()) or sum(self._shares.values()) > 1:
            raise InvalidRequestError(f"fault shares {self._shares} must be >= 0 and add up to at most 1.")
        self._next: deque[tuple[str, str | None]] = deque()
        self._met: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._lock = threading.Lock()

    def inject(self, fault: str, *, times: int = 1, model: str | None = None) -> None:
        """The next requests (of this model id as invoked, if given) meet the fault."""
        with self._lock:
            self._next.extend([(check_fault(fault), model)] * times)

    def clear(self) -> None:
        """Takes back what was injected and not met yet."""
        with self._lock:
            self._next.clear()

    def meet(self, model: str, digest: bytes, *, header: str | None = None) -> str | None:
        """The fault that this request meets; None if it is to be served."""
        if header:
            return check_fault(header)
        with self._lock:
            for fault, wanted in self._next:
                if wanted in (None, model):
                    self._next.remove((fault, wanted))
                    return fault
            return self._by_share(model, digest)

    def _by_share(self, model: str, digest: bytes) -> str | None:
        place = int.from_bytes(digest[:8], "big") / 2**64
        for fault, share in self._shares.items():
            if place < share:
                if (model, digest) in self._met:
                    return None
                self._met[model, digest] = None
                if len(self._met) > _REMEMBERED:
                    self._met.popitem(last=False)
                return fault
            place -= share
        return None
