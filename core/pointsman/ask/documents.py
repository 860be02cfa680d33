"""Files as `document` blocks of a Converse request, within Bedrock's limits. Knows files; knows no client."""

from __future__ import annotations

import io
import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from pointsman.errors import InvalidRequestError

# API reference of Converse, DocumentBlock and "Messages" of the user guide (read 2026-11-22).
MOST_DOCUMENTS = 5
MOST_BYTES = 4_500_000
_LONGEST_NAME = 200
_NOT_IN_A_NAME = re.compile(r"[^0-9A-Za-z()\[\]-]+")

_FORMATS = {
    ".csv": "csv",
    ".doc": "doc",
    ".docx": "docx",
    ".htm": "html",
    ".html": "html",
    ".md": "md",
    ".pdf": "pdf",
    ".txt": "txt",
    ".xls": "xls",
    ".xlsx": "xlsx",
}

# pypdf logs each oddity of a file that it can read all the same.
logging.getLogger("pypdf").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file as Bedrock takes it. `name` is valid there, and unique among those that were read with it."""

    path: Path
    name: str
    format: str
    data: bytes

    @property
    def block(self) -> dict[str, Any]:
        """The content block of a Converse message."""
        return {"document": {"name": self.name, "format": self.format, "source": {"bytes": self.data}}}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without the content."""
        return {"file": str(self.path), "name": self.name, "format": self.format, "bytes": len(self.data)}


def read_documents(paths: Sequence[Path]) -> tuple[Document, ...]:
    """The files as documents, in the order given.

    Raises:
        InvalidRequestError: there are too many, or one can't be read, is empty, too large, of a kind that Bedrock
            doesn't take, or not what its suffix says.
    """
    if len(paths) > MOST_DOCUMENTS:
        raise InvalidRequestError(f"{len(paths)} documents were given; Bedrock takes at most {MOST_DOCUMENTS}.")
    read = [(path, _format_of(path), _bytes_of(path)) for path in paths]
    names = unique_names(path.stem for path in paths)
    return tuple(
        Document(path=path, name=name, format=kind, data=data)
        for (path, kind, data), name in zip(read, names, strict=True)
    )


def unique_names(stems: Iterable[str]) -> list[str]:
    """Names as Bedrock allows them, none twice: letters, digits, single spaces, hyphens, parentheses, brackets."""
    names: list[str] = []
    for stem in stems:
        plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
        base = _NOT_IN_A_NAME.sub(" ", plain).strip()[: _LONGEST_NAME - 10].strip() or "document"
        name, count = base, 1
        while name in names:
            count += 1
            name = f"{base} ({count})"
        names.append(name)
    return names


def _format_of(path: Path) -> str:
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None and path.exists():
        taken = ", ".join(sorted(set(_FORMATS.values())))
        raise InvalidRequestError(f"{path}: not a kind of document that Bedrock takes ({taken}).")
    return kind or ""


def _bytes_of(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InvalidRequestError(f"{path} has {size / 1e6:.1f} MB; Bedrock takes at most {MOST_BYTES / 1e6} MB.")
        data = path.read_bytes()
    except FileNotFoundError as exc:
        hint = " Give each question its own -q." if " " in str(path) else ""
        raise InvalidRequestError(f"{path}: no such file.{hint}") from exc
    except OSError as exc:
        raise InvalidRequestError(f"{path} can't be read: {exc.strerror}.") from exc
    if not data.strip():
        raise InvalidRequestError(f"{path} is empty.")
    if path.suffix.lower() == ".pdf":
        _check_pdf(path, data)
    return data


def _check_pdf(path: Path, data: bytes) -> None:
    try:
        reader = PdfReader(io.BytesIO(data))
        encrypted = reader.is_encrypted
        pages = 0 if encrypted else len(reader.pages)
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as exc:
        # pypdf lets plain errors of its parser through for damaged files, not only its own.
        raise InvalidRequestError(f"{path} is not a PDF, or damaged: {exc}.") from exc
    if encrypted:
        raise InvalidRequestError(f"{path} is encrypted; Bedrock can't read it. Save it without a password.")
    if not pages:
        raise InvalidRequestError(f"{path} is a PDF without pages.")
