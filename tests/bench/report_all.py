"""What `hitline report --all` costs over a hundred thousand small sites in five time zones, and some large ones.

`python -m tests.bench.report_all [--sites N] [--pageviews N]`; `make bench ONLY=report_all` runs it at full size.
Memory is the command's and ClickHouse's, whole processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts
from tests.bench.scale import GIB, SITE, SITES, cpu_s, peak_bytes, registration, rolled_up, run
from tests.bench.table import Table

#: In the month, on the small sites; half as many are in the month before.
PAGEVIEWS: Final = 3_000_000
#: Sites that are counted by themselves, by rollups, each with so many.
_LARGE, _EACH = 10, 30_000
_MIB: Final = 2**20
_AT_ONCE: Final = 1_000_000
#: Sessions of three pageviews on any day from the first to the last of the two months.
_INSERT: Final = """
INSERT INTO hitline.pageviews_raw (site_id, hostname, timestamp, received_at, session_id, page_id, path, referrer_host,
    source, channel, country, region, city, browser, os, device, is_bot, bot_kind, language, batch_id, stored_at)
WITH number AS row, intDiv(row, 3) AS s, cityHash64(s) AS h, h % 20 = 0 AS bot, h % 3 = 0 AS found,
     toDateTime64('2026-02-14 00:00:00', 3, 'UTC') + toIntervalMillisecond(h % (45 * 86400000) + (row % 3) * 60000) AS t
SELECT (SELECT groupArray(site) FROM (SELECT {site} AS site FROM numbers({sites})))[1 + s % {sites}], 'a.example', t, t,
    reinterpretAsUUID(sipHash128(s)), reinterpretAsUUID(sipHash128(row, 1)), concat('/p/', toString(row % 50)),
    if(found, 'google.com', ''), if(found, 'Google', ''), if(found, 'search', 'direct'),
    ['DE', 'IN', 'FR', 'US'][h % 4 + 1], 'Region', concat('City ', toString(h % 500)),
    ['Chrome', 'Firefox', 'Safari'][h % 3 + 1], 'Windows', ['desktop', 'mobile'][h % 2 + 1], bot,
    if(bot, 'search', ''), 'en', generateUUIDv4(), now64(3)
FROM numbers({first}, {count})"""


def insert(process: ClickHouseProcess, sites: int, first: int, count: int) -> None:
    """Insert pageviews by their numbers, on the first so many sites."""
    for start in range(first, first + count, _AT_ONCE):
        some = min(_AT_ONCE, first + count - start)
        run(process, _INSERT.format(site=SITE, sites=sites, first=start, count=some))


def reported(process: ClickHouseProcess, directory: Path, *form: str) -> tuple[float, int, str]:
    """Run the command; returns its seconds, the most memory that it had (bytes), and the file that it printed."""
    out = directory / "out"
    command = [sys.executable, "-c", "from deploy.cli import main; main()"]
    period = ("--from", "2026-03-01", "--to", "2026-03-31")
    began = time.perf_counter()
    with out.open("wb") as file:
        child = subprocess.Popen(
            [*command, "report", "--all", *period, *form], env=parts.make_env(directory, process), stdout=file
        )
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return time.perf_counter() - began, usage.ru_maxrss * 1024, out.read_text("utf-8")


def main(sites: int, pageviews: int, table: Table, each: int = _EACH) -> None:
    """Print what a report of all sites costs; `each`: pageviews more on each of the large ones."""
    with tempfile.TemporaryDirectory() as name, ClickHouseProcess(Path(name, "clickhouse")) as process:
        directory = Path(name)
        parts.run_apart(lambda: parts.apply_schema(process.url))
        run(process, registration(sites, "1 + number % 5"))
        insert(process, sites, 0, pageviews * 3 // 2)
        insert(process, min(_LARGE, sites), 3 * pageviews, _LARGE * each)
        rolled_up(process)
        while int(run(process, "SELECT count() FROM system.merges")):
            time.sleep(1)
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")
        for form in ("--json", "--csv"):
            before = cpu_s(process.pid)
            seconds, peak, text = reported(process, directory, form)
            cpu = cpu_s(process.pid) - before
            table.note(
                f"report --all {form}, {sites:,} sites: seconds, ms a site",
                f"{seconds:.0f}, {1000 * seconds / sites:.1f}",
            )
            table.note("ClickHouse's CPU s", f"{cpu:.0f}")
            table.ratio("the command's peak of memory, MiB", peak / _MIB, 512, at_most=True, form="{:.0f}")
            if form == "--json":
                assert len(json.loads(text)) == sites
        table.ratio("ClickHouse's peak of memory, GiB", peak_bytes(process.pid) / GIB, 2, at_most=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=SITES)
    parser.add_argument("--pageviews", type=int, default=PAGEVIEWS)
    asked = parser.parse_args()
    shown = Table()
    shown.machine()
    main(asked.sites, asked.pageviews, shown)
