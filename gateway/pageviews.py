"""The whole way of a request, one call a line: this is the file to read first."""

from __future__ import annotations

import time

from aiohttp import web
from aiohttp.web_request import BaseRequest

from gateway.authenticate import Caller, authenticate
from gateway.authorize import authorize
from gateway.http import read_body
from gateway.ids import Ids
from gateway.publish import Publisher
from gateway.rate_limit import RateLimiter
from gateway.replies import Reason, Rejected
from gateway.validate import MAX_BODY_BYTES, PageviewRequest, parse_json, validate
from shared import metrics, pageview
from shared.registry import Client, Replica


class Pageviews:
    """`POST /api/ingest/server/pageview`: one pageview, 202 once the broker has it on disk."""

    def __init__(self, registry: Replica, limiter: RateLimiter, caller: Caller, ids: Ids, publisher: Publisher) -> None:
        self._registry = registry
        self._limiter = limiter
        self._caller = caller
        self._ids = ids
        self._publisher = publisher

    async def post(self, request: BaseRequest) -> web.Response:
        """Answer one request; raises `Rejected` for everything but 202."""
        body = await read_body(request, MAX_BODY_BYTES)
        client = await self.authenticate(request)
        budget = await self._limiter.charge(client)
        try:
            received_ms = time.time_ns() // 1_000_000
            checked = validate(parse_json(body), received_ms)
            authorize(checked.url.hostname, client, self._registry)
            queued = self.to_queued(checked, client, received_ms)
            await self._publisher.submit(pageview.pack(queued))
        except Rejected as rejected:
            rejected.headers.update(budget.headers())
            raise
        metrics.ACCEPTED.inc()
        return web.Response(status=202, headers=budget.headers())

    async def authenticate(self, request: BaseRequest) -> Client:
        """Return the API client; one without a valid token is charged to its address's limit first."""
        try:
            return authenticate(request, self._registry)
        except Rejected as rejected:
            if rejected.reason is Reason.BAD_TOKEN:
                await self._limiter.charge_failure(self._caller.address(request))
            raise

    def to_queued(self, checked: PageviewRequest, client: Client, received_ms: int) -> pageview.QueuedPageview:
        """Return the pageview as it travels through the queue, its missing ids made."""
        session_id, page_id = self._ids.of(checked, client.client_id)
        return pageview.QueuedPageview(
            client.client_id,
            received_ms,
            checked.url.hostname,
            checked.url.text,
            checked.timestamp,
            checked.visitor_ip,
            checked.user_agent,
            bool(checked.dnt),
            session_id,
            page_id,
            checked.referrer or "",
            checked.language or "",
            checked.screen_width or 0,
            checked.screen_height or 0,
            checked.viewport_width or 0,
            checked.viewport_height or 0,
        )
