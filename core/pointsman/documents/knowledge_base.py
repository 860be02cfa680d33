"""Retrieve of Bedrock's knowledge bases, sync and async, by a boto3 client that is given.

What was retrieved is registered with the session; its place in the prompt is chosen elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol, get_args

from pointsman.documents.document import Document
from pointsman.documents.results import read_result
from pointsman.documents.sessions import current_session
from pointsman.errors import InvalidRequestError
from pointsman.threads import Threads

SearchType = Literal["HYBRID", "SEMANTIC", "MANAGED"]
"""HYBRID and SEMANTIC override what a vector store does by itself; MANAGED is for managed knowledge bases."""

# API reference of Retrieve, read from botocore's service model (2026-11-28).
_MOST_RESULTS = 100
_LONGEST_QUERY = 20_000
_RERANKING_MODELS = ("MANAGED", "NONE")
# Pages of nothing but images, or of passages that were returned before, must not go on for ever.
_MOST_PAGES = 20


class Registers(Protocol):
    """Takes in what a retriever returned, as a `Session` does."""

    def register(self, documents: tuple[Document, ...], /) -> object:
        """Called with the documents of one retrieval, also with none."""


class KnowledgeBase:
    """A knowledge base, queried through a boto3 client of `bedrock-agent-runtime`.

    ```python
    handbook = KnowledgeBase("ABCDEFGHIJ", client=boto3.client("bedrock-agent-runtime"), results=8)
    with pointsman.session("thread-7", scope="tenant-a"):
        documents = handbook.retrieve("Who sets the points?")
    ```

    Args:
        id: the knowledge base's id or ARN.
        client: anything that has boto3's `retrieve`.
        results: how many documents a query returns at most, 1 to 100.
        filter: the API's RetrievalFilter; holds for every query, together with the query's own.
        implicit_filter: the API's implicitFilterConfiguration.
        search_type: without one, Bedrock decides; a managed knowledge base needs MANAGED.
        reranking: the API's rerankingConfiguration; for MANAGED also "MANAGED" (the service's own model) or "NONE".
        user_context: the API's userContext, `{"userId": ...}`, for access control.
        guardrail: the API's guardrailConfiguration.
        minimum_score: documents with a lower score are left out; one without a score is kept.

    Raises:
        InvalidRequestError: an argument is one that the API would refuse.
    """

    def __init__(
        self,
        id: str,
        *,
        client: Any,
        results: int = 5,
        filter: Mapping[str, Any] | None = None,
        implicit_filter: Mapping[str, Any] | None = None,
        search_type: SearchType | None = None,
        reranking: Mapping[str, Any] | Literal["MANAGED", "NONE"] | None = None,
        user_context: Mapping[str, str] | None = None,
        guardrail: Mapping[str, str] | None = None,
        minimum_score: float | None = None,
    ) -> None:
        if not isinstance(id, str) or not id:
            raise InvalidRequestError(f"the knowledge base's id is {id!r}. Give its id or ARN.")
        _check_search(search_type, reranking, implicit_filter)
        self.id = id
        self.client = client
        self._results = _checked_results(results)
        self._filter = filter
        self._implicit_filter = implicit_filter
        self._search_type = search_type
        self._reranking = reranking
        self._user_context = user_context
        self._guardrail = guardrail
        self._minimum_score = minimum_score

    def retrieve(
        self,
        query: str,
        *,
        results: int | None = None,
        filter: Mapping[str, Any] | None = None,
        user_context: Mapping[str, str] | None = None,
        session: Registers | None = None,
    ) -> tuple[Document, ...]:
        """The documents for a query, best first, each passage once; what has no text is left out.

        They are registered with the session, by default with the current one, also where there are none. A filter
        narrows the knowledge base's own; a user context stands in place of its own.

        Raises:
            InvalidRequestError: an argument is one that the API would refuse; nothing was sent.
            botocore.exceptions.ClientError: Bedrock's refusal.
        """
        most = self._results if results is None else _checked_results(results)
        request = self._request(_checked_query(query), most, filter, user_context)
        documents = tuple(self._documents(request, most))
        session = session if session is not None else current_session()
        if session is not None:
            session.register(documents)
        return documents

    def _documents(self, request: Mapping[str, Any], most: int) -> Iterator[Document]:
        known: set[str | None] = set()
        for page in self._pages(request):
            read = [read_result(result, self.id) for result in page.get("retrievalResults", ())]
            found = [document for document in read if document is not None]
            good = [document for document in found if not self._is_below_minimum(document)]
            for document in good:
                if document.id not in known and len(known) < most:
                    known.add(document.id)
                    yield document
            # Results come best first: behind one below the minimum there is none above it.
            if len(known) >= most or len(good) < len(found):
                return

    def _pages(self, request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        token: Mapping[str, Any] = {}
        for _ in range(_MOST_PAGES):
            page = self.client.retrieve(**request, **token)
            yield page
            if not page.get("nextToken"):
                return
            token = {"nextToken": page["nextToken"]}

    def _is_below_minimum(self, document: Document) -> bool:
        if self._minimum_score is None or document.score is None:
            return False
        return document.score < self._minimum_score

    def _request(
        self,
        query: str,
        results: int,
        narrowing: Mapping[str, Any] | None,
        user_context: Mapping[str, str] | None,
    ) -> dict[str, Any]:
        configuration = self._search(results, _both(self._filter, narrowing))
        managed = self._search_type == "MANAGED"
        request = {
            "knowledgeBaseId": self.id,
            "retrievalQuery": {"text": query},
            "retrievalConfiguration": {
                "managedSearchConfiguration" if managed else "vectorSearchConfiguration": configuration
            },
            "userContext": self._user_context if user_context is None else user_context,
            "guardrailConfiguration": self._guardrail,
        }
        return _given(request)

    def _search(self, results: int, condition: Mapping[str, Any] | None) -> dict[str, Any]:
        search: dict[str, Any] = {"numberOfResults": results, "filter": condition}
        named = isinstance(self._reranking, str)
        if not named:
            search["rerankingConfiguration"] = self._reranking
        if self._search_type != "MANAGED":
            search |= {
                "overrideSearchType": self._search_type,
                "implicitFilterConfiguration": self._implicit_filter,
            }
        elif self._reranking is not None:
            search["rerankingModelType"] = self._reranking if named else "CUSTOM"
        return _given(search)


class AsyncKnowledgeBase:
    """The same for asyncio: boto3 in threads of its own, as many as the client's pool has connections.

    Takes what `KnowledgeBase` takes.
    """

    def __init__(self, id: str, *, client: Any, **options: Any) -> None:
        self._sync = KnowledgeBase(id, client=client, **options)
        self._threads = Threads(client)

    @property
    def id(self) -> str:
        """The knowledge base's id or ARN."""
        return self._sync.id

    async def retrieve(
        self,
        query: str,
        *,
        results: int | None = None,
        filter: Mapping[str, Any] | None = None,
        user_context: Mapping[str, str] | None = None,
        session: Registers | None = None,
    ) -> tuple[Document, ...]:
        """As `KnowledgeBase.retrieve`."""
        return await self._threads.run(
            self._sync.retrieve, query, results=results, filter=filter, user_context=user_context, session=session
        )

    def close(self) -> None:
        """Let the threads go once what is under way has ended."""
        self._threads.close()

    async def __aenter__(self) -> AsyncKnowledgeBase:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def _checked_results(results: int) -> int:
    if isinstance(results, bool) or not isinstance(results, int) or not 1 <= results <= _MOST_RESULTS:
        raise InvalidRequestError(f"results is {results!r}; it must be a whole number from 1 to {_MOST_RESULTS}.")
    return results


