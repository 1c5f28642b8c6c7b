"""What rollups and erasing cost where there is much: a day of millions, and a hundred thousand sites.

`python -m tests.bench.scale [--pageviews N] [--sites N]`; `make bench ONLY=scale` runs it at full size.  CPU and memory
are ClickHouse's (the whole process, with its caches), rows those that its statements say they read.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups.run import Summary, roll_up
from shared.clickhouse import ClickHouse
from tests import parts
from tests.bench.table import Table

Result = TypeVar("Result")

PAGEVIEWS: Final = 20_000_000
SITES: Final = 100_000
NEW: Final = 100_000
MOVED_SHARE: Final = 10
LARGE, EMPTY = "00000000-0000-0000-0000-00000000b16a", "00000000-0000-0000-0000-000000000000"
#: SQL for the id of the site with a number.
SITE: Final = "reinterpretAsUUID(sipHash128(number, 9))"
DAY: Final = "2026-03-10"
END: Final = datetime(2026, 3, 12, tzinfo=UTC)
ZONES: Final = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "America/St_Johns")
#: As far back as each run looks.
MARGIN_S: Final = 61.0
_AT_ONCE: Final = 1_000_000
GIB: Final = 2**30

#: Sessions of three pageviews; their ids and times are hashes of their number.
_INSERT: Final = """
INSERT INTO hitline.pageviews_raw (site_id, hostname, timestamp, received_at, session_id, page_id, path, referrer_host,
    utm_source, country, region, city, browser, os, device, language, provider, batch_id, stored_at)
WITH intDiv(number, 3) AS s, cityHash64(s) AS h,
     toDateTime64('{day} 00:00:00', 3, 'UTC')
     + toIntervalMillisecond({from_ms} + h % {within_ms} + (number % 3) * 60000) AS t
SELECT {site}, 'a.example', t, t, reinterpretAsUUID(sipHash128(s)), reinterpretAsUUID(sipHash128(number, {seed})),
    concat('/p/', toString(toUInt32(pow(10000, (cityHash64(number, 1) % 1000) / 1000)))),
    if(h % 3 = 0, 'google.com', ''), if(h % 7 = 0, 'news', ''), ['DE', 'IN', 'FR', 'US'][h % 4 + 1], 'Region',
    concat('City ', toString(h % 500)),
    ['Chrome', 'Firefox', 'Safari'][h % 3 + 1], 'Windows', ['desktop', 'mobile'][h % 2 + 1], 'en',
    concat('Net ', toString(h % 100)), generateUUIDv4(), {stored_at}
FROM numbers({first}, {count})"""


@dataclass
class Cost(Generic[Result]):
    """What something cost, and what it returned: `summary`."""

    summary: Result
    cpu_s: float
    seconds: float
    peak_bytes: int
    rows_read: int


class Counting(ClickHouse):
    """Adds up the rows that statements read."""

    rows_read = 0

    async def query(self, *arguments: Any, **named: Any) -> Any:
        result = await super().query(*arguments, **named)
        self.rows_read += int(result.summary.get("read_rows", 0))
        return result

    async def command(self, *arguments: Any, **named: Any) -> Any:
        result = await super().command(*arguments, **named)
        self.rows_read += int(getattr(result, "summary", {}).get("read_rows", 0))
        return result


def rolled_up(process: ClickHouseProcess) -> Cost[Summary]:
    """Run the rollups once."""
    return measured(process, roll_up)


def measured(process: ClickHouseProcess, work: Callable[[ClickHouse], Awaitable[Result]]) -> Cost[Result]:
    """Do some work with a client, and return what it cost ClickHouse."""

    async def run() -> tuple[Result, int]:
        client = Counting(process.url, "hitline bench", read_s=7200)
        try:
            return await work(client), client.rows_read
        finally:
            await client.close()

    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak of memory begins here
    before, began = cpu_s(process.pid), time.perf_counter()
    summary, rows = asyncio.run(run())
    return Cost(summary, cpu_s(process.pid) - before, time.perf_counter() - began, peak_bytes(process.pid), rows)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def insert(
    process: ClickHouseProcess,
    site: str,
    first: int,
    count: int,
    *,
    seed: int = 0,
    stored_at: str = "now64(3)",
    within_ms: int = 80_000_000,
) -> None:
    """Insert pageviews by their numbers; the sessions begin in the day's first hours, or last `within_ms` of these."""
    for start in range(first, first + count, _AT_ONCE):
        some = min(_AT_ONCE, first + count - start)
        given = {"day": DAY, "site": site, "seed": seed, "stored_at": stored_at, "first": start, "count": some}
        run(process, _INSERT.format(**given, from_ms=80_000_000 - within_ms, within_ms=within_ms))


def settled(process: ClickHouseProcess, seconds: float) -> None:
    """Wait until the next run looks back at nothing that was inserted, and no merge (its CPU would count) is left."""
    time.sleep(seconds)
    rolled_up(process)
    while int(run(process, "SELECT count() FROM system.merges")):
        time.sleep(1)


