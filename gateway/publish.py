"""Group commit: while publishes are under way, arriving pageviews gather; the next publish takes them all.

At one request at a time that is one message each, sent at once; under load one message carries hundreds, and the
broker's disk syncs once for all of them.  Everything is bounded: pageviews and bytes a message, messages in flight,
pageviews and bytes waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gateway.link import FateUnknown, Link, NotTaken
from gateway.replies import Reason, Rejected
from shared import message, metrics
from shared.pageview import join
from shared.seal import Sealer

log = logging.getLogger(__name__)

#: Few messages in flight, so that groups grow while the broker's disk is busy.
MAX_IN_FLIGHT: Final = 4
MAX_WAITING: Final = 50_000
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024


class _Waiter(NamedTuple):
    packed: bytes
    done: asyncio.Future[None]


class Publisher:
    """Takes packed pageviews and answers each when its message is confirmed."""

    def __init__(self, link: Link, sealer: Sealer, registry_version: Callable[[], int]) -> None:
        self._link = link
        self._sealer = sealer
        self._registry_version = registry_version
        self._waiting: deque[_Waiter] = deque()
        self._waiting_bytes = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self._scheduled = False
        link.on_change = self._link_changed

    def submit(self, packed: bytes) -> asyncio.Future[None]:
        """Queue one packed pageview for the next group.

        The future ends when its message is confirmed, or raises `Rejected`: certainly not taken, or of unknown fate.
        Cancelling it disturbs nobody else of the group.  Raises `Rejected` at once where nothing can be published.
        """
        if self._link.trouble is not None:
            raise Rejected(self._link.trouble)
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + len(packed) > MAX_WAITING_BYTES:
            raise Rejected(Reason.BUFFER_FULL)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(packed, loop.create_future())
        self._waiting.append(waiter)
        self._waiting_bytes += len(packed)
        if not self._scheduled and len(self._in_flight) < MAX_IN_FLIGHT:
            self._scheduled = True
            loop.call_soon(self._send)  # after what else arrived in this turn of the event loop
        return waiter.done

    def _send(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._in_flight) < MAX_IN_FLIGHT:
            group = self._take_group()
            if group:
                task = asyncio.create_task(self._publish(group))
                self._in_flight.add(task)
                task.add_done_callback(self._sent)
        metrics.PAGEVIEWS_WAITING.set(len(self._waiting))
        metrics.MESSAGES_IN_FLIGHT.set(len(self._in_flight))

    def _take_group(self) -> list[_Waiter]:
        group: list[_Waiter] = []
        size = 0
        while self._waiting and len(group) < message.MAX_PAGEVIEWS:
            waiter = self._waiting[0]
            if group and size + len(waiter.packed) > message.MAX_BYTES:
                break
            self._waiting.popleft()
            self._waiting_bytes -= len(waiter.packed)
            if not waiter.done.done():  # else its client is gone, and was promised nothing
                group.append(waiter)
                size += len(waiter.packed)
        return group

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._send()

    async def _publish(self, group: Sequence[_Waiter]) -> None:
        headers = message.Headers(uuid.uuid4(), len(group), self._registry_version())
        body = join([waiter.packed for waiter in group])
        began = time.perf_counter()
        failure: Reason | None = None
        try:
            await self._link.publish(message.build(headers, body, self._sealer))
        except NotTaken as error:
            failure = error.reason
        except FateUnknown:
            failure = Reason.UNKNOWN_FATE
        except BaseException as error:
            # Whatever it is, nobody may be left waiting, and nothing may be called durable.
            log.error("publish failed unexpectedly", exc_info=error)
            _answer(group, Reason.UNKNOWN_FATE)
            raise
        _answer(group, failure)
        metrics.PUBLISHED.labels(failure.label if failure else "confirmed").inc()
        metrics.GROUP_PAGEVIEWS.observe(len(group))
        metrics.CONFIRM_SECONDS.observe(time.perf_counter() - began)

    def _link_changed(self) -> None:
        """Nothing that waits can be published now: say so at once rather than after a timeout."""
        if self._link.trouble is None:
            return
        refused = list(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        _answer(refused, self._link.trouble)


def _answer(group: Sequence[_Waiter], failure: Reason | None) -> None:
    for waiter in group:
        if waiter.done.done():
            continue
        if failure is None:
            waiter.done.set_result(None)
        else:
            waiter.done.set_exception(Rejected(failure))
