"""The frames of the event stream, with botocore's decoder as the oracle."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.local.eventstream import encode_event, encode_exception, encode_frame

NAMES = st.text(min_size=1, max_size=40).filter(lambda name: 0 < len(name.encode()) < 256)
HEADERS = st.dictionaries(NAMES, st.text(max_size=200), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def decoded(raw: bytes) -> list[Any]:
    buffer = EventStreamBuffer()
    buffer.add_data(raw)
    return list(buffer)


@settings(max_examples=1000)
@given(headers=HEADERS, payload=st.binary(max_size=2000))
def test_botocore_reads_back_any_frame(headers: dict[str, str], payload: bytes) -> None:
    (message,) = decoded(encode_frame(headers, payload))
    assert message.headers == headers
    assert message.payload == payload


@settings(max_examples=300)
@given(frames=st.lists(st.tuples(HEADERS, st.binary(max_size=200)), max_size=5), size=st.integers(1, 64))
def test_frames_may_arrive_in_any_pieces(frames: list[tuple[dict[str, str], bytes]], size: int) -> None:
    raw = b"".join(encode_frame(headers, payload) for headers, payload in frames)
    buffer = EventStreamBuffer()
    read = []
    for start in range(0, len(raw), size):
        buffer.add_data(raw[start : start + size])
        read += [(message.headers, message.payload) for message in buffer]
    assert read == frames


@settings(max_examples=300)
@given(payload=st.binary(min_size=1, max_size=200), data=st.data())
def test_a_flipped_bit_is_noticed(payload: bytes, data: st.DataObject) -> None:
    raw = bytearray(encode_frame({":event-type": "x"}, payload))
    position = data.draw(st.integers(12, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ChecksumMismatch):
        decoded(bytes(raw))


@given(payload=st.dictionaries(st.text(), JSON, max_size=4))
def test_an_event_bears_its_type_and_its_members(payload: dict[str, Any]) -> None:
    (message,) = decoded(encode_event("messageStart", payload))
    assert message.headers == {
        ":event-type": "messageStart",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    assert orjson.loads(message.payload) == payload


def test_an_exception_is_read_as_an_error() -> None:
    (message,) = decoded(encode_exception("modelStreamErrorException", {"message": "broke off"}))
    read = message.to_response_dict(status_code=200)
    assert read["status_code"] == 400
    assert read["headers"][":exception-type"] == "modelStreamErrorException"
