"""The life of one channel: take messages, gather a batch, write it, acknowledge it.

A batch lives as long as the channel that delivered it.  When the channel closes, unfinished work is abandoned and its
insert is killed; the broker delivers the messages again, marked as redelivered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from shared import metrics
from shared.message import NewerSchema
from worker.consume.fleet import Fleet
from worker.consume.newer_messages import NewerMessages
from worker.consume.old_lane import OldLane
from worker.consume.prefetch import Prefetch
from worker.consume.process import Processor
from worker.consume.subscription import Subscription
from worker.delivery import ProcessedMessage
from worker.store.batch import FLUSH_BYTES, Batch
from worker.store.lanes import OLD_MS, has_old, now_ms, only
from worker.store.write import BatchWriter

if TYPE_CHECKING:
    from worker.traces import ChannelTraces

log = logging.getLogger(__name__)

#: How long a stopping worker waits for the registry that its remaining messages need.
_STOP_WAIT_S: Final = 3.0
#: A worker that held as much as it may is busy for this long.
_BUSY_S: Final = 10.0


class ChannelLost(Exception):
    """The channel closed or the broker cancelled the consumer; every unacknowledged message will be redelivered."""

    def __init__(self, cause: BaseException | None) -> None:
        super().__init__()
        #: What the channel was closed with; None when the consumer was cancelled.
        self.cause = cause


class Consumer:
    """Consumes on one channel until it is lost or the worker is asked to stop."""

    def __init__(
        self,
        channel: AbstractChannel,
        fleet: Fleet,
        processor: Processor,
        writer: BatchWriter,
        newer: NewerMessages,
        old_rows: OldLane,
        flush_rows: int,
        flush_seconds: float,
        traces: ChannelTraces | None = None,
    ) -> None:
        self._channel = channel
        self._fleet = fleet
        self._busy_until = 0.0
        self._processor = processor
        self._writer = writer
        self._newer = newer
        self._traces = traces
        self._old_rows = old_rows
        old_rows.on_written = self._old_written
        self._flush_rows = flush_rows
        self._flush_s = flush_seconds
        self._prefetch = Prefetch(flush_rows)
        self._inbox: deque[AbstractIncomingMessage] = deque()
        self._batch: Batch | None = None
        self._writing: asyncio.Task[None] | None = None
        self._unacknowledged = 0  # messages delivered and not yet acknowledged
        self._wake = asyncio.Event()
        self._lost = False
        self._cause: BaseException | None = None
        self._stopping = False
        self._stop_wait_ends = 0.0
        self._subscription = Subscription(channel, self._receive)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set and every message is settled; raises `ChannelLost` when the channel is gone."""
        self._channel.close_callbacks.add(lambda _, cause: self._lose(cause))
        underlay = await self._channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda *_: self._lose())
        stopping = asyncio.ensure_future(self._stop_when(stop))
        looking = asyncio.ensure_future(self._fleet.run())
        try:
            await self._subscription.begin(self._prefetch.count)
            while not (self._stopping and self._idle()):
                await self._turn()
        finally:
            stopping.cancel()
            looking.cancel()
            metrics.ROWS_WAITING.set(0)
            self._newer.forget()
            await self._abandon()

    async def _turn(self) -> None:
        """Do what can be done now, then wait until something happens."""
        if self._lost:
            raise ChannelLost(self._cause)
        self._wake.clear()
        if self._stopping:
            await self._subscription.end()
        await self._gather()
        self._unacknowledged -= await self._newer.return_due()
        if self._writing is not None and self._writing.done():
            written, self._writing = self._writing, None
            written.result()
        self._old_rows.check(self._flush_age_s, at_once=self._stopping or self._exhausted)
        if self._writing is None and self._batch is not None and self._due(self._batch):
            self._start_writing(self._batch)
            return
        if self._stopping and self._idle():
            return
        await self._adapt_prefetch()
        await self._wait()

    async def _wait(self) -> None:
        age_s = self._flush_age_s
        due = [self._newer.due_in_s, self._old_rows.due_in_s(age_s)]
        if self._batch is not None and self._writing is None:
            due.append(max(0.0, self._batch.started + age_s - time.monotonic()))
        try:
            async with asyncio.timeout(min((each for each in due if each is not None), default=None)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _gather(self) -> None:
        """Move messages from the inbox to the batch until the batch is full."""
        while self._inbox and not self._lost and not self._full():
            message = self._inbox[0]
            began = time.perf_counter()
            try:
                processed = await self._processor.process(message, self._wake.set)
            except NewerSchema as error:
                self._prefetch.observe(1, len(message.body))
                self._newer.hold(self._inbox.popleft(), str(error))
                await self._subscription.yield_to_others(self._prefetch.count)
                continue
            if self._lost:
                return
            if processed is None:
                self._give_up_waiting()
                return
            if self._batch is not None and self._batch.overlaps(processed):
                self._batch.closed = True
                return
            self._inbox.popleft()
            self._prefetch.observe(len(processed.outcomes), len(message.body), time.perf_counter() - began)
            self._sort(processed)
            await asyncio.sleep(0)  # heartbeats and acknowledgements must not wait for a long inbox

    def _sort(self, message: ProcessedMessage) -> None:
        """Put a message into the batch, or among the old ones what must be looked up there, or has only old rows."""
        old_before_ms = now_ms() - OLD_MS
        some_old = has_old(message, old_before_ms)
        all_old = some_old and not only(message, lambda time_ms: time_ms >= old_before_ms).rows
        if all_old or (some_old and message.seen_before) or self._old_rows.overlaps(message):
            self._old_rows.add(message)
            return
        self._batch = self._batch or Batch(time.monotonic())
        self._batch.add(message)
        metrics.ROWS_WAITING.set(self._batch.rows)

    def _old_written(self, messages: int) -> None:
        self._unacknowledged -= messages
        self._wake.set()

    def _give_up_waiting(self) -> None:
        """While stopping, wait only briefly for the registry; the broker redelivers what is left to other workers."""
        if not self._stopping or self._subscription.active:
            return
        now = time.monotonic()
        self._stop_wait_ends = self._stop_wait_ends or now + _STOP_WAIT_S
        if now >= self._stop_wait_ends:
            log.warning(
                "stopping with %d messages that can't be processed yet; the broker will redeliver them",
                len(self._inbox),
            )
            self._unacknowledged -= len(self._inbox)
            self._inbox.clear()

    def _full(self) -> bool:
        batch = self._batch
        if self._old_rows.full:
            return True
        return batch is not None and (batch.closed or batch.rows >= self._flush_rows or batch.bytes >= FLUSH_BYTES)

    def _due(self, batch: Batch) -> bool:
        aged = time.monotonic() - batch.started >= self._flush_age_s
        return self._stopping or self._full() or aged or self._exhausted

    @property
    def _exhausted(self) -> bool:
        return self._unacknowledged >= self._prefetch.count and not self._inbox

    @property
    def _flush_age_s(self) -> float:
        """The age at which a batch is written: longer where many workers are busy, so that they insert less often."""
        busy = time.monotonic() < self._busy_until
        return self._flush_s * (self._fleet.stretch if busy else 1.0)

    def _start_writing(self, batch: Batch) -> None:
        self._batch = None
        metrics.ROWS_WAITING.set(0)
        self._writing = asyncio.create_task(self._write(batch))
        self._writing.add_done_callback(lambda _: self._wake.set())

    async def _write(self, batch: Batch) -> None:
        left = await self._writer.write(batch, now_ms() - OLD_MS)
        self._unacknowledged -= len(batch.messages) - len(left)
        for message in left:
            self._old_rows.add(message)

    async def _adapt_prefetch(self) -> None:
        """Subscribe again if the prefetch should change."""
        if self._stopping:
            return
        if (count := self._prefetch.adjust(self._fleet.work_s)) is not None:
            await self._subscription.change(count)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        metrics.MESSAGES.labels(str(bool(message.redelivered)).lower()).inc()
        if self._traces is not None:
            self._traces.received(message)
        self._inbox.append(message)
        self._unacknowledged += 1
        if self._unacknowledged >= self._prefetch.count:
            self._busy_until = time.monotonic() + _BUSY_S
        self._wake.set()

    async def _stop_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True
        self._wake.set()

    def _lose(self, cause: BaseException | None = None) -> None:
        self._lost = True
        self._cause = self._cause or cause
        self._wake.set()

    def _idle(self) -> bool:
        written = self._batch is None and self._writing is None and self._old_rows.idle
        return written and not self._inbox and not self._subscription.active

    async def _abandon(self) -> None:
        """Abandon unfinished work: its messages will be redelivered."""
        await self._old_rows.abandon()
        if self._writing is None or self._writing.done():
            return
        self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=True)
        await self._writer.abandon()
