"""Publishing dead letters, each confirmed by the broker before its message is acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, DeliveryError

from shared import dead_letters, message, metrics, properties, queue
from shared.backoff import Backoff
from shared.logs import BATCH_ID
from shared.pageview import join, pack_item
from shared.seal import Sealer
from worker.dead_letters.limiter import DeadLetterLimiter
from worker.delivery import Poison, ProcessedMessage, accepted_at, part_headers

log = logging.getLogger(__name__)

_CONFIRM_S: Final = 30.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
#: A reason that did not occur for this long is logged again when it does.
_QUIET_S: Final = 60.0


class ReasonLog:
    """Logs each reason once, and again when it returns after a quiet minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_s: dict[str, float] = {}

    def note(self, reason: str, batch_id: uuid.UUID | None = None) -> None:
        """Note the `reason` of a dead letter, which quotes nothing of a pageview, and the message that it is of."""
        now = self._clock()
        if now - self._last_s.get(reason, -math.inf) > _QUIET_S:
            log.warning("dead letters: %s; see `hitline dead list`", reason, extra={BATCH_ID: batch_id})
            self._last_s = {known: last for known, last in self._last_s.items() if now - last <= _QUIET_S}
        self._last_s[reason] = now


class DeadLetterPublisher:
    """Publishes poison to the dead-letter queue and retries until it is confirmed; only cancelling ends it."""

    def __init__(self, connection: AbstractConnection, sealer: Sealer, limiter: DeadLetterLimiter) -> None:
        self._connection = connection
        self._sealer = sealer
        self._limiter = limiter
        self._reasons = ReasonLog()
        self._channel: AbstractChannel | None = None
        self._worker = socket.gethostname()

    async def publish(self, messages: Sequence[ProcessedMessage]) -> None:
        """Publish all poison of some messages; returns once the broker has confirmed every dead letter.

        Raises what a lost connection raises.
        """
        letters = []
        for processed in messages:
            for poison in processed.poison:
                self._reasons.note(poison.reason, processed.key.batch_id)
                if not poison.admitted:
                    await self._limiter.admit(1 if poison.position is not None else processed.poison_pageviews)
                letters.append(self._letter(processed, poison))
        await self._until_confirmed(letters)
        for processed in messages:
            for poison in processed.poison:
                metrics.DEAD_LETTERS.labels(poison.reason.partition(":")[0]).inc()

    def _letter(self, processed: ProcessedMessage, poison: Poison) -> aio_pika.Message:
        """Build a dead letter; a message that can't be opened is published as it came, still sealed."""
        delivery = processed.delivery
        cause: dict[str, str | int] = {
            dead_letters.REASON: poison.reason,
            dead_letters.DIED_AT: datetime.now(UTC).isoformat(timespec="milliseconds"),
            dead_letters.WORKER: self._worker,
            dead_letters.LETTER_ID: str(uuid.uuid4()),
        }
        if poison.position is None or processed.headers is None:
            return aio_pika.Message(
                delivery.body,
                # Otherwise aiormq generates an id, and a replay could not be matched to its message.
                message_id=delivery.message_id or str(processed.key.batch_id),
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                content_type=delivery.content_type,
                type=delivery.type,
                timestamp=accepted_at(delivery),
                headers={**properties.portable(delivery.headers), **cause},
            )
        headers = part_headers(processed.headers, poison.position)
        letter = message.build(headers, join([pack_item(poison.item)]), self._sealer, cause)
        letter.timestamp = delivery.timestamp  # outcomes are counted under the day on which it was accepted
        return letter

    async def _until_confirmed(self, letters: Sequence[aio_pika.Message]) -> None:
        backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        try:
            while letters := await self._publish(letters):
                # The queue is full or missing.  Nothing is lost meanwhile: no message is acknowledged.
                if backoff.attempts == 0:
                    metrics.PAUSED.labels("dead_letters").set(1)
                    log.error(
                        "paused: the broker does not accept dead letters; is %s full or missing?", queue.DEAD_QUEUE
                    )
                await self._close()
                await asyncio.sleep(backoff.next_s())
        finally:  # also when abandoned: others may take the messages
            metrics.PAUSED.labels("dead_letters").set(0)

    async def _publish(self, letters: Sequence[aio_pika.Message]) -> list[aio_pika.Message]:
        """Publish all letters at once and return those not confirmed; raises what a lost connection raises."""
        async with asyncio.timeout(_CONFIRM_S):
            self._channel = self._channel or await self._connection.channel(
                publisher_confirms=True, on_return_raises=True
            )
            exchange = await self._channel.get_exchange(queue.EXCHANGE, ensure=False)
        results = await asyncio.gather(
            *(exchange.publish(letter, queue.DEAD, mandatory=True, timeout=_CONFIRM_S) for letter in letters),
            return_exceptions=True,
        )
        unconfirmed = []
        for letter, result in zip(letters, results, strict=True):
            if isinstance(result, (DeliveryError, TimeoutError)):
                unconfirmed.append(letter)
            elif isinstance(result, BaseException):
                raise result
        return unconfirmed

    async def _close(self) -> None:
        """Close the channel: one that a full queue has refused may never learn that there is room again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            with contextlib.suppress(AMQPError, ConnectionError, OSError, RuntimeError, TimeoutError):
                async with asyncio.timeout(2):
                    await channel.close()
