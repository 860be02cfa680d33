"""What Bedrock would bill for a stream of requests, given their outlines and their cache points.

Knows the documented rules of the prompt cache (https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html,
read 2026-11-22), and agrees to the token with the local endpoint, which is written apart from it. Knows nothing of
how points are chosen, so that no placement is judged by its own beliefs.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple

from pointsman.catalog import CacheRules, Model, named_by
from pointsman.errors import InvalidRequestError
from pointsman.outline import Block, CachePoint, Outline
from pointsman.usage import Usage

SECONDS: Final = {"5m": 300.0, "1h": 3600.0}
"""How long an entry of each TTL lives after it was written or last read."""

_ENTRIES_BEFORE_SWEEP = 4096


class _Entry(NamedTuple):
    expires: float
    seconds: float


class _Write(NamedTuple):
    """An entry that can be read from `begins` on; `number` keeps writes of one moment in their order."""

    begins: float
    number: int
    entries: dict[bytes, _Entry]
    digest: bytes
    seconds: float


class BillingSimulator:
    """The prompt caches of an account: what each request reads and writes there, in the order of time.

    - A point is effective if its whole prefix has at least the model's minimum of tokens and at most its maximum.
    - Of all entries that an effective point sees, the longest is read: at most `lookback_blocks + 1` blocks behind
      the point, or exactly at it where the model doesn't look back. The read restarts that entry's TTL.
    - What lies between the read and the last effective point is written, up to the last point of one hour for an
      hour; each effective point there gets an entry.

    Tokens are those of the outline's blocks as they are, without any correction; None counts nothing.

    An entry lives as long as its own point says, even if what it extends was written for less, as at the local
    endpoint: a short stretch written for an hour behind a long prefix of five minutes carries that prefix through the
    hour. The documents don't say so, and no measurement of it is known. With `conservative` an entry lives no longer
    than the entry that it extends.
    """

    def __init__(self, *, conservative: bool = False) -> None:
        self._conservative = conservative
        self._caches: dict[tuple[str, str | None], dict[bytes, _Entry]] = {}
        self._coming: list[_Write] = []
        self._writes = 0
        self._sweep_at = _ENTRIES_BEFORE_SWEEP
        self._now = float("-inf")

    def __len__(self) -> int:
        """Entries that are kept, some of which may have expired."""
        return sum(len(entries) for entries in self._caches.values())

    def bill(
        self,
        outline: Outline,
        points: Sequence[CachePoint],
        model: Model,
        now: float,
        *,
        output_tokens: int = 0,
        first_token_after: float = 0.0,
    ) -> Usage:
        """The usage of one request sent at `now`, in seconds; what it writes is readable with its first token.

        Raises:
            InvalidRequestError: Bedrock would refuse the points, or an earlier call was later in time.
        """
        check_points(outline, points, model)
        entries = self._cache_at(model, now)
        sums = outline.sums
        effective = [point for point in points if _is_effective(outline, point.after, model.cache)]
        start = _longest_read(entries, outline.blocks, effective, model.cache.lookback_blocks, now)
        most = SECONDS["1h"]
        if start >= 0:
            seconds = entries[outline.blocks[start].digest].seconds
            entries[outline.blocks[start].digest] = _Entry(now + seconds, seconds)
            most = seconds if self._conservative else most
        written = [point for point in effective if point.after > start]
        for point in written:
            seconds = min(SECONDS[point.ttl], most)
            self._write(entries, outline.blocks[point.after].digest, seconds, now + first_token_after)
        read = sums[start] if start >= 0 else 0
        end = sums[written[-1].after] if written else read
        end_of_1h = max([sums[point.after] for point in written if point.ttl == "1h"], default=read)
        return Usage(
            input_tokens=sums[-1] if sums else 0,
            cache_read_tokens=read,
            cache_write_tokens=end - read,
            cache_write_1h_tokens=end_of_1h - read,
            output_tokens=output_tokens,
        )

    def readable(self, outline: Outline, model: Model, now: float) -> CachePoint | None:
        """The end of the longest prefix in the model's cache, with the TTL that it lives by; None if there is none.

        Raises:
            InvalidRequestError: an earlier call was later in time.
        """
        entries = self._cache_at(model, now)
        for index in range(len(outline.blocks) - 1, -1, -1):
            entry = entries.get(outline.blocks[index].digest)
            if entry is not None and entry.expires > now:
                return CachePoint(index, "1h" if entry.seconds == SECONDS["1h"] else "5m")
        return None

    def _cache_at(self, model: Model, now: float) -> dict[bytes, _Entry]:
        """The model's entries, with all that have become readable by now."""
        if now < self._now:
            raise InvalidRequestError(f"a request at {now} came after one at {self._now}. Bill them in order of time.")
        self._now = now
        while self._coming and self._coming[0].begins <= now:
            self._begin(heappop(self._coming))
        if len(self) > self._sweep_at:
            self._drop_expired(now)
        return self._caches.setdefault((named_by(model.invoke_id) or model.invoke_id, model.region), {})

    def _write(self, entries: dict[bytes, _Entry], digest: bytes, seconds: float, begins: float) -> None:
        self._writes += 1
        write = _Write(begins, self._writes, entries, digest, seconds)
        if begins > self._now:
            heappush(self._coming, write)
        else:
            self._begin(write)

    def _begin(self, write: _Write) -> None:
        before = write.entries.get(write.digest)
        seconds = write.seconds
        # Two requests in flight at once may write the same prefix: the longer TTL holds.
        if before is not None and before.expires > write.begins:
            seconds = max(seconds, before.seconds)
        write.entries[write.digest] = _Entry(write.begins + seconds, seconds)

    def _drop_expired(self, now: float) -> None:
        for entries in self._caches.values():
            for digest in [digest for digest, entry in entries.items() if entry.expires <= now]:
                del entries[digest]
        self._sweep_at = max(_ENTRIES_BEFORE_SWEEP, 2 * len(self))


