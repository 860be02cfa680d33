"""The prompt routers that the command line keeps: one TOML file, the same for every command. Knows its place."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pointsman.bedrock import check_region, configured_region
from pointsman.catalog import Catalog
from pointsman.errors import InvalidRequestError
from pointsman.routing import QualityPredictor, RouterRegistry

ROUTERS_VARIABLE = "POINTSMAN_ROUTERS"
DEFAULT_PLACE = "~/.config/pointsman/routers.toml"
_REGION = "us-east-1"


def routers_file(named: Path | None = None) -> Path:
    """The file that was named, else that of the environment, else the one in the folder of the user's settings."""
    if named is not None:
        return named
    if told := os.environ.get(ROUTERS_VARIABLE):
        return Path(told)
    settings = os.environ.get("XDG_CONFIG_HOME")
    return Path(settings, "pointsman", "routers.toml") if settings else Path(DEFAULT_PLACE).expanduser()


def kept_routers(
    file: Path | None = None,
    *,
    region: str,
    catalog: Catalog | None = None,
    predictor: QualityPredictor | None = None,
) -> RouterRegistry:
    """The default routers, and those of the file, if there is one.

    Raises:
        InvalidRequestError: the file can't be read.
        InvalidRouterError: it holds something that is not a router.
    """
    path = routers_file(file)
    try:
        return RouterRegistry(path=path, region=region, catalog=catalog, predictor=predictor)
    except OSError as exc:
        raise InvalidRequestError(f"the routers in {path} can't be read: {exc.strerror or exc}.") from exc


def region_here(named: str | None) -> str:
    """The Region that models are invoked from, where no call is made: the one named, else AWS's setting, else ours.

    Raises:
        InvalidRequestError: AWS has no such Region.
    """
    found = named
    if found is None:
        with suppress(InvalidRequestError):  # A configuration that can't be used matters to those who call.
            found = configured_region()
    return check_region(found) if found else _REGION
