"""Writing rows to ClickHouse exactly once.

The truth is a look-up by row, (batch id, position), since an insert over several partitions is not atomic: whatever
may have been written before (a redelivered message, an attempt that failed) is looked up, once no older insert of any
worker is running, and exactly the missing rows are inserted.  A token of exactly those rows guards each insert
besides, against repetitions that even a look-up can't see.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from shared import metrics
from shared.clickhouse import ClickHouse
from worker.batch import Placed, token_of
from worker.failures import kind_of, poison_cause
from worker.judge import Judged
from worker.retry import Retry
from worker.row import COLUMN_TYPES, COLUMNS, to_columns

log = logging.getLogger(__name__)

#: Query ids of all inserts begin so; `system.processes` tells by them which are running.
QUERY_PREFIX: Final = "hitline-insert-"
_POLL_S: Final = 0.1
_KILL_S: Final = 5.0

_SETTINGS: Final = {
    # A replayed decade is hundreds of monthly partitions in one batch.
    "max_partitions_per_insert_block": 0,
    # One block, so that the token stands for all of it.
    "max_insert_block_size": 1_000_000,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # In a cluster an insert counts once a majority of replicas has it; alone this setting does nothing.
    "insert_quorum": "auto",
}

#: (batch id, position) → site under which the row is stored
Found = dict[tuple[bytes, int], bytes]


class PoisonRow(Exception):
    """ClickHouse refuses this one row for a listed cause."""

    def __init__(self, row: Placed, cause: str) -> None:
        super().__init__(cause)
        self.row = row
        self.cause = cause


class Inserter:
    """Inserts rows and looks up what is stored; retries for ever, within the life of its caller's task."""

    def __init__(self, clickhouse: ClickHouse, retry: Retry) -> None:
        self._clickhouse = clickhouse
        self._retry = retry
        self._running: str | None = None

    async def insert(self, rows: Sequence[Placed], span: tuple[int, int]) -> list[PoisonRow]:
        """Insert all of `rows` and return those that ClickHouse refuses for what they are.

        `span`: earliest and latest pageview time among them in milliseconds.  Returns only when every other row is
        stored; errors that do not lie in the rows are retried.
        """
        missing = list(rows)
        attempt = 0
        while missing:
            try:
                await self._insert_once(missing)
            except Exception as error:  # noqa: BLE001 - judged by the table in failures.py
                cause = poison_cause(error)
                if cause is None:
                    await self._retry.pause(error, attempt)
                # Others of the insert's partitions may have been written: what is found is not inserted again.
                missing = await self._missing(missing, span)
                if cause is not None:
                    return await self._bisect(missing, span, cause)
                attempt += 1
            else:
                self._retry.succeeded()
                break
        return []

    async def _bisect(self, rows: Sequence[Placed], span: tuple[int, int], cause: str) -> list[PoisonRow]:
        if not rows:
            return []
        if len(rows) == 1:
            return [PoisonRow(rows[0], cause)]
        middle = len(rows) // 2
        return [*await self.insert(rows[:middle], span), *await self.insert(rows[middle:], span)]

    async def _insert_once(self, rows: Sequence[Placed]) -> None:
        began = time.perf_counter()
        query_id = f"{QUERY_PREFIX}{uuid.uuid4()}"
        self._running = query_id
        await self._clickhouse.insert(
            "hitline.pageviews_raw",
            COLUMNS,
            to_columns(rows),
            token=token_of(rows),
            settings={**_SETTINGS, "query_id": query_id},
            column_type_names=COLUMN_TYPES,
            column_oriented=True,
        )
        self._running = None
        metrics.INSERT_ROWS.observe(len(rows))
        metrics.INSERT_SECONDS.observe(time.perf_counter() - began)

    async def _missing(self, rows: Sequence[Placed], span: tuple[int, int]) -> list[Placed]:
        found = await self.find({row.batch_id for row in rows}, span)
        return [row for row in rows if (row.batch_id, row.position) not in found]

    async def find_judged(self, judged: Sequence[Judged]) -> Found:
        """Look up which pageviews of these messages are stored, wherever they came from."""
        opened = [message for message in judged if message.headers is not None]
        if not opened:
            return {}
        spans = [message.span for message in opened]
        ids = {message.headers.batch_id.bytes for message in opened if message.headers is not None}
        return await self.find(ids, (min(first for first, _ in spans), max(last for _, last in spans)))

    async def find(self, batch_ids: Iterable[bytes], span: tuple[int, int]) -> Found:
        """Return all stored rows of these batches, once no insert that may bring more of them is running."""

        async def look_up() -> Found:
            await self._older_inserts_ended()
            return await self._find_once(batch_ids, span)

        return await self._retry.forever(look_up)

    async def _find_once(self, batch_ids: Iterable[bytes], span: tuple[int, int]) -> Found:
        result = await self._clickhouse.query(
            "SELECT batch_id, position, site_id FROM hitline.pageviews_raw WHERE batch_id IN {ids:Array(UUID)}"
            " AND timestamp BETWEEN {first:DateTime64(3, 'UTC')} AND {last:DateTime64(3, 'UTC')}",
            {
                "ids": [str(uuid.UUID(bytes=batch_id)) for batch_id in batch_ids],
                "first": _datetime(span[0]),
                "last": _datetime(span[1]),
            },
        )
        return {(batch_id.bytes, position): site_id.bytes for batch_id, position, site_id in result.result_rows}

    async def _older_inserts_ended(self) -> None:
        """Wait until every insert of any worker that runs now has ended: a look-up sees nothing of a running one."""
        running = await self._running_inserts()
        while running:
            await asyncio.sleep(_POLL_S)
            running &= await self._running_inserts()

    async def _running_inserts(self) -> set[str]:
        result = await self._clickhouse.query(
            "SELECT query_id FROM system.processes WHERE startsWith(query_id, {prefix:String})",
            {"prefix": QUERY_PREFIX},
        )
        return {row[0] for row in result.result_rows}

    async def kill_running(self) -> None:
        """End the insert under way, if any: its batch is given up and its messages will come again."""
        query_id, self._running = self._running, None
        if query_id is None:
            return
        try:
            async with asyncio.timeout(_KILL_S):
                await self._clickhouse.command(
                    "KILL QUERY WHERE query_id = {query_id:String} ASYNC", {"query_id": query_id}
                )
        except Exception as error:  # noqa: BLE001 - whoever takes the messages next waits for the insert anyway
            log.warning("the insert of a batch that was given up could not be killed (%s)", kind_of(error))


def _datetime(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
