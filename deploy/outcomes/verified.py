"""Sums of everything that `hitline reconcile` has verified, from the beginning, so that no run counts it again.

What was received until a minute, and verified while nothing was waiting, changes in one way only: dead letters of it
are replayed, which stores pageviews and counts outcomes for minutes long ago.  Both are found by when that was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from deploy.outcomes import ledger
from deploy.outcomes.ledger import FIRST, Counted, Period
from deploy.outcomes.statements import FOLDED
from shared.clickhouse import ClickHouse

_LATEST: Final = """
    SELECT verified_to, noted_at, pageviews, stored, dead_lettered, dropped FROM hitline_control.verified_sums
    ORDER BY verified_to DESC, noted_at DESC LIMIT 1"""
_NOW: Final = "SELECT now64(6, 'UTC')"
_NOTE: Final = """
    INSERT INTO hitline_control.verified_sums (verified_to, noted_at, pageviews, stored, dead_lettered, dropped)
    SELECT {to:DateTime('UTC')}, {noted_at:DateTime64(6, 'UTC')}, {pageviews:Int64}, {stored:Int64},
           {dead_lettered:Int64}, mapFromArrays({reasons:Array(String)}, {numbers:Array(Int64)})"""
#: Replays of dead letters; versions are microseconds of ClickHouse's clock.
_REPLAYS: Final = (
    "hitline.outcomes_raw WHERE part > 0 AND version >= toUnixTimestamp64Micro({after:DateTime64(6, 'UTC')})"
    f" AND version < {FOLDED}"
)
_REPLAYED: Final = f"""
    SELECT sumIf(number, outcome = 'stored'), sumIf(number, outcome = 'dead_lettered'),
           sumMapIf(map(outcome, number), outcome NOT IN ('stored', 'dead_lettered'))
    FROM
    (
        SELECT argMax((minutes, outcomes, counts), version) AS counted FROM {_REPLAYS} GROUP BY day, batch_id, part
    )
    ARRAY JOIN counted.1 AS minute, counted.2 AS outcome, counted.3 AS number
    WHERE minute < {{to:DateTime('UTC')}}"""  # noqa: S608 - constants
_STORED: Final = "stored_at >= {after:DateTime64(6, 'UTC')} AND received_at < {to:DateTime64(3, 'UTC')}"
_ROWS: Final = f"""
    SELECT count() FROM hitline.pageviews_raw FINAL WHERE {_STORED} AND (site_id, toDate(timestamp)) IN
    (SELECT site_id, toDate(timestamp) FROM hitline.pageviews_raw WHERE {_STORED})
    SETTINGS do_not_merge_across_partitions_select_final = 1"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Verified:
    """What was received before `to` had these outcomes at `noted_at`, which is ClickHouse's clock."""

    to: datetime = FIRST
    noted_at: datetime = FIRST
    counted: Counted = ledger.NOTHING


async def latest(clickhouse: ClickHouse) -> Verified:
    """Return the sums that reach the furthest."""
    for to, noted_at, *counts in (await clickhouse.query(_LATEST)).result_rows:
        return Verified(to.astimezone(UTC), noted_at.astimezone(UTC), Counted(*counts))
    return Verified()


async def count(
    clickhouse: ClickHouse, period: Period, now: datetime, *, again: bool = False
) -> tuple[Counted, Verified | None]:
    """Return what became of a period's pageviews, and sums to be noted if that is all right and nothing is waiting.

    A period of all sites from the beginning takes the sums that there are, unless it is to be counted `again`.  `now`:
    what a worker may still hold by then is not in the sums to be noted.
    """
    noted_at = (await clickhouse.query(_NOW)).result_rows[0][0].astimezone(UTC)
    known = await latest(clickhouse)
    everybody = not (period.site or period.client)
    takes = everybody and not again and period.first == FIRST < known.to <= period.last
    before = known.counted + await _since(clickhouse, known) if takes else ledger.NOTHING
    rest = replace(period, first=known.to) if takes else period
    end = min(period.last, ledger.held_from(now))
    if not everybody or end <= rest.first:
        return before + await ledger.count(clickhouse, rest), None
    closed = before + await ledger.count(clickhouse, replace(rest, last=end))
    counted = closed + await ledger.count(clickhouse, replace(rest, first=end)) if end < rest.last else closed
    if period.first == known.to != FIRST:
        closed += known.counted + await _since(clickhouse, known)
    elif period.first != FIRST:
        return counted, None
    return counted, Verified(end, noted_at, closed)


async def note(clickhouse: ClickHouse, verified: Verified) -> bool:
    """Note sums for the next run; returns whether that was done: not while dead letters are being replayed."""
    if (await clickhouse.query(f"SELECT count() FROM {_REPLAYS}", {"after": _before(verified)})).result_rows[0][0]:  # noqa: S608
        return False
    counted = verified.counted
    given: dict[str, Any] = {
        "to": verified.to,
        "noted_at": verified.noted_at,
        "pageviews": counted.pageviews,
        "stored": counted.stored,
        "dead_lettered": counted.dead_lettered,
        "reasons": list(counted.dropped),
        "numbers": list(counted.dropped.values()),
    }
    await clickhouse.command(_NOTE, given)
    return True


def _before(verified: Verified) -> datetime:
    """Return from when on no replay may have been counted: until then a worker may count it again."""
    return verified.noted_at - ledger.HELD


async def _since(clickhouse: ClickHouse, verified: Verified) -> Counted:
    """Return what replays have changed since the sums were noted."""
    given = {"to": verified.to, "after": verified.noted_at}
    ((pageviews,),) = (await clickhouse.query(_ROWS, given)).result_rows
    ((stored, dead_lettered, dropped),) = (await clickhouse.query(_REPLAYED, given)).result_rows
    return Counted(pageviews, stored, dead_lettered, dropped)
