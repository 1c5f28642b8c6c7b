"""Retention: erasing pageviews that are older than their site's retention, from the stored rows and the rollups.

A day in the site's time zone is erased once all of it is older than the retention of the site, else of the instance.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from deploy.erasure import erasure
from deploy.erasure.erasure import Erasure
from shared.clickhouse import ClickHouse

#: A hundred years.
MAX_RETENTION_DAYS: Final = 36_500
#: What ClickHouse's clock and this process's may differ by: what is erased by a wrong one is erased for good.
MAX_DIFFERENCE_S: Final = 300.0


class ClocksDifferError(erasure.NotErased):
    """ClickHouse's clock and this process's clock differ too much to erase by either; the text says what to do."""


async def check_clocks(clickhouse: ClickHouse, clock: Callable[[], float] = time.time) -> None:
    """Raise `ClocksDifferError` unless ClickHouse's clock agrees with `clock` (seconds since the epoch)."""
    before_s = clock()
    found = await clickhouse.query("SELECT toUnixTimestamp64Milli(now64(3))")
    server_s = found.result_rows[0][0] / 1000
    difference_s = max(before_s - server_s, server_s - clock(), 0.0)
    if difference_s > MAX_DIFFERENCE_S:
        raise ClocksDifferError(
            f"nothing was erased: ClickHouse's clock and this machine's differ by {difference_s:.0f} s; set both right"
            " (NTP), and run it again"
        )


async def due(clickhouse: ClickHouse, instance_days: int) -> list[tuple[int, Erasure]]:
    """Return the erasures that are due, each with its retention in days; a retention of 0 days keeps everything."""
    found = await clickhouse.query(
        "SELECT stored.site_id, if(sites.retention_days > 0, sites.retention_days, {instance:UInt32}) AS days,"
        " if(sites.timezone = '', 'UTC', sites.timezone) AS zone, stored.oldest"
        " FROM (SELECT site_id, min(timestamp) AS oldest FROM hitline.pageviews_raw GROUP BY site_id) AS stored"
        " LEFT JOIN (SELECT site_id, argMax(timezone, version) AS timezone, argMax(retention_days, version)"
        " AS retention_days FROM hitline_control.sites GROUP BY site_id) AS sites USING (site_id)"
        " WHERE days > 0 AND stored.oldest < now64(3) - toIntervalDay(days)",
        {"instance": instance_days},
    )
    groups: dict[tuple[int, str], list[tuple[UUID, datetime]]] = {}
    for site_id, days, zone, oldest in found.result_rows:
        groups.setdefault((days, zone), []).append((site_id, oldest))
    result = []
    for (days, zone), sites in sorted(groups.items()):
        first_kept = await clickhouse.query(
            "SELECT toDateTime64(toStartOfDay(now64(3) - toIntervalDay({days:UInt32}), {zone:String}), 3, 'UTC')",
            {"days": days, "zone": zone},
        )
        before = first_kept.result_rows[0][0]
        if older := tuple(site_id for site_id, oldest in sites if oldest < before):
            result.append((days, Erasure(sites=older, time_to=before)))
    return result


async def apply(
    clickhouse: ClickHouse, instance_days: int, clock: Callable[[], float] = time.time
) -> AsyncIterator[tuple[int, Erasure, int]]:
    """Erase what is due, yielding each erasure's retention in days, the erasure and its number of pageviews.

    Raises `ClocksDifferError` before anything is erased.
    """
    await check_clocks(clickhouse, clock)
    for days, wanted in await due(clickhouse, instance_days):
        yield days, wanted, await erasure.erase(clickhouse, wanted)
