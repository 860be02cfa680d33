"""A text's numbers: what they are by definition, that they are the same everywhere, and texts that nobody expects."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pointsman import Prompt
from pointsman.routing.features import (
    BITS,
    COLUMNS,
    MOST_BYTES,
    SETTING,
    SURFACE,
    Features,
    asked,
    features_of,
)

QUESTION = "Which of 12 trains is late?\nA. the 08:14\nB. the 9:30\nC. none, as `x_1 = 3`\nAnswer:"
ODD = {
    "empty": "",
    "blank": " \n\t ",
    "one letter": "a",
    "NUL": "a\0b\0",
    "lone surrogates": "\ud800 and \udfff",
    "emoji": "🚂🚃🚃 où?" * 3,
    "Chinese": "下一班火车几点开?" * 900,
    "capitals that grow": "İ" * 5000,
    "one mark": "." * 9000,
    "1 MB": "The points are set for track nine. " * 30_000,
}
TEXTS = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="aAbZ 19_.,)\n:=é日\\", max_size=80),
    st.lists(st.sampled_from(["A. ", "b) ", "j: ", "k. ", "\n", "\n\n", "12", "longwords", "$", " "])).map("".join),
)


def surface(text: str) -> dict[str, float]:
    return dict(zip(SURFACE, features_of(text).surface.tolist(), strict=True))


def same(one: Features, other: Features) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Features.__slots__)


# --- by definition ------------------------------------------------------------------------------------------------

WRAP = (1 << 64) - 1
OPTION = re.compile(rb"\(?[a-j][.):]")


def spread(byte: int) -> int:
    """SplitMix64 of a byte; every digit counts as a 0."""
    z = ((48 if 48 <= byte < 58 else byte) + 1) * 0x9E3779B97F4A7C15 & WRAP
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & WRAP
    z = (z ^ z >> 27) * 0x94D049BB133111EB & WRAP
    return z ^ z >> 31


def word_hash(word: bytes) -> int:
    return sum(spread(byte) * pow(0x9E3779B97F4A7C15, place, 1 << 64) for place, byte in enumerate(word)) & WRAP


def run_hash(run: bytes) -> int:
    total = 0
    for byte in run:
        total = (total * 0xD6E8FEB86659FD93 + spread(byte)) & WRAP
    return total


def column(hashed: int) -> int:
    return (hashed * 0xFF51AFD7ED558CCD & WRAP) >> (64 - BITS)


def plain(text: str) -> bytes:
    """In lower case, each stretch of white space as one space: what is read of a text that is short enough."""
    return " ".join(text.lower().split()).encode("utf-8", "replace")


def plain_words(data: bytes) -> list[bytes]:
    return re.findall(rb"[a-z0-9_\x80-\xff]+|[^ ]", data)


def options_of(data: bytes) -> list[int]:
    """Where they begin: what stands between spaces like "a." or "(b)", from an A on that a B follows."""
    pieces = data.split(b" ")
    starts = [sum(map(len, pieces[:place])) + place for place in range(len(pieces))]
    found = [(start, piece) for start, piece in zip(starts, pieces, strict=True) if OPTION.fullmatch(piece)]
    letters = b"".join(piece.strip(b"(.):") for _, piece in found)
    first = letters.find(b"ab")
    return [start for start, _ in found[first:]] if first >= 0 else []


@given(TEXTS)
@example(QUESTION)
@example("A. x")
def test_ngrams_are_what_they_are_said_to_be(text: str) -> None:
    """Words and runs of four bytes, hashed one by one, are what comes out of a few passes over all of them."""
    data = plain(text)
    words = [word_hash(word) for word in plain_words(data)]
    runs = [run_hash(data[place : place + 4]) for place in range(len(data) - 3)]
    counted = Counter([*map(column, words), *((1 << BITS) + column(run) for run in runs)])
    found = features_of(text)
    assert found.words.tolist() == words
    assert dict(zip(found.columns.tolist(), found.counts.tolist(), strict=True)) == counted


@given(TEXTS)
@example(QUESTION)
@example("pick (a) x\nB) y  c: z (d)")
@example("b. a. c. a: b: a.")
def test_the_surface_is_what_it_is_said_to_be(text: str) -> None:
    """Each measure, counted one by one."""
    data = plain(text)
    words = plain_words(data)
    spelled = [word for word in words if re.match(rb"[a-z0-9_\x80-\xff]", word)]
    options = options_of(data)
    stem = options[0] if options else len(data)
    n, most = max(len(words), 1), max(len(spelled), 1)
    counts = [len(data), len(words), stem, len(data) - stem, len(options), (len(data) - stem) / max(len(options), 1)]
    counts += [len(re.findall(rb"[0-9]+", data)), *map(data.count, b'\\$=(:?,."_;%')]
    shares = [sum(map(len, spelled)) / most, len(re.findall(rb"[0-9]", data)) / max(len(data), 1), 1 - most / n]
    shares += [len({word_hash(word) for word in words}) / n, sum(len(word) > 8 for word in words) / most]
    assert features_of(text).surface == pytest.approx([*map(math.log1p, counts), *shares], rel=1e-12, abs=1e-12)


@given(TEXTS)
def test_columns_rise_and_counts_add_up(text: str) -> None:
    """Each column once, words before runs, all of them below `COLUMNS`; every word and every run is counted."""
    found = features_of(text)
    assert (np.diff(found.columns) > 0).all()
    assert ((found.columns >= 0) & (found.columns < COLUMNS)).all()
    assert found.counts.sum() == len(found.words) + max(len(plain(text)) - 3, 0)
    assert found.counts[found.columns < 1 << BITS].sum() == len(found.words)
    assert (found.counts > 0).all()


# --- the same everywhere ------------------------------------------------------------------------------------------


def test_the_numbers_are_pinned() -> None:
    """Heads are files: the columns that they were fitted to must be the same in every version and on every machine."""
    found = features_of(QUESTION)
    digest = blake2b(digest_size=8)
    for array in (found.columns, found.counts, found.words):
        digest.update(array.astype("<u8").tobytes())
    assert digest.hexdigest() == "ccda84d6d6e262f8"


def test_a_second_process_finds_the_same_numbers() -> None:
    """Whatever Python's own hashes are there."""
    code = (
        "import sys; from pointsman.routing.features import features_of; found = features_of(sys.argv[1]);"
        "print([array.tobytes().hex() for array in (found.columns, found.counts, found.words, found.measures)])"
    )
    here = features_of(QUESTION)
    expected = [array.tobytes().hex() for array in (here.columns, here.counts, here.words, here.measures)]
    done = subprocess.run(
        [sys.executable, "-c", code, QUESTION],
        env={"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(expected)


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=80))
def test_letter_case_is_ignored(text: str) -> None:
    """SHOUTING asks the same."""
    assert same(features_of(text.upper()), features_of(text.lower()))


