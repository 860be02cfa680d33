"""Where one request parts from an earlier one, and what was done there: an item changed, added, removed or reordered.

Knows requests and their outlines; knows no model, no price and no cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from pointsman.cache.misses import A_REORDERED_TOOL, A_TIMESTAMP, AN_ID, AN_IMAGE, SETTINGS, THE_TOOL_CHOICE
from pointsman.evaluation.difference import (
    A_CHANGED_DESCRIPTION,
    A_CHANGED_SCHEMA,
    A_COUNTER,
    KEY_ORDER,
    OTHER_BYTES,
    WHITESPACE,
    WORD_ORDER,
    Difference,
    difference,
)
from pointsman.outline import Outline
from pointsman.prompt import Prompt

A_TOOL_ADDED: Final = "a tool added"
A_TOOL_REMOVED: Final = "a tool removed"
ANOTHER_TOOL: Final = "another tool"
A_TRIMMED_HISTORY: Final = "a trimmed history"
A_REWRITTEN_HISTORY: Final = "a rewritten history"
A_BLOCK_ADDED: Final = "a block added"
A_BLOCK_REMOVED: Final = "a block removed"
BLOCK_ORDER: Final = "blocks in another order"
ANOTHER_ROLE: Final = "another role"
OTHER_MESSAGES: Final = "the same blocks in other messages"
ANOTHER_TEXT: Final = "another text"
ANOTHER_QUESTION: Final = "another question"

# Where nothing tells what differs in a block of a section.
_OTHERWISE = {"tools": A_CHANGED_DESCRIPTION, "system": ANOTHER_TEXT, "messages": A_REWRITTEN_HISTORY}
# So many further differences are named at most.
_MOST_FURTHER = 8
# Where Converse has what stands before all blocks.
_SETTINGS = ("additionalModelRequestFields", "outputConfig")
_STAY_THE_SAME = "Keep it the same through a conversation: Bedrock drops what was cached when it changes."
_WHAT_TO_DO: Mapping[str | None, str] = {
    A_TIMESTAMP: "Move the time behind the last cache point, into the last message.",
    AN_ID: "Leave the id out, or move it behind the last cache point, into the last message.",
    A_COUNTER: "Move the number behind the last cache point, into the last message.",
    A_REORDERED_TOOL: "List the tools in the same order in every request, for instance by name.",
    A_CHANGED_SCHEMA: "Keep the tools' schemas the same through a conversation; what varies belongs in a message.",
    A_CHANGED_DESCRIPTION: "Keep the tools' descriptions the same through a conversation.",
    A_TOOL_ADDED: "Send all tools from the first request on, or add new ones when the conversation has gone cold.",
    A_TOOL_REMOVED: "Send all tools in every request; to forbid one, say so in the last message.",
    ANOTHER_TOOL: "Send all tools in every request, in the same order.",
    A_TRIMMED_HISTORY: "Trim seldom and much at a time, not a little with every request: each cut writes all anew.",
    A_REWRITTEN_HISTORY: "Keep the messages before the last one as they were sent.",
    KEY_ORDER: "Write JSON with its keys in a fixed order, for instance json.dumps(..., sort_keys=True).",
    WORD_ORDER: "Write lists in a fixed order, for instance sorted.",
    WHITESPACE: "Write the text with the same spaces and line ends in every request.",
    BLOCK_ORDER: "Send the blocks in the same order in every request.",
    A_BLOCK_ADDED: "Add what is new at the end, behind what was sent before.",
    A_BLOCK_REMOVED: "Keep what was sent, or put what comes and goes behind the last cache point.",
    ANOTHER_QUESTION: "Nothing: another last message is what a cache point before it is for.",
    SETTINGS: _STAY_THE_SAME,
    THE_TOOL_CHOICE: _STAY_THE_SAME,
    **dict.fromkeys(OTHER_BYTES.values(), "Encode it once, and send the same bytes in every request."),
    AN_IMAGE: "Send images from the first request on, or none: the first one drops what was cached of the messages.",
}


class Further(NamedTuple):
    """What differs behind the block where two requests part: a place as in `Parting`, and what was done there."""

    section: str
    block: int
    message: int | None
    what: str

    @property
    def where(self) -> str:
        """The block, in words."""
        return _where(self.section, self.block, self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Where a request parts from an earlier one.

    `block` counts in its section, `index` in the whole prompt, without cache points; `message` is the message, None
    outside them. `what` says what was done there, `found` how its bytes differ: None where one side has no block, or
    the same, or bytes. `common_tokens` are those of the prefix that both have. `further` is what differs behind it, in
    the messages once of each kind.
    """

    section: str
    block: int
    index: int
    kind: str
    what: str
    common_tokens: int
    message: int | None = None
    found: Difference | None = None
    further: tuple[Further, ...] = ()

    @property
    def advice(self) -> str:
        """What to do about it, in one line."""
        return _WHAT_TO_DO.get(self.what, "Keep all before the last message as it was sent.")

    @property
    def where(self) -> str:
        """The block, in words."""
        return _where(self.section, self.block, self.message)

    @property
    def behind(self) -> str:
        """What differs behind it, in one sentence; empty where nothing does."""
        told = "; ".join(f"{one.where} differs too: {one.what}" for one in self.further)
        return f"Behind it, {told}." if told else ""

    def to_dict(self, *, show_text: bool = False) -> dict[str, Any]:
        """Plain JSON; some characters of both texts only where asked for."""
        found = self.found
        told: dict[str, Any] = {
            "section": self.section,
            "block": self.block,
            "message": self.message,
            "kind": self.kind,
            "what": self.what,
            "byte": None if found is None else found.byte,
            "character": None if found is None else found.character,
            "field": None if found is None else found.field,
            "common_tokens": self.common_tokens,
            "advice": self.advice,
            "further": [one._asdict() for one in self.further],
        }
        if show_text and found is not None:
            told["excerpts"] = list(found.excerpts)
        return told


