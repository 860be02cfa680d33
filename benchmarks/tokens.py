"""How close estimated tokens come to a tokenizer's, and how fast: writes tokens.md.

    python benchmarks/tokens.py [--data ../shared/data] [--tokenizers .venv/tokenizers] [--fit]

Stand-ins for the tokenizers of Bedrock's models, none of which is public: tiktoken's o200k_base and SmolLM2's, as they
are and times 1.3. `--fit` prints the prior instead, which is fitted to cl100k_base: no truth of the page.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from token_prompts import Made, pools, prompts

from pointsman.local.llama import shipped_weights
from pointsman.local.llama_runtime import LlamaRuntime
from pointsman.outline import Outline
from pointsman.prompt import Prompt
from pointsman.tokens import EstimatedTokens
from pointsman.tokens.content import COLUMNS, amounts

Floats = NDArray[np.float64]
Tokenizer = Callable[[Sequence[str]], list[int]]

PAGE = Path(__file__).with_name("tokens.md")
CALLS = (0, 10, 50, 200)
ORDERS = 10
PROMPTS = 500
# Markup as Claude has it: 346 tokens where there are tools (Anthropic's documentation of tool use), a few elsewhere.
OF_TOOLS, OF_A_MESSAGE, OF_A_TOOL_BLOCK = 346, 4, 8
OLD_STEP = 0.2


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt with its outline, and what each tokenizer makes of it."""

    outline: Outline
    old: float
    classes: Floats
    truth: dict[str, float]

    @classmethod
    def of(cls, made: Made, counted: dict[str, dict[str, int]]) -> Case:
        """The texts' tokens by tokenizer are known."""
        outline = Prompt(made.request).outline(EstimatedTokens())
        kinds = [block.kind for block in outline.blocks]
        sizes = [round(row[0]) for row in amounts(outline.contents)]
        markup = OF_TOOLS * ("tool" in kinds) + OF_A_MESSAGE * len(made.request["messages"])
        markup += OF_A_TOOL_BLOCK * sum(kind != "text" for kind in kinds)
        return cls(
            outline=outline,
            old=float(sum(EstimatedTokens().count(kinds=kinds, sizes=sizes))),
            classes=by_class(outline),
            truth={name: markup + sum(map(tokens.__getitem__, made.texts)) for name, tokens in counted.items()},
        )


def by_class(outline: Outline) -> Floats:
    """Bytes of prose, code and JSON, and blocks: each block is of one class, told by kind, punctuation and indents."""
    rows = amounts(outline.contents).astype(np.float64)
    column = {name: rows[:, index] for index, name in enumerate(COLUMNS)}
    size = np.maximum(column["bytes"], 1)
    is_json = (column["tool"] + column["tool_use"] > 0) | (column["punctuation"] > 0.16 * size)
    is_code = ~is_json & (column["indents"] + column["newlines"] > 0.1 * size)
    is_prose = ~is_json & ~is_code
    return np.array([*(size[one].sum() for one in (is_prose, is_code, is_json)), len(size)])


def tiktoken_of(name: str) -> Tokenizer:
    """One of tiktoken's encodings, its vocabulary taken from the files that llama-index-core brings."""
    import tiktoken

    encoding = tiktoken.get_encoding(name)
    return lambda texts: [len(tokens) for tokens in encoding.encode_ordinary_batch(list(texts), num_threads=2)]


def smollm2() -> Tokenizer:
    """SmolLM2's tokenizer, as llama.cpp has it."""
    folder = tempfile.mkdtemp()
    runtime = LlamaRuntime(shipped_weights(), threads=1, context_tokens=512, state_folder=Path(folder))

    def count(texts: Sequence[str]) -> list[int]:
        parts = [texts[start : start + 100] for start in range(0, len(texts), 100)]
        return [len(tokens) for part in parts for tokens in runtime.tokenize(part, markup=False)]

    return count


def cases(data: Path, tokenizers: dict[str, Tokenizer], *, test: bool) -> tuple[list[Case], list[Case]]:
    """Prompts by themselves, and conversations of ten requests each, of one half of the text."""
    pieces = pools(data, test=test)
    made = prompts(pieces, PROMPTS, seed=int(test))
    grown = [one for whole in prompts(pieces, 40, seed=2 + test) for one in growing(whole)]
    texts = sorted({text for one in (*made, *grown) for text in one.texts})
    counted = {name: dict(zip(texts, count(texts), strict=True)) for name, count in tokenizers.items()}
    return [Case.of(one, counted) for one in made], [Case.of(one, counted) for one in grown]


