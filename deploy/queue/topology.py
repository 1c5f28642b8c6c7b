"""Declaring the exchange, queues and bindings of shared/queue.py, for `hitline migrate`."""

from __future__ import annotations

from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelPreconditionFailed

from shared.queue import DEAD, DEAD_ARGUMENTS, DEAD_QUEUE, EXCHANGE, PAGEVIEWS, QUEUE, QUEUE_ARGUMENTS
from shared.queue_difference import explain_difference

#: Name, arguments and routing key of each queue.
QUEUES: Final[tuple[tuple[str, dict[str, Any], str], ...]] = (
    (QUEUE, dict(QUEUE_ARGUMENTS), PAGEVIEWS),
    (DEAD_QUEUE, dict(DEAD_ARGUMENTS), DEAD),
)


async def declare(connection: AbstractConnection) -> list[str]:
    """Declare what is missing, and return a warning for each exchange or queue that exists with other arguments.

    Such a queue is left as it is and bound: pageviews go through it, and only an operator can decide to drain and
    delete it.  A refused declaration closes its channel, so each one gets its own.
    """
    differences = []
    if found := await _declare_exchange(connection):
        differences.append(found)
    for name, arguments, key in QUEUES:
        if found := await _declare_queue(connection, name, arguments):
            differences.append(found)
        async with connection.channel() as channel:
            queue = await channel.get_queue(name, ensure=False)
            await queue.bind(EXCHANGE, key)
    return differences


async def missing(connection: AbstractConnection) -> list[str]:
    """Return the names of the exchange and queues that do not exist; changes nothing."""
    names = []
    for kind, name in (("exchange", EXCHANGE), ("queue", QUEUE), ("queue", DEAD_QUEUE)):
        try:
            async with connection.channel() as channel:
                if kind == "exchange":
                    await channel.get_exchange(name, ensure=True)
                else:
                    await channel.get_queue(name, ensure=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            names.append(name)
    return names


async def _declare_exchange(connection: AbstractConnection) -> str:
    try:
        async with connection.channel() as channel:
            await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
    except ChannelPreconditionFailed as error:
        return explain_difference(f"exchange {EXCHANGE}", error)
    return ""


async def _declare_queue(connection: AbstractConnection, name: str, arguments: dict[str, Any]) -> str:
    try:
        async with connection.channel() as channel:
            await channel.declare_queue(name, durable=True, arguments=arguments)
    except ChannelPreconditionFailed as error:
        return explain_difference(f"queue {name}", error)
    return ""
