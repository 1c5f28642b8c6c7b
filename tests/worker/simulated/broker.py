"""A broker with the queue of pageviews and the dead letters, and channels that deliver, and may be cut."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import ChannelClosed, DeliveryError
from pamqp import commands

from shared import queue
from tests.worker.deliveries import FakeDelivery
from tests.worker.simulated.requests import Process


@dataclass(eq=False)
class Queued:
    """A message in the queue."""

    message: aio_pika.Message
    redelivered: bool = False
    holder: Channel | None = None
    tag: int = 0


@dataclass(eq=False)
class Delivery(FakeDelivery):
    """A message as a worker gets it."""

    channel: Any = None

    async def ack(self, multiple: bool = False) -> None:
        channel: Channel = self.channel
        await channel.process.ask("ack", lambda how: channel.ack(self.delivery_tag or 0, multiple, how))

    async def nack(self, requeue: bool = True) -> None:
        channel: Channel = self.channel
        await channel.process.ask("nack", lambda how: channel.give_back(self.delivery_tag or 0, requeue))


@dataclass(eq=False)
class Broker:
    """Both queues; `on_removed` is told of each message that leaves the first for good."""

    on_removed: Callable[[aio_pika.Message], None]
    queue: list[Queued] = field(default_factory=list)
    dead: list[aio_pika.Message] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def publish(self, message: aio_pika.Message) -> None:
        self.queue.append(Queued(message))

    @property
    def ready(self) -> list[Queued]:
        """Messages that no worker holds."""
        return [each for each in self.queue if each.holder is None]

    def held_by_others(self, channel: Channel) -> list[Queued]:
        """Messages that other workers hold."""
        return [each for each in self.queue if each.holder not in (None, channel)]


@dataclass(eq=False)
class Channel:
    """A worker's channel, and by `channel` also its connection and the channel for dead letters."""

    broker: Broker
    process: Process
    close_callbacks: set[Any] = field(default_factory=set)
    receive: Callable[[AbstractIncomingMessage], Coroutine[Any, Any, None]] | None = None
    prefetch: int = 0
    tags: int = 0
    open: bool = True

    # What the worker uses of aio-pika.

    async def get_underlay_channel(self) -> Any:
        return SimpleNamespace(on_consumer_cancel_callbacks=set())

    async def set_qos(self, prefetch_count: int) -> None:
        self.prefetch = prefetch_count

    async def get_queue(self, name: str, ensure: bool) -> Any:
        assert (name, ensure) == (queue.QUEUE, False)
        return self

    async def consume(self, receive: Any, arguments: Any) -> str:
        self.receive = receive
        return "tag"

    async def cancel(self, tag: str) -> None:
        self.receive = None

    async def channel(self, publisher_confirms: bool, on_return_raises: bool) -> Any:
        assert publisher_confirms
        assert on_return_raises
        return self

    async def get_exchange(self, name: str, ensure: bool) -> Any:
        assert (name, ensure) == (queue.EXCHANGE, False)
        return SimpleNamespace(publish=self._publish)

    async def _publish(self, letter: aio_pika.Message, key: str, mandatory: bool, timeout: float) -> None:
        assert (key, mandatory) == (queue.DEAD, True)
        await self.process.ask("letter", lambda how: self._bury(letter, how))

    async def close(self) -> None:
        """The channel for dead letters was closed by the worker; another is opened when needed."""

    # What the broker does.

    @property
    def held(self) -> list[Queued]:
        return [each for each in self.broker.queue if each.holder is self]

    def deliver(self) -> bool:
        """Deliver the next message, if there is one and the worker may have it.

        Not while another worker has one of the same id, which a broker would do: a dead letter that is replayed while
        its message is redelivered, both at the same moment to two workers that look each other up before either has
        stored or counted anything, is stored twice until merged, and counted twice.
        """
        ready = self.broker.ready
        if self.receive is None or not self.open or not ready or len(self.held) >= self.prefetch:
            return False
        if any(each.message.message_id == ready[0].message.message_id for each in self.broker.held_by_others(self)):
            return False
        self.tags += 1
        each = ready[0]
        each.holder, each.tag = self, self.tags
        message = each.message
        delivery: Any = Delivery(
            message.body, dict(message.headers), message.message_id, message.content_type, message.type,
            message.timestamp, each.redelivered, self.tags, channel=self,
        )  # fmt: skip
        receive = self.receive
        self.process.spawn(receive(delivery))
        return True

    def ack(self, tag: int, multiple: bool, how: str = "done") -> None:
        if how == "lost before":
            self.cut()
        if not self.open:
            raise ChannelClosed(0, "gone")
        meant = [each for each in self.held if each.tag == tag or (multiple and each.tag < tag)]
        if tag not in [each.tag for each in meant]:
            self.broker.faults.append(f"unknown delivery tag {tag}")
        for each in meant:
            self.broker.queue.remove(each)
            self.broker.on_removed(each.message)
        if how == "lost after":
            self.cut()
            raise ChannelClosed(0, "gone")

    def give_back(self, tag: int, requeue: bool) -> None:
        assert requeue
        for each in self.held:
            if each.tag == tag:
                each.holder, each.redelivered = None, True

    def _bury(self, letter: aio_pika.Message, how: str) -> None:
        if how == "lost before":
            self.cut()
            raise ConnectionError
        if how == "refused":
            raise DeliveryError(None, commands.Basic.Nack())
        if how == "silent":
            raise TimeoutError
        self.broker.dead.append(letter)
        if how == "confirmed late":
            raise TimeoutError
        if how == "lost after":
            self.cut()
            raise ConnectionError

    def cut(self) -> None:
        """Close the channel: the broker takes back all that is not acknowledged."""
        self.open, self.receive = False, None
        for each in self.held:
            each.holder, each.redelivered = None, True
        for callback in list(self.close_callbacks):
            callback(self, ChannelClosed(320, "CONNECTION_FORCED"))
