"""Routers by ARN or name: those that are kept as Bedrock keeps them, and those that are made in code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pointsman.catalog import named_by
from pointsman.errors import InvalidRequestError, RouterNotFoundError
from pointsman.prompt_routers import PromptRouters, RouterRecord, is_model_id
from pointsman.routing.criteria import RoutingCriteria, check_fraction
from pointsman.routing.quality import QualityPredictor
from pointsman.routing.router import Router
from pointsman.routing.shipped import ShippedPredictor

# Ids that were asked for, those of plain models too.
_MOST_NAMED = 4096


class RouterRegistry(PromptRouters):
    """The prompt routers that a client routes by itself.

    Has the API's four calls (`create_prompt_router` and so on), and gives the `Router` that a `modelId` names.

    Args:
        routers: routers made in code, found by their `name`.
        predictor, exploration: as `Router` takes them, for the routers that are kept as the API keeps them.
        kwargs: as `PromptRouters` takes them (`region`, `account`, `path`, `catalog`).
    """

    def __init__(
        self,
        routers: Iterable[Router] = (),
        *,
        predictor: QualityPredictor | None = None,
        exploration: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._in_code = {router.name: router for router in routers}
        check_fraction("exploration", exploration, "such as 0.02.")
        self._predictor = predictor or ShippedPredictor()
        self._exploration = exploration
        self._named: dict[tuple[str, str | None], Router | None] = {}
        self._named_at = self.version

    def router(self, model_id: str, *, region: str | None = None) -> Router | None:
        """The router that a `modelId` names, its models as they are invoked from `region`; None if it names none."""
        self.refresh()
        if self._named_at != self.version or len(self._named) > _MOST_NAMED:
            self._named, self._named_at = {}, self.version
        key = (model_id, region)
        if key not in (named := self._named):
            record = None if model_id in self._in_code else self.find(model_id, region=region)
            named[key] = self._in_code.get(model_id) if record is None else self._make(record)
        return named[key]

    def router_or_model(self, model_id: str, *, region: str | None = None) -> Router | None:
        """As `router`, for who must tell a mistyped name before anything is sent: None is a model's id, or an ARN.

        Raises:
            InvalidRequestError: it is no string.
            RouterNotFoundError: no router has that name, and a model's id doesn't look so.
        """
        if not isinstance(model_id, str) or not model_id:
            raise InvalidRequestError(f"the model is {model_id!r}. Give a model's id, an ARN, or a router's name.")
        router = self.router(model_id, region=region)
        if router is None and not (model_id.startswith("arn:") or is_model_id(model_id)):
            names = sorted({*self._in_code, *(record.name for record in self.records(region=region))})
            raise RouterNotFoundError(
                f"there is no router {model_id!r}, and no model has such an id. Known routers: {', '.join(names)}. "
                "Give one of them, a model's id, or an ARN."
            )
        return router

    def _make(self, record: RouterRecord) -> Router:
        return Router(
            name=record.name,
            models=tuple(named_by(model) or model for model in record.models),
            fallback_model=named_by(record.fallback_model) or record.fallback_model,
            criteria=RoutingCriteria.of_api(record.response_quality_difference),
            predictor=self._predictor,
            exploration=self._exploration,
        )
