"""What routing costs with the cache in view: `python benchmarks/caching_routing.py --data FOLDER`.

Coding sessions under two models, of which the cheap one will not do for some requests or turns, drawn at random. Our
router beside always the strong model, cache-blind, sticky, greedy and clairvoyant choice, all billed by the simulator;
writes benchmarks/caching_routing.md. `--only NAME` takes the pairs whose name holds NAME, prints and writes nothing;
`--choosing` takes the half of the sessions that defaults are chosen on, `--jobs N` works in N processes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import caching_routing_page as page
import caching_routing_runs as runs

HERE = Path(__file__).parent
# Beside the repository's own folder, where it exists.
DATA = HERE.parents[1] / "shared" / "data"


def main() -> None:
    """Bill every pair under every draw, or those that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the traces")
    parser.add_argument("--only", metavar="NAME", default="", help="the pairs whose name holds this, and only print")
    parser.add_argument("--choosing", action="store_true", help="the sessions that defaults are chosen on; only print")
    parser.add_argument("--ours", action="store_true", help="our own placement rather than the fixed one; only print")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    traces = arguments.data / "traces" if (arguments.data / "traces").is_dir() else arguments.data
    if not (traces / "claude_code_sessions.jsonl.gz").is_file():
        parser.error(f"{traces} lacks the traces. Name the folder with --data.")
    settings = [
        runs.Setting(pair, drawn, share, traces, arguments.choosing, arguments.ours)
        for pair in runs.PAIRS
        if arguments.only.lower() in pair.lower()
        for drawn in ("turn", "request")
        for share in (0.1, 0.3, 0.5)
    ]
    began = time.perf_counter()
    results = _results(settings, arguments.jobs)
    print(page.table(results))
    print(page.summary(results), f"{time.perf_counter() - began:.0f} s")
    if not (arguments.only or arguments.choosing or arguments.ours):
        (HERE / "caching_routing.md").write_text(page.text(results))


def _results(settings: Sequence[runs.Setting], jobs: int) -> list[runs.Result]:
    results = []
    with ProcessPoolExecutor(jobs) as pool:
        for result in pool.map(runs.run, settings):
            results.append(result)
            print(page.line(result), file=sys.stderr, flush=True)
    return results


if __name__ == "__main__":
    main()
