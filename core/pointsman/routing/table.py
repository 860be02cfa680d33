"""Rows of a JSONL, CSV or Parquet file as named columns, and which of them hold numbers.

Knows files and where in them a cell stands; what the columns mean is left to `pointsman.routing.outcomes`.
"""

from __future__ import annotations

import csv
import json
import math
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pointsman.errors import InvalidRequestError, MissingExtraError

# What pandas names an index that it was told to write.
_INDEX_NAMES = ("__index_level_", "Unnamed: ")
_MISSING_WORDS = frozenset({"", "nan", "na", "n/a", "null", "none"})
_TRUTH_WORDS = {"true": True, "false": False}

ColumnKind = Literal["numbers", "truths", "text", "empty"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file's rows by column; a cell that is missing is None.

    `places` tell where each row stands ("line 7"). `typed` is False where all cells are text (CSV), so that numbers
    are to be read from it. `nested` are the columns that a JSONL file names as models itself.
    """

    path: Path
    columns: Mapping[str, Sequence[Any]]
    places: Sequence[str]
    typed: bool = True
    nested: tuple[str, ...] = field(default=())

    def refuse(self, problem: str, *, row: int | None = None, column: str | None = None) -> InvalidRequestError:
        """An error that names the file, and the place in it."""
        place = [str(self.path)] + ([] if row is None else [self.places[row]])
        place += [] if column is None else [f"column {column!r}"]
        return InvalidRequestError(f"{', '.join(place)}: {problem}")

    def numbers(self, name: str, *, strictly: bool = False) -> tuple[ColumnKind, list[float]]:
        """What kind of column it is, and its cells as numbers: NaN where missing, 1 and 0 for true and false.

        A column that is text for half or more is text, and has no numbers; `strictly` it may hold none.

        Raises:
            InvalidRequestError: a text stands among numbers.
        """
        cells = [_read(cell) for cell in self.columns[name]] if not self.typed else self.columns[name]
        texts = [row for row, cell in enumerate(cells) if not _is_number(cell)]
        present = sum(cell is not None for cell in cells)
        if texts and not strictly and 2 * len(texts) >= present:
            return "text", []
        if texts:
            shown = repr(self.columns[name][texts[0]])
            raise self.refuse(f"{shown:.60} is not a number. Correct it, or empty the cell.", row=texts[0], column=name)
        values = [math.nan if cell is None else float(cell) for cell in cells]
        if all(math.isnan(value) for value in values):
            return "empty", values
        return ("truths" if all(cell is None or isinstance(cell, bool) for cell in cells) else "numbers"), values


def read_table(path: Path) -> Table:
    """The rows of a file, by its suffix.

    Raises:
        InvalidRequestError: there is no such file, its suffix is another, or it can't be read as what it says.
        MissingExtraError: Parquet needs the extra `fit`.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidRequestError(f"{path}: the name must end in one of {', '.join(_READERS)}.")
    try:
        table = reader(path)
    except FileNotFoundError as exc:
        raise InvalidRequestError(f"{path}: there is no such file.") from exc
    except OSError as exc:
        raise InvalidRequestError(f"{path}: it can't be read: {exc.strerror or exc}.") from exc
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(f"{path}: it is not UTF-8 at byte {exc.start}. Save it as UTF-8.") from exc
    if not table.places:
        raise table.refuse("it holds no rows.")
    return table


def _read_csv(path: Path) -> Table:
    with _large_cells(), path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(_csv_rows(path, file))
    if not rows:
        raise InvalidRequestError(f"{path}: it is empty.")
    (_, header), *rows = rows
    names = _column_names(path, [name.strip() for name in header])
    for line, cells in rows:
        if len(cells) != len(header):
            raise InvalidRequestError(
                f"{path}, line {line}: it has {len(cells)} cells, and the header {len(header)}. Put a text with "
                "commas or line breaks in double quotes."
            )
    columns = {name: [cells[index] for _, cells in rows] for name, index in names.items()}
    return Table(path=path, columns=columns, places=[f"line {line}" for line, _ in rows], typed=False)


def _csv_rows(path: Path, file: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Each row that isn't blank with the line that it begins on."""
    reader = csv.reader(file, strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as exc:
        raise InvalidRequestError(f"{path}, line {line}: it is not CSV: {exc}.") from exc


_csv_limit = threading.Lock()


@contextmanager
def _large_cells() -> Iterator[None]:
    """The csv module takes cells of 128 KB by default; a prompt may hold documents."""
    with _csv_limit:
        before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _read_jsonl(path: Path) -> Table:
    records: list[dict[str, Any]] = []
    places: list[str] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as exc:
                raise InvalidRequestError(f"{path}, line {number}: it is not JSON: {exc}.") from exc
            if not isinstance(record, dict):
                raise InvalidRequestError(f"{path}, line {number}: it must be an object such as {_SHOWN}.")
            records.append(record)
            places.append(f"line {number}")
    nested: tuple[str, ...] = ()
    if any(isinstance(record.get("quality"), dict) for record in records):
        records, nested = _flattened(path, records, places)
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [record.get(name) for record in records] for name in _column_names(path, list(names))}
    return Table(path=path, columns=columns, places=places, nested=nested)


_SHOWN = '{"prompt": "...", "quality": {"model": 0.8}}'


def _flattened(
    path: Path, records: Sequence[Mapping[str, Any]], places: Sequence[str]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Records of the nested shape with a column per model, and those models."""
    flat: list[dict[str, Any]] = []
    models: dict[str, None] = {}
    for record, place in zip(records, places, strict=True):
        qualities, lengths = record.get("quality"), record.get("output_tokens") or {}
        for name, told in (("quality", qualities), ("output_tokens", lengths)):
            if not isinstance(told, dict):
                raise InvalidRequestError(f"{path}, {place}: {name!r} must map models to numbers, as in {_SHOWN}.")
        assert isinstance(qualities, dict)
        models |= dict.fromkeys(qualities)
        kept = {name: record[name] for name in ("prompt", "category") if name in record}
        flat.append(kept | qualities | {f"{model}__output_tokens": tokens for model, tokens in lengths.items()})
    return flat, tuple(models)


def _read_parquet(path: Path) -> Table:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as exc:
        raise MissingExtraError("reading Parquet", "fit") from exc
    try:
        with ParquetFile(path) as file:
            read = file.read()
    except ArrowException as exc:
        raise InvalidRequestError(f"{path}: it is not Parquet, or is damaged: {exc}") from exc
    names = _column_names(path, read.column_names)
    columns = {name: read.column(index).to_pylist() for name, index in names.items()}
    return Table(path=path, columns=columns, places=[f"row {row}" for row in range(1, read.num_rows + 1)])


def _column_names(path: Path, names: Sequence[str]) -> dict[str, int]:
    """Each column's position by its name; an index that pandas wrote is no column."""
    twice = next((name for index, name in enumerate(names) if name and name in names[:index]), None)
    if twice is not None:
        raise InvalidRequestError(f"{path}: two columns are named {twice!r}. Rename one.")
    return {name: index for index, name in enumerate(names) if name and not name.startswith(_INDEX_NAMES)}


def _read(text: str) -> float | bool | str | None:
    """A cell of a file without types."""
    word = text.strip().lower()
    if word in _MISSING_WORDS:
        return None
    if (truth := _TRUTH_WORDS.get(word)) is not None:
        return truth
    try:
        return float(word)
    except ValueError:
        return text


def _is_number(cell: object) -> bool:
    return cell is None or isinstance(cell, float | int | Decimal)


_READERS: Mapping[str, Callable[[Path], Table]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
