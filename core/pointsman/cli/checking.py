"""How `pointsman doctor` is carried out: one check after another, none of which ends the others. Knows no options.

A check tells what was found and what to do about it. Nothing that it prints comes from a secret.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution, requires
from importlib.util import find_spec
from typing import Any, Literal

from rich.text import Text

import pointsman
from pointsman.ask import CallFailedError
from pointsman.ask.connection import KEY_VARIABLE, Connection, calls_to, configured_endpoint, connect
from pointsman.ask.unlisted import is_known, meant
from pointsman.bedrock import Session, aws_session, check_region, configured_region
from pointsman.catalog import Catalog, named_by
from pointsman.cli.doctor import Examination
from pointsman.cli.endpoints import own_endpoint
from pointsman.cli.kept import kept_routers, routers_file
from pointsman.cli.layout import make_console, print_json, table_of
from pointsman.cli.showing import progress_bars
from pointsman.errors import InvalidRequestError, PointsmanError

State = Literal["ok", "failed", "skipped"]
_STYLES: Mapping[State, str] = {"ok": "green", "failed": "red", "skipped": "dim"}
_PATIENCE_S = 5
_ANSWER_S = 60
_BEARER = "AWS_BEARER_TOKEN_BEDROCK"
_ANY_REGION = "us-east-1"
_OUT_OF_REACH = "There is no connection to ask by."
_PERMISSIONS: Mapping[str, str] = {
    "models": "It takes the permission bedrock:ListFoundationModels.",
    "prompt routers": "It takes the permission bedrock:ListPromptRouters.",
    "a call": "It takes bedrock:InvokeModel, and access to the model in this account and Region.",
}
_OF_AN_EXTRA = re.compile(r"(?P<package>[\w.-]+).*;.*extra == ['\"](?P<extra>[\w-]+)['\"]")


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one check. `advice` is empty where there is nothing to do."""

    check: str
    state: State
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"check": self.check, "state": self.state, "found": self.found, "advice": self.advice or None}


def carry_out(wanted: Examination) -> bool:
    """Check everything and print it; whether nothing failed."""
    findings = _examine(wanted)
    failed = sum(finding.state == "failed" for finding in findings)
    if wanted.as_json:
        print_json({"ok": not failed, "checks": [finding.to_dict() for finding in findings]})
        return not failed
    console = make_console()
    rows = [(one.check, Text(one.state, _STYLES[one.state]), f"{one.found} {one.advice}".strip()) for one in findings]
    console.print(table_of(("check", "state", "found"), rows))
    console.print(f"{failed} of {len(findings)} checks failed." if failed else "Nothing failed.")
    return not failed


def _examine(wanted: Examination) -> list[Finding]:
    findings: list[Finding] = []
    with progress_bars() as told, ExitStack() as stack:
        told("checking", 0, 1)
        connection = _reach(wanted, stack, findings)
        checks = _checks(wanted, connection)
        for done, (name, check) in enumerate(checks):
            told("checking", done, len(checks))
            findings.append(_checked(name, check))
    return findings


def _checks(wanted: Examination, connection: Connection | None) -> list[tuple[str, Callable[[], Finding]]]:
    return [
        ("models", lambda: _models(connection)),
        ("prompt routers", lambda: _routers(connection)),
        ("a call", lambda: _call(wanted, connection)),
        ("routers file", _file),
        ("local engine", _local_engine),
        ("installed", _installed),
    ]


