"""The scripts of the AWS announcement (2024-12-04), with plain boto3 and `endpoint_url` alone changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fpdf import FPDF

from pointsman.local import LocalEndpoint

META_ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/meta.llama:1"
CLAUDE_ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
PROFILES = "arn:aws:bedrock:us-east-1:123412341234:inference-profile"
DOCS = {
    "bedrock-or-sagemaker.pdf": "Amazon Bedrock serves foundation models by an API. "
    "Amazon SageMaker trains models of your own.",
    "generative-ai-on-aws-how-to-choose.pdf": "Amazon Q Business answers questions over company data. "
    "Amazon Q Developer helps to write code. Amazon Textract reads scanned documents.",
    "machine-learning-on-aws-how-to-choose.pdf": "AWS Trainium trains large models at low cost. "
    "AWS Inferentia runs inference at low cost. Amazon Transcribe turns speech into text.",
}


def test_listing_the_prompt_routers(control: Any) -> None:
    summaries = control.list_prompt_routers()["promptRouterSummaries"]
    meta = next(one for one in summaries if one["promptRouterArn"] == META_ROUTER)
    fallback = {"modelArn": f"{PROFILES}/us.meta.llama3-1-70b-instruct-v1:0"}
    assert meta == {
        "promptRouterName": "Meta Prompt Router",
        "routingCriteria": {"responseQualityDifference": 0.0},
        "description": "Routes requests among models in the LLaMA family",
        "createdAt": datetime(2024, 11, 20, tzinfo=UTC),
        "updatedAt": datetime(2024, 11, 20, tzinfo=UTC),
        "promptRouterArn": META_ROUTER,
        "models": [{"modelArn": f"{PROFILES}/us.meta.llama3-1-8b-instruct-v1:0"}, fallback],
        "fallbackModel": fallback,
        "status": "AVAILABLE",
        "type": "default",
    }
    claude = next(one for one in summaries if one["promptRouterArn"] == CLAUDE_ROUTER)
    assert claude["promptRouterName"] == "Anthropic Prompt Router"
    assert claude["routingCriteria"] == {"responseQualityDifference": 0.26}


def test_getting_one_prompt_router(control: Any) -> None:
    router = control.get_prompt_router(promptRouterArn=META_ROUTER)
    (listed,) = [
        one for one in control.list_prompt_routers()["promptRouterSummaries"] if one["promptRouterArn"] == META_ROUTER
    ]
    del router["ResponseMetadata"]
    assert router == listed


def test_converse_through_a_router_bears_its_trace(runtime: Any) -> None:
    reply = runtime.converse(
        modelId=CLAUDE_ROUTER,
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "text": "Alice has N brothers and she also has M sisters. "
                        "How many sisters does Alice's brothers have?"
                    }
                ],
            }
        ],
    )
    invoked = reply["trace"]["promptRouter"]["invokedModelId"]
    assert invoked.startswith(f"{PROFILES}/us.anthropic.claude-sonnet-")
    assert reply["output"]["message"]["content"][0]["text"]


def test_streaming_through_a_router_prints_text_and_trace(runtime: Any, capsys: pytest.CaptureFixture[str]) -> None:
    streaming_response = runtime.converse_stream(
        modelId=META_ROUTER,
        messages=[
            {"role": "user", "content": [{"text": "Describe the purpose of a 'hello world' program in one line."}]}
        ],
    )
    for chunk in streaming_response["stream"]:
        if "contentBlockDelta" in chunk:
            print(chunk["contentBlockDelta"]["delta"]["text"], end="")
        if "messageStop" in chunk:
            print()
        if "metadata" in chunk and "trace" in chunk["metadata"]:
            print(json.dumps(chunk["metadata"]["trace"], indent=2))
    text, _, trace = capsys.readouterr().out.partition("\n")
    assert text
    assert json.loads(trace) == {"promptRouter": {"invokedModelId": f"{PROFILES}/us.meta.llama3-1-70b-instruct-v1:0"}}


def test_three_pdfs_are_written_once_and_read_twice(
    endpoint: LocalEndpoint, runtime: Any, tmp_path: Path, text: Callable[..., str]
) -> None:
    for name, content in DOCS.items():
        write_pdf(tmp_path / name, content, padding=text(400))
    messages: list[dict[str, Any]] = []

    def converse(new_message: str, docs: tuple[str, ...] = (), cache: bool = False) -> dict[str, Any]:
        if len(messages) == 0 or messages[-1]["role"] != "user":
            messages.append({"role": "user", "content": []})
        for doc in docs:
            name, document_format = doc.rsplit(".", maxsplit=1)
            source = {"bytes": (tmp_path / doc).read_bytes()}
            messages[-1]["content"].append({"document": {"name": name, "format": document_format, "source": source}})
        messages[-1]["content"].append({"text": new_message})
        if cache:
            messages[-1]["content"].append({"cachePoint": {"type": "default"}})
        response: dict[str, Any] = runtime.converse(
            modelId="us.anthropic.claude-3-5-sonnet-20241022-v2:0", messages=messages
        )
        messages.append(response["output"]["message"])
        return response

    replies = [
        converse("Compare AWS Trainium and AWS Inferentia in 20 words or less.", docs=tuple(DOCS), cache=True),
        converse("Compare Amazon Textract and Amazon Transcribe in 20 words or less."),
        converse("Compare Amazon Q Business and Amazon Q Developer in 20 words or less."),
    ]
    usages = [reply["usage"] for reply in replies]
    written = usages[0]["cacheWriteInputTokens"]
    assert written >= 1_200
    assert [usage["cacheWriteInputTokens"] for usage in usages] == [written, 0, 0]
    assert [usage["cacheReadInputTokens"] for usage in usages] == [0, written, written]
    assert "Trainium" in replies[0]["output"]["message"]["content"][0]["text"]
    assert "Amazon Q Developer" in replies[2]["output"]["message"]["content"][0]["text"]
    assert endpoint.account()["totals"]["cache_read_tokens"] == 2 * written


def write_pdf(path: Path, content: str, *, padding: str) -> None:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=11)
    pdf.multi_cell(0, 6, content)
    pdf.ln()
    pdf.multi_cell(0, 6, padding)
    pdf.output(str(path))
