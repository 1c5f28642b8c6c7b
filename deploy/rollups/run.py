"""One run over everything that has changed since the last.

Pageviews carry the time at which they were stored, which is set before they can be seen.  So a run first takes the
moment before which nothing can appear any more (no insert that began earlier is still running), then computes the
sessions that got pageviews since the last such moment; that moment is recorded only after everything is counted.  A run
costs what is new: nothing is read where there is nothing new.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from deploy.bounds import WRITES
from deploy.rollups import check, progress, site_days, touched, zone_rules, zones
from deploy.rollups.lease import Lease
from deploy.rollups.progress import Clock, Progress
from deploy.rollups.settle import Settled, finish_begun, settle
from shared.clickhouse import ClickHouse

#: How far the server's clock may be set back, or a replica be behind, and nothing is missed.
_MARGIN: Final = timedelta(seconds=60)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Pageviews after which a run that has more to do records how far it has come.
_WINDOW_ROWS: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did: everything stored before `complete_to` is in the rollups.

    `sessions` on a day each, and `site_days`, have other numbers now; `drifted` of them should not have had.
    `clock_was_ahead`: it made up for a run whose clock was.  `new_rules`: time zones that were computed again.
    """

    complete_to: datetime
    sessions: int
    site_days: int
    drifted: int
    unfinished_erasures: int
    clock_was_ahead: bool = False
    new_rules: tuple[str, ...] = ()


async def roll_up(clickhouse: ClickHouse, *, everything: bool = False, clock: Clock = time.time) -> Summary:
    """Count what is new, or compute every session of every day again; `clock`: this machine's."""
    async with Lease(clickhouse) as lease:
        await clickhouse.catch_up()
        await finish_begun(clickhouse)
        now = await progress.moments(clickhouse, clock)
        await clickhouse.catch_up("hitline.pageviews_raw")  # with all that ended before
        last = await progress.load(clickhouse, now.before)
        registry = await zones.newest(clickhouse, last.registry)
        rules = await zone_rules.version(clickhouse)
        settled, new_rules = await _follow_zones(clickhouse, lease, last, registry, rules)
        settled += await _count_new(clickhouse, lease, last.moment, now.before)
        ahead = await progress.ahead_of(clickhouse, now.ahead)
        if ahead != last.ahead:
            settled += await settle(clickhouse, lease, touched.new(now.ahead, progress.END))
        if everything:
            settled += await check.everything(clickhouse, lease)
        erasing = await _erasing(clickhouse)
        for erasure_id in erasing:
            settled += await settle(clickhouse, lease, touched.erased(erasure_id))
        settled += await check.days_that_are_over(clickhouse, lease, now.before, now.before - _MARGIN)
        if registry > zones.since(last.registry):
            await zones.copy_sites(clickhouse, last.registry, registry)
        if not last.site_days:
            await clickhouse.command(site_days.OF_ALL, {"run": lease.next_number()}, WRITES)
        reached = replace(last, moment=now.before, ahead=ahead, registry=registry, zones=rules)
        await progress.complete(clickhouse, lease, reached)
        if not last.published:
            await _empty_tables_of_the_kind_before(clickhouse)
    counts = settled.sessions, settled.site_days, settled.drifted
    return Summary(now.before, *counts, len(erasing), last.clock_was_ahead, new_rules)


async def _follow_zones(
    clickhouse: ClickHouse, lease: Lease, last: Progress, registry: int, rules: str
) -> tuple[Settled, tuple[str, ...]]:
    """Compute sites again whose time zone has changed, in the registry or by its rules; also returns the latter."""
    settled = Settled()
    new_rules: tuple[str, ...] = ()
    new_sites = registry > zones.since(last.registry)
    if new_sites:
        await zones.begin_moves(clickhouse, last.registry, registry)
    if new_sites or rules != last.zones:
        new_rules = await zone_rules.follow(clickhouse, lease, only_new=rules == last.zones)
        if await zones.any_moving(clickhouse):
            settled = await settle(clickhouse, lease, touched.moving())
            await zones.end_moves(clickhouse)
    return settled, new_rules


async def _count_new(clickhouse: ClickHouse, lease: Lease, last: datetime, until: datetime) -> Settled:
    settled = Settled()
    async for before in _windows(clickhouse, max(_EPOCH, last - _MARGIN), until):
        settled += await settle(clickhouse, lease, touched.new(max(_EPOCH, last - _MARGIN), before))
        await progress.counted(clickhouse, lease, before)
        last = before
    return settled


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


async def _erasing(clickhouse: ClickHouse) -> list[UUID]:
    """Return the erasures that are not finished: they may have taken pageviews away already."""
    result = await clickhouse.query("SELECT erasure_id FROM hitline_control.erasures FINAL WHERE NOT done")
    return [erasure_id for (erasure_id,) in result.result_rows]


async def _empty_tables_of_the_kind_before(clickhouse: ClickHouse) -> None:
    """Take rollups off the disk that no view reads any more: what is erased from now on must not stay in them."""
    for table in ("daily_raw", "hourly_raw"):
        await clickhouse.command(f"TRUNCATE TABLE hitline.{table}")
