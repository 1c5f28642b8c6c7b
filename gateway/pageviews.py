"""What happens to a request, one call a line: the file to read first.

`post_one` serves `POST /api/ingest/server/pageview`, `post_many` `POST /api/ingest/server/pageviews`.  Both raise
`Rejected` for everything that is not accepted; `app.py` turns it into a response.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from aiohttp import hdrs, web
from aiohttp.web_request import BaseRequest

from gateway.accepted import Accepted
from gateway.batch import Batch
from gateway.encoding import decode, decode_large
from gateway.http import arrived_body, check_declared_length, has_arrived, read_body
from gateway.intake import IdempotencyKey, Intake
from gateway.items import MAX_BATCH_BYTES, Items, split
from gateway.memory_budget import MemoryBudget
from gateway.pace import Pace
from gateway.publish import Publisher
from gateway.rate_limit import Budget, RateLimiter
from gateway.refusals import Refusals
from gateway.replies import Reason, Rejected
from gateway.results import Results
from gateway.slices import Slices
from gateway.turns import Turns
from gateway.validate import MAX_BODY_BYTES, parse_json
from shared import metrics
from shared.process import memory_limit
from shared.registry import Client

#: Bytes of all bodies that were received, in part or whole, and are not answered yet.
_BODIES_BYTES: Final = 128 * 1024 * 1024
#: But no more than this part of the memory that the process may use.
_PART_OF_MEMORY: Final = 4
#: Batches that are decompressed and published at the same time, in all and of one client; each may take
#: `MAX_BATCH_BYTES` more for that.
_MAX_BATCHES: Final = 4
_MAX_BATCHES_OF_CLIENT: Final = 3
#: How fast the bodies of one client are read, over all of its connections, faster than batches can be worked on; and
#: what may be read at once.  A client could send, and abort, gigabytes a second otherwise.
_READ_BYTES_PER_S: Final = 32 * 1024 * 1024
_READ_AT_ONCE: Final = 512 * 1024
#: The most that is in our buffers of a body that waits to be read (one read of all that the kernel has), and of all.
_BUFFERED_BYTES: Final = 256 * 1024
_ALL_BUFFERED_BYTES: Final = 64 * 1024 * 1024
#: How long a batch waits to be decompressed and published.  Clients commonly wait 30 seconds or more for an answer.
_TURN_SECONDS: Final = 20.0


class Pageviews:
    """Both endpoints."""

    def __init__(self, intake: Intake, limiter: RateLimiter, publisher: Publisher, refusals: Refusals) -> None:
        self._intake = intake
        self._limiter = limiter
        self._publisher = publisher
        self._refusals = refusals
        self._bodies = MemoryBudget(min(_BODIES_BYTES, memory_limit() // _PART_OF_MEMORY))
        self._buffered = MemoryBudget(min(_ALL_BUFFERED_BYTES, memory_limit() // _PART_OF_MEMORY // 4))
        self._pace = Pace(_READ_BYTES_PER_S, _READ_AT_ONCE)
        self._slices = Slices()
        self._turns = Turns(_MAX_BATCHES, _MAX_BATCHES_OF_CLIENT, _TURN_SECONDS)

    async def post_one(self, request: BaseRequest) -> web.Response:
        """Accept one pageview: 202 once the broker has it on disk."""
        check_declared_length(request, MAX_BODY_BYTES)
        client = await self._intake.client_of(request)
        budget = None
        try:
            budget = await self._limiter.charge(client)  # before the body: slow ones and wrong ones cost the same
            if has_arrived(request):  # it is counted with its head
                body: bytes | bytearray = arrived_body(request, MAX_BODY_BYTES)
            else:
                body = await self._read_one(request, client)
            packed = self._pack_one(request, body, client)
            await self._publisher.submit([packed])  # may wait for seconds, together with thousands of others
        except Rejected as rejected:
            self._note(rejected, client, budget)
            raise
        metrics.ACCEPTED.inc()
        return Accepted(budget)

    async def post_many(self, request: BaseRequest) -> web.Response:
        """Accept a batch: 202 when at least one item is accepted, with an error for each that is not."""
        check_declared_length(request, MAX_BATCH_BYTES)
        client = await self._intake.client_of(request)
        budget = None
        try:
            budget = await self._limiter.charge_first(client)  # an empty budget is rejected before the body is read
            with self._bodies.reservation(client.client_id) as reserve:
                body = await self._receive(request, client, reserve)
                async with self._turns.turn(client.client_id):
                    results, budget = await self._publish(request, body, client)
        except Rejected as rejected:
            self._note(rejected, client, budget)
            raise
        metrics.ACCEPTED.inc(results.accepted)
        for (reason, text), number in results.counts.items():
            self._refusals.count(client, reason, text, number)
            if self._slices.over():
                await self._slices.next()
        every_error = request.rel_url.query.get("errors") == "all"
        return await results.response(budget.headers(), self._slices, every_error=every_error)

    def _note(self, rejected: Rejected, client: Client, budget: Budget | None) -> None:
        """Count a request that is rejected as a whole, and tell its client what is left, where that is known."""
        if budget is not None:
            rejected.headers = {**budget.headers(), **rejected.headers}
        self._refusals.count(client, rejected.reason, rejected.text, rejected.pageviews)

    async def _read_one(self, request: BaseRequest, client: Client) -> bytes | bytearray:
        with self._bodies.reservation(client.client_id) as reserve:
            return await read_body(request, MAX_BODY_BYTES, reserve, partial(self._pace.wait_s, client.client_id))

    async def _receive(self, request: BaseRequest, client: Client, reserve: Callable[[int], None]) -> bytes | bytearray:
        """Return a batch's body as sent; one that has arrived already waits for nobody."""
        if request.content.is_eof():
            return await read_body(request, MAX_BATCH_BYTES, reserve)
        with self._buffered.reservation(client.client_id) as reserve_buffered:
            reserve_buffered(_BUFFERED_BYTES)
            return await read_body(request, MAX_BATCH_BYTES, reserve, partial(self._pace.wait_s, client.client_id))

    def _pack_one(self, request: BaseRequest, body: bytes | bytearray, client: Client) -> bytes:
        parsed = parse_json(decode(body, request.headers.getall(hdrs.CONTENT_ENCODING, ()), MAX_BODY_BYTES))
        key = self._intake.idempotency_key(request)
        return self._intake.pack(parsed, client, time.time_ns() // 1_000_000, key)

    async def _publish(self, request: BaseRequest, body: bytes | bytearray, client: Client) -> tuple[Results, Budget]:
        """Publish a batch's good items; returns what became of each item, and the client's budget."""
        key, items, size = await self._items(request, body, client)
        with costing(len(items)):
            budget = await self._limiter.charge_rest(client, len(items), size)  # whole or not at all
        results = await Batch(self._intake, self._publisher, client, key, self._slices).publish(items)
        return results, budget

    async def _items(
        self, request: BaseRequest, body: bytes | bytearray, client: Client
    ) -> tuple[IdempotencyKey | None, Items, int]:
        """Return a batch's key, items and cost in bytes; one that has to be refused whole is charged by its bytes."""
        size = len(body)
        try:
            key = self._intake.idempotency_key(request)  # before the work that it would be refused after
            encodings = request.headers.getall(hdrs.CONTENT_ENCODING, ())
            decoded = await decode_large(body, encodings, MAX_BATCH_BYTES, self._slices)
            size = len(decoded)
            items = await split(decoded, self._slices)
            return key, items, items.cost
        except Rejected as rejected:
            size = MAX_BATCH_BYTES if rejected.reason is Reason.TOO_LARGE else size
            rejected.headers |= (await self._limiter.charge_refused(client, size)).headers()
            raise


@contextmanager
def costing(pageviews: int) -> Iterator[None]:
    """Note in a `Rejected` how many pageviews it costs."""
    try:
        yield
    except Rejected as rejected:
        rejected.pageviews = pageviews
        raise
