"""One run over everything that has changed since the last.

Pageviews carry the time at which they were stored, which is set before they can be seen.  So a run first takes the
moment before which nothing can appear any more (no insert that began earlier is still running), then looks for what
was stored since the last such moment; that moment is recorded only after everything is computed.  A run that is cut
off, or runs beside another one, is simply done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from deploy.rollups import days, sql
from deploy.rollups.days import Days
from deploy.rollups.sql import SiteDay
from shared.clickhouse import ClickHouse

#: How far the server's clock may be set back, or a replica be behind, and nothing is missed.
_MARGIN: Final = timedelta(seconds=60)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SETTINGS: Final = {"async_insert": 0, "max_partitions_per_insert_block": 0}

#: `elapsed` is in seconds.  All inserts count, whoever runs them.
_NOTHING_BEFORE: Final = (
    "SELECT least(now64(3, 'UTC'), (SELECT now64(3, 'UTC') - toIntervalMillisecond(toUInt64(1000 * max(elapsed)) + 1)"
    " FROM system.processes WHERE query_kind = 'Insert'))"
)
#: Later than every version there is, even where the clock was set back.
_VERSION: Final = (
    "SELECT greatest(toUInt64(toUnixTimestamp64Micro(now64(6))), 1 + (SELECT max(version) FROM hitline.daily_raw))"
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did: everything stored before `complete_to` is in the rollups."""

    complete_to: datetime
    site_days: int
    pageviews: int
    unfinished_erasures: int


async def roll_up(clickhouse: ClickHouse, *, everything: bool = False) -> Summary:
    """Compute every day that has changed since the last run, or every day there is."""
    complete_to = await nothing_before(clickhouse)
    last = (await clickhouse.query("SELECT max(complete_to) FROM hitline.rollup_runs")).result_rows[0][0]
    since = _EPOCH if everything else max(_EPOCH, last - _MARGIN)
    registry = (await clickhouse.query("SELECT max(version) FROM hitline_control.sites")).result_rows[0][0]
    moved = await _moved(clickhouse)
    due = await days.of_pageviews(
        clickhouse,
        "(stored_at >= {since:DateTime64(3, 'UTC')} OR has({moved:Array(UUID)}, site_id))",
        {"since": since, "moved": [str(site_id) for site_id in moved]},
    )
    # Days that have no pageviews any more, or not in the site's new time zone; those of a partition that was dropped.
    gone = await days.computed(clickhouse, None if everything else moved) if everything or moved else []
    erasing = await _erasing(clickhouse)
    counted = {site_day for group in due for site_day in group.pageviews}
    due += await days.by_zone(clickhouse, sorted({*gone, *erasing} - counted))
    for group in due:
        await recompute(clickhouse, group)
    await _copy_sites(clickhouse, registry)
    total = sum(sum(group.pageviews.values()) for group in due)
    summary = Summary(complete_to, sum(len(group.pageviews) for group in due), total, len(erasing))
    await clickhouse.command(
        "INSERT INTO hitline.rollup_runs (complete_to, site_days, pageviews)"
        " SELECT {complete_to:DateTime64(3, 'UTC')}, {site_days:UInt64}, {pageviews:UInt64}",
        {"complete_to": summary.complete_to, "site_days": summary.site_days, "pageviews": summary.pageviews},
    )
    return summary


async def recompute(clickhouse: ClickHouse, group: Days) -> int | None:
    """Compute these days from the pageviews as they are now; returns the oldest version that was written."""
    oldest: int | None = None
    for chunk in group.chunks():
        # Asked for before anything is read: of two runs, the one that read later has the later version.
        version = (await clickhouse.query(_VERSION)).result_rows[0][0]
        await clickhouse.command(sql.daily(group.zone, chunk, version), settings=_SETTINGS)
        await clickhouse.command(sql.hourly(group.zone, chunk, version), settings=_SETTINGS)
        oldest = version if oldest is None else oldest
    return oldest


async def forget_older(clickhouse: ClickHouse, site_days: Sequence[SiteDay], version: int) -> None:
    """Take what `version` and later ones replaced off the disk, for what was erased is in it."""
    for start in range(0, len(site_days), days.MOST_DAYS):
        chunk = sql.pairs(site_days[start : start + days.MOST_DAYS])
        for table in ("daily_raw", "hourly_raw"):
            await clickhouse.command(
                f"ALTER TABLE hitline.{table} DELETE WHERE version < {version} AND (site_id, day) IN"  # noqa: S608
                f" (SELECT pair.1, pair.2 FROM (SELECT arrayJoin({chunk}) AS pair))",
                settings={"mutations_sync": 2, "allow_nondeterministic_mutations": 1},
            )


async def nothing_before(clickhouse: ClickHouse) -> datetime:
    """Return the moment before which no pageview can appear any more: no insert that began earlier is running."""
    moment: datetime = (await clickhouse.query(_NOTHING_BEFORE)).result_rows[0][0]
    return moment


async def differing(clickhouse: ClickHouse, group: Days, oldest: int, computed: datetime) -> int:
    """Return how many of these days have other numbers in a rollup than in the pageviews.

    `oldest`: the lowest version that their rollups must have; `computed`: what was stored later need not be in them.
    """
    wrong = 0
    for chunk in group.chunks():
        result = await clickhouse.query(sql.differing(group.zone, chunk, oldest), {"computed": computed})
        wrong += result.result_rows[0][0]
    return wrong


async def _moved(clickhouse: ClickHouse) -> list[UUID]:
    """Return the sites whose time zone is another one than their rollups were computed in."""
    result = await clickhouse.query(
        f"SELECT site_id FROM hitline.sites AS known LEFT JOIN {days.ZONES} AS zones USING (site_id)"  # noqa: S608
        " WHERE known.timezone != if(zones.timezone = '', 'UTC', zones.timezone)"
    )
    return [site_id for (site_id,) in result.result_rows]


async def _copy_sites(clickhouse: ClickHouse, up_to: int) -> None:
    """Copy the registry's sites as of version `up_to`, where they are new.

    As they were before anything was computed: should a time zone have changed since, the next run sees it.
    """
    await clickhouse.command(
        "INSERT INTO hitline.sites_raw (site_id, name, hostnames, timezone, version)"
        " SELECT site_id, argMax(name, version) AS name, argMax(hostnames, version) AS hostnames,"
        " if(argMax(timezone, version) = '', 'UTC', argMax(timezone, version)) AS timezone, max(version)"
        " FROM hitline_control.sites WHERE version <= {up_to:UInt64} GROUP BY site_id"
        " HAVING (site_id, name, hostnames, timezone) NOT IN"
        " (SELECT site_id, name, hostnames, timezone FROM hitline.sites)",
        {"up_to": up_to},
    )


async def _erasing(clickhouse: ClickHouse) -> list[SiteDay]:
    """Return the days of erasures that are not finished: they may have taken pageviews away already."""
    result = await clickhouse.query(
        "SELECT DISTINCT arrayJoin(days) AS pair, pair.1, pair.2 FROM hitline_control.erasures FINAL WHERE NOT done"
    )
    return [(site_id, day) for _, site_id, day in result.result_rows]
