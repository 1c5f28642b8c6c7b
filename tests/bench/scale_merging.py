"""How quickly the view reads a month that is over, between two merges: `python -m tests.bench.scale_merging [ROWS]`.

CPU seconds of ClickHouse, as a ratio of the bare table's: with late pageviews outside of the month's large part, which
are scattered over all of it, or all in its last hour.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts
from tests.bench.scale import LARGE, cpu_s, insert, run
from tests.bench.table import Table

ROWS: Final = 2_000_000
_REPEATS: Final = 5
_QUERIES: Final = (
    "SELECT count(), uniq(session_id) FROM hitline.{table} WHERE site_id = '{site}'",
    "SELECT path, count() AS n FROM hitline.{table} WHERE site_id = '{site}' GROUP BY path ORDER BY n DESC LIMIT 10",
    "SELECT toStartOfHour(timestamp) AS hour, country, count() FROM hitline.{table} WHERE site_id = '{site}'"
    " GROUP BY hour, country",
)


def cost_s(process: ClickHouseProcess, table: str) -> float:
    """Return the CPU seconds of the queries on a table or view."""
    before = cpu_s(process.pid)
    for _ in range(_REPEATS):
        for sql in _QUERIES:
            run(process, sql.format(table=table, site=LARGE))
    return cpu_s(process.pid) - before


def main(rows: int, table: Table) -> None:
    """Measure a merged month, and the same with more and more late pageviews."""
    with tempfile.TemporaryDirectory() as directory, ClickHouseProcess(Path(directory)) as process:
        parts.run_apart(lambda: parts.apply_schema(process.url))
        insert(process, f"toUUID('{LARGE}')", 0, rows)
        run(process, "OPTIMIZE TABLE hitline.pageviews_raw FINAL")
        run(process, "SYSTEM STOP MERGES hitline.pageviews_raw")
        late = 0
        for where, within_ms in (("the last hour", 3_600_000), ("all of it", 80_000_000)):
            for share in (0.0, 0.001, 0.01):
                if more := int(share * rows):
                    insert(process, f"toUUID('{LARGE}')", 3 * rows + late, more, within_ms=within_ms)
                    late += more
                ratio = cost_s(process, "pageviews") / cost_s(process, "pageviews_raw")
                what = f"{100 * share:g} % late in {where}"
                table.note(f"{rows:,} pageviews, {what}: the view, of the table, CPU", f"{ratio:.2f}")


if __name__ == "__main__":
    shown = Table()
    shown.machine()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS, shown)
