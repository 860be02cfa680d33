"""Fits the heads that the package ships, one file per family of models, from public outcomes of real models.

    python training/heads.py --data ../shared/data

Where each set comes from, and how to rebuild it, is told in training/README.md. The same data give the same files.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import orjson
from rich.console import Console

from pointsman.routing import Outcomes
from pointsman.routing.shipped import FOLDER, ShippedPredictor
from pointsman.routing.trained import TrainedPredictor

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"
MMLU_PRO, NIM = "mmlu_pro", "llmrouter_nim"
GSM, MATH, CRUX, NUMBERS = (f"zeroeval_{name}" for name in ("gsm", "math_l5", "crux", "numersense_v2"))
PAGE = Path(__file__).parents[1] / "docs" / "heads.md"
INTRODUCTION = """# The shipped heads

What each file of heads was fitted to, and how good it is on questions that it was not fitted to (five folds, split by
the whole question; the folds' calibration is that of the others). APGR is RouteLLM's figure: 1/2 is what drawing lots
reaches. The calibration error is of the expected gap in ten bins, and the floor is what a perfect prediction would show
on as many prompts. Written by `make train`; where the data come from is told in training/README.md.

No outcomes of Amazon Nova, of Claude 3.5 Haiku, or of Claude 3.7 and later were to be had: for these models, and for
prompts unlike the ones below, the [complexity prior](routing.md#the-complexity-prior) decides, and each trace says so.
"""
EXAMS = "Learnt from exam questions, word problems and code: everyday requests are left to the complexity prior."


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One file: `models` maps the name a head gets to the columns that hold that model's qualities, set by set."""

    name: str
    sets: tuple[str, ...]
    models: Mapping[str, tuple[str, ...]]
    licence: str = "Apache-2.0"
    notes: tuple[str, ...] = (EXAMS,)


FAMILIES = {
    "claude-3": Family(
        name="Claude 3 and 3.5 on ZeroEval (GSM, MATH level 5, CRUX)",
        sets=(GSM, MATH, CRUX),
        models={
            "anthropic.claude-3-haiku-20240307-v1:0": ("claude-3-haiku-20240307",),
            "anthropic.claude-3-5-sonnet-20240620-v1:0": ("claude-3-5-sonnet-20240620",),
            "anthropic.claude-3-5-sonnet-20241022-v2:0": ("claude-3-5-sonnet-20241022",),
            "anthropic.claude-3-opus-20240229-v1:0": ("claude-3-opus-20240229",),
        },
        notes=(EXAMS, "Nothing is known of Claude 4 and later: for them the complexity prior decides."),
    ),
    "llama-3.1": Family(
        name="Llama 3.1 on MMLU-Pro and ZeroEval (GSM, MATH level 5, CRUX)",
        sets=(MMLU_PRO, GSM, MATH, CRUX),
        models={
            "meta.llama3-1-8b-instruct-v1:0": ("Meta-Llama-3_1-8B-Instruct", "Meta-Llama-3.1-8B-Instruct"),
            "meta.llama3-1-70b-instruct-v1:0": ("Meta-Llama-3_1-70B-Instruct", "Meta-Llama-3.1-70B-Instruct"),
        },
        notes=(EXAMS, "On MMLU-Pro the larger model is better by about as much everywhere: little can be saved there."),
    ),
    "llama-3": Family(
        name="Llama 3 on ZeroEval (GSM, MATH level 5, CRUX, NumerSense)",
        sets=(GSM, MATH, CRUX, NUMBERS),
        models={
            "meta.llama3-8b-instruct-v1:0": ("Meta-Llama-3-8B-Instruct",),
            "meta.llama3-70b-instruct-v1:0": ("Meta-Llama-3-70B-Instruct",),
        },
    ),
    "mixtral-gpt-4": Family(
        name="Mixtral 8x7B and GPT-4 on RouteLLM's MMLU and GSM8K",
        sets=("routellm_mmlu", "routellm_gsm8k"),
        models={
            "mistral.mixtral-8x7b-instruct-v0:1": ("mixtral-8x7b-instruct",),
            "gpt-4-1106-preview": ("gpt-4-1106-preview",),
        },
        licence="Apache-2.0 (questions: MIT)",
    ),
    "gemini-1.5": Family(
        name="Gemini 1.5 on MMLU-Pro",
        sets=(MMLU_PRO,),
        models={"gemini-1.5-flash-002": ("gemini-1.5-flash-002",), "gemini-1.5-pro-002": ("gemini-1.5-pro-002",)},
    ),
    "gpt-4o": Family(
        name="GPT-4o on ZeroEval (GSM, MATH level 5, CRUX, NumerSense)",
        sets=(GSM, MATH, CRUX, NUMBERS),
        models={"gpt-4o-mini-2024-07-18": ("gpt-4o-mini-2024-07-18",), "gpt-4o-2024-05-13": ("gpt-4o-2024-05-13",)},
    ),
    "open": Family(
        name="Open models on LLMRouter's fourteen tasks",
        sets=(NIM,),
        models={
            "llama-3.1-8b-instruct": ("llama-3.1-8b-instruct",),
            "llama-3.1-nemotron-51b-instruct": ("llama-3.1-nemotron-51b-instruct",),
            "qwen2.5-7b-instruct": ("qwen2.5-7b-instruct",),
            "gemma-2-9b-it": ("gemma-2-9b-it",),
        },
        licence="MIT",
    ),
}


def fit(family: Family, data: Path, on: date) -> TrainedPredictor:
    """The predictor of one family."""
    known = {column: model for model, columns in family.models.items() for column in columns}
    parts = [_named(Outcomes.read(data / "routing" / f"{name}.parquet"), known) for name in family.sets]
    outcomes = Outcomes.merged(parts)
    return TrainedPredictor.fit(
        outcomes.prompts,
        outcomes.qualities,
        models=tuple(family.models),
        output_tokens=outcomes.output_tokens,
        name=family.name,
        licence=family.licence,
        notes=family.notes,
        on=on,
    )


def _named(outcomes: Outcomes, known: Mapping[str, str]) -> Outcomes:
    """The same outcomes, the models that get a head by the head's name."""
    return Outcomes(
        prompts=outcomes.prompts,
        qualities={known.get(column, column): values for column, values in outcomes.qualities.items()},
        output_tokens={known.get(column, column): values for column, values in outcomes.output_tokens.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the folder that holds routing/*.parquet")
    parser.add_argument("--to", type=Path, default=FOLDER, help="where the files are written")
    parser.add_argument("--only", choices=FAMILIES, help="one family")
    parser.add_argument("--on", type=date.fromisoformat, default=date.today(), help="the date on the cards")
    args = parser.parse_args()
    if not (args.data / "routing").is_dir():
        parser.error(f"{args.data} holds no folder routing/; see training/README.md for where the sets come from.")
    console = Console(stderr=True)
    args.to.mkdir(parents=True, exist_ok=True)
    known = {key: tuple(family.models) for key, family in FAMILIES.items()}
    (args.to / "families.json").write_bytes(orjson.dumps(known, option=orjson.OPT_INDENT_2))
    for key, family in FAMILIES.items():
        if args.only not in (None, key):
            continue
        with console.status(f"fitting {key}"):
            predictor = fit(family, args.data, args.on)
        path = args.to / f"{key}.npz"
        predictor.save(path)
        console.print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, {predictor.card.prompts:,} prompts")
    if args.to == FOLDER and args.only is None:
        PAGE.write_text(page())


def page() -> str:
    """The cards of all shipped files, as a page of the documentation."""
    return INTRODUCTION + "".join(f"\n{card.to_markdown()}" for card in ShippedPredictor().cards().values())


if __name__ == "__main__":
    main()
