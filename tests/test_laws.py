"""The laws of the design, each on a thousand requests of every shape; see `laws.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import laws
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.filterwarnings("ignore::pointsman.PointsmanWarning")
profile = settings(settings.get_profile("laws"))

usages = st.lists(laws.raw_usages, min_size=1, max_size=3)
model_ids = st.sampled_from([*laws.CLAUDE, *laws.NOVA, *laws.WITHOUT_CACHE, *laws.UNKNOWN, *laws.ROUTERS])


@pytest.mark.parametrize("law", laws.CONVERSATION_LAWS, ids=lambda law: law.__name__)
def test_law_of_conversations(law: Callable[..., None]) -> None:
    """The law holds for every model and router, turn by turn, whatever usage comes back."""

    @profile
    @given(request=laws.requests(), model_id=model_ids, usages=usages)
    def holds(request: dict[str, Any], model_id: str, usages: list[dict[str, Any]]) -> None:
        law(request, model_id, usages)

    holds()


@profile
@given(request=laws.requests(), at=st.integers(0, 40))
def test_a_prefix_is_known_by_its_own(request: dict[str, Any], at: int) -> None:
    """A prefix's digest depends on every block in it and on nothing behind it."""
    laws.prefix_is_known_by_its_own(request, at)


@profile
@given(request=laws.requests(), model_id=st.sampled_from(laws.KNOWN))
def test_a_recorded_outline_is_placed_like_its_prompt(request: dict[str, Any], model_id: str) -> None:
    """Traffic that was recorded without text can be replayed."""
    laws.recorded_outline_is_placed_alike(request, model_id)


@profile
@given(request=laws.requests(), ends=st.lists(st.integers(0, 40), max_size=4))
def test_cache_points_round_trip(request: dict[str, Any], ends: list[int]) -> None:
    """Points that are laid are those that the outline shows, and taking them out gives back the request."""
    laws.cache_points_round_trip(request, ends)
