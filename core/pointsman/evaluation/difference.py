"""What is different in two blocks of requests: from which byte on, in which field, and what class of thing it is.

Knows the shape of a block and texts; knows no prompt, no model and no cache. Texts are told only where asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pointsman.cache.misses import A_TIMESTAMP, AN_ID
from pointsman.cache.volatile import looks_volatile
from pointsman.outline import plain

A_CHANGED_SCHEMA: Final = "a changed schema"
A_CHANGED_DESCRIPTION: Final = "a changed description"
KEY_ORDER: Final = "another order of keys"
WORD_ORDER: Final = "the same words in another order"
WHITESPACE: Final = "whitespace"
A_COUNTER: Final = "a number"
# By the blocks that hold bytes: a hash stands for those here, so that nothing can be told of what differs in them.
OTHER_BYTES: Final = {"image": "another image", "document": "another document", "video": "another video"}

_AROUND = 24
_CUE = 40
_SHORTEST_RANDOM = 8
_IN_TOKEN = re.compile(r"[\w.:+/-]")
_PIECES = re.compile(r"[^A-Za-z0-9]+")
_DAY = re.compile(
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|(?:mon|diens|donners|frei|sams|sonn)tag|mittwoch", re.IGNORECASE
)
# In capitals, as names of months are written: 3 May is a date, and 3 may go.
_BEHIND_A_TIME = re.compile(
    r" (?:o'clock|Uhr|January?|February?|March|März|April|Ma[iy]|Jun[ei]|Jul[iy]|August|September|O[ck]tober|November"
    r"|De[cz]ember)\b"
)
# Behind these, names are the caller's own, and no field of Converse.
_CALLERS = ("json", "input", "additionalModelRequestFields")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where two blocks begin to differ, and in what.

    `byte` counts from 0 in the text of a text block as UTF-8, else in the block's JSON; `character` likewise.
    `field` is the field of Converse that differs, None in a plain text. `what` is the class of thing that differs,
    None where nothing tells. `excerpts` are some characters of both around the first that differs.
    """

    byte: int
    character: int
    field: str | None
    what: str | None
    excerpts: tuple[str, str]


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference | None:
    """How a block differs from an earlier one; None if both are the same to the byte."""
    first, second = text_of(before), text_of(after)
    at = _first_difference(first, second)
    if at is None:
        return None
    path, old, new = _leaf(_told(before), _told(after))
    return Difference(
        byte=len(first[:at].encode("utf-8", "surrogatepass")),
        character=at,
        field=_field(path),
        what=_what(path, old, new, same=_same_but_order(before, after)),
        excerpts=(_around(first, at), _around(second, at)),
    )


def text_of(block: Mapping[str, Any]) -> str:
    """A text block's text, any other block as JSON, with its keys in the order in which they stand."""
    if len(block) == 1 and isinstance(block.get("text"), str):
        return str(block["text"])
    return orjson.dumps(block, default=plain).decode()


def _first_difference(first: str, second: str) -> int | None:
    if first == second:
        return None
    shorter = min(len(first), len(second))
    low, high = 0, shorter
    # The longest common beginning, by halves: texts may be long.
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[:middle] == second[:middle] else (low, middle - 1)
    return low


def _told(block: Mapping[str, Any]) -> Any:
    return json.loads(orjson.dumps(block, default=plain))


