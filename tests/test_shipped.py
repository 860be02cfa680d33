"""The shipped heads: found by the models of a router, silent about others, small, and told on a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pointsman import Catalog, Prompt, RouterRegistry
from pointsman.routing import ShippedPredictor
from pointsman.routing.shipped import FOLDER

CATALOG = Catalog.default()
PAGE = Path(__file__).parents[1] / "docs" / "heads.md"
EXAM = Prompt.of_text(
    "A ball is thrown upwards with a speed of 20 m/s. Taking g as 10 m/s^2, how high does it rise?\n"
    "A. 5 m\nB. 10 m\nC. 15 m\nD. 20 m\nE. 25 m\nF. 30 m\nG. 40 m\nH. 50 m\nI. 60 m\nJ. 80 m"
)
LLAMAS = [CATALOG.resolve(f"meta.llama3-1-{size}-instruct-v1:0") for size in ("8b", "70b")]
NEWEST = [CATALOG.resolve(f"us.anthropic.claude-{name}-5-5") for name in ("haiku", "sonnet")]


def test_heads_speak_for_the_models_that_they_know() -> None:
    """An exam question to the default Llama router: trained, with lengths, the larger expected to be better."""
    told = ShippedPredictor().predict([EXAM], models=LLAMAS)
    small, large = (told[model.id][0] for model in LLAMAS)
    assert told.basis == ("trained",)
    assert 0 <= small < large <= 1
    assert all(told.output_tokens[model.id][0] > 0 for model in LLAMAS)


@pytest.mark.parametrize("models", [NEWEST, [*LLAMAS, NEWEST[0]]], ids=["newest Claude", "one of three"])
def test_the_prior_speaks_for_models_without_outcomes(models: list[object]) -> None:
    """And the basis names them."""
    told = ShippedPredictor().predict([EXAM, Prompt.of_text("Say hello.")], models=models)  # type: ignore[arg-type]  # Parametrized.
    assert len(told.basis) == 2
    assert all(
        basis.startswith("complexity prior: no outcomes of ") and "claude-haiku-5-5" in basis for basis in told.basis
    )
    assert not told.output_tokens


def test_models_of_two_families_are_not_compared() -> None:
    """Heads that were fitted to different prompts can't be."""
    models = [LLAMAS[0], CATALOG.resolve("anthropic.claude-3-haiku-20240307-v1:0")]
    assert ShippedPredictor().predict([EXAM], models=models).basis == (
        "complexity prior: no outcomes of these models together",
    )


def test_many_prompts_are_as_each_by_itself() -> None:
    """One row per prompt, whichever way it was judged."""
    prompts = [EXAM, Prompt.of_text("¿Por qué el cielo es azul?"), EXAM]
    together = ShippedPredictor().predict(prompts, models=LLAMAS)
    for row, prompt in enumerate(prompts):
        alone = ShippedPredictor().predict([prompt], models=LLAMAS)
        assert alone.basis[0] == together.basis[row]
        assert all(np.isclose(alone[model.id][0], together[model.id][row]) for model in LLAMAS)


def test_all_files_together_are_small() -> None:
    """Under 3 MB, as promised."""
    assert sum(path.stat().st_size for path in FOLDER.parent.rglob("*") if path.is_file()) < 3_000_000


def test_every_card_tells_where_it_comes_from_and_what_it_is_not_good_for() -> None:
    """Name, licence, scores; and the page holds all of them as they are."""
    page = PAGE.read_text("utf-8")
    for family, card in ShippedPredictor().cards().items():
        assert card.name and card.licence and card.notes and card.pairs, family
        assert card.to_markdown() in page


def test_no_data_means_no_claim() -> None:
    """Nothing was known of Nova: its router's decisions rest on the prior."""
    router = RouterRegistry().router("Nova Prompt Router")
    assert router is not None
    models = [CATALOG.resolve(model) for model in router.model_ids]
    (basis,) = router.predictor.predict([EXAM], models=models).basis  # type: ignore[attr-defined]  # A Prediction: ours.
    assert basis.startswith("complexity prior: no outcomes of amazon.nova")
