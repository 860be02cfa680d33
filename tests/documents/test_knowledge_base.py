"""Knowledge bases as documents: by boto3 from a local endpoint, and what only AWS returns from botocore's stubber."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from botocore.stub import Stubber

from pointsman.documents.document import Document
from pointsman.documents.knowledge_base import AsyncKnowledgeBase, KnowledgeBase
from pointsman.documents.sessions import current_session, session
from pointsman.errors import InvalidRequestError
from pointsman.local import LocalEndpoint

KB = "HANDBOOK01"
SIGNALS = 12


class Registry:
    """What was registered, call by call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Document, ...]] = []

    def register(self, documents: tuple[Document, ...]) -> None:
        self.calls.append(documents)


class Recording:
    """A boto3 client that keeps what was asked of it."""

    def __init__(self, client: Any) -> None:
        self.meta = client.meta
        self.requests: list[dict[str, Any]] = []
        self._client = client

    def retrieve(self, **request: Any) -> Any:
        self.requests.append(request)
        return self._client.retrieve(**request)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEndpoint]:
    """Twelve passages on signals in as many files, and a text with a title."""
    folder: Path = tmp_path_factory.mktemp("handbook")
    for number in range(SIGNALS):
        (folder / f"signal-{number:02}.md").write_text(f"Signal {number} stands at mile {number}. " * (number + 1))
    (folder / "gates.txt").write_text("Gates are closed by night.")
    (folder / "gates.txt.metadata.json").write_text('{"metadataAttributes": {"title": "On gates", "team": "gates"}}')
    with LocalEndpoint(knowledge_bases={KB: folder}) as endpoint:
        yield endpoint


@pytest.fixture
def client(running: LocalEndpoint) -> Recording:
    return Recording(running.client("bedrock-agent-runtime"))


@pytest.fixture
def stubbed(running: LocalEndpoint) -> Iterator[Callable[..., Any]]:
    """stubbed(page, page, ...) is a boto3 client that answers with these pages; botocore checks their shapes."""
    client = running.client("bedrock-agent-runtime")
    stubber = Stubber(client)

    def answer(*pages: dict[str, Any]) -> Any:
        for page in pages:
            stubber.add_response("retrieve", page)
        return client

    with stubber:
        yield answer
    stubber.assert_no_pending_responses()


def result(text: str = "Text.", **members: Any) -> dict[str, Any]:
    """A result with this text, and members that stand in place of its own."""
    return {
        "content": {"text": text, "type": "TEXT"},
        "location": {"type": "S3", "s3Location": {"uri": "s3://a"}},
    } | members


def page(*results: dict[str, Any], token: str | None = None, **members: Any) -> dict[str, Any]:
    """A reply of Retrieve."""
    return {"retrievalResults": list(results), **({"nextToken": token} if token else {}), **members}


