"""What broke the cache of requests that were sent, or are to be sent: the cause of each miss, where, and its price.

Lets the requests pass by a ledger and the billing simulator, as a client would send them, and asks for the miss reason
of each. Where texts are known, it looks at what differs. Knows no file and no terminal, and sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from pointsman.cache import Case, Ledger, MissReason, Placement, Sending, SentPrompts, misses, place
from pointsman.cache.ledger import SECONDS, effective
from pointsman.catalog import Catalog, Model
from pointsman.evaluation.billing import BillingSimulator
from pointsman.evaluation.findings import Cause, Explanation, Finding, Passed, Told
from pointsman.evaluation.parting import ANOTHER_QUESTION, Parting, Side, blocks_in_common, parting
from pointsman.evaluation.policies import as_written
from pointsman.evaluation.reasons import explained, refused_point, sent_before, without_a_point
from pointsman.evaluation.replay import model_of
from pointsman.evaluation.traffic import RecordedRequest
from pointsman.outline import Outline
from pointsman.pricing import cost_of
from pointsman.prompt import Prompt
from pointsman.usage import Usage

# So many of the latest requests of a conversation are looked through for the one that a request goes back to.
_LOOKED_THROUGH = 32
# Two prompts of which so many tokens, and half of the rest, stand in blocks of the same sizes, are of one kind.
_EVIDENCE_TOKENS = 256


class Sent(NamedTuple):
    """A request as it was recorded, and with its text, where that is known."""

    recorded: RecordedRequest
    request: Mapping[str, Any] | None = None


def causes_of(
    requests: Sequence[Sent],
    *,
    model: Model | None = None,
    catalog: Catalog | None = None,
    one_conversation: bool = False,
) -> Explanation:
    """Why the requests read less from the cache than they could have.

    Args:
        requests: in the order of time.
        model: gets all requests; by default each goes to the model that it names.
        one_conversation: each request goes on with the one before it, whatever they have in common. Otherwise
            conversations are told by what requests begin with.

    Raises:
        InvalidRequestError: a request names no model, or they are not in the order of time.
    """
    passage = _Passage(as_written=any(one.recorded.points for one in requests), one_conversation=one_conversation)
    for number, one in enumerate(requests):
        passage.send(number, one, model or model_of(one.recorded, catalog))
    return passage.told()


class _Passage:
    """Requests pass one after another, and what is known when each comes."""

    def __init__(self, *, as_written: bool, one_conversation: bool) -> None:
        self._as_written = as_written
        self._one = one_conversation
        self._ledger = Ledger()
        self._billing = BillingSimulator(conservative=True)
        self._sent = SentPrompts()
        self._requests: list[Sent] = []
        self._passed: list[Passed] = []
        self._answered: list[int] = []
        self._numbers: dict[bytes, int] = {}
        self._conversation_of: dict[str, str] = {}
        self._names: list[str] = []

    def send(self, number: int, sent: Sent, model: Model) -> None:
        """One more request."""
        one = sent.recorded
        # Those that the placement sees are the caller's, as in a client.
        outline = one.outline._replace(points=tuple(one.points or ()))
        placement = self._placement(outline, model, one.at)
        # What was billed was not refused, whatever we know of the rules.
        refused = refused_point(outline, placement, model) if one.usage is None else None
        if refused is None:
            passed = self._answer(number, sent, outline, model, placement)
        else:
            passed = self._refuse(number, sent, model, placement, refused)
        self._passed.append(passed)
        self._requests.append(sent)
        self._names.append(self._name(one.session, passed.cause, passed.after))

    def _refuse(
        self, number: int, sent: Sent, model: Model, placement: Placement, reason: misses.RefusedPoint
    ) -> Passed:
        earlier = self._earlier(sent, model, None)
        return Passed(
            number=number,
            model=model,
            at=sent.recorded.at,
            points=placement.points,
            usage=Usage(),
            cause=Cause(reason=reason, parting=None, lost_tokens=0, lost=None),
            after=earlier,
            parting=self._parting(earlier, sent) if self._one else None,
        )

    def _answer(self, number: int, sent: Sent, outline: Outline, model: Model, placement: Placement) -> Passed:
        one, ledger = sent.recorded, self._ledger
        expected = ledger.readable(outline, model, placement.points, one.at) if placement.points else None
        sending = self._sent.send(outline, model, placement.points, one.at) if model.cache.max_points else None
        usage = self._usage(one, outline, model, placement)
        case = Case(
            outline=outline,
            model=model,
            placement=placement,
            usage=usage,
            ledger=ledger,
            now=one.at,
            expected=expected,
            sending=sending,
            prompt=None if sent.request is None else Prompt(sent.request),
        )
        earlier = self._earlier(sent, model, sending)
        cause = self._cause(sent, case, earlier)
        if outline.blocks:
            self._numbers[outline.blocks[-1].digest] = number
        ledger.record(outline, model, placement, usage, one.at)
        if sending is not None:
            self._sent.answer(sending, one.at)
        self._answered.append(number)
        return Passed(
            number=number,
            model=model,
            at=one.at,
            points=placement.points,
            usage=usage,
            cause=cause,
            after=earlier,
            parting=self._parting(earlier, sent) if self._one else None,
        )

    def told(self) -> Explanation:
        """All conversations, each with its findings."""
        by_name: dict[str, list[Passed]] = {}
        for name, passed in zip(self._names, self._passed, strict=True):
            by_name.setdefault(name, []).append(passed)
        return Explanation(
            conversations=tuple(
                Told(name=name, passed=tuple(passed), findings=_findings(passed)) for name, passed in by_name.items()
            ),
            as_written=self._as_written,
        )

    def _placement(self, outline: Outline, model: Model, now: float) -> Placement:
        if not self._as_written:
            return place(outline, model, self._ledger, now)
        if not model.cache.max_points:
            return Placement()
        return as_written(outline, model, self._ledger, now)

    def _usage(self, one: RecordedRequest, outline: Outline, model: Model, placement: Placement) -> Usage:
        """What was billed, where that is known of these very points; else what would have been."""
        points = placement.points if model.cache.max_points else ()
        billed = self._billing.bill(outline, points, model, one.at, output_tokens=one.output_tokens)
        return one.usage if one.usage is not None and self._as_written else billed

    def _earlier(self, sent: Sent, model: Model, sending: Sending | None) -> int | None:
        """The earlier request to this model with which this one has most in common; of several, the latest."""
        if self._one:
            numbers = [n for n in self._answered if self._passed[n].model.invoke_id == model.invoke_id]
        else:
            ends = [one.digest for one in sending.earlier] if sending is not None else []
            numbers = sorted(self._numbers[end] for end in ends if end in self._numbers)
        outline = sent.recorded.outline
        return max(
            numbers[-_LOOKED_THROUGH:],
            key=lambda n: (blocks_in_common(self._requests[n].recorded.outline, outline), n),
            default=None,
        )

    def _cause(self, sent: Sent, case: Case, earlier: int | None) -> Cause | None:
        common = 0 if earlier is None else blocks_in_common(self._requests[earlier].recorded.outline, case.outline)
        reason = explained(case)
        if reason is None:
            changed = (
                self._changed_all_the_same(sent, case, earlier)
                or self._changed_by_size(sent, case, earlier)
                or self._changed_and_switched(sent, case, earlier)
            )
            if changed is not None:
                return changed
        if self._as_written and earlier is not None:
            reason = without_a_point(case, common, self._passed[earlier].at, reason)
        if reason is not None:
            reason = sent_before(reason, case.tokens_to(common - 1))
        if reason is None:
            return None
        parted = self._parted(sent, earlier, reason)
        if isinstance(reason, misses.PrefixChanged) and parted is not None and parted.what == ANOTHER_QUESTION:
            return None
        return _priced(case, reason, parted)

    def _parted(self, sent: Sent, earlier: int | None, reason: MissReason) -> Parting | None:
        """Where that is the reason, or would have been one as well."""
        if not isinstance(reason, misses.PrefixChanged | misses.TTLPassed):
            return None
        parted = self._parting(earlier, sent)
        if parted is None or isinstance(reason, misses.PrefixChanged):
            return parted
        return parted if parted.what != ANOTHER_QUESTION and parted.common_tokens < (reason.tokens or 0) else None

    def _changed_all_the_same(self, sent: Sent, case: Case, earlier: int | None) -> Cause | None:
        """A change that a client can't be sure of, where it is known that all requests are of one conversation."""
        if not self._one or earlier is None or not case.model.cache.max_points:
            return None
        before = self._passed[earlier]
        parted = self._parting(earlier, sent)
        if parted is None or parted.what == ANOTHER_QUESTION:
            return None
        outline = self._requests[earlier].recorded.outline
        behind = [point for point in before.points if point.after >= parted.index]
        if not any(effective(outline, case.model, point.after) for point in behind):
            return None
        reason = misses.PrefixChanged(
            section=parted.section, block=parted.block, tokens=outline.tokens_to(behind[-1].after)
        )
        return _priced(case, reason, parted)

    def _changed_by_size(self, sent: Sent, case: Case, earlier: int | None) -> Cause | None:
        """A change in a log, seen without texts too: behind it most blocks are of the same kind and size."""
        if earlier is None:
            return None
        before, other = self._passed[earlier], self._requests[earlier].recorded
        theirs, mine = other.outline, case.outline
        at = blocks_in_common(theirs, mine)
        if not at and other.writer != sent.recorded.writer:
            return None  # Their digests may have other keys.
        behind = [point for point in before.points if point.after >= at and before.at + SECONDS[point.ttl] > case.now]
        if not behind or not _is_alike(theirs, mine, at):
            return None
        parted = self._parting(earlier, sent)
        if parted is not None and parted.what == ANOTHER_QUESTION:
            return None
        section = mine.blocks[at].section
        first = next(index for index, block in enumerate(mine.blocks) if block.section == section)
        tokens = theirs.tokens_to(behind[-1].after)
        return _priced(case, misses.PrefixChanged(section=section, block=at - first, tokens=tokens), parted)

    def _changed_and_switched(self, sent: Sent, case: Case, earlier: int | None) -> Cause | None:
        """The first request to a model, which parts from what another one had cached of the same conversation."""
        if not (self._one and self._answered and earlier is None and case.model.cache.max_points):
            return None
        before = self._passed[self._answered[-1]]
        outline = self._requests[before.number].recorded.outline
        warm = [point for point in before.points if effective(outline, before.model, point.after)]
        parted = self._parting(before.number, sent)
        if parted is None or parted.what == ANOTHER_QUESTION or not warm:
            return None
        if before.at + SECONDS[warm[-1].ttl] <= case.now:
            return None
        tokens = outline.tokens_to(warm[-1].after)
        return _priced(case, misses.ModelSwitched(previous=before.model.invoke_id, tokens=tokens), parted)

    def _parting(self, earlier: int | None, sent: Sent) -> Parting | None:
        before = None if earlier is None else self._requests[earlier]
        if before is None or before.request is None or sent.request is None:
            return None
        return parting(
            Side(Prompt(before.request), before.recorded.outline), Side(Prompt(sent.request), sent.recorded.outline)
        )

    def _name(self, session: str, cause: Cause | None, earlier: int | None) -> str:
        """A request that parts from an earlier one has a session of its own, and belongs to the same conversation."""
        if self._one:
            return "1"
        if session not in self._conversation_of:
            parted = cause is not None and (isinstance(cause.reason, misses.PrefixChanged) or cause.parting is not None)
            self._conversation_of[session] = self._names[earlier] if parted and earlier is not None else session
        return self._conversation_of[session]


