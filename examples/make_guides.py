"""Render the guides of `pointsman demo` from `examples/guides/*.md` to PDF.

Knows the little Markdown that they use: one title, headings, paragraphs. The same text gives the same bytes under
the same version of fpdf2: the date is fixed and the streams are not compressed.

    python examples/make_guides.py [FOLDER]     # by default the package's data
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF

SOURCES = Path(__file__).parent / "guides"
SHIPPED = Path(__file__).parent.parent / "core" / "pointsman" / "data" / "guides"

_SIZES = {"# ": 20, "## ": 13}
_CREATED = datetime(2026, 11, 22, tzinfo=UTC)


def render(markdown: str) -> bytes:
    """The PDF of one guide."""
    pdf = FPDF(format="A4")
    pdf.set_compression(False)
    pdf.set_creation_date(_CREATED)
    pdf.set_margin(25)
    pdf.add_page()
    for paragraph in markdown.strip().split("\n\n"):
        mark = next((mark for mark in _SIZES if paragraph.startswith(mark)), "")
        text = paragraph.removeprefix(mark)
        if mark == "# ":
            pdf.set_title(text)
        pdf.set_font("Helvetica", style="B" if mark else "", size=_SIZES.get(mark, 11))
        pdf.multi_cell(0, pdf.font_size * 1.4, text, align="L", new_x="LMARGIN", new_y="NEXT")
        pdf.ln(2.5)
    return bytes(pdf.output())


def main(folder: Path = SHIPPED) -> None:
    """Render every guide into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(SOURCES.glob("*.md")):
        (folder / f"{source.stem}.pdf").write_bytes(render(source.read_text("utf-8")))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
