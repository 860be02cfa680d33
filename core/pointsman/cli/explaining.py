"""How `pointsman explain` is carried out: files, what is made of them, and what is printed. Knows no options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointsman.ask.report import printable
from pointsman.catalog import Catalog, Model
from pointsman.cli.explain import Explaining
from pointsman.cli.layout import dollars, make_console, print_about, print_json, print_remark, table_of
from pointsman.cli.showing import print_figures, progress_bars
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.asked import in_order, read_log, read_requests
from pointsman.evaluation.causes import Explanation, Finding, Passed, Sent, Told, causes_of
from pointsman.evaluation.explanation import Annotated, Row, annotate
from pointsman.evaluation.parting import Parting
from pointsman.evaluation.policies import PLACEMENTS
from pointsman.evaluation.replay import bounds_of, model_of, replay
from pointsman.evaluation.replay_report import Replays, remarks_of
from pointsman.evaluation.replay_report import table_of as bills_of
from pointsman.evaluation.trial import Progress

_MOST_CONVERSATIONS = 20
UNBROKEN = "Unbroken: nothing is lost that could have been read."
_COSTS = (
    "Chances are those that the prefix is asked for again within 5 minutes, or later within the hour; what a token "
    "costs is over all requests to come, in units of the plain input price. Tokens are estimated."
)


def carry_out(wanted: Explaining) -> None:
    """Read, explain, and print.

    Raises:
        InvalidRequestError: a file can't be read, or something can't be explained as it was asked for.
    """
    catalog = Catalog.default()
    model = catalog.resolve(wanted.model) if wanted.model is not None else None
    found = [read_requests(path) for path in wanted.files]
    texts = [one for requests in found for one in requests or ()]
    if wanted.diff or (len(found) == 1 and len(texts) > 1):
        _conversation(wanted, _of_one_conversation(wanted, found), model, catalog)
    elif len(found) == len(texts) == 1:
        _request(wanted, texts[0], model, catalog)
    else:
        _log(wanted, model, catalog)


def _of_one_conversation(wanted: Explaining, found: Sequence[list[Sent] | None]) -> list[Sent]:
    requests: list[Sent] = []
    for path, told in zip(wanted.files, found, strict=True):
        requests += read_log(path, skipped=Counter()) if told is None else told
    if len(requests) < 2:
        raise InvalidRequestError("--diff compares at least two requests: name two FILEs, or one that holds several.")
    return in_order(requests)


# --- one request --------------------------------------------------------------------------------------------------


def _request(wanted: Explaining, sent: Sent, model: Model | None, catalog: Catalog) -> None:
    model = model or _model_of(sent, catalog)
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
    print_about(console, about)
    console.print(_outline(told))
    for remark in (*told.remarks, _COSTS):
        print_remark(console, remark)


def _outline(told: Annotated) -> Table:
    rows = [(str(index), *_row(row)) for index, row in enumerate(told.rows)]
    return table_of(
        ("block", "section", "role", "kind", "content", "tokens", "up to here", "point", "why"), rows, right=(0, 5, 6)
    )


def _row(row: Row) -> tuple[str, ...]:
    point = "" if row.point is None else row.point.ttl + (" (caller's)" if row.by_caller else "")
    tokens = "unknown" if row.tokens is None else f"{row.tokens:,}"
    content = row.label if row.text is None else " ".join(row.text.split())
    return row.section, row.role or "", row.kind, content, tokens, f"{row.prefix_tokens:,}", point, row.why


def _model_of(sent: Sent, catalog: Catalog) -> Model:
    if not sent.recorded.model:
        raise InvalidRequestError("the request names no model. Name one with --model.")
    return model_of(sent.recorded, catalog)


# --- one conversation ---------------------------------------------------------------------------------------------


def _conversation(wanted: Explaining, requests: Sequence[Sent], model: Model | None, catalog: Catalog) -> None:
    _check_models(requests, model)
    explained = causes_of(requests, model=model, catalog=catalog, one_conversation=True)
    (told,) = explained.conversations
    if wanted.as_json:
        print_json(explained.to_dict(show_text=wanted.show_text))
        return
    console = make_console()
    models = ", ".join(dict.fromkeys(one.model.invoke_id for one in told.passed))
    print_about(console, {"Model": models, "Points": _whose_points(explained)})
    console.print(_requests(told))
    if not told.broken:
        _unbroken(console, told, show_text=wanted.show_text)
    for finding in told.findings:
        _finding(console, finding, told, show_text=wanted.show_text)
    console.print(Text("Tokens are estimated, USD are at list prices; nothing was sent.", style="dim"))


def _check_models(requests: Sequence[Sent], model: Model | None) -> None:
    if model is None and any(not one.recorded.model for one in requests):
        raise InvalidRequestError("a request names no model. Name one for all with --model.")


def _whose_points(explained: Explanation) -> str:
    return "as the requests hold them" if explained.as_written else "as Pointsman lays them: the requests hold none"


def _requests(told: Told) -> Table:
    start = told.passed[0].at
    rows = [
        (
            str(one.number + 1),
            f"{one.at - start:,.0f} s",
            one.model.id,
            f"{one.usage.input_tokens:,}",
            f"{one.usage.cache_read_tokens:,}",
            f"{one.usage.cache_write_tokens:,}",
            *_lost(one),
        )
        for one in told.passed
    ]
    header = ("request", "after", "model", "tokens", "read", "written", "lost", "USD", "cause")
    return table_of(header, rows, right=(0, 1, 3, 4, 5, 6, 7))


def _lost(one: Passed) -> tuple[str, str, str]:
    cause = one.cause
    return ("", "", "") if cause is None else (f"{cause.lost_tokens:,}", dollars(cause.lost), cause.what)


def _finding(console: Console, finding: Finding, told: Told, *, show_text: bool) -> None:
    cause = finding.cause
    first = next(one for one in told.passed if one.number == finding.requests[0])
    where = f" in {cause.where}" if cause.where else ""
    console.print(Text(f"{_sentence(cause.what)}{where}, first in request {first.number + 1}", style="bold"))
    if cause.parting is not None:
        _parted(console, cause.parting, first, show_text=show_text)
    count = len(finding.requests)
    each = "" if finding.lost is None else f", {dollars(finding.lost / count)} USD per request"
    console.print(f"Lost: {finding.lost_tokens:,} tokens in {_counted(count)}{each}.")
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
            console.print(f"{_sentence(one.parting.what)} in request {one.number + 1} loses nothing.")
            _parted(console, one.parting, one, show_text=show_text)


def _sentence(what: str) -> str:
    return what[:1].upper() + what[1:]


# --- logs ---------------------------------------------------------------------------------------------------------


def _log(wanted: Explaining, model: Model | None, catalog: Catalog) -> None:
    skipped: Counter[str] = Counter()
    requests = read_log(*wanted.files, skipped=skipped)
    if not requests:
        why = "; ".join(f"{_counted(count)} passed over, {reason}" for reason, count in skipped.items())
        raise InvalidRequestError(f"there is nothing to explain: {why or 'the logs are empty'}.")
    _check_models(requests, model)
    replays, no_bills = _bills(requests, model, catalog, skipped)
    explained = causes_of(requests, model=model, catalog=catalog)
    if wanted.as_json:
        bills = {"skipped": dict(skipped)} if replays is None else replays.to_dict()
        print_json({**bills, "no_bills": no_bills or None, **explained.to_dict(show_text=wanted.show_text)})
        return
    about = {
        "Explained": ", ".join(path.name for path in wanted.files),
        "Requests": f"{len(requests):,} in {_conversations(len(explained.conversations))}",
        "Points": _whose_points(explained),
    }
    tables, remarks = ([], [no_bills]) if replays is None else ([bills_of(replays)], remarks_of(replays))
    print_figures(about, tables, remarks, {})
    _broken(make_console(), explained)


def _bills(
    requests: Sequence[Sent], model: Model | None, catalog: Catalog, skipped: Mapping[str, int]
) -> tuple[Replays | None, str]:
    """What each placement would have cost; None, and why, where a price isn't known."""
    recorded = [one.recorded for one in requests]
    try:
        with progress_bars() as told:
            found = {
                name: replay(
                    recorded, model=model, catalog=catalog, place=policy, progress=partial(_progress, told, name)
                )
                for name, policy in PLACEMENTS.items()
            }
            return Replays(replays=found, bounds=bounds_of(recorded, model=model, catalog=catalog), skipped=skipped), ""
    except InvalidRequestError as exc:
        return None, f"No bills: {exc} `pointsman replay` takes that option."


