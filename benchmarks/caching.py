"""What placements of cache points cost on real traffic: `python benchmarks/caching.py --data FOLDER`.

Bills requests that nothing was chosen on, under the simple placements and ours, beside the clairvoyant lower bound, and
writes benchmarks/caching.md. `--only NAME` takes the traces whose name holds NAME, prints and writes nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import caching_page as page
import caching_sets as sets

from pointsman import Model
from pointsman.evaluation.policies import PLACEMENTS
from pointsman.evaluation.replay import bounds_of, replay
from pointsman.evaluation.traffic import RecordedRequest

HERE = Path(__file__).parent
# Beside the repository's own folder, where it exists.
DATA = HERE.parents[1] / "shared" / "data"
PRICES: Mapping[str, Model] = {
    "r=.1": sets.model_at(0.1),
    "r=.05": sets.model_at(0.05),
    "r=.025": sets.model_at(0.025),
    "Nova": sets.model_at_novas_prices(),
}
# The traces that are judged at all prices; the others at the one that most models have.
AT_ALL_PRICES = (sets.CODING, sets.CHAT)


def main() -> None:
    """Bill everything, or the traces that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the traces")
    parser.add_argument("--only", metavar="NAME", default="", help="the traces whose name holds this, and only print")
    arguments = parser.parse_args()
    traces = arguments.data / "traces" if (arguments.data / "traces").is_dir() else arguments.data
    if not (traces / "claude_code_sessions.jsonl.gz").is_file():
        parser.error(f"{traces} lacks the traces. Name the folder with --data.")
    results = list(_results(traces, arguments.only))
    if arguments.only:
        print(page.figures(results))
        return
    (HERE / "caching.md").write_text(page.text(results))
    print(page.requirements(results))


def _results(traces: Path, only: str) -> Iterator[page.Result]:
    for trace in sets.TRACES:
        if only.lower() not in trace.name.lower():
            continue
        requests = trace.read(traces)
        for prices, model in PRICES.items():
            if prices == "r=.1" or trace.name in AT_ALL_PRICES:
                yield _result(trace, prices, model, requests)


def _result(trace: sets.Trace, prices: str, model: Model, requests: Sequence[RecordedRequest]) -> page.Result:
    started = time.perf_counter()
    replays = {name: replay(requests, model=model, place=placement) for name, placement in PLACEMENTS.items()}
    print(f"{trace.name}, {prices}: {time.perf_counter() - started:.0f} s", flush=True)
    return page.Result(trace=trace, prices=prices, replays=replays, bounds=bounds_of(requests, model=model))


if __name__ == "__main__":
    main()
