"""Writing rows to ClickHouse exactly once.

The truth is a look-up by row, (batch id, position), since an insert over several partitions is not atomic: whatever
may have been written before (a redelivered message, an attempt that failed) is looked up, once no older insert of any
worker is running, and exactly the missing rows are inserted.

A deduplication token of exactly those rows also guards each insert, against repetitions that even a look-up can't see.
But ClickHouse records a token before the rows are in the table: killed in between, it treats the repeated insert as
done although the rows are missing (tried with 26.9).  So rows that are inserted under a token that may have been used
before are looked up once more, and those that are missing are inserted under a new token.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Sequence
from typing import Final, NamedTuple

from shared import metrics
from shared.clickhouse import ClickHouse
from shared.cluster import LONG_QUORUM, on_cluster
from worker.dead_letters.limiter import DeadLetterLimiter
from worker.row import COLUMN_TYPES, COLUMNS, to_columns
from worker.store import sought
from worker.store.batch import PositionedRow, deduplication_token
from worker.store.errors import is_too_large, kind_of, poison_cause
from worker.store.lookup import QUERY_PREFIX, DuplicateLookup
from worker.store.retry import Retry

log = logging.getLogger(__name__)

_KILL_S: Final = 5.0
#: An insert that failed this often because of its size is split in halves, but not below `_FEWEST_ROWS`: otherwise a
#: server that is short of memory in general would be sent thousands of tiny inserts.
_ATTEMPTS_BEFORE_SPLIT: Final = 3
_FEWEST_ROWS: Final = 100

#: Of a cluster: replicas do it when they get to it, and nobody waits for one that is down.
_KILL: Final = {"distributed_ddl_task_timeout": 0}

_SETTINGS: Final = {
    # A replayed decade is hundreds of monthly partitions in one batch.
    "max_partitions_per_insert_block": 0,
    # One block, so that the token stands for all of it.
    "max_insert_block_size": 1_000_000,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # In a cluster an insert succeeds once a majority of replicas has it; on a single server this does nothing.
    "insert_quorum": "auto",
    **LONG_QUORUM,
}


class RefusedRow(NamedTuple):
    """A row that ClickHouse refuses because of its contents, and the cause from the table in errors.py."""

    row: PositionedRow
    cause: str


class Inserter:
    """Inserts rows; retries until it succeeds or the caller's task is cancelled."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        retry: Retry,
        duplicates: DuplicateLookup,
        limiter: DeadLetterLimiter,
        prefix: str = QUERY_PREFIX,
    ) -> None:
        self._clickhouse = clickhouse
        self._retry = retry
        self._duplicates = duplicates
        self._limiter = limiter
        self._running: str | None = None
        #: For the log: today's rows and old ones succeed or fail by themselves.
        self._what = "the insert" if prefix == QUERY_PREFIX else "the insert of old rows"
        # Part of every query id, so that an operator sees which worker an insert belongs to.
        self._name = f"{prefix}{socket.gethostname()}-{os.getpid()}-"

    async def insert(self, rows: Sequence[PositionedRow], *, again: bool) -> list[RefusedRow]:
        """Insert all of `rows` and return those that ClickHouse refuses because of their contents.

        `again`: some of them may have been inserted before.  Returns only when every other row is stored; errors whose
        cause is not in the rows are retried, those about the insert's size in halves.
        """
        missing = list(rows)
        backoff = self._retry.backoff()
        swallowed = False
        token = deduplication_token(missing)
        while missing:
            try:
                await self._insert_once(missing, token)
            except Exception as error:  # noqa: BLE001 - classified by the table in errors.py
                cause = poison_cause(error)
                if cause is None:
                    again = True
                    await self._retry.pause(error, backoff, self._what)
                    if self._clickhouse.cluster and not is_too_large(error):
                        # What one replica has is no majority yet: the same block under the same token, until one has.
                        continue
                # Other partitions of the insert may have been written: rows that are found are not inserted again.
                missing = await self._missing(missing)
                if cause is not None:
                    return await self._bisect(missing, cause, again=again or swallowed)
                if backoff.attempts >= _ATTEMPTS_BEFORE_SPLIT and len(missing) > _FEWEST_ROWS and is_too_large(error):
                    return await self._in_halves(missing, again=True)
                token = uuid.uuid4().hex if swallowed else deduplication_token(missing)
                again = not swallowed
            else:
                self._retry.succeeded(self._what)
                if not again:  # the token was new
                    break
                missing = await self._missing(missing, wait=False)
                token, again, swallowed = uuid.uuid4().hex, False, True
        return []

    async def _bisect(self, rows: Sequence[PositionedRow], cause: str, *, again: bool) -> list[RefusedRow]:
        if not rows:
            return []
        if len(rows) == 1:
            # Admitted here already, so that a batch that is all poison pauses before thousands of tiny inserts.
            await self._limiter.admit()
            return [RefusedRow(rows[0], cause)]
        return await self._in_halves(rows, again=again)

    async def _in_halves(self, rows: Sequence[PositionedRow], *, again: bool) -> list[RefusedRow]:
        middle = len(rows) // 2
        halves = rows[:middle], rows[middle:]
        return [refused for half in halves for refused in await self.insert(half, again=again)]

    async def _insert_once(self, rows: Sequence[PositionedRow], token: str) -> None:
        began = time.perf_counter()
        query_id = f"{self._name}{uuid.uuid4()}"
        self._running = query_id
        columns = to_columns(rows)
        try:
            await self._clickhouse.insert(
                "hitline.pageviews_raw",
                COLUMNS,
                columns,
                token=token,
                settings={**_SETTINGS, "query_id": query_id},
                column_type_names=COLUMN_TYPES,
                column_oriented=True,
            )
        finally:
            # The client's insert context is part of a reference cycle and keeps its data until the next full
            # collection, which is rare by design: memory grew by a megabyte per insert.
            columns.clear()
        self._running = None
        metrics.INSERT_ROWS.observe(len(rows))
        metrics.INSERT_SECONDS.observe(time.perf_counter() - began)

    async def _missing(self, rows: Sequence[PositionedRow], *, wait: bool = True) -> list[PositionedRow]:
        found = await self._duplicates.stored(sought.of_rows(rows), wait=wait)
        return [row for row in rows if (row.batch_id, row.position) not in found]

    async def kill_running(self) -> None:
        """Kill the insert under way, if any: its batch was abandoned and its messages will be redelivered."""
        query_id, self._running = self._running, None
        if query_id is None:
            return
        try:
            async with asyncio.timeout(_KILL_S):
                where = on_cluster(self._clickhouse.cluster)  # whichever replica runs it
                settings = {"settings": _KILL} if where else {}
                await self._clickhouse.command(
                    f"KILL QUERY{where} WHERE query_id = {{query_id:String}} ASYNC", {"query_id": query_id}, **settings
                )
        except Exception as error:  # noqa: BLE001 - the next worker waits for this insert anyway
            log.warning(
                "could not kill the insert of an abandoned batch (%s); the next worker waits until it ends",
                kind_of(error),
            )