def _progress(told: Progress, name: str, _: str, done: int, total: int) -> None:
    told(name, done, total)


def _broken(console: Console, explained: Explanation) -> None:
    broken = [told for told in explained.conversations if told.broken]
    console.print()
    if not broken:
        console.print("No conversation is broken: nothing is lost that could have been read.")
        return
    broken.sort(key=lambda told: -sum((one.lost or Decimal(0) for one in told.findings), Decimal(0)))
    console.print(Text("What broke the cache", style="bold"))
    rows = [
        (
            told.name,
            _began(told),
            f"{len(told.passed):,}",
            finding.cause.what,
            finding.cause.where,
            f"{len(finding.requests):,}",
            f"{finding.lost_tokens:,}",
            dollars(finding.lost),
        )
        for told in broken[:_MOST_CONVERSATIONS]
        for finding in told.findings
    ]
    header = ("conversation", "began", "requests", "cause", "where", "misses", "tokens lost", "USD")
    console.print(table_of(header, rows, right=(2, 5, 6, 7)))
    rest = len(broken) - _MOST_CONVERSATIONS
    unbroken = len(explained.conversations) - len(broken)
    more = f" {rest:,} more are broken, and cheaper; --json has all." if rest > 0 else ""
    console.print(Text(f"{unbroken:,} of {len(explained.conversations):,} are unbroken.{more}", style="dim"))
    advice: Mapping[str, str] = {one.cause.what: one.cause.advice for told in broken for one in told.findings}
    for what, told_advice in advice.items():
        console.print(Text(printable(f"{_sentence(what)}: {told_advice}"), style="dim"))


def _began(told: Told) -> str:
    try:
        return datetime.fromtimestamp(told.passed[0].at, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        return ""


# --- how it is written --------------------------------------------------------------------------------------------


def _conversations(count: int) -> str:
    return "1 conversation" if count == 1 else f"{count:,} conversations"


def _counted(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests"
