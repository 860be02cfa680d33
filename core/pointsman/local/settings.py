"""What a local endpoint is started with. Values only; `make_engine` is the one place that chooses an engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pointsman.catalog import Catalog
from pointsman.errors import InvalidRequestError
from pointsman.local.clock import Clock
from pointsman.local.engines import Engine
from pointsman.local.extract import ExtractEngine

ENGINES: Final = ("extract", "llama")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an endpoint behaves.

    `models` names GGUF files for the engine `llama`, by model id. `key` is demanded of every client, as the secret
    of SigV4 (with any access key id) or as the bearer token. `latency_ms` passes before the first token, `pace_ms`
    before each further piece. `faults` maps a fault to its share of all prompts. `application_profiles` maps
    ARNs of application inference profiles to the model or profile behind them. `default_max_tokens` holds where
    the request names no maxTokens. More than `max_in_flight` requests at once get ServiceUnavailableException, a
    body beyond `max_body_bytes` gets 413. `routers_path` keeps created prompt routers. `knowledge_bases` maps ids to
    folders of documents, which are read at the start.
    """

    engine: str | Engine = "extract"
    models: Mapping[str, Path] = field(default_factory=dict)
    key: str | None = field(default=None, repr=False)
    latency_ms: float = 0.0
    pace_ms: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    application_profiles: Mapping[str, str] = field(default_factory=dict)
    region: str = "us-east-1"
    account_id: str = "123412341234"
    default_max_tokens: int = 512
    max_in_flight: int = 256
    max_body_bytes: int = 32 << 20
    max_cache_entries: int = 4096
    routers_path: Path | None = None
    knowledge_bases: Mapping[str, Path] = field(default_factory=dict)
    clock: Clock = time.time
    catalog: Catalog = field(default_factory=Catalog.default)


def make_engine(settings: Settings) -> Engine:
    """The engine that the settings name, or the one that they hold.

    Raises:
        InvalidRequestError: there is no engine of that name.
        EngineUnavailableError: its runtime or weights are missing.
    """
    if not isinstance(settings.engine, str):
        return settings.engine
    if settings.engine == "extract":
        return ExtractEngine()
    if settings.engine == "llama":
        # Imported here: it needs xllamacpp, and loads 100 MB of it.
        from pointsman.local.llama import LlamaEngine

        return LlamaEngine(settings.models)
    raise InvalidRequestError(f"unknown engine {settings.engine!r}. Known: {', '.join(ENGINES)}.")
