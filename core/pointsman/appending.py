"""Lines that are only ever added to a file of our own. Knows files; knows nothing of what a line says."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def append_line(path: Path, line: bytes) -> None:
    """Add a line, in one write, so that threads and processes may share the file. It is readable by its owner alone.

    Raises:
        OSError: the file can't be written, or only a part of the line was.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        whole = _line_break_missing(descriptor) + line + b"\n"
        if os.write(descriptor, whole) < len(whole):
            raise OSError(errno.ENOSPC, "only a part of the line was written", str(path))
    finally:
        os.close(descriptor)


def _line_break_missing(descriptor: int) -> bytes:
    """A line break, if whoever wrote last was cut off in the middle of a line."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    if not end:
        return b""
    os.lseek(descriptor, end - 1, os.SEEK_SET)
    return b"" if os.read(descriptor, 1) == b"\n" else b"\n"
