"""The items of one batch on their way to the queue: a few messages at a time, so that memory stays bounded."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final, NamedTuple

from gateway.intake import IdempotencyKey, Intake
from gateway.items import Items
from gateway.publish import Publisher
from gateway.replies import Rejected
from gateway.results import Results
from gateway.slices import Slices
from shared import message
from shared.registry import Client

#: Items, and bytes, that are validated between two looks at the clock.
_AT_ONCE: Final = 8
_BYTES_AT_ONCE: Final = 16 * 1024
#: Messages of one batch that wait for their confirm.
_MAX_SUBMITTED: Final = 4


class _Submitted(NamedTuple):
    indexes: list[int]
    confirmed: asyncio.Future[None]


class Batch:
    """One batch: validates its items and publishes the good ones."""

    def __init__(
        self, intake: Intake, publisher: Publisher, client: Client, key: IdempotencyKey | None, slices: Slices
    ) -> None:
        self._slices = slices
        self._intake = intake
        self._publisher = publisher
        self._client = client
        self._key = key
        self._received_ms = time.time_ns() // 1_000_000
        self._results = Results()
        # The next message: its items' indexes, the packed items, and their size.
        self._indexes: list[int] = []
        self._packed: list[bytes] = []
        self._size = 0
        self._submitted: deque[_Submitted] = deque()

    async def publish(self, items: Items) -> Results:
        """Publish all good items and wait until they are confirmed; returns what became of each item."""
        looked_at = 0
        for index in range(len(items)):
            if index % _AT_ONCE == 0 or items.end(index) - looked_at > _BYTES_AT_ONCE:
                looked_at = items.end(index)
                if self._slices.over():
                    await self._slices.next()
            try:
                packed = self._intake.pack(items.parse(index), self._client, self._received_ms, self._key)
            except Rejected as rejected:
                self._results.reject((index,), rejected)
                continue
            if len(self._packed) == message.MAX_PAGEVIEWS or self._size + len(packed) > message.MAX_BYTES:
                await self._submit()
            self._indexes.append(index)
            self._packed.append(packed)
            self._size += len(packed)
        await self._submit()
        while self._submitted:
            await self._wait_for_oldest()
        return self._results

    async def _submit(self) -> None:
        """Submit the next message; waits while too many are unconfirmed."""
        if not self._packed:
            return
        if len(self._submitted) == _MAX_SUBMITTED:
            await self._wait_for_oldest()
        try:
            self._submitted.append(_Submitted(self._indexes, self._publisher.submit(self._packed)))
        except Rejected as rejected:
            self._results.reject(self._indexes, rejected)
        self._indexes, self._packed, self._size = [], [], 0

    async def _wait_for_oldest(self) -> None:
        indexes = self._submitted[0].indexes
        try:
            # In no variable: future, exception, traceback and this frame would hold each other, and all items.
            await self._submitted.popleft().confirmed
        except Rejected as rejected:
            self._results.reject(indexes, rejected)
        else:
            self._results.accepted += len(indexes)
