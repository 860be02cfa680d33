"""Policies asked live: real calls to the local endpoint, a judge, and everything that can fail on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pointsman import Client, Model, Prompt, Router, RoutingCriteria
from pointsman.errors import InvalidRequestError
from pointsman.evaluation.compare import summed_up
from pointsman.evaluation.live import HOPELESS, LiveEvaluationError, ask
from pointsman.local import LocalEndpoint
from pointsman.routing import Outcomes

HAIKU, SONNET = "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-sonnet-5-5"
AWS_ROUTER = "arn:aws:bedrock:us-east-1:123412341234:prompt-router/abc123def456"


class Reads:
    """Expects the smaller model to fail where the prompt says that it is hard."""

    def predict(self, prompts: Sequence[Prompt], /, *, models: Sequence[Model]) -> Mapping[str, Any]:
        hard = np.array(["hard" in prompt.question() for prompt in prompts], dtype=float)
        return {model.id: 0.9 - 0.6 * hard * ("haiku" in model.id) for model in models}


ROUTER = Router(
    name="ours",
    models=(HAIKU, SONNET),
    fallback_model=SONNET,
    criteria=RoutingCriteria(response_quality_difference=0.1),
    predictor=Reads(),
)


def prompts(n: int = 8) -> Outcomes:
    """Every other one is hard."""
    texts = tuple(f"{'A hard' if i % 2 else 'An easy'} question, number {i}." for i in range(n))
    return Outcomes(prompts=texts, qualities={}, categories=tuple("hard" if i % 2 else "easy" for i in range(n)))


def judge(request: Mapping[str, Any], reply: Mapping[str, Any]) -> float:
    """The smaller model fails what is hard."""
    hard = "hard" in request["messages"][0]["content"][0]["text"]
    return 0.25 if hard and "haiku" in reply["pointsman"]["model"] else 1.0


@pytest.fixture
def routing(endpoint: LocalEndpoint, boto3_client: Any) -> Client:
    """A client that knows the router."""
    return Client(boto3_client, routers=[ROUTER], clock=endpoint.settings.clock)


def asked(endpoint: LocalEndpoint) -> int:
    return int(endpoint.account()["totals"]["requests"])


class TestAsk:
    def test_every_prompt_gets_each_model_once(self, endpoint: LocalEndpoint, routing: Client) -> None:
        """The router's reply serves as its model's, so that two models are two calls."""
        trial = ask(prompts(), [ROUTER, SONNET], routing, judge)
        assert asked(endpoint) == 16
        ours, always = trial.runs
        assert [model.split("-")[1] for model in ours.invoked] == ["haiku", "sonnet"] * 4
        assert ours.quality.tolist() == [1.0] * 8
        assert always.quality.tolist() == [1.0] * 8
        assert trial.quality.tolist() == [[1.0, 1.0], [0.25, 1.0]] * 4
        assert ours.expected["anthropic.claude-haiku-5-5"].tolist() == pytest.approx([0.9, 0.3] * 4)
        assert trial.failures == {}

    def test_costs_are_those_of_the_usage(self, endpoint: LocalEndpoint, routing: Client) -> None:
        """All of them together are what the endpoint's own account says, at the models' prices."""
        trial = ask(prompts(), [ROUTER], routing, judge)
        usage = endpoint.account()["models"]
        for column, model in enumerate(trial.models):
            told = usage[model.invoke_id]
            assert model.price is not None
            assert model.price.input is not None
            assert model.price.output is not None
            tokens_in, tokens_out = told["uncached_input_tokens"], told["output_tokens"]
            bill = float(model.price.input) * tokens_in + float(model.price.output) * tokens_out
            assert trial.cost[:, column].sum() * 1e6 == pytest.approx(bill)

    def test_it_is_summed_up_as_labelled_prompts_are(self, routing: Client) -> None:
        """With the same baselines."""
        found = summed_up(ask(prompts(), [ROUTER], routing, judge), draws=5)
        told = {one.name: one.quality.value for one in found.standings}
        assert told["ours"] == told["oracle"] == 1.0
        assert told["always anthropic.claude-haiku-5-5"] == pytest.approx(0.625)
        assert told["random, same shares"] == pytest.approx(0.8125)
        assert told["dataset identity, same shares"] == 1.0
        assert found.pairs[0].rankings[0].apgr.value > 0.7

    def test_a_router_may_be_given_by_its_name(self, endpoint: LocalEndpoint, routing: Client) -> None:
        """One of the client's; a plain model is no router."""
        trial = ask(prompts(2), ["ours"], routing, judge)
        assert (trial.runs[0].name, trial.runs[0].kind, trial.runs[0].difference) == ("ours", "router", 0.1)
        assert asked(endpoint) == 4

    def test_a_router_that_only_aws_knows_tells_its_model_afterwards(self) -> None:
        """It is asked by its ARN, and its reply says which model it invoked."""
        trial = ask(prompts(2), [AWS_ROUTER, SONNET], Client(_Aws()), judge)
        decided, always = trial.runs
        assert (decided.kind, decided.models, decided.difference) == ("router", (), None)
        assert set(decided.invoked) == {"anthropic.claude-haiku-5-5"}
        assert set(always.invoked) == {"anthropic.claude-sonnet-5-5"}
        found = summed_up(trial, draws=5)
        assert found.reference == "always anthropic.claude-sonnet-5-5"
        assert found.pairs == ()

    def test_answers_may_be_limited(self, routing: Client) -> None:
        """Unless the prompt has a limit of its own."""
        own = Prompt({**Prompt.of_text("An easy question.").request, "inferenceConfig": {"maxTokens": 7}})
        seen: list[int] = []

        def look(request: Mapping[str, Any], _: Mapping[str, Any]) -> float:
            seen.append(request["inferenceConfig"]["maxTokens"])
            return 1.0

        ask(Outcomes(prompts=("An easy question.", own), qualities={}), [SONNET], routing, look, max_tokens=3)
        assert sorted(seen) == [3, 7]

    def test_prompts_are_asked_side_by_side_but_no_more_than_told(self, routing: Client) -> None:
        """The judge is called in the threads that ask."""
        together, most, lock = 0, 0, threading.Lock()

        def slow(_: Mapping[str, Any], __: Mapping[str, Any]) -> float:
            nonlocal together, most
            with lock:
                together += 1
                most = max(most, together)
            time.sleep(0.03)
            with lock:
                together -= 1
            return 1.0

        ask(prompts(12), [SONNET], routing, slow, concurrency=3)
        assert most == 3

    def test_progress_is_told_by_prompt(self, routing: Client) -> None:
        """In the thread that called."""
        told: list[tuple[str, int, int, str]] = []
        name = threading.current_thread().name
        ask(
            prompts(3),
            [SONNET],
            routing,
            judge,
            on_progress=lambda *one: told.append((*one, threading.current_thread().name)),
        )
        assert told == [("asking", n, 3, name) for n in (1, 2, 3)]


