"""Where cache points may stand, with the texts by which Bedrock refuses the others.

The rules of each model come from the catalogue; the texts from reports of live refusals (LibreChat#13838,
litellm#17479 and PR#39210, strands-agents PR#3677, #1966 and #2121, opencode#36517; read 2026-11-22). The text for too
many points is Anthropic's, recalled. What is below the minimum is no error: `cache.py` passes over it in silence.
"""

from __future__ import annotations

from collections.abc import Sequence

from pointsman.catalog import CacheRules, Model
from pointsman.local.blocks import Block, CachePoint, ConverseRequest
from pointsman.local.cache import TTL_SECONDS
from pointsman.local.refusals import Refusal, extraneous_cache_point, invalid

_FOREIGN_TO_CACHING = (
    "You invoked an unsupported model or your request did not allow prompt caching. "
    "See the documentation for more information."
)


def check_cache_points(request: ConverseRequest, model: Model) -> None:
    """Refuses the request if the model would not take one of its cache points.

    Raises:
        Refusal: AccessDeniedException where the model has no caching, else ValidationException.
    """
    if not request.points:
        return
    if not model.cache.supported:
        raise Refusal("AccessDeniedException", _FOREIGN_TO_CACHING)
    for point in request.points:
        _check_place(point, request, model.cache)
        _check_block_before(point, request.blocks[point.after - 1], model)
    _check_number(request.points, model.cache)
    _check_ttls(request.points, model.cache)


def _check_place(point: CachePoint, request: ConverseRequest, rules: CacheRules) -> None:
    if point.section not in rules.sections:
        raise extraneous_cache_point(point.pointer)
    if point.position == 0:
        raise invalid("There is nothing available to cache.")
    if rules.with_tool_results or point.message is None:
        return
    if any("toolResult" in item for item in request.messages[point.message]["content"]):
        raise extraneous_cache_point(point.pointer)


def _check_block_before(point: CachePoint, block: Block, model: Model) -> None:
    if block.kind not in model.cache.not_after or _is_cited(block):
        return
    if block.kind == "reasoning":
        raise invalid("Cache point cannot be inserted after reasoning block")
    if block.kind == "document" and model.provider == "anthropic":
        # Bedrock translates the point to a field of the block before it, and a plain document has none.
        raise invalid(f"messages.{point.message}.content.{point.position}.type: Field required")
    raise extraneous_cache_point(point.pointer)


def _check_number(points: Sequence[CachePoint], rules: CacheRules) -> None:
    if len(points) > rules.max_points:
        raise invalid(
            f"A maximum of {rules.max_points} blocks with cache_control may be provided. Found {len(points)}."
        )


def _check_ttls(points: Sequence[CachePoint], rules: CacheRules) -> None:
    shortest = max(TTL_SECONDS.values())
    for point in points:
        if point.ttl not in rules.ttls:
            raise invalid(
                f"{point.pointer}: this model doesn't support a cache ttl of {point.ttl}. "
                f"Supported: {', '.join(rules.ttls)}."
            )
        if TTL_SECONDS[point.ttl] > shortest:
            raise invalid(
                f"{point.pointer}: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control "
                "block. Note that blocks are processed in the following order: `tools`, `system`, `messages`."
            )
        shortest = TTL_SECONDS[point.ttl]


def _is_cited(block: Block) -> bool:
    return block.kind == "document" and bool(block.value.get("citations", {}).get("enabled"))
