"""The worker's parts put together: connections, registry, look-ups, and one session after another."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError

from shared import metrics, queue
from shared.admin import Admin
from shared.background import background
from shared.clickhouse import ClickHouse
from shared.registry import Replica
from shared.registry.poll import Poller
from shared.seal import Opener, Sealer
from worker.consume.consumer import ChannelLost, Consumer
from worker.consume.process import CannotProcessNow, judge, open_message
from worker.consume.registry_gate import RegistryGate
from worker.dead_letters.limiter import DeadLetterLimiter
from worker.dead_letters.publisher import DeadLetterPublisher
from worker.delivery import ProcessedMessage
from worker.lookups.lookups import Lookups
from worker.pipeline import build_steps
from worker.settings import WorkerSettings
from worker.store.insert import Inserter
from worker.store.lookup import DuplicateLookup
from worker.store.retry import Retry
from worker.store.settle import MessageSettler
from worker.store.write import BatchWriter

log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
#: An insert may take long where disks are slow; longer than this, its fate counts as unknown and is looked up.
_INSERT_S: Final = 300.0
_REGISTRY_S: Final = 20.0


class Worker:
    """All parts of a worker; `run` works until `stop` is set."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._registry = Replica(settings.state_dir, "worker")
        self._clickhouse = ClickHouse(settings.clickhouse_url, "hitline worker", read_s=_INSERT_S)
        # A connection of its own: a server that is gone without a word must not keep it waiting as long as an insert.
        self._control = ClickHouse(settings.clickhouse_url, "hitline worker registry", read_s=_REGISTRY_S)
        self._poller = Poller(self._registry, self._control)
        self._lookups = Lookups(settings, self._registry)
        self._gate = RegistryGate(self._registry, self._poller, self._lookups)
        self._limiter = DeadLetterLimiter()
        self._steps = build_steps(self._lookups)
        self._opener = Opener(settings.queue_keys)
        self._sealer = Sealer(settings.queue_keys)
        self._connected = False
        self._admin = Admin(settings.admin_host, settings.admin_port, self._unready, self._refresh_metrics)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain: stop consuming, insert, acknowledge, leave."""
        for name, problem in self._lookups.problems.items():
            log.warning("%s: %s", name, problem)
        async with background(self._admin, stop, self._poller.run(), self._gate.run()):
            log.info("admin port %d", self._admin.port)
            while not stop.is_set():
                await self._work(stop)
        await self._clickhouse.close()
        await self._control.close()
        self._registry.close()

    async def _work(self, stop: asyncio.Event) -> None:
        """Connect and work through one session; whatever ends it but a stop is followed by another."""
        pause_s = _FIRST_PAUSE_S
        while not stop.is_set():
            try:
                async with self._channel() as connection:
                    pause_s = _FIRST_PAUSE_S
                    await self._one_session(connection, stop)
            except (ChannelLost, AMQPError, ConnectionError, OSError, TimeoutError, RuntimeError) as error:
                log.warning("broker: %s, connecting anew in %.1f s", _why(error), pause_s)
                # A lost channel leaves cycles with megabytes of messages behind, and collections are rare by design.
                gc.collect()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await stop.wait()
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    @contextlib.asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractConnection]:
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

    async def _one_session(self, connection: AbstractConnection, stop: asyncio.Event) -> None:
        channel = await connection.channel(publisher_confirms=False)
        retry = Retry()
        duplicates = DuplicateLookup(self._clickhouse, retry)
        inserter = Inserter(self._clickhouse, retry, duplicates, self._limiter)
        publisher = DeadLetterPublisher(connection, self._sealer, self._limiter)
        writer = BatchWriter(duplicates, inserter, MessageSettler(self._clickhouse, retry, publisher, self._limiter))
        settings = self._settings
        session = Consumer(channel, self, inserter, writer, settings.flush_rows, settings.flush_seconds)
        log.info("broker: connected, taking pageviews")
        await session.run(stop)

    def judge(self, message: Any, when_ready: Callable[[], None]) -> ProcessedMessage | None:
        """See `session.Judge`; a message that can't be opened needs no registry and holds nothing up."""
        opened = open_message(message, self._opener)
        if isinstance(opened, ProcessedMessage):
            return opened
        if self._gate.passes(opened.headers.registry_version):
            try:
                processed = judge(opened, self._steps)
            except CannotProcessNow as error:
                log.debug("not now: %s", error)
            else:
                self._gate.passed()
                return processed
        self._gate.ask(when_ready)
        return None

    def _unready(self) -> str | None:
        if not self._connected:
            return "the broker is not connected"
        return "the registry is empty or was never read" if self._registry.empty else None

    def _refresh_metrics(self) -> None:
        metrics.REGISTRY_AGE.set(self._poller.age_s)
        metrics.REGISTRY_VERSION.set(self._registry.version)


def _why(error: BaseException) -> str:
    if isinstance(error, ChannelLost):
        return "channel closed or consumer cancelled (is the queue there? see `hitline migrate`)"
    return f"{type(error).__name__}"
