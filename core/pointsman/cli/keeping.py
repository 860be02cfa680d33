"""How `pointsman routers` is carried out: by the API's four calls, of Bedrock or of our registry. Knows no options."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointsman.ask.connection import KEY_VARIABLE, calls_to, connect
from pointsman.ask.unlisted import meant
from pointsman.catalog import GEO_PREFIXES, Catalog, named_by
from pointsman.cli.endpoints import WITHOUT_AWS
from pointsman.cli.kept import kept_routers, region_here, routers_file
from pointsman.cli.layout import make_console, print_about, print_json, print_remark, table_of
from pointsman.cli.routers import NewRouter, Place
from pointsman.errors import InvalidRequestError
from pointsman.prompt_routers import is_model_id, split_router_arn


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keeper:
    """What answers CreatePromptRouter and its kin. `where` it keeps routers, in words; `file` is None at AWS."""

    control: Any
    where: str
    file: Path | None

    def routers(self) -> list[dict[str, Any]]:
        """All of them, as the API tells of them."""
        found: list[dict[str, Any]] = []
        page: Mapping[str, Any] = self.control.list_prompt_routers()
        found += page["promptRouterSummaries"]
        while "nextToken" in page:
            page = self.control.list_prompt_routers(nextToken=page["nextToken"])
            found += page["promptRouterSummaries"]
        return found

    def arn_of(self, name: str) -> str:
        """The ARN of the router of that name or id; an ARN stays as it is.

        Raises:
            InvalidRequestError: there is none.
        """
        if split_router_arn(name) is not None:
            return name
        routers = self.routers()
        for router in routers:
            if name in (router["promptRouterName"], router["promptRouterArn"].rpartition("/")[2]):
                return str(router["promptRouterArn"])
        known = ", ".join(router["promptRouterName"] for router in routers) or "none"
        raise InvalidRequestError(f"unknown router {name!r}. Known in {self.where}: {known}.")

    def model(self, model_id: str) -> dict[str, str]:
        """A model as CreatePromptRouter takes it: AWS wants an ARN, and tells it."""
        if self.file is not None or model_id.startswith("arn:"):
            return {"modelArn": model_id}
        if model_id.partition(".")[0] in GEO_PREFIXES:
            told = self.control.get_inference_profile(inferenceProfileIdentifier=model_id)
            return {"modelArn": told["inferenceProfileArn"]}
        return {"modelArn": self.control.get_foundation_model(modelIdentifier=model_id)["modelDetails"]["modelArn"]}


def list_routers(place: Place, *, as_json: bool) -> None:
    """Print every router.

    Raises:
        InvalidRequestError, InvalidRouterError: the file can't be used, or AWS can't be called.
        CallFailedError: AWS refused.
    """
    with _keeper(place) as keeper:
        routers = [_told(router) for router in keeper.routers()]
        if as_json:
            print_json({"kept_in": keeper.where, "routers": routers})
            return
        console = make_console()
        rows = [
            (
                one["name"],
                one["type"],
                "\n".join(map(_short, one["models"])),
                _short(one["fallback_model"]),
                f"{one['response_quality_difference']:g}",
            )
            for one in routers
        ]
        console.print(table_of(("router", "type", "models", "fallback model", "difference"), rows, right=(4,)))
        print_remark(console, _where_from(keeper))


def show_router(place: Place, name: str, *, as_json: bool) -> None:
    """Print a router. Raises as `list_routers`."""
    with _keeper(place) as keeper:
        _show(keeper, keeper.arn_of(name), as_json=as_json)


def create_router(place: Place, wanted: NewRouter, *, as_json: bool) -> None:
    """Create a router, and print it.

    Raises:
        As `list_routers`; RouterConflictError, InvalidRouterError: it can't be kept so.
    """
    catalog = Catalog.default()
    for option, model_id in (*(("--model", one) for one in wanted.models), ("--fallback", wanted.fallback)):
        if not model_id.startswith("arn:") and not is_model_id(model_id):
            raise InvalidRequestError(
                f"{option} {model_id!r} names no model{meant(model_id)}. Give an id, an inference profile or an ARN."
            )
        catalog.resolve(model_id)  # Warns of one that nobody knows: it may be a slip of the pen.
    with _keeper(place) as keeper:
        described = {} if wanted.description is None else {"description": wanted.description}
        arguments = {
            "promptRouterName": wanted.name,
            "models": [keeper.model(model_id) for model_id in wanted.models],
            "fallbackModel": keeper.model(wanted.fallback),
            "routingCriteria": {"responseQualityDifference": wanted.difference},
            **described,
        }
        with _writing(keeper.file):
            arn = keeper.control.create_prompt_router(**arguments)["promptRouterArn"]
        _show(keeper, arn, as_json=as_json)


def delete_router(place: Place, name: str, *, as_json: bool) -> None:
    """Delete a router, and say so. Raises as `list_routers`."""
    with _keeper(place) as keeper:
        arn = keeper.arn_of(name)
        if ":default-prompt-router/" in arn:
            raise InvalidRequestError(f"{name!r} is a default prompt router, which can't be deleted.")
        with _writing(keeper.file):
            keeper.control.delete_prompt_router(promptRouterArn=arn)
        if as_json:
            print_json({"kept_in": keeper.where, "deleted": arn})
        else:
            make_console().print(f"Deleted {name} from {keeper.where}.", soft_wrap=True)


@contextmanager
def _keeper(place: Place) -> Iterator[_Keeper]:
    if not place.at_aws:
        file = routers_file(place.file)
        yield _Keeper(control=kept_routers(file, region=region_here(place.region)), where=str(file), file=file)
        return
    key = os.environ.get(KEY_VARIABLE) or None
    connection = connect(endpoint_url=place.endpoint_url, region=place.region, key=key, without_aws=WITHOUT_AWS)
    where = connection.session.endpoint_url or "AWS"
    with calls_to(where):
        yield _Keeper(control=connection.session.client("bedrock"), where=f"{where}, {connection.region}", file=None)


@contextmanager
def _writing(file: Path | None) -> Iterator[None]:
    if file is None:
        yield
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as exc:
        raise InvalidRequestError(f"can't write {file}: {exc.strerror or exc}.") from exc


def _show(keeper: _Keeper, arn: str, *, as_json: bool) -> None:
    told = _told(keeper.control.get_prompt_router(promptRouterArn=arn))
    if as_json:
        print_json({"kept_in": keeper.where, **told})
        return
    about = {
        "Router": told["name"],
        "ARN": told["arn"],
        "Type": told["type"],
        "Models": "\n".join(told["models"]),
        "Fallback": told["fallback_model"],
        "Difference": f"{told['response_quality_difference']:g}",
        "Description": told["description"] or "none",
        "Created": told["created"],
        "Kept in": "the catalogue" if told["type"] == "default" and keeper.file else keeper.where,
    }
    print_about(make_console(), about)


def _where_from(keeper: _Keeper) -> str:
    if keeper.file is None:
        return f"Of {keeper.where}."
    there = "" if keeper.file.exists() else ", which is not there yet"
    return f"Kept in {keeper.file}{there}; the default ones are the catalogue's."


def _told(router: Mapping[str, Any]) -> dict[str, Any]:
    """As our JSON has it."""
    return {
        "name": router["promptRouterName"],
        "arn": router["promptRouterArn"],
        "type": router["type"],
        "models": [model["modelArn"] for model in router["models"]],
        "fallback_model": router["fallbackModel"]["modelArn"],
        "response_quality_difference": router["routingCriteria"]["responseQualityDifference"],
        "description": router.get("description"),
        "created": router["createdAt"].isoformat(),
        "status": router["status"],
    }


def _short(arn: str) -> str:
    return named_by(arn) or arn
