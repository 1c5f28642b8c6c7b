"""What outcomes cost after a year of a message a pageview: folding and reading them, and `hitline reconcile` of a day.

`python -m tests.bench.scale_outcomes [--rows N]`; a part of `make bench ONLY=scale`.  CPU and memory are ClickHouse's.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.outcomes import ledger
from deploy.outcomes.fold import Folded, fold
from deploy.outcomes.ledger import Period
from tests import parts
from tests.bench import scale
from tests.bench.table import Table

ROWS: Final = 26_000_000
DAYS: Final = 400
_AT_ONCE: Final = 1_000_000
_VIEW: Final = "SELECT count(), sum(pageviews), groupBitXor(cityHash64(*)) FROM hitline.outcomes"
_INSERT: Final = """
INSERT INTO hitline.outcomes_raw (batch_id, day, minutes, sites, clients, outcomes, counts, version)
WITH if(number % 5 = 0, {large}, cityHash64(number) % {days}) AS after,
     toDateTime('{first} 00:00:00', 'UTC') + after * 86400 + cityHash64(number, 1) % 86400 AS t
SELECT generateUUIDv4(), toDate(t), [toStartOfMinute(t)], [toUUID(reinterpretAsUUID(sipHash128(number % 20)))],
       [reinterpretAsUUID(sipHash128(number % 3, 7))], [if(number % 19 = 0, 'dnt', 'stored')], [1],
       toUnixTimestamp(t) * 1000000 FROM numbers({start}, {count}) SETTINGS max_partitions_per_insert_block = 0"""


def insert(process: ClickHouseProcess, rows: int, first: date, days: int) -> None:
    """Insert messages of so many days; the one in the middle has a fifth of all, which several statements fold."""
    for start in range(0, rows, _AT_ONCE):
        count = min(_AT_ONCE, rows - start)
        scale.run(process, _INSERT.format(large=days // 2, days=days, first=first, start=start, count=count))


def folded(process: ClickHouseProcess) -> Folded:
    async def run() -> Folded:
        client = scale.Counting(process.url, "hitline bench", read_s=7200)
        try:
            return await fold(client)
        finally:
            await client.close()

    return asyncio.run(run())


def rows_of(process: ClickHouseProcess, period: Period) -> tuple[int, float]:
    """Return the rows that `hitline reconcile` reads of a period, and the seconds that takes."""

    async def run() -> tuple[int, float]:
        client = scale.Counting(process.url, "hitline bench", read_s=7200)
        try:
            await client.client()
            client.rows_read, began = 0, time.perf_counter()
            await ledger.count(client, period)
            return client.rows_read, time.perf_counter() - began
        finally:
            await client.close()

    return asyncio.run(run())


def timed_view(process: ClickHouseProcess) -> tuple[str, float]:
    began = time.perf_counter()
    return scale.run(process, _VIEW), time.perf_counter() - began


def measure(process: ClickHouseProcess, table: Table, rows: int, days: int = DAYS) -> None:
    today = datetime.now(UTC).date()
    insert(process, rows, today - timedelta(days), days)
    before, slow = timed_view(process)
    day = datetime.combine(today - timedelta(days - 9), datetime.min.time(), UTC)
    period = Period(day, day + timedelta(1))
    read, _ = rows_of(process, period)
    table.note("reconcile of a day, not folded: outcome rows read", f"{read:,} of {rows:,}")
    process.restart()  # what the view took, which no command asks for, is given back only by and by
    cpu, began = scale.cpu_s(process.pid), time.perf_counter()
    done = folded(process)
    seconds, cpu = time.perf_counter() - began, scale.cpu_s(process.pid) - cpu
    per_million = 1e6 / max(done.messages, 1)
    figures = f"{seconds * per_million:.1f} s, {cpu * per_million:.1f} CPU s"
    table.note(f"folding {done.messages:,} messages of {done.days} days, a million", figures)
    peak = scale.peak_bytes(process.pid) / scale.GIB
    table.ratio("folding: ClickHouse's peak of memory, GiB", peak, 2, at_most=True)
    after, quick = timed_view(process)
    assert after == before, "folding changed what the view says"
    due = f"day < toDate('{today - timedelta(70)}')"
    left = int(scale.run(process, f"SELECT count() FROM hitline.outcomes_raw WHERE {due}"))
    table.ratio("rows left of a thousand that were folded", 1000 * left / max(done.messages, 1), 50, at_most=True)
    table.note("the view, over everything, before and after", f"{slow:.1f} s, {quick:.1f} s")
    read, took = rows_of(process, period)
    table.ratio("reconcile of a day, folded: rows read", read, 100_000, at_most=True, form="{:,.0f}")
    table.note("reconcile of a day, folded", f"{1000 * took:.0f} ms")
    table.note("folding when nothing is due", f"{_idle_ms(process):.0f} ms")


def _idle_ms(process: ClickHouseProcess) -> float:
    began = time.perf_counter()
    assert folded(process) == Folded()
    return 1000 * (time.perf_counter() - began)


def main(rows: int, table: Table) -> None:
    with tempfile.TemporaryDirectory() as directory, ClickHouseProcess(Path(directory)) as process:
        parts.run_apart(lambda: parts.apply_schema(process.url))
        measure(process, table, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    asked = parser.parse_args()
    shown = Table()
    shown.machine()
    main(asked.rows, shown)
