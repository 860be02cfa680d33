"""Conversations with a model that is not there: an account in boto3's place, documents, and templates.

Shared by the tests of documents, and by `benchmarks/documents_integrity.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from pointsman import Catalog, Client, Document, Prompt, Session, Trace
from pointsman.documents.sessions import Sessions
from pointsman.evaluation.billing import BillingSimulator
from pointsman.tokens import EstimatedTokens

CLAUDE = "us.anthropic.claude-sonnet-5"
NOVA = "amazon.nova-pro-v1:0"
LLAMA = "meta.llama3-1-70b-instruct-v1:0"
T0 = 1_800_000_000.0
INSTRUCTIONS = (
    "You answer questions of travellers by the documents that come with them, and say where you don't know. " * 60
)
Request = dict[str, Any]


def text_of(number: int) -> str:
    """A passage of some 200 tokens that is like no other."""
    return f"Notice {number}. " + " ".join(f"Rule {number}.{line}: wait at post {line * 7}." for line in range(30))


def document(number: int, **members: Any) -> Document:
    """A document whose id is its number."""
    return Document(id=str(number), text=members.pop("text", text_of(number)), knowledge_base="notices", **members)


def said(role: str, *texts: str) -> Request:
    """A message of texts."""
    return {"role": role, "content": [{"text": text} for text in texts]}


def in_message(question: str, texts: Sequence[str]) -> Request:
    """The system prompt and the last message, with the documents in the message."""
    return {"system": [{"text": INSTRUCTIONS}], "asked": said("user", "\n\n".join(["Context:", *texts, question]))}


def in_system(question: str, texts: Sequence[str]) -> Request:
    """The same with the documents in the system prompt."""
    context = "\n\n".join(texts)
    return {
        "system": [{"text": f"{INSTRUCTIONS}\n\nHere they are:\n\n{context}\n\nAnswer by them."}],
        "asked": said("user", question),
    }


SHAPES = (in_message, in_system)


class Account:
    """Takes requests as boto3's client does; bills them as the simulator does. Its clock is moved by who sends."""

    def __init__(self) -> None:
        self.now = T0
        self.requests: list[Request] = []
        self.refuse: Exception | None = None
        self._simulator = BillingSimulator()
        self._catalog = Catalog.default()

    def converse(self, **request: Any) -> Request:
        """The usage that Bedrock would tell, and a short answer."""
        if self.refuse is not None:
            raise self.refuse
        self.requests.append(deepcopy(request))
        outline = Prompt(request).outline(EstimatedTokens(), key=b"the account's own")
        usage = self._simulator.bill(outline, outline.points, self._catalog.resolve(request["modelId"]), self.now)
        return {
            "usage": {
                "inputTokens": usage.uncached_tokens,
                "outputTokens": 9,
                "cacheReadInputTokens": usage.cache_read_tokens,
                "cacheWriteInputTokens": usage.cache_write_tokens,
                "cacheDetails": [{"ttl": "1h", "inputTokens": usage.cache_write_1h_tokens}],
            },
            "stopReason": "end_turn",
            "output": {"message": said("assistant", f"Answer {len(self.requests)}.")},
        }


class Talk:
    """One user's conversation: his session, his history, and what was sent for it."""

    def __init__(
        self,
        *,
        shape: Callable[[str, Sequence[str]], Request] = in_message,
        model: str = CLAUDE,
        account: Account | None = None,
        client: Client | None = None,
        session: Session | None = None,
    ) -> None:
        self.account = account or Account()
        self.traces: list[Trace] = []
        self.client = client or Client(self.account, clock=lambda: self.account.now, on_trace=self.traces.append)
        self.sessions = Sessions(clock=lambda: self.account.now)
        self.session = session or self.sessions.open("talk", scope="tenant")
        self.shape = shape
        self.model = model
        self.history: list[Request] = []

    @property
    def sent(self) -> Request:
        """The request that was sent last."""
        return self.account.requests[-1]

    @property
    def told(self) -> Any:
        """What became of its documents."""
        return self.traces[-1].documents

    def ask(self, question: str, numbers: Iterable[int | Document] = (), *, after: float = 60.0, **request: Any) -> str:
        """Retrieve, ask, and remember question and answer as they were said."""
        found = [document(one) if isinstance(one, int) else one for one in numbers]
        self.session.register(found)
        return self.answer(question, [one.text for one in found], after=after, **request)

    def answer(self, question: str, texts: Sequence[str], *, after: float = 60.0, **request: Any) -> str:
        """Ask with these texts in the template, and remember what was said."""
        told = self.send(self.shape(question, texts), after=after, **request)
        self.history += [said("user", question), said("assistant", told)]
        return told

    def send(self, shaped: Mapping[str, Any], *, after: float = 60.0, **request: Any) -> str:
        """Send the history and what a template made of a question."""
        self.account.now += after
        whole = {"modelId": self.model, "system": shaped["system"], "messages": [*self.history, shaped["asked"]]}
        reply = self.client.converse(**{**whole, **request}, session=self.session)
        return str(reply["output"]["message"]["content"][0]["text"])


def texts_in(request: Mapping[str, Any]) -> str:
    """All that a request says, as one text."""
    said_by_system = [block["text"] for block in request.get("system") or () if "text" in block]
    return "\n".join([*said_by_system, *(text for message in request["messages"] for text in texts_of(message))])


def texts_of(message: Mapping[str, Any]) -> Iterable[str]:
    """The texts of a message, those of tool results too."""
    for block in message["content"]:
        if "text" in block:
            yield block["text"]
        elif "toolResult" in block:
            yield from (inner["text"] for inner in block["toolResult"]["content"] if "text" in inner)


def times(number: int, request: Mapping[str, Any]) -> int:
    """How often a document stands in a request."""
    return texts_in(request).count(text_of(number))


def cut_points(request: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Its blocks in the order of the cache, each with where it stands; up to the last cache point."""
    blocks: list[tuple[str, Any]] = []
    last = 0
    for where, content in (
        ("system", request.get("system") or ()),
        *((message["role"], message["content"]) for message in request["messages"]),
    ):
        for block in content:
            if "cachePoint" in block:
                last = len(blocks)
            else:
                blocks.append((where, block))
    return blocks[:last]


def blocks_of(request: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """All its blocks, without cache points."""
    return [
        (where, block)
        for where, content in (
            ("system", request.get("system") or ()),
            *((message["role"], message["content"]) for message in request["messages"]),
        )
        for block in content
        if "cachePoint" not in block
    ]


def extends(request: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether a request begins with what the one before it had up to its last cache point."""
    kept = cut_points(before)
    return blocks_of(request)[: len(kept)] == kept
