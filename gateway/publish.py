"""Group commit: pageviews that arrive while publishes are in flight wait, and share the next message.

With one request at a time, each is published immediately in its own message; under load one message carries
hundreds, and the broker syncs its disk once for all of them.  Everything is bounded: pageviews and bytes per message,
messages in flight, pageviews and bytes waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.broker import BrokerConnection, NotPublished, PublishUncertain
from gateway.replies import Reason, Rejected
from shared import message, metrics
from shared.logs import BATCH_ID
from shared.pageview import join
from shared.seal import Sealer

if TYPE_CHECKING:
    from gateway.traces import GatewayTraces, Publishing, RequestContext

log = logging.getLogger(__name__)

#: Few messages in flight, so that groups grow while the broker's disk is busy.
MAX_IN_FLIGHT: Final = 4
MAX_WAITING: Final = 50_000
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024


class _Submission(NamedTuple):
    """Pageviews of one request that go into the same message, and the future that their request awaits."""

    packed: Sequence[bytes]
    size: int
    done: asyncio.Future[None]
    #: Of the request, where it is traced.
    trace: RequestContext | None = None


class Publisher:
    """Publishes packed pageviews and reports each when its message is confirmed."""

    def __init__(
        self,
        broker: BrokerConnection,
        sealer: Sealer,
        registry_version: Callable[[], int],
        traces: GatewayTraces | None = None,
    ) -> None:
        self._broker = broker
        self._sealer = sealer
        self._traces = traces
        self._registry_version = registry_version
        self._waiting: deque[_Submission] = deque()
        self._waiting_bytes = 0
        self._waiting_pageviews = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self._scheduled = False
        broker.on_change = self._broker_changed

    def submit(self, packed: Sequence[bytes]) -> asyncio.Future[None]:
        """Queue packed pageviews, no more than fit into one message, for the next publish.

        The future completes when their message is confirmed, or raises `Rejected` (not taken, or unknown).  Cancelling
        it does not affect others in the same message.  Raises `Rejected` immediately while nothing can be published.
        """
        if self._broker.unavailable_reason is not None:
            raise Rejected(self._broker.unavailable_reason)
        size = sum(map(len, packed))
        if self._waiting_pageviews >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise Rejected(Reason.BUFFER_FULL)
        loop = asyncio.get_running_loop()
        trace = self._traces.current() if self._traces is not None else None
        submission = _Submission(packed, size, loop.create_future(), trace)
        self._waiting.append(submission)
        self._waiting_bytes += size
        self._waiting_pageviews += len(packed)
        if not self._scheduled and len(self._in_flight) < MAX_IN_FLIGHT:
            self._scheduled = True
            loop.call_soon(self._send)  # after everything else that arrived in this iteration of the loop
        return submission.done

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

    def _take_group(self) -> list[_Submission]:
        group: list[_Submission] = []
        size = pageviews = 0
        while self._waiting:
            submission = self._waiting[0]
            size += submission.size
            pageviews += len(submission.packed)
            if group and (size > message.MAX_BYTES or pageviews > message.MAX_PAGEVIEWS):
                break
            self._release(self._waiting.popleft())
            if submission.done.done():  # the client has disconnected, and was promised nothing
                size -= submission.size
                pageviews -= len(submission.packed)
            else:
                group.append(submission)
        return group

    def _release(self, submission: _Submission) -> None:
        self._waiting_bytes -= submission.size
        self._waiting_pageviews -= len(submission.packed)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._send()

    async def _publish(self, group: Sequence[_Submission]) -> None:
        packed = [pageview for submission in group for pageview in submission.packed]
        headers = message.Headers(uuid.uuid4(), len(packed), self._registry_version())
        span: Publishing | None = None
        began = time.perf_counter()
        failure: Reason | None = None
        try:
            if self._traces is not None:
                span = self._traces.publishing(headers, [each.trace for each in group])
            context = span.headers() if span is not None else None
            await self._broker.publish(message.build(headers, join(packed), self._sealer, context))
        except NotPublished as error:
            failure = error.reason
        except PublishUncertain:
            failure = Reason.UNKNOWN_FATE
        except BaseException as error:
            # After any error, no request may be left waiting, and none may be answered as durable.
            log.error("publish failed unexpectedly", exc_info=error, extra={BATCH_ID: headers.batch_id})
            _answer(group, Reason.UNKNOWN_FATE)
            metrics.PUBLISHED_PAGEVIEWS.labels(Reason.UNKNOWN_FATE.label).inc(len(packed))
            raise
        finally:
            if span is not None:
                span.end(failure)
        result = failure.label if failure else "confirmed"
        metrics.PUBLISHED_PAGEVIEWS.labels(result).inc(
            len(packed)
        )  # before anyone is answered, and counted as accepted
        _answer(group, failure)
        metrics.PUBLISHED.labels(result).inc()
        metrics.GROUP_PAGEVIEWS.observe(len(packed))
        metrics.CONFIRM_SECONDS.observe(time.perf_counter() - began)

    def _broker_changed(self) -> None:
        """Reject what is waiting as soon as the broker becomes unavailable, rather than after a timeout."""
        if self._broker.unavailable_reason is None:
            return
        refused = list(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = self._waiting_pageviews = 0
        _answer(refused, self._broker.unavailable_reason)


def _answer(group: Sequence[_Submission], failure: Reason | None) -> None:
    for submission in group:
        if submission.done.done():
            continue
        if failure is None:
            submission.done.set_result(None)
        else:
            submission.done.set_exception(Rejected(failure))
