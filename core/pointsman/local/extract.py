"""The engine `extract`: instant and deterministic. It answers with sentences of the prompt, and invents nothing.

Its answers are a stand-in for a model's: the sentences that share the most words with the question, rare words
counting more. It calls a tool that is forced or plainly asked for (`instances.py` fills the arguments), and gives an
instance of an output schema. Reading is free for it, so that a cache read is not faster than a miss.

A token is a run of at most six letters, a run of at most three digits, or one other visible character: about four
characters of English. A block that opens a message counts four more, for the markup a chat model would need.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from math import fsum, log
from typing import Any, Final

import orjson

from pointsman.local.engines import (
    EngineEvent,
    EnginePrompt,
    Finish,
    FinishReason,
    Progress,
    RenderedBlock,
    TextPiece,
    ToolCall,
)
from pointsman.local.instances import instance_of

MESSAGE_MARKUP_TOKENS: Final = 4
NOTHING_FOUND: Final = "The extract engine found no sentence in the prompt that answers this."
_TOKEN: Final = re.compile(r"[^\W\d_]{1,6}|\d{1,3}|[^\w\s]|_")
_WORD: Final = re.compile(r"[^\W_]+")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_NAME_PART: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_COMMON: Final = frozenset(
    _WORD.findall(
        "a an and any are as at be by call can do does for from get give has have how i if in is it its list me my "
        "of on or our please run set that the their them then there this to tool us use was what when which who "
        "will with you your"
    )
)
_ANSWER_SENTENCES: Final = 2
_QUESTION_CHARACTERS: Final = 600
_TOKENS_PER_PIECE: Final = 8


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is known of one text: kept, because conversations repeat their blocks in every request."""

    sentences: tuple[str, ...]
    words: tuple[frozenset[str], ...]


class ExtractEngine:
    """See the module. It keeps the readings of the texts that it saw last, bounded by their characters."""

    name = "extract"
    instant = True

    def __init__(self, *, kept_characters: int = 16_000_000) -> None:
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._readings: OrderedDict[str, _Reading] = OrderedDict()
        self._characters = 0
        self._bound = kept_characters
        self._lock = threading.Lock()

    def count(self, blocks: Sequence[RenderedBlock], *, model_id: str) -> list[int]:  # noqa: ARG002 - one tokenizer
        """Tokens of each block by the rule of the module."""
        counts = []
        message = None
        for block in blocks:
            opens = block.message is not None and block.message != message
            message = block.message
            counts.append(self._count(block.text) + MESSAGE_MARKUP_TOKENS * opens)
        return counts

    def generate(self, prompt: EnginePrompt, *, progress: Progress) -> Generator[EngineEvent, None, None]:
        """Calls tools, gives an instance of the output schema, or answers from the prompt."""
        total = sum(self.count(prompt.blocks, model_id=prompt.model_id))
        progress(total, total)
        question = _question(prompt.blocks)
        calls = [
            ToolCall(name=tool["name"], input=_arguments(tool, question)) for tool in _tools_to_call(prompt, question)
        ]
        if calls:
            yield from calls
            written = sum(count_tokens(call.name) + count_tokens(orjson.dumps(call.input).decode()) for call in calls)
            yield Finish(reason="tool_use", output_tokens=written)
            return
        answer = self._answer(prompt.blocks, question)
        if prompt.output_schema is not None:
            answer = orjson.dumps(instance_of(prompt.output_schema, question, filler=answer)).decode()
        yield from _pieces(answer, prompt)

    def forget(self, key: str) -> None:
        """Keeps nothing by key, so there is nothing to forget."""

    def close(self) -> None:
        """Forgets all readings."""
        with self._lock:
            self._counts.clear()
            self._readings.clear()
            self._characters = 0

    def _count(self, text: str) -> int:
        if len(text) < 256:
            return count_tokens(text)
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        known = self._counts.get(key)
        if known is None:
            known = count_tokens(text)
            with self._lock:
                self._counts[key] = known
                if len(self._counts) > 65_536:
                    self._counts.popitem(last=False)
        return known

    def _answer(self, blocks: Sequence[RenderedBlock], question: str) -> str:
        """The best sentences, in the order of the prompt."""
        readings = [self._reading(block.text) for block in _sources(blocks, question)]
        weights = _weights(_words(question), readings)
        scored = [
            (_score(words, weights), -position, sentence)
            for position, (sentence, words) in enumerate(
                pair for reading in readings for pair in zip(reading.sentences, reading.words, strict=True)
            )
            if sentence not in question
        ]
        best = [one for one in nlargest(_ANSWER_SENTENCES, scored) if one[0] > 0]
        best.sort(key=lambda one: -one[1])
        return " ".join(sentence for _, _, sentence in best) or NOTHING_FOUND

    def _reading(self, text: str) -> _Reading:
        with self._lock:
            if (known := self._readings.get(text)) is not None:
                self._readings.move_to_end(text)
                return known
        sentences = tuple(one.strip() for one in _SENTENCE_END.split(text) if len(one.split()) > 2)
        reading = _Reading(sentences=sentences, words=tuple(_words(one) for one in sentences))
        with self._lock:
            if text not in self._readings:
                self._characters += len(text)
            self._readings[text] = reading
            while self._characters > self._bound and len(self._readings) > 1:
                self._characters -= len(self._readings.popitem(last=False)[0])
        return reading


