"""What the router's predictions are worth on labelled prompts: `python benchmarks/routing.py --data FOLDER`.

Pointsman's own predictor is fitted to a part of each set and asked for the rest; figures, baselines and verdicts go
to benchmarks/routing.md, a reliability plot beside it. `--only NAME` runs the parts whose name holds NAME, prints
their figures and writes nothing. Needs the extra `fit`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import routing_page as page
import routing_plot as plot
import routing_sets as sets
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from routing_runs import Result, across_folds, from_few, from_other_sets, left_out
from threadpoolctl import threadpool_limits

HERE = Path(__file__).parent
# Beside the repository's own folder, where it exists.
DATA = HERE.parents[1] / "shared" / "data"
LABELS = (200, 500, 1500, 4000)
DRAWS = 10
# Of a data set that is left out: prompts, and by how much the strong model is better. Below, APGR is noise.
LEAST_LEFT_OUT, LEAST_GAP = 150, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A part of the benchmark that runs by itself. `prompts` tells how long it takes, against others."""

    name: str
    prompts: int
    run: Callable[[], Result]


def main() -> None:
    """Run all parts, or those asked for."""
    arguments = _arguments()
    jobs = [job for job in _jobs(arguments.data) if (arguments.only or "").lower() in job.name.lower()]
    if not jobs:
        raise SystemExit(f"no part's name holds {arguments.only!r}. Try: MMLU, Claude, labels, without.")
    findings = (HERE / "routing_findings.md").read_text()
    results = _run(jobs, arguments.jobs)
    if arguments.only is not None:
        print(page.tables(results))
        return
    plot.write(HERE / "routing_reliability.svg", results)
    (HERE / "routing.md").write_text(page.text(results, findings))
    print(page.requirements(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the labelled prompts")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", metavar="NAME", help="run the parts whose name holds this, and only print")
    arguments = parser.parse_args()
    inner = arguments.data / "routing"
    arguments.data = inner if inner.is_dir() else arguments.data
    needed = sorted({file for pair in sets.EVERY_PAIR for file in pair.files})
    if missing := [file for file in needed if not (arguments.data / f"{file}.parquet").is_file()]:
        parser.error(f"{arguments.data} lacks {', '.join(missing)} (.parquet). Name the folder with --data.")
    return arguments


def _jobs(data: Path) -> Iterator[Job]:
    """All parts, those that take longest first: so two processes end at about the same time."""
    found = [*_folds(data), *_few_labels(data), *_left_out(data)]
    yield from sorted(found, key=lambda job: -job.prompts)


def _folds(data: Path) -> Iterator[Job]:
    for pair in sets.EVERY_PAIR:
        prompts = 5 * len(sets.judged(data, pair).kinds)
        yield Job(name=f"{pair.name}, five folds", prompts=prompts, run=partial(across_folds, data, pair))


def _few_labels(data: Path) -> Iterator[Job]:
    pair = sets.ROUTELLM_MMLU
    for labels in LABELS:
        name = f"{pair.name}, {labels:,} labels"
        yield Job(name=name, prompts=2 * DRAWS * labels, run=partial(from_few, data, pair, labels, DRAWS))


def _left_out(data: Path) -> Iterator[Job]:
    for pair in (sets.ROUTELLM_MMLU, sets.ROUTELLM_GSM8K):
        yield Job(name=f"{pair.name}, without a label", prompts=20_000, run=partial(from_other_sets, data, pair))
    for pair in sets.LEFT_OUT:
        found = sets.judged(data, pair)
        weak, strong = found.qualities
        for kind in np.unique(found.kinds):
            inside = found.kinds == kind
            if inside.sum() >= LEAST_LEFT_OUT and (strong - weak)[inside].mean() >= LEAST_GAP:
                name, run = f"{pair.name}, without {kind}", partial(left_out, data, pair, str(kind))
                yield Job(name=name, prompts=int(np.sum(~inside)), run=run)


def _run(jobs: Sequence[Job], processes: int) -> list[Result]:
    """Their results, in the order of the jobs."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    results: dict[str, Result] = {}
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        # The processes are what runs in parallel.
        ProcessPoolExecutor(max_workers=processes, initializer=threadpool_limits, initargs=(1,)) as pool,
    ):
        bar = progress.add_task("fitting", total=len(jobs))
        waiting = {pool.submit(job.run): job for job in jobs}
        for done in as_completed(waiting):
            results[waiting[done].name] = done.result()
            progress.update(bar, advance=1, description=waiting[done].name)
    return [results[job.name] for job in jobs]


if __name__ == "__main__":
    main()
