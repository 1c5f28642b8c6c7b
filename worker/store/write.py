"""What happens to a full batch, in order: look up, insert, count, dead-letter, acknowledge."""

from __future__ import annotations

from shared import metrics
from worker.delivery import ProcessedMessage
from worker.store.batch import Batch, positioned_rows
from worker.store.insert import Inserter
from worker.store.lookup import DuplicateLookup
from worker.store.outcomes import NOTHING_EARLIER, Earlier
from worker.store.revise import revise
from worker.store.settle import MessageSettler


class BatchWriter:
    """Writes one batch at a time; if cancelled, the broker redelivers all of its messages."""

    def __init__(self, duplicates: DuplicateLookup, inserter: Inserter, settler: MessageSettler) -> None:
        self._duplicates = duplicates
        self._inserter = inserter
        self._settler = settler

    async def write(self, batch: Batch) -> None:
        """Return when every pageview of the batch is stored, dropped or dead-lettered, and its messages acknowledged.

        Raises what the broker's connection raises; errors of ClickHouse are retried.
        """
        messages, earlier = await self._without_duplicates(batch.messages)
        messages = await self._insert(messages, batch)
        await self._settler.settle(messages, earlier)

    async def _without_duplicates(self, messages: list[ProcessedMessage]) -> tuple[list[ProcessedMessage], Earlier]:
        """Remove what earlier deliveries stored; returns the messages and what was counted of them."""
        seen_before = [message for message in messages if message.seen_before]
        if not seen_before:
            return messages, NOTHING_EARLIER
        stored = await self._duplicates.stored_of(seen_before)
        metrics.ROWS_FOUND.inc(len(stored))
        earlier = await self._duplicates.counted(seen_before)
        return [
            revise(message, stored=stored, replayed=earlier.replayed) if message.seen_before else message
            for message in messages
        ], earlier

    async def _insert(self, messages: list[ProcessedMessage], batch: Batch) -> list[ProcessedMessage]:
        """Insert the rows of the messages; return the messages, in which refused rows have become poison."""
        rows = positioned_rows(messages)
        if not rows:
            return messages
        again = any(message.seen_before for message in messages)
        refused = {
            (row.batch_id, row.position): cause
            for row, cause in await self._inserter.insert(rows, batch.span(), again=again)
        }
        return [revise(message, refused=refused) for message in messages] if refused else messages

    async def abandon(self) -> None:
        """End the insert of a `write` that was cancelled: its messages will be redelivered."""
        await self._inserter.kill_running()
