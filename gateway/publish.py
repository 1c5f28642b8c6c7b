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
from collections.abc import Callable, Iterable, Sequence
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


class _Unit(NamedTuple):
    """Pageviews of one request that are published in the same message, and who waits for them."""

    packed: Sequence[bytes]
    size: int
    done: asyncio.Future[None]


class Publisher:
    """Takes packed pageviews and answers each when its message is confirmed."""

    def __init__(self, link: Link, sealer: Sealer, registry_version: Callable[[], int]) -> None:
        self._link = link
        self._sealer = sealer
        self._registry_version = registry_version
        self._waiting: deque[_Unit] = deque()
        self._waiting_bytes = 0
        self._waiting_pageviews = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self._scheduled = False
        link.on_change = self._link_changed

    @staticmethod
    def units(packed: Iterable[tuple[int, bytes]]) -> list[list[tuple[int, bytes]]]:
        """Split a batch's (index, packed pageview) pairs into what `submit` takes: what fits into one message."""
        units: list[list[tuple[int, bytes]]] = []
        size = 0
        for item in packed:
            size += len(item[1])
            if not units or len(units[-1]) == message.MAX_PAGEVIEWS or size > message.MAX_BYTES:
                units.append([])
                size = len(item[1])
            units[-1].append(item)
        return units

    def submit(self, packed: Sequence[bytes]) -> asyncio.Future[None]:
        """Queue packed pageviews, no more than fit into one message, for the next group.

        The future ends when their message is confirmed, or raises `Rejected`: certainly not taken, or of unknown
        fate.  Cancelling it disturbs nobody else of the group.  Raises `Rejected` at once where nothing can be
        published.
        """
        if self._link.trouble is not None:
            raise Rejected(self._link.trouble)
        size = sum(map(len, packed))
        if self._waiting_pageviews >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise Rejected(Reason.BUFFER_FULL)
        loop = asyncio.get_running_loop()
        unit = _Unit(packed, size, loop.create_future())
        self._waiting.append(unit)
        self._waiting_bytes += size
        self._waiting_pageviews += len(packed)
        if not self._scheduled and len(self._in_flight) < MAX_IN_FLIGHT:
            self._scheduled = True
            loop.call_soon(self._send)  # after what else arrived in this turn of the event loop
        return unit.done

    def _send(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._in_flight) < MAX_IN_FLIGHT:
            group = self._take_group()
            if group:
                task = asyncio.create_task(self._publish(group))
                self._in_flight.add(task)
                task.add_done_callback(self._sent)
        metrics.PAGEVIEWS_WAITING.set(self._waiting_pageviews)
        metrics.MESSAGES_IN_FLIGHT.set(len(self._in_flight))

    def _take_group(self) -> list[_Unit]:
        group: list[_Unit] = []
        size = pageviews = 0
        while self._waiting:
            unit = self._waiting[0]
            size += unit.size
            pageviews += len(unit.packed)
            if group and (size > message.MAX_BYTES or pageviews > message.MAX_PAGEVIEWS):
                break
            self._forget(self._waiting.popleft())
            if unit.done.done():  # its client is gone, and was promised nothing
                size -= unit.size
                pageviews -= len(unit.packed)
            else:
                group.append(unit)
        return group

    def _forget(self, unit: _Unit) -> None:
        self._waiting_bytes -= unit.size
        self._waiting_pageviews -= len(unit.packed)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._send()

    async def _publish(self, group: Sequence[_Unit]) -> None:
        packed = [pageview for unit in group for pageview in unit.packed]
        headers = message.Headers(uuid.uuid4(), len(packed), self._registry_version())
        began = time.perf_counter()
        failure: Reason | None = None
        try:
            await self._link.publish(message.build(headers, join(packed), self._sealer))
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
        metrics.GROUP_PAGEVIEWS.observe(len(packed))
        metrics.CONFIRM_SECONDS.observe(time.perf_counter() - began)

    def _link_changed(self) -> None:
        """Nothing that waits can be published now: say so at once rather than after a timeout."""
        if self._link.trouble is None:
            return
        refused = list(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = self._waiting_pageviews = 0
        _answer(refused, self._link.trouble)


def _answer(group: Sequence[_Unit], failure: Reason | None) -> None:
    for unit in group:
        if unit.done.done():
            continue
        if failure is None:
            unit.done.set_result(None)
        else:
            unit.done.set_exception(Rejected(failure))
