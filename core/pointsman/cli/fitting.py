"""`pointsman fit`: its options, and how it is carried out: labelled prompts in, one predictor's file out.

Whatever can be wrong with the files is found before anything is fitted. No prompt is ever printed. How a fit is made is
left to `pointsman.routing.trained`, how its card is shown to `cards`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pointsman.catalog import Catalog
from pointsman.errors import InvalidRequestError
from pointsman.feedback import FeedbackLog
from pointsman.routing import Outcomes, Router

if TYPE_CHECKING:
    from pointsman.routing.trained import TrainedPredictor

SUFFIX = ".npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """What a predictor is fitted to, and where it is written."""

    files: tuple[Path, ...]
    feedback: tuple[Path, ...]
    output: Path
    models: tuple[str, ...] = ()
    name: str = ""
    licence: str = ""
    force: bool = False
    as_json: bool = False

    def __post_init__(self) -> None:
        if not self.files and not self.feedback:
            raise InvalidRequestError("nothing to fit to: give files of labelled prompts, or --from-feedback.")


def fit(
    files: Annotated[
        list[Path] | None,
        # Hidden: the help would name its Python type. The text below tells of it.
        typer.Argument(metavar="FILE", hidden=True),
    ] = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it, such as my.predictor.npz.")
    ],
    from_feedback: Annotated[
        list[Path] | None,
        typer.Option(
            "--from-feedback", metavar="FILE", help="A feedback log to learn from; may be repeated.", show_default=False
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="The models to fit. Default: every column of numbers.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What traces call it. Default: the file's name.", show_default=False),
    ] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="The data's licence, for the card.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Fit a predictor of answers' quality to prompts of your own, for routers to decide by.

    Each FILE (jsonl, csv or parquet) holds labelled prompts: a column `prompt`, for each model a column of qualities
    from 0 to 1, and if known `<model>__output_tokens`. 200 to 1,500 prompts are wanted.

        pointsman fit outcomes.jsonl --output my.predictor.npz
    """
    carry_out(
        Fitting(
            files=tuple(files or ()),
            feedback=tuple(from_feedback or ()),
            output=output,
            models=tuple(filter(None, (one.strip() for one in (models or "").split(",")))),
            name=output.name.removesuffix(SUFFIX).removesuffix(".predictor") if name is None else name,
            licence=licence,
            force=force,
            as_json=as_json,
        )
    )


def carry_out(wanted: Fitting) -> None:
    """Fit, write the file, and print its card.

    Raises:
        InvalidRequestError: the labelled prompts can't be fitted to, or the file can't be written.
        MissingExtraError: the extra `fit` is not installed.
    """
    check_output(wanted.output, force=wanted.force)
    outcomes = labelled_prompts(wanted)
    with _spinner(f"fitting to {len(outcomes):,} prompts"):
        predictor = _fitted(outcomes, wanted)
    try:
        predictor.save(wanted.output)
    except OSError as exc:
        raise InvalidRequestError(f"can't write {wanted.output}: {exc.strerror or exc}.") from exc
    from pointsman.cli.cards import print_card, to_json

    if wanted.as_json:
        print(json.dumps(to_json(predictor.card, wanted.output), indent=2, ensure_ascii=False))
    else:
        print_card(predictor.card, wanted.output)


def check_output(path: Path, *, force: bool) -> None:
    """Find out before anything is fitted whether the file can be written.

    Raises:
        InvalidRequestError: its name ends in something else, there is no such folder, or it exists already.
    """
    if path.suffix != SUFFIX:
        raise InvalidRequestError(f"the output {path} must end in {SUFFIX}, such as my.predictor{SUFFIX}.")
    if not path.parent.is_dir():
        raise InvalidRequestError(f"{path.parent}: no such folder for the output {path.name}.")
    if path.is_dir():
        raise InvalidRequestError(f"{path} is a folder. Name a file.")
    if path.exists() and not force:
        raise InvalidRequestError(f"{path} exists. Replace it with --force, or choose another --output.")


def labelled_prompts(wanted: Fitting) -> Outcomes:
    """All files and feedback logs in one, each prompt once, each model by its id in the catalogue if it has one.

    Raises:
        InvalidRequestError: a file can't be read as what it should be, or a model isn't in it.
    """
    catalog = Catalog.default()
    parts = [Outcomes.read(file, models=wanted.models or None) for file in wanted.files]
    parts += [FeedbackLog(log).outcomes() for log in wanted.feedback]
    outcomes = Outcomes.merged(_by_catalogue_id(part, catalog) for part in parts)
    return outcomes.of(models=[_id_of(model, catalog) for model in wanted.models]) if wanted.models else outcomes


def load_predictor(path: Path) -> TrainedPredictor:
    """The predictor in a file that `pointsman fit` wrote.

    Raises:
        InvalidRequestError: there is no such file, or it is another.
    """
    from pointsman.routing.trained import TrainedPredictor

    if not path.is_file():
        raise InvalidRequestError(f"{path}: no such file.")
    try:
        return TrainedPredictor.load(path)
    except OSError as exc:
        raise InvalidRequestError(f"{path}: it can't be read: {exc.strerror or exc}.") from exc


def check_heads(predictor: TrainedPredictor, router: Router, catalog: Catalog) -> None:
    """Without a head for one of its models a router could only take its fallback model.

    Raises:
        InvalidRequestError: one is missing.
    """
    ids = [catalog.resolve(model).id for model in router.model_ids]
    if missing := [model for model in ids if model not in predictor.models]:
        had = ", ".join(predictor.models)
        raise InvalidRequestError(f"the predictor has no head for {missing[0]}, of {router.name}; it has for {had}.")


def _fitted(outcomes: Outcomes, wanted: Fitting) -> TrainedPredictor:
    from pointsman.routing.trained import TrainedPredictor

    return TrainedPredictor.fit(
        outcomes.prompts,
        outcomes.qualities,
        output_tokens=outcomes.output_tokens,
        weights=outcomes.weights,
        name=wanted.name,
        licence=wanted.licence,
        on=datetime.now(UTC).date(),
    )


def _by_catalogue_id(outcomes: Outcomes, catalog: Catalog) -> Outcomes:
    """A file may name a model by its profile, a feedback log names it by its id: they are to be one."""
    ids = {model: _id_of(model, catalog) for model in outcomes.models}
    for model_id, columns in Counter(ids.values()).items():
        if columns > 1:
            both = " and ".join(repr(model) for model in ids if ids[model] == model_id)
            raise InvalidRequestError(f"{both} are one model, {model_id}. Name one of them with --models.")
    return replace(
        outcomes,
        qualities={ids[model]: values for model, values in outcomes.qualities.items()},
        output_tokens={ids[model]: values for model, values in outcomes.output_tokens.items()},
    )


def _id_of(model: str, catalog: Catalog) -> str:
    from pointsman.evaluation.trial import resolved

    known = resolved(model, catalog)
    return known.id if known.known else model


@contextmanager
def _spinner(doing: str) -> Iterator[None]:
    """What is being done, and for how long, on stderr; nothing where that is not a terminal."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        shown.add_task(doing, total=None)
        yield
