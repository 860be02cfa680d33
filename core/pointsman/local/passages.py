"""A folder of documents as passages of some 300 tokens. Knows files and their metadata; knows no search."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import orjson
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from pointsman.errors import InvalidRequestError

SUFFIXES: Final = (".md", ".txt", ".pdf")
METADATA_SUFFIX: Final = ".metadata.json"
"""As beside a document in S3: `{"metadataAttributes": {"team": "signals"}}` in `rules.pdf.metadata.json`."""

# Some 300 tokens of English; a heading begins a new passage once there is this much before it.
_PASSAGE_CHARACTERS: Final = 1200
_BEFORE_HEADING: Final = 300
_HEADING: Final = re.compile(r"#{1,6}\s.*")
_BLANK_LINES: Final = re.compile(r"\n\s*\n")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n")
# Attributes may be written with their types, for S3 as for IngestKnowledgeBaseDocuments.
_TYPED_VALUES: Final = ("stringValue", "numberValue", "booleanValue", "stringListValue")

# pypdf logs each oddity of a file it can read all the same; the endpoint's log is for requests.
logging.getLogger("pypdf").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a document. `path` is relative to the folder, `page` counts from 1 and is of PDFs only."""

    id: str
    text: str
    path: str
    page: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def read_folder(folder: Path) -> tuple[Passage, ...]:
    """All passages below a folder, in the order of paths; hidden files and folders are passed over.

    Raises:
        InvalidRequestError: there is no such folder, nothing in it to read, or a file that can't be read.
    """
    if not folder.is_dir():
        raise InvalidRequestError(f"{folder}: no such folder.")
    passages = tuple(passage for path in _documents(folder) for passage in _read(folder, path))
    if not passages:
        raise InvalidRequestError(f"{folder} has no text to read. Put {', '.join(SUFFIXES)} files there.")
    return passages


def cut(text: str) -> list[str]:
    """A text's passages: whole paragraphs where they fit, a heading with what follows it."""
    passages: list[str] = []
    for piece in _pieces(text):
        before = len(passages[-1]) + 2 if passages else _PASSAGE_CHARACTERS
        ends = before >= _BEFORE_HEADING if _HEADING.match(piece) else False
        if ends or before + len(piece) > _PASSAGE_CHARACTERS:
            passages.append(piece)
        else:
            passages[-1] += f"\n\n{piece}"
    return passages


def _documents(folder: Path) -> list[Path]:
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _read(folder: Path, path: Path) -> Iterator[Passage]:
    name = path.relative_to(folder).as_posix()
    try:
        pages = _pdf_pages(path) if path.suffix.lower() == ".pdf" else [(None, _text(path))]
        attributes = _attributes(path.with_name(path.name + METADATA_SUFFIX))
    except OSError as exc:
        raise InvalidRequestError(f"{path} can't be read: {exc.strerror}.") from exc
    texts = [(page, passage) for page, text in pages for passage in cut(text)]
    for number, (page, text) in enumerate(texts):
        digest = blake2b(f"{name}\n{number}\n{text}".encode(), digest_size=12).hexdigest()
        yield Passage(id=digest, text=text, path=name, page=page, attributes=attributes)


def _text(path: Path) -> str:
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _pdf_pages(path: Path) -> list[tuple[int | None, str]]:
    try:
        with path.open("rb") as file:
            texts = [page.extract_text() for page in PdfReader(file).pages]
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as exc:
        # pypdf lets plain errors of its parser through for damaged files, not only its own.
        raise InvalidRequestError(f"{path} is encrypted, not a PDF, or damaged: {exc}.") from exc
    # A broken font table gives halves of surrogate pairs, which no JSON can carry.
    return [(number, text.encode(errors="replace").decode()) for number, text in enumerate(texts, 1)]


def _attributes(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        attributes = orjson.loads(path.read_bytes())["metadataAttributes"]
        return {name: _value(value) for name, value in attributes.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise InvalidRequestError(
            f'{path} holds no attributes. Write them as {{"metadataAttributes": {{"team": "signals"}}}}.'
        ) from exc


def _value(written: Any) -> Any:
    if not isinstance(written, Mapping):
        return written
    return next(written["value"][name] for name in _TYPED_VALUES if name in written["value"])


def _pieces(text: str) -> Iterator[str]:
    heading = ""
    for paragraph in filter(None, map(str.strip, _BLANK_LINES.split(text))):
        paragraph = f"{heading}\n\n{paragraph}" if heading else paragraph
        heading = paragraph if _HEADING.fullmatch(paragraph) else ""
        if not heading:
            yield from [paragraph] if len(paragraph) <= _PASSAGE_CHARACTERS else _broken(paragraph)
    if heading:
        yield heading


def _broken(paragraph: str) -> Iterator[str]:
    """A paragraph that is too long for a passage, at the ends of its sentences and lines."""
    begin = end = 0
    for match in [*_SENTENCE_END.finditer(paragraph), None]:
        until = len(paragraph) if match is None else match.start()
        if until - begin > _PASSAGE_CHARACTERS and end > begin:
            yield paragraph[begin:end].strip()
            begin = end
        while until - begin > _PASSAGE_CHARACTERS:
            yield paragraph[begin : begin + _PASSAGE_CHARACTERS].strip()
            begin += _PASSAGE_CHARACTERS
        end = until
    if paragraph[begin:].strip():
        yield paragraph[begin:].strip()
