"""The text of a document block: PDF by pypdf; txt, md, csv and html as text. Knows files, not prompts."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from collections import OrderedDict
from html.parser import HTMLParser
from typing import Final

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from pointsman.local.refusals import invalid

PLAIN_FORMATS: Final = frozenset({"txt", "md", "csv", "html"})
_CACHED_CHARACTERS: Final = 32_000_000

# pypdf logs each oddity of a file it can read all the same; the endpoint's log is for requests.
logging.getLogger("pypdf").setLevel(logging.ERROR)


class DocumentReader:
    """Reads documents to text and keeps the texts by digest, bounded by their characters."""

    def __init__(self, *, cached_characters: int = _CACHED_CHARACTERS) -> None:
        self._texts: OrderedDict[bytes, str] = OrderedDict()
        self._characters = 0
        self._bound = cached_characters
        self._lock = threading.Lock()

    def read(self, data: bytes, *, document_format: str, name: str) -> str:
        """The document's text.

        Raises:
            Refusal: ValidationException, where the bytes are not a document of that format.
        """
        key = hashlib.blake2b(data, digest_size=16, person=document_format.encode()).digest()
        with self._lock:
            if (known := self._texts.get(key)) is not None:
                self._texts.move_to_end(key)
                return known
        text = _parse(data, document_format, name)
        with self._lock:
            if key not in self._texts:
                self._texts[key] = text
                self._characters += len(text)
            while self._characters > self._bound and len(self._texts) > 1:
                self._characters -= len(self._texts.popitem(last=False)[1])
        return text


def _parse(data: bytes, document_format: str, name: str) -> str:
    if document_format == "pdf":
        return _pdf_text(data, name)
    if document_format not in PLAIN_FORMATS:
        raise invalid(
            f"The local endpoint can't read {document_format} documents ({name}). Send pdf, txt, md, csv or html."
        )
    text = data.decode("utf-8", errors="replace")
    return _html_text(text) if document_format == "html" else text


def _pdf_text(data: bytes, name: str) -> str:
    try:
        pages = PdfReader(io.BytesIO(data)).pages
        return "\n\n".join(page.extract_text() for page in pages)
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as exc:
        # pypdf lets plain errors of its parser through for damaged files, not only its own.
        raise invalid(f"The PDF specified was not valid ({name}): {exc}") from exc


class _TextOnly(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - HTMLParser's
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style") and self._hidden > 0
        if tag in ("p", "div", "li", "tr", "h1", "h2", "h3", "h4"):
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)


def _html_text(text: str) -> str:
    parser = _TextOnly()
    parser.feed(text)
    return "".join(parser.pieces)
