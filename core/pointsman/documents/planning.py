"""Which documents of one prompt stay, which are laid for its question only, and which are named instead of repeated.

Knows passages, shelves and what documents are worth; the wording and the request's shape are left to `laying.py`, what
a session holds to `stock.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pointsman.documents.economy import Economy, is_cold, tokens_of
from pointsman.documents.laying import (
    Layout,
    Stay,
    for_this_question,
    given_above,
    laid,
    name_of,
    without_documents,
)
from pointsman.documents.lift import Passage, Place, Replacement, replaced
from pointsman.documents.recurrence import MOST_AGO, Standing
from pointsman.documents.shelf import Kept, Seen, Shelf, Shelves
from pointsman.documents.turns import Turn, head_digest, plain_bytes, texts_of, turns_of
from pointsman.documents.worth import Worth
from pointsman.prompt import Prompt

_PACE_SECONDS = 300.0
# Of a token's price: what is expected of few observations is less sure than it looks. Chosen on the first half of
# MTRAG's conversations (benchmarks/documents.md).
_LEAST_GAIN = 0.1


class Held(NamedTuple):
    """A text that a session holds. `current` is False for one that a newer version of its document has replaced."""

    text: str
    knowledge_base: str | None
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of the documents of one request, in numbers of documents.

    `stay` are laid where they stay, `anew` of them in this turn, and `resent` without having been retrieved for it;
    `loose` are laid for this question only; `named` are copies that became a reference; `cut` are those no longer
    allowed, or too old, or dropped since the cache was cold. `not_found` are the ids of documents that were registered,
    but whose text no request has held verbatim so far: a template changed it. `as_written` says why nothing was laid.
    """

    stay: int = 0
    anew: int = 0
    resent: int = 0
    loose: int = 0
    named: int = 0
    cut: int = 0
    not_found: tuple[str, ...] = ()
    as_written: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"not_found": list(self.not_found)}


class Learnt(NamedTuple):
    """Whether a passage was retrieved again at the turn after."""

    knowledge_base: str | None
    standing: Standing
    returned: bool


class Plan(NamedTuple):
    """A prompt with its documents laid, and what the session keeps of it once it is answered."""

    prompt: Prompt
    shelf: Shelf
    told: Told
    learnt: tuple[Learnt, ...] = ()


def plan(
    prompt: Prompt,
    passages: Sequence[Passage],
    held: Mapping[bytes, Held],
    shelves: Shelves,
    *,
    economy: Economy,
    allowed: Callable[[Iterable[bytes]], frozenset[bytes]],
    now: float,
) -> Plan | None:
    """Lay the documents of a prompt; None if it has no turn that they could be laid in.

    `passages` are all that was found of the texts in `held`. `allowed` tells which of these keys may be sent again
    without having been retrieved again.
    """
    turns = turns_of(prompt)
    return _Planning(prompt, turns, passages, held, shelves, economy, now).plan(allowed) if turns else None


