"""What `hitline report` costs over a month of millions: from rollups, with some that they lack, and from exact rows.

`python -m tests.bench.report [--pageviews N] [--exact]`; `make bench ONLY=report` runs it at full size.  CPU is
ClickHouse's.  The rollups take most of the time: about 15 CPU seconds a million pageviews.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final
from unittest.mock import AsyncMock, patch
from uuid import UUID

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.report import collect
from deploy.report.figures import Period, Report
from shared.clickhouse import ClickHouse
from tests import parts
from tests.bench.scale import GIB, cpu_s, peak_bytes, rolled_up, run
from tests.bench.table import Table

PAGEVIEWS: Final = 24_000_000
#: Of the period before the month, of which totals and series are asked.
SHARE_BEFORE: Final = 4
NEW: Final = 3_000
#: Sessions last up to an hour, so that some go past midnight.
SITE: Final = UUID(int=0xB16A)
ZONE: Final = "Europe/Berlin"
PERIOD: Final = Period(date(2026, 3, 1), date(2026, 3, 31), ZONE)
_TIMES: Final = 3
_AT_ONCE: Final = 1_000_000
_INSERT: Final = """
INSERT INTO hitline.pageviews_raw (site_id, hostname, timestamp, received_at, session_id, page_id, path, referrer_host,
    source, channel, utm_source, country, region, city, browser, os, device, is_bot, bot_kind, language, provider,
    batch_id, stored_at)
WITH intDiv(number, 3) AS s, cityHash64(s, {seed}) AS h, h % 20 = 0 AS bot, h % 3 = 0 AS found,
     toDateTime64('{first} 00:00:00', 3, 'UTC')
     + toIntervalMillisecond(h % ({days} * 86400000) + (number % 3) * (h % 1800000)) AS t
SELECT '{site}', 'a.example', t, t, reinterpretAsUUID(sipHash128(s, {seed})),
    reinterpretAsUUID(sipHash128(number, {seed})),
    concat('/p/', toString(toUInt32(pow(10000, (cityHash64(number, 1) % 1000000) / 1000000)))),
    if(found, 'google.com', ''), if(found, 'Google', ''), if(found, 'search', 'direct'), if(h % 7 = 0, 'news', ''),
    ['DE', 'IN', 'FR', 'US'][h % 4 + 1], 'Region', concat('City ', toString(h % 500)),
    ['Chrome', 'Firefox', 'Safari'][h % 3 + 1], 'Windows', ['desktop', 'mobile'][h % 2 + 1], bot,
    if(bot, 'search', ''), 'en', concat('Net ', toString(h % 100)), generateUUIDv4(), {stored_at}
FROM numbers({start}, {count})"""


def insert(process: ClickHouseProcess, first: str, days: int, count: int, seed: int, stored_at: str) -> None:
    """Insert sessions of three pageviews that begin within these days."""
    given = {"first": first, "days": days, "seed": seed, "site": SITE, "stored_at": stored_at}
    for start in range(0, count, _AT_ONCE):
        run(process, _INSERT.format(**given, start=start, count=min(_AT_ONCE, count - start)))


def register(process: ClickHouseProcess) -> None:
    """Register the site in its time zone."""
    run(
        process,
        "INSERT INTO hitline_control.sites (site_id, name, hostnames, timezone, created_at)"
        f" VALUES ('{SITE}', 'a.example', ['a.example'], '{ZONE}', now64(6))",
    )


def report(process: ClickHouseProcess, *, exact: bool = False) -> Report:
    """Collect the month's report; `exact`: without rollups."""

    async def ask() -> Report:
        client = ClickHouse(process.url, "hitline bench", read_s=3600)
        try:
            found = await collect.collect(client, "a.example", SITE, PERIOD, with_bots=False, top=10)
            return replace(found, made_at=datetime(2026, 1, 1, tzinfo=UTC))
        finally:
            await client.close()

    if not exact:
        return asyncio.run(ask())
    with patch.object(collect, "_from_rollups", AsyncMock(return_value=None)):
        return asyncio.run(ask())


def timed(process: ClickHouseProcess, *, exact: bool = False) -> tuple[Report, float, float]:
    """Return the report, and the seconds and CPU seconds of the quickest of some."""
    best: tuple[Report, float, float] | None = None
    for _ in range(1 if exact else _TIMES):
        before, began = cpu_s(process.pid), time.perf_counter()
        found = report(process, exact=exact)
        cost = found, time.perf_counter() - began, cpu_s(process.pid) - before
        best = cost if best is None or cost[1] < best[1] else best
    assert best
    return best


def main(pageviews: int, table: Table, *, exact: bool = False) -> None:
    """Print what a month of so many pageviews costs; `exact`: compare with exact rows, which takes minutes."""
    with tempfile.TemporaryDirectory() as directory, ClickHouseProcess(Path(directory)) as process:
        parts.run_apart(lambda: parts.apply_schema(process.url))
        register(process)
        # Spread, so that the rollups' run goes on in windows.
        long_ago = "toDateTime64('2026-04-20 00:00:00', 3, 'UTC') + toIntervalSecond(intDiv(number, 500))"
        insert(process, "2026-03-01", 31, pageviews, 1, long_ago)
        insert(process, "2026-01-29", 31, pageviews // SHARE_BEFORE, 2, long_ago)
        rolled_up(process)
        while int(run(process, "SELECT count() FROM system.merges")):
            time.sleep(1)
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")
        found, seconds, cpu = timed(process)
        table.ratio(f"a report of {pageviews:,} pageviews, seconds", seconds, 2, at_most=True)
        table.note("CPU s", f"{cpu:.2f}")
        insert(process, "2026-03-31", 1, NEW, 3, "now64(3)")
        newer, seconds, cpu = timed(process)
        assert newer.now.totals.pageviews > found.now.totals.pageviews
        table.ratio(f"the same with {NEW:,} that rollups lack, seconds", seconds, 2, at_most=True)
        table.note("CPU s", f"{cpu:.2f}")
        table.note("ClickHouse's peak of memory, GiB", f"{peak_bytes(process.pid) / GIB:.2f}")
        if exact:
            rows, seconds, cpu = timed(process, exact=True)
            table.note("from exact rows, seconds, CPU s", f"{seconds:.1f}, {cpu:.1f}")
            assert rows == newer, "the same numbers"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pageviews", type=int, default=PAGEVIEWS)
    parser.add_argument("--exact", action="store_true", help="compare with exact rows")
    asked = parser.parse_args()
    shown = Table()
    shown.machine()
    main(asked.pageviews, shown, exact=asked.exact)
