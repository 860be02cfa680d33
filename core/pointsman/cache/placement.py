"""Where cache points go on one prompt for one model. Knows outlines, rules and the ledger; no text, no HTTP."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from pointsman.cache.ledger import Ledger, effective
from pointsman.catalog import Model
from pointsman.outline import SECTIONS, Block, CachePoint, Outline


class Placement(NamedTuple):
    """All the cache points of one prompt for one model, in the order of its blocks.

    `by_caller` are the blocks behind which the caller had placed a point himself. `refused` are points of his that
    the model would not take as they were, each with what was done and why.
    """

    points: tuple[CachePoint, ...] = ()
    by_caller: frozenset[int] = frozenset()
    refused: tuple[tuple[CachePoint, str], ...] = ()


NO_POINTS = Placement()


def place(outline: Outline, model: Model, ledger: Ledger, now: float) -> Placement:
    """Lay cache points on a prompt for a model: the caller's, then ours as far as the model's limit goes.

    Ours stand at the end of the last user turn, of the history, of the system prompt and of the tools, or as close
    before it as the model takes a point, where the prefix reaches its minimum; and behind what is warm, where the
    look-back from those would not find it. The TTL is 5m, or 1h where a later point of the caller has it.
    """
    if not model.known:
        return _as_the_caller_wrote(outline, model, ledger)
    rules = model.cache
    if not outline.points and not (rules.max_points and outline.reaches(len(outline.blocks) - 1, rules.minimum_tokens)):
        return NO_POINTS
    kept, refused = _callers_points(outline, model, ledger) if outline.points else ((), ())
    points = {point.after: point for point in kept}
    for index in _candidates(outline, model, ledger, now):
        if len(points) >= rules.max_points:
            break
        if index not in points:
            points[index] = CachePoint(index, _ttl_at(index, kept) if kept else "5m")
    return Placement(
        points=tuple([points[index] for index in sorted(points)]),
        by_caller=frozenset([point.after for point in kept]),
        refused=refused,
    )


def _as_the_caller_wrote(outline: Outline, model: Model, ledger: Ledger) -> Placement:
    """For a model whose rules nobody knows: the caller's points, less those that it has refused."""
    refusals = [(point, _refused_before(outline, model, ledger, point.after)) for point in outline.points]
    points = tuple(point for point, reason in refusals if reason is None)
    return Placement(
        points=points,
        by_caller=frozenset(point.after for point in points),
        refused=tuple((point, reason) for point, reason in refusals if reason is not None),
    )


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
    return _refused_before(outline, model, ledger, index)


def _refused_before(outline: Outline, model: Model, ledger: Ledger, index: int) -> str | None:
    block = outline.blocks[index]
    refusals = ledger.refusals(model)
    if refusals and any(refusal.covers(block.section, block.kind) for refusal in refusals):
        return f"{model.id} has refused a cache point in such a place before"
    return None


def _callers_points(
    outline: Outline, model: Model, ledger: Ledger
) -> tuple[tuple[CachePoint, ...], tuple[tuple[CachePoint, str], ...]]:
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


def _candidates(outline: Outline, model: Model, ledger: Ledger, now: float) -> list[int]:
    """Blocks to place a point behind, the most valuable first."""
    ends = _ends(outline.blocks)
    usable = [index for end in ends if (index := _usable(outline, model, ledger, end)) is not None]
    warm = ledger.warm_prefix(outline, model, now)
    if warm is None:
        return usable
    found = ledger.readable(outline, model, [CachePoint(index) for index in usable], now)
    takes_it = refusal_reason(outline, model, ledger, warm.after) is None
    out_of_sight = found is None or found.after < warm.after
    return [warm.after, *usable] if out_of_sight and takes_it else usable


def _ends(blocks: tuple[Block, ...]) -> Iterator[int]:
    """The ends of the last user turn, of the history, of the system prompt and of the tools."""
    last = len(blocks) - 1
    if last >= 0 and blocks[last].section == "messages":
        yield last
        history = _start_of_message(blocks, last) - 1
        if history >= 0 and blocks[history].section == "messages":
            yield history
    if last < 0 or blocks[0].section == "messages":
        return
    for section in ("system", "tools"):
        end = bisect_right(blocks, SECTIONS.index(section), key=_rank) - 1
        if end >= 0 and blocks[end].section == section:
            yield end


def _rank(block: Block) -> int:
    return SECTIONS.index(block.section)


def _usable(outline: Outline, model: Model, ledger: Ledger, end: int) -> int | None:
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


def _ttl_at(index: int, kept: tuple[CachePoint, ...]) -> str:
    """Never shorter than the caller's points behind it: a TTL must not rise."""
    return "1h" if any(point.ttl == "1h" and point.after > index for point in kept) else "5m"


def _longer(ttl: str, other: str) -> bool:
    return ttl == "1h" and other == "5m"
