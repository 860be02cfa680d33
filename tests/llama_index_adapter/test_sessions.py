"""Where a call's session is found, and in which order."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from typing import Any
from uuid import UUID

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.workflow import StartEvent

import pointsman
from llama_index.llms.pointsman import sessions as adapter
from llama_index.llms.pointsman.sessions import ConversationSpans, follow_conversations, session_of
from pointsman import InvalidRequestError, Scope, Session
from pointsman.documents.finding import find_session

_MINE = pointsman.session("mine", scope="tenant")
_dispatcher = get_dispatcher("tests")


class Engine:
    """As LlamaIndex's: it keeps a memory, and its methods open spans."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory

    @_dispatcher.span
    def chat(self, within: Any = None) -> Any:
        """What is found within a call, before and after another one."""
        before = _named()
        inner = within() if within else None
        return before if within is None else (before, inner, _named())

    @_dispatcher.span
    async def achat(self, *others: Any) -> Any:
        """The same, awaited; others have their turn in between."""
        before = _named()
        for other in others:
            await other
        await asyncio.sleep(0)
        assert _named() == before
        return before

    @_dispatcher.span
    def fail(self) -> None:
        """Fails."""
        raise LookupError(_named())

    @_dispatcher.span
    async def afail(self) -> None:
        """The same, awaited."""
        raise LookupError(_named())


class Agent:
    """As a workflow: it keeps none, but begins with one."""

    @_dispatcher.span
    def run(self, start_event: Any = None) -> Any:  # noqa: ARG002 - as a workflow's
        """What is found within."""
        return _named()


@pytest.fixture(autouse=True)
def _followed() -> None:
    follow_conversations()


def _named(given: Any = None) -> tuple[str, str] | None:
    session = session_of(given)
    return (session.id, session.scope.tenant) if session else None


def test_the_first_that_names_it_is_taken() -> None:
    """Argument, tags, memory, context: each goes before what follows it."""
    tags = {"pointsman_session": "tag", "thread_id": "thread", "session_id": "history"}
    engine = Engine(Memory.from_defaults(session_id="memory"))
    found = []
    with pointsman.session("context", scope="default"):
        with instrument_tags({**tags}):
            found.append(engine.chat(lambda: _named("argument"))[1])
        for name in list(tags):
            with instrument_tags({**tags}):
                found.append(engine.chat())
            del tags[name]
        found += [engine.chat(), _named()]
    assert [name for name, _ in found] == ["argument", "tag", "thread", "history", "memory", "context"]
    assert _named() is None


def test_a_session_stays_what_it_is() -> None:
    """A `Session` keeps its scope, wherever it stands and whatever scope is named beside it."""
    for tags, given in (({"pointsman_session": _MINE}, None), ({"pointsman_scope": "other"}, _MINE)):
        with instrument_tags(tags):
            assert session_of(given) is _MINE


@pytest.mark.parametrize("by", ["argument", "tag", "memory"])
def test_the_scope_is_named_beside_the_id(by: str) -> None:
    """By a tenant or a `Scope`, whatever names the id."""
    alice = Scope(tenant="a", principal="alice")
    for scope in ("a", alice):
        tags = {"pointsman_scope": scope} | ({"thread_id": "talk"} if by == "tag" else {})
        engine = Engine(Memory.from_defaults(session_id="talk") if by == "memory" else None)
        with instrument_tags(tags):
            _, found, _ = engine.chat(lambda: session_of("talk" if by == "argument" else None))
        assert found is not None and (found.id, found.scope.tenant) == ("talk", "a")
        assert (found.scope == alice) is (scope is alice)


def test_an_id_within_a_session_has_its_scope_and_permissions() -> None:
    """What an enclosing `with` says of the tenant and of who may see what holds for the conversations within it."""
    asked = []

    def permitted(ids: Any, scope: Scope) -> Any:
        asked.append(scope)
        return ids

    engine = Engine(Memory.from_defaults(session_id="talk"))
    with pointsman.session("request", scope="tenant-a", authorize=permitted, max_age=60.0):
        _, found, _ = engine.chat(session_of)
        with instrument_tags({"pointsman_scope": "tenant-b"}):
            _, explicit, _ = engine.chat(session_of)
    assert (found.id, found.scope) == ("talk", Scope(tenant="tenant-a"))
    assert list(found._allowed({pointsman.Document(id="1", text="A text."): 1.0})) and asked == [found.scope]
    assert explicit.scope == Scope(tenant="tenant-b") and explicit._authorize is None


def test_ids_need_not_be_strings() -> None:
    """Numbers and UUIDs name conversations too."""
    number = UUID("12345678-1234-5678-1234-567812345678")
    for named in (7, number):
        with instrument_tags({"thread_id": named}):
            assert _named() == (str(named), "default")


@pytest.mark.parametrize("wrong", [3.5, True, ["thread"], {"id": "thread"}])
def test_what_names_no_session_is_refused(wrong: Any) -> None:
    """The error shows the value and says what to give."""
    with pytest.raises(InvalidRequestError, match=r"Give a pointsman\.Session, or the id") as told:
        session_of(wrong)
    assert repr(wrong) in str(told.value)
    with instrument_tags({"pointsman_session": wrong}), pytest.raises(InvalidRequestError):
        session_of()


