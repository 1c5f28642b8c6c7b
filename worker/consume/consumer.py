"""The life of one channel: take messages, gather a batch, write it, acknowledge it.

A batch lives as long as the channel that delivered it: when that closes, whatever is unfinished is forgotten, its
insert is ended, and the broker delivers the messages anew, marked as redelivered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from shared import metrics, queue
from worker.consume.prefetch import Prefetch
from worker.delivery import ProcessedMessage
from worker.store.batch import FLUSH_BYTES, Batch
from worker.store.insert import Inserter
from worker.store.write import BatchWriter

log = logging.getLogger(__name__)

#: What arrived before the broker confirmed a cancellation is handed over by tasks that have yet to run.
_SETTLE_S: Final = 0.01
#: How long a stopping worker waits for the registry that the messages at hand need.
_PATIENCE_S: Final = 3.0


class ChannelLost(Exception):
    """The channel closed or the broker cancelled the consumer; all that was unacknowledged will come again."""


class Judge(Protocol):
    """What a session needs to know about messages."""

    def judge(self, message: Any, when_ready: Callable[[], None]) -> ProcessedMessage | None:
        """Return the verdict on a message; None: not now, `when_ready` will be called when it is worth trying again."""


class Consumer:
    """Consumes on one channel until it is lost or the worker is asked to stop."""

    def __init__(
        self, channel: AbstractChannel, judge: Judge, inserter: Inserter, writer: BatchWriter,
        flush_rows: int, flush_seconds: float,
    ) -> None:  # fmt: skip
        self._channel = channel
        self._judge = judge
        self._inserter = inserter
        self._writer = writer
        self._flush_rows = flush_rows
        self._flush_s = flush_seconds
        self._prefetch = Prefetch(flush_rows)
        self._inbox: deque[AbstractIncomingMessage] = deque()
        self._batch: Batch | None = None
        self._writing: asyncio.Task[None] | None = None
        self._held = 0  # messages delivered and not yet acknowledged
        self._wake = asyncio.Event()
        self._lost = False
        self._stopping = False
        self._patience_ends = 0.0
        self._consumer: tuple[AbstractQueue, str] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set and all that was taken is settled; raises `ChannelLost` when the channel is gone."""
        self._channel.close_callbacks.add(lambda *_: self._lose())
        underlay = await self._channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda *_: self._lose())
        stopping = asyncio.ensure_future(self._stop_when(stop))
        try:
            await self._consume(self._prefetch.count)
            while not (self._stopping and self._idle()):
                await self._turn()
        finally:
            stopping.cancel()
            metrics.ROWS_WAITING.set(0)
            await self._give_up()

    async def _turn(self) -> None:
        """Do what can be done now, then wait until something happens."""
        if self._lost:
            raise ChannelLost
        self._wake.clear()
        if self._stopping and self._consumer is not None:
            await self._stop_consuming()
        await self._gather()
        if self._writing is not None and self._writing.done():
            written, self._writing = self._writing, None
            written.result()
        if self._writing is None and self._batch is not None and self._due(self._batch):
            self._start_writing(self._batch)
            return
        if self._stopping and self._idle():
            return
        await self._adapt_prefetch()
        await self._wait()

    async def _wait(self) -> None:
        timeout_s = None
        if self._batch is not None and self._writing is None:
            timeout_s = max(0.0, self._batch.started + self._flush_s - time.monotonic())
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _gather(self) -> None:
        """Move messages from the inbox to the batch until that is full; then nothing more is taken."""
        while self._inbox and not self._lost and not self._full():
            message = self._inbox[0]
            processed = self._judge.judge(message, self._wake.set)
            if processed is None:
                self._leave_to_others()
                return
            if self._batch is not None and self._batch.overlaps(processed):
                self._batch.closed = True
                return
            self._inbox.popleft()
            metrics.MESSAGES.labels(str(bool(message.redelivered)).lower()).inc()
            self._prefetch.saw(len(processed.outcomes), len(message.body))
            self._batch = self._batch or Batch(time.monotonic())
            self._batch.add(processed)
            metrics.ROWS_WAITING.set(self._batch.rows)
            await asyncio.sleep(0)  # heartbeats and acknowledgements must not wait for a long inbox

    def _leave_to_others(self) -> None:
        """While stopping, wait only shortly for what is needed to judge the rest: the broker delivers it to others."""
        if not self._stopping or self._consumer is not None:
            return
        now = time.monotonic()
        self._patience_ends = self._patience_ends or now + _PATIENCE_S
        if now >= self._patience_ends:
            log.warning("leaving %d messages, which can't be processed now, to be delivered again", len(self._inbox))
            self._held -= len(self._inbox)
            self._inbox.clear()

    def _full(self) -> bool:
        batch = self._batch
        return batch is not None and (batch.closed or batch.rows >= self._flush_rows or batch.bytes >= FLUSH_BYTES)

    def _due(self, batch: Batch) -> bool:
        exhausted = self._held >= self._prefetch.count and not self._inbox
        aged = time.monotonic() - batch.started >= self._flush_s
        return self._stopping or self._full() or aged or exhausted

    def _start_writing(self, batch: Batch) -> None:
        self._batch = None
        metrics.ROWS_WAITING.set(0)
        self._writing = asyncio.create_task(self._write(batch))
        self._writing.add_done_callback(lambda _: self._wake.set())

    async def _write(self, batch: Batch) -> None:
        await self._writer.write(batch)
        self._held -= len(batch.processed)

    async def _adapt_prefetch(self) -> None:
        """Consume anew with another prefetch, which the broker applies to new consumers only."""
        if self._stopping or self._consumer is None:
            return
        if (count := self._prefetch.better()) is not None:
            await self._stop_consuming()
            await self._consume(count)

    async def _consume(self, prefetch: int) -> None:
        await self._channel.set_qos(prefetch_count=prefetch)
        source = await self._channel.get_queue(queue.QUEUE, ensure=False)
        self._consumer = (source, await source.consume(self._take))

    async def _stop_consuming(self) -> None:
        if self._consumer is not None:
            source, tag = self._consumer
            self._consumer = None
            await source.cancel(tag)
            await asyncio.sleep(_SETTLE_S)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        self._inbox.append(message)
        self._held += 1
        self._wake.set()

    async def _stop_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True
        self._wake.set()

    def _lose(self) -> None:
        self._lost = True
        self._wake.set()

    def _idle(self) -> bool:
        return not self._inbox and self._batch is None and self._writing is None and self._consumer is None

    async def _give_up(self) -> None:
        """Forget what is unfinished; the insert under way is ended, since its messages will come again."""
        if self._writing is None or self._writing.done():
            return
        self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=True)
        await self._inserter.kill_running()
