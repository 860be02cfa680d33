"""How well the complexity prior ranks the prompts of public sets, beside prompt length and beside fits of its weights.

    python training/complexity.py --data FOLDER [--draws 200]

`FOLDER` holds the sets as Parquet (`prompt`, `category`, one column of qualities per model). For each set and pair of
models it prints the APGR of the prior as it is shipped, with a 95 % interval; of its five weights fitted without that
set and without sets of the same task; and of the prompt's length. Then how many everyday prompts fall on their side
of 0.5, those kept for checking (`"split": "check"`) included.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from scipy.optimize import minimize

from pointsman.evaluation.metrics import apgr, bootstrap_all
from pointsman.routing.complexity import complexity, read

Floats = NDArray[np.float64]

_CHAT = (
    ("claude-3-haiku-20240307", "claude-3-5-sonnet-20240620"),
    ("claude-3-haiku-20240307", "claude-3-opus-20240229"),
    ("Meta-Llama-3-8B-Instruct", "Meta-Llama-3-70B-Instruct"),
    ("Meta-Llama-3.1-8B-Instruct", "Meta-Llama-3.1-70B-Instruct"),
    ("Qwen2-7B-Instruct", "Qwen2-72B-Instruct"),
    ("Qwen2.5-7B-Instruct", "Qwen2.5-72B-Instruct"),
    ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-05-13"),
    ("gemini-1.5-flash", "gemini-1.5-pro"),
    ("gemma-2-2b-it", "gemma-2-9b-it"),
    ("gemma-2-9b-it", "gemma-2-27b-it"),
    ("reka-flash-20240226", "reka-core-20240501"),
    ("command-r", "command-r-plus"),
)
_NEMOTRON = "llama-3.1-nemotron-51b-instruct"
# Set: what its questions are about, and pairs of a small and a large model, of one family where there is one.
SETS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "routellm_mmlu": ("exams", (("mixtral-8x7b-instruct", "gpt-4-1106-preview"),)),
    "routellm_gsm8k": ("school mathematics", (("mixtral-8x7b-instruct", "gpt-4-1106-preview"),)),
    "mmlu_pro": (
        "exams",
        (
            ("Meta-Llama-3_1-8B-Instruct", "Meta-Llama-3_1-70B-Instruct"),
            ("gemini-1.5-flash-002", "gemini-1.5-pro-002"),
            ("Meta-Llama-3-8B", "Meta-Llama-3-70B"),
            ("Meta-Llama-3_1-8B", "Meta-Llama-3_1-70B"),
            ("Llama-2-7b-hf", "Llama-2-70b-hf"),
            ("Qwen1.5-7B-Chat", "Qwen1.5-72B-Chat"),
            ("Yi-6B", "Yi-34B"),
            ("Mistral-7B-v0.1", "Mixtral-8x7B-v0.1"),
        ),
    ),
    "zeroeval_gsm": ("school mathematics", _CHAT),
    "zeroeval_math_l5": ("mathematics", _CHAT),
    "zeroeval_crux": ("code", _CHAT),
    "zeroeval_numersense_v2": ("numbers", _CHAT),
    "llmrouter_nim": (
        "",
        tuple(
            (small, _NEMOTRON)
            for small in ("llama-3.1-8b-instruct", "mistral-7b-instruct-v0.3", "gemma-2-9b-it", "qwen2.5-7b-instruct")
        ),
    ),
    "routerarena_cached": ("", (("claude-3-haiku-20240307", "gemini-2.0-flash-001"),)),
}
# In mixed sets the category tells the task.
_TASKS = {"mmlu": "exams", "gsm": "school mathematics", "math": "mathematics", "aime": "mathematics"}
_LEAST_GAP, _LEAST_ROWS = 0.05, 300
_EVERYDAY = Path(__file__).with_name("everyday.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """`parts` (n, 5) are what the weights apply to; `tasks` one name per prompt; `pairs` the two qualities, or NaN."""

    name: str
    parts: Floats
    shipped: Floats
    length: Floats
    tasks: NDArray[np.str_]
    pairs: dict[tuple[str, str], tuple[Floats, Floats]]

    @classmethod
    def load(cls, folder: Path, name: str) -> LabelledSet:
        table = parquet.read_table(folder / f"{name}.parquet")
        prompts, categories = (table.column(column).to_pylist() for column in ("prompt", "category"))
        of_all, wanted = SETS[name]
        return cls(
            name=name,
            parts=np.array([read(prompt).parts() for prompt in prompts]),
            shipped=np.array([complexity(prompt) for prompt in prompts]),
            length=np.array([len(prompt) for prompt in prompts], np.float64),
            tasks=np.array([of_all or _task_of(category) or name for category in categories]),
            pairs=dict(_pairs(table, wanted)),
        )


def _task_of(category: str) -> str | None:
    return next((task for sign, task in _TASKS.items() if sign in category.lower()), None)


def _pairs(
    table: parquet.Table, wanted: Sequence[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], tuple[Floats, Floats]]]:
    """Those of which both models were run on enough prompts, and the larger one is better by enough."""
    for pair in wanted:
        if not set(pair) <= set(table.column_names):
            continue
        small, large = (np.asarray(table.column(model).to_pylist(), np.float64) for model in pair)
        gap = large - small
        if np.isfinite(gap).sum() >= _LEAST_ROWS and np.nanmean(gap) > _LEAST_GAP:
            yield pair, (small, large)


def fit(sets: Sequence[LabelledSet], everyday: Floats, hard: NDArray[np.bool_], *, without: set[str]) -> Floats:
    """The five weights that rank the prompts of each set by the gap, and part the everyday prompts, as well as can be.

    Maximises the mean correlation with the gap per set (in units of its standard error, a set counting twice at
    most), less twice the logistic loss on the everyday prompts. Signs are given: all but the weight of ease raise it.
    """
    scale = np.maximum(np.mean([one.parts.std(axis=0) for one in sets], axis=0), everyday.std(axis=0))
    terms = [term for one in sets for term in _terms(one, scale, without)]
    signed = np.where(hard, 1.0, -1.0)

    def loss(weights: Floats) -> float:
        margin = signed * (everyday / scale @ weights[:-1] + weights[-1])
        ranking = sum(
            share * (weights[:-1] @ towards) / np.sqrt(weights[:-1] @ spread @ weights[:-1] + 1e-3)
            for share, spread, towards in terms
        )
        return float(2 * np.logaddexp(0, -margin).mean() - ranking + 0.01 * weights[:-1] @ weights[:-1])

    bounds = [(0, None)] * 4 + [(None, 0), (None, None)]
    found = minimize(loss, np.array([0.3, 0.3, 0.3, 0.3, -0.3, 0.0]), bounds=bounds, method="L-BFGS-B")
    return np.append(found.x[:-1] / scale, found.x[-1])


def _terms(one: LabelledSet, scale: Floats, without: set[str]) -> Iterator[tuple[float, Floats, Floats]]:
    kept = ~np.isin(one.tasks, list(without))
    for small, large in one.pairs.values():
        gap = large - small
        rows = kept & np.isfinite(gap)
        if rows.sum() < _LEAST_ROWS / 3:
            continue
        x, y = one.parts[rows] / scale, gap[rows]
        x, y = x - x.mean(axis=0), y - y.mean()
        share = min(np.sqrt(rows.sum()), 60) / 30 / len(one.pairs)
        yield float(share), x.T @ x / len(y), x.T @ y / len(y) / y.std()


def _everyday(split: str) -> tuple[list[str], NDArray[np.bool_]]:
    rows = [json.loads(line) for line in _EVERYDAY.read_text(encoding="utf-8").splitlines()]
    chosen = [row for row in rows if row["split"] == split]
    return [row["prompt"] for row in chosen], np.array([row["hard"] == 1 for row in chosen])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the Parquet files")
    parser.add_argument("--draws", type=int, default=200, help="draws of the bootstrap")
    parser.add_argument("--check", action="store_true", help="judge those everyday prompts too that are kept for it")
    options = parser.parse_args()
    sets = [LabelledSet.load(options.data, name) for name in SETS]
    prompts, hard = _everyday("dev")
    everyday = np.array([read(prompt).parts() for prompt in prompts])
    print("| set | small | large | prompts | prior (95 %) | fitted elsewhere | length |\n|---|---|---|---|---|---|---|")
    fits = {}
    for one in sets:
        fits[one.name] = fit(sets, everyday, hard, without=set(one.tasks))
        for line in _lines(one, fits[one.name], options.draws):
            print(line)
    fits["all"] = fit(sets, everyday, hard, without=set())
    print("\n| fitted without | things | links | clauses | work | ease | bias |\n|---|---|---|---|---|---|---|")
    for name, weights in fits.items():
        print(f"| {name} | {' | '.join(f'{weight:.2f}' for weight in weights)} |")
    print("\n| everyday prompts | hard | easy |\n|---|---|---|")
    for split in ("dev", "check") if options.check else ("dev",):
        prompts, hard = _everyday(split)
        above = np.array([complexity(prompt) > 0.5 for prompt in prompts])
        kinds = ((above[hard].sum(), hard.sum()), ((~above)[~hard].sum(), (~hard).sum()))
        print(f"| {split} | {' | '.join(f'{right} of {n}' for right, n in kinds)} |")


def _lines(one: LabelledSet, fitted: Floats, draws: int) -> Iterator[str]:
    for (small, large), (weak, strong) in one.pairs.items():
        known = np.isfinite(weak + strong)
        scores = [score[known] for score in (one.shipped, one.parts @ fitted[:-1], one.length)]
        figures = _figures(scores, weak[known], strong[known], draws)
        yield f"| {one.name} | {small} | {large} | {known.sum()} | {figures} |"


def _figures(scores: Sequence[Floats], weak: Floats, strong: Floats, draws: int) -> str:
    def judge(rows: NDArray[np.intp]) -> list[float]:
        return [apgr(score[rows], weak[rows], strong[rows]) for score in scores]

    prior, elsewhere, length = judge(np.arange(len(weak)))
    interval, *_ = bootstrap_all(judge, len(weak), draws=draws)
    return f"{prior:.3f} ({interval.low:.3f} to {interval.high:.3f}) | {elsewhere:.3f} | {length:.3f}"


if __name__ == "__main__":
    main()
