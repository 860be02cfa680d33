"""How long one routing decision takes, by the length and the kind of its prompt: p50 and p95 in milliseconds.

    python benchmarks/routing_latency.py [--rounds 300] [--check] [--json]

Each round takes a prompt of each length and kind that no round before it had, and times one call of each sort, one sort
after the other, with the garbage collector off: nothing is repeated while it is warm. The sorts are

- familiar: `TrainedPredictor.predict` with the shipped heads of Llama 3.1, as for a prompt like their training data;
- unfamiliar: the same, as for a prompt unlike them, of which all is looked at and then the complexity prior speaks;
- decide: the outline and `Router.decide` between two models on an empty ledger, prediction included.

Familiar and unfamiliar are the same prompts: it is the predictor whose cut is moved, so that the two can be compared.
With `--check` the exit code is 1 if the p50 of one of the first two is over its budget for any length and kind.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import json
import statistics
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pydoc_data.topics import topics
from time import perf_counter

import numpy as np

from pointsman import Catalog, Ledger, Prompt, Router, RoutingCriteria
from pointsman.routing.shipped import FOLDER
from pointsman.routing.trained import TrainedPredictor
from pointsman.tokens import EstimatedTokens

LLAMA_8B, LLAMA_70B = "meta.llama3-1-8b-instruct-v1:0", "meta.llama3-1-70b-instruct-v1:0"
CHARACTERS_PER_TOKEN = 4
# Tokens, and the milliseconds that the p50 of one prediction may take.
BUDGETS = {128: 0.2, 512: 0.5, 4_000: 1.0, 30_000: 1.0}
KINDS = ("prose", "code", "exam question")
SORTS = ("familiar", "unfamiliar", "decide")

# Python's own reference and sources: real prose and code that every machine has.
_PROSE = "\n\n".join(topics[name] for name in sorted(topics))
_CODE = "".join(inspect.getsource(module) for module in (argparse, inspect, statistics, typing))
_EXAM = """
Which of the following statements about the passage above is correct?

A. It follows from its first sentence alone, whatever is said later.
B. It holds only for numbers below 2,048 and for their squares.
C. It contradicts what is said of the third case, since 7 * 8 = 56.
D. None of these.
Answer:"""

Milliseconds = list[float]


def texts(kind: str, tokens: int) -> Iterator[str]:
    """Texts of that many tokens, without end, each from another place."""
    length = tokens * CHARACTERS_PER_TOKEN
    whole, ending = {"prose": (_PROSE, ""), "code": (_CODE, ""), "exam question": (_PROSE, _EXAM)}[kind]
    body = length - len(ending)
    step = 7_919  # A prime, so that places come back late.
    place = 0
    while True:
        yield whole[place : place + body] + ending
        place = (place + step) % (len(whole) - body)


def sorts() -> dict[str, Callable[[Prompt], object]]:
    """What is timed, by name."""
    trained = TrainedPredictor.load(FOLDER / "llama-3.1.npz")
    familiar, unfamiliar = _to_which_all_is(trained, familiar=True), _to_which_all_is(trained, familiar=False)
    catalog, counter = Catalog.default(), EstimatedTokens()
    models = [catalog.resolve(model) for model in (LLAMA_8B, LLAMA_70B)]
    router = Router(
        models=[LLAMA_8B],
        fallback_model=LLAMA_70B,
        criteria=RoutingCriteria(response_quality_difference=0.0),
        predictor=familiar,
    )

    def decide(prompt: Prompt) -> object:
        ledger = Ledger()
        outline = prompt.outline(counter, key=ledger.key)
        return router.decide(prompt, [(model, outline) for model in models], ledger=ledger, now=0.0)

    timed = (lambda prompt: familiar.predict([prompt]), lambda prompt: unfamiliar.predict([prompt]), decide)
    return dict(zip(SORTS, timed, strict=True))


def _to_which_all_is(predictor: TrainedPredictor, *, familiar: bool) -> TrainedPredictor:
    """The predictor with its cuts moved to where every prompt, in any language, is familiar, or none is."""
    far = -1e9 if familiar else 1e9
    quantiles = far + np.arange(len(predictor.familiarity.quantiles))
    moved = replace(predictor.familiarity, quantiles=quantiles, least_known=np.array(-np.inf))
    return replace(predictor, familiarity=moved)


def measured(rounds: int) -> dict[tuple[int, str, str], Milliseconds]:
    """The milliseconds of each length, kind and sort, round by round."""
    calls = sorts()
    prompts = {key: texts(key[1], key[0]) for key in product(BUDGETS, KINDS)}
    took: dict[tuple[int, str, str], Milliseconds] = {key: [] for key in product(BUDGETS, KINDS, SORTS)}
    warm_up = max(rounds // 10, 1)
    for _ in range(warm_up + rounds):
        for (tokens, kind), told in prompts.items():
            prompt = Prompt.of_text(next(told))
            for sort, call in calls.items():
                start = perf_counter()
                call(prompt)
                took[tokens, kind, sort].append((perf_counter() - start) * 1e3)
    return {key: milliseconds[warm_up:] for key, milliseconds in took.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one length and kind: milliseconds by sort, and the prediction's share of the whole decision."""

    tokens: int
    kind: str
    p50: dict[str, float]
    p95: dict[str, float]
    share: float

    @property
    def is_within(self) -> bool:
        """Is one prediction within its budget, wherever it comes from?"""
        return max(self.p50["familiar"], self.p50["unfamiliar"]) <= BUDGETS[self.tokens]

    def __str__(self) -> str:
        cells = "".join(f"{self.p50[sort]:8.3f} ({self.p95[sort]:.3f})" for sort in SORTS)
        verdict = f"{BUDGETS[self.tokens]:.1f}" + ("" if self.is_within else " OVER")
        return f"{self.tokens:6,} {self.kind:14}{cells}  {self.share:6.0%}  {verdict}"


def figures(rounds: int) -> list[Row]:
    """A row for each length and kind."""
    gc.disable()
    took = measured(rounds)
    gc.enable()
    rows = []
    for tokens, kind in product(BUDGETS, KINDS):
        of_sort = {sort: took[tokens, kind, sort] for sort in SORTS}
        shares = [one / whole for one, whole in zip(of_sort["familiar"], of_sort["decide"], strict=True)]
        rows.append(
            Row(
                tokens=tokens,
                kind=kind,
                p50={sort: statistics.median(values) for sort, values in of_sort.items()},
                p95={sort: statistics.quantiles(values, n=20)[-1] for sort, values in of_sort.items()},
                share=statistics.median(shares),
            )
        )
    return rows


def main() -> None:
    """Measure, print, and with `--check` fail where a budget is overrun."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a budget is overrun")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = figures(arguments.rounds)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print("One decision, milliseconds: p50 (p95)")
        print(f"{'tokens':>6} {'kind':14}" + "".join(f"{sort:>16}" for sort in SORTS) + "   share  budget")
        print(*rows, sep="\n")
    if arguments.check and not all(row.is_within for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
