"""The Grafana dashboard of the docs: its queries beside what OpenTelemetry's exporter for Prometheus is given."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opentelemetry.metrics._internal
import pytest
from botocore.exceptions import ClientError
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader

from pointsman import Client, InvalidRequestError
from pointsman.local import LocalEndpoint

ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
HAIKU = "us.anthropic.claude-haiku-5-5"
HELLO = [{"role": "user", "content": [{"text": "Where is the library of wood?"}]}]
SYSTEM = [{"text": "The xylotheque is a library of wood. " * 300}]
DASHBOARD = Path(__file__).parent.parent / "docs" / "grafana-dashboard.json"
SELECTOR = re.compile(r"\b((?:pointsman|gen_ai)_\w+)\{([^}]*)\}\[(\$\w+)\]")
GROUPED = re.compile(r"\bby \(([^)]*)\) \((?:rate|increase)\((\w+)\{([^}]*)\}")


@pytest.fixture
def known(client: Client, endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[set[str]]]:
    """The labels of each series, by name, after requests of all kinds."""
    reader = InMemoryMetricReader()
    serve(client, endpoint, monkeypatch, reader)
    return series_for_prometheus(reader)


def serve(client: Client, endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch, *readers: MetricReader) -> None:
    """Requests of a router and of a model, a read, a failure, a refusal and a stream, with the readers to see them."""
    monkeypatch.setattr(opentelemetry.metrics._internal, "_METER_PROVIDER", MeterProvider(readers))
    for _ in range(2):
        client.converse(modelId=ROUTER, system=SYSTEM, messages=HELLO)
    endpoint.faults.inject("throttle")
    with pytest.raises(ClientError):
        client.converse(modelId=HAIKU, messages=HELLO)
    with pytest.raises(InvalidRequestError):
        client.converse(modelId=HAIKU, messages=HELLO, inferenceConfig={"temperature": 1.5})
    list(client.converse_stream(modelId=HAIKU, messages=HELLO)["stream"])


def series_for_prometheus(reader: InMemoryMetricReader) -> dict[str, list[set[str]]]:
    """The labels of each series, by name, as OpenTelemetry's exporter for Prometheus gives what was recorded."""
    suffixes = {"s": "_seconds"}
    data, found = reader.get_metrics_data(), {}
    for scoped in data.resource_metrics[0].scope_metrics if data else ():
        for metric in scoped.metrics:
            name = metric.name.replace(".", "_") + suffixes.get(metric.unit, "")
            series = [{key.replace(".", "_") for key in point.attributes} for point in metric.data.data_points]
            if type(metric.data).__name__ == "Sum":
                found[f"{name}_total"] = series
            else:
                found |= {f"{name}_sum": series, f"{name}_count": series}
                found[f"{name}_bucket"] = [labels | {"le"} for labels in series]
    return found


def targets() -> Iterator[tuple[Any, Any]]:
    """Each query, and the panel that it is of."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel, target


def dashboard() -> Any:
    """The file."""
    return json.loads(DASHBOARD.read_text("utf-8"))


def labels_in(matchers: str) -> set[str]:
    """Those that the braces of a selector ask for."""
    return set(re.findall(r'(\w+)\s*[=!]~?"', matchers))


def test_the_dashboard_asks_for_what_is_exported(known: dict[str, list[set[str]]]) -> None:
    """Each label is one of its own metric; each selector is of the models chosen and over the panel's time."""
    asked = set()
    for panel, target in targets():
        selectors = SELECTOR.findall(target["expr"])
        assert len(selectors) == len(re.findall(r"\w\{", target["expr"])) > 0
        for metric, matchers, window in selectors:
            asked.add(metric)
            assert labels_in(matchers) <= set.union(*known[metric])
            assert 'gen_ai_request_model=~"$model"' in matchers
            # A graph over the whole time shown, or one number of its last minutes, would look right and be wrong.
            assert window == ("$__range" if target.get("instant") else "$__rate_interval")
        assert bool(target.get("instant")) is (panel["type"] == "stat") is not target["range"]
        for labels, metric, _ in GROUPED.findall(target["expr"]):
            assert set(labels.split(", ")) <= set.union(*known[metric])
    assert len(asked) >= 8


def test_each_series_of_the_dashboard_has_a_name(known: dict[str, list[set[str]]]) -> None:
    """Where all labels of its legend are empty, Grafana calls a series "Value": grafana/grafana#112597."""
    named = 0
    for _, target in targets():
        legend, query = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])), target["expr"]
        grouped = GROUPED.findall(query)
        assert legend == {one for labels, *_ in grouped for one in labels.split(", ")} - {"le"}
        renamed = set(re.findall(r'label_replace\(.*, "(\w+)", "[^"]+", "\1", ""\)$', query))
        for _, metric, matchers in grouped if legend else ():
            present = set(re.findall(r'(\w+)!=""', matchers)) | renamed
            assert all(legend & (labels | present) for labels in known[metric])
            named += 1
    assert named >= 8


def test_the_dashboards_choice_is_among_what_is_exported(known: dict[str, list[set[str]]]) -> None:
    """The models to choose from are a label's values."""
    (choice,) = [one for one in dashboard()["templating"]["list"] if one["type"] == "query"]
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", choice["query"]["query"])
    assert found is not None and all(found[2] in labels for labels in known[found[1]])
    assert choice["name"] == "model" and choice["definition"] == choice["query"]["query"]


def test_names_and_labels_are_those_of_the_exporter(
    client: Client, endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry's own for Prometheus, where it is installed."""
    exporter = pytest.importorskip("opentelemetry.exporter.prometheus")
    registry = pytest.importorskip("prometheus_client").CollectorRegistry()
    reader = InMemoryMetricReader()
    serve(client, endpoint, monkeypatch, reader, exporter.PrometheusMetricReader(registry=registry))
    exported: dict[str, set[str]] = {}
    for family in registry.collect():
        for sample in family.samples:
            exported.setdefault(sample.name, set()).update(sample.labels)
    known = series_for_prometheus(reader)
    assert len(known) >= 10
    assert all(set.union(*series) <= exported[name] for name, series in known.items())


def test_the_dashboard_is_one() -> None:
    """What Grafana needs to load it: panels with ids of their own, side by side, their data from a variable."""
    board = dashboard()
    panels = board["panels"]
    assert board["title"] and board["uid"] and board["schemaVersion"] >= 36 and board["time"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 7
    cells: Counter[tuple[int, int]] = Counter()
    for panel in panels:
        assert {"id", "type", "title", "gridPos", "datasource", "fieldConfig", "options", "targets"} <= panel.keys()
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells.update((place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"]))
    assert set(cells.values()) == {1}
    assert [one["name"] for one in board["templating"]["list"] if one["type"] == "datasource"] == ["datasource"]
