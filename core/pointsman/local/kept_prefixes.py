"""The files of kept prefixes: a private folder, bounded in bytes, gone when the process ends.

Knows keys and sizes; what is in the files, and when a prefix expires, is for others to know. Such a file is
as private as the prompt that it was computed from.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import weakref
from collections import OrderedDict
from pathlib import Path
from threading import Lock

log = logging.getLogger(__name__)

_FOLDER = "pointsman-llama-"


class KeptPrefixes:
    """Files by key, the least recently used deleted first. Thread-safe."""

    def __init__(self, *, most_bytes: int) -> None:
        delete_abandoned()
        self._most_bytes = most_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()
        # mkdtemp makes the folder for this user alone (0700).
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))
        self._delete_folder = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def file_name(self, key: str) -> str:
        """The name, within the folder, of a key's file: the key itself may hold any characters."""
        return hashlib.blake2b(key.encode(), digest_size=16).hexdigest() + ".kv"

    def use(self, key: str) -> bool:
        """Whether the key's file is here; it then counts as just used."""
        with self._lock:
            if key not in self._sizes:
                return False
            self._sizes.move_to_end(key)
            return True

    def add(self, key: str) -> None:
        """Takes in the file that was written for a key, and deletes the oldest ones beyond the bound."""
        size = (self.folder / self.file_name(key)).stat().st_size
        with self._lock:
            self._sizes.pop(key, None)
            self._sizes[key] = size
            while self.bytes > self._most_bytes:
                oldest, size = self._sizes.popitem(last=False)
                self._delete(oldest)
                log.info("a prefix of %d bytes was deleted: %d may be kept", size, self._most_bytes)

    def forget(self, key: str) -> None:
        """Deletes a key's file; an unknown key is no error."""
        with self._lock:
            if self._sizes.pop(key, None) is not None:
                self._delete(key)

    @property
    def bytes(self) -> int:
        """What all the files take together."""
        return sum(self._sizes.values())

    def close(self) -> None:
        """Deletes the folder and all that is in it."""
        with self._lock:
            self._sizes.clear()
        self._delete_folder()

    def _delete(self, key: str) -> None:
        (self.folder / self.file_name(key)).unlink(missing_ok=True)


def delete_abandoned() -> None:
    """Deletes the folders of this user's processes that were killed before they could do it themselves."""
    if os.name != "posix":
        return  # os.kill(pid, 0) asks whether a process lives; on Windows it would end it.
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        with contextlib.suppress(OSError):
            if pid.isdecimal() and folder.stat().st_uid == os.getuid() and not _lives(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
