"""`pointsman doctor`: its options. How it is carried out is in `checking`, which needs more than options do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from pointsman.cli.completing import model_ids
from pointsman.cli.endpoints import Engine
from pointsman.cli.options import AsJson, EndpointUrl, OwnEngine, Region, own_engine
from pointsman.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is to be checked. `engine`: of a local endpoint that is started for it, instead of AWS."""

    region: str | None = None
    endpoint_url: str | None = None
    engine: Engine | None = None
    model: str | None = None
    call: bool = False
    as_json: bool = False

    def __post_init__(self) -> None:
        if self.model is not None and not self.calls:
            raise InvalidRequestError("--model goes with --call: otherwise no model is asked.")

    @property
    def calls(self) -> bool:
        """Whether a model is asked something."""
        return self.call or self.engine is not None


def doctor(
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    local: Annotated[
        bool, typer.Option("--local", help="Start a local endpoint, and ask a model there; AWS is left alone.")
    ] = False,
    engine: OwnEngine = None,
    call: Annotated[bool, typer.Option("--call", help="Ask a model something short; AWS bills it.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="ID",
            help="The model to ask. Default: the newest Claude Haiku.",
            show_default=False,
            autocompletion=model_ids,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check what routing and caching need: credentials, Region, models, router ARNs, the local engine.

    Of each: ok, failed or skipped, and what to do. Ends with 1 if anything failed. No model is asked without --call,
    and no secret is printed.

        pointsman doctor --region us-east-1 --call
    """
    from pointsman.cli.checking import carry_out

    wanted = Examination(
        region=region,
        endpoint_url=endpoint_url,
        engine=own_engine(local=local, engine=engine, endpoint_url=endpoint_url),
        model=model,
        call=call,
        as_json=as_json,
    )
    if not carry_out(wanted):
        raise typer.Exit(1)
