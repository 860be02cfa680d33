"""Routers by ARN or name: those that are kept as Bedrock keeps them, and those that are made in code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pointsman.catalog import named_by
from pointsman.prompt_routers import PromptRouters, RouterRecord
from pointsman.routing.criteria import RoutingCriteria
from pointsman.routing.quality import QualityPredictor, SurfacePredictor
from pointsman.routing.router import Router


class RouterRegistry(PromptRouters):
    """The prompt routers that a client routes by itself.

    Has the API's four calls (`create_prompt_router` and so on), and gives the `Router` that a `modelId` names.

    Args:
        routers: routers made in code, found by their `name`.
        predictor: expected quality for the routers that are kept as the API keeps them.
        kwargs: as `PromptRouters` takes them (`region`, `account`, `path`, `catalog`).
    """

    def __init__(
        self,
        routers: Iterable[Router] = (),
        *,
        predictor: QualityPredictor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._in_code = {router.name: router for router in routers}
        self._predictor = predictor or SurfacePredictor()
        self._made: dict[tuple[str, str | None], tuple[RouterRecord, Router]] = {}

    def router(self, model_id: str, *, region: str | None = None) -> Router | None:
        """The router that a `modelId` names, its models as they are invoked from `region`; None if it names none."""
        if (router := self._in_code.get(model_id)) is not None:
            return router
        record = self.find(model_id, region=region)
        if record is None:
            return None
        made = self._made.get((model_id, region))
        if made is None or made[0] != record:
            made = (record, self._make(record))
            self._made[model_id, region] = made
        return made[1]

    def _make(self, record: RouterRecord) -> Router:
        return Router(
            name=record.name,
            models=tuple(named_by(model) or model for model in record.models),
            fallback_model=named_by(record.fallback_model) or record.fallback_model,
            criteria=RoutingCriteria.of_api(record.response_quality_difference),
            predictor=self._predictor,
        )
