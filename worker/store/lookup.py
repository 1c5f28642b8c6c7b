"""Looking up which pageviews of a message that was delivered, published or inserted before are stored or counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from shared.clickhouse import ClickHouse
from shared.clickhouse_client import table_of_lines
from shared.cluster import everywhere
from worker.delivery import PageviewKey, ProcessedMessage
from worker.store import outcomes, replicas, sought
from worker.store.lanes import SURELY_RECENT_MS, now_ms
from worker.store.outcomes import Earlier
from worker.store.retry import Retry
from worker.store.sought import SoughtGroup, SoughtPageview

#: Query ids of all inserts begin with this; `system.processes` shows by it which are running.
QUERY_PREFIX: Final = "hitline-insert-"
#: And those of inserts of old rows with this.
OLD_QUERY_PREFIX: Final = f"{QUERY_PREFIX}old-"
_POLL_S: Final = 0.1
#: Added on both sides of the rows' own times, so that rounding on the way does not matter.
_MARGIN: Final = timedelta(seconds=1)
_COLUMNS: Final = "batch_id, position, site_id"
_COLUMNS_EVERYWHERE: Final = f"DISTINCT _shard_num, {_COLUMNS}"  # of each replica, as if it were a shard
#: Reads the granules with rows of these days that were stored since the messages were received, by the index on
#: stored_at.  That compares two clocks: the gateway's may be a day ahead, and while it is so far ahead that messages
#: are of the future, no row is left out.  One that is missed anyway is stored again; the view shows it once.
_STORED: Final = """
SELECT {columns} FROM {table}
WHERE timestamp BETWEEN {first:DateTime64(3, 'UTC')} AND {last:DateTime64(3, 'UTC')}
    AND toDate(timestamp) IN {days:Array(Date)}
    AND stored_at >= if({received:DateTime64(3, 'UTC')} > now64(3), toDateTime64(0, 3),
                        {received:DateTime64(3, 'UTC')} - INTERVAL 1 DAY)
    AND batch_id IN (SELECT batch_id FROM sought)
"""


class DuplicateLookup:
    """Finds pageviews that ClickHouse has already; retries until it succeeds or the caller's task is cancelled."""

    def __init__(self, clickhouse: ClickHouse, retry: Retry) -> None:
        self._clickhouse = clickhouse
        self._retry = retry

    async def stored_of(self, messages: Sequence[ProcessedMessage]) -> dict[PageviewKey, bytes]:
        """Return which pageviews of these messages are stored, and under which site."""
        return await self.stored(sought.of_messages(messages))

    async def stored(self, pageviews: Iterable[SoughtPageview], *, wait: bool = True) -> dict[PageviewKey, bytes]:
        """Return the stored rows of these pageviews' batches and their sites, once no insert that may add to them runs.

        Without `wait`: as they are now.
        """
        groups = sought.groups(pageviews)
        if wait and groups:
            # An insert of old rows can't add to them.
            recent = min(group.first_ms for group in groups) >= now_ms() - SURELY_RECENT_MS
            await self._retry.until_done(partial(self._older_inserts_ended, recent=recent), "the look-up")
        found: dict[PageviewKey, bytes] = {}
        for group in groups:
            found |= await self._retry.until_done(partial(self._stored_once, group), "the look-up")
        return found

    async def _stored_once(self, group: SoughtGroup) -> dict[PageviewKey, bytes]:
        """Of a cluster, rows that a majority of the replicas has: others may be lost with the replica that has them."""
        cluster = self._clickhouse.cluster
        majority = await replicas.majority(self._clickhouse) if cluster else 1
        result = await self._clickhouse.query(
            _STORED.replace("{columns}", _COLUMNS_EVERYWHERE if cluster else _COLUMNS).replace(
                "{table}", everywhere(cluster, "hitline.pageviews_raw")
            ),
            {
                "first": _datetime(group.first_ms) - _MARGIN,
                "last": _datetime(group.last_ms) + _MARGIN,
                "days": sorted(map(sought.as_date, group.days)),
                "received": _datetime(group.received_s * 1000),
            },
            external=table_of_lines("sought", "batch_id UUID", group.external),
        )
        rows = replicas.had_by(majority, result.result_rows) if cluster else result.result_rows
        return {(batch_id.bytes, position): site_id.bytes for batch_id, position, site_id in rows}

    async def counted(self, messages: Sequence[ProcessedMessage]) -> Earlier:
        """Return what `outcomes_raw` says already about these messages."""
        keys = {(message.key.day, message.key.batch_id) for message in messages}
        lines = "\n".join(f"{day}\t{batch_id}" for day, batch_id in sorted(keys)).encode()
        return outcomes.read_earlier(await self._retry.until_done(partial(self._counted_once, lines), "the look-up"))

    async def _counted_once(self, lines: bytes) -> Sequence[Sequence[Any]]:
        cluster = self._clickhouse.cluster
        if cluster:  # a majority has every row that counts: of any other majority, one replica at least has it
            await replicas.majority(self._clickhouse)
        table = everywhere(cluster, "hitline.outcomes_raw")
        result = await self._clickhouse.query(
            f"SELECT {outcomes.EARLIER_COLUMNS} FROM {table} FINAL"  # noqa: S608 - a list of columns
            " WHERE (day, batch_id) IN (SELECT day, batch_id FROM sought)",
            external=table_of_lines("sought", "day Date, batch_id UUID", lines),
        )
        rows: Sequence[Sequence[Any]] = result.result_rows
        return outcomes.newest_of(rows) if cluster else rows

    async def _older_inserts_ended(self, *, recent: bool) -> None:
        """Wait until each insert that any worker is running now has ended: its rows can't be seen before that."""
        running = await self._running_inserts(recent=recent)
        while running:
            await asyncio.sleep(_POLL_S)
            running &= await self._running_inserts(recent=recent)

    async def _running_inserts(self, *, recent: bool) -> set[str]:
        result = await self._clickhouse.query(
            f"SELECT query_id FROM {everywhere(self._clickhouse.cluster, 'system.processes')}"  # noqa: S608
            " WHERE startsWith(query_id, {prefix:String})",
            {"prefix": QUERY_PREFIX},
        )
        return {row[0] for row in result.result_rows if not (recent and row[0].startswith(OLD_QUERY_PREFIX))}


def _datetime(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