def count_tokens(text: str) -> int:
    """Tokens of a text by the rule of the module."""
    return len(_TOKEN.findall(text))


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in _WORD.findall(text.lower()) if word not in _COMMON)


def _weights(asked: frozenset[str], readings: Sequence[_Reading]) -> dict[str, float]:
    """How telling each word of the question is: the rarer among the sentences, the more."""
    sentences = [words for reading in readings for words in reading.words]
    common = Counter(word for words in sentences for word in words & asked)
    return {word: log(1 + len(sentences) / times) for word, times in common.items()}


def _score(words: frozenset[str], weights: Mapping[str, float]) -> float:
    # fsum: the order of a set differs between processes, and the score must not.
    return fsum(weights[word] for word in words if word in weights) / (8 + len(words))


def _question(blocks: Sequence[RenderedBlock]) -> str:
    """The last text of the user; of a long one, which holds its own context, the last lines."""
    asked = next((block.text for block in reversed(blocks) if block.role == "user" and block.kind == "text"), "")
    if len(asked) <= _QUESTION_CHARACTERS:
        return asked
    lines = [line for line in asked.splitlines() if line.strip()] or [asked]
    return lines[-1][-_QUESTION_CHARACTERS:]


def _sources(blocks: Sequence[RenderedBlock], question: str) -> list[RenderedBlock]:
    """Where answers are looked for: in what is not the conversation itself, if there is any such thing."""
    others = [
        block for block in blocks if block.section != "tools" and block.role != "assistant" and block.text != question
    ]
    material = [block for block in others if block.kind != "text" or _is_material(block)]
    return material or others


def _is_material(block: RenderedBlock) -> bool:
    return block.section == "system" or len(block.text) > _QUESTION_CHARACTERS


def _tools_to_call(prompt: EnginePrompt, question: str) -> list[Mapping[str, Any]]:
    choice = prompt.tool_choice or {"auto": {}}
    if "tool" in choice:
        return [tool for tool in prompt.tools if tool["name"] == choice["tool"]["name"]]
    answered = bool(prompt.blocks) and any(
        block.kind == "tool_result" and block.message == prompt.blocks[-1].message for block in prompt.blocks
    )
    asked_for = [tool for tool in prompt.tools if _is_asked_for(tool, _words(question))]
    if "any" in choice:
        return asked_for or list(prompt.tools[:1])
    return [] if answered else asked_for


def _is_asked_for(tool: Mapping[str, Any], asked: frozenset[str]) -> bool:
    """Whether the question holds all the telling words of the tool's name, or two of its description."""
    name = {part.lower() for part in _NAME_PART.findall(tool["name"])} - _COMMON
    described = _words(tool.get("description", ""))
    return (bool(name) and name <= asked) or len(described & asked) >= 2


def _arguments(tool: Mapping[str, Any], question: str) -> Mapping[str, Any]:
    schema = tool["inputSchema"].get("json", {})
    filled = instance_of(schema if isinstance(schema, Mapping) else {}, question, required_only=True)
    return filled if isinstance(filled, dict) else {}


def _pieces(answer: str, prompt: EnginePrompt) -> Iterator[EngineEvent]:
    """The answer, cut at the first stop sequence and at the tokens allowed, a few tokens at a time."""
    reason: FinishReason = "end_turn"
    stops = [at for stop in prompt.stop if (at := answer.find(stop)) >= 0]
    if stops:
        answer, reason = answer[: min(stops)], "stop_sequence"
    ends = [match.end() for match in _TOKEN.finditer(answer)]
    if len(ends) > prompt.max_tokens:
        ends, reason = ends[: prompt.max_tokens], "max_tokens"
        answer = answer[: ends[-1]]
    start = 0
    for end in [*ends[_TOKENS_PER_PIECE - 1 : -1 : _TOKENS_PER_PIECE], len(answer)]:
        if end > start:
            yield TextPiece(text=answer[start:end])
        start = end
    yield Finish(reason=reason, output_tokens=len(ends))
