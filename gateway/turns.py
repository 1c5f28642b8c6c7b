"""Turns: few batches are worked on at the same time, and no API client has all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.replies import Reason, Rejected


class Turns:
    """Hands out `most` turns (None: any number) in the order of asking, at most `most_of_client` to one client.

    Beyond those a client waits for itself only, so that somebody else's batch waits behind a few of each client,
    however many each has sent.  A turn ends after `longest_s` at the latest, for others to have it.
    """

    def __init__(
        self, most: int | None, most_of_client: int, wait_seconds: float, longest_s: float | None = None
    ) -> None:
        self._all = [] if most is None else [asyncio.Semaphore(most)]
        self._most_of_client = most_of_client
        self._of_client: dict[bytes, asyncio.Semaphore] = {}
        self._users: Counter[bytes] = Counter()
        self._wait_s = wait_seconds
        self._longest_s = longest_s

    @asynccontextmanager
    async def turn(self, client_id: bytes) -> AsyncIterator[None]:
        """Wait for a turn and hold it; raises `Rejected` (503) when the wait is too long."""
        own = self._of_client.setdefault(client_id, asyncio.Semaphore(self._most_of_client))
        self._users[client_id] += 1
        held: list[asyncio.Semaphore] = []
        timer: asyncio.TimerHandle | None = None
        try:
            await self._acquire([own, *self._all], held)
            if self._longest_s is not None:
                timer = asyncio.get_running_loop().call_later(self._longest_s, _release, held)
            yield
        finally:
            if timer is not None:
                timer.cancel()
            _release(held)
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


def _release(held: list[asyncio.Semaphore]) -> None:
    while held:
        held.pop().release()
