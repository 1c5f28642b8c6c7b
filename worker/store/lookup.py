"""Looking up which pageviews of a message that was delivered, published or inserted before are stored or counted."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final

from shared.clickhouse import ClickHouse
from worker.delivery import PageviewKey, ProcessedMessage
from worker.store import outcomes
from worker.store.lanes import SURELY_RECENT_MS, now_ms
from worker.store.outcomes import Earlier
from worker.store.retry import Retry

#: Query ids of all inserts begin with this; `system.processes` shows by it which are running.
QUERY_PREFIX: Final = "hitline-insert-"
#: And those of inserts of old rows with this.
OLD_QUERY_PREFIX: Final = f"{QUERY_PREFIX}old-"
_POLL_S: Final = 0.1
#: Batch ids per statement: a redelivered backlog of small messages has many, and ClickHouse reads 256 KiB of SQL.
_IDS: Final = 4_000
#: Added on both sides of the rows' own times, so that rounding on the way does not matter.
_MARGIN: Final = timedelta(seconds=1)


class DuplicateLookup:
    """Finds pageviews that ClickHouse has already; retries until it succeeds or the caller's task is cancelled."""

    def __init__(self, clickhouse: ClickHouse, retry: Retry) -> None:
        self._clickhouse = clickhouse
        self._retry = retry

    async def stored_of(self, messages: Sequence[ProcessedMessage]) -> dict[PageviewKey, bytes]:
        """Return which pageviews of these messages are stored, and under which site."""
        searchable = [
            (message.headers.batch_id.bytes, message.span)
            for message in messages
            if message.headers is not None and message.span is not None
        ]
        if not searchable:
            return {}
        spans = [span for _, span in searchable]
        span = min(first for first, _ in spans), max(last for _, last in spans)
        return await self.stored({batch_id for batch_id, _ in searchable}, span)

    async def stored(
        self, batch_ids: Iterable[bytes], span: tuple[int, int], *, wait: bool = True
    ) -> dict[PageviewKey, bytes]:
        """Return all stored rows of these batches and their sites, once no insert that may add to them is running.

        `span`: earliest and latest time of their pageviews in milliseconds.  Without `wait`: as they are now.
        """
        if wait:
            recent = span[0] >= now_ms() - SURELY_RECENT_MS  # an insert of old rows can't add to them
            await self._retry.until_done(partial(self._older_inserts_ended, recent=recent))
        found: dict[PageviewKey, bytes] = {}
        for ids in _quoted(uuid.UUID(bytes=batch_id) for batch_id in batch_ids):
            found |= await self._retry.until_done(partial(self._stored_once, ids, span))
        return found

    async def _stored_once(self, ids: str, span: tuple[int, int]) -> dict[PageviewKey, bytes]:
        result = await self._clickhouse.query(
            "SELECT batch_id, position, site_id FROM hitline.pageviews_raw"  # noqa: S608 - ids are formatted UUIDs
            " WHERE timestamp BETWEEN {first:DateTime64(3, 'UTC')} AND {last:DateTime64(3, 'UTC')}"
            f" AND batch_id IN ({ids})",
            {"first": _datetime(span[0]) - _MARGIN, "last": _datetime(span[1]) + _MARGIN},
        )
        return {(batch_id.bytes, position): site_id.bytes for batch_id, position, site_id in result.result_rows}

    async def counted(self, messages: Sequence[ProcessedMessage]) -> Earlier:
        """Return what `outcomes_raw` says already about these messages."""
        keys = [message.key for message in messages]
        days = {"days": sorted({key.day for key in keys})}
        rows: list[Sequence[Any]] = []
        for ids in _quoted({key.batch_id for key in keys}):
            rows += await self._retry.until_done(partial(self._counted_once, ids, days))
        return outcomes.read_earlier(rows)

    async def _counted_once(self, ids: str, days: dict[str, list[date]]) -> Sequence[Sequence[Any]]:
        result = await self._clickhouse.query(
            f"SELECT {outcomes.EARLIER_COLUMNS} FROM hitline.outcomes_raw FINAL"  # noqa: S608 - as above
            f" WHERE day IN {{days:Array(Date)}} AND batch_id IN ({ids})",
            days,
        )
        rows: Sequence[Sequence[Any]] = result.result_rows
        return rows

    async def _older_inserts_ended(self, *, recent: bool) -> None:
        """Wait until each insert that any worker is running now has ended: its rows can't be seen before that."""
        running = await self._running_inserts(recent=recent)
        while running:
            await asyncio.sleep(_POLL_S)
            running &= await self._running_inserts(recent=recent)

    async def _running_inserts(self, *, recent: bool) -> set[str]:
        result = await self._clickhouse.query(
            "SELECT query_id FROM system.processes WHERE startsWith(query_id, {prefix:String})",
            {"prefix": QUERY_PREFIX},
        )
        return {row[0] for row in result.result_rows if not (recent and row[0].startswith(OLD_QUERY_PREFIX))}


def _quoted(ids: Iterable[uuid.UUID]) -> Iterator[str]:
    """Yield the ids as lists for SQL, `_IDS` at a time."""
    rest = iter(ids)
    while chunk := list(islice(rest, _IDS)):
        yield ", ".join(f"'{each}'" for each in chunk)


def _datetime(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
