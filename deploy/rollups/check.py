"""Days that are over are computed once more and compared; what has drifted from the pageviews is mended and counted.

Two comparisons: of what each session is counted with and its pageviews, and of the sums and what sessions add up to.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from deploy.bounds import WRITES
from deploy.rollups import apart, site_days, sums, touched
from deploy.rollups.lease import Lease
from deploy.rollups.settle import Settled, rows_by_zone, settle
from shared.clickhouse import ClickHouse

#: Late pageviews of a day come mostly within this time after it.
_LATER: Final = timedelta(hours=1)
_EVERY_MINUTES: Final = 15
#: As far back a process that did not run goes.
_MOST_DAYS: Final = 7

#: By ClickHouse's clock, which may have been ahead: a look in the future is none.
_LOOKED: Final = (
    "SELECT count() FROM hitline_control.rollup_checked"
    " WHERE checked_at BETWEEN now64(3) - toIntervalMinute({minutes:UInt32}) AND now64(3) + toIntervalMinute(1)"
)
_ZONES: Final = "SELECT DISTINCT timezone FROM hitline_control.rollup_zones FINAL"
_CHECKED: Final = "SELECT zone, argMax(day, number) FROM hitline_control.rollup_checked GROUP BY zone"
_NOTE: Final = (
    "INSERT INTO hitline_control.rollup_checked (zone, day, drifted, number)"
    " SELECT tupleElement(pair, 1), tupleElement(pair, 2), {drifted:UInt64}, {number:UInt64}"
    " FROM (SELECT arrayJoin({zones:Array(Tuple(String, Date))}) AS pair)"
)
_MONTHS: Final = (
    "SELECT DISTINCT toStartOfMonth(day) FROM"
    " (SELECT DISTINCT arrayJoin([toDate(timestamp) - 1, toDate(timestamp) + 1]) AS day FROM hitline.pageviews_raw"
    " UNION ALL SELECT DISTINCT day FROM hitline.session_days_raw"
    " UNION ALL SELECT DISTINCT day FROM hitline.daily_counts_raw) ORDER BY 1"
)


async def days_that_are_over(clickhouse: ClickHouse, lease: Lease, now: datetime, counted_to: datetime) -> Settled:
    """Check the days that have ended in each time zone since the last look, which is a quarter of an hour ago at least.

    `counted_to`: what was stored later need not be in the rollups.
    """
    if (await clickhouse.query(_LOOKED, {"minutes": _EVERY_MINUTES})).result_rows[0][0]:
        return Settled()
    checked: dict[str, date] = dict(map(tuple, (await clickhouse.query(_CHECKED)).result_rows))
    zones = {zone for (zone,) in (await clickhouse.query(_ZONES)).result_rows} | {"UTC"}
    over = {zone: (now - _LATER).astimezone(ZoneInfo(zone)).date() - timedelta(1) for zone in zones}
    total = Settled()
    for day in sorted({last - timedelta(number) for last in over.values() for number in range(_MOST_DAYS)}):
        due = [zone for zone in zones if _checked(checked.get(zone), over[zone]) < day <= over[zone]]
        if due:
            with_rows = await rows_by_zone(clickhouse, touched.days(day, day))
            for zone in sorted(set(due) & set(with_rows)):
                total += await _check(clickhouse, lease, day, zone, with_rows[zone], counted_to)
    given = {"zones": sorted(over.items()), "drifted": total.drifted, "number": lease.next_number()}
    await clickhouse.command(_NOTE, given)
    return total


def _checked(noted: date | None, over: date) -> date:
    """Return the last day that was checked; one that is not over yet was noted while a clock was ahead."""
    if noted is None:
        return over - timedelta(1)
    return noted if noted <= over else over - timedelta(_MOST_DAYS)


async def everything(clickhouse: ClickHouse, lease: Lease) -> Settled:
    """Compute all days there are again, month by month."""
    total = Settled()
    for (month,) in (await clickhouse.query(_MONTHS)).result_rows:
        last = date(month.year + month.month // 12, month.month % 12 + 1, 1) - timedelta(1)
        scope = touched.days(month, last)
        total += await settle(clickhouse, lease, scope)
        mended = await _mend_sums(clickhouse, lease, month, last, None)
        total += Settled(mended, mended)
    return total


async def _check(
    clickhouse: ClickHouse, lease: Lease, day: date, zone: str, rows: int, counted_to: datetime
) -> Settled:
    found = await settle(clickhouse, lease, touched.days(day, day), {zone: rows}, counted_to)
    found += await apart.keep(clickhouse, lease, day, zone, counted_to)
    return found + Settled(drifted=await _mend_sums(clickhouse, lease, day, day, zone))


async def _mend_sums(clickhouse: ClickHouse, lease: Lease, first: date, last: date, zone: str | None) -> int:
    """Write the sums that differ from what sessions add up to, of one time zone or of all; returns how many."""
    mended = 0
    where = touched.in_zone(zone) if zone else "1"
    for table, statement in sums.STATEMENTS.items():
        given = {"run": lease.next_number(), "first": first, "last": last, "zone": zone or ""}
        await clickhouse.command(statement.replace("in_zone", where), given, WRITES)
        count = await clickhouse.query(
            f"SELECT count() FROM hitline.{table} WHERE run = {{run:UInt64}}"  # noqa: S608
            " AND day BETWEEN {first:Date} AND {last:Date}",
            given,
        )
        mended += count.result_rows[0][0]
        if table == "daily_counts_raw":
            await clickhouse.command(site_days.OF_MENDED, given, WRITES)
    return mended
