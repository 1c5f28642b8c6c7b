"""Which sessions of a period are not simply in the sums of rollups, and when their pageviews are.

- *Changed* ones have rows that are newer than the rollups, or are being erased.
- *Crossing* ones go past one midnight of their site's: known by one row a day.  Their pageviews are looked for around
  those midnights, and counted: these must be as many as the rollups say.
- *Wide* ones are on days that are further apart, or have several rows a day; all of these days is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Final

from deploy.report.figures import Period, midnight
from deploy.report.quarters import MS, QUARTERS, WITHIN, between
from deploy.report.session_keys import DERIVED, PLAIN, Keys, query
from deploy.rollups.visitors import NIL
from shared.clickhouse import ClickHouse

#: External tables of keys, the others parts of the first.
UNCOMMON: Final = "uncommon"
CHANGED: Final = "changed"
CROSSING: Final = "crossing"
#: What pageviews are in a period.
IN_PERIOD: Final = (
    "site_id = {site:UUID} AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}"
)
DAYS: Final = "site_id = {site:UUID} AND day BETWEEN {first:Date} AND {last:Date}"

_ANY_DERIVED: Final = (
    f"SELECT count() FROM (SELECT 1 FROM hitline.pageviews_raw WHERE {IN_PERIOD} AND visitor_id != {NIL} LIMIT 1)"  # noqa: S608
)
_NEW: Final = f"{IN_PERIOD} AND stored_at >= {{counted_to:DateTime64(3, 'UTC')}}"
#: Longest time between two pageviews at midnight that is looked for at once, beside the length of the session's days.
_NEAR: Final = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Uncommon:
    """Keys of sessions, and the quarters of an hour (of Unix time) in which their pageviews are.

    `recorded`: days of `changed` in rollups; `pageviews`: how many those of `crossing` have.
    """

    keys: Keys
    changed: Sequence[int]
    crossing: Sequence[int]
    wide: Sequence[int]
    quarters: Sequence[int]
    recorded: Sequence[date]
    pageviews: int

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self.changed) + len(self.crossing) + len(self.wide)

    @property
    def tables(self) -> dict[str, Iterable[int]]:
        """The external tables for a statement."""
        every = [*self.changed, *self.crossing, *self.wide]
        return {UNCOMMON: every, CHANGED: self.changed, CROSSING: self.crossing, QUARTERS: self.quarters}


async def find(
    clickhouse: ClickHouse, period: Period, parameters: Mapping[str, Any], counted_to: datetime, most: int
) -> Uncommon | None:
    """Return the uncommon sessions of a period, whose `parameters` these are; None where there are more than `most`."""
    [[derived]] = await query(clickhouse, _ANY_DERIVED, parameters)
    keys = DERIVED if derived else PLAIN
    given = {**parameters, "counted_to": counted_to, "zone": period.zone}
    [[changed, new_days]] = await query(clickhouse, _changed(keys), given)
    tables = {CHANGED: changed} if changed else {}
    [found] = await query(clickhouse, _others(keys, changed=bool(changed)), given, tables)
    crossing, wide, pageviews, (midnights, lengths), wide_days, recorded = found
    if len(changed) + len(crossing) + len(wide) > most:
        return None
    quarters = {
        *(each for day in {*new_days, *recorded} for each in between(*_day(day, period.zone))),
        *(
            each
            for day, length in zip(midnights, lengths, strict=True)
            for each in _near(midnight(day, period.zone), timedelta(milliseconds=length))
        ),
        *(await _quarters_of(clickhouse, keys, wide, wide_days, period, parameters)),
    }
    return Uncommon(keys, changed, crossing, wide, sorted(quarters), sorted(recorded), pageviews)


async def looked_for(
    clickhouse: ClickHouse, uncommon: Uncommon, period: Period, parameters: Mapping[str, Any]
) -> Uncommon:
    """Return the same with all times at which there are pageviews of crossing sessions, which then count as wide."""
    days = [period.first + timedelta(number) for number in range(period.days)]
    quarters = await _quarters_of(clickhouse, uncommon.keys, uncommon.crossing, days, period, parameters)
    wide = [*uncommon.wide, *uncommon.crossing]
    return replace(uncommon, crossing=(), wide=wide, quarters=sorted({*uncommon.quarters, *quarters}), pageviews=0)


def _changed(keys: Keys) -> str:
    """Return the query for the keys of changed sessions, and for the days of what is new."""
    selects = [
        f"SELECT {keys.of_pageview} AS key, toNullable(toDate(timestamp, {{zone:String}})) AS day"  # noqa: S608
        f" FROM hitline.pageviews_raw WHERE {_NEW}",
        f"SELECT {keys.of_session}, NULL FROM hitline_control.erased_sessions"  # noqa: S608
        " WHERE site_id = {site:UUID} AND day BETWEEN {first:Date} - 1 AND {last:Date} + 1",
    ]
    if keys is DERIVED:  # a repeat without its salt leaves its visitor's session
        selects.append(
            f"SELECT {keys.of_pageview}, NULL FROM hitline.pageviews_raw WHERE {IN_PERIOD} AND visitor_id != {NIL}"  # noqa: S608
            f" AND session_id IN (SELECT session_id FROM hitline.pageviews_raw WHERE {_NEW})"
        )
    return f"SELECT groupUniqArray(key), groupUniqArray(day) FROM ({' UNION ALL '.join(selects)})"  # noqa: S608


def _others(keys: Keys, *, changed: bool) -> str:
    """Return the query for all else that `find` needs; of replaced rows and zeros there may be several a day."""
    is_changed = f"key IN (SELECT key FROM {CHANGED})" if changed else "false"  # noqa: S608
    is_crossing = "f + 1 = l AND number = 2" if keys is PLAIN else "false"
    return f"""
        SELECT groupArrayIf(key, class = 1), groupArrayIf(key, class = 2), sumIf(pageviews, class = 1),
               maxMapIf([l], [length], class = 1), groupUniqArrayArrayIf(days, class = 2),
               groupUniqArrayArrayIf(days, is_changed)
        FROM
        (
            SELECT *, multiIf(is_changed OR f = l, 0, {is_crossing}, 1, 2) AS class,
                   arrayMap(number -> f + number, range(toUInt32(l - f + 1))) AS days
            FROM
            (
                SELECT {keys.of_session} AS key, min(day) AS f, max(day) AS l, count() AS number,
                       sum(toUInt32(days.pageviews)) AS pageviews, max(milliseconds) AS length,
                       {is_changed} AS is_changed
                FROM hitline.session_days_raw AS days WHERE {DAYS}
                GROUP BY key HAVING f != l OR is_changed
            )
        )"""  # noqa: S608 - constants


async def _quarters_of(
    clickhouse: ClickHouse,
    keys: Keys,
    some: Sequence[int],
    days: Iterable[date],
    period: Period,
    parameters: Mapping[str, Any],
) -> Sequence[int]:
    """Return when there are pageviews of these keys, on these days."""
    if not some:
        return ()
    quarters = sorted({each for day in days for each in between(*_day(day, period.zone))})
    sql = (
        f"SELECT groupUniqArray(intDiv(toUnixTimestamp64Milli(timestamp), {MS})) FROM hitline.pageviews_raw"  # noqa: S608
        f" PREWHERE {IN_PERIOD} AND {WITHIN} AND {keys.of_pageview} IN (SELECT key FROM {UNCOMMON})"
    )
    [[found]] = await query(clickhouse, sql, parameters, {UNCOMMON: some, QUARTERS: quarters})
    return list(found)


def _day(day: date, zone: str) -> tuple[datetime, datetime]:
    return midnight(day, zone), midnight(day + timedelta(1), zone)


def _near(moment: datetime, length: timedelta) -> Iterator[int]:
    return between(moment - length - _NEAR, moment + length + _NEAR)