def _is_alike(before: Outline, after: Outline, at: int) -> bool:
    pairs = list(zip(before.blocks[at:], after.blocks[at:], strict=False))
    alike = sum(one.tokens or 0 for one, other in pairs if one._replace(digest=b"") == other._replace(digest=b""))
    rest = before.tokens - before.tokens_to(at - 1)
    return alike >= max(_EVIDENCE_TOKENS, rest / 2)


def _priced(case: Case, reason: MissReason, parted: Parting | None) -> Cause | None:
    """The cause, with what it cost; None if nothing was lost by it."""
    usage = case.usage
    tokens = reason.tokens or 0
    lost = case.missing_tokens or min(max(tokens - usage.cache_read_tokens, 0), usage.input_tokens)
    lost = min(lost, usage.input_tokens - usage.cache_read_tokens)
    if not lost and reason.tokens is not None:
        return None
    return Cause(reason=reason, parting=parted, lost_tokens=lost, lost=_dearer(usage, lost, case.model))


def _dearer(usage: Usage, lost: int, model: Model) -> Decimal | None:
    """By how much a request was dearer than if so many more tokens had been read: of those written, then the rest."""
    written = min(lost, usage.cache_write_tokens)
    without = replace(
        usage,
        cache_read_tokens=usage.cache_read_tokens + lost,
        cache_write_tokens=usage.cache_write_tokens - written,
        cache_write_1h_tokens=max(usage.cache_write_1h_tokens - written, 0),
    )
    cost, less = cost_of(usage, model.price).total, cost_of(without, model.price).total
    return None if cost is None or less is None else cost - less


def _findings(passed: Sequence[Passed]) -> tuple[Finding, ...]:
    """The causes of a conversation: first what Bedrock refuses, then the dearest."""
    alike: dict[tuple[str, str], list[tuple[int, Cause]]] = {}
    for one in passed:
        if one.cause is not None:
            # A conversation that grows moves what is wrong with its messages from block to block.
            place = one.cause.section if one.cause.section == "messages" else one.cause.where
            alike.setdefault((one.cause.what, place), []).append((one.number, one.cause))
    found = [_finding(causes) for causes in alike.values()]
    return tuple(
        sorted(
            found,
            key=lambda one: (
                not isinstance(one.cause.reason, misses.RefusedPoint),
                -(one.lost or Decimal(0)),
                -one.lost_tokens,
            ),
        )
    )


def _finding(causes: Sequence[tuple[int, Cause]]) -> Finding:
    lost = [cause.lost for _, cause in causes]
    return Finding(
        cause=causes[0][1],
        requests=tuple(number for number, _ in causes),
        lost_tokens=sum(cause.lost_tokens for _, cause in causes),
        lost=sum((one for one in lost if one is not None), Decimal(0)) if None not in lost else None,
    )
