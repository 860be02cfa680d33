"""Traces in a file, to be replayed: who sent what when, by digests and tokens. Never any text.

Knows traces and the file's lines; reading them back is left to `pointsman.evaluation.traffic`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from pointsman.appending import append_line
from pointsman.errors import InvalidRequestError
from pointsman.outline import Block
from pointsman.trace import Trace

FORMAT = "pointsman_trace"
"""The member that every line has; its value is the version of the lines."""
VERSION = 1
DIGEST_BYTES = 8
"""Of each digest, enough to tell prefixes apart: one in 10^7 logs of a million blocks has two alike."""

# Prefixes that a later line may extend: some hundred long sessions. 64k entries take about 10 MB.
_REMEMBERED = 65_536


class TraceLog:
    """Writes each trace as a line of JSON to a file that is only ever added to, readable by its owner alone.

    ```python
    client = pointsman.Client(boto3.client("bedrock-runtime"), on_trace=pointsman.TraceLog("traffic.jsonl"))
    ```

    A line holds the time, the model, a keyed digest of the session, cache points, usage, what quality was expected of
    each candidate, and of each block its section, role, kind, tokens and keyed digest. Blocks that an earlier line
    holds are not repeated: the line names that one, and how many blocks they have in common, so that a long session
    takes little more than what is new in each request. Digests are keyed with the ledger's key: with one of your own
    (`Ledger(key=...)`), sessions go on across restarts. Threads and processes may write to one file.

    Args:
        path: the file; made with the first line, in a folder that exists.
        clock: for traces that don't know their time.

    Raises:
        InvalidRequestError: there is no such folder, or the file is one.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise InvalidRequestError(f"{self.path.parent}: no such folder for the log {self.path.name}.")
        if self.path.is_dir():
            raise InvalidRequestError(f"the log {self.path} is a folder. Name a file.")
        self._clock = clock
        self._writer, self._lines = uuid4().hex[:12], 0
        self._holders: OrderedDict[bytes, tuple[str, int]] = OrderedDict()
        self._inode: int | None = None
        self._lock = threading.Lock()

    def __call__(self, trace: Trace) -> None:
        """Write one trace; nothing of a request that was sent only to keep a prefix warm: it is not traffic.

        Raises:
            OSError: the file can't be written.
        """
        if trace.keep_alive:
            return
        blocks = trace.outline.blocks if trace.outline is not None else ()
        with self._lock:
            self._forget_if_replaced()
            line_id = f"{self._writer}-{self._lines}"
            extends, common = self._longest_known(blocks)
            told = self._told(trace, line_id, extends, blocks[common:])
            append_line(self.path, orjson.dumps(told))
            self._lines += 1
            self._inode = self.path.stat().st_ino
            self._remember(blocks, common, line_id)

    def _told(self, trace: Trace, line_id: str, extends: tuple[str, int] | None, new: tuple[Block, ...]) -> Any:
        decision = trace.decision
        return {
            FORMAT: VERSION,
            "id": line_id,
            "at": self._clock() if trace.at is None else trace.at,
            "asked": trace.asked,
            "model": trace.model.invoke_id,
            "session": trace.session,
            "status": trace.status,
            "extends": extends,
            "blocks": [
                (block.section, block.role, block.kind, block.tokens, block.digest[:DIGEST_BYTES].hex())
                for block in new
            ],
            "points": [(point.after, point.ttl) for point in trace.placement.points],
            "usage": trace.usage.to_dict() if trace.usage else None,
            "expected_quality": decision
            and {one.model.id: round(one.expected_quality, 4) for one in decision.candidates},
        }

    def _longest_known(self, blocks: tuple[Block, ...]) -> tuple[tuple[str, int] | None, int]:
        """The line that holds the longest prefix of these blocks, with its number of blocks, and that number again."""
        for index in range(len(blocks) - 1, -1, -1):
            holder = self._holders.get(blocks[index].digest)
            if holder is not None:
                return holder, holder[1]
        return None, 0

    def _remember(self, blocks: tuple[Block, ...], common: int, line_id: str) -> None:
        for count, block in enumerate(blocks, 1):
            if count > common:
                self._holders[block.digest] = (line_id, count)
            elif block.digest in self._holders:
                self._holders.move_to_end(block.digest)
        while len(self._holders) > _REMEMBERED:
            self._holders.popitem(last=False)

    def _forget_if_replaced(self) -> None:
        """A file that was moved away or deleted took its lines with it."""
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            inode = None
        if inode != self._inode:
            self._holders.clear()
