"""What a session reads over HTTP: four turns whose documents half overlap, against the local endpoint, by its account.

`python benchmarks/documents_endpoint.py` prints the table that `documents.py` puts into its page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

import documents_page as page
import documents_runs as runs

from pointsman import Catalog, Client, Document, Usage, session
from pointsman.local import LocalEndpoint
from pointsman.pricing import cost_of

MODEL = "us.anthropic.claude-sonnet-5"
USUAL, CLIENT, SESSION = "boto3, a point at the end", "Client, no session", "Client, in a session"
_GAP_SECONDS = 60.0
_SENTENCES = 22
_QUESTIONS = (
    "Which trains stop at Spiez?",
    "And what do they do in winter?",
    "Who is told when one is late?",
    "What did that cost last year?",
)


def measured() -> list[Mapping[str, Any]]:
    """For each shape, way to send and turn: tokens uncached, written and read, and what the prompt cost."""
    return [
        {"documents stand in": shape, "sent by": how, "turn": turn, **told}
        for shape in runs.SHAPES
        for how in (USUAL, CLIENT, SESSION)
        for turn, told in enumerate(_conversation(shape, how), 1)
    ]


def passages(turn: int) -> tuple[str, ...]:
    """The four passages of a turn: two are retrieved for each question, two are new."""
    return tuple(_passage(number) for number in (0, 1, 2 * turn + 2, 2 * turn + 3))


def _passage(number: int) -> str:
    return f"Notice {number} of the railway.\n" + " ".join(
        f"Rule {number}.{line}: what passes signal {7 * line + number} waits for the points at post {13 * line}."
        for line in range(_SENTENCES)
    )


def _conversation(shape: str, how: str) -> Iterator[Mapping[str, Any]]:
    """What each turn added to the endpoint's account."""
    told, history, name = runs.instructions(), list[dict[str, Any]](), f"{shape}, measured"
    with LocalEndpoint(engine="extract") as endpoint:
        boto3_client = endpoint.client()
        client = boto3_client if how == USUAL else Client(boto3_client, clock=endpoint.settings.clock)
        for turn, question in enumerate(_QUESTIONS):
            texts, before = passages(turn), _tokens(endpoint)
            system, message = runs.SHAPES[shape](told, texts, question)
            asked = _said("user", message)
            if how == USUAL:
                asked["content"].append({"cachePoint": {"type": "default"}})
            with session(name, scope="benchmarks") if how == SESSION else nullcontext() as current:
                if current is not None:
                    current.register(Document(text=text, knowledge_base="notices") for text in texts)
                reply = client.converse(modelId=MODEL, system=[{"text": system}], messages=[*history, asked])
            yield _told(before, _tokens(endpoint))
            history += [_said("user", question), reply["output"]["message"]]
            endpoint.advance(_GAP_SECONDS)
    session(name, scope="benchmarks").close()


def _tokens(endpoint: LocalEndpoint) -> Usage:
    totals = endpoint.account()["totals"]
    read, written_1h = totals["cache_read_tokens"], totals["cache_write_1h_tokens"]
    written = totals["cache_write_5m_tokens"] + written_1h
    return Usage(
        input_tokens=totals["uncached_input_tokens"] + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        output_tokens=0,
    )


def _told(before: Usage, after: Usage) -> Mapping[str, Any]:
    fields = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens")
    usage = Usage(**{name: getattr(after, name) - getattr(before, name) for name in fields}, output_tokens=0)
    total = cost_of(usage, Catalog.default().resolve(MODEL).price).total
    return {
        "uncached": usage.uncached_tokens,
        "written": usage.cache_write_tokens,
        "read": usage.cache_read_tokens,
        "USD": round(total or Decimal(0), 6),
    }


def _said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"text": text}]}


def main(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table."""
    print(page.of_endpoint(rows))


if __name__ == "__main__":
    main(measured())
