"""Bringing the sums up to date for some sessions, so that a process may die at any moment.

What the sessions were counted with and are to be counted with is written down first, in `rollup_changes`.  Once that is
complete, everything that follows depends on nothing else, and each step can be done any number of times: sums are
written whole under the run's number, and one that has this number is left alone.  So the next process finishes a run
that was cut off, or throws it away where its changes are not complete; nothing is counted twice, or half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from deploy.bounds import WRITES
from deploy.rollups import changes, differences, several, shares, site_days, visitors
from deploy.rollups.lease import Lease
from deploy.rollups.shares import Share
from deploy.rollups.touched import Scope
from shared.clickhouse import ClickHouse

_TOUCHED: Final = "SELECT count() FROM hitline_control.rollup_touched WHERE run = {run:UInt64}"
#: For more sessions than this, asking each granule's bloom filter costs more than it spares.
_MOST_FOR_INDEX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Settled:
    """What has changed: sessions on a day each, and days of sites.  `drifted` of the sessions had no reason to."""

    sessions: int = 0
    site_days: int = 0
    drifted: int = 0

    def __add__(self, other: Settled) -> Settled:
        """Add up shares: a day of a site counts once for each share that changes it."""
        return Settled(self.sessions + other.sessions, self.site_days + other.site_days, self.drifted + other.drifted)


async def rows_by_zone(clickhouse: ClickHouse, scope: Scope) -> dict[str, int]:
    """Return the time zones of the sites in `scope`, each with about the number of rows to read."""
    return dict(map(tuple, (await clickhouse.query(scope.zones(), scope.parameters)).result_rows))


async def settle(
    clickhouse: ClickHouse,
    lease: Lease,
    scope: Scope,
    zones: Mapping[str, int] | None = None,
    counted_to: datetime | None = None,
) -> Settled:
    """Compute the sessions of `scope` again and correct the sums by the differences, in shares.

    `zones`: what `rows_by_zone` says, or a part of it.  `counted_to`: a change of a session that got no pageview since
    then counts as drifted.
    """
    total = Settled()
    if zones is None:
        zones = await rows_by_zone(clickhouse, scope)
    for zone, rows in zones.items():
        for share in await _shares(clickhouse, scope, zone, rows):
            given = {**scope.parameters, **share.parameters()}
            total += await settle_listed(clickhouse, lease, zone, scope.touch(zone), given, counted_to)
    return total


async def settle_listed(
    clickhouse: ClickHouse, lease: Lease, zone: str, touch: str, given: Mapping[str, Any], counted_to: datetime | None
) -> Settled:
    """Do so for the sessions that a statement touches, of one time zone: no more than one share has.

    `given`: the statement's parameters besides `run` and `zone`.
    """
    run = lease.next_number()
    await clickhouse.command(touch, {**given, "run": run, "zone": zone}, WRITES)
    return await _settle_touched(clickhouse, lease, run, zone, counted_to)


async def _shares(clickhouse: ClickHouse, scope: Scope, zone: str, rows: int) -> list[Share]:
    if rows <= shares.ROWS:
        return [shares.EVERYTHING]
    planned = await clickhouse.query(scope.shares(zone), {**scope.parameters, "zone": zone}, WRITES)
    return list(shares.shares((last, number) for last, number in planned.result_rows))


async def finish_begun(clickhouse: ClickHouse) -> None:
    """Finish the run of a process that died, or throw away what it had begun."""
    begun = await clickhouse.query(
        "SELECT run, countIf(sign = 0) > 0 FROM hitline_control.rollup_changes GROUP BY run ORDER BY run"
    )
    for run, complete in begun.result_rows:
        if complete:
            await _apply(clickhouse, run)
        await _drop(clickhouse, run)
    left = await clickhouse.query("SELECT DISTINCT run FROM hitline_control.rollup_touched")
    for (run,) in left.result_rows:
        await _drop(clickhouse, run)


async def _settle_touched(
    clickhouse: ClickHouse, lease: Lease, run: int, zone: str, counted_to: datetime | None
) -> Settled:
    """Compute the sessions that are in `rollup_touched` for this run, all of one time zone."""
    settled = Settled()
    if await _number(clickhouse, _TOUCHED, run):
        await clickhouse.command(several.TOUCH_NEIGHBOURS, {"run": run, "zone": zone}, WRITES)
        await _write_changes(clickhouse, run, zone)
        counts = await clickhouse.query(changes.COUNT, {"run": run})
        settled = Settled(*counts.result_rows[0])
        if settled.sessions and counted_to:
            drifted = await clickhouse.query(changes.DRIFTED, {"run": run, "counted_to": counted_to})
            settled = Settled(settled.sessions, settled.site_days, drifted.result_rows[0][0])
        if settled.sessions or await _number(clickhouse, several.COUNT, run):
            lease.check()
            await clickhouse.command(changes.COMPLETE, {"run": run}, WRITES)
            await _apply(clickhouse, run)
    await _drop(clickhouse, run)
    return settled


async def _write_changes(clickhouse: ClickHouse, run: int, zone: str) -> None:
    """Write down what the touched sessions are counted with now, and what they were counted with."""
    touched = await _number(clickhouse, _TOUCHED, run)
    settings = {**WRITES, "use_skip_indexes": int(touched <= _MOST_FOR_INDEX)}
    statements = await _statements(clickhouse, run, zone, settings)
    if statements.known:
        await clickhouse.command(statements.known, {"run": run}, WRITES)
    given = {"run": run, "zone": zone}
    await clickhouse.command(statements.now, given, settings)
    if await _number(clickhouse, changes.LARGE, run):
        await clickhouse.command(statements.now_large, given, settings)
    if not statements.left or await _number(clickhouse, statements.left, run):
        await clickhouse.command(statements.before, {"run": run}, WRITES)


async def _statements(clickhouse: ClickHouse, run: int, zone: str, settings: Mapping[str, Any]) -> changes.Statements:
    """Return the statements for what is touched, after touching all of the visitors whose sessions are derived."""
    if not await _number(clickhouse, visitors.ANY, run):
        return changes.PLAIN
    before = await _number(clickhouse, _TOUCHED, run)
    await clickhouse.command(visitors.EXPAND, {"run": run, "zone": zone}, settings)
    return changes.DERIVED if await _number(clickhouse, _TOUCHED, run) > before else changes.PLAIN


async def _apply(clickhouse: ClickHouse, run: int) -> None:
    sums = differences.TO_DAILY, differences.TO_HOURLY, site_days.OF_CHANGES
    for statement in (*sums, several.KEEP, differences.TO_SESSIONS):
        await clickhouse.command(statement, {"run": run}, WRITES)


async def _drop(clickhouse: ClickHouse, run: int) -> None:
    for table in ("rollup_changes", "rollup_touched"):
        await clickhouse.command(f"ALTER TABLE hitline_control.{table} DROP PARTITION {run:d}")


async def _number(clickhouse: ClickHouse, sql: str, run: int) -> Any:
    return (await clickhouse.query(sql, {"run": run})).result_rows[0][0]
