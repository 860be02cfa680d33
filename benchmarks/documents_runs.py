"""What `documents.py` measures: conversations about passages, sent by a real `Client`, billed by the simulator.

The account stands where boto3 would: it knows requests and their cache points, and nothing of sessions.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from pointsman import Catalog, Client, Document, Ledger, Model, Prompt
from pointsman.documents.sessions import Sessions
from pointsman.evaluation.billing import BillingSimulator
from pointsman.evaluation.policies import PlacementPolicy
from pointsman.tokens import EstimatedTokens
from pointsman.usage import Usage

SYSTEM_TOKENS = 1500
BETWEEN_SECONDS = 7200.0
_CHAT_GAP_SECONDS, _GAP_SIGMA = 60.0, 1.0
_KEY = b"the account's own"
_COUNTER = EstimatedTokens()


class Turn(NamedTuple):
    """A question, its answer, and the passages that were retrieved for it, by id."""

    at: float
    question: str
    answer: str
    passages: tuple[str, ...]


class Conversation(NamedTuple):
    """A conversation about the passages of one knowledge base."""

    knowledge_base: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Conversations, and the texts of their passages."""

    conversations: tuple[Conversation, ...]
    passages: Mapping[str, str]

    @classmethod
    def read(cls, traces: Path) -> Corpus:
        """MTRAG's conversations."""
        told = json.loads(gzip.decompress((traces / "mtrag_conversations.json.gz").read_bytes()))
        conversations = tuple(
            Conversation(one["domain"], tuple(_turns(one["messages"]))) for one in told["conversations"]
        )
        return cls(conversations, {name: text for name, (_, text) in told["docs"].items()})

    def half(self, which: int) -> Corpus:
        """The first half of the conversations (0), which defaults are chosen on, or the second (1)."""
        middle = len(self.conversations) // 2
        return Corpus((self.conversations[:middle], self.conversations[middle:])[which], self.passages)


def _turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    for asked, answered in zip(messages[::2], messages[1::2], strict=False):
        names = dict.fromkeys(name for name, _ in answered.get("docs", ()))
        yield Turn(float(asked["t"]), asked["text"].strip() or "-", answered["text"].strip() or "-", tuple(names))


def as_chats(corpus: Corpus, seed: int = 0) -> Corpus:
    """The conversations one after another, two hours apart, with a chat's gaps: lognormal, median 60 s, sigma 1."""
    random, start, timed = Random(seed), 0.0, []
    for conversation in corpus.conversations:
        turns = []
        for turn in conversation.turns:
            turns.append(turn._replace(at=start))
            start += random.lognormvariate(log(_CHAT_GAP_SECONDS), _GAP_SIGMA)
        start = turns[-1].at + BETWEEN_SECONDS
        timed.append(conversation._replace(turns=tuple(turns)))
    return Corpus(tuple(timed), corpus.passages)


def one_after_another(corpus: Corpus) -> Corpus:
    """The conversations with the annotators' gaps, one after another, two hours apart."""
    start, timed = 0.0, []
    for conversation in corpus.conversations:
        shift = start - conversation.turns[0].at
        timed.append(
            conversation._replace(turns=tuple(turn._replace(at=turn.at + shift) for turn in conversation.turns))
        )
        start = timed[-1].turns[-1].at + BETWEEN_SECONDS
    return Corpus(tuple(timed), corpus.passages)


def in_system(instructions: str, texts: Sequence[str], question: str) -> tuple[str, str]:
    """The documents in the system prompt, as chat engines have them: its text, and the user's message."""
    return f"{instructions}\n\nHere are the relevant documents:\n\n{_joined(texts)}\n\nAnswer by them.", question


def in_last_message(instructions: str, texts: Sequence[str], question: str) -> tuple[str, str]:
    """The documents in the user's last message, as question-answering templates have them."""
    return instructions, f"{_joined(texts)}\n\n{question}"


def _joined(texts: Sequence[str]) -> str:
    return "\n\n".join(texts)


SHAPES: Mapping[str, Callable[[str, Sequence[str], str], tuple[str, str]]] = {
    "last message": in_last_message,
    "system prompt": in_system,
}


