"""How many rows of a year a look-up of redelivered messages reads: of messages that are stored, and that are not."""

from __future__ import annotations

import os
import time
import uuid
from typing import TYPE_CHECKING, Any

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from tests import parts
from tests.bench.table import Table
from worker.store.lookup import DuplicateLookup
from worker.store.retry import Retry
from worker.store.sought import SoughtPageview

if TYPE_CHECKING:
    from clickhouse_connect.driver.query import QueryResult

    from tests.services import System

ROWS = int(os.environ.get("LOOK_UP_ROWS", "6000000"))
IDS = int(os.environ.get("LOOK_UP_IDS", "4000"))
SITES = int(os.environ.get("LOOK_UP_SITES", "20"))
#: Rows that are found on days of their own: once merged with others of their month, each is in a granule of its own.
SCATTERED = "stored, some of ten years"
_GRANULE = 8192
_YEAR_S = 365 * 86_400
_DECADE_DAYS = 3_650


class CountingClickHouse(ClickHouse):
    """Adds up the rows that its queries read of tables."""

    rows = 0

    async def query(self, *arguments: Any, **named: Any) -> QueryResult:
        result = await super().query(*arguments, **named)
        self.rows += int(result.summary["read_rows"])
        return result


def run(system: System, table: Table) -> None:
    """Fill the table and add the rows."""
    fill(system.clickhouse, ROWS, SITES)
    for what, (share, seconds) in measure(system.clickhouse, ROWS, IDS, SITES).items():
        table.note(f"look-up of {IDS} ids, {what}, in {ROWS:,} rows of {SITES} sites", f"{seconds:.2f} s")
        reach = 0.02 if what != SCATTERED else IDS // 2 * _GRANULE / ROWS
        table.ratio(f"look-up of {IDS} ids, {what}: rows read, of all", share, reach, at_most=True)


def measure(clickhouse: ClickHouseProcess, rows: int, ids: int, sites: int) -> dict[str, tuple[float, float]]:
    """Return the share of rows read and the seconds, by what was looked for."""
    now_s = int(time.time())
    recent = [SoughtPageview(uuid.uuid4().bytes, (now_s - number % 600) * 1000, now_s - 600) for number in range(ids)]
    decade = [
        SoughtPageview(each.batch_id, (now_s - (number * 7 + part * 731) % _DECADE_DAYS * 86_400) * 1000, now_s - 600)
        for number, each in enumerate(recent[: ids // 10])
        for part in range(5)
    ]
    found = {"not stored": _look_up(clickhouse, rows, recent, 0)}
    found["not stored, some of ten years"] = _look_up(clickhouse, rows, recent + decade, 0)
    for start in range(0, len(recent), 400):
        _insert(clickhouse, recent[start : start + 400], sites)
    found["stored"] = _look_up(clickhouse, rows, recent, len(recent))
    _insert(clickhouse, decade, sites, first_position=10)
    found[SCATTERED] = _look_up(clickhouse, rows, recent + decade, len(recent) + len(decade))
    return found


def _look_up(
    clickhouse: ClickHouseProcess, rows: int, pageviews: list[SoughtPageview], stored: int
) -> tuple[float, float]:
    async def look() -> tuple[float, float]:
        client = CountingClickHouse(clickhouse.url, "hitline bench")
        began = time.perf_counter()
        found = await DuplicateLookup(client, Retry(client.address)).stored(pageviews, wait=False)
        seconds = time.perf_counter() - began
        await client.close()
        assert len(found) == stored, (len(found), stored)
        return client.rows / rows, seconds

    return parts.run_apart(look)


def fill(clickhouse: ClickHouseProcess, rows: int, sites: int) -> None:
    """Insert `rows` of the last year up to an hour ago, fifty a message, each stored a second after its time."""
    for start in range(0, rows, 500_000):
        parts.execute(
            clickhouse,
            f"""INSERT INTO hitline.pageviews_raw
            (site_id, timestamp, received_at, session_id, page_id, path, client_id, batch_id, position, stored_at)
            SELECT toUUID(concat('00000000-0000-4000-8000-', leftPad(toString(number % {sites}), 12, '0'))),
                   now64(3) - INTERVAL 1 HOUR - toIntervalSecond(intDiv(({rows} - number) * {_YEAR_S}, {rows})) AS t,
                   t, generateUUIDv4(1), generateUUIDv4(2), '/', generateUUIDv4(3),
                   reinterpretAsUUID(sipHash128(intDiv(number, 50))), number % 50, t + INTERVAL 1 SECOND
            FROM numbers({start}, {min(500_000, rows - start)})""",
        )


def _insert(
    clickhouse: ClickHouseProcess, pageviews: list[SoughtPageview], sites: int, first_position: int = 0
) -> None:
    lines = "\n".join(
        f"00000000-0000-4000-8000-{number % sites:012}\t{each.timestamp_ms / 1000:.3f}\t{each.received_s}"
        f"\t{uuid.uuid4()}\t{uuid.uuid4()}\t{uuid.UUID(bytes=each.batch_id)}\t{first_position + number % 5}"
        for number, each in enumerate(pageviews)
    )
    columns = "(site_id, timestamp, received_at, session_id, page_id, batch_id, position)"
    parts.execute(
        clickhouse,
        f"INSERT INTO hitline.pageviews_raw {columns} SETTINGS max_partitions_per_insert_block = 0 FORMAT TSV\n{lines}",
    )
