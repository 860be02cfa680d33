"""Traces that tell prompts by the blocks that they share: coding sessions (callanjfox/kv-cache-tester) and Mooncake.

An outline made of them knows what its client knew at that moment and nothing of what came later: where tools and system
end, every boundary at which earlier requests ended or parted, a cut 256 tokens before the end (it stands for the start
of the last message; that of earlier requests too, since an entry may stand there), and where it ends. Shapes as in
`data/README.md` of the traces, read on 2026-11-24.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

from pointsman.evaluation.traffic.request import RecordedRequest
from pointsman.outline import Block, Outline

_LAST_MESSAGE_TOKENS = 256
_MOONCAKE_BLOCK = 512
# What stands behind the last full block belongs to this request alone: a trace doesn't tell whether the next one has it
# too. No model takes a cache point behind reasoning, so that none is laid where it could never be read.
_REMAINDER = "reasoning"
_MILLISECONDS = 1e-3


# --- coding sessions ----------------------------------------------------------------------------------------------


def coding_session(told: Mapping[str, Any]) -> list[RecordedRequest]:
    """The main chain of one coding session (sub-agents left out), on the session's own clock."""
    tree = _SessionTree(told["id"], told["bs"], told["tool"], told["sys"])
    branches: dict[int, _Branch] = {}
    requests: list[RecordedRequest] = []
    for index, (at, model, tokens, output_tokens, blocks, parent, shared, depth, *_) in enumerate(told["reqs"]):
        if depth:
            continue
        branches[index] = tree.grow(blocks, branches.get(parent), shared)
        outline = tree.outline(branches[index], tokens)
        requests.append(RecordedRequest(str(told["id"]), float(at), model, outline, output_tokens))
    return requests


class _Branch:
    """The stretch of one request's path that is its own: from where it left an earlier one to where it ends."""

    __slots__ = ("blocks", "cuts", "end", "fork", "number", "parent")

    def __init__(self, number: int, parent: _Branch | None, fork: int, end: int) -> None:
        self.number, self.parent, self.fork, self.end = number, parent, fork, end
        self.cuts: list[int] = []
        self.blocks: list[Block] | None = None

    def mark(self, position: int) -> None:
        """Remember a cut on this path; it stands on the branch that brought that stretch."""
        branch = self
        while position <= branch.fork:
            if branch.parent is None:
                return
            branch = branch.parent
        place = bisect_left(branch.cuts, position)
        if place == len(branch.cuts) or branch.cuts[place] != position:
            branch.cuts.insert(place, position)
            branch.blocks = None


class _SessionTree:
    """The paths of one session's requests, as far as they have been sent. Positions are tokens from the start."""

    def __init__(self, session: str, block_tokens: int, tools: int, system: int) -> None:
        self._session, self._size = session, block_tokens
        self._tools, self._static = tools, tools + system
        self._count = 0

    def grow(self, blocks: int, parent: _Branch | None, shared: int) -> _Branch:
        """The path of a new request, which shares its first `shared` blocks with an earlier one."""
        fork, end = (shared if parent else 0) * self._size, blocks * self._size
        branch = _Branch(self._count, parent, fork, end)
        self._count += 1
        for boundary in (self._tools, self._static):
            if fork < boundary < end:
                branch.mark(boundary)
        if end - _LAST_MESSAGE_TOKENS > self._static:
            branch.mark(end - _LAST_MESSAGE_TOKENS)
        branch.mark(fork)
        branch.mark(end)
        return branch

    def outline(self, branch: _Branch, tokens: int) -> Outline:
        """What can be known of the request at the end of that path."""
        runs: list[tuple[list[int], list[Block]]] = []
        one: _Branch | None = branch
        limit = branch.end
        while one is not None:
            blocks = one.blocks or self._blocks(one)
            known = len(one.cuts) if one.cuts[-1:] <= [limit] else bisect_right(one.cuts, limit)
            runs.append((one.cuts[:known], blocks[:known]))
            limit, one = min(limit, one.fork), one.parent
        cuts = [cut for run, _ in reversed(runs) for cut in run]
        laid = [block for _, run in reversed(runs) for block in run]
        return _outline(cuts, laid, tokens, f"{self._session}|{branch.number}")

    def _blocks(self, branch: _Branch) -> list[Block]:
        before = branch.fork
        branch.blocks = blocks = []
        for cut in branch.cuts:
            section = "tools" if cut <= self._tools else "system" if cut <= self._static else "messages"
            blocks.append(_block(section, f"{self._session}|{branch.number}|{cut}", cut - before))
            before = cut
        return blocks


# --- Mooncake -----------------------------------------------------------------------------------------------------


def mooncake_requests(lines: Iterable[Mapping[str, Any]]) -> Iterator[RecordedRequest]:
    """Chat requests by global hashes of 512-token blocks, in order of time. Tools and system are not told.

    The first request that extends the whole of an earlier one goes on with its session.
    """
    seen: set[int] = set()
    cuts: set[int] = set()
    # By where they ended; None once a request has gone on from there.
    sessions: dict[int, str | None] = {}
    for number, told in enumerate(lines):
        tokens = told["input_length"]
        ids = told["hash_ids"][: tokens // _MOONCAKE_BLOCK]
        shared = next((place for place, one in enumerate(ids) if one not in seen), len(ids))
        seen.update(ids[shared:])
        last_message = len(ids) - max(_LAST_MESSAGE_TOKENS // _MOONCAKE_BLOCK, 1)
        cuts.update(ids[place - 1] for place in (shared, last_message, len(ids)) if place > 0)
        continued = next((one for one in reversed(ids[:shared]) if one in sessions), -1)
        session = sessions.get(continued) or str(number)
        sessions[continued] = None
        if ids:
            sessions[ids[-1]] = session
        outline = _mooncake_outline(ids, cuts, tokens, number)
        yield RecordedRequest(session, told["timestamp"] * _MILLISECONDS, "", outline, told["output_length"])


def _mooncake_outline(ids: list[int], cuts: set[int], tokens: int, number: int) -> Outline:
    ends: list[int] = []
    blocks: list[Block] = []
    for place, one in enumerate(ids, 1):
        if one in cuts:
            end = place * _MOONCAKE_BLOCK
            blocks.append(_block("messages", f"mooncake|{one}", end - (ends[-1] if ends else 0)))
            ends.append(end)
    return _outline(ends, blocks, tokens, f"mooncake||{number}")


# --- both ---------------------------------------------------------------------------------------------------------


def _outline(ends: list[int], blocks: list[Block], tokens: int, name: str) -> Outline:
    """An outline of blocks whose ends are known already: the same numbers serve thousands of outlines."""
    remainder = tokens - (ends[-1] if ends else 0)
    if remainder > 0:
        ends.append(tokens)
        blocks.append(_block("messages", f"{name}|remainder", remainder)._replace(kind=_REMAINDER))
    kinds = frozenset({block.kind for block in (blocks[:1] + blocks[-2:])} | {"text"} if blocks else ())
    return Outline(tuple(blocks), (), kinds, tuple(ends), len(blocks))


def _block(section: str, name: str, tokens: int) -> Block:
    digest = blake2b(name.encode(), digest_size=16).digest()
    kind = "tool" if section == "tools" else "text"
    return Block(section, "user" if section == "messages" else None, kind, digest, tokens)
