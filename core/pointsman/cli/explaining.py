"""How `pointsman explain` is carried out: files, what is made of them, and what is printed. Knows no options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pointsman.ask.report import printable
from pointsman.catalog import Catalog, Model
from pointsman.cli.bills import (
    AS_WRITTEN,
    NARROW,
    compact,
    cost_told,
    models_told,
    print_bills,
    print_broken,
    print_calls,
    sentence,
    summary_of,
)
from pointsman.cli.explain import Explaining
from pointsman.cli.kept import kept_routers, region_here
from pointsman.cli.layout import dollars, make_console, print_about, print_json, print_remark, table_of
from pointsman.cli.prices import priced
from pointsman.cli.showing import progress_bars
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.asked import in_order, read_log, read_requests, untimed
from pointsman.evaluation.causes import Sent, causes_of
from pointsman.evaluation.explanation import Annotated, Row, annotate
from pointsman.evaluation.findings import Explanation, Finding, Passed, Told
from pointsman.evaluation.parting import Parting
from pointsman.evaluation.policies import PLACEMENTS, PlacementPolicy, as_written
from pointsman.evaluation.replay import bounds_of, replay
from pointsman.evaluation.replay_report import Replays, counted, remarks_of
from pointsman.evaluation.traffic import RecordedRequest
from pointsman.evaluation.traffic.lines import files_of
from pointsman.evaluation.trial import Progress
from pointsman.prompt_routers import is_model_id, split_router_arn

# Below so many columns, the reasons of a request's blocks stand below the blocks.
_WIDE = 120
UNBROKEN = "Unbroken: nothing is lost that could have been read."
_ESTIMATED = "Tokens are estimated, USD are at list prices; nothing was sent."
_CHANCES = (
    "Chances are those that the prefix is asked for again within 5 minutes, or later within the hour; what a token "
    "costs is over all requests to come, in units of the plain input price."
)


def carry_out(wanted: Explaining) -> None:
    """Read, explain, and print.

    Raises:
        InvalidRequestError: a file can't be read, or something can't be explained as it was asked for.
    """
    catalog = priced(Catalog.default(), wanted.prices)
    if wanted.model is not None:
        _check_no_router(wanted.model, catalog)
    model = catalog.resolve(wanted.model) if wanted.model is not None else None
    files = [file for path in wanted.files for file in files_of(path)]
    found = {file: read_requests(file) for file in files}
    texts = [one for file in files for one in found[file] or ()]
    one_file = len(files) == 1
    if one_file and len(texts) == 1 and not wanted.diff:
        _check_models(texts, model, catalog)
        _request(wanted, texts[0], model or catalog.resolve(texts[0].recorded.model))
        return
    skipped: Counter[str] = Counter()
    requests = read_log(*files, skipped=skipped, found=found)
    if not requests:
        why = "; ".join(f"{counted(count)} passed over, {reason}" for reason, count in skipped.items())
        raise InvalidRequestError(f"there is nothing to explain: {why or 'the logs are empty'}.")
    if wanted.diff and len(requests) < 2:
        raise InvalidRequestError("--diff compares at least two requests: name two FILEs, or one that holds several.")
    _check_models(requests, model, catalog)
    if wanted.diff or (one_file and texts):
        _conversation(wanted, requests, model, catalog, skipped)
    else:
        _log(wanted, requests, model, catalog, skipped)


def _check_models(requests: Sequence[Sent], model: Model | None, catalog: Catalog) -> None:
    """That it is known which model each request goes to."""
    if model is not None:
        return
    names = dict.fromkeys(one.recorded.model for one in requests)
    if "" in names:
        told = "a request names no model. Name one for all with --model."
        raise InvalidRequestError(told if len(requests) > 1 else "the request names no model. Name one with --model.")
    for name in names:
        _check_no_router(name, catalog)


def _check_no_router(name: str, catalog: Catalog) -> None:
    is_router = split_router_arn(name) is not None
    if not is_router and not name.startswith("arn:") and not is_model_id(name):
        is_router = kept_routers(catalog=catalog, region=region_here(None)).router(name) is not None
    if is_router:
        raise InvalidRequestError(
            f"{name} names a prompt router, and each of its models has a cache of its own: name one with --model, or "
            "give the log of what was invoked."
        )


# --- one request --------------------------------------------------------------------------------------------------


def _request(wanted: Explaining, sent: Sent, model: Model) -> None:
    assert sent.request is not None
    told = annotate(sent.request, model, show_text=wanted.show_text)
    if wanted.as_json:
        print_json(told.to_dict())
        return
    console = make_console()
    rules = model.cache
    about = {
        "Model": model.id,
        "Tokens": f"{told.tokens:,} in {len(told.rows):,} blocks",
        "Rules": f"from {rules.minimum_tokens or 0:,} tokens, {rules.max_points} points, TTL {' or '.join(rules.ttls)}"
        if rules.max_points
        else "no caching that is known of",
    }
    if told.first_call is not None:
        again = f"{dollars(told.next_call)} for the same again within the TTL"
        about["USD"] = f"{dollars(told.first_call)} for the first call, {again}, without output"
    print_about(console, about)
    if console.width < _WIDE:
        _print_narrow(console, told)
    else:
        rows = [(*_cells(index, row), row.why) for index, row in enumerate(told.rows)]
        console.print(compact(table_of((*_OUTLINE, "why"), rows, right=_FIGURES)))
    for remark in (*told.remarks, *([_CHANCES] if told.weighs else []), _ESTIMATED):
        print_remark(console, remark)


_OUTLINE = ("block", "section", "role", "kind", "content", "tokens", "up to here", "point")
_FIGURES = (0, 5, 6)


def _cells(index: int, row: Row) -> tuple[str, ...]:
    point = "" if row.point is None else row.point.ttl + (" (caller's)" if row.by_caller else "")
    tokens = "unknown" if row.tokens is None else f"{row.tokens:,}"
    content = row.label if row.text is None else " ".join(row.text.split())
    return str(index), row.section, row.role or "", row.kind, content, tokens, f"{row.prefix_tokens:,}", point


def _print_narrow(console: Console, told: Annotated) -> None:
    """The rows without what is long, and that below each."""
    rows = [_cells(index, replace(row, text=None)) for index, row in enumerate(told.rows)]
    console.print()
    lines = _aligned([_OUTLINE, *rows])
    console.print(Text(next(lines), style="bold"))
    for line, row in zip(lines, told.rows, strict=True):
        console.print(Text(line))
        below = [" ".join(row.text.split())] if row.text else []
        for text in (*below, row.why):
            console.print(Padding(Text(printable(text), style="dim"), (0, 0, 0, len(_OUTLINE[0]) + 1)))
    console.print()


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines, whose cells stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if place in _FIGURES else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield " ".join(cells).rstrip()


# --- one conversation ---------------------------------------------------------------------------------------------


def _conversation(
    wanted: Explaining, requests: Sequence[Sent], model: Model | None, catalog: Catalog, skipped: Mapping[str, int]
) -> None:
    timed = not untimed(requests)
    explained = causes_of(in_order(requests), model=model, catalog=catalog, one_conversation=True)
    (told,) = explained.conversations
    if wanted.as_json:
        times = "told" if timed else "assumed"
        print_json({"times": times, **explained.to_dict(show_text=wanted.show_text)})
        return
    console = make_console()
    models = ", ".join(dict.fromkeys(one.model.invoke_id for one in told.passed))
    print_about(console, {"Model": models, "Points": _whose_points(explained)})
    console.print(_requests(told, timed=timed, narrow=console.width < NARROW))
    if not told.broken:
        _unbroken(console, told, show_text=wanted.show_text)
    for finding in told.findings:
        _finding(console, finding, told, show_text=wanted.show_text)
    passed_over = [f"Passed over: {counted(count)}, {why}." for why, count in skipped.items()]
    for remark in (*passed_over, *_reservations(requests), _ESTIMATED):
        print_remark(console, remark)


def _whose_points(explained: Explanation) -> str:
    return "as the requests hold them" if explained.as_written else "as Pointsman lays them: the requests hold none"


def _requests(told: Told, *, timed: bool, narrow: bool) -> Table:
    """A row for each request; the model only where there are several, and the price of a loss where there is room."""
    start = told.passed[0].at
    models = models_told(told.passed)
    rows = [
        (
            str(one.number + 1),
            f"{one.at - start:,.0f} s" if timed else "",
            *([models[one.model.invoke_id]] if models else []),
            f"{one.usage.input_tokens:,}",
            f"{one.usage.cache_read_tokens:,}",
            f"{one.usage.cache_write_tokens:,}",
            cost_told(one),
            *_lost(one, narrow=narrow),
        )
        for one in told.passed
    ]
    before = ("request", "after", *(["model"] if models else []))
    figures = ("tokens", "read", "written", "USD", "lost", *([] if narrow else ["lost USD"]))
    right = (0, 1, *range(len(before), len(before) + len(figures)))
    return compact(table_of((*before, *figures, "cause"), rows, right=right))


def _lost(one: Passed, *, narrow: bool) -> tuple[str, ...]:
    cause = one.cause
    what = "" if cause is None else cause.what
    tokens, amount = (
        ("", "") if cause is None or not cause.lost_tokens else (f"{cause.lost_tokens:,}", dollars(cause.lost))
    )
    return (tokens, what) if narrow else (tokens, amount, what)


def _finding(console: Console, finding: Finding, told: Told, *, show_text: bool) -> None:
    cause = finding.cause
    first = next(one for one in told.passed if one.number == finding.requests[0])
    where = f" in {cause.where}" if cause.where else ""
    console.print(Text(f"{sentence(cause.what)}{where}, first in request {first.number + 1}", style="bold"))
    if cause.parting is not None:
        _parted(console, cause.parting, first, show_text=show_text)
    count = len(finding.requests)
    if finding.lost_tokens:
        each = "" if finding.lost is None else f", {dollars(finding.lost / count)} USD per request"
        console.print(f"Lost: {finding.lost_tokens:,} tokens in {counted(count)}{each}.")
    console.print(printable(cause.advice))
    console.print()


def _parted(console: Console, parted: Parting, one: Passed, *, show_text: bool) -> None:
    """Where a request parts from an earlier one, and what can be read all the same."""
    found = parted.found
    at = ""
    if found is not None:
        field = "" if found.field is None else f", in {found.field}"
        at = f" at byte {found.byte:,} of {parted.where} (character {found.character:,}{field})"
    before = "" if one.after is None else f" from request {one.after + 1}"
    same = f"{parted.common_tokens:,} tokens before that block are the same; {one.usage.cache_read_tokens:,} are read."
    console.print(f"Request {one.number + 1} parts{before}{at or f' at {parted.where}'}. {same}")
    if show_text and found is not None:
        console.print(Text(printable(f"before: {found.excerpts[0]!r}"), style="dim"))
        console.print(Text(printable(f"after:  {found.excerpts[1]!r}"), style="dim"))


def _unbroken(console: Console, told: Told, *, show_text: bool) -> None:
    console.print(UNBROKEN)
    for one in told.passed:
        if one.parting is not None:
            console.print(f"{sentence(one.parting.what)} in request {one.number + 1} loses nothing.")
            _parted(console, one.parting, one, show_text=show_text)


# --- logs ---------------------------------------------------------------------------------------------------------


def _log(
    wanted: Explaining, requests: Sequence[Sent], model: Model | None, catalog: Catalog, skipped: Mapping[str, int]
) -> None:
    times, reservations = "assumed" if untimed(requests) else "told", _reservations(requests)
    requests = in_order(requests)
    replays, no_bills = _bills([one.recorded for one in requests], model, catalog, skipped)
    explained = causes_of(requests, model=model, catalog=catalog)
    if wanted.as_json:
        bills = {"skipped": dict(skipped)} if replays is None else replays.to_dict()
        told = {**bills, "no_bills": no_bills or None, "times": times}
        print_json({**told, **explained.to_dict(show_text=wanted.show_text)})
        return
    about = {
        "Explained": ", ".join(path.name or str(path) for path in wanted.files),
        "Requests": f"{len(requests):,} in {_conversations(len(explained.conversations))}",
        "Points": _whose_points(explained),
    }
    console = make_console()
    print_about(console, about if replays is None else {**about, "Bill": summary_of(replays)})
    if replays is not None:
        print_bills(console, replays)
    remarks = [no_bills] if replays is None else remarks_of(replays)
    for remark in (*remarks, *reservations):
        print_remark(console, remark)
    print_calls(console, explained)
    print_broken(console, explained)


def _bills(
    requests: Sequence[RecordedRequest], model: Model | None, catalog: Catalog, skipped: Mapping[str, int]
) -> tuple[Replays | None, str]:
    """What each placement would have cost; None, and why, where a price isn't known."""
    pointed = [one._replace(outline=one.outline._replace(points=one.points or ())) for one in requests]
    placements: dict[str, tuple[Sequence[RecordedRequest], PlacementPolicy]] = {
        name: (requests, policy) for name, policy in PLACEMENTS.items()
    }
    if any(one.points for one in requests):
        placements = {AS_WRITTEN: (pointed, as_written), **placements}
    try:
        with progress_bars() as told:
            found = {
                name: replay(some, model=model, catalog=catalog, place=policy, progress=partial(_progress, told, name))
                for name, (some, policy) in placements.items()
            }
            return Replays(replays=found, bounds=bounds_of(requests, model=model, catalog=catalog), skipped=skipped), ""
    except InvalidRequestError as exc:
        return None, f"No bills: {exc}"


def _progress(told: Progress, name: str, _: str, done: int, total: int) -> None:
    told(name, done, total)


# --- how it is written --------------------------------------------------------------------------------------------


def _reservations(requests: Sequence[Sent]) -> list[str]:
    """What is assumed of requests that don't tell all."""
    told = []
    count = untimed(requests)
    if count == len(requests):
        told.append("No times are told: taken 1 second apart, so that no TTL passes.")
    elif count:
        told.append(f"{count:,} of {len(requests):,} requests tell no time: taken 1 second after the one before.")
    if not all(one.recorded.outline.counted for one in requests):
        told.append("Some blocks can't be counted (images, PDF): their tokens are left out of all figures.")
    return told


def _conversations(count: int) -> str:
    return "1 conversation" if count == 1 else f"{count:,} conversations"
