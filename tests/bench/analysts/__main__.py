"""What analysts' questions cost: the queries of docs/queries.md on a generated year of pageviews.

`python -m tests.bench.analysts [--pageviews N] [--only PART] [--path DIRECTORY]` prints what exactness costs (the view
`pageviews` against the bare table, fresh and merged), bytes a row and each query before and after tuning, the time of
the rollups, and each query on pageviews and on rollups.  Times are the best of three, in milliseconds, over HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups.run import Summary, roll_up
from shared.clickhouse import ClickHouse
from tests import documents, parts
from tests.bench.analysts import generate, untuned

ROUNDS = 3
#: One in the middle by size: 0.5 % of the pageviews, the largest has a fifth.
MIDDLE_SITE = 50
PERIODS = (("a month", "2025-10-01", "2025-10-31"), ("the year", "2025-01-01", "2025-12-31"))


class Bench:
    """One engine and the largest site."""

    def __init__(self, process: ClickHouseProcess) -> None:
        self.process = process
        self.parameters: dict[str, str] = {}

    def __call__(self, sql: str) -> str:
        # Without what a repetition of the very same query is spared by.
        request = parts.statement(self.process, sql, **self.parameters, use_query_condition_cache=0)
        try:
            with urllib.request.urlopen(request, timeout=3600) as answer:
                return answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{error.read().decode()}\n{sql}") from None

    def ms(self, sql: str) -> tuple[float, str]:
        """Return the best time and the answer."""
        times, answer = [], ""
        for _ in range(ROUNDS):
            began = time.perf_counter()
            answer = self(sql)
            times.append((time.perf_counter() - began) * 1000)
        return min(times), answer

    def choose(self, first: str, last: str, number: int = 0) -> None:
        """Fill in the queries' parameters: a site, without a number the largest, and a period."""
        wanted = generate.site_id(str(number))
        found = self(f"SELECT site_id, timezone FROM hitline_control.sites WHERE site_id = {wanted}")
        site, zone = found.split("\t")
        given = {"site": site, "zone": zone, "from": first, "to": last}
        self.parameters = {f"param_{name}": value for name, value in given.items()}


def fill(bench: Bench, pageviews: int) -> None:
    """Generate, with one pageview in a hundred stored twice, as retries leave them."""
    parts.run_apart(lambda: parts.apply_schema(bench.process.url))
    bench(generate.registry())
    # Every insert stays a part, as in the worst minutes of a live table.
    bench("SYSTEM STOP MERGES hitline.pageviews_raw")
    began = time.perf_counter()
    for statement in generate.inserts(pageviews):
        bench(statement)
    seconds = time.perf_counter() - began
    rows = int(bench("SELECT count() FROM hitline.pageviews_raw"))
    bench(
        f"INSERT INTO hitline.pageviews_raw ({generate.COLUMNS}) SELECT {generate.COLUMNS} FROM hitline.pageviews_raw"
        " WHERE cityHash64(page_id) % 100 = 0 SETTINGS max_partitions_per_insert_block = 0"
    )
    bench(generate.OUTCOMES)
    print(f"{rows:,} pageviews on {generate.SITES} sites generated in {seconds:.0f} s, then 1 % of them once more")


def bytes_a_row(bench: Bench, table: str, database: str = "hitline") -> float:
    """Return the size on disk of a table, by the number of pageviews."""
    size = bench(
        f"SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = '{database}' AND table = '{table}'"
    )
    return int(size) / int(bench("SELECT count() FROM hitline.pageviews"))


def exactness(bench: Bench, when: str) -> None:
    """Print what the view costs against the bare table, over the queries that ask it."""
    for name, first, last in PERIODS:
        bench.choose(first, last)
        asked = [query.sql for query in documents.queries() if "hitline.pageviews\n" in query.sql]
        exact = sum(bench.ms(sql)[0] for sql in asked)
        bare = sum(bench.ms(sql.replace("hitline.pageviews\n", "hitline.pageviews_raw\n"))[0] for sql in asked)
        count = bench("SELECT count() FROM system.parts WHERE active AND table = 'pageviews_raw'")
        print(
            f"  {when} ({count} parts), {name}: {len(asked)} queries exact {exact:,.0f} ms,"
            f" bare table {bare:,.0f} ms, ratio {exact / bare:.2f}"
        )


