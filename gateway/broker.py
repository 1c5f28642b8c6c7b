"""The gateway's connection to the broker: one channel with publisher confirms that reconnects by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractMessage
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, DeliveryError

from gateway.confirm_deadlines import ConfirmDeadlines
from gateway.replies import Reason
from shared import broker_errors, metrics, queue
from shared.backoff import Backoff
from shared.queue_difference import QueueDifference

log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
#: How often to check whether the broker has blocked the connection (memory or disk alarm).
_BLOCK_POLL_S: Final = 0.1
#: How long to wait before asking a broker without Hitline's exchange again.
_NO_EXCHANGE_PAUSE_S: Final = 0.5
#: Minimum interval between two replacements of a channel whose publish was refused.
_RENEW_S: Final = 1.0
#: Replacements after which the connection is replaced as well: aio-pika keeps some KiB of each closed channel until its
#: connection closes.  It then waits for a moment without publishes in flight, but not for ever.
_MAX_RENEWALS: Final = 200
#: How often it is logged that the queue refuses messages.
_REFUSAL_QUIET_S: Final = 60.0


class NotPublished(Exception):
    """The broker did not accept the message; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.label)
        self.reason = reason


class PublishUncertain(Exception):
    """The message was sent, and the broker may or may not have stored it."""