class _Planning:
    """One prompt's plan, step by step."""

    def __init__(
        self,
        prompt: Prompt,
        turns: Sequence[Turn],
        passages: Sequence[Passage],
        held: Mapping[bytes, Held],
        shelves: Shelves,
        economy: Economy,
        now: float,
    ) -> None:
        self._prompt, self._turns, self._held, self._economy, self._now = prompt, turns, held, economy, now
        self._start = turns[-1].start
        self._found: dict[bytes, list[Passage]] = {}
        for passage in passages:
            self._found.setdefault(passage.key, []).append(passage)
        in_system = [passage for passage in passages if passage.place[0] == "system" and not _is_guarded(passage)]
        # Who keeps whole messages, documents included, sends them again as they are. Where documents stand in the
        # system prompt, those in earlier messages are what a user has quoted.
        self._history_keeps = not in_system and any(map(self._is_in_history, passages))
        # Without caching, nothing is gained by moving anything.
        self._moves = economy.caches
        self._system = without_documents(prompt.request, in_system) if self._moves else {}
        system = replaced(prompt.request, self._system).get("system") or ()
        self._system_size, head = len(plain_bytes(system)), head_digest(prompt, system)
        self._turns = turns = [turn._replace(said=self._said_in(turn)) for turn in turns]
        self._same = shelves.of_turn(head, turns)
        before = None if self._same else shelves.extended(head, turns)
        self._base: Shelf | None
        self._base, own = (self._same, len(turns) - 1) if self._same else before or (None, -1)
        none: tuple[Kept, ...] = ()
        self._kept = self._still_there(self._base.kept_in(len(turns), own)) if self._base else [none] * len(turns)
        self._turn = 0 if self._base is None else self._base.turn + len(turns) - 1 - own
        self._head = head
        self._loops = bool(prompt.tools) and (
            len(turns) == 1 or any(map(_calls_a_tool, prompt.messages[: self._start]))
        )
        """Whether the model may be expected to call tools: it did so before, or nothing was asked before."""
        self._cut = 0

    def plan(self, allowed: Callable[[Iterable[bytes]], frozenset[bytes]]) -> Plan:
        """All steps."""
        self._leave_out(self._not_allowed(allowed) | self._not_worth_writing_again() | self._not_fitting())
        standing = self._standing()
        new = self._new(standing)
        stay = {kept.key: kept.number for kept in (*_all(self._kept), *new)}
        self._kept[-1] = (*self._kept[-1], *new, *self._named_again(stay, new))
        loose = [key for key in self._found if key not in stay and key not in standing]
        layout = self._layout(stay, standing, loose)
        shelf = self._shelf(stay, loose)
        told = Told(
            stay=len(stay),
            anew=len(new),
            resent=len(stay.keys() - self._found.keys()),
            loose=len(loose) + sum(self._is_loose(passage) for passage in standing.values()),
            named=sum(len(places) for places in layout.instead.values()) - sum(map(len, self._system.values())),
            cut=self._cut,
        )
        return Plan(laid(self._prompt, layout, volatile=self._is_volatile()), shelf, told, self._learnt())

    def _still_there(self, kept: Sequence[tuple[Kept, ...]]) -> list[tuple[Kept, ...]]:
        """What can stay though the history may have lost messages: what came up in a loop needs its place in that, and
        a name its document."""
        messages = self._prompt.messages
        ends = [*(turn.start for turn in self._turns[1:]), len(messages)]
        there = []
        for turn, end, of_turn in zip(self._turns, ends, kept, strict=True):
            users = {at - turn.start for at in range(turn.start, end) if messages[at]["role"] == "user"}
            there.append([one for one in of_turn if one.behind is None or one.behind in users])
        staying = {one.key for one in _all(there)}
        return [tuple(one for one in of_turn if one.key in staying) for of_turn in there]

    def _not_allowed(self, allowed: Callable[[Iterable[bytes]], frozenset[bytes]]) -> frozenset[bytes]:
        """Those that stay, though they were not retrieved for this prompt, and may not be sent again."""
        resent = [kept.key for kept in _all(self._kept) if kept.key not in self._found]
        return frozenset(resent) - allowed(resent) if resent else frozenset()

    def _not_worth_writing_again(self) -> frozenset[bytes]:
        """Those that a prompt which has gone cold is better off without."""
        base = self._base
        if base is None or self._same or not is_cold(base.at, base.ttl, self._now):
            return frozenset()
        return frozenset(kept.key for kept in _all(self._kept) if not self._still_pays(base, kept.key))

    def _not_fitting(self) -> frozenset[bytes]:
        """Those that were not retrieved for this prompt, if it might be too long with them."""
        resent = frozenset(kept.key for kept in _all(self._kept) if kept.key not in self._found)
        size = sum(len(self._held[key].text.encode()) for key in resent if key in self._held)
        return frozenset() if self._economy.fits(self._bytes() + size) else resent

    def _still_pays(self, base: Shelf, key: bytes) -> bool:
        held, seen, found = self._held.get(key), base.seen.get(key), key in self._found
        if held is None or seen is None or not held.current or base.ttl is None:
            return False
        ago = 0 if found else self._turn - seen.turn
        return any(worth.still_pays(seen.times + found, ago, self._turn) for worth in self._worths(held))

    def _leave_out(self, keys: frozenset[bytes]) -> None:
        gone = keys | {kept.key for kept in _all(self._kept) if kept.key not in self._held}
        self._cut = len(gone)
        if gone:
            self._kept = [tuple(kept for kept in turn if kept.key not in gone) for turn in self._kept]

    def _standing(self) -> dict[bytes, Passage]:
        """Where texts stand, and are left: in the history as the caller holds it, in tool results, under guard.

        In the current turn too, as long as nothing says that they stay.
        """
        staying = {kept.key for kept in _all(self._kept)}
        standing: dict[bytes, Passage] = {}
        for key, passages in self._found.items():
            guarded = [passage for passage in passages if _is_guarded(passage)]
            in_messages = [passage for passage in passages if passage.place[0] == "messages"]
            if guarded or (in_messages and key not in staying and not self._was_laid_loose(key)):
                standing[key] = (guarded or in_messages)[0]
        return standing

    def _was_laid_loose(self, key: bytes) -> bool:
        """Whether an earlier request of this turn laid it for the question, and this one has it for that too."""
        return self._same is not None and key in self._same.loose and any(map(_is_in_system, self._found[key]))

    def _new(self, standing: dict[bytes, Passage]) -> list[Kept]:
        """Those that stay from this turn on; they are taken out of `standing`."""
        staying = {kept.key for kept in _all(self._kept)}
        movable = [
            key
            for key in self._found
            if key not in staying and (key not in standing or self._is_loose(standing[key])) and self._may_stay(key)
        ]
        gains = {key: self._gain(key) for key in movable}
        number = self._base.next_number if self._base else 1
        new: list[Kept] = []
        for key in self._within_budget([key for key in movable if gains[key] > _LEAST_GAIN], gains):
            standing.pop(key, None)
            behind = len(self._prompt.messages) - 1 - self._start if self._is_late(key) else None
            new.append(Kept(number + len(new), key, behind=behind))
        return new

    def _may_stay(self, key: bytes) -> bool:
        """Nothing stays that isn't cached then, or that the history holds anyway.

        What a turn has laid is laid so again: only what comes up late is new in it.
        """
        if not self._economy.caches or self._history_keeps or self._went_uncached():
            return False
        return self._same is None or self._is_late(key)

    def _is_late(self, key: bytes) -> bool:
        """Whether it came up late in an agent's turn, so that it must stand behind what that turn has sent before."""
        if self._same is None or not (self._prompt.tools and self._prompt.messages[-1]["role"] == "user"):
            return False
        return key not in self._same.loose and self._only_in_system(key)

    def _went_uncached(self) -> bool:
        """Whether the last prompt got no cache point, though it was long enough: a short one tells nothing."""
        base = self._base
        return base is not None and base.ttl is None and self._economy.is_cached(self._bytes_before())

    def _gain(self, key: bytes) -> float:
        if self._loops:
            return 1.0  # Each call of a tool loop reads it, and what follows it would be lost with it at the next turn.
        base = self._base
        seen = base.seen.get(key) if base else None
        ttl = None if base is None or is_cold(base.at, base.ttl, self._now) else base.ttl
        times = (seen.times if seen else 0) + 1
        return max(worth.gain(times, self._turn) for worth in self._worths(self._held[key], ttl))

    def _worths(self, held: Held, ttl: str | None = None) -> list[Worth]:
        application = self._base.application if self._base else None
        return self._economy.worths(held.knowledge_base, pace=self._pace(), application=application, ttl=ttl)

    def _within_budget(self, keys: Sequence[bytes], gains: Mapping[bytes, float]) -> list[bytes]:
        """As many as the models' windows have room for, if a prefix with them is long enough to be cached."""
        sizes = {key: len(self._held[key].text.encode()) for key in keys}
        staying = sum(len(self._held[kept.key].text.encode()) for kept in _all(self._kept))
        if not self._economy.is_cached(self._bytes_before() + staying + sum(sizes.values())):
            return []
        if not self._economy.fits(self._bytes()):
            return []  # The next prompt would have no room for what it doesn't hold itself.
        within, taken = set(), staying
        for key in sorted(keys, key=lambda key: -gains[key]):
            if self._economy.budget is None or tokens_of(taken + sizes[key]) <= self._economy.budget:
                within.add(key)
                taken += sizes[key]
        return [key for key in keys if key in within]

    def _bytes(self) -> int:
        """Of the whole prompt as it was written."""
        prompt = self._prompt
        return sum(map(len, map(plain_bytes, (prompt.tools, prompt.system)))) + sum(turn.size for turn in self._turns)

    def _bytes_before(self) -> int:
        """Of the tools, the system prompt and the messages before this turn."""
        return len(plain_bytes(self._prompt.tools)) + self._system_size + sum(turn.size for turn in self._turns[:-1])

    def _layout(self, stay: Mapping[bytes, int], standing: Mapping[bytes, Passage], loose: Sequence[bytes]) -> Layout:
        instead: dict[Place, list[Replacement]] = {place: list(marks) for place, marks in self._system.items()}
        for key, passages in self._found.items():
            reference = name_of(stay[key]) if key in stay else given_above(self._held[key].text)
            for passage in passages:
                if passage.place[0] != "system" and passage is not standing.get(key) and not _is_guarded(passage):
                    instead.setdefault(passage.place, []).append((passage.start, passage.end, reference))
        stays: dict[int, list[Stay]] = {turn.start: [] for turn in self._turns}
        behind: dict[int, list[Stay]] = {}
        for turn, kept in zip(self._turns, self._kept, strict=True):
            for one in _all([kept]):
                stay_here = Stay(one.number, self._held[one.key].text)
                if one.behind is None:
                    stays[turn.start].append(stay_here)
                else:
                    behind.setdefault(turn.start + one.behind, []).append(stay_here)
        named = {
            turn.start: [one.number for one in kept if one.again]
            for turn, kept in zip(self._turns, self._kept, strict=True)
        }
        if not self._moves:
            return Layout(self._start, instead, {}, {})
        late = [key for key in loose if self._is_late(key)]
        now = [self._held[key].text for key in loose if key not in late]
        after = for_this_question((), [self._held[key].text for key in late])
        above = [] if self._loops else self._above(stay, self._kept[-1])
        return Layout(self._start, instead, stays, named, for_this_question(above, now), after, behind)

    def _above(self, stay: Mapping[bytes, int], here: Sequence[Kept]) -> list[int]:
        """Numbers of the documents for this question that stay in earlier turns, and that no reference tells of."""
        laid_here = {kept.key for kept in here}
        return [stay[key] for key in self._found if key in stay and key not in laid_here and self._only_in_system(key)]

    def _named_again(self, stay: Mapping[bytes, int], new: Sequence[Kept]) -> list[Kept]:
        """What an agent's turn names of earlier ones stands in it as long as what its loop adds behind it."""
        if not self._loops or self._same:
            return []
        keys = {number: key for key, number in stay.items()}
        return [Kept(number, keys[number], again=True) for number in self._above(stay, new)]

    def _shelf(self, stay: Mapping[bytes, int], loose: Iterable[bytes]) -> Shelf:
        turns, base = self._turns, self._base
        seen = dict(base.seen) if base else {}
        for key in self._retrieved():
            before = seen.get(key)
            if before is None or before.turn != self._turn:
                seen[key] = Seen((before.times if before else 0) + 1, self._turn)
        return Shelf(
            head=self._head,
            before=turns[-2].digest if len(turns) > 1 else b"",
            opening=turns[-1].opening,
            said="\n".join(turns[-1].said),
            turn=self._turn,
            kept=tuple(self._kept),
            loose=(self._same.loose if self._same else frozenset()).union(loose),
            seen=seen,
            next_number=max([base.next_number if base else 1, *(number + 1 for number in stay.values())]),
        )

    def _said_in(self, turn: Turn) -> tuple[str, ...]:
        """What the user said in a turn, and what a template put around it, without the documents."""
        without: dict[Place, list[Replacement]] = {}
        for passages in self._found.values():
            for passage in passages:
                if passage.place[:2] == ("messages", turn.start):
                    without.setdefault(passage.place, []).append((passage.start, passage.end, ""))
        if not without:
            return turn.said
        return tuple(texts_of(replaced(self._prompt.request, without)["messages"][turn.start]))

    def _learnt(self) -> tuple[Learnt, ...]:
        """What this turn's retrieval tells of the passages before it."""
        base = self._base
        if base is None or self._same or base.turn != self._turn - 1:
            return ()
        retrieved = self._retrieved()
        return tuple(
            Learnt(
                self._held[key].knowledge_base,
                Standing.at(seen.times, base.turn - seen.turn, base.turn),
                key in retrieved,
            )
            for key, seen in base.seen.items()
            if key in self._held and base.turn - seen.turn <= MOST_AGO
        )

    def _retrieved(self) -> set[bytes]:
        """The documents that stand in this prompt for its question, and not in what an agent's tools returned."""
        return {key for key, passages in self._found.items() if any(map(self._is_for_question, passages))}

    def _is_for_question(self, passage: Passage) -> bool:
        in_message = passage.place[:2] == ("messages", self._start) and "toolResult" not in passage.place
        return in_message or passage.place[0] == "system"

    def _is_loose(self, passage: Passage) -> bool:
        """Whether it stands in what the user's message of this turn was made of, so that the next prompt has it not."""
        return self._is_for_question(passage) and not _is_guarded(passage)

    def _is_in_history(self, passage: Passage) -> bool:
        """Whether it stands in what the user's message of an earlier turn was made of."""
        in_messages = passage.place[0] == "messages" and "toolResult" not in passage.place
        return in_messages and int(passage.place[1]) < self._start

    def _only_in_system(self, key: bytes) -> bool:
        return all(map(_is_in_system, self._found[key]))

    def _is_in_loop(self) -> bool:
        return len(self._prompt.messages) - 1 > self._start

    def _is_volatile(self) -> bool:
        """Whether nothing comes back of what stands behind the documents that stay: a tool loop comes back to all."""
        return self._moves and not (self._loops or self._is_in_loop() or self._history_keeps)

    def _pace(self) -> int:
        return int(self._base is not None and self._now - self._base.at > _PACE_SECONDS)


def is_once_each(passages: Iterable[Passage], keys: Iterable[bytes]) -> bool:
    """Whether each of these texts stands exactly once."""
    times = Counter(passage.key for passage in passages)
    return all(times[key] == 1 for key in keys)


def _is_in_system(passage: Passage) -> bool:
    return passage.place[0] == "system"


def _calls_a_tool(message: Mapping[str, Any]) -> bool:
    return message["role"] == "assistant" and any("toolUse" in block for block in message["content"])


def _is_guarded(passage: Passage) -> bool:
    return "guardContent" in passage.place


def _all(kept: Iterable[Iterable[Kept]]) -> list[Kept]:
    return [one for turn in kept for one in turn if not one.again]
