"""How `pointsman replay` is carried out: logs, policies, progress, and what is printed. Knows no options.

Whatever can be wrong with the policies is found before the first log is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from pointsman.catalog import Catalog, Model
from pointsman.cli.bills import NARROW
from pointsman.cli.kept import kept_routers, region_here
from pointsman.cli.layout import make_console
from pointsman.cli.loading import load_function
from pointsman.cli.prices import priced
from pointsman.cli.replay import Replaying
from pointsman.cli.showing import print_figures, progress_bars
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.asked import read_requests
from pointsman.evaluation.policies import PLACEMENTS, ExpectedQuality, PlacementPolicy, RoutingPolicy
from pointsman.evaluation.replay import Replay, bounds_of, replay
from pointsman.evaluation.replay_chart import check_plot, write_plot
from pointsman.evaluation.replay_report import Replays, remarks_of, table_of
from pointsman.evaluation.traffic import RecordedRequest, interleaved, read_traffic
from pointsman.evaluation.trial import Progress as Told
from pointsman.routing import Router

_TOLD_EVERY = 1000


def carry_out(wanted: Replaying) -> None:
    """Replay, print, and draw.

    Raises:
        InvalidRequestError: something can't be done as it was asked for, or a log can't be read.
    """
    for path in wanted.plots:
        check_plot(path)
    for path in wanted.logs:
        if not path.exists():
            raise InvalidRequestError(f"{path}: no such file or folder.")
    placements = _placements(wanted)
    catalog = priced(Catalog.default(), wanted.prices)
    model = catalog.resolve(wanted.model) if wanted.model is not None else None
    router, candidates = _router(wanted, catalog)
    skipped: Counter[str] = Counter()
    with progress_bars() as told:
        requests = _read(wanted, skipped, told)
        if not requests:
            raise InvalidRequestError(f"there is nothing to replay: {_listed(skipped) or 'the logs are empty'}.")
        run = partial(replay, requests, model=model, router=router, candidates=candidates, catalog=catalog)
        found: dict[str, Replay] = {}
        for name, placement in placements.items():
            found[name] = run(place=placement, progress=partial(_named, told, name))
        bounds = None
        if router is None:
            told("bounds", 0, 1)
            bounds = bounds_of(requests, model=model, catalog=catalog)
            told("bounds", 1, 1)
    _show(wanted, Replays(replays=found, bounds=bounds, skipped=skipped), _about(wanted, requests, found))


def _named(told: Told, name: str, _: str, done: int, total: int) -> None:
    told(name, done, total)


def _read(wanted: Replaying, skipped: Counter[str], told: Told) -> list[RecordedRequest]:
    try:
        return list(_recorded(wanted, skipped, told))
    except InvalidRequestError as exc:
        if (path := next(filter(_holds_requests, wanted.logs), None)) is not None:
            raise InvalidRequestError(
                f"{path} holds a request as it is sent, and no log. Look into it with `pointsman explain {path}`."
            ) from exc
        raise


def _holds_requests(path: Path) -> bool:
    with suppress(InvalidRequestError):
        return path.is_file() and bool(read_requests(path))
    return False


def _recorded(wanted: Replaying, skipped: Counter[str], told: Told) -> Iterator[RecordedRequest]:
    timeline = partial(interleaved, seed=wanted.seed) if wanted.interleave else None
    count = 0
    for request in read_traffic(*wanted.logs, timeline=timeline, skipped=skipped):
        count += 1
        if count % _TOLD_EVERY == 0:
            told("reading", count, count)  # How many there will be, nobody knows before the end.
        yield request
    told("reading", count, count)


# --- what is replayed ---------------------------------------------------------------------------------------------


def _placements(wanted: Replaying) -> Mapping[str, PlacementPolicy]:
    names = tuple(dict.fromkeys((*(PLACEMENTS if wanted.compare else ()), *wanted.placements)))
    return {name: _placement(name) for name in names}


def _placement(name: str) -> PlacementPolicy:
    if name in PLACEMENTS:
        return PLACEMENTS[name]
    if ":" not in name:
        known = ", ".join(PLACEMENTS)
        raise InvalidRequestError(f"unknown placement {name!r}. Known by name: {known}; or MODULE:FUNCTION.")
    return load_function(name, "placement")


def _router(wanted: Replaying, catalog: Catalog) -> tuple[RoutingPolicy | None, Sequence[Model]]:
    if wanted.router is None:
        return None, ()
    registry = kept_routers(catalog=catalog, region=region_here(None))
    found = registry.router(wanted.router)
    if isinstance(found, Router):
        return ExpectedQuality(found), [catalog.resolve(one) for one in found.model_ids]
    if ":" not in wanted.router or wanted.router.startswith("arn:"):
        known = ", ".join(record.name for record in registry.records())
        raise InvalidRequestError(f"unknown router {wanted.router!r}. Known by name: {known}; or MODULE:FUNCTION.")
    if not wanted.candidates:
        raise InvalidRequestError("a router of one's own needs models to choose from: --models A,B.")
    return load_function(wanted.router, "router"), [catalog.resolve(one) for one in wanted.candidates]


# --- what is shown ------------------------------------------------------------------------------------------------


def _about(wanted: Replaying, requests: Sequence[RecordedRequest], found: Mapping[str, Replay]) -> dict[str, str]:
    first = next(iter(found.values()))
    times = [request.at for request in requests]
    hours = (max(times) - min(times)) / 3600
    models = wanted.router or ", ".join(first.requests_of)
    return {
        "Replayed": ", ".join(log.name for log in wanted.logs),
        "Requests": f"{first.requests:,} in {first.sessions:,} sessions, over {hours:,.1f} hours",
        "Tokens": f"{first.usage.input_tokens:,} in, {first.usage.output_tokens:,} out",
        "Router" if wanted.router else "Model": models,
    }


def _show(wanted: Replaying, replays: Replays, about: dict[str, str]) -> None:
    for path in wanted.plots:
        write_plot(path, replays)
    if wanted.as_json:
        print(json.dumps({"about": about, **replays.to_dict()}, indent=2, ensure_ascii=False))
    else:
        told = table_of(replays, narrow=make_console().width < NARROW)
        print_figures(about, [told], remarks_of(replays), {"Plot": wanted.plots})


def _listed(skipped: Mapping[str, int]) -> str:
    return "; ".join(f"{count:,} requests were passed over, {why}" for why, count in skipped.items())
