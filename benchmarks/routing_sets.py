"""Which labelled prompts and pairs of models `routing.py` judges by, and what each prompt costs on either model.

Knows the names of files, columns and price lists; fits and judges nothing. Where the files come from is told in
the README of the folder that holds them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import genai_prices
import numpy as np
import numpy.typing as npt

from pointsman.routing import Outcomes

Floats = npt.NDArray[np.float64]

CHARACTERS_PER_TOKEN = 4
ASSUMED_OUTPUT_TOKENS = 200.0

MMLU, GSM8K = ("routellm_mmlu",), ("routellm_gsm8k",)
MMLU_PRO = ("mmlu_pro",)
ZEROEVAL = ("zeroeval_gsm", "zeroeval_math_l5", "zeroeval_crux")
ZEROEVAL_AND_NUMERSENSE = (*ZEROEVAL, "zeroeval_numersense_v2")
NIM = ("llmrouter_nim",)

# One model under several names in the files.
_ALIASES = {
    "Meta-Llama-3_1-8B-Instruct": "Meta-Llama-3.1-8B-Instruct",
    "Meta-Llama-3_1-70B-Instruct": "Meta-Llama-3.1-70B-Instruct",
    "Meta-Llama-3.1-405B-Instruct@hyperbolic": "Meta-Llama-3.1-405B-Instruct",
    "gemma-2-27b-it@together": "gemma-2-27b-it",
    "Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b-instruct",
}
# The price list (a provider of genai-prices) and the name there. A model that isn't here has no price.
_PRICED = {
    "claude-3-haiku-20240307": ("aws", "anthropic.claude-3-haiku-20240307-v1:0"),
    "claude-3-opus-20240229": ("aws", "anthropic.claude-3-opus-20240229-v1:0"),
    "claude-3-5-sonnet-20241022": ("aws", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
    "claude-3-5-sonnet-20240620": ("aws", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
    "Meta-Llama-3-8B-Instruct": ("aws", "meta.llama3-8b-instruct-v1:0"),
    "Meta-Llama-3-70B-Instruct": ("aws", "meta.llama3-70b-instruct-v1:0"),
    "Meta-Llama-3.1-8B-Instruct": ("aws", "meta.llama3-1-8b-instruct-v1:0"),
    "Meta-Llama-3.1-70B-Instruct": ("aws", "meta.llama3-1-70b-instruct-v1:0"),
    "Mistral-7B-Instruct-v0.2": ("aws", "mistral.mistral-7b-instruct-v0:2"),
    "mixtral-8x7b-instruct": ("aws", "mistral.mixtral-8x7b-instruct-v0:1"),
    "gpt-4-1106-preview": ("openai", "gpt-4-1106-preview"),
    "gpt-4o-mini-2024-07-18": ("openai", "gpt-4o-mini-2024-07-18"),
    "gpt-4o-2024-05-13": ("openai", "gpt-4o-2024-05-13"),
    "gpt-4o-2024-08-06": ("openai", "gpt-4o-2024-08-06"),
    "gemini-1.5-flash": ("google", "gemini-1.5-flash"),
    "gemini-1.5-pro": ("google", "gemini-1.5-pro"),
    "gemini-1.5-flash-002": ("google", "gemini-1.5-flash-002"),
    "gemini-1.5-pro-002": ("google", "gemini-1.5-pro-002"),
}
_LEAST_SHARE_OF_LABELS = 0.9
_STEM = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two models of one family on the prompts of some files, by the columns' names."""

    name: str
    weak: str
    strong: str
    files: tuple[str, ...]

    @property
    def models(self) -> tuple[str, str]:
        return (self.weak, self.strong)


ROUTELLM_MMLU = Pair(
    name="Mixtral -> GPT-4, MMLU", weak="mixtral-8x7b-instruct", strong="gpt-4-1106-preview", files=MMLU
)
ROUTELLM_GSM8K = replace(ROUTELLM_MMLU, name="Mixtral -> GPT-4, GSM8K", files=GSM8K)
CLAUDE = Pair(
    name="Claude 3 Haiku -> 3.5 Sonnet, ZeroEval",
    weak="claude-3-haiku-20240307",
    strong="claude-3-5-sonnet-20240620",
    files=ZEROEVAL,
)
GEMINI = Pair(
    name="Gemini 1.5 Flash -> Pro, MMLU-Pro", weak="gemini-1.5-flash-002", strong="gemini-1.5-pro-002", files=MMLU_PRO
)
LLAMA = Pair(
    name="Llama 3.1 8B -> 70B, MMLU-Pro",
    weak="Meta-Llama-3.1-8B-Instruct",
    strong="Meta-Llama-3.1-70B-Instruct",
    files=MMLU_PRO,
)


