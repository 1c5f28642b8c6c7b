"""Batches under way: several at once, settled in the order of their lines."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from deploy.replay.assemble import Batch
from deploy.replay.send import Answer

#: Sends items and returns their final answers.
Send = Callable[[Sequence[bytes]], Awaitable[list[Answer]]]


class Outbox:
    """A batch is settled when it and all before it are answered, so that what is saved has no gap."""

    def __init__(self, send: Send, in_flight: int, settle: Callable[[Batch, list[Answer]], None]) -> None:
        self._send = send
        self._in_flight = in_flight
        self._settle = settle
        self._waiting: deque[tuple[Batch, asyncio.Task[list[Answer]]]] = deque()

    async def put(self, batch: Batch) -> None:
        """Send a batch as soon as there is room; raises what sending raises."""
        while len(self._waiting) >= self._in_flight:
            await self._settle_first()
        self._waiting.append((batch, asyncio.create_task(self._answers(batch))))
        await self.settle_answered()

    async def settle_answered(self) -> None:
        """Settle what is answered by now."""
        while self._waiting and self._waiting[0][1].done():
            await self._settle_first()

    async def drain(self) -> None:
        """Wait until all is settled."""
        while self._waiting:
            await self._settle_first()

    async def cancel(self) -> None:
        """Give up what is not answered yet; it is sent again by the next run."""
        tasks = [task for _, task in self._waiting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._waiting:
            batch, task = self._waiting.popleft()
            if task.cancelled() or task.exception():
                break
            self._settle(batch, task.result())

    async def _answers(self, batch: Batch) -> list[Answer]:
        return await self._send([item.body for item in batch.items]) if batch.items else []

    async def _settle_first(self) -> None:
        batch, task = self._waiting[0]
        answers = await asyncio.shield(task)  # a reader that is cancelled leaves the batch where it is
        self._waiting.popleft()
        self._settle(batch, answers)
