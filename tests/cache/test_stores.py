"""The stores by themselves: every one keeps the same promises, and two have some of their own."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import valkey

from pointsman import LedgerStore, SQLiteStore, ValkeyStore
from pointsman.cache import Booked
from pointsman.cache.stores.store import MOST_AT_ONCE
from pointsman.errors import MissingExtraError

T0 = 1_800_000_000.0
OpenStore = Callable[..., LedgerStore]


def booked(about: str = "a", until: float = T0 + 300, detail: str = "", kind: str = "5m") -> Booked:
    """A record on a prefix."""
    return Booked(kind, "us.anthropic.claude-haiku-5-5", "us-east-1", about.encode() + b"\xff\x00", until, detail)


def give(store: LedgerStore, *records: Booked, now: float = T0) -> None:
    """Hand records over and take nothing of interest."""
    store.exchange(booked=records, since="", now=now)


def take(store: LedgerStore, since: str = "", now: float = T0) -> list[Booked]:
    """What the store has since then."""
    return [*store.exchange(booked=(), since=since, now=now)[0]]


# --- what all of them do ----------------------------------------------------------------------------------------


def test_what_one_hands_over_another_takes(open_store: OpenStore) -> None:
    """Just as it was, the oldest first, and only once."""
    records = [booked("a", detail="1200"), booked("b", kind="1h"), Booked("reuse", "", "", b"\x00\xff", T0 + 9.5, "{}")]
    give(open_store(), *records)
    other = open_store()
    taken, since = other.exchange(booked=(), since="", now=T0)
    assert taken == records
    assert take(other, since) == []


def test_own_records_do_not_come_back(open_store: OpenStore) -> None:
    """They stand behind the end of what the same exchange gave; what others book later comes."""
    one, other = open_store(), open_store()
    give(other, booked("theirs"))
    taken, since = one.exchange(booked=[booked("mine")], since="", now=T0)
    assert taken == [booked("theirs")]
    give(other, booked("later"))
    assert take(one, since) == [booked("later")]


def test_the_later_date_of_a_subject_counts(open_store: OpenStore) -> None:
    """Whichever comes first: an earlier one changes nothing, and is not told again."""
    store = open_store()
    give(store, booked(until=T0 + 20, detail="new"))
    since = store.exchange(booked=(), since="", now=T0)[1]
    give(store, booked(until=T0 + 10, detail="old"))
    assert take(store, since) == []
    assert take(store) == [booked(until=T0 + 20, detail="new")]
    give(store, booked(until=T0 + 30, detail="newest"))
    assert take(store, since) == take(store) == [booked(until=T0 + 30, detail="newest")]


def test_handing_over_twice_changes_nothing(open_store: OpenStore) -> None:
    """As happens where the answer was lost."""
    store = open_store()
    give(store, booked())
    since = store.exchange(booked=(), since="", now=T0)[1]
    give(store, booked())
    assert take(store, since) == []


def test_a_great_many_come_in_parts(open_store: OpenStore) -> None:
    """One exchange is bounded; nothing is missed, even if the taker hands over something of his own in between."""
    one, other = open_store(), open_store()
    records = [booked(f"{number}") for number in range(2 * MOST_AT_ONCE + 5)]
    for start in range(0, len(records), MOST_AT_ONCE):
        give(one, *records[start : start + MOST_AT_ONCE])
    taken: list[Booked] = []
    since = ""
    for part in range(4):
        got, since = other.exchange(booked=[booked(f"mine {part}")], since=since, now=T0)
        assert len(got) <= MOST_AT_ONCE
        taken += got
    assert [record for record in taken if not record.about.startswith(b"mine")] == records


def test_what_has_passed_is_dropped(open_store: OpenStore) -> None:
    """Now and then; what is still needed stays."""
    store = open_store()
    give(store, booked("short", until=T0 + 300), booked("long", until=T0 + 3_600))
    give(store, booked("new", until=T0 + 900), now=T0 + 400)
    assert {record.about[:-2] for record in take(store, now=T0 + 400)} == {b"long", b"new"}


def test_a_store_is_bounded(open_store: OpenStore) -> None:
    """The oldest records go first."""
    store = open_store(bound=50)
    for number in range(200):
        give(store, booked(f"{number}", until=T0 + 86_400), now=T0 + 61 * number)
    abouts = [int(record.about[:-2]) for record in take(store)]
    assert abouts == [*range(150, 200)]


# --- SQLite -----------------------------------------------------------------------------------------------------


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Digests tell little, but nobody else needs them; also what SQLite writes beside the file."""
    give(SQLiteStore(tmp_path / "ledger.db"), booked())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes["ledger.db"] == 0o600
    assert set(modes.values()) == {0o600}


