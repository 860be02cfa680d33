"""What holds of every conversation about documents, on random ones: shared by the tests and by the benchmark.

Two tenants talk side by side through one client, under the same session id, about documents of the same ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import botocore.session
from botocore.validate import ParamValidator
from hypothesis import strategies as st
from talks import CLAUDE, INSTRUCTIONS, LLAMA, NOVA, Account, Request, blocks_of, extends, said

from pointsman import Client, Document
from pointsman.documents.laying import GIVEN_BELOW
from pointsman.documents.recurrence import Recurrence, Standing
from pointsman.documents.sessions import Session, Sessions

TENANTS = ("a", "b")
_NUMBERS = st.lists(st.integers(0, 6), max_size=4)
_LABEL = re.compile(
    rf"\[document \d+\](?:,| and:)?|\[given above: [^\]]*\]|Documents for this question:|{re.escape(GIVEN_BELOW)}"
)
_TOOLS = {"tools": [{"toolSpec": {"name": "search", "inputSchema": {"json": {"type": "object"}}}}]}
_COLD_SECONDS = 4_000.0


class Step(NamedTuple):
    """What a user, or what stands between him and the model, does next.

    `does`: ask, quote, retry, regenerate, edit, go back, trim, condense, condense the history, pause, restart.
    """

    tenant: str
    does: str
    numbers: tuple[int, ...]


class Course(NamedTuple):
    """A model, where a template puts documents, and the steps of both tenants.

    `sure`: passages of this knowledge base always come back, so that they stay from the first on.
    """

    model: str
    shape: str
    sure: bool
    steps: tuple[Step, ...]


SHAPES = ("message", "system", "both", "agent", "tool", "json", "guarded", "message kept")
_DOES = (
    *("ask",) * 8,
    *(
        "quote",
        "retry",
        "regenerate",
        "edit",
        "go back",
        "trim",
        "condense",
        "condense the history",
        "pause",
        "restart",
    ),
)
# Who quotes a document where a template puts them into his message seems to keep them in his history.
_QUOTED_IN = ("system", "agent", "tool", "json")
courses = st.builds(
    Course,
    model=st.sampled_from([CLAUDE, CLAUDE, NOVA, LLAMA]),
    shape=st.sampled_from(SHAPES),
    sure=st.booleans(),
    steps=st.lists(
        st.builds(Step, st.sampled_from("aab"), st.sampled_from(_DOES), _NUMBERS.map(tuple)), min_size=1, max_size=14
    ).map(tuple),
)


@cache
def text_of(tenant: str, number: int) -> str:
    """A passage of a tenant, with what JSON escapes in it, and white space around it."""
    body = " ".join(f'Rule "{number}.{line}" of {tenant}: wait\tat post {line * 7}.' for line in range(12 + 8 * number))
    return f"\n  Notice {number} to {tenant}.\n{body}\n"


class _Branch(NamedTuple):
    """A conversation as it is remembered, the last request for it, and when nothing of it had been cut."""

    history: list[Request]
    before: Request | None
    era: int


class _Side:
    """One tenant's conversation."""

    def __init__(self, tenant: str, session: Session) -> None:
        self.tenant = tenant
        self.session = session
        self.history: list[Request] = []
        self.held: set[int] = set()
        self.before: Request | None = None
        self.asked: tuple[Request, tuple[int, ...]] | None = None
        self.turn = 0
        self.question = ""
        self.earlier: _Branch | None = None
        self.other: _Branch | None = None


