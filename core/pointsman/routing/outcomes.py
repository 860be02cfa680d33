"""Outcomes: prompts with the quality that models' answers to them had, as a predictor is fitted to and judged by.

Knows what the columns of a file of labelled prompts mean; reading one is left to `pointsman.routing.table`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointsman.errors import InvalidRequestError
from pointsman.outline import plain
from pointsman.prompt import Prompt
from pointsman.routing.table import Table, read_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CHARACTERS_PER_TOKEN = 4
_RESERVED = frozenset({"prompt", "id", "category"})
_OUTPUT_CHARACTERS, _OUTPUT_TOKENS = "__outchars", "__output_tokens"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # Arrays don't compare to one truth.
class Outcomes:
    """Labelled prompts: what each of some models made of each of them.

    `qualities` maps a model to an array of one quality per prompt, 0 to 1, NaN where it was not run; `output_tokens`
    likewise to the lengths of its answers, for the models of which they are known. `categories` has one per prompt,
    "" where a prompt has none. `weights` tell how much each prompt counts; None means that all count the same.

    Raises:
        InvalidRequestError: the lengths differ, a quality is outside 0 to 1, a length or weight below 0.
    """

    prompts: tuple[str | Prompt, ...]
    qualities: Mapping[str, npt.NDArray[np.float64]]
    output_tokens: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    categories: tuple[str, ...] | None = None
    weights: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        import numpy as np  # Late: importing this package must not load it.

        set_field = object.__setattr__
        set_field(self, "prompts", tuple(self.prompts))
        for name in ("qualities", "output_tokens"):
            columns = {model: np.asarray(values, np.float64) for model, values in getattr(self, name).items()}
            set_field(self, name, columns)
        if self.categories is not None:
            set_field(self, "categories", tuple(self.categories))
        if self.weights is not None:
            set_field(self, "weights", np.asarray(self.weights, np.float64))
        self._check()

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def models(self) -> tuple[str, ...]:
        """The models, in the order in which they were given."""
        return tuple(self.qualities)

    @classmethod
    def read(cls, path: str | Path, *, models: Iterable[str] | None = None, labelled: bool = True) -> Outcomes:
        """Labelled prompts from a file whose name ends in .jsonl, .csv or .parquet.

        A row has a `prompt`, one column of qualities per model (true and false count as 1 and 0), and may have a
        `category` and, per model, `<model>__output_tokens` or `<model>__outchars` (characters; four make a token).
        An `id` and columns of text are passed over, and so are columns of true and false beside ones of numbers:
        they are marks. A line of JSONL may also nest:
        `{"prompt": "...", "quality": {"model": 0.8}, "output_tokens": {"model": 120}}`; its prompt may be a Converse
        request, whose binary content stays as JSON has it. `models` are the columns to read, where others hold
        numbers of another kind. With `labelled` False only the prompts and categories are read.

        Raises:
            InvalidRequestError: names the file, the line and column, and what to do.
            MissingExtraError: Parquet needs the extra `fit`.
        """
        table = read_table(Path(path))
        prompts = _prompts(table)
        named = _quality_columns(table, None if models is None else tuple(models)) if labelled else {}
        lengths = {model: tokens for model in named if (tokens := _output_tokens(table, model)) is not None}
        categories = table.columns.get("category")
        return cls(
            prompts=prompts,
            qualities={model: _as_array(values) for model, values in named.items()},
            output_tokens={model: _as_array(tokens) for model, tokens in lengths.items()},
            categories=tuple("" if one is None else str(one) for one in categories) if categories else None,
        )

    @classmethod
    def merged(cls, several: Iterable[Outcomes]) -> Outcomes:
        """All of them in one, NaN where a model was not run, each prompt once (see `joined`)."""
        parts = tuple(several)
        told = any(part.categories is not None for part in parts)
        weighed = any(part.weights is not None for part in parts)
        return cls(
            prompts=tuple(prompt for part in parts for prompt in part.prompts),
            qualities=_stacked(parts, [part.qualities for part in parts]),
            output_tokens=_stacked(parts, [part.output_tokens for part in parts]),
            categories=tuple(one for part in parts for one in part.categories or [""] * len(part)) if told else None,
            weights=_stacked_weights(parts) if weighed else None,
        ).joined()

    def joined(self) -> Outcomes:
        """The same with each prompt once, where it first stood: what several rows tell of it becomes their mean."""
        import numpy as np

        rows: dict[str | tuple[str], int] = {}
        row_of = np.array([rows.setdefault(_identity(prompt), len(rows)) for prompt in self.prompts], np.intp)
        if len(rows) == len(self):
            return self
        first = np.unique(row_of, return_index=True)[1]
        categories = self.categories

        def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            known = ~np.isnan(values)
            total = np.bincount(row_of[known], values[known], minlength=len(rows))
            count = np.bincount(row_of[known], minlength=len(rows))
            return np.where(count > 0, total / np.maximum(count, 1), np.nan)

        return Outcomes(
            prompts=tuple(self.prompts[row] for row in first),
            qualities={model: mean(values) for model, values in self.qualities.items()},
            output_tokens={model: mean(values) for model, values in self.output_tokens.items()},
            categories=tuple(categories[row] for row in first) if categories is not None else None,
            weights=None if self.weights is None else mean(self.weights),
        )

    def of(self, *, models: Iterable[str]) -> Outcomes:
        """The same prompts with these models only, in this order.

        Raises:
            InvalidRequestError: there is no such model.
        """
        wanted = (models,) if isinstance(models, str) else tuple(models)
        if missing := [model for model in wanted if model not in self.qualities]:
            raise InvalidRequestError(f"there are no outcomes of {missing[0]!r}; there are of {_listed(self.models)}.")
        return Outcomes(
            prompts=self.prompts,
            qualities={model: self.qualities[model] for model in wanted},
            output_tokens={model: self.output_tokens[model] for model in wanted if model in self.output_tokens},
            categories=self.categories,
            weights=self.weights,
        )

    def _check(self) -> None:
        import numpy as np

        columns = {f"the qualities of {model}": (values, 1.0) for model, values in self.qualities.items()}
        columns |= {f"the output tokens of {model}": (values, np.inf) for model, values in self.output_tokens.items()}
        if self.weights is not None:
            columns["the weights"] = (self.weights, np.inf)
        if self.categories is not None and len(self.categories) != len(self):
            raise InvalidRequestError(f"the categories are {len(self.categories)}, for {len(self)} prompts.")
        for name, (values, most) in columns.items():
            if values.shape != (len(self),):
                raise InvalidRequestError(f"{name} have the shape {values.shape}; it must be ({len(self)},).")
            wrong = np.flatnonzero((values < 0) | (values > most))
            if len(wrong):
                raise InvalidRequestError(f"{name} hold {values[wrong[0]]:g} at {wrong[0]}; it must be 0 to {most:g}.")


def _quality_columns(table: Table, models: Sequence[str] | None) -> dict[str, list[float]]:
    if missing := [model for model in models or () if model not in table.columns]:
        raise table.refuse(f"it has no column {missing[0]!r}; it has {_listed(table.columns)}.")
    named = models if models is not None else table.nested
    found = {model: table.numbers(model, strictly=True) for model in named} if named else _numeric_columns(table)
    if not found:
        raise table.refuse(f"no column holds a model's qualities, 0 to 1; it has {_listed(table.columns)}.")
    for model, (kind, values) in found.items():
        _check_qualities(table, model, values, empty=kind == "empty")
    return {model: values for model, (_, values) in found.items()}


def _numeric_columns(table: Table) -> dict[str, tuple[Any, list[float]]]:
    """The columns that are neither text nor reserved; true and false only where no column holds numbers."""
    names = [name for name in table.columns if name not in _RESERVED and not _is_length(name)]
    found = {name: read for name in names if (read := table.numbers(name))[0] != "text"}
    if "quality" in found:
        raise table.refuse(
            "a column is named 'quality', and no model. Give each model a column of its own, named by its id."
        )
    numbers = any(kind == "numbers" for kind, _ in found.values())
    return {name: read for name, read in found.items() if read[0] != "truths" or not numbers}


def _check_qualities(table: Table, model: str, values: Sequence[float], *, empty: bool) -> None:
    if empty:
        raise table.refuse("it holds no quality at all. Remove it.", column=model)
    for row, value in enumerate(values):
        if value < 0 or value > 1:
            raise table.refuse(
                f"the quality is {value:g}; it must be from 0 to 1. Divide per cent by 100; "
                "if the column is no model's, name those that are.",
                row=row,
                column=model,
            )


def _output_tokens(table: Table, model: str) -> list[float] | None:
    for suffix, characters in ((_OUTPUT_TOKENS, 1), (_OUTPUT_CHARACTERS, CHARACTERS_PER_TOKEN)):
        if (name := f"{model}{suffix}") not in table.columns:
            continue
        _, values = table.numbers(name, strictly=True)
        if negative := [row for row, value in enumerate(values) if value < 0]:
            raise table.refuse("a length is 0 or more.", row=negative[0], column=name)
        return [value / characters for value in values]
    return None


def _prompts(table: Table) -> tuple[str | Prompt, ...]:
    if "prompt" not in table.columns:
        raise table.refuse(f"it has no column 'prompt'; it has {_listed(table.columns)}.")
    return tuple(_prompt(table, row, cell) for row, cell in enumerate(table.columns["prompt"]))


def _prompt(table: Table, row: int, cell: object) -> str | Prompt:
    if isinstance(cell, str) and cell:
        return cell
    if isinstance(cell, Mapping) and isinstance(cell.get("messages"), list):
        return Prompt(cell)
    wanted = "a text, or in JSONL a Converse request with its messages"
    raise table.refuse(f"a prompt must be {wanted}; it is {cell!r:.60}.", row=row, column="prompt")


def _stacked(
    parts: Sequence[Outcomes], columns: Sequence[Mapping[str, npt.NDArray[np.float64]]]
) -> dict[str, npt.NDArray[np.float64]]:
    import numpy as np

    nothing = [np.full(len(part), np.nan) for part in parts]
    return {
        model: np.concatenate([of.get(model, none) for of, none in zip(columns, nothing, strict=True)])
        for model in dict.fromkeys(model for of in columns for model in of)
    }


def _stacked_weights(parts: Sequence[Outcomes]) -> npt.NDArray[np.float64]:
    import numpy as np

    return np.concatenate([np.ones(len(part)) if part.weights is None else part.weights for part in parts])


def _as_array(values: Sequence[float]) -> npt.NDArray[np.float64]:
    import numpy as np

    return np.array(values, np.float64)


def _identity(prompt: str | Prompt) -> str | tuple[str]:
    # Not orjson: what a log kept may hold half a surrogate pair.
    return prompt if isinstance(prompt, str) else (json.dumps(prompt.request, default=plain, sort_keys=True),)


def _is_length(name: str) -> bool:
    return name.endswith((_OUTPUT_CHARACTERS, _OUTPUT_TOKENS))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
