"""Prices that are named on the command line, for every command that bills: the option, and what it means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from pointsman.errors import InvalidRequestError

if TYPE_CHECKING:
    from pointsman.catalog import Catalog

NamedPrice = tuple[str, tuple[str, ...]]
"""A model's id, and its two to five prices as they were written."""

Prices = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="ID=IN,OUT,READ,5M,1H",
        help="A model's USD per million tokens, the last ones may lack; may be repeated.",
        show_default=False,
    ),
]


def named_prices(texts: Iterable[str] | None) -> tuple[NamedPrice, ...]:
    """The prices that were named.

    Raises:
        InvalidRequestError: a text is not of the option's form.
    """
    return tuple(map(_named, texts or ()))


def priced(catalog: Catalog, prices: Iterable[NamedPrice]) -> Catalog:
    """The catalogue with these prices; the rules of caching stay the model's."""
    from pointsman.pricing import Price  # Late: the options alone don't need it.

    for model_id, (in_, out, *cached) in prices:
        read, writes = (cached[0], cached[1:]) if cached else (None, [])
        written = dict(zip(("5m", "1h"), writes, strict=False))
        price = Price(input=in_, output=out, cache_read=read, cache_write=written)  # type: ignore[arg-type]  # taken for Decimals
        catalog = catalog.with_model(replace(catalog.resolve(model_id), price=price))
    return catalog


def _named(text: str) -> NamedPrice:
    model, _, prices = text.rpartition("=")
    amounts = tuple(prices.split(","))
    if not model or not 2 <= len(amounts) <= 5 or not all(is_amount(one) for one in amounts):
        raise InvalidRequestError(f"--price {text!r} is not of the form ID=IN,OUT,READ,5M,1H: two to five prices.")
    return model, amounts


def is_amount(text: str) -> bool:
    """Whether a text is a price: a number that is neither negative nor endless."""
    try:
        return 0 <= float(text) < float("inf")
    except ValueError:
        return False
