"""Outcomes: labelled prompts from each kind of file, what is wrong with one told by its line, and several in one."""

from __future__ import annotations

import csv
import json
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.errors import InvalidRequestError, MissingExtraError
from pointsman.prompt import Prompt
from pointsman.routing import Outcomes

NAN = math.nan
Rows = Sequence[Mapping[str, Any]]


def write_csv(path: Path, rows: Rows) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: Rows) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: Rows) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


WRITERS: dict[str, Callable[[Path, Rows], Path]] = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Rows], Path]:
    """Writes rows to a file of each kind."""
    kind: str = request.param
    return lambda rows: WRITERS[kind](tmp_path / f"labels.{kind}", rows)


def told(outcomes: Outcomes) -> dict[str, Any]:
    """All of it in plain lists, with None for NaN."""

    def plain(values: Any) -> list[float | None]:
        return [None if math.isnan(value) else value for value in values.tolist()]

    return {
        "prompts": list(outcomes.prompts),
        "qualities": {model: plain(values) for model, values in outcomes.qualities.items()},
        "output_tokens": {model: plain(values) for model, values in outcomes.output_tokens.items()},
        "categories": outcomes.categories,
        "weights": None if outcomes.weights is None else plain(outcomes.weights),
    }


def text_file(tmp_path: Path, suffix: str, text: str | bytes) -> Path:
    path = tmp_path / f"labels{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- what is read -----------------------------------------------------------------------------------------------

WIDE = [
    dict(zip(("id", "prompt", "category", "small", "large", "large__outchars", "note"), row, strict=True))
    for row in (
        ("q1", "Why?", "short", 0.25, 1.0, 400, "a"),
        ("q2", 'Two\nlines, "quoted"', "", None, 0.5, None, ""),
        ("q3", "Où ? 何", "other", 1.0, 0.0, 10, "3"),
    )
]


def test_every_kind_of_file_tells_the_same(write: Callable[[Rows], Path]) -> None:
    """Prompts with quotes, line breaks and other scripts; a missing cell is NaN; four characters are a token."""
    assert told(Outcomes.read(write(WIDE))) == {
        "prompts": ["Why?", 'Two\nlines, "quoted"', "Où ? 何"],
        "qualities": {"small": [0.25, None, 1.0], "large": [1.0, 0.5, 0.0]},
        "output_tokens": {"large": [100.0, None, 2.5]},
        "categories": ("short", "", "other"),
        "weights": None,
    }


def test_a_nested_line_names_the_models_itself(tmp_path: Path) -> None:
    """Numbers beside `quality` are nobody's; a model that is not in a line was not run."""
    request = {"messages": [{"role": "user", "content": [{"text": "Why?"}]}], "inferenceConfig": {"maxTokens": 9}}
    rows: Rows = [
        {"prompt": "Why?", "latency_ms": 812, "quality": {"a": True, "b": 0.5}, "output_tokens": {"b": 7}},
        {"prompt": request, "category": "short", "quality": {"b": 0, "c": None}},
        {"prompt": "How?", "quality": {"c": 1}},
    ]
    assert told(Outcomes.read(write_jsonl(tmp_path / "labels.jsonl", rows))) == {
        "prompts": ["Why?", Prompt(request), "How?"],
        "qualities": {"a": [1.0, None, None], "b": [0.5, 0.0, None], "c": [None, None, 1.0]},
        "output_tokens": {"b": [7.0, None, None]},
        "categories": ("", "short", ""),
        "weights": None,
    }


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """A byte order mark, CRLF, blank lines, spaces round cells, true and false, NaN in its spellings."""
    text = "\ufeffprompt , a, b\r\nWhy?, 1 ,TRUE\r\n\r\nHow?,nan,false\r\nWhat?,,N/A\r\nWho?,1e-1,true\r\n"
    read = Outcomes.read(text_file(tmp_path, ".csv", text), models=["a", "b"])
    assert told(read)["qualities"] == {"a": [1.0, None, None, 0.1], "b": [1.0, 0.0, None, 1.0]}
    assert read.prompts == ("Why?", "How?", "What?", "Who?")


