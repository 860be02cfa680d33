"""The laws of `document_laws.py` on random conversations; `make bench` plays ten thousand of them."""

from __future__ import annotations

from document_laws import Course, courses, documents_are_laid_lawfully
from hypothesis import HealthCheck, given, settings


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(course=courses)
def test_documents_are_laid_lawfully(course: Course) -> None:
    """Once each, verbatim, nobody else's, in a request that says all that the caller said and grows at its end."""
    documents_are_laid_lawfully(course)
