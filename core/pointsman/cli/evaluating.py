"""How `pointsman evaluate` is carried out: files, policies, connection, and what was evaluated.

Whatever can be wrong is found before the first prompt is decided on or asked. Knows no options.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pointsman
from pointsman.ask import CallFailedError
from pointsman.ask.connection import KEY_VARIABLE, Connection, calls_to, connect
from pointsman.ask.report import STAND_IN
from pointsman.catalog import Catalog, Model
from pointsman.cli.endpoints import WITHOUT_AWS
from pointsman.cli.evaluation import Evaluation
from pointsman.cli.fitting import check_heads, load_predictor
from pointsman.cli.kept import kept_routers, region_here
from pointsman.cli.loading import load_function
from pointsman.cli.showing import print_figures, progress_bars
from pointsman.client import Client
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.compare import summed_up
from pointsman.evaluation.labelled import try_on
from pointsman.evaluation.live import Judge, LiveEvaluationError, ask
from pointsman.evaluation.report import check_path, write_report
from pointsman.evaluation.tables import remarks_of, tables_of
from pointsman.evaluation.trial import Policy, Trial, models_of, name_of, resolved, sample_of
from pointsman.evaluation.trial import Progress as Told
from pointsman.pricing import Price
from pointsman.prompt_routers import split_router_arn
from pointsman.routing import Outcomes, Router, RouterRegistry, RoutingCriteria
from pointsman.routing.trained import TrainedPredictor


def carry_out(wanted: Evaluation) -> None:
    """Evaluate, print, and write the reports.

    Raises:
        InvalidRequestError: something can't be done as it was asked for; nothing was sent.
        CallFailedError: prompts were sent, and nothing can be said.
    """
    for path in wanted.reports:
        check_path(path)
    judge: Judge | None = load_function(wanted.judge, "judge") if wanted.judge is not None else None
    prompts = _prompts(wanted)
    sampled = prompts if wanted.limit is None else sample_of(prompts, wanted.limit, wanted.seed)
    connection = _connection(wanted) if wanted.live else None
    catalog = _priced(Catalog.default(resolver=connection.resolve_profile if connection else None), wanted)
    policies = _policies(wanted, sampled, catalog, connection.region if connection else wanted.region)
    about = _about(wanted, policies, catalog, len(sampled), len(prompts), connection)
    with progress_bars() as told:
        if connection is not None and judge is not None:
            trial = _live(wanted, sampled, policies, catalog, connection, judge, told)
        else:
            trial = try_on(sampled, policies, catalog=catalog, on_progress=told)
        comparison = summed_up(trial, seed=wanted.seed, on_progress=told)
    for path in wanted.reports:
        write_report(path, comparison, about)
    if wanted.as_json:
        print(json.dumps({"about": about, **comparison.to_dict()}, indent=2, ensure_ascii=False))
    else:
        print_figures(about, tables_of(comparison), remarks_of(comparison), {"Report": wanted.reports})


def _prompts(wanted: Evaluation) -> Outcomes:
    named = (*wanted.models, *filter(None, (wanted.fallback, wanted.against))) if wanted.models else None
    if wanted.live:
        return Outcomes.read(wanted.file, labelled=False)
    return Outcomes.read(wanted.file, models=None if named is None else tuple(dict.fromkeys(named)))


def _connection(wanted: Evaluation) -> Connection:
    key = os.environ.get(KEY_VARIABLE) or None
    return connect(endpoint_url=wanted.endpoint_url, region=wanted.region, key=key, without_aws=WITHOUT_AWS)


def _priced(catalog: Catalog, wanted: Evaluation) -> Catalog:
    """The catalogue with the prices that were named; a model that it doesn't hold becomes one of it."""
    for model_id, input_price, output_price in wanted.prices:
        price = Price(input=input_price, output=output_price)  # type: ignore[arg-type]  # taken for Decimals
        known = resolved(model_id, catalog)
        model = replace(known, price=price) if known.known else Model(id=model_id, invoke_id=model_id, name=model_id)
        catalog = catalog.with_model(replace(model, price=price))
    return catalog


# --- what is evaluated --------------------------------------------------------------------------------------------


def _policies(wanted: Evaluation, prompts: Outcomes, catalog: Catalog, region: str | None) -> list[Policy]:
    registry = kept_routers(catalog=catalog, region=region_here(region))
    policies = [_subject(wanted, prompts, registry)]
    if wanted.against is not None:
        against = registry.router(wanted.against, region=registry.region) or wanted.against
        if isinstance(against, Router) and against.name == _name(policies[0]):
            against = replace(against, name=f"{against.name}, as it is")
        policies.append(against)
    return policies


