"""A store in an SQLite file, for the processes of one machine. Knows the file; knows nothing of what records mean."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from pointsman.cache.stores.store import MOST_AT_ONCE, Booked

_SECONDS_BETWEEN_CLEANINGS = 60.0
_TABLE = """
CREATE TABLE IF NOT EXISTS booked (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, model TEXT NOT NULL, region TEXT NOT NULL, about BLOB NOT NULL,
    until REAL NOT NULL, detail TEXT NOT NULL,
    UNIQUE (kind, model, region, about)
)"""
# A file made anew goes on where no cursor into the old one has been.
_BEGIN_SEQUENCE = """
INSERT INTO sqlite_sequence (name, seq) SELECT 'booked', ?
WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'booked')"""
_KEEP = """
INSERT OR REPLACE INTO booked (kind, model, region, about, until, detail) SELECT ?1, ?2, ?3, ?4, ?5, ?6
WHERE NOT EXISTS (
    SELECT 1 FROM booked WHERE kind = ?1 AND model = ?2 AND region = ?3 AND about = ?4 AND until >= ?5
)"""
_TAKE = """
SELECT sequence, kind, model, region, about, until, detail FROM booked WHERE sequence > ? ORDER BY sequence LIMIT ?"""
_OVER_BOUND = """
DELETE FROM booked WHERE sequence <= (SELECT sequence FROM booked ORDER BY sequence DESC LIMIT 1 OFFSET ?)"""


class SQLiteStore:
    """For processes and threads of one machine: an SQLite file on a local disk, readable by its owner alone.

    Args:
        path: the file; made with the first exchange, in a folder that exists.
        timeout: seconds to wait for other writers before the exchange is given up.
        bound: records kept, about 130 bytes each; the oldest go first.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 0.1, bound: int = 65_536) -> None:
        self.path = Path(path)
        self._timeout = timeout
        self._bound = bound
        self._connection: sqlite3.Connection | None = None
        self._connected_to: tuple[int, int, int] | None = None
        self._cleaned = 0.0
        self._lock = threading.Lock()

    def exchange(self, *, booked: Sequence[Booked], since: str, now: float) -> tuple[Sequence[Booked], str]:
        """As `LedgerStore.exchange`.

        Raises:
            sqlite3.Error, OSError: the file is locked for too long, can't be opened, or isn't a database.
        """
        with self._lock:
            connection = self._connect(now)
            if not booked:
                rows = connection.execute(_TAKE, (int(since or 0), MOST_AT_ONCE)).fetchall()
                return _records(rows), str(rows[-1][0]) if rows else since
            # Within one transaction only one's own records stand behind those that are taken.
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                rows = connection.execute(_TAKE, (int(since or 0), MOST_AT_ONCE)).fetchall()
                connection.executemany(_KEEP, booked)
                self._clean(connection, now)
                last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'booked'").fetchone()[0]
            return _records(rows), str(rows[-1][0] if len(rows) == MOST_AT_ONCE else last)

    def _connect(self, now: float) -> sqlite3.Connection:
        """The connection; a new one in a process that was forked, and where the file was replaced."""
        connection, identity = self._connection, self._identity()
        if connection is not None and identity == self._connected_to:
            return connection
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=16
        )
        # What a loss of power takes is only belief: no need to wait for the disk.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            connection.execute(_TABLE)
            connection.execute(_BEGIN_SEQUENCE, (int(now * 1e6),))
        self._connection, self._connected_to = connection, self._identity()
        return connection

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            file = self.path.stat()
        except FileNotFoundError:
            return None
        return os.getpid(), file.st_dev, file.st_ino

    def _clean(self, connection: sqlite3.Connection, now: float) -> None:
        if 0 <= now - self._cleaned < _SECONDS_BETWEEN_CLEANINGS:
            return
        self._cleaned = now
        connection.execute("DELETE FROM booked WHERE until < ?", (now,))
        connection.execute(_OVER_BOUND, (self._bound,))


def _records(rows: Sequence[tuple[int, str, str, str, bytes, float, str]]) -> Sequence[Booked]:
    return [Booked(*row[1:]) for row in rows]
