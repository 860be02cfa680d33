"""How hard a prompt looks: a documented prior, without training, for wherever no trained head applies.

A question is hard where much must be held together to answer it, and it has to be worked out. It is easy where it
asks for a concept, a known fact or a small change to a given text, however much is told around it. Three parts add
up, in logits:

- **load**: the logarithms of how many things are told (words that carry content), of the links between them
  (conditions, comparisons, negations, references) and of the clauses (commas);
- **work**: what has to be worked out, the cues of `WORK`, together at most 1;
- **ease**: what can be answered offhand, the cues of `EASE`, together at most `MOST_EASE`; it also takes away most of
  the load, because what stands around an easy question doesn't make it hard.

Where an easy thing is asked about a given text or after a story, only the sentence that asks is weighed
(`pointsman.routing.request`), and manners never are (`pointsman.routing.manners`). The cues are English words and the
marks of any language. A text that it can't read counts as hard, never as easy. Knows a text and list prices; knows
nothing of outcomes. The lists of words stand in `pointsman.routing.cue_words`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING

from pointsman.catalog import Model
from pointsman.prompt import Prompt
from pointsman.routing import cue_words
from pointsman.routing.manners import without_manners
from pointsman.routing.plain import plain_of
from pointsman.routing.quality import Prediction
from pointsman.routing.request import Request, concept_in, request_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRIOR = "complexity prior"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """Something that is looked for in a prompt. Each occurrence adds `weight`, up to `most` of them."""

    looks_for: str
    weight: float
    most: int = 1


WORK: Mapping[str, Cue] = MappingProxyType(
    {
        "reasoning": Cue(looks_for="verbs that ask for it: explain, prove, compare, design, debug", weight=0.7, most=2),
        "puzzle": Cue(looks_for="how come, what am I, how could, what has ...: a riddle's turns", weight=0.7, most=2),
        "leaning": Cue(looks_for="a question that leans on what was told before it: they, his, that", weight=0.7),
        "quantity": Cue(looks_for="how many, how much, how long", weight=0.5),
        "arithmetic": Cue(looks_for="sum, average, odds, letters, digits", weight=0.4, most=2),
        "number": Cue(looks_for="numbers, in digits or words", weight=0.3, most=3),
        "formula": Cue(looks_for="= ^ \\ + < > * /", weight=0.3, most=4),
        "code": Cue(looks_for="( { [ == _ ; `", weight=0.15, most=8),
        "logic": Cue(looks_for="conditions and negations: if, unless, but, never", weight=0.25, most=4),
        "relation": Cue(looks_for="comparisons and quantifiers: more, twice, each, only", weight=0.2, most=4),
    }
)
EASE: Mapping[str, Cue] = MappingProxyType(
    {
        "concept": Cue(looks_for="what is (a) X?, what does X mean?, the purpose of X", weight=0.8),
        "conclusion": Cue(looks_for="that question at the end of what is told", weight=0.5),
        "definition": Cue(looks_for="define, meaning, stands for, synonym", weight=0.5),
        "brevity": Cue(looks_for="an answer of a line: in one sentence, briefly, in simple words", weight=0.6),
        "terse": Cue(looks_for="an answer of a word: yes or no, only the name", weight=0.3),
        "audience": Cue(looks_for="for whom: to a child, a beginner, a ten year old", weight=0.5),
        "fact": Cue(looks_for="how many, how long, how tall, in a short question without numbers", weight=0.3),
        "extraction": Cue(looks_for="a detail or a label of a given text", weight=0.8),
        "chore": Cue(looks_for="a small change to a text: translate, summarise, fix the typos", weight=0.6),
    }
)
# Round numbers, set by hand near to those of a fit to public outcomes and everyday prompts. Fits that leave one data
# set out rank its prompts about as these do (training/complexity.py): it is not the weights that the ranking hangs on.
BIAS = -3.0
PER_THINGS, PER_LINKS, PER_CLAUSES = 1.0, 1.5, 1.5
PER_WORK, PER_EASE = 4.0, -3.0
MOST_EASE = 1.4
LOAD_DISCOUNT, WORK_DISCOUNT = 0.6, 0.4
# Two logits count as one, so that the value still tells hard prompts apart instead of calling all of them 1.
SPREAD = 2.0
UNREADABLE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was found in a prompt: logarithms of the counts of things, links and clauses; work 0 to 1; ease 0 to 1.4."""

    things: float
    links: float
    clauses: float
    work: float
    ease: float

    def parts(self) -> tuple[float, float, float, float, float]:
        """Things, links, clauses and work, less what ease takes away from them, and ease: what the weights apply to."""
        ease = min(self.ease, 1.0)
        told = 1 - LOAD_DISCOUNT * ease
        return (
            told * self.things,
            told * self.links,
            told * self.clauses,
            (1 - WORK_DISCOUNT * ease) * self.work,
            self.ease,
        )


