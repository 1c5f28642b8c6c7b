"""A day in short: pageviews arrive, repeat, are merged and erased, while runs are killed and meet; 0 differences."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts
from tests.deploy.cli.conftest import Hitline
from tests.deploy.rollups import visits
from tests.deploy.rollups.test_exactness import check
from tests.deploy.rollups.test_kills import Life, run, start

pytestmark = pytest.mark.processes


class Day:
    """What happens to an instance; each method is one kind of event."""

    def __init__(self, tables: ClickHouseProcess, hitline: Hitline, seed: int) -> None:
        self.tables, self.hitline = tables, hitline
        self.chance = random.Random(seed)
        self.life = Life(tables, seed)
        self.zones = dict(visits.FEW)
        self.version = 1

    def merge(self) -> None:
        """Repeats are merged away, with the rows that were counted."""
        parts.execute(self.tables, "OPTIMIZE TABLE hitline.pageviews_raw FINAL")

    def erase_path(self) -> None:
        path = self.chance.choice([row["path"] for row in self.life.stored.values()])
        self.hitline("erase", "--path", path, "--yes")
        self._forget(lambda row: bool(row["path"] == path))

    def erase_session(self) -> None:
        session = self.chance.choice([row["session_id"] for row in self.life.stored.values()])
        self.hitline("erase", "--session", session, "--yes", *self.chance.choice(((), ("--now",))))
        self._forget(lambda row: bool(row["session_id"] == session))

    def retain(self) -> None:
        """Old pageviews come, are counted or not, and expire."""
        old = visits.make(5, self.version, datetime(1995, 7, 30, tzinfo=UTC), days=3, sites=visits.FEW)
        visits.insert(self.tables, old)
        if self.chance.random() < 0.5:
            run(self.tables)
        output = self.hitline("retain", "--idle", HITLINE_RETENTION_DAYS="10000")
        if "waits for" in output.stderr:  # after a change of zone
            run(self.tables)
            self.hitline("retain", "--idle", HITLINE_RETENTION_DAYS="10000")

    def move(self) -> None:
        self.version += 1
        self.zones |= {site: self.chance.choice(visits.ZONES) for site in visits.FEW}
        visits.register(self.tables, self.zones, version=self.version)

    def kill(self) -> None:
        run(self.tables, self.chance.randrange(1, 40), self.chance.choice((None, self.chance.random() / 10)))

    def meet(self) -> None:
        running = [start(self.tables) for _ in range(2)]
        self.life.go_on()
        for process in running:
            process.join(120)
        assert [process.exitcode for process in running] == [0, 0]

    def _forget(self, erased: Callable[[visits.Row], bool]) -> None:
        self.life.stored = {key: row for key, row in self.life.stored.items() if not erased(row)}


@pytest.mark.full  # otherwise each kind of event has a test of its own
@pytest.mark.parametrize("hours", [1, 24])
def test_a_day_of_random_arrival(tables: ClickHouseProcess, hitline: Hitline, hours: int) -> None:
    day = Day(tables, hitline, seed=hours)
    visits.register(tables, day.zones)
    events = [day.merge, day.erase_path, day.erase_session, day.retain, day.move, day.kill, day.kill, day.meet]
    for hour in range(hours):
        for _ in range(day.chance.randrange(2, 6)):
            day.life.go_on()
            if day.chance.random() < 0.5:
                run(tables)
        for event in day.chance.sample(events, 2 if hours < 24 else 4):
            event()
        if hour % 6 == 5:
            run(tables)
            check(tables, day.life.stored, day.zones)
    assert not run(tables)
    hitline("erase", "--now")
    check(tables, day.life.stored, day.zones)
