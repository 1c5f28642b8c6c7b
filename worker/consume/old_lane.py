"""Messages whose old rows are still to be inserted: batch after batch, beside today's."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from worker.delivery import ProcessedMessage
from worker.store.batch import FLUSH_BYTES, Batch
from worker.store.write import BatchWriter


class OldLane:
    """Gathers old rows as today's are gathered, and writes one batch at a time."""

    def __init__(self, writer: BatchWriter, flush_rows: int) -> None:
        self._writer = writer
        self._flush_rows = flush_rows
        self._waiting: deque[Batch] = deque()
        self._current: Batch | None = None
        self._writing: asyncio.Task[None] | None = None
        #: Called with the number of messages that were acknowledged, or when a write has failed.
        self.on_written: Callable[[int], None] = lambda _: None

    def add(self, message: ProcessedMessage) -> None:
        """Take a message over, until all of it is settled."""
        last = self._waiting[-1] if self._waiting else None
        if last is None or self._is_full(last) or last.overlaps(message):
            last = Batch(time.monotonic())
            self._waiting.append(last)
        last.add(message)

    def _is_full(self, batch: Batch) -> bool:
        return batch.rows >= self._flush_rows or batch.bytes >= FLUSH_BYTES

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is written."""
        return self._writing is None and not self._waiting

    @property
    def full(self) -> bool:
        """Whether so many bytes wait that nothing more should be taken from the queue."""
        return sum(batch.bytes for batch in self._waiting) >= FLUSH_BYTES

    def overlaps(self, message: ProcessedMessage) -> bool:
        """Return whether another delivery of the same pageviews is here: the message must come after it."""
        batches = [*self._waiting, *([self._current] if self._current else [])]
        return any(batch.overlaps(message) for batch in batches)

    def due_in_s(self, age_s: float) -> float | None:
        """Return in how many seconds the next batch is to be written; None while nothing waits or one is written."""
        if self._writing is not None or not self._waiting:
            return None
        first = self._waiting[0]
        if len(self._waiting) > 1 or self._is_full(first):
            return 0.0
        return max(0.0, first.started + age_s - time.monotonic())

    def check(self, age_s: float, *, at_once: bool) -> None:
        """Begin to write the next batch once it is full or so old, or `at_once`; raises what has ended the last one."""
        if self._writing is not None and self._writing.done():
            written, self._writing = self._writing, None
            self._current = None
            written.result()
        due_in_s = self.due_in_s(age_s)
        if due_in_s is not None and (at_once or due_in_s == 0):
            self._start()

    def _start(self) -> None:
        self._current = self._waiting.popleft()
        self._writing = asyncio.create_task(self._write(self._current))
        self._writing.add_done_callback(lambda _: self.on_written(0))

    async def _write(self, batch: Batch) -> None:
        await self._writer.write(batch)
        self.on_written(len(batch.messages))

    async def abandon(self) -> None:
        """Abandon unfinished work: its messages will be redelivered."""
        self._waiting.clear()
        if self._writing is None or self._writing.done():
            return
        self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=True)
        await self._writer.abandon()
