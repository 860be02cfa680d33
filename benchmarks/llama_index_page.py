"""Writes the figures of `llama_index_cost.py` as Markdown. Computes nothing but ratios, sums and verdicts."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from langchain_conversations import Talk
from langchain_runs import Tokens, cost
from llama_index_runs import ALONE, BARE, FLAGS, OURS, Run
from llama_index_shapes import AGENT, CITATION, CITATION_TAGGED, CONDENSE, CONTEXT, QUERY, QUERY_TAGGED

from pointsman.local.extract import count_tokens

_TOKENS = ("uncached", "written 5m", "written 1h", "read", "output")
_CHATS = (CONTEXT, CONDENSE)
_MUST_OF_CHATS, _MUST = 0.8, 1.0
_DOCUMENTS = ("stay", "resent", "loose", "named")
Runs = Sequence[Run]
"""One shape by all sides, in the order of `llama_index_runs.SIDES`."""


def text(talks: Sequence[Talk], comparisons: Sequence[Runs]) -> str:
    """The page."""
    parts = [
        _INTRODUCTION.format(names=", ".join(str(talk.name) for talk in talks)),
        "## What is asked\n",
        requirements(comparisons),
        figures(comparisons),
        _WITHIN,
        _within(comparisons),
        _SINGLE,
        _single(comparisons),
        *(_each(talks, runs) for runs in comparisons if _dearer(runs)),
        "## Findings\n",
        _findings(talks, {runs[0].shape: runs for runs in comparisons}),
    ]
    return "\n".join(parts)


def requirements(comparisons: Sequence[Runs]) -> str:
    """Each figure that is asked for, and whether it is reached."""
    rows = []
    for runs in comparisons:
        other, ours, bare, _ = runs
        must = _MUST_OF_CHATS if other.shape in _CHATS else _MUST
        found, besides = (_ratio(ours.usd, one.usd) for one in (other, bare))
        rows.append((f"{ours.shape}: ours / the other", f"<= {must:.2f}", f"{found:.3f}", _verdict(found <= must)))
        rows[-1] += (f"{besides:.3f}",)
    for runs in comparisons:
        if runs[0].shape not in _CHATS:
            dearer = len(_dearer(runs))
            found_of = f"{dearer} of {len(runs[0].conversations)}"
            rows.append((f"{runs[0].shape}: conversations that cost more", "0", found_of, _verdict(not dearer), ""))
    return _table(("figure", "must", "found", "verdict", "of the other without its flags"), rows)


def figures(comparisons: Sequence[Runs]) -> str:
    """The bills by all sides."""
    rows = [
        (
            run.shape,
            run.side,
            str(run.calls),
            *(f"{count:,}" for count in run.tokens),
            f"{run.usd:.4f}",
            f"{_ratio(run.usd, runs[0].usd):.3f}",
        )
        for runs in comparisons
        for run in runs
    ]
    return _BILLS + "\n" + _table(("user code", "sent by", "calls", *_TOKENS, "USD", "of the first"), rows)


def _within(comparisons: Sequence[Runs]) -> str:
    """What the traces of our calls tell."""
    rows = []
    for _, ours, *_ in comparisons:
        traces = _traces(ours)
        told = [trace["documents"] or {} for trace in traces]
        misses = Counter(trace["miss"]["kind"] for trace in traces if trace["miss"])
        rows.append(
            (
                ours.shape,
                str(len(traces)),
                *(str(sum(one.get(name, 0) for one in told)) for name in _DOCUMENTS),
                str(sum(len(one.get("not_found", ())) for one in told)),
                str(len(_in_vain(traces))),
                ", ".join(f"{count} {kind}" for kind, count in misses.most_common()),
                str(sum(bool(trace["advice_failures"]) for trace in traces)),
            )
        )
    header = ("user code", "calls", *_DOCUMENTS, "not found", "written in vain", "misses", "advice failures")
    return _table(header, rows)


def _single(comparisons: Sequence[Runs]) -> str:
    rows = []
    for runs in comparisons:
        other, ours, *_ = runs
        ratios = [_ratio(cost(ours.conversations[name]), cost(told)) for name, told in other.conversations.items()]
        above = _dearer(runs)
        by = sum((_more(runs, name) for name in above), Decimal(0))
        most = f"{max(ratios):.3f}" if above else ""
        rows.append((ours.shape, f"{min(ratios):.3f}", f"{max(ratios):.3f}", str(len(above)), f"{by:.4f}", most))
    return _table(("user code", "least", "most", "above", "by USD, together", "the worst"), rows)


def _each(talks: Sequence[Talk], runs: Runs) -> str:
    other, ours, *_ = runs
    rows = []
    for talk in talks:
        theirs, own = other.conversations[talk.name], ours.conversations[talk.name]
        rows.append(
            (
                str(talk.name),
                str(len(talk.turns)),
                f"{own.input:,}",
                f"{own.written_5m + own.written_1h:,}",
                f"{own.read:,}",
                f"{cost(theirs):.5f}",
                f"{cost(own):.5f}",
                f"{_more(runs, talk.name):+.5f}",
                f"{_ratio(cost(own), cost(theirs)):.3f}",
            )
        )
    header = ("conversation", "questions", "prompt tokens, ours", "written", "read", "USD, the other", "USD, ours")
    return f"### {ours.shape}, conversation by conversation\n\n" + _table((*header, "more", "ours / other"), rows)


def _findings(talks: Sequence[Talk], by_shape: Mapping[str, Runs]) -> str:
    said = sum(count_tokens(turn.answer) for talk in talks for turn in talk.turns)
    return _listed(
        [
            *(_of_chat(by_shape[shape], said) for shape in _CHATS),
            _of_condensing(by_shape[CONDENSE]),
            _of_queries(by_shape[QUERY], by_shape[QUERY_TAGGED]),
            _of_citations(by_shape[CITATION], by_shape[CITATION_TAGGED]),
            _of_agent(by_shape[AGENT]),
            _of_alone(by_shape[CONTEXT]),
        ]
    )


def _of_chat(runs: Runs, said: int) -> str:
    other, ours, bare, _ = runs
    prompts = _ratio(*(cost(run.tokens._replace(output=0)) for run in (ours, other)))
    condensed = sum(trace["usage"]["output_tokens"] for trace in _traces(ours) if trace["documents"] is None)
    with_answers = _ratio(*(cost(run.tokens._replace(output=said + condensed)) for run in (ours, other)))
    return (
        f"**{ours.shape}.** The engine puts what was retrieved in front of the system prompt. So the other's point "
        f"behind the system prompt writes {_written(other.tokens):,} tokens and reads {other.tokens.read:,} of them: "
        f"with its caching flags it pays {_ratio(other.usd, bare.usd):.3f} of what it would pay without. Ours reads "
        f"{ours.tokens.read / ours.tokens.input:.0%} of its prompt tokens, and comes to "
        f"{_ratio(ours.usd, bare.usd):.3f} of the other without flags. Prompts alone come to {prompts:.3f} of the "
        f"other with flags; had the engine answered at the length of the recorded answers ({said:,} tokens), the "
        f"bill would be {with_answers:.3f}."
    )


def _of_condensing(runs: Runs) -> str:
    _, ours, *_ = runs
    condensed = [trace for trace in _traces(ours) if trace["documents"] is None]
    vain = _in_vain(condensed)
    written = sum(trace["usage"]["cache_write_tokens"] for trace in vain)
    sent = sum(trace["usage"]["input_tokens"] for trace in condensed)
    plainly = ours.tokens._replace(uncached=ours.tokens.uncached + written, written_5m=ours.tokens.written_5m - written)
    told = (
        f"**Condensing.** {len(condensed)} calls put a question in other words, with {sent:,} prompt tokens: the "
        "history as one text, which no later prompt begins with. The shorter ones are below the model's minimum, and "
        f"{len(vain)} of the others are written to the cache nonetheless: {written:,} tokens, none of them read"
    )
    return f"{told}, for ${cost(ours.tokens) - cost(plainly):.4f} of ${ours.usd:.4f}." if vain else f"{told}."


def _of_queries(untagged: Runs, in_session: Runs) -> str:
    other, ours, *_ = untagged
    within = in_session[1]
    return (
        "**RetrieverQueryEngine.** Its default template has a short system prompt, below the model's minimum, and "
        f"passages and question in one message: nothing is the same at the next question. The other reads "
        f"{other.tokens.read:,} tokens, and ours writes {_written(ours.tokens):,}. In a session ours comes to "
        f"{_ratio(within.usd, other.usd):.3f}, since a passage that is retrieved twice for one question, under two "
        "ids, is sent once."
    )


def _of_citations(untagged: Runs, in_session: Runs) -> str:
    other, ours, *_ = untagged
    within, traces = in_session[1], _traces(ours)
    vain = _in_vain(traces)
    reach = sum(trace["usage"]["input_tokens"] >= _minimum(traces) for trace in traces)
    told = (
        "**CitationQueryEngine.** Its prompt has no system prompt: all of it is one message, of one block, that no "
        f"later prompt begins with. {reach} of {len(traces)} requests reach the model's minimum; ours writes "
        f"{len(vain)} of them to the cache, {_written(ours.tokens):,} tokens, and reads {ours.tokens.read:,}."
    )
    if vain:
        told += (
            " What it goes by: a conversation without a system prompt goes on within five minutes with a chance that "
            "was learnt from recorded traffic, and that lies barely where a write begins to pay. Nothing tells such a "
            "request from a chat's first one, and what is learnt of an application needs a system prompt or tools to "
            f"know it by. Sent plainly, the same would cost {_ratio(_plainly(ours.tokens), other.usd):.3f}."
        )
    return (
        f"{told} In a session, where PointsmanRetriever tells what was retrieved, {_written(within.tokens):,} tokens "
        f"are written, and the bill is {_ratio(within.usd, other.usd):.3f} of the other. The engine cuts texts longer "
        "than its chunks, and these are left as they are (not found)."
    )


def _of_agent(runs: Runs) -> str:
    other, ours, bare, alone = runs
    return (
        "**FunctionAgent.** BedrockConverse caches the system prompt, and no history: it sends "
        f"{other.tokens.uncached:,} of {other.tokens.input:,} prompt tokens uncached. Ours reads the history, and "
        f"sends a passage that was found once more as a reference: {_ratio(ours.tokens.input, other.tokens.input):.0%} "
        f"of the tokens. Without PointsmanRetriever it comes to {_ratio(alone.usd, other.usd):.3f}. `tool_caching` "
        "changes nothing here: without aioboto3, BedrockConverse's agents don't heed it, and the tool is far below the "
        f"minimum. Without flags the other costs {_ratio(bare.usd, other.usd):.3f} of itself."
    )


def _of_alone(runs: Runs) -> str:
    *_, bare, alone = runs
    return (
        "**Without PointsmanRetriever** nothing tells that the documents in front of the system prompt are others at "
        f"each question, until that was seen often enough: Pointsman by itself writes {_written(alone.tokens):,} of "
        f"ContextChatEngine's {alone.tokens.input:,} prompt tokens, reads {alone.tokens.read:,}, and comes to "
        f"{_ratio(alone.usd, bare.usd):.3f} of BedrockConverse without flags. Its alarm says so after twenty calls."
    )


def _traces(run: Run) -> list[Mapping[str, Any]]:
    return [trace for told in run.traces.values() for trace in told]


def _in_vain(traces: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Requests whose last message was written whole, as the only thing in their prompt."""
    return [
        trace
        for trace in traces
        if trace["usage"]["cache_write_tokens"] and trace["placement"]["points"][0]["section"] == "messages"
        if len(trace["placement"]["points"]) == 1 and trace["placement"]["points"][0]["after"] == 0
    ]


