"""The page of `routing_everyday.py`, in Markdown. Knows results; measures nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from everyday_noise import GROUPS, NOISES
from everyday_runs import FAMILIES, PER_SET, Asked, Everyday, Flips, Folded, Foreign, Turned

from pointsman.routing.complexity import complexity, read

MUST, AIM = 16 / 20, 19 / 20
MOST_FLIPS = 0.05
LEAST_RECOGNISED, MOST_ALARMS = 0.95, 0.06
_KINDS = {True: "hard", False: "easy"}
_SOURCES = {"new": "new prompts", "check": "the project's own, kept for checking"}
_LENGTHS = ("under 12 words", "12 to 35", "over 35")
_MOST_EXAMPLES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that was measured. The mappings go by router, family or set."""

    announced: Mapping[str, Sequence[Asked]]
    everyday: Mapping[str, Sequence[Asked]]
    of_routers: Sequence[Flips]
    of_heads: Sequence[Flips]
    of_prior: Sequence[Flips]
    foreign: Sequence[Foreign]
    reasons: Mapping[str, Sequence[str]]
    folded: Sequence[Folded]
    foreign_asked: Mapping[str, Sequence[Asked]]


def text(results: Results) -> str:
    """The whole page."""
    parts = [
        _HEAD,
        requirements(results),
        "## The announcement's two decisions\n",
        _announced(results.announced),
        "## Everyday prompts\n",
        _everyday(results.everyday),
        "## Noise\n",
        _noise(results),
        "## Languages\n",
        _languages(results),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def requirements(results: Results) -> str:
    """What must be, what is, and the verdict."""
    return _table(("figure", "must", "aim", "found", "verdict"), _requirements(results))


def _requirements(results: Results) -> Iterator[tuple[str, ...]]:
    for router, told in results.announced.items():
        right = sum(one.right for one in told)
        yield f"announcement, {router}", "2 of 2", "", f"{right} of 2", _verdict(right == 2)
    for router, told in results.everyday.items():
        for source in _SOURCES:
            for hard, kind in _KINDS.items():
                mine = [one for one in told if one.prompt.source == source and one.prompt.hard == hard]
                n, right = len(mine), sum(one.right for one in mine)
                name = f"{_SOURCES[source]}, {kind}, {router}"
                verdict = _verdict(right >= MUST * n, right >= AIM * n)
                yield name, f"{MUST * n:.1f} of {n}", f"{AIM * n:.1f}", f"{right} of {n}", verdict
    for title, flips in (
        *((f"everyday prompts, {one.name}", [one]) for one in results.of_routers),
        ("benchmark prompts, shipped heads", results.of_heads),
        ("benchmark prompts, complexity prior", results.of_prior),
    ):
        groups = {group: float(np.mean([one.groups()[group] for one in flips])) for group in GROUPS}
        worst = max(groups, key=lambda group: groups[group])
        overall = float(np.mean(list(groups.values())))
        found = f"{overall:.1%}; most: {worst}, {groups[worst]:.1%}"
        verdict = _verdict(
            overall <= MOST_FLIPS, groups[worst] <= MOST_FLIPS, least="on the whole, not for every noise"
        )
        yield f"flips by noise, {title}", "5 % on the whole", "5 % for each noise", found, verdict
    for family, reasons in results.reasons.items():
        share, n = _recognised(results.foreign, reasons)
        met = share >= LEAST_RECOGNISED
        yield f"other languages unfamiliar to {family}", "95 %", "", f"{share:.1%} of {n}", _verdict(met)
    for one in results.folded:
        share = one.alarms / one.prompts
        met = share <= MOST_ALARMS
        yield f"false alarms on held-out prompts, {one.family}", "6 %", "", f"{share:.1%}", _verdict(met)
    for router, told in results.foreign_asked.items():
        smaller = sum(not asked.larger for asked in _not_english(results, told))
        yield f"other languages to the smaller model, {router}", "0", "", str(smaller), _verdict(smaller == 0)


def _verdict(must: bool, aim: bool = True, *, least: str = "must met, aim not") -> str:
    return "**falls short**" if not must else "met" if aim else least


# --- everyday ---------------------------------------------------------------------------------------------------


def _announced(announced: Mapping[str, Sequence[Asked]]) -> str:
    rows = [
        (
            router,
            _quoted(one.prompt.text),
            one.decision.model.invoke_id,
            ", ".join(f"{each.expected_quality:.2f}" for each in one.decision.candidates),
            _short(one.basis),
            "as announced" if one.right else "**otherwise**",
        )
        for router, told in announced.items()
        for one in told
    ]
    return _table(("router", "prompt", "goes to", "expected quality", "basis", ""), rows)


def _everyday(everyday: Mapping[str, Sequence[Asked]]) -> str:
    rows = []
    misled: dict[Everyday, list[str]] = {}
    for router, told in everyday.items():
        for source in _SOURCES:
            for hard, kind in _KINDS.items():
                mine = [one for one in told if one.prompt.source == source and one.prompt.hard == hard]
                by_length = [_right([one for one in mine if one.prompt.length == length]) for length in _LENGTHS]
                rows.append((router, _SOURCES[source], kind, _right(mine), *by_length, _bases(mine)))
        for one in told:
            if not one.right:
                misled.setdefault(one.prompt, []).append(router.partition(",")[0])
    wrong = [
        (
            _quoted(prompt.text),
            prompt.source,
            _KINDS[prompt.hard],
            ", ".join(routers),
            f"{complexity(prompt.text):.2f}",
            _parts(prompt.text),
        )
        for prompt, routers in misled.items()
    ]
    columns = ("router", "prompts", "kind", "right", *_LENGTHS, "basis")
    return (
        f"{_EVERYDAY}\n{_table(columns, rows)}\nThose that went the wrong way, and what the complexity prior reads in "
        "them:\n\n"
        + _table(("prompt", "from", "kind", "wrong on", "complexity", "things, links, clauses, work, ease"), wrong)
    )


def _parts(prompt: str) -> str:
    found = read(prompt)
    return ", ".join(f"{one:.2g}" for one in (found.things, found.links, found.clauses, found.work, found.ease))


def _short(basis: str) -> str:
    """Without the models' names and the share of unknown words."""
    without_names = re.sub(r"no outcomes of .* are known", "no outcomes of its models are known", basis)
    return re.sub(r": \d+% of its words are unknown", "", without_names)


def _right(told: Sequence[Asked]) -> str:
    return f"{sum(one.right for one in told)} of {len(told)}"


def _bases(told: Sequence[Asked]) -> str:
    found = Counter(_short(one.basis) for one in told)
    right = Counter(_short(one.basis) for one in told if one.right)
    return "; ".join(f"{basis}: {right[basis]} of {n}" for basis, n in found.most_common())


# --- noise ------------------------------------------------------------------------------------------------------


def _noise(results: Results) -> str:
    of_sets = ("family", "set", "d", "spread", "unfamiliar", *_FLIP_COLUMNS)
    heads = [(one.notes[0], one.name, *one.notes[1:], *_flip_cells(one)) for one in results.of_heads]
    prior = [(one.name, *one.notes, *_flip_cells(one)) for one in results.of_prior]
    everyday = [(one.name, str(one.n), *_flip_cells(one)) for one in results.of_routers]
    examples = [
        (one.name, turned.noise, "larger" if turned.to_larger else "smaller", _quoted(turned.text))
        for one in results.of_routers[:1]
        for turned in _few(one)
    ]
    return "\n".join(
        (
            _NOISE,
            "Share of decisions that flip, everyday prompts on the default routers:\n",
            _table(("router", "prompts", *_FLIP_COLUMNS), everyday),
            "Typos, by the length of the prompt: a short one has its one typo in fewer than twelve words.\n",
            _typos(results),
            "By each single noise, and of the flips those to the larger model:\n",
            _single([*results.of_routers, *_pooled(results)]),
            "Examples:\n",
            _table(("router", "noise", "then to the", "prompt"), examples),
            f"The shipped heads on {PER_SET} prompts of each set that they know, at the difference d that is the "
            "median of their predicted gaps there, where half of the prompts go either way and flips are likeliest. "
            "Spread is the standard deviation of the gaps.\n",
            _table(of_sets, heads),
            "The complexity prior on the same sets, at its cut:\n",
            _table(("set", "above the cut", *_FLIP_COLUMNS), prior),
        )
    )


_FLIP_COLUMNS = (*GROUPS, "the four alike", "by a change of basis")


def _flip_cells(one: Flips) -> tuple[str, ...]:
    rebased = sum(turned.rebased for turned in one.turned)
    shares = [f"{share:.1%}" for share in (*one.groups().values(), one.overall())]
    return *shares, f"{rebased} of {len(one.turned)}"


def _typos(results: Results) -> str:
    rows = []
    for flips, told in zip(results.of_routers, results.everyday.values(), strict=True):
        turned = {one.text for one in flips.turned if one.noise == "typos"}
        cells = []
        for length in _LENGTHS:
            mine = [one.prompt.text in turned for one in told if one.prompt.length == length]
            cells.append(f"{sum(mine)} of {len(mine)}")
        rows.append((flips.name, *cells))
    return _table(("router", *_LENGTHS), rows)


def _pooled(results: Results) -> Iterator[Flips]:
    for name, flips in (("shipped heads", results.of_heads), ("complexity prior", results.of_prior)):
        turned = tuple(each for one in flips for each in one.turned)
        yield Flips(name=name, n=sum(one.n for one in flips), turned=turned)


def _single(flips: Sequence[Flips]) -> str:
    rows = []
    for noise in NOISES:
        cells = []
        for one in flips:
            larger = sum(turned.to_larger for turned in one.turned if turned.noise == noise)
            cells.append(f"{one.share(noise):.1%} ({larger} of {sum(turned.noise == noise for turned in one.turned)})")
        rows.append((noise, *cells))
    return _table(("noise", *(one.name for one in flips)), rows)


def _few(flips: Flips) -> list[Turned]:
    """A few flips of each noise."""
    seen = Counter[str]()
    found = []
    for turned in flips.turned:
        seen[turned.noise] += 1
        if seen[turned.noise] <= (_MOST_EXAMPLES if turned.noise == "typos" else 4):
            found.append(turned)
    return found


# --- languages --------------------------------------------------------------------------------------------------


def _languages(results: Results) -> str:
    controls = [one.language == "English" for one in results.foreign]
    rows = []
    for family, reasons in results.reasons.items():
        share, n = _recognised(results.foreign, reasons)
        words = sum(why.startswith("another language") for one, why in zip(controls, reasons, strict=True) if not one)
        english = sum(bool(why) for one, why in zip(controls, reasons, strict=True) if one)
        cells = (f"{share:.1%}", f"{words / n:.1%}", f"{english} of {sum(controls)}")
        rows.append((family, ", ".join(FAMILIES[family][2]), *cells, _missed(results.foreign, reasons)))
    columns = ("family", "sets", "unfamiliar", "by their words", "English ones unfamiliar", "taken for familiar")
    alarms = [
        (one.family, f"{one.prompts:,}", f"{one.alarms / one.prompts:.1%}", _of_sets(one), _range(one.recognised))
        for one in results.folded
    ]
    folded = ("family", "prompts", "false alarms", "by set", "other languages unfamiliar, per fold")
    return "\n".join(
        (
            _LANGUAGES,
            _table(columns, rows),
            "False alarms on prompts that were not fitted to, five folds:\n",
            _table(folded, alarms),
            "Where they go:\n",
            _table(("router", "prompts", "to the larger", "to the smaller", "these"), _destinations(results)),
        )
    )


def _destinations(results: Results) -> Iterator[tuple[str, ...]]:
    for router, told in results.foreign_asked.items():
        mine = _not_english(results, told)
        smaller = [one for one in mine if not one.larger]
        these = "; ".join(f"{_quoted(one.prompt.text)} ({one.prompt.source}; {_short(one.basis)})" for one in smaller)
        yield router, str(len(mine)), str(len(mine) - len(smaller)), str(len(smaller)), these


def _not_english(results: Results, told: Sequence[Asked]) -> list[Asked]:
    return [one for one, what in zip(told, results.foreign, strict=True) if what.language != "English"]


def _recognised(foreign: Sequence[Foreign], reasons: Sequence[str]) -> tuple[float, int]:
    found = [bool(why) for one, why in zip(foreign, reasons, strict=True) if one.language != "English"]
    return float(np.mean(found)), len(found)


def _missed(foreign: Sequence[Foreign], reasons: Sequence[str]) -> str:
    missed = [one for one, why in zip(foreign, reasons, strict=True) if one.language != "English" and not why]
    return ", ".join(f"{language} {n}" for language, n in Counter(one.language for one in missed).most_common())


def _of_sets(one: Folded) -> str:
    return ", ".join(f"{name} {flagged / n:.1%}" for name, (flagged, n) in one.of_sets.items())


def _range(shares: Sequence[float]) -> str:
    return f"{min(shares):.1%} to {max(shares):.1%}"


# --- Markdown ---------------------------------------------------------------------------------------------------


def _quoted(prompt: str, most: int = 110) -> str:
    shown = " ".join(prompt.split()).replace("|", "\\|")
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (columns, ["---"] * len(columns), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


_HEAD = """# Everyday prompts, noise and languages

Written by `python benchmarks/routing_everyday.py`. Every decision of a router is one of `converse_flow`, the path that
all clients share, with the default routers as the registry has them. Nothing was tuned on the new prompts; the five
manners, the typos and the prompts kept for checking had been seen to fail before, and were mended by general rules.
"""
_EVERYDAY = """The new prompts (`everyday_prompts.jsonl`) were written after the training was done, by somebody who
hadn't seen the code: 40 riddles, puzzles and questions of several steps, and 40 definitions, facts and small chores, a
third of each in each class of length. "Right" is: the hard kind to the larger model, the easy kind to the smaller.
"""
_NOISE = """Typos: in one of twelve words a letter is swapped, dropped or doubled. Letter case: all upper, all lower.
White space: spaces doubled, lines broken at 60 characters with empty lines around, tabs. Manners: five polite openings
with closings. Within the four groups each variant counts the same. The seeds are fixed.
"""
_LANGUAGES = """The prompts kept for checking in `training/languages.jsonl`, English ones aside, and whether each family
of heads takes them for unfamiliar, so that the complexity prior decides. "By their words": of all, those where the
language was the reason.
"""
