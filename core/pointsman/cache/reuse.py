"""What it is worth to have a piece of a prompt in the cache: learnt from which prompts came back, and when.

A prompt falls into stretches, at the cuts where another prompt may part from it. Of each kind of stretch the chance
is learnt that it is read again within five minutes and within the hour; from there follows what a token of it will
cost from now on if it is sent plainly, written for five minutes or written for an hour. Knows digests and prices
relative to the input price; knows no rules of a model and places nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.resources import files
from typing import Any, NamedTuple

import orjson

from pointsman.cache.returns import SPANS, Belief, Chances, Hazards, Kind, Returns, Waiting
from pointsman.outline import SECTIONS, Block, Outline
from pointsman.pricing import Price
from pointsman.usage import Usage

STRETCHES = ("static", "known", "history", "message", "penultimate", "last")
"""Tools and system; what an earlier prompt held; from there to the last message; its blocks but two; each of those."""
_IN_LAST_MESSAGE = ("last", "penultimate", "message")

# From the second to the twentieth request of a conversation, prompts come back ever more surely.
_TURNS = (1, 2, 3, 4, 6, 10, 20)
# One that came back after so many seconds keeps to that pace rather than not.
_PACES = (300.0, 3600.0)
_SIZES = (2_048, 8_192)
_MEDIA = frozenset({"pdf", "document", "image", "video", "audio"})
# What a block counts that can't be counted: a page or two, or a picture.
_TOKENS_OF_MEDIA = 2_000
# No conversation is surely endless.
_LEAST_NEVER = 0.004
# So much more than without caching, and a conversation that has gone cold isn't written for again.
_DEAR = 1.1
_ROUNDS = 200
_ENOUGH = 1e-3
# Waits that are counted before outlooks are computed anew: more and more of them, as each says less.
_COUNTED_BEFORE_ANEW = 100
_ANEW_AFTER = 1.05
_MOST_CUTS = 16_384


class Rates(NamedTuple):
    """Prices of a prompt's tokens, in units of the plain input price. `write_1h` is None where there is no such TTL."""

    read: float
    write_5m: float
    write_1h: float | None

    def bill(self, usage: Usage) -> float:
        """What a prompt cost, in tokens at the plain input price."""
        written_1h = usage.cache_write_1h_tokens
        return (
            usage.uncached_tokens
            + self.read * usage.cache_read_tokens
            + self.write_5m * (usage.cache_write_tokens - written_1h)
            + (self.write_1h or self.write_5m) * written_1h
        )

    @classmethod
    def of(cls, price: Price | None, input_tokens: int, *, one_hour: bool) -> Rates:
        """Those of a prompt of that many tokens.

        Where a price isn't known, the ratios that hold for most models of Claude stand for it
        (https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html, read 2026-11-22).
        """
        price = price.at(input_tokens) if price else None
        known = _rates.get((id(price), one_hour))
        if known is None or known[0] is not price:
            if len(_rates) >= _MOST_RATES:
                _rates.clear()
            known = _rates[id(price), one_hour] = price, cls._of(price, one_hour=one_hour)
        return known[1]

    @classmethod
    def _of(cls, price: Price | None, *, one_hour: bool) -> Rates:
        if price is None or not price.input or price.cache_read is None or "5m" not in price.cache_write:
            return cls(0.1, 1.25, 2.0 if one_hour else None)
        hour = price.cache_write.get("1h") if one_hour else None
        return cls(
            float(price.cache_read / price.input),
            float(price.cache_write["5m"] / price.input),
            None if hour is None else float(hour / price.input),
        )


# By identity: a price holds a dict, and to divide its Decimals costs more than all else of a placement.
_rates: dict[tuple[int, bool], tuple[Price | None, Rates]] = {}
_MOST_RATES = 512


class Stretch(NamedTuple):
    """Some blocks of a prompt that are read again together: `end` is the last one, `kind` one of `STRETCHES`.

    `turn` counts the requests of its conversation so far, or for a static stretch those that held it; `pace` is 0 if
    the last of them was sent within five minutes before (or there was none), 1 within an hour, 2 if longer ago.
    """

    end: int
    kind: str
    turn: int
    pace: int
    tokens: int


