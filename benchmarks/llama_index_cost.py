"""What stock LlamaIndex code costs, with both LLMs: `python benchmarks/llama_index_cost.py --data FOLDER`.

Sends twenty of MTRAG's conversations by five engines to local endpoints, and writes benchmarks/llama_index.md.
`--print` prints the page and writes nothing; `--conversations` and `--only` send fewer, and print. A script named
`llama_index.py` would stand in the way of the package, for every script beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import langchain_conversations as conversations
import llama_index_page as page
import llama_index_runs as runs
from llama_index_shapes import SHAPES

HERE = Path(__file__).parent
# Beside the repository's own folder, where it exists.
DATA = HERE.parents[1] / "shared" / "data"


def main() -> None:
    """Send everything, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the traces")
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the page, write nothing")
    parser.add_argument("--conversations", type=int, default=len(conversations.NAMES), help="only the first so many")
    parser.add_argument("--only", choices=SHAPES, action="append", help="only this user code")
    arguments = parser.parse_args()
    traces = arguments.data / "traces" if (arguments.data / "traces").is_dir() else arguments.data
    if not (traces / "mtrag_conversations.json.gz").is_file():
        parser.error(f"{traces} lacks MTRAG's conversations. Name the folder with --data.")
    talks, found = conversations.read(traces)
    talks = talks[: arguments.conversations]
    comparisons = []
    for shape in arguments.only or SHAPES:
        comparisons.append([runs.run(shape, side, talks, found) for side in runs.SIDES])
        other, ours, *_ = comparisons[-1]
        print(f"{shape}: {ours.usd / other.usd:.3f}", flush=True)
    if arguments.only or len(talks) < len(conversations.NAMES):
        print(page.figures(comparisons))
        return
    text = page.text(talks, comparisons)
    if arguments.only_print:
        print(text)
        return
    (HERE / "llama_index.md").write_text(text)
    print(page.requirements(comparisons))


if __name__ == "__main__":
    main()
