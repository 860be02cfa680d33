"""The endpoint's boto3 clients without retries, and texts of a known number of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from pointsman.local import LocalEndpoint

Text = Callable[..., str]


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
