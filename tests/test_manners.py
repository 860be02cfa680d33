"""Manners at a request's ends are passed over, and nothing else is."""

from __future__ import annotations

import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.routing.manners import without_manners

QUESTION = "Which of these five suspects lied, and why?"
POLITE = [
    "Hello, I hope you are doing well. Could you please help me with this? {} Thank you very much in advance!",
    "Hi! {} Thanks a lot :)",
    "Dear assistant,\n\n{}\n\nKind regards",
    "Sorry to bother you, but I would be grateful for your help with the following question: {} I appreciate it.",
    "Good evening. If you don't mind, please take a look at this one. {} Many thanks and have a nice day.",
    "Hey there, {}",
    "hi Bob!\n{}\nThanks,\nAnna",
    "Good morning! I've got a quick question for you: {} Cheers!",
    "Apologies for the interruption. {} Best regards,\nTom Miller",
    "I have a question. {} Please help me. Thank you for your time 🙏",
    "Please answer the following question.\n\n{}\n\nI look forward to your reply.\n\nYours sincerely",
    "Excuse me, could you do me a favour? {} Have a great weekend!",
    "I need some help with this one, please: {} Any help would be appreciated.",
    "How are you today? {} 🙂",
]


@pytest.mark.parametrize("manners", POLITE)
@pytest.mark.parametrize("noise", [str, str.upper, str.lower], ids=["as written", "upper", "lower"])
def test_manners_are_passed_over(manners: str, noise: type[str]) -> None:
    """Whatever is wrapped in them is what is left, in the case it was written in."""
    assert without_manners(noise(manners).replace("{}", QUESTION)) == QUESTION


@pytest.mark.parametrize("manners", POLITE)
def test_manners_broken_into_lines_are_manners(manners: str) -> None:
    """As mail programs break them, or with other white space."""
    for gap in ("  ", "\t"):
        assert without_manners(manners.replace(" ", gap).replace("{}", QUESTION)) == QUESTION
    for width in (40, 60):
        lines = textwrap.fill(manners, width, break_on_hyphens=False, replace_whitespace=False)
        assert without_manners(lines.replace("{}", QUESTION)) == QUESTION


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Could you please tell me what yoga is?", "what yoga is?"),
        ("Can you explain why the sky is blue?", "explain why the sky is blue?"),
        ("I would like to know how many legs it has.", "how many legs it has."),
        ("Please, can you help me to fix this sentence: I has it.", "fix this sentence: I has it."),
        ("I was wondering if you could translate this.", "translate this."),
        ("Do you know where pandas live?", "where pandas live?"),
        ("hi what is a mutex", "what is a mutex"),
        ("what is a mutex, thanks", "what is a mutex"),
    ],
)
def test_the_words_of_asking_are_passed_over(text: str, left: str) -> None:
    """A request is the same with "could you please" before it and without."""
    assert without_manners(text) == left


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        "Translate to French: Thank you very much!",
        'Translate "Good morning. How are you? Thanks!"',
        "Translate into German:\nKind regards",
        "Hello world programs print a line. Why?",
        "In the mail he wrote: hello, thanks for the help. What did he want? Give a reason.",
        "Is it polite to say thank you?",
        "He gave thanks. Was he right to do so?",
        "What does 'please' mean?",
        "There is hope.",
        "Hello!",
        "Thanks",
        "",
        "  \n",
        "🙏",
        "  What is 2 + 2?  ",
    ],
)
def test_what_isnt_manners_stays_as_it_is(text: str) -> None:
    """Words in the middle, in quotes, after a colon, or nothing but them."""
    assert without_manners(text) == text


PIECES = st.sampled_from(
    [
        *" ".join(POLITE).split(),
        ". ",
        ", ",
        "? ",
        "! ",
        ": ",
        "\n",
        "\n\n",
        " ",
        '"',
        "🙂",
        " :)",
        "mutex",
        "what is",
        "x",
    ]
)


@given(st.one_of(st.lists(PIECES, max_size=60).map("".join), st.lists(PIECES, max_size=60).map(" ".join), st.text()))
def test_it_is_a_part_of_the_text_with_words_if_there_were_any_and_stays_so(text: str) -> None:
    """Never empty, nothing changed within, and doing it again changes nothing."""
    left = without_manners(text)
    assert left in text
    assert any(map(str.isalnum, left)) or not any(map(str.isalnum, text))
    assert without_manners(left) == left


def test_a_long_text_takes_no_long_time() -> None:
    """A megabyte is looked at by its ends, be it all manners."""
    started = time.perf_counter()
    without_manners("A law of nature. " * 60_000)
    assert time.perf_counter() - started < 0.01
    without_manners("Please help me. " * 3_000)
    assert time.perf_counter() - started < 1
