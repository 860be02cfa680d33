"""`pointsman models`: the catalogue as a table and as JSON, and one model with the source of every fact."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from pointsman.catalog import Catalog
from pointsman.cli import main

HAIKU = "anthropic.claude-haiku-5-5"

Cli = Callable[..., str]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """cli(*arguments) is what `pointsman models` prints; it succeeds, says nothing on stderr, and has no colour."""

    def run(*arguments: str) -> str:
        assert main(["models", *arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert "\x1b" not in out
        return out

    return run


def test_every_model_is_on_a_line_with_its_limits_and_prices(cli: Cli) -> None:
    """As the catalogue has them; what is unknown is said so."""
    models = Catalog.default().models
    lines = {model.name: line for line in cli().splitlines() for model in models if f" {model.id} " in line}
    assert set(lines) == {model.name for model in models}
    model = Catalog.default().resolve(HAIKU)
    assert model.price is not None
    figures = f"active {model.context_window:,} {model.max_output_tokens:,} {model.cache.minimum_tokens:,} 5m, 1h"
    prices = f"{model.price.input}+ {model.price.output} {model.price.cache_read} {model.price.cache_write['5m']}"
    assert f"{figures} {prices}" in " ".join(lines["Claude Haiku 5.5"].split())
    assert lines["Claude Mythos 5.1"].count("unknown") == 2
    assert "none" in lines["Claude 3 Haiku"]
    assert re.search(r"\beol\b", lines["Claude 3 Haiku"])


def test_a_narrow_terminal_has_the_id_below_the_name(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one piece, so that it can be copied; and two figures in each cell."""
    monkeypatch.setattr("pointsman.cli.layout._PIPED_WIDTH", 90)
    shown = cli()
    assert re.search(rf"^ Claude Haiku 5\.5 .* 512 +0\.11\+ .*\n {HAIKU} +128,000 +5m, 1h +0\.55 ", shown, re.MULTILINE)
    assert all(f"\n {model.id} " in shown for model in Catalog.default().models)
    assert "Claude 3 Haiku, eol" in shown


def test_json_has_the_whole_catalogue(cli: Cli) -> None:
    """Money in decimal strings, what is unknown as null, and where the prices are from."""
    told = json.loads(cli("--json"))
    models = {one["id"]: one for one in told["models"]}
    assert set(models) == {model.id for model in Catalog.default().models}
    assert models[HAIKU]["price"]["cache_write"] == {"5m": "0.1375", "1h": "0.22"}
    assert models[HAIKU]["price"]["tiers"][0]["above_tokens"] == 100_000
    assert models["anthropic.claude-mythos-5-1"]["price"] is None
    assert models[HAIKU]["cache"]["minimum_tokens"] == Catalog.default().resolve(HAIKU).cache.minimum_tokens
    assert told["prices"].startswith("genai-prices ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", told["read"])


def test_a_region_shows_each_by_its_profile(cli: Cli) -> None:
    """With that one's price: this model's bare id has none."""
    models = {one["id"]: one for one in json.loads(cli("--region", "us-east-1", "--json"))["models"]}
    assert models["amazon.nova-2-lite-v1:0"]["invoke_id"] == "us.amazon.nova-2-lite-v1:0"
    assert models["amazon.nova-2-lite-v1:0"]["price"]["input"] == "0.33"
    assert "called from us-east-1" in cli("--region", "us-east-1")
    assert json.loads(cli(HAIKU, "--region", "eu-west-1", "--json"))["invoke_id"] == f"eu.{HAIKU}"


@pytest.mark.parametrize(
    "model_id", [HAIKU, f"us.{HAIKU}", f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}"], ids=str
)
def test_one_model_has_every_fact_with_source_and_date(cli: Cli, model_id: str) -> None:
    """By whatever id names it; each source is spelled out once."""
    told = json.loads(cli(model_id, "--json"))
    assert told["id"] == HAIKU
    assert told["facts"] == json.loads(json.dumps(Catalog.default().facts(HAIKU)))
    shown = cli(model_id)
    for name in ("context_window", "cache.minimum_tokens", "capabilities.temperature", "lifecycle"):
        assert re.search(rf"^ {name} +\S+ +[\w-]+ +\d{{4}}-\d\d", shown, re.MULTILINE), name
    for name, source in told["sources"].items():
        assert f"  {source['title']}, {source['url']}" in shown
        assert re.search(rf"^{name} ", shown, re.MULTILINE)


def test_where_sources_differ_the_safer_one_is_marked(cli: Cli) -> None:
    """Both are shown."""
    rows = [line for line in cli(HAIKU).splitlines() if "capabilities.structured_output" in line]
    assert ["not used: the safer of the sources is no" in row for row in rows] == [False, True]
    assert sum("not used" in line for line in cli(HAIKU).splitlines()) == 1


def test_an_unknown_model_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2, and no warning besides."""
    assert main(["models", "acme.x-1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "pointsman: unknown model 'acme.x-1'. `pointsman models` lists those of the catalogue.\n"
    assert main(["models", "claude-haiku-5-5"]) == 2
    assert f"unknown model 'claude-haiku-5-5' (did you mean {HAIKU}?)." in capsys.readouterr().err
