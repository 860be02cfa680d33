"""Outlines made of rows, models, and ledgers that believe what a test says: for the tests of where cache points go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pointsman import Block, CachePoint, Catalog, Ledger, Model, Outline, Placement, Usage, place
from pointsman.cache.ledger import effective
from pointsman.cache.returns import SPANS, Hazards, Returns
from pointsman.cache.reuse import Reuse

CATALOG = Catalog.default()
CLAUDE = CATALOG.resolve("us.anthropic.claude-haiku-5-5")
OLDER_CLAUDE = CATALOG.resolve("anthropic.claude-3-7-sonnet-20250219-v1:0")
NOVA = CATALOG.resolve("amazon.nova-pro-v1:0")
LLAMA = CATALOG.resolve("meta.llama3-1-70b-instruct-v1:0")
T0 = 1_800_000_000.0

# In the first minute; in 20 minutes, mostly; not at all.
SOON: Hazards = (0.95, *[0.0] * 7)
LATE: Hazards = (0.0, 0.0, 0.0, 0.5, 0.9, 0.0, 0.0, 0.0)
NEVER: Hazards = (0.0,) * len(SPANS)

Row = tuple[str, str | None, str, int | None]


def tools(tokens: int) -> Row:
    """A tool of so many tokens."""
    return ("tools", None, "tool", tokens)


def system(tokens: int) -> Row:
    """A text of the system prompt."""
    return ("system", None, "text", tokens)


def user(tokens: int | None, kind: str = "text") -> Row:
    """A block of a user message; tokens that can't be known are None."""
    return ("messages", "user", kind, tokens)


def assistant(tokens: int, kind: str = "text") -> Row:
    """A block of an answer."""
    return ("messages", "assistant", kind, tokens)


def outline(*rows: Row, points: Sequence[CachePoint] = ()) -> Outline:
    """An outline of these rows; those that begin alike share their prefixes."""
    blocks = [Block(*row[:3], f"digest {index}".encode(), row[3]) for index, row in enumerate(rows)]
    return Outline.of_blocks(blocks, points=points)


def believing(hazards: Hazards, *, of: str | None = None) -> Ledger:
    """A ledger that believes so of every kind of stretch; or of one, and that the others never come back."""
    return Ledger(reuse=Reuse(Returns(lambda kind: hazards if of in (None, kind[1]) else NEVER)))


def placed(of: Outline, model: Model = CLAUDE, ledger: Ledger | None = None, now: float = T0) -> list[int]:
    """The blocks behind which a point was placed; without a ledger, where everything comes back soon."""
    return [point.after for point in place(of, model, ledger or believing(SOON), now).points]


def wrote(ledger: Ledger, of: Outline, *after: int, model: Model = CLAUDE, ttl: str = "5m") -> None:
    """A reply that wrote up to the last of these points."""
    written = of.tokens_to(after[-1])
    hour = written if ttl == "1h" else 0
    usage = Usage(input_tokens=of.tokens, cache_write_tokens=written, cache_write_1h_tokens=hour)
    ledger.record(of, model, Placement(points=tuple(CachePoint(index, ttl) for index in after)), usage, T0)


def read_again(ledger: Ledger, of: Outline, times: int) -> None:
    """Replies at the same time that read all of it, so that its caching has paid."""
    usage = Usage(input_tokens=of.tokens, cache_read_tokens=of.tokens)
    for _ in range(times):
        again = Outline.of_blocks(of.blocks)
        ledger.record(again, CLAUDE, Placement(points=(CachePoint(len(of.blocks) - 1),)), usage, T0)


def answered(ledger: Ledger, of: Outline, at: float, model: Model = CLAUDE) -> Placement:
    """Place, and have it answered: what is warm and in sight is read, the rest is written where points stand."""
    ledger.sync(at)
    placement = place(of, model, ledger, at)
    read = ledger.readable(of, model, placement.points, at)
    ends = [of.tokens_to(point.after) for point in placement.points if effective(of, model, point.after)]
    cached, tokens = max(ends, default=0), read.tokens if read else 0
    written = max(cached - tokens, 0)
    hour = written if placement.points and placement.points[-1].ttl == "1h" else 0
    usage = Usage(
        input_tokens=max(of.tokens, tokens + written),
        cache_read_tokens=tokens,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
    )
    ledger.record(of, model, placement, usage, at)
    return placement


def taking(most: int) -> Model:
    """A model with so many places for points."""
    return replace(CLAUDE, cache=replace(CLAUDE.cache, max_points=most))


CHAT = (tools(600), system(600), user(100), assistant(50), user(20))