class TestDocuments:
    def test_a_result_becomes_a_document(self, client: Recording) -> None:
        (document,) = KnowledgeBase(KB, client=client).retrieve("gates")
        assert document.text == "Gates are closed by night."
        assert document.source == f"s3://pointsman-local/{KB}/gates.txt"
        assert (document.title, document.knowledge_base) == ("On gates", KB)
        assert document.score is not None
        assert document.metadata["team"] == "gates"

    def test_a_passage_has_the_same_id_whatever_was_asked(self, running: LocalEndpoint) -> None:
        """And from another client."""
        first, second = (
            KnowledgeBase(KB, client=running.client("bedrock-agent-runtime")).retrieve(query)[0]
            for query in ("gates", "night")
        )
        assert first.id == second.id
        assert first.id is not None
        assert first.id.startswith(f"s3://pointsman-local/{KB}/gates.txt#")

    def test_passages_of_one_document_have_ids_of_their_own(self, stubbed: Callable[..., Any]) -> None:
        """The API's `documentId` names the document that they were cut from."""
        client = stubbed(page(result("One.", documentId="D-1"), result("Two.", documentId="D-1")))
        one, two = KnowledgeBase(KB, client=client).retrieve("x")
        assert (str(one.id).partition("#")[0], str(two.id).partition("#")[0]) == ("D-1", "D-1")
        assert one.id != two.id

    def test_the_same_text_from_two_places_is_two_documents(self, stubbed: Callable[..., Any]) -> None:
        elsewhere = {"type": "S3", "s3Location": {"uri": "s3://b"}}
        documents = KnowledgeBase(KB, client=stubbed(page(result(), result(location=elsewhere)))).retrieve("x")
        assert [document.source for document in documents] == ["s3://a", "s3://b"]
        assert documents[0].id != documents[1].id

    @pytest.mark.parametrize(
        ("location", "source"),
        [
            ({"type": "S3", "s3Location": {"uri": "s3://bucket/a.pdf"}}, "s3://bucket/a.pdf"),
            ({"type": "WEB", "webLocation": {"url": "https://web.example"}}, "https://web.example"),
            ({"type": "CONFLUENCE", "confluenceLocation": {"url": "https://con.example"}}, "https://con.example"),
            ({"type": "SALESFORCE", "salesforceLocation": {"url": "https://sal.example"}}, "https://sal.example"),
            ({"type": "SHAREPOINT", "sharePointLocation": {"url": "https://sha.example"}}, "https://sha.example"),
            ({"type": "ONEDRIVE", "oneDriveLocation": {"url": "https://one.example"}}, "https://one.example"),
            ({"type": "GOOGLEDRIVE", "googleDriveLocation": {"url": "https://goo.example"}}, "https://goo.example"),
            ({"type": "KENDRA", "kendraDocumentLocation": {"uri": "https://ken.example"}}, "https://ken.example"),
            ({"type": "CUSTOM", "customDocumentLocation": {"id": "doc-7"}}, "doc-7"),
            ({"type": "SQL", "sqlLocation": {"query": "SELECT 1"}}, "SELECT 1"),
            ({"type": "S3"}, None),
        ],
    )
    def test_every_type_of_location_is_a_source(
        self, location: dict[str, Any], source: str | None, stubbed: Callable[..., Any]
    ) -> None:
        (document,) = KnowledgeBase(KB, client=stubbed(page(result(location=location)))).retrieve("x")
        assert document.source == source

    def test_every_type_of_location_that_botocore_knows_is_tested_above(self, client: Recording) -> None:
        """So that a new one is noticed."""
        shape = client.meta.service_model.shape_for("RetrievalResultLocation")
        (mark,) = [
            mark for mark in type(self).test_every_type_of_location_is_a_source.pytestmark if mark.name == "parametrize"
        ]
        tested = {name for location, _ in mark.args[1] for name in location} - {"type"}
        assert set(shape.members) - {"type"} == tested

    def test_the_metadata_tell_the_source_where_the_location_does_not(self, stubbed: Callable[..., Any]) -> None:
        told = result(location={"type": "S3"}, metadata={"x-amz-bedrock-kb-source-uri": "s3://told"})
        (document,) = KnowledgeBase(KB, client=stubbed(page(told))).retrieve("x")
        assert document.source == "s3://told"

    def test_rows_and_what_was_said_are_text_and_images_are_left_out(self, stubbed: Callable[..., Any]) -> None:
        row = [{"columnName": "line", "columnValue": "7"}, {"columnName": "gauge", "columnValue": "1435"}]
        client = stubbed(
            page(
                result(content={"type": "IMAGE", "byteContent": "data:image/png;base64,AAAA"}),
                result(content={"type": "ROW", "row": row}),
                result(
                    content={"type": "AUDIO", "audio": {"s3Uri": "s3://said.mp3", "transcription": "Mind the gap."}}
                ),
                result(content={"type": "VIDEO", "video": {"s3Uri": "s3://seen.mp4", "summary": "A train."}}),
                result(content={"type": "VIDEO", "video": {"s3Uri": "s3://silent.mp4"}}),
                result(" \n"),
            )
        )
        documents = KnowledgeBase(KB, client=client, results=10).retrieve("x")
        assert [document.text for document in documents] == ["line: 7\ngauge: 1435", "Mind the gap.", "A train."]

    def test_what_a_guardrail_left_is_what_is_returned(self, stubbed: Callable[..., Any]) -> None:
        client = stubbed(page(result("Masked {NAME}."), guardrailAction="INTERVENED"))
        assert [document.text for document in KnowledgeBase(KB, client=client).retrieve("x")] == ["Masked {NAME}."]


class TestPages:
    def test_pages_are_read_until_there_are_enough(self, stubbed: Callable[..., Any]) -> None:
        """A passage that comes again, and an image, don't count; what is too much is left."""
        image = result(content={"type": "IMAGE", "byteContent": "data:,"})
        client = stubbed(
            page(result("1"), image, token="t1"),
            page(result("1"), result("2"), token="t2"),
            page(result("3"), result("4"), token="t3"),
        )
        documents = KnowledgeBase(KB, client=client, results=3).retrieve("x")
        assert [document.text for document in documents] == ["1", "2", "3"]

    def test_pages_end_where_there_are_no_more(self, client: Recording) -> None:
        documents = KnowledgeBase(KB, client=client, results=100).retrieve("signal")
        assert len(documents) == len({document.id for document in documents}) == SIGNALS
        assert len(client.requests) == 1

    def test_a_page_repeats_the_request_with_its_token(self, stubbed: Callable[..., Any]) -> None:
        client = Recording(stubbed(page(token="t1"), page(result())))
        assert len(KnowledgeBase(KB, client=client, results=7).retrieve("x")) == 1
        first, second = client.requests
        assert second == {**first, "nextToken": "t1"}

    def test_pages_without_documents_do_not_go_on_for_ever(self, stubbed: Callable[..., Any]) -> None:
        assert KnowledgeBase(KB, client=stubbed(*[page(token="t")] * 20)).retrieve("x") == ()

    def test_a_minimum_score_ends_them(self, stubbed: Callable[..., Any]) -> None:
        """A result without a score is kept: nothing is known against it."""
        client = stubbed(page(result("1", score=0.9), result("2"), result("3", score=0.3), token="t1"))
        documents = KnowledgeBase(KB, client=client, minimum_score=0.5).retrieve("x")
        assert [document.text for document in documents] == ["1", "2"]


