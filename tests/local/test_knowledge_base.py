"""Retrieve over folders, through boto3: what is found, in which shape, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.config import Config
from fpdf import FPDF

from pointsman.errors import InvalidRequestError
from pointsman.local import LocalEndpoint
from pointsman.local.passages import cut, read_folder

KB = "HANDBOOK01"
KEY = "correct horse battery staple"
ATTRIBUTES = {"team": "signals", "year": 2024, "draft": True, "topics": ["points", "signal boxes"]}
PREFIX = "x-amz-bedrock-kb-"

Retrieve = Callable[..., dict[str, Any]]
Found = Callable[..., set[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rules as Markdown with attributes, a text one folder below, a PDF of two pages, and what is not to be read."""
    folder = tmp_path_factory.mktemp("handbook")
    (folder / "rules.md").write_text("# Points\n\nThe signalman sets the points, and locks them.\n")
    (folder / "rules.md.metadata.json").write_text(json.dumps({"metadataAttributes": ATTRIBUTES}))
    (folder / "yard").mkdir()
    (folder / "yard" / "shunting.txt").write_text(
        "\ufeffShunting is done at walking pace.\r\n\r\nNo points are forced."
    )
    document = FPDF()
    document.set_font("Helvetica", size=12)
    for page in ("A lantern shows the points by day.", "A lantern shows the gate by night."):
        document.add_page()
        document.multi_cell(0, 6, page)
    document.output(str(folder / "lanterns.PDF"))
    (folder / ".git").mkdir()
    (folder / ".git" / "hidden.txt").write_text("Hidden points.")
    (folder / ".hidden.md").write_text("Hidden points.")
    (folder / "table.csv").write_text("points,points\n")
    return folder


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[LocalEndpoint]:
    with LocalEndpoint(knowledge_bases={KB: folder}) as endpoint:
        yield endpoint


