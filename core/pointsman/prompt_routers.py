"""Prompt routers as Bedrock's control plane keeps them: Create, Get, List and Delete, with its limits and errors.

Arguments, replies and limits follow the `bedrock` service model (botocore 1.44.5, read 2026-11-22). Kept in
memory, or in a TOML file that a person can edit. Knows nothing of how a request is routed.
"""

from __future__ import annotations

import base64
import json
import math
import re
import threading
import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xxhash

from pointsman.catalog import GEO_PREFIXES, Catalog
from pointsman.errors import (
    InvalidRouterError,
    PointsmanWarning,
    RouterConflictError,
    RouterNotFoundError,
    TooManyTagsError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterRecord:
    """One stored router. `models` and `fallback_model` are model ids, profile ids or ARNs, as they are invoked.

    `response_quality_difference` is as it was given: up to 1 a fraction, above that per cent.
    """

    id: str
    name: str
    models: tuple[str, ...]
    fallback_model: str
    response_quality_difference: float
    description: str | None = None
    created: datetime
    type: str = "custom"
    tags: tuple[tuple[str, str], ...] = ()

    def arn(self, region: str, account: str) -> str:
        """The router's ARN as it is known in that Region and account."""
        kind = "default-prompt-router" if self.type == "default" else "prompt-router"
        return f"arn:aws:bedrock:{region}:{account}:{kind}/{self.id}"


class PromptRouters:
    """The account's prompt routers: the default ones of the catalogue and those that were created.

    Args:
        region, account: name the routers' ARNs. A default router answers to its ARN in any Region and account.
        path: a TOML file to keep created routers in, `~` being the user's home; read again whenever it changes.
        now: gives the time of creation, timezone-aware.

    Raises:
        InvalidRouterError: the file holds something that is not a router.
    """

    def __init__(
        self,
        *,
        catalog: Catalog | None = None,
        region: str = "us-east-1",
        account: str = "123412341234",
        path: str | Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.catalog = catalog or Catalog.default()
        self.region = region
        self.account = account
        self._now = now
        self._file = Path(path).expanduser() if path is not None else None
        self._read_at: float | None = None
        self._broken: InvalidRouterError | None = None
        self._custom: dict[str, RouterRecord] = {}
        self.version = 0
        self._tokens: dict[str, RouterRecord] = {}
        self._defaults_in: dict[str, tuple[RouterRecord, ...]] = {}
        self._lock = threading.RLock()
        if self._file is not None and self._file.exists():
            self._load(self._file)

    def create_prompt_router(
        self,
        *,
        promptRouterName: str,
        models: Sequence[Mapping[str, str]],
        routingCriteria: Mapping[str, float],
        fallbackModel: Mapping[str, str],
        description: str | None = None,
        clientRequestToken: str | None = None,
        tags: Sequence[Mapping[str, str]] = (),
    ) -> dict[str, Any]:
        """As the API's CreatePromptRouter; models may also be named by id, and be more than two or of several families.

        Raises:
            InvalidRouterError, RouterConflictError, TooManyTagsError: as the API refuses.
        """
        record = RouterRecord(
            id=xxhash.xxh3_64_hexdigest(promptRouterName.encode())[:12] if _is_text(promptRouterName) else "",
            name=_matching("promptRouterName", promptRouterName, _NAME, 64),
            models=tuple(_model_arn(model) for model in _sequence("models", models)),
            fallback_model=_model_arn(fallbackModel),
            response_quality_difference=_difference(routingCriteria),
            description=None if description is None else _matching("description", description, _DESCRIPTION, 200),
            created=self._now(),
            tags=_tags(tags),
        )
        if not record.models:
            raise InvalidRouterError("models is empty. Name at least one model.")
        if clientRequestToken is not None:
            _matching("clientRequestToken", clientRequestToken, _TOKEN, 256)
        with self._lock:
            self.refresh()
            if clientRequestToken is not None and (earlier := self._tokens.get(clientRequestToken)) is not None:
                if replace(earlier, created=record.created) != record:
                    raise RouterConflictError(
                        f"clientRequestToken {clientRequestToken!r} was used for another router. Use a new token."
                    )
                return {"promptRouterArn": earlier.arn(self.region, self.account)}
            if any(other.name == record.name for other in self.records()):
                raise RouterConflictError(
                    f"a prompt router named {record.name!r} exists. Delete it first, or choose another name."
                )
            self._add(record)
            if clientRequestToken is not None:
                self._tokens[clientRequestToken] = record
        return {"promptRouterArn": record.arn(self.region, self.account)}

    def get_prompt_router(self, *, promptRouterArn: str) -> dict[str, Any]:
        """As the API's GetPromptRouter; a router's name is taken too.

        Raises:
            RouterNotFoundError: there is none.
        """
        record = self.find(promptRouterArn)
        if record is None:
            raise RouterNotFoundError(
                f"no prompt router {promptRouterArn!r}. list_prompt_routers shows those there are."
            )
        _, region, account = split_router_arn(promptRouterArn) or ("", self.region, self.account)
        return self._summary(record, region or self.region, account or self.account)

    def list_prompt_routers(
        self, *, maxResults: int = 100, nextToken: str | None = None, type: str | None = None
    ) -> dict[str, Any]:
        """As the API's ListPromptRouters: default routers first, then the created ones by age.

        Raises:
            InvalidRouterError: `maxResults` outside 1 to 1000, an unknown `type`, or a token of another making.
        """
        if not isinstance(maxResults, int) or not 1 <= maxResults <= 1000:
            raise InvalidRouterError(f"maxResults is {maxResults!r}; it must be from 1 to 1000.")
        if type not in (None, "default", "custom"):
            raise InvalidRouterError(f"type is {type!r}; it must be 'default' or 'custom'.")
        start = _offset(nextToken)
        chosen = [record for record in self.records() if type in (None, record.type)]
        page = chosen[start : start + maxResults]
        reply: dict[str, Any] = {
            "promptRouterSummaries": [self._summary(record, self.region, self.account) for record in page]
        }
        if start + maxResults < len(chosen):
            reply["nextToken"] = base64.urlsafe_b64encode(str(start + maxResults).encode()).decode()
        return reply

    def delete_prompt_router(self, *, promptRouterArn: str) -> dict[str, Any]:
        """As the API's DeletePromptRouter.

        Raises:
            RouterNotFoundError: there is none.
            InvalidRouterError: it is a default router, which can't be deleted, or the file is broken.
        """
        with self._lock:
            record = self.find(promptRouterArn)
            if record is None:
                raise RouterNotFoundError(f"no prompt router {promptRouterArn!r}: nothing was deleted.")
            if record.type == "default":
                raise InvalidRouterError(f"{promptRouterArn!r} is a default prompt router, which can't be deleted.")
            if self._file is not None and self._file.exists():
                self._edit(lambda text: _without_router(text, record.name))
            del self._custom[record.id]
            self.version += 1
            self._tokens = {token: kept for token, kept in self._tokens.items() if kept.id != record.id}
        return {}

    def records(self, *, region: str | None = None) -> tuple[RouterRecord, ...]:
        """Every router, the default ones first, then the created ones by age."""
        with self._lock:
            self.refresh()
            created = sorted(self._custom.values(), key=lambda record: record.created)
        return (*self._defaults(region or self.region), *created)

    def find(self, name_or_arn: str, *, region: str | None = None) -> RouterRecord | None:
        """The router of that ARN or name, or None. A default router is known by how its ARN ends.

        `region` is where a default router's models are invoked from: the ARN's Region unless it is given.
        """
        parts = split_router_arn(name_or_arn)
        if parts is None:
            self.refresh()
            known = (*self._custom.values(), *self._defaults(region or self.region))
            return next((record for record in known if name_or_arn in (record.name, record.id)), None)
        resource, arn_region, account = parts
        kind, _, wanted = resource.partition("/")
        if kind == "default-prompt-router":
            defaults = self._defaults(region or arn_region or self.region)
            return next((record for record in defaults if record.id == wanted), None)
        with self._lock:
            self.refresh()
            record = self._custom.get(wanted)
        return record if (arn_region, account) == (self.region, self.account) else None

    def _defaults(self, region: str) -> tuple[RouterRecord, ...]:
        if region not in self._defaults_in:
            self._defaults_in[region] = self._made_defaults(region)
        return self._defaults_in[region]

    def _made_defaults(self, region: str) -> tuple[RouterRecord, ...]:
        return tuple(
            RouterRecord(
                id=router.id,
                name=router.name,
                models=tuple(self.catalog.resolve(model).profile_in(region) for model in router.models),
                fallback_model=self.catalog.resolve(router.fallback_model).profile_in(region),
                response_quality_difference=router.response_quality_difference,
                description=router.description,
                created=datetime.fromisoformat(router.created),
                type="default",
            )
            for router in self.catalog.default_routers
        )

    def _summary(self, record: RouterRecord, region: str, account: str) -> dict[str, Any]:
        summary = {
            "promptRouterName": record.name,
            "routingCriteria": {"responseQualityDifference": record.response_quality_difference},
            "description": record.description,
            "createdAt": record.created,
            "updatedAt": record.created,
            "promptRouterArn": record.arn(region, account),
            "models": [{"modelArn": as_arn(model, region, account)} for model in record.models],
            "fallbackModel": {"modelArn": as_arn(record.fallback_model, region, account)},
            "status": "AVAILABLE",
            "type": record.type,
        }
        if record.description is None:
            del summary["description"]
        return summary

    def _add(self, record: RouterRecord) -> None:
        if self._file is not None:
            self._edit(lambda text: f"{text.rstrip()}\n\n{_to_toml(record)}" if text.strip() else _to_toml(record))
        self._custom[record.id] = record
        self.version += 1

    def _edit(self, change: Callable[[str], str]) -> None:
        """Change the file's text; nothing is written over a person's half-made edit, nor what could not be read."""
        assert self._file is not None
        if self._broken is not None:
            raise InvalidRouterError(f"{self._broken} Mend it first: nothing was written.")
        text = change(self._file.read_text("utf-8") if self._file.exists() else "")
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            raise InvalidRouterError(f"{self._file} must hold its routers as [[router]] tables: {exc}.") from exc
        self._file.write_text(text, "utf-8")
        self._read_at = self._file.stat().st_mtime

    def refresh(self) -> None:
        """Read the file again if somebody changed it; a broken edit leaves the routers as they were."""
        if self._file is None or not self._file.exists() or self._file.stat().st_mtime == self._read_at:
            return
        try:
            self._load(self._file)
            self._broken = None
        except InvalidRouterError as exc:
            self._read_at = self._file.stat().st_mtime
            self._broken = exc
            warnings.warn(f"{exc} The routers stay as they were.", PointsmanWarning, stacklevel=3)

    def _load(self, path: Path) -> None:
        changed = path.stat().st_mtime
        try:
            tables = tomllib.loads(path.read_text("utf-8")).get("router", [])
            records = [_from_toml(table, changed) for table in tables]
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise InvalidRouterError(f"{path} is not a TOML file: {exc}.") from exc
        except (KeyError, TypeError, AttributeError, InvalidRouterError) as exc:
            raise InvalidRouterError(f"{path} holds a [[router]] that can't be used: {exc}.") from exc
        names = [*(router.name for router in self.catalog.default_routers), *(record.name for record in records)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InvalidRouterError(f"{path} holds a router named {twice[0]!r}, which there is already.")
        self._custom = {record.id: record for record in records}
        self.version += 1
        self._read_at = changed


def as_arn(model_id: str, region: str, account: str) -> str:
    """The ARN of a model or inference profile id in that Region and account; an ARN stays as it is."""
    if model_id.startswith("arn:"):
        return model_id
    if model_id.partition(".")[0] in GEO_PREFIXES:
        return f"arn:aws:bedrock:{region}:{account}:inference-profile/{model_id}"
    return f"arn:aws:bedrock:{region}::foundation-model/{model_id}"


_NAME = re.compile(r"([0-9a-zA-Z][ _-]?)+")
_DESCRIPTION = re.compile(r"([0-9a-zA-Z:.][ _-]?)+")
_TOKEN = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,254}[a-zA-Z0-9])?")
_TAG = re.compile(r"[a-zA-Z0-9\s._:/=+@-]*")
_ROUTER_TABLE = re.compile(r"\s*\[\[\s*router\s*\]\]\s*(#.*)?")
_TABLE = re.compile(r"\s*\[\[?\s*[\w.-]+\s*\]?\]\s*(#.*)?")
_ROUTER_ARN = re.compile(r"arn:[\w-]+:bedrock:([\w-]*):(\d*):((?:default-)?prompt-router/.+)")
_MODEL_ARN = re.compile(
    r"arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:((:foundation-model/[a-z0-9-]{1,63}[.][\w.:-]{1,126})"
    r"|([0-9]{12}:(inference-profile|application-inference-profile)/[a-zA-Z0-9-:.]+))"
)
_MODEL_ID = re.compile(r"[a-z][\w-]*\.[\w.:-]+")


def is_model_id(text: str) -> bool:
    """Whether a text looks like the id of a model or an inference profile."""
    return _MODEL_ID.fullmatch(text) is not None


def split_router_arn(text: str) -> tuple[str, str, str] | None:
    """(resource, Region, account) of a prompt router's ARN; None for anything else."""
    match = _ROUTER_ARN.fullmatch(text) if text.startswith("arn:") else None
    return (match[3], match[1], match[2]) if match else None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _matching(field: str, value: Any, pattern: re.Pattern[str], longest: int, *, shortest: int = 1) -> str:
    if not _is_text(value) or not shortest <= len(value) <= longest or not pattern.fullmatch(value):
        raise InvalidRouterError(
            f"{field} is {value!r}; it must have {shortest} to {longest} characters and match {pattern.pattern}."
        )
    return str(value)


def _sequence(field: str, value: Any) -> Sequence[Any]:
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        raise InvalidRouterError(f"{field} is {value!r}; it must be a list of {{'modelArn': ...}}.")
    return value


def _model_arn(model: Any) -> str:
    arn = model.get("modelArn") if isinstance(model, Mapping) else None
    if not _is_text(arn) or not (_MODEL_ARN.fullmatch(str(arn)) or is_model_id(str(arn))):
        raise InvalidRouterError(
            f"{model!r} names no model. Give {{'modelArn': ...}} with the ARN or id of a foundation model "
            "or inference profile."
        )
    return str(arn)


def _difference(criteria: Any) -> float:
    value = criteria.get("responseQualityDifference") if isinstance(criteria, Mapping) else None
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if value is None or not numeric or not 0 <= value <= 100:
        raise InvalidRouterError(
            f"responseQualityDifference is {value!r}; it must be from 0 to 1 (a fraction) or up to 100 (per cent)."
        )
    return float(value)


def _tags(tags: Any) -> tuple[tuple[str, str], ...]:
    if len(tags) > 200:
        raise TooManyTagsError(f"{len(tags)} tags were given; a prompt router bears at most 200.")
    try:
        return tuple(
            (
                _matching("a tag's key", tag["key"], _TAG, 128),
                _matching("a tag's value", tag["value"], _TAG, 256, shortest=0),
            )
            for tag in tags
        )
    except (KeyError, TypeError) as exc:
        raise InvalidRouterError(f"tags must be a list of {{'key': ..., 'value': ...}}, not {tags!r}.") from exc


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        offset = int(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        offset = -1
    if offset < 0:
        raise InvalidRouterError(f"nextToken {token!r} is none of ours. Begin the listing again without it.")
    return offset


def _to_toml(record: RouterRecord) -> str:
    # A JSON string or list of strings is one in TOML too.
    fields: dict[str, Any] = {
        "name": record.name,
        "description": record.description,
        "models": list(record.models),
        "fallback_model": record.fallback_model,
        "response_quality_difference": record.response_quality_difference,
        "created": record.created.isoformat(),
        "tags": [list(tag) for tag in record.tags] or None,
    }
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items() if value is not None]
    return "\n".join(["[[router]]", *lines, ""])


def _from_toml(table: Mapping[str, Any], changed: float) -> RouterRecord:
    name = _matching("name", table["name"], _NAME, 64)
    created = table.get("created")
    return RouterRecord(
        id=xxhash.xxh3_64_hexdigest(name.encode())[:12],
        name=name,
        models=tuple(_model_arn({"modelArn": model}) for model in table["models"]),
        fallback_model=_model_arn({"modelArn": table["fallback_model"]}),
        response_quality_difference=_difference({"responseQualityDifference": table["response_quality_difference"]}),
        description=table.get("description"),
        created=datetime.fromisoformat(created) if created else datetime.fromtimestamp(changed, UTC),
        tags=tuple((key, value) for key, value in table.get("tags", ())),
    )


def _without_router(text: str, name: str) -> str:
    """The file's text without one router's table; every other line, comments too, stays as it was."""
    lines = text.splitlines(keepends=True)
    tables = [index for index, line in enumerate(lines) if _TABLE.fullmatch(line.rstrip())]
    routers = [index for index in tables if _ROUTER_TABLE.fullmatch(lines[index].rstrip())]
    names = [table.get("name") for table in tomllib.loads(text).get("router", ())]
    if len(names) != len(routers):
        raise InvalidRouterError(f"the file must hold its routers as [[router]] tables: {name!r} was not deleted.")
    start = routers[names.index(name)]
    end = next((index for index in tables if index > start), len(lines))
    # What stands right above the next table, or at the end of the file, is not this router's.
    while lines[end - 1].lstrip().startswith("#") or not lines[end - 1].strip():
        end -= 1
    return "".join(lines[:start] + lines[end:])
