"""What an engine of the local endpoint is: it counts tokens, reads a prompt and generates.

An engine knows neither HTTP nor Bedrock's rules nor time: the server tells it which prefix it may restore,
which ones it must keep, and when to forget them. `extract.py` and `llama.py` are the two that ship.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pointsman.errors import PointsmanError

Section = Literal["tools", "system", "messages"]
FinishReason = Literal["end_turn", "tool_use", "max_tokens", "stop_sequence"]
Progress = Callable[[int, int], None]
"""Called with (tokens of the prompt processed, tokens of the prompt in all) while a prompt is read.

It may raise `GenerationCancelled`, because the client has gone: an engine cleans up and lets it pass.
"""


class EngineError(PointsmanError):
    """The engine could not do its work; the server answers with ModelErrorException."""


class GenerationCancelled(EngineError):
    """The client has gone; raised by the progress callback, never by an engine of itself."""


class PromptTooLongError(EngineError):
    """The prompt does not fit the engine's context; the server answers with ValidationException."""

    def __init__(self, *, tokens: int, limit: int) -> None:
        super().__init__(f"the prompt has {tokens} tokens; the engine takes {limit}. Shorten the prompt.")
        self.tokens = tokens
        self.limit = limit


class EngineUnavailableError(EngineError):
    """The engine cannot start: its runtime or its weights are missing. The message names the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedBlock:
    """One block of a prompt as neutral text: a PDF's text, a tool's JSON, a tool call's name and input.

    `kind` is the block kind of the catalogue ("text", "pdf", "tool_result", ...). `message` is the index of
    the message that holds the block, None in tools and system; the block whose `message` differs from the
    one before it opens that message, and any markup of the message belongs to it.
    """

    section: Section
    kind: str
    text: str
    role: str | None = None
    message: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The first `blocks` blocks of a prompt, kept under an opaque key (one per model id and content)."""

    blocks: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePrompt:
    """A prompt ready to be read.

    `read` was kept earlier: restore it, don't recompute it. If it is gone all the same, compute it. Nothing
    but `read` may be reused. `write` must be kept by the time the first event is out, shortest first.
    `tools` are toolSpecs, `tool_choice` is Converse's toolChoice, `output_schema` a JSON schema.
    """

    model_id: str
    blocks: tuple[RenderedBlock, ...]
    read: Prefix | None = None
    write: tuple[Prefix, ...] = ()
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPiece:
    """Generated text, as it comes."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A whole tool call: name and arguments. The server gives it an id."""

    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The last event: why generation ended, and the output tokens by the engine's own tokenizer."""

    reason: FinishReason
    output_tokens: int


EngineEvent = TextPiece | ToolCall | Finish


class Engine(Protocol):
    """Something that can stand behind a model id. Methods are called from several threads at once."""

    @property
    def name(self) -> str:
        """The engine's name on the command line, for example "extract"."""

    @property
    def instant(self) -> bool:
        """Whether a short prompt takes so little time that a thread of its own would cost more."""

    def count(self, blocks: Sequence[RenderedBlock], *, model_id: str) -> list[int]:
        """Tokens of each block by this engine's tokenizer; a block's count may depend on those before it,
        never on those behind it."""

    def generate(self, prompt: EnginePrompt, *, progress: Progress) -> Generator[EngineEvent, None, None]:
        """Reads the prompt, then yields pieces and tool calls, and a `Finish` at the end.

        Raises `PromptTooLongError` before the first event. Closing the generator stops the generation.
        """

    def forget(self, key: str) -> None:
        """Deletes what was kept under this key; a key that is unknown is no error."""

    def close(self) -> None:
        """Ends the engine and deletes all that it kept."""
