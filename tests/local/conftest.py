"""An endpoint with the engine `extract` per test, its boto3 clients, and prompts of a known number of tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from pointsman.local import LocalEndpoint

Text = Callable[..., str]


@pytest.fixture(autouse=True)
def no_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def endpoint() -> Iterator[LocalEndpoint]:
    with LocalEndpoint(engine="extract") as running:
        yield running


@pytest.fixture
def runtime(endpoint: LocalEndpoint) -> Any:
    return endpoint.client("bedrock-runtime", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def control(endpoint: LocalEndpoint) -> Any:
    return endpoint.client("bedrock", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def text() -> Text:
    """text(n, "seed") has n tokens by the engine `extract`, other words for each seed."""

    def make(tokens: int, seed: str = "lorem") -> str:
        assert len(seed) <= 6
        assert seed.isalpha()
        return " ".join([seed] * tokens)

    return make


@pytest.fixture
def refused() -> Callable[..., tuple[str, int, str]]:
    """refused(call) is the code, HTTP status and message of the error that the call must raise."""

    def call(function: Callable[[], Any]) -> tuple[str, int, str]:
        with pytest.raises(ClientError) as caught:
            function()
        response = caught.value.response
        return (
            response["Error"]["Code"],
            response["ResponseMetadata"]["HTTPStatusCode"],
            response["Error"]["Message"],
        )

    return call
