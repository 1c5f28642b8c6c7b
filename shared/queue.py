"""The broker's topology, which `hitline migrate` declares and gateways and workers rely on, and connecting to it.

Declared arguments never change, since a queue can't be redeclared with others; what operators tune (lengths) is set by
policies.  The delivery limit is a very large one rather than -1, which RabbitMQ 3.10 takes to mean "drop at the first
requeue"; without any, RabbitMQ 4 would use its own limit of 20 and dead-letter messages during long outages.
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
        except Exception as failure:  # noqa: BLE001 - sorted out by `_as_connection_failure`
            error = _as_connection_failure(failure)
            log.debug("broker %s: %s", URL(url).host, type(error).__name__)
    raise error


class _Connection(aio_pika.Connection):
    """A connection that is closed if connecting fails; the library's own tries to close itself when it is collected."""

    async def connect(self, timeout: float | None = None) -> None:
        try:
            await super().connect(timeout)
        except BaseException:
            await self.close()
            raise


def _as_connection_failure(error: Exception) -> Exception:
    """Return the error that callers expect; raises any that is not the other side's fault.

    The library fails in many ways when it talks to something that is not a broker: a proxy that hangs up at once,
    because its backend is down, may end in `StopAsyncIteration`, and bytes that are not AMQP in any parser error.
    """
    if isinstance(error, (AMQPError, OSError)):  # OSError includes TimeoutError and ConnectionError
        return error
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        raise error
    return ConnectionError(f"the server at this address does not speak AMQP ({type(error).__name__})")
