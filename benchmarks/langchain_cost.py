"""What stock LangChain code costs, with both chat models: `python benchmarks/langchain_cost.py --data FOLDER`.

Sends twenty of MTRAG's conversations by three shapes of user code, and one long thread of an agent, to local endpoints,
and writes benchmarks/langchain.md. `--print` prints the page and writes nothing. A script named `langchain.py` would
stand in the way of the package.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import langchain_conversations as conversations
import langchain_loops as loops
import langchain_page as page
import langchain_runs as runs

HERE = Path(__file__).parent
# Beside the repository's own folder, where it exists.
DATA = HERE.parents[1] / "shared" / "data"


def main() -> None:
    """Send everything, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the traces")
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the page, write nothing")
    arguments = parser.parse_args()
    traces = arguments.data / "traces" if (arguments.data / "traces").is_dir() else arguments.data
    if not (traces / "mtrag_conversations.json.gz").is_file():
        parser.error(f"{traces} lacks MTRAG's conversations. Name the folder with --data.")
    talks, retriever = conversations.read(traces)
    comparisons = list(_compared(talks, retriever))
    threads = loops.threads()
    text = page.text(talks, comparisons, threads)
    if arguments.only_print:
        print(text)
        return
    (HERE / "langchain.md").write_text(text)
    print(page.requirements(comparisons, threads))


def _compared(talks: Sequence[conversations.Talk], retriever: conversations.Retrieved) -> Iterator[Sequence[runs.Run]]:
    for shape, sides in runs.SIDES.items():
        compared = [runs.run(shape, side, talks, retriever) for side in sides]
        print(f"{shape}: {compared[1].usd / compared[0].usd:.3f}", flush=True)
        yield compared


if __name__ == "__main__":
    main()
