"""Which prefix is believed warm on which model, until when; corrected by the usage of every reply.

Holds keyed digests only, never text. Knows what a read and a write do to a cache; knows nothing of where points
should go, nor of HTTP. Time always comes in, in seconds.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pointsman.cache.courses import Courses
from pointsman.cache.reuse import Rates, Reuse
from pointsman.cache.sharing import Sharing, Statistic
from pointsman.cache.stores.store import Booked, LedgerStore
from pointsman.catalog import Model, named_by
from pointsman.errors import InvalidRequestError
from pointsman.outline import CachePoint, Outline, Prefix
from pointsman.usage import Usage

if TYPE_CHECKING:
    from pointsman.cache.placement import Placement

SECONDS = {"5m": 300.0, "1h": 3600.0}

# Estimated and counted tokens of one prefix differ by some per cent; more than this, and it's another prefix.
_TOLERANCE = 1.1
_SHORTEST_SHARED_KEY = 16
# Kinds of records in a store, besides the TTLs.
_EVICTED, _REFUSED = "gone", "refused"
# Before the TTL of a prefix that was read only to keep it warm: nobody has asked for it.
_KEPT = "kept "
# A process that starts later learns by a refusal of its own: Bedrock's rules may have changed.
_SECONDS_REFUSALS_LIVE = 86_400.0

_Owner = tuple[str, str | None]


class _Entry(NamedTuple):
    """Until when a prefix is warm. `otherwise`: when it was written for an hour, and for five minutes later on.

    It is warm until then, if the longer-lived writing turns out to have been evicted before the later one.
    """

    expires: float
    ttl: str
    counted: int | None
    otherwise: float = 0.0

    def joined(self, other: _Entry) -> _Entry:
        """Both writings of one prefix in one: the one that lives longer counts, in whatever order they became known."""
        longer, shorter = (self, other) if self[:2] > other[:2] else (other, self)
        otherwise = 0.0
        if longer.ttl == "1h":
            otherwise = max(longer.otherwise, shorter.otherwise if shorter.ttl == "1h" else shorter.expires)
        return _Entry(longer.expires, longer.ttl, other.counted or self.counted, otherwise)

    def without(self, evicted: float) -> _Entry | None:
        """What is left, if nothing that was sent before that time is there any more."""
        if self.expires - SECONDS[self.ttl] >= evicted:
            return self
        if self.otherwise - SECONDS["5m"] >= evicted:
            return _Entry(self.otherwise, "5m", self.counted)
        return None


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
        reuse: what is known of how often prompts come back; learnt further with each request that is booked.
        store: where it meets the ledgers of other processes, those with the same key and of the same AWS account.

    Raises:
        InvalidRequestError: there is a store, but no key, or one that could be guessed.
    """

    def __init__(
        self,
        *,
        key: bytes | None = None,
        bound: int = 16_384,
        reuse: Reuse | None = None,
        store: LedgerStore | None = None,
    ) -> None:
        if store is not None and len(key or b"") < _SHORTEST_SHARED_KEY:
            raise InvalidRequestError(
                f"a ledger with a store needs a key of at least {_SHORTEST_SHARED_KEY} bytes, the same in all; "
                f"it has {'none' if key is None else len(key)}. Make one by os.urandom(32) and keep it as a secret."
            )
        self.key = os.urandom(32) if key is None else key
        self.reuse = reuse if reuse is not None else Reuse()
        self._bound = bound
        self._warm: dict[tuple[str, str | None], OrderedDict[bytes, _Entry]] = {}
        self._evicted: OrderedDict[tuple[_Owner, bytes], float] = OrderedDict()
        self._refusals: dict[str, frozenset[Refusal]] = {}
        self._lock = threading.Lock()
        self._sharing = None if store is None else Sharing(store, guard=self._lock)
        self.share("reuse", self.reuse.returns)
        self.courses = Courses()
        """How the conversations of each router go on: what its decisions learn from."""
        self.share("courses", self.courses)

    def sync(self, now: float) -> None:
        """Exchange with the store what was booked, here and elsewhere; at most once a second, and never raising.

        A client does so before each request. When the store is gone, this waits for it for a tenth of a second twice a
        minute, and what is booked meanwhile is handed over when it is back.
        """
        if self._sharing is not None:
            self._sharing.exchange(now, self._take)

    def share(self, name: str, statistic: Statistic) -> None:
        """Let what a statistic counts go round by the store, if there is one, under a name that all processes use.

        The ledger's lock is held where its methods are called.
        """
        if self._sharing is not None:
            self._sharing.add(name, statistic)

    def warm_prefix(self, outline: Outline, model: Model, now: float) -> Prefix | None:
        """The longest prefix believed readable from the model's cache now, wherever a point would have to stand."""
        return self._longest(outline, model, range(len(outline.blocks) - 1, -1, -1), now)

    def ttl_of(self, prefix: Prefix, model: Model) -> str | None:
        """The TTL that a prefix was written with, if it is known to have been."""
        entries: Mapping[bytes, _Entry] = self._warm.get(owner_of(model), {})
        entry = entries.get(prefix.digest)
        return entry.ttl if entry else None

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
        self.courses.served(outline, usage.output_tokens, now)
        rules = model.cache
        if not (rules.max_points and outline.reaches(len(outline.blocks) - 1, rules.minimum_tokens)):
            return  # Nothing of such a prompt can be cached: whether it comes back says nothing of those that can.
        rates = Rates.of(model.price, usage.input_tokens, one_hour="1h" in model.cache.ttls)
        with self._lock:
            billed = rates.bill(usage)
            self.reuse.sent(outline, owner_of(model), now, billed=billed, plainly=usage.input_tokens)
        self._believe(outline, model, placement.points, usage, now)

    def refreshed(self, outline: Outline, model: Model, points: Sequence[CachePoint], usage: Usage, now: float) -> None:
        """Book a prompt that was sent only to keep its prefix warm: nobody has come back to it, here or elsewhere."""
        self._believe(outline, model, points, usage, now, kept=True)

    def _believe(
        self,
        outline: Outline,
        model: Model,
        points: Sequence[CachePoint],
        usage: Usage,
        now: float,
        *,
        kept: bool = False,
    ) -> None:
        points = [point for point in points if effective(outline, model, point.after)]
        if not points:
            return
        expected = self.readable(outline, model, points, now)
        cached = usage.cache_read_tokens + usage.cache_write_tokens
        with self._lock:
            owner = owner_of(model)
            came = expected is not None and self._confirm(owner, outline, expected, usage, now, kept=kept)
            for point in _written(outline, points, usage, behind=expected.after if expected and came else None):
                counted = cached if point is points[-1] else None
                self._book(owner, outline.blocks[point.after].digest, point.ttl, now, counted, kept=kept)

    def refuse(self, model: Model, refusal: Refusal, now: float | None = None) -> None:
        """Remember that the model refused a cache point in such a place; where `now` is given, others learn of it."""
        with self._lock:
            self._refusals[model.id] = self._refusals.get(model.id, frozenset()) | {refusal}
        if self._sharing is not None and now is not None:
            detail = json.dumps(refusal)
            self._sharing.book(Booked(_REFUSED, model.id, "", detail.encode(), now + _SECONDS_REFUSALS_LIVE, detail))

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
        self, owner: _Owner, outline: Outline, expected: Prefix, usage: Usage, now: float, *, kept: bool
    ) -> bool:
        """Whether just what was expected was read: then refresh it. If less was, whatever is longer is gone."""
        read = usage.cache_read_tokens
        entries: Mapping[bytes, _Entry] = self._warm.get(owner, {})
        entry = entries.get(expected.digest)
        if read and (not outline.counted or expected.tokens <= read * _TOLERANCE):
            if outline.counted and read > expected.tokens * _TOLERANCE:
                return False  # Somebody else has written a longer one.
            if entry is not None:
                self._book(owner, expected.digest, entry.ttl, now, read, kept=kept)
            return True
        for index in range(expected.after, -1, -1):
            if read and outline.tokens_to(index) <= read * _TOLERANCE:
                break
            digest = outline.blocks[index].digest
            if digest in entries:
                self._forget(owner, digest, now)
                if self._sharing is not None:
                    self._sharing.book(_booked(_EVICTED, owner, digest, now + SECONDS["1h"]))
        return False

    def _book(
        self, owner: _Owner, digest: bytes, ttl: str, now: float, counted: int | None, *, kept: bool = False
    ) -> None:
        """Book a writing or a read of our own; `kept` if it was made only to keep the prefix warm."""
        expires = now + SECONDS[ttl]
        self._keep(owner, digest, _Entry(expires, ttl, counted))
        if self._sharing is not None:
            self._sharing.book(_booked(_KEPT * kept + ttl, owner, digest, expires, str(counted or "")))

    def _keep(self, owner: _Owner, digest: bytes, entry: _Entry) -> None:
        evicted = self._evicted.get((owner, digest)) if self._evicted else None
        if evicted is not None and entry.without(evicted) is None:
            return
        entries = self._warm.setdefault(owner, OrderedDict())
        before = entries.get(digest)
        # Requests of one conversation may be booked out of order.
        entries[digest] = entry if before is None else before.joined(entry)
        entries.move_to_end(digest)
        if len(entries) > self._bound:
            entries.popitem(last=False)

    def _forget(self, owner: _Owner, digest: bytes, evicted: float) -> None:
        """A prefix was not there for a request sent at that time.

        What was sent later could not be read yet, which is no sign of an eviction. What was sent before is gone, also
        if it becomes known only later.
        """
        self._evicted[owner, digest] = max(evicted, self._evicted.get((owner, digest), evicted))
        self._evicted.move_to_end((owner, digest))
        if len(self._evicted) > self._bound:
            self._evicted.popitem(last=False)
        entries: MutableMapping[bytes, _Entry] = self._warm.get(owner, {})
        if (entry := entries.get(digest)) is not None:
            if (left := entry.without(evicted)) is not None:
                entries[digest] = left
            else:
                del entries[digest]

    def _take(self, record: Booked) -> None:
        """Believe what another ledger has booked. What a newer version may tell besides is left alone."""
        owner = record.model, record.region or None
        with self._lock:
            if (ttl := record.kind.removeprefix(_KEPT)) in SECONDS:
                if ttl == record.kind:
                    self.reuse.asked_elsewhere(owner, record.about, record.until - SECONDS[ttl])
                self._keep(owner, record.about, _Entry(record.until, ttl, int(record.detail or 0) or None))
            elif record.kind == _EVICTED:
                self._forget(owner, record.about, record.until - SECONDS["1h"])
            elif record.kind == _REFUSED:
                refused = self._refusals.get(record.model, frozenset())
                self._refusals[record.model] = refused | {Refusal(*json.loads(record.detail))}


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


def _booked(kind: str, owner: _Owner, digest: bytes, until: float, detail: str = "") -> Booked:
    return Booked(kind, owner[0], owner[1] or "", digest, until, detail)


def owner_of(model: Model) -> _Owner:
    """Whose cache it is: the profile that was invoked (however it was named) and the Region."""
    return named_by(model.invoke_id) or model.invoke_id, model.region
