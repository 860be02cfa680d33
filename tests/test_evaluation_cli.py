"""`pointsman evaluate`: from a file of prompts to what is printed, written, and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pointsman.cli import main
from pointsman.local import LocalEndpoint
from pointsman.routing.trained import TrainedPredictor

HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"
CLAUDE = "Anthropic Prompt Router"
AWS_ROUTER = "arn:aws:bedrock:us-east-1:123412341234:prompt-router/abc123def456"
PRICES = ("--price", "small=1,2", "--price", "large=10,20")

Cli = Callable[..., str]

JUDGE = """
def by_model(request, reply):
    hard = "prove" in request["messages"][0]["content"][0]["text"].lower()
    return 0.0 if hard and "haiku" in reply["pointsman"]["model"] else 1.0

def raises(request, reply):
    raise TimeoutError("too slow")

def wrong(request, reply):
    return 7

number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with labelled prompts and a judge."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows(("small", "large"))))
    (tmp_path / "claude.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows((HAIKU, SONNET))))
    (tmp_path / "prompts.jsonl").write_text("".join(f"{json.dumps({'prompt': row['prompt']})}\n" for row in rows(())))
    (tmp_path / "my_judge.py").write_text(JUDGE)
    (tmp_path / "broken.py").write_text("raise RuntimeError('no')")
    return tmp_path


def rows(models: tuple[str, ...], n: int = 12) -> list[dict[str, object]]:
    """Every third prompt asks for a proof, which the first model fails."""
    texts = [
        "Define a hash in one line.",
        "What is the capital of France?",
        "Prove that {} has infinitely many primes above.",
    ]
    return [
        {
            "prompt": f"{i}. {texts[i % 3].format(i)}",
            "category": "proof" if i % 3 == 2 else "fact",
            "quality": {model: 0.0 if i % 3 == 2 and model == models[0] else 1.0 for model in models},
        }
        for i in range(n)
    ]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """cli(*arguments) is what `pointsman evaluate` prints; it succeeds, and says nothing on stderr."""

    def run(*arguments: str | Path) -> str:
        assert main(["evaluate", *map(str, arguments)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Cli:
    """refused(*arguments) is the one line on stderr with which it ends; stdout is empty."""

    def run(*arguments: str | Path, code: int = 2) -> str:
        assert main(["evaluate", *map(str, arguments)]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("pointsman: ")
        assert err.count("\n") == 1
        return err.removeprefix("pointsman: ").strip()

    return run


class TestLabelled:
    def test_the_two_models_of_a_file_make_a_router(self, cli: Cli) -> None:
        """With the dearer one as the fallback model, at no expected loss."""
        told = json.loads(cli("labels.jsonl", *PRICES, "--json"))
        assert told["about"]["Evaluated"].startswith(
            "router: small, large; fallback model large, response quality difference 0, predictor "
        )
        assert told["about"]["Prompts"] == "labels.jsonl: 12"
        assert told["about"]["Answers"] == "the outcomes in the file; no call was made"
        assert told["prompts"] == 12
        assert told["reference"] == "always large"
        assert {one["name"] for one in told["standings"]} >= {"router", "always small", "always large", "oracle"}
        assert {one["name"] for one in told["pairs"][0]["rankings"]} == {
            "router",
            "random",
            "prompt length",
            "dataset identity",
            "oracle",
        }

    def test_a_default_router_is_evaluated_by_its_name_or_arn(self, cli: Cli) -> None:
        """With its own models, found under any of their names, and list prices."""
        arn = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
        for router in (CLAUDE, arn):
            told = json.loads(cli("claude.jsonl", "--router", router, "--json"))
            assert told["standings"][0]["name"] == CLAUDE
            assert told["pairs"][0]["strong"] == "anthropic.claude-sonnet-5-5"

    def test_against_a_model_or_another_router(self, cli: Cli) -> None:
        """Which is then the reference; the same router is told apart by its name."""
        against_model = json.loads(cli("claude.jsonl", "--router", CLAUDE, "--against", HAIKU, "--json"))
        assert against_model["reference"] == "always anthropic.claude-haiku-5-5"
        assert against_model["about"]["Against"] == f"always {HAIKU}"
        options = ("--router", CLAUDE, "--difference", "0", "--against", CLAUDE, "--json")
        against_router = json.loads(cli("claude.jsonl", *options))
        assert against_router["reference"] == f"{CLAUDE}, as it is"
        assert len(against_router["pairs"][0]["promises"]) == 2

    def test_the_difference_is_the_routers(self, cli: Cli) -> None:
        """At 1 everything goes to the cheapest."""
        told = json.loads(cli("labels.jsonl", *PRICES, "--difference", "1", "--json"))
        assert told["standings"][0]["shares"] == {"small": 1.0}
        assert told["pairs"][0]["promises"][0]["loss"]["sent"] == 12

    def test_models_are_chosen_among_the_files(self, cli: Cli, folder: Path) -> None:
        """Columns of numbers that are no model's don't matter then."""
        (folder / "wide.csv").write_text("prompt,small,large,seconds\nHello?,1,1,12\nWhy?,0,1,30\n")
        told = json.loads(cli("wide.csv", "--models", "small, large", "--fallback", "small", *PRICES, "--json"))
        assert "fallback model small" in told["about"]["Evaluated"]
        assert told["prices"] == {"small": [1.0, 2.0], "large": [10.0, 20.0]}

    def test_a_sample_is_told_with_its_seed(self, cli: Cli) -> None:
        """Drawn once, the same for every policy."""
        told = json.loads(cli("labels.jsonl", *PRICES, "--limit", "5", "--seed", "9", "--json"))
        assert told["prompts"] == 5
        assert told["about"]["Prompts"] == "labels.jsonl: 5, drawn from 12 with seed 9"
        assert told["seed"] == 9

    def test_it_prints_tables_and_remarks_without_colour(self, cli: Cli) -> None:
        """Where it is piped, wide enough for what stands in them."""
        told = cli("labels.jsonl", *PRICES)
        assert "\x1b" not in told
        assert told.startswith("Evaluated  router: small, large;")
        for title in ("Policies", "When is large needed, and when does small do?", "mean what it says?"):
            assert title in told
        assert "always large" in told
        assert "Prices, USD per million tokens: small 1 in, 2 out; large 10 in, 20 out." in told
        assert "200 bootstrap draws of the questions, seed 0" in told

    def test_reports_are_written_and_hold_no_prompt(self, cli: Cli, folder: Path) -> None:
        """Markdown, HTML, or both."""
        told = cli("labels.jsonl", *PRICES, "--report", "out.md", "--report", "out.html")
        assert told.endswith("Report: out.md\nReport: out.html\n")
        for name in ("out.md", "out.html"):
            page = (folder / name).read_text(encoding="utf-8")
            assert "labels.jsonl: 12" in page
            assert "capital" not in page

    def test_a_fitted_predictor_decides(self, cli: Cli, folder: Path) -> None:
        """The one in the file, by its name."""
        prompts = [str(row["prompt"]) for row in rows(("small", "large"), 240)]
        hard = [i % 3 == 2 for i in range(240)]
        fitted = TrainedPredictor.fit(
            prompts, {"small": [float(not one) for one in hard], "large": [1.0] * 240}, name="mine"
        )
        fitted.save(folder / "mine.npz")
        told = json.loads(cli("labels.jsonl", *PRICES, "--predictor", "mine.npz", "--difference", "0.05", "--json"))
        assert told["about"]["Predictor"] == f"mine.npz, fitted on {fitted.card.date} to 240 prompts"
        assert told["standings"][0]["quality"]["value"] == 1.0
        assert told["standings"][0]["shares"]["small"] > 0.5

    def test_a_predictor_without_a_head_for_a_model_is_refused(self, refused: Cli, folder: Path) -> None:
        """Instead of sending everything to the fallback model."""
        prompts = [str(row["prompt"]) for row in rows(("small", "large"), 240)]
        labels = [float(i % 3 == 2) for i in range(240)]
        TrainedPredictor.fit(prompts, {"small": labels, "huge": labels[::-1]}).save(folder / "other.npz")
        assert "has no head for large" in refused("labels.jsonl", *PRICES, "--predictor", "other.npz")


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("absent.csv",), "absent.csv"),
            (("labels.jsonl",), "the price of 'small' is not known"),
            (("labels.jsonl", "--price", "small=1"), "not of the form ID=IN,OUT"),
            (("labels.jsonl", "--price", "small=1,dear"), "not of the form ID=IN,OUT"),
            (("labels.jsonl", "--price", "small=-1,2"), "not of the form ID=IN,OUT"),
            (("labels.jsonl", *PRICES, "--difference", "5"), "must be from 0 to 1"),
            (("labels.jsonl", *PRICES, "--models", "small,huge"), "no column 'huge'"),
            (("labels.jsonl", *PRICES, "--against", "huge"), "no outcomes of 'huge'"),
            (("labels.jsonl", *PRICES, "--predictor", "absent.npz"), "absent.npz: no such file"),
            (("labels.jsonl", *PRICES, "--predictor", "labels.jsonl"), "labels.jsonl"),
            (("labels.jsonl", *PRICES, "--report", "out.pdf"), "must end in .md or .html"),
            (("labels.jsonl", *PRICES, "--report", "no/out.md"), "no such folder"),
            (("labels.jsonl", "--router", CLAUDE, "--models", "small,large"), "both --router and --models"),
            (("labels.jsonl", "--router", "nope"), "unknown router 'nope'"),
            (("labels.jsonl", "--router", CLAUDE), "no outcomes of 'anthropic.claude-haiku-5-5'"),
            (("labels.jsonl", "--router", AWS_ROUTER), "can be evaluated live only"),
            (("labels.jsonl", "--router", AWS_ROUTER, "--difference", "0"), "leave out --difference"),
            (("labels.jsonl", "--fallback", "small"), "--fallback goes with --models"),
            (("labels.jsonl", *PRICES, "--limit", "0"), "--limit"),
            (("labels.jsonl", "--judge", "my_judge:by_model"), "--judge goes with --live"),
            (("labels.jsonl", "--endpoint-url", "http://127.0.0.1:9"), "--endpoint-url goes with --live"),
            (("prompts.jsonl", "--live"), "--live needs a judge"),
            (("prompts.jsonl", "--live", "--judge", "my_judge"), "not of the form MODULE:FUNCTION"),
            (("prompts.jsonl", "--live", "--judge", "no_such_judge:by_model"), "No module named 'no_such_judge'"),
            (("prompts.jsonl", "--live", "--judge", "broken:by_model"), "can't be imported: RuntimeError: no"),
            (("prompts.jsonl", "--live", "--judge", "my_judge:absent"), "has no function 'absent'"),
            (("prompts.jsonl", "--live", "--judge", "my_judge:number"), "has no function 'number'"),
        ],
    )
    def test_in_one_line(self, refused: Cli, arguments: tuple[str, ...], says: str) -> None:
        """With exit code 2, before anything is decided or sent."""
        assert says in refused(*arguments)

    def test_a_file_of_several_models_needs_a_choice(self, refused: Cli, folder: Path) -> None:
        """And lists them."""
        (folder / "three.csv").write_text("prompt,a,b,c\nHello?,1,1,1\n")
        assert "the file has outcomes of a, b, c" in refused("three.csv")


class TestLive:
    def test_prompts_are_asked_and_judged(self, cli: Cli, endpoint: LocalEndpoint) -> None:
        """Two models, each once; the stand-in is told of."""
        live = ("--live", "--endpoint-url", endpoint.url, "--judge", "my_judge:by_model", "--max-tokens", "20")
        told = json.loads(cli("prompts.jsonl", "--router", CLAUDE, *live, "--json"))
        assert endpoint.account()["totals"]["requests"] == 24
        assert told["about"]["Answers"] == f"asked of {endpoint.url}, judged by my_judge:by_model"
        assert "sentences picked from the prompt" in told["about"]["Beware"]
        told_of = {one["name"]: one["quality"]["value"] for one in told["standings"]}
        assert told_of["always anthropic.claude-haiku-5-5"] == pytest.approx(2 / 3)
        assert told_of["always anthropic.claude-sonnet-5-5"] == told_of["oracle"] == 1.0

    def test_a_router_of_models_is_asked_too(self, cli: Cli, endpoint: LocalEndpoint) -> None:
        """On a sample, with the judge found in the current folder."""
        live = ("--live", "--endpoint-url", endpoint.url, "--judge", "my_judge:by_model", "--limit", "3")
        told = cli("prompts.jsonl", "--models", f"{HAIKU},{SONNET}", *live)
        assert endpoint.account()["totals"]["requests"] == 6
        assert "prompts.jsonl: 3, drawn from 12 with seed 0" in told

    def test_failed_calls_are_told(self, cli: Cli, endpoint: LocalEndpoint) -> None:
        """And how many prompts that cost."""
        endpoint.faults.inject("internal", times=2, model=HAIKU)
        live = ("--live", "--endpoint-url", endpoint.url, "--judge", "my_judge:by_model")
        told = cli("prompts.jsonl", "--models", f"{HAIKU},{SONNET}", *live, "--against", SONNET)
        assert "InternalServerException, " in told
        assert "Left out: " in told

    @pytest.mark.parametrize(
        ("judge", "says"),
        [("raises", "TimeoutError"), ("wrong", "the judge gave 7; it must give a number from 0 to 1")],
    )
    def test_a_judge_that_is_none_ends_with_1(
        self, refused: Cli, endpoint: LocalEndpoint, judge: str, says: str
    ) -> None:
        """Prompts were sent."""
        live = ("--live", "--endpoint-url", endpoint.url, "--judge", f"my_judge:{judge}")
        assert says in refused("prompts.jsonl", "--router", CLAUDE, *live, code=1)

    def test_an_endpoint_that_is_down_is_told(self, refused: Cli) -> None:
        """Nothing was sent."""
        live = ("--live", "--endpoint-url", "http://127.0.0.1:9", "--judge", "my_judge:by_model")
        assert "nothing answers at http://127.0.0.1:9" in refused("prompts.jsonl", "--router", CLAUDE, *live)
