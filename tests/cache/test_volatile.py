"""What in a text changes by its nature, and what only looks like it."""

from __future__ import annotations

import pytest

from pointsman.cache.volatile import looks_volatile

LONG = "You answer questions about railway signals. " * 2_000


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T09:15:00Z",
        "Today is 2026-11-24.",
        "The current date is November 24, 2026.",
        "Current time: 9:15",
        "24 November 2026, 9:15",
        "11/24/2026 09:15",
        "now=1795511111",
        '{"ts": 1795511111000}',
        "CURRENT TIME: 2026-11-24",
    ],
)
@pytest.mark.parametrize("around", ["{}", f"{{}} {LONG}", f"{LONG} {{}}"], ids=["alone", "head", "end"])
def test_a_timestamp_is_seen(text: str, around: str) -> None:
    """In any common form, alone, at the head or at the end of a long text."""
    assert looks_volatile({"text": around.format(text)}) == "a timestamp"


@pytest.mark.parametrize(
    "text",
    [
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "session_id=77c0e",
        "Request ID: 4711",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736",
        "user id: u-93",
    ],
)
def test_an_id_is_seen(text: str) -> None:
    """A UUID, long hex digits, or what is called an id."""
    assert looks_volatile({"text": f"{LONG} {text}"}) == "an id"


@pytest.mark.parametrize(
    "text",
    [
        LONG,
        "The law of 2016-05-04 holds.",
        "Call 0041 31 322 11 11, or write to 3003 Bern.",
        "Ask for the session id if it is missing.",
        "deadbeefdeadbeef facade",
        "12345678901234567890",
        "Version 1.1795511111.3",
        "At all times, now and today, be kind.",
    ],
)
def test_what_stays_the_same_looks_like_nothing(text: str) -> None:
    """A date of the past in a text, a telephone number, a word in hex letters."""
    assert looks_volatile({"text": text}) is None


def test_every_text_of_a_block_is_looked_at_but_for_the_ids_of_tool_uses() -> None:
    """Those tie a result to its use and go on unchanged."""
    result = {"toolUseId": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "content": [{"text": "07:12 to Bern"}]}
    assert looks_volatile({"toolResult": result}) is None
    result["content"] = [{"json": {"rows": ["a", {"at": "2026-11-24 09:15"}]}}]
    assert looks_volatile({"toolResult": result}) == "a timestamp"
    assert looks_volatile({"image": {"format": "png", "source": {"bytes": b"2026-11-24 09:15"}}}) is None
