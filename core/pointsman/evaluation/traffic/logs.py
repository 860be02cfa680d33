"""Logs of requests that were really sent: Pointsman's own traces, and Bedrock's model-invocation logs.

Where a session isn't told, a request goes on with that of the earlier one whose whole prompt it extends.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pointsman.bedrock import read_usage
from pointsman.evaluation.traffic.request import RecordedRequest
from pointsman.outline import Block, CachePoint, Outline, summed
from pointsman.prompt import Prompt
from pointsman.tokens import EstimatedTokens
from pointsman.tokens.media import BilledMedia
from pointsman.trace_log import VERSION
from pointsman.usage import Usage

# The digests stay in this process, so that any key will do; the same for all lines.
_KEY = b"replay"
_OPERATIONS = frozenset({"Converse", "ConverseStream"})


class Conversations:
    """Whose session a request goes on with. A prompt is gone on with once: who comes second begins anew.

    Beside it, what blocks came to that can't be counted: as long as a session lasts, they are of the same tokens.
    """

    def __init__(self) -> None:
        self._media = BilledMedia()
        self._ended: dict[bytes, str | None] = {}
        self._count = 0

    def session_of(self, outline: Outline) -> str:
        """The name of its session."""
        for block in reversed(outline.blocks):
            if block.digest in self._ended:
                continued = self._ended[block.digest]
                self._ended[block.digest] = None
                break
        else:
            continued = None
        if continued is None:
            self._count += 1
            continued = str(self._count)
        if outline.blocks:
            self._ended[outline.blocks[-1].digest] = continued
        return continued

    def counted(self, outline: Outline, model: str, usage: Usage | None) -> Outline:
        """The outline with the tokens that were billed for blocks that can't be counted, as far as that is told."""
        if outline.counted:
            return outline
        places = outline.uncounted
        digests = [outline.blocks[place].digest for place in places]
        if usage is not None and None in self._media.tokens(model, digests):
            self._media.learn(model, digests, usage.input_tokens - outline.tokens)
        blocks = list(outline.blocks)
        for place, tokens in zip(places, self._media.tokens(model, digests), strict=True):
            blocks[place] = blocks[place]._replace(tokens=tokens)
        sums, first_unknown = summed([block.tokens for block in blocks])
        return outline._replace(blocks=tuple(blocks), sums=sums, first_unknown=first_unknown)


# --- Pointsman's own traces ---------------------------------------------------------------------------------------


TracedBlocks = dict[str, tuple[Block, ...]]
"""All blocks of each line that was read, by the line's id."""


def traced_requests(
    lines: Iterable[Mapping[str, Any]], skipped: Counter[str], conversations: Conversations, blocks_of: TracedBlocks
) -> Iterator[RecordedRequest]:
    """The requests of `TraceLog`'s lines. What can't be used is counted in `skipped`, by the reason.

    Raises:
        ValueError, LookupError, TypeError: a line isn't of that form.
    """
    for told in lines:
        if told["pointsman_trace"] != VERSION:
            raise ValueError(f"it is of version {told['pointsman_trace']!r}; this Pointsman reads {VERSION}")
        line_id, (holder, common) = told["id"], told["extends"] or (None, 0)
        if holder is not None and holder not in blocks_of:
            skipped["they extend a line that is in another file, or was deleted"] += 1
            continue
        before = blocks_of[holder][:common] if holder is not None else ()
        blocks_of[line_id] = blocks = (*before, *map(_block, told["blocks"]))
        usage = Usage(**told["usage"]) if told["usage"] else None
        if told["status"] == "failed":
            skipped["they failed"] += 1
            continue
        if not blocks and usage is not None:
            # It was too short to be cached, and not outlined.
            blocks = (Block("messages", "user", "text", line_id.encode(), usage.input_tokens),)
        outline = conversations.counted(Outline.of_blocks(blocks), told["model"], usage)
        yield RecordedRequest(
            session=told.get("session") or conversations.session_of(outline),
            at=float(told["at"]),
            model=told["model"],
            outline=outline,
            output_tokens=usage.output_tokens if usage else 0,
            usage=usage,
            points=tuple(CachePoint(after, ttl) for after, ttl in told["points"]),
            expected_quality=told["expected_quality"],
            writer=str(line_id).rpartition("-")[0],
        )