@pytest.mark.parametrize("other", ["", None, ("user", 7)])
def test_a_thread_that_is_no_id_is_somebody_elses(other: Any) -> None:
    """Tags of one's own may name threads as they like: no call breaks by it."""
    with instrument_tags({"thread_id": other, "session_id": "history"}):
        assert _named() == ("history", "default")
    with instrument_tags({"thread_id": other}):
        assert _named() is None


def test_memories_are_named_by_their_own_ids() -> None:
    """`session_id` of one, `chat_store_key` of the other; the same name is the same conversation."""
    for memory in (Memory.from_defaults(session_id="talk"), ChatMemoryBuffer.from_defaults(chat_store_key="talk")):
        assert Engine(memory).chat() == ("talk", "default")
        assert Agent().run(start_event=StartEvent(memory=memory)) == ("talk", "default")


def test_memories_without_a_name_are_told_apart() -> None:
    """One conversation for each object, as long as that lives; its name goes with it."""
    known = len(adapter._names)
    one, other = (ChatMemoryBuffer.from_defaults() for _ in range(2))
    names = [Engine(memory).chat() for memory in (one, other, one)]
    assert names[0] == names[2] != names[1]
    assert "chat_history" not in names[0][0]
    assert len(adapter._names) == known + 2
    del one, other
    gc.collect()
    assert len(adapter._names) == known


def test_an_agents_memory_goes_before_that_of_an_object() -> None:
    """A workflow that keeps one of its own is run with another."""

    class Both(Agent):
        _memory = Memory.from_defaults(session_id="kept")

    assert Both().run(start_event=StartEvent(memory=Memory.from_defaults(session_id="begun"))) == ("begun", "default")
    assert Both().run(start_event=StartEvent(other=1)) == ("kept", "default")
    assert Agent().run(start_event=StartEvent(memory="no memory")) is None
    assert Agent().run() is None


def test_what_keeps_something_else_as_its_memory_breaks_nothing() -> None:
    """It is no memory of LlamaIndex."""
    assert Engine({"session_id": "talk"}).chat() is None
    assert Engine(None).chat() is None


async def test_nothing_is_noted_when_it_has_ended() -> None:
    """Nor after an error."""
    engine = Engine(Memory.from_defaults(session_id="talk"))
    assert engine.chat() == await engine.achat() == ("talk", "default")
    assert adapter._conversation.get() is None
    for call in (engine.fail, engine.afail):
        with pytest.raises(LookupError, match="talk"):
            if (given := call()) is not None:
                await given
        assert adapter._conversation.get() is None


def test_conversations_within_one_another() -> None:
    """The inner one's ends, and the outer one's goes on."""
    inner, outer = (Engine(Memory.from_defaults(session_id=name)) for name in ("inner", "outer"))
    assert outer.chat(inner.chat) == (("outer", "default"), ("inner", "default"), ("outer", "default"))


async def test_conversations_at_once() -> None:
    """Each task has its own."""
    engines = [Engine(Memory.from_defaults(session_id=str(number))) for number in range(9)]
    found = await asyncio.gather(*(engine.achat(asyncio.sleep(0)) for engine in engines))
    assert found == [(str(number), "default") for number in range(9)]
    assert adapter._conversation.get() is None


def test_a_span_that_ends_elsewhere_breaks_nothing() -> None:
    """A context variable can't be reset from another context; what was noted in that one is gone with it."""
    spans, engine = ConversationSpans(), Engine(Memory.from_defaults(session_id="talk"))
    nothing: Any = type("Bound", (), {"arguments": {}})
    contextvars.copy_context().run(spans.span_enter, "1", nothing, engine)
    assert adapter._conversation.get() is None
    spans.span_exit("1", nothing, engine)
    spans.span_drop("1", nothing, engine)
    assert spans._noted == {}


def test_it_follows_once_and_keeps_no_spans() -> None:
    """However many LLMs there are."""
    for _ in range(3):
        follow_conversations()
    (mine,) = [one for one in get_dispatcher("root").span_handlers if isinstance(one, ConversationSpans)]
    Engine(Memory.from_defaults(session_id="talk")).chat()
    assert (mine.open_spans, mine.completed_spans, mine.dropped_spans, mine._noted) == ({}, [], [], {})


def test_it_follows_beside_other_handlers() -> None:
    """Those that were there, and those that are set later: `span_handlers` is everybody's."""
    root, other = get_dispatcher("root"), SimpleSpanHandler()
    root.add_span_handler(other)
    try:
        assert Engine(Memory.from_defaults(session_id="talk")).chat() == ("talk", "default")
        assert len(other.completed_spans) == 1
    finally:
        root.span_handlers.remove(other)


def test_a_session_is_the_same_for_all_that_name_it() -> None:
    """What one registers another finds: sessions are known by id and scope, here and in any other adapter."""
    first = session_of("shared")
    second = find_session(None, (), ["shared"])
    assert isinstance(first, Session) and isinstance(second, Session)
    try:
        first.register([pointsman.Document(id="1", text="A text that is long enough to be looked for at all.")])
        assert second.snapshot() == first.snapshot() is not None
    finally:
        first.close()
