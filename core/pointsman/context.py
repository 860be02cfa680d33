"""What outlives a request and is asked by the next: what a client knows, and on which model each user turn is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pointsman.cache import DriftAlarm, Ledger, SentPrompts
from pointsman.catalog import Catalog, Model
from pointsman.documents import Recurrence, Worths
from pointsman.outline import Outline
from pointsman.routing import Decision, Router, RouterRegistry
from pointsman.tokens import EstimatedTokens
from pointsman.usage import Usage


class Begun(NamedTuple):
    """How a turn began: the `invoke_id` of the model that answered it, and how that model was come by."""

    model: str
    explored: bool
    propensity: float


class Turns:
    """Which model each user turn is on, so that a tool loop stays there. Bounded, thread-safe."""

    def __init__(self, bound: int = 4096) -> None:
        self._bound = bound
        self._begun: OrderedDict[tuple[str, bytes | None], Begun] = OrderedDict()
        self._lock = threading.Lock()

    def begun(self, router: Router, outline: Outline) -> Begun | None:
        """How the turn began, if the request continues a tool loop."""
        return self._begun.get((router.name, outline.turn)) if outline.in_tool_loop else None

    def remember(self, router: Router, outline: Outline, model: Model, decision: Decision | None) -> None:
        """Keep the model for the turn, if a tool loop may follow."""
        if "tool" not in outline.kinds:
            return
        # A model that only stood in for the one decided on was come by in another way.
        decided = decision if decision and decision.model.invoke_id == model.invoke_id else None
        explored, propensity = (decided.explored, decided.propensity) if decided else (False, 1.0)
        with self._lock:
            self._begun[router.name, outline.turn] = Begun(model.invoke_id, explored, propensity)
            self._begun.move_to_end((router.name, outline.turn))
            if len(self._begun) > self._bound:
                self._begun.popitem(last=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What outlives a request: catalogue, routers, ledger, counts of all kinds, prompts sent.

    `recurrence` is how often retrieved documents come back. `region` is the client's.
    """

    catalog: Catalog
    routers: RouterRegistry
    ledger: Ledger
    counter: EstimatedTokens = field(default_factory=EstimatedTokens)
    turns: Turns = field(default_factory=Turns)
    sent: SentPrompts = field(default_factory=SentPrompts)
    drift: DriftAlarm = field(default_factory=DriftAlarm)
    recurrence: Recurrence = field(default_factory=Recurrence)
    worths: Worths = field(default_factory=Worths)
    region: str | None = None

    def corrected(self, outline: Outline, model: Model) -> Outline:
        """The outline with tokens as that model counts them, by what its replies have taught."""
        weights = self.counter.weights(model.id)
        if outline.counted:
            return outline.corrected(weights)
        places = outline.uncounted
        billed = self.counter.media.tokens(model.id, [outline.hashes[place] for place in places])
        return outline.corrected(weights, [(place, one) for place, one in zip(places, billed, strict=True) if one])

    def learn(self, outline: Outline, model: Model, usage: Usage, counted: Iterable[tuple[int, int]]) -> None:
        """Take in what a reply has counted: the tokens up to some blocks, and of the whole prompt."""
        self.counter.learn(model.id, contents=outline.contents, counted=counted)
        if not outline.counted:
            text = outline.tokens - sum(tokens for _, tokens in outline.media)
            hashes = [outline.hashes[place] for place in outline.uncounted]
            self.counter.media.learn(model.id, hashes, usage.input_tokens - text)