class TestRequests:
    def test_the_number_of_results_is_all_that_is_set_by_itself(self, client: Recording) -> None:
        KnowledgeBase(KB, client=client).retrieve("signal")
        assert client.requests == [
            {
                "knowledgeBaseId": KB,
                "retrievalQuery": {"text": "signal"},
                "retrievalConfiguration": {"vectorSearchConfiguration": {"numberOfResults": 5}},
            }
        ]

    def test_options_go_where_the_api_has_them(self, client: Recording) -> None:
        """The endpoint holds them against the service model."""
        model = "arn:aws:bedrock:us-east-1::foundation-model/amazon.rerank-v1:0"
        reranking = {
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {"modelConfiguration": {"modelArn": model}},
        }
        implicit = {
            "metadataAttributes": [{"key": "team", "type": "STRING", "description": "Whose it is."}],
            "modelArn": "anthropic.claude-haiku-5-5",
        }
        guardrail = {"guardrailId": "abc", "guardrailVersion": "1"}
        knowledge_base = KnowledgeBase(
            KB,
            client=client,
            search_type="HYBRID",
            reranking=reranking,
            implicit_filter=implicit,
            user_context={"userId": "ann"},
            guardrail=guardrail,
        )
        knowledge_base.retrieve("signal", results=2)
        knowledge_base.retrieve("signal", user_context={"userId": "bob"})
        first, second = client.requests
        assert first["retrievalConfiguration"]["vectorSearchConfiguration"] == {
            "numberOfResults": 2,
            "overrideSearchType": "HYBRID",
            "rerankingConfiguration": reranking,
            "implicitFilterConfiguration": implicit,
        }
        assert (first["userContext"], first["guardrailConfiguration"]) == ({"userId": "ann"}, guardrail)
        assert second["userContext"] == {"userId": "bob"}

    @pytest.mark.parametrize(
        ("reranking", "sent"),
        [
            (None, {}),
            ("NONE", {"rerankingModelType": "NONE"}),
            (
                {"type": "BEDROCK_RERANKING_MODEL"},
                {"rerankingModelType": "CUSTOM", "rerankingConfiguration": {"type": "BEDROCK_RERANKING_MODEL"}},
            ),
        ],
    )
    def test_a_managed_knowledge_base_is_searched_its_own_way(
        self, reranking: Any, sent: dict[str, Any], client: Recording
    ) -> None:
        knowledge_base = KnowledgeBase(KB, client=client, search_type="MANAGED", reranking=reranking)
        assert knowledge_base.retrieve("gates")
        assert client.requests[0]["retrievalConfiguration"] == {
            "managedSearchConfiguration": {"numberOfResults": 5, **sent}
        }

    def test_a_querys_filter_narrows_the_knowledge_bases_own(self, client: Recording) -> None:
        """It can't widen it: the knowledge base's own may stand between tenants."""
        gates = {"equals": {"key": "team", "value": "gates"}}
        others = {"notEquals": {"key": "team", "value": "gates"}}
        knowledge_base = KnowledgeBase(KB, client=client, filter=gates)
        assert [document.title for document in knowledge_base.retrieve("signal gates")] == ["On gates"]
        assert knowledge_base.retrieve("signal gates", filter=others) == ()
        assert knowledge_base.retrieve("signal gates", filter={"andAll": [others, others]}) == ()
        filters = [
            request["retrievalConfiguration"]["vectorSearchConfiguration"]["filter"] for request in client.requests
        ]
        assert filters == [gates, {"andAll": [gates, others]}, {"andAll": [gates, others, others]}]

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"id": ""}, "''"),
            ({"results": 0}, "results is 0"),
            ({"results": 101}, "results is 101"),
            ({"results": True}, "results is True"),
            ({"search_type": "LEXICAL"}, "'LEXICAL'"),
            ({"reranking": "MANAGED"}, "'MANAGED'"),
            ({"search_type": "MANAGED", "reranking": "CUSTOM"}, "'CUSTOM'"),
            ({"search_type": "MANAGED", "implicit_filter": {}}, "implicit_filter"),
        ],
        ids=str,
    )
    def test_options_that_the_api_would_refuse_are_named(
        self, options: dict[str, Any], named: str, client: Recording
    ) -> None:
        with pytest.raises(InvalidRequestError, match=named):
            KnowledgeBase(**{"id": KB, "client": client, **options})

    @pytest.mark.parametrize(
        ("query", "options", "named"),
        [
            ("", {}, "query is ''"),
            (" \n", {}, "the query is"),
            (None, {}, "query is None"),
            ("x" * 20_001, {}, "20001 characters"),
            ("x", {"results": 101}, "results is 101"),
        ],
    )
    def test_a_query_that_the_api_would_refuse_is_not_sent(
        self, query: Any, options: dict[str, Any], named: str, client: Recording
    ) -> None:
        registry = Registry()
        with pytest.raises(InvalidRequestError, match=named):
            KnowledgeBase(KB, client=client).retrieve(query, session=registry, **options)
        assert client.requests == []
        assert registry.calls == []

    def test_bedrocks_refusal_passes_through(self, running: LocalEndpoint) -> None:
        """And nothing is registered."""
        client, registry = running.client("bedrock-agent-runtime"), Registry()
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            KnowledgeBase("NOWHERE001", client=client).retrieve("signal", session=registry)
        assert registry.calls == []