def complexity(text: str, *, foreign: bool | None = None, words: NDArray[np.uint64] | None = None) -> float:
    """How hard a question looks, 0 to 1; 0.5 parts the two kinds. Reads its first and last 2,048 characters.

    `foreign` tells whether it is in another language than English, for those who know; otherwise its words are looked
    up. Their hashes, of `features_of(text).words`, may be given as `words`. Another language, or no words at all, is
    at least `UNREADABLE`; nothing is 0.
    """
    return complexity_of_asked(without_manners(text), foreign=foreign, words=words)


def complexity_of_asked(text: str, *, foreign: bool | None = None, words: NDArray[np.uint64] | None = None) -> float:
    """The same of a text that has no manners any more, such as `features.asked` gives."""
    plain = _plain(text)
    if not plain:
        return 0.0
    listed = _Words.of(plain)
    things, links, clauses, work, ease = _read(plain, listed).parts()
    total = PER_THINGS * things + PER_LINKS * links + PER_CLAUSES * clauses + PER_WORK * work + PER_EASE * ease + BIAS
    looks = 1 / (1 + math.exp(-total / SPREAD))
    if looks < UNREADABLE and (not listed.has_any() or (is_foreign(text, words) if foreign is None else foreign)):
        return UNREADABLE
    return looks


def is_foreign(text: str, words: NDArray[np.uint64] | None = None) -> bool:
    """Whether the words of a text are rather unknown than known to English. `words`: their hashes, if there are any."""
    # No longer than tells whether the rest is a line: a pasted text may be very long.
    first, _, rest = text[: _A_LINE + _LONGEST_OPENING + 1].lower().partition(" ")
    if first in _ENGLISH_OPENINGS and len(rest) < _A_LINE:
        # A few names, or a wrong letter, outweigh so few words.
        return False
    # Late: importing this package must not load numpy.
    from pointsman.routing.familiarity import LEAST_KNOWN, mean_weight, word_steps
    from pointsman.routing.features import word_hashes

    return mean_weight(word_steps(word_hashes(text) if words is None else words)) < LEAST_KNOWN


def read(text: str) -> Reading:
    """What `complexity` finds in a text, before it is weighed."""
    plain = _plain(without_manners(text))
    return _read(plain, _Words.of(plain))


class ComplexityPredictor:
    """Expected quality from `complexity` and list prices: for models and prompts of which no outcomes are known.

    Expected quality is `0.9 - 0.52 * complexity * (0.4 + weakness)`. `weakness` is 0 for the dearest of the candidates
    and 1 for the cheapest: the square root of the distance in the logarithm of the output price (halfway down in price
    is more than halfway down in quality); 0.5 where a price is unknown. All of it is set by hand. The prior tells two
    kinds of prompt apart and little more, so `resolution` is the gap between the dearest and the cheapest at a
    complexity of one half: for every response quality difference up to 0.26, the default Claude router's included, an
    easy prompt goes to the cheapest and a hard one doesn't.
    """

    resolution = 0.26

    def __init__(self, because: str = "") -> None:
        """`because` is why the prior speaks, for the decision's basis."""
        self._basis = f"{PRIOR}: {because}" if because else PRIOR

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Prediction:
        """For each model's `id` an array of expected quality, one value per prompt."""
        import numpy as np  # Late: importing this package must not load it.

        hard = np.array([complexity(prompt.question()) for prompt in prompts], np.float64)
        return Prediction(
            {
                model.id: 0.9 - 2 * self.resolution * hard * (0.4 + weak)
                for model, weak in zip(models, _weakness(models), strict=True)
            },
            basis=[self._basis] * len(prompts),
            resolution=[self.resolution] * len(prompts),
        )


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Words:
    """The words in order; how many there are of each kind (None: not listed), of numbers, of letters but a and i."""

    listed: Sequence[str]
    kinds: Mapping[str | None, int]
    numbers: int
    letters: int

    @classmethod
    def of(cls, plain: str) -> _Words:
        words = _split(plain)
        short = [word for word in words if len(word) == 1 or word.isdecimal()]
        numbers = sum(map(str.isdecimal, short))
        return cls(
            words, Counter(map(_kind, words)), numbers, len(short) - numbers - short.count("a") - short.count("i")
        )

    def has_any(self) -> bool:
        """Whether there is a word among the numbers and marks."""
        return any(map(str.isalpha, "".join(self.listed)))


