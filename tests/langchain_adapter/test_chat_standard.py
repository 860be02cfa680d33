"""langchain-tests' standard suites for `ChatPointsman`, over HTTP: a Claude, a Nova, and two routers."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from fpdf import FPDF
from langchain_aws import ChatBedrockConverse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from PIL import Image

from langchain_pointsman import ChatPointsman
from pointsman import Router, RoutingCriteria
from pointsman.local import LocalEndpoint

CLAUDE = "us.anthropic.claude-sonnet-4-6"
NOVA = "us.amazon.nova-pro-v1:0"
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
CLAUDES = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
EVERYDAY = Router(
    name="everyday",
    models=(NOVA, HAIKU, CLAUDE),
    fallback_model=CLAUDE,
    criteria=RoutingCriteria(response_quality_difference=0.25),
)
# More than the least that any of these models caches, 4,096 tokens.
RULES = "Trains from Bern to Spiez leave at seven, and in heavy snow every hour only. " * 400

pytestmark = [
    pytest.mark.usefixtures("endpoint", "downloads"),
    pytest.mark.filterwarnings("ignore:Bedrock Converse may require a filename:UserWarning"),
    pytest.mark.filterwarnings("ignore:The 'strict' parameter only applies to:UserWarning"),
]


@pytest.fixture(scope="module")
def connections(_running: LocalEndpoint) -> dict[str, Any]:
    """The endpoint's boto3 clients, made once: langchain-aws takes a quarter of a second for its own."""
    return {"client": _running.client("bedrock-runtime"), "bedrock_client": _running.client("bedrock")}


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture and the PDF that the suite wants from the internet."""
    page, picture = FPDF(), BytesIO()
    page.add_page()
    page.set_font("Helvetica", size=12)
    page.cell(text="Dummy PDF file")
    Image.new("RGB", (32, 32), "purple").save(picture, "PNG")
    files = {"dummy.pdf": bytes(page.output()), "agentic-rag-output.png": picture.getvalue()}

    def get(url: str, **_: Any) -> httpx.Response:
        return httpx.Response(200, content=files[url.rpartition("/")[2]])

    monkeypatch.setattr(httpx, "get", get)


class _Standard:
    """What the suites are told: `asked` for is a model or a router, `override` another model for one call."""

    asked: str
    override = HAIKU
    routers: tuple[Router, ...] | None = None

    has_tool_calling = True
    has_tool_choice = True
    has_structured_output = True
    supports_json_mode = True
    supports_image_inputs = True
    supports_pdf_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    supports_anthropic_inputs = True
    # langchain-aws takes pictures as base64 only, and no audio.
    supports_image_urls = False
    supports_audio_inputs = False

    @pytest.fixture(autouse=True)
    def _over_http(self, connections: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.connections = connections
        # The suite's `api_key` becomes this process's own, where langchain-aws makes a client: it is taken back.
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "")
        monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK")

    @pytest.fixture
    def benchmark(self, benchmark: Any) -> Any:
        """Runs what it measures once: nothing here is about time."""
        benchmark.disabled = True
        return benchmark

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatPointsman

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": self.asked, "routers": self.routers, **self.connections}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        found = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "aws_session_token": "token"}
        made = {"model": self.asked, "routers": self.routers, "region_name": "us-east-1"}
        return {name.upper(): value for name, value in found.items()}, made, found

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return self.override

    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:
        details = ["cache_read_input", "cache_creation_input"]
        return {"invoke": details, "stream": details}

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        message = self._ask("To be written", stream=stream)
        assert _input_details(message)["cache_creation"] > 4096
        return message

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        self._ask("To be read", stream=stream)
        message = self._ask("To be read", stream=stream)
        assert _input_details(message)["cache_read"] > 4096
        return message

    def _ask(self, title: str, *, stream: bool) -> AIMessage:
        model = self.chat_model_class(**self.chat_model_params)
        prompt = [("system", f"{title}, stream={stream}. {RULES}"), ("human", "When do trains leave?")]
        if not stream:
            return model.invoke(prompt)
        first, *others = model.stream(prompt)
        assert isinstance(first, AIMessageChunk)
        return sum(others, start=first)


def _input_details(message: AIMessage) -> Any:
    assert message.usage_metadata is not None
    return message.usage_metadata["input_token_details"]


class _Answering(_Standard):
    """The one test of those that ask something which fails for a reason of langchain-aws's own."""

    @pytest.mark.xfail(
        raises=ClientError,
        strict=True,
        reason="langchain-aws passes the file name test_file.pdf on; Bedrock takes no dot in a document's name",
    )
    def test_pdf_inputs(self, model: BaseChatModel) -> None:
        super().test_pdf_inputs(model)  # type: ignore[misc]  # of the suite that this is mixed into


class _Claude:
    asked = CLAUDE


class _Nova:
    asked = NOVA


class _Families:
    asked = "everyday"
    routers = (EVERYDAY,)
    override = "us.anthropic.claude-opus-4-6-v1"


class _Claudes:
    """Its models take no temperature, and one of them can't be forced to call a tool."""

    asked = CLAUDES


class TestClaudeUnit(_Claude, _Standard, ChatModelUnitTests):
    """A Claude, before anything is sent."""


class TestClaude(_Claude, _Answering, ChatModelIntegrationTests):
    """A Claude."""


class TestNovaUnit(_Nova, _Standard, ChatModelUnitTests):
    """A Nova, before anything is sent."""


class TestNova(_Nova, _Answering, ChatModelIntegrationTests):
    """A Nova."""


class TestFamiliesUnit(_Families, _Standard, ChatModelUnitTests):
    """A router of our own over two families, by its name, before anything is sent."""


class TestFamilies(_Families, _Answering, ChatModelIntegrationTests):
    """A router of our own over two families, by its name."""


class TestClaudesUnit(_Claudes, _Standard, ChatModelUnitTests):
    """The default router of the Claude family, by its ARN, before anything is sent."""


class TestClaudes(_Claudes, _Answering, ChatModelIntegrationTests):
    """The default router of the Claude family, by its ARN."""


def test_what_is_expected_to_fail_fails_in_langchain_aws_too(connections: dict[str, Any]) -> None:
    """Plain `ChatBedrockConverse` is refused the same file name, in the same words."""
    plain = ChatBedrockConverse(model=CLAUDE, **connections)
    with pytest.raises(ClientError, match=r"Edit the document file name 'test_file\.pdf'"):
        ChatModelIntegrationTests.test_pdf_inputs(TestClaude(), plain)
