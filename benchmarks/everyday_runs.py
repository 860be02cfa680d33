"""Asks the default routers and the shipped heads about everyday, noisy and foreign prompts. Writes nothing.

A router's decision is that of `converse_flow`, the one path of every client, driven without a network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
from everyday_noise import GROUPS, NOISES

from pointsman.cache import Ledger
from pointsman.catalog import Catalog, Model
from pointsman.context import Context
from pointsman.flow import Reply, converse_flow
from pointsman.routing import Decision, Outcomes, RouterRegistry
from pointsman.routing.complexity import complexity
from pointsman.routing.familiarity import Familiarity
from pointsman.routing.features import features_of
from pointsman.routing.fitting import fold_of
from pointsman.routing.router import Candidate, choose
from pointsman.routing.shipped import FOLDER
from pointsman.routing.trained import TrainedPredictor

HERE = Path(__file__).parent
TRAINING = HERE.parent / "training"
ANNOUNCED = (
    ("Describe the purpose of a 'hello world' program in one line.", False),
    ("Alice has N brothers and she also has M sisters. How many sisters does Alice's brothers have?", True),
)
_ARN = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/"
ROUTERS = {"Claude, d = .26": f"{_ARN}anthropic.claude:1", "Llama, d = 0": f"{_ARN}meta.llama:1"}
# The shipped families, the smaller and the larger model that are judged, and the sets that each was fitted to.
_ZEROEVAL = ("zeroeval_gsm", "zeroeval_math_l5", "zeroeval_crux")
_NUMBERS = "zeroeval_numersense_v2"
FAMILIES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "claude-3": ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-5-sonnet-20240620-v1:0", _ZEROEVAL),
    "llama-3.1": ("meta.llama3-1-8b-instruct-v1:0", "meta.llama3-1-70b-instruct-v1:0", ("mmlu_pro", *_ZEROEVAL)),
    "llama-3": ("meta.llama3-8b-instruct-v1:0", "meta.llama3-70b-instruct-v1:0", (*_ZEROEVAL, _NUMBERS)),
    "mixtral-gpt-4": (
        "mistral.mixtral-8x7b-instruct-v0:1",
        "gpt-4-1106-preview",
        ("routellm_mmlu", "routellm_gsm8k"),
    ),
    "gemini-1.5": ("gemini-1.5-flash-002", "gemini-1.5-pro-002", ("mmlu_pro",)),
    "gpt-4o": ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-05-13", (*_ZEROEVAL, _NUMBERS)),
    "open": ("llama-3.1-8b-instruct", "llama-3.1-nemotron-51b-instruct", ("llmrouter_nim",)),
}
# Families of which the false alarms on prompts that were not fitted to are counted, in five folds.
FOLDED = ("claude-3", "open")
PER_SET = 500
PRIOR_CUT = 0.5
_NOW = 1_800_000_000.0

# Per prompt, whether it goes to the larger model, and on which basis.
Decided = list[tuple[bool, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Everyday:
    """One prompt: `hard` of its kind; `source` tells who wrote it."""

    text: str
    hard: bool
    source: str

    @property
    def length(self) -> str:
        """Which of three classes its number of words is in."""
        words = len(self.text.split())
        return "under 12 words" if words < 12 else "12 to 35" if words <= 35 else "over 35"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a router did with a prompt."""

    prompt: Everyday
    decision: Decision

    @property
    def larger(self) -> bool:
        """Whether it went to the dearest candidate."""
        prices = {one.model.invoke_id: one.model.price.output for one in self.decision.candidates if one.model.price}
        return self.decision.model.invoke_id == max(prices, key=lambda model: prices[model])

    @property
    def right(self) -> bool:
        return self.larger == self.prompt.hard

    @property
    def basis(self) -> str:
        return self.decision.basis or "none told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """A decision that a noise turned: to the larger model or to the smaller, and whether on another basis."""

    noise: str
    text: str
    to_larger: bool
    rebased: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """Of `n` prompts those that each noise decided otherwise. `notes` are further columns of its row."""

    name: str
    n: int
    turned: tuple[Turned, ...]
    notes: tuple[str, ...] = ()

    def share(self, noise: str) -> float:
        """Of the decisions under one noise."""
        return sum(one.noise == noise for one in self.turned) / self.n

    def groups(self) -> dict[str, float]:
        """The share per group of noises."""
        return {group: float(np.mean([self.share(noise) for noise in noises])) for group, noises in GROUPS.items()}

    def overall(self) -> float:
        """The four groups alike."""
        return float(np.mean(list(self.groups().values())))


class Routing:
    """Decisions of the default routers."""

    def __init__(self) -> None:
        self._context = Context(catalog=Catalog.default(), routers=RouterRegistry(), ledger=Ledger())

    def decide(self, router: str, text: str) -> Decision:
        """The decision on one request with nothing but this text."""
        request = {"modelId": ROUTERS[router], "messages": [{"role": "user", "content": [{"text": text}]}]}
        flow = converse_flow(request, self._context, now=_NOW)
        next(flow)
        try:
            flow.send(Reply(usage=None, at=_NOW))
        except StopIteration as end:
            if end.value.advice_failures or end.value.decision is None:
                raise RuntimeError(f"no decision: {end.value.advice_failures}") from None
            return end.value.decision
        raise RuntimeError("the flow asked for a second call")


def everyday() -> list[Everyday]:
    """The new prompts, and the part of the project's own that is kept for checking."""
    return [
        *_everyday(HERE / "everyday_prompts.jsonl", "new"),
        *_everyday(TRAINING / "everyday.jsonl", "check", split="check"),
    ]