@pytest.fixture
def client(running: LocalEndpoint) -> Any:
    return running.client("bedrock-agent-runtime", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def retrieve(client: Any) -> Retrieve:
    """retrieve("query", numberOfResults=3, ...): the reply; what is named is of the vector search."""

    def call(text: str, *, token: str | None = None, **search: Any) -> dict[str, Any]:
        request = {"retrievalConfiguration": {"vectorSearchConfiguration": search}} if search else {}
        if token is not None:
            request["nextToken"] = token
        reply: dict[str, Any] = client.retrieve(knowledgeBaseId=KB, retrievalQuery={"text": text}, **request)
        return reply

    return call


@pytest.fixture
def found(retrieve: Retrieve) -> Found:
    """found(filter) are the names of the files whose passages pass it."""

    def call(condition: dict[str, Any]) -> set[str]:
        reply = retrieve("points shunting lantern", numberOfResults=100, filter=condition)
        return {result["location"]["s3Location"]["uri"].rpartition("/")[2] for result in reply["retrievalResults"]}

    return call


def test_a_result_has_the_shape_of_bedrocks(retrieve: Retrieve) -> None:
    (best, *_) = retrieve("Who locks the points?")["retrievalResults"]
    assert best["content"] == {"text": "# Points\n\nThe signalman sets the points, and locks them.", "type": "TEXT"}
    uri = f"s3://pointsman-local/{KB}/rules.md"
    assert best["location"] == {"type": "S3", "s3Location": {"uri": uri}}
    assert 0 < best["score"] < 1
    metadata = best["metadata"]
    assert metadata.pop(f"{PREFIX}chunk-id")
    assert metadata == {f"{PREFIX}source-uri": uri, f"{PREFIX}data-source-id": KB, **ATTRIBUTES}


def test_a_pdf_is_cut_by_pages_and_its_page_is_told(retrieve: Retrieve) -> None:
    results = retrieve("lantern")["retrievalResults"]
    assert {(one["content"]["text"], one["metadata"][f"{PREFIX}document-page-number"]) for one in results} == {
        ("A lantern shows the points by day.", 1),
        ("A lantern shows the gate by night.", 2),
    }


def test_hidden_files_and_other_formats_are_passed_over(retrieve: Retrieve) -> None:
    results = retrieve("points", numberOfResults=100)["retrievalResults"]
    paths = [one["location"]["s3Location"]["uri"].removeprefix(f"s3://pointsman-local/{KB}/") for one in results]
    assert sorted(paths) == ["lanterns.PDF", "rules.md", "yard/shunting.txt"]


def test_a_text_has_no_byte_order_mark_and_plain_line_ends(retrieve: Retrieve) -> None:
    (result,) = retrieve("shunting")["retrievalResults"]
    assert result["content"]["text"] == "Shunting is done at walking pace.\n\nNo points are forced."


def test_the_best_comes_first_and_again_the_same(folder: Path, retrieve: Retrieve) -> None:
    """Also from another endpoint over the same folder."""
    reply = retrieve("points lantern night", numberOfResults=100)
    scores = [result["score"] for result in reply["retrievalResults"]]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1
    with LocalEndpoint(knowledge_bases={KB: folder}) as another:
        client = another.client("bedrock-agent-runtime")
        again = client.retrieve(
            knowledgeBaseId=KB,
            retrievalQuery={"text": "points lantern night"},
            retrievalConfiguration={"managedSearchConfiguration": {"numberOfResults": 100}},
        )
    assert again["retrievalResults"] == reply["retrievalResults"]


@pytest.mark.parametrize("query", ["zebra", "the and of", "?!"])
def test_a_query_that_shares_no_word_finds_nothing(query: str, retrieve: Retrieve) -> None:
    reply = retrieve(query)
    assert reply["retrievalResults"] == []
    assert "nextToken" not in reply


def test_pages_go_on_where_the_last_ended(client: Any, retrieve: Retrieve) -> None:
    """By botocore's own paginator; together they are what one large page holds."""
    pages = list(
        client.get_paginator("retrieve").paginate(
            knowledgeBaseId=KB,
            retrievalQuery={"text": "points lantern"},
            retrievalConfiguration={"vectorSearchConfiguration": {"numberOfResults": 3}},
        )
    )
    assert [len(page["retrievalResults"]) for page in pages] == [3, 1]
    whole = retrieve("points lantern", numberOfResults=100)["retrievalResults"]
    assert [result for page in pages for result in page["retrievalResults"]] == whole


def test_five_results_are_given_where_no_number_is_named(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text(f"Signal {number} stands here.")
    with LocalEndpoint(knowledge_bases={KB: tmp_path}) as endpoint:
        client = endpoint.client("bedrock-agent-runtime")
        reply = client.retrieve(knowledgeBaseId=KB, retrievalQuery={"text": "signal"})
    assert len(reply["retrievalResults"]) == 5
    assert reply["nextToken"]


def test_a_token_of_another_query_is_refused(retrieve: Retrieve, refused: Callable[..., Any]) -> None:
    token = retrieve("points", numberOfResults=1)["nextToken"]
    for attempt in [
        lambda: retrieve("lantern", numberOfResults=1, token=token),
        lambda: retrieve("points", numberOfResults=2, token=token),
        lambda: retrieve("points", numberOfResults=1, token="nonsense"),
    ]:
        code, status, message = refused(attempt)
        assert (code, status) == ("ValidationException", 400)
        assert "nextToken" in message


OTHERS = {"shunting.txt", "lanterns.PDF"}


@pytest.mark.parametrize(
    ("operator", "key", "value", "names"),
    [
        ("equals", "team", "signals", {"rules.md"}),
        ("equals", "year", 2024.0, {"rules.md"}),
        ("equals", "draft", True, {"rules.md"}),
        ("equals", "draft", 1, set()),
        ("notEquals", "team", "signals", OTHERS),
        ("notEquals", "team", "yard", OTHERS | {"rules.md"}),
        ("in", "team", ["yard", "signals"], {"rules.md"}),
        ("in", "team", ["yard"], set()),
        ("notIn", "team", ["signals"], OTHERS),
        ("notIn", "team", ["yard"], OTHERS | {"rules.md"}),
        ("greaterThan", "year", 2023, {"rules.md"}),
        ("greaterThan", "year", 2024, set()),
        ("greaterThanOrEquals", "year", 2024, {"rules.md"}),
        ("lessThan", "year", 2024, set()),
        ("lessThan", "year", 2024.5, {"rules.md"}),
        ("lessThanOrEquals", "year", 2024, {"rules.md"}),
        ("lessThan", "team", 2024, set()),
        ("lessThan", "draft", 2024, set()),
        ("greaterThan", f"{PREFIX}document-page-number", 1, {"lanterns.PDF"}),
        ("startsWith", "team", "sig", {"rules.md"}),
        ("startsWith", "team", "nals", set()),
        ("stringContains", "team", "nal", {"rules.md"}),
        ("stringContains", "topics", "box", {"rules.md"}),
        ("stringContains", f"{PREFIX}source-uri", "/yard/", {"shunting.txt"}),
        ("listContains", "topics", "points", {"rules.md"}),
        ("listContains", "topics", "point", set()),
        ("listContains", "team", "signals", set()),
    ],
)
def test_a_filter_lets_through_what_fulfils_it(
    operator: str, key: str, value: Any, names: set[str], found: Found
) -> None:
    assert found({operator: {"key": key, "value": value}}) == names


def test_filters_may_hold_filters(found: Found) -> None:
    team = {"equals": {"key": "team", "value": "signals"}}
    late = {"greaterThan": {"key": "year", "value": 2030}}
    yard = {"stringContains": {"key": f"{PREFIX}source-uri", "value": "/yard/"}}
    assert found({"orAll": [team, yard]}) == {"rules.md", "shunting.txt"}
    assert found({"andAll": [team, late]}) == set()
    assert found({"orAll": [{"andAll": [team, late]}, {"andAll": [yard, {"orAll": [team, yard]}]}]}) == {"shunting.txt"}


def test_a_filter_that_is_nested_beyond_reason_is_refused(running: LocalEndpoint) -> None:
    """As a mistake of the client's, not as a failure of the endpoint."""
    leaf, levels = '{"equals": {"key": "team", "value": "signals"}}', 400
    condition = f'{{"orAll": [{leaf}, ' * levels + leaf + "]}" * levels
    body = (
        '{"retrievalQuery": {"text": "points"}, "retrievalConfiguration": {"vectorSearchConfiguration": {"filter": '
        f"{condition}}}}}}}"
    )
    reply = httpx.post(f"{running.url}/knowledgebases/{KB}/retrieve", content=body)
    assert (reply.status_code, reply.headers["x-amzn-errortype"]) == (400, "ValidationException")
    assert "nested too deeply" in reply.json()["message"]


@pytest.mark.parametrize(
    "search",
    [
        {"numberOfResults": 101},
        {"overrideSearchType": "LEXICAL"},
        {"filter": {"in": {"key": "team", "value": "signals"}}},
        {"filter": {"greaterThan": {"key": "year", "value": "2024"}}},
        {"filter": {"startsWith": {"key": "team", "value": 1}}},
        {"filter": {"equals": {"key": "", "value": 1}}},
        {"filter": {"andAll": [{"equals": {"key": "team", "value": "signals"}}]}},
        {
            "filter": {
                "orAll": [{"equals": {"key": "a", "value": 1}}, {"andAll": [{"in": {"key": "a", "value": 1}}] * 2}]
            }
        },
    ],
    ids=str,
)
def test_what_the_api_would_refuse_is_refused(search: dict[str, Any], running: LocalEndpoint) -> None:
    """By raw HTTP, since botocore refuses some of it before it sends."""
    body = {"retrievalQuery": {"text": "points"}, "retrievalConfiguration": {"vectorSearchConfiguration": search}}
    reply = httpx.post(f"{running.url}/knowledgebases/{KB}/retrieve", json=body)
    assert (reply.status_code, reply.headers["x-amzn-errortype"]) == (400, "ValidationException")


@pytest.mark.parametrize("query", [{"text": " "}, {"text": "x" * 20_001}, {}, {"text": "points", "type": "IMAGE"}])
def test_a_query_is_a_text(query: dict[str, Any], running: LocalEndpoint) -> None:
    reply = httpx.post(f"{running.url}/knowledgebases/{KB}/retrieve", json={"retrievalQuery": query})
    assert (reply.status_code, reply.headers["x-amzn-errortype"]) == (400, "ValidationException")


def test_an_unknown_knowledge_base_is_not_found(client: Any, refused: Callable[..., Any]) -> None:
    code, status, message = refused(
        lambda: client.retrieve(knowledgeBaseId="NOWHERE001", retrievalQuery={"text": "points"})
    )
    assert (code, status) == ("ResourceNotFoundException", 404)
    assert "NOWHERE001" in message


def test_what_is_no_id_is_refused(client: Any, refused: Callable[..., Any]) -> None:
    code, _, message = refused(
        lambda: client.retrieve(knowledgeBaseId="no-id-of-them", retrievalQuery={"text": "points"})
    )
    assert code == "ValidationException"
    assert "knowledgeBaseId" in message


def test_an_arn_names_it_too(client: Any) -> None:
    arn = f"arn:aws:bedrock:us-east-1:123412341234:knowledge-base/{KB}"
    assert client.retrieve(knowledgeBaseId=arn, retrievalQuery={"text": "points"})["retrievalResults"]


def test_retrievals_are_accounted_and_cost_no_tokens(running: LocalEndpoint, retrieve: Retrieve) -> None:
    running.reset_account()
    retrieve("points")
    assert running.account()["operations"] == {"Retrieve": 1}
    assert running.account()["totals"]["requests"] == 0


def test_a_guardrail_has_no_effect_and_says_so(client: Any) -> None:
    guardrail = {"guardrailId": "abc", "guardrailVersion": "1"}
    reply = client.retrieve(knowledgeBaseId=KB, retrievalQuery={"text": "points"}, guardrailConfiguration=guardrail)
    assert reply["guardrailAction"] == "NONE"
    assert reply["retrievalResults"]


@pytest.mark.parametrize("named", [KB, f"arn:aws:bedrock:us-east-1:123412341234:knowledge-base/{KB}"])
def test_an_endpoint_with_a_key_wants_it_here_too(named: str, folder: Path, refused: Callable[..., Any]) -> None:
    with LocalEndpoint(knowledge_bases={KB: folder}, key=KEY) as endpoint:
        request = {"knowledgeBaseId": named, "retrievalQuery": {"text": "points"}}
        assert endpoint.client("bedrock-agent-runtime").retrieve(**request)["retrievalResults"]
        stranger = endpoint.client("bedrock-agent-runtime", aws_secret_access_key="wrong")
        assert refused(lambda: stranger.retrieve(**request))[:2] == ("InvalidSignatureException", 403)


class TestFolder:
    def test_a_missing_folder_is_told_at_the_start(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequestError, match="nowhere: no such folder"):
            LocalEndpoint(knowledge_bases={KB: tmp_path / "nowhere"}).start()

    def test_a_folder_with_nothing_to_read_is_told_at_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "empty.md").write_text("\n\n")
        (tmp_path / "image.png").write_bytes(b"png")
        with pytest.raises(InvalidRequestError, match=r"no text to read.*\.md, \.txt, \.pdf"):
            LocalEndpoint(knowledge_bases={KB: tmp_path}).start()

    def test_a_damaged_pdf_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "damaged.pdf").write_bytes(b"%PDF-1.7 nothing")
        with pytest.raises(InvalidRequestError, match=r"damaged\.pdf"):
            read_folder(tmp_path)

    @pytest.mark.parametrize("written", ["{", "[]", '{"metadataAttributes": 1}', '{"metadataAttributes": {"a": {}}}'])
    def test_damaged_attributes_are_named(self, written: str, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("Points.")
        (tmp_path / "a.txt.metadata.json").write_text(written)
        with pytest.raises(InvalidRequestError, match=r"a\.txt\.metadata\.json"):
            read_folder(tmp_path)

    def test_attributes_may_be_written_with_their_types(self, tmp_path: Path) -> None:
        value = {"value": {"type": "STRING_LIST", "stringListValue": ["x"]}, "includeForEmbedding": True}
        (tmp_path / "a.txt").write_text("Points.")
        (tmp_path / "a.txt.metadata.json").write_text(json.dumps({"metadataAttributes": {"topics": value}}))
        (passage,) = read_folder(tmp_path)
        assert passage.attributes == {"topics": ["x"]}

    @pytest.mark.parametrize("id", ["handbook", "HANDBOOK-1", "HANDBOOK012"])
    def test_an_id_is_one_that_clients_can_send(self, id: str, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("Points.")
        with pytest.raises(InvalidRequestError, match=id):
            LocalEndpoint(knowledge_bases={id: tmp_path}).start()


class TestPassages:
    def test_paragraphs_are_kept_whole_and_gathered(self) -> None:
        paragraphs = [f"{number} " + "word " * 99 + "end." for number in range(10)]
        passages = cut("\n\n".join(paragraphs))
        assert "\n\n".join(passages) == "\n\n".join(paragraphs)
        assert all(len(passage) <= 1200 for passage in passages)
        assert len(passages) == 5

    def test_a_heading_begins_a_passage_and_is_never_its_end(self) -> None:
        long = "word " * 120
        passages = cut(f"# One\n\n{long}\n\n## Two\n\n{long}\n\n# Three\n\n{long}")
        assert [passage.split("\n")[0] for passage in passages] == ["# One", "## Two", "# Three"]
        section = f"# One\n\n{'word ' * 237}end."
        assert cut(f"Before.\n\n{section}") == ["Before.", section]

    def test_short_sections_share_a_passage(self) -> None:
        assert cut("# One\n\nShort.\n\n# Two\n\nShort.") == ["# One\n\nShort.\n\n# Two\n\nShort."]

    def test_a_long_paragraph_is_cut_at_the_ends_of_sentences(self) -> None:
        sentences = [f"This is sentence {number} of a paragraph without an end." for number in range(100)]
        passages = cut(" ".join(sentences))
        assert len(passages) > 3
        assert all(passage.endswith(".") and len(passage) <= 1200 for passage in passages)
        assert " ".join(passages) == " ".join(sentences)

    def test_text_without_any_end_is_cut_all_the_same(self) -> None:
        passages = cut("x" * 5000)
        assert "".join(passages) == "x" * 5000
        assert max(map(len, passages)) == 1200