class BrokerConnection:
    """Publishes messages and waits for the broker's confirm.

    `unavailable_reason` says why nothing can be published right now; None while the connection is usable.
    """

    def __init__(
        self, urls: Sequence[str], confirm_seconds: float, is_unsafe: Callable[[], bool] = lambda: False
    ) -> None:
        """`is_unsafe`: whether the queue may delete what is published, so that nothing must be."""
        self._urls = urls
        self._confirm_s = confirm_seconds
        self._is_unsafe = is_unsafe
        self._exchange: AbstractExchange | None = None
        self._lost = asyncio.Event()
        self._deadlines = ConfirmDeadlines(confirm_seconds)
        self._channel: AbstractChannel | None = None
        self._refused = False
        self._renew_at = 0.0
        self._renewals = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._problem = ""
        self._refusal_logged_at = -_REFUSAL_QUIET_S
        self._difference = QueueDifference()
        self.unavailable_reason: Reason | None = Reason.BROKER_DOWN
        #: Called whenever `unavailable_reason` changes.
        self.on_change: Callable[[], None] = lambda: None

    async def publish(self, message: AbstractMessage) -> None:
        """Publish and wait for the confirm; raises `NotPublished` or `PublishUncertain`."""
        exchange = self._exchange
        if exchange is None or self.unavailable_reason is not None:
            raise NotPublished(self.unavailable_reason or Reason.BROKER_DOWN)
        try:
            with self._deadlines.one() as deadline:
                async with deadline:
                    # Mandatory: otherwise a broker confirms messages that it could not route to any queue.
                    await exchange.publish(message, queue.PAGEVIEWS, mandatory=True)
        except DeliveryError as error:
            error.__traceback__ = None  # aiormq's frames in it hold the future that holds the error, and the message
            returned = error.message is not None
            self._refused = self._refused or not returned
            if not returned:
                self._log_refusal()
            raise NotPublished(Reason.NO_QUEUE if returned else Reason.BROKER_REFUSED) from None
        except TimeoutError:
            if self.unavailable_reason is not Reason.BROKER_BLOCKED:
                self._lost.set()  # a silent broker: replace the connection
            raise PublishUncertain from None
        except (AMQPError, ConnectionError, OSError, RuntimeError):
            self._lost.set()
            raise PublishUncertain from None
        except asyncio.CancelledError:
            if _stopped():
                raise
            self._lost.set()
            raise PublishUncertain from None

    async def run(self) -> None:
        """Stay connected until cancelled."""
        self._deadlines.watch_lag()
        try:
            await self._stay_connected()
        finally:
            self._deadlines.stop()

    async def _stay_connected(self) -> None:
        backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        while True:
            try:
                connection = await queue.connect(self._urls, "hitline gateway")
            except (AMQPError, ConnectionError, OSError, TimeoutError) as error:
                self._set_unavailable(Reason.BROKER_DOWN)
                self._report(f"{broker_errors.explain(error)}; retrying until it works")
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            await asyncio.sleep(await self._use_until_lost(connection))

    async def _use_until_lost(self, connection: AbstractConnection) -> float:
        """Use the connection until it fails; returns the seconds to wait before opening the next one."""
        why = Reason.BROKER_DOWN
        try:
            await self._use(connection)
        except ChannelNotFoundEntity:
            if self.unavailable_reason is not Reason.NO_QUEUE:
                self._report(f"exchange {queue.EXCHANGE} does not exist; create it with: hitline migrate")
            why = Reason.NO_QUEUE
            return _NO_EXCHANGE_PAUSE_S
        except (AMQPError, ConnectionError, OSError, TimeoutError, RuntimeError) as error:
            self._report(f"connection lost: {broker_errors.explain(error)}")
            return _FIRST_PAUSE_S
        except asyncio.CancelledError:
            if _stopped():
                raise
            log.warning("broker: connection lost (while waiting for a reply)")
            return _FIRST_PAUSE_S
        finally:
            self._exchange = self._channel = None
            self._set_unavailable(why)
            await _close(connection)
        return 0.0

    async def _use(self, connection: AbstractConnection) -> None:
        self._lost.clear()
        self._renewals = 0
        connection.close_callbacks.add(lambda *_: self._lost.set())
        await self._open_channel(connection)
        self._problem = ""
        log.info("broker: connected")
        looking = asyncio.ensure_future(self._difference.look(connection))
        self._set_unavailable(await self._reason_on(connection))
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            while not lost.done():
                await asyncio.wait([lost], timeout=_BLOCK_POLL_S)
                if not lost.done():
                    self._set_unavailable(await self._reason_on(connection))
                if self._refused and self.unavailable_reason is None:
                    await self._renew_channel(connection)
        finally:
            lost.cancel()
            looking.cancel()
        log.warning("broker: closing an unusable connection")

    async def _reason_on(self, connection: AbstractConnection) -> Reason | None:
        """Return why nothing can be published on a connection that is open."""
        if await _blocked(connection):
            return Reason.BROKER_BLOCKED
        return Reason.UNSAFE_QUEUE if self._is_unsafe() else None

    async def _open_channel(self, connection: AbstractConnection) -> None:
        """Open a channel and publish on it from now on.

        Raises `TimeoutError` when the broker does not reply, and `ChannelNotFoundEntity` when the exchange does not
        exist: each publish to it would close the channel, and its result would be unknown instead of "not taken".
        """
        async with asyncio.timeout(queue.CONNECT_SECONDS):
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            exchange = await channel.get_exchange(queue.EXCHANGE, ensure=True)
        channel.close_callbacks.add(self._channel_closed)
        self._exchange, self._channel = exchange, channel

    def _channel_closed(self, channel: AbstractChannel | None, error: BaseException | None) -> None:
        if channel is self._channel:
            log.warning("broker: channel lost: %s", "closed" if error is None else broker_errors.explain(error))
            self._lost.set()

    async def _renew_channel(self, connection: AbstractConnection) -> None:
        """Replace the channel after a refused publish.

        A channel on which a full queue has refused a message may never learn that the queue has space again (seen with
        RabbitMQ 3.10: its quorum queues notify channels when consumers free space, but not after a purge or a policy
        change).
        """
        if time.monotonic() < self._renew_at:
            return
        self._renewals += 1
        if self._renewals > (2 * _MAX_RENEWALS if self._deadlines else _MAX_RENEWALS):
            self._lost.set()
            return
        self._renew_at = time.monotonic() + _RENEW_S
        self._refused = False
        old = self._channel
        await self._open_channel(connection)
        if old is not None:
            # After the messages in flight on it have been confirmed.
            task = asyncio.create_task(_close_later(old, self._confirm_s))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _log_refusal(self) -> None:
        """Log that the broker does not take messages, once a minute: a queue that is full takes one now and then."""
        now = time.monotonic()
        if now - self._refusal_logged_at > _REFUSAL_QUIET_S:
            self._refusal_logged_at = now
            log.warning(
                "broker: %s refuses messages: it is full (are workers behind?), or the broker can't write to its disk"
                " (see its log; once there is room, the node may need a restart)",
                queue.QUEUE,
            )

    def _report(self, problem: str) -> None:
        """Log a problem unless it is the same as last time."""
        if problem != self._problem:
            log.warning("broker: %s", problem)
            self._problem = problem

    def _set_unavailable(self, reason: Reason | None) -> None:
        if reason is self.unavailable_reason:
            return
        self.unavailable_reason = reason
        self._deadlines.set_blocked(reason is Reason.BROKER_BLOCKED)
        metrics.BROKER_UP.set(0 if reason else 1)
        if reason is Reason.BROKER_BLOCKED:
            log.warning("broker: blocked by a memory or disk alarm")
        self.on_change()


def _stopped() -> bool:
    """Return whether this task was cancelled by us: aio-pika cancels waiters of a closing connection as well."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _blocked(connection: AbstractConnection) -> bool:
    """Return whether the broker has asked us to stop publishing (`connection.blocked`)."""
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
    """Close a connection, without waiting long for the broker to reply."""
    try:
        async with asyncio.timeout(1):
            await connection.close()
    except (AMQPError, ConnectionError, OSError, RuntimeError, TimeoutError):
        log.debug("broker: connection did not close cleanly")
    except asyncio.CancelledError:
        if _stopped():
            raise
