"""Recorded traffic, billed under another placement and router than it was recorded with.

Drives policies over requests in the order of time, as a client would, and adds up what the simulator bills. Knows no
file format and lays no point itself. Sums are floats inside, Decimals where they are told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from pointsman.cache import Ledger, place
from pointsman.catalog import Catalog, Model
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.billing import BillingSimulator
from pointsman.evaluation.bounds import best_within_rules, lower_bound
from pointsman.evaluation.policies import PlacementPolicy, RoutingPolicy
from pointsman.evaluation.traffic import RecordedRequest
from pointsman.evaluation.trial import Progress
from pointsman.pricing import Price
from pointsman.usage import Usage

BUCKETS = ("uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output")
_TOLD_EVERY = 256
_MICRO_DOLLARS = Decimal("0.000001")
# Finer than any price of one token, so that small bills can be held against exact ones; what floats make up is below.
_FINEST = Decimal("1e-12")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """USD by bucket."""

    uncached: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    output: Decimal

    @property
    def input(self) -> Decimal:
        """Everything but the output."""
        return self.uncached + self.cache_read + self.cache_write_5m + self.cache_write_1h

    @property
    def total(self) -> Decimal:
        """The sum of the buckets."""
        return self.input + self.output

    def share(self, bucket: str) -> float:
        """A bucket's part of the total; 0 of nothing."""
        return float(getattr(self, bucket) / self.total) if self.total else 0.0


def plain(amount: Decimal) -> str:
    """Money as JSON has it here: a decimal string without an exponent."""
    return f"{amount.normalize():f}"


class SessionBill(NamedTuple):
    """What a session cost, and what it would have cost without caching. USD."""

    session: str
    bill: Decimal
    without_cache: Decimal

    @property
    def ratio(self) -> float:
        """Above 1, caching made the session dearer."""
        return float(self.bill / self.without_cache) if self.without_cache else 0.0


