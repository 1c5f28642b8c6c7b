"""Asking for all of a report: from rollups where they are complete and from exact rows for the rest.

Its numbers are those of the exact view `hitline.pageviews` at this moment, whichever it takes.  A session belongs to a
period with the pageviews that it has in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from deploy.report import exact_rows, session_keys, standing, uncommon
from deploy.report.answers import ALL, OF_BEFORE, Row, counted
from deploy.report.corrections import REPEATS
from deploy.report.figures import Period, Report
from deploy.report.standing import Standing
from deploy.report.statement import Statements
from shared.clickhouse import ClickHouse
from shared.clickhouse_errors import failure_of

#: Where a run of rollups got in between, or is just writing.
_ATTEMPTS: Final = 4
_WAIT_S: Final = 0.5
#: Sessions that are not simply in the sums; where there are more, exact rows are quicker.
_MOST_UNCOMMON: Final = 2_000_000


async def collect(
    clickhouse: ClickHouse, site: str, site_id: UUID, period: Period, *, with_bots: bool, top: int
) -> Report:
    """Ask ClickHouse for everything; `with_bots`: bots are counted like people; `top`: the length of rankings."""
    asked = _Asked(clickhouse, site_id, with_bots)
    found = None
    try:
        found = await _from_rollups(asked, period, top)
    except Exception as error:
        failure = failure_of(error)
        if failure is None or not failure.denied:  # a user who may not know how rollups stand reads exact rows
            raise
    if found is None:
        found = await asked.from_rows(period, ALL, top), await asked.from_rows(period.before(), OF_BEFORE, top)
    now, before = found
    return Report(
        site,
        period,
        with_bots,
        datetime.now(UTC),
        counted(period, now),
        counted(period.before(), before),
    )


async def _from_rollups(asked: _Asked, period: Period, top: int) -> tuple[list[Row], list[Row]] | None:
    """Return the rows of the period and of the one before; None where rollups can't be used."""
    for attempt in range(_ATTEMPTS):
        if attempt:
            await asyncio.sleep(_WAIT_S)
        stands = await asked.look(period)
        if stands is None:
            return None
        if stands.is_changing:
            continue
        now, before = await asyncio.gather(
            asked.from_rollups(period, ALL, top, stands), asked.from_rollups(period.before(), OF_BEFORE, top, stands)
        )
        if now is None or before is None:
            return None
        if await asked.look(period) == stands:
            return now, before
    return None


class _Asked:
    """Asks about one site."""

    def __init__(self, clickhouse: ClickHouse, site_id: UUID, with_bots: bool) -> None:
        self._clickhouse = clickhouse
        self._site_id = site_id
        self._with_bots = with_bots

    async def look(self, period: Period) -> Standing | None:
        return await standing.look(self._clickhouse, self._site_id, period)

    async def from_rows(self, period: Period, kinds: Collection[str], top: int) -> list[Row]:
        """Count exact rows."""
        found = await exact_rows.count(
            self._clickhouse, [self._site_id], period, kinds, top, with_bots=self._with_bots, derived=True
        )
        return found.get(self._site_id, [])

    async def from_rollups(
        self, period: Period, kinds: Collection[str], top: int, stands: Standing
    ) -> list[Row] | None:
        """Count with rollups; None where so many sessions are out of the ordinary that exact rows are quicker."""
        given = self._parameters(period)
        found = await uncommon.find(self._clickhouse, period, given, stands.counted_to, _MOST_UNCOMMON)
        if found is None:
            return None
        rows = await self._with_rollups(period, kinds, top, found, once=False)
        if _number(rows, REPEATS):
            rows = await self._with_rollups(period, kinds, top, found, once=True)
        return rows

    async def _with_rollups(
        self, period: Period, kinds: Collection[str], top: int, found: uncommon.Uncommon, *, once: bool
    ) -> list[Row]:
        statement = Statements(period, with_bots=self._with_bots).from_rollups(kinds, top, found, once=once)
        return await self._query(statement, period, found.tables)

    async def _query(self, sql: str, period: Period, tables: dict[str, Iterable[int]] | None = None) -> list[Row]:
        return await session_keys.query(self._clickhouse, sql, self._parameters(period), tables)

    def _parameters(self, period: Period) -> dict[str, Any]:
        return {
            "site": str(self._site_id),
            "start": period.start,
            "end": period.end,
            "first": period.first,
            "last": period.last,
        }


def _number(rows: Iterable[Row], kind: str) -> int:
    """Return the pageviews of the only row of a kind, if there is one."""
    return sum(row[2] for row in rows if row[0] == kind)
