"""The AWS announcement's commands, through the real AWS CLI: `make test-awscli`, outside the test suite.

    python tests/awscli.py PATH_TO_AWS

Starts a local endpoint, runs the three commands with `--endpoint-url` alone changed, prints what came back, and
fails where it isn't what Bedrock would say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from pointsman.local import LocalEndpoint

ACCOUNT = "arn:aws:bedrock:us-east-1:123412341234"
SISTERS = "Alice has N brothers and she also has M sisters. How many sisters does Alice's brothers have?"


def aws(program: str, url: str, *arguments: str) -> Any:
    """What the CLI prints, as JSON."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "."),
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [program, *arguments, "--endpoint-url", url, "--output", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print("$ aws", *arguments)
    print(done.stdout or done.stderr)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def main(program: str) -> None:
    """Run the commands one after the other."""
    with LocalEndpoint(engine="extract") as endpoint:
        listed = aws(program, endpoint.url, "bedrock", "list-prompt-routers")["promptRouterSummaries"]
        assert {one["type"] for one in listed} == {"default"}, listed
        assert all(one["status"] == "AVAILABLE" and one["models"] and one["createdAt"] for one in listed)

        llama = f"{ACCOUNT}:default-prompt-router/meta.llama:1"
        got = aws(program, endpoint.url, "bedrock", "get-prompt-router", "--prompt-router-arn", llama)
        assert got["promptRouterArn"] == llama
        assert got["routingCriteria"] == {"responseQualityDifference": 0.0}
        assert got["fallbackModel"]["modelArn"].endswith("llama3-1-70b-instruct-v1:0")

        messages = json.dumps([{"role": "user", "content": [{"text": SISTERS}]}])
        claude = f"{ACCOUNT}:default-prompt-router/anthropic.claude:1"
        runtime = ("bedrock-runtime", "converse", "--model-id", claude, "--messages", messages)
        reply = aws(program, endpoint.url, *runtime)
        assert "sonnet" in reply["trace"]["promptRouter"]["invokedModelId"], reply["trace"]
        assert reply["output"]["message"]["content"][0]["text"]
    print("3 passed, 0 failed")


if __name__ == "__main__":
    main(sys.argv[1])
