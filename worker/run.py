"""Puts the parts of a worker together: connections, registry, look-ups, and one channel after another."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError

from shared import broker_errors, metrics, queue
from shared.admin import Admin
from shared.background import background
from shared.backoff import Backoff
from shared.broker_watch import BrokerWatch
from shared.clickhouse import ClickHouse
from shared.clocks import Clocks
from shared.process import return_freed_memory
from shared.queue_difference import QueueDifference
from shared.registry import Replica
from shared.registry.poll import IDLE_SECONDS, Poller
from shared.seal import Opener, Sealer, key_names
from shared.traces import open_traces
from worker.consume.consumer import ChannelLost, Consumer
from worker.consume.fleet import Fleet
from worker.consume.newer_messages import NewerMessages
from worker.consume.old_lane import OldLane
from worker.consume.process import Processor
from worker.consume.registry_gate import RegistryGate
from worker.consume.salt_keeper import SaltKeeper
from worker.dead_letters.allowances import Allowances
from worker.dead_letters.limiter import DeadLetterLimiter
from worker.dead_letters.publisher import DeadLetterPublisher
from worker.lookups.lookups import Lookups
from worker.pipeline import build_steps
from worker.settings import WorkerSettings
from worker.store.insert import Inserter
from worker.store.lookup import OLD_QUERY_PREFIX, DuplicateLookup
from worker.store.retry import Retry
from worker.store.settle import MessageSettler
from worker.store.write import BatchWriter

if TYPE_CHECKING:
    from worker.traces import ChannelTraces

log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
#: A channel that was lost sooner did not work: the next pause is longer, and the same reason is not logged again.
_LASTING_S: Final = 5.0
#: An insert may take long on slow disks; after this, its fate counts as unknown and its rows are looked up.
_INSERT_S: Final = 300.0
_REGISTRY_S: Final = 20.0


class Worker:
    """All parts of a worker; `run` works until `stop` is set."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._registry = Replica(settings.state_dir, "worker", ("sites", "exclusions"), key_names(settings.queue_keys))
        url, cluster = settings.clickhouse_url, settings.clickhouse_cluster
        self._clickhouse = ClickHouse(url, "hitline worker", read_s=_INSERT_S, cluster=cluster)
        # A separate client, so that a server that stops answering does not keep the registry waiting for `_INSERT_S`.
        self._control = ClickHouse(url, "hitline worker registry", read_s=_REGISTRY_S, cluster=cluster)
        self._poller = Poller(self._registry, self._control, idle_s=IDLE_SECONDS)
        self._lookups = Lookups(settings, self._registry)
        self._gate = RegistryGate(self._registry, self._poller, self._lookups)
        self._sealer, opener = Sealer(settings.queue_keys), Opener(settings.queue_keys)
        self._salts = SaltKeeper(self._lookups.salts, self._control, self._sealer, opener)
        self._clocks = Clocks("what is too old by one clock only is stored, and not dropped")
        self._watch = BrokerWatch(settings.rabbitmq_api_url, settings.amqp_url[0], self._clocks)
        steps = build_steps(self._lookups, self._clocks.earliest_ms)
        self._processor = Processor(opener, steps, self._gate, self._clocks)
        self._limiter = DeadLetterLimiter(ask=Allowances(self._control).take)
        self._connected = False
        self._difference = QueueDifference()
        self._traces = open_traces("worker", settings.traces_ratio)
        self._admin = Admin(settings.admin_host, settings.admin_port, self._unready_reason, self._refresh_metrics)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain: stop consuming, insert, acknowledge, leave."""
        for name, problem in self._lookups.problems.items():
            log.warning("%s: %s", name, problem)
        work = (
            self._poller.run(),
            self._gate.run(),
            self._salts.run(),
            self._clocks.run(self._control),
            self._watch.run(),
            return_freed_memory(),
        )
        async with background(self._admin, stop, *work):
            log.info("admin port %d", self._admin.port)
            await self._consume(stop)
        await self._clickhouse.close()
        await self._control.close()
        self._registry.close()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)

    async def _consume(self, stop: asyncio.Event) -> None:
        """Consume on one channel after another until `stop` is set."""
        backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        told = ""
        while not stop.is_set():
            began = math.inf
            try:
                async with self._connection() as connection:
                    await self._difference.look(connection)
                    consumer = await self._consumer(connection)
                    log.info("broker: connected, consuming")
                    began = time.monotonic()
                    await consumer.run(stop)
            except (ChannelLost, AMQPError, ConnectionError, OSError, TimeoutError, RuntimeError) as error:
                if time.monotonic() - began > _LASTING_S:
                    backoff.reset()
                    told = ""
                pause_s, reason = backoff.next_s(), _explain(error)
                if reason != told:
                    log.warning("broker: %s, reconnecting in %.1f s", reason, pause_s)
                told = reason
                # A lost channel leaves reference cycles with megabytes of messages, and collections are rare by design.
                gc.collect()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await stop.wait()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[AbstractConnection]:
        connection = await queue.connect(self._settings.amqp_url, "hitline worker")
        self._connected = True
        metrics.BROKER_UP.set(1)
        try:
            yield connection
        finally:
            self._connected = False
            metrics.BROKER_UP.set(0)
            with contextlib.suppress(AMQPError, ConnectionError, OSError, RuntimeError, TimeoutError):
                async with asyncio.timeout(2):
                    await connection.close()

    async def _consumer(self, connection: AbstractConnection) -> Consumer:
        """Return a consumer on a new channel, with everything that lives as long as that channel."""
        channel = await connection.channel(publisher_confirms=False)
        retry = Retry(self._clickhouse.address)
        duplicates = DuplicateLookup(self._clickhouse, retry)
        inserter = Inserter(self._clickhouse, retry, duplicates, self._limiter)
        old_inserter = Inserter(self._clickhouse, retry, duplicates, self._limiter, OLD_QUERY_PREFIX)
        publisher = DeadLetterPublisher(connection, self._sealer, self._limiter)
        traces = self._channel_traces()
        settler = MessageSettler(self._clickhouse, retry, publisher, self._limiter, traces)
        writer = BatchWriter(duplicates, inserter, settler, traces)
        newer = NewerMessages(settler.skip)
        old_rows = OldLane(BatchWriter(duplicates, old_inserter, settler, traces), self._settings.flush_rows)
        flush = self._settings.flush_rows, self._settings.flush_seconds
        return Consumer(channel, Fleet(connection), self._processor, writer, newer, old_rows, *flush, traces)

    def _channel_traces(self) -> ChannelTraces | None:
        """Return what notes the traced messages of one channel; None where traces are off."""
        if self._traces is None:
            return None
        from worker.traces import ChannelTraces  # needs the SDK

        return ChannelTraces(self._traces)

    def _unready_reason(self) -> str | None:
        if not self._connected:
            return "the broker is not connected"
        return "the registry is empty or has never been fetched" if self._registry.empty else None

    def _refresh_metrics(self) -> None:
        metrics.PROCESS.labels("worker").set(1)
        metrics.REGISTRY_AGE.set(self._poller.age_s)
        metrics.REGISTRY_VERSION.set(self._registry.version)


def _explain(error: BaseException) -> str:
    return (
        broker_errors.explain_lost_channel(error.cause)
        if isinstance(error, ChannelLost)
        else broker_errors.explain(error)
    )
