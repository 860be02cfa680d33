"""Why a prefix was not read from the cache: one value for each reason, with its facts and what to do about it.

Knows no prompt and finds nothing out (`diagnosis.py` does); no reason holds any text of a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class MissReason:
    """Why less was read from the cache than could have been. `str()` says it in a sentence, and what to do.

    `tokens` are those that were not read, None where nobody can tell. `kind` names the reason. `avoidable` tells that
    a warm prefix was there for this request: the drift alarm counts only such misses.
    """

    kind: ClassVar[str] = "unknown"
    avoidable: ClassVar[bool] = False

    tokens: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: the kind, the facts, and the sentence as `explanation`."""
        facts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"kind": self.kind, **facts, "explanation": str(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRequest(MissReason):
    """Nothing like it had been sent to this model lately, as far as this process knows."""

    kind: ClassVar[str] = "first request"

    def __str__(self) -> str:
        return "This process has sent no such prompt to this model lately, so there was nothing to read yet."


@dataclass(frozen=True, slots=True, kw_only=True)
class BelowMinimum(MissReason):
    """The prefix that repeats has fewer tokens (`have`) than the model caches (`need`)."""

    kind: ClassVar[str] = "below minimum"

    have: int
    need: int

    def __str__(self) -> str:
        return (
            f"The prefix has {self.have:,} tokens and this model caches none below {self.need:,}. "
            "Put more of what stays the same before what changes, or use a model with a lower minimum."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AboveMaximum(MissReason):
    """The prefix that repeats has more tokens (`have`) than the model caches at most (`most`)."""

    kind: ClassVar[str] = "above maximum"

    have: int
    most: int

    def __str__(self) -> str:
        return (
            f"The prefix has {self.have:,} tokens and this model caches none above {self.most:,}. "
            "Put less before the last message, such as fewer documents, or use a model that caches more."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixChanged(MissReason):
    """An earlier prompt of the same kind was warm, but this one parts from it at `block` (counted in its section).

    `looks_like` says what may have changed: "a timestamp", "an id", "a reordered tool", "the tool choice", "an image",
    "thinking, effort or the output schema"; None where nothing tells.
    """

    kind: ClassVar[str] = "prefix changed"
    avoidable: ClassVar[bool] = True

    section: str
    block: int
    looks_like: str | None = None

    def __str__(self) -> str:
        where = f"block {self.block} of {self.section}"
        if self.looks_like is None:
            return f"The prompt parts from an earlier one at {where}. Keep all before the last message as it was sent."
        return f"The prompt parts from an earlier one at {where}: it looks like {self.looks_like}. {self._what_to_do()}"

    def _what_to_do(self) -> str:
        if self.looks_like in (A_TIMESTAMP, AN_ID):
            return "Move it into the last message, behind the cache points."
        if self.looks_like == A_REORDERED_TOOL:
            return "List the tools in the same order in every request, for instance by name."
        return "Keep it the same through a conversation, since Bedrock drops what was cached when it changes."


A_TIMESTAMP = "a timestamp"
AN_ID = "an id"
A_REORDERED_TOOL = "a reordered tool"
THE_TOOL_CHOICE = "the tool choice"
AN_IMAGE = "an image"
SETTINGS = "thinking, effort or the output schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSwitched(MissReason):
    """The prefix is warm on another model, `previous`: each model has a cache of its own."""

    kind: ClassVar[str] = "model switched"

    previous: str

    def __str__(self) -> str:
        return (
            f"The prefix is warm on {self.previous}, and each model and profile has a cache of its own. "
            "Stay on one model where the conversation is long and the prices are close."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TTLPassed(MissReason):
    """The prefix was written, or last read, `idle_seconds` ago: longer than its `ttl`. The model has `longest_ttl`."""

    kind: ClassVar[str] = "TTL passed"

    idle_seconds: float
    ttl: str
    longest_ttl: str = "1h"

    def __str__(self) -> str:
        told = f"The prefix was last used {self.idle_seconds:.0f} seconds ago and its TTL is {self.ttl}."
        if self.ttl != self.longest_ttl:
            return f"{told} A point with the TTL {self.longest_ttl} pays where such pauses are usual."
        return f"{told} The model has no longer one: a keep-alive holds the prefix, where that pays."


@dataclass(frozen=True, slots=True, kw_only=True)
class LookbackExceeded(MissReason):
    """The warm prefix ends `blocks` blocks before the next cache point; the model looks back `lookback_blocks`."""

    kind: ClassVar[str] = "look-back exceeded"
    avoidable: ClassVar[bool] = True

    blocks: int
    lookback_blocks: int

    def __str__(self) -> str:
        return (
            f"The warm prefix ends {self.blocks} blocks before a cache point and the model looks back "
            f"{self.lookback_blocks}. Leave a cache point to Pointsman, or place one nearer to where the prompt grew."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported(MissReason):
    """The model doesn't cache, or nobody knows how it does (`known` is False)."""

    kind: ClassVar[str] = "unsupported"

    model: str
    known: bool = True

    def __str__(self) -> str:
        if self.known:
            return f"{self.model} does not cache prompts."
        return f"Nothing is known of caching on {self.model}. Describe it with Catalog.with_model(Model(...))."


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenConcurrently(MissReason):
    """Another request was writing the same prefix, and its first token was not out when this one was sent."""

    kind: ClassVar[str] = "written concurrently"

    def __str__(self) -> str:
        return (
            "Another request was still writing the same prefix when this one was sent. "
            "Send the first of a batch alone, and the others once its reply has begun."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPoint(MissReason):
    """The model takes no cache point where one was wanted, in `section`; `why` tells the rule."""

    kind: ClassVar[str] = "refused point"

    section: str | None
    why: str

    def __str__(self) -> str:
        return f"A cache point was refused: {self.why}."


@dataclass(frozen=True, slots=True, kw_only=True)
class NotWritten(MissReason):
    """An earlier prompt had the same prefix, but no cache point stood at its end, so that nothing was written."""

    kind: ClassVar[str] = "not written"

    def __str__(self) -> str:
        return "The prefix had been sent before without a cache point at its end, so it was never written."


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPoint(MissReason):
    """An earlier prompt has written the prefix, but no cache point of this one stands at its end or behind it."""

    kind: ClassVar[str] = "no point"

    def __str__(self) -> str:
        return "The prefix is written, but this request holds no cache point at its end or behind it to read it by."


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsIgnored(MissReason):
    """Cache points were sent behind `have` tokens, and Bedrock neither read nor wrote any; `need` is the minimum."""

    kind: ClassVar[str] = "points ignored"
    avoidable: ClassVar[bool] = True

    have: int
    need: int | None

    def __str__(self) -> str:
        known = "" if self.need is None else f", though {self.need:,} should be enough"
        return (
            f"Bedrock ignored the cache points behind {self.have:,} tokens{known}. See that nothing between here "
            "and Bedrock takes them out; if the model's minimum is higher, correct it with Catalog.with_model(...)."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evicted(MissReason):
    """The prefix should have been read, last used `idle_seconds` ago, and nothing else tells why it was not."""

    kind: ClassVar[str] = "evicted"
    avoidable: ClassVar[bool] = True

    idle_seconds: float | None = None

    def __str__(self) -> str:
        ago = "" if self.idle_seconds is None else f", used {self.idle_seconds:.0f} seconds ago,"
        return f"The prefix{ago} should have been readable: Bedrock has let it go. It is written anew."
