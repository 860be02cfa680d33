"""Which part of a prompt asks. Where an easy thing is asked about a given text or after a story, the rest is no load.

What stands in quotes, or after the colon or the sentence that announces it, is *given*. A sentence asks an easy thing
where it wants a small change to what is given, a detail that can be read in it, or a concept, and where nothing from
there on asks for thought. Knows English in lower case; how much a cue weighs is left to `pointsman.routing.complexity`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

from pointsman.routing import cue_words

_AN_END = 600


@dataclass(frozen=True, slots=True)
class Request:
    """The text that is to be `weighed`, and the `cue` by which it was found; "" if all of it is to be weighed."""

    weighed: str
    cue: str = ""


def request_of(plain: str, words: Set[str], *, brief: bool) -> Request:
    """The part of a text in lower case that asks; all of it where that can't be told. `brief`: a line is asked for.

    `words` are those of the text's beginning and end.
    """
    if (not brief and _SIGNS.isdisjoint(words)) or _OPTIONS.search(plain) or _is_code(plain):
        return Request(plain)
    outside, is_given = _outside(plain)
    if is_given and _asks_about_it(outside) and not _asks_for_thought(outside, _THOUGHT | _COMPARING):
        return Request(outside, "extraction")
    sentences = [sentence for sentence in _SENTENCE_END.split(_ends(outside)) if sentence]
    for place in _places(len(sentences)):
        found = _easy(sentences[place], brief=brief, follows=place > 0)
        if found.cue and not _asks_for_thought(" ".join(sentences[place:]), _HARD[found.cue]):
            return found
    return Request(plain)


def _easy(sentence: str, *, brief: bool, follows: bool) -> Request:
    """What of a sentence asks an easy thing. `follows`: something was told before it."""
    if (brief or follows) and (start := concept_in(sentence)) is not None:
        return Request(sentence[start:], "concept")
    words = _WORD.findall(sentence)
    if _is_chore(words) or (
        words[:1] and words[0] not in _WH and any(map(f" {sentence} ".__contains__, _CHORE_PHRASES))
    ):
        return Request(sentence, "chore")
    if _MEMBER.search(sentence):
        return Request(sentence, "extraction")
    is_plain = _QUESTION.match(sentence) and len(words) > _A_FEW and _REFERRING.isdisjoint(words)
    return Request(sentence, "plain question" if brief and follows and is_plain else "")


def concept_in(text: str) -> int | None:
    """Where a concept, a definition is asked for: "what is (a) mutex", "what it means"; `None` if nowhere."""
    if found := _CONCEPT.search(text):
        return found.start()
    if (found := _WHAT_IT_IS.search(text)) and _KNOWING.search(text, max(found.start() - _A_VERB, 0), found.start()):
        return found.start()
    if ("definition" in text or "explanation" in text or "description" in text) and (found := _DEFINITION.search(text)):
        return found.start()
    return None


def _is_chore(words: Sequence[str]) -> bool:
    """Whether a sentence begins by telling to change, to list or to write something small."""
    first = words[:_AN_OPENING]
    if first and first[0] in _WH:
        return False
    return not _CHORES.isdisjoint(first) or (
        not _MAKING.isdisjoint(first) and not _SMALL_TEXTS.isdisjoint(words[:_REACH])
    )


def _asks_for_thought(text: str, signs: frozenset[str]) -> bool:
    return not signs.isdisjoint(_WORD.findall(text)) or _QUANTITY.search(text) is not None


def _is_code(plain: str) -> bool:
    return any(map(plain.__contains__, "{;=\\^<>`")) or (
        any(map(plain.__contains__, "([$")) and _CALL.search(plain) is not None
    )


def _asks_about_it(outside: str) -> bool:
    """Whether the words outside of a given text refer to it."""
    return (
        any(map(outside.__contains__, ("according to this", "is this ", "mentioned", "main topic", "main idea")))
        or _THIS_TEXT.search(outside) is not None
        or _WHAT_IN_IT.match(outside) is not None
    )


def _places(n: int) -> Sequence[int]:
    """The sentences in which a request stands: the last three, then the first two."""
    return list(dict.fromkeys([*range(n - 1, max(n - 4, -1), -1), *range(min(n, 2))]))


def _outside(plain: str) -> tuple[str, bool]:
    """The text without what is given, and whether there is such a thing."""
    bare = _QUOTED.sub('""', plain)
    if bare != plain:
        return bare, True
    head = _HEAD.match(plain)
    if head and _easy(head[0], brief=False, follows=False).cue and not _asks_for_thought(head[0], _THOUGHT):
        return head[0], True
    return plain, False


def _ends(text: str) -> str:
    return text if len(text) <= 2 * _AN_END else f"{text[:_AN_END]} {text[-_AN_END:]}"


_CHORES = frozenset(cue_words.KINDS["chore"].split()) - frozenset(cue_words.SMALL_TEXTS.split())
_SMALL_TEXTS = frozenset(cue_words.SMALL_TEXTS.split())
_MAKING = frozenset(("write", "give", "make", "draft", "compose", "need", "suggest", "think", "add", "fix", "change"))
_CHORE_PHRASES = cue_words.PHRASES["chore phrase"]
_THOUGHT = frozenset(f"{cue_words.KINDS['reasoning']} {cue_words.KINDS['arithmetic']} {cue_words.BLOCKERS}".split())
# What tells that more is asked than the cue says. A concept may be explained.
_HARD = {"chore": _THOUGHT, "extraction": _THOUGHT, "plain question": _THOUGHT, "concept": _THOUGHT - {"explain"}}
# No request of an easy kind without one of these.
_SIGNS = (
    _CHORES
    | _SMALL_TEXTS
    | {phrase.split()[0] for phrase in _CHORE_PHRASES}
    | {"what", "what's", "whats", "which", "mentioned", "according", "definition", "explanation", "description", "this"}
    | {"these", "following"}
)
_WH = frozenset(("what", "which", "who", "whose", "how", "why", "when", "where"))
_COMPARING = frozenset(cue_words.KINDS["comparison"].split()) - {"after", "again", "back", "same", "times"}
_REFERRING = frozenset(cue_words.LEANING.split()) | {"the", "who", "i", "you"}
_AN_OPENING, _REACH, _A_FEW, _A_VERB = 4, 8, 3, 20
_WORD = re.compile(r"[\w'-]+")
_SENTENCE_END = re.compile(r"(?<=[.?!:;])[\"')]*\s+")
_QUOTED = re.compile(r"\"[^\"]{12,}(?:\"|$)|(?<![\w.])'.{12,}?'(?!\w)")
_CALL = re.compile(r"\w\(|\[\w*\]|\$\w+\$")
# Up to a colon, or a sentence that announces what follows it.
_HEAD = re.compile(
    r"[^:.?!]{6,300}:(?=\s)|[^:.?!]{0,100}\b(?:this|these|(?:the )?following|below)\b[^:.?!]{0,100}[.!?](?=\s+\w)"
)
_QUANTITY = re.compile(r"\bhow (?:many|much|long|far|old|often|fast|heavy|i|we|to|should|can|could)\b")
# "Which of these is a fruit": of what kind a thing is, is known offhand.
_OPTIONS = re.compile(r" \(?a[.)] .* \(?b[.)] ")
_MEMBER = re.compile(r"which (?:one )?of (?:these|the following)(?: \w+)? is an? (?!statement|true|false)[\w-]+[:?]")
_QUESTION = re.compile(r"(?:wh|is |are |do |does |can ).*\?$")
_THIS_TEXT = re.compile(
    r"th(?:is|ese|e(?= following)) (?:following |above |next |short )?(?:text|sentence|notice|e?-?mail|message|review"
    r"|comment|paragraph|letter|note|title|article|list|tweet|post|passage|words?|headline|announcement)\b"
)
_WHAT_IN_IT = re.compile(r"(?:what's|what is|who is|which) [^.,]{3,40} (?:in|of) \"\"\W*$")
# A bare or indefinite noun asks for a concept: "what is (a) mutex". A definite one leans on what was told.
_NOT_DEFINITE = (
    r"(?!(?:\d+|two|three|four|five|six|the|his|hers?|their|its?|they|that|this|these|those|my|your|our|he|she|we|i|so|half|left|next|always"
    r"|never|often|bigger|larger|more|less|going|wrong|missing|happening|not|and|who|to|can|legal|true)\b|\w+'s?\s)"
)
# All alternatives begin alike, so that the search takes no time where there is no "what".
_CONCEPT = re.compile(
    rf"what(?:'?s| is| are) {_NOT_DEFINITE}(?:an? )?[^ ?.,:;!]+(?: [^ ?.,:;!]+){{0,3}}?"
    r"(?:[?.,;:!]|$| in (?:one|a|simple|plain|few|just|under|english)\b| briefly\b| \(| used\b| for\b)"
    rf"|what {_NOT_DEFINITE}(?:an? )?[^ ?.,:;!]+(?: [^ ?.,:;!]+){{0,2}} (?:is|are|means|does|stands for)"
    r"(?:[?.;:!]|$| (?:in|on|for) | briefly\b)"
    r"|what (?:is|are|does) (?:it|this|that)(?: mean)?,? in (?:simple|plain|other|one|a|two) "
    r"|what does (?!(?:he|she|it|they|this|that|his|her|my)\b)(?:an? |[^?.!]{1,40} (?:mean|stand for|do)\b)"
)
_WHAT_IT_IS = re.compile(
    rf"what {_NOT_DEFINITE}(?:an? )?[^ ?.,:;!]+(?: [^ ?.,:;!]+){{0,2}}?(?: really| actually| exactly)?"
    r" (?:is|are|means)\b"
)
_KNOWING = re.compile(
    r"\b(?:know|knows|explain|tell|understand|wonder|wondering|asked|asks|ask|say|describe|define|idea)(?: me| us)? $"
)
_DEFINITION = re.compile(r"(?:short|simple|brief|quick|one[- ]line) (?:definition|explanation|description)\b")
