"""Alerts and dashboards, held against the metrics and tables that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from deploy.local.clickhouse.process import ClickHouseProcess
from shared import metrics
from tests import parts

OBSERVABILITY = Path(__file__).parents[3] / "deploy" / "observability"
METRICS = {each._name: each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)}
#: What Grafana puts in for its own variables.
GRAFANA = {
    "$__rate_interval": "5m", "$__interval_s": "3600", "$__fromTime": "now() - INTERVAL 7 DAY", "$__toTime": "now()",
    "${site}": "00000000-0000-0000-0000-000000000000",
}  # fmt: skip


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in sorted((OBSERVABILITY / "dashboards").glob("*.json"))]


def targets(kind: str) -> Iterator[dict[str, Any]]:
    for board in dashboards():
        for panel in board["panels"]:
            yield from (target for target in panel["targets"] if target["datasource"]["type"] == kind)


def promql() -> list[str]:
    return [rule["expr"] for rule in rules()] + [target["expr"] for target in targets("prometheus")]


@pytest.mark.parametrize("expression", promql())
def test_expressions_use_metrics_and_labels_that_exist(expression: str) -> None:
    for name, selector in re.findall(r"(hitline_\w+)(\{[^}]*\})?", expression):
        short = re.sub(r"_(total|bucket|sum|count)$", "", name)
        assert short in METRICS
        labels = {*METRICS[short]._labelnames, "le", "instance", "job"}
        assert set(re.findall(r"(\w+)\s*[=!]~?\"", selector)) <= labels


def test_every_alert_says_what_to_do_and_has_a_test() -> None:
    tested = (OBSERVABILITY / "alerts_test.yml").read_text("utf-8")
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "warn")
        assert re.match(r"docs/[a-z/-]+\.md", rule["annotations"]["runbook"])
        assert f'"{rule["alert"]}"' in tested


def test_runbooks_lead_to_sections_that_exist() -> None:
    root = OBSERVABILITY.parents[1]
    for rule in rules():
        page, anchor = re.findall(r"^(docs/[a-z/-]+\.md)(?:#([a-z-]+))?", rule["annotations"]["runbook"])[0]
        headings = re.findall(r"^#+ (.*)$", (root / page).read_text("utf-8"), re.MULTILINE)
        assert not anchor or anchor in {re.sub(r"[^a-z -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_panels_of_analysts_are_queries_that_run(tables: ClickHouseProcess) -> None:
    boards = {board["uid"]: board for board in dashboards()}
    queries = [target["rawSql"] for target in targets("grafana-clickhouse-datasource")]
    queries += [variable["query"] for variable in boards["hitline-analysts"]["templating"]["list"]]
    assert len(queries) == 9
    for query in queries:
        for name, value in GRAFANA.items():
            query = query.replace(name, value)
        parts.execute(tables, query)
