"""The time zone that each site's rollups are in, and what analysts may know of the registry."""

from __future__ import annotations

from typing import Final

from shared.clickhouse import ClickHouse

#: The registry's versions are microseconds of a clock that may be set back, and may appear out of order.
_MARGIN: Final = 60_000_000

#: Sites that have changed, as they are now.
_CHANGED: Final = (
    "(SELECT site_id, argMax(name, stored.version) AS name, argMax(hostnames, stored.version) AS hostnames,"
    " if(argMax(timezone, stored.version) = '', 'UTC', argMax(timezone, stored.version)) AS zone,"
    " max(stored.version) AS newest FROM hitline_control.sites AS stored"
    " WHERE stored.version > {since:UInt64} AND stored.version <= {up_to:UInt64} GROUP BY site_id)"
)
_KNOWN: Final = "(SELECT site_id, timezone FROM hitline_control.rollup_zones FINAL)"
#: Where nothing was counted yet, nothing has to move.
_MOVE: Final = f"""
    INSERT INTO hitline_control.rollup_zones (site_id, timezone, moving, version)
    SELECT site_id, changed.zone, site_id IN
           (SELECT site_id FROM hitline.session_days_raw WHERE site_id IN (SELECT site_id FROM {_CHANGED} AS changed)),
           toUInt64(toUnixTimestamp64Micro(now64(6)))
    FROM {_CHANGED} AS changed LEFT JOIN {_KNOWN} AS known USING (site_id)
    WHERE changed.zone != if(known.timezone = '', 'UTC', known.timezone)"""  # noqa: S608
_MOVED: Final = (
    "INSERT INTO hitline_control.rollup_zones (site_id, timezone, moving, version)"
    " SELECT site_id, timezone, false, version + 1 FROM hitline_control.rollup_zones FINAL WHERE moving"
)
_COPY: Final = f"""
    INSERT INTO hitline.sites_raw (site_id, name, hostnames, timezone, version)
    SELECT site_id, name, hostnames, zone, newest FROM {_CHANGED} AS changed
    WHERE (site_id, name, hostnames, zone) NOT IN (SELECT site_id, name, hostnames, timezone FROM hitline.sites)"""  # noqa: S608


async def newest(clickhouse: ClickHouse, seen: int) -> int:
    """Return the registry's newest version of a site, or `seen` where there is nothing newer."""
    result = await clickhouse.query(
        "SELECT max(version) FROM hitline_control.sites WHERE version > {since:UInt64}", {"since": since(seen)}
    )
    return max(seen, int(result.result_rows[0][0]))


def since(seen: int) -> int:
    """Return the version after which the registry is read again, having seen this one."""
    return max(0, seen - _MARGIN)


async def begin_moves(clickhouse: ClickHouse, seen: int, up_to: int) -> None:
    """Note the sites whose time zone has changed in the registry.

    They are noted before anything is computed, so that a run that is cut off is not taken for finished.
    """
    given = {"since": since(seen), "up_to": up_to}
    if up_to > given["since"]:
        await clickhouse.command(_MOVE, given)


async def any_moving(clickhouse: ClickHouse) -> bool:
    """Return whether there are sites to be computed again in their time zone, also from a run before."""
    moving = await clickhouse.query("SELECT count() FROM hitline_control.rollup_zones FINAL WHERE moving")
    return bool(moving.result_rows[0][0])


async def end_moves(clickhouse: ClickHouse) -> None:
    """Note that the rollups of all sites are in the time zones that were noted."""
    await clickhouse.command(_MOVED)


async def copy_sites(clickhouse: ClickHouse, seen: int, up_to: int) -> None:
    """Copy what has changed in the registry for analysts, who can't read it."""
    await clickhouse.command(_COPY, {"since": since(seen), "up_to": up_to})