def _checked(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except PointsmanError as exc:
        return Finding(name, "failed", str(exc), _advice(name, exc))


def _advice(name: str, error: PointsmanError) -> str:
    if name not in _PERMISSIONS:
        return ""
    if isinstance(error, CallFailedError):
        return _PERMISSIONS[name] if "AccessDenied" in str(error) else ""
    return "Look at the network and the Region, or name another --endpoint-url."


# --- the way to the models ----------------------------------------------------------------------------------------


def _reach(wanted: Examination, stack: ExitStack, findings: list[Finding]) -> Connection | None:
    """The connection, None if there can't be one; what was found of it is added to the findings."""
    named = wanted.endpoint_url
    if wanted.engine is None and not (named or configured_endpoint()):
        findings += [credentials := _credentials(wanted.region), region := _region(wanted.region)]
        if not credentials.state == region.state == "ok":
            return None
    try:
        if wanted.engine is not None:
            named = stack.enter_context(own_endpoint(wanted.engine, region=wanted.region))
        key = None if wanted.engine else os.environ.get(KEY_VARIABLE) or None
        connection = connect(endpoint_url=named, region=wanted.region, key=key)
    except PointsmanError as exc:
        findings.append(Finding("endpoint", "failed", str(exc)))
        return None
    url = named or configured_endpoint()
    if url is None:
        return connection
    if connection.local is None:
        findings.append(Finding("endpoint", "ok", f"{url}, which is no local endpoint."))
        findings += [_credentials(wanted.region), _region(wanted.region)]
        return connection
    findings.append(Finding("endpoint", "ok", f"{url} answers, with the engine {connection.local.engine}."))
    findings.append(Finding("credentials", "skipped", "A local endpoint needs none of AWS."))
    findings.append(Finding("Region", "ok", f"{connection.region}."))
    return connection


def _credentials(region: str | None) -> Finding:
    """Whether AWS's own chain finds any, and where. That they are let in, only a call can tell."""
    try:
        session = aws_session(region=region or _ANY_REGION).boto3_session
    except InvalidRequestError as exc:
        return Finding("credentials", "failed", str(exc), "Or work without AWS: --local.")
    if os.environ.get(_BEARER):
        return Finding("credentials", "ok", f"the API key of {_BEARER}.")
    return Finding("credentials", "ok", f"found by way of {session.get_credentials().method}.")


def _region(named: str | None) -> Finding:
    try:
        region = configured_region(named)
        if region is None:
            return Finding("Region", "failed", "none is set.", "Name one with --region, or set AWS_REGION.")
        check_region(region)
    except InvalidRequestError as exc:
        return Finding("Region", "failed", str(exc))
    return Finding("Region", "ok", f"{region}.")


def _impatient(session: Session, read_s: float | None = None) -> Session:
    """The same session, for calls that are answered at once or not worth waiting for."""
    config = session.config
    # The class by its object: the SDK is known in `pointsman.bedrock` only.
    hurry = type(config)(
        connect_timeout=_PATIENCE_S, read_timeout=read_s or _PATIENCE_S, retries={"total_max_attempts": 1}
    )
    return replace(session, config=config.merge(hurry))


# --- what is to be reached ----------------------------------------------------------------------------------------


@contextmanager
def _control(connection: Connection) -> Iterator[Any]:
    """A client of the control plane."""
    with calls_to(connection.session.endpoint_url or f"bedrock in {connection.region}"):
        yield _impatient(connection.session).client("bedrock")


def _models(connection: Connection | None) -> Finding:
    """Which models of the catalogue the Region offers; whether the account may call them, only a call can tell."""
    if connection is None:
        return Finding("models", "skipped", _OUT_OF_REACH)
    with _control(connection) as control:
        offered = {one["modelId"] for one in control.list_foundation_models()["modelSummaries"]}
    ours = [model.id for model in Catalog.default().models if model.active]
    here = [model_id for model_id in ours if model_id in offered]
    if not here:
        return Finding(
            "models", "failed", f"{connection.region} offers none of the catalogue's.", "Choose another --region."
        )
    told = f"{connection.region} offers {len(here)} of the catalogue's {len(ours)} active ones."
    return Finding("models", "ok", told)


def _routers(connection: Connection | None) -> Finding:
    if connection is None:
        return Finding("prompt routers", "skipped", _OUT_OF_REACH)
    with _control(connection) as control:
        found = control.list_prompt_routers(maxResults=100)["promptRouterSummaries"]
    arns = [one["promptRouterArn"] for one in found]
    missing = [one.name for one in Catalog.default().default_routers if not _holds(arns, one.id)]
    told = f"{', '.join(arns) or 'none here'}."
    if missing:
        told += f" {', '.join(missing)}: only in this process, which decides for itself."
    return Finding("prompt routers", "ok", told)


def _holds(arns: Sequence[str], router_id: str) -> bool:
    return any(arn.endswith(f":default-prompt-router/{router_id}") for arn in arns)


def _call(wanted: Examination, connection: Connection | None) -> Finding:
    if not wanted.calls:
        return Finding("a call", "skipped", "No model was asked.", "Ask one with --call.")
    if connection is None:
        return Finding("a call", "skipped", _OUT_OF_REACH)
    model_id = wanted.model or _newest_haiku(connection.region)
    messages = [{"role": "user", "content": [{"text": "Say ok."}]}]
    began = time.perf_counter()
    with calls_to(connection.url):
        runtime = _impatient(connection.session, _ANSWER_S).client()
        reply = runtime.converse(modelId=model_id, messages=messages, inferenceConfig={"maxTokens": 8})
    usage, took = reply["usage"], time.perf_counter() - began
    tokens = f"{usage['inputTokens']} tokens in, {usage['outputTokens']} out"
    return Finding("a call", "ok", f"{model_id} answered in {took:.2f} s; {tokens}.")


def _newest_haiku(region: str) -> str:
    model = Catalog.default().newest("anthropic.claude", "haiku")
    assert model is not None, "the catalogue has one"
    return model.profile_in(region)


# --- what is on this machine --------------------------------------------------------------------------------------


def _file() -> Finding:
    path = routers_file()
    created = [one for one in kept_routers(region=_ANY_REGION).records() if one.type != "default"]
    if not created:
        return Finding("routers file", "ok", f"{path} holds none yet.", "`pointsman routers create` makes one.")
    catalog = Catalog.default()
    for router in created:
        for arn in (*router.models, router.fallback_model):
            model_id = named_by(arn) or arn
            if not is_known(catalog, model_id):
                found = f"{router.name} in {path} names {model_id}, which the catalogue doesn't hold{meant(model_id)}."
                return Finding("routers file", "failed", found, "Without its price it is chosen as the fallback only.")
    return Finding("routers file", "ok", f"{path} holds {', '.join(one.name for one in created)}.")


def _local_engine() -> Finding:
    if find_spec("xllamacpp") is None or find_spec("starlette") is None:
        return Finding("local engine", "skipped", "It is not installed.", 'pip install "pointsman[local]"')
    from pointsman.local.engines import EngineUnavailableError
    from pointsman.local.llama import shipped_weights
    from pointsman.local.llama_runtime import remedy

    try:
        weights = shipped_weights()
    except EngineUnavailableError:
        return Finding("local engine", "skipped", "llama finds no weights.", remedy())
    return Finding("local engine", "ok", f"llama, with the weights {weights.name}.")


def _installed() -> Finding:
    """This package, and those of its extras whose packages are all there."""
    needed = _extras()
    there = [extra for extra, packages in needed.items() if all(map(_is_there, packages))]
    missing = [extra for extra in needed if extra not in there]
    told = f"pointsman {pointsman.__version__}, Python {platform.python_version()}; extras {', '.join(there)}."
    advice = f'Not these: pip install "pointsman[{",".join(missing)}]"' if missing else ""
    return Finding("installed", "ok", told, advice)


def _extras() -> dict[str, list[str]]:
    """The packages that each extra for users needs, by our own metadata."""
    needed: dict[str, list[str]] = {}
    for line in requires("pointsman") or ():
        found = _OF_AN_EXTRA.match(line)
        if found and found["extra"] != "dev":
            needed.setdefault(found["extra"], []).append(found["package"])
    return needed


def _is_there(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