def check_points(outline: Outline, points: Sequence[CachePoint], model: Model) -> None:
    """Refuses points that Bedrock would refuse on this model.

    Raises:
        InvalidRequestError: the first of them, and the rule that it breaks.
    """
    if not points:
        return
    rules = model.cache
    if len(points) > rules.max_points:
        raise InvalidRequestError(f"{len(points)} cache points for {model.id}, which takes {rules.max_points}.")
    before = -1
    longest = SECONDS["1h"]
    for point in points:
        if not before < point.after < len(outline.blocks):
            raise _refused(point, model, f"it stands behind block {before}, in a prompt of {len(outline.blocks)}")
        if point.ttl not in rules.ttls:
            raise _refused(point, model, f"the model has the TTLs {', '.join(rules.ttls)}")
        if SECONDS[point.ttl] > longest:
            raise _refused(point, model, "a TTL must not be longer than one before it")
        if (reason := _refusal(outline, point.after, rules)) is not None:
            raise _refused(point, model, reason)
        before, longest = point.after, SECONDS[point.ttl]


def takes_point(outline: Outline, index: int, rules: CacheRules) -> bool:
    """Whether a point behind that block would be taken, and would cache."""
    return _is_effective(outline, index, rules) and _refusal(outline, index, rules) is None


def _refused(point: CachePoint, model: Model, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"the {point.ttl} cache point after block {point.after} on {model.id}: {reason}.")


def _refusal(outline: Outline, index: int, rules: CacheRules) -> str | None:
    block = outline.blocks[index]
    if block.section not in rules.sections:
        return f"there is none in {block.section}"
    if block.kind in rules.not_after:
        return f"there is none after a {block.kind} block"
    if not rules.with_tool_results and _with_tool_result(outline, index):
        return "there is none in a message with a tool result"
    return None


def _with_tool_result(outline: Outline, index: int) -> bool:
    """Whether the message of that block holds a tool result. Roles alternate, so a run of one role is a message."""
    blocks = outline.blocks
    if "tool_result" not in outline.kinds or blocks[index].section != "messages":
        return False
    first = last = index
    while first and blocks[first - 1].section == "messages" and blocks[first - 1].role == blocks[index].role:
        first -= 1
    while last + 1 < len(blocks) and blocks[last + 1].role == blocks[index].role:
        last += 1
    return any(block.kind == "tool_result" for block in blocks[first : last + 1])


def _is_effective(outline: Outline, index: int, rules: CacheRules) -> bool:
    """Whether that prefix is long enough and not too long; what can't be counted is taken for long enough."""
    tokens = outline.sums[index]
    if index < outline.first_unknown and tokens < (rules.minimum_tokens or 1):
        return False
    return rules.maximum_tokens is None or tokens <= rules.maximum_tokens


def _longest_read(
    entries: dict[bytes, _Entry], blocks: Sequence[Block], points: Sequence[CachePoint], lookback: int, now: float
) -> int:
    """The last block of the longest entry that one of the points sees; -1 if none sees any."""
    best = -1
    for point in points:
        furthest = point.after - lookback - 1 if lookback else point.after
        for index in range(point.after, max(furthest, best + 1) - 1, -1):
            entry = entries.get(blocks[index].digest)
            if entry is not None and entry.expires > now:
                best = index
                break
    return best