class _Aws:
    """A transport that decides itself, as AWS does for a router that is not known here."""

    def converse(self, *, modelId: str, **_: Any) -> dict[str, Any]:
        reply: dict[str, Any] = {
            "output": {"message": {"role": "assistant", "content": [{"text": "Yes."}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 10, "outputTokens": 2, "totalTokens": 12},
        }
        return {**reply, "trace": {"promptRouter": {"invokedModelId": HAIKU}}} if modelId == AWS_ROUTER else reply


async def _asynchronous(_: Mapping[str, Any], __: Mapping[str, Any]) -> float:
    return 1.0


class TestFailures:
    def test_a_failed_call_is_counted_and_its_prompt_left_out(self, endpoint: LocalEndpoint, routing: Client) -> None:
        """By the model that was asked, and Bedrock's code."""
        endpoint.faults.inject("internal", times=2, model=SONNET)
        trial = ask(prompts(), [HAIKU, SONNET], routing, judge)
        assert trial.failures == {f"{SONNET}: InternalServerException": 2}
        assert trial.left_out == {"not answered by every model": 2}
        assert len(trial.quality) == len(trial.tokens) == len(trial.runs[0].invoked) == 6

    def test_a_router_that_falls_back_has_answered(self, endpoint: LocalEndpoint, routing: Client) -> None:
        """As an application would see it: the model that served is the one in the trace."""
        endpoint.faults.inject("throttle", model=HAIKU)
        trial = ask(prompts(1), [ROUTER], routing, judge)
        assert trial.runs[0].invoked.tolist() == ["anthropic.claude-sonnet-5-5"]
        assert trial.failures == {}

    def test_a_judge_that_raises_is_counted(self, routing: Client) -> None:
        """It may ask a model itself, and be throttled."""
        calls = iter(range(100))

        def moody(_: Mapping[str, Any], __: Mapping[str, Any]) -> float:
            if next(calls) == 1:
                raise TimeoutError
            return 1.0

        trial = ask(prompts(4), [SONNET], routing, moody, concurrency=1)
        assert trial.failures == {"the judge: TimeoutError": 1}
        assert len(trial.quality) == 3

    @pytest.mark.parametrize("verdict", [1.01, -0.1, float("nan"), None, "good"])
    def test_a_verdict_that_is_no_quality_ends_it(self, routing: Client, verdict: Any) -> None:
        """And is shown."""
        with pytest.raises(LiveEvaluationError, match="must give a number from 0 to 1"):
            ask(prompts(2), [SONNET], routing, lambda *_: verdict)

    @pytest.mark.parametrize("verdict", [True, 0, 1, np.float32(0.5)])
    def test_a_verdict_may_be_any_number(self, routing: Client, verdict: Any) -> None:
        """From 0 to 1, true and false too."""
        assert ask(prompts(1), [SONNET], routing, lambda *_: verdict).quality.tolist() == [[float(verdict)]]

    def test_it_gives_up_where_nothing_is_answered(self, endpoint: LocalEndpoint, routing: Client) -> None:
        """After some tries, with the last error, instead of asking all prompts for nothing."""
        endpoint.faults.inject("internal", times=1000)
        with pytest.raises(LiveEvaluationError, match=r"none of .* calls was answered.*InternalServerException"):
            ask(prompts(200), [SONNET], routing, judge)
        assert endpoint.account()["errors"]["InternalServerException"] < HOPELESS + 20

    def test_no_prompt_answered_by_all_says_why(self, endpoint: LocalEndpoint, routing: Client) -> None:
        """One of two models never answers."""
        endpoint.faults.inject("internal", times=1000, model=SONNET)
        with pytest.raises(LiveEvaluationError, match=rf"{SONNET}: InternalServerException \(4\)"):
            ask(prompts(4), [HAIKU, SONNET], routing, judge)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"prompts": Outcomes(prompts=(), qualities={})}, "no prompts"),
            ({"policies": []}, "nothing to evaluate"),
            ({"policies": [replace(ROUTER, name="unknown")]}, "doesn't know the router 'unknown'"),
            ({"judge": _asynchronous}, "coroutine function"),
            ({"policies": [AWS_ROUTER]}, "AWS decides"),
        ],
    )
    def test_what_cannot_be_asked_is_refused(
        self, endpoint: LocalEndpoint, routing: Client, change: dict[str, Any], says: str
    ) -> None:
        """Nothing is sent."""
        told: dict[str, Any] = {"prompts": prompts(), "policies": [ROUTER], "judge": judge, **change}
        with pytest.raises(InvalidRequestError, match=says):
            ask(told["prompts"], told["policies"], routing, told["judge"])
        assert asked(endpoint) == 0