def _same_but_order(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return json.dumps(_told(before), sort_keys=True) == json.dumps(_told(after), sort_keys=True)


def _leaf(old: Any, new: Any, path: tuple[str, ...] = ()) -> tuple[tuple[str, ...], Any, Any]:
    """The first value, in the order of the new one, that isn't the same in both; and the way to it."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in (*new, *old):
            if name not in old or name not in new:
                return (*path, name), old.get(name), new.get(name)
            if json.dumps(old[name]) != json.dumps(new[name]):
                return _leaf(old[name], new[name], (*path, name))
    elif isinstance(old, list) and isinstance(new, list):
        for place, (one, other) in enumerate(zip(old, new, strict=False)):
            if json.dumps(one) != json.dumps(other):
                return _leaf(one, other, (*path, str(place)))
        longer, shorter = (old, len(new)) if len(old) > len(new) else (new, len(old))
        if len(longer) > shorter:
            return (*path, str(shorter)), *((longer[shorter], None) if longer is old else (None, longer[shorter]))
    return path, old, new


def _field(path: Sequence[str]) -> str | None:
    names: list[str] = []
    for name in path:
        names.append(name)
        if name in _CALLERS:
            break
    return None if names == ["text"] or not names else ".".join(names)


def _what(path: Sequence[str], old: Any, new: Any, *, same: bool) -> str | None:
    if same:
        return KEY_ORDER
    if path and path[-1] == "toolUseId":
        return AN_ID
    if path[-2:] == ("source", "bytes"):
        return OTHER_BYTES.get(path[-3])
    if isinstance(old, str) and isinstance(new, str) and (told := _in_text(old, new)) is not None:
        return told
    if path[:1] == ("toolSpec",):
        return A_CHANGED_SCHEMA if "inputSchema" in path else A_CHANGED_DESCRIPTION
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    return _volatile(str(old), str(new), 0) if numbers else None


def _in_text(old: str, new: str) -> str | None:
    """What class of thing differs first in two texts."""
    if old.split() == new.split():
        return WHITESPACE
    at = _first_difference(old, new)
    if at is None:
        return None
    if (told := _volatile(old, new, at)) is not None and told != A_COUNTER:
        return told
    if _same_json(old, new):
        return KEY_ORDER
    if sorted(_words(old)) == sorted(_words(new)):
        return WORD_ORDER
    return told


def _words(text: str) -> Iterator[str]:
    return (word for word in re.split(r"[\s,;]+", text) if word)


def _same_json(old: str, new: str) -> bool:
    if old[:1] not in ("{", "["):
        return False
    try:
        return json.dumps(json.loads(old), sort_keys=True) == json.dumps(json.loads(new), sort_keys=True)
    except ValueError:
        return False


def _volatile(old: str, new: str, at: int) -> str | None:
    """A time, an id or a number that stands in both texts where they begin to differ."""
    (one, cue, rest), (other, _, _) = _token(old, at), _token(new, at)
    # Two dates without a clock are a date that changes: behind "now" they count as one.
    if all(looks_volatile({"text": f"now {token}"}) == A_TIMESTAMP for token in (one, other)):
        return A_TIMESTAMP
    if _DAY.fullmatch(one) and _DAY.fullmatch(other):
        return A_TIMESTAMP
    if all(looks_volatile({"text": token}) == AN_ID for token in (one, other)) or _are_random(one, other):
        return AN_ID
    if looks_volatile({"text": f"{cue} {rest}"}) is None:
        told = {looks_volatile({"text": f"{cue}{token}{rest}"}) for token in (one, other)}
        if len(told) == 1 and (found := told.pop()) is not None:
            return found
    if not (one.isdigit() and other.isdigit()):
        return None
    return A_TIMESTAMP if _BEHIND_A_TIME.match(rest) else A_COUNTER


def _token(text: str, at: int) -> tuple[str, str, str]:
    """What stands at that character up to the next spaces; what leads to it, and follows it, on the same line."""
    start = end = at
    while start and _IN_TOKEN.match(text[start - 1]):
        start -= 1
    while end < len(text) and _IN_TOKEN.match(text[end]):
        end += 1
    line = text.rfind("\n", 0, start) + 1
    rest = text[end : end + _CUE].partition("\n")[0]
    return text[start:end].rstrip(".:,-/"), text[max(line, start - _CUE) : start], rest


def _are_random(one: str, other: str) -> bool:
    """Whether the first pieces that differ are of one length, and letters among digits in both."""
    pairs = zip(_PIECES.split(one), _PIECES.split(other), strict=False)
    first, second = next(((a, b) for a, b in pairs if a != b), ("", ""))
    if len(first) != len(second) or len(first) < _SHORTEST_RANDOM:
        return False
    return all(re.search(r"\d", piece) and re.search(r"[A-Za-z]", piece) for piece in (first, second))


def _around(text: str, at: int) -> str:
    return text[max(at - _AROUND, 0) : at + _AROUND]
