"""Who places and who routes in a replay: the protocols, and placements to hold ours against.

Knows outlines and models' rules. The simple placements learn nothing; none of them lays a point that would be refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from pointsman.cache import Ledger, Placement, place
from pointsman.cache.placement import NO_POINTS
from pointsman.cache.rules import callers_points
from pointsman.catalog import Model
from pointsman.errors import InvalidRequestError
from pointsman.outline import CachePoint, Outline
from pointsman.prompt import Prompt
from pointsman.routing import Prediction, Router

if TYPE_CHECKING:
    from pointsman.evaluation.traffic import RecordedRequest

_LAST_MESSAGE_TOKENS = 256


class PlacementPolicy(Protocol):
    """Where cache points go: whatever is called as `pointsman.place` is."""

    def __call__(self, outline: Outline, model: Model, ledger: Ledger, now: float, /) -> Placement:
        """The cache points of one prompt; `now` in seconds."""
        ...


class RoutingPolicy(Protocol):
    """Which of the candidates gets a request."""

    def __call__(
        self, request: RecordedRequest, candidates: Sequence[tuple[Model, Outline]], ledger: Ledger, now: float, /
    ) -> Model:
        """One of the candidates' models; each comes with the outline as that model counts it."""
        ...


class ExpectedQuality:
    """A prompt router, on the quality that was expected of each candidate when the request was recorded.

    The text is gone, so that nothing can be predicted anew; all the rest of the decision is made anew.
    """

    def __init__(self, router: Router) -> None:
        self._router = router

    def __call__(
        self, request: RecordedRequest, candidates: Sequence[tuple[Model, Outline]], ledger: Ledger, now: float, /
    ) -> Model:
        """The model that the router decides on.

        Raises:
            InvalidRequestError: the log tells no expected quality of a candidate.
        """
        known = request.expected_quality or {}
        if lacking := [model.id for model, _ in candidates if model.id not in known]:
            raise InvalidRequestError(
                f"the log tells no expected quality of {lacking[0]}, which {self._router.name!r} needs to decide. "
                "It is in traces of requests that a router of these models decided on."
            )
        router = replace(self._router, predictor=_Recorded(known), exploration=0.0)
        return router.decide(_NO_PROMPT, candidates, ledger=ledger, now=now).model


class _Recorded:
    """A predictor that has been told."""

    def __init__(self, known: Mapping[str, float]) -> None:
        self._known = known

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Prediction:
        import numpy as np  # Late: importing this package must not load it.

        return Prediction({model.id: np.full(len(prompts), self._known[model.id]) for model in models})


_NO_PROMPT = Prompt.of_text("")


def no_points(outline: Outline, model: Model, ledger: Ledger, now: float, /) -> Placement:  # noqa: ARG001 - protocol
    """Nothing is cached."""
    return NO_POINTS


def at_the_end(outline: Outline, model: Model, ledger: Ledger, now: float, /) -> Placement:  # noqa: ARG001 - protocol
    """One point at the end, 5m: what the frameworks do."""
    return _laid(outline, model, [_end_of(outline, model, len(outline.blocks) - 1)], "5m")


def at_each_section(outline: Outline, model: Model, ledger: Ledger, now: float, /) -> Placement:  # noqa: ARG001
    """At the ends of tools, system and the whole prompt, 5m."""
    return _laid(outline, model, _ends_of_sections(outline, model), "5m")


def everywhere_1h(outline: Outline, model: Model, ledger: Ledger, now: float, /) -> Placement:  # noqa: ARG001 - protocol
    """The same, and before the last message; all with the longest TTL that the model has."""
    ends = _ends_of_sections(outline, model)
    before_last = _before_last_message(outline, model, ends[-1] if ends else None)
    return _laid(outline, model, [*ends, before_last], "1h")


def as_written(outline: Outline, model: Model, ledger: Ledger, now: float, /) -> Placement:  # noqa: ARG001 - protocol
    """The caller's points, as far as the model takes them, and no others: the outlines must hold them."""
    kept, refused = callers_points(outline, model, ledger)
    return Placement(points=kept, by_caller=frozenset(point.after for point in kept), refused=refused)


PLACEMENTS: Mapping[str, PlacementPolicy] = {
    "none": no_points,
    "end-5m": at_the_end,
    "tools-system-end-5m": at_each_section,
    "everywhere-1h": everywhere_1h,
    "pointsman": place,
}
"""The placements that are known by name."""


def _laid(outline: Outline, model: Model, places: Sequence[int | None], ttl: str) -> Placement:
    """Points at those places that reach the model's minimum, the last ones where there are too many."""
    rules = model.cache
    if not rules.max_points:
        return NO_POINTS
    reached = sorted({one for one in places if one is not None and outline.reaches(one, rules.minimum_tokens)})
    ttl = ttl if ttl in rules.ttls else rules.ttls[-1]
    return Placement(tuple(CachePoint(one, ttl) for one in reached[-rules.max_points :]))


def _ends_of_sections(outline: Outline, model: Model) -> list[int | None]:
    blocks = outline.blocks
    last = len(blocks) - 1
    ends: list[int | None] = []
    # Tools and system are few blocks, messages may be hundreds.
    for index in range(last):
        if blocks[index].section == "messages":
            break
        if blocks[index + 1].section != blocks[index].section:
            ends.append(_end_of(outline, model, index))
    return [*ends, _end_of(outline, model, last)]


def _end_of(outline: Outline, model: Model, index: int) -> int | None:
    """The last block up to `index`, in its section, that a point may follow."""
    blocks = outline.blocks
    section = blocks[index].section if blocks else ""
    while index >= 0 and blocks[index].section == section:
        if _takes_point(outline, model, index):
            return index
        index -= 1
    return None


def _before_last_message(outline: Outline, model: Model, end: int | None) -> int | None:
    """The last place among the messages that leaves at least as much to the end as a short message has."""
    if end is None:
        return None
    most = outline.sums[end] - _LAST_MESSAGE_TOKENS
    for index in range(end - 1, -1, -1):
        if outline.blocks[index].section != "messages":
            return None
        if outline.sums[index] <= most:
            return _end_of(outline, model, index)
    return None


def _takes_point(outline: Outline, model: Model, index: int) -> bool:
    rules, block = model.cache, outline.blocks[index]
    if block.section not in rules.sections or block.kind in rules.not_after:
        return False
    return rules.with_tool_results or not _beside_tool_result(outline, index)


def _beside_tool_result(outline: Outline, index: int) -> bool:
    """Whether a message with a tool result holds the block: roles alternate, so a run of one role is a message."""
    blocks = outline.blocks
    if "tool_result" not in outline.kinds or blocks[index].section != "messages":
        return False
    first = last = index
    while first > 0 and (blocks[first - 1].section, blocks[first - 1].role) == ("messages", blocks[index].role):
        first -= 1
    while last + 1 < len(blocks) and blocks[last + 1].role == blocks[index].role:
        last += 1
    return any(block.kind == "tool_result" for block in blocks[first : last + 1])
