"""Everyday prompts on the default routers: the announcement's two, the same with noise, and other languages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pointsman.cache import Ledger
from pointsman.catalog import Catalog
from pointsman.context import Context
from pointsman.flow import Reply, converse_flow
from pointsman.routing import Decision, RouterRegistry

ARN = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/"
CLAUDE, LLAMA = f"{ARN}anthropic.claude:1", f"{ARN}meta.llama:1"
SMALLER = {CLAUDE: "haiku", LLAMA: "8b"}
LARGER = {CLAUDE: "sonnet", LLAMA: "70b"}
HELLO = "Describe the purpose of a 'hello world' program in one line."
COLOURS = "Name three primary colors."
SISTERS = "Alice has N brothers and she also has M sisters. How many sisters does Alice's brothers have?"


@pytest.fixture(scope="module")
def context() -> Context:
    """What a client keeps between requests."""
    return Context(catalog=Catalog.default(), routers=RouterRegistry(), ledger=Ledger())


def decide(context: Context, router: str, text: str) -> Decision:
    """By the flow that every client drives, without a network."""
    request = {"modelId": router, "messages": [{"role": "user", "content": [{"text": text}]}]}
    flow = converse_flow(request, context, now=0.0)
    call = next(flow)
    with pytest.raises(StopIteration) as end:
        flow.send(Reply(usage=None, at=0.0))
    trace = end.value.value
    assert trace.advice_failures == ()
    assert trace.decision.model is call.model
    return trace.decision


both_routers = pytest.mark.parametrize("router", [CLAUDE, LLAMA], ids=["claude", "llama"])


@both_routers
def test_the_announcements_two_decisions(context: Context, router: str) -> None:
    """The line on a program to the smaller model, the riddle to the larger, by each router's own criteria."""
    assert SMALLER[router] in decide(context, router, HELLO).model.id
    assert LARGER[router] in decide(context, router, SISTERS).model.id


@both_routers
@pytest.mark.parametrize(
    "noise",
    [
        "{0}\n",
        "\n\n{0}",
        "Hello, I hope you are doing well. Could you please help me with this? {0} Thank you very much in advance!",
        "Dear assistant,\n\n{0}\n\nKind regards",
        "Hi! {0} Thanks a lot :)",
    ],
)
def test_manners_and_line_breaks_turn_no_decision(context: Context, router: str, noise: str) -> None:
    """How a request begins and ends doesn't make it hard, nor easy."""
    assert SMALLER[router] in decide(context, router, noise.format(HELLO)).model.id
    assert SMALLER[router] in decide(context, router, noise.format(COLOURS)).model.id
    assert LARGER[router] in decide(context, router, noise.format(SISTERS)).model.id


@both_routers
@pytest.mark.parametrize(
    "rewritten",
    [
        str.upper,
        str.lower,
        lambda text: text.replace(" ", "  "),
        lambda text: text.replace(" ", "\n"),
        lambda text: text.replace(" ", "\t", 3),
        lambda text: text.replace("the", "teh").replace("sisters", "sistres"),
    ],
    ids=["upper case", "lower case", "doubled spaces", "line breaks", "tabs", "typos"],
)
def test_typing_turns_no_decision(context: Context, router: str, rewritten: Callable[[str], str]) -> None:
    """Letter case, white space and a typing error or two are nothing that a decision hangs on."""
    assert SMALLER[router] in decide(context, router, rewritten(HELLO)).model.id
    assert LARGER[router] in decide(context, router, rewritten(SISTERS)).model.id


@both_routers
@pytest.mark.parametrize(
    "text",
    [
        "Erkläre mir bitte, warum der Himmel abends rot wird und mittags blau ist.",
        "¿Cuántos días faltan hasta Navidad si hoy es el tres de noviembre?",
        "Pourquoi les feuilles des arbres tombent-elles en automne ?",
        "Почему зимой дни короче, чем летом?",
        "冬の昼が夏より短いのはなぜですか。",
        "لماذا يكون النهار في الشتاء أقصر منه في الصيف؟",
        "Kwa nini siku za baridi ni fupi kuliko siku za kiangazi?",
    ],
    ids=["German", "Spanish", "French", "Russian", "Japanese", "Arabic", "Swahili"],
)
def test_another_language_goes_to_the_larger_model(context: Context, router: str, text: str) -> None:
    """What can't be read is never taken for easy, and no head decides on it."""
    decision = decide(context, router, text)
    assert LARGER[router] in decision.model.id
    assert decision.basis is not None
    assert decision.basis.startswith("complexity prior: ")


def test_the_trace_names_the_other_language(context: Context) -> None:
    """Where a head is at hand, the decision tells why it wasn't asked."""
    decision = decide(context, LLAMA, "Pourquoi les feuilles des arbres tombent-elles en automne ?")
    assert "another language" in (decision.basis or "")
