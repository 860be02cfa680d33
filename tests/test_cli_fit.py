"""`pointsman fit`: from labelled prompts and feedback to one file, its card, and its use; and everything refused."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.console import Console

from pointsman import FeedbackLog
from pointsman.cli import main
from pointsman.cli.cards import print_card, to_json
from pointsman.routing.card import Card, PairFigures
from pointsman.routing.trained import TrainedPredictor

pytest.importorskip("sklearn")

HAIKU, SONNET = "anthropic.claude-haiku-5-5", "anthropic.claude-sonnet-5-5"
NAMES = ["Alice", "Bert", "Carla", "Dmitri", "Emma", "Farid", "Gwen", "Hugo", "Ines", "Jamal"]
THINGS = ["hash", "mutex", "router", "ledger", "prefix", "cache", "token", "bridge", "signal", "buffer"]
EASY = "What is a {thing}? Answer {name} in one line, question {i}."
HARD = "{name} has {i} {thing}s and gives a third of them to each of two brothers. How many are left, and why?"
SECRET = "Alice"

Cli = Callable[..., str]
Row = dict[str, Any]


def rows(n: int = 80, models: tuple[str, str] = ("small", "large")) -> list[Row]:
    """Every other prompt is a riddle, at which the first model mostly fails; its answers are half as long."""
    random = Random(7)
    told = []
    for i in range(n):
        hard = i % 2 == 1
        prompt = (HARD if hard else EASY).format(name=NAMES[i % 10], thing=THINGS[i // 10 % 10], i=i)
        right = (random.random() < (0.2 if hard else 0.95), random.random() < 0.95)
        told.append(
            {"prompt": prompt}
            | dict(zip(models, map(float, right), strict=True))
            | {f"{model}__output_tokens": 40 * (1 + place) for place, model in enumerate(models)}
        )
    return told


def write(path: Path, told: list[Row]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in told))
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with labelled prompts."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "labels.jsonl", rows())
    write(tmp_path / "few.jsonl", rows(12))
    return tmp_path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """cli(*arguments) is what the command prints; it succeeds, tells no prompt, and says nothing on stderr."""

    def run(*arguments: str | Path) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert SECRET not in out
        return out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Cli:
    """refused(*arguments) is the one line on stderr with which it ends; stdout is empty."""

    def run(*arguments: str | Path) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("pointsman: ")
        assert err.count("\n") == 1
        assert SECRET not in err
        return err.removeprefix("pointsman: ").strip()

    return run


# --- what is fitted and told ------------------------------------------------------------------------------------


def test_a_file_of_labelled_prompts_becomes_a_predictor(cli: Cli) -> None:
    """With heads for the models of the file, their answers' lengths, and a card that says whence."""
    cli("fit", "labels.jsonl", "--output", "my.predictor.npz", "--licence", "ours")
    predictor = TrainedPredictor.load("my.predictor.npz")
    assert predictor.models == predictor.lengths == ("small", "large")
    assert (predictor.card.name, predictor.card.licence, predictor.card.prompts) == ("my", "ours", 80)
    assert predictor.card.date == datetime.now(UTC).date().isoformat()
    expected = predictor.predict([row["prompt"] for row in rows()])
    gap = expected["large"] - expected["small"]
    assert gap[1::2].mean() > 0.4 > 0.2 > gap[::2].mean()


def test_the_card_is_printed_with_what_to_do_next(cli: Cli) -> None:
    """Figures beside chance and length, what they mean, and commands that can be copied."""
    told = cli("fit", "labels.jsonl", "-o", "my.predictor.npz")
    assert told.startswith("my: fitted on 20")
    for text in ("to 80 prompts", "mean quality", "APGR", "random", "0.500", "length", "calibration", "floor"):
        assert text in told
    evaluate = "pointsman evaluate held-out.jsonl --models small,large --predictor my.predictor.npz"
    assert f"    {evaluate} --price small=IN,OUT --price large=IN,OUT\n" in told
    assert "    Router(..., predictor=TrainedPredictor.load('my.predictor.npz'))\n" in told
    assert "\x1b" not in told