class Outlook(NamedTuple):
    """What a token costs after this request, by what is done with it now; in units of the plain input price."""

    plain: float
    written_5m: float
    written_1h: float


class _Cut:
    """A cut at which a prompt ended or may be parted from. `before` is the cut before it in the last such prompt.

    `billed` is what the prompts of its conversation have cost so far, `plainly` what they would have without caching.
    """

    __slots__ = ("before", "billed", "plainly", "turn", "waiting")

    def __init__(self) -> None:
        self.before: _Cut | None = None
        self.billed = 0.0
        self.plainly = 0.0
        self.turn = 0
        self.waiting: Waiting | None = None


class Reuse:
    """Learns from every request that was sent, on any model; tells what caching a stretch is worth. In memory, bounded.

    Args:
        returns: the waiting times to begin with; by default what the package ships, learnt from public traces
            (see benchmarks/caching.md). `Reuse.load` takes what an earlier process saved.
    """

    def __init__(self, returns: Returns | None = None) -> None:
        self.returns = returns or Returns(shipped_belief, tempos=shipped_tempos())
        self._cuts: dict[tuple[str, str | None], OrderedDict[bytes, _Cut]] = {}
        self._outlooks: dict[tuple[Kind, bytes | None, Rates], Outlook] = {}
        self._of_known: dict[tuple[str, str, bytes | None, Rates], list[_ByPace]] = {}
        self._of_known_before = self._of_known
        self._counted = 0
        self._latest: tuple[Outline, tuple[str, str | None], list[Stretch]] | None = None

    def stretches(self, outline: Outline, owner: tuple[str, str | None], now: float) -> list[Stretch]:
        """How the prompt may be parted from by later ones, from start to end. `owner` names the model's cache."""
        blocks = outline.blocks
        cuts: Mapping[bytes, _Cut] = self._cuts.get(owner, {})
        static_ends = _static_ends(blocks)
        static = static_ends[-1] if static_ends else -1
        volatile = outline.volatile_from
        last = (len(blocks) if volatile is None else volatile) - 1
        known = _deepest(blocks, cuts, static, last)
        pace = _pace(cuts.get(blocks[known].digest) if known > static else None, now)
        ends = [(end, "static", *_pace(cuts.get(blocks[end].digest), now)) for end in static_ends]
        if known > static:
            ends.append((known, "known", *pace))
        reached = max(known, static)
        if volatile is not None:
            ends += [(last, "history", *pace)] if last > reached else []
        else:
            start = _start_of_last_message(blocks, reached + 1)
            for end in sorted({start - 1, last - 2, last - 1, last}):
                if end > reached:
                    ends.append((end, "history" if end < start else _IN_LAST_MESSAGE[last - end], *pace))
        stretches = _measured(outline, ends)
        self._latest = outline, owner, stretches
        return stretches

    def kind(self, stretch: Stretch, outline: Outline) -> Kind:
        """What the stretch is counted as."""
        size = 0
        if stretch.kind not in ("static", "known"):
            # Not what lies within tool results: recorded outlines don't tell of it.
            attached = stretch.turn == 1 and not _MEDIA.isdisjoint(outline.kinds) and _is_attached(outline.blocks)
            size = len(_SIZES) + 1 if attached else bisect_right(_SIZES, stretch.tokens)
        return _context(outline), stretch.kind, bisect_right(_TURNS, stretch.turn), stretch.pace, size

    def waiting(self, outline: Outline, owner: tuple[str, str | None], index: int) -> Waiting | None:
        """The wait for the next prompt that holds the block, as its last request began it; None if nothing is known.

        It is that of the first cut at or behind the block.
        """
        cuts: Mapping[bytes, _Cut] = self._cuts.get(owner, {})
        for block in outline.blocks[index:]:
            if (cut := cuts.get(block.digest)) is not None:
                return cut.waiting
        return None

    def hazards(self, waiting: Waiting) -> Hazards:
        """For each of `SPANS`, the chance that what has waited so long comes back in it."""
        return self.returns.hazards(waiting.kind, waiting.application)

    def chances(self, stretch: Stretch, outline: Outline) -> Chances:
        """How likely the stretch is to be asked for again."""
        return self.returns.chances(self.kind(stretch, outline), application_of(outline))

    def course(self, context: str, pace: int, application: bytes | None) -> list[Chances]:
        """For each turn of a conversation, up to the last that is told apart, how likely it is to go on."""
        application = application if self.returns.knows(application) else None
        return [
            self.returns.chances((context, "known", bisect_right(_TURNS, turn), pace, 0), application)
            for turn in range(1, _TURNS[-1] + 1)
        ]

    def outlook(self, stretch: Stretch, outline: Outline, rates: Rates) -> Outlook:
        """What a token of the stretch costs from now on.

        With a and b the chances of a return within five minutes and after them, and C the cost of a token that is not
        warm at the next request, the least of plain 1 + P', 5m w5 + F' and 1h w1 + H':
        P = a C + b C; F = a (r + F') + b C; H = a (r + H') + b (r + H'), each at the pace of that return.
        """
        if self.returns.counted > _ANEW_AFTER * self._counted + _COUNTED_BEFORE_ANEW:
            self._counted = self.returns.counted
            self._outlooks, self._of_known, self._of_known_before = {}, {}, self._of_known
        kind, application = self.kind(stretch, outline), application_of(outline)
        application = application if self.returns.knows(application) else None
        key = (kind, application, rates)
        if (outlook := self._outlooks.get(key)) is None:
            known = "static" if stretch.kind == "static" else "known"
            following = self._following(_context(outline), known, application, rates)
            turn = min(bisect_right(_TURNS, stretch.turn + 1), len(_TURNS)) - 1
            chances = self.returns.chances(kind, application)
            outlook = self._outlooks[key] = _before(following[turn], chances, rates)
        return outlook

    def _following(self, context: str, name: str, application: bytes | None, rates: Rates) -> list[_ByPace]:
        """The outlooks of such a stretch when it has come back, for each of `_TURNS` and the pace of that return."""
        key = (context, name, application, rates)
        if (told := self._of_known.get(key)) is None:
            chances = [
                [self.returns.chances((context, name, turn, pace, 0), application) for pace in (0, 1)]
                for turn in range(1, len(_TURNS) + 1)
            ]
            guess = self._of_known_before.get(key) or self._of_known.get((context, name, None, rates))
            told = self._of_known[key] = _by_turn(chances, rates, guess[-1] if guess else None)
        return told

    def has_been_dear(self, outline: Outline, stretches: Sequence[Stretch], owner: tuple[str, str | None]) -> bool:
        """Whether caching has made the conversation that the prompt goes on with dearer so far than none would have."""
        known = next((one for one in stretches if one.kind == "known"), None)
        cut = self._cuts[owner].get(outline.blocks[known.end].digest) if known else None
        return cut is not None and cut.billed > _DEAR * cut.plainly

    def sent(
        self,
        outline: Outline,
        owner: tuple[str, str | None],
        now: float,
        *,
        billed: float = 0.0,
        plainly: float = 0.0,
    ) -> None:
        """Learn from a request that was sent: which earlier prompts it extends, and from now on, when it is extended.

        `billed` is what its prompt cost, `plainly` what it would have without caching, in the same unit.
        """
        self.returns.pass_time(now)
        cuts = self._cuts.setdefault(owner, OrderedDict())
        latest = self._latest
        placed = latest is not None and latest[0] is outline and latest[1] == owner
        stretches = latest[2] if latest and placed else self.stretches(outline, owner, now)
        blocks, application = outline.blocks, application_of(outline)
        for stretch in stretches:
            cut = cuts.get(blocks[stretch.end].digest)
            while cut is not None:
                if cut.waiting is not None:
                    cut.waiting.returned(now)
                cut = cut.before
        known = next((cuts.get(blocks[one.end].digest) for one in stretches if one.kind == "known"), None)
        billed, plainly = (billed + known.billed, plainly + known.plainly) if known else (billed, plainly)
        before: _Cut | None = None
        done: set[bytes] = set()
        for stretch in stretches:
            digest = blocks[stretch.end].digest
            if digest in done:
                continue  # Prefixes of one prompt differ, but a log may say otherwise; a circle would never end.
            done.add(digest)
            cut = cuts.setdefault(digest, _Cut())
            cuts.move_to_end(digest)
            cut.before, cut.turn = before, stretch.turn
            cut.billed, cut.plainly = billed, plainly
            cut.waiting = self.returns.watch(self.kind(stretch, outline), application, now)
            before = cut
        while len(cuts) > _MOST_CUTS:
            cuts.popitem(last=False)
        self._latest = None

    def asked_elsewhere(self, owner: tuple[str, str | None], digest: bytes, at: float) -> None:
        """Another process has read the prefix at that time: it has come back, if not to us."""
        cuts = self._cuts.get(owner)
        cut = cuts.get(digest) if cuts else None
        while cut is not None:
            if cut.waiting is not None and cut.waiting.since < at:
                cut.waiting.returned(at)
            cut = cut.before

    def to_dict(self) -> dict[str, Any]:
        """What was learnt, as plain JSON: no digest is in it."""
        return {"spans": list(SPANS), "returns": self.returns.to_dict()}

    @classmethod
    def load(cls, told: Mapping[str, Any]) -> Reuse:
        """What `to_dict` told.

        Raises:
            ValueError: it was saved with other spans of waiting.
        """
        if list(told["spans"]) != list(SPANS):
            raise ValueError(f"the saved spans are {told['spans']}; this version counts {list(SPANS)}. Start anew.")
        reuse = cls()
        reuse.returns.add(told["returns"])
        return reuse


