"""Writes the figures of `routing.py` as Markdown. Computes nothing but verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import routing_sets as sets
from routing_figures import (
    DATA_SET,
    DIFFERENCES,
    HEAD,
    LENGTH,
    ORACLE,
    PRIOR,
    RANDOM,
    WHOLE,
    Figure,
    PairFigures,
    Savings,
)
from routing_runs import Elsewhere, FewLabels, Result

_LEAST_PROMPTS = 2000
_CHANCE = 0.5
_FLOOR_MUST, _FLOOR_AIM = 0.025, 0.01
_LOSSES = ("1 %", "5 %")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One figure that must be reached, and one that is aimed at. `at_most`: the lower, the better."""

    set: str
    figure: str
    must: float
    aim: float
    found: Figure
    at_most: bool = False
    per_cent: bool = False
    beside: str = ""

    @property
    def verdict(self) -> str:
        if self._reaches(self.aim):
            return "aim met"
        return "must met" if self._reaches(self.must) else "**falls short**"

    def cells(self) -> list[str]:
        sign = "<=" if self.at_most else ">="
        asked = [f"{sign} {self._told(value)}" for value in (self.must, self.aim)]
        interval = f"{self._told(self.found.low)} to {self._told(self.found.high)}"
        return [
            self.set,
            self.figure,
            *asked,
            f"{self._told(self.found.value)} ({interval}){self.beside}",
            self.verdict,
        ]

    def _reaches(self, wanted: float) -> bool:
        return self.found.value <= wanted if self.at_most else self.found.value >= wanted

    def _told(self, value: float) -> str:
        if self.per_cent:
            return f"{100 * value:.1f} %"
        return f"{value:.1f}" if self.at_most else f"{value:.3f}"


