"""How the default routers treat everyday, noisy and foreign prompts: `python benchmarks/routing_everyday.py`.

Writes benchmarks/routing_everyday.md. Needs the extra `fit`, and the labelled prompts in the folder `--data`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import everyday_page as page
import everyday_runs as runs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

HERE = Path(__file__).parent
# Beside the repository's own folder, where it exists.
DATA = HERE.parents[1] / "shared" / "data"
T = TypeVar("T")


def main() -> None:
    """Measure everything, write the page, print the verdicts."""
    options = _options()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with (
        Progress(*columns, console=console) as progress,
        ProcessPoolExecutor(max_workers=options.jobs, initializer=threadpool_limits, initargs=(1,)) as pool,
    ):
        bar = progress.add_task("deciding", total=0)

        def submit(run: Callable[..., T], *given: object) -> Future[T]:
            progress.update(bar, total=(progress.tasks[bar].total or 0) + 1)
            future = pool.submit(run, *given)
            future.add_done_callback(lambda _: progress.advance(bar))
            return future

        results = _measured(options.data, submit)
    (HERE / "routing_everyday.md").write_text(page.text(results), encoding="utf-8")
    print(page.requirements(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the labelled prompts")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    inner = options.data / "routing"
    options.data = inner if inner.is_dir() else options.data
    needed = sorted({name for *_, names in runs.FAMILIES.values() for name in names})
    if missing := [name for name in needed if not (options.data / f"{name}.parquet").is_file()]:
        parser.error(f"{options.data} lacks {', '.join(missing)} (.parquet). Name the folder with --data.")
    return options


def _measured(data: Path, submit: Callable[..., Future]) -> page.Results:
    foreign = runs.foreign()
    texts = [one.text for one in foreign if one.language != "English"]
    folded = [submit(runs.folded, data, family, texts) for family in runs.FOLDED]
    heads = [submit(runs.flips_of_heads, data, *known) for known in _known()]
    prior = [submit(runs.flips_of_prior, data, path.stem) for path in sorted(data.glob("*.parquet"))]
    routing, everyday = runs.Routing(), runs.everyday()
    announced = [runs.Everyday(text=text, hard=hard, source="announced") for text, hard in runs.ANNOUNCED]
    # The kind of these isn't told; a text that can't be read is to be taken for hard.
    others = [runs.Everyday(text=one.text, hard=True, source=one.language) for one in foreign]
    plain = {router: runs.asked(routing, router, everyday) for router in runs.ROUTERS}
    return page.Results(
        announced={router: runs.asked(routing, router, announced) for router in runs.ROUTERS},
        everyday=plain,
        of_routers=[runs.flips_of_router(routing, router, told) for router, told in plain.items()],
        foreign=foreign,
        reasons={
            family: runs.unfamiliar(runs.of_family(family), [one.text for one in foreign]) for family in runs.FAMILIES
        },
        foreign_asked={router: runs.asked(routing, router, others) for router in runs.ROUTERS},
        of_heads=[each.result() for each in heads],
        of_prior=[each.result() for each in prior],
        folded=[each.result() for each in folded],
    )


def _known() -> Iterator[tuple[str, str]]:
    """Each family with each set that it was fitted to."""
    for family, (*_, names) in runs.FAMILIES.items():
        for name in names:
            yield family, name


if __name__ == "__main__":
    main()