def _block(told: Sequence[Any]) -> Block:
    section, role, kind, tokens, digest = told
    return Block(section, role, kind, bytes.fromhex(digest), tokens)


# --- Bedrock's model-invocation logs ------------------------------------------------------------------------------


def invocations(
    lines: Iterable[Mapping[str, Any]], skipped: Counter[str], conversations: Conversations
) -> Iterator[RecordedRequest]:
    """The Converse and ConverseStream requests of model-invocation logs, from S3 or CloudWatch.

    The log is described at https://docs.aws.amazon.com/bedrock/latest/userguide/model-invocation-logging.html; fields
    are as in published lines of it (dheerajoruganty/aws-bedrock-logs-mcp-server, setup.md, of 2025-03-11) and in
    Panther's schema AWS.BedrockModelInvocation, read on 2026-11-24. Neither shows a body that lies in S3 by itself:
    whatever has none in the line is passed over. What can't be used is counted in `skipped`, by the reason.

    Raises:
        ValueError, LookupError, TypeError: a line isn't of that form.
    """
    counter = EstimatedTokens()
    for told in lines:
        reason = _why_not(told)
        if reason is not None:
            skipped[reason] += 1
            continue
        outline = Prompt(with_bytes(told["input"]["inputBodyJson"])).outline(counter, key=_KEY)
        usage = _usage_of(told)
        outline = conversations.counted(outline, told["modelId"], usage)
        yield RecordedRequest(
            session=conversations.session_of(outline),
            at=datetime.fromisoformat(told["timestamp"]).timestamp(),
            model=told["modelId"],
            # Without the points that were placed then: they are for the placement to choose.
            outline=outline._replace(points=(), misplaced=False),
            output_tokens=usage.output_tokens if usage else 0,
            usage=usage,
            points=outline.points,
        )


def with_bytes(value: Any, name: str = "") -> Any:
    """The same with bytes where JSON has them in base64, as the AWS CLI writes them."""
    if isinstance(value, Mapping):
        return {key: with_bytes(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [with_bytes(one) for one in value]
    if name == "bytes" and isinstance(value, str):
        try:
            return b64decode(value, validate=True)
        except Error:
            return value
    return value


def _why_not(told: Mapping[str, Any]) -> str | None:
    operation, input_ = told.get("operation"), told.get("input") or {}
    if operation not in _OPERATIONS:
        return f"of {operation}: only Converse and ConverseStream are read"
    if told.get("errorCode"):
        return "they failed"
    if input_.get("inputBodyJson") is None:
        named = "their body was too large, and lies in S3 by itself (inputBodyS3Path)"
        return named if input_.get("inputBodyS3Path") else "their body was not logged"
    return None


def _usage_of(told: Mapping[str, Any]) -> Usage | None:
    """As the reply told it, else as the log's own counts do."""
    output = told.get("output") or {}
    body = output.get("outputBodyJson")
    parts = body if isinstance(body, list) else [body]
    for part in parts:
        if isinstance(part, Mapping) and (raw := part.get("usage") or (part.get("metadata") or {}).get("usage")):
            return read_usage(raw)
    counts = told["input"]
    if counts.get("inputTokenCount") is None:
        return None
    return read_usage(
        {
            "inputTokens": counts["inputTokenCount"],
            "cacheReadInputTokens": counts.get("cacheReadInputTokenCount") or 0,
            "cacheWriteInputTokens": counts.get("cacheWriteInputTokenCount") or 0,
            "outputTokens": output.get("outputTokenCount") or 0,
        }
    )
