"""Registered texts are found in a request wherever a template put them, and cut or replaced there."""

from __future__ import annotations

import copy
import json
import string
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pointsman.documents.lift import LEAST_BYTES, Passage, Place, Replacement, Texts, replaced

PARIS = "Paris has been the capital of France since 987, but for a few years of war."
ROME = 'Rome was not built in a day.\n"All roads lead there", the Romans said: é, ü, — and \u4e2d.'
Request = dict[str, Any]


def texts_of(*texts: str) -> Texts:
    """An index in which each text has its place as its key."""
    index = Texts()
    for number, text in enumerate(texts):
        index.add(b"%d" % number, text)
    return index


def user(*content: Mapping[str, Any]) -> Request:
    """A request of one user message."""
    return {"messages": [{"role": "user", "content": list(content)}]}


def tool_result(*content: Mapping[str, Any]) -> Request:
    """A request that ends with a tool's result."""
    return user({"toolResult": {"toolUseId": "1", "content": list(content)}})


def at(request: Any, place: Place) -> str:
    """The string at a place."""
    for step in place:
        request = request[step]
    return str(request)


def found(index: Texts, request: Request) -> list[str]:
    """The texts of the passages."""
    return [at(request, one.place)[one.start : one.end] for one in index.find(request)]


PLACES = {
    "system": ({"system": [{"cachePoint": {}}, {"text": f"Use: {PARIS}"}]}, ("system", 1, "text")),
    "user": (user({"cachePoint": {}}, {"text": f"Use: {PARIS}"}), ("messages", 0, "content", 1, "text")),
    "a system message": (
        {"messages": [{"role": "system", "content": [{"text": f"Use: {PARIS}"}]}]},
        ("messages", 0, "content", 0, "text"),
    ),
    "a guarded text": (
        user({"guardContent": {"text": {"text": f"Use: {PARIS}", "qualifiers": ["grounding_source"]}}}),
        ("messages", 0, "content", 0, "guardContent", "text", "text"),
    ),
    "a tool's text": (
        tool_result({"image": {}}, {"text": f"Use: {PARIS}"}),
        ("messages", 0, "content", 0, "toolResult", "content", 1, "text"),
    ),
    "a tool's JSON": (
        tool_result({"json": {"results": [1, None, {"text": f"Use: {PARIS}"}]}}),
        ("messages", 0, "content", 0, "toolResult", "content", 0, "json", "results", 2, "text"),
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_text_is_found_wherever_a_template_puts_it(name: str) -> None:
    """In system blocks, messages and tool results; a passage says in which string, and from where to where."""
    request, place = PLACES[name]
    assert texts_of(PARIS).find(request) == [Passage(b"0", place, 5, 5 + len(PARIS), False)]


ELSEWHERE = {
    "an assistant's words": {"messages": [{"role": "assistant", "content": [{"text": PARIS}]}]},
    "a user's document": user({"document": {"name": "d", "format": "txt", "source": {"text": PARIS}}}),
    "a user's search result": user({"searchResult": {"source": "s", "title": "t", "content": [{"text": PARIS}]}}),
    "a tool's document": tool_result({"document": {"name": "d", "format": "txt", "source": {"text": PARIS}}}),
    "a tool's search result": tool_result({"searchResult": {"source": "s", "content": [{"text": PARIS}]}}),
    "a tool": {"toolConfig": {"tools": [{"toolSpec": {"name": "t", "description": PARIS}}]}, "messages": []},
    "a name in a tool's JSON": tool_result({"json": {PARIS: 1}}),
    "an image": user({"guardContent": {"image": {"format": "png", "source": {"bytes": PARIS.encode()}}}}),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_elsewhere_nothing_is_found(name: str) -> None:
    """What an assistant said, what the user gave as a document of his own, and tools are left alone."""
    assert texts_of(PARIS).find(ELSEWHERE[name]) == []


def test_requests_and_indices_may_be_empty() -> None:
    """Nothing registered, or nothing to look into: nothing is found."""
    assert Texts().find(user({"text": PARIS})) == []
    assert texts_of(PARIS).find({}) == texts_of(PARIS).find({"system": None, "messages": [], "toolConfig": None}) == []
    assert texts_of(PARIS).find(user({"text": ""})) == texts_of("", PARIS).find(user({"text": "x" * 30})) == []


def test_white_space_around_a_text_is_not_its_own() -> None:
    """A template may have stripped the text or not: cutting the passage leaves the white space that is there."""
    for registered in (PARIS, f"\n\n {PARIS}\u3000\n"):
        request = user({"text": f"Use:\n\n  {PARIS} \n\nSo?"})
        (passage,) = texts_of(registered).find(request)
        cut = replaced(request, {passage.place: [(passage.start, passage.end, "")]})
        assert cut == user({"text": "Use:\n\n   \n\nSo?"})


def test_short_texts_are_nobodys() -> None:
    """Below the least length a text is known by its key, and never found."""
    short, long = "x" * (LEAST_BYTES - 1), "y" * LEAST_BYTES
    index = texts_of(f"  {short}  ", long)
    assert len(index) == 2 and b"0" in index
    assert found(index, user({"text": f"{short} {long}"})) == [long]
    assert found(texts_of("é" * (LEAST_BYTES // 2)), user({"text": "é" * 24})) == ["é" * 24]


@pytest.mark.parametrize("ascii_only", [True, False])
def test_in_a_tools_text_it_may_stand_as_json(ascii_only: bool) -> None:
    """Tools often return JSON as a text; elsewhere a text that looks like JSON is not taken for one that doesn't."""
    request = tool_result({"text": json.dumps([{"id": 1, "text": f"{ROME}\n"}], ensure_ascii=ascii_only)})
    (passage,) = texts_of(ROME).find(request)
    assert passage.escaped
    assert json.loads(f'"{at(request, passage.place)[passage.start : passage.end]}"') == ROME
    assert texts_of(ROME).find(user({"text": at(request, passage.place)})) == []


def test_a_text_that_needs_no_escapes_is_not_escaped() -> None:
    """Within JSON it stands as it is."""
    (passage,) = texts_of(PARIS).find(tool_result({"text": json.dumps({"text": PARIS})}))
    assert not passage.escaped


def test_every_copy_is_a_passage_in_the_order_of_the_request() -> None:
    """The system prompt comes first, then the messages, whichever text was registered first."""
    request = {**user({"text": f"{PARIS}{PARIS}"}, {"text": ROME}), "system": [{"text": f"{ROME} {PARIS}"}]}
    assert [one.key for one in texts_of(PARIS, ROME).find(request)] == [b"1", b"0", b"0", b"0", b"1"]


def test_the_longest_wins_and_nothing_is_found_inside_of_it() -> None:
    """Where a text begins, ends or contains another, the longer one is found; the shorter where it stands alone."""
    whole = f"{PARIS} {ROME}"
    assert found(texts_of(PARIS, ROME, whole), user({"text": f"{PARIS} / {whole}"})) == [PARIS, whole]


def test_a_shorter_text_does_not_hide_a_longer_one_that_overlaps_it() -> None:
    """Even if it starts earlier; and so over several: the longest is taken first, and what then still has room."""
    first, second, third = "a" * 50 + "b" * 10, "b" * 10 + "c" * 60, "c" * 20 + "d" * 40
    request = user({"text": "a" * 50 + "b" * 10 + "c" * 60 + "d" * 40})
    assert found(texts_of(first, second), request) == [second]
    assert found(texts_of(first, second, third), request) == [second]
    assert found(texts_of(first, third), request) == [first, third]


def test_of_one_text_under_two_keys_the_lesser_key_is_found() -> None:
    """Whichever was registered first."""
    for keys in ((b"a", b"b"), (b"b", b"a")):
        index = Texts()
        for key in keys:
            index.add(key, PARIS)
        assert [one.key for one in index.find(user({"text": f"{PARIS} {PARIS}"}))] == [b"a", b"a"]


def test_nothing_is_found_across_two_strings() -> None:
    """Half of a text at the end of a block and half at the beginning of the next is no passage."""
    for middle in ("", "\0", "\n"):
        text = f"{PARIS}{middle}{ROME}"
        assert texts_of(text).find(user({"text": PARIS + middle}, {"text": ROME})) == []
        assert texts_of(text).find(user({"text": PARIS}, {"text": middle + ROME})) == []
        assert texts_of(text).find(user({"text": PARIS}, {"text": ROME})) == []


def test_passages_count_characters() -> None:
    """Not bytes, also behind characters of several bytes, and in each string anew."""
    request = user({"text": f"été ¿ÿ \U0001f600 {ROME} — {PARIS}"}, {"text": f"\u4e2d{PARIS}"})
    assert found(texts_of(PARIS, ROME), request) == [ROME, PARIS, PARIS]


def test_lone_surrogates_do_no_harm() -> None:
    """They have no UTF-8, but stand in a prompt now and then; in front of a text, and within it."""
    broken = f"\ud83d {PARIS} \ude00"
    request = user({"text": f"\ud83d\ude00\ud83d: {broken} - {PARIS}"})
    assert found(texts_of(broken, PARIS), request) == [broken, PARIS]
    assert texts_of(broken).find(user({"text": f"? {PARIS} ?"})) == []
    assert found(texts_of(broken), tool_result({"text": json.dumps(broken)})) == [json.dumps(broken)[1:-1]]


def test_a_removed_text_is_found_no_more() -> None:
    """And others are, even such as shared all their words with it."""
    index = texts_of(PARIS, ROME, PARIS, f"{PARIS} {ROME}")
    index.remove(b"0")
    index.remove(b"3")
    index.remove(b"never there")
    assert len(index) == 2 and b"0" not in index and b"2" in index
    assert [one.key for one in index.find(user({"text": f"{PARIS} {ROME}"}))] == [b"2", b"1"]
    for key in (b"1", b"2"):
        index.remove(key)
    assert len(index) == 0 and vars(index) == vars(Texts())


def test_a_key_has_one_text() -> None:
    """Registered again it changes nothing; with another text, that takes its place."""
    index = texts_of(PARIS)
    index.add(b"0", PARIS)
    assert len(index) == 1 and found(index, user({"text": f"{PARIS} {ROME}"})) == [PARIS]
    index.add(b"0", ROME)
    assert len(index) == 1 and found(index, user({"text": f"{PARIS} {ROME}"})) == [ROME]
    index.add(b"0", "short")
    assert len(index) == 1 and found(index, user({"text": f"{PARIS} {ROME}"})) == []


@pytest.mark.parametrize("before", [0, 1, 7, 8, 65_460, 65_500, 65_528, 65_535, 65_536, 131_050])
def test_where_a_text_stands_in_a_long_prompt_does_not_matter(before: int) -> None:
    """It is found at the beginning, at the end, and where the prompt is read in pieces."""
    for behind in ("", "y", "y" * 70_000):
        (passage,) = texts_of(PARIS).find(user({"text": f"{'x' * before}{PARIS}{behind}"}))
        assert passage.start == before


def test_a_text_that_only_its_end_tells_is_found_by_that() -> None:
    """Also where just this end stands in the last piece that is read."""
    text = "-" * 400 + string.ascii_letters[:26]
    for size in range(65_536, 65_536 + 40):
        (passage,) = texts_of(text).find(user({"text": text.rjust(size)}))
        assert passage.end == size


def test_texts_that_share_most_of_their_words_are_each_known_by_their_own() -> None:
    """Few are compared where another stands, wherever they differ: else the time would grow with their number."""
    words = [f"word{number}" for number in range(200)]
    forms = [" ".join([*words[: 60 + n], f"number {n:06d}", *words[60 + n :]]) for n in range(60)]
    letters = [f"{' '.join(words[:100])}\n\nDear {n:06d},\n{' '.join(words[100:])}" for n in range(60)]
    for texts in (forms, letters):
        index = texts_of(*texts)
        compared = sum(
            len(known) for text in texts for window, known in index._windows.items() if window in text.encode()
        )
        assert compared < 60 * 60 * 8 / 4
        assert found(index, user({"text": "\n\n".join(texts)})) == texts


def test_numpy_is_not_loaded_before_something_is_looked_for() -> None:
    """Importing and registering do without."""
    code = (
        "import sys; from pointsman.documents.lift import Texts; texts = Texts(); texts.add(b'1', 'a' * 99);"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The laws, on requests of few letters, so that texts begin, contain and overlap each other.

LETTERS = st.sampled_from("ab") | st.sampled_from(['"', "\n", "é", "\u4e2d", "\ud83d", "\U0001f600", "\\"])
SYLLABLES = st.lists(st.text(LETTERS, min_size=1, max_size=30), min_size=1, max_size=3)


@st.composite
def requests_and_texts(draw: st.DrawFn) -> tuple[Request, list[str]]:
    """A request, and texts most of which stand in it."""
    syllables = [*draw(SYLLABLES), "-" * 20, "0123456789" * 3]
    text = st.lists(st.sampled_from(syllables), min_size=1, max_size=8).map("".join)
    texts = draw(st.lists(text, max_size=6))
    parts = st.sampled_from([*syllables, *texts])
    strings = st.lists(parts, max_size=6).map("".join)
    escaped = strings.map(json.dumps) | strings.map(lambda written: json.dumps(written, ensure_ascii=False))
    values = st.recursive(strings | escaped | st.integers(), lambda inner: st.lists(inner, max_size=2), max_leaves=4)
    result = st.fixed_dictionaries({"text": strings | escaped}) | st.fixed_dictionaries(
        {"json": st.dictionaries(st.sampled_from("xyz"), values, max_size=2)}
    )
    block = (
        st.fixed_dictionaries({"text": strings})
        | st.just({"cachePoint": {"type": "default"}})
        | st.lists(result, max_size=2).map(lambda content: {"toolResult": {"toolUseId": "1", "content": content}})
        | strings.map(lambda written: {"guardContent": {"text": {"text": written}}})
    )
    messages = st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "user", "assistant"]), "content": st.lists(block, max_size=3)}
    )
    system = st.lists(st.fixed_dictionaries({"text": strings}), max_size=2)
    return {"system": draw(system), "messages": draw(st.lists(messages, max_size=3))}, texts


def strings_in(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Every string of the request that may be looked into, read off the path to it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if value.get("role") != "assistant":
                yield from strings_in(inner, (*place, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from strings_in(inner, (*place, index))
    elif isinstance(value, str) and ("text" in place or "json" in place):
        yield place, value


def plainly_found(texts: Sequence[str], request: Request) -> list[Passage]:
    """What must be found: all that stands anywhere, the longest first, each unless a part of it is taken."""
    passages = []
    for place, written in strings_in(request):
        matches = set()
        for number, text in enumerate(texts):
            stripped = text.strip()
            forms = {(stripped, False)}
            if "toolResult" in place:
                forms |= {(json.dumps(stripped, ensure_ascii=ascii_only)[1:-1], True) for ascii_only in (True, False)}
            for form, escaped in forms:
                size = len(form.encode("utf-8", "surrogatepass"))
                if len(stripped.encode("utf-8", "surrogatepass")) >= LEAST_BYTES and (form, escaped) != (
                    stripped,
                    True,
                ):
                    starts = [start for start in range(len(written)) if written.startswith(form, start)]
                    matches |= {(-size, start, escaped, b"%d" % number, start + len(form)) for start in starts}
        free, chosen = [True] * len(written), []
        for _, start, escaped, key, end in sorted(matches):
            if all(free[start:end]):
                free[start:end] = [False] * (end - start)
                chosen.append(Passage(key, place, start, end, escaped))
        passages += sorted(chosen, key=lambda one: one.start)
    return passages


@given(requests_and_texts())
@example((user({"text": "ab" * 60}), ["ab" * 24, "ba" * 25, "ab" * 25]))
def test_the_same_is_found_as_by_looking_for_each_text_everywhere(drawn: tuple[Request, list[str]]) -> None:
    """Whatever the texts share, and whatever the letters."""
    request, texts = drawn
    assert texts_of(*texts).find(request) == plainly_found(texts, request)


@given(requests_and_texts(), st.randoms(use_true_random=False))
def test_the_order_of_registering_does_not_matter(drawn: tuple[Request, list[str]], chance: Any) -> None:
    """Nor what was registered in between and removed again."""
    request, texts = drawn
    index, numbered = Texts(), list(enumerate(texts))
    chance.shuffle(numbered)
    for number, text in numbered:
        index.add(b"other %d" % number, text[1:])
        index.add(b"%d" % number, text)
    for number, _ in numbered:
        index.remove(b"other %d" % number)
    assert index.find(request) == texts_of(*texts).find(request)
    for number, _ in numbered:
        index.remove(b"%d" % number)
    assert vars(index) == vars(Texts())


def by_place(request: Request, passages: Sequence[Passage], instead: str | None) -> dict[Place, list[Replacement]]:
    """Replacements of all passages by one text, or each by what stands there."""
    replacements: dict[Place, list[Replacement]] = {}
    for _, place, start, end, _ in passages:
        own = at(request, place)[start:end]
        replacements.setdefault(place, []).append((start, end, own if instead is None else instead))
    return replacements


@given(requests_and_texts())
def test_each_passage_replaced_by_its_own_text_gives_back_the_request(drawn: tuple[Request, list[str]]) -> None:
    """So a passage is where it says, and nothing else is touched."""
    request, texts = drawn
    assert replaced(request, by_place(request, texts_of(*texts).find(request), None)) == request


@given(requests_and_texts())
def test_replacing_makes_a_new_request_that_shares_what_does_not_change(drawn: tuple[Request, list[str]]) -> None:
    """The caller's is never changed; where nothing was replaced, the new one holds the very same objects."""
    request, texts = drawn
    before = copy.deepcopy(request)
    replacements = by_place(request, texts_of(*texts).find(request), "[]")
    changed = replaced(request, replacements)
    assert request == before and changed is not request
    paths = {place[:depth] for place in replacements for depth in range(len(place) + 1)}
    for path in {place[:depth] for place, _ in strings_in(request) for depth in range(1, len(place))}:
        old, new = request, changed
        for step in path:
            old, new = old[step], new[step]
        assert (old is new) == (path not in paths)
    for place, pieces in replacements.items():
        expected = at(request, place)
        for start, end, instead in reversed(pieces):
            expected = expected[:start] + instead + expected[end:]
        assert at(changed, place) == expected


def test_replacements_come_in_any_order() -> None:
    """Each names characters of the string as it was."""
    request = user({"text": "one two three"})
    place = ("messages", 0, "content", 0, "text")
    assert replaced(request, {place: [(8, 13, "3"), (0, 3, ""), (4, 4, "and ")]}) == user({"text": " and two 3"})
    assert replaced(request, {place: []}) == request