def test_jsonl_as_python_writes_it(tmp_path: Path) -> None:
    """A byte order mark, CRLF, blank lines, and NaN, which JSON doesn't have."""
    text = '\ufeff{"prompt": "Why?", "a": NaN, "b": 1}\r\n\r\n{"prompt": "How?", "a": 0.5}\r\n'
    read = Outcomes.read(text_file(tmp_path, ".jsonl", text))
    assert told(read)["qualities"] == {"a": [None, 0.5], "b": [1.0, None]}


def test_a_prompt_may_be_long(tmp_path: Path) -> None:
    """Longer than the csv module's own bound, which is as it was afterwards."""
    before = csv.field_size_limit()
    long = "Signal nine protects section nine. " * 10_000
    path = write_csv(tmp_path / "labels.csv", [{"prompt": long, "a": 1}])
    assert Outcomes.read(path).prompts == (long,)
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("columns", "models"),
    [
        ({"a": [1, 0], "contaminated": [True, False]}, ("a",)),
        ({"a": [True, False], "b": [False, False]}, ("a", "b")),
        ({"a": [1.0, 0.5], "answer": ["Bern", "Thun"]}, ("a",)),
        ({"a": [1.0, 0.5], "answer": ["Bern", None]}, ("a",)),
        ({"a": [1.0, 0.5], "__index_level_0__": [0, 7]}, ("a",)),
        ({"a": [1.0, 0.5], "Unnamed: 0": [0, 7]}, ("a",)),
        ({"a": [1.0, 0.5], "": [0, 7]}, ("a",)),
        ({"a": [1.0, 0.5], "b__outchars": [80, 90]}, ("a",)),
    ],
    ids=["marks", "truths only", "text", "text and gaps", "pandas' index", "an index unnamed", "no name", "no model's"],
)
def test_which_columns_are_models(
    columns: Mapping[str, Sequence[Any]], models: tuple[str, ...], write: Callable[[Rows], Path]
) -> None:
    """Numbers are; text, marks beside numbers, what pandas adds, and lengths of nobody's answers are not."""
    rows = [{"prompt": f"Why {row}?"} | {name: cells[row] for name, cells in columns.items()} for row in range(2)]
    read = Outcomes.read(write(rows))
    assert read.models == models
    assert read.output_tokens == {}


def test_text_that_reads_like_numbers_is_text_where_types_are_known(tmp_path: Path) -> None:
    """An answer of 42 is no quality in Parquet and JSONL; in CSV nobody can tell."""
    rows = [{"prompt": "Why?", "a": 1.0, "answer": "42"}, {"prompt": "How?", "a": 0.0, "answer": "7"}]
    assert Outcomes.read(write_parquet(tmp_path / "labels.parquet", rows)).models == ("a",)
    assert Outcomes.read(write_jsonl(tmp_path / "labels.jsonl", rows)).models == ("a",)
    path = write_csv(tmp_path / "labels.csv", rows)
    with pytest.raises(InvalidRequestError, match=r"labels.csv, line 2, column 'answer': the quality is 42"):
        Outcomes.read(path)
    assert Outcomes.read(path, models=["a"]).models == ("a",)


def test_parquet_numbers_of_any_type(tmp_path: Path) -> None:
    """Small floats, decimals, integers, dictionaries of strings."""
    table = pa.table(
        {
            "prompt": pa.array(["Why?", "How?"]).dictionary_encode(),
            "a": pa.array([0.5, None], pa.float32()),
            "b": pa.array([Decimal("0.25"), Decimal("1.00")], pa.decimal128(5, 2)),
            "c": pa.array([0, 1], pa.uint8()),
        }
    )
    pq.write_table(table, tmp_path / "labels.parquet")
    read = told(Outcomes.read(tmp_path / "labels.parquet"))
    assert read["qualities"] == {"a": [0.5, None], "b": [0.25, 1.0], "c": [0.0, 1.0]}


