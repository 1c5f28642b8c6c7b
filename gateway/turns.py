"""Turns: few batches are worked on at the same time, and no API client has all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.replies import Reason, Rejected


class Turns:
    """Hands out `most` turns in the order of asking, at most `most_of_client` to one client.

    Beyond those a client waits for itself only, so that somebody else's batch waits behind a few of each client,
    however many each has sent.
    """

    def __init__(self, most: int, most_of_client: int, wait_seconds: float) -> None:
        self._all = asyncio.Semaphore(most)
        self._most_of_client = most_of_client
        self._of_client: dict[bytes, asyncio.Semaphore] = {}
        self._users: Counter[bytes] = Counter()
        self._wait_s = wait_seconds

    @asynccontextmanager
    async def turn(self, client_id: bytes) -> AsyncIterator[None]:
        """Wait for a turn and hold it; raises `Rejected` (503) when the wait is too long."""
        own = self._of_client.setdefault(client_id, asyncio.Semaphore(self._most_of_client))
        self._users[client_id] += 1
        held: list[asyncio.Semaphore] = []
        try:
            await self._acquire([own, self._all], held)
            yield
        finally:
            while held:
                held.pop().release()
            self._users[client_id] -= 1
            if not self._users[client_id]:
                del self._users[client_id], self._of_client[client_id]

    async def _acquire(self, wanted: list[asyncio.Semaphore], held: list[asyncio.Semaphore]) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                for semaphore in wanted:
                    await semaphore.acquire()
                    held.append(semaphore)
        except TimeoutError:
            raise Rejected(Reason.BUFFER_FULL) from None