def instructions(tokens: int = SYSTEM_TOKENS) -> str:
    """A system prompt of so many tokens, as they are estimated."""
    sentence = "You answer questions by the passages that come with them, and say so where they do not tell. "
    text = sentence
    while _tokens({"system": [{"text": text}]}) < tokens:
        text += sentence[: max(1, len(sentence) // 4)]
    return text


class Account:
    """Takes requests as boto3's client does, and bills them by the simulator. `clock` is set by who sends."""

    def __init__(self, model: Model) -> None:
        self.now = 0.0
        self.bill = 0.0
        self.requests: list[Mapping[str, Any]] = []
        self.usages: list[Usage] = []
        self._model = model
        self._simulator = BillingSimulator(conservative=True)

    def converse(self, **request: Any) -> dict[str, Any]:
        """Bedrock's usage of a request; the answer is left to who asked."""
        outline = Prompt(request).outline(_COUNTER, key=_KEY)
        usage = self._simulator.bill(outline, outline.points, self._model, self.now)
        self.bill += cost(usage, self._model)
        self.requests.append(request)
        self.usages.append(usage)
        written_1h = usage.cache_write_1h_tokens
        return {
            "usage": {
                "inputTokens": usage.uncached_tokens,
                "outputTokens": 0,
                "cacheReadInputTokens": usage.cache_read_tokens,
                "cacheWriteInputTokens": usage.cache_write_tokens,
                "cacheDetails": [{"ttl": "1h", "inputTokens": written_1h}] if written_1h else [],
            },
            "stopReason": "end_turn",
            "output": {},
        }


def cost(usage: Usage, model: Model) -> float:
    """Of a prompt, in tokens at the plain input price."""
    price = model.price
    assert price is not None and price.input and price.cache_read is not None
    written_5m, written_1h = usage.cache_write_5m_tokens, usage.cache_write_1h_tokens
    plain = float(price.input)
    return (
        usage.uncached_tokens
        + usage.cache_read_tokens * float(price.cache_read) / plain
        + written_5m * float(price.cache_write["5m"]) / plain
        + (written_1h * float(price.cache_write["1h"]) / plain if written_1h else 0.0)
    )


class Sent(NamedTuple):
    """One request: who asked what when, as a template wrote it, and its tokens: what it costs without caching."""

    conversation: int
    turn: int
    at: float
    request: Mapping[str, Any]
    plainly: int


def written(corpus: Corpus, shape: str, model: Model) -> list[Sent]:
    """All requests of a corpus in the order of time, as a template writes them: the history is as it was said."""
    told = instructions()
    sent = []
    for number, conversation in enumerate(corpus.conversations):
        history: list[dict[str, Any]] = []
        for place, turn in enumerate(conversation.turns):
            texts = [corpus.passages[name] for name in turn.passages]
            system, message = SHAPES[shape](told, texts, turn.question)
            request = {
                "modelId": model.invoke_id,
                "system": [{"text": system}],
                "messages": [*history, _message("user", message)],
            }
            sent.append(Sent(number, place, turn.at, request, _tokens(request)))
            history += [_message("user", turn.question), _message("assistant", turn.answer)]
    return sorted(sent, key=lambda one: one.at)


def run(
    corpus: Corpus,
    shape: str,
    model: Model,
    *,
    documents: bool = True,
    on_request: Callable[[Sent, Mapping[str, Any]], object] = lambda *_: None,
) -> tuple[float, Account]:
    """The bill as a share of the uncached one, with a session for each conversation or with none; and the account."""
    account = Account(model)
    client = Client(account, catalog=Catalog.default().with_model(model), clock=lambda: account.now)
    sessions = Sessions(clock=lambda: account.now)
    plainly = 0.0
    for one in written(corpus, shape, model):
        account.now = one.at
        conversation = corpus.conversations[one.conversation]
        session = sessions.open(str(one.conversation), scope="everybody")
        if documents:
            session.register(_retrieved(corpus, conversation, one.turn))
        client.converse(**one.request, session=session)
        on_request(one, account.requests[-1])
        plainly += one.plainly
    return account.bill / plainly, account


def _retrieved(corpus: Corpus, conversation: Conversation, turn: int) -> Iterable[Document]:
    for name in conversation.turns[turn].passages:
        yield Document(id=name, text=corpus.passages[name], knowledge_base=conversation.knowledge_base)


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"text": text}]}


def _tokens(request: Mapping[str, Any]) -> int:
    return Prompt(request).outline(_COUNTER, key=_KEY).tokens


def as_written(corpus: Corpus, shape: str, model: Model, place: PlacementPolicy) -> float:
    """The bill as a share of the uncached one, where requests go as templates write them, with these cache points."""
    ledger, simulator, bill, plainly = Ledger(), BillingSimulator(conservative=True), 0.0, 0
    for one in written(corpus, shape, model):
        outline = Prompt(one.request).outline(_COUNTER, key=_KEY)
        placement = place(outline, model, ledger, one.at)
        usage = simulator.bill(outline, placement.points, model, one.at)
        ledger.record(outline, model, placement, usage, one.at)
        bill += cost(usage, model)
        plainly += one.plainly
    return bill / plainly