def test_a_predictor_for_a_default_router_is_told_so(cli: Cli) -> None:
    """The commands name it, whatever the models are called in the file."""
    write(Path("claude.jsonl"), rows(80, (f"us.{HAIKU}", SONNET)))
    told = cli("fit", "claude.jsonl", "--output", "it's.npz")
    use = """--router 'Anthropic Prompt Router' --predictor 'it'"'"'s.npz'"""
    assert f"    pointsman evaluate held-out.jsonl {use}\n    pointsman ask -q ... {use}\n" in told
    assert """    RouterRegistry(predictor=TrainedPredictor.load("it's.npz"))\n""" in told


def test_json_is_one_document(cli: Cli) -> None:
    """The card as it is saved, and where."""
    told = json.loads(cli("fit", "labels.jsonl", "--output", "my.npz", "--name", "support desk", "--json"))
    assert told["output"] == "my.npz"
    assert told["card"]["name"] == "support desk"
    assert told["card"]["qualities"].keys() == {"small", "large"}
    assert {"apgr", "low", "high", "length_apgr", "calibration_error", "sampling_floor"} <= told["card"]["pairs"][
        0
    ].keys()


def test_the_same_file_gives_the_same_predictor(cli: Cli) -> None:
    """Byte for byte: nothing in a fit is left to chance."""
    cli("fit", "labels.jsonl", "--output", "a.npz", "--name", "it")
    cli("fit", "labels.jsonl", "--output", "b.npz", "--name", "it")
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()


def test_several_files_are_one(cli: Cli) -> None:
    """Each prompt once, whatever the file says it in."""
    told = rows()
    write(Path("first.jsonl"), told[:50])
    lines = [f'"{row["prompt"]}",{row["small"]},{row["large"]}\n' for row in told[40:]]
    Path("second.csv").write_text("prompt,small,large\n" + "".join(lines))
    card = json.loads(cli("fit", "first.jsonl", "second.csv", "--output", "my.npz", "--json"))["card"]
    assert card["prompts"] == 80


def test_only_the_models_that_were_named(cli: Cli) -> None:
    """Other columns of numbers may hold what they like."""
    write(Path("more.jsonl"), [row | {"tokens": 1000 + i, "third": 0.5} for i, row in enumerate(rows())])
    card = json.loads(cli("fit", "more.jsonl", "--models", "large, small", "--output", "my.npz", "--json"))["card"]
    assert list(card["qualities"]) == ["large", "small"]


def test_labels_that_are_chance_are_told(cli: Cli) -> None:
    """In plain words, and with success: the file is written all the same."""
    random = Random(3)
    noise = [row | {"small": float(random.random() < 0.5), "large": float(random.random() < 0.7)} for row in rows()]
    write(Path("noise.jsonl"), noise)
    told = cli("fit", "noise.jsonl", "--output", "my.npz")
    assert "Beware: between small and large it can't be told from chance: label more prompts." in told
    assert Path("my.npz").exists()


# --- feedback ---------------------------------------------------------------------------------------------------


