"""Whom the questions of a conversation go to: a model or a router, at AWS or at a local endpoint. Knows no options."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from pointsman.ask.as_json import to_json
from pointsman.ask.connection import KEY_VARIABLE, Connection, calls_to, connect
from pointsman.ask.conversation import Answer, choose_model_id
from pointsman.ask.reading import reading
from pointsman.ask.report import Report, described
from pointsman.catalog import Catalog
from pointsman.cli.endpoints import Engine, own_endpoint
from pointsman.cli.fitting import check_heads, load_predictor
from pointsman.cli.kept import kept_routers
from pointsman.client import Client
from pointsman.errors import InvalidRequestError
from pointsman.trace_log import TraceLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Whom to ask, and where. `engine`: at a local endpoint that is started with it."""

    router: str | None = None
    model: str | None = None
    predictor: Path | None = None
    region: str | None = None
    endpoint_url: str | None = None
    engine: Engine | None = None

    def __post_init__(self) -> None:
        if self.model is not None and self.router is not None:
            raise InvalidRequestError(
                "both --router and --model were given. A router chooses among models: choose one."
            )
        if self.model is not None and self.predictor is not None:
            raise InvalidRequestError("--predictor goes with a router: where a model is named, nothing is decided.")


class Asks(Protocol):
    """A conversation."""

    def ask(self, question: str, *, on_text: Callable[[str], object]) -> Answer:
        """Ask, and hand over the answer's text as it comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A client of whom is asked. `target` is who that is, in words."""

    client: Client
    connection: Connection
    model_id: str
    target: str

    @property
    def engine(self) -> str | None:
        """The engine of the local endpoint, if that is what answers."""
        return self.connection.local.engine if self.connection.local else None

    def answer(self, conversation: Asks, question: str, report: Report | None = None) -> Answer:
        """The answer to a question; it is reported as it comes, after what is shown while it is waited for.

        Raises:
            InvalidRequestError, NoEligibleModelError: the question was not sent.
            CallFailedError: it was refused, or not answered to its end.
        """
        with calls_to(self.connection.url), reading(Console(stderr=True), self.connection.local) as stop:

            def show(text: str) -> None:
                stop()
                if report is not None:
                    report.text(text)

            return conversation.ask(question, on_text=show)

    def open(self, report: Report, about: str) -> None:
        """Report whom is asked, and about what."""
        report.opening(about=about, target=self.target, url=self.connection.url, engine=self.engine)

    def print_json(self, answers: Sequence[Answer], about: Mapping[str, Any]) -> None:
        """The whole conversation as one JSON document."""
        connection = self.connection
        told = to_json(
            answers,
            asked=self.model_id,
            url=connection.url,
            region=connection.region,
            engine=self.engine,
            about=about,
        )
        print(json.dumps(told, indent=2, ensure_ascii=False))


@contextmanager
def reach(
    address: Address, *, knowledge_bases: Mapping[str, Path] | None = None, log: Path | None = None
) -> Iterator[Reached]:
    """Connect; an endpoint of its own, with these knowledge bases, listens while the block lasts.

    Traces are added to the log, if there is one.

    Raises:
        InvalidRequestError: whatever can be wrong with an address or the log, before anything is sent.
        MissingExtraError: the endpoint needs the extra `local`.
    """
    predictor = None if address.predictor is None else load_predictor(address.predictor)
    on_trace = None if log is None else TraceLog(log)
    with (
        own_endpoint(address.engine, region=address.region, knowledge_bases=knowledge_bases)
        if address.engine
        else nullcontext(address.endpoint_url) as url
    ):
        key = None if address.engine else os.environ.get(KEY_VARIABLE) or None
        connection = connect(endpoint_url=url, region=address.region, key=key)
        catalog = Catalog.default(resolver=connection.resolve_profile)
        routers = kept_routers(predictor=predictor, catalog=catalog, region=connection.region)
        model_id = choose_model_id(
            routers,
            router=address.router,
            model=address.model,
            region=connection.region,
            local=connection.local is not None,
        )
        router = routers.router(model_id, region=connection.region)
        if predictor is not None:
            if router is None:
                raise InvalidRequestError("--predictor goes with a router that is known here: another decides at AWS.")
            check_heads(predictor, router, catalog)
        yield Reached(
            client=Client(connection.runtime, routers=routers, on_trace=on_trace),
            connection=connection,
            model_id=model_id,
            target=described(router, model_id, catalog),
        )
