"""A conversation as people read it in a terminal. Knows answers and traces; asks nothing.

Every figure is from the trace: tokens as they came back, money at list prices.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from decimal import Decimal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointsman.ask.conversation import STOPPED, Answer
from pointsman.ask.figures import (
    buckets_of,
    cost_of,
    cost_without_cache_of,
    missed_of,
    reason_of,
    share_of_first,
    total_cost,
    total_cost_without_cache,
    total_usage,
)
from pointsman.ask.found import documents_of
from pointsman.catalog import Catalog
from pointsman.routing import Router
from pointsman.usage import Usage

_INDENT = 3
_LABEL_WIDTH = 13
_HEADERS = (
    "",
    "model",
    "uncached",
    "written",
    "read",
    "out",
    "first\ntoken",
    "",
    "cost,\nUSD",
    "without\ncaching",
)
# Model output must not steer the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

STAND_IN: Mapping[str, str] = {
    "llama": (
        "Whatever model is named, a small one on this machine answers. "
        "Look at the tokens, the latency and the decision, not at the prose."
    ),
    "extract": (
        "Whatever model is named, the answers are sentences picked from the prompt. "
        "Look at the tokens and the decision."
    ),
}


class Report:
    """Writes to a console: what is asked of whom, each answer as it comes, its figures, and a closing table."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._answers: list[Answer] = []
        self._column = 0
        self._word = ""

    def opening(self, *, about: str, target: str, url: str, engine: str | None) -> None:
        """Whom the questions are asked of and about what, if that is said, and what stands behind the endpoint."""
        self._line(Text.assemble("Asking ", (target, "bold"), f" about {printable(about)}." if about else "."))
        self._line(f"Endpoint {url}" + (f", engine {engine}." if engine else "."))
        if engine is not None:
            self._line(Text(STAND_IN.get(engine, STAND_IN["llama"]), style="yellow"))

    def question(self, question: str, *, typed: bool = False) -> None:
        """The next question, before it is asked; if it was typed here, it is on the screen already."""
        if not typed:
            self._line()
            self._line(Text(f"{len(self._answers) + 1}. {printable(question)}", style="bold"))
        self._line()

    def hint(self, text: str) -> None:
        """Something that is good to know, but no part of the conversation."""
        self._line(Text(text, style="dim"))

    def failure(self, message: str) -> None:
        """Why a question got no answer, or none to its end."""
        self._end_line()
        self._line(Text(" " * _INDENT + printable(message), style="red"))

    def text(self, piece: str) -> None:
        """A piece of the answer; words are kept whole where the console is a terminal."""
        for part in re.split(r"(\s)", printable(piece)):
            if not part.isspace():
                self._word += part
                continue
            self._end_word()
            if part == "\n":
                self._break()
            elif self._column:
                self._write(" ")

    def answer(self, answer: Answer) -> None:
        """The figures of the answer that was written."""
        self._end_line()
        if not answer.text.strip():
            self._line(Text(" " * _INDENT + "(no text came)", style="dim"))
        self._line()
        for label, value in self._figures(answer):
            self._figure(label, value)
        self._answers.append(answer)

    def closing(self) -> None:
        """The table of all answers, and what caching saved; nothing where there are none."""
        if not self._answers:
            return
        self._line()
        self._console.print(_table(self._answers))
        self._line()
        self._line(Text(_verdict(self._answers)))

    def _figures(self, answer: Answer) -> list[tuple[str, str]]:
        trace, first = answer.trace, (self._answers or [answer])[0]
        named = f"{trace.model.name} ({trace.invoked_model_id})"
        if self._answers and (before := self._answers[-1].trace.model).invoke_id != trace.model.invoke_id:
            named += f", switched from {before.name}"
        figures = [("model", named), ("why", reason_of(answer))]
        figures += [("refused", f"{attempt.model}: {attempt.error}") for attempt in trace.attempts]
        if (documents := documents_of(answer)) is not None:
            figures.append(("documents", documents))
        figures.append(("tokens", _tokens(trace.usage)))
        if (missed := missed_of(answer)) is not None:
            figures.append(("not read", missed))
        figures.append(("first token", _first_token(answer, first)))
        figures.append(
            ("cost", f"{_dollars(cost_of(answer))}; {_dollars(cost_without_cache_of(answer))} without caching")
        )
        if answer.stop_reason == "max_tokens":
            figures.append(("cut short", "the answer reached the most tokens allowed"))
        elif answer.stop_reason == STOPPED:
            figures.append(("cut short", "you stopped the answer"))
        figures += [("went wrong", failure) for failure in trace.advice_failures]
        return figures

    def _figure(self, label: str, value: str) -> None:
        before = _INDENT + _LABEL_WIDTH
        if self._console.is_terminal:
            # Names of files and models have hyphens.
            lines = textwrap.wrap(value, max(self._console.width - before, 20), break_on_hyphens=False)
            value = ("\n" + " " * before).join(lines)
        self._line(Text.assemble(" " * _INDENT, (f"{label:<{_LABEL_WIDTH}}", "dim"), value))

    def _end_line(self) -> None:
        self._end_word()
        self._break()

    def _end_word(self) -> None:
        if not self._word:
            return
        if self._console.is_terminal and self._column and self._column + len(self._word) > self._console.width - 2:
            self._break()
        if not self._column:
            self._write(" " * _INDENT)
        self._write(self._word)
        self._word = ""

    def _break(self) -> None:
        if self._column:
            self._console.file.write("\n")
            self._console.file.flush()
        self._column = 0

    def _write(self, text: str) -> None:
        # Not by rich: it would take brackets for markup, and wrap each piece by itself.
        self._console.file.write(text)
        self._console.file.flush()
        self._column += len(text)

    def _line(self, text: Text | str = "") -> None:
        self._console.print(text, soft_wrap=not self._console.is_terminal)


