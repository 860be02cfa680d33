"""Make core/pointsman/data/reuse.json: what is believed of how often prompts come back, before any was seen.

    python training/reuse.py --data ../shared/data

Reads the first halves of the traces in `<data>/traces` only, those that benchmarks/caching.py chooses on. No digest,
time or length of a single request is shipped, only chances by kind. The same files give the same bytes.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pointsman.cache.returns import SPANS, Hazards, Kind, Returns
from pointsman.cache.reuse import Reuse
from pointsman.evaluation.traffic import (
    RecordedRequest,
    coding_session,
    mooncake_requests,
    mtrag_sessions,
    one_after_another,
)
from pointsman.outline import Outline

HERE = Path(__file__).parent
CHOOSING_MINUTES = 15

# What is rare is drawn to its kind at large with the weight of so many requests.
DRAWN = 20
EVERYWHERE: Hazards = (0.2, 0.1, 0.08, 0.06, 0.05, 0.03, 0.02, 0.02)
# Judged, not measured, since no public trace tells of attachments: a first message with a document, a picture or a
# video is asked about again more often than not (the use that AWS's announcement of prompt caching shows).
ATTACHED: Hazards = (0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.03, 0.03)
SIZE_OF_MEDIA = 3
REMAINDER = "reasoning"


def main() -> None:
    """Read the traces, count, write."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    traces: Path = arguments.parse_args().data / "traces"
    belief = fitted(counted(requests) for requests in chosen(traces))
    for context in ("tools", "system", "messages"):
        for name in ("history", "message", "penultimate", "last"):
            belief[context, name, 1, 0, SIZE_OF_MEDIA] = ATTACHED
    tempos = [fitted([counted(requests)]) for requests in of_tempos(traces)]
    path = Path(str(files("pointsman") / "data" / "reuse.json"))
    told = ",\n".join(f"[\n{lines(tempo)}\n]" for tempo in tempos)
    path.write_text(f'{{"belief": [\n{lines(belief)}\n],\n"tempos": [{told}]}}\n')
    print(f"{path.name}: {path.stat().st_size:,} bytes, {len(belief)} kinds, {len(tempos)} tempos")


def lines(belief: dict[Kind, Hazards]) -> str:
    """A belief, a line for each kind."""
    rounded = {kind: [round(hazard, 4) for hazard in belief[kind]] for kind in sorted(belief, key=str)}
    return ",\n".join(json.dumps([kind, hazards]) for kind, hazards in rounded.items())


def of_tempos(traces: Path) -> Iterator[Iterable[RecordedRequest]]:
    """RAG conversations whose passages stand behind the history, as people chat and as they work: the choosing half."""
    told = choosing_conversations(traces)
    for clock in ("chat", "annotator"):
        yield one_after_another(mtrag_sessions(told, clock=clock, laid=True))


def chosen(traces: Path) -> Iterator[Iterable[RecordedRequest]]:
    """The choosing halves: coding, chat, and RAG conversations with and without their passages, on two clocks."""
    sessions = choosing_sessions(traces / "claude_code_sessions.jsonl.gz")
    lines = list(_lines(traces / "mooncake_conversation_first_half.jsonl.gz"))
    for cut in (as_told, without_remainder, with_a_last_message):
        yield map(cut, one_after_another(coding_session(told) for told in sessions))
        yield map(cut, mooncake_requests(line for line in lines if line["timestamp"] < CHOOSING_MINUTES * 60_000))
    told = choosing_conversations(traces)
    plain = copy.deepcopy(told)
    for conversation in plain["conversations"]:
        for message in conversation["messages"]:
            message.pop("docs", None)
    for one in (told, plain):
        yield one_after_another(mtrag_sessions(one, clock="annotator"))
        yield one_after_another(mtrag_sessions(one, clock="chat"))


def choosing_conversations(traces: Path) -> dict[str, Any]:
    """The half of MTRAG's conversations that defaults are chosen on."""
    told: dict[str, Any] = json.loads(gzip.decompress((traces / "mtrag_conversations.json.gz").read_bytes()))
    return {**told, "conversations": told["conversations"][: len(told["conversations"]) // 2]}


def choosing_sessions(path: Path) -> list[Any]:
    """One coding session for each signature of its first three lengths, of the half that defaults are chosen on."""
    return [told for told in distinct(_lines(path)) if hashlib.sha256(told["id"].encode()).digest()[0] % 2 == 0]


def distinct(sessions: Iterable[Any]) -> Iterator[Any]:
    """Without the sessions that repeat another's first three lengths."""
    seen: set[tuple[int, ...]] = set()
    for told in sessions:
        signature = tuple(request[2] for request in told["reqs"] if not request[7])[:3]
        if signature not in seen:
            seen.add(signature)
            yield told


def as_told(request: RecordedRequest) -> RecordedRequest:
    """A request of a trace of blocks, with the remainder behind its last full block, which nobody can read again."""
    return request


def without_remainder(request: RecordedRequest) -> RecordedRequest:
    """The same without the remainder: what is last is a message, as it is in life."""
    blocks = request.outline.blocks
    whole = blocks[:-1] if blocks[-1].kind == REMAINDER else blocks
    return request._replace(outline=Outline.of_blocks(whole))


def with_a_last_message(request: RecordedRequest) -> RecordedRequest:
    """The same, where what is last is all of the last message: these traces don't tell where messages end."""
    blocks = without_remainder(request).outline.blocks
    history = [block._replace(role="assistant") if block.section == "messages" else block for block in blocks[:-1]]
    return request._replace(outline=Outline.of_blocks([*history, *blocks[-1:]]))


def counted(requests: Iterable[RecordedRequest]) -> dict[str, Any]:
    """How often each kind of stretch came back in each span of waiting."""
    reuse = Reuse(Returns(lambda _: EVERYWHERE))
    at = 0.0
    told_last = True
    for request in requests:
        if not request.outline.blocks:
            continue
        told_last = told_last and request.outline.blocks[-1].kind != REMAINDER
        reuse.sent(request.outline, ("model", None), request.at)
        at = request.at
    reuse.returns.pass_time(at)
    return {name: counts for name, counts in reuse.returns.to_dict().items() if told_last or " last " not in name}


def fitted(tables: Iterable[dict[str, Any]]) -> dict[Kind, Hazards]:
    """The chances by kind, each drawn to those of its kind whatever the turn and size; and those of all."""
    fine: dict[Kind, list[list[float]]] = {}
    coarse: dict[Kind, list[list[float]]] = {}
    for table in tables:
        for name, counts in table.items():
            kind = tuple(int(word) if word.isdigit() else word for word in name.split())
            for into, key in ((fine, kind), (coarse, kind[:2])):
                sums = into.setdefault(key, [[0.0] * len(SPANS), [0.0] * len(SPANS)])
                for row, added in zip(sums, counts, strict=True):
                    row[:] = [a + b for a, b in zip(row, added, strict=True)]
    belief: dict[Kind, Hazards] = {(): EVERYWHERE}
    for kind, counts in coarse.items():
        belief[kind] = drawn(counts, EVERYWHERE)
    for kind, counts in fine.items():
        belief[kind] = drawn(counts, belief[kind[:2]])
    return belief


def drawn(counts: Sequence[Sequence[float]], to: Hazards) -> Hazards:
    """Chances as counted, drawn to others."""
    returned, waited = counts
    return tuple(
        (came + DRAWN * other) / (all_ + DRAWN) for came, all_, other in zip(returned, waited, to, strict=True)
    )


def _lines(path: Path) -> Iterator[Any]:
    with gzip.open(path, "rt") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


if __name__ == "__main__":
    main()