class Conversations:
    """Plays a course, and checks each request that is sent."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.account = Account()
        self.checked = 0
        self._traces: list[Any] = []
        self.client = Client(self.account, clock=lambda: self.account.now, on_trace=self._traces.append)
        self._era = 0
        if course.sure:
            self.client.context = replace(self.client.context, recurrence=Recurrence(_belief()))
        sessions = Sessions(idle_seconds=1e9)  # A session that ended knows nothing of what it laid.
        self.sides = {name: _Side(name, sessions.open("the same", scope=name, max_age=None)) for name in TENANTS}

    def play(self) -> None:
        """All steps."""
        for step in self.course.steps:
            side = self.sides[step.tenant]
            self.account.now += 30.0
            getattr(self, f"_{step.does.replace(' ', '_')}")(side, step.numbers)

    def _ask(self, side: _Side, numbers: Sequence[int], question: str = "") -> None:
        side.turn += 1
        side.question = question or f"Question {side.turn}, please?"
        side.earlier = self._branch(side)
        loop: list[Request] = []
        # In an agent's system prompt more documents may stand at the next step of its loop.
        for shown in (numbers[: len(numbers) // 2], numbers) if self.course.shape == "agent" else (numbers,):
            request = self._written(side, shown, loop)
            side.asked = request, tuple(shown)
            self._send(side, request, shown)
            loop = _searched(side.turn, ["Nothing."])
        self._remember(side, request)

    def _branch(self, side: _Side) -> _Branch:
        return _Branch(side.history, side.before, self._era)

    def _return_to(self, side: _Side, branch: _Branch) -> None:
        side.history, side.before = branch.history, branch.before if branch.era == self._era else None

    def _quote(self, side: _Side, numbers: Sequence[int]) -> None:
        quoted = min(side.held, default=None)
        if quoted is not None and self.course.shape in _QUOTED_IN:
            self._ask(side, numbers, f"What does {side.turn} mean: {text_of(side.tenant, quoted).strip()} Well?")

    def _retry(self, side: _Side, numbers: Sequence[int]) -> None:  # noqa: ARG002 - every step takes it
        if side.asked is None:
            return
        first = side.before
        request, before = side.asked
        was_laid = self._traces[-1].documents if self._traces else None
        self._send(side, request, before)
        if first is not None and was_laid is not None and self._last_of is side:
            assert blocks_of(side.before or {}) == blocks_of(first)

    def _regenerate(self, side: _Side, numbers: Sequence[int]) -> None:
        if side.earlier is not None:
            self._return_to(side, side.earlier)
            side.other = None
            self._ask(side, numbers, side.question)

    def _edit(self, side: _Side, numbers: Sequence[int]) -> None:
        if side.earlier is not None:
            side.other = self._branch(side)
            self._return_to(side, side.earlier)
            self._ask(side, numbers, f"{side.question} Really?")

    def _go_back(self, side: _Side, numbers: Sequence[int]) -> None:
        if side.other is not None:
            left, side.other = side.other, self._branch(side)
            self._return_to(side, left)
            self._ask(side, numbers)

    def _trim(self, side: _Side, numbers: Sequence[int]) -> None:
        starts = [index for index, one in enumerate(side.history) if _begins(one)]
        side.history = side.history[starts[1] :] if len(starts) > 1 else []
        side.before = side.earlier = side.other = None
        self._ask(side, numbers)

    def _condense(self, side: _Side, numbers: Sequence[int]) -> None:  # noqa: ARG002
        self._as_written(side, {"messages": [said("user", f"Ask by itself: {side.turn}. {INSTRUCTIONS}")]})

    def _condense_the_history(self, side: _Side, numbers: Sequence[int]) -> None:  # noqa: ARG002
        if self.course.shape in ("message", "system"):
            messages = [*side.history, said("user", "Make a question of its own of it.")]
            self._as_written(side, {"system": [{"text": INSTRUCTIONS}], "messages": messages})

    def _pause(self, side: _Side, numbers: Sequence[int]) -> None:
        self.account.now += _COLD_SECONDS
        self._begin_an_era()
        self._ask(side, numbers)

    def _restart(self, side: _Side, numbers: Sequence[int]) -> None:
        """Another process goes on with what was told of the session: the last of its branches."""
        told = side.session.snapshot()
        side.session = Sessions(idle_seconds=1e9).open("the same", scope=side.tenant, max_age=None)
        assert told is None or side.session.restore(json.loads(json.dumps(told)))
        side.earlier = side.other = None
        self._ask(side, numbers)

    def _begin_an_era(self) -> None:
        self._era += 1
        for side in self.sides.values():
            side.before = None

    def _as_written(self, side: _Side, request: Request) -> None:
        self.client.converse(modelId=self.course.model, **request, session=side.session)
        assert blocks_of(self.account.requests[-1]) == blocks_of(request)

    def _written(self, side: _Side, numbers: Sequence[int], loop: Sequence[Request]) -> Request:
        texts, shape = [text_of(side.tenant, number) for number in numbers], self.course.shape
        question = side.question
        system = f"{INSTRUCTIONS}\n\nContext:\n\n" + "\n\n".join(texts) + "\n\nAnswer by it."
        content = [{"text": "\n\n".join(["Context:", *(text.strip() for text in texts), question])}]
        request: Request = {"system": [{"text": system if shape in ("system", "both", "agent") else INSTRUCTIONS}]}
        messages = [*side.history, {"role": "user", "content": content}]
        if shape in ("system", "agent"):
            messages[-1] = said("user", question)
        elif shape == "guarded":
            guarded = [{"guardContent": {"text": {"text": text}}} for text in texts]
            messages[-1] = {"role": "user", "content": [*guarded, {"text": question}]}
        elif shape in ("tool", "json"):
            messages[-1] = said("user", question)
            messages += _searched(side.turn, [json.dumps({"found": texts})] if shape == "json" else texts)
        if shape in ("tool", "json", "agent"):
            request["toolConfig"] = _TOOLS
        return {**request, "messages": [*messages, *loop]}

    def _send(self, side: _Side, request: Request, numbers: Sequence[int]) -> None:
        space = "\n" * (side.turn % 3)  # A text is the same with more white space around it.
        found = [
            Document(id=str(number), text=text_of(side.tenant, number) + space, knowledge_base="all")
            for number in numbers
        ]
        side.session.register(found)
        untouched = deepcopy(request)
        self.client.converse(modelId=self.course.model, **request, session=side.session)
        assert request == untouched, "the caller's request was changed"
        trace, sent = self._traces[-1], self.account.requests[-1]
        assert trace.advice_failures == ()
        held_now = {number for number in range(7) if _times(request, side.tenant, number)}
        side.held |= held_now
        self._check(side, request, sent, held_now)
        laid = trace.documents if trace.documents is not None and trace.documents.as_written is None else None
        if laid is not None and laid.cut:
            self._begin_an_era()
        elif laid is not None and side.before is not None and self._goes_on(sent, side.before):
            assert extends(sent, side.before), "what was cached is not extended"
        # Of an agent whose first prompts got no point, documents are laid for the question only.
        stays = laid is not None and not (self.course.shape == "agent" and laid.loose)
        # A point in guarded documents writes nothing: it reads what an earlier try wrote, which could not be laid.
        stays = stays and not (self.course.shape == "guarded" and _has_point(sent["messages"][-1]))
        side.before, self._last_of = sent if stays else None, side
        self.checked += 1

    def _goes_on(self, sent: Request, before: Request) -> bool:
        """Where a template fills the system prompt without any document, its head is another."""
        return sent["system"][0] == before["system"][0]

    def _check(self, side: _Side, request: Request, sent: Request, held_now: set[int]) -> None:
        laid = self._traces[-1].documents
        if self.course.model != LLAMA and self.course.shape != "guarded":
            assert laid is None or "exactly once" not in str(laid.as_written), "a prompt that could not be laid"
        for number in range(7):
            times = _times(sent, side.tenant, number)
            assert (
                times <= 1
                or (laid is not None and laid.as_written is not None)
                or times == _times(request, side.tenant, number) != 1
            ), f"document {number} stands {times} times"
            assert number not in held_now or times >= 1, f"document {number} is gone"
            assert number in side.held or not times, f"document {number} was never held"
        others = [name for name in TENANTS if name != side.tenant]
        assert not any(f"to {other}." in text for other in others for text in _strings(sent)), "another tenant's"
        assert [one["role"] for one in sent["messages"]] == [one["role"] for one in request["messages"]]
        for mine, laid_one in zip(_parts(request), _parts(sent), strict=True):
            assert _in_order(_words(mine, side.tenant), _words(laid_one, side.tenant)), "the caller's words are lost"
        report = ParamValidator().validate(sent, _shape())
        assert not report.has_errors(), report.generate_report()

    def _remember(self, side: _Side, request: Request) -> None:
        question = said("user", side.question)
        if self.course.shape == "message kept":
            question = request["messages"][-1]
        loop = request["messages"][len(side.history) + 1 :] if self.course.shape in ("tool", "json", "agent") else []
        side.history = [*side.history, question, *loop, said("assistant", f"Answer {side.turn} to {side.tenant}.")]


def documents_are_laid_lawfully(course: Course) -> int:
    """Every law, at every request of a course; how many were checked."""
    conversations = Conversations(course)
    conversations.play()
    return conversations.checked


@cache
def _belief() -> Mapping[Standing, Sequence[float]]:
    standings = {Standing.at(times, ago, turn) for times in range(1, 5) for ago in range(3) for turn in range(8)}
    return dict.fromkeys(standings, (10_000.0, 10_000.0))


@cache
def _shape() -> Any:
    return botocore.session.Session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape


def _has_point(message: Request) -> bool:
    return any("cachePoint" in block for block in message["content"])


def _begins(message: Request) -> bool:
    return message["role"] == "user" and "toolResult" not in message["content"][0]


def _searched(turn: int, texts: Sequence[str]) -> list[Request]:
    used = {"toolUse": {"toolUseId": f"t{turn}", "name": "search", "input": {}}}
    result = {"toolUseId": f"t{turn}", "content": [{"text": text} for text in (*texts, "That is all.")]}
    return [{"role": "assistant", "content": [used]}, {"role": "user", "content": [{"toolResult": result}]}]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for one in value.values() for text in _strings(one))
    elif isinstance(value, list | tuple):
        yield from (text for one in value for text in _strings(one))


def _times(request: Request, tenant: str, number: int) -> int:
    """How often a document stands in what is said, plain or escaped."""
    text = text_of(tenant, number).strip()
    forms = (text, json.dumps(text)[1:-1])
    return sum(one.count(form) for part in _parts(request) for one in _strings(part) for form in forms)


def _parts(request: Request) -> list[Any]:
    return [request.get("system") or [], *(message["content"] for message in request["messages"])]


def _words(part: Any, tenant: str) -> list[str]:
    """What the caller says in a message or in the system prompt, without documents and what stands for them."""
    said_there = "\n".join(_strings(part))
    for number in range(6, -1, -1):
        text = text_of(tenant, number).strip()
        for form in (text, json.dumps(text)[1:-1]):
            said_there = said_there.replace(form, " ")
    return _LABEL.sub(" ", said_there).replace("\\n", " ").replace("  ", " ").split()


def _in_order(words: Sequence[str], among: Sequence[str]) -> bool:
    rest = iter(among)
    return all(word in rest for word in words)
