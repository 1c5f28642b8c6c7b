"""`hitline rollup --every`: the process that keeps rollups up to date outlives an outage of ClickHouse."""

from __future__ import annotations

import subprocess
import sys
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
        visits.register(clickhouse)
        visits.insert(clickhouse, visits.make(20, seed=1, sites=visits.FEW))
        log = tmp_path / "log"
        command = [sys.executable, "-c", "from deploy.cli import main; main()", "rollup", "--every", "1"]
        env = {**parts.make_env(tmp_path / "state", clickhouse), "PYTHONUNBUFFERED": "1"}
        with log.open("wb") as out, subprocess.Popen(command, env=env, stdout=out, stderr=out, cwd=ROOT) as it:
            try:
                services.wait_for(lambda: log.read_text().count("complete up to") >= 2)
                clickhouse.stop()
                services.wait_for(lambda: "rollups are not up to date" in log.read_text())
                clickhouse.start()
                visits.insert(clickhouse, visits.make(20, seed=2, sites=visits.FEW))
                stored = services.count(clickhouse)
                rolled_up = "SELECT sum(pageviews) FROM hitline.daily WHERE dimension = ''"
                services.wait_for(lambda: int(parts.execute(clickhouse, rolled_up)) == stored)
                assert it.poll() is None
            finally:
                it.terminate()
        assert "Traceback" not in log.read_text()
