"""A conversation as plain JSON. Knows answers and traces; prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from pointsman.ask.conversation import Answer
from pointsman.ask.figures import (
    cost_of,
    cost_without_cache_of,
    reason_of,
    share_of_first,
    total_cost,
    total_cost_without_cache,
    total_usage,
)
from pointsman.documents import Document
from pointsman.usage import Usage


def to_json(
    answers: Sequence[Answer], *, asked: str, url: str, region: str, engine: str | None, about: Mapping[str, Any]
) -> dict[str, Any]:
    """All of it as plain JSON; money in decimal strings, what is unknown as None.

    `answers_by` is "bedrock", or the local endpoint's engine that stood in for the models. `about` is what was talked
    about: the documents that were given, or the knowledge base.
    """
    return {
        "asked": asked,
        "endpoint": {"url": url, "region": region, "answers_by": engine or "bedrock"},
        **about,
        "answers": [_answer(answer, answers[0]) for answer in answers],
        "totals": {
            "usage": _usage(total_usage(answers)),
            "cost": _text(total_cost(answers)),
            "cost_without_cache": _text(total_cost_without_cache(answers)),
        },
    }


def _answer(answer: Answer, first: Answer) -> dict[str, Any]:
    share = share_of_first(answer, first)
    found = {} if answer.found is None else {"documents": [_document(document) for document in answer.found]}
    return {
        "question": answer.question,
        **found,
        "answer": answer.text,
        "stop_reason": answer.stop_reason,
        "model": answer.trace.model.id,
        "invoked_model_id": answer.trace.invoked_model_id,
        "reason": reason_of(answer),
        "usage": _usage(answer.trace.usage),
        "first_token_ms": None if answer.first_token_s is None else round(answer.first_token_s * 1000, 1),
        "first_token_share": None if share is None else round(share, 4),
        "duration_ms": round(answer.duration_s * 1000, 1),
        "cost": _text(cost_of(answer)),
        "cost_without_cache": _text(cost_without_cache_of(answer)),
        "trace": answer.trace.to_dict(),
    }


def _document(document: Document) -> dict[str, Any]:
    """Without its text, which may be anybody's."""
    return {"id": document.id, "title": document.title, "source": document.source, "score": document.score}


def _usage(usage: Usage | None) -> dict[str, int] | None:
    return None if usage is None else {"uncached_tokens": usage.uncached_tokens, **usage.to_dict()}


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
