"""What happens to a full batch, in order: look up, insert, count, dead-letter, acknowledge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from shared import metrics
from worker.delivery import PageviewKey, ProcessedMessage
from worker.store.batch import Batch, positioned_rows
from worker.store.insert import Inserter
from worker.store.lanes import has_old, only
from worker.store.lookup import DuplicateLookup
from worker.store.outcomes import NOTHING_EARLIER, Earlier, ended_otherwise
from worker.store.revise import revise
from worker.store.settle import MessageSettler

if TYPE_CHECKING:
    from worker.traces import ChannelTraces


class BatchWriter:
    """Writes one batch at a time; if cancelled, the broker redelivers all of its messages."""

    def __init__(
        self,
        duplicates: DuplicateLookup,
        inserter: Inserter,
        settler: MessageSettler,
        traces: ChannelTraces | None = None,
    ) -> None:
        self._duplicates = duplicates
        self._inserter = inserter
        self._settler = settler
        self._traces = traces

    async def write(self, batch: Batch, old_before_ms: int | None = None) -> list[ProcessedMessage]:
        """Return when the batch is stored, dropped or dead-lettered, and its messages acknowledged.

        With `old_before_ms`, rows of earlier times are left out: returns the messages that still have such rows, which
        are not acknowledged yet, for a batch of their own.  Raises what the broker's connection raises; errors of
        ClickHouse are retried.
        """
        messages, earlier = await self._without_duplicates(batch.messages)
        if old_before_ms is None or not any(has_old(message, old_before_ms) for message in messages):
            await self._settler.settle(await self._insert(messages), earlier)
            return []
        messages = await self._insert(messages, lambda time_ms: time_ms >= old_before_ms)
        left = [message for message in messages if has_old(message, old_before_ms)]
        await self._settler.settle([message for message in messages if not has_old(message, old_before_ms)], earlier)
        return [only(message, lambda time_ms: time_ms < old_before_ms) for message in left]

    async def _without_duplicates(self, messages: list[ProcessedMessage]) -> tuple[list[ProcessedMessage], Earlier]:
        """Remove what earlier deliveries stored; returns the messages and what was counted of them."""
        seen_before = [message for message in messages if message.seen_before]
        if not seen_before:
            return messages, NOTHING_EARLIER
        stored = await self._duplicates.stored_of(seen_before)
        metrics.ROWS_FOUND.inc(len(stored))
        earlier = await self._duplicates.counted(seen_before)
        return [
            self._revised(message, stored, earlier) if message.seen_before else message for message in messages
        ], earlier

    @staticmethod
    def _revised(message: ProcessedMessage, stored: Mapping[PageviewKey, bytes], earlier: Earlier) -> ProcessedMessage:
        if ended_otherwise(message, earlier):
            return replace(message, rows={}, outcomes={}, poison=())
        return revise(message, stored=stored, replayed=earlier.replayed)

    async def _insert(
        self, messages: list[ProcessedMessage], wanted: Callable[[int], bool] | None = None
    ) -> list[ProcessedMessage]:
        """Insert the rows of wanted times (None: all); return the messages, in which refused rows are poison now."""
        rows = positioned_rows(messages)
        if wanted is not None:
            rows = [row for row in rows if wanted(row.row.timestamp_ms)]
        if not rows:
            return messages
        again = any(message.seen_before for message in messages)
        began_ns = time.time_ns()
        refused = {(row.batch_id, row.position): cause for row, cause in await self._inserter.insert(rows, again=again)}
        if self._traces is not None:
            self._traces.inserted(messages, len(rows), began_ns)
        return [revise(message, refused=refused) for message in messages] if refused else messages

    async def abandon(self) -> None:
        """End the insert of a `write` that was cancelled: its messages will be redelivered."""
        await self._inserter.kill_running()
