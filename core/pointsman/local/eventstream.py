"""The encoder of `application/vnd.amazon.eventstream` frames. Knows bytes; knows nothing of Converse.

A frame is: total length, headers length, CRC of these eight bytes; headers; payload; CRC of all before it.
Lengths and CRC-32s are big-endian; a header is its name, a type byte (7 for a string) and its value, both with
their length before them. Format: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

import orjson

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
_STRING: Final = 7


def encode_frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One frame with string headers. A name has at most 255 bytes, a value at most 65 535."""
    head = b"".join(_encode_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    body = prelude + struct.pack(">I", crc32(prelude)) + head + payload
    return body + struct.pack(">I", crc32(body))


def encode_event(event_type: str, payload: Mapping[str, Any]) -> bytes:
    """An event of the stream, such as messageStart, with its members as JSON."""
    headers = {":event-type": event_type, ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, orjson.dumps(payload))


def encode_exception(exception_type: str, payload: Mapping[str, Any]) -> bytes:
    """An exception that ends the stream; the type is the stream's member, such as modelStreamErrorException."""
    headers = {
        ":exception-type": exception_type,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return encode_frame(headers, orjson.dumps(payload))


def _encode_header(name: str, value: str) -> bytes:
    raw_name, raw_value = name.encode(), value.encode()
    return struct.pack(">B", len(raw_name)) + raw_name + struct.pack(">BH", _STRING, len(raw_value)) + raw_value