def _subject(wanted: Evaluation, prompts: Outcomes, registry: RouterRegistry) -> Policy:
    if wanted.router is None:
        router = _made(wanted, prompts, registry.catalog)
    else:
        found = registry.router(wanted.router, region=registry.region)
        if found is None:
            return _decided_by_aws(wanted, registry)
        router = found
    if wanted.difference is not None:
        router = replace(router, criteria=RoutingCriteria(response_quality_difference=wanted.difference))
    if wanted.predictor is None:
        return router
    predictor = load_predictor(wanted.predictor)
    check_heads(predictor, router, registry.catalog)
    return replace(router, predictor=predictor)


def _made(wanted: Evaluation, prompts: Outcomes, catalog: Catalog) -> Router:
    models = wanted.models or (prompts.models if len(prompts.models) == 2 else ())
    if not models:
        listed = f"; the file has outcomes of {', '.join(prompts.models)}" if prompts.models else ""
        raise InvalidRequestError(f"name a router with --router, or its models with --models{listed}.")
    return Router(
        name="router",
        models=models,
        fallback_model=wanted.fallback or max(models, key=lambda model: _output_price(resolved(model, catalog))),
        criteria=RoutingCriteria(response_quality_difference=0.0),
    )


def _decided_by_aws(wanted: Evaluation, registry: RouterRegistry) -> str:
    assert wanted.router is not None
    if split_router_arn(wanted.router) is None:
        known = ", ".join(record.name for record in registry.records(region=registry.region))
        raise InvalidRequestError(f"unknown router {wanted.router!r}. Known by name: {known}.")
    if wanted.difference is not None or wanted.predictor is not None:
        raise InvalidRequestError(f"{wanted.router!r} decides at AWS: leave out --difference and --predictor.")
    return wanted.router


def _output_price(model: Model) -> float:
    return float(model.price.output) if model.price and model.price.output is not None else 0.0


def _name(policy: Policy) -> str:
    return policy.name if isinstance(policy, Router) else policy


# --- how ----------------------------------------------------------------------------------------------------------


def _live(
    wanted: Evaluation,
    prompts: Outcomes,
    policies: list[Policy],
    catalog: Catalog,
    connection: Connection,
    judge: Judge,
    told: Told,
) -> Trial:
    routers = [policy for policy in policies if isinstance(policy, Router)]
    registry = RouterRegistry(routers, catalog=catalog, region=connection.region)
    client = Client(connection.runtime, routers=registry)
    try:
        with calls_to(connection.url):
            return ask(
                prompts,
                policies,
                client,
                judge,
                concurrency=wanted.concurrency,
                max_tokens=wanted.max_tokens,
                on_progress=told,
            )
    except LiveEvaluationError as exc:
        raise CallFailedError(str(exc)) from exc


def _about(
    wanted: Evaluation,
    policies: list[Policy],
    catalog: Catalog,
    used: int,
    of: int,
    connection: Connection | None,
) -> dict[str, str]:
    told = {"Evaluated": _described(policies[0], catalog)}
    if len(policies) > 1:
        told["Against"] = _described(policies[1], catalog)
    if wanted.predictor is not None:
        told["Predictor"] = _fitted(wanted.predictor, policies[0])
    drawn = "" if used == of else f", drawn from {of:,} with seed {wanted.seed}"
    told["Prompts"] = f"{wanted.file.name}: {used:,}{drawn}"
    if connection is None:
        told["Answers"] = "the outcomes in the file; no call was made"
    else:
        engine = connection.local.engine if connection.local else None
        told["Answers"] = f"asked of {connection.url}, judged by {wanted.judge}"
        if engine is not None:
            told["Beware"] = STAND_IN.get(engine, STAND_IN["llama"])
    told["When"] = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, by pointsman {pointsman.__version__}"
    return told


def _described(policy: Policy, catalog: Catalog) -> str:
    if isinstance(policy, str):
        return policy if split_router_arn(policy) is not None else f"always {policy}"
    models = ", ".join(resolved(model, catalog).id for model in models_of(policy))
    return (
        f"{policy.name}: {models}; fallback model {resolved(policy.fallback_model, catalog).id}, response quality "
        f"difference {policy.criteria.response_quality_difference:g}, predictor {name_of(policy.predictor)}"
    )


def _fitted(path: Path, policy: Policy) -> str:
    assert isinstance(policy, Router)
    assert isinstance(policy.predictor, TrainedPredictor)
    card = policy.predictor.card
    return f"{path.name}, fitted on {card.date} to {card.prompts:,} prompts"
