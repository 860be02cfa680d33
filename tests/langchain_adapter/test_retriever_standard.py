"""langchain-tests' standard suite for `PointsmanRetriever`: over another retriever, and over a knowledge base."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from langchain_pointsman import PointsmanRetriever
from pointsman.local import LocalEndpoint

TEXTS = [
    f"In heavy snow the points of {station} are heated, and trains go every hour only."
    for station in ("Bern", "Spiez", "Thun", "Brig", "Visp")
]


class Shelves(BaseRetriever):
    """The first `k` of its texts, whatever is asked."""

    texts: list[str]
    k: int = 4

    def _get_relevant_documents(self, query: str, *, k: int | None = None, **_: Any) -> list[Document]:  # noqa: ARG002
        return [Document(page_content=text) for text in self.texts[: k or self.k]]


@pytest.fixture(scope="module")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A boto3 client of an endpoint that has the texts as a knowledge base."""
    folder: Path = tmp_path_factory.mktemp("handbook")
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.md").write_text(f"# Snow\n\n{text}\n")
    with LocalEndpoint(engine="extract", knowledge_bases={"HANDBOOK01": folder}) as endpoint:
        yield endpoint.client("bedrock-agent-runtime")


class _Standard:
    @property
    def retriever_constructor(self) -> type[PointsmanRetriever]:
        return PointsmanRetriever

    @property
    def retriever_query_example(self) -> str:
        return "What happens in heavy snow?"


class TestOverAnother(_Standard, RetrieversIntegrationTests):
    """Whatever retriever stands behind it."""

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"retriever": Shelves(texts=TEXTS)}


class TestOverKnowledgeBase(_Standard, RetrieversIntegrationTests):
    """A knowledge base, over HTTP."""

    @pytest.fixture(autouse=True)
    def _over_http(self, handbook: Any) -> None:
        self.client = handbook

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"knowledge_base_id": "HANDBOOK01", "client": self.client}
