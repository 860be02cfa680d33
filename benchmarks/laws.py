"""The laws of `tests/laws.py` on many more requests than the tests take: `python benchmarks/laws.py --examples 100000`.

Each law has its equal share of the examples. Ends with the first violation, shrunk by Hypothesis.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import laws

_REQUESTS = laws.requests()
_MODELS = [*laws.CLAUDE, *laws.NOVA, *laws.WITHOUT_CACHE, *laws.UNKNOWN, *laws.ROUTERS]
_USAGES = st.lists(laws.raw_usages, min_size=1, max_size=3)
_PLACES = st.integers(0, 40)


def main() -> None:
    """Check every law and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000, help="requests to check, over all laws together")
    wanted = parser.parse_args().examples
    warnings.simplefilter("ignore")  # that unknown models are unknown
    checks = _checks()
    each = -(-wanted // len(checks))
    profile = settings(max_examples=each, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    for name, check in checks.items():
        started = time.perf_counter()
        profile(check)()
        print(f"{name:40} {each:8,} requests, no violation, {time.perf_counter() - started:7.1f} s", flush=True)
    print(f"{'all':40} {each * len(checks):8,} requests, no violation")


def _checks() -> dict[str, Callable[[], None]]:
    models = st.sampled_from(_MODELS)
    checks = {
        law.__name__: given(request=_REQUESTS, model_id=models, usages=_USAGES)(_plain(law))
        for law in laws.CONVERSATION_LAWS
    }
    others: dict[Callable[..., None], dict[str, st.SearchStrategy[Any]]] = {
        laws.prefix_is_known_by_its_own: {"at": _PLACES},
        laws.recorded_outline_is_placed_alike: {"model_id": st.sampled_from(laws.KNOWN)},
        laws.cache_points_round_trip: {"ends": st.lists(_PLACES, max_size=4)},
    }
    return checks | {law.__name__: given(request=_REQUESTS, **drawn)(_plain(law)) for law, drawn in others.items()}


def _plain(law: Callable[..., None]) -> Callable[..., None]:
    """The law as a function of its own, since Hypothesis keeps its settings on the function."""

    def check(**drawn: Any) -> None:
        law(**drawn)

    return check


if __name__ == "__main__":
    main()
