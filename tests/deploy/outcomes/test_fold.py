"""Folded outcomes say what the rows of messages said, by minute, site, client and outcome; each message counts once."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.outcomes import fold as folding
from deploy.outcomes.fold import KEEP_DAYS, Folded
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.cli.conftest import Hitline
from tests.deploy.outcomes import messages

JANUARY = "toYYYYMM(day) = 202601"
MARKERS = "version >= 9223372036854775808 AND empty(minutes)"


async def fold(clickhouse: ClickHouseProcess, now: datetime | None = None) -> Folded:
    client = ClickHouse(clickhouse.url, "hitline tests")
    try:
        return await folding.fold(client, now)
    finally:
        await client.close()


def fill(clickhouse: ClickHouseProcess, days: int = 100, a_day: int = 20) -> int:
    """Insert messages of some days, three of them with dead letters; returns how many have none."""
    messages.insert(clickhouse, messages.make(days, a_day))
    for day in (date(2026, 1, 3), date(2026, 1, 31), date(2026, 3, 1)):
        messages.insert(clickhouse, messages.with_dead_letter(day))
    return days * a_day


async def test_the_view_is_the_same_and_the_rows_are_few(tables: ClickHouseProcess) -> None:
    fill(tables)  # January to the tenth of April: 35 days before the end is the 7th of March
    before = messages.view(tables)
    folded = await fold(tables)
    assert folded == Folded(messages=59 * 20, days=59)
    assert messages.view(tables) == before
    # A sum a day, and two messages with their replays.
    assert messages.rows(tables, "day < '2026-03-01'") == 59 + 4
    assert messages.rows(tables, MARKERS) == 0
    assert messages.rows(tables, "day >= '2026-03-01'") == 41 * 20 + 2
    assert await fold(tables) == Folded()
    assert messages.view(tables) == before


async def test_in_shares_and_with_more_sums_than_a_row_has(
    tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "SHARE", 150)
    fill(tables, a_day=30)
    day = date(2026, 1, 9)
    first, last = uuid.UUID(int=0), uuid.UUID(int=(1 << 128) - 1)
    minutes = [datetime(2026, 1, 9, tzinfo=UTC) + timedelta(minutes=number) for number in range(1440)]
    entries = [(minute, site, messages.CLIENTS[0], "stored", 2) for minute in minutes for site in messages.SITES]
    messages.insert(tables, [(each, 0, day, entries[number:], [], [], 7) for number, each in enumerate((first, last))])
    messages.insert(tables, messages.make(1, 500, seed=2, first=day))
    before = messages.view(tables)
    assert (await fold(tables)).messages == 59 * 30 + 502
    assert messages.view(tables) == before
    assert 4 < messages.rows(tables, f"day = '{day}'") < 10


async def test_what_is_due(tables: ClickHouseProcess) -> None:
    messages.insert(tables, messages.make(31 + KEEP_DAYS, 2))
    assert await fold(tables, datetime(2026, 2, 1, tzinfo=UTC) + timedelta(KEEP_DAYS - 1)) == Folded()
    # A message that was counted again on the last of January, and one whose first count comes now.
    again = next(messages.make(1, 1))
    now = datetime(2026, 2, 1, 1, tzinfo=UTC) + timedelta(KEEP_DAYS)
    messages.insert(tables, [(*again[:6], messages.micros(now.date() - timedelta(KEEP_DAYS - 1)))])
    messages.insert(tables, [(uuid.uuid4(), *again[1:6], messages.micros(now.date()))])
    before = messages.view(tables)
    assert await fold(tables, now) == Folded(messages=31 * 2 - 1, days=31)
    assert messages.rows(tables, f"{JANUARY} AND version < 9223372036854775808") == 2
    assert messages.view(tables) == before
    assert await fold(tables, now + timedelta(days=60)) == Folded(messages=2, days=1)
    assert messages.view(tables) == before
    # No machine's clock alone: ClickHouse's is not that far.
    assert await fold(tables, datetime(2200, 1, 1, tzinfo=UTC)) == await fold(tables) == Folded()


async def test_nothing_is_folded_while_workers_stand_still(tables: ClickHouseProcess) -> None:
    """They may have died before they acknowledged what they had counted: it will be delivered again one day."""
    messages.insert(tables, messages.make(31 + KEEP_DAYS - 1, 2))
    assert await fold(tables) == Folded()
    messages.insert(tables, messages.make(1, 2, first=date(2026, 9, 1), seed=3))  # they go on
    assert (await fold(tables)).days == 31


async def test_a_message_that_returns_while_its_month_is_folded_counts_once(tables: ClickHouseProcess) -> None:
    """And one that returns later, out of a backup, is another message."""
    rows = [row for row in messages.make(100, 2) if row[6] == messages.micros(row[2])]
    messages.insert(tables, rows)
    before = messages.view(tables)

    class Interrupted(ClickHouse):
        async def command(self, sql: str, *arguments: object, **named: object) -> object:
            if sql.startswith("OPTIMIZE"):
                raise InterruptedError
            return await super().command(sql, *arguments, **named)  # type: ignore[arg-type]

    client = Interrupted(tables.url, "hitline tests")
    with pytest.raises(InterruptedError):
        await folding.fold(client)
    await client.close()
    assert messages.rows(tables, MARKERS) == 31 * 2
    parts.execute(tables, "TRUNCATE TABLE hitline_control.fold_lease")  # as if its process were gone
    returned = (*rows[0][:6], messages.micros(date(2026, 11, 1)))
    messages.insert(tables, [returned])
    assert messages.view(tables) == before

    assert await fold(tables) == Folded(messages=28 * 2, days=28)  # January's are folded
    assert messages.rows(tables, MARKERS) == 0
    assert messages.view(tables) == before
    messages.insert(tables, [(*returned[:6], returned[6] + 1)])
    assert messages.view(tables) != before


def test_the_command_folds_and_says_so(tables: ClickHouseProcess, hitline: Hitline) -> None:
    fill(tables, a_day=2)
    before = messages.view(tables)
    assert "outcomes: 118 messages of 59 days are folded into sums by the minute" in hitline("rollup").stdout
    assert "outcomes" not in hitline("rollup").stdout
    assert messages.view(tables) == before
