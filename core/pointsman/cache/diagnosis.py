"""Why less was read than could have been: finds the miss reason of one request, once its usage has come back.

Compares what was expected with what was billed; where nothing was expected, looks for what could have been there: in
the ledger, on other models, in requests under way, in earlier prompts that this one parts from. Judges only what it
can show: an ordinary first question of a new conversation is a first request, not a change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from pointsman.cache import misses
from pointsman.cache.ledger import SECONDS, Ledger, Written, effective
from pointsman.cache.misses import MissReason
from pointsman.cache.placement import Placement
from pointsman.cache.sent import Sending, SentPrompt
from pointsman.cache.volatile import looks_volatile
from pointsman.catalog import Model
from pointsman.outline import SECTIONS, TTLS, CachePoint, Outline, Prefix
from pointsman.prompt import Prompt
from pointsman.usage import Usage

# Estimated and counted tokens of one prefix differ by some per cent, the ledger's own tolerance.
_TOLERANCE = 1.1
# A request travels for a while after its time was taken: a TTL that ended so soon had ended.
_TRAVEL_SECONDS = 5.0
# A repeated prefix of at least this share of the minimum is worth lengthening; a shorter one is just a new prompt.
NEARLY = 0.5
# So many tokens of the same blocks behind a change show that it is the same prompt; a "yes" or "go on" doesn't.
_EVIDENCE_TOKENS = 64
# A time or an id that changes leaves the system prompt as long as it was.
_SAME_LENGTH = 0.02


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is known of one request when its reply has come.

    `expected` is what was believed readable before the call. `points_refused`: Bedrock had refused this prompt's cache
    points in an attempt before. The ledger must not hold this reply yet.
    """

    outline: Outline
    model: Model
    placement: Placement
    usage: Usage
    ledger: Ledger
    now: float
    expected: Prefix | None = None
    sending: Sending | None = None
    prompt: Prompt | None = None
    points_refused: bool = False

    @cached_property
    def points(self) -> tuple[CachePoint, ...]:
        """The cache points that should have cached something."""
        return tuple(point for point in self.placement.points if effective(self.outline, self.model, point.after))

    @cached_property
    def believed(self) -> Written | None:
        """What the ledger holds of the expected prefix, if it still does."""
        if self.expected is None:
            return None
        written = self.ledger.written(self.outline, self.model, up_to=self.expected.after)
        return written if written is not None and written.prefix.after == self.expected.after else None

    @cached_property
    def expected_tokens(self) -> int:
        """Tokens that should have been read: as billed before, else estimated and corrected by this usage."""
        if self.expected is None:
            return 0
        if self.believed is not None and self.believed.counted:
            return self.believed.prefix.tokens
        return self.tokens_to(self.expected.after)

    @cached_property
    def missing_tokens(self) -> int:
        """By how many tokens the read fell short of what was expected; 0 where the difference may be estimation."""
        counted = self.believed is not None and self.believed.counted
        read = self.usage.cache_read_tokens
        return self.expected_tokens - read if read * (1 if counted else _TOLERANCE) < self.expected_tokens else 0

    @cached_property
    def reach(self) -> int:
        """The block up to which this request was served from the cache, as far as can be told; -1 for none."""
        read = self.usage.cache_read_tokens
        reach = self.expected.after if self.expected else -1
        if read:
            while reach + 1 < len(self.outline.blocks) and self.tokens_to(reach + 1) <= read * _TOLERANCE:
                reach += 1
        return reach

    @cached_property
    def sure_reach(self) -> int:
        """As `reach`, but not beyond what was expected where just that was read, to the token."""
        exactly = self.believed is not None and abs(self.usage.cache_read_tokens - self.expected_tokens) <= 1
        return self.believed.prefix.after if self.believed is not None and exactly else self.reach

    @cached_property
    def _correction(self) -> float:
        outline = self.outline
        return self.usage.input_tokens / outline.tokens if outline.counted and outline.tokens else 1.0

    def tokens_to(self, index: int) -> int:
        """Tokens up to a block, corrected by what this reply counted."""
        return round(self.outline.tokens_to(index) * self._correction)


def explain_miss(case: Case) -> MissReason | None:
    """Why less was read than was expected, or than could have been there; None if nothing was missed.

    Of several reasons it is the one behind the most tokens.
    """
    if not case.model.cache.max_points:
        return None if case.usage.cache_read_tokens else misses.Unsupported(model=case.model.id, known=case.model.known)
    if case.points and not (case.usage.cache_read_tokens or case.usage.cache_write_tokens):
        return _ignored(case)
    if case.missing_tokens:
        return _not_read(case)
    if (reason := _whole_below_minimum(case)) is not None:
        return reason
    found = [find(case) for find in (_written_but_not_read, _on_another_model, _under_way, _changed)]
    reasons = [reason for reason in found if reason is not None]
    if reasons:
        return max(reasons, key=lambda reason: reason.tokens or 0)
    return _never_readable(case) if case.reach < 0 else None


