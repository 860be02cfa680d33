"""Make core/pointsman/data/recurrence.json: how often a retrieved passage is retrieved again, before any was seen.

    python training/recurrence.py --data ../shared/data

Reads the half of MTRAG's conversations that benchmarks/documents.py chooses on. Only counts are shipped. The same file
gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from reuse import choosing_conversations

from pointsman.documents.recurrence import MOST_AGO, Standing, beliefs_of
from pointsman.documents.shelf import Seen

HERE = Path(__file__).parent


def main() -> None:
    """Read the conversations, count, write."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    conversations = choosing_conversations(arguments.parse_args().data / "traces")["conversations"]
    observed = [one for conversation in conversations for one in returns(retrievals(conversation["messages"]))]
    belief = sorted(beliefs_of(observed).items())
    lines = ",\n".join(json.dumps([list(standing), *map(int, counts)]) for standing, counts in belief)
    path = Path(str(files("pointsman") / "data" / "recurrence.json"))
    path.write_text(f'{{"belief": [\n{lines}\n]}}\n')
    print(f"{path.name}: {path.stat().st_size:,} bytes, {len(belief)} kinds, {len(observed):,} observations")


def retrievals(messages: Sequence[dict[str, list[tuple[str, float]]]]) -> list[set[str]]:
    """The passages that each turn of a conversation retrieved."""
    return [{name for name, _ in answered.get("docs", ())} for answered in messages[1::2]]


def returns(turns: Sequence[set[str]]) -> Iterator[tuple[Standing, bool]]:
    """Whether each passage that was seen lately is among those of the next turn."""
    seen: dict[str, Seen] = {}
    for turn, retrieved in enumerate(turns):
        for name, (times, last) in seen.items():
            if turn - 1 - last <= MOST_AGO:
                yield Standing.at(times, turn - 1 - last, turn - 1), name in retrieved
        for name in retrieved:
            seen[name] = Seen(seen[name].times + 1 if name in seen else 1, turn)


if __name__ == "__main__":
    main()
