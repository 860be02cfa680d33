"""What it costs to find registered texts in a request: `python benchmarks/lift.py [--rounds 200]`.

Prints milliseconds for prompts in which each of the documents stands once, beside plain `str.find` of each (of each
form that a text may have, in tool results), and what one document costs to register and to remove.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import string
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pointsman.documents.lift import Texts

LATIN = string.ascii_lowercase
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
CHINESE = "".join(map(chr, range(0x4E00, 0x4E00 + 800)))
BEGINNING = "file_path: /data/handbook.pdf\n\n"
LETTERHEAD = "file_path: /data/handbook.pdf\n\n" + "Confidential. For internal use of the company only. " * 20


class Case(NamedTuple):
    """A prompt, the documents in it, and what one has to search for without an index."""

    name: str
    request: Mapping[str, Any]
    documents: Sequence[str]
    haystack: str
    forms: Sequence[str]


def prose(chance: random.Random, characters: int, letters: str = LATIN) -> str:
    """Words of a vocabulary in which few are frequent, with full stops and paragraphs."""
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(2_000)]
    weights = [1 / rank for rank in range(1, 2_001)]
    text = " ".join(
        word + chance.choices(("", ".", ",", ".\n\n", ' "so"'), (85, 5, 5, 3, 2))[0]
        for word in chance.choices(words, weights, k=characters // 4)
    )
    return text[:characters]


def form(chance: random.Random, number: int, size: int) -> str:
    """One of many documents that say the same, but for a number of six digits somewhere."""
    words = prose(random.Random(7), size - 6).split(" ")
    words[chance.randrange(len(words))] = f"{number:06d}"
    return " ".join(words)


def table(chance: random.Random, size: int) -> str:
    """Lines that differ in a few digits."""
    lines = (f"2024-01-{line % 31 + 1:02d},ok,0.00,{chance.randint(0, 99)}" for line in range(size // 22))
    return "\n".join(lines)


def texts_of(kind: str, count: int, size: int) -> list[str]:
    """Documents of about so many bytes."""
    chance = random.Random(kind)
    if kind == "near-identical forms":
        return [form(chance, number, size).strip() for number in range(count)]
    if kind == "tables":
        return [table(chance, size).strip() for _ in range(count)]
    letters, beginning, bytes_per_character = {
        "ASCII prose": (LATIN, "", 1),
        "shared beginning": (LATIN, BEGINNING, 1),
        "shared letterhead": (LATIN, LETTERHEAD[: size // 2], 1),
        "Cyrillic": (CYRILLIC, "", 1.8),
        "Chinese": (CHINESE, "", 2.6),
        "mostly ASCII": (LATIN * 8 + "éü—", "", 1),
        "JSON in tool results": (LATIN, BEGINNING, 1),
        "JSON in tool results, \\u": (CYRILLIC, "", 5),
    }[kind]
    rest = int((size - len(beginning)) / bytes_per_character)
    return [(beginning + prose(chance, rest, letters)).strip() for _ in range(count)]


def case(kind: str, count: int, size: int) -> Case:
    """A prompt of so many bytes; half of it, or nearly, is other text of the same kind."""
    texts = texts_of(kind, count * 2, size // (count * 2) - 30)
    documents = texts[:count]
    forms: Sequence[str] = documents
    random.Random(1).shuffle(texts)
    if kind.startswith("JSON"):
        ascii_only = kind.endswith("u")
        haystack = json.dumps(
            [{"id": place, "text": text} for place, text in enumerate(texts)], ensure_ascii=ascii_only
        )
        haystack = cut(haystack, size)
        forms = [json.dumps(text, ensure_ascii=escaped)[1:-1] for text in documents for escaped in (True, False)]
        result = {"toolUseId": "1", "content": [{"text": haystack}]}
        messages = [{"role": "user", "content": [{"toolResult": result}]}]
        return Case(kind, {"messages": messages}, documents, haystack, [*documents, *forms])
    haystack = cut("\n\n---\n\n".join(texts), size)
    request = {"system": [{"text": haystack}], "messages": [{"role": "user", "content": [{"text": "And what of it?"}]}]}
    return Case(kind, request, documents, haystack, forms)


def cut(text: str, size: int) -> str:
    """At most so many bytes of the text."""
    return text.encode()[:size].decode(errors="ignore")


def milliseconds(call: Callable[[], object], rounds: int) -> list[float]:
    """What each of many calls took."""
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def spread(times: Sequence[float]) -> str:
    """The median and the 95th percentile."""
    return f"{statistics.median(times):8.3f} {statistics.quantiles(times, n=20)[-1]:8.3f}"


def found_by_find(one: Case) -> int:
    """Passages that a search for each text finds."""
    return sum(one.haystack.find(text) >= 0 for text in one.forms)


def report(one: Case, rounds: int) -> str:
    """A line of figures."""
    texts = Texts()
    for number, document in enumerate(one.documents):
        texts.add(str(number).encode(), document)
    passages = len(texts.find(one.request))
    ours = milliseconds(lambda: texts.find(one.request), rounds)
    plain = milliseconds(lambda: found_by_find(one), max(20, rounds // 10))
    add, remove = registering(texts, one.documents)
    size = len(one.haystack.encode()) // 1000
    row = f"{one.name:26} {len(one.documents):4} {size:4} KB {passages:4}"
    return f"{row}  {spread(ours)}  {spread(plain)}  {add:6.1f} {remove:6.1f}"


def registering(texts: Texts, documents: Sequence[str]) -> tuple[float, float]:
    """Median microseconds to add and to remove one of the documents beside the others."""
    adds, removes = [], []
    for number, document in enumerate(documents):
        key = str(number).encode()
        start = time.perf_counter()
        texts.remove(key)
        middle = time.perf_counter()
        texts.add(key, document)
        removes.append((middle - start) * 1e6)
        adds.append((time.perf_counter() - middle) * 1e6)
    return statistics.median(adds), statistics.median(removes)


KINDS = (
    "ASCII prose",
    "shared beginning",
    "shared letterhead",
    "near-identical forms",
    "tables",
    "mostly ASCII",
    "Cyrillic",
    "Chinese",
    "JSON in tool results",
    "JSON in tool results, \\u",
)


def main() -> None:
    """Print the figures of every kind of prompt, in both sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    print(f"{'':26} docs   size found   find ms: p50, p95   str.find: p50, p95    add us, remove us")
    for count, size in ((100, 400_000), (10, 20_000)):
        for kind in KINDS:
            print(report(case(kind, count, size), rounds))


if __name__ == "__main__":
    main()
