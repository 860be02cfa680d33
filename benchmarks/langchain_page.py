"""Writes the figures of `langchain_cost.py` as Markdown. Computes nothing but ratios, sums and verdicts."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal

from langchain_conversations import Talk
from langchain_loops import ROUTED, STRONG_OURS, STRONG_PLAIN, TOOL_CALLS, Thread, strong
from langchain_runs import AGENT_OURS, OURS, Run, Tokens, cost, total
from langchain_shapes import AGENT

from pointsman.local.extract import count_tokens

_TOKENS = ("uncached", "written 5m", "written 1h", "read", "output")
_MUST = {AGENT: (1.0, 0.85)}
_MUST_OF_RAG = (0.8, None)
# Of the tokens written, for an hour: from so many on, that is the figure's cause.
_MOSTLY = 0.5
Runs = Sequence[Run]
"""One shape by all sides: first what is compared with, then ours."""


def text(talks: Sequence[Talk], comparisons: Sequence[Runs], threads: Sequence[Thread]) -> str:
    """The page."""
    *_, agents = comparisons
    parts = [
        _INTRODUCTION.format(names=", ".join(str(talk.name) for talk in talks)),
        "## What is asked\n",
        requirements(comparisons, threads),
        _BILLS,
        _bills(comparisons),
        _WITHIN,
        _within(comparisons),
        _EACH,
        _each(talks, agents),
        "### Why\n",
        _why(talks, comparisons),
        _LOOPS,
        _turns(threads),
        _of_threads(threads),
        "### Why\n",
        _why_loops(threads),
    ]
    return "\n".join(parts)


def requirements(comparisons: Sequence[Runs], threads: Sequence[Thread]) -> str:
    """Each figure that is asked for, and whether it is reached."""
    rows = []
    for other, ours, *_ in comparisons:
        must, aim = _MUST.get(ours.shape, _MUST_OF_RAG)
        found = _ratio(ours.usd, other.usd)
        asked = (f"<= {must:.2f}", "" if aim is None else f"<= {aim:.2f}")
        rows.append((f"{ours.shape}: ours / {other.side}", *asked, f"{found:.3f}", _verdict(found, must, aim)))
    other, ours, *_ = comparisons[-1]
    rows.append(("agent: conversations that cost more than the other's", "", "0", _above(other, ours), ""))
    routed = _thread(threads, ROUTED)
    rows.append(("agent's thread: tool calls", f">= {TOOL_CALLS}", "", str(routed.tools), "met"))
    # More than one model in a turn, and `Asked.model` would have raised.
    stayed = sum(bool(turn.model) for turn in routed.turns)
    rows.append(("agent's thread: turns on one model", "all", "", f"{stayed} of {len(routed.turns)}", "met"))
    for name in (STRONG_PLAIN, STRONG_OURS):
        found = _ratio(routed.usd, _thread(threads, name).usd)
        rows.append((f"agent's thread: router / {name}", "", "", f"{found:.3f}", ""))
    return _table(("figure", "must", "aim", "found", "verdict"), rows)


def _bills(comparisons: Sequence[Runs]) -> str:
    rows = [
        (run.shape, run.side, *_counts(run.tokens), f"{run.usd:.4f}", f"{_ratio(run.usd, runs[0].usd):.3f}")
        for runs in comparisons
        for run in runs
    ]
    return _table(("user code", "sent by", *_TOKENS, "USD", "of the first"), rows)


def _within(comparisons: Sequence[Runs]) -> str:
    """What of our requests the traces tell."""
    rows = []
    for _, ours, *_ in comparisons:
        documents = Counter[str]()
        for trace in ours.traces:
            told = trace["documents"] or {}
            documents.update({name: told.get(name, 0) for name in ("stay", "resent", "loose", "named")})
        misses = Counter(trace["miss"]["kind"] for trace in ours.traces if trace["miss"])
        failures = sum(bool(trace["advice_failures"]) for trace in ours.traces)
        rows.append(
            (
                ours.shape,
                str(len(ours.traces)),
                *(str(documents[name]) for name in ("stay", "resent", "loose", "named")),
                ", ".join(f"{count} {kind}" for kind, count in misses.most_common()),
                str(failures),
            )
        )
    header = ("user code", "model calls", "stay", "resent", "loose", "named", "misses", "advice failures")
    return _table(header, rows)


def _each(talks: Sequence[Talk], agents: Runs) -> str:
    other, ours, *_ = agents
    rows = []
    for talk in talks:
        theirs, own = other.conversations[talk.name], ours.conversations[talk.name]
        rows.append(
            (
                str(talk.name),
                str(len(talk.turns)),
                f"{theirs.input:,}",
                f"{own.input:,}",
                f"{own.written_1h:,} of {own.written_5m + own.written_1h:,}",
                f"{cost(theirs):.4f}",
                f"{cost(own):.4f}",
                f"{_ratio(cost(own), cost(theirs)):.3f}",
                f"{_ratio(cost(own.at_5m()), cost(theirs.at_5m())):.3f}",
            )
        )
    tokens = ("prompt tokens, the other", "prompt tokens, ours", "ours, written for 1h")
    header = ("conversation", "questions", *tokens, "USD, the other", "USD, ours", "ours / other", "had all been 5m")
    return _table(header, rows)


def _why(talks: Sequence[Talk], comparisons: Sequence[Runs]) -> str:
    *chains, agents = comparisons
    return _listed([*(_why_chain(talks, runs) for runs in chains), _why_agent(agents)])


def _why_chain(talks: Sequence[Talk], runs: Runs) -> str:
    other, ours, bound, alone = runs
    said = sum(count_tokens(turn.answer) for talk in talks for turn in talk.turns)
    ratios = [_ratio(cost(ours.conversations[name]), cost(told)) for name, told in other.conversations.items()]
    prompts = _ratio(*(cost(run.tokens._replace(output=0)) for run in (ours, other)))
    with_answers = _ratio(*(cost(run.tokens._replace(output=said)) for run in (ours, other)))
    return (
        f"**{ours.shape.capitalize()}.** Nothing of the other side is cached: a chain has no middleware. Ours reads "
        f"{ours.tokens.read / ours.tokens.input:.0%} of its prompt tokens; single conversations cost from "
        f"{min(ratios):.2f} to {max(ratios):.2f} of the other's. Prompts alone come to {prompts:.3f}; with as many "
        f"output tokens as the recorded answers have ({said:,}, for the engine's {ours.tokens.output:,}) the bill is "
        f"{with_answers:.3f}. Who binds `cache_control` by hand pays {_ratio(bound.usd, other.usd):.3f} of the other, "
        f"and ours is {_ratio(ours.usd, bound.usd):.3f} of that. Without PointsmanRetriever no document is known, and "
        f"ChatPointsman by itself comes to {_ratio(alone.usd, other.usd):.3f}."
    )


def _why_agent(agents: Runs) -> str:
    other, ours, _, alone = agents
    written = ours.tokens.written_5m + ours.tokens.written_1h
    share = ours.tokens.written_1h / written
    at_5m, alone_at_5m = (_ratio(cost(run.tokens.at_5m()), other.usd) for run in (ours, alone))
    return (
        f"**Agent.** Both sides read all that was sent before: where a history only grows, langchain-aws's points at "
        f"the end of the prompt are as good as any. What the tool finds once more becomes a reference, so that ours "
        f"sends {ours.tokens.input / other.tokens.input:.0%} of the other's prompt tokens and writes "
        f"{_ratio(written, other.tokens.written_5m):.0%} of its. {share:.0%} of these are written for an hour, at 2 "
        f"times the input price instead of 1.25, which nothing here repays: nobody comes back between the fifth minute "
        f"and the sixtieth. Had all been for five minutes, they would have cost {at_5m:.3f}; without "
        f"PointsmanRetriever, which knows what comes back, {alone_at_5m:.3f}."
        f"{_SLOWLY if share > _MOSTLY else ''}"
    )


def _turns(threads: Sequence[Thread]) -> str:
    routed, plain, ours = (_thread(threads, name) for name in (ROUTED, STRONG_PLAIN, STRONG_OURS))
    rows = [
        (
            str(number),
            _shortened(turn.question),
            str(turn.tools),
            str(len(turn.calls)),
            turn.model.partition("claude-")[2],
            f"{turn.tokens.written_5m + turn.tokens.written_1h:,}",
            f"{turn.tokens.read:,}",
            *(f"{one.usd:.5f}" for one in (turn, theirs, own)),
        )
        for number, (turn, theirs, own) in enumerate(zip(routed.turns, plain.turns, ours.turns, strict=True), 1)
    ]
    header = ("turn", "question", "tool calls", "model calls", "model of all of them", "written", "read")
    return _table((*header, "USD, router", STRONG_PLAIN, STRONG_OURS), rows)


def _of_threads(threads: Sequence[Thread]) -> str:
    plain, ours = (_thread(threads, name) for name in (STRONG_PLAIN, STRONG_OURS))
    rows = [
        (
            thread.side,
            str(thread.tools),
            str(sum(len(turn.calls) for turn in thread.turns)),
            *_counts(thread.tokens),
            f"{thread.usd:.5f}",
            f"{_ratio(thread.usd, plain.usd):.3f}",
            f"{_ratio(thread.usd, ours.usd):.3f}",
            f"{_ratio(_at_5m(thread), _at_5m(plain)):.3f}",
        )
        for thread in threads
    ]
    against = (f"/ {STRONG_PLAIN}", f"/ {STRONG_OURS}", f"/ {STRONG_PLAIN}, had all been 5m")
    return _table(("sent by", "tool calls", "model calls", *_TOKENS, "USD", *against), rows)


def _why_loops(threads: Sequence[Thread]) -> str:
    routed, plain, ours = (_thread(threads, name) for name in (ROUTED, STRONG_PLAIN, STRONG_OURS))
    cheap = [turn for turn in routed.turns if turn.model != strong()]
    on_strong = total(turn.tokens for turn in routed.turns if turn.model == strong())
    written, written_alone = (one.written_5m + one.written_1h for one in (on_strong, ours.tokens))
    spared = total(own.tokens for own, turn in zip(ours.turns, routed.turns, strict=True) if turn in cheap)
    saves = (
        f"**What routing saves.** {len(cheap)} of {len(routed.turns)} turns go to the cheaper model. Behind them the "
        f"strong one must write what they have added before it goes on: it writes {written:,} tokens, and "
        f"{written_alone:,} where it answers everything. So a cheap turn in such a thread spares reads and output, not "
        f"writes: {spared.read:,} tokens read and {spared.output:,} of output here, of which a model would write more "
        f"than the engine does. The bill is {_ratio(routed.usd, ours.usd):.3f} of ChatPointsman's on the strong model."
    )
    hours = (
        f"**What writes for an hour cost.** {routed.tokens.written_1h:,} of {_written(routed):,} written tokens are "
        f"written for an hour by the router, {ours.tokens.written_1h:,} of {_written(ours):,} on the strong model; "
        f"langchain-aws writes {_written(plain):,}, all for five minutes. Had ours been for five minutes too, the "
        f"router would have cost {_ratio(_at_5m(routed), plain.usd):.3f} of it, and ChatPointsman on the strong model "
        f"{_ratio(_at_5m(ours), plain.usd):.3f}."
    )
    return _listed(
        [saves, hours, "**A turn keeps its model.** The benchmark stops where a tool loop changes its model; none did."]
    )


def _written(thread: Thread) -> int:
    return thread.tokens.written_5m + thread.tokens.written_1h


def _at_5m(thread: Thread) -> Decimal:
    calls = (call._replace(tokens=call.tokens.at_5m()) for turn in thread.turns for call in turn.calls)
    return sum((call.usd for call in calls), Decimal(0))


def _thread(threads: Sequence[Thread], side: str) -> Thread:
    return next(thread for thread in threads if thread.side == side)


def _above(other: Run, ours: Run) -> str:
    dearer = [name for name, told in other.conversations.items() if cost(ours.conversations[name]) > cost(told)]
    return f"{len(dearer)} of {len(other.conversations)}"


def _counts(tokens: Tokens) -> list[str]:
    return [f"{count:,}" for count in tokens]


def _ratio(one: Decimal | int, other: Decimal | int) -> float:
    return float(Decimal(one) / Decimal(other))


def _shortened(question: str) -> str:
    return textwrap.shorten(question, 64, placeholder=" ...")


def _verdict(found: float, must: float, aim: float | None) -> str:
    if found > must:
        return "**falls short**"
    if aim is None:
        return "met"
    return "aim met" if found <= aim else "must met"


def _listed(items: Iterable[str]) -> str:
    wrapped = (textwrap.wrap(f"- {item}", 120, subsequent_indent="  ", break_on_hyphens=False) for item in items)
    return "\n".join("\n".join(lines) for lines in wrapped) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


_INTRODUCTION = f"""# What stock LangChain code costs, with both chat models

