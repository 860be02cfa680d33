"""Models that the catalogue doesn't hold, in words: what may have been meant. Knows ids; knows no command."""

from __future__ import annotations

import warnings
from difflib import get_close_matches

from pointsman.catalog import Catalog
from pointsman.errors import PointsmanWarning, UnlistedModelWarning


def is_known(catalog: Catalog, model_id: str) -> bool:
    """Whether the catalogue holds that model; without a warning, for those to whom it would be an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PointsmanWarning)
        return catalog.resolve(model_id).known


def active_ids() -> list[str]:
    """The ids of the catalogue's active models, and of their profiles."""
    active = [model for model in Catalog.default().models if model.active]
    profiles = [f"{profile}.{model.id}" for model in active for profile in model.profiles if profile]
    return [*(model.id for model in active), *profiles]


def meant(model_id: str) -> str:
    """The active model or profile whose id is nearest, as " (did you mean ...?)"; empty where none is near."""
    near = get_close_matches(model_id, active_ids(), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def in_words(warning: Warning | str) -> str:
    """A warning as the command line tells it, without advice for those who write Python."""
    if not isinstance(warning, UnlistedModelWarning):
        return str(warning)
    unlisted = f"model {warning.model_id!r} is not in the catalogue{meant(warning.model_id)}"
    return f"{unlisted}: nothing is cached for it and its price is unknown."