_ByPace = tuple[Outlook, Outlook]
"""Outlooks at a request that came within five minutes, and at one that came within the hour."""


def _before(following: _ByPace, chances: Chances, rates: Rates) -> Outlook:
    """The outlook at a request, given that at the next one."""
    read, soon, late = rates.read, chances.within_5m, chances.within_1h
    anew_soon, anew_late = (_anew(outlook, rates) for outlook in following)
    return Outlook(
        soon * anew_soon + late * anew_late,
        soon * (read + following[0].written_5m) + late * anew_late,
        soon * (read + following[0].written_1h) + late * (read + following[1].written_1h),
    )


def _anew(outlook: Outlook, rates: Rates) -> float:
    """What a token costs that isn't warm: the cheapest of what can be done with it."""
    cost = min(1.0 + outlook.plain, rates.write_5m + outlook.written_5m)
    return cost if rates.write_1h is None else min(cost, rates.write_1h + outlook.written_1h)


def _by_turn(chances: Sequence[Sequence[Chances]], rates: Rates, guess: _ByPace | None) -> list[_ByPace]:
    """Outlooks by turn, from the last backwards; there, a conversation goes on for ever with the same chances."""
    following = guess or (Outlook(0.0, 0.0, 0.0), Outlook(0.0, 0.0, 0.0))
    last = [_mortal(one) for one in chances[-1]]
    for _ in range(_ROUNDS):
        before = following
        following = (_before(before, last[0], rates), _before(before, last[1], rates))
        if max(map(_apart, following, before)) < _ENOUGH:
            break
    told = [following]
    for turn in range(len(_TURNS) - 2, -1, -1):
        for _ in range(_TURNS[turn + 1] - _TURNS[turn]):
            following = (_before(following, chances[turn][0], rates), _before(following, chances[turn][1], rates))
        told.append(following)
    return told[::-1]