class OwnersBill(NamedTuple):
    """The requests whose usage the log tells: what they were billed, and what they would have been. USD.

    The replay counts tokens by estimate where the log holds texts. Its bill is brought to the tokens that Bedrock
    counted, so that the two can be compared.
    """

    requests: int
    billed: Decimal
    replayed: Decimal

    @property
    def saved(self) -> float:
        """The part of the bill that would have been saved; negative where it would have been more."""
        return float(1 - self.replayed / self.billed) if self.billed else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay came to. `without_cache` is the bill with the same models had nothing been cached, in USD.

    `requests_of` counts requests by catalogue id. `worst_session` is None where nothing cost anything.
    """

    requests: int
    sessions: int
    usage: Usage
    bill: Bill
    without_cache: Decimal
    worst_session: SessionBill | None
    owners: OwnersBill | None
    requests_of: Mapping[str, int]

    @property
    def ratio(self) -> float:
        """The bill as a part of what it would be without caching."""
        return float(self.bill.total / self.without_cache) if self.without_cache else 0.0

    @property
    def input_without_cache(self) -> Decimal:
        """The prompts' part of `without_cache`: the output costs the same."""
        return self.without_cache - self.bill.output

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; money in decimal strings."""
        worst, owners = self.worst_session, self.owners
        return {
            "requests": self.requests,
            "sessions": self.sessions,
            "requests_of": dict(self.requests_of),
            "usage": self.usage.to_dict(),
            "bill": {name: plain(getattr(self.bill, name)) for name in (*BUCKETS, "total")},
            "shares": {name: self.bill.share(name) for name in BUCKETS},
            "without_cache": plain(self.without_cache),
            "ratio": self.ratio,
            "worst_session": None
            if worst is None
            else {
                "session": worst.session,
                "bill": plain(worst.bill),
                "without_cache": plain(worst.without_cache),
                "ratio": worst.ratio,
            },
            "owners_bill": None
            if owners is None
            else {
                "requests": owners.requests,
                "billed": plain(owners.billed),
                "replayed": plain(owners.replayed),
                "saved": owners.saved,
            },
        }


def replay(
    requests: Iterable[RecordedRequest],
    *,
    model: Model | None = None,
    place: PlacementPolicy = place,
    router: RoutingPolicy | None = None,
    candidates: Sequence[Model] = (),
    ledger: Ledger | None = None,
    billing: BillingSimulator | None = None,
    catalog: Catalog | None = None,
    progress: Progress = lambda *_: None,
) -> Replay:
    """Requests in the order of time, each placed, billed and recorded as if it were sent then.

    Args:
        model: gets all requests; by default each goes to the model that the log names, looked up in `catalog`.
        router: chooses one of `candidates` for each request, instead.
        ledger: by default an empty one: the replay starts cold and learns as it goes.
        billing: the caches that are billed; by default empty ones that keep no token for longer than it was written
            for, as `bounds_of` counts too.

    Raises:
        InvalidRequestError: a router without candidates; a request without a model; a price that is needed is not
            known; a placement that Bedrock would refuse.
    """
    if router is not None and not candidates:
        raise InvalidRequestError("a router needs candidates to choose from.")
    ordered = sorted(requests, key=lambda request: request.at)
    ledger = Ledger() if ledger is None else ledger
    billing = BillingSimulator(conservative=True) if billing is None else billing
    account = _Account()
    for done, request in enumerate(ordered):
        if done % _TOLD_EVERY == 0:
            progress("replaying", done, len(ordered))
        if router is not None:
            chosen = router(request, [(one, request.outline) for one in candidates], ledger, request.at)
        else:
            chosen = model or model_of(request, catalog)
        placement = place(request.outline, chosen, ledger, request.at)
        usage = billing.bill(request.outline, placement.points, chosen, request.at, output_tokens=request.output_tokens)
        ledger.record(request.outline, chosen, placement, usage, request.at)
        account.book(request, chosen, usage)
    progress("replaying", len(ordered), len(ordered))
    return account.summed_up()


class Bounds(NamedTuple):
    """USD that the prompts of some requests cost at least, without their output: `best` with what was offered.

    `lower` ignores the number of points, the blocks' boundaries and the minimum (see `bounds.lower_bound`); `best` is
    a bill within the rules by one who knows the future, not proven to be the least.
    """

    lower: Decimal
    best: Decimal

    def to_dict(self) -> dict[str, str]:
        """Plain JSON; money in decimal strings."""
        return {"lower_bound": plain(self.lower), "best_within_rules": plain(self.best)}


def bounds_of(
    requests: Iterable[RecordedRequest], *, model: Model | None = None, catalog: Catalog | None = None
) -> Bounds:
    """What hindsight would have paid for these prompts, on one model or on those that the log names.

    Raises:
        InvalidRequestError: as `replay`.
    """
    by_model: dict[str, tuple[Model, list[RecordedRequest]]] = {}
    for request in sorted(requests, key=lambda request: request.at):
        chosen = model or model_of(request, catalog)
        by_model.setdefault(chosen.invoke_id, (chosen, []))[1].append(request)
    lower = sum((lower_bound(some, of) for of, some in by_model.values()), Decimal(0))
    best = sum((best_within_rules(some, of) for of, some in by_model.values()), Decimal(0))
    return Bounds(lower, best)


def model_of(request: RecordedRequest, catalog: Catalog | None = None) -> Model:
    """The model that the log names.

    Raises:
        InvalidRequestError: it names none.
    """
    if not request.model:
        raise InvalidRequestError("the log names no model. Name one with --model, or model=.")
    return (catalog or _default_catalog()).resolve(request.model)


_DEFAULT: list[Catalog] = []


def _default_catalog() -> Catalog:
    if not _DEFAULT:
        _DEFAULT.append(Catalog.default())
    return _DEFAULT[0]


class _Account:
    """Adds up what was billed."""

    def __init__(self) -> None:
        self._rates: dict[int, tuple[Price, _Rates]] = {}
        self._buckets = [0.0] * len(BUCKETS)
        self._tokens = [0] * 5
        self._without_cache = 0.0
        self._sessions: dict[str, list[float]] = {}
        self._owners = [0.0] * 3
        self._counted = [0, 0]
        self._told = 0
        self._requests_of: dict[str, int] = {}

    def book(self, request: RecordedRequest, model: Model, usage: Usage) -> None:
        """Add one request's usage, at the model's prices."""
        parts, without = self._priced(model, usage)
        bill = sum(parts)
        self._buckets = [one + other for one, other in zip(self._buckets, parts, strict=True)]
        self._tokens = [one + other for one, other in zip(self._tokens, _tokens(usage), strict=True)]
        self._without_cache += without
        session = self._sessions.setdefault(request.session, [0.0, 0.0])
        session[0] += bill
        session[1] += without
        self._requests_of[model.id] = self._requests_of.get(model.id, 0) + 1
        if request.usage is not None:
            self._told += 1
            self._owners[0] += sum(self._priced(model, request.usage)[0])
            self._owners[1] += bill - parts[-1]
            self._owners[2] += parts[-1]
            self._counted[0] += request.usage.input_tokens
            self._counted[1] += usage.input_tokens

    def summed_up(self) -> Replay:
        """All of it."""
        uncached, read, write_5m, write_1h, output = self._tokens
        return Replay(
            requests=sum(self._requests_of.values()),
            sessions=len(self._sessions),
            usage=Usage(
                input_tokens=uncached + read + write_5m + write_1h,
                cache_read_tokens=read,
                cache_write_tokens=write_5m + write_1h,
                cache_write_1h_tokens=write_1h,
                output_tokens=output,
            ),
            bill=Bill(**{name: _dollars(one) for name, one in zip(BUCKETS, self._buckets, strict=True)}),
            without_cache=_dollars(self._without_cache),
            worst_session=self._worst_session(),
            owners=self._owners_bill(),
            requests_of=self._requests_of,
        )

    def _worst_session(self) -> SessionBill | None:
        billed = [(bill / without, name) for name, (bill, without) in self._sessions.items() if without]
        if not billed:
            return None
        _, name = max(billed)
        bill, without = self._sessions[name]
        return SessionBill(name, _dollars(bill), _dollars(without))

    def _owners_bill(self) -> OwnersBill | None:
        if not self._told:
            return None
        billed, input_replayed, output_replayed = self._owners
        counted, estimated = self._counted
        correction = counted / estimated if estimated else 1.0
        return OwnersBill(self._told, _dollars(billed), _dollars(input_replayed * correction + output_replayed))

    def _priced(self, model: Model, usage: Usage) -> tuple[tuple[float, ...], float]:
        """The buckets in micro-dollars, and what the same would have cost without caching."""
        if model.price is None:
            raise InvalidRequestError(
                f"the price of {model.id} isn't known. Name it: --price ID=IN,OUT, or Price(...)."
            )
        price = model.price.at(usage.input_tokens) if model.price.tiers else model.price
        # Kept with its price, so that no other can come to have the same id.
        known = self._rates.get(id(price))
        if known is None:
            known = self._rates[id(price)] = (price, _Rates.of(price))
        rates, tokens = known[1], _tokens(usage)
        parts = tuple([count * rate if count else 0.0 for count, rate in zip(tokens, rates, strict=True)])
        without = (usage.input_tokens * rates.uncached if usage.input_tokens else 0.0) + parts[-1]
        if math.isnan(sum(parts) + without):
            unknown = [name for name, rate in zip(BUCKETS, rates, strict=True) if math.isnan(rate)]
            raise InvalidRequestError(f"{model.id} has no known price for {', '.join(unknown)}. Name it with --price.")
        return parts, without


class _Rates(NamedTuple):
    """USD per million tokens, in the order of the buckets; NaN where unknown."""

    uncached: float
    cache_read: float
    cache_write_5m: float
    cache_write_1h: float
    output: float

    @classmethod
    def of(cls, price: Price) -> _Rates:
        write = price.cache_write
        told = (price.input, price.cache_read, write.get("5m"), write.get("1h"), price.output)
        return cls(*(math.nan if one is None else float(one) for one in told))


def _tokens(usage: Usage) -> tuple[int, int, int, int, int]:
    """In the order of the buckets."""
    return (
        usage.uncached_tokens,
        usage.cache_read_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.output_tokens,
    )


def _dollars(micro_dollars: float) -> Decimal:
    return (Decimal(repr(micro_dollars)) * _MICRO_DOLLARS).quantize(_FINEST)
