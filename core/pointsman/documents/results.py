"""From Retrieve's results to documents. Knows the shapes of the API; knows no client and no session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from pointsman.documents.document import Document

# Knowledge bases over vector stores and Kendra name their metadata one way, managed ones the other (awslabs/mcp
# PR#4574; "Query a knowledge base connected to an Amazon Kendra GenAI index" in the user guide; read 2026-11-28).
_SOURCES = ("x-amz-bedrock-kb-source-uri", "_source_uri")
_TITLES = ("title", "x-amz-kendra-document-title", "_document_title")
_DIGEST_BYTES = 8


def read_result(result: Mapping[str, Any], knowledge_base: str) -> Document | None:
    """A result as a document; None where it has no text, such as an image.

    `documentId` names the whole document, of which several passages may be found; so a passage's id is that of the
    document, or else its source, `#`, and a digest of the text.
    """
    content, metadata = result["content"], result.get("metadata") or {}
    text = _text(content)
    if not text.strip():
        return None
    source = _source(result.get("location") or {}) or _segment(content) or _first(metadata, _SOURCES)
    return Document(
        text=text,
        id=passage_id(text, of=result.get("documentId") or source),
        title=_first(metadata, _TITLES),
        knowledge_base=knowledge_base,
        source=source,
        score=result.get("score"),
        metadata=metadata,
    )


def passage_id(text: str, *, of: str | None) -> str:
    """Names a passage of a document for good: what the document is called, `#`, and a digest of the passage's text."""
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{of or ''}#{digest}"


def _text(content: Mapping[str, Any]) -> str:
    if row := content.get("row"):
        return "\n".join(f"{column.get('columnName')}: {column.get('columnValue')}" for column in row)
    audio, video = content.get("audio") or {}, content.get("video") or {}
    return content.get("text") or audio.get("transcription") or video.get("summary") or ""


def _source(location: Mapping[str, Any]) -> str | None:
    """Each type of location is a member of its own with one string in it: a URI, a URL, an id or an SQL query."""
    inner = (value for value in location.values() if isinstance(value, Mapping))
    return next((str(found) for value in inner for found in value.values() if found), None)


def _segment(content: Mapping[str, Any]) -> str | None:
    return next((content[kind].get("s3Uri") for kind in ("audio", "video") if content.get(kind)), None)


def _first(metadata: Mapping[str, Any], names: Sequence[str]) -> str | None:
    found = (metadata.get(name) for name in names)
    return next((value for value in found if isinstance(value, str) and value), None)