def _apart(outlook: Outlook, other: Outlook) -> float:
    return max(abs(outlook[0] - other[0]), abs(outlook[1] - other[1]), abs(outlook[2] - other[2]))


def _mortal(chances: Chances) -> Chances:
    """No surer to come back than it can be."""
    excess = min((1.0 - _LEAST_NEVER) / max(chances.within_5m + chances.within_1h, _LEAST_NEVER), 1.0)
    return Chances(chances.within_5m * excess, chances.within_1h * excess)


def _pace(cut: _Cut | None, now: float) -> tuple[int, int]:
    """The turn of a request that comes back to this cut, and at which pace it does."""
    if cut is None or cut.waiting is None:
        return 1, 0
    return cut.turn + 1, bisect_right(_PACES, now - cut.waiting.since)


def _deepest(blocks: tuple[Block, ...], cuts: Mapping[bytes, _Cut], static: int, last: int) -> int:
    """The block, not behind `last`, up to which an earlier prompt is known to be the same; -1 if there is none."""
    for index in range(last, static, -1):
        if blocks[index].digest in cuts:
            return index
    return -1


def _is_attached(blocks: tuple[Block, ...]) -> bool:
    return any(block.kind in _MEDIA for block in blocks)


def _measured(outline: Outline, ends: list[tuple[int, str, int, int]]) -> list[Stretch]:
    stretches, before = [], -1
    unbilled = () if outline.counted else {*outline.uncounted} - {index for index, _ in outline.media}
    for end, kind, turn, pace in ends:
        tokens = outline.tokens_to(end) - outline.tokens_to(before)
        if unbilled:
            tokens += _TOKENS_OF_MEDIA * sum(before < index <= end for index in unbilled)
        stretches.append(Stretch(end, kind, turn, pace, tokens))
        before = end
    return stretches