Written by `make bench-langchain`, which runs `python benchmarks/langchain_cost.py --data ../shared/data`. The same user
code asks the same questions with `ChatBedrockConverse` and with `ChatPointsman`, each against a local endpoint of its
own; tokens are those of the endpoints' accounts, prices the published ones of `us.anthropic.claude-sonnet-5`, whose
reads cost a tenth of plain input.

- **Conversations**: twenty of MTRAG's, the first in the second half of the file that have at least five questions (what
  documents do was learnt from the first half). By the data's own number, as written down before anything was run:
  {{names}}.
  A minute passes between questions, two hours between conversations; the endpoint's clock is the client's too.
- **User code** (`langchain_shapes.py`), with a system prompt of 1,500 tokens: `create_retrieval_chain` with documents
  stuffed into the system prompt; LCEL with documents in the user's message; `create_agent` with a retriever for its
  tool and an `InMemorySaver`. The retriever gives for a question the passages that MTRAG has for it.
- **History** of the chains is what was really said, MTRAG's answers included, so that both sides send the same. That of
  the agent is its graph's. The endpoint's engine answers with two sentences of the prompt, and calls a tool that is
  plainly asked for: the agent's questions begin with `Search the documents:`, on both sides.
- **The other**: `ChatBedrockConverse` as it comes; for agents with `BedrockPromptCachingMiddleware`, which chains have
  no place for. **Ours**: {OURS}, the conversation named by `thread_id`; for agents
  {AGENT_OURS}.