def test_a_locked_file_fails_soon(tmp_path: Path) -> None:
    """After the timeout, not SQLite's five seconds; and it works again when the lock is gone."""
    store = SQLiteStore(tmp_path / "ledger.db", timeout=0.05)
    give(store, booked("a"))
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        give(store, booked("b"))
    other.execute("ROLLBACK")
    give(store, booked("b"))
    assert len(take(store)) == 2


def test_a_file_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    """And cursors into the old one don't hide what is in the new one."""
    path = tmp_path / "ledger.db"
    one = SQLiteStore(path)
    give(one, *[booked(f"{number}") for number in range(9)])
    since = one.exchange(booked=(), since="", now=T0)[1]
    for file in tmp_path.iterdir():
        file.unlink()
    give(SQLiteStore(path), booked("anew"), now=T0 + 1)
    assert take(one, since, now=T0 + 1) == [booked("anew")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_opens_the_file_for_itself(tmp_path: Path) -> None:
    """An SQLite connection must not be carried into a child; servers that load first and fork then do so."""
    code = f"""
import os
from pointsman import SQLiteStore
from pointsman.cache import Booked
store = SQLiteStore({str(tmp_path / "ledger.db")!r}, timeout=5.0)
store.exchange(booked=[Booked("5m", "m", "r", b"parent", {T0}, "")], since="", now={T0 - 9})
before = store._connection
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    print(*[one.about.decode() for one in store.exchange(booked=[], since="", now={T0 - 9})[0]])
else:
    store.exchange(booked=[Booked("5m", "m", "r", b"child", {T0}, "")], since="", now={T0 - 9})
    assert store._connection is not before
    os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["parent", "child"], done.stderr


def test_what_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    """SQLite's own error."""
    path = tmp_path / "ledger.db"
    path.write_text("something else altogether, and long enough to be read as a header. " * 40)
    with pytest.raises(sqlite3.DatabaseError):
        give(SQLiteStore(path), booked())


# --- Valkey -----------------------------------------------------------------------------------------------------


def test_applications_are_told_apart_by_their_prefix(server: Any) -> None:
    """One server serves several; a cluster keeps each one's keys together."""
    give(ValkeyStore(server.url, prefix="one"), booked())
    assert take(ValkeyStore(server.url, prefix="other")) == []
    assert all(key.startswith(b"{one}:") for key in server.client().scan_iter())


def test_an_application_that_is_gone_leaves_nothing(server: Any) -> None:
    """All its keys end by themselves."""
    give(ValkeyStore(server.url), booked())
    client = server.client()
    assert client.keys()
    assert all(86_400 < client.ttl(key) <= 2 * 86_400 for key in client.scan_iter())


def test_a_server_that_lost_its_data_is_understood(server: Any) -> None:
    """Cursors from before don't hide what comes after."""
    store, other = ValkeyStore(server.url), ValkeyStore(server.url)
    give(store, *[booked(f"{number}") for number in range(9)])
    since = store.exchange(booked=(), since="", now=T0)[1]
    server.client().flushall()
    give(other, booked("anew"), now=T0 + 1)
    assert take(store, since, now=T0 + 1) == [booked("anew")]


def test_a_server_may_forget_one_of_the_keys(server: Any) -> None:
    """One that is full evicts keys one by one."""
    store = ValkeyStore(server.url)
    for name in ("sequence", "order", "until", "value"):
        give(store, booked("a", until=T0 + 300))
        server.client().delete(f"{{pointsman}}:{name}")
        give(store, booked("b", until=T0 + 400), now=T0 + 1)
        assert booked("b", until=T0 + 400) in take(store)
        server.client().flushall()


def test_options_are_the_librarys(server: Any) -> None:
    """A server refuses a user whom it doesn't know."""
    with pytest.raises(valkey.ValkeyError):
        give(ValkeyStore(server.url, username="nobody", password="wrong"), booked())


def test_urls_of_redis_are_taken(server: Any) -> None:
    """Either scheme."""
    give(ValkeyStore(server.url.replace("valkey://", "redis://")), booked())
    assert take(ValkeyStore(server.url)) == [booked()]


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the error's message."""
    monkeypatch.setitem(sys.modules, "valkey", None)
    with pytest.raises(MissingExtraError, match=r"pointsman\[valkey\]"):
        ValkeyStore("valkey://127.0.0.1:6379/0")
