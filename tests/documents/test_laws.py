"""The laws of `document_laws.py` on random conversations; `make bench` plays ten thousand of them."""

from __future__ import annotations

from document_laws import Course, Step, courses, documents_are_laid_lawfully
from hypothesis import HealthCheck, example, given, settings
from talks import CLAUDE

# Guarded twice, it can't be laid; tried again with one copy, the prompt reads what the first try wrote.
_GUARDED_TWICE = (Step("a", "ask", (0, 0)), Step("a", "regenerate", (0,)), Step("a", "ask", ()))

# An empty retrieval is for the call that follows it, though that goes on from none, and not for the one after that.
_EMPTY = (Step("a", "ask", (0,)), Step("a", "regenerate", ()), Step("a", "condense the history", ()))


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(course=courses)
@example(course=Course(CLAUDE, "guarded", False, _GUARDED_TWICE))
@example(course=Course(CLAUDE, "message", True, _EMPTY))
def test_documents_are_laid_lawfully(course: Course) -> None:
    """Once each, verbatim, nobody else's, in a request that says all that the caller said and grows at its end."""
    documents_are_laid_lawfully(course)
