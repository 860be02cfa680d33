"""Conversations over HTTP: boto3 against the local endpoint, and the very bytes that went out for each call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from talks import CLAUDE, INSTRUCTIONS, Request, Talk, blocks_of, said

from pointsman import Client, Trace
from pointsman.local import LocalEndpoint

FIGURES = (
    "uncached_input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
)


class Wire:
    """A boto3 client of the endpoint in the place of `talks.Account`; `requests` are read from the bytes it sent."""

    def __init__(self, endpoint: LocalEndpoint, boto3_client: Any) -> None:
        self.endpoint = endpoint
        self.boto3_client = boto3_client
        self.bodies: list[bytes] = []
        self.requests: list[Request] = []
        boto3_client.meta.events.register("before-send.bedrock-runtime", self._note)

    def _note(self, request: Any, **_: Any) -> None:
        self.bodies.append(bytes(request.body))
        model = unquote(request.url.split("/model/")[1].rsplit("/", 1)[0])
        self.requests.append({"modelId": model, **json.loads(request.body)})

    @property
    def now(self) -> float:
        """The endpoint's clock."""
        return self.endpoint.settings.clock()

    @now.setter
    def now(self, at: float) -> None:
        self.endpoint.advance(max(0.0, at - self.now))

    def figures(self) -> dict[str, int]:
        """Tokens by the endpoint's own account."""
        totals = self.endpoint.account()["totals"]
        return {name: totals[name] for name in FIGURES}

    def talk(self, *, client: Client | None = None, **options: Any) -> Talk:
        """A conversation through a client of its own, or through this one, whose traces `talk.traces` then lacks."""
        traces: list[Trace] = []
        client = client or Client(self.boto3_client, clock=lambda: self.now, on_trace=traces.append)
        talk = Talk(account=self, client=client, **options)  # type: ignore[arg-type]  # as an account, it will do
        talk.traces = traces
        return talk


def asked_with(tools: Mapping[str, Any], talk: Talk, messages: Sequence[Request], **request: Any) -> Request:
    """The reply to one call of an agent with these tools."""
    whole = {"modelId": CLAUDE, "system": [{"text": INSTRUCTIONS}], "messages": list(messages), "toolConfig": tools}
    return dict(talk.client.converse(**{**whole, **request}, session=talk.session))


def plain(request: Mapping[str, Any]) -> bytes:
    """All that the model is given, without cache points, as bytes in the order of the cache."""
    return _bytes([*_tools(request), *blocks_of(request)])


def up_to_the_last_point(request: Mapping[str, Any]) -> bytes:
    """The same, up to the last cache point."""
    tools, blocks = request.get("toolConfig", {}).get("tools", ()), [*_tools(request)]
    last = len(tools) - 1 if any("cachePoint" in tool for tool in tools) else 0
    contents = [("system", request.get("system") or ())]
    contents += [(message["role"], message["content"]) for message in request["messages"]]
    for where, content in contents:
        for block in content:
            if "cachePoint" in block:
                last = len(blocks)
            else:
                blocks.append((where, block))
    return _bytes(blocks[:last])


def _tools(request: Mapping[str, Any]) -> list[tuple[str, Any]]:
    tools = request.get("toolConfig", {}).get("tools", ())
    return [("tools", tool) for tool in tools if "cachePoint" not in tool]


def _bytes(blocks: Sequence[tuple[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(block).encode() for block in blocks)


def answer_of(reply: Mapping[str, Any]) -> Request:
    """The reply's message as a history holds it."""
    return said("assistant", *(block["text"] for block in reply["output"]["message"]["content"]))