@given(st.lists(st.sampled_from(["When", "does", "it", "A.", "B.", "9:30?"])), st.sampled_from(["  ", "\n", " \t\r\n"]))
def test_white_space_is_ignored(words: list[str], gap: str) -> None:
    """How lines are broken and set in asks nothing."""
    assert same(features_of(gap.join([gap, *words, gap])), features_of(" ".join(words)))


@pytest.mark.parametrize("text", ODD.values(), ids=list(ODD))
def test_any_text_has_numbers(text: str) -> None:
    """Finite ones, of the same shapes as for every other text."""
    found = features_of(text)
    assert found.measures.shape == (len(SURFACE) + len(SETTING),)
    assert np.isfinite(found.measures).all()
    assert len(found.columns) == len(found.counts) <= 2 * (MOST_BYTES + 1)
    assert (found.columns.dtype, found.counts.dtype, found.words.dtype) == (np.int64, np.int64, np.uint64)
    assert same(found, features_of(text))


@given(st.text(alphabet=" \n\t\r\f\u00a0\u3000", max_size=9))
def test_of_nothing_there_are_no_ngrams(blank: str) -> None:
    """And every measure is 0; white space is nothing."""
    found = features_of(blank)
    assert len(found.columns) == len(found.words) == 0
    assert not found.measures.any()


# --- what is read of a text ---------------------------------------------------------------------------------------


