"""What a shell offers for the values of options: routers and models. Never fails; makes no call."""

from __future__ import annotations

from contextlib import suppress

from pointsman.errors import PointsmanError


def router_names(incomplete: str) -> list[str]:
    """Routers that begin so. Without those of several words, which bash would insert unquoted."""
    from pointsman.cli.kept import kept_routers

    with suppress(PointsmanError):
        names = [record.name for record in kept_routers(region="us-east-1").records()]
        return [name for name in names if name.startswith(incomplete) and " " not in name]
    return []


def model_ids(incomplete: str) -> list[str]:
    """Active models and their profiles that begin so."""
    from pointsman.ask.unlisted import active_ids

    return [model_id for model_id in active_ids() if model_id.startswith(incomplete)]
