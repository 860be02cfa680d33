"""The JSON objects of a log, one a line, plain or gzip. Knows files; knows no format of traffic."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import orjson

from pointsman.errors import InvalidRequestError

GZIP = b"\x1f\x8b"
"""What a packed file begins with."""
_BROKEN = "they are no JSON"
_ENDINGS = (".json", ".jsonl", ".gz", ".log")


class Lines:
    """The JSON objects of a file. `number` is that of the last line that was read, `first` the first object.

    CloudWatch's exports write the time before each line's object. Lines that are no JSON, such as the last one of a log
    that is being written, are counted in `skipped`.

    Raises:
        InvalidRequestError: the file can't be read, or there is nothing in it that can; then and while it is read.
    """

    def __init__(self, path: Path, skipped: Counter[str]) -> None:
        self.path = path
        self.number = 0
        self._skipped = skipped
        self._broken = ""
        self._told = self._objects()
        self.first: Mapping[str, Any] = next(self._told, {})
        if not self.first:
            raise InvalidRequestError(self._broken or f"{path}: there is nothing in it.")

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        yield self.first
        yield from self._told

    def _objects(self) -> Iterator[Mapping[str, Any]]:
        try:
            with _opened(self.path) as file:
                for self.number, line in enumerate(file, 1):
                    told = self._object(line) if line.strip() else None
                    if told is not None:
                        yield told
        except (OSError, EOFError, zlib.error) as exc:
            why = getattr(exc, "strerror", None) or str(exc)
            raise InvalidRequestError(f"{self.path}, line {self.number + 1}: it can't be read: {why}.") from exc

    def _object(self, line: bytes) -> Mapping[str, Any] | None:
        start = line.find(b"{")
        try:
            told = orjson.loads(line[start:] if start > 0 else line)
        except orjson.JSONDecodeError as exc:
            self._broken = self._broken or f"{self.path}, line {self.number}: it is no JSON: {exc}."
            self._skipped[_BROKEN] += 1
            return None
        if not isinstance(told, dict):
            raise InvalidRequestError(f"{self.path}, line {self.number}: it is no JSON object.")
        return told


def files_of(path: Path) -> list[Path]:
    """The file itself, or all files of a folder that may be logs, by their names.

    Raises:
        InvalidRequestError: there is none in the folder.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(_ENDINGS))
    if not files:
        raise InvalidRequestError(f"{path}: no file in it ends in {', '.join(_ENDINGS)}.")
    return files


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]  # it reads as one