def text(results: Sequence[Result], findings: str) -> str:
    """The page."""
    parts = [_OPENING, "## What it must show", requirements(results), findings.strip(), _READING, tables(results)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def requirements(results: Sequence[Result]) -> str:
    """What is asked, what was found, and whether that suffices."""
    rows = [requirement.cells() for requirement in _single_rows(results)]
    rows += _every_pair([one for one in results if isinstance(one, PairFigures)])
    rows.append(_unfamiliar([one for one in results if isinstance(one, Elsewhere)]))
    return _table(["set", "figure", "must", "aim", "found (95 %)", "verdict"], rows)


def tables(results: Sequence[Result]) -> str:
    """All figures that there are."""
    pairs = [one for one in results if isinstance(one, PairFigures)]
    pairs.sort(key=lambda one: [pair.name for pair in sets.EVERY_PAIR].index(one.name))
    few = sorted((one for one in results if isinstance(one, FewLabels)), key=lambda one: one.labels)
    elsewhere = sorted((one for one in results if isinstance(one, Elsewhere)), key=lambda one: (one.name, one.left_out))
    parts = []
    if pairs:
        parts += ["## Five folds", _ranking(pairs), "## What is saved", _saving(pairs)]
        parts += ["## Calibration", _calibration(pairs), "![Reliability](routing_reliability.svg)"]
    if few:
        parts += ["## Few labels", _few(few)]
    if elsewhere:
        parts += ["## On data sets without a label", _elsewhere(elsewhere)]
    return "\n\n".join(parts)


# --- what it must show --------------------------------------------------------------------------------------------


def _single_rows(results: Sequence[Result]) -> list[Requirement]:
    pairs = {one.name: one for one in results if isinstance(one, PairFigures)}
    few = {one.labels: one for one in results if isinstance(one, FewLabels)}[1500]
    without = {one.left_out: one for one in results if isinstance(one, Elsewhere) and one.name in _NO_LABEL}
    mmlu, gsm8k, claude, gemini, llama = (
        pairs[pair.name] for pair in (sets.ROUTELLM_MMLU, sets.ROUTELLM_GSM8K, sets.CLAUDE, sets.GEMINI, sets.LLAMA)
    )
    short = f"RouteLLM MMLU, 1,500 labels, mean of {few.draws} draws"
    return [
        Requirement(set=short, figure="APGR", must=0.63, aim=0.65, found=few.apgr),
        Requirement(set=short, figure="CPT50", must=32, aim=29, found=few.cpt50, at_most=True),
        Requirement(set="RouteLLM MMLU, five folds", figure="APGR", must=0.66, aim=0.69, found=mmlu.apgr[WHOLE]),
        *_unlabelled("RouteLLM MMLU", without[sets.MMLU[0]]),
        *_unlabelled("RouteLLM GSM8K", without[sets.GSM8K[0]]),
        Requirement(set="RouteLLM GSM8K, five folds", figure="APGR", must=0.62, aim=0.64, found=gsm8k.apgr[WHOLE]),
        Requirement(set=claude.name, figure="APGR", must=0.64, aim=0.70, found=claude.apgr[WHOLE]),
        _saved(claude, 0, 0.08, 0.15),
        _saved(claude, 1, 0.33, 0.42),
        _saved(gemini, 0, 0.30, 0.35),
        _saved(llama, 0, 0.02, 0.04),
    ]


def _unlabelled(name: str, found: Elsewhere) -> list[Requirement]:
    return [
        Requirement(set=f"{name}, no label of its own", figure=figure, must=0.58, aim=0.60, found=found.apgr[score])
        for figure, score in (
            ("APGR, complexity prior (cues chosen in view of this set)", PRIOR),
            ("APGR, fitted to the other sets", WHOLE),
        )
    ]


def _saved(pair: PairFigures, at: int, must: float, aim: float) -> Requirement:
    savings = pair.savings[WHOLE]
    beside = f"; measured loss {100 * savings.lost[at].value:.2f} %"
    found, figure = savings.saved[at], f"saved at {_LOSSES[at]}"
    return Requirement(set=pair.name, figure=figure, must=must, aim=aim, found=found, per_cent=True, beside=beside)


def _every_pair(pairs: Sequence[PairFigures]) -> list[list[str]]:
    large = [one for one in pairs if one.prompts >= _LEAST_PROMPTS]
    excess = {one.name: one.calibration[WHOLE][0] - one.calibration[WHOLE][1] for one in large}
    worst = max(excess, key=lambda name: excess[name])
    over = [name for name, value in excess.items() if value > _FLOOR_MUST]
    within = sum(value <= _FLOOR_AIM for value in excess.values())
    verdict = "**falls short**" if over else "aim met" if within == len(large) else "must met"
    exceeding = [
        f"{one.name} at {d:g}" for one in pairs for d, loss in zip(DIFFERENCES, one.losses, strict=True) if loss.exceeds
    ]
    behind = [f"{one.name} (random)" for one in pairs if one.apgr[WHOLE].value < _CHANCE]
    behind += [f"{one.name} (length)" for one in pairs if one.beside[LENGTH].high < 0]
    cells = len(pairs) * len(DIFFERENCES)
    return [
        [
            f"every pair, n >= {_LEAST_PROMPTS:,}",
            "calibration error above the sampling floor",
            f"<= {_FLOOR_MUST}",
            f"<= {_FLOOR_AIM}",
            f"at most {excess[worst]:.3f} ({worst}); {within} of {len(large)} within the aim{_listed(over)}",
            verdict,
        ],
        ["every pair", "mean loss significantly above d", "never", "", _never(exceeding, cells), _held(exceeding)],
        [
            "every pair, familiar tasks",
            "below random, or below prompt length by more than the interval",
            "never",
            "",
            _never(behind, 2 * len(pairs)),
            _held(behind),
        ],
    ]


def _unfamiliar(elsewhere: Sequence[Elsewhere]) -> list[str]:
    below = [f"{one.name} without {one.left_out}" for one in elsewhere if one.apgr[WHOLE].high < _CHANCE]
    figure = "below random by more than the interval"
    return ["unfamiliar sets", figure, "never", "", _never(below, len(elsewhere)), _held(below)]


def _never(found: Sequence[str], of: int) -> str:
    return f"{len(found)} of {of}{_listed(found)}"


def _held(found: Sequence[str]) -> str:
    return "**falls short**" if found else "must met"


def _listed(names: Sequence[str]) -> str:
    return f": {'; '.join(names)}" if names else ""


# --- all figures --------------------------------------------------------------------------------------------------


def _ranking(pairs: Sequence[PairFigures]) -> str:
    scores = (WHOLE, HEAD, LENGTH, DATA_SET, PRIOR)
    head = ["pair", "prompts", "weak", "strong", *scores, "less length", "CPT50", "CPT80", "flagged"]
    return _table(
        head,
        (
            [
                one.name,
                f"{one.prompts:,}",
                f"{one.weak:.3f}",
                f"{one.strong:.3f}",
                *(_told(one.apgr.get(score)) for score in scores),
                _told(one.beside[LENGTH]),
                f"{one.cpt50.value:.1f}",
                f"{one.cpt80.value:.1f}",
                f"{one.flagged:.1%}",
            ]
            for one in pairs
        ),
    )


def _saving(pairs: Sequence[PairFigures]) -> str:
    scores = (WHOLE, RANDOM, LENGTH, DATA_SET, ORACLE)
    head = ["pair", "at a loss of", *scores]
    rows = []
    for one in pairs:
        for at, loss in enumerate(_LOSSES):
            if one.savings:
                rows.append([one.name, loss, *(_saved_and_lost(one.savings.get(score), at) for score in scores)])
    return _table(head, rows)


def _saved_and_lost(savings: Savings | None, at: int) -> str:
    if savings is None:
        return ""
    saved, lost = savings.saved[at], savings.lost[at]
    interval = f"{100 * saved.low:.1f} to {100 * saved.high:.1f}"
    return f"{100 * saved.value:.1f} ({interval}); {100 * lost.value:.2f}"


def _calibration(pairs: Sequence[PairFigures]) -> str:
    head = ["pair", f"gap, {WHOLE}", f"gap, {HEAD}", "weak model", "strong model"]
    head += [f"loss at {d:g}" for d in DIFFERENCES]
    rows = []
    for one in pairs:
        errors = [*(one.calibration[score] for score in (WHOLE, HEAD)), *one.model_calibration]
        losses = [
            "none sent" if not loss.sent else f"{loss.mean:.3f} ({loss.sent:,}){' **above**' if loss.exceeds else ''}"
            for loss in one.losses
        ]
        rows.append([one.name, *(f"{error:.3f} ({error - floor:+.3f})" for error, floor in errors), *losses])
    return _table(head, rows)


def _few(few: Sequence[FewLabels]) -> str:
    head = ["labels", f"APGR, {WHOLE}", f"APGR, {HEAD}", "worst draw", "CPT50", "CPT80"]
    rows = []
    for one in few:
        figures = (_told(one.apgr), _told(one.head), f"{one.worst:.3f}", _told(one.cpt50, 1), _told(one.cpt80, 1))
        rows.append([f"{one.labels:,}", *figures])
    return _table(head, rows)


def _elsewhere(elsewhere: Sequence[Elsewhere]) -> str:
    scores = (WHOLE, HEAD, PRIOR, LENGTH)
    head = ["pair", "asked for", "prompts", "fitted to", "weak", "strong", "flagged", *scores]
    return _table(
        head,
        (
            [
                one.name,
                one.left_out,
                f"{one.prompts:,}",
                f"{one.labels:,}",
                f"{one.weak:.3f}",
                f"{one.strong:.3f}",
                f"{one.flagged:.0%}",
                *(_told(one.apgr[score]) for score in scores),
            ]
            for one in elsewhere
        ),
    )


def _told(figure: Figure | None, digits: int = 3) -> str:
    if figure is None or math.isnan(figure.value):
        return ""
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_NO_LABEL = (sets.ROUTELLM_MMLU.name, sets.ROUTELLM_GSM8K.name)
_OPENING = """
# What the router's predictions are worth

Written by `make bench-routing` (`benchmarks/routing.py`); the findings are written by hand. Every figure is of prompts
that the predictor was not fitted to. Folds go by question (a hash of the whole text), so that one question is never on
both sides. The predictor is the one that `pointsman fit` makes: heads, calibration, familiarity, and the complexity
prior where a prompt is unfamiliar.

**What these figures are not: untouched.** No label of a held-out prompt entered the fit that was asked for it. But the
constants of the fit, the share of prompts that counts as unfamiliar, and the prior's cues, weights and span were chosen
with figures of these very sets in view, and some after earlier runs of this benchmark. They are therefore somewhat
better than what new data would show; by how much, only prompts that nobody has looked at can tell.
"""
_READING = """
## How to read the tables

APGR and CPT are RouteLLM's; random is .500, and always-strong saves and loses nothing. In brackets: 95 % bootstrap
intervals over questions. *As used* is the whole predictor, *head alone* believes the head on every prompt, *data set
known* goes by the mean gap of the prompt's data set (the file, or the category where there is one file) on the other
folds. *Flagged*: the share of prompts called unfamiliar.

Saved is per cent of always-strong's cost at list prices (genai-prices), at the threshold that the other folds call for,
with the loss that was then measured, in per cent of always-strong's quality. Output tokens are the real ones where the
data tell (characters / 4), else 200. Pairs without list prices are left out there.

Calibration errors are means over ten bins of equal mass; in brackets what lies above the sampling floor, that is above
what a perfect prediction would show on as many prompts. *Loss at d*: mean loss of the requests that go to the cheaper
model at that response quality difference, and how many they are.
"""
