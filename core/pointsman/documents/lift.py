"""Finds texts that a retriever returned in a Converse request, verbatim, wherever a template put them; and cuts them.

Knows the shape of a request and bytes; knows nothing of sessions, and doesn't decide where a document goes.

A request is read in windows of 24 bytes, one at every eighth byte. A text is known by 8 windows of it that begin one
byte apart: wherever it stands, exactly one of them is read, and only where one is read is the text compared.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Place = tuple[str | int, ...]
"""The path of a string in a request, such as `("messages", 3, "content", 1, "text")`."""
Replacement = tuple[int, int, str]
"""From one character of a string to another, and what stands there instead."""
LEAST_BYTES = 48
"""Texts that are shorter, without the white space around them, are never found: they could be anybody's words."""

_WINDOW, _STEP = 24, 8
# No byte of UTF-8, so that nothing is found across two strings.
_SEPARATOR = b"\xff"
# Odd and without a pattern: primes of xxHash. The table of 2 ** 18 stays in the L2 cache.
_MULTIPLIERS = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
_TABLE_BITS = 18
# Read in pieces, whose arrays stay in the cache as well; larger ones cost more to allocate than to fill.
_PIECE = 1 << 16
# Where else than in its middle a text's windows may be, in eighths; beginnings and ends come last, being often shared.
_SPOTS = (3, 5, 2, 6, 1, 7, 0, 8)
_FEW_DIFFERENT_BYTES = 8
_MOST_SPOTS = 16


class Passage(NamedTuple):
    """Where a registered text stands, from one character of a string to another; `escaped`: as within a JSON string."""

    key: bytes
    place: Place
    start: int
    end: int
    escaped: bool


class Texts:
    """The texts to look for, by their keys. Grows and shrinks; `find` only reads. Not thread-safe."""

    def __init__(self) -> None:
        self._forms: dict[bytes, list[_Form]] = {}
        self._windows: dict[bytes, list[tuple[_Form, int]]] = {}

    def __len__(self) -> int:
        return len(self._forms)

    def __contains__(self, key: object) -> bool:
        return key in self._forms

    def add(self, key: bytes, text: str) -> None:
        """Look for this text from now on; it takes the place of another that had the key."""
        text = text.strip()
        data = _encoded(text)
        if (known := self._forms.get(key)) and known[0].data == data:
            return
        self.remove(key)
        self._forms[key] = forms = []
        if len(data) < LEAST_BYTES:
            return
        forms.append(self._indexed(key, data, escaped=False))
        for ascii_only in {True, text.isascii()}:
            escaped = _encoded(json.dumps(text, ensure_ascii=ascii_only)[1:-1])
            if escaped != data:
                forms.append(self._indexed(key, escaped, escaped=True))

    def remove(self, key: bytes) -> None:
        """Look for it no more; nothing happens if it isn't there."""
        for form in self._forms.pop(key, ()):
            for offset, window in _windows(form.data, form.offset):
                if len(entries := self._windows[window]) > 1:
                    entries.remove((form, offset))
                else:
                    del self._windows[window]

    def find(self, request: Mapping[str, Any]) -> list[Passage]:
        """Every passage of a registered text, in the order of the request; no two overlap.

        Of those that do, the longest in bytes is found, then the first; of one text under two keys, the lesser key.
        Assistant messages, tools, `document` and `searchResult` blocks are not looked into.
        """
        searched = _Searched(request)
        if not self._windows or len(searched.data) < LEAST_BYTES:
            return []
        return searched.passages(_longest(self._matches(searched), len(searched.data)))

    def _indexed(self, key: bytes, data: bytes, *, escaped: bool) -> _Form:
        form = _Form(escaped, key, data, self._telling_offset(data))
        for offset, window in _windows(data, form.offset):
            self._windows.setdefault(window, []).append((form, offset))
        return form

    def _telling_offset(self, data: bytes) -> int:
        """Where windows begin that, if possible, no other text is known by.

        Else texts that share most of their words would all be compared at the places of each.
        """
        spots = [_unlike_the_rest(data)]
        for at in spots:
            if (shared := self._shared(data, at)) is None:
                return at
            if len(spots) < _MOST_SPOTS:
                spots += {_around(data, byte) for byte in _partings(data, *shared)}.difference(spots)
        return spots[-1]

    def _shared(self, data: bytes, offset: int) -> tuple[int, _Form, int] | None:
        """The first of the windows that another text is known by: its offset, that text, its offset there."""
        known = ((own, *self._windows[one][0]) for own, one in _windows(data, offset) if one in self._windows)
        return next(known, None)

    def _matches(self, searched: _Searched) -> Iterator[tuple[int, _Form]]:
        """Where in the data which text stands, overlapping ones too."""
        data, known = searched.data, self._windows.get
        for position in _positions_of(self._windows, data):
            for form, offset in known(data[position : position + _WINDOW], ()):
                start = position - offset
                if start >= 0 and data.startswith(form.data, start) and searched.may_hold(form, start):
                    yield start, form


