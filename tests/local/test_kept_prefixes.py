"""Files of kept prefixes: private, bounded, deleted."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pointsman.local.kept_prefixes import KeptPrefixes


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def write(kept: KeptPrefixes, key: str, size: int) -> Path:
    file = kept.folder / kept.file_name(key)
    file.write_bytes(bytes(size))
    kept.add(key)
    return file


def test_the_least_recently_used_goes_first() -> None:
    """Use counts, not age."""
    kept = KeptPrefixes(most_bytes=250)
    first, second = write(kept, "first", 100), write(kept, "second", 100)
    assert kept.use("first")
    third = write(kept, "third", 100)
    assert first.exists() and third.exists() and not second.exists()
    assert not kept.use("second") and kept.bytes == 200


def test_what_exceeds_the_bound_by_itself_is_not_kept() -> None:
    """Nor is anything else harmed by it more than needed."""
    kept = KeptPrefixes(most_bytes=50)
    assert not write(kept, "large", 100).exists()
    assert kept.bytes == 0


def test_a_key_written_again_counts_once() -> None:
    """With its new size."""
    kept = KeptPrefixes(most_bytes=500)
    write(kept, "key", 100)
    write(kept, "key", 120)
    assert kept.bytes == 120


def test_keys_may_hold_anything() -> None:
    """They never reach the file system."""
    kept = KeptPrefixes(most_bytes=500)
    file = write(kept, "arn:aws:bedrock:::x/../../y\n", 10)
    assert file.parent == kept.folder
    kept.forget("arn:aws:bedrock:::x/../../y\n")
    assert not file.exists()


def test_the_folder_is_private_and_goes_with_close() -> None:
    """Twice is as good as once."""
    kept = KeptPrefixes(most_bytes=500)
    write(kept, "key", 10)
    assert kept.folder.stat().st_mode & 0o777 == 0o700
    kept.close()
    kept.close()
    assert not kept.folder.exists()


@pytest.mark.skipif(os.name != "posix", reason="only there can a process be asked whether it lives")
def test_folders_of_killed_processes_are_deleted_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    """Kept state is as private as the prompts: it must not lie about."""
    script = "import os; from pointsman.local.kept_prefixes import KeptPrefixes as K; k = K(most_bytes=1); {}"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}

    def end_with(statement: str) -> list[Path]:
        command = [sys.executable, "-c", script.format(statement)]
        subprocess.run(command, env=environment, check=False)
        return list(tmp_path.glob("pointsman-llama-*"))

    assert end_with("pass") == []
    (left,) = end_with("os._exit(9)")
    living = KeptPrefixes(most_bytes=1)
    KeptPrefixes(most_bytes=1)
    assert not left.exists() and living.folder.exists()