def described(router: Router | None, model_id: str, catalog: Catalog) -> str:
    """Whom the questions are asked of, in words."""
    if router is None:
        return model_id
    return f"{router.name} ({' or '.join(catalog.resolve(model).name for model in router.model_ids)})"


def printable(text: str) -> str:
    """The text without what would steer a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def _table(answers: Sequence[Answer]) -> Table:
    """At most 80 columns wide with the catalogue's names."""
    table = Table(box=None, show_footer=len(answers) > 1, pad_edge=False, collapse_padding=True)
    for header in _HEADERS:
        left = header in ("", "model")
        table.add_column(header, justify="left" if left else "right", footer_style="bold", no_wrap=header != "model")
    for number, answer in enumerate(answers, 1):
        usage, share = answer.trace.usage, _percent(share_of_first(answer, answers[0]))
        table.add_row(
            str(number),
            answer.trace.model.name,
            *(f"{tokens:,}" for tokens in buckets_of(usage)) if usage else ("?",) * 4,
            _seconds(answer.first_token_s),
            share,
            _amount(cost_of(answer)),
            _amount(cost_without_cache_of(answer)),
        )
    for column, footer in zip(table.columns, _footers(answers), strict=True):
        column.footer = footer
    return table


def _footers(answers: Sequence[Answer]) -> tuple[str, ...]:
    tokens = (f"{count:,}" for count in buckets_of(total_usage(answers) or Usage()))
    costs = total_cost(answers), total_cost_without_cache(answers)
    return ("", "total", *tokens, "", "", *map(_amount, costs))


def _verdict(answers: Sequence[Answer]) -> str:
    usage = total_usage(answers)
    cost, without = total_cost(answers), total_cost_without_cache(answers)
    if usage is None or not usage.input_tokens:
        return "No usage came back."
    read = f"{_percent(usage.cache_read_tokens / usage.input_tokens)} of the prompt tokens were read from the cache"
    if cost is None or not without:
        return f"{read}; the price is not known."
    change = float(1 - cost / without)
    less = _percent(abs(change))
    compared = "the same as" if less == _percent(0) else f"{less} {'less' if change > 0 else 'more'} than"
    return f"{read}; the bill is {compared} without caching."


def _tokens(usage: Usage | None) -> str:
    if usage is None:
        return "unknown: no usage came back"
    uncached, written, read, output = buckets_of(usage)
    return f"{uncached:,} uncached, {written:,} written to the cache, {read:,} read from it; {output:,} out"


def _first_token(answer: Answer, first: Answer) -> str:
    after = _seconds(answer.first_token_s)
    share = share_of_first(answer, first)
    return after if answer is first or share is None else f"{after}, {_percent(share)} of the first question's"


def _dollars(value: Decimal | None) -> str:
    return "unknown" if value is None else f"${_amount(value)}"


def _amount(value: Decimal | None) -> str:
    return "unknown" if value is None else f"{value:.6f}"


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f} s"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
