"""The whole way of a request, one call a line: this is the file to read first.

`post_one` serves `POST /api/ingest/server/pageview`, `post_many` `POST /api/ingest/server/pageviews`.  Both raise
`Rejected` for whatever is not accepted; `app.py` makes the answer of it.
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
from gateway.intake import Intake, Repeatable
from gateway.items import MAX_BATCH_BYTES, BrokenItem, split
from gateway.publish import Publisher
from gateway.rate_limit import Budget, RateLimiter
from gateway.replies import Reason, Rejected, error_response
from gateway.room import Room
from gateway.validate import MAX_BODY_BYTES, parse_json
from shared import metrics
from shared.registry import Client

#: Items of a batch that are validated in one go, before others get their turn: about half a millisecond.
_SLICE: Final = 50
#: Bytes of batches that were received, in part or whole, and not unpacked yet.
_BODIES_BYTES: Final = 128 * 1024 * 1024
#: Batches that are unpacked at the same time; each is several times its size meanwhile.
_UNPACKING: Final = 4


class Pageviews:
    """Both endpoints."""

    def __init__(self, intake: Intake, limiter: RateLimiter, publisher: Publisher) -> None:
        self._intake = intake
        self._limiter = limiter
        self._publisher = publisher
        self._bodies = Room(_BODIES_BYTES)
        self._unpacking = asyncio.Semaphore(_UNPACKING)

    async def post_one(self, request: BaseRequest) -> web.Response:
        """Take one pageview: 202 once the broker has it on disk."""
        sent = await read_body(request, MAX_BODY_BYTES)
        client = await self._intake.client_of(request)
        budget = await self._limiter.charge(client)
        try:
            packed = self._pack_one(request, sent, client)
            del sent  # may wait for seconds now, together with thousands of others
            await self._publisher.submit([packed])
        except Rejected as rejected:
            rejected.headers.update(budget.headers())
            raise
        metrics.ACCEPTED.inc()
        return web.Response(status=202, headers=budget.headers())

    async def post_many(self, request: BaseRequest) -> web.Response:
        """Take a batch: 202 when at least one item is accepted, with an error for each that is not."""
        check_declared_length(request, MAX_BATCH_BYTES)
        client = await self._intake.client_of(request)
        packed, errors, budget = await self._unpack(request, client)  # the body is gone while this waits
        accepted = await self._publish_all(packed, errors)
        metrics.ACCEPTED.inc(accepted)
        return _batch_response(accepted, errors, budget.headers())

    def _pack_one(self, request: BaseRequest, sent: bytes, client: Client) -> bytes:
        value = parse_json(decode(sent, request.headers.get("Content-Encoding"), MAX_BODY_BYTES))
        repeatable = self._intake.repeatable(request)
        return self._intake.pack(value, client, time.time_ns() // 1_000_000, repeatable)

    async def _unpack(
        self, request: BaseRequest, client: Client
    ) -> tuple[list[tuple[int, bytes]], dict[int, Rejected], Budget]:
        """Read a batch; returns (index, packed) of its good items, the others' errors, and what the client has left."""
        budget = await self._limiter.peek(client)  # an empty budget is refused before the body is read
        with self._bodies.share() as take:
            with _telling(budget):
                sent = await read_body(request, MAX_BATCH_BYTES, take)
            async with self._unpacking:
                with _telling(budget):
                    items = split(decode(sent, request.headers.get("Content-Encoding"), MAX_BATCH_BYTES))
                    repeatable = self._intake.repeatable(request)
                budget = await self._limiter.charge(client, len(items))  # whole or not at all
                packed, errors = await self._pack_all(items, client, repeatable)
        return packed, errors, budget

    async def _pack_all(
        self, items: list[Any], client: Client, repeatable: Repeatable | None
    ) -> tuple[list[tuple[int, bytes]], dict[int, Rejected]]:
        """Return (index, packed) of the good items and the errors of the others by index."""
        packed = []
        errors: dict[int, Rejected] = {}
        received_ms = time.time_ns() // 1_000_000
        for index, item in enumerate(items):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)  # nobody else waits for a long batch
            try:
                if isinstance(item, BrokenItem):
                    raise item.rejected
                packed.append((index, self._intake.pack(item, client, received_ms, repeatable)))
            except Rejected as rejected:
                errors[index] = rejected
        return packed, errors

    async def _publish_all(self, packed: list[tuple[int, bytes]], errors: dict[int, Rejected]) -> int:
        """Publish in as many messages as it takes; returns how many items were confirmed, adds the others' errors."""
        accepted = 0
        waiting = []
        for unit in self._publisher.units(packed):
            try:
                waiting.append((unit, self._publisher.submit([item for _, item in unit])))
            except Rejected as rejected:
                errors.update((index, rejected) for index, _ in unit)
        for unit, done in waiting:
            try:
                await done
            except Rejected as rejected:
                errors.update((index, rejected) for index, _ in unit)
            else:
                accepted += len(unit)
        return accepted


@contextmanager
def _telling(budget: Budget) -> Iterator[None]:
    """Add the client's budget to what is raised."""
    try:
        yield
    except Rejected as rejected:
        rejected.headers.update(budget.headers())
        raise


def _batch_response(accepted: int, errors: dict[int, Rejected], headers: dict[str, str]) -> web.Response:
    """Return the per-item results, under a status that tells whether to repeat the batch."""
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
    """Return what stands for all of them: the items' common status, or 400.

    Where an item could not be taken for the queue's sake it is 503, whatever ails the others: a shipper drops for good
    what is answered 400, and would lose good items with one bad one beside them.  Unknown fates come first.
    """
    ours = [error for error in errors if error.reason.status == HTTPStatus.SERVICE_UNAVAILABLE]
    if ours:
        unknown = [error for error in ours if error.reason is Reason.UNKNOWN_FATE]
        return Rejected((unknown or ours)[0].reason)
    common = len({error.reason.status for error in errors}) == 1
    return Rejected(errors[0].reason if common else Reason.INVALID, f"nothing accepted; first error: {errors[0].text}")
