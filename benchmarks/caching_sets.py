"""What `caching.py` judges placements on: the halves of the traces that no default was chosen on, and the prices."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pointsman import Catalog, Model, Price
from pointsman.evaluation.traffic import (
    RecordedRequest,
    coding_session,
    interleaved,
    mooncake_requests,
    mtrag_sessions,
    one_after_another,
    read_traffic,
)

CODING, CHAT = "coding sessions", "chat (Mooncake)"
CHOOSING_SECONDS = 15 * 60
# Any Claude model that has the rules most of them have: 1,024 tokens, 4 points, 20 blocks, 5m and 1h.
_RULES_OF = "anthropic.claude-sonnet-4-5-20250929-v1:0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests that policies are judged on. `sessions_told`: the trace itself says which requests belong together."""

    name: str
    read: Callable[[Path], list[RecordedRequest]]
    sessions_told: bool = True


def model_at(read: float) -> Model:
    """Claude's rules with its writes and this price of a read, input 1. Output costs nothing: prompts are judged."""
    return _model(Price(input=1, output=0, cache_read=read, cache_write={"5m": 1.25, "1h": 2}), ("5m", "1h"))  # type: ignore[arg-type]  # taken for Decimals


def model_at_novas_prices() -> Model:
    """The same with Nova's prices: writes cost nothing extra, and live for five minutes."""
    return _model(Price(input=1, output=0, cache_read="0.25", cache_write={"5m": 1}), ("5m",))  # type: ignore[arg-type]  # taken for Decimals


def _model(price: Price, ttls: tuple[str, ...]) -> Model:
    known = Catalog.default().resolve(_RULES_OF)
    return replace(known, price=price, cache=replace(known.cache, ttls=ttls))


def coding(traces: Path) -> list[RecordedRequest]:
    """The sessions that are reported, one after another."""
    return list(one_after_another(map(coding_session, _reported(traces))))


def coding_side_by_side(traces: Path) -> list[RecordedRequest]:
    """The same, starting within a day."""
    return interleaved(map(coding_session, _reported(traces)))


def chat(traces: Path) -> list[RecordedRequest]:
    """Minutes 15 to 30, from cold."""
    lines = _lines(traces / "mooncake_conversation_first_half.jsonl.gz")
    return list(mooncake_requests(line for line in lines if line["timestamp"] >= 1000 * CHOOSING_SECONDS))


def rag(traces: Path, *, clock: Any) -> list[RecordedRequest]:
    """The second half of MTRAG's conversations, one after another."""
    told = json.loads(gzip.decompress((traces / "mtrag_conversations.json.gz").read_bytes()))
    told["conversations"] = told["conversations"][len(told["conversations"]) // 2 :]
    return list(one_after_another(mtrag_sessions(told, clock=clock)))


def agents(traces: Path) -> list[RecordedRequest]:
    """All of tau-bench, side by side over a day: nothing was chosen on it."""
    return list(read_traffic(traces / "tau_bench_gpt4o_airline.jsonl.gz"))


def _rag_by_annotators(traces: Path) -> list[RecordedRequest]:
    return rag(traces, clock="annotator")


def _rag_chat(traces: Path) -> list[RecordedRequest]:
    return rag(traces, clock="chat")


TRACES: Sequence[Trace] = (
    Trace(name=CODING, read=coding),
    Trace(name="coding sessions side by side", read=coding_side_by_side),
    Trace(name=CHAT, read=chat, sessions_told=False),
    Trace(name="RAG (MTRAG), a chat's gaps", read=_rag_chat),
    Trace(name="RAG (MTRAG), the annotators' gaps", read=_rag_by_annotators),
    Trace(name="agents (tau-bench)", read=agents),
)


def distinct(sessions: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Without the sessions that repeat another's first three lengths."""
    seen: set[tuple[int, ...]] = set()
    for told in sessions:
        # Index 7 is how deep a request is nested: 0 is the main chain.
        signature = tuple(request[2] for request in told["reqs"] if not request[7])[:3]
        if signature not in seen:
            seen.add(signature)
            yield told


def is_reported(session: str) -> bool:
    """Whether a coding session belongs to the half that is reported; the others are for choosing defaults."""
    return hashlib.sha256(session.encode()).digest()[0] % 2 == 1


def _reported(traces: Path) -> Iterator[Mapping[str, Any]]:
    return (told for told in distinct(_lines(traces / "claude_code_sessions.jsonl.gz")) if is_reported(str(told["id"])))


def _lines(path: Path) -> Iterator[Any]:
    with gzip.open(path, "rb") as file:
        yield from map(json.loads, file)
