"""What conversations about retrieved documents cost: `python benchmarks/documents.py --data FOLDER`.

Sends MTRAG's conversations, with the passages that were retrieved, through a `Client` with a session for each, bills
them by the simulator, and writes benchmarks/documents.md. `--print` prints the figures and writes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import caching_sets as sets
import documents_endpoint as endpoint
import documents_page as page
import documents_runs as runs

from pointsman import Model
from pointsman.evaluation.policies import PLACEMENTS

HERE = Path(__file__).parent
# Beside the repository's own folder, where it exists.
DATA = HERE.parents[1] / "shared" / "data"
PRICES: Mapping[str, Model] = {
    "Claude, r=.1": sets.model_at(0.1),
    "Claude, r=.025": sets.model_at(0.025),
    "Nova": sets.model_at_novas_prices(),
}
CLOCKS: Mapping[str, Callable[[runs.Corpus], runs.Corpus]] = {
    page.CHAT: runs.as_chats,
    page.OWN: lambda corpus: corpus,
    page.ONE_BY_ONE: runs.one_after_another,
}


def main() -> None:
    """Send everything, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the traces")
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the figures, write nothing")
    arguments = parser.parse_args()
    traces = arguments.data / "traces" if (arguments.data / "traces").is_dir() else arguments.data
    if not (traces / "mtrag_conversations.json.gz").is_file():
        parser.error(f"{traces} lacks MTRAG's conversations. Name the folder with --data.")
    corpus = runs.Corpus.read(traces)
    results = list(_results(corpus))
    if arguments.only_print:
        print(page.requirements(results), page.figures(results), sep="\n")
        return
    (HERE / "documents.md").write_text(page.text(results, page.of_endpoint(endpoint.measured())))
    print(page.requirements(results))


def _results(corpus: runs.Corpus) -> Iterator[page.Result]:
    for prices, model in PRICES.items():
        for clock, timed in CLOCKS.items():
            for shape in runs.SHAPES:
                for part, some in ((page.REPORTED, corpus.half(1)), (page.ALL, corpus)):
                    yield _result(timed(some), prices, clock, shape, part, model)


def _result(corpus: runs.Corpus, prices: str, clock: str, shape: str, part: str, model: Model) -> page.Result:
    written = {name: runs.as_written(corpus, shape, model, PLACEMENTS[name]) for name in page.PLACEMENTS}
    ours, account = runs.run(corpus, shape, model)
    print(f"{prices}, {clock}, {shape}, {part}: {ours:.3f}", flush=True)
    read = sum(usage.cache_read_tokens for usage in account.usages)
    tokens = sum(usage.input_tokens for usage in account.usages)
    return page.Result(
        prices=prices,
        clock=clock,
        shape=shape,
        part=part,
        requests=len(account.usages),
        written=written,
        laid=ours,
        read=read / tokens,
    )


if __name__ == "__main__":
    main()
