"""`hitline rollup --every`: the process that keeps rollups up to date outlives an outage of ClickHouse."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts, services
from tests.deploy.rollups import visits

ROOT = Path(services.__file__).parent.parent


@pytest.mark.processes
def test_it_recovers_after_an_outage(tmp_path: Path) -> None:
    with ClickHouseProcess(tmp_path / "data") as clickhouse:
        parts.run_apart(lambda: parts.apply_schema(clickhouse.url))
        visits.register(clickhouse, visits.PAIR)
        visits.insert(clickhouse, visits.make(20, seed=1, sites=visits.PAIR))
        log = tmp_path / "log"
        command = [sys.executable, "-c", "from deploy.cli import main; main()", "rollup", "--every", "2"]
        env = {**parts.make_env(tmp_path / "state", clickhouse), "PYTHONUNBUFFERED": "1"}
        with log.open("wb") as out, subprocess.Popen(command, env=env, stdout=out, stderr=out, cwd=ROOT) as it:
            try:
                services.wait_for(lambda: "complete up to" in log.read_text())
                clickhouse.stop()
                services.wait_for(lambda: "rollups are not up to date" in log.read_text())
                clickhouse.start()
                visits.insert(clickhouse, visits.make(20, seed=2, sites=visits.PAIR))
                stored = services.count(clickhouse)
                rolled_up = "SELECT sum(pageviews) FROM hitline.daily WHERE dimension = ''"
                services.wait_for(lambda: int(parts.execute(clickhouse, rolled_up)) == stored)
                assert it.poll() is None
            finally:
                it.terminate()
        assert "Traceback" not in log.read_text()


@pytest.mark.processes
@pytest.mark.parametrize("silent", [False, True])
def test_once_a_day_it_erases_what_has_expired(tables: ClickHouseProcess, tmp_path: Path, silent: bool) -> None:
    """Where no pageview has come for days it erases nothing, warns, and the metric that alerts is set."""
    visits.register(tables, visits.PAIR)
    old = visits.make(20, seed=3, first=datetime(2025, 5, 1, tzinfo=UTC), days=5, sites=visits.PAIR)
    recent = visits.make(5, seed=4, first=datetime.now(UTC) - timedelta(1.9), days=1, sites=visits.PAIR)
    for rows in (old,) if silent else (old, recent):
        visits.insert(tables, rows)
    env = parts.make_env(tmp_path / "state", tables, RETENTION_DAYS="60")
    command = [sys.executable, "-c", "from deploy.cli import main; main()", "rollup", "--every", "1"]
    rollup = services.Service("rollup", env, tmp_path / "log", command).start()
    try:
        if silent:
            services.wait_for(lambda: metric(rollup, "hitline_retention_refused") == 1)
            services.wait_for(lambda: "no pageview of the last 48 hours" in rollup.text())
        else:
            services.wait_for(lambda: services.count(tables) == len(recent))
            services.wait_for(lambda: metric(rollup, "hitline_retention_refused") == 0)
        services.wait_for(lambda: metric(rollup, "hitline_rollups_complete_timestamp_seconds") > time.time() - 60)
        assert services.count(tables, where="timestamp < '2026-01-01'") == (len(old) if silent else 0)
        assert metric(rollup, "hitline_erasure_waiting_seconds") == 0
        assert metric(rollup, 'hitline_process_info{kind="rollup"}') == 1
        assert "hitline_broker_up" not in metrics_of(rollup), "it has no broker that could be down"
    finally:
        rollup.end()


def metrics_of(service: services.Service) -> str:
    address = f"http://127.0.0.1:{service.admin_port}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read().decode()


def metric(service: services.Service, name: str) -> float:
    lines = metrics_of(service).splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))