def run(process: ClickHouseProcess, sql: str) -> str:
    with urllib.request.urlopen(parts.statement(process, sql), timeout=3600) as answer:
        return str(answer.read().decode())


def registration(sites: int, zone: str) -> str:
    """Return the statement that registers sites; the expression `zone` is the number of one of `ZONES`."""
    zones = ", ".join(f"'{name}'" for name in ZONES)
    return (
        "INSERT INTO hitline_control.sites (site_id, name, hostnames, timezone, created_at)"
        f" SELECT {SITE}, concat('s', toString(number), '.example') AS name, [name], [{zones}][{zone}], now64(6)"
        f" FROM numbers({sites})"
    )


def a_large_day(process: ClickHouseProcess, table: Table, pageviews: int, new: int, margin_s: float) -> None:
    """New pageviews in a day of millions, and the same in an empty one."""
    large, empty = f"toUUID('{LARGE}')", f"toUUID('{EMPTY}')"
    stored_at = f"toDateTime64('{DAY} 00:00:00', 3, 'UTC') + toIntervalSecond(intDiv(number * 86400, {pageviews}))"
    insert(process, large, 0, pageviews, stored_at=stored_at)
    first = rolled_up(process)
    table.note(f"first run over a day of {pageviews:,}: CPU s a million", f"{first.cpu_s * 1e6 / pageviews:.1f}")
    table.ratio("first run: ClickHouse's peak of memory, GiB", first.peak_bytes / GIB, 2, at_most=True)
    nothing = rolled_up(process)
    table.ratio("nothing new: rows read", nothing.rows_read, 1000, at_most=True, form="{:,.0f}")
    costs = {}
    for name, site in (("empty", empty), ("large", large)):
        settled(process, margin_s)
        # As they arrive: within an hour, in sessions that are new.
        insert(process, site, 3 * pageviews, new, within_ms=3_600_000)
        costs[name] = rolled_up(process)
        shown = f"{costs[name].cpu_s:.1f} CPU s, {costs[name].seconds:.1f} s"
        table.note(f"{new:,} new pageviews in the {name} day", shown)
    ratio = costs["large"].cpu_s / costs["empty"].cpu_s
    table.ratio(f"{new:,} new pageviews in a day of {pageviews:,}, of an empty one, CPU", ratio, 3, at_most=True)
    settled(process, margin_s)
    insert(process, large, 0, new, seed=1)
    scattered = rolled_up(process)
    table.note("the same, of sessions that are there and scattered over the day", f"{scattered.cpu_s:.1f} CPU s")
    settled(process, margin_s)
    insert(process, large, 30, 1, seed=2)
    one = rolled_up(process)
    assert one.summary.sessions == 1
    table.ratio("one new pageview in the large day, seconds", one.seconds, 5, at_most=True)
    table.note("one new pageview in the large day", f"{one.cpu_s:.2f} CPU s, {one.rows_read:,} rows read")
    peak = max(cost.peak_bytes for cost in (*costs.values(), scattered, one)) / GIB
    table.ratio("runs over what is new: ClickHouse's peak of memory, GiB", peak, 2, at_most=True)


def many_sites(process: ClickHouseProcess, table: Table, sites: int) -> None:
    """A pageview on each of many sites in five time zones, and a change of zone of a tenth."""
    run(process, registration(sites, f"1 + number % {len(ZONES)}"))
    insert(process, SITE, 0, sites, seed=3)
    all_sites = rolled_up(process)
    run(process, registration(sites // MOVED_SHARE, f"1 + (number + 1) % {len(ZONES)}"))
    moved = rolled_up(process)
    for what, cost, number in (
        ("a pageview each", all_sites, sites),
        ("a change of zone", moved, sites // MOVED_SHARE),
    ):
        shown = f"{1000 * cost.seconds / number:.2f}, {1000 * cost.cpu_s / number:.2f}"
        table.note(f"{number:,} sites, {what}: ms a site, CPU ms a site", shown)
        peak = cost.peak_bytes / GIB
        table.ratio(f"{number:,} sites, {what}: ClickHouse's peak of memory, GiB", peak, 2, at_most=True)
    assert all_sites.summary.site_days >= sites


def main(pageviews: int, sites: int, new: int, table: Table, margin_s: float = MARGIN_S) -> None:
    """Measure all of it."""
    from tests.bench import scale_erasing, scale_outcomes  # which use what is here

    scale_outcomes.main(scale_outcomes.ROWS, table)
    with tempfile.TemporaryDirectory() as directory, ClickHouseProcess(Path(directory)) as process:
        parts.run_apart(lambda: parts.apply_schema(process.url))
        a_large_day(process, table, pageviews, new, margin_s)
        scale_erasing.a_large_day(process, table)
        many_sites(process, table, sites)
        scale_erasing.many_sites(process, table, sites)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pageviews", type=int, default=PAGEVIEWS)
    parser.add_argument("--sites", type=int, default=SITES)
    parser.add_argument("--new", type=int, default=NEW)
    asked = parser.parse_args()
    shown = Table()
    shown.machine()
    main(asked.pageviews, asked.sites, asked.new, shown)
