"""One run over everything that has changed since the last.

Pageviews carry the time at which they were stored, which is set before they can be seen.  So a run first takes the
moment before which nothing can appear any more (no insert that began earlier is still running), then computes the
sessions that got pageviews since the last such moment; that moment is recorded only after everything is counted.  A run
costs what is new: nothing is read where there is nothing new.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from deploy.rollups import check, touched, zones
from deploy.rollups.lease import Lease
from deploy.rollups.settle import Settled, finish_begun, settle
from shared.clickhouse import ClickHouse

#: How far the server's clock may be set back, or a replica be behind, and nothing is missed.
_MARGIN: Final = timedelta(seconds=60)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Pageviews after which a run that has more to do records how far it has come.
_WINDOW_ROWS: Final = 5_000_000

#: `elapsed` is in seconds.  All inserts count, whoever runs them.
_NOTHING_BEFORE: Final = (
    "SELECT least(now64(3, 'UTC'), (SELECT now64(3, 'UTC') - toIntervalMillisecond(toUInt64(1000 * max(elapsed)) + 1)"
    " FROM system.processes WHERE query_kind = 'Insert'))"
)
_PROGRESS: Final = (
    "SELECT max(moment), maxIf(registry, kind = 'complete'), countIf(kind = 'complete') > 0"
    " FROM hitline.rollup_progress"
)
_RECORD: Final = (
    "INSERT INTO hitline.rollup_progress (kind, moment, registry)"
    " SELECT {kind:String}, {moment:DateTime64(3, 'UTC')}, {registry:UInt64}"
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did: everything stored before `complete_to` is in the rollups.

    `sessions` on a day each, and `site_days`, have other numbers now; `drifted` of them should not have had.
    """

    complete_to: datetime
    sessions: int
    site_days: int
    drifted: int
    unfinished_erasures: int


async def roll_up(clickhouse: ClickHouse, *, everything: bool = False) -> Summary:
    """Count what is new, or compute every session of every day again."""
    async with Lease(clickhouse) as lease:
        await finish_begun(clickhouse)
        complete_to = await nothing_before(clickhouse)
        last, seen, published = (await clickhouse.query(_PROGRESS)).result_rows[0]
        registry = await zones.newest(clickhouse, seen)
        settled = Settled()
        if registry > zones.since(seen) and await zones.begin_moves(clickhouse, seen, registry):
            settled += await settle(clickhouse, lease, touched.moving())
            await zones.end_moves(clickhouse)
        since = max(_EPOCH, last - _MARGIN)
        async for before in _windows(clickhouse, since, complete_to):
            settled += await settle(clickhouse, lease, touched.new(since, before))
            await _record(clickhouse, "counted", before, 0)
            since = before - _MARGIN
        if everything:
            settled += await check.everything(clickhouse, lease)
        erasing = await _erasing(clickhouse)
        for erasure_id in erasing:
            settled += await settle(clickhouse, lease, touched.erased(erasure_id))
        settled += await check.days_that_are_over(clickhouse, lease, complete_to, complete_to - _MARGIN)
        if registry > zones.since(seen):
            await zones.copy_sites(clickhouse, seen, registry)
        await _record(clickhouse, "complete", complete_to, registry)
        if not published:
            await _empty_tables_of_the_kind_before(clickhouse)
    return Summary(complete_to, settled.sessions, settled.site_days, settled.drifted, len(erasing))


async def nothing_before(clickhouse: ClickHouse) -> datetime:
    """Return the moment before which no pageview can appear any more: no insert that began earlier is running."""
    moment: datetime = (await clickhouse.query(_NOTHING_BEFORE)).result_rows[0][0]
    return moment


async def _windows(clickhouse: ClickHouse, since: datetime, before: datetime) -> AsyncIterator[datetime]:
    """Yield the ends of the spans of time to count one after the other; none where nothing is new."""
    found = await clickhouse.query(
        "SELECT toStartOfHour(stored_at) AS hour, count() FROM hitline.pageviews_raw"
        " WHERE stored_at >= {since:DateTime64(3, 'UTC')} AND stored_at < {before:DateTime64(3, 'UTC')}"
        " GROUP BY hour ORDER BY hour",
        {"since": since, "before": before},
    )
    total = 0
    for hour, number in found.result_rows:
        if total and total + number > _WINDOW_ROWS:
            yield hour.replace(tzinfo=UTC)
            total = 0
        total += number
    if total:
        yield before


async def _record(clickhouse: ClickHouse, kind: str, moment: datetime, registry: int) -> None:
    await clickhouse.command(_RECORD, {"kind": kind, "moment": moment, "registry": registry}, {"async_insert": 0})


async def _erasing(clickhouse: ClickHouse) -> list[UUID]:
    """Return the erasures that are not finished: they may have taken pageviews away already."""
    result = await clickhouse.query("SELECT erasure_id FROM hitline_control.erasures FINAL WHERE NOT done")
    return [erasure_id for (erasure_id,) in result.result_rows]


async def _empty_tables_of_the_kind_before(clickhouse: ClickHouse) -> None:
    """Take rollups off the disk that no view reads any more: what is erased from now on must not stay in them."""
    for table in ("daily_raw", "hourly_raw"):
        await clickhouse.command(f"TRUNCATE TABLE hitline.{table}")