def _checked_query(query: str) -> str:
    if not isinstance(query, str) or not query.strip():
        raise InvalidRequestError(f"the query is {query!r}. Give the text to search for.")
    if len(query) > _LONGEST_QUERY:
        raise InvalidRequestError(
            f"the query has {len(query)} characters; Retrieve takes {_LONGEST_QUERY}. Shorten it."
        )
    return query


def _check_search(search_type: object, reranking: object, implicit_filter: object) -> None:
    known = get_args(SearchType)
    if search_type is not None and search_type not in known:
        raise InvalidRequestError(f"unknown search type {search_type!r}. Known: {', '.join(known)}.")
    if isinstance(reranking, str) and (search_type != "MANAGED" or reranking not in _RERANKING_MODELS):
        raise InvalidRequestError(
            f"reranking is {reranking!r}. Give the API's rerankingConfiguration; "
            f"{' or '.join(_RERANKING_MODELS)} goes with the search type MANAGED only."
        )
    if implicit_filter is not None and search_type == "MANAGED":
        raise InvalidRequestError("the search type MANAGED takes no implicit_filter. Leave it out, or give a filter.")


def _both(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A filter that lets through what both do; flat, for Bedrock takes few levels of them."""
    if not one or not other:
        return one or other or None
    return {"andAll": [*one.get("andAll", (one,)), *other.get("andAll", (other,))]}


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
