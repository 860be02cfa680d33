"""The control plane: prompt routers, foundation models, inference profiles. Knows Bedrock's shapes; knows no HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pointsman.catalog import Catalog, Model
from pointsman.local.blocks import parse_json
from pointsman.local.refusals import Refusal, invalid
from pointsman.local.settings import Settings
from pointsman.local.shapes import reader
from pointsman.prompt_routers import PromptRouters, as_arn

_ARN_NAME: Final = re.compile(r"arn:[\w-]+:bedrock:[\w-]*:\d*:[\w-]+/(?P<name>.+)")
_SINCE: Final = datetime(2024, 11, 20, tzinfo=UTC)
"""System profiles are given one date: the catalogue doesn't tell when each came."""


class ControlPlane:
    """Answers the operations of the `bedrock` service that a prompt router's user needs."""

    def __init__(self, settings: Settings, routers: PromptRouters) -> None:
        self._settings = settings
        self._catalog: Catalog = settings.catalog
        self._routers = routers

    def create_prompt_router(self, body: bytes) -> dict[str, Any]:
        """CreatePromptRouter."""
        arguments = reader("CreatePromptRouter", service="bedrock")(parse_json(body), "")
        return self._routers.create_prompt_router(**arguments)

    def get_prompt_router(self, arn: str) -> dict[str, Any]:
        """GetPromptRouter."""
        return self._routers.get_prompt_router(promptRouterArn=arn)

    def list_prompt_routers(self, query: Mapping[str, str]) -> dict[str, Any]:
        """ListPromptRouters, with `maxResults`, `nextToken` and `type` from the query."""
        arguments: dict[str, Any] = {name: query[name] for name in ("nextToken", "type") if name in query}
        if "maxResults" in query:
            arguments["maxResults"] = _whole(query["maxResults"], "maxResults")
        return self._routers.list_prompt_routers(**arguments)

    def delete_prompt_router(self, arn: str) -> dict[str, Any]:
        """DeletePromptRouter."""
        return self._routers.delete_prompt_router(promptRouterArn=arn)

    def list_foundation_models(self, query: Mapping[str, str]) -> dict[str, Any]:
        """ListFoundationModels; of its filters, `byProvider` and `byOutputModality` make a difference here."""
        provider = query.get("byProvider", "").lower()
        models = [
            self._summary(model)
            for model in self._catalog.models
            if provider in ("", model.provider) and query.get("byOutputModality", "TEXT") == "TEXT"
        ]
        return {"modelSummaries": models}

    def get_foundation_model(self, model_id: str) -> dict[str, Any]:
        """GetFoundationModel, by id or ARN."""
        name = _name(model_id)
        model = next((model for model in self._catalog.models if model.id == name), None)
        if model is None:
            raise Refusal("ResourceNotFoundException", f"Could not resolve the foundation model {model_id!r}.")
        return {"modelDetails": self._summary(model)}

    def get_inference_profile(self, profile_id: str) -> dict[str, Any]:
        """GetInferenceProfile: system profiles of the catalogue, application profiles of the settings."""
        if (behind := self._settings.application_profiles.get(profile_id)) is not None:
            return self._profile(
                profile_id, self._catalog.resolve(behind), name=_name(profile_id), made_by="APPLICATION"
            )
        name = _name(profile_id)
        for model in self._catalog.models:
            if name in {f"{geo}.{model.id}" for geo in model.profiles if geo}:
                arn = as_arn(name, self._settings.region, self._settings.account_id)
                return self._profile(arn, model, name=name, made_by="SYSTEM_DEFINED")
        raise Refusal("ResourceNotFoundException", f"The inference profile {profile_id!r} was not found.")

    def _summary(self, model: Model) -> dict[str, Any]:
        inputs = ["TEXT", *(["IMAGE"] if model.capabilities.images else [])]
        return {
            "modelArn": self._foundation_model_arn(model),
            "modelId": model.id,
            "modelName": model.name,
            "providerName": model.provider.capitalize(),
            "inputModalities": inputs,
            "outputModalities": ["TEXT"],
            "responseStreamingSupported": True,
            "customizationsSupported": [],
            "inferenceTypesSupported": ["ON_DEMAND"],
            "modelLifecycle": {"status": "ACTIVE" if model.active else "LEGACY"},
        }

    def _profile(self, arn: str, model: Model, *, name: str, made_by: str) -> dict[str, Any]:
        return {
            "inferenceProfileName": model.name,
            "inferenceProfileArn": arn,
            "inferenceProfileId": name,
            "models": [{"modelArn": self._foundation_model_arn(model)}],
            "status": "ACTIVE",
            "type": made_by,
            "createdAt": _SINCE,
            "updatedAt": _SINCE,
        }

    def _foundation_model_arn(self, model: Model) -> str:
        return f"arn:aws:bedrock:{self._settings.region}::foundation-model/{model.id}"


def _name(id_or_arn: str) -> str:
    match = _ARN_NAME.fullmatch(id_or_arn)
    return match["name"] if match else id_or_arn


def _whole(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError as exc:
        raise invalid(f"{name} is {text!r}; it must be a whole number.") from exc
