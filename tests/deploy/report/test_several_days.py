"""A report looks at pageviews only of those sessions of several days that rollups do not keep the parts of."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from deploy.report import standing, uncommon
from deploy.rollups import apart, several
from deploy.rollups.lease import Lease
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.report.test_reading import LONG_AGO, World, world
from tests.deploy.rollups import visits

__all__ = ["world"]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[uncommon.Uncommon]:
    """Gather what reports look at."""
    gathered: list[uncommon.Uncommon] = []
    find = uncommon.find

    async def gathering(*arguments: Any) -> uncommon.Uncommon | None:
        some = await find(*arguments)
        assert some
        gathered.append(some)
        return some

    monkeypatch.setattr(uncommon, "find", gathering)
    return gathered


@pytest.mark.parametrize("derived", [False, True], ids=["own ids", "derived"])
def test_sessions_that_go_past_midnight_are_not_looked_for(
    world: World, found: list[uncommon.Uncommon], derived: bool
) -> None:
    rows = world.make(11)
    world.put(visits.derive(rows, 11) if derived else rows, LONG_AGO)
    world.roll_up()
    world.check()
    assert not world.from_rows
    assert not any(some.number or some.quarters for some in found)


def test_sessions_whose_days_are_apart_are_looked_for(
    world: World, found: list[uncommon.Uncommon], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "_MARGIN", timedelta(0))
    rows = world.make(12)
    apart = [
        {**row, "timestamp": visits.stamp(visits.at(row) + timedelta(days=days))}
        for days in (2, 3)
        for row in rows[:30:2]
    ]
    world.put(rows, LONG_AGO)
    world.roll_up()
    world.put(apart)
    world.roll_up()
    world.check()
    assert not world.from_rows
    assert any(some.wide for some in found)
    assert not any(some.changed for some in found)
    keep_those_apart(world)  # as when these days are over
    found.clear()
    world.check()
    assert not world.from_rows
    assert not any(some.number or some.quarters for some in found)


def keep_those_apart(world: World) -> None:
    async def keep() -> None:
        client = ClickHouse(world.clickhouse.url, "hitline tests")
        async with Lease(client) as lease:
            for zone in world.zones.values():
                for number in range(20):
                    await apart.keep(client, lease, date(2026, 3, 1) + timedelta(number), zone, datetime.now(UTC))
        await client.close()

    parts.run_apart(keep)


def test_parts_that_an_older_version_has_not_kept_up_are_not_believed(
    world: World, found: list[uncommon.Uncommon], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = world.make(13)
    world.put(rows[:250], LONG_AGO)
    world.roll_up()
    with monkeypatch.context() as patch:
        patch.setattr(several, "KEEP", "SELECT {run:UInt64}")
        world.put(rows[250:], LONG_AGO)
        world.put([{**row, "path": "/corrected", "country": "FR"} for row in rows[:250:3]], LONG_AGO)
        world.roll_up(everything=True)  # also what was stored long ago
    world.check()
    assert any(some.wide for some in found)
    world.roll_up(everything=True)  # and all of them are kept again
    found.clear()
    world.check()
    assert not world.from_rows
    assert not any(some.number for some in found)
