"""Retention: what is older than its site keeps is erased, from the stored rows and from the rollups.

Whole days of a site go, in its time zone, once all of a day is older than the site's retention (else the instance's).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final
from uuid import UUID

from deploy.erasure import erasure
from deploy.erasure.erasure import Erasure
from shared.clickhouse import ClickHouse

#: A hundred years.
MAX_RETENTION_DAYS: Final = 36_500


async def due(clickhouse: ClickHouse, instance_days: int) -> list[tuple[int, Erasure]]:
    """Return the erasures that retention asks for now, each with its retention in days; 0 days keep everything."""
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


async def apply(clickhouse: ClickHouse, instance_days: int) -> AsyncIterator[tuple[int, Erasure, int]]:
    """Erase what is due, yielding the retention in days, what was erased, and how many pageviews."""
    for days, wanted in await due(clickhouse, instance_days):
        yield days, wanted, await erasure.erase(clickhouse, wanted)
