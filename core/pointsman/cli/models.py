"""`pointsman models`: its options. How it is carried out is in `cataloguing`, which needs more than options do."""

from __future__ import annotations

from typing import Annotated

import typer

from pointsman.cli.completing import model_ids
from pointsman.cli.options import AsJson


def models(
    # Hidden: the help would name its Python type. The text below tells of it.
    model: Annotated[str | None, typer.Argument(metavar="ID", hidden=True, autocompletion=model_ids)] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            metavar="REGION",
            help="Show each as it is called from there: its profile, and that one's price.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the models of the catalogue: limits, caching rules, prices. No call is made.

    With an ID (a model, an inference profile or an ARN): every fact of that model, with its source and date.

        pointsman models us.anthropic.claude-haiku-5-5
    """
    from pointsman.bedrock import check_region
    from pointsman.cli.cataloguing import list_models, show_model

    if region is not None:
        check_region(region)
    if model is None:
        list_models(region=region, as_json=as_json)
    else:
        show_model(model, region=region, as_json=as_json)
