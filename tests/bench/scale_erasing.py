"""What erasing costs where there is much: see `scale`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from deploy.erasure import record, request, retention
from deploy.erasure.conditions import Erasure
from deploy.erasure.rewrite import rewrite
from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from tests.bench.scale import GIB, LARGE, SITE, ZONES, Cost, measured, run
from tests.bench.table import Table

#: Retentions that end on days of the month of `scale.DAY`, and as many time zones each.
RETENTIONS: Final = 12
MONTH: Final = datetime(2026, 3, 1, tzinfo=UTC)


def a_large_day(process: ClickHouseProcess, table: Table) -> None:
    """A session, and a path, in a day of millions: unreadable, and then off the disk, both by one rewrite."""
    session = run(process, f"SELECT session_id FROM hitline.pageviews_raw WHERE site_id = '{LARGE}' LIMIT 1").strip()
    path = run(
        process,
        f"SELECT path FROM hitline.pageviews_raw WHERE site_id = '{LARGE}' GROUP BY path ORDER BY count() LIMIT 1",
    ).strip()
    for what, asked in (
        ("a session", Erasure(session_id=UUID(session))),
        ("a path", Erasure(path=path)),
        ("a site's quarter of a day", Erasure(sites=(UUID(LARGE),), time_to=datetime(2026, 3, 10, 6, tzinfo=UTC))),
        ("nine tenths of it", Erasure(sites=(UUID(LARGE),), time_to=datetime(2026, 3, 10, 20, tzinfo=UTC))),
    ):
        said: list[float] = []
        began = time.perf_counter()
        cost = measured(
            process,
            lambda client, asked=asked, said=said: request.erase(  # type: ignore[misc]
                client, asked, say=lambda _: said.append(time.perf_counter())
            ),
        )
        unreadable_s = said[0] - began
        told = f"{cost.summary.pageviews:,} pageviews, {cost.cpu_s:.1f} CPU s, {cost.rows_read:,} rows read"
        table.note(f"erasing {what} in the large day", told)
        table.note(f"erasing {what} in the large day, until rollups are correct, seconds", f"{cost.seconds:.1f}")
        if not asked.sites:
            table.ratio(
                f"erasing {what} in the large day, until it is in no answer, seconds", unreadable_s, 10,
                at_most=True, form="{:.1f}",
            )  # fmt: skip
        _memory(table, f"erasing {what} in the large day", cost)
    rewriting = measured(process, rewritten)
    _memory(table, "rewriting what was erased", rewriting)
    table.note("rewriting what was erased", f"{rewriting.seconds:.1f} s, {rewriting.cpu_s:.1f} CPU s")


def many_sites(process: ClickHouseProcess, table: Table, sites: int) -> None:
    """A retention of 48 groups that end in one month, over many sites; and an erasure over all that is left."""
    zones = ", ".join(f"'{name}'" for name in ZONES[:4])
    first = (datetime.now(UTC) - MONTH).days
    run(
        process,
        "INSERT INTO hitline_control.sites (site_id, name, hostnames, timezone, retention_days, created_at)"
        f" SELECT {SITE}, concat('s', toString(number), '.example') AS name, [name], [{zones}][1 + number % 4],"
        f" {first} - 1 - intDiv(number, 4) % {RETENTIONS} * 2, now64(6) FROM numbers({sites})",
    )
    moved = measured(process, _rolled_up)
    table.note(f"{sites:,} sites, other time zones: ms a site", f"{1000 * moved.seconds / sites:.2f}")
    before = _rewrites(process)
    cost = measured(process, lambda client: retention.apply(client, 0, idle=True))
    _memory(table, f"{sites:,} sites, retention", cost)
    table.note(
        f"{sites:,} sites, retention of {4 * RETENTIONS} groups: ms a site",
        f"{1000 * cost.seconds / sites:.2f}, of {sum(each.pageviews for each in cost.summary):,} pageviews",
    )
    cost_of_rewrite = measured(process, rewritten)
    _memory(table, "rewriting what has expired", cost_of_rewrite)
    table.note("rewriting what has expired", f"{cost_of_rewrite.seconds:.1f} s, {cost_of_rewrite.cpu_s:.1f} CPU s")
    table.ratio(
        f"retention of {4 * RETENTIONS} groups in one month: rewrites of it", _rewrites(process) - before, 1,
        at_most=True, form="{:.0f}",
    )  # fmt: skip
    everything = Erasure(time_to=datetime(2100, 1, 1, tzinfo=UTC))
    began = time.perf_counter()
    erased = measured(process, lambda client: request.erase(client, everything))
    told = f"{time.perf_counter() - began:.1f} s, {erased.cpu_s:.1f} CPU s, {erased.summary.pageviews:,} pageviews"
    table.note("erasing all of it", told)
    _memory(table, "erasing all of it", erased)


async def rewritten(client: ClickHouse) -> list[record.Entry]:
    """Take off the disk what was erased."""
    return [each async for each in rewrite(client) if isinstance(each, record.Entry)]


async def _rolled_up(client: ClickHouse) -> None:
    from deploy.rollups.run import roll_up

    await roll_up(client)


def _rewrites(process: ClickHouseProcess) -> int:
    """Return how often the pageviews' month has been rewritten."""
    return int(
        run(
            process,
            "SELECT count() FROM system.mutations WHERE table = 'pageviews_raw'"
            " AND command LIKE '%APPLY DELETED MASK%202603%'",
        )
    )


def _memory(table: Table, what: str, cost: Cost[Any]) -> None:
    table.ratio(f"{what}: ClickHouse's peak of memory, GiB", cost.peak_bytes / GIB, 2, at_most=True)