def _minimum(traces: Iterable[Mapping[str, Any]]) -> int:
    needs = {trace["miss"]["need"] for trace in traces if trace["miss"] and "need" in trace["miss"]}
    assert len(needs) == 1, "no request was below the model's minimum"
    return int(needs.pop())


def _dearer(runs: Runs) -> list[int]:
    return [name for name in runs[0].conversations if _more(runs, name) > 0]


def _more(runs: Runs, name: int) -> Decimal:
    other, ours, *_ = runs
    return cost(ours.conversations[name]) - cost(other.conversations[name])


def _written(tokens: Tokens) -> int:
    return tokens.written_5m + tokens.written_1h


def _plainly(tokens: Tokens) -> Decimal:
    return cost(Tokens(uncached=tokens.input, output=tokens.output))


def _ratio(one: Decimal | int, other: Decimal | int) -> float:
    return float(Decimal(one) / Decimal(other))


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "**falls short**"


def _listed(items: Iterable[str]) -> str:
    wrapped = (textwrap.wrap(f"- {item}", 120, subsequent_indent="  ", break_on_hyphens=False) for item in items)
    return "\n".join("\n".join(lines) for lines in wrapped) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


_INTRODUCTION = f"""# What stock LlamaIndex code costs, with both LLMs

Written by `make bench-llama-index`, which runs `python benchmarks/llama_index_cost.py --data ../shared/data`. The same
user code asks the same questions with `BedrockConverse` and with `Pointsman`, each against a local endpoint of its own;
tokens are those of the endpoints' accounts, prices the published ones of `us.anthropic.claude-sonnet-5`, whose reads
cost a tenth of plain input.

- **Conversations**: the twenty of MTRAG's that [LangChain's](langchain.md) user code is measured with. By the data's
  own number:
  {{names}}.
  A minute passes between questions, two hours between conversations; the endpoint's clock is the client's too.
- **User code** (`llama_index_shapes.py`): `ContextChatEngine`, `CondensePlusContextChatEngine` and `FunctionAgent`,
  each with a system prompt of 1,500 tokens and a `Memory` whose `session_id` names the conversation;
  `RetrieverQueryEngine` and `CitationQueryEngine` as they come, which are asked each question by itself. Of those two
  also *in a session*: the same code within `instrument_tags({{{{"session_id": ...}}}})`, on both sides.
- **Retriever**: gives the passages that MTRAG has for the turn that the benchmark is at, whatever it is asked: what the
  condensing call and the agent make of a question is not in the user's words.
- **History** of the chat engines is what was really said, MTRAG's answers included: `chat(..., chat_history=...)` gives
  it to both sides alike. That of the agent is its memory's. The endpoint's engine answers with two sentences of the
  prompt, and calls a tool that is plainly asked for: the agent's questions begin with `Search the documents:`, on both
  sides.
- **The other**: {FLAGS} (`system_prompt_caching=True, tool_caching=True`). **Ours**:
  {OURS} around the very same retriever. Besides: {BARE} without flags;
  {ALONE}.
"""

_BILLS = """## Bills

Tokens of all conversations, output included in USD. The first two of each user code are compared.
"""

_WITHIN = """What the traces of our calls tell: documents by what became of them, summed over all calls; calls of one
message that were written to the cache whole, and never read; and why less was read than could have been. A conversation
begins two hours after the one before: its first call finds nothing.
"""

_SINGLE = f"""## Single conversations

What one of the twenty costs by ours, of what it costs by {FLAGS}; and how many cost more.
"""