def replaced(request: Mapping[str, Any], replacements: Mapping[Place, Sequence[Replacement]]) -> dict[str, Any]:
    """The request with other text in some places; those in one string must not overlap.

    A new request, which shares with the old one everything that isn't on the path to a change.
    """
    changed = dict(request)
    copies: dict[Place, Any] = {(): changed}
    for place, pieces in replacements.items():
        for depth, step in enumerate(place[:-1]):
            path = place[: depth + 1]
            if path not in copies:
                value = copies[place[:depth]][step]
                copies[path] = copies[place[:depth]][step] = dict(value) if isinstance(value, Mapping) else list(value)
        holder, name = copies[place[:-1]], place[-1]
        text, pieces = holder[name], sorted(pieces)
        ends = [0, *(end for _, end, _ in pieces)]
        parts = [text[before:start] + instead for before, (start, _, instead) in zip(ends, pieces, strict=False)]
        holder[name] = "".join([*parts, text[ends[-1] :]])
    return changed


class _Form(NamedTuple):
    """A text as it may stand in a request, and where in it the windows begin that it is known by."""

    escaped: bool
    key: bytes
    data: bytes
    offset: int


class _Searched:
    """The strings of a request that are looked into, as one run of bytes."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._strings = list(_strings(request))
        encoded = [_encoded(text) for _, text in self._strings]
        self._starts = list(accumulate([len(data) + 1 for data in encoded], initial=0))
        self.data = _SEPARATOR.join(encoded)

    def may_hold(self, form: _Form, position: int) -> bool:
        """Whether the byte at this position is a tool's, or the text isn't escaped."""
        return not form.escaped or "toolResult" in self._strings[bisect_right(self._starts, position) - 1][0][4:5]

    def passages(self, matches: Iterable[tuple[int, _Form]]) -> list[Passage]:
        """The matches, given in order, in characters of their strings."""
        import numpy as np

        # As signed numbers, the bytes within a character are those below -64.
        begins_character = np.frombuffer(self.data, np.int8) >= -64
        found: list[Passage] = []
        last, byte, character = -1, 0, 0
        for start, form in matches:
            if (index := bisect_right(self._starts, start) - 1) != last:
                last, byte, character = index, self._starts[index], 0
            first = character + int(np.count_nonzero(begins_character[byte:start]))
            byte = start + len(form.data)
            character = first + int(np.count_nonzero(begins_character[start:byte]))
            found.append(Passage(form.key, self._strings[index][0], first, character, form.escaped))
        return found


def _strings(request: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for index, block in enumerate(request.get("system") or ()):
        if "text" in block:
            yield ("system", index, "text"), block["text"]
    for number, message in enumerate(request.get("messages") or ()):
        if message["role"] == "assistant":
            continue
        for index, block in enumerate(message["content"]):
            place: Place = ("messages", number, "content", index)
            if "text" in block:
                yield (*place, "text"), block["text"]
            elif "toolResult" in block:
                content = block["toolResult"]["content"]
                texts = [{name: inner[name] for name in ("text", "json") if name in inner} for inner in content]
                yield from _strings_within((*place, "toolResult", "content"), texts)
            elif "guardContent" in block and "text" in block["guardContent"]:
                yield (*place, "guardContent", "text", "text"), block["guardContent"]["text"]["text"]


def _strings_within(place: Place, value: object) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping | list | tuple):
        for step, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _strings_within((*place, step), inner)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _windows(data: bytes, offset: int) -> list[tuple[int, bytes]]:
    """The windows that begin at this offset and those behind it, of which any request that holds the text shows one."""
    return [(at, data[at : at + _WINDOW]) for at in range(offset, offset + _STEP)]


def _around(data: bytes, byte: int) -> int:
    """Where windows begin that have this byte in their middle, as far as there is room."""
    return min(max(byte - _WINDOW // 2, 0), len(data) - _WINDOW - _STEP + 1)


def _unlike_the_rest(data: bytes) -> int:
    """Where windows begin that stand in the text once, and aren't a rule or an indentation."""
    # An escape, where there is one, tells the text within JSON from the plain one.
    middle = max(len(data) // 2, data.find(b"\\", len(data) // 2))
    spots = [_around(data, byte) for byte in (middle, *(len(data) * eighths // 8 for eighths in _SPOTS))]
    for at in spots:
        held_by_all = data[at + _STEP : at + _WINDOW]
        if len(set(held_by_all)) >= _FEW_DIFFERENT_BYTES and data.count(held_by_all) == 1:
            return at
    return spots[0]


def _partings(data: bytes, offset: int, form: _Form, others_offset: int) -> list[int]:
    """The nearest bytes, before and behind, at which a text parts from another that it agrees with at these offsets."""
    before = offset - 1 - _agreeing(data[:offset][::-1], form.data[:others_offset][::-1])
    behind = offset + _agreeing(data[offset:], form.data[others_offset:])
    return [byte for byte in (before, behind) if 0 <= byte < len(data)]


def _agreeing(one: bytes, other: bytes) -> int:
    """How many bytes two texts have in common at their beginnings."""
    shorter = range(min(len(one), len(other)))
    return bisect_left(shorter, True, key=lambda last: one[: last + 1] != other[: last + 1])


def _positions_of(windows: Iterable[bytes], data: bytes) -> list[int]:
    """Where in the data, at every eighth byte, one of the windows may stand."""
    import numpy as np

    table = np.zeros(1 << _TABLE_BITS, bool)
    table[_hashes(b"".join(windows))[:: _WINDOW // _STEP]] = True
    positions: list[int] = []
    for begin in range(0, len(data) - _WINDOW + 1, _PIECE):
        hashes = _hashes(data[begin : begin + _PIECE + _WINDOW - _STEP])
        positions += (np.flatnonzero(table[hashes]) * _STEP + begin).tolist()
    return positions


def _hashes(data: bytes) -> NDArray[np.int64]:
    """A hash of the window at every eighth byte."""
    import numpy as np

    words = np.frombuffer(data, "<u8", len(data) // _STEP)
    first, second, third = map(np.uint64, _MULTIPLIERS)
    mixed = words[:-2] * first
    mixed += words[1:-1] * second
    mixed += words[2:] * third
    mixed >>= np.uint64(64 - _TABLE_BITS)
    return mixed.view(np.int64)


def _longest(matches: Iterable[tuple[int, _Form]], size: int) -> list[tuple[int, _Form]]:
    """Of matches that overlap the longest, in order."""
    taken = bytearray(size)
    chosen: list[tuple[int, _Form]] = []
    for start, form in sorted(matches, key=lambda match: (-len(match[1].data), *match)):
        # What was taken before is at least as long, so that it covers one of the ends if it overlaps.
        if not taken[start] and not taken[start + len(form.data) - 1]:
            taken[start : start + len(form.data)] = b"\x01" * len(form.data)
            chosen.append((start, form))
    return sorted(chosen)
