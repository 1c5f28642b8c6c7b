"""How far rollups have come, in an order that no clock moves.

What is new is found by the time at which it was stored, which is ClickHouse's clock, and so are the moments that runs
record.  A clock that was ahead must neither stop the runs after it nor hide what is stored once it is right again: the
record with the largest number of a run counts, and one that lies in the future is passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from deploy.rollups.lease import Lease
from shared.clickhouse import ClickHouse
from shared.cluster import everywhere

#: Returns seconds since the epoch.
Clock = Callable[[], float]

#: Later than anything that can be stored.
END: Final = datetime(2299, 1, 1, tzinfo=UTC)
#: What is stored later than this from now was stored by a clock that is, or was, ahead.
_AHEAD: Final = timedelta(seconds=60)

#: `elapsed` is in seconds.  All inserts count, whoever runs them.
_MOMENTS: Final = (
    "SELECT least(now64(3, 'UTC'), (SELECT now64(3, 'UTC') - toIntervalMillisecond(toUInt64(1000 * max(elapsed)) + 1)"
    " FROM {processes} WHERE query_kind = 'Insert')), now64(3, 'UTC')"
)
_AHEAD_OF: Final = "SELECT count() FROM hitline.pageviews_raw WHERE stored_at >= {edge:DateTime64(3, 'UTC')}"
_PROGRESS: Final = (
    "SELECT argMaxIf(moment, number, moment <= {now:DateTime64(3, 'UTC')}),"
    " argMaxIf(ahead, number, kind = 'complete'), argMaxIf(registry, number, kind = 'complete'),"
    " argMaxIf(zones, number, kind = 'complete'), argMax(moment, number) > {now:DateTime64(3, 'UTC')},"
    " argMaxIf(site_days, number, kind = 'complete'),"
    " (SELECT countIf(kind = 'complete') > 0 FROM hitline.rollup_progress)"
    " FROM hitline.rollup_moments"
)
_RECORD: Final = (
    "INSERT INTO hitline.rollup_moments (kind, number, moment, ahead, registry, zones, site_days)"
    " SELECT {kind:String}, {number:UInt64}, {moment:DateTime64(3, 'UTC')}, {ahead:UInt64}, {registry:UInt64},"
    " {zones:String}, {kind:String} = 'complete'"
)
_PUBLISH: Final = "INSERT INTO hitline.rollup_progress (kind, moment) SELECT 'complete', {moment:DateTime64(3, 'UTC')}"
_AT_ONCE: Final = {"async_insert": 0}


class Moments(NamedTuple):
    """`before`: no pageview stored earlier can appear any more; `ahead`: what was stored later is in the future."""

    before: datetime
    ahead: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """What is counted: everything stored before `moment`, and `ahead` pageviews stored in the future.

    `registry` and `zones` are the versions of the registry and of the time zone database that it was counted with.
    `clock_was_ahead`: a run has recorded a moment that is still to come; `site_days`: the last run has kept
    these, which one of an older version has not; `published`: readers see the rollups.
    """

    moment: datetime
    ahead: int
    registry: int
    zones: str
    clock_was_ahead: bool
    site_days: bool
    published: bool


async def moments(clickhouse: ClickHouse, clock: Clock = time.time) -> Moments:
    """Return them for now.

    Before: when the oldest insert began that is running.  Of ClickHouse's clock and `clock` the earlier one is
    believed, since what was stored later is only looked at again.
    """
    sql = _MOMENTS.format(processes=everywhere(clickhouse.cluster, "system.processes"))
    before, now = (await clickhouse.query(sql)).result_rows[0]
    here = datetime.fromtimestamp(clock(), UTC)
    return Moments(min(before, here), min(now, here) + _AHEAD)


async def ahead_of(clickhouse: ClickHouse, edge: datetime) -> int:
    """Return how many pageviews were stored at that moment or later; an index answers where there are none."""
    return int((await clickhouse.query(_AHEAD_OF, {"edge": edge})).result_rows[0][0])


async def load(clickhouse: ClickHouse, now: datetime) -> Progress:
    """Return what has been recorded."""
    return Progress(*(await clickhouse.query(_PROGRESS, {"now": now})).result_rows[0])


async def counted(clickhouse: ClickHouse, lease: Lease, moment: datetime) -> None:
    """Record that everything stored before is counted: a run that is cut off later need not do it again."""
    given = {"kind": "counted", "number": lease.next_number(), "moment": moment, "ahead": 0, "registry": 0, "zones": ""}
    await clickhouse.command(_RECORD, given, _AT_ONCE)


async def complete(clickhouse: ClickHouse, lease: Lease, progress: Progress) -> None:
    """Record that a run is complete; the first time, readers see the rollups from now on."""
    given = {
        "kind": "complete",
        "number": lease.next_number(),
        "moment": progress.moment,
        "ahead": progress.ahead,
        "registry": progress.registry,
        "zones": progress.zones,
    }
    await clickhouse.command(_RECORD, given, _AT_ONCE)
    if not progress.published:
        await clickhouse.command(_PUBLISH, {"moment": progress.moment}, _AT_ONCE)
