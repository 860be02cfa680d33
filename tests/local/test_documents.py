"""Documents to text: PDF, plain formats, HTML, and what is not what it says."""

from __future__ import annotations

from typing import Any

import pytest
from fpdf import FPDF

from pointsman.local import documents
from pointsman.local.documents import DocumentReader
from pointsman.local.refusals import Refusal

HAIKU = "us.anthropic.claude-haiku-5-5"


def pdf(*pages: str) -> bytes:
    document = FPDF()
    document.set_font("Helvetica", size=12)
    for page in pages:
        document.add_page()
        document.multi_cell(0, 6, page)
    return bytes(document.output())


def read(data: bytes, document_format: str) -> str:
    return DocumentReader().read(data, document_format=document_format, name="it")


def test_a_pdf_is_read_page_by_page() -> None:
    text = read(pdf("The first page.", "The second page."), "pdf")
    assert text.split() == ["The", "first", "page.", "The", "second", "page."]


@pytest.mark.parametrize("document_format", ["txt", "md", "csv"])
def test_plain_formats_are_text(document_format: str) -> None:
    assert read("# Überschrift\n".encode(), document_format) == "# Überschrift\n"
    assert read(b"\xff\xfe", document_format) == "\ufffd\ufffd"


def test_html_is_read_without_its_markup() -> None:
    page = b"<html><style>p{}</style><script>var a;</script><p>One &amp; two</p><p>three</p></html>"
    assert read(page, "html").split() == ["One", "&", "two", "three"]


@pytest.mark.parametrize("data", [b"", b"no pdf", b"%PDF-1.4\n%%EOF", pdf("cut")[:300]])
def test_a_broken_pdf_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal, match="The PDF specified was not valid"):
        read(data, "pdf")


@pytest.mark.parametrize("document_format", ["doc", "docx", "xls", "xlsx"])
def test_office_formats_are_refused(document_format: str) -> None:
    with pytest.raises(Refusal, match=f"can't read {document_format} documents"):
        read(b"PK", document_format)


def test_a_document_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    monkeypatch.setattr(documents, "_parse", lambda data, *_: parsed.append(data) or "text" * 10)
    reader = DocumentReader(cached_characters=100)
    for data in (b"a", b"a", b"b", b"a"):
        assert reader.read(data, document_format="txt", name="it") == "text" * 10
    assert parsed == [b"a", b"b"]
    for data in (b"c", b"d", b"a"):
        reader.read(data, document_format="txt", name="it")
    assert parsed == [b"a", b"b", b"c", b"d", b"a"]
    reader.read(b"a", document_format="md", name="it")
    assert len(parsed) == 6


def test_documents_reach_the_model_wherever_they_may_stand(runtime: Any) -> None:
    sources = [
        {"name": "plain", "format": "txt", "source": {"bytes": b"The lamp is red tonight."}},
        {"name": "text", "format": "md", "source": {"text": "The tower is high today."}},
        {"name": "content", "source": {"content": [{"text": "The gate is open now."}]}, "context": "The yard is wide."},
    ]
    content = [*({"document": source} for source in sources), {"text": "What of lamp, tower, gate, yard?"}]
    reply = runtime.converse(modelId=HAIKU, messages=[{"role": "user", "content": content}])
    said = reply["output"]["message"]["content"][0]["text"]
    assert len(said.split(". ")) == 2
    result = {"toolUseId": "a", "content": [{"document": sources[0]}, {"json": {"tower": "high"}}]}
    tools = {"tools": [{"toolSpec": {"name": "zz", "inputSchema": {"json": {"type": "object"}}}}]}
    messages = [
        {"role": "user", "content": [{"text": "How is the lamp?"}]},
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "zz", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": result}]},
    ]
    reply = runtime.converse(modelId=HAIKU, messages=messages, toolConfig=tools)
    assert "The lamp is red tonight." in reply["output"]["message"]["content"][0]["text"]


def test_an_s3_location_is_refused(runtime: Any) -> None:
    document = {"name": "far", "format": "pdf", "source": {"s3Location": {"uri": "s3://bucket/far.pdf"}}}
    content = [{"document": document}, {"text": "What?"}]
    with pytest.raises(runtime.exceptions.ValidationException, match="no S3 locations"):
        runtime.converse(modelId=HAIKU, messages=[{"role": "user", "content": content}])