class TestSessions:
    def test_what_is_returned_is_registered_once(self, client: Recording) -> None:
        registry = Registry()
        documents = KnowledgeBase(KB, client=client).retrieve("signal", session=registry)
        assert len(documents) == 5
        assert registry.calls == [documents]

    def test_that_nothing_was_found_is_registered_too(self, client: Recording) -> None:
        registry = Registry()
        assert KnowledgeBase(KB, client=client).retrieve("zebra", session=registry) == ()
        assert registry.calls == [()]

    def test_the_current_session_is_meant_where_none_is_given(
        self, client: Recording, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = Registry()
        with session("thread-7", scope="tenant-a") as current:
            monkeypatch.setattr(current, "register", registry.register)
            documents = KnowledgeBase(KB, client=client).retrieve("gates")
        assert registry.calls == [documents]
        KnowledgeBase(KB, client=client).retrieve("gates")
        assert len(registry.calls) == 1


class TestAsync:
    async def test_it_returns_what_the_other_does(self, client: Recording) -> None:
        expected = KnowledgeBase(KB, client=client, results=3).retrieve("signal")
        async with AsyncKnowledgeBase(KB, client=client, results=3) as knowledge_base:
            assert knowledge_base.id == KB
            assert await knowledge_base.retrieve("signal") == expected
            assert len(await knowledge_base.retrieve("signal", results=1)) == 1
            with pytest.raises(InvalidRequestError, match="query is ''"):
                await knowledge_base.retrieve("")
        assert client.requests[0] == client.requests[1]

    async def test_each_task_has_its_own_session(self, client: Recording) -> None:
        """The thread that retrieves sees the session of the task that awaits it."""
        seen: list[tuple[str, str]] = []
        retrieve = client.retrieve

        def watching(**request: Any) -> Any:
            current = current_session()
            seen.append((current.id if current else "", request["retrievalQuery"]["text"]))
            return retrieve(**request)

        client.retrieve = watching  # type: ignore[method-assign]  # the test's own object
        async with AsyncKnowledgeBase(KB, client=client) as knowledge_base:

            async def ask(thread: str, query: str) -> None:
                with session(thread, scope="tenant-a"):
                    await knowledge_base.retrieve(query)

            await asyncio.gather(ask("one", "signal"), ask("two", "gates"))
        assert sorted(seen) == [("one", "signal"), ("two", "gates")]

    async def test_as_many_run_at_once_as_the_pool_has_connections(self, running: LocalEndpoint) -> None:
        """A barrier of ten lets none through before all are there."""
        client, barrier = Recording(running.client("bedrock-agent-runtime")), Barrier(10, timeout=20)
        retrieve = client.retrieve

        def waiting(**request: Any) -> Any:
            barrier.wait()
            return retrieve(**request)

        client.retrieve = waiting  # type: ignore[method-assign]  # the test's own object
        async with AsyncKnowledgeBase(KB, client=client) as knowledge_base:
            found = await asyncio.gather(*(knowledge_base.retrieve("gates") for _ in range(10)))
        assert len({documents[0].id for documents in found}) == 1

    async def test_the_callers_context_is_not_changed(self, client: Recording) -> None:
        """What a client sets in its thread stays there."""
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="mine")
        retrieve = client.retrieve

        def setting(**request: Any) -> Any:
            variable.set("the client's")
            return retrieve(**request)

        client.retrieve = setting  # type: ignore[method-assign]  # the test's own object
        async with AsyncKnowledgeBase(KB, client=client) as knowledge_base:
            await knowledge_base.retrieve("gates")
        assert variable.get() == "mine"