def test_of_a_long_text_its_head_and_tail_are_read() -> None:
    """What stands between them changes nothing but how long the text is."""
    half = MOST_BYTES // 2
    head, tail = "Read the timetable. " * 200, " Which train is the last one?" * 200
    one, other, longer = (
        features_of(head[:half] + middle + tail[-half:]) for middle in ("x" * 99, "y" * 99, "z" * 999)
    )
    assert same(one, other)
    assert np.array_equal(one.columns, longer.columns)
    assert np.flatnonzero(one.measures != longer.measures).tolist() == [SURFACE.index("characters")]


def test_what_is_asked_at_either_end_of_a_long_text_is_seen() -> None:
    """A question before the pasted pages counts, and so does one after them."""
    pages = "Signals protect each section of the line. " * 500
    alone = set(features_of("zebra quagga okapi").columns.tolist())
    for text in (f"zebra quagga okapi {pages}", f"{pages} zebra quagga okapi"):
        found = set(features_of(text).columns.tolist())
        assert len(alone & found) == len(alone)


def test_of_other_scripts_both_ends_are_read_too() -> None:
    """Their letters take three bytes or four each: the cap is by bytes."""
    pages = "下一班火车几点开?" * 400
    ends = features_of(f"zebra quagga {pages} okapi bongo")
    assert set(features_of("zebra quagga").columns.tolist()) <= set(ends.columns.tolist())
    assert set(features_of("okapi bongo").columns.tolist()) <= set(ends.columns.tolist())
    assert ends.counts.sum() < 2 * (MOST_BYTES + 1)


@given(st.integers(10, 99), st.integers(10, 99))
def test_one_number_is_like_another(one: int, other: int) -> None:
    """Digits are told apart by nothing but how many there are."""
    assert same(features_of(f"Add {one} trains."), features_of(f"Add {other} trains."))
    assert not same(features_of(f"Add {one} trains."), features_of(f"Add {one * 100} trains."))


@pytest.mark.parametrize(
    ("text", "options", "stem"),
    [
        (QUESTION, 3, len("Which of 12 trains is late? ")),
        ("A) one\nB) two", 2, 0),
        ("Is it (a) the first, (b) the last?", 2, 6),
        ("a: b: j:", 3, 0),
        ("A. one B. two A. three", 3, 0),
        ("Pick.\nB. yes\nA. no", 0, 18),
        ("Pick.\nA. yes\nC. no", 0, 18),
        ("Is it A. or B.?", 0, 15),
        ("Pick.\nA", 0, 7),
    ],
)
def test_options_are_found(text: str, options: int, stem: int) -> None:
    """By a letter up to J with its mark, the first two an A and a B; before them stands the stem."""
    found = surface(text)
    assert found["options"] == pytest.approx(math.log1p(options))
    assert found["characters of the stem"] == pytest.approx(math.log1p(stem))
    assert found["characters of the options"] == pytest.approx(math.log1p(len(text) - stem))


# --- around the text ----------------------------------------------------------------------------------------------


def test_the_setting_is_what_stands_around_the_text() -> None:
    """Tools, earlier messages, and the characters that are not asked; nothing of it for a text by itself."""
    prompt = Prompt(
        {
            "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
            "toolConfig": {"tools": [{"toolSpec": {"name": "clock", "inputSchema": {"json": {}}}}]},
            "messages": [
                {"role": "user", "content": [{"text": "Hello"}]},
                {"role": "assistant", "content": [{"text": "Hi!"}]},
                {"role": "user", "content": [{"text": "When does it leave?"}]},
            ],
        }
    )
    text = asked(prompt)
    alone, within = features_of(text), features_of(text, prompt)
    told = dict(zip(SETTING, within.setting.tolist(), strict=True))
    around = len("Be brief.") + len("Hello") + len("Hi!")
    assert told == pytest.approx(
        {"tools": math.log(2), "earlier messages": math.log(3), "other characters": math.log1p(around)}
    )
    assert not alone.setting.any()
    assert np.array_equal(alone.surface, within.surface)
    assert np.array_equal(alone.columns, within.columns)


def test_what_is_asked_is_the_last_text_of_the_turn() -> None:
    """A text is its own question; of a prompt it is what its user says last."""
    assert asked("When?") == "When?"
    content = [{"text": "A long page. " * 50}, {"text": "Which train is the last one of the day?"}]
    assert asked(Prompt({"messages": [{"role": "user", "content": content}]})) == content[-1]["text"]