def feedback(path: Path, told: list[Row], *, model: str | None = None) -> Path:
    """A log of them, each answered by one model and rated, half of it explored."""
    log = FeedbackLog(path)
    for i, row in enumerate(told):
        chosen = model or (HAIKU, SONNET)[i // 2 % 2]
        decision = {"model": f"us.{chosen}", "explored": i % 4 < 2, "propensity": 0.5}
        trace = {"status": "complete", "router": "r", "model": chosen, "invoked_model_id": f"us.{chosen}"}
        reply = {"pointsman": trace | {"decision": decision, "usage": {"output_tokens": 12}}}
        answer = log.record({"messages": [{"role": "user", "content": [{"text": row["prompt"]}]}]}, reply)
        log.rate(answer, quality=row["small" if chosen == HAIKU else "large"])
    return path


def test_a_feedback_log_is_enough(cli: Cli) -> None:
    """Each prompt has one model's label, so nothing can be told of a pair, and that is said."""
    feedback(Path("feedback.jsonl"), rows(160))
    told = cli("fit", "--from-feedback", "feedback.jsonl", "--output", "my.npz")
    assert "Beware: " in told
    assert "APGR" not in told
    assert TrainedPredictor.load("my.npz").models == (HAIKU, SONNET)


def test_feedback_and_files_are_merged_by_the_catalogues_ids(cli: Cli) -> None:
    """A file may name a model by the profile that it was called by."""
    feedback(Path("feedback.jsonl"), rows(40))
    write(Path("labels.jsonl"), rows(80, (f"us.{HAIKU}", f"global.{SONNET}"))[40:])
    arguments = ("fit", "labels.jsonl", "--from-feedback", "feedback.jsonl", "--output", "my.npz", "--json")
    card = json.loads(cli(*arguments))["card"]
    assert card["prompts"] == 80
    assert card["qualities"].keys() == {HAIKU, SONNET}
    assert card["pairs"][0]["prompts"] == 40


def test_a_log_of_one_model_is_refused(refused: Cli) -> None:
    """There is nothing to choose between."""
    feedback(Path("feedback.jsonl"), rows(60), model=HAIKU)
    assert "two models or more" in refused("fit", "--from-feedback", "feedback.jsonl", "--output", "my.npz")


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "my.npz"), "nothing to fit to: give files of labelled prompts, or --from-feedback."),
        (("few.jsonl", "--output", "my.npz"), "there are 12 labelled prompts; a fit needs 50, better 200 to 1,500."),
        (("none.jsonl", "--output", "my.npz"), "none.jsonl: "),
        (("--from-feedback", "none.jsonl", "--output", "my.npz"), "none.jsonl: it can't be read"),
        (("labels.jsonl", "--models", "small", "--output", "my.npz"), "two models or more"),
        (("labels.jsonl", "--models", "small,medium", "--output", "my.npz"), "it has no column 'medium'"),
        (("labels.jsonl", "--output", "my.predictor"), "must end in .npz"),
        (("labels.jsonl", "--output", "nowhere/my.npz"), "nowhere: no such folder"),
        (("labels.jsonl", "--output", "labels.npz"), "labels.npz exists. Replace it with --force"),
        (("labels.jsonl",), "Missing option"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], message: str, refused: Cli) -> None:
    """One line, and nothing is written."""
    Path("labels.npz").write_bytes(b"mine")
    assert message in refused("fit", *arguments)
    assert Path("labels.npz").read_bytes() == b"mine"
    assert not Path("my.npz").exists()


def test_one_model_by_two_names_is_refused(refused: Cli) -> None:
    """Which of them is meant can't be guessed."""
    write(Path("twice.jsonl"), rows(80, (f"us.{HAIKU}", f"eu.{HAIKU}")))
    told = refused("fit", "twice.jsonl", "--output", "my.npz")
    assert told == f"'us.{HAIKU}' and 'eu.{HAIKU}' are one model, {HAIKU}. Name one of them with --models."


def test_a_file_is_replaced_if_that_is_wanted(cli: Cli) -> None:
    """Not otherwise: a predictor may be in use."""
    Path("my.npz").write_bytes(b"old")
    cli("fit", "labels.jsonl", "--output", "my.npz", "--force")
    assert TrainedPredictor.load("my.npz").card.prompts == 80


