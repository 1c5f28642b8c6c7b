"""The gateway's connection to the broker, by itself."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, DeliveryError

from deploy.local.rabbitmq.node import RabbitMQNode
from gateway import broker as broker_module
from gateway.broker import BrokerConnection, NotPublished, PublishUncertain
from gateway.replies import Reason
from tests import parts
from tests.garbage import collecting_nothing

FULL = '{"max-length": 1}'


class _Broken(BrokerConnection):
    """A connection that fails as soon as it is used, as when the broker is killed."""

    async def _use(self, connection: AbstractConnection) -> None:
        self._set_unavailable(None)
        raise ConnectionResetError


def test_a_connection_that_ends_in_an_error_is_unavailable_immediately(broker: RabbitMQNode) -> None:
    changes = parts.run_apart(lambda: _changes(broker.amqp_url))
    assert [reason for reason, _ in changes[:2]] == [None, Reason.BROKER_DOWN]
    # Until then pageviews would be published on the dead connection and answered "unknown".
    assert changes[1][1] - changes[0][1] < 0.05


async def _changes(amqp_url: str) -> list[tuple[Reason | None, float]]:
    broker = _Broken([amqp_url], confirm_seconds=5)
    changes: list[tuple[Reason | None, float]] = []
    enough = asyncio.Event()

    def changed() -> None:
        changes.append((broker.unavailable_reason, time.monotonic()))
        if len(changes) == 2:
            enough.set()

    broker.on_change = changed
    running = asyncio.create_task(broker.run())
    await asyncio.wait_for(enough.wait(), 60)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return changes


async def test_a_connection_whose_channel_was_replaced_often_is_replaced_too(
    queues: RabbitMQNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aio-pika keeps something of each closed channel: while a queue is full for a day, that was 380 MB."""
    monkeypatch.setattr(broker_module, "_RENEW_S", 0.0)
    monkeypatch.setattr(broker_module, "_MAX_RENEWALS", 3)
    broker = BrokerConnection([queues.amqp_url], confirm_seconds=1)
    connections = 0

    def changed() -> None:
        nonlocal connections
        connections += broker.unavailable_reason is None

    broker.on_change = changed
    running = asyncio.create_task(broker.run())
    try:
        async with asyncio.timeout(60):
            while connections < 3:
                broker._refused = True
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


class _Exchange:
    """An exchange whose publishes are confirmed when `confirmed` is done."""

    def __init__(self) -> None:
        self.confirmed = asyncio.get_running_loop().create_future()

    async def publish(self, *_: object, **__: object) -> None:
        await asyncio.shield(self.confirmed)


@contextlib.contextmanager
def _connected(confirm_seconds: float) -> Iterator[tuple[BrokerConnection, _Exchange]]:
    broker, exchange = BrokerConnection([], confirm_seconds), _Exchange()
    broker._exchange = exchange  # type: ignore[assignment]
    broker.unavailable_reason = None
    broker._deadlines.watch_lag()
    try:
        yield broker, exchange
    finally:
        broker._deadlines.stop()


def _delivery_error(returned: bool) -> DeliveryError:
    return DeliveryError(cast("Any", object() if returned else None), cast("Any", None))


@pytest.mark.parametrize(
    ("failure", "told", "lost"),
    [
        (_delivery_error(returned=True), Reason.NO_QUEUE, False),
        (_delivery_error(returned=False), Reason.BROKER_REFUSED, False),
        *((error, None, True) for error in (AMQPError(), ConnectionResetError(), OSError(), RuntimeError())),
        (asyncio.CancelledError(), None, True),  # aio-pika cancels what waits on a connection that closes
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
async def test_certainly_not_taken_and_unknown_are_told_apart(
    failure: BaseException, told: Reason | None, lost: bool
) -> None:
    with _connected(confirm_seconds=5) as (broker, exchange):
        publishing = asyncio.create_task(broker.publish(Message(b"")))
        await asyncio.sleep(0)
        exchange.confirmed.set_exception(failure)
        with pytest.raises(NotPublished if told else PublishUncertain) as raised:
            await publishing
        assert getattr(raised.value, "reason", None) is told
        assert broker._lost.is_set() is lost
        assert broker._refused is (told is Reason.BROKER_REFUSED), "only a full queue's channel is replaced"


@pytest.mark.parametrize("reason", [Reason.BROKER_DOWN, Reason.BROKER_BLOCKED, Reason.NO_QUEUE])
async def test_while_it_is_unavailable_nothing_is_sent_and_the_reason_is_told(reason: Reason) -> None:
    with _connected(confirm_seconds=5) as (broker, _):
        broker.unavailable_reason = reason
        with pytest.raises(NotPublished) as refused:
            await broker.publish(Message(b""))
        assert refused.value.reason is reason


async def test_the_loops_own_delay_is_not_the_brokers_silence() -> None:
    with _connected(confirm_seconds=0.3) as (broker, exchange):
        publishing = asyncio.create_task(broker.publish(Message(b"")))
        await asyncio.sleep(0)
        time.sleep(0.6)  # noqa: ASYNC251 - the loop is busy, and a confirm may wait unread
        asyncio.get_running_loop().call_later(0.1, exchange.confirmed.set_result, None)
        await publishing
        assert not broker._lost.is_set()


async def test_a_broker_that_does_not_confirm_in_time_is_given_up() -> None:
    with _connected(confirm_seconds=0.2) as (broker, _):
        began = time.monotonic()
        with pytest.raises(PublishUncertain):
            await broker.publish(Message(b""))
        assert broker._lost.is_set()
        assert time.monotonic() - began >= 0.2


async def test_nothing_of_a_refused_publish_is_left_to_the_garbage_collector(queues: RabbitMQNode) -> None:
    """A full queue refuses one after the other for as long as workers are behind."""
    await asyncio.to_thread(queues.ctl, "set_policy", "tiny", "^hitline.pageviews$", FULL, "--apply-to", "queues")
    broker = BrokerConnection([queues.amqp_url], confirm_seconds=5)
    running = asyncio.create_task(broker.run())
    try:
        async with asyncio.timeout(60):
            while broker.unavailable_reason is not None or not await _is_refused(broker, Message(b"")):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        broker._renew_at = float("inf")
        with collecting_nothing():
            before = _messages()
            assert await _is_refused(broker, Message(b"large"))
            await asyncio.sleep(0.1)
            assert _messages() == before
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await asyncio.to_thread(queues.ctl, "clear_policy", "tiny")


def _messages() -> int:
    return sum(isinstance(each, Message) for each in gc.get_objects())


async def _is_refused(broker: BrokerConnection, message: Message) -> bool:
    try:
        await broker.publish(message)
    except NotPublished as error:
        return error.reason is Reason.BROKER_REFUSED
    return False
