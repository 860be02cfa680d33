"""Make core/pointsman/routing/data/familiarity.npz: the table of English words and the other prompts, as numbers.

    python training/familiarity.py --data ../shared/data

Reads the outcomes' prompts in `<data>/routing`, training/everyday.jsonl and training/languages.jsonl (of both the part
`dev` only). No text is shipped, only hashed words and measures of the surface. The same files give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

from pointsman.routing.familiarity import packaged_path, word_places, word_table
from pointsman.routing.familiarity_fitting import Others, varied
from pointsman.routing.features import features_of

HERE = Path(__file__).parent
ENGLISH, FOREIGN = "english", "foreign"

# Sets of which the prompts are taken; what isn't here stays unseen, to judge by.
SETS = ("mmlu_pro", "routellm_mmlu", "routellm_gsm8k", "zeroeval_math_l5", "zeroeval_crux", "zeroeval_numersense_v2")
MIXED_SET = "llmrouter_nim"
# Its authors ask that its questions be kept out of what is published.
KEPT_OUT = frozenset({"gpqa"})
PER_KIND = 70
PER_WIDE_KIND = {"mmlu_pro": 105, "routellm_mmlu": 105, "everyday": 160, FOREIGN: 160}

# A word that was met in one foreign prompt says little (Ney, Essen, Kneser, 1994).
DISCOUNT = 0.75
# Of the words in another language's prompt, this share is English by custom (technical terms, names, mixing).
BORROWED = 0.1
LEAST_TEXTS = 3
# Everyday words are what the exams lack; each everyday prompt counts as this many.
EVERYDAY_WEIGHT = 5


def main() -> None:
    """Read the prompts, make the arrays, write them."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    data: Path = arguments.parse_args().data
    prompts = kinds_of_prompts(data / "routing")
    arrays = Others.packed([features_of(text) for text in sampled(prompts)])
    path = packaged_path()
    np.savez_compressed(path, english=english_words(prompts), **arrays)
    print(f"{path.name}: {path.stat().st_size:,} bytes, {len(arrays['lengths']):,} prompts of {len(prompts)} kinds")


def kinds_of_prompts(folder: Path) -> Mapping[str, list[str]]:
    """The distinct prompts of each kind, in the order of the files."""
    kinds: dict[str, dict[str, None]] = defaultdict(dict)
    for name in SETS:
        for prompt in parquet.read_table(folder / f"{name}.parquet")["prompt"].to_pylist():
            kinds[name][prompt] = None
    table = parquet.read_table(folder / f"{MIXED_SET}.parquet")
    for prompt, category in zip(table["prompt"].to_pylist(), table["category"].to_pylist(), strict=True):
        if category not in KEPT_OUT:
            kinds[category][prompt] = None
    for line in dev_lines("everyday.jsonl"):
        kinds["everyday"][line["prompt"]] = None
    for line in dev_lines("languages.jsonl"):
        if line["language"] != "English":  # These are the control group.
            kinds[FOREIGN][line["prompt"]] = None
    return {kind: list(texts) for kind, texts in kinds.items()}


def dev_lines(name: str) -> Iterator[dict[str, str]]:
    """The lines of a file beside this one that may be learnt from."""
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        if (found := json.loads(line))["split"] == "dev":
            yield found


def sampled(prompts: Mapping[str, list[str]]) -> list[str]:
    """Some of each kind, every other one as somebody else might have written it."""
    draw = random.Random(0)
    chosen = []
    for kind in sorted(prompts):
        texts = sorted(prompts[kind])
        chosen += draw.sample(texts, min(PER_WIDE_KIND.get(kind, PER_KIND), len(texts)))
    return [varied(text, draw) if i % 2 else text for i, text in enumerate(chosen)]


def english_words(prompts: Mapping[str, list[str]]) -> np.ndarray:
    """The table of words: the logarithm of how much likelier each is in English than in another language's prompt.

    A word's share of the other languages is taken as a mixture of what was counted there and of borrowed English, which
    bounds the weight of words that were never met there.
    """
    here = Counter[int]()
    for kind, texts in prompts.items():
        if kind != FOREIGN:
            for word, texts_with in counted(texts).items():
                here[word] += texts_with * (EVERYDAY_WEIGHT if kind == "everyday" else 1)
    there = counted(prompts[FOREIGN])
    words = np.array(sorted(word for word, texts_with in here.items() if texts_with >= LEAST_TEXTS), np.uint64)
    share_here = np.array([here[int(word)] for word in words]) / here.total()
    share_there = np.array([max(there[int(word)] - DISCOUNT, 0) for word in words]) / there.total()
    weights = np.log(share_here / (BORROWED * share_here + (1 - BORROWED) * share_there))
    telling_nothing = marks_letters_and_numbers()
    weights[np.isin(words, telling_nothing)] = 0.0
    table = word_table(words, weights)
    # A word that happens to be at both places of a mark must not speak for it.
    table[word_places(telling_nothing)[0]] = 0
    return table


def counted(texts: Iterable[str]) -> Counter[int]:
    """In how many texts each word stands, by its hash."""
    return Counter(word for text in texts for word in np.unique(features_of(text).words).tolist())


def marks_letters_and_numbers() -> np.ndarray:
    """The hashes of what says nothing about a language: single letters name options and quantities everywhere."""
    texts = [*(chr(code) for code in range(33, 127) if not chr(code).isalnum() and chr(code) != "_")]
    texts += string.ascii_lowercase
    texts += ["1" * digits for digits in range(1, 13)]
    return np.array([features_of(text).words[0] for text in texts], np.uint64)


if __name__ == "__main__":
    main()
