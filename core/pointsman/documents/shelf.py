"""The documents that stay in a conversation, by the turn that they were laid in; and which shelf a prompt goes on from.

Shelves are values: a turn makes a new one from that before it, so that edited and regenerated turns fork. Knows keys
and turns; knows no text of a document, and decides nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from pointsman.documents.turns import Turn

_MOST_SHELVES = 256


class Kept(NamedTuple):
    """A document that stays: the number that the prompt calls it by, and the key of its text.

    `again`: a turn of an agent only named it, since it stays in an earlier one. `behind`: it came up late in an
    agent's turn, and stands at the end of the message that is so many behind the first of that turn; None in front of
    the first.
    """

    number: int
    key: bytes
    again: bool = False
    behind: int | None = None


class Seen(NamedTuple):
    """How many turns retrieved a document, and which one did last."""

    times: int
    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What a conversation holds after one of its turns.

    `head` names tools and system prompt without the documents, `before` the turn before this one, `opening` the user's
    message of this one as the caller wrote it, and `said` its texts. `kept` are the documents that stay, for each turn
    of the prompt; `loose` those that were laid for this turn only. `turn` counts from 0. `ttl` is that of the last
    cache point when it was sent, at the time `at`; `application` names the system prompt as it was sent.
    """

    head: bytes
    before: bytes
    opening: bytes
    said: str
    turn: int
    kept: tuple[tuple[Kept, ...], ...]
    loose: frozenset[bytes]
    seen: Mapping[bytes, Seen] = field(hash=False)
    next_number: int
    at: float = 0.0
    ttl: str | None = None
    application: bytes | None = None

    def kept_in(self, turns: int, own: int) -> list[tuple[Kept, ...]]:
        """The documents that stay in each of so many turns, given that the turn `own` of them is this shelf's."""
        shift = len(self.kept) - 1 - own
        return [self.kept[index + shift] if 0 <= index + shift < len(self.kept) else () for index in range(turns)]

    def to_dict(self, number_of: Mapping[bytes, int]) -> dict[str, Any]:
        """Plain JSON, documents by these numbers; `application` is left out, since its key is this process's own."""
        return {
            **{name: getattr(self, name).hex() for name in _DIGESTS},
            **{name: getattr(self, name) for name in _AS_THEY_ARE},
            "kept": [
                [[one.number, number_of[one.key], one.again, one.behind] for one in turn if one.key in number_of]
                for turn in self.kept
            ],
            "loose": sorted(number_of[key] for key in self.loose if key in number_of),
            "seen": [[number_of[key], seen.times, seen.turn] for key, seen in self.seen.items() if key in number_of],
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], keys: Sequence[bytes]) -> Shelf:
        """What `to_dict` told, its numbers being indices of these keys."""
        plain: dict[str, Any] = {name: bytes.fromhex(told[name]) for name in _DIGESTS}
        plain |= {name: told[name] for name in _AS_THEY_ARE}
        return cls(
            **plain,
            kept=tuple(
                tuple(Kept(number, keys[key], again, behind) for number, key, again, behind in turn)
                for turn in told["kept"]
            ),
            loose=frozenset(keys[key] for key in told["loose"]),
            seen={keys[key]: Seen(times, turn) for key, times, turn in told["seen"]},
        )


_DIGESTS = ("head", "before", "opening")
_AS_THEY_ARE = ("said", "turn", "next_number", "at", "ttl")


class Shelves:
    """The shelves of one session. Not thread-safe; bounded, the longest unused goes first."""

    def __init__(self) -> None:
        self._shelves: OrderedDict[tuple[bytes, bytes, bytes], Shelf] = OrderedDict()
        self._after: dict[tuple[bytes, bytes], list[Shelf]] = {}

    def __len__(self) -> int:
        return len(self._shelves)

    def hold(self, head: bytes) -> bool:
        """Whether a prompt with these tools and this system prompt was laid."""
        return any(shelf.head == head for shelf in self._shelves.values())

    def of_turn(self, head: bytes, turns: Sequence[Turn]) -> Shelf | None:
        """The shelf of the very turn that the prompt ends with: it is sent again, or its tool loop goes on."""
        return self._shelves.get((head, _before(turns, len(turns) - 1), turns[-1].opening))

    def extended(self, head: bytes, turns: Sequence[Turn]) -> tuple[Shelf, int] | None:
        """The latest shelf that the prompt goes on from, and which of its turns that is.

        A turn is recognised by the one before it, word for word, and by what the user said: as history holds it, that
        is a part of what a template once made of it. So a history that lost its beginning is recognised too. Of several
        that it may have been made of it, the one with the fewest other words is it: an edited question often holds the
        first one.
        """
        for index in range(len(turns) - 2, -1, -1):
            turn = turns[index]
            after = reversed(self._after.get((head, _before(turns, index)), ()))
            besides = [(count, shelf) for shelf in after if (count := turn.besides(shelf.said)) is not None]
            if besides:
                return min(besides, key=itemgetter(0))[1], index
        return None

    def latest(self) -> list[Shelf]:
        """The last shelf of each conversation."""
        return list({shelf.head: shelf for shelf in self._shelves.values()}.values())

    def add(self, shelf: Shelf) -> None:
        """Keep a shelf, instead of an earlier one of the same turn."""
        key = (shelf.head, shelf.before, shelf.opening)
        self._forget(key)
        self._shelves[key] = shelf
        self._after.setdefault(key[:2], []).append(shelf)
        while len(self._shelves) > _MOST_SHELVES:
            self._forget(next(iter(self._shelves)))

    def _forget(self, key: tuple[bytes, bytes, bytes]) -> None:
        if (shelf := self._shelves.pop(key, None)) is not None:
            siblings = self._after[key[:2]]
            siblings.remove(shelf)
            if not siblings:
                del self._after[key[:2]]


def _before(turns: Sequence[Turn], index: int) -> bytes:
    return turns[index - 1].digest if index else b""
