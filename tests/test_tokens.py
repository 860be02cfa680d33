"""Token estimates: by size and kind, corrected by what Bedrock counted."""

from __future__ import annotations

import pytest

from pointsman.tokens import EstimatedTokens


def _count(kind: str, size: int) -> int:
    return EstimatedTokens().count(kinds=[kind], sizes=[size])[0]


def test_a_text_has_about_a_token_for_four_bytes() -> None:
    """English prose of 4,000 bytes is taken for some 1,000 tokens, JSON of the same size for more."""
    assert _count("text", 4_000) == pytest.approx(950, rel=0.1)
    assert _count("tool", 4_000) > _count("tool_result", 4_000) > _count("text", 4_000)


def test_no_block_is_free() -> None:
    """Even an empty block costs its markup."""
    assert _count("text", 0) > 0


def test_blocks_are_counted_one_by_one() -> None:
    """As many counts as blocks, each the same as alone."""
    kinds, sizes = ["text", "tool", "reasoning"], [100, 200, 300]
    together = EstimatedTokens().count(kinds=kinds, sizes=sizes)
    assert list(together) == [_count(kind, size) for kind, size in zip(kinds, sizes, strict=True)]


def test_a_model_that_nobody_has_called_has_no_correction() -> None:
    """The factor is one until a reply has taught better, and each model has its own."""
    tokens = EstimatedTokens()
    tokens.learn("a", estimated=1_000, counted=1_500)
    assert tokens.factor("a") == 1.5
    assert tokens.factor("b") == 1.0


def test_the_correction_moves_towards_what_comes_back() -> None:
    """One odd reply does not overturn many; a lasting change is learnt."""
    tokens = EstimatedTokens()
    tokens.learn("a", estimated=1_000, counted=1_000)
    tokens.learn("a", estimated=1_000, counted=2_000)
    assert 1.0 < tokens.factor("a") < 1.5
    for _ in range(30):
        tokens.learn("a", estimated=1_000, counted=2_000)
    assert tokens.factor("a") == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(("estimated", "counted"), [(100, 400), (0, 10), (1_000, 0), (1_000, -5)])
def test_what_teaches_nothing_is_passed_over(estimated: int, counted: int) -> None:
    """Short prompts are mostly overhead, and a count of zero is no count."""
    tokens = EstimatedTokens()
    tokens.learn("a", estimated=estimated, counted=counted)
    assert tokens.factor("a") == 1.0


@pytest.mark.parametrize(("counted", "factor"), [(1_000_000, 4.0), (1, 0.25)])
def test_the_correction_has_bounds(counted: int, factor: float) -> None:
    """A wild count can't make every prompt look empty or endless."""
    tokens = EstimatedTokens()
    tokens.learn("a", estimated=1_000, counted=counted)
    assert tokens.factor("a") == factor
