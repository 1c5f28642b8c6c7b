"""Counting a period of several sites in exact rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from deploy.report.answers import Row
from deploy.report.figures import Period
from deploy.report.session_keys import SETTINGS
from deploy.report.statement import OF_SESSIONS, SITES, Statements
from shared.clickhouse import ClickHouse
from shared.clickhouse_client import table_of_lines


async def count(
    clickhouse: ClickHouse,
    sites: Iterable[UUID],
    period: Period,
    kinds: Collection[str],
    top: int,
    *,
    with_bots: bool,
    derived: bool,
) -> Mapping[UUID, list[Row]]:
    """Return the answers by site: sessions at once, each dimension by itself, so that none needs much memory.

    `derived`: sessions are derived where pageviews have none of their own, for which the view reads all of the sites'
    history; without it such pageviews are left out.
    """
    statements = Statements(period, with_bots=with_bots)
    given = {"start": period.start, "end": period.end}
    table = table_of_lines(SITES, "site_id UUID", "".join(f"{site}\n" for site in sites).encode())
    of_sessions = [kind for kind in kinds if kind in OF_SESSIONS]
    found: defaultdict[UUID, list[Row]] = defaultdict(list)
    for some in (of_sessions, *([kind] for kind in kinds if kind not in OF_SESSIONS)):
        answer = await clickhouse.query(statements.from_rows(some, top, derived=derived), given, SETTINGS, table)
        for site, *row in answer.result_rows:
            found[site].append(row)
    return found
