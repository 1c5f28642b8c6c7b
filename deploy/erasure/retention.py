"""Retention: pageviews that are older than their site's retention are made unreadable, in the rollups as well.

Everything that has expired in a month is marked by one statement, whatever the number of sites, retentions and time
zones; months in which nothing else is left, and nothing else can arrive, are dropped.  Nothing has to be remembered of
a run that was killed: the next one finds what is left in each of the tables.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from deploy.bounds import WRITES
from deploy.erasure import cutoffs, record
from deploy.erasure.clocks import check_clocks
from deploy.erasure.deletes import delete_in, drop_partition, shares_of
from deploy.rollups import site_days
from deploy.rollups.lease import Lease
from deploy.rollups.settle import finish_begun
from shared.clickhouse import ClickHouse

#: A hundred years.
MAX_RETENTION_DAYS: Final = 36_500

_CUTOFFS: Final = "hitline_control.retention_cutoffs WHERE run = {run:UInt64}"


@dataclass(frozen=True, slots=True)
class _Table:
    """A table in which rows expire: a row by its `unit`, a span of time that begins before the column `limit`."""

    name: str
    unit: str
    expired: str
    limit: str
    kind: str


#: Days of all time zones begin at a quarter of an hour.
_PAGEVIEWS: Final = _Table(
    "pageviews_raw",
    "toStartOfFifteenMinutes(timestamp)",
    "toStartOfFifteenMinutes(timestamp) + 900 <= cutoff.before",
    "before",
    "DateTime64(3, 'UTC')",
)
_ROLLUPS: Final = tuple(
    _Table(name, "day", "day < cutoff.first_day", "first_day", "Date")
    for name in ("session_days_raw", "several_days_raw", "daily_counts_raw", "hourly_counts_raw")
)


@dataclass(frozen=True, slots=True)
class Expired:
    """Pageviews before a moment, of the sites with a retention of so many days."""

    retention_days: int
    before: datetime
    pageviews: int


async def due(
    clickhouse: ClickHouse, instance_days: int, clock: Callable[[], float] = time.time, *, idle: bool = False
) -> list[Expired]:
    """Return what has expired; raises `ClocksDifferError` as `apply` does."""
    async with _cutoffs(clickhouse, instance_days) as run:
        expired = await _expired(clickhouse, run)
    if expired:
        await check_clocks(clickhouse, clock, idle=idle)
    return expired


async def apply(
    clickhouse: ClickHouse, instance_days: int, clock: Callable[[], float] = time.time, *, idle: bool = False
) -> list[Expired]:
    """Make unreadable what has expired, and return it.

    `instance_days`: the retention of sites without one of their own, 0 is forever.  `idle`: see `check_clocks`.  Raises
    `ClocksDifferError` before anything is erased.
    """
    now = await _now(clickhouse)
    async with _cutoffs(clickhouse, instance_days) as run:
        partitions = {table: await _partitions(clickhouse, table, run) for table in (_PAGEVIEWS, *_ROLLUPS)}
        if not any(partitions.values()):
            return []
        await check_clocks(clickhouse, clock, idle=idle)
        expired = await _expired(clickhouse, run)
        await _erase_pageviews(clickhouse, instance_days, run)
        await _erase_from_rollups(clickhouse, instance_days, run)
    if expired:
        days = ", ".join(map(str, sorted({each.retention_days for each in expired})))
        await record.retained(clickhouse, f"retention of {days} days", sum(each.pageviews for each in expired), now)
    return expired


@asynccontextmanager
async def _cutoffs(clickhouse: ClickHouse, instance_days: int) -> AsyncIterator[int]:
    run = await cutoffs.note(clickhouse, instance_days, await _now(clickhouse))
    try:
        yield run
    finally:
        await cutoffs.drop(clickhouse, run)


async def _erase_from_rollups(clickhouse: ClickHouse, instance_days: int, run: int) -> None:
    async with Lease(clickhouse) as lease:
        await finish_begun(clickhouse)
        # What arrived late may be in the rollups, from which all of these days are taken.
        await _erase_pageviews(clickhouse, instance_days, run)
        await clickhouse.command(site_days.OF_EXPIRED, {"run": lease.next_number(), "cutoffs": run}, WRITES)
        for table in _ROLLUPS:
            for partition in await _partitions(clickhouse, table, run):
                if await _others(clickhouse, table, partition, run):
                    await _erase_in(clickhouse, table, partition, run)
                else:  # only the holder of the lease writes here
                    await drop_partition(clickhouse, table.name, partition)


async def _erase_pageviews(clickhouse: ClickHouse, instance_days: int, run: int) -> None:
    for partition in await _partitions(clickhouse, _PAGEVIEWS, run):
        end = _span(partition)[1]
        closed = await cutoffs.are_all_before(clickhouse, instance_days, run, end)
        if closed and not await _others(clickhouse, _PAGEVIEWS, partition, run):
            await drop_partition(clickhouse, _PAGEVIEWS.name, partition)
        else:
            await _erase_in(clickhouse, _PAGEVIEWS, partition, run)


async def _expired(clickhouse: ClickHouse, run: int) -> list[Expired]:
    found: dict[tuple[int, datetime], int] = {}
    for partition in await _partitions(clickhouse, _PAGEVIEWS, run):
        counted = await clickhouse.query(
            f"SELECT cutoff.retention_days, cutoff.before, count() {_joined(_PAGEVIEWS, final=True)} GROUP BY 1, 2",
            _given(_PAGEVIEWS, partition, run),
            WRITES,
        )
        for days, before, number in counted.result_rows:
            found[days, before] = found.get((days, before), 0) + number
    return [Expired(*key, number) for key, number in sorted(found.items())]


def _joined(table: _Table, *, final: bool = False, more: str = "1") -> str:
    """Return FROM and WHERE of the rows of a partition that have expired, of sites of which `more` is true."""
    chosen = f"{_CUTOFFS} AND {table.limit} > {{start:{table.kind}}} AND {more}"
    return (
        f"FROM hitline.{table.name} AS stored {'FINAL' if final else ''} INNER JOIN"  # noqa: S608
        f" (SELECT site_id, retention_days, first_day, before FROM {chosen}) AS cutoff USING (site_id)"
        f" WHERE stored._partition_id = {{partition:String}} AND site_id IN (SELECT site_id FROM {chosen})"
        f" AND {table.expired}"
    )


async def _erase_in(clickhouse: ClickHouse, table: _Table, partition: str, run: int) -> None:
    """Mark the expired rows of a partition: by one statement, or one for each million of sites' days in it."""
    given = _given(table, partition, run)
    end = f"{table.limit} >= {{end:{table.kind}}}"
    some = _joined(table, more=f"NOT {end}")
    counted = await clickhouse.query(
        f"SELECT count(), uniqCombined(site_id, {table.unit}) {some}",
        given,
        WRITES,
    )
    shares = shares_of(counted.result_rows[0][1])
    hashed = f"cityHash64(site_id, {table.unit}) % {{shares:UInt32}} = {{share:UInt32}}"
    for share in range(shares):
        whole = f"site_id IN (SELECT site_id FROM {_CUTOFFS} AND {end})" if share == 0 else "0"  # noqa: S608
        units = f"SELECT DISTINCT site_id, {table.unit} {some} AND {hashed}"
        where = f"{whole} OR ({hashed} AND (site_id, {table.unit}) IN ({units}))"
        await delete_in(clickhouse, table.name, partition, where, {**given, "share": share, "shares": shares})


