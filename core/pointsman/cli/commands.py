"""The commands of `pointsman` and their options. Translates them; knows nothing of how they are carried out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import pointsman
from pointsman.ask.connection import KEY_VARIABLE
from pointsman.cli.addressing import Address
from pointsman.cli.chatting import chat
from pointsman.cli.contents import Contents
from pointsman.cli.doctor import doctor
from pointsman.cli.endpoints import Engine, pair_of, run, share_of
from pointsman.cli.evaluation import evaluate
from pointsman.cli.explain import explain
from pointsman.cli.fitting import fit
from pointsman.cli.inquiry import Inquiry, demo_inquiry, hold
from pointsman.cli.models import models
from pointsman.cli.options import (
    AsJson,
    EndpointUrl,
    Local,
    LogFile,
    MaxTokens,
    ModelId,
    OwnEngine,
    PredictorFile,
    Questions,
    Region,
    RouterName,
    own_engine,
)
from pointsman.cli.replay import replay
from pointsman.cli.route import route
from pointsman.cli.routers import routers

app = typer.Typer(
    cls=Contents,
    help="Prompt routing and prompt caching for Amazon Bedrock, together.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"pointsman {pointsman.__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(short_help="Ask questions about documents, in one conversation.")
def ask(
    files: Annotated[
        list[Path] | None,
        # Hidden: the help would name its Python type. The text below tells of it.
        typer.Argument(metavar="FILE", hidden=True),
    ] = None,
    question: Questions = None,
    router: RouterName = None,
    model: ModelId = None,
    predictor: PredictorFile = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    local: Local = False,
    engine: OwnEngine = None,
    log: LogFile = None,
    as_json: AsJson = False,
    max_tokens: MaxTokens = 1024,
) -> None:
    """Ask questions about documents, in one conversation that is routed and cached.

    Each FILE is a document: pdf, txt, md, csv, html, doc, docx, xls or xlsx, five of them at most.

    Calls AWS with your default credentials, or a local endpoint. For each question: the model and why it was
    chosen, the tokens, the time to the first of them, and the cost.

        pointsman ask handbook.pdf -q "Who approves travel?" -q "And abroad?"
    """
    address = Address(
        router=router,
        model=model,
        predictor=predictor,
        region=region,
        endpoint_url=endpoint_url,
        engine=own_engine(local=local, engine=engine, endpoint_url=endpoint_url),
    )
    hold(
        Inquiry(
            files=files or (),
            questions=question or (),
            address=address,
            as_json=as_json,
            max_tokens=max_tokens,
            log=log,
        )
    )


app.command(short_help="Talk about a folder of documents.")(chat)


@app.command(short_help="Ask three questions about three PDFs, on this machine.")
def demo(
    engine: Annotated[Engine, typer.Option(help="What answers: a small model, or sentences of the prompt.")] = "llama",
    log: LogFile = None,
    as_json: AsJson = False,
) -> None:
    """Ask three questions about three short PDFs, on this machine and without AWS.

    Starts a local endpoint and asks the default router for Claude. The answers are a stand-in's; the tokens, the
    latency and the decisions are real.
    """
    hold(demo_inquiry(engine, as_json=as_json, log=log))


@app.command(short_help="Run a Bedrock-compatible endpoint on this machine.")
def local(
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="The port to listen on; 0 for a free one.")
    ] = 8480,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="The address; other than loopback only with a key.")
    ] = "127.0.0.1",
    engine: Annotated[Engine, typer.Option(help="What answers: a small model, or sentences of the prompt.")] = "llama",
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=PATH", help="A GGUF file to answer for a model id; may be repeated.", show_default=False
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            envvar=KEY_VARIABLE,
            metavar="KEY",
            help="Demanded of every client, as its secret access key.",
            show_default=False,
        ),
    ] = None,
    latency_ms: Annotated[
        float, typer.Option("--latency-ms", min=0, metavar="N", help="Added before the first token.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=SHARE",
            help="Refuse a share of all prompts once, such as throttle=0.2; may be repeated.",
            show_default=False,
        ),
    ] = None,
    knowledge_base: Annotated[
        list[str] | None,
        typer.Option(
            "--knowledge-base",
            metavar="ID=FOLDER",
            help="Serve Retrieve over a folder of md, txt and pdf files, under an id of ten letters and digits; may be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON, with the URL, once it listens.")
    ] = False,
) -> None:
    """Run a Bedrock-compatible endpoint on this machine, until Ctrl-C.

    boto3, the AWS CLI and frameworks talk to it through their endpoint URL. It applies Bedrock's caching rules and
    keeps its own account (GET /_local/account).
    """
    run(
        engine=engine,
        host=host,
        port=port,
        key=key or None,
        latency_ms=latency_ms,
        models={model_id: Path(path) for model_id, path in map(pair_of, model or ())},
        faults={kind: share_of(kind, share) for kind, share in map(pair_of, fault or ())},
        knowledge_bases={name: Path(folder) for name, folder in map(pair_of, knowledge_base or ())},
        as_json=as_json,
    )


app.command(short_help="Fit a predictor of quality to prompts of your own.")(fit)
app.command(short_help="Hold a router against a model, another router, and baselines.")(evaluate)
app.command(short_help="Bill a log of requests under other cache points, or another router.")(replay)
app.command(short_help="Tell what is cached of a request and why, or what broke a conversation's cache.")(explain)
app.command(short_help="Show which model a router would choose for a prompt, and why.")(route)
app.command(short_help="List the models of the catalogue, or every fact of one.")(models)
app.command(short_help="Check credentials, Region, models, routers and the local engine.")(doctor)
app.add_typer(routers, name="routers", short_help="List, show, create or delete prompt routers.")