def tuning(bench: Bench) -> None:
    """Print bytes a row and each query's time on the untuned schema and on the tuned one, both merged."""
    untuned.fill(bench)
    before, after = bytes_a_row(bench, "pageviews_raw", "untuned"), bytes_a_row(bench, "pageviews_raw")
    print(f"bytes a row: before tuning {before:.1f}, after {after:.1f}")
    rows: list[list[Any]] = []
    for query in documents.queries():
        row: list[Any] = [f"{query.number:2}. {query.title}"]
        for (_, first, last), site in ((PERIODS[0], 0), (PERIODS[1], 0), (PERIODS[1], MIDDLE_SITE)):
            bench.choose(first, last, site)
            earlier, earlier_answer = bench.ms(untuned.instead(query.sql))
            now, answer = bench.ms(query.sql)
            if answer != earlier_answer:
                raise SystemExit(f"query {query.number}: the untuned schema answers something else")
            row += [earlier, now]
        rows.append(row)
    rows.append(["all", *(sum(times) for times in list(zip(*rows, strict=True))[1:])])
    columns = ("month before", "after", "year before", "after", "middle site", "after")
    show("ms, largest site a month, a year; a middle one", columns, rows)
    untuned.drop(bench)


def rollups(bench: Bench) -> None:
    """Compute all rollups, then those of one late pageview, and print the times."""

    async def run() -> Summary:
        client = ClickHouse(bench.process.url, "hitline bench", read_s=3600)
        try:
            return await roll_up(client)
        finally:
            await client.close()

    for what in ("all", "nothing"):
        began = time.perf_counter()
        summary = asyncio.run(run())
        seconds = time.perf_counter() - began
        print(f"rollups, {what} changed: {summary.sessions:,} sessions in {seconds:.1f} s")
    for table in ("session_days_raw", "daily_counts_raw", "hourly_counts_raw"):
        bench(f"OPTIMIZE TABLE hitline.{table} FINAL")
        print(f"  {table}: {bytes_a_row(bench, table):.1f} bytes a pageview")


def queries(bench: Bench) -> None:
    """Print the table of queries."""
    rows: list[list[Any]] = []
    for query in documents.queries():
        row: list[Any] = [f"{query.number:2}. {query.title}"]
        for _, first, last in PERIODS:
            bench.choose(first, last)
            exact, answer = bench.ms(query.sql)
            rolled, rolled_answer = bench.ms(query.rollup) if query.rollup else (None, answer)
            if query.equal and rolled_answer != answer:
                raise SystemExit(f"query {query.number}: rollups and pageviews differ")
            row += [exact, rolled]
        rows.append(row)
    show("ms, largest site", ("month", "rollup", "year", "rollup"), rows)


def show(heading: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table of times."""
    print(f"{heading:52}" + "".join(f"{column:>13}" for column in columns))
    for name, *times in rows:
        print(f"{name[:52]:52}" + "".join(f"{'-' if ms is None else f'{ms:,.0f}':>13}" for ms in times))


def main() -> None:
    """Run all of it, or a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pageviews", type=int, default=2_000_000)
    parser.add_argument("--only", choices=("exactness", "tuning", "rollups"), help="this part of it")
    parser.add_argument("--path", type=Path, help="keep the data in this new directory")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, ClickHouseProcess(given.path or Path(directory)) as process:
        bench = Bench(process)
        print(f"ClickHouse {bench('SELECT version()')} embedded, {os.cpu_count()} cores, {platform.machine()}")
        fill(bench, given.pageviews)
        if given.only in (None, "exactness"):
            print("what exactness costs:")
            exactness(bench, "fresh")
        bench("SYSTEM START MERGES hitline.pageviews_raw")
        bench("OPTIMIZE TABLE hitline.pageviews_raw FINAL")
        if given.only in (None, "exactness"):
            exactness(bench, "merged")
        if given.only in (None, "tuning"):
            tuning(bench)
        if given.only in (None, "rollups"):
            rollups(bench)
            queries(bench)


if __name__ == "__main__":
    main()
