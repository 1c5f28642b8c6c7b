"""The rules of time zones, which may change with the database of them that a version of ClickHouse brings.

A rule that is corrected moves pageviews of days that are counted to other hours and days.  So it is noted with which
offsets each time zone's rollups were computed, and where these differ in a new version of the database, the rollups of
the sites in that zone are computed again, as if they had moved there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from deploy.rollups.lease import Lease
from shared.clickhouse import ClickHouse

#: No pageview is older.
_FIRST: Final = datetime(1990, 1, 1, tzinfo=UTC)
_YEARS: Final = 60

#: Servers that do not say which database they have are asked for their own version.
_VERSION: Final = (
    "SELECT if(value = '', version(), value) FROM"
    " (SELECT anyIf(value, name = 'TZDATA_VERSION') AS value FROM system.build_options)"
)
_IN_USE: Final = (
    "SELECT timezone, any(rules.years) FROM hitline_control.rollup_zones FINAL LEFT JOIN"
    " (SELECT timezone, years FROM hitline_control.rollup_zone_rules FINAL) AS rules USING (timezone)"
    " GROUP BY timezone ORDER BY timezone"
)
#: A hash for each year of all hours' offsets.
_RULES: Final = """
    SELECT arrayMap(pair -> pair.2, arraySort(groupArray((year, hash)))) FROM
    (
        SELECT toYear(hour) AS year, sum(cityHash64(hour, timeZoneOffset(toTimeZone(hour, {zone:String})))) AS hash
        FROM (SELECT toDateTime({first:UInt32} + number * 3600, 'UTC') AS hour FROM numbers({hours:UInt32}))
        GROUP BY year
    )"""
_MOVE: Final = """
    INSERT INTO hitline_control.rollup_zones (site_id, timezone, moving, version)
    SELECT site_id, timezone, true, version + 1 FROM hitline_control.rollup_zones FINAL
    WHERE timezone = {zone:String}"""
_NOTE: Final = (
    "INSERT INTO hitline_control.rollup_zone_rules (timezone, years, number)"
    " SELECT {zone:String}, {years:Array(UInt64)}, {number:UInt64}"
)


async def version(clickhouse: ClickHouse) -> str:
    """Return which time zone database ClickHouse has, such as `2026c`."""
    return str((await clickhouse.query(_VERSION)).result_rows[0][0])


async def follow(clickhouse: ClickHouse, lease: Lease, *, only_new: bool = False) -> tuple[str, ...]:
    """Note the rules of the time zones in use; returns those whose rules for the past have changed: their sites move.

    What a rule says of coming years changes nothing that is counted.  `only_new`: zones that were not in use before.
    """
    changed = []
    past = datetime.now(UTC).year - _FIRST.year + 1
    for zone, before in (await clickhouse.query(_IN_USE)).result_rows:
        if before and only_new:
            continue
        years = await _rules(clickhouse, zone)
        if before and list(before[:past]) != years[:past]:
            await clickhouse.command(_MOVE, {"zone": zone})
            changed.append(zone)
        if list(before) != years:
            await clickhouse.command(_NOTE, {"zone": zone, "years": years, "number": lease.next_number()})
    return tuple(changed)


async def _rules(clickhouse: ClickHouse, zone: str) -> list[int]:
    given = {"zone": zone, "first": int(_FIRST.timestamp()), "hours": _YEARS * 366 * 24}
    return list((await clickhouse.query(_RULES, given)).result_rows[0][0])