def growing(whole: Made, requests: int = 10) -> Iterable[Made]:
    """The requests that led to this one, each with some messages more than the one before."""
    messages = whole.request["messages"]
    head = len(whole.texts) - sum(len(message["content"]) for message in messages)
    for number in range(1, requests + 1):
        kept = messages[: max(1, len(messages) * number // requests)]
        blocks = sum(len(message["content"]) for message in kept)
        yield Made({**whole.request, "messages": kept}, whole.texts[: head + blocks])


def errors_of_content(taught: Sequence[Case], asked: Sequence[Case], truth: str, times: float) -> Floats:
    """Relative errors on what is asked, by what the counter has learnt from those taught."""
    counter = EstimatedTokens()
    for one in taught:
        last = len(one.outline.blocks) - 1
        counter.learn("model", contents=one.outline.contents, counted=[(last, round(times * one.truth[truth]))])
    weights = counter.weights("model")
    told = [one.outline.corrected(weights).tokens for one in asked]
    return np.array(told) / [times * one.truth[truth] for one in asked] - 1


def errors_of_factor(taught: Sequence[Case], asked: Sequence[Case], truth: str, times: float) -> Floats:
    """The same by sizes and kinds of block with one factor for all, a running mean: what there was before."""
    factor: float | None = None
    for one in taught:
        seen = times * one.truth[truth] / one.old
        factor = seen if factor is None else factor + OLD_STEP * (seen - factor)
    return np.array([(factor or 1.0) * one.old / (times * one.truth[truth]) - 1 for one in asked])


def errors_of_classes(taught: Sequence[Case], asked: Sequence[Case], truth: str, times: float) -> Floats:
    """The same by a ratio for each of three classes and a constant for each block, by ridge."""
    prior = np.array([1 / 4.3, 1 / 3.5, 1 / 3.0, 3.0])
    precision = np.diag(1 / (0.5 * prior) ** 2)
    squares, products = precision, precision @ prior
    for one in taught:
        told = one.classes / (times * one.truth[truth])
        squares = squares + np.outer(told, told) / 0.05**2
        products = products + told / 0.05**2
    weights = np.linalg.solve(squares, products)
    return np.array([one.classes @ weights / (times * one.truth[truth]) - 1 for one in asked])


METHODS = {
    "one factor a model (as before)": errors_of_factor,
    "three classes a model": errors_of_classes,
    "by content a model (as built)": errors_of_content,
}


def orders(taught: Sequence[Case], calls: int) -> Iterable[list[Case]]:
    """Several draws of so many calls."""
    for seed in range(ORDERS if calls else 1):
        yield Random(seed).sample(list(taught), calls)


def conversations(taught: Sequence[Case], calls: int) -> Iterable[list[Case]]:
    """The same, whole conversations one after the other."""
    for seed in range(ORDERS if calls else 1):
        starts = Random(seed).sample(range(0, len(taught), 10), -(-calls // 10))
        yield [one for start in starts for one in taught[start : start + 10]][:calls]


def page(data: Path, tokenizers: dict[str, Tokenizer]) -> str:
    """All tables."""
    taught, talks = cases(data, tokenizers, test=False)
    asked, _ = cases(data, tokenizers, test=True)
    lines = [INTRODUCTION.format(prompts=len(asked), taught=len(taught), orders=ORDERS)]
    head = "| truth | corrected | " + " | ".join(f"{calls} calls" for calls in CALLS) + " | p95 | worst |"
    lines += [head, "|---" * (len(CALLS) + 4) + "|"]
    for truth in tokenizers:
        for times in (1.0, 1.3):
            for method, errors in METHODS.items():
                lines.append(
                    row(f"{truth}{' x 1.3' * (times > 1)}", method, errors, orders, taught, asked, truth, times)
                )
    lines += ["", CONVERSATIONS, "", head, "|---" * (len(CALLS) + 4) + "|"]
    for truth in tokenizers:
        lines.append(row(truth, "by content", errors_of_content, conversations, talks, asked, truth, 1.0))
    lines += ["", SIZES, "", *by_size(taught, asked, list(tokenizers)), ""]
    return "\n".join(lines)


def row(
    name: str,
    method: str,
    errors: Callable[[Sequence[Case], Sequence[Case], str, float], Floats],
    draws: Callable[[Sequence[Case], int], Iterable[list[Case]]],
    taught: Sequence[Case],
    asked: Sequence[Case],
    truth: str,
    times: float,
) -> str:
    """Mean errors after each number of calls; p95 and the worst prompt after the last."""
    means, last = [], np.zeros(0)
    for calls in CALLS:
        last = np.concatenate([np.abs(errors(draw, asked, truth, times)) for draw in draws(taught, calls)])
        means.append(f"{last.mean():.1%}")
    return f"| {name} | {method} | {' | '.join(means)} | {np.quantile(last, 0.95):.1%} | {last.max():.1%} |"


def by_size(taught: Sequence[Case], asked: Sequence[Case], truths: Sequence[str]) -> list[str]:
    """Mean errors after 200 calls by the prompts' tokens, and their sign."""
    edges = (0, 2_000, 20_000, 10**9)
    lines = ["| truth | under 2,000 tokens | 2,000 to 20,000 | above | bias of all |", "|---|---|---|---|---|"]
    for truth in truths:
        sizes = np.array([one.truth[truth] for one in asked])
        errors = np.mean([errors_of_content(draw, asked, truth, 1.0) for draw in orders(taught, 200)], axis=0)
        told = [f"{np.abs(errors[(sizes >= low) & (sizes < high)]).mean():.1%}" for low, high in pairwise(edges)]
        lines.append(f"| {truth} | {' | '.join(told)} | {errors.mean():+.1%} |")
    return lines


def fit(data: Path, tokenizers: dict[str, Tokenizer]) -> str:
    """The prior: what cl100k_base takes for one of each amount, on the half that is learnt from."""
    taught, _ = cases(data, tokenizers, test=False)
    totals = np.array([amounts(one.outline.contents).sum(axis=0, dtype=np.float64) for one in taught])
    told = totals / np.array([one.truth["cl100k_base"] for one in taught])[:, None]
    scale = told.std(axis=0) + told.mean(axis=0) + 1e-9
    told /= scale
    weights = np.linalg.solve(told.T @ told + 0.05 * np.eye(len(COLUMNS)), told.sum(axis=0)) / scale
    return "\n".join(f"{name:18} {weight:8.3f}" for name, weight in zip(COLUMNS, weights, strict=True))


INTRODUCTION = """# Token counts: how close, how fast

Written by `python benchmarks/tokens.py` (`make bench-caching`). Mean absolute error of a whole prompt's tokens on
{prompts} prompts of 500 to 100,000 tokens that nothing was learnt from, after so many calls whose usage told the tokens
of the whole prompt: draws from {taught} others, means of {orders} draws. p95 and the worst prompt are after the last.
Prompts are chats, documents, coding agents and agents that talk JSON, of public text: exam questions, MT-RAG's
passages, tau-bench's conversations, Python's standard library, operations of AWS services as tools. Questions,
passages, modules, services and tasks of the one half stand in no prompt of the other.

No tokenizer of a model on Bedrock is public. The truths stand in for them: tiktoken's o200k_base and SmolLM2's, as they
are and times 1.3, with 346 tokens where there are tools, 4 a message and 8 a tool block. The prior is fitted to
cl100k_base, of which o200k_base is a near relation and SmolLM2's tokenizer is not. Which bytes are told apart, and how
many are looked at, was chosen by what cl100k_base and SmolLM2's tokenizer made of prompts of both halves; o200k_base
had no part in it.
"""
CONVERSATIONS = """## Calls of conversations

The same, but the calls are conversations of ten requests that grow: 200 calls are twenty conversations."""
SIZES = """## By size

After 200 calls, by content."""


def main() -> None:
    """Write the page, or print the prior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tokenizers", type=Path, default=Path(".venv/tokenizers"), help="where tiktoken is")
    parser.add_argument("--fit", action="store_true", help="print the prior")
    arguments = parser.parse_args()
    sys.path.append(str(arguments.tokenizers))
    os.environ["TIKTOKEN_CACHE_DIR"] = str(arguments.tokenizers / "llama_index/core/_static/tiktoken_cache")
    if arguments.fit:
        print(fit(arguments.data, {"cl100k_base": tiktoken_of("cl100k_base")}))
        return
    PAGE.write_text(page(arguments.data, {"SmolLM2": smollm2(), "o200k_base": tiktoken_of("o200k_base")}))
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
