"""Local endpoints from the command line: one for a conversation, or one in the foreground. Imports them late."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from pointsman.ask.connection import KEY_VARIABLE
from pointsman.ask.report import STAND_IN
from pointsman.ask.unlisted import meant
from pointsman.bedrock import check_region
from pointsman.catalog import Catalog
from pointsman.errors import InvalidRequestError, MissingExtraError

if TYPE_CHECKING:
    from pointsman.local import LocalEndpoint, Settings

Engine = Literal["llama", "extract"]

WITHOUT_AWS = "--endpoint-url of a running `pointsman local`"
"""What a command that starts no endpoint says to try where AWS's credentials are missing."""


@contextmanager
def own_endpoint(
    engine: Engine, *, region: str | None = None, knowledge_bases: Mapping[str, Path] | None = None
) -> Iterator[str]:
    """The URL of an endpoint that listens while the block lasts.

    Raises:
        InvalidRequestError: AWS has no such Region, or a knowledge base's folder is missing or has nothing to read.
        MissingExtraError: the extra `local` is not installed.
    """
    _need_local()
    from pointsman.local import Settings

    settings = Settings(engine=engine, knowledge_bases=knowledge_bases or {})
    if region is not None:
        settings = replace(settings, region=check_region(region))
    with _listening(settings, "127.0.0.1", 0) as endpoint:
        yield endpoint.url


def run(
    *,
    engine: Engine,
    host: str,
    port: int,
    key: str | None,
    latency_ms: float,
    models: Mapping[str, Path],
    faults: Mapping[str, float],
    knowledge_bases: Mapping[str, Path],
    as_json: bool,
) -> None:
    """Runs an endpoint until it is interrupted, and says how to use it; as JSON in one line.

    Raises:
        InvalidRequestError: an argument can't be used, a folder has nothing to read, or the port is taken.
        MissingExtraError: the extra `local` is not installed.
    """
    _need_local()
    from pointsman.local import Settings

    _check_models(models, engine)
    settings = Settings(
        engine=engine,
        models=models,
        key=key,
        latency_ms=latency_ms,
        faults=faults,
        knowledge_bases=knowledge_bases,
    )
    with _listening(settings, host, port) as endpoint:
        if as_json:
            told = {"url": endpoint.url, "region": settings.region, "engine": engine, "keyed": bool(key)}
            print(json.dumps({**told, "knowledge_bases": list(knowledge_bases)}, ensure_ascii=False), flush=True)
        else:
            Console(highlight=False).print(
                _instructions(endpoint.url, engine, keyed=bool(key), knowledge_bases=list(knowledge_bases)),
                soft_wrap=True,
                markup=False,
            )
        threading.Event().wait()


@contextmanager
def _listening(settings: Settings, host: str, port: int) -> Iterator[LocalEndpoint]:
    from pointsman.local import LocalEndpoint

    endpoint = LocalEndpoint(settings, host=host, port=port)
    try:
        endpoint.start()
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise InvalidRequestError(
                f"port {port} is taken. Choose another with --port, or 0 for a free one."
            ) from exc
        raise InvalidRequestError(f"can't listen on {host}, port {port}: {exc.strerror}.") from exc
    try:
        yield endpoint
    finally:
        endpoint.stop()


def _need_local() -> None:
    if any(find_spec(package) is None for package in ("bm25s", "starlette", "uvicorn")):
        raise MissingExtraError("the local endpoint", "local")


def _check_models(models: Mapping[str, Path], engine: Engine) -> None:
    if models and engine != "llama":
        raise InvalidRequestError("--model goes with --engine llama: the engine extract has no weights.")
    known = {model.id for model in Catalog.default().models}
    for model_id, path in models.items():
        if model_id not in known:
            raise InvalidRequestError(
                f"unknown model {model_id!r}{meant(model_id)}: name one of the catalogue, without us. or global."
            )
        if not path.is_file():
            raise InvalidRequestError(f"{path}: no such file.")


def pair_of(text: str) -> tuple[str, str]:
    """NAME and VALUE of NAME=VALUE."""
    left, sign, right = text.partition("=")
    if not (left and sign and right):
        raise InvalidRequestError(f"{text!r} is not of the form NAME=VALUE.")
    return left, right


def share_of(kind: str, value: str) -> float:
    """The share of a fault as a number; whether it is from 0 to 1 is checked with all of them."""
    try:
        return float(value)
    except ValueError as exc:
        raise InvalidRequestError(f"the share of the fault {kind} is {value!r}; it must be from 0 to 1.") from exc


def _instructions(url: str, engine: Engine, *, keyed: bool, knowledge_bases: Sequence[str]) -> str:
    secret = f'os.environ["{KEY_VARIABLE}"]' if keyed else '"local"'
    served = f"Retrieve (bedrock-agent-runtime) over {', '.join(knowledge_bases)}.\n" if knowledge_bases else ""
    return f"""Listening at {url} with the engine {engine}. Ctrl-C ends it.
{STAND_IN[engine]}
{served}
    pointsman ask FILE -q "..." --endpoint-url {url}

    boto3.client("bedrock-runtime", endpoint_url="{url}", region_name="us-east-1",
                 aws_access_key_id="local", aws_secret_access_key={secret})
"""
