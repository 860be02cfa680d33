"""PDF documents, whose tokens nobody can tell from their bytes."""

from __future__ import annotations

from typing import Any

from fpdf import FPDF


def pdf(topic: str, *, rules: int = 60) -> dict[str, Any]:
    """A document block of some ten tokens for each rule."""
    page = FPDF()
    page.add_page()
    page.set_font("helvetica", size=11)
    told = " ".join(f"Rule {number} on {topic}: check the {topic} before the train." for number in range(rules))
    page.multi_cell(0, 6, told)
    return {"document": {"format": "pdf", "name": topic, "source": {"bytes": bytes(page.output())}}}
