"""A worker's subscription to the queue: its prefetch, and its place among the workers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from pamqp.common import FieldTable

from shared import queue

#: Drawn for each channel, so that a worker that fails does not get the messages again that it could not settle.
_HIGHEST_PRIORITY: Final = 1_000_000
_LAST: Final = 0
#: When the broker confirms a cancellation, messages that arrived before it may still be in callbacks that have not run.
#: A short sleep and this many turns of the event loop are more than those need, even on a busy machine.
_CANCEL_SETTLE_S: Final = 0.01
_CANCEL_SETTLE_TURNS: Final = 5


class Subscription:
    """Consumes from the queue while it is `active`.

    The broker gives messages to the consumer with the highest priority until that holds its prefetch, then to the next.
    Priorities differ, so as few workers have messages as the load needs, and the others cost nothing.
    """

    def __init__(self, channel: AbstractChannel, receive: Callable[[AbstractIncomingMessage], Awaitable[None]]) -> None:
        self._channel = channel
        self._receive = receive
        self._priority = random.randint(_LAST + 1, _HIGHEST_PRIORITY)
        self._consuming: tuple[AbstractQueue, str] | None = None

    @property
    def active(self) -> bool:
        """Whether messages may arrive."""
        return self._consuming is not None

    async def begin(self, prefetch: int) -> None:
        """Consume, with at most `prefetch` messages unacknowledged."""
        await self._channel.set_qos(prefetch_count=prefetch)
        source = await self._channel.get_queue(queue.QUEUE, ensure=False)
        arguments: FieldTable = {"x-priority": self._priority}
        self._consuming = (source, await source.consume(self._receive, arguments=arguments))

    async def end(self) -> None:
        """Consume no longer; once it returns, nothing more arrives."""
        if self._consuming is None:
            return
        source, tag = self._consuming
        self._consuming = None
        await source.cancel(tag)
        await asyncio.sleep(_CANCEL_SETTLE_S)
        for _ in range(_CANCEL_SETTLE_TURNS):
            await asyncio.sleep(0)

    async def change(self, prefetch: int) -> None:
        """Subscribe again with another prefetch: the broker applies it to new consumers only."""
        if self._consuming is not None:
            await self.end()
            await self.begin(prefetch)

    async def yield_to_others(self, prefetch: int) -> None:
        """Get messages only where no other worker takes them: what goes back to the queue must reach those."""
        if self._priority != _LAST:
            self._priority = _LAST
            await self.change(prefetch)
