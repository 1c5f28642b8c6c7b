"""The drill of docs/operations/upgrade.md: an older version and its schema become this one under load, and go back.

Migrations, then workers one by one, then gateways; back again gateways first.  The ledger is equal.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQNode
from tests import http, parts, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.delivery.test_two_versions import ROOT, git, install, is_of
from tests.services import Service, System

#: The version that lacks this migration, and those after it.
MIGRATION = "deploy/schema/0014_merging_old_months.sql"
PER_SECOND = 200
PAUSE_S = 3


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the last version without the migration."""
    added = git("log", "--diff-filter=A", "--format=%H", "-1", "--", MIGRATION).decode().strip()
    if not added or not git("rev-parse", "--quiet", "--verify", f"{added}^", check=False):
        pytest.skip("a shallow clone has no older version to upgrade from: git fetch --unshallow")
    return install(f"{added}^", tmp_path_factory.mktemp("older"))


@dataclass
class Fleet:
    """One gateway and two workers, which are replaced by those of another version while the next ones run."""

    system: System
    stack: ExitStack
    gateway: Service
    workers: list[Service]

    def start(self, name: str, version: Path) -> Service:
        log = self.system.logs / f"{name}-{len(list(self.system.logs.glob('*')))}.log"
        service = Service(name, self.system.env, log, cwd=version)
        self.stack.callback(service.end)
        service.start()
        if name == "gateway":
            services.wait_for(lambda: http.ready(service.admin_port))
        assert is_of(service, version)
        return service

    def replace_workers(self, version: Path) -> None:
        for number, worker in enumerate(self.workers):
            self.workers[number] = self.start("worker", version)
            assert worker.stop() == 0

    def replace_gateway(self, version: Path) -> None:
        """The next one listens on the same port before the last one stops."""
        last, self.gateway = self.gateway, self.start("gateway", version)
        assert last.stop() == 0


def hitline(env: dict[str, str], version: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", "from deploy.cli import main; main()", *arguments]
    return subprocess.run(command, env=env, check=True, text=True, stdout=subprocess.PIPE, cwd=version).stdout


@pytest.fixture
def fleet(queues: RabbitMQNode, older: Path, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet of the older version, on tables that the older version has made."""
    with ExitStack() as stack:
        clickhouse = stack.enter_context(ClickHouseProcess(tmp_path / "clickhouse"))
        port = str(free_port())
        env = parts.make_env(tmp_path / "state", clickhouse, queues, FLUSH_SECONDS="0.1", HTTP_PORT=port)
        hitline(env, older, "migrate")
        hitline(env, older, "site", "add", "example.com")
        made = hitline(
            env, older, "client", "add", "edge", "--grant", "example.com", "--rate", "100000/second", "--json"
        )
        (tmp_path / "logs").mkdir()
        gateway = Service("gateway", env, tmp_path / "logs" / "none.log")
        gateway.port = int(port)
        system = System(clickhouse, queues, env, tmp_path / "logs", gateway, json.loads(made)["token"])
        running = Fleet(system, stack, gateway, [])
        running.gateway = running.start("gateway", older)
        running.workers = [running.start("worker", older) for _ in range(2)]
        yield running


@pytest.mark.full
async def test_an_upgrade_and_its_rollback_under_load_lose_and_double_nothing(fleet: Fleet, older: Path) -> None:
    system = fleet.system
    ledger, stop = Ledger(), asyncio.Event()
    posting = asyncio.create_task(faults.stream(system, ledger, stop, 1_000, PER_SECOND))
    await asyncio.sleep(PAUSE_S)
    applied = await asyncio.to_thread(hitline, system.env, ROOT, "migrate")
    assert Path(MIGRATION).stem[:4] in applied
    for step in (fleet.replace_workers, fleet.replace_gateway):
        await asyncio.to_thread(step, ROOT)
        await asyncio.sleep(PAUSE_S)
    assert "up to date" in await asyncio.to_thread(hitline, system.env, ROOT, "migrate", "--check")
    for step in (fleet.replace_gateway, fleet.replace_workers):
        await asyncio.to_thread(step, older)
        await asyncio.sleep(PAUSE_S)
    stop.set()
    await posting
    await faults.assert_exact(system, ledger)
    assert len(ledger.accepted) > PAUSE_S * PER_SECOND
