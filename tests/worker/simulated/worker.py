"""A worker on a simulated machine: the classes of `worker.run`, put together as it does, channel after channel."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aio_pika.exceptions import AMQPError

from shared.clocks import Clocks
from shared.seal import Opener, Sealer
from tests.worker.simulated.broker import Broker, Channel
from tests.worker.simulated.clickhouse import Client, Engine
from tests.worker.simulated.requests import Process
from tests.worker.simulated.virtual_time import VirtualLoop
from worker.consume.consumer import ChannelLost, Consumer
from worker.consume.newer_messages import NewerMessages
from worker.consume.old_lane import OldLane
from worker.consume.process import Processor
from worker.dead_letters.limiter import DeadLetterLimiter
from worker.dead_letters.publisher import DeadLetterPublisher
from worker.pipeline import Steps
from worker.store.insert import Inserter
from worker.store.lookup import OLD_QUERY_PREFIX, DuplicateLookup
from worker.store.retry import Retry
from worker.store.settle import MessageSettler
from worker.store.write import BatchWriter

FLUSH_ROWS = 6
FLUSH_S = 0.2
#: Short, so that what a worker can't read comes and goes among what it can.
HOLD_S = 0.5


class _Alone:
    """Stands for `Fleet`: nobody else takes from the queue, as far as this worker knows."""

    stretch = 1.0
    work_s = None

    async def run(self) -> None:
        await asyncio.Event().wait()


class _Ready:
    """Stands for `RegistryGate`."""

    def allows(self, version: int) -> bool:
        return True

    def resume(self) -> None:
        pass


@dataclass(eq=False)
class Worker:
    """One worker process; `keys` open messages, and are read at each new channel, as by a restart."""

    loop: VirtualLoop
    broker: Broker
    engine: Engine
    steps: Steps
    keys: Sequence[bytes]
    process: Process = field(init=False)
    channel: Channel | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    main: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self.process = Process(self.loop)
        self.main = self.process.spawn(self._run())

    async def _run(self) -> None:
        while not self.stop.is_set():
            channel = self.channel = Channel(self.broker, self.process)
            try:
                await self._consumer(channel).run(self.stop)
            except (ChannelLost, AMQPError, OSError, RuntimeError):
                await asyncio.sleep(0.1)
            finally:
                if channel.open:
                    channel.cut()

    def _consumer(self, connection: Any) -> Consumer:
        """See `worker.run.Worker._consumer`."""
        clickhouse: Any = Client(self.engine, self.process)
        retry = Retry(clickhouse.address)
        limiter = DeadLetterLimiter(itertools.count(0, 10**6).__next__)  # never pauses
        duplicates = DuplicateLookup(clickhouse, retry)
        inserter = Inserter(clickhouse, retry, duplicates, limiter)
        old_inserter = Inserter(clickhouse, retry, duplicates, limiter, OLD_QUERY_PREFIX)
        publisher = DeadLetterPublisher(connection, Sealer(self.keys), limiter)
        settler = MessageSettler(clickhouse, retry, publisher, limiter)
        writer = BatchWriter(duplicates, inserter, settler)
        newer = NewerMessages(settler.skip, HOLD_S, self.loop.time)
        old_rows = OldLane(BatchWriter(duplicates, old_inserter, settler), FLUSH_ROWS)
        clocks = Clocks(wall_clock=lambda: self.engine.now_ms / 1000, monotonic=self.loop.time)
        gate: Any = _Ready()
        fleet: Any = _Alone()
        processor = Processor(Opener(tuple(self.keys)), self.steps, gate, clocks)
        return Consumer(connection, fleet, processor, writer, newer, old_rows, FLUSH_ROWS, FLUSH_S)

    def kill(self) -> None:
        """End at once; the broker closes its channel, and what it sent to ClickHouse goes on."""
        channel, self.channel = self.channel, None
        self.process.kill()
        if channel is not None and channel.open:
            channel.close_callbacks.clear()
            channel.cut()
