"""The drift alarm: when it rings, that it rings once, and whom it tells."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from pointsman import Client, Drift
from pointsman.cache import DriftAlarm
from pointsman.cache.misses import Evicted, MissReason, ModelSwitched, PrefixChanged

MODEL = "us.anthropic.claude-haiku-5-5"
EVICTED = Evicted(tokens=1_000)
LONG = " ".join(f"Signal {number} protects section {number}." for number in range(700))


def observe(
    alarm: DriftAlarm, calls: int, *, read: int, expected: int = 1_000, reason: MissReason | None = None
) -> list[Drift]:
    drifts = [alarm.observe(MODEL, expected=expected, read=read, reason=reason) for _ in range(calls)]
    return [drift for drift in drifts if drift is not None]


def test_twenty_calls_that_read_too_little_set_it_off() -> None:
    """Not nineteen; with what was expected, what came, and the commonest reason."""
    alarm = DriftAlarm()
    assert observe(alarm, 13, read=1_000) == []
    assert observe(alarm, 6, read=0, reason=EVICTED) == []
    (drift,) = observe(alarm, 1, read=0, reason=EVICTED)
    assert drift == Drift(model=MODEL, expected_tokens=20_000, billed_tokens=13_000, calls=20, reason=EVICTED)
    assert "read 65% of what should have come" in str(drift)


def test_healthy_traffic_sets_nothing_off() -> None:
    """One read in ten may go missing for ever, and more may be read than was expected."""
    alarm = DriftAlarm()
    for _ in range(20):
        assert observe(alarm, 9, read=5_000) + observe(alarm, 1, read=0) == []


def test_one_long_prompt_is_no_drift() -> None:
    """It outweighs the others, and is a single eviction."""
    alarm = DriftAlarm()
    assert observe(alarm, 30, read=1_000) == []
    assert observe(alarm, 4, read=0, expected=500_000, reason=EVICTED) == []


def test_it_rings_once_for_each_episode() -> None:
    """And again when things had been healthy in between; a share between the two limits is still the same episode."""
    alarm = DriftAlarm()
    assert len(observe(alarm, 60, read=300)) == 1
    assert observe(alarm, 60, read=780) == [] == observe(alarm, 60, read=300)
    observe(alarm, 40, read=1_000)
    assert len(observe(alarm, 40, read=300)) == 1
    assert alarm.rung[MODEL] == 2


def test_models_are_looked_at_one_by_one() -> None:
    """A broken one doesn't hide behind healthy ones."""
    alarm = DriftAlarm()
    for _ in range(200):
        alarm.observe("healthy", expected=9_000, read=9_000, reason=None)
    assert len(observe(alarm, 20, read=0)) == 1
    assert alarm.rung == {MODEL: 1}


def test_a_warm_prefix_that_was_not_extended_counts_as_expected() -> None:
    """A timestamp that somebody puts into a system prompt leaves nothing to expect, and is the commonest of breaks."""
    changed = PrefixChanged(section="system", block=0, looks_like="a timestamp", tokens=4_000)
    (drift,) = observe(DriftAlarm(), 20, read=0, expected=0, reason=changed)
    assert (drift.expected_tokens, drift.billed_tokens, drift.reason) == (80_000, 0, changed)


def test_what_nobody_could_have_read_does_not_count() -> None:
    """Nor does a switch of models: it is what routers do."""
    switched = ModelSwitched(previous="another", tokens=4_000)
    assert observe(DriftAlarm(), 40, read=0, expected=0, reason=switched) == []
    assert observe(DriftAlarm(), 40, read=0, expected=0) == []


def test_models_are_kept_within_bounds() -> None:
    """Ids of models may come from users."""
    alarm = DriftAlarm()
    for number in range(1_000):
        alarm.observe(f"model {number}", expected=1, read=1, reason=None)
    assert len(alarm._calls) <= 256


def test_an_alarm_is_plain_json() -> None:
    """With its reason, or without one."""
    for reason in (EVICTED, None):
        drift = Drift(model=MODEL, expected_tokens=10, billed_tokens=1, calls=20, reason=reason)
        assert json.loads(json.dumps(drift.to_dict())) == drift.to_dict()
        assert drift.to_dict()["explanation"] == str(drift)


class _NeverReads:
    """A Bedrock that writes whatever it gets, and has lost it each time."""

    def converse(self, **_: Any) -> dict[str, Any]:
        return {"usage": {"inputTokens": 10, "outputTokens": 1, "cacheWriteInputTokens": 5_700}}


def converse(client: Client, times: int) -> list[dict[str, Any]]:
    request = {
        "modelId": MODEL,
        "system": [{"text": LONG}, {"cachePoint": {"type": "default"}}],
        "messages": [{"role": "user", "content": [{"text": "Go"}]}],
    }
    return [client.converse(**request)["pointsman"] for _ in range(times)]


def test_a_client_tells_by_callback_log_and_trace(caplog: pytest.LogCaptureFixture) -> None:
    """Each of them once, at the call that set it off."""
    told: list[Drift] = []
    client = Client(_NeverReads(), on_alarm=told.append)
    with caplog.at_level(logging.WARNING, "pointsman"):
        traces = converse(client, 30)
    (drift,) = told
    assert drift.billed_tokens == 0 and drift.reason is not None and drift.reason.kind == "evicted"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "of what should have come from the cache" in caplog.text
    assert [trace["drift"] for trace in traces if trace["drift"]] == [drift.to_dict()]
    assert client.context.drift.rung[MODEL] == 1


def test_a_fault_in_the_callback_breaks_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """It goes into the log, and `on_trace` is called all the same."""
    traces: list[object] = []

    def faulty(_: Drift) -> None:
        raise ValueError("planted")

    client = Client(_NeverReads(), on_alarm=faulty, on_trace=traces.append)
    assert len(converse(client, 25)) == len(traces) == 25
    assert "on_alarm failed" in caplog.text
