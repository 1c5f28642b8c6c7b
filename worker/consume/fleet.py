"""What the broker says now and then about the queue: how many workers consume from it, and whether messages wait.

Workers share nothing else.  It decides how much work a worker takes before the next one gets some, and how long a busy
one gathers rows, so that many workers together do not insert more often than the load needs.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError

from shared import queue

log = logging.getLogger(__name__)

_LOOK_S: Final = 5.0
_ANSWER_S: Final = 5.0
#: Seconds of processing that a worker of a small fleet may hold; inserting comes on top of them.
_WORK_S: Final = 0.8
#: Busy workers up to this many flush as often as one does; more of them flush less often.
_FEW: Final = 12
_LONGEST_STRETCH: Final = 4.0


class Fleet:
    """All consumers of the queue, this worker's included; one that can't be looked at counts as a single worker."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._channel: AbstractChannel | None = None
        self.consumers = 1
        #: Messages in the queue that no worker holds.
        self.waiting = 0

    async def run(self) -> None:
        """Look every few seconds until cancelled, not at the same time as other workers."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S * random.uniform(0.8, 1.2))

    async def look(self) -> None:
        """Ask the broker once, on a channel of its own: a refusal closes the channel that it answers on."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                self._channel = self._channel or await self._connection.channel(publisher_confirms=False)
                declared = await self._channel.declare_queue(queue.QUEUE, passive=True)
            self.consumers = max(1, declared.declaration_result.consumer_count or 0)
            self.waiting = declared.declaration_result.message_count or 0
        except (AMQPError, OSError, RuntimeError, TimeoutError) as error:
            log.debug("the queue can't be looked at: %s", type(error).__name__)
            self._channel, self.consumers, self.waiting = None, 1, 0

    @property
    def stretch(self) -> float:
        """How many times longer than usual a busy worker gathers rows."""
        return _LONGEST_STRETCH if self.waiting else min(max(self.consumers / _FEW, 1.0), _LONGEST_STRETCH)

    @property
    def work_s(self) -> float | None:
        """Seconds of work that a worker holds before others get some; None for as much as its memory allows.

        None when it is alone, and when messages wait although every worker holds its share.
        """
        return None if self.consumers == 1 or self.waiting else _WORK_S * self.stretch