def below_minimum(model: Model, usage: Usage) -> MissReason | None:
    """Why nothing was read of a prompt that was too short to be outlined."""
    need, have = model.cache.minimum_tokens, usage.input_tokens
    if not model.cache.max_points or need is None or have >= need:
        return None
    return misses.BelowMinimum(have=have, need=need, tokens=have)


def _ignored(case: Case) -> MissReason:
    """Points were sent, and nothing was read or written: the prefix was shorter than we took it for, or worse."""
    after = case.points[-1].after
    have = case.tokens_to(after) if after < case.outline.first_unknown else case.usage.input_tokens
    need, most = case.model.cache.minimum_tokens, case.model.cache.maximum_tokens
    if need is not None and have < need:
        return misses.BelowMinimum(have=have, need=need, tokens=have)
    if most is not None and have > most:
        return misses.AboveMaximum(have=have, most=most, tokens=have)
    return misses.PointsIgnored(have=have, need=need, tokens=have)


def _not_read(case: Case) -> MissReason:
    """What was believed warm did not come."""
    written = case.believed
    if written is None:
        return misses.Evicted(tokens=case.missing_tokens)
    idle = round(max(case.now - written.used, 0.0), 1)
    if written.expires - case.now <= _TRAVEL_SECONDS:
        return _ttl_passed(case, case.missing_tokens, idle, written.ttl)
    return misses.Evicted(tokens=case.missing_tokens, idle_seconds=idle)


def _ttl_passed(case: Case, tokens: int, idle_seconds: float, ttl: str) -> MissReason:
    longest = max((ttl, *case.model.cache.ttls), key=TTLS.index)
    return misses.TTLPassed(tokens=tokens, idle_seconds=round(idle_seconds, 1), ttl=ttl, longest_ttl=longest)


def _whole_below_minimum(case: Case) -> MissReason | None:
    if case.outline.reaches(len(case.outline.blocks) - 1, case.model.cache.minimum_tokens):
        return None
    return below_minimum(case.model, case.usage)


def _on_another_model(case: Case) -> MissReason | None:
    here = case.ledger.written(case.outline, case.model)
    beyond = max(case.reach, here.prefix.after if here else -1)
    found = case.ledger.warm_elsewhere(case.outline, case.model, case.now, beyond=beyond)
    if found is None:
        return None
    previous, after = found
    if not effective(case.outline, case.model, after):
        return None
    return misses.ModelSwitched(previous=previous, tokens=case.tokens_to(after))


def _written_but_not_read(case: Case) -> MissReason | None:
    """The ledger has a longer prefix than was read: past its TTL, out of sight, or booked since this was sent."""
    written = case.ledger.written(case.outline, case.model)
    if written is None or written.prefix.after <= case.reach:
        return None
    tokens, after = written.prefix.tokens, written.prefix.after
    if written.expires <= case.now:
        return _ttl_passed(case, tokens, case.now - written.used, written.ttl)
    found = case.ledger.readable(case.outline, case.model, case.points, case.now)
    if found is not None and found.after == after:
        return misses.WrittenConcurrently(tokens=tokens)
    behind = [point.after for point in case.points if point.after > after]
    if not behind:
        return None
    return misses.LookbackExceeded(
        tokens=tokens, blocks=behind[0] - after, lookback_blocks=case.model.cache.lookback_blocks
    )


def _under_way(case: Case) -> MissReason | None:
    if case.sending is None:
        return None
    for other in case.sending.under_way:
        common = _common(case, case.sending.prompt, other)
        shared = [point.after for point in other.points if case.reach < point.after < common]
        if shared and case.points:
            return misses.WrittenConcurrently(tokens=case.tokens_to(shared[-1]))
    return None


def _common(case: Case, prompt: SentPrompt, other: SentPrompt) -> int:
    """How many blocks of the same prefix two prompts begin with; 0 where the same blocks have another root."""
    common = prompt.blocks_in_common(other)
    if prompt.head and common >= prompt.head and prompt.head_digest != other.head_digest:
        return 0
    if common == len(other) and case.outline.blocks[common - 1].digest != other.digest:
        return prompt.head
    return common


def _changed(case: Case) -> MissReason | None:
    """An earlier prompt of the same kind had a cache point behind the block where this one parts from it."""
    if case.sending is None or case.sending.extends:
        return None
    prompt = case.sending.prompt
    earlier = [one for one in case.sending.earlier if one.answered is not None and one.points]
    for other in sorted(earlier, key=prompt.blocks_in_common, reverse=True):
        at = _common(case, prompt, other)
        behind = [point for point in other.points if point.after >= max(at, case.sure_reach + 1)]
        if not behind or not _is_same_kind(case, prompt, other, at):
            continue
        if all(other.at + SECONDS[point.ttl] <= case.now for point in behind):
            return _ttl_passed(case, other.tokens, case.now - other.at, behind[0].ttl)
        return _parted(case, prompt, other, at)
    return None


