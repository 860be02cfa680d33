"""Blocks as neutral text for an engine. Knows the members of Converse's unions; knows no chat markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pointsman.local.blocks import Block
from pointsman.local.documents import DocumentReader
from pointsman.local.engines import RenderedBlock
from pointsman.local.refusals import invalid


def render(blocks: Sequence[Block], documents: DocumentReader) -> tuple[RenderedBlock, ...]:
    """One rendered block per block, in order.

    Raises:
        Refusal: ValidationException, where a document can't be read.
    """
    return tuple(
        RenderedBlock(
            section=block.section,
            kind=block.kind,
            text=_text(block, documents),
            role=block.role,
            message=block.message,
        )
        for block in blocks
    )


def _text(block: Block, documents: DocumentReader) -> str:
    if block.kind == "text":
        return str(block.value)
    if block.kind == "tool":
        return orjson.dumps(block.value).decode()
    if block.kind in ("pdf", "document"):
        return document_text(block.value, documents)
    if block.kind == "tool_result":
        return "\n".join(_result_text(item, documents) for item in block.value["content"])
    if block.kind == "tool_use":
        return orjson.dumps({"name": block.value["name"], "input": block.value["input"]}).decode()
    return _other_text(block.kind, block.value)


def document_text(document: Mapping[str, Any], documents: DocumentReader) -> str:
    """A document block's name, its context and its text."""
    source = document["source"]
    if "bytes" in source:
        text = documents.read(source["bytes"], document_format=document.get("format", "txt"), name=document["name"])
    elif "text" in source:
        text = source["text"]
    elif "content" in source:
        text = "\n".join(item["text"] for item in source["content"])
    else:
        raise invalid("The local endpoint reads no S3 locations. Send the document's bytes.")
    return "\n".join(part for part in (document["name"], document.get("context", ""), text) if part)


def _result_text(item: Mapping[str, Any], documents: DocumentReader) -> str:
    member, value = next(iter(item.items()))
    if member == "text":
        return str(value)
    if member == "json":
        return orjson.dumps(value).decode()
    if member == "document":
        return document_text(value, documents)
    return _other_text("search_result" if member == "searchResult" else member, value)


def _other_text(kind: str, value: Any) -> str:
    if kind in ("image", "video", "audio"):
        return f"[{kind} {value.get('format', '')} of {len(value['source'].get('bytes', b''))} bytes]"
    if kind == "search_result":
        return "\n".join([value["title"], *(part["text"] for part in value["content"])])
    return "\n".join(_strings(value))


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for member in value.values() for text in _strings(member)]
    if isinstance(value, list):
        return [text for member in value for text in _strings(member)]
    return []
