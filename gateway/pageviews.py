"""What happens to a request, one call a line: the file to read first.

`post_one` serves `POST /api/ingest/server/pageview`, `post_many` `POST /api/ingest/server/pageviews`.  Both raise
`Rejected` for everything that is not accepted; `app.py` turns it into a response.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from aiohttp import web
from aiohttp.web_request import BaseRequest

from gateway.batch import Batch
from gateway.encoding import decode, decode_large
from gateway.http import check_declared_length, read_body
from gateway.intake import Intake
from gateway.items import MAX_BATCH_BYTES, split
from gateway.memory_budget import MemoryBudget
from gateway.publish import Publisher
from gateway.rate_limit import Budget, RateLimiter
from gateway.refusals import Refusals
from gateway.replies import Reason, Rejected
from gateway.results import Results
from gateway.validate import MAX_BODY_BYTES, parse_json
from shared import metrics
from shared.registry import Client

#: Bytes of all batches that were received, in part or whole, and are not answered yet.
_BODIES_BYTES: Final = 128 * 1024 * 1024
#: Batches that are decompressed and published at the same time; each may take `MAX_BATCH_BYTES` more for that.
_MAX_BATCHES: Final = 4
#: How long a batch waits to be one of them.  Clients commonly wait 30 seconds or more for an answer.
_TURN_SECONDS: Final = 20.0


class Pageviews:
    """Both endpoints."""

    def __init__(self, intake: Intake, limiter: RateLimiter, publisher: Publisher, refusals: Refusals) -> None:
        self._intake = intake
        self._limiter = limiter
        self._publisher = publisher
        self._refusals = refusals
        self._bodies = MemoryBudget(_BODIES_BYTES)
        self._turns = asyncio.Semaphore(_MAX_BATCHES)

    async def post_one(self, request: BaseRequest) -> web.Response:
        """Accept one pageview: 202 once the broker has it on disk."""
        body = await read_body(request, MAX_BODY_BYTES)
        client = await self._intake.client_of(request)
        with self._refusals.counting(client):
            budget = await self._limiter.charge(client)
            with with_rate_limit_headers(budget):
                packed = self._pack_one(request, body, client)
                del body  # this may now wait for seconds, together with thousands of others
                await self._publisher.submit([packed])
        metrics.ACCEPTED.inc()
        return web.Response(status=202, headers=budget.headers())

    async def post_many(self, request: BaseRequest) -> web.Response:
        """Accept a batch: 202 when at least one item is accepted, with an error for each that is not."""
        check_declared_length(request, MAX_BATCH_BYTES)
        client = await self._intake.client_of(request)
        with self._refusals.counting(client):
            budget = await self._limiter.peek(client)  # an empty budget is rejected before the body is read
            with self._bodies.reservation() as reserve, with_rate_limit_headers(budget):
                body = await read_body(request, MAX_BATCH_BYTES, reserve)
                async with self._turn():
                    results, budget = await self._publish(request, body, client)
        metrics.ACCEPTED.inc(results.accepted)
        for (reason, text), number in results.count().items():
            self._refusals.count(client, reason, text, number)
        return results.response(budget.headers(), every_error=request.rel_url.query.get("errors") == "all")

    def _pack_one(self, request: BaseRequest, body: bytes | bytearray, client: Client) -> bytes:
        parsed = parse_json(decode(body, request.headers.get("Content-Encoding"), MAX_BODY_BYTES))
        key = self._intake.idempotency_key(request)
        return self._intake.pack(parsed, client, time.time_ns() // 1_000_000, key)

    async def _publish(self, request: BaseRequest, body: bytes | bytearray, client: Client) -> tuple[Results, Budget]:
        """Publish a batch's good items; returns what became of each item, and the client's budget."""
        items = await split(await decode_large(body, request.headers.get("Content-Encoding"), MAX_BATCH_BYTES))
        key = self._intake.idempotency_key(request)
        with costing(len(items)):
            budget = await self._limiter.charge(client, len(items))  # whole or not at all
        results = await Batch(self._intake, self._publisher, client, key).publish(items)
        return results, budget

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until few enough batches are worked on; raises `Rejected` (503) when that takes too long."""
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise Rejected(Reason.BUFFER_FULL) from None
        try:
            yield
        finally:
            self._turns.release()


@contextmanager
def costing(pageviews: int) -> Iterator[None]:
    """Note in a `Rejected` how many pageviews it costs."""
    try:
        yield
    except Rejected as rejected:
        rejected.pageviews = pageviews
        raise


@contextmanager
def with_rate_limit_headers(budget: Budget) -> Iterator[None]:
    """Add the client's rate limit headers to a `Rejected` that has none."""
    try:
        yield
    except Rejected as rejected:
        rejected.headers = {**budget.headers(), **rejected.headers}
        raise