def _parted(case: Case, prompt: SentPrompt, other: SentPrompt, at: int) -> MissReason:
    blocks = case.outline.blocks
    section = blocks[at].section
    first = next(index for index, block in enumerate(blocks) if block.section == section)
    return misses.PrefixChanged(
        tokens=other.tokens, section=section, block=at - first, looks_like=_looks_like(case, prompt, other, at)
    )


def _looks_like(case: Case, prompt: SentPrompt, other: SentPrompt, at: int) -> str | None:
    if at < len(other) and prompt.hash_at(at) == other.hash_at(at):
        # The block is the same: what stands before all blocks, or before all messages, is not.
        if prompt.images != other.images:
            return misses.AN_IMAGE
        return misses.THE_TOOL_CHOICE if at and prompt.tools else misses.SETTINGS
    if at < prompt.tools == other.tools and _tools(prompt) == _tools(other):
        return misses.A_REORDERED_TOOL
    return _looks_volatile(case, at)


def _tools(prompt: SentPrompt) -> list[bytes]:
    return sorted(prompt.hash_at(index) for index in range(prompt.tools))


def _looks_volatile(case: Case, at: int) -> str | None:
    if case.prompt is None:
        return None
    request = case.prompt
    lists = (request.tools, request.system, *[message["content"] for message in request.messages])
    blocks = (block for blocks in lists for block in blocks if "cachePoint" not in block)
    block = next(islice(blocks, at, None), None)
    return looks_volatile(block) if block is not None else None


def _is_same_kind(case: Case, prompt: SentPrompt, other: SentPrompt, at: int) -> bool:
    """Whether this is the earlier prompt gone on or sent again with a change, and not just another conversation."""
    if at < len(other) and prompt.hash_at(at) == other.hash_at(at):
        return True
    blocks, last_message = case.outline.blocks, case.outline.start_of_last_message
    theirs = set(other.hashes_from(at))
    again = [index for index in range(at, len(prompt)) if prompt.hash_at(index) in theirs]
    if sum(_EVIDENCE_TOKENS if (tokens := blocks[index].tokens) is None else tokens for index in again) >= (
        _EVIDENCE_TOKENS
    ):
        return True
    asked_before = other.hash_at(len(other) - 1)
    if any(prompt.hash_at(index) == asked_before for index in again if index < last_message):
        return True
    if at < prompt.head:
        return _is_same_head(prompt, other) and _looks_volatile(case, at) is not None
    # A user's message inside the history of this conversation reads differently now.
    return prompt.head < at < last_message and blocks[at].role == "user"


def _is_same_head(prompt: SentPrompt, other: SentPrompt) -> bool:
    if (prompt.tools, prompt.head) != (other.tools, other.head):
        return False
    return abs(prompt.head_tokens - other.head_tokens) <= _SAME_LENGTH * other.head_tokens


def _never_readable(case: Case) -> MissReason:
    """Nothing was read, nothing was to be expected, and nobody is at fault."""
    if not case.points and (reason := _refused(case)) is not None:
        return reason
    repeated = _repeated(case) - 1
    need, most = case.model.cache.minimum_tokens or 1, case.model.cache.maximum_tokens
    if repeated >= 0:
        have = case.tokens_to(repeated)
        if most is not None and have > most and not case.points:
            return misses.AboveMaximum(have=have, most=most, tokens=have)
        if case.outline.reaches(repeated, need):
            return _unwritten(case, have, need)
        if have >= need * NEARLY:
            return misses.BelowMinimum(have=have, need=need, tokens=have)
    return misses.FirstRequest()


def _unwritten(case: Case, have: int, need: int) -> MissReason:
    """What repeats is long enough: no point of this prompt reads it, or none that was long enough has written it."""
    if (written := case.ledger.written(case.outline, case.model)) is not None:
        return misses.NoPoint(tokens=written.prefix.tokens)
    points = case.placement.points
    behind = case.tokens_to(points[-1].after) if points and not case.points else 0
    if need * NEARLY <= behind < need:
        return misses.BelowMinimum(have=behind, need=need, tokens=behind)
    return misses.NotWritten(tokens=have)


def _refused(case: Case) -> MissReason | None:
    if case.placement.refused:
        point, why = case.placement.refused[0]
        return misses.RefusedPoint(section=case.outline.blocks[point.after].section, why=why)
    refusals = case.ledger.refusals(case.model)
    if not refusals and not case.points_refused:
        return None
    sections = [name for name in SECTIONS if any(one.section == name for one in refusals)]
    why = f"{case.model.id} has refused one in such a place before"
    return misses.RefusedPoint(section=sections[0] if sections else None, why=why)


def _repeated(case: Case) -> int:
    """How many blocks an earlier prompt began with too."""
    if case.sending is None:
        return 0
    answered: Sequence[SentPrompt] = [one for one in case.sending.earlier if one.answered is not None]
    return max((_common(case, case.sending.prompt, one) for one in answered), default=0)