def _everyday(path: Path, source: str, split: str | None = None) -> Iterator[Everyday]:
    for row in _lines(path):
        if row.get("split") == split:
            yield Everyday(text=row["prompt"], hard=row["hard"] == 1, source=source)


def _lines(path: Path) -> Iterator[dict]:
    yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def asked(routing: Routing, router: str, prompts: Sequence[Everyday]) -> list[Asked]:
    """What a router does with each prompt."""
    return [Asked(prompt=one, decision=routing.decide(router, one.text)) for one in prompts]


# --- noise ------------------------------------------------------------------------------------------------------


def flips_of_router(routing: Routing, router: str, plain: Sequence[Asked]) -> Flips:
    """How often a router decides otherwise on the same prompts with noise."""

    def decided(several: Sequence[Asked]) -> Decided:
        return [(one.larger, one.basis.partition(":")[0]) for one in several]

    def noisy(rewrite: Callable[[str], str]) -> list[Everyday]:
        return [replace(one.prompt, text=rewrite(one.prompt.text)) for one in plain]

    after = {noise: decided(asked(routing, router, noisy(rewrite))) for noise, rewrite in NOISES.items()}
    return _flips(router, [one.prompt.text for one in plain], decided(plain), after)


def flips_of_heads(data: Path, family: str, name: str) -> Flips:
    """The same of a family's heads on a set they know, at the difference that parts its prompts in halves."""
    texts = sampled(data, name)
    weak, strong, _ = FAMILIES[family]
    predictor = TrainedPredictor.load(FOLDER / f"{family}.npz")
    told = predictor.predict(texts, models=(weak, strong))
    gaps = told[strong] - told[weak]
    d = float(np.clip(np.median(gaps), 0, 1))

    def decided(texts: Sequence[str]) -> Decided:
        told = predictor.predict(texts, models=(weak, strong))
        gaps = zip(told[weak].tolist(), told[strong].tolist(), told.resolution, told.basis, strict=True)
        return [(_takes_larger(*gap, d), basis.partition(":")[0]) for *gap, basis in gaps]

    noisy = {noise: decided([rewrite(text) for text in texts]) for noise, rewrite in NOISES.items()}
    before = decided(texts)
    flagged = np.mean([basis != "trained" for _, basis in before])
    return _flips(name, texts, before, noisy, family, f"{d:.3f}", f"{gaps.std():.3f}", f"{flagged:.1%}")