def _where(section: str, block: int, message: int | None) -> str:
    return f"block {block} of {section}" + ("" if message is None else f" (message {message})")


class Side(NamedTuple):
    """A request, with the outline that was made of it; both of a pair with the same key."""

    prompt: Prompt
    outline: Outline


def parting(before: Side, after: Side) -> Parting | None:
    """Where the later request parts from the earlier; None if one begins with the whole other."""
    mine, theirs = after.outline, before.outline
    at = blocks_in_common(theirs, mine)
    if at == len(mine.blocks) or at == len(theirs.blocks):
        return None
    placed, placed_before = _placed(after.prompt), _placed(before.prompt)
    block, block_before = mine.blocks[at], theirs.blocks[at]
    found = None
    if block.section == block_before.section and block.role == block_before.role:
        found = difference(placed_before[at].block, placed[at].block)
    what = _beside_the_blocks(before, after, at) or _what(before, after, at, found)
    return Parting(
        section=block.section,
        block=at - _start_of(mine, block.section),
        index=at,
        kind=block.kind,
        what=what,
        common_tokens=mine.tokens_to(at - 1),
        message=placed[at].message,
        found=None if what in OTHER_BYTES.values() else found,
        further=tuple(islice(_further(before, after, at, what), _MOST_FURTHER)),
    )


def blocks_in_common(first: Outline, second: Outline) -> int:
    """The number of blocks of the longest prefix that both have."""
    common = 0
    for one, other in zip(first.blocks, second.blocks, strict=False):
        if one.digest != other.digest:
            break
        common += 1
    return common


class _Placed(NamedTuple):
    """A block, and the message in which it stands."""

    message: int | None
    block: Mapping[str, Any]


def _placed(prompt: Prompt) -> list[_Placed]:
    """The blocks in the order of the outline."""
    lists: list[tuple[int | None, Sequence[Mapping[str, Any]]]] = [(None, prompt.tools), (None, prompt.system)]
    lists += [(place, message["content"]) for place, message in enumerate(prompt.messages)]
    return [_Placed(place, block) for place, blocks in lists for block in blocks if "cachePoint" not in block]


def _beside_the_blocks(before: Side, after: Side, at: int) -> str | None:
    """What differs where the blocks themselves are the same: settings before all of them, or before all messages."""
    mine, theirs = after.outline, before.outline
    if mine.hashes[at] != theirs.hashes[at] or mine.blocks[at][:2] != theirs.blocks[at][:2]:
        return None
    if mine.blocks[at].section == "messages":
        if after.prompt.forces_tool != before.prompt.forces_tool:
            return THE_TOOL_CHOICE
        if ("image" in mine.kinds) != ("image" in theirs.kinds):
            return AN_IMAGE
    settings = [[side.prompt.request.get(name) for name in _SETTINGS] for side in (before, after)]
    return SETTINGS if settings[0] != settings[1] else OTHER_MESSAGES


def _what(before: Side, after: Side, at: int, found: Difference | None) -> str:
    section, section_before = after.outline.blocks[at].section, before.outline.blocks[at].section
    if "tools" in (section, section_before):
        return _what_of_tools(before, after, at, found)
    if "system" in (section, section_before):
        return _what_of_system(before, after, at, found)
    return _what_of_messages(before, after, at, found)