def test_without_the_extra_its_name_is_told(refused: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to install it."""
    monkeypatch.setitem(sys.modules, "pointsman.routing.fitting", None)
    assert 'pip install "pointsman[fit]"' in refused("fit", "labels.jsonl", "--output", "my.npz")


# --- its use ----------------------------------------------------------------------------------------------------


def test_evaluate_decides_by_it(cli: Cli) -> None:
    """On prompts that it was not fitted to."""
    told = rows(120)
    write(Path("fitted.jsonl"), told[:80])
    write(Path("held-out.jsonl"), told[80:])
    cli("fit", "fitted.jsonl", "--output", "my.npz")
    prices = ("--price", "small=1,2", "--price", "large=10,20")
    arguments = ("evaluate", "held-out.jsonl", "--models", "small,large", "--predictor", "my.npz", *prices, "--json")
    (pair,) = json.loads(cli(*arguments))["pairs"]
    assert pair["strong"] == "large"


def test_ask_decides_by_it(cli: Cli) -> None:
    """The riddle goes to the larger model, the definition to the smaller; and the JSON tells by what."""
    write(Path("claude.jsonl"), rows(120, (HAIKU, SONNET)))
    cli("fit", "claude.jsonl", "--output", "my.npz")
    questions = ("-q", EASY.format(name="Bert", thing="hash", i=7), "-q", HARD.format(name="Bert", thing="hash", i=7))
    told = json.loads(cli("ask", *questions, "--local", "--engine", "extract", "--predictor", "my.npz", "--json"))
    assert [answer["model"] for answer in told["answers"]] == [HAIKU, SONNET]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--predictor", "none.npz"), "none.npz: no such file."),
        (("--predictor", "labels.jsonl"), "is no predictor's file"),
        (("--predictor", "my.npz"), f"the predictor has no head for {HAIKU}, of Anthropic Prompt Router"),
        (("--predictor", "my.npz", "--model", HAIKU), "--predictor goes with a router"),
    ],
)
def test_ask_refuses_what_it_cannot_decide_by(arguments: tuple[str, ...], message: str, cli: Cli, refused: Cli) -> None:
    """Before anything is asked."""
    cli("fit", "labels.jsonl", "--output", "my.npz")
    assert message in refused("ask", "-q", "What is a hash?", "--local", "--engine", "extract", *arguments)


# --- the card in a terminal -------------------------------------------------------------------------------------


CARD = Card(
    name="it",
    date="2026-11-22",
    licence="",
    prompts=200,
    qualities={"small": 0.5, "large": float("nan")},
    pairs=(
        PairFigures(
            weak="small",
            strong="large",
            prompts=200,
            weak_quality=0.5,
            strong_quality=0.9,
            apgr=0.7,
            low=0.6,
            high=0.8,
            length_apgr=float("nan"),
            calibration_error=0.02,
            sampling_floor=0.01,
        ),
    ),
    warnings=("it \x1b[31mlies",),
    notes=("not for Latin",),
)


def test_a_figure_that_is_not_known_is_not_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    """It is told as unknown; and what stands in a card can't steer the terminal."""
    print_card(CARD, Path("it.npz"))
    told = capsys.readouterr().out
    assert "nan" not in told
    assert told.count("unknown") == 2
    assert "Beware: it \N{REPLACEMENT CHARACTER}[31mlies." in told
    assert "not for Latin." in told


def test_json_has_null_for_what_is_not_known() -> None:
    """NaN is no JSON."""
    told = json.dumps(to_json(CARD, Path("it.npz")), allow_nan=False)
    assert json.loads(told)["card"]["qualities"] == {"small": 0.5, "large": None}


def test_a_spinner_is_shown_in_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr, so that what is piped stays clean."""
    from pointsman.cli import fitting

    shown = {terminal: io.StringIO() for terminal in (True, False)}
    for terminal, file in shown.items():
        monkeypatch.setattr(
            fitting, "Console", lambda file=file, terminal=terminal, **_: Console(file=file, force_terminal=terminal)
        )
        with fitting._spinner("fitting to 80 prompts"):
            pass
    assert "fitting to 80 prompts" in shown[True].getvalue()
    assert shown[False].getvalue() == ""
