"""Bedrock's model-invocation logs as traffic: what was sent and billed, and what can't be used, counted."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pdfs import pdf

from pointsman import CachePoint, InvalidRequestError, Usage
from pointsman.evaluation.traffic import RecordedRequest, read_traffic
from pointsman.prompt import Prompt
from pointsman.tokens import EstimatedTokens

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def logged(*texts: str, at: str = "2026-11-24T10:00:00Z", **changes: Any) -> dict[str, Any]:
    """A line of the log: a conversation of these texts, in the shape that Bedrock writes."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": [{"text": text}]} for i, text in enumerate(texts)]
    usage = {"inputTokens": 20, "outputTokens": 7, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 30}
    return {
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
        "timestamp": at,
        "accountId": "123412341234",
        "identity": {"arn": "arn:aws:iam::123412341234:user/me"},
        "region": "us-east-1",
        "requestId": "r",
        "operation": "Converse",
        "modelId": MODEL,
        "input": {
            "inputContentType": "application/json",
            "inputBodyJson": {"messages": messages},
            "inputTokenCount": 20,
            "cacheReadInputTokenCount": 100,
            "cacheWriteInputTokenCount": 30,
        },
        "output": {
            "outputContentType": "application/json",
            "outputBodyJson": {"stopReason": "end_turn", "usage": usage},
            "outputTokenCount": 7,
        },
        **changes,
    }


def read(tmp_path: Path, *lines: dict[str, Any]) -> tuple[list[RecordedRequest], Counter[str]]:
    """The requests of a log, and what was passed over."""
    path = tmp_path / "log.json"
    path.write_text("\n".join(map(json.dumps, lines)))
    skipped: Counter[str] = Counter()
    return list(read_traffic(path, skipped=skipped)), skipped


def test_a_line_is_a_request_with_what_it_was_billed(tmp_path: Path) -> None:
    """Model, time in seconds, outline, usage in inclusive buckets."""
    (request,), skipped = read(tmp_path, logged("Why?", at="1970-01-01T00:01:00Z"))
    assert (request.at, request.model, request.output_tokens) == (60.0, MODEL, 7)
    assert request.usage == Usage(input_tokens=150, cache_read_tokens=100, cache_write_tokens=30, output_tokens=7)
    assert [block.kind for block in request.outline.blocks] == ["text"]
    assert not skipped


def test_bytes_are_counted_as_what_they_are(tmp_path: Path) -> None:
    """A log has them in base64, a third longer than the text that they are."""
    text = "The signal stands at danger. " * 300
    line = logged("Why?")
    document = {"format": "txt", "name": "a", "source": {"bytes": b64encode(text.encode()).decode()}}
    line["input"]["inputBodyJson"]["messages"][0]["content"].append({"document": document})
    (request,), _ = read(tmp_path, line)
    plain = {"messages": [{"role": "user", "content": [{"text": text}]}]}
    counted = Prompt(plain).outline(EstimatedTokens()).tokens
    assert counted < request.outline.tokens < 1.05 * counted


def test_what_cant_be_counted_is_what_was_billed_for_it(tmp_path: Path) -> None:
    """The same in every request of a conversation; unknown where no reply told anything."""
    document = pdf("signals")
    document["document"]["source"]["bytes"] = b64encode(document["document"]["source"]["bytes"]).decode()
    lines = [logged("Why?"), logged("Why?", "Because.", "And then?", at="2026-11-24T10:01:00Z"), logged("Who?")]
    for line in lines:
        line["input"]["inputBodyJson"]["messages"][0]["content"].insert(0, document)
        line["input"].pop("inputTokenCount")
        del line["output"]["outputBodyJson"]["usage"]
    lines[0]["output"]["outputBodyJson"]["usage"] = {"inputTokens": 3_000, "outputTokens": 7}
    first, second, other = read(tmp_path, *lines)[0]
    assert first.outline.counted and first.outline.tokens == 3_000
    assert second.outline.blocks[0] == first.outline.blocks[0] == other.outline.blocks[0]
    del lines[0]["output"]["outputBodyJson"]["usage"]
    assert [request.outline.blocks[0].tokens for request in read(tmp_path, *lines)[0]] == [None] * 3


def test_cache_points_of_then_are_told_apart_from_the_outline(tmp_path: Path) -> None:
    """The placement that is tried must be free to choose."""
    line = logged("Why?", "Because.", "And?")
    line["input"]["inputBodyJson"]["messages"][0]["content"].append({"cachePoint": {"type": "default", "ttl": "1h"}})
    (request,), _ = read(tmp_path, line)
    assert request.points == (CachePoint(0, "1h"),)
    assert request.outline.points == ()


@pytest.mark.parametrize(
    "body",
    [
        None,
        {"output": {}},
        [{"messageStart": {}}, {"metadata": {"usage": {"inputTokens": 20, "outputTokens": 7}}}],
    ],
)
def test_usage_is_found_wherever_it_stands(tmp_path: Path, body: Any) -> None:
    """In the reply, in the events of a stream, else in the log's own counts."""
    line = logged("Why?", operation="ConverseStream")
    line["output"]["outputBodyJson"] = body
    (request,), _ = read(tmp_path, line)
    cached = 0 if isinstance(body, list) else 130
    assert request.usage is not None
    assert (request.usage.input_tokens, request.usage.output_tokens) == (20 + cached, 7)


def test_without_any_count_the_usage_is_unknown(tmp_path: Path) -> None:
    """Unknown isn't zero."""
    line = logged("Why?", output={})
    del line["input"]["inputTokenCount"]
    (request,), _ = read(tmp_path, line)
    assert request.usage is None


def test_a_conversation_is_one_session(tmp_path: Path) -> None:
    """Told by the prompts alone: each extends the one before."""
    lines = [logged("A"), logged("B"), logged("A", "a", "A2"), logged("B", "b", "B2"), logged("A", "x", "A3")]
    requests, _ = read(tmp_path, *lines)
    assert [one.session for one in requests] == ["1", "2", "1", "2", "3"]


def test_what_cant_be_used_is_counted_by_its_reason(tmp_path: Path) -> None:
    """Large bodies lie in S3 by themselves, other operations have other bodies, failures cost nothing."""
    large = logged("Why?")
    large["input"] = {"inputBodyS3Path": "s3://bucket/key", "inputTokenCount": 90000}
    requests, skipped = read(
        tmp_path,
        logged("Why?"),
        large,
        logged("Why?", operation="InvokeModel"),
        logged("Why?", errorCode="ThrottlingException"),
        logged("Why?", input={}),
    )
    assert len(requests) == 1
    assert skipped == {
        "their body was too large, and lies in S3 by itself (inputBodyS3Path)": 1,
        "of InvokeModel: only Converse and ConverseStream are read": 1,
        "they failed": 1,
        "their body was not logged": 1,
    }


def test_cloudwatchs_exports_have_the_time_before_each_line(tmp_path: Path) -> None:
    """As an export task writes them to S3."""
    path = tmp_path / "export"
    path.write_text(f"2026-11-24T10:00:00.000Z {json.dumps(logged('Why?'))}\n" * 2)
    assert len(list(read_traffic(path))) == 2


def test_a_line_of_another_shape_is_told_by_its_number(tmp_path: Path) -> None:
    """What Converse would not have taken."""
    broken = logged("Why?")
    del broken["input"]["inputBodyJson"]["messages"][0]["role"]
    with pytest.raises(InvalidRequestError, match="line 2: it has no 'role'"):
        read(tmp_path, logged("Why?"), broken)