def _what_of_tools(before: Side, after: Side, at: int, found: Difference | None) -> str:
    names_before, names = _names(before.prompt), _names(after.prompt)
    old = names_before[at] if at < len(names_before) else None
    new = names[at] if at < len(names) else None
    if old is not None and old == new:
        return (found.what if found else None) or A_CHANGED_DESCRIPTION
    if old in names and new in names_before:
        return A_REORDERED_TOOL
    if old is None or (old in names and new is not None):
        return A_TOOL_ADDED
    return A_TOOL_REMOVED if new is None or new in names_before else ANOTHER_TOOL


def _names(prompt: Prompt) -> list[str]:
    """The name of each tool; of one that has none, the kind."""
    tools = [tool for tool in prompt.tools if "cachePoint" not in tool]
    return [str((tool.get("toolSpec") or tool.get("systemTool") or {}).get("name", next(iter(tool)))) for tool in tools]


def _what_of_system(before: Side, after: Side, at: int, found: Difference | None) -> str:
    old, new = (_hashes_from(side.outline, at, "system") for side in (before, after))
    if len(old) == len(new) > 1 and sorted(old) == sorted(new):
        return BLOCK_ORDER
    if not old or (old[0] in new and len(new) > len(old)):
        return A_BLOCK_ADDED
    if not new or (new[0] in old and len(old) > len(new)):
        return A_BLOCK_REMOVED
    return (found.what if found else None) or ANOTHER_TEXT


def _what_of_messages(before: Side, after: Side, at: int, found: Difference | None) -> str:
    old, new = (_hashes_from(side.outline, at, "messages") for side in (before, after))
    if (moved := _moved(old, new)) is not None:
        return A_TRIMMED_HISTORY if moved > 0 else A_BLOCK_ADDED
    lasts = [side.outline.start_of_last_message for side in (before, after)]
    if at >= max(lasts) and not _goes_on(before.prompt, after.prompt):
        return ANOTHER_QUESTION
    if found is not None and found.what is not None:
        return found.what
    if at < before.outline.start_of_last_message:
        return A_REWRITTEN_HISTORY if found is not None else ANOTHER_ROLE
    return A_REWRITTEN_HISTORY if _goes_on(before.prompt, after.prompt) else ANOTHER_QUESTION


def _moved(old: Sequence[bytes], new: Sequence[bytes]) -> int | None:
    """By how many blocks what both have has moved to the front; below 0, to the back.

    None if they share nothing, or something still stands in its place.
    """
    if any(one == other for one, other in zip(old, new, strict=False)):
        return None
    places = {one: place for place, one in reversed(list(enumerate(old)))}
    return next((places[one] - place for place, one in enumerate(new) if one in places), None)


def _goes_on(before: Prompt, after: Prompt) -> bool:
    """Whether the last message of the earlier request is history in the later one."""
    roles, later = ([message["role"] for message in prompt.messages] for prompt in (before, after))
    return len(later) > len(roles) and later[: len(roles)] == roles


def _hashes_from(outline: Outline, at: int, section: str) -> list[bytes]:
    blocks = outline.blocks
    return [outline.hashes[index] for index in range(at, len(blocks)) if blocks[index].section == section]


def _start_of(outline: Outline, section: str) -> int:
    return next((index for index, block in enumerate(outline.blocks) if block.section == section), len(outline.blocks))


def _further(before: Side, after: Side, at: int, what: str) -> Iterator[Further]:
    """What differs behind the parting, where blocks of both can be told to be the same ones."""
    mine, theirs = after.outline, before.outline
    placed, placed_before = _placed(after.prompt), _placed(before.prompt)
    in_both = set(mine.hashes) & set(theirs.hashes)
    told = {what} if mine.blocks[at].section == "messages" else set()
    for index_before, index in _aligned(before, after):
        section = mine.blocks[index].section
        if index <= at or mine.hashes[index] in in_both or theirs.hashes[index_before] in in_both:
            continue
        found = difference(placed_before[index_before].block, placed[index].block)
        differs = (found.what if found else None) or _OTHERWISE[section]
        if section != "messages" or differs not in told:
            yield Further(section, index - _start_of(mine, section), placed[index].message, differs)
        if section == "messages":
            told.add(differs)


def _aligned(before: Side, after: Side) -> Iterator[tuple[int, int]]:
    """Pairs of blocks of both: tools by name, the others by place; of messages those before the last, if none moved."""
    names = _names(before.prompt)
    for index, name in enumerate(_names(after.prompt)):
        if name in names:
            yield names.index(name), index
    mine, theirs = after.outline, before.outline
    for section in ("system", "messages"):
        old, new = (_hashes_from(outline, 0, section) for outline in (theirs, mine))
        if section == "messages" and _moved(old, new) is not None:
            return
        start_before, start = _start_of(theirs, section), _start_of(mine, section)
        for place in range(min(len(old), len(new), mine.start_of_last_message - start)):
            if theirs.blocks[start_before + place].role != mine.blocks[start + place].role:
                return
            yield start_before + place, start + place