async def _partitions(clickhouse: ClickHouse, table: _Table, run: int) -> list[str]:
    """Return the partitions with rows that have expired, the oldest first."""
    there = await clickhouse.query(
        "SELECT DISTINCT partition_id FROM system.parts"
        " WHERE database = 'hitline' AND table = {table:String} AND active ORDER BY partition_id",
        {"table": table.name},
    )
    found = []
    for (partition,) in there.result_rows:
        rows = await clickhouse.query(
            f"SELECT count() FROM (SELECT 1 {_joined(table)} LIMIT 1)",  # noqa: S608
            _given(table, partition, run),
            WRITES,
        )
        if rows.result_rows[0][0]:
            found.append(partition)
    return found


async def _others(clickhouse: ClickHouse, table: _Table, partition: str, run: int) -> bool:
    """Return whether a partition has rows of sites of which not all of it has expired."""
    found = await clickhouse.query(
        f"SELECT count() FROM (SELECT 1 FROM hitline.{table.name} WHERE _partition_id = {{partition:String}}"  # noqa: S608
        f" AND site_id NOT IN (SELECT site_id FROM {_CUTOFFS} AND {table.limit} >= {{end:{table.kind}}}) LIMIT 1)",
        _given(table, partition, run),
        WRITES,
    )
    return bool(found.result_rows[0][0])


def _given(table: _Table, partition: str, run: int) -> Mapping[str, Any]:
    start, end = _span(partition)
    if table.kind == "Date":
        return {"run": run, "partition": partition, "start": start.date(), "end": end.date()}
    return {"run": run, "partition": partition, "start": start, "end": end}


def _span(partition: str) -> tuple[datetime, datetime]:
    """Return the begin and end of a partition: of a month such as 202603, or of a year."""
    year, month = int(partition[:4]), int(partition[4:] or 0)
    if not month:
        return datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    return datetime(year, month, 1, tzinfo=UTC), datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


async def _now(clickhouse: ClickHouse) -> datetime:
    now: datetime = (await clickhouse.query("SELECT now64(3, 'UTC')")).result_rows[0][0]
    return now
