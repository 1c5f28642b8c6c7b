"""Writing dead letters, each confirmed by the broker before anything is acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import uuid
from datetime import UTC, datetime
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import AMQPError, DeliveryError

from shared import dead_letters, message, metrics, queue
from shared.pageview import join, pack_item
from shared.seal import Sealer
from worker import outcome_rows
from worker.judge import Judged, Poison
from worker.poison import PoisonGuard

log = logging.getLogger(__name__)

_CONFIRM_S: Final = 30.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0


class Gravedigger:
    """Puts what is poison into the dead-letter queue, for as long as it takes; cancelling is the way out."""

    def __init__(self, connection: AbstractConnection, sealer: Sealer, guard: PoisonGuard) -> None:
        self._connection = connection
        self._sealer = sealer
        self._guard = guard
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._worker = socket.gethostname()

    async def bury(self, judged: Judged) -> None:
        """Set aside all that is poison in a message; returns once each of it is confirmed."""
        for poison in judged.poison:
            if not poison.admitted:
                await self._guard.admit()
            await self._until_confirmed(self._letter(judged, poison))
            metrics.DEAD_LETTERS.labels(poison.reason.partition(":")[0]).inc()

    def _letter(self, judged: Judged, poison: Poison) -> aio_pika.Message:
        """Make a dead letter; an unopenable message goes as it came, which is sealed."""
        epitaph: dict[str, str | int] = {
            dead_letters.REASON: poison.reason,
            dead_letters.DIED_AT: datetime.now(UTC).isoformat(timespec="milliseconds"),
            dead_letters.WORKER: self._worker,
            dead_letters.LETTER_ID: str(uuid.uuid4()),
        }
        if poison.position is None or judged.headers is None:
            return aio_pika.Message(
                judged.message.body,
                message_id=judged.message.message_id,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                content_type=judged.message.content_type,
                type=judged.message.type,
                timestamp=judged.message.timestamp,
                headers={**(judged.message.headers or {}), **epitaph},
            )
        headers = outcome_rows.part_headers(judged.headers, poison.position)
        letter = message.build(headers, join([pack_item(poison.item)]), self._sealer, epitaph)
        letter.timestamp = judged.message.timestamp  # outcomes go by the day on which it was accepted
        return letter

    async def _until_confirmed(self, letter: aio_pika.Message) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._publish(letter)
            except (DeliveryError, TimeoutError) as error:
                # The queue is full or not there.  What it has in it already is safe, and so is what we hold.
                if pause_s == _FIRST_PAUSE_S:
                    metrics.PAUSED.labels("dead_letters").set(1)
                    log.error(
                        "paused: the broker does not take dead letters (%s); is %s full or missing?",
                        type(error).__name__, queue.DEAD_QUEUE,
                    )  # fmt: skip
                await self._close()
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            else:
                metrics.PAUSED.labels("dead_letters").set(0)
                return

    async def _publish(self, letter: aio_pika.Message) -> None:
        async with asyncio.timeout(_CONFIRM_S):
            if self._exchange is None:
                self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                self._exchange = await self._channel.get_exchange(queue.EXCHANGE, ensure=False)
            await self._exchange.publish(letter, queue.DEAD, mandatory=True)

    async def _close(self) -> None:
        """Give the channel up: one that a full queue refused may not hear that there is room again."""
        channel, self._channel, self._exchange = self._channel, None, None
        if channel is not None:
            with contextlib.suppress(AMQPError, ConnectionError, OSError, RuntimeError, TimeoutError):
                async with asyncio.timeout(2):
                    await channel.close()