def _plain(text: str) -> str:
    """What is read of a text, with marks as they are typed, and what is said in several ways said in one."""
    plain = plain_of(text)
    if not plain.isascii():
        for mark, typed in _TYPOGRAPHIC:
            plain = plain.replace(mark, typed)
    if " words" in plain or " lines" in plain or " sentences" in plain or "-sentence" in plain:
        plain = _LIMIT.sub(" briefly", plain)
    if "alphabetical" in plain:
        plain = _ALPHABETISE.sub("list", plain)
    if " line" in plain or "sentence" in plain:
        plain = _ONE_LINE.sub(" briefly", plain)
    return _HOW.sub("how ", _WHAT.sub("what", plain)) if len(plain) < _A_LINE else plain


def _split(plain: str) -> list[str]:
    """The words of a text. Bytes, because that is several times as fast as a regular expression."""
    spaced = plain.encode("utf-8", "replace").translate(_GAPS).decode()
    return f" {spaced} ".replace(" '", " ").replace("' ", " ").split()


def _read(plain: str, whole: _Words) -> Reading:
    near = _near(whole.listed)
    eased = _phrases_in(near)
    request = request_of(plain, set(near), brief=eased["brevity"] + eased["terse"] > 0)
    asked = request.weighed
    words = whole if asked == plain else _Words.of(asked)
    kinds = words.kinds
    found: dict[str | None, int] = {
        **kinds,
        "number": kinds["number"] + words.numbers,
        "logic": kinds["condition"] + kinds["negation"],
        "relation": kinds["comparison"] + kinds["quantifier"],
        "formula": sum(map(asked.count, "=^\\+<>*/")),
        "code": sum(map(asked.count, ("(", "{", "[", "==", "_", ";", "`"))),
    }
    found.update(eased)
    _add_what_is_asked(found, asked, words, request)
    symbols = words.numbers + words.letters + asked.count("\\")
    links = found["logic"] + kinds["negation"] + found["relation"] + kinds["reference"]
    return Reading(
        things=math.log1p(max(len(words.listed) - kinds["function"] - symbols, 0)),
        links=math.log1p(links),
        clauses=math.log1p(asked.count(", ") + asked.count("; ")),
        work=min(_sum(WORK, found), 1.0),
        ease=min(_sum(EASE, found), MOST_EASE),
    )


def _sum(cues: Mapping[str, Cue], found: Mapping[str | None, int]) -> float:
    return sum([cue.weight * min(found.get(name, 0), cue.most) for name, cue in cues.items()])


def _near(words: Sequence[str]) -> Sequence[str]:
    """The words of the beginning and the end: there stands what is asked."""
    return words if len(words) <= 2 * _WORDS_OF_AN_END else [*words[:_WORDS_OF_AN_END], *words[-_WORDS_OF_AN_END:]]


def _phrases_in(near: Sequence[str]) -> Counter[str]:
    """The cues of more than one word."""
    spaced = f" {' '.join(near)} "
    return Counter([cue for word in _PHRASES.keys() & near for cue, phrase in _PHRASES[word] if phrase in spaced])


def _add_what_is_asked(found: dict[str | None, int], asked: str, words: _Words, request: Request) -> None:
    """What takes more than counting words."""
    if request.cue:
        of_request = _phrases_in(words.listed)
        found.update({cue: of_request[cue] for cue in ("quantity", "puzzle")})
    ends = asked if len(asked) <= 2 * _AN_END else f"{asked[:_AN_END]} {asked[-_AN_END:]}"
    found["chore"] = request.cue == "chore"
    if not _LISTENERS.isdisjoint(words.listed):
        found["audience"] = _AUDIENCE.search(ends) is not None
    found["fact"] = _FACT.match(ends) is not None and not found["number"] + found["relation"] + found["logic"]
    found["puzzle"] = found.get("puzzle", 0) + (_RIDDLE.search(ends) is not None)
    found["extraction"] = request.cue == "extraction"
    found["conclusion"] = request.cue == "concept"
    if concept_in(ends) is not None:
        found["concept"] = 1
    found["leaning"] = _leans(ends)


def _leans(ends: str) -> bool:
    """Whether the last question follows something, and refers to it."""
    mark = ends.rfind("?")
    start = max([ends.rfind(stop, 0, max(mark, 0)) for stop in (". ", "! ", "? ", ": ", "; ", '" ')])
    if start < 0 or mark - start > _A_QUESTION:
        return False
    asked = _split(ends[start + 1 : mark])
    return not _LEANING.isdisjoint(asked) and "you" not in asked


