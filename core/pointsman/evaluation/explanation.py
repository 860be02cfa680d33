"""One request explained: each block, its tokens, the cache point behind it, and why there is one or none.

Asks the rules and weights that `pointsman.place` goes by, and adds none. Knows no file and no terminal; of a prompt's
text it keeps nothing but what is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from pointsman.cache import Ledger, Placement, place
from pointsman.cache.ledger import effective
from pointsman.cache.placement import Weighed, weighed
from pointsman.cache.rules import refusal_reason
from pointsman.cache.volatile import looks_volatile
from pointsman.catalog import Model
from pointsman.evaluation.billing import BillingSimulator
from pointsman.evaluation.difference import text_of
from pointsman.evaluation.replay import plain
from pointsman.outline import CachePoint, Outline
from pointsman.pricing import cost_of
from pointsman.prompt import Prompt
from pointsman.tokens import EstimatedTokens

_LABEL_BYTES = 4
_SHOWN_CHARACTERS = 60
_CHANCES = "back with"
# Of labels: alike within one process, and nobody else can tell a text by them.
_KEY = os.urandom(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One block of a prompt.

    `label` is the same for the same content within one process, and tells nothing of it; `text` is its beginning where
    that was asked for. `tokens` is None where they can't be known. `why` says why there is a point, or none.
    """

    section: str
    role: str | None
    kind: str
    label: str
    text: str | None
    tokens: int | None
    prefix_tokens: int
    point: CachePoint | None
    by_caller: bool
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "section": self.section,
            "role": self.role,
            "kind": self.kind,
            "label": self.label,
            **({} if self.text is None else {"text": self.text}),
            "tokens": self.tokens,
            "prefix_tokens": self.prefix_tokens,
            "ttl": None if self.point is None else self.point.ttl,
            "by_caller": self.by_caller,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """The outline of a request, annotated for one model. `remarks` are what concerns no single block, or warns.

    `first_call` is what the prompt costs with these points where nothing is cached, `next_call` the same prompt again
    within the TTL; in USD, without output. None where a price isn't known, or a block can't be counted.
    """

    model: Model
    tokens: int
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]
    first_call: Decimal | None
    next_call: Decimal | None

    @property
    def weighs(self) -> bool:
        """Whether a row tells chances."""
        return any(_CHANCES in row.why for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; money in decimal strings."""
        return {
            "model": self.model.id,
            "tokens": self.tokens,
            "known": self.model.known,
            "minimum_tokens": self.model.cache.minimum_tokens,
            "max_points": self.model.cache.max_points,
            "ttls": list(self.model.cache.ttls) if self.model.cache.max_points else [],
            "first_call_usd": None if self.first_call is None else plain(self.first_call),
            "next_call_usd": None if self.next_call is None else plain(self.next_call),
            "blocks": [row.to_dict() for row in self.rows],
            "remarks": list(self.remarks),
        }


def annotate(
    request: Mapping[str, Any], model: Model, *, ledger: Ledger | None = None, now: float = 0.0, show_text: bool = False
) -> Annotated:
    """Each block of a Converse request, with the points that `place` lays, and why.

    Args:
        ledger: what is warm, and what was learnt of reuse; by default nothing is warm, and only what the package ships
            is believed.
        show_text: keep the beginning of each block's text.

    Raises:
        InvalidRequestError: a message has a role, or a cache point a TTL, that there isn't.
        LookupError, TypeError, AttributeError: the request is not of Converse's shape.
    """
    ledger = Ledger() if ledger is None else ledger
    prompt = Prompt(request)
    outline = prompt.outline(EstimatedTokens(), key=ledger.key)
    placement = place(outline, model, ledger, now)
    reasons = _Reasons(outline, model, ledger, placement, weighed(outline, model, ledger, now))
    points = {point.after: point for point in placement.points}
    blocks = _blocks_of(prompt)
    rows = [
        Row(
            section=block.section,
            role=block.role,
            kind=block.kind,
            label=label_of(outline, index),
            text=text_of(blocks[index])[:_SHOWN_CHARACTERS] if show_text else None,
            tokens=block.tokens,
            prefix_tokens=outline.tokens_to(index),
            point=points.get(index),
            by_caller=index in placement.by_caller,
            why=reasons.of_point(index) if index in points else reasons.of_none(index),
        )
        for index, block in enumerate(outline.blocks)
    ]
    remarks = (*_remarks(outline, model, placement), *_volatile(outline, blocks))
    first_call, next_call = _costs(outline, model, placement)
    return Annotated(
        model=model,
        tokens=outline.tokens,
        rows=tuple(rows),
        remarks=remarks,
        first_call=first_call,
        next_call=next_call,
    )


def label_of(outline: Outline, index: int) -> str:
    """A short name of a block's content: the same within one process."""
    return blake2b(outline.hashes[index], key=_KEY, digest_size=_LABEL_BYTES).hexdigest()


def _costs(outline: Outline, model: Model, placement: Placement) -> list[Decimal | None]:
    """What the prompt costs, and then the same again; in USD."""
    if not outline.counted:
        return [None, None]
    billing = BillingSimulator(conservative=True)
    points = placement.points if model.cache.max_points else ()
    return [cost_of(billing.bill(outline, points, model, at), model.price).total for at in (0.0, 1.0)]


class _Reasons:
    """Why a block has a point, or none."""

    def __init__(
        self, outline: Outline, model: Model, ledger: Ledger, placement: Placement, stretches: tuple[Weighed, ...]
    ) -> None:
        self._outline = outline
        self._model = model
        self._ledger = ledger
        self._placement = placement
        # Of two stretches that end behind one block, the later one holds what is new.
        self._ending = {one.end: one for one in stretches if one.end is not None}
        self._cut = {one.stretch.end: one for one in stretches}
        self._last = placement.points[-1].after if placement.points else -1

    def of_point(self, index: int) -> str:
        """Why there is a point behind that block."""
        if index in self._placement.by_caller:
            return "placed by the caller"
        if index < self._last:
            return f"costs nothing within what is cached up to block {self._last}: later prompts may part here"
        return f"pays: {_told(self._ending[index])}" if index in self._ending else "finds what is warm"

    def of_none(self, index: int) -> str:
        """Why there is none: the model's rules first, then what it would be worth."""
        outline, model = self._outline, self._model
        if not model.known:
            return f"nobody knows whether {model.id} caches"
        for point, why in self._placement.refused:
            if point.after == index:
                return f"the caller's point can't stand here: {why}"
        reason = refusal_reason(outline, model, self._ledger, index)
        if reason is not None:
            return reason
        if not effective(outline, model, index):
            return self._out_of_range(index)
        if outline.volatile_from is not None and index >= outline.volatile_from:
            return "stands in this prompt only"
        return self._of_no_worth(index)

    def _out_of_range(self, index: int) -> str:
        rules, tokens = self._model.cache, self._outline.tokens_to(index)
        if not self._outline.reaches(index, rules.minimum_tokens):
            return f"below the minimum: {tokens:,} of {rules.minimum_tokens:,} tokens"
        return f"above the maximum: {tokens:,} of {rules.maximum_tokens:,} tokens"

    def _of_no_worth(self, index: int) -> str:
        here = self._ending.get(index)
        if here is None:
            return "not needed: this block comes and goes with its neighbours"
        full = len(self._placement.points) >= self._model.cache.max_points
        if index < self._last:
            why = f"the model takes {self._model.cache.max_points} points" if full else "none is needed"
            return f"{why}, and what stands here is cached with block {self._last}"
        if here.plain is None:
            return "warm already, and read by a point behind it"
        if full:
            return f"the model takes {self._model.cache.max_points} points, and the caller has placed all of them"
        return f"doesn't pay: {_told(here)}"


def _told(one: Weighed) -> str:
    """The chances of a stretch, and what one of its tokens costs by what is done with it."""
    chances = f"{_CHANCES} {one.chances.within_5m:.0%} in 5m, {one.chances.within_1h:.0%} in 1h"
    if one.plain is None or not one.stretch.tokens:
        return chances
    costs = {"plain": one.plain, "5m": one.written_5m, "1h": one.written_1h}
    told = ", ".join(f"{name} {cost / one.stretch.tokens:.2f}" for name, cost in costs.items() if cost is not None)
    return f"{chances}; a token costs {told}"


def _blocks_of(prompt: Prompt) -> list[Mapping[str, Any]]:
    lists = (prompt.tools, prompt.system, *[message["content"] for message in prompt.messages])
    return [block for blocks in lists for block in blocks if "cachePoint" not in block]


def _remarks(outline: Outline, model: Model, placement: Placement) -> tuple[str, ...]:
    rules = model.cache
    told = []
    if model.known and not rules.max_points:
        told.append(f"{model.id} does not cache.")
    for point, why in placement.refused:
        block = outline.blocks[point.after]
        told.append(f"The caller's point behind block {point.after} ({block.section}, {block.kind}): {why}.")
    if outline.misplaced:
        told.append("One of the caller's points stands first in its list, or right behind another: no model takes it.")
    for prefix in placement.just_below:
        section = outline.blocks[prefix.after].section
        told.append(
            f"The prefix that ends with the {section} has {prefix.tokens:,} tokens and {model.id} caches none below "
            f"{rules.minimum_tokens:,}: a little more, and it would be cached."
        )
    if not outline.counted:
        told.append("Some blocks can't be counted (images, PDF): such a prefix counts as above any minimum.")
    return tuple(told)


def _volatile(outline: Outline, blocks: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """Times and ids in what should stay the same through all requests."""
    told = []
    for index, block in enumerate(outline.blocks):
        if block.section == "messages":
            break
        if (what := looks_volatile(blocks[index])) is not None:
            told.append(
                f"Block {index} ({block.section}) holds what looks like {what}: if it changes, each request parts from "
                "the one before it there. Move it behind the last cache point."
            )
    return tuple(told)
