"""Every query of the dashboards finds data in a running stack, and the dashboards are what Grafana reads."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests import http, parts, services
from tests.deploy.observability.test_rules import GRAFANA, dashboards, targets
from tests.prometheus import PrometheusProcess
from tests.services import System

#: Asks the broker, which only the long test has with its plugin.
FROM_BROKER = "rabbitmq_"


@pytest.mark.parametrize("board", dashboards(), ids=lambda board: board["uid"])
def test_grafanas_own_library_knows_everything_in_a_dashboard(board: dict[str, Any]) -> None:
    """It forgets what it does not know, such as a misspelt key."""
    plugins.register_default_plugins()
    read = Dashboard.from_json(board)
    assert _forgotten(board, json.loads(json.dumps(read, cls=encoder.JSONEncoder))) == []


def _forgotten(written: Any, read: Any, path: str = "") -> list[str]:
    if isinstance(written, dict) and isinstance(read, dict):
        return [
            lost
            for key, value in written.items()
            for lost in (_forgotten(value, read[key], f"{path}.{key}") if key in read else [f"{path}.{key}"])
        ]
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        return [lost for i, each in enumerate(written) for lost in _forgotten(each, read[i], f"{path}[{i}]")]
    return [] if written == read else [path]


def traffic(system: System) -> None:
    """Post pageviews that every panel has something to say of."""
    campaign = "https://example.com/?utm_source=news&utm_medium=email&utm_campaign=spring"
    agent = services.USER_AGENT
    assert system.post(url=campaign, user_agent=agent, referrer="https://www.google.com/").status == 202
    assert system.post(dnt=True).status == 202
    assert system.post(visitor_ip="nowhere").status == 400
    assert http.request(system.port, "GET", "/nowhere").status == 404


def queries_without_data(prometheus: PrometheusProcess, expressions: list[str]) -> set[str]:
    found = set()
    for expression in expressions:
        values = [sample.value for sample in prometheus.query(expression.replace("$__rate_interval", "30s"))]
        if not values or all(map(math.isnan, values)):
            found.add(expression)
    return found


def test_panels_of_operators_have_data(system: System, prometheus: PrometheusProcess) -> None:
    expressions = [target["expr"] for target in targets("prometheus") if FROM_BROKER not in target["expr"]]
    assert len(expressions) >= 19

    deadline = time.monotonic() + 60
    while missing := queries_without_data(prometheus, expressions):
        assert time.monotonic() < deadline, missing
        traffic(system)
        time.sleep(0.5)


def test_panels_of_analysts_have_data(system: System) -> None:
    traffic(system)
    services.wait_for(lambda: services.count(system.clickhouse) > 0)
    (variable,) = (each for board in dashboards() for each in board["templating"]["list"])
    sites = services.rows(system.clickhouse, variable["query"])
    assert [site["__text"] for site in sites] == ["example.com"]
    values = {**GRAFANA, "${site}": sites[0]["__value"], "$__toTime": "now() + INTERVAL 1 MINUTE"}
    queries = [target["rawSql"] for target in targets("grafana-clickhouse-datasource")]
    assert len(queries) == 8
    for query in queries:
        for name, value in values.items():
            query = query.replace(name, value)
        services.wait_for(lambda query=query: parts.execute(system.clickhouse, query).strip())
