"""What became of the pageviews of a period, for `hitline reconcile`, and how far that has been verified.

Reads what the period is in, by the day, with the figures that the views `outcomes` and `pageviews` have.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.clickhouse import ClickHouse

#: A period without a first or last minute begins or ends here.
FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2100, 1, 1, tzinfo=UTC)
#: How long stored rows may take to be counted before they are reported as not counted.
_COUNTED_S: Final = 15.0
_POLL_S: Final = 0.5
#: The broker delivers what a worker holds for longer to another one.
HELD: Final = timedelta(minutes=35)

#: A message's day is when it was published, within a day of the minutes in which its pageviews were received; or, where
#: it does not say, 1970.
_OUTCOMES: Final = """
SELECT sumIf(number, outcome = 'stored'), sumIf(number, outcome = 'dead_lettered'),
       sumMapIf(map(outcome, number), outcome NOT IN ('stored', 'dead_lettered'))
FROM
(
    SELECT minutes, sites, clients, outcomes, counts
    FROM hitline.outcomes_raw FINAL
    WHERE day BETWEEN {first_day:Date} AND {last_day:Date} OR day = toDate('1970-01-01')
    SETTINGS do_not_merge_across_partitions_select_final = 1
)
ARRAY JOIN minutes AS minute, sites AS site_id, clients AS client_id, outcomes AS outcome, counts AS number
WHERE NOT startsWith(outcome, 'refused:') AND minute >= {first:DateTime('UTC')} AND minute < {last:DateTime('UTC')}
"""
#: With milliseconds, as the column has them: ClickHouse 26.9 loses rows of the last second by its indices otherwise.
_RECEIVED: Final = "received_at >= {first:DateTime64(3, 'UTC')} AND received_at < {last:DateTime64(3, 'UTC')}"
#: As many as in the view `pageviews`, which also finds out which sessions they are in.
_ROWS: Final = f"SELECT count() FROM hitline.pageviews_raw FINAL WHERE {_RECEIVED}"  # noqa: S608
_BY_PARTITION: Final = " SETTINGS do_not_merge_across_partitions_select_final = 1"
#: A row that replaces another one has its site and its time: what lies on other days of a site need not be merged.
_ON_DAYS: Final = (
    " AND (site_id, toDate(timestamp)) IN"  # noqa: S608
    f" (SELECT site_id, toDate(timestamp) FROM hitline.pageviews_raw WHERE {_RECEIVED})"
)
_WHOSE: Final = """
  AND ({site:String} = '' OR site_id IN (SELECT site_id FROM hitline_control.sites WHERE name = {site:String}))
  AND ({client:String} = '' OR client_id IN
       (SELECT client_id FROM hitline_control.clients WHERE name = {client:String}))
"""
_VERIFIED: Final = "SELECT max(verified_to) FROM hitline_control.reconciled"
_NOTE: Final = (
    "INSERT INTO hitline_control.reconciled (verified_to, first, pageviews, stored)"
    " SELECT {verified_to:DateTime('UTC')}, {first:DateTime('UTC')}, {pageviews:UInt64}, {stored:Int64}"
)


@dataclass(frozen=True, slots=True)
class Period:
    """Minutes of acceptance from `first` until before `last`; "" as a site or a client: all of them."""

    first: datetime = FIRST
    last: datetime = LAST
    site: str = ""
    client: str = ""

    def parameters(self) -> dict[str, Any]:
        """Return what the statements above take."""
        return {
            "first": self.first,
            "last": self.last,
            "site": self.site,
            "client": self.client,
            "first_day": max(FIRST.date(), self.first.date() - timedelta(1)),
            "last_day": self.last.date() + timedelta(1),
        }


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows in `pageviews`, and pageviews by what became of them."""

    pageviews: int
    stored: int
    dead_lettered: int
    dropped: dict[str, int]

    def __add__(self, other: Counted) -> Counted:
        """Add up two periods."""
        dropped = {
            reason: number
            for reason in sorted({*self.dropped, *other.dropped})
            if (number := self.dropped.get(reason, 0) + other.dropped.get(reason, 0))
        }
        return Counted(
            self.pageviews + other.pageviews,
            self.stored + other.stored,
            self.dead_lettered + other.dead_lettered,
            dropped,
        )


NOTHING: Final = Counted(0, 0, 0, {})


async def count(clickhouse: ClickHouse, period: Period) -> Counted:
    """Return rows and outcomes of a period, once workers have counted what they stored.

    Rows are stored before they are counted: they are read first, and a batch between the two is waited for.
    """
    given = period.parameters()
    rows = await clickhouse.query(_ROWS + ("" if period.first == FIRST else _ON_DAYS) + _WHOSE + _BY_PARTITION, given)
    ((pageviews,),) = rows.result_rows
    deadline = time.monotonic() + _COUNTED_S
    while True:
        ((stored, dead_lettered, dropped),) = (await clickhouse.query(_OUTCOMES + _WHOSE, given)).result_rows
        if stored >= pageviews or time.monotonic() > deadline:
            return Counted(pageviews, stored, dead_lettered, dropped)
        await asyncio.sleep(_POLL_S)


def held_from(now: datetime) -> datetime:
    """Return the minute from which on a worker may still hold pageviews, though none is in the queue."""
    return (now - HELD).replace(second=0, microsecond=0)


async def verified_to(clickhouse: ClickHouse) -> datetime:
    """Return the minute that the last verified run ended before; `FIRST` if there was none."""
    found: datetime = (await clickhouse.query(_VERIFIED)).result_rows[0][0]
    return found.astimezone(UTC)


async def note(clickhouse: ClickHouse, period: Period, counted: Counted, now: datetime) -> datetime | None:
    """Note that a period of all sites and clients was verified while nothing was in the queue; returns up to when.

    What a worker may still hold is left to the next run.  None: it follows on nothing that was verified before.
    """
    end = min(period.last, held_from(now))
    before = await verified_to(clickhouse)
    if period.site or period.client or period.first > before or end <= before:
        return None
    given = {"verified_to": end, "first": period.first, "pageviews": counted.pageviews, "stored": counted.stored}
    await clickhouse.command(_NOTE, given)
    return end