def test_tokens_go_before_characters(tmp_path: Path) -> None:
    """Where a file has both."""
    rows = [{"prompt": "Why?", "a": 1, "a__outchars": 400, "a__output_tokens": 90}]
    assert told(Outcomes.read(write_jsonl(tmp_path / "labels.jsonl", rows)))["output_tokens"] == {"a": [90.0]}


def test_without_labels_only_the_prompts_are_read(write: Callable[[Rows], Path]) -> None:
    """Whatever else the file holds."""
    read = Outcomes.read(write([{"prompt": "Why?", "category": "x", "latency_ms": 812}]), labelled=False)
    assert told(read) | {"prompts": ["Why?"], "qualities": {}, "categories": ("x",)} == told(read)


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    """As some systems write it; a path may be a string."""
    path = write_csv(tmp_path / "LABELS.CSV", [{"prompt": "Why?", "a": 1}])
    assert len(Outcomes.read(str(path))) == 1


# --- what is refused --------------------------------------------------------------------------------------------

REFUSED = {
    "no prompt column": (".csv", "question,a\nWhy?,1\n", "no column 'prompt'; it has 'question', 'a'"),
    "no model column": (".csv", "prompt,note\nWhy?,good\n", "no column holds a model's qualities"),
    "per cent": (".csv", "prompt,a\nWhy?,1\nHow?,85\n", "line 3, column 'a': the quality is 85; it must be"),
    "negative": (".jsonl", '{"prompt": "Why?", "a": -0.1}\n', "line 1, column 'a': the quality is -0.1"),
    "infinite": (".jsonl", '{"prompt": "Why?", "a": Infinity}\n', "the quality is inf"),
    "text among numbers": (".csv", "prompt,a\nWhy?,1\nHow?,O.5\nWho?,0\n", "line 3, column 'a': 'O.5' is not a number"),
    "no value": (".csv", "prompt,a,b\nWhy?,1,\nHow?,0,nan\n", "column 'b': it holds no quality at all"),
    "no prompt": (".csv", "prompt,a\nWhy?,1\n,0\n", "line 3, column 'prompt': a prompt must be a text"),
    "a prompt that is a number": (".jsonl", '{"prompt": 7, "a": 1}\n', "a prompt must be a text"),
    "a prompt without messages": (".jsonl", '{"prompt": {"system": []}, "a": 1}\n', "with its messages"),
    "ragged": (".csv", 'prompt,a\n"Why\nnot?",1\nHow, really?,0\n', "line 4: it has 3 cells, and the header 2"),
    "an open quote": (".csv", 'prompt,a\n"Why?,1\n', "line 2: it is not CSV"),
    "two columns of a name": (".csv", "prompt,a,a\nWhy?,1,0\n", "two columns are named 'a'"),
    "empty CSV": (".csv", "", "it is empty"),
    "only a header": (".csv", "prompt,a\n", "it holds no rows"),
    "empty JSONL": (".jsonl", "\n", "it holds no rows"),
    "broken JSON": (".jsonl", '{"prompt": "Why?", "a": 1}\n{"prompt"\n', "line 2: it is not JSON"),
    "a list": (".jsonl", "[1]\n", "line 1: it must be an object such as"),
    "long shape": (".csv", "prompt,model,quality\nWhy?,a,1\n", "Give each model a column of its own"),
    "half nested": (".jsonl", '{"prompt": "Why?", "quality": {"a": 1}}\n{"prompt": "How?"}\n', "line 2: 'quality'"),
    "nested text": (".jsonl", '{"prompt": "Why?", "quality": {"a": "good"}}\n', "column 'a': 'good' is not a number"),
    "nested lengths": (".jsonl", '{"prompt": "Why?", "quality": {"a": 1}, "output_tokens": 9}\n', "'output_tokens'"),
    "nothing nested": (".jsonl", '{"prompt": "Why?", "quality": {}}\n', "no column holds a model's qualities"),
    "a negative length": (".csv", "prompt,a,a__outchars\nWhy?,1,-4\n", "column 'a__outchars': a length is 0 or more"),
    "another encoding": (".csv", "prompt,a\nOù?,1\n".encode("utf-16"), "it is not UTF-8"),
    "another suffix": (".xlsx", "", "the name must end in one of .jsonl, .csv, .parquet"),
    "no Parquet": (".parquet", "prompt,a\n", "it is not Parquet"),
}


