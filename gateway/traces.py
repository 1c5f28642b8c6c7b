"""Spans of a gateway: one a traced request, and one for each message that carries pageviews of traced requests.

Imported only where traces are on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from aiohttp import web
from aiohttp.web_request import BaseRequest
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.replies import Reason
from shared.message import Headers
from shared.traces import MESSAGING, TRACEPARENT, Traces

_METHODS: Final = frozenset({"GET", "HEAD", "POST"})
_PROPAGATOR: Final = TraceContextTextMapPropagator()

RequestContext = SpanContext
Handle = Callable[[BaseRequest], Awaitable[web.StreamResponse]]


class GatewayTraces:
    """Begins and ends the spans of requests and of messages."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        self._tracer = traces.tracer

    def around(self, handle: Handle, routes: Collection[str]) -> Handle:
        """Return `handle` with a span around each request."""

        async def traced(request: BaseRequest) -> web.StreamResponse:
            path = request.rel_url.raw_path.rstrip("/")
            route = path if path in routes else "other"
            method = request.method if request.method in _METHODS else "_OTHER"
            caller = _PROPAGATOR.extract({TRACEPARENT: request.headers.get(TRACEPARENT, "")})
            kind, told = SpanKind.SERVER, {"http.request.method": method, "http.route": route}
            with self._tracer.start_as_current_span(f"{method} {route}", caller, kind, told) as span:
                response = await handle(request)
                span.set_attribute("http.response.status_code", response.status)
                if response.status >= 500:
                    span.set_status(StatusCode.ERROR)
                return response

        return traced

    def current(self) -> SpanContext | None:
        """Return the context of the request that is being handled, None if it is not traced."""
        context = trace.get_current_span().get_span_context()
        return context if context.trace_flags.sampled else None

    def publishing(self, headers: Headers, requests: Sequence[SpanContext | None]) -> Publishing | None:
        """Begin the span of a message, in the trace of its first traced request and linked to all; None without any."""
        traced = [context for context in requests if context is not None]
        if not traced:
            return None
        first = trace.set_span_in_context(trace.NonRecordingSpan(traced[0]))
        told = {
            **MESSAGING,
            "messaging.operation.type": "send",
            "messaging.message.id": str(headers.batch_id),
            "hitline.pageviews": headers.pageviews,
        }
        links = [Link(context) for context in traced]
        return Publishing(self._tracer.start_span("send hitline.pageviews", first, SpanKind.PRODUCER, told, links))

    def close(self) -> None:
        """See `Traces.close`."""
        self._traces.close()


class Publishing:
    """The span of one message."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def headers(self) -> dict[str, str | int]:
        """Return the headers of the message that carry the context to the worker."""
        carrier: dict[str, str | int] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(self._span))
        return {name: value for name, value in carrier.items() if name == TRACEPARENT}

    def end(self, failure: Reason | None) -> None:
        """End it: confirmed, or not for a reason."""
        if failure is not None:
            self._span.set_status(StatusCode.ERROR, failure.label)
        self._span.end()
