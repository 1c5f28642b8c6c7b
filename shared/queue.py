"""The broker's topology: what `hitline migrate` declares and the gateway and the workers rely on.

Declared arguments never change, since a queue can't be declared anew with others; what operators tune (lengths) are
policies.  The delivery limit is a very large one rather than -1, which RabbitMQ 3.10 takes for "drop at the first
requeue"; without any, a RabbitMQ 4 node would set a limit of 20 of its own and dead-letter during long outages.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError
from pamqp.common import FieldTable
from yarl import URL

from shared import properties

EXCHANGE: Final = "hitline"
QUEUE: Final = "hitline.pageviews"
DEAD_QUEUE: Final = "hitline.dead"
#: Routing keys on the exchange.
PAGEVIEWS: Final = "pageviews"
DEAD: Final = "dead"

QUEUE_ARGUMENTS: Final[FieldTable] = {
    "x-queue-type": "quorum",
    "x-overflow": "reject-publish",
    "x-delivery-limit": 1_000_000,
}
DEAD_ARGUMENTS: Final[FieldTable] = {
    "x-queue-type": "quorum",
    "x-overflow": "reject-publish",
    "x-delivery-limit": 1_000_000,
    "x-message-ttl": 30 * 24 * 3600 * 1000,
}

CONNECT_SECONDS: Final = 5.0
HEARTBEAT_SECONDS: Final = 10

log = logging.getLogger(__name__)

properties.tolerate()


async def connect(urls: Sequence[str], name: str) -> AbstractConnection:
    """Connect to the first of `urls` that answers; `name` is shown in the broker's list of connections.

    Raises the last address's `AMQPError` or `OSError` (`TimeoutError` is one) when none does, and `ValueError` for an
    address whose options can't be used.
    """
    error: Exception = ConnectionError("no broker address is set")
    for url in urls:
        try:
            address = URL(url)
            if "heartbeat" not in address.query:
                address = address.update_query(heartbeat=HEARTBEAT_SECONDS)
            return await aio_pika.connect(address, timeout=CONNECT_SECONDS, client_properties={"connection_name": name})
        except Exception as failure:  # noqa: BLE001 - judged below
            error = _failure(failure)
            log.debug("broker %s: %s", URL(url).host, type(error).__name__)
    raise error


def _failure(error: Exception) -> Exception:
    """Return what failed as callers expect it; raises what is not the other side's fault.

    The library stumbles in many ways over what is no broker: a proxy that hangs up at once, since nothing is behind it
    yet, may end as `StopAsyncIteration`, and bytes that are no AMQP as whatever its parser meets in them.
    """
    if isinstance(error, (AMQPError, OSError)):  # TimeoutError and ConnectionError are of the latter
        return error
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        raise error
    return ConnectionError(f"what answers does not speak AMQP ({type(error).__name__})")