@pytest.mark.parametrize(("suffix", "text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_told_by_file_and_place(suffix: str, text: str | bytes, message: str, tmp_path: Path) -> None:
    """The error names the file, the line and column where there is one, the value, and what to do."""
    path = text_file(tmp_path, suffix, text)
    with pytest.raises(InvalidRequestError) as caught:
        Outcomes.read(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_a_row_of_parquet_is_told_by_its_number(tmp_path: Path) -> None:
    """It has no lines."""
    path = write_parquet(tmp_path / "labels.parquet", [{"prompt": "Why?", "a": 1.0}, {"prompt": "How?", "a": 2.0}])
    with pytest.raises(InvalidRequestError, match="row 2, column 'a': the quality is 2"):
        Outcomes.read(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """And so is a folder."""
    with pytest.raises(InvalidRequestError, match="there is no such file"):
        Outcomes.read(tmp_path / "labels.csv")
    (tmp_path / "labels.jsonl").mkdir()
    with pytest.raises(InvalidRequestError, match="it can't be read"):
        Outcomes.read(tmp_path / "labels.jsonl")


def test_a_named_model_must_be_there(tmp_path: Path) -> None:
    """And hold numbers only."""
    path = write_csv(tmp_path / "labels.csv", [{"prompt": "Why?", "a": 1, "note": "good"}])
    with pytest.raises(InvalidRequestError, match="no column 'b'; it has 'prompt', 'a', 'note'"):
        Outcomes.read(path, models=["b"])
    with pytest.raises(InvalidRequestError, match="'good' is not a number"):
        Outcomes.read(path, models=["note"])


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CSV and JSONL need nothing."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pointsman\[fit\]"):
        Outcomes.read(text_file(tmp_path, ".parquet", b"PAR1"))


# --- what is made -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"qualities": {"a": [1.0]}}, r"the qualities of a have the shape \(1,\); it must be \(2,\)"),
        ({"qualities": {"a": [[1.0], [0.0]]}}, r"shape \(2, 1\)"),
        ({"qualities": {"a": [1.0, 1.5]}}, "the qualities of a hold 1.5 at 1; it must be 0 to 1"),
        ({"output_tokens": {"a": [1.0, -1.0]}}, "the output tokens of a hold -1"),
        ({"weights": [1.0]}, "the weights have the shape"),
        ({"weights": [1.0, -2.0]}, "the weights hold -2"),
        ({"categories": ["x"]}, "the categories are 1, for 2 prompts"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields: dict[str, Any], message: str) -> None:
    """Lengths and ranges, when outcomes are made in code."""
    made: dict[str, Any] = {"prompts": ["Why?", "How?"], "qualities": {"a": [1.0, NAN]}}
    with pytest.raises(InvalidRequestError, match=message):
        Outcomes(**made | fields)


def _made(prompts: Sequence[str], **fields: Any) -> Outcomes:
    return Outcomes(prompts=tuple(prompts), **fields)


def test_several_are_one() -> None:
    """Models and prompts of all; what one of them doesn't tell is NaN, no category and a weight of 1."""
    first = _made(["p", "q"], qualities={"a": [1.0, 0.0], "b": [0.5, NAN]}, categories=["x", "y"])
    second = _made(["r"], qualities={"b": [0.25], "c": [1.0]}, output_tokens={"c": [9.0]}, weights=[4.0])
    assert told(Outcomes.merged([first, second])) == {
        "prompts": ["p", "q", "r"],
        "qualities": {"a": [1.0, 0.0, None], "b": [0.5, None, 0.25], "c": [None, None, 1.0]},
        "output_tokens": {"c": [None, None, 9.0]},
        "categories": ("x", "y", ""),
        "weights": [1.0, 1.0, 4.0],
    }


def test_the_same_prompt_is_one_row() -> None:
    """So that a file for each model can be compared; what two of them tell of one model becomes its mean."""
    first = _made(["p", "q"], qualities={"a": [1.0, 0.0]})
    second = _made(["q", "p", "s"], qualities={"b": [0.5, 0.75, 1.0], "a": [1.0, NAN, NAN]})
    assert told(Outcomes.merged([first, second])) | {"weights": None, "categories": None, "output_tokens": {}} == {
        "prompts": ["p", "q", "s"],
        "qualities": {"a": [1.0, 0.5, None], "b": [0.75, 0.5, 1.0]},
        "output_tokens": {},
        "categories": None,
        "weights": None,
    }


def test_requests_are_the_same_by_content() -> None:
    """In whatever order their keys stand; binary content counts, and another limit makes another prompt."""

    def request(**more: Any) -> Prompt:
        content = [{"document": {"format": "pdf", "name": "d", "source": {"bytes": more.pop("data", b"1")}}}]
        return Prompt({"messages": [{"role": "user", "content": content}], **more})

    same = Prompt(dict(list(request(system=[{"text": "Be brief."}]).request.items())[::-1]))
    prompts = (
        request(system=[{"text": "Be brief."}]),
        same,
        request(data=b"2"),
        request(inferenceConfig={"maxTokens": 9}),
    )
    joined = Outcomes(prompts=prompts, qualities={"a": np.array([1.0, 0.0, 1.0, 1.0])}).joined()
    assert len(joined) == 3
    assert told(joined)["qualities"] == {"a": [0.5, 1.0, 1.0]}


def test_nothing_merged_is_nothing() -> None:
    """No prompts, no models."""
    assert len(Outcomes.merged([])) == 0
    assert Outcomes.merged([]).models == ()


def test_some_models_in_the_order_asked_for() -> None:
    """All prompts stay; a model that isn't there is told with those that are."""
    whole = _made(["p", "q"], qualities={"a": [1.0, 0.0], "b": [NAN, 1.0]}, output_tokens={"b": [5.0, 6.0]})
    some = whole.of(models=["b", "a"])
    assert some.models == ("b", "a")
    assert told(some)["output_tokens"] == {"b": [5.0, 6.0]}
    assert told(whole.of(models="a"))["qualities"] == {"a": [1.0, 0.0]}
    with pytest.raises(InvalidRequestError, match="no outcomes of 'c'; there are of 'a', 'b'"):
        whole.of(models=["a", "c"])


_cells = st.one_of(st.none(), st.sampled_from([0.0, 0.125, 0.5, 1.0]))
_rows = st.lists(
    st.tuples(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), _cells, _cells), min_size=1
).filter(lambda rows: any(row[1] is not None for row in rows) and any(row[2] is not None for row in rows))


@given(rows=_rows)
def test_what_is_written_is_read_back(rows: list[tuple[str, float | None, float | None]]) -> None:
    """Any prompt, in any kind of file."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, writer in WRITERS.items():
            told_rows = [{"prompt": prompt, "a": a, "b": b} for prompt, a, b in rows]
            read = told(Outcomes.read(writer(Path(folder) / f"labels.{kind}", told_rows)))
            assert read["prompts"] == [row[0] for row in rows]
            assert read["qualities"] == {"a": [row[1] for row in rows], "b": [row[2] for row in rows]}
