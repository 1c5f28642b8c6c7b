"""Whether the queue is as `hitline migrate` declares it; another type or other arguments may work, or not."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Final

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelPreconditionFailed

from shared.queue import QUEUE, QUEUE_ARGUMENTS

log = logging.getLogger(__name__)

_ANSWER_S: Final = 5.0
#: The part of RabbitMQ's refusal with the argument and both values.
_DIFFERENCE: Final = re.compile(r"inequivalent arg '([^']*)' .*?: (received .*)", re.DOTALL)


def explain_difference(what: str, error: ChannelPreconditionFailed) -> str:
    """Return how an exchange or queue differs from what is declared, by the broker's refusal."""
    found = _DIFFERENCE.search(str(error))
    detail = f"{found[1]}: {found[2].strip()}" if found else "its arguments differ"
    return (
        f"{what} differs from what Hitline declares ({detail}) and stays in use; to replace it, drain it, delete it,"
        " and run `hitline migrate` again"
    )


class QueueDifference:
    """Logs once how the queue differs; a user who may not declare it is told nothing."""

    def __init__(self) -> None:
        self._logged = ""

    async def look(self, connection: AbstractConnection) -> None:
        """Declare the queue as it should be, if it is there: that changes nothing, and is refused where it differs.

        On channels of its own, since a refusal closes the channel.  Raises nothing.
        """
        found = ""
        try:
            async with asyncio.timeout(_ANSWER_S):
                async with connection.channel(publisher_confirms=False) as channel:
                    await channel.get_queue(QUEUE)
                    await channel.declare_queue(QUEUE, durable=True, arguments=QUEUE_ARGUMENTS)
        except ChannelPreconditionFailed as error:
            found = explain_difference(f"queue {QUEUE}", error)
        except (AMQPError, OSError, RuntimeError, TimeoutError) as error:
            log.debug("the queue's arguments can't be looked at: %s", type(error).__name__)
            return
        if found and found != self._logged:
            log.error("broker: %s", found)
        self._logged = found
