"""Looking up what is stored or counted already, of messages that were delivered, published or inserted before."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final

from shared.clickhouse import ClickHouse
from worker.delivery import ProcessedMessage
from worker.store import outcomes
from worker.store.outcomes import Earlier
from worker.store.retry import Retry

#: Query ids of all inserts begin so; `system.processes` tells by them which are running.
QUERY_PREFIX: Final = "hitline-insert-"
_POLL_S: Final = 0.1
#: Batch ids a statement: a redelivered backlog of small messages has many, and ClickHouse reads 256 KiB of SQL.
_IDS: Final = 4_000
#: Wider than the rows' own times, so that no rounding on the way matters.
_MARGIN: Final = timedelta(seconds=1)

#: (batch id, position) → site under which the row is stored
Found = dict[tuple[bytes, int], bytes]


class DuplicateLookup:
    """Looks up; retries for ever, within the life of its caller's task."""

    def __init__(self, clickhouse: ClickHouse, retry: Retry) -> None:
        self._clickhouse = clickhouse
        self._retry = retry

    async def stored_of(self, processed: Sequence[ProcessedMessage]) -> Found:
        """Return which pageviews of these messages are stored, wherever they came from."""
        spans = [each.span for each in processed if each.span is not None]
        ids = {each.headers.batch_id.bytes for each in processed if each.headers is not None and each.span is not None}
        if not spans:
            return {}
        return await self.stored(ids, (min(first for first, _ in spans), max(last for _, last in spans)))

    async def stored(self, batch_ids: Iterable[bytes], span: tuple[int, int], *, wait: bool = True) -> Found:
        """Return all stored rows of these batches, once no insert that may bring more of them is running.

        `span`: earliest and latest time of their pageviews in milliseconds.  Without `wait`: as they are now.
        """
        if wait:
            await self._retry.forever(self._older_inserts_ended)
        found: Found = {}
        for ids in _quoted(uuid.UUID(bytes=batch_id) for batch_id in batch_ids):
            found |= await self._retry.forever(partial(self._stored_once, ids, span))
        return found

    async def _stored_once(self, ids: str, span: tuple[int, int]) -> Found:
        result = await self._clickhouse.query(
            "SELECT batch_id, position, site_id FROM hitline.pageviews_raw"  # noqa: S608 - ids are formatted UUIDs
            " WHERE timestamp BETWEEN {first:DateTime64(3, 'UTC')} AND {last:DateTime64(3, 'UTC')}"
            f" AND batch_id IN ({ids})",
            {"first": _datetime(span[0]) - _MARGIN, "last": _datetime(span[1]) + _MARGIN},
        )
        return {(batch_id.bytes, position): site_id.bytes for batch_id, position, site_id in result.result_rows}

    async def counted(self, processed: Sequence[ProcessedMessage]) -> Earlier:
        """Return what outcomes say already of these messages."""
        keys = [each.key for each in processed]
        days = {"days": sorted({key.day for key in keys})}
        rows: list[Sequence[Any]] = []
        for ids in _quoted({key.batch_id for key in keys}):
            rows += await self._retry.forever(partial(self._counted_once, ids, days))
        return outcomes.read_earlier(rows)

    async def _counted_once(self, ids: str, days: dict[str, list[date]]) -> Sequence[Sequence[Any]]:
        result = await self._clickhouse.query(
            f"SELECT {outcomes.EARLIER_COLUMNS} FROM hitline.outcomes_raw FINAL"  # noqa: S608 - as above
            f" WHERE day IN {{days:Array(Date)}} AND batch_id IN ({ids})",
            days,
        )
        rows: Sequence[Sequence[Any]] = result.result_rows
        return rows

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


def _quoted(ids: Iterable[uuid.UUID]) -> Iterator[str]:
    rest = iter(ids)
    while chunk := list(islice(rest, _IDS)):
        yield ", ".join(f"'{each}'" for each in chunk)


def _datetime(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
