"""The gateway's connection to the broker: one channel with confirms, kept up by itself, and honest about its state."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractMessage
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, DeliveryError

from gateway.replies import Reason
from shared import metrics, queue

log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
#: How often a connection is asked whether the broker blocks it (memory or disk alarm).
_BLOCK_POLL_S: Final = 0.1
#: How often a broker without Hitline's exchange is asked whether it has it now.
_NO_EXCHANGE_PAUSE_S: Final = 0.5
#: How often a channel that was refused is replaced.
_RENEW_S: Final = 1.0
#: How long publishes under way may still be confirmed once the broker has blocked.
_BLOCKED_GRACE_S: Final = 1.0


class NotTaken(Exception):
    """The broker certainly did not take the message; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.label)
        self.reason = reason


class FateUnknown(Exception):
    """The message was sent and may or may not have been taken."""


class Link:
    """Publishes messages and waits for the broker's confirm.

    `trouble` is the reason why nothing can be published right now, None while all is well.
    """

    def __init__(self, urls: Sequence[str], confirm_seconds: float) -> None:
        self._urls = urls
        self._confirm_s = confirm_seconds
        self._exchange: AbstractExchange | None = None
        self._lost = asyncio.Event()
        self._deadlines: set[asyncio.Timeout] = set()
        self._channel: AbstractChannel | None = None
        self._refused = False
        self._renew_at = 0.0
        self._closing: set[asyncio.Task[None]] = set()
        self.trouble: Reason | None = Reason.BROKER_DOWN
        #: Called whenever `trouble` changes.
        self.on_change: Callable[[], None] = lambda: None

    async def publish(self, message: AbstractMessage) -> None:
        """Publish and wait for the confirm; raises `NotTaken` or `FateUnknown`."""
        exchange = self._exchange
        if exchange is None or self.trouble is not None:
            raise NotTaken(self.trouble or Reason.BROKER_DOWN)
        deadline = asyncio.timeout(self._confirm_s)
        self._deadlines.add(deadline)
        try:
            async with deadline:
                # Mandatory: a broker confirms what it could not route, unless it is told to return it.
                await exchange.publish(message, queue.PAGEVIEWS, mandatory=True)
        except DeliveryError as error:
            returned = error.message is not None
            self._refused = self._refused or not returned
            raise NotTaken(Reason.NO_QUEUE if returned else Reason.BROKER_REFUSED) from None
        except TimeoutError:
            if self.trouble is not Reason.BROKER_BLOCKED:
                self._lost.set()  # a broker that says nothing: its connection is of no use any more
            raise FateUnknown from None
        except (AMQPError, ConnectionError, OSError, RuntimeError):
            self._lost.set()
            raise FateUnknown from None
        except asyncio.CancelledError:
            if _stopped():
                raise
            self._lost.set()
            raise FateUnknown from None
        finally:
            self._deadlines.discard(deadline)

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                connection = await queue.connect(self._urls, "hitline gateway")
            except (AMQPError, ConnectionError, OSError, TimeoutError) as error:
                self._set_trouble(Reason.BROKER_DOWN)
                log.warning("broker: not reachable (%s), next try in %.1f s", type(error).__name__, pause_s)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(await self._use_up(connection))

    async def _use_up(self, connection: AbstractConnection) -> float:
        """Use the connection until it is of no use any more; returns the seconds to wait before the next one."""
        why = Reason.BROKER_DOWN
        try:
            await self._use(connection)
        except ChannelNotFoundEntity:
            if self.trouble is not Reason.NO_QUEUE:
                log.warning("broker: it has no exchange %s (hitline migrate makes it)", queue.EXCHANGE)
            why = Reason.NO_QUEUE
            return _NO_EXCHANGE_PAUSE_S
        except (AMQPError, ConnectionError, OSError, TimeoutError, RuntimeError) as error:
            log.warning("broker: connection lost (%s)", type(error).__name__)
            return _FIRST_PAUSE_S
        except asyncio.CancelledError:
            if _stopped():
                raise
            log.warning("broker: connection lost (while waiting for an answer)")
            return _FIRST_PAUSE_S
        finally:
            self._exchange = self._channel = None
            self._set_trouble(why)
            await _close(connection)
        return 0.0

    async def _use(self, connection: AbstractConnection) -> None:
        self._lost.clear()
        connection.close_callbacks.add(lambda *_: self._lost.set())
        await self._open_channel(connection)
        log.info("broker: connected")
        self._set_trouble(None)
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            while not lost.done():
                await asyncio.wait([lost], timeout=_BLOCK_POLL_S)
                if not lost.done():
                    self._set_trouble(Reason.BROKER_BLOCKED if await _blocked(connection) else None)
                if self._refused and self.trouble is None:
                    await self._renew_channel(connection)
        finally:
            lost.cancel()
        log.warning("broker: connection given up")

    async def _open_channel(self, connection: AbstractConnection) -> None:
        """Publish on a new channel from now on; raises `TimeoutError` when the broker has fallen silent meanwhile.

        Raises `ChannelNotFoundEntity` where there is no exchange: publishing to it would close the channel each time,
        and leave of unknown fate what certainly is not taken.
        """
        async with asyncio.timeout(queue.CONNECT_SECONDS):
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            exchange = await channel.get_exchange(queue.EXCHANGE, ensure=True)
        channel.close_callbacks.add(self._channel_closed)
        self._exchange, self._channel = exchange, channel

    def _channel_closed(self, channel: AbstractChannel | None, error: BaseException | None) -> None:
        if channel is self._channel:
            log.warning("broker: it closed the channel (%s)", type(error).__name__)
            self._lost.set()

    async def _renew_channel(self, connection: AbstractConnection) -> None:
        """Replace the channel once it was refused.

        A channel that a full queue has refused may not hear that there is room again (tried with RabbitMQ 3.10, whose
        quorum queues tell it only when consumers make room, not when a purge or a changed policy does).
        """
        if time.monotonic() < self._renew_at:
            return
        self._renew_at = time.monotonic() + _RENEW_S
        self._refused = False
        old = self._channel
        await self._open_channel(connection)
        if old is not None:
            # What is in flight on it is confirmed first.
            task = asyncio.create_task(_close_later(old, self._confirm_s))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _set_trouble(self, trouble: Reason | None) -> None:
        if trouble is self.trouble:
            return
        self.trouble = trouble
        metrics.BROKER_UP.set(0 if trouble else 1)
        if trouble is Reason.BROKER_BLOCKED:
            log.warning("broker: blocked by a memory or disk alarm")
            self._hurry()
        self.on_change()

    def _hurry(self) -> None:
        """A blocked broker does not read on: do not let those wait who have published already."""
        soon = asyncio.get_running_loop().time() + _BLOCKED_GRACE_S
        for deadline in self._deadlines:
            when = deadline.when()
            if when is not None and when > soon:
                deadline.reschedule(soon)


def _stopped() -> bool:
    """Tell whether this task was cancelled by us: the library ends what waits on a dying connection in that way too."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _blocked(connection: AbstractConnection) -> bool:
    """Tell whether the broker has told us to stop publishing (`connection.blocked`)."""
    transport = connection.transport
    if transport is None:
        return False
    waiting = asyncio.ensure_future(transport.connection.ready())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if waiting.done():
        return False
    waiting.cancel()
    return True


async def _close_later(channel: AbstractChannel, after_s: float) -> None:
    await asyncio.sleep(after_s)
    with contextlib.suppress(AMQPError, ConnectionError, OSError, RuntimeError, TimeoutError):
        await channel.close()


async def _close(connection: AbstractConnection) -> None:
    """Close a connection without trusting its broker to answer."""
    try:
        async with asyncio.timeout(1):
            await connection.close()
    except (AMQPError, ConnectionError, OSError, RuntimeError, TimeoutError):
        log.debug("broker: connection did not close in order")
    except asyncio.CancelledError:
        if _stopped():
            raise
