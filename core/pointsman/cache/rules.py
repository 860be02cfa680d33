"""What a model takes: where a cache point may stand, and which of the caller's own points can be kept as they are.

Knows outlines, a model's rules and what it has refused; weighs nothing.
"""

from __future__ import annotations

from pointsman.cache.ledger import Ledger, effective
from pointsman.catalog import Model
from pointsman.outline import Block, CachePoint, Outline


def refusal_reason(outline: Outline, model: Model, ledger: Ledger, index: int) -> str | None:
    """Why the model would refuse a cache point behind that block, or None if it takes it."""
    rules, block = model.cache, outline.blocks[index]
    if not rules.max_points:
        return f"{model.id} does not cache"
    if block.section not in rules.sections:
        return f"{model.id} takes no cache point in {block.section}"
    if block.kind in rules.not_after:
        return f"{model.id} takes no cache point after a {block.kind} block"
    if not rules.with_tool_results and _with_tool_result(outline, index):
        return f"{model.id} takes no cache point in a message with a tool result"
    return refused_before(outline, model, ledger, index)


def refused_before(outline: Outline, model: Model, ledger: Ledger, index: int) -> str | None:
    """That the model has refused a point in such a place, or None."""
    block = outline.blocks[index]
    refusals = ledger.refusals(model)
    if refusals and any(refusal.covers(block.section, block.kind) for refusal in refusals):
        return f"{model.id} has refused a cache point in such a place before"
    return None


def callers_points(
    outline: Outline, model: Model, ledger: Ledger
) -> tuple[tuple[CachePoint, ...], tuple[tuple[CachePoint, str], ...]]:
    """The caller's points that the model takes, with TTLs that it takes; and those that had to change, with why."""
    kept: list[CachePoint] = []
    refused: list[tuple[CachePoint, str]] = []
    for point in outline.points:
        reason = refusal_reason(outline, model, ledger, point.after)
        if reason is not None:
            refused.append((point, reason))
            continue
        longest = kept[-1].ttl if kept else model.cache.ttls[-1]
        if point.ttl not in model.cache.ttls or _longer(point.ttl, longest):
            shorter = longest if point.ttl in model.cache.ttls else model.cache.ttls[-1]
            shorter = longest if _longer(shorter, longest) else shorter
            refused.append((point, f"TTL {point.ttl} became {shorter}: a TTL never rises, nor exceeds the model's"))
            point = CachePoint(point.after, shorter)
        kept.append(point)
    excess = kept[: max(len(kept) - model.cache.max_points, 0)]
    refused.extend((point, f"{model.id} takes {model.cache.max_points} cache points") for point in excess)
    return tuple(kept[len(excess) :]), tuple(refused)


def usable(outline: Outline, model: Model, ledger: Ledger, end: int) -> int | None:
    """The last block up to `end`, in the same section, behind which a point is taken and caches."""
    blocks, minimum = outline.blocks, model.cache.minimum_tokens
    for index in range(end, -1, -1):
        if blocks[index].section != blocks[end].section or not outline.reaches(index, minimum):
            return None
        if effective(outline, model, index) and refusal_reason(outline, model, ledger, index) is None:
            return index
    return None


def _with_tool_result(outline: Outline, index: int) -> bool:
    blocks = outline.blocks
    if "tool_result" not in outline.kinds or blocks[index].section != "messages":
        return False
    start, end = _start_of_message(blocks, index), index
    while end + 1 < len(blocks) and blocks[end + 1].role == blocks[index].role:
        end += 1
    return any(block.kind == "tool_result" for block in blocks[start : end + 1])


def _start_of_message(blocks: tuple[Block, ...], index: int) -> int:
    """The first block of the message that holds the block at `index`: roles alternate, so a role is a message."""
    role = blocks[index].role
    while index > 0 and blocks[index - 1].section == "messages" and blocks[index - 1].role == role:
        index -= 1
    return index


def _longer(ttl: str, other: str) -> bool:
    return ttl == "1h" and other == "5m"