_of_latest: tuple[tuple[Block, ...], list[int]] = ((), [])


def _static_ends(blocks: tuple[Block, ...]) -> list[int]:
    """The ends of the tools and of the system prompt. They are asked for several times for each prompt."""
    global _of_latest
    of, ends = _of_latest
    if of is not blocks:
        ends = _found_ends(blocks)
        _of_latest = blocks, ends
    return ends


def _found_ends(blocks: tuple[Block, ...]) -> list[int]:
    if not blocks or blocks[0].section == "messages":
        return []
    ends = []
    for section in ("tools", "system"):
        end = bisect_right(blocks, SECTIONS.index(section), key=_rank) - 1
        if end >= 0 and blocks[end].section == section:
            ends.append(end)
    return ends


def _rank(block: Block) -> int:
    return SECTIONS.index(block.section)


def _start_of_last_message(blocks: tuple[Block, ...], least: int) -> int:
    """The first block of the last message, or `least` if it lies before: roles alternate, so a role is a message."""
    index = len(blocks) - 1
    while index > least and blocks[index - 1].role == blocks[-1].role and blocks[index - 1].section == "messages":
        index -= 1
    return index


def _context(outline: Outline) -> str:
    if outline.volatile_from is not None:
        return "documents"
    return outline.blocks[0].section if outline.blocks else "messages"


def application_of(outline: Outline) -> bytes | None:
    """What tells one use of a process from another: its tools and system prompt."""
    ends = _static_ends(outline.blocks)
    return outline.blocks[ends[-1]].digest if ends else None


def shipped_belief(kind: Kind) -> Hazards:
    """What the package believes of a kind of stretch before it has seen any."""
    belief = _shipped()[0]
    return belief.get(kind) or belief.get(kind[:2]) or belief[()]


def shipped_tempos() -> Sequence[Belief]:
    """What it believes of those who may be at work: people who go on at once, slower ones, and agents by themselves.

    People were watched where they ask about retrieved documents. They are as quick, or as slow, where an agent looks
    things up for them; but agents were watched at coding only, where hours of work go on by themselves. These count
    twice: they are as likely as people of either tempo.
    """
    return [*(partial(_of_people, tempo) for tempo in _shipped()[1:]), _of_agents, _of_agents]


def _of_people(tempo: Mapping[Kind, Hazards], kind: Kind) -> Hazards | None:
    return _told_of(tempo, ("documents", *kind[1:]) if kind[:1] == ("tools",) else kind)


def _of_agents(kind: Kind) -> Hazards | None:
    return shipped_belief(kind) if kind[:1] == ("tools",) else None


def _told_of(belief: Mapping[Kind, Hazards], kind: Kind) -> Hazards | None:
    return belief.get(kind) or belief.get(kind[:2])


@cache
def _shipped() -> Sequence[Mapping[Kind, Hazards]]:
    told = orjson.loads(files("pointsman").joinpath("data/reuse.json").read_bytes())
    return [{tuple(kind): tuple(hazards) for kind, hazards in belief} for belief in (told["belief"], *told["tempos"])]