def _takes_larger(weak: float, strong: float, resolution: float, d: float) -> bool:
    """By the project's rule of choice, where the smaller model costs less."""
    small, large = (Model(id=name, invoke_id=name, name=name) for name in ("small", "large"))
    candidates = [
        Candidate(model=small, expected_quality=weak, expected_cost=Decimal(1)),
        Candidate(model=large, expected_quality=strong, expected_cost=Decimal(2)),
    ]
    chosen, _ = choose(candidates, fallback_model="large", response_quality_difference=d, resolution=resolution)
    return chosen.model is large


def flips_of_prior(data: Path, name: str) -> Flips:
    """The same of the complexity prior, whose cut is where the gap reaches its resolution: one half."""
    texts = sampled(data, name)
    noisy = {
        noise: [(complexity(rewrite(text)) >= PRIOR_CUT, "") for text in texts] for noise, rewrite in NOISES.items()
    }
    before = [(complexity(text) >= PRIOR_CUT, "") for text in texts]
    hard = np.mean([is_hard for is_hard, _ in before])
    return _flips(name, texts, before, noisy, f"{hard:.1%}")


def _flips(name: str, texts: Sequence[str], before: Decided, after: dict[str, Decided], *notes: str) -> Flips:
    turned = tuple(
        Turned(noise=noise, text=text, to_larger=new[0], rebased=old[1] != new[1])
        for noise, decided in after.items()
        for text, old, new in zip(texts, before, decided, strict=True)
        if old[0] != new[0]
    )
    return Flips(name=name, n=len(texts), turned=turned, notes=notes)


def sampled(data: Path, name: str) -> list[str]:
    """At most 500 different prompts of a set, chosen by their hash."""
    texts = set(map(str, Outcomes.read(data / f"{name}.parquet", labelled=False).prompts))
    return sorted(texts, key=lambda text: hashlib.blake2b(text.encode("utf-8", "replace")).digest())[:PER_SET]


# --- languages --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """One prompt in some language; English ones are the control."""

    text: str
    language: str


def foreign() -> list[Foreign]:
    """The part of the project's own that is kept for checking."""
    rows = _lines(TRAINING / "languages.jsonl")
    return [Foreign(text=row["prompt"], language=row["language"]) for row in rows if row["split"] == "check"]


def unfamiliar(familiarity: Familiarity, texts: Sequence[str]) -> list[str]:
    """For each text what is unfamiliar about it; empty if nothing is."""
    return [familiarity(features_of(text)).reason for text in texts]


def of_family(family: str) -> Familiarity:
    """What a shipped family takes for familiar."""
    return TrainedPredictor.load(FOLDER / f"{family}.npz").familiarity


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Of a family fitted to four folds: false alarms on the fifth, per set, and what it recognises of the languages."""

    family: str
    alarms: int
    prompts: int
    of_sets: dict[str, tuple[int, int]]
    recognised: tuple[float, ...]


def folded(data: Path, family: str, languages: Sequence[str]) -> Folded:
    """Five folds by the whole text, as the heads are judged."""
    sets = {name: set(_prompts(data, name)) for name in FAMILIES[family][2]}
    texts = sorted(set().union(*sets.values()))
    flagged, recognised = set(), []
    for fold in range(5):
        familiarity = Familiarity.fit([text for text in texts if fold_of(text) != fold])
        held_out = [text for text in texts if fold_of(text) == fold]
        flagged |= {text for text, why in zip(held_out, unfamiliar(familiarity, held_out), strict=True) if why}
        recognised.append(float(np.mean([bool(why) for why in unfamiliar(familiarity, languages)])))
    return Folded(
        family=family,
        alarms=len(flagged),
        prompts=len(texts),
        of_sets={name: (len(flagged & found), len(found)) for name, found in sets.items()},
        recognised=tuple(recognised),
    )


def _prompts(data: Path, name: str) -> list[str]:
    return [str(prompt) for prompt in Outcomes.read(data / f"{name}.parquet", labelled=False).prompts]
