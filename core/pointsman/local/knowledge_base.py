"""Retrieve over folders of documents: passages ranked by BM25, in Bedrock's shapes. Knows no HTTP and no files.

Rerankers, guardrails, implicit filters and the user's context are taken and have no effect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from pointsman.errors import InvalidRequestError
from pointsman.local.blocks import parse_json
from pointsman.local.metadata_filters import check_filter, matches
from pointsman.local.passages import Passage, read_folder
from pointsman.local.refusals import Refusal, invalid
from pointsman.local.shapes import reader

_ID: Final = re.compile(r"[0-9a-zA-Z]{10}")
_TOKEN: Final = re.compile(r"(?P<digest>[0-9a-f]{16})-(?P<begin>\d{1,9})")
_DEFAULT_RESULTS: Final = 5
"""Bedrock's own, https://docs.aws.amazon.com/bedrock/latest/userguide/kb-test-config.html (read 2026-11-28)."""
_BUCKET: Final = "s3://pointsman-local"
_PREFIX: Final = "x-amz-bedrock-kb-"

_Words = Callable[[list[str]], list[list[str]]]


class KnowledgeBases:
    """The knowledge bases of an endpoint, by id; their folders are read now, and not again.

    Raises:
        InvalidRequestError: an id is not one, or a folder is missing or has nothing to read.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        for knowledge_base_id in folders:
            if not _ID.fullmatch(knowledge_base_id):
                raise InvalidRequestError(
                    f"{knowledge_base_id!r} is no id of a knowledge base: it has ten letters and digits."
                )
        self._indexes = {
            knowledge_base_id: _Index(knowledge_base_id, read_folder(folder))
            for knowledge_base_id, folder in folders.items()
        }

    def retrieve(self, knowledge_base_id: str, body: bytes) -> dict[str, Any]:
        """Retrieve.

        Raises:
            Refusal: as Bedrock would refuse it.
        """
        raw = {**parse_json(body), "knowledgeBaseId": knowledge_base_id}
        try:
            return self._retrieve(reader("Retrieve", service="bedrock-agent-runtime")(raw, ""))
        except RecursionError as exc:
            raise invalid("The value at retrievalConfiguration.filter is invalid: it is nested too deeply.") from exc

    def _retrieve(self, request: Mapping[str, Any]) -> dict[str, Any]:
        configuration = request.get("retrievalConfiguration", {})
        search = configuration.get("vectorSearchConfiguration") or configuration.get("managedSearchConfiguration") or {}
        query = _query(request["retrievalQuery"])
        if "filter" in search:
            check_filter(search["filter"], "retrievalConfiguration.filter")
        results = self._index(request["knowledgeBaseId"]).results(query, search.get("filter"))
        page = _page(request, results, search.get("numberOfResults", _DEFAULT_RESULTS))
        return page | ({"guardrailAction": "NONE"} if "guardrailConfiguration" in request else {})

    def _index(self, id_or_arn: str) -> _Index:
        name = id_or_arn.rpartition("/")[2]
        if name not in self._indexes:
            raise Refusal("ResourceNotFoundException", f"Knowledge Base with id {name} does not exist")
        return self._indexes[name]


class _Index:
    """The passages of one knowledge base and their words."""

    def __init__(self, knowledge_base_id: str, passages: tuple[Passage, ...]) -> None:
        # Imported here: an endpoint without a knowledge base starts faster without it, and without scipy, which it
        # takes where it finds it.
        import bm25s

        self._passages = passages
        self._metadata = [_metadata(knowledge_base_id, passage) for passage in passages]
        self._words: _Words = partial(bm25s.tokenize, return_ids=False, show_progress=False)
        self._bm25 = bm25s.BM25(backend="numpy")
        words = self._words([passage.text for passage in passages])
        self._known = frozenset(word for one in words for word in one)
        if self._known:
            self._bm25.index(words, show_progress=False)

    def results(self, query: str, condition: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """All passages with a word of the query, best first; of equal ones in their order in the folder."""
        words = [word for word in self._words([query])[0] if word in self._known]
        if not words:
            return []
        scores = self._bm25.get_scores(words).tolist()
        found = [
            number
            for number, score in enumerate(scores)
            if score > 0 and (condition is None or matches(condition, self._metadata[number]))
        ]
        found.sort(key=lambda number: -scores[number])
        return [self._result(number, scores[number]) for number in found]

    def _result(self, number: int, score: float) -> dict[str, Any]:
        metadata = self._metadata[number]
        return {
            "content": {"text": self._passages[number].text, "type": "TEXT"},
            "location": {"type": "S3", "s3Location": {"uri": metadata[f"{_PREFIX}source-uri"]}},
            "metadata": metadata,
            # BM25 has no upper bound; a client's threshold expects one.
            "score": round(score / (1 + score), 6),
        }


def _metadata(knowledge_base_id: str, passage: Passage) -> dict[str, Any]:
    metadata = {
        **passage.attributes,
        f"{_PREFIX}source-uri": f"{_BUCKET}/{knowledge_base_id}/{passage.path}",
        f"{_PREFIX}chunk-id": passage.id,
        f"{_PREFIX}data-source-id": knowledge_base_id,
    }
    if passage.page is not None:
        metadata[f"{_PREFIX}document-page-number"] = passage.page
    return metadata


def _query(query: Mapping[str, Any]) -> str:
    if query.get("type", "TEXT") != "TEXT" or "image" in query:
        raise invalid("The local endpoint retrieves by text only.")
    text: str = query.get("text", "")
    if not text.strip():
        raise invalid("The value at retrievalQuery.text is invalid: the query is empty.")
    return text


def _page(request: Mapping[str, Any], results: list[dict[str, Any]], size: int) -> dict[str, Any]:
    """The results from where the request's token points to, with a token for those behind."""
    asked = {name: value for name, value in request.items() if name != "nextToken"}
    digest = blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=8).hexdigest()
    begin = 0
    if "nextToken" in request:
        token = _TOKEN.fullmatch(request["nextToken"])
        if token is None or token["digest"] != digest:
            raise invalid("The provided nextToken is invalid: it is not one of this query.")
        begin = int(token["begin"])
    end = begin + size
    page: dict[str, Any] = {"retrievalResults": results[begin:end]}
    if end < len(results):
        page["nextToken"] = f"{digest}-{end}"
    return page
