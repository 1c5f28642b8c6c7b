"""The days of pageviews, in the time zone that each site has in the registry.

ClickHouse takes a time zone only as a constant, so days are asked for zone by zone; sites that the registry does not
know (any more) are in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from deploy.rollups.sql import SiteDay, quoted
from shared.clickhouse import ClickHouse

#: The newest state of every site, removed ones as well: what they stored is still there.
ZONES: Final = (
    "(SELECT site_id, argMax(timezone, version) AS timezone FROM hitline_control.sites GROUP BY site_id"
    " HAVING timezone NOT IN ('', 'UTC'))"
)
#: What one statement computes at most, in some seconds; 3,000 days are 180 KB of SQL, a server reads up to 256.
MOST_PAGEVIEWS: Final = 1_000_000
MOST_DAYS: Final = 3_000


@dataclass(frozen=True, slots=True)
class Days:
    """Days of sites that share a time zone, with all the pageviews that are stored of each."""

    zone: str
    pageviews: Mapping[SiteDay, int]

    def chunks(self) -> Iterator[list[SiteDay]]:
        """Yield the days in order, as many at once as a statement should compute."""
        chunk: list[SiteDay] = []
        total = 0
        for site_day, number in sorted(self.pageviews.items(), key=lambda item: (item[0][0].bytes, item[0][1])):
            if chunk and (total + number > MOST_PAGEVIEWS or len(chunk) >= MOST_DAYS):
                yield chunk
                chunk, total = [], 0
            chunk.append(site_day)
            total += number
        if chunk:
            yield chunk


async def of_pageviews(clickhouse: ClickHouse, where: str, parameters: Mapping[str, Any]) -> list[Days]:
    """Return the days that have pageviews fulfilling `where`, a condition on `pageviews_raw`."""
    found = await clickhouse.query(
        "SELECT DISTINCT timezone FROM (SELECT DISTINCT site_id FROM hitline.pageviews_raw"  # noqa: S608
        f" WHERE {where}) AS changed LEFT JOIN {ZONES} AS zones USING (site_id) ORDER BY timezone",
        parameters,
    )
    return [await _in_zone(clickhouse, zone or "UTC", where, parameters) for (zone,) in found.result_rows]


async def _in_zone(clickhouse: ClickHouse, zone: str, where: str, parameters: Mapping[str, Any]) -> Days:
    day = f"toDate(timestamp, {quoted(zone)})"
    result = await clickhouse.query(
        f"SELECT site_id, {day} AS day, count() FROM hitline.pageviews_raw"  # noqa: S608
        f" WHERE {sites_in(zone)} AND (site_id, {day}) IN"
        f" (SELECT DISTINCT site_id, {day} FROM hitline.pageviews_raw WHERE {sites_in(zone)} AND {where})"
        " GROUP BY site_id, day",
        parameters,
    )
    return Days(zone, {(site_id, day): number for site_id, day, number in result.result_rows})


async def by_zone(clickhouse: ClickHouse, site_days: Sequence[SiteDay]) -> list[Days]:
    """Return given days of sites by time zone; the pageviews are not counted."""
    result = await clickhouse.query(f"SELECT site_id, timezone FROM {ZONES}")  # noqa: S608 - a constant
    zones: dict[UUID, str] = dict(map(tuple, result.result_rows))
    found: dict[str, dict[SiteDay, int]] = {}
    for site_id, day in site_days:
        found.setdefault(zones.get(site_id, "UTC"), {})[site_id, day] = 0
    return [Days(zone, pageviews) for zone, pageviews in found.items()]


async def computed(clickhouse: ClickHouse, site_ids: Sequence[UUID] | None) -> list[tuple[UUID, date]]:
    """Return the days of these sites, or of all, that rollups hold."""
    result = await clickhouse.query(
        "SELECT DISTINCT site_id, day FROM hitline.daily_raw"
        " WHERE dimension = '' AND ({all:Bool} OR has({sites:Array(UUID)}, site_id))",
        {"all": site_ids is None, "sites": [str(site_id) for site_id in site_ids or ()]},
    )
    return [(site_id, day) for site_id, day in result.result_rows]


def sites_in(zone: str) -> str:
    """Return the condition that a site is in the time zone."""
    if zone == "UTC":
        return f"site_id NOT IN (SELECT site_id FROM {ZONES})"  # noqa: S608 - a constant
    return f"site_id IN (SELECT site_id FROM {ZONES} WHERE timezone = {quoted(zone)})"  # noqa: S608 - quoted
