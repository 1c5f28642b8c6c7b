"""Which sessions of a period are not simply in what rollups hold, and when their pageviews are.

- *Changed* ones have rows that are newer than the rollups, or are being erased.
- *Wide* ones are on several days of which rollups do not keep all parts by themselves, since they are not in a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from deploy.report.figures import Period, midnight
from deploy.report.quarters import MS, QUARTERS, WITHIN, between
from deploy.report.session_keys import DERIVED, PLAIN, Keys, query
from deploy.rollups.visitors import NIL
from shared.clickhouse import ClickHouse

#: External tables of keys, the other one a part of the first.
UNCOMMON: Final = "uncommon"
CHANGED: Final = "changed"
#: Another of sessions.
_SOME: Final = "some"
#: What pageviews are in a period.
IN_PERIOD: Final = (
    "site_id = {site:UUID} AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}"
)
DAYS: Final = "site_id = {site:UUID} AND day BETWEEN {first:Date} AND {last:Date}"

_ANY_DERIVED: Final = (
    f"SELECT count() FROM (SELECT 1 FROM hitline.pageviews_raw WHERE {IN_PERIOD} AND visitor_id != {NIL} LIMIT 1)"  # noqa: S608
)
_NEW: Final = f"{IN_PERIOD} AND stored_at >= {{counted_to:DateTime64(3, 'UTC')}}"
_SESSION: Final = "cityHash64(session_id)"
#: Sessions with several rows of which not each part is kept by itself, or of which some are replaced: as little of each
#: as can tell it, since all rows of the period are read.
_UNSURE: Final = f"""
    SELECT groupArray(session) FROM
    (
        SELECT session FROM
        (
            SELECT {_SESSION} AS session, toInt64(fingerprint) AS difference FROM hitline.session_days_raw WHERE {DAYS}
            UNION ALL
            SELECT {_SESSION}, -toInt64(fingerprint) FROM hitline.several_days_raw FINAL WHERE {DAYS}
        )
        GROUP BY session HAVING count() > 1 AND sum(difference) != 0
    )"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Uncommon:
    """Keys of sessions, and the quarters of an hour (of Unix time) in which their pageviews are.

    `recorded`: days of `changed` in rollups.
    """

    keys: Keys
    changed: Sequence[int]
    wide: Sequence[int]
    quarters: Sequence[int]
    recorded: Sequence[date]

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self.changed) + len(self.wide)

    @property
    def tables(self) -> dict[str, Iterable[int]]:
        """The external tables for a statement."""
        if not self.number:
            return {}
        return {UNCOMMON: [*self.changed, *self.wide], CHANGED: self.changed, QUARTERS: self.quarters}


async def find(
    clickhouse: ClickHouse, period: Period, parameters: Mapping[str, Any], counted_to: datetime, most: int
) -> Uncommon | None:
    """Return the uncommon sessions of a period, whose `parameters` these are; None where there are more than `most`."""
    [[derived]] = await query(clickhouse, _ANY_DERIVED, parameters)
    keys = DERIVED if derived else PLAIN
    given = {**parameters, "counted_to": counted_to, "zone": period.zone}
    [[changed, new_days]] = await query(clickhouse, _changed(keys), given)
    [[unsure]] = await query(clickhouse, _UNSURE, given) if period.days > 1 else [[[]]]
    wide, wide_days, recorded = (), (), ()
    if unsure or changed:
        tables = {_SOME: unsure, CHANGED: changed}
        [[wide, wide_days, recorded]] = await query(clickhouse, _recorded(keys), given, tables)
    if len(changed) + len(wide) > most:
        return None
    quarters = {
        *(each for day in {*new_days, *recorded} for each in between(*_day(day, period.zone))),
        *(await _quarters_of(clickhouse, keys, wide, wide_days, period, parameters)),
    }
    return Uncommon(keys, changed, wide, sorted(quarters), sorted(recorded))


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


def _recorded(keys: Keys) -> str:
    """Return the query for the keys of wide sessions, their days, and the days of changed ones in rollups."""
    columns = f"{_SESSION} AS session, {keys.of_session} AS key, day, session_id, is_bot, run, fingerprint"
    where = f"{DAYS} AND ({_SESSION} IN (SELECT key FROM {_SOME}) OR {keys.of_session} IN (SELECT key FROM {CHANGED}))"  # noqa: S608
    return f"""
        SELECT groupUniqArrayIf(key, is_wide), groupUniqArrayArrayIf(days, is_wide),
               groupUniqArrayArrayIf(days, is_changed)
        FROM
        (
            SELECT any(key) AS key, key IN (SELECT key FROM {CHANGED}) AS is_changed, groupUniqArray(day) AS days,
                   NOT is_changed AND length(days) > 1 AND min(as_kept) = 0 AS is_wide
            FROM
            (
                SELECT session, any(key) AS key, day, argMaxIf(fingerprint, run, counted) AS now,
                       now = argMaxIf(fingerprint, run, NOT counted) AND countIf(NOT counted) > 0 AS as_kept
                FROM
                (
                    SELECT {columns}, true AS counted FROM hitline.session_days_raw WHERE {where}
                    UNION ALL
                    SELECT {columns}, false FROM hitline.several_days_raw WHERE {where}
                )
                GROUP BY session, day, session_id, is_bot
            )
            GROUP BY session
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
