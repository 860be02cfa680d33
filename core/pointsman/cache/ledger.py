"""Which prefix is believed warm on which model, until when; corrected by the usage of every reply.

Holds keyed digests only, never text. Knows what a read and a write do to a cache; knows nothing of where points
should go, nor of HTTP. Time always comes in, in seconds.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pointsman.catalog import Model, named_by
from pointsman.outline import CachePoint, Outline, Prefix
from pointsman.usage import Usage

if TYPE_CHECKING:
    from pointsman.cache.placement import Placement

SECONDS = {"5m": 300.0, "1h": 3600.0}

# Estimated and counted tokens of one prefix differ by some per cent; more than this, and it's another prefix.
_TOLERANCE = 1.1


class _Entry(NamedTuple):
    expires: float
    ttl: str
    counted: int | None


class Written(NamedTuple):
    """A prefix that was believed written, perhaps past its TTL by now; `used` is when it was last written or read.

    `counted`: its tokens were billed once, and are no estimate.
    """

    prefix: Prefix
    ttl: str
    used: float
    counted: bool

    @property
    def expires(self) -> float:
        """When its TTL ends."""
        return self.used + SECONDS[self.ttl]


class Refusal(NamedTuple):
    """A kind of place where Bedrock refused a cache point: a section, and the kind of block before the point.

    None stands for any.
    """

    section: str | None = None
    kind: str | None = None

    def covers(self, section: str, kind: str) -> bool:
        """Whether a point behind such a block falls under this refusal."""
        return self.section in (None, section) and self.kind in (None, kind)


class Ledger:
    """Our belief of what is warm. In memory, bounded per model (the longest unused goes first), thread-safe.

    Args:
        key: the secret that digests are keyed with; ledgers that shall agree need the same. Random by default.
        bound: prefixes kept for each model and Region.
    """

    def __init__(self, *, key: bytes | None = None, bound: int = 16_384) -> None:
        self.key = os.urandom(32) if key is None else key
        self._bound = bound
        self._warm: dict[tuple[str, str | None], OrderedDict[bytes, _Entry]] = {}
        self._refusals: dict[str, frozenset[Refusal]] = {}
        self._lock = threading.Lock()

    def warm_prefix(self, outline: Outline, model: Model, now: float) -> Prefix | None:
        """The longest prefix believed readable from the model's cache now, wherever a point would have to stand."""
        return self._longest(outline, model, range(len(outline.blocks) - 1, -1, -1), now)

    def readable(self, outline: Outline, model: Model, points: Sequence[CachePoint], now: float) -> Prefix | None:
        """The longest warm prefix that a request with these points would read.

        Each point is matched at its own block and up to the model's look-back before it.
        """
        if not self._warm.get(owner_of(model)):
            return None
        for point in sorted(points, reverse=True):
            if not effective(outline, model, point.after):
                continue
            back = point.after - model.cache.lookback_blocks - (model.cache.lookback_blocks > 0)
            found = self._longest(outline, model, range(point.after, max(back, 0) - 1, -1), now)
            if found is not None:
                return found
        return None

    def written(self, outline: Outline, model: Model, *, up_to: int | None = None) -> Written | None:
        """The longest prefix (ending at most with the block `up_to`) that was written, warm or past its TTL."""
        entries: Mapping[bytes, _Entry] = self._warm.get(owner_of(model), {})
        last = len(outline.blocks) - 1 if up_to is None else up_to
        for index in range(last, -1, -1):
            entry = entries.get(outline.blocks[index].digest)
            if entry is not None:
                prefix = outline.prefix(index)
                prefix = prefix._replace(tokens=entry.counted) if entry.counted else prefix
                return Written(prefix, entry.ttl, entry.expires - SECONDS[entry.ttl], bool(entry.counted))
        return None

    def warm_elsewhere(self, outline: Outline, model: Model, now: float, *, beyond: int = -1) -> tuple[str, int] | None:
        """The longest prefix that is warm on another model or in another Region: the model's id, and the last block.

        Only one that ends behind the block `beyond` is looked for.
        """
        best: tuple[str, int] | None = None
        for owner in [owner for owner in list(self._warm) if owner != owner_of(model)]:
            entries = self._warm[owner]
            for index in range(len(outline.blocks) - 1, best[1] if best else beyond, -1):
                entry = entries.get(outline.blocks[index].digest)
                if entry is not None and entry.expires > now:
                    best = owner[0], index
                    break
        return best

    def record(self, outline: Outline, model: Model, placement: Placement, usage: Usage, now: float) -> None:
        """Book what a reply's usage says was read and written under this placement.

        `now` is when the request was sent, so that nothing is believed warm for longer than it is.
        """
        points = [point for point in placement.points if effective(outline, model, point.after)]
        if not points:
            return
        expected = self.readable(outline, model, points, now)
        cached = usage.cache_read_tokens + usage.cache_write_tokens
        with self._lock:
            entries = self._warm.setdefault(owner_of(model), OrderedDict())
            came = expected is not None and self._confirm(entries, outline, expected, usage, now)
            for point in _written(outline, points, usage, behind=expected.after if expected and came else None):
                counted = cached if point is points[-1] else None
                self._book(entries, outline.blocks[point.after].digest, point.ttl, now, counted)

    def refuse(self, model: Model, refusal: Refusal) -> None:
        """Remember that the model refused a cache point in such a place."""
        with self._lock:
            self._refusals[model.id] = self._refusals.get(model.id, frozenset()) | {refusal}

    def refusals(self, model: Model) -> frozenset[Refusal]:
        """The places where the model has refused cache points."""
        return self._refusals.get(model.id, frozenset())

    def _longest(self, outline: Outline, model: Model, indices: Iterable[int], now: float) -> Prefix | None:
        entries = self._warm.get(owner_of(model))
        if not entries:
            return None
        blocks = outline.blocks
        for index in indices:
            entry = entries.get(blocks[index].digest)
            if entry is not None and entry.expires > now:
                prefix = outline.prefix(index)
                return prefix._replace(tokens=entry.counted) if entry.counted else prefix
        return None

    def _confirm(
        self,
        entries: OrderedDict[bytes, _Entry],
        outline: Outline,
        expected: Prefix,
        usage: Usage,
        now: float,
    ) -> bool:
        """Whether just what was expected was read: then refresh it. If less was, whatever is longer is gone."""
        read = usage.cache_read_tokens
        entry = entries.get(expected.digest)
        if read and (not outline.counted or expected.tokens <= read * _TOLERANCE):
            if outline.counted and read > expected.tokens * _TOLERANCE:
                return False  # Somebody else has written a longer one.
            if entry is not None:
                self._book(entries, expected.digest, entry.ttl, now, read)
            return True
        for index in range(expected.after, -1, -1):
            if read and outline.tokens_to(index) <= read * _TOLERANCE:
                break
            digest = outline.blocks[index].digest
            entry = entries.get(digest)
            # What was sent later could not be read yet: it is no sign of an eviction.
            if entry is not None and entry.expires - SECONDS[entry.ttl] < now:
                del entries[digest]
        return False

    def _book(
        self, entries: OrderedDict[bytes, _Entry], digest: bytes, ttl: str, now: float, counted: int | None
    ) -> None:
        before = entries.get(digest)
        expires = now + SECONDS[ttl]
        # Requests of one conversation may be booked out of order.
        if before is None or before.expires <= expires:
            entries[digest] = _Entry(expires, ttl, counted or (before.counted if before else None))
        entries.move_to_end(digest)
        if len(entries) > self._bound:
            entries.popitem(last=False)


