"""Up to when each site's pageviews have expired: a table of the run's own, so that no statement names a site."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

from deploy.bounds import WRITES
from shared.clickhouse import ClickHouse

#: For how long another run may still use its own.
_KEPT_S: Final = 86_400

_REGISTRY: Final = (
    "(SELECT site_id, if(argMax(timezone, version) = '', 'UTC', argMax(timezone, version)) AS zone,"
    " argMax(retention_days, version) AS own, if(own > 0, own, {instance:UInt32}) AS days,"
    " argMax(removed, version) AS removed FROM hitline_control.sites GROUP BY site_id)"
)
#: Whose rollups are in another time zone until the next run, which would leave parts of days in them.
_MOVING: Final = (
    f"(SELECT site_id FROM {_REGISTRY} AS registry LEFT JOIN"  # noqa: S608
    " (SELECT site_id, timezone, moving FROM hitline_control.rollup_zones FINAL) AS counted USING (site_id)"
    " WHERE counted.moving OR (zone != if(counted.timezone = '', 'UTC', counted.timezone)"
    " AND site_id IN (SELECT DISTINCT site_id FROM hitline.daily_counts_raw WHERE dimension = '')))"
)
#: No pageview is older than 1990; and a day before 1970 would wrap round to one in the future.
_LONGEST: Final = "dateDiff('day', toDate('1990-01-01'), {now:DateTime64(3, 'UTC')})"
_FIRST_DAY: Final = "toDate({now:DateTime64(3, 'UTC')} - toIntervalDay(days), {zone:String})"
_INTO: Final = (
    "INSERT INTO hitline_control.retention_cutoffs (run, site_id, retention_days, timezone, first_day, before)"
)
_OF_ZONE: Final = (
    f"{_INTO} SELECT {{run:UInt64}}, site_id, days, {{zone:String}}, {_FIRST_DAY} AS first_day,"  # noqa: S608
    f" toDateTime64(toDateTime(first_day, {{zone:String}}), 3, 'UTC') FROM {_REGISTRY} AS registry"
    f" WHERE days > 0 AND days < {_LONGEST} AND zone = {{zone:String}} AND site_id NOT IN {_MOVING}"
)
#: Pageviews of sites that the registry does not know have the retention of the instance.
_UNKNOWN: Final = (
    f"{_INTO} SELECT {{run:UInt64}}, site_id, {{instance:UInt32}} AS days, {{zone:String}},"  # noqa: S608
    f" {_FIRST_DAY} AS first_day, toDateTime64(toDateTime(first_day, {{zone:String}}), 3, 'UTC')"
    " FROM (SELECT DISTINCT site_id FROM hitline.pageviews_raw"
    " WHERE timestamp < {now:DateTime64(3, 'UTC')} - toIntervalDay({instance:UInt32})"
    " AND site_id NOT IN (SELECT site_id FROM hitline_control.sites))"
    f" WHERE days < {_LONGEST}"
)


async def note(clickhouse: ClickHouse, instance_days: int, now: datetime) -> int:
    """Write the cut-offs of all sites that have a retention, and return the number of the run.

    A day in the site's time zone is erased once all of it is older than the retention of the site, else of the
    instance.
    """
    await _drop_of_killed_runs(clickhouse, int((now.timestamp() - _KEPT_S) * 1e6))
    run = int(now.timestamp() * 1e6) + secrets.randbelow(1000)  # of two at the same moment, each has its own
    given = {"run": run, "now": now, "instance": instance_days}
    zones = await clickhouse.query(
        f"SELECT DISTINCT zone FROM {_REGISTRY} WHERE days > 0 ORDER BY zone",  # noqa: S608
        given,
        WRITES,
    )
    for (zone,) in zones.result_rows:
        # ClickHouse takes a time zone only as a constant.
        await clickhouse.command(_OF_ZONE, {**given, "zone": zone}, WRITES)
    if instance_days:
        await clickhouse.command(_UNKNOWN, {**given, "zone": "UTC"}, WRITES)
    return run


async def moving(clickhouse: ClickHouse, instance_days: int) -> int:
    """Return how many sites have to wait for `hitline rollup`, as their time zone has changed."""
    found = await clickhouse.query(
        f"SELECT count() FROM {_REGISTRY} WHERE days > 0 AND site_id IN {_MOVING}",  # noqa: S608
        {"instance": instance_days},
        WRITES,
    )
    return int(found.result_rows[0][0])


async def are_all_before(clickhouse: ClickHouse, instance_days: int, run: int, end: datetime) -> bool:
    """Return whether no site may get pageviews from before `end` any more: workers drop them as too old."""
    if not instance_days:
        return False
    found = await clickhouse.query(
        f"SELECT count() FROM {_REGISTRY} WHERE NOT removed AND site_id NOT IN"  # noqa: S608
        " (SELECT site_id FROM hitline_control.retention_cutoffs WHERE run = {run:UInt64}"
        " AND before >= {end:DateTime64(3, 'UTC')})",
        {"instance": instance_days, "run": run, "end": end},
        WRITES,
    )
    return not found.result_rows[0][0]


async def drop(clickhouse: ClickHouse, run: int) -> None:
    """Remove the cut-offs of a run."""
    await clickhouse.command(f"ALTER TABLE hitline_control.retention_cutoffs DROP PARTITION {run:d}")


async def _drop_of_killed_runs(clickhouse: ClickHouse, up_to: int) -> None:
    found = await clickhouse.query(
        "SELECT DISTINCT run FROM hitline_control.retention_cutoffs WHERE run <= {up_to:UInt64}", {"up_to": up_to}
    )
    for (run,) in found.result_rows:
        await drop(clickhouse, run)
