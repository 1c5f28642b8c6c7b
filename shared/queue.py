"""The broker's topology, which `hitline migrate` declares and gateways and workers rely on, and connecting to it.

Declared arguments never change, since a queue can't be redeclared with others; what operators tune (lengths) is set by
policies.  The delivery limit is a very large one rather than -1, which RabbitMQ 3.10 takes to mean "drop at the first
requeue"; without any, RabbitMQ 4 would use its own limit of 20 and dead-letter messages during long outages.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

import aio_pika
from aio_pika.abc import AbstractConnection
from pamqp.common import FieldTable
from yarl import URL

from shared import properties
from shared.broker_errors import as_connection_failure

EXCHANGE: Final = "hitline"
QUEUE: Final = "hitline.pageviews"
DEAD_QUEUE: Final = "hitline.dead"
#: Routing keys on the exchange.
PAGEVIEWS: Final = "pageviews"
DEAD: Final = "dead"

#: Milliseconds after which a dead letter is deleted.
DEAD_MS: Final = 30 * 24 * 3600 * 1000
QUEUE_ARGUMENTS: Final[FieldTable] = {
    "x-queue-type": "quorum",
    "x-overflow": "reject-publish",
    "x-delivery-limit": 1_000_000,
}
DEAD_ARGUMENTS: Final[FieldTable] = {
    "x-queue-type": "quorum",
    "x-overflow": "reject-publish",
    "x-delivery-limit": 1_000_000,
    "x-message-ttl": DEAD_MS,
}

CONNECT_SECONDS: Final = 5.0
HEARTBEAT_SECONDS: Final = 10

log = logging.getLogger(__name__)

properties.tolerate_undecodable()


async def connect(urls: Sequence[str], name: str) -> AbstractConnection:
    """Connect to the first of `urls` that answers; `name` is shown in the broker's list of connections.

    Raises the last address's `AMQPError` or `OSError` (`TimeoutError` is one) if none does, and `ValueError` for an
    address with invalid options.
    """
    error: Exception = ConnectionError("no broker address is set")
    for url in urls:
        try:
            address = URL(url)
            if "heartbeat" not in address.query:
                address = address.update_query(heartbeat=HEARTBEAT_SECONDS)
            return await aio_pika.connect(
                address,
                connection_class=_Connection,
                timeout=CONNECT_SECONDS,
                client_properties={"connection_name": name},
            )
        except Exception as failure:  # noqa: BLE001 - sorted out by `as_connection_failure`
            error = as_connection_failure(failure, vhost_of(url))
            log.debug("broker %s: %s", URL(url).host, type(error).__name__)
    raise error


def vhost_of(url: str) -> str:
    """Return the virtual host of an AMQP address; without any, the broker's own `/`."""
    return unquote(URL(url).raw_path.removeprefix("/")) or "/"


class _Connection(aio_pika.Connection):
    """A connection that is closed if connecting fails; the library's own tries to close itself when it is collected."""

    async def connect(self, timeout: float | None = None) -> None:
        try:
            await super().connect(timeout)
        except BaseException:
            await self.close()
            raise
