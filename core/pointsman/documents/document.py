"""What a retriever returns, and for whom: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pointsman.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A passage as a retriever returned it; `text` is exactly what the prompt will hold.

    `id` names it over several retrievals; without one, its text does. `knowledge_base` names where it is from: how
    often passages come back is learnt for each. `source` is where it was found (a URI), `score` the retriever's own.
    """

    text: str
    id: str | None = None
    title: str | None = None
    knowledge_base: str | None = None
    source: str | None = None
    score: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InvalidRequestError(
                f"a document's text is a {type(self.text).__name__}. Give the text as the prompt will hold it."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """For whom documents were retrieved: nothing is shared with another tenant, nor with another principal of his."""

    tenant: str
    principal: str | None = None

    @classmethod
    def of(cls, scope: Scope | str) -> Scope:
        """A scope, or the tenant that a string names.

        Raises:
            InvalidRequestError: it is neither, or names nobody.
        """
        scope = cls(tenant=scope) if isinstance(scope, str) else scope
        if not isinstance(scope, Scope) or not scope.tenant:
            raise InvalidRequestError(f"the scope {scope!r} names no tenant. Give his name, or a Scope.")
        return scope