# --- the models -------------------------------------------------------------------------------------------------


def _weakness(models: Sequence[Model]) -> list[float]:
    prices = [model.price.output if model.price else None for model in models]
    known = [price for price in prices if price]
    if not known or min(known) == max(known):
        return [0.5] * len(models)
    span = _log(max(known)) - _log(min(known))
    return [0.5 if not price else math.sqrt((_log(max(known)) - _log(price)) / span) for price in prices]


def _log(price: Decimal) -> float:
    return math.log(float(price))


# By byte: marks but the apostrophe part words, in ASCII; the bytes of all other letters stay.
_GAPS = bytes(code if code > 127 or chr(code).isalnum() or chr(code) in "_'" else 32 for code in range(256))
_TYPOGRAPHIC = (("\u2019", "'"), ("\u2018", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\u2013", "-"), ("\u2014", "-"))
_kind = {word: kind for kind, listed in cue_words.KINDS.items() for word in listed.split()}.get
_LEANING = frozenset(cue_words.LEANING.split())
# Phrases by their first word, so that only those are looked for of which it was found.
_PHRASES: dict[str, list[tuple[str, str]]] = {}
for _cue, _listed in cue_words.PHRASES.items():
    for _phrase in _listed:
        _PHRASES.setdefault(_phrase.split()[0], []).append((_cue, _phrase))
_AN_END, _WORDS_OF_AN_END, _A_QUESTION = 600, 110, 300
_ENGLISH_OPENINGS = frozenset(("what", "what's", "who", "whose", "which", "where", "when", "why", "how"))
_LONGEST_OPENING = max(map(len, _ENGLISH_OPENINGS))
_ALPHABETISE = re.compile(r"\b(?:sort|arrange|order|rank)\b(?=[^.:?!]* alphabetical)")
_AUDIENCE = re.compile(
    r"\b(?:explain|describe|define|put|say|tell|words|sentence|description|explanation)\b[^.?!]{0,70}?"
    r"\b(?:to|for|that) (?:an?|my|our|some(?:body|one)|the|kids|children)\b ?(?:[\w-]+[ -]){0,2}?"
    r"(?:year[ -]olds?|child(?:ren)?|kids?|beginners?|layman|grader|toddler|class|who|learn\w*|understand)\b"
)
_LISTENERS = frozenset(
    (
        "old",
        "olds",
        "year-old",
        "child",
        "children",
        "kid",
        "kids",
        "beginner",
        "beginners",
        "layman",
        "grader",
        "toddler",
    )
) | {"class", "who", "learn", "learning", "understand", "understands"}
_FACT = re.compile(
    r"how (?:many|long|tall|far|old|big|high|deep|heavy|fast)(?: [\w-]+){0,3}? (?:is|are|was|does|do|has|have)\b"
    r"[^,;:.]{0,40}\??$"
)
# "Waht", "wht": in a short prompt one wrong letter may hide what is asked.
_WHAT = re.compile(r"\b(?=[hat]{0,3}w)(?=[wha]{0,3}t)(?!watt|what|thaw)[what]{3,5}(?='?s?\b)")
_HOW = re.compile(r"^(?:hwo|hhow|hoow|howw|ohw) ")
_ONE_LINE = re.compile(
    r" in (?!(?:the|this|that|these|those|each|every|any|my|your|his|her|its|our|all|which|what|next|first|last|second"
    r"|following|one|an?|single|short|simple|plain|few|two|three|same|other|another)\b)[a-z]{2,6}"
    r" (?:short |simple |plain |single )?(?:line|sentence)s?\b"
)
_A_LINE = 120
# "In 20 words or less": neither a number nor a comparison that is to be worked with.
_LIMIT = re.compile(
    r" (?:in|within|using|with)(?: at most| no more than| under| about| just| only)? "
    r"(?:\d\d?|two|three|four|five|ten|fifteen|twenty|thirty) (?:short |simple |plain |easy )?"
    r"(?:words|sentences|lines)\b"
    r"(?: or (?:less|fewer)| at most| max(?:imum)?)?"
)
# "What gets wetter", "what has": a thing is to be guessed from what it does.
_RIDDLE = re.compile(
    r"what (?:has|have|can|is (?:so|always|never|often|it that)|(?!is |was |does |has |this |makes |causes )\w+s"
    r"|(?:[\w-]+ )?\w+ (?:becomes|lets|never|always)) "
)