def effective(outline: Outline, model: Model, index: int) -> bool:
    """Whether a point behind that block caches anything: not below the model's minimum, nor above its maximum."""
    rules = model.cache
    if not rules.max_points or not outline.reaches(index, rules.minimum_tokens):
        return False
    return rules.maximum_tokens is None or outline.tokens_to(index) <= rules.maximum_tokens


def _written(
    outline: Outline, points: Sequence[CachePoint], usage: Usage, *, behind: int | None
) -> Sequence[CachePoint]:
    """Those points whose prefix the reply has written, judged by its tokens; `behind` is the end of what it read.

    Where that isn't known, the last point that lies within the read is taken for it, and counts as written.
    """
    cached = usage.cache_read_tokens + usage.cache_write_tokens
    if not cached:
        return ()
    if behind is not None:
        points = [point for point in points if point.after > behind]
    if not outline.counted:
        return points
    correction = usage.input_tokens / max(outline.tokens, 1)
    ends = [outline.tokens_to(point.after) * correction for point in points]
    until = sum(end <= cached * _TOLERANCE for end in ends)
    read = 0 if behind is not None else sum(end <= usage.cache_read_tokens * _TOLERANCE for end in ends)
    return points[max(read - 1, 0) : until]


def owner_of(model: Model) -> tuple[str, str | None]:
    """Whose cache it is: the profile that was invoked (however it was named) and the Region."""
    return named_by(model.invoke_id) or model.invoke_id, model.region