"""

_BILLS = """## Bills

Tokens of all twenty conversations. The first two of each shape are compared; the others are further ones: points that a
user could bind by hand, no caching at all, and `ChatPointsman` beside a retriever that tells it nothing.
"""

_WITHIN = """What the traces of our calls tell: documents by what became of them, summed over all calls, and why less
was read than could have been. A conversation begins two hours after the one before: its first call finds nothing.
"""

_EACH = """## The agent, conversation by conversation

In the order in which they were sent, since ours learns from one to the next. The last column is what the same tokens
would have cost, had every write been for five minutes.
"""

_SLOWLY = (
    " The belief that tells how soon agents come back was learnt from coding sessions, whose pauses outlast five "
    "minutes often enough for the hour to pay. By it both TTLs are expected to cost the same within one percent, for a "
    "token of a conversation's first request. What this agent does corrects it slowly: only the last request of a "
    "conversation has ever waited for longer than five minutes."
)

_LOOPS = """## An agent of thirty tool calls

One thread of `create_agent` with three plain tools and a knowledge base of three guides (`Retrieve` of the endpoint),
questions of differing difficulty, a minute apart, until thirty tools were called. The engine calls one tool at a time
(`langchain_engine.py`), so that a turn with four tools takes five model calls. The default Claude router, with
PointsmanMiddleware, against the strong one of its two models alone: by `ChatBedrockConverse` with
BedrockPromptCachingMiddleware and langchain-aws's retriever, and by `ChatPointsman`. Each call is priced by itself.
"""
