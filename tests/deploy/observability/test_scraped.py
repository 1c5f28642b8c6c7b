"""A real Prometheus scrapes a gateway and a worker, with the project's configuration and rules."""

from __future__ import annotations

import pytest
from prometheus_client.metrics import MetricWrapperBase

from shared import metrics
from tests import http, services
from tests.prometheus import PrometheusProcess, promtool
from tests.services import System

pytestmark = pytest.mark.processes

DOCUMENTED = {each._name for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)}


@pytest.mark.parametrize("job", ["hitline-gateway", "hitline-worker"])
def test_it_gets_every_metric_with_its_help(prometheus: PrometheusProcess, job: str) -> None:
    found = prometheus.get("targets/metadata", match_target=f'{{job="{job}"}}')
    helped = {each["metric"].removesuffix("_total") for each in found if each["help"]}
    assert helped >= DOCUMENTED


def test_promtool_finds_no_fault_in_metrics_and_rules(system: System) -> None:
    for process in (system.gateway, *system.workers):
        text = http.request(process.admin_port, "GET", "/metrics").body.decode()
        checked = promtool("check", "metrics", text=text)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    assert promtool("check", "rules", "alerts.yml").returncode == 0
    tested = promtool("test", "rules", "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_it_evaluates_every_rule(prometheus: PrometheusProcess) -> None:
    def evaluated() -> bool:
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        assert not [rule["lastError"] for rule in rules if rule.get("lastError")]
        return len(rules) >= 20 and all(rule["health"] == "ok" for rule in rules)

    services.wait_for(evaluated)


def test_a_worker_that_is_gone_is_an_alert_until_it_is_back(system: System, prometheus: PrometheusProcess) -> None:
    (worker,) = system.workers
    assert "HitlineDown" not in prometheus.firing()
    worker.kill()
    services.wait_for(lambda: "HitlineDown" in prometheus.firing())
    worker.start()
    prometheus.watch("hitline-worker", worker.admin_port)
    services.wait_for(lambda: "HitlineDown" not in prometheus.firing())
