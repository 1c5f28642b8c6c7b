"""The gateway's routes, and how every result or error becomes a response."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache

from aiohttp import web
from aiohttp.web_request import BaseRequest

from gateway import openapi
from gateway.http import Handler, check_http
from gateway.pageviews import Pageviews
from gateway.replies import Reason, Rejected, error_response
from shared import metrics

#: path → method → handler
Routes = Mapping[str, Mapping[str, Handler]]

#: Rejected for how the request is framed: what follows it on the connection can't be trusted.
_MISFRAMED = (Reason.EXPECTATION, Reason.TRANSFER_ENCODING, Reason.MALFORMED_HTTP)


def routes(pageviews: Pageviews) -> Routes:
    """Return the gateway's endpoints."""
    return {
        "/api/ingest/server/pageview": {"POST": pageviews.post_one},
        "/api/ingest/server/pageviews": {"POST": pageviews.post_many},
        "/api/openapi.json": {"GET": openapi.get, "HEAD": openapi.get},
    }


class App:
    """Dispatches requests to routes; every response, including errors, leaves through `handle`."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        # Looking up a metric by its labels costs more than incrementing it; there are a few dozen combinations.
        self._count = lru_cache(maxsize=None)(metrics.REQUESTS.labels)
        self._seconds = {path: metrics.REQUEST_SECONDS.labels(path) for path in (*routes, metrics.OTHER_ROUTE)}
        #: Of the endpoints.
        self.paths = frozenset(routes)
        self.in_flight = 0
        #: Set by a stop: requests are still answered, with `Connection: close` so that clients reconnect elsewhere.
        self.stopping = False

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """Return the response to one request; never raises anything but cancellation."""
        began = time.perf_counter()
        self.in_flight += 1
        path = self._path_of(request)
        try:
            response = await self._handler_of(request, path)(request)
        except Rejected as rejected:
            metrics.REJECTED.labels(rejected.reason.label).inc()
            response = error_response(rejected)
            # A future or a stream may keep the exception; its traceback would keep the request and its body.
            rejected.__traceback__ = rejected.__context__ = None
            if rejected.reason in _MISFRAMED:
                response.force_close()
        finally:
            self.in_flight -= 1
        if self.stopping:
            response.force_close()
        route = path if path in self._routes else metrics.OTHER_ROUTE
        self._count(route, response.status).inc()
        self._seconds[route].observe(time.perf_counter() - began)
        return response

    def _path_of(self, request: BaseRequest) -> str:
        path = request.raw_path
        if path in self._routes:  # as nearly all are, without a query
            return path
        path = request.rel_url.raw_path
        return path[:-1] if path.endswith("/") and path[:-1] in self._routes else path

    def _handler_of(self, request: BaseRequest, path: str) -> Handler:
        check_http(request)
        methods = self._routes.get(path)
        if methods is None:
            raise Rejected(Reason.NOT_FOUND)
        handler = methods.get(request.method)
        if handler is None:
            raise Rejected(Reason.WRONG_METHOD, headers={"Allow": ", ".join(methods)})
        return handler
