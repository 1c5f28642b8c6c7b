"""What happens to a request, one call a line: the file to read first.

`post_one` serves `POST /api/ingest/server/pageview`, `post_many` `POST /api/ingest/server/pageviews`.  Both raise
`Rejected` for everything that is not accepted; `app.py` turns it into a response.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from gateway.encoding import decode
from gateway.http import check_declared_length, read_body
from gateway.intake import IdempotencyKey, Intake
from gateway.items import MAX_BATCH_BYTES, InvalidItem, split
from gateway.memory_budget import MemoryBudget
from gateway.publish import Publisher
from gateway.rate_limit import Budget, RateLimiter
from gateway.replies import Reason, Rejected, error_response
from gateway.validate import MAX_BODY_BYTES, parse_json
from shared import metrics
from shared.registry import Client

#: Items of a batch that are validated before other requests get a turn: about half a millisecond.
_SLICE: Final = 50
#: Bytes of batches that were received, in part or whole, and are not unpacked yet.
_BODIES_BYTES: Final = 128 * 1024 * 1024
#: Batches that are unpacked at the same time; each takes several times its size meanwhile.
_UNPACKING: Final = 4


class Pageviews:
    """Both endpoints."""

    def __init__(self, intake: Intake, limiter: RateLimiter, publisher: Publisher) -> None:
        self._intake = intake
        self._limiter = limiter
        self._publisher = publisher
        self._bodies = MemoryBudget(_BODIES_BYTES)
        self._unpacking = asyncio.Semaphore(_UNPACKING)

    async def post_one(self, request: BaseRequest) -> web.Response:
        """Accept one pageview: 202 once the broker has it on disk."""
        sent = await read_body(request, MAX_BODY_BYTES)
        client = await self._intake.client_of(request)
        budget = await self._limiter.charge(client)
        try:
            packed = self._pack_one(request, sent, client)
            del sent  # this may now wait for seconds, together with thousands of others
            await self._publisher.submit([packed])
        except Rejected as rejected:
            rejected.headers.update(budget.headers())
            raise
        metrics.ACCEPTED.inc()
        return web.Response(status=202, headers=budget.headers())

    async def post_many(self, request: BaseRequest) -> web.Response:
        """Accept a batch: 202 when at least one item is accepted, with an error for each that is not."""
        check_declared_length(request, MAX_BATCH_BYTES)
        client = await self._intake.client_of(request)
        packed, errors, budget = await self._unpack(request, client)  # the body is released before waiting
        accepted = await self._publish_all(packed, errors)
        metrics.ACCEPTED.inc(accepted)
        return _batch_response(accepted, errors, budget.headers())

    def _pack_one(self, request: BaseRequest, sent: bytes, client: Client) -> bytes:
        value = parse_json(decode(sent, request.headers.get("Content-Encoding"), MAX_BODY_BYTES))
        idempotency_key = self._intake.idempotency_key(request)
        return self._intake.pack(value, client, time.time_ns() // 1_000_000, idempotency_key)

    async def _unpack(
        self, request: BaseRequest, client: Client
    ) -> tuple[list[tuple[int, bytes]], dict[int, Rejected], Budget]:
        """Read a batch; returns (index, packed) of its good items, the others' errors, and what the client has left."""
        budget = await self._limiter.peek(client)  # an empty budget is rejected before the body is read
        with self._bodies.reservation() as reserve:
            with with_rate_limit_headers(budget):
                sent = await read_body(request, MAX_BATCH_BYTES, reserve)
            async with self._unpacking:
                with with_rate_limit_headers(budget):
                    items = split(decode(sent, request.headers.get("Content-Encoding"), MAX_BATCH_BYTES))
                    idempotency_key = self._intake.idempotency_key(request)
                budget = await self._limiter.charge(client, len(items))  # whole or not at all
                packed, errors = await self._pack_all(items, client, idempotency_key)
        return packed, errors, budget

    async def _pack_all(
        self, items: list[Any], client: Client, idempotency_key: IdempotencyKey | None
    ) -> tuple[list[tuple[int, bytes]], dict[int, Rejected]]:
        """Return (index, packed) of the good items and the errors of the others by index."""
        packed = []
        errors: dict[int, Rejected] = {}
        received_ms = time.time_ns() // 1_000_000
        for index, item in enumerate(items):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)  # other requests do not wait for a long batch
            try:
                if isinstance(item, InvalidItem):
                    raise item.rejected
                packed.append((index, self._intake.pack(item, client, received_ms, idempotency_key)))
            except Rejected as rejected:
                errors[index] = rejected
        return packed, errors

    async def _publish_all(self, packed: list[tuple[int, bytes]], errors: dict[int, Rejected]) -> int:
        """Publish in as many messages as needed; returns how many items were confirmed, and adds the others' errors."""
        accepted = 0
        waiting = []
        for chunk in self._publisher.chunks(packed):
            try:
                waiting.append((chunk, self._publisher.submit([item for _, item in chunk])))
            except Rejected as rejected:
                errors.update((index, rejected) for index, _ in chunk)
        for chunk, done in waiting:
            try:
                await done
            except Rejected as rejected:
                errors.update((index, rejected) for index, _ in chunk)
            else:
                accepted += len(chunk)
        return accepted


@contextmanager
def with_rate_limit_headers(budget: Budget) -> Iterator[None]:
    """Add the client's rate limit headers to a `Rejected`."""
    try:
        yield
    except Rejected as rejected:
        rejected.headers.update(budget.headers())
        raise


def _batch_response(accepted: int, errors: dict[int, Rejected], headers: dict[str, str]) -> web.Response:
    """Return the per-item results, with a status that says whether to repeat the batch."""
    for rejected in errors.values():
        metrics.REJECTED.labels(rejected.reason.label).inc()
    results: dict[str, Any] = {
        "accepted": accepted,
        "rejected": len(errors),
        "errors": [
            {"index": index, "status": rejected.reason.status, "message": rejected.text}
            for index, rejected in sorted(errors.items())
        ],
    }
    if accepted or not errors:
        return web.Response(
            status=HTTPStatus.ACCEPTED,
            body=orjson.dumps(results),
            headers={"Content-Type": "application/json", **headers},
        )
    whole = _nothing_accepted([errors[index] for index in sorted(errors)])
    whole.headers.update(headers)
    response = error_response(whole)
    response.body = orjson.dumps({"message": whole.text, **results})
    return response


def _nothing_accepted(errors: list[Rejected]) -> Rejected:
    """Return the rejection of a batch of which nothing was accepted: the items' common status, or 400.

    503 takes precedence: log shippers drop a batch for good that is answered 400, and would lose the good items in it.
    "Unknown" takes precedence over "not taken".
    """
    ours = [error for error in errors if error.reason.status == HTTPStatus.SERVICE_UNAVAILABLE]
    if ours:
        unknown = [error for error in ours if error.reason is Reason.UNKNOWN_FATE]
        return Rejected((unknown or ours)[0].reason)
    common = len({error.reason.status for error in errors}) == 1
    return Rejected(errors[0].reason if common else Reason.INVALID, f"nothing accepted; first error: {errors[0].text}")