def _pairs(label: str, files: tuple[str, ...], *named: tuple[str, str, str]) -> tuple[Pair, ...]:
    return tuple(Pair(name=f"{name}, {label}", weak=weak, strong=strong, files=files) for name, weak, strong in named)


NEMOTRON, CHATQA = _pairs(
    "14 tasks",
    NIM,
    ("Llama 3.1 8B -> Nemotron 51B", "llama-3.1-8b-instruct", "llama-3.1-nemotron-51b-instruct"),
    ("Llama 3 ChatQA 8B -> 70B", "llama3-chatqa-1.5-8b", "llama3-chatqa-1.5-70b"),
)
OPUS, SONNET_V2, LLAMA_ZEROEVAL, LLAMA_405B, GPT_4O_AUGUST, GEMMA, GEMMA_SMALL, QWEN, YI_1_5 = _pairs(
    "ZeroEval",
    ZEROEVAL,
    ("Claude 3 Haiku -> Opus", "claude-3-haiku-20240307", "claude-3-opus-20240229"),
    ("Claude 3 Haiku -> 3.5 Sonnet v2", "claude-3-haiku-20240307", "claude-3-5-sonnet-20241022"),
    ("Llama 3.1 8B -> 70B", "Meta-Llama-3.1-8B-Instruct", "Meta-Llama-3.1-70B-Instruct"),
    ("Llama 3.1 70B -> 405B", "Meta-Llama-3.1-70B-Instruct", "Meta-Llama-3.1-405B-Instruct"),
    ("GPT-4o mini -> 4o (August)", "gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06"),
    ("Gemma 2 9B -> 27B", "gemma-2-9b-it", "gemma-2-27b-it"),
    ("Gemma 2 2B -> 9B", "gemma-2-2b-it", "gemma-2-9b-it"),
    ("Qwen 2 7B -> 72B", "Qwen2-7B-Instruct", "Qwen2-72B-Instruct"),
    ("Yi 1.5 9B -> 34B", "Yi-1.5-9B-Chat", "Yi-1.5-34B-Chat"),
)
LLAMA_3, GEMINI_ZEROEVAL, GPT_4O = _pairs(
    "ZeroEval and NumerSense",
    ZEROEVAL_AND_NUMERSENSE,
    ("Llama 3 8B -> 70B", "Meta-Llama-3-8B-Instruct", "Meta-Llama-3-70B-Instruct"),
    ("Gemini 1.5 Flash -> Pro", "gemini-1.5-flash", "gemini-1.5-pro"),
    ("GPT-4o mini -> 4o", "gpt-4o-mini-2024-07-18", "gpt-4o-2024-05-13"),
)
OF_MMLU_PRO = _pairs(
    "MMLU-Pro",
    MMLU_PRO,
    ("Llama 3 8B -> 70B (base)", "Meta-Llama-3-8B", "Meta-Llama-3-70B"),
    ("Llama 2 7B -> 70B (base)", "Llama-2-7b-hf", "Llama-2-70b-hf"),
    ("Qwen 1.5 7B -> 72B", "Qwen1.5-7B-Chat", "Qwen1.5-72B-Chat"),
    ("Yi 6B -> 34B (base)", "Yi-6B", "Yi-34B"),
    ("Mistral 7B -> Mixtral 8x7B", "Mistral-7B-Instruct-v0.2", "mixtral-8x7b-instruct"),
)
EVERY_PAIR = (
    *(ROUTELLM_MMLU, ROUTELLM_GSM8K, GEMINI, LLAMA, *OF_MMLU_PRO, NEMOTRON, CHATQA),
    *(LLAMA_3, GEMINI_ZEROEVAL, GPT_4O, CLAUDE, OPUS, SONNET_V2),
    *(LLAMA_ZEROEVAL, LLAMA_405B, GPT_4O_AUGUST, GEMMA, GEMMA_SMALL, QWEN, YI_1_5),
)
# Pairs of which several data sets are to be had, so that one can be left out. Tasks count as data sets in NIM.
LEFT_OUT = (
    replace(ROUTELLM_MMLU, name="Mixtral -> GPT-4", files=(*MMLU, *GSM8K)),
    replace(LLAMA, name="Llama 3.1 8B -> 70B", files=(*MMLU_PRO, *ZEROEVAL)),
    *(CLAUDE, OPUS, LLAMA_3, GEMINI_ZEROEVAL, GPT_4O, NEMOTRON),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """A pair's n prompts, of which both qualities are known. `outcomes` holds those of other models too.

    `kinds` (n,) names each prompt's data set: the file, or the category where there is one file only.
    """

    pair: Pair
    outcomes: Outcomes
    kinds: npt.NDArray[np.str_]

    @property
    def qualities(self) -> tuple[Floats, Floats]:
        """Of the weak and of the strong model, (n,) each."""
        weak, strong = (self.outcomes.qualities[model] for model in self.pair.models)
        return weak, strong

    def costs(self) -> tuple[Floats, Floats] | None:
        """USD per prompt (n,) on the weak and on the strong model; None where a price is unknown."""
        weak, strong = (_cost(self.outcomes, model) for model in self.pair.models)
        return None if weak is None or strong is None else (weak, strong)

    def rows(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Judged:
        """Some of the prompts."""
        taken = np.arange(len(self.kinds))[rows]
        outcomes = Outcomes(
            prompts=tuple(self.outcomes.prompts[row] for row in taken),
            qualities={model: values[taken] for model, values in self.outcomes.qualities.items()},
            output_tokens={model: values[taken] for model, values in self.outcomes.output_tokens.items()},
        )
        return replace(self, outcomes=outcomes, kinds=self.kinds[taken])


def judged(data: Path, pair: Pair) -> Judged:
    """A pair's prompts from the folder `data`, each once."""
    several = len(pair.files) > 1
    merged = Outcomes.merged(_of_kind(_read(data, file), file if several else None) for file in pair.files)
    known = ~np.isnan(sum(merged.qualities[model] for model in pair.models))
    found = Judged(pair=pair, outcomes=merged, kinds=np.array(merged.categories)).rows(known)
    told = found.outcomes.qualities
    asked = [m for m, values in told.items() if np.mean(~np.isnan(values)) >= _LEAST_SHARE_OF_LABELS]
    return replace(found, outcomes=found.outcomes.of(models=asked))


def other_sets(data: Path, pair: Pair) -> Outcomes:
    """Every label of a pair's models in the files that are not its own, less the questions that stand there too."""
    own = {stem(str(prompt)) for file in pair.files for prompt in _read(data, file).prompts}
    others = [outcomes for file in _files(data) if file not in pair.files and (outcomes := _read(data, file))]
    parts = [part.of(models=[m for m in pair.models if m in part.models]) for part in others]
    merged = Outcomes.merged(part for part in parts if part.models)
    rows = np.array([row for row, prompt in enumerate(merged.prompts) if stem(str(prompt)) not in own])
    return Outcomes(
        prompts=tuple(merged.prompts[row] for row in rows),
        qualities={model: values[rows] for model, values in merged.qualities.items()},
    )


def stem(prompt: str) -> str:
    """The beginning of a question, the same in whichever file and layout it stands."""
    return re.sub(r"\W+", " ", prompt.lower().removeprefix("q:")).strip()[:_STEM]


def _files(data: Path) -> list[str]:
    # RouterArena's cached answers hold a quality below 0, and no pair of one family.
    return sorted(path.stem for path in data.glob("*.parquet") if path.stem != "routerarena_cached")


@cache
def _read(data: Path, file: str) -> Outcomes:
    outcomes = Outcomes.read(data / f"{file}.parquet")
    return replace(
        outcomes,
        qualities=_renamed(outcomes.qualities),
        output_tokens=_renamed(outcomes.output_tokens),
    )


def _renamed(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    return {_ALIASES.get(model, model): values for model, values in columns.items()}


def _of_kind(outcomes: Outcomes, kind: str | None) -> Outcomes:
    return outcomes if kind is None else replace(outcomes, categories=(kind,) * len(outcomes))


def _cost(outcomes: Outcomes, model: str) -> Floats | None:
    price = list_price(model)
    if price is None:
        return None
    characters = np.array([len(str(prompt)) for prompt in outcomes.prompts])
    tokens = outcomes.output_tokens.get(model, np.full(len(outcomes), np.nan))
    tokens = np.where(np.isnan(tokens), ASSUMED_OUTPUT_TOKENS, tokens)
    return (characters / CHARACTERS_PER_TOKEN * price[0] + tokens * price[1]) / 1e6


@cache
def list_price(model: str) -> tuple[float, float] | None:
    """USD per million tokens, input and output, or None."""
    if model not in _PRICED:
        return None
    provider, name = _PRICED[model]
    usage = genai_prices.Usage(input_tokens=1000, output_tokens=1000)
    price = genai_prices.calc_price(usage, name, provider_id=provider)
    return float(price.input_price) * 1000, float(price.output_price) * 1000
