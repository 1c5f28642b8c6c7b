"""Commands over much, in a ClickHouse with little memory: inserts beside them go on."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from uuid import UUID

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts, services
from tests.bench import scale
from tests.deploy.cli.conftest import runner_with
from tests.deploy.rollups import visits

pytestmark = pytest.mark.processes

PAGEVIEWS = 4_000_000
ADDED = "00000000-0000-0000-0000-0000000000ad"


class Inserts:
    """Inserts without a pause; each has to succeed, since a worker that can't insert stops the queue."""

    def __init__(self, clickhouse: ClickHouseProcess, rows_each: int) -> None:
        self._rows_each = rows_each
        self._clickhouse = clickhouse
        self._stop = threading.Event()
        self.rows = 0
        self.errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Inserts:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                scale.insert(self._clickhouse, f"toUUID('{ADDED}')", self.rows, self._rows_each, seed=8)
                self.rows += self._rows_each
            except BaseException as error:  # noqa: BLE001 - told by the test
                self.errors.append(error)
            time.sleep(0.2)


@pytest.mark.full  # fewer pageviews need no memory; commands beside inserts are in erasure/test_two_steps.py
def test_no_command_takes_the_memory_that_inserts_need(tmp_path: Path) -> None:
    memory = ("--max-memory-bytes", str(2 << 30))
    with ClickHouseProcess(tmp_path / "data", arguments=memory) as clickhouse:
        parts.run_apart(lambda: parts.apply_schema(clickhouse.url))
        visits.register(clickhouse, {UUID(scale.LARGE): "UTC"})
        scale.insert(clickhouse, f"toUUID('{scale.LARGE}')", 0, PAGEVIEWS)
        hitline = runner_with(parts.make_env(tmp_path / "state", clickhouse))
        with Inserts(clickhouse, 2000) as inserts:
            hitline("rollup")
            hitline("rollup", "--all")
            hitline("reconcile", expect=1)  # its rows were never counted
            hitline("erase", "--site", scale.LARGE, "--path", "/p/1*", "--yes")
            hitline("erase", "--site", scale.LARGE, "--to", "2026-03-10T06:00", "--yes", "--now")
            hitline("retain", "--idle", HITLINE_RETENTION_DAYS="30")
        assert inserts.errors == []
        assert inserts.rows > 0
        assert services.count(clickhouse, where=f"site_id = '{scale.LARGE}'") == 0
