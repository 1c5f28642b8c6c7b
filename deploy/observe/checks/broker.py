"""The broker as a gateway and a worker see it, and its policies and alarms where its management API answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed

from deploy.observe.checks.management import check_management
from deploy.observe.context import Context
from deploy.observe.finding import Finding, error, warning
from deploy.queue.connection import BrokerError, connect
from deploy.queue.topology import QUEUES
from shared.queue import DEAD_QUEUE, EXCHANGE, QUEUE
from shared.queue_difference import explain_difference

_PART: Final = "broker"
_MIGRATE: Final = "run `hitline migrate`"
_OLDEST: Final = (3, 10)
#: No queue is bound with this key.
_NOWHERE: Final = "hitline doctor: goes nowhere"


async def check(context: Context) -> AsyncIterator[Finding]:
    """Yield what is wrong with each broker address, and with what `hitline migrate` declares there."""
    if context.common is None:
        return
    connection: AbstractConnection | None = None
    for url in context.common.amqp_url:
        try:
            opened = await connect([url], "hitline doctor")
        except BrokerError as failure:
            yield error(_PART, str(failure), "see the broker's log for what it refuses")
            continue
        if connection is None:
            connection = opened
        else:
            await opened.close()
    if connection is None:
        return
    async with connection:
        for finding in (*_version(connection), *await _topology(connection), *await _permission(connection)):
            yield finding
    async for finding in check_management(context.common.amqp_url, context.management_url):
        yield finding


def _version(connection: AbstractConnection) -> list[Finding]:
    transport = connection.transport
    properties = transport.connection.server_properties if transport else {}
    text = str(properties.get("version", "") if properties else "")
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if len(numbers) == len(_OLDEST) and numbers < _OLDEST:
        return [error(_PART, f"RabbitMQ {text} is older than 3.10", "upgrade it: quorum queues need 3.10 or later")]
    return []


async def _topology(connection: AbstractConnection) -> list[Finding]:
    found = []
    if not await _exists(connection, EXCHANGE, is_queue=False):
        found.append(error(_PART, f"the exchange {EXCHANGE} does not exist: nothing is accepted", _MIGRATE))
    for name, arguments, _ in QUEUES:
        if not await _exists(connection, name, is_queue=True):
            found.append(error(_PART, f"the queue {name} does not exist", _MIGRATE))
            continue
        found += await _arguments(connection, name, arguments)
        found += await _waiting(connection, name)
    return found


async def _exists(connection: AbstractConnection, name: str, *, is_queue: bool) -> bool:
    try:
        async with connection.channel() as channel:
            await (channel.get_queue(name) if is_queue else channel.get_exchange(name))
    except ChannelNotFoundEntity:
        return False
    return True


async def _arguments(connection: AbstractConnection, name: str, arguments: dict[str, object]) -> list[Finding]:
    """Declare the queue as it exists, which changes nothing, and is refused where it is another."""
    try:
        async with connection.channel() as channel:
            await channel.declare_queue(name, durable=True, arguments=dict(arguments))  # type: ignore[arg-type]
    except ChannelPreconditionFailed as failure:
        return [error(_PART, explain_difference(f"queue {name}", failure), "drain it, delete it, `hitline migrate`")]
    except ChannelClosed:
        return []  # a user without `configure`, as gateways and workers may be
    return []


async def _waiting(connection: AbstractConnection, name: str) -> list[Finding]:
    async with connection.channel() as channel:
        declared = (await channel.declare_queue(name, passive=True)).declaration_result
    messages, consumers = declared.message_count or 0, declared.consumer_count or 0
    if not consumers and not await _may_read(connection, name):
        cure = f"rabbitmqctl set_permissions USER 'hitline.*' 'hitline.*' 'hitline.*' (read on {name})"
        return [error(_PART, f"the user may not read {name}: a worker gets nothing", cure)]
    if name == QUEUE and messages and not consumers:
        return [error(_PART, f"{messages:,} messages wait and no worker consumes", "start a worker; see its log")]
    if name == DEAD_QUEUE and messages:
        problem = f"there are {messages:,} dead letters, which are deleted 30 days after they came"
        return [warning(_PART, problem, "see why with `hitline dead list`, then replay or purge them")]
    return []


async def _may_read(connection: AbstractConnection, name: str) -> bool:
    """Take one message of a queue that nobody consumes, and give it back."""
    try:
        async with connection.channel() as channel:
            message = await (await channel.get_queue(name, ensure=False)).get(fail=False)
            if message is not None:
                await message.nack(requeue=True)
    except ChannelClosed:
        return False
    return True


async def _permission(connection: AbstractConnection) -> list[Finding]:
    """Publish a message that no queue takes: the broker returns it, or refuses the user."""
    try:
        async with connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
            exchange = await channel.get_exchange(EXCHANGE, ensure=False)
            with suppress(aio_pika.exceptions.DeliveryError):
                async with asyncio.timeout(10):
                    await exchange.publish(aio_pika.Message(b""), _NOWHERE, mandatory=True)
    except ChannelNotFoundEntity:
        return []  # the exchange is missing, which was reported already
    except ChannelClosed:
        cure = f"rabbitmqctl set_permissions USER 'hitline.*' 'hitline.*' 'hitline.*' (write on {EXCHANGE})"
        return [error(_PART, f"the user may not publish to {EXCHANGE}: a gateway accepts nothing", cure)]
    except TimeoutError:
        cure = "look for a memory or disk alarm: `rabbitmq-diagnostics alarms`"
        return [error(_PART, "the broker does not confirm a message within 10 s", cure)]
    return []
