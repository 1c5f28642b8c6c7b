"""A run that is killed at any of its steps counts nothing twice and nothing half; two at once neither."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import uuid
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.rollups import visits
from tests.deploy.rollups.test_exactness import check

pytestmark = pytest.mark.processes

#: More than a run of two time zones has.
MOST_STEPS = 80
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.deploy.rollups.test_kills"])


class Killed(ClickHouse):
    """Kills its process at a statement: before it is sent, or while the server executes it, `after_s` later."""

    left = 0
    after_s: float | None = None

    async def query(self, *arguments: Any, **named: Any) -> Any:
        return await self._counting(super().query(*arguments, **named))

    async def command(self, *arguments: Any, **named: Any) -> Any:
        return await self._counting(super().command(*arguments, **named))

    async def _counting(self, work: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            if self.after_s is not None:
                under_way = asyncio.ensure_future(work)
                await asyncio.sleep(self.after_s)
                assert under_way
            os.kill(os.getpid(), signal.SIGKILL)
        return await work


def run_in_child(url: str, kill_at: int, after_s: float | None) -> None:
    async def run() -> None:
        client = Killed(url, "hitline tests")
        await client.client()
        client.left, client.after_s = kill_at, after_s
        await roll_up(client)
        await client.close()

    asyncio.run(run())


def start(clickhouse: ClickHouseProcess, kill_at: int = 0, after_s: float | None = None) -> Any:
    process = _processes.Process(target=run_in_child, args=(clickhouse.url, kill_at, after_s))
    process.start()
    return process


def run(clickhouse: ClickHouseProcess, kill_at: int = 0, after_s: float | None = None) -> bool:
    """Run once; returns whether it was killed."""
    process = start(clickhouse, kill_at, after_s)
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


class Life:
    """Pageviews that go on arriving: new ones, late ones, repeated and corrected ones."""

    def __init__(self, clickhouse: ClickHouseProcess, seed: int, sites: Collection[uuid.UUID] = visits.FEW) -> None:
        self._clickhouse, self._sites = clickhouse, sites
        self._chance = random.Random(seed)
        self._made = self._make()
        self.stored: visits.Stored = {}

    def _make(self) -> Iterator[visits.Row]:
        for seed in range(1000):
            first = datetime(2026, 3, 27, tzinfo=UTC)
            yield from visits.make(60, seed=1000 + seed, first=first, days=3, sites=self._sites)

    def go_on(self) -> None:
        rows = [next(self._made) for _ in range(self._chance.randrange(1, 12))]
        some = self._chance.sample(list(self.stored.values()), min(len(self.stored), 4))
        rows += [{**row, "path": f"/{self._chance.randrange(3)}", "is_bot": not row["is_bot"]} for row in some[:2]]
        rows += [{**row, "page_id": str(uuid.UUID(int=self._chance.getrandbits(128)))} for row in some[2:]]
        visits.insert(self._clickhouse, rows)
        visits.store(self.stored, rows)


def test_killed_at_each_step(tables: ClickHouseProcess) -> None:
    """Before a statement is sent, by turns with while it is executed.

    Of each run another step: 14 further on, or five where the run before had written its changes down.
    """
    visits.register(tables, visits.PAIR)
    life = Life(tables, seed=1, sites=visits.PAIR)
    step, within, is_sent = 1, 0, False
    life.go_on()
    while run(tables, step, 0.005 if is_sent else None):
        has_changes = parts.execute(tables, "SELECT count() FROM hitline_control.rollup_changes").strip() != "0"
        within += has_changes
        step += 5 if has_changes else 14
        is_sent = not is_sent
        life.go_on()
    assert step > 20, "it has more steps than that"
    assert within > 1
    assert not run(tables)
    check(tables, life.stored)


@pytest.mark.full
def test_killed_at_every_step_and_forty_times_at_random(tables: ClickHouseProcess) -> None:
    visits.register(tables)
    life = Life(tables, seed=2)
    for after_s in (None, 0.01):
        for step in range(1, MOST_STEPS):
            life.go_on()
            if not run(tables, step, after_s):
                break
        run(tables)
        check(tables, life.stored)
    chance = random.Random(3)
    zones = dict(visits.SITES)
    for number in range(40):
        life.go_on()
        if number % 8 == 7:  # a change of zone, among them one that is taken back before it was computed
            for version in range(chance.randrange(1, 3)):
                zones |= {site: chance.choice(visits.ZONES) for site in visits.FEW}
                visits.register(tables, zones, version=10 + 2 * number + version)
        run(tables, chance.randrange(1, 40), chance.choice((None, chance.random() / 10)))
        if number % 10 == 9:
            run(tables)
            check(tables, life.stored, zones)


@pytest.mark.parametrize("steps", [(18,), pytest.param((12, 18), marks=pytest.mark.full)])
def test_several_runs_at_once(tables: ClickHouseProcess, steps: tuple[int, ...]) -> None:
    """One of them is killed while it has the lease: the next goes on at once, as its process is gone."""
    visits.register(tables, visits.PAIR)
    life = Life(tables, seed=4, sites=visits.PAIR)
    for kill_at in steps:
        for _ in range(3):
            life.go_on()
        running = [start(tables, kill_at), *(start(tables) for _ in range(2))]
        life.go_on()
        for process in running:
            process.join(120)
        assert [process.exitcode for process in running[1:]] == [0, 0]
    assert not run(tables)
    check(tables, life.stored)
    assert parts.execute(tables, "SELECT count() FROM hitline_control.rollup_changes").strip() == "0"
    assert parts.execute(tables, "SELECT count() FROM hitline_control.rollup_touched").strip() == "0"
