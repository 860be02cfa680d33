"""`pointsman routers`: its commands and their options. How they are carried out is in `keeping`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pointsman.cli.completing import model_ids, router_names
from pointsman.cli.kept import DEFAULT_PLACE, ROUTERS_VARIABLE
from pointsman.cli.options import AsJson, EndpointUrl
from pointsman.errors import InvalidRequestError

routers = typer.Typer(
    help=f"""List, show, create or delete prompt routers.

    Those that are kept in a file (--file, {ROUTERS_VARIABLE}, or {DEFAULT_PLACE}), beside the default ones: every
    command finds them by name. With --aws, Bedrock's own.
    """,
    rich_markup_mode=None,
)

RoutersFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        envvar=ROUTERS_VARIABLE,
        metavar="FILE",
        help=f"Where they are kept. Default: {DEFAULT_PLACE}.",
        show_default=False,
    ),
]
AtAws = Annotated[bool, typer.Option("--aws", help="Bedrock's own, of your account and Region.")]
RegionHere = Annotated[
    str | None,
    typer.Option(
        "--region",
        metavar="REGION",
        help="Whose ARNs and profiles. Default: AWS's setting, or us-east-1 without --aws.",
        show_default=False,
    ),
]
# Hidden: the help would name its Python type. The text below tells of it.
Name = Annotated[str, typer.Argument(metavar="NAME", hidden=True, autocompletion=router_names)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the routers are kept: in a file, or at AWS."""

    file: Path | None = None
    at_aws: bool = False
    region: str | None = None
    endpoint_url: str | None = None

    def __post_init__(self) -> None:
        if self.endpoint_url is not None and not self.at_aws:
            raise InvalidRequestError("--endpoint-url goes with --aws: without it no call is made.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRouter:
    """A router that is to be created."""

    name: str
    models: tuple[str, ...]
    fallback: str
    difference: float
    description: str | None = None


@routers.callback(invoke_without_command=True)
def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@routers.command("list", short_help="List the routers.")
def list_(
    aws: AtAws = False,
    region: RegionHere = None,
    endpoint_url: EndpointUrl = None,
    file: RoutersFile = None,
    as_json: AsJson = False,
) -> None:
    """List the default routers and those that were created."""
    from pointsman.cli.keeping import list_routers

    list_routers(_place(aws, region, endpoint_url, file), as_json=as_json)


@routers.command(short_help="Show a router.")
def get(
    name: Name,
    aws: AtAws = False,
    region: RegionHere = None,
    endpoint_url: EndpointUrl = None,
    file: RoutersFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a router: its models, fallback model and criteria. NAME may be an ARN too."""
    from pointsman.cli.keeping import show_router

    show_router(_place(aws, region, endpoint_url, file), name, as_json=as_json)


@routers.command(short_help="Create a router.")
def create(
    name: Name,
    *,
    model: Annotated[
        list[str],
        typer.Option(
            "--model", metavar="ID", help="A model to choose among; may be repeated.", autocompletion=model_ids
        ),
    ],
    fallback: Annotated[
        str,
        typer.Option(
            "--fallback",
            metavar="ID",
            help="The model where no other meets the criteria.",
            autocompletion=model_ids,
        ),
    ],
    difference: Annotated[
        float,
        typer.Option(
            "--difference", min=0, max=1, metavar="D", help="Response quality difference: what may be lost to save."
        ),
    ],
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="What it is for.", show_default=False)
    ] = None,
    aws: AtAws = False,
    region: RegionHere = None,
    endpoint_url: EndpointUrl = None,
    file: RoutersFile = None,
    as_json: AsJson = False,
) -> None:
    """Create a router. Its models are ids, inference profiles or ARNs; AWS takes two of one family.

    \b
        pointsman routers create thrifty --model us.anthropic.claude-haiku-5-5 \\
            --fallback us.anthropic.claude-sonnet-5-5 --difference 0.1
    """
    from pointsman.cli.keeping import create_router

    wanted = NewRouter(
        name=name, models=tuple(model), fallback=fallback, difference=difference, description=description
    )
    create_router(_place(aws, region, endpoint_url, file), wanted, as_json=as_json)


@routers.command(short_help="Delete a router.")
def delete(
    name: Name,
    aws: AtAws = False,
    region: RegionHere = None,
    endpoint_url: EndpointUrl = None,
    file: RoutersFile = None,
    as_json: AsJson = False,
) -> None:
    """Delete a router that was created. NAME may be an ARN too. Nothing is asked first."""
    from pointsman.cli.keeping import delete_router

    delete_router(_place(aws, region, endpoint_url, file), name, as_json=as_json)


def _place(at_aws: bool, region: str | None, endpoint_url: str | None, file: Path | None) -> Place:
    return Place(file=file, at_aws=at_aws, region=region, endpoint_url=endpoint_url)
